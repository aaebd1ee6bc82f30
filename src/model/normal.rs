//! Normalisers of BPE and Unigram: a text becomes another before it is taken apart.
//!
//! The four normal forms are those of a newer Unicode than the library `tokenizers` has: characters assigned after
//! Unicode 11 that have a decomposition are decomposed here and stay as they are there. Charsmaps bring their own.

use super::json::Json;
use crate::base::error::Result;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Steps, at most.
const STEPS_MAX: usize = 16;
/// Bytes of a charsmap, at most.
const CHARSMAP_BYTES_MAX: usize = 8 << 20;
/// Bytes that a character may become, at most: a text grows by no more.
const MAPPED_BYTES_MAX: usize = 256;
/// Bytes of a grapheme that is looked up as a whole, less than.
const GRAPHEME_BYTES: usize = 6;

/// One step.
#[derive(Debug)]
enum Step {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lower,
    /// Spaces at the ends go: left, right.
    Strip(bool, bool),
    /// Spaces in a row become this text.
    Spaces(Box<str>),
    Map(Charsmap),
}

/// What is done to a text, in order.
#[derive(Debug, Default)]
pub(super) struct Normal(Vec<Step>);

impl Normal {
    /// Reads the member `normalizer`; null does nothing.
    pub(super) fn read(json: Option<&Json<'_>>) -> Result<Self> {
        let mut steps = Vec::new();
        let Some(json) = json else { return Ok(Self(steps)) };
        if json.get("type")?.text()? == "Sequence" {
            json.only(&["type", "normalizers"])?;
            for item in json.get("normalizers")?.items(STEPS_MAX)? {
                steps.push(step(&item)?);
            }
        } else {
            steps.push(step(json)?);
        }
        Ok(Self(steps))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for step in &self.0 {
            text = match step {
                Step::Nfc => text.nfc().collect(),
                Step::Nfd => text.nfd().collect(),
                Step::Nfkc => text.nfkc().collect(),
                Step::Nfkd => text.nfkd().collect(),
                Step::Lower => text.chars().flat_map(char::to_lowercase).collect(),
                Step::Strip(left, right) => {
                    let text = if *left { text.trim_start() } else { &text };
                    (if *right { text.trim_end() } else { text }).to_owned()
                }
                Step::Spaces(one) => replace_spaces(&text, one),
                Step::Map(map) => map.apply(&text),
            };
        }
        text
    }
}

fn step(json: &Json<'_>) -> Result<Step> {
    let known = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "Replace", "Precompiled"];
    let kind = json.get("type")?.one_of(&known)?;
    let members: &[&str] = match kind {
        "Strip" => &["type", "strip_left", "strip_right"],
        "Replace" => &["type", "pattern", "content"],
        "Precompiled" => &["type", "precompiled_charsmap"],
        _ => &["type"],
    };
    json.only(members)?;
    Ok(match kind {
        "NFC" => Step::Nfc,
        "NFD" => Step::Nfd,
        "NFKC" => Step::Nfkc,
        "NFKD" => Step::Nfkd,
        "Lowercase" => Step::Lower,
        "Strip" => Step::Strip(json.get("strip_left")?.truth()?, json.get("strip_right")?.truth()?),
        "Replace" => {
            let pattern = json.get("pattern")?;
            pattern.only(&["Regex"])?;
            pattern.get("Regex")?.one_of(&[" {2,}"])?;
            let content = json.get("content")?;
            Step::Spaces(content.one_of(&[" ", "▁"])?.into())
        }
        _ => Step::Map(Charsmap::read(&json.get("precompiled_charsmap")?)?),
    })
}

/// Two and more spaces side by side become `one`.
fn replace_spaces(text: &str, one: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("  ") {
        out.push_str(&rest[..at]);
        out.push_str(one);
        rest = rest[at..].trim_start_matches(' ');
    }
    out.push_str(rest);
    out
}

/// A charsmap of SentencePiece: a double-array trie from texts to places in a list of texts that end with a zero.
#[derive(Debug)]
struct Charsmap {
    units: Vec<u32>,
    texts: Box<str>,
}

impl Charsmap {
    fn read(json: &Json<'_>) -> Result<Self> {
        let text = json.text()?;
        if text.len() > CHARSMAP_BYTES_MAX {
            return Err(json.wrong(format!("larger than {CHARSMAP_BYTES_MAX} bytes")));
        }
        let bytes = base64(text).ok_or_else(|| json.wrong("not base64"))?;
        let parts = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length).filter(|_| length > 0 && length.is_multiple_of(4))
        });
        let Some((units, texts)) = parts else {
            return Err(json.wrong("its trie is not within it"));
        };
        let texts =
            std::str::from_utf8(texts).map_err(|_| json.wrong("its texts are not UTF-8"))?;
        if texts.split('\0').any(|text| text.len() > MAPPED_BYTES_MAX) {
            return Err(json.wrong(format!("a text of more than {MAPPED_BYTES_MAX} bytes")));
        }
        let units = units.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        Ok(Self { units, texts: texts.into() })
    }

    /// What the shortest beginning of `text` that the trie holds becomes; places outside of it hold nothing.
    fn get(&self, text: &str) -> Option<&str> {
        let offset = |unit: u32| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let mut node = offset(*self.units.first()?);
        for byte in text.bytes().take_while(|&byte| byte != 0) {
            node ^= u32::from(byte);
            let unit = *self.units.get(usize::try_from(node).ok()?)?;
            if unit & (1 << 31 | 0xff) != u32::from(byte) {
                return None;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let leaf = *self.units.get(usize::try_from(node).ok()?)? & !(1 << 31);
                return self.texts.get(usize::try_from(leaf).ok()?..)?.split('\0').next();
            }
        }
        None
    }

    /// Graphemes of few bytes as a whole, others by their characters.
    fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for grapheme in text.graphemes(true) {
            if grapheme.len() < GRAPHEME_BYTES
                && let Some(mapped) = self.get(grapheme)
            {
                out.push_str(mapped);
                continue;
            }
            for c in grapheme.chars() {
                let mut bytes = [0; 4];
                let own = c.encode_utf8(&mut bytes);
                out.push_str(self.get(own).unwrap_or(own));
            }
        }
        out
    }
}

/// The bytes of a text in base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in digits.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits & 0xff).to_le_bytes()[0]);
        }
    }
    Some(out)
}
