//! Texts that INT8 is calibrated on where the user gives none: of many kinds, because what counts is that each channel
//! of a layer shows about how large it gets.

use super::files::Model;
use crate::base::rng::SplitMix;

/// Texts of several lengths, topics, scripts and manners.
pub(super) const TEXTS: &[&str] = &[
    "Yes.",
    "parcel lost",
    "What time does the last ferry leave for the island?",
    "The committee postponed its decision on the harbour tax until the spring session.",
    "Please cancel my subscription; I was charged twice in March and nobody answers my letters.",
    "Bearing 4 on the second turbine runs eleven degrees hotter than its neighbours since Tuesday night.",
    "fn main() { let total: u64 = (1..=100).filter(|n| n % 3 == 0).sum(); println!(\"{total}\"); }",
    "2024-11-03T08:15:00Z ERROR worker-17: connection reset by peer (attempt 3 of 5, retry in 800 ms)",
    "Transfer of EUR 1,250.00 to account DE89 3704 0044 0532 0130 00 was rejected: insufficient funds.",
    "She folded the map, looked once more at the grey water, and decided that the walk could wait.",
    "Great phone, terrible battery. Would not buy again!!!",
    "Mix the flour with two eggs and a pinch of salt, then let the dough rest for half an hour in the cold.",
    "The patient reports a dull ache in the left knee after exercise, without swelling or fever.",
    "Prices of copper and nickel fell for a third week as mines in the south returned to full output.",
    "Wer zuletzt lacht, lacht am besten, sagt man; aber niemand weiß, wann zuletzt ist.",
    "Le train de nuit pour Lisbonne partira avec une heure de retard à cause de la neige.",
    "¿Dónde puedo renovar el permiso de pesca antes del verano?",
    "会議は来週の火曜日に延期されました。資料は後で送ります。",
    "Просим вас проверить показания счётчика до конца месяца.",
    "SELECT city, AVG(price) FROM listings WHERE rooms >= 3 GROUP BY city ORDER BY 2 DESC LIMIT 10;",
    "lol no way 😂 did u see what she posted",
    "A proof by induction needs a base case, a step, and the patience to write down both.",
    "Section 12(b): the tenant shall give notice in writing no later than sixty days before the end of the term, \
     and shall leave the premises in the condition in which they were received, fair wear excepted.",
    "Glaciers carve valleys into the shape of the letter U, rivers into that of a V; where both have been at work, \
     the older form is often found high on the walls, above the reach of the water, and tells how deep the ice once \
     stood. Measurements of these marks are among the first evidence that was ever collected of an age of ice.",
];

/// Sequences of random tokens.
const RANDOM: usize = 8;
/// Tokens of each, between the special ones.
const RANDOM_TOKENS: usize = 24;

/// Tokens of texts that are looked at, about: more say little that is new.
const TOKENS: usize = 4096;

/// The token ids of texts, as many as make some thousand tokens, and some random ones.
pub(super) fn sequences(model: &Model, texts: &[&str]) -> Vec<Vec<u32>> {
    let mut tokens = 0;
    let texts = texts.iter().map(|text| model.tokens(text));
    let mut all: Vec<Vec<u32>> = texts
        .take_while(|ids| {
            let room = tokens < TOKENS;
            tokens += ids.len();
            room
        })
        .collect();
    let special = model.tokens("");
    let (first, last) = special.split_at(special.len() / 2);
    let count = RANDOM_TOKENS.min(model.tokens_max() - special.len());
    let mut rng = SplitMix::new(1);
    for _ in 0..RANDOM {
        let mut draw = || u32::try_from(rng.below(model.vocab() as u64)).expect("ids fit a word");
        let random: Vec<u32> = (0..count).map(|_| draw()).collect();
        all.push([first, &random[..], last].concat());
    }
    all.retain(|ids| !ids.is_empty());
    all
}
