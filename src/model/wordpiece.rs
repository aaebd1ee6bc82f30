//! WordPiece with BERT's rules: clean, lower case, split at spaces and punctuation, then the longest pieces first.
//!
//! The rules are those that `tokenizer.json` files of BERT name (`BertNormalizer`, `BertPreTokenizer`, `WordPiece`);
//! a package under `benches/peers` compares the results with the library that defined them. Work stops when a text has
//! as many tokens as its model takes: what is behind is only searched for added tokens.

use std::collections::HashMap;
use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// What `tokenizer.json` says.
#[derive(Debug)]
pub(super) struct WordPiece {
    /// Pieces that begin a word.
    pub(super) begin: HashMap<Box<str>, u32>,
    /// Pieces that go on, without the mark of those.
    pub(super) inside: HashMap<Box<str>, u32>,
    /// Bytes of the longest piece.
    pub(super) longest: usize,
    pub(super) unknown: u32,
    /// Characters of a word, at most: longer ones are unknown.
    pub(super) word_chars_max: usize,
    pub(super) clean: bool,
    pub(super) spread_chinese: bool,
    pub(super) strip_accents: bool,
    pub(super) lower: bool,
    /// Texts that are tokens as they stand, the longest first.
    pub(super) added: Vec<(Box<str>, u32)>,
    /// What stands before and behind every text.
    pub(super) before: Vec<u32>,
    pub(super) behind: Vec<u32>,
}

impl WordPiece {
    /// Tokens that every text has.
    pub(super) fn specials(&self) -> usize {
        self.before.len() + self.behind.len()
    }

    /// A text's tokens, cut to `most` in all, which leaves room for the special ones. They replace what is in `tokens`;
    /// `word` is memory to work with.
    pub(super) fn tokens_into(
        &self,
        text: &str,
        most: usize,
        (tokens, word): (&mut Vec<u32>, &mut String),
    ) {
        tokens.clear();
        tokens.extend(&self.before);
        let most = most - self.behind.len();
        let mut rest = text;
        while !rest.is_empty() && tokens.len() < most {
            let (plain, added) = self.until_added(rest);
            self.split(plain, most, (tokens, word));
            rest = &rest[plain.len()..];
            if let Some((content, id)) = added {
                rest = &rest[content.len()..];
                tokens.push(*id);
            }
        }
        tokens.truncate(most);
        tokens.extend(&self.behind);
    }

    /// The text before the next added token, and that token.
    fn until_added<'a>(&self, text: &'a str) -> (&'a str, Option<&(Box<str>, u32)>) {
        for (at, c) in text.char_indices() {
            // The longest stands first.
            let starts = |(content, _): &&(Box<str>, u32)| text[at..].starts_with(&**content);
            if !c.is_ascii_alphanumeric()
                && c != ' '
                && let Some(found) = self.added.iter().find(starts)
            {
                return (&text[..at], Some(found));
            }
        }
        (text, None)
    }

    /// Normalises a piece of text and takes it apart.
    fn split(&self, text: &str, most: usize, to: (&mut Vec<u32>, &mut String)) {
        let cleaned = text.chars().filter_map(|c| if self.clean { clean(c) } else { Some(c) });
        let spread = cleaned.flat_map(|c| {
            let around = (self.spread_chinese && is_chinese(c)).then_some(' ');
            around.into_iter().chain([c]).chain(around)
        });
        if self.strip_accents && !text.is_ascii() {
            let bare = spread.nfd().filter(|c| !c.is_mark_nonspacing());
            self.words(bare, most, to);
        } else {
            self.words(spread, most, to);
        }
    }

    fn words(
        &self,
        text: impl Iterator<Item = char>,
        most: usize,
        (tokens, word): (&mut Vec<u32>, &mut String),
    ) {
        word.clear();
        let lower = |c: char| {
            let lower = self.lower.then(|| c.to_lowercase());
            let as_is = if self.lower { None } else { Some(c) };
            lower.into_iter().flatten().chain(as_is)
        };
        for c in text.flat_map(lower) {
            let (space, punctuation) = (c.is_whitespace(), is_punctuation(c));
            if space || punctuation {
                self.word(word, tokens);
                word.clear();
                if tokens.len() >= most {
                    return;
                }
            }
            if punctuation {
                self.word(c.encode_utf8(&mut [0; 4]), tokens);
            } else if !space {
                word.push(c);
            }
        }
        self.word(word, tokens);
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
            let mut end = rest.floor_char_boundary(self.longest.min(rest.len()));
            let found = loop {
                if end == 0 {
                    break None;
                }
                if let Some(id) = pieces.get(&rest[..end]) {
                    break Some(*id);
                }
                end = rest.floor_char_boundary(end - 1);
            };
            let Some(id) = found else {
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
