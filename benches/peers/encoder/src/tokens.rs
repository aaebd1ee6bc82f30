//! Token ids beside those of the library that defined the rules.

use crate::model;
use pelton::base::rng::SplitMix;
use pelton::model::Model;
use std::fmt::Write;
use tokenizers::Tokenizer;

/// The ids that the oracle gives, cut as a model cuts them: the last token stays.
fn expected(oracle: &Tokenizer, text: &str, most: usize) -> Vec<u32> {
    let found = oracle.encode(text, true).expect("texts are encoded");
    let mut ids = found.get_ids().to_vec();
    if ids.len() > most {
        let last = ids[ids.len() - 1];
        ids.truncate(most - 1);
        ids.push(last);
    }
    ids
}

/// A text of words, spaces, marks, added tokens, and characters of one or all of the planes.
fn random(rng: &mut SplitMix) -> String {
    const PARTS: &[&str] = &[
        " ", "  ", "\t", "\n", "[CLS]", "[MASK]", "[mask]", "[", "]", "e\u{301}", "\u{130}", "ß", "ﬁ", "ǅ",
        "\u{1100}\u{1161}\u{11a8}", "각", "漢字", "ガ", "カ\u{3099}", "\u{200d}", "\u{ad}", "don't", "U.S.A.",
        "3.14", "<mask>", " <mask> ", "<s>", "<S>", "▁", " '", "'ll", "'re", "\u{a0}", "\u{3000}", "\u{2460}",
        "ｶ\u{ff9e}",
        "Ａ\u{301}", "½", "\u{fdfa}", "\r\n", "water", "turning", "wheel",
        "\u{0}", "\u{fffd}", "🙂", "👩\u{200d}🚀", "naïve", "Ångström",
    ];
    let mut text = String::new();
    let mut draw = |below: usize| rng.below(below as u64) as usize;
    for _ in 0..draw(24) {
        match draw(6) {
            0 => text.push_str(PARTS[draw(PARTS.len())]),
            1 | 2 => (0..1 + draw(9)).for_each(|_| text.push((b'a' + draw(26) as u8) as char)),
            3 => text.extend(char::from_u32(draw(0x600) as u32)),
            4 => text.extend(char::from_u32(draw(0x11_0000) as u32)),
            _ => text.push(' '),
        }
    }
    text
}

/// A tokenizer under test and its oracle.
struct Pair {
    name: &'static str,
    model: Model,
    oracle: Tokenizer,
}

/// The real model where its folder is given, and the small tokenizers of the tests.
fn pairs() -> Vec<Pair> {
    let mut all = Vec::new();
    if std::env::var_os("PELTON_MINILM").is_some() {
        let folder = crate::folder();
        let oracle = Tokenizer::from_file(folder.join("tokenizer.json")).expect("it loads");
        all.push(Pair { name: "MiniLM", model: Model::load(&folder).expect("the model loads"), oracle });
    }
    for name in model::TOKENIZERS {
        let model = Model::from_files(model::with_tokenizer(name)).expect("the model loads");
        let oracle = model::tokenizer_text(name).parse().expect("it is a tokenizer");
        all.push(Pair { name, model, oracle });
    }
    for pair in &mut all {
        pair.oracle.with_padding(None).with_truncation(None).expect("none is fine");
    }
    all
}

/// Compares, and ends the program with 1 when anything differs.
pub fn compare(texts: u64, seed: u64) {
    let mut all_wrong = 0;
    for Pair { name, model, oracle } in pairs() {
        let (mut compared, mut wrong) = (0, 0);
        let mut check = |text: &str| {
            let (found, want) = (model.tokens(text), expected(&oracle, text, model.tokens_max()));
            compared += 1;
            if found != want {
                wrong += 1;
                if wrong <= 40 {
                    println!("{name}: {:?}: {found:?}, not {want:?}", text.escape_unicode().to_string());
                }
            }
        };
        for c in '\0'..=char::MAX {
            check(&c.to_string());
            check(&format!("a{c}b {c}"));
        }
        let mut rng = SplitMix::new(seed);
        (0..texts).for_each(|_| check(&random(&mut rng)));
        println!("{name}: {compared} texts, {wrong} differ");
        all_wrong += wrong;
    }
    std::process::exit(i32::from(all_wrong > 0));
}

/// Writes texts and the ids that the oracle gives them under the tests' small vocabulary.
pub fn record() {
    let oracle: Tokenizer = model::tokenizer().parse().expect("it is a tokenizer");
    let mut rng = SplitMix::new(2026);
    let mut out = String::from("[\n");
    for i in 0..400 {
        let text = random(&mut rng);
        let ids = expected(&oracle, &text, model::TOKENS_MAX);
        let quoted = serde_json::to_string(&text).expect("strings are JSON");
        let comma = if i == 0 { "" } else { ",\n" };
        write!(out, "{comma}[{quoted},{ids:?}]").expect("strings grow");
    }
    out.push_str("\n]\n");
    std::fs::write("tests/encoder/wordpiece.json", out).expect("run it where bench.sh lies");
}
