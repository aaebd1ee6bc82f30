//! JSON of model files, read so that an error names the file and the way to the value.

use crate::base::error::{Error, Result};
use serde_json::{Map, Value};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Json<'a> {
    file: &'a str,
    path: String,
    value: &'a Value,
}

/// Parses a file; nesting is bounded by the parser.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| Error::source(file, format!("not JSON: {error}")))
}

impl<'a> Json<'a> {
    pub(super) fn new(file: &'a str, value: &'a Value) -> Self {
        Self { file, path: String::new(), value }
    }

    /// An error about this value.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        let path = if self.path.is_empty() { "the file" } else { &self.path };
        Error::source(self.file, format!("{path}: {what}"))
    }

    fn at(&self, step: &str, value: &'a Value) -> Self {
        let dot = if self.path.is_empty() || step.starts_with('[') { "" } else { "." };
        // A hostile name is cut, so that a message stays one.
        let step: String = step.chars().take(80).collect();
        Self { file: self.file, path: format!("{}{dot}{step}", self.path), value }
    }

    /// A member, if it is there and not null.
    pub(super) fn find(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name)?;
        (!value.is_null()).then(|| self.at(name, value))
    }

    pub(super) fn get(&self, name: &str) -> Result<Self> {
        self.find(name).ok_or_else(|| self.at(name, self.value).wrong("missing"))
    }

    pub(super) fn object(&self) -> Result<&'a Map<String, Value>> {
        self.value.as_object().ok_or_else(|| self.wrong("not an object"))
    }

    pub(super) fn members(&self) -> Result<impl Iterator<Item = (&'a str, Self)>> {
        let object = self.object()?;
        Ok(object.iter().map(|(name, value)| (name.as_str(), self.at(name, value))))
    }

    /// Whether it is a list, an object or a text of nothing.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        }
    }

    /// The items of a list of so many at most: each takes more memory here than in the file.
    pub(super) fn items(&self, most: usize) -> Result<Vec<Self>> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("not a list"))?;
        if items.len() > most {
            return Err(self.wrong(format!("a list of {}, at most {most} are taken", items.len())));
        }
        Ok(items.iter().enumerate().map(|(i, value)| self.at(&format!("[{i}]"), value)).collect())
    }

    pub(super) fn text(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong("not a string"))
    }

    pub(super) fn truth(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("neither true nor false"))
    }

    /// A whole number of a range.
    pub(super) fn number(&self, range: std::ops::RangeInclusive<usize>) -> Result<usize> {
        let number = self.value.as_u64().and_then(|n| usize::try_from(n).ok());
        number.filter(|n| range.contains(n)).ok_or_else(|| {
            self.wrong(format!("not a whole number from {} to {}", range.start(), range.end()))
        })
    }

    pub(super) fn real(&self) -> Result<f64> {
        self.value.as_f64().ok_or_else(|| self.wrong("not a number"))
    }

    /// Refuses members of other names than these.
    pub(super) fn only(&self, names: &[&str]) -> Result<()> {
        for (name, member) in self.members()? {
            if !names.contains(&name) {
                return Err(member.wrong("not known here; what it means would be ignored"));
            }
        }
        Ok(())
    }

    /// Refuses any text but these.
    pub(super) fn one_of(&self, texts: &[&str]) -> Result<&'a str> {
        let text = self.text()?;
        if texts.contains(&text) {
            return Ok(text);
        }
        let text: String = text.chars().take(80).collect();
        Err(self.wrong(format!("{text:?} is not supported; known: {}", texts.join(", "))))
    }
}
