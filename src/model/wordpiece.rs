//! WordPiece with BERT's rules: clean, lower case, split at spaces and punctuation, then the longest pieces first.
//!
//! The rules are those that `tokenizer.json` files of BERT name (`BertNormalizer`, `BertPreTokenizer`, `WordPiece`);
//! a package under `benches/peers` compares the results with the library that defined them. Work stops when a text has
//! as many tokens as its model takes.

use super::pieces::Pieces;
use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// What `tokenizer.json` says.
#[derive(Debug)]
pub(super) struct WordPiece {
    /// Pieces that begin a word.
    pub(super) begin: Pieces<u32>,
    /// Pieces that go on, without the mark of those.
    pub(super) inside: Pieces<u32>,
    pub(super) unknown: u32,
    /// Characters of a word, at most: longer ones are unknown.
    pub(super) word_chars_max: usize,
    pub(super) clean: bool,
    pub(super) spread_chinese: bool,
    pub(super) strip_accents: bool,
    pub(super) lower: bool,
}

impl WordPiece {
    /// A text as the normaliser makes it.
    pub(super) fn normalise(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        self.normal(text, |c| {
            out.push(c);
            true
        });
        out
    }

    /// Normalises a piece of text, a character at a time, until `take` has enough.
    fn normal(&self, text: &str, mut take: impl FnMut(char) -> bool) {
        let cleaned = text.chars().filter_map(|c| if self.clean { clean(c) } else { Some(c) });
        let spread = cleaned.flat_map(|c| {
            let around = (self.spread_chinese && is_chinese(c)).then_some(' ');
            around.into_iter().chain([c]).chain(around)
        });
        let lower = |c: char| {
            let lower = self.lower.then(|| c.to_lowercase());
            let as_is = if self.lower { None } else { Some(c) };
            lower.into_iter().flatten().chain(as_is)
        };
        if self.strip_accents && !text.is_ascii() {
            let bare = spread.nfd().filter(|c| !c.is_mark_nonspacing());
            _ = bare.flat_map(lower).all(take);
        } else {
            _ = spread.flat_map(lower).all(&mut take);
        }
    }

    /// Normalises a piece of text and takes it apart; stops behind `most` tokens. `word` is memory to work with.
    pub(super) fn split(
        &self,
        text: &str,
        most: usize,
        (tokens, word): (&mut Vec<u32>, &mut String),
    ) {
        word.clear();
        self.normal(text, |c| self.take(c, word, most, tokens));
        self.word(word, tokens);
    }

    /// Takes apart what is normalised already.
    pub(super) fn split_normal(&self, text: &str, most: usize, tokens: &mut Vec<u32>) {
        let mut word = String::new();
        _ = text.chars().all(|c| self.take(c, &mut word, most, tokens));
        self.word(&word, tokens);
    }

    /// Takes a character: whether more are wanted.
    fn take(&self, c: char, word: &mut String, most: usize, tokens: &mut Vec<u32>) -> bool {
        let (space, punctuation) = (c.is_whitespace(), is_punctuation(c));
        if space || punctuation {
            self.word(word, tokens);
            word.clear();
            if tokens.len() >= most {
                return false;
            }
        }
        if punctuation {
            self.word(c.encode_utf8(&mut [0; 4]), tokens);
        } else if !space {
            word.push(c);
        }
        true
    }

    /// The longest pieces first, from the left; a word that cannot be made of pieces is unknown as a whole.
    fn word(&self, word: &str, tokens: &mut Vec<u32>) {
        if word.is_empty() {
            return;
        }
        let before = tokens.len();
        let long = word.len() > self.word_chars_max && word.chars().count() > self.word_chars_max;
        let mut rest = if long { "" } else { word };
        while !rest.is_empty() {
            let pieces = if rest.len() == word.len() { &self.begin } else { &self.inside };
            let Some((end, id)) = pieces.prefixes(rest).last() else {
                tokens.truncate(before);
                break;
            };
            tokens.push(id);
            rest = &rest[end..];
        }
        if tokens.len() == before {
            tokens.push(self.unknown);
        }
    }
}

/// A character as text has it: none for what shows nothing, a space for every kind of space.
fn clean(c: char) -> Option<char> {
    match c {
        '\t' | '\n' | '\r' => Some(' '),
        '\0' | '\u{fffd}' => None,
        _ if c.is_ascii() => (!c.is_ascii_control()).then_some(c),
        _ if c.is_other() => None,
        _ if c.is_whitespace() => Some(' '),
        _ => Some(c),
    }
}

/// Whether a character is one of the ideographs that are words of their own.
fn is_chinese(c: char) -> bool {
    matches!(c,
        '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{20000}'..='\u{2a6df}'
        | '\u{2a700}'..='\u{2b73f}' | '\u{2b740}'..='\u{2b81f}' | '\u{2b920}'..='\u{2ceaf}'
        | '\u{f900}'..='\u{faff}' | '\u{2f800}'..='\u{2fa1f}')
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_punctuation() } else { UnicodeCategories::is_punctuation(c) }
}
