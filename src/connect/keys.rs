//! Text keys as numbers: the engine groups by integers, the answer prints what the file said.

use std::collections::HashMap;
use std::sync::Arc;

/// Numbers texts from zero in the order they first appear, and knows each text of a number.
///
/// ```
/// use pelton::connect::keys::Keys;
/// let mut keys = Keys::default();
/// let (a, b) = (keys.id("ams"), keys.id("bru"));
/// assert_eq!((a, b, keys.id("ams")), (0, 1, 0));
/// assert_eq!(keys.name(b), Some("bru"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Keys {
    // The default hasher is seeded per process, so a file cannot be crafted to collide.
    ids: HashMap<Arc<str>, u64>,
    names: Vec<Arc<str>>,
}

impl Keys {
    /// The number of `name`, a new one when it was never seen.
    pub fn id(&mut self, name: &str) -> u64 {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = self.names.len() as u64;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    /// The text that got this number.
    pub fn name(&self, id: u64) -> Option<&str> {
        self.names.get(usize::try_from(id).ok()?).map(AsRef::as_ref)
    }

    /// How many different texts there are: all numbers are below this.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no text was seen.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn numbers_are_dense_and_stable() {
        let mut keys = Keys::default();
        assert!(keys.is_empty());
        for round in 0..2 {
            for i in 0..1000u64 {
                assert_eq!(keys.id(&format!("key {i}")), i, "round {round}");
            }
        }
        assert_eq!(keys.len(), 1000);
        assert_eq!(
            (keys.name(999), keys.name(1000), keys.name(u64::MAX)),
            (Some("key 999"), None, None)
        );
    }

    #[test]
    fn texts_are_told_apart_to_the_byte() {
        let mut keys = Keys::default();
        let texts = ["", " ", "0", "00", "é", "e\u{301}", "A", "a"];
        let ids: Vec<u64> = texts.iter().map(|t| keys.id(t)).collect();
        assert_eq!(ids, (0..8).collect::<Vec<_>>());
        assert!(ids.iter().zip(texts).all(|(&id, text)| keys.name(id) == Some(text)));
    }
}
