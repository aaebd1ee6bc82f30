//! Added tokens: texts that are tokens as they stand, wherever they stand.

/// One of them.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) content: Box<str>,
    pub(super) id: u32,
    /// Whether spaces before it, or behind it, belong to it.
    pub(super) left: bool,
    pub(super) right: bool,
}

/// Added tokens, the longest first.
#[derive(Debug, Default)]
pub(super) struct Added(Vec<Token>);

impl Added {
    pub(super) fn new(mut tokens: Vec<Token>) -> Self {
        tokens.sort_by_key(|token| std::cmp::Reverse(token.content.len()));
        Self(tokens)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text before the first added token; that token, and the text behind it.
    pub(super) fn split<'a>(&self, text: &'a str) -> (&'a str, Option<(u32, &'a str)>) {
        for (at, c) in text.char_indices() {
            // They begin with a punctuation of ASCII.
            if !c.is_ascii_punctuation() {
                continue;
            }
            let starts = |token: &&Token| text[at..].starts_with(&*token.content);
            if let Some(token) = self.0.iter().find(starts) {
                let (before, behind) = (&text[..at], &text[at + token.content.len()..]);
                let before = if token.left { before.trim_end() } else { before };
                let behind = if token.right { behind.trim_start() } else { behind };
                return (before, Some((token.id, behind)));
            }
        }
        (text, None)
    }
}
