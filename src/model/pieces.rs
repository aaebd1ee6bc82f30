//! The pieces of a vocabulary, sorted, so that those which a text begins with are found byte by byte.
//!
//! A search narrows the range of pieces that agree with the text so far: no more steps than the longest piece has
//! bytes, each of them a binary search, whatever the vocabulary is.

/// Pieces and what is known of each.
#[derive(Debug)]
pub(super) struct Pieces<T> {
    sorted: Vec<(Box<str>, T)>,
    /// Where pieces with each first byte begin, and the end.
    first: Vec<usize>,
}

impl<T: Copy> Pieces<T> {
    /// Of pieces that stand twice, the last counts; an empty one is never found.
    pub(super) fn new(mut pieces: Vec<(Box<str>, T)>) -> Self {
        pieces.reverse();
        pieces.sort_by(|(a, _), (b, _)| a.cmp(b));
        pieces.dedup_by(|(a, _), (b, _)| a == b);
        pieces.retain(|(piece, _)| !piece.is_empty());
        let from =
            |byte| pieces.partition_point(|(piece, _)| usize::from(piece.as_bytes()[0]) < byte);
        let first = (0..=256).map(from).collect();
        Self { sorted: pieces, first }
    }

    /// The piece that is this text.
    pub(super) fn get(&self, text: &str) -> Option<T> {
        let found = self.sorted.binary_search_by(|(piece, _)| (**piece).cmp(text));
        found.ok().map(|at| self.sorted[at].1)
    }

    /// All pieces that a text begins with, the shortest first: their bytes, and what is known of them.
    pub(super) fn prefixes(&self, text: &str) -> impl Iterator<Item = (usize, T)> {
        let mut range = match text.as_bytes().first() {
            Some(&byte) => self.first[usize::from(byte)]..self.first[usize::from(byte) + 1],
            None => 0..0,
        };
        let mut depth = 1;
        std::iter::from_fn(move || {
            while !range.is_empty() {
                let at = depth;
                depth += 1;
                let pieces = &self.sorted[range.clone()];
                let (piece, known) = &pieces[0];
                let ends = piece.len() == at;
                let byte = text.as_bytes().get(at);
                let begin = range.start;
                // Those that end here are shorter than any that goes on, so they stand first.
                let of = |(piece, _): &(Box<str>, T)| piece.as_bytes().get(at).copied();
                range = match byte {
                    Some(&byte) => {
                        let from = pieces.partition_point(|piece| of(piece) < Some(byte));
                        let to =
                            from + pieces[from..].partition_point(|piece| of(piece) == Some(byte));
                        begin + from..begin + to
                    }
                    None => 0..0,
                };
                if ends {
                    return Some((at, *known));
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Pieces;

    #[test]
    fn prefixes_are_found_shortest_first() {
        let all = ["a", "abc", "", "ab", "b", "é", "abd", "a"];
        let pieces = (0..).zip(all).map(|(i, piece)| (piece.into(), i)).collect::<Vec<(_, u32)>>();
        let pieces = Pieces::new(pieces);
        let found = |text| pieces.prefixes(text).collect::<Vec<_>>();
        assert_eq!(found("abcd"), [(1, 7), (2, 3), (3, 1)]);
        assert_eq!(found("ab"), [(1, 7), (2, 3)]);
        assert_eq!(found("éa"), [(2, 5)]);
        assert!(found("").is_empty() && found("c").is_empty() && found("è").is_empty());
        assert_eq!((pieces.get("abd"), pieces.get("abe"), pieces.get("")), (Some(6), None, None));
    }
}
