//! JSON as reports need it: a value, how it is written, and how it is read again.
//!
//! A report is small and its numbers are counts and measurements, so every number is an `f64`; counts stay
//! exact below 2^53. Objects keep their order, so that two reports can be compared by eye.

use std::fmt;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Json {
    /// What is not a number is written as `null`.
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Number(value) } else { Self::Null }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts and nanoseconds of a report stay below 2^53")]
impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value as f64)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// An object from pairs, in their order.
pub(crate) fn object<const N: usize>(pairs: [(&str, Json); N]) -> Json {
    Json::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

impl Json {
    /// What lies under a path of names with dots between them; `None` where there is nothing.
    pub(crate) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| match value {
            Self::Object(pairs) => pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            _ => None,
        })
    }

    /// The number under a path.
    pub(crate) fn number(&self, path: &str) -> Option<f64> {
        if let Some(Self::Number(number)) = self.at(path) { Some(*number) } else { None }
    }

    /// The text under a path.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        if let Some(Self::Text(text)) = self.at(path) { Some(text) } else { None }
    }

    /// The items under a path; none where there is no list.
    pub(crate) fn items(&self, path: &str) -> &[Self] {
        if let Some(Self::List(items)) = self.at(path) { items } else { &[] }
    }

    /// Reads one value from a whole text.
    ///
    /// # Errors
    /// What was expected at which byte.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(reader.expected("the end")) }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        // Values of values stand on lines of their own; lists of plain ones stay on one line.
        let plain = |value: &Self| !matches!(value, Self::List(_) | Self::Object(_));
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(text) => quoted(f, text),
            Self::List(items) if depth > 3 || items.iter().all(plain) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    item.write(f, depth + 1)?;
                }
                f.write_str("]")
            }
            Self::List(items) => {
                let item = |f: &mut fmt::Formatter<'_>, i: usize| items[i].write(f, depth + 1);
                block(f, depth, ("[", "]"), items.len(), item)
            }
            Self::Object(pairs) => block(f, depth, ("{", "}"), pairs.len(), |f, i| {
                quoted(f, &pairs[i].0)?;
                f.write_str(": ")?;
                pairs[i].1.write(f, depth + 1)
            }),
        }
    }
}

fn block(
    f: &mut fmt::Formatter<'_>,
    depth: usize,
    (open, close): (&str, &str),
    len: usize,
    item: impl Fn(&mut fmt::Formatter<'_>, usize) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for i in 0..len {
        write!(f, "{}\n{:2$}", if i > 0 { "," } else { "" }, "", 2 * (depth + 1))?;
        item(f, i)?;
    }
    if len > 0 {
        write!(f, "\n{:1$}", "", 2 * depth)?;
    }
    f.write_str(close)
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// Reports nest a handful of levels; a file that nests deeper is none.
const DEPTH_MAX: usize = 32;

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn expected(&self, what: &str) -> String {
        format!("byte {}: expected {what}", self.at)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\n', '\r', '\t']).len();
    }

    /// Passes over a token when it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(token);
        self.at += if there { token.len() } else { 0 };
        there
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEPTH_MAX {
            return Err(self.expected("less depth"));
        }
        for (token, value) in
            [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))]
        {
            if self.take(token) {
                return Ok(value);
            }
        }
        if self.take("[") {
            let mut items = Vec::new();
            self.list("]", |reader| reader.value(depth + 1).map(|item| items.push(item)))?;
            return Ok(Json::List(items));
        }
        if self.take("{") {
            let mut pairs = Vec::new();
            self.list("}", |reader| {
                let name = reader.string()?;
                if !reader.take(":") {
                    return Err(reader.expected("`:`"));
                }
                pairs.push((name, reader.value(depth + 1)?));
                Ok(())
            })?;
            return Ok(Json::Object(pairs));
        }
        if self.rest().starts_with('"') {
            return self.string().map(Json::Text);
        }
        let number = |c: char| c.is_ascii_digit() || ['-', '+', '.', 'e', 'E'].contains(&c);
        let end = self.rest().find(|c| !number(c)).unwrap_or(self.rest().len());
        let value = self.rest()[..end].parse().map_err(|_| self.expected("a value"))?;
        self.at += end;
        Ok(Json::Number(value))
    }

    /// Reads items between commas up to `close`.
    fn list(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(close) {
                return Ok(());
            }
            if !self.take(",") {
                return Err(self.expected(&format!("`,` or `{close}`")));
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.take("\"") {
            return Err(self.expected("a string"));
        }
        let mut text = String::new();
        loop {
            let next = self.rest().chars().next().ok_or_else(|| self.expected("`\"`"))?;
            self.at += next.len_utf8();
            match next {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let code = self.rest().chars().next().ok_or_else(|| self.expected("an escape"))?;
        self.at += code.len_utf8();
        Ok(match code {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'u' => {
                let hex = self.rest().get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let c = hex.and_then(char::from_u32).ok_or_else(|| self.expected("four digits"))?;
                self.at += 4;
                c
            }
            '"' | '\\' | '/' => code,
            _ => return Err(self.expected("an escape")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Json, object};

    #[test]
    fn what_is_written_is_read_again() {
        let value = object([
            ("a \"b\" \\ \n", Json::from("é\t\u{1}")),
            ("numbers", vec![0.0, -1.5, 1e300, 1e-9, 123_456_789.0].into()),
            ("count", (1u64 << 52).into()),
            ("none", f64::NAN.into()),
            ("empty", Json::List(Vec::new())),
            ("deep", vec![object([("x", true.into())]), Json::Object(Vec::new())].into()),
        ]);
        assert_eq!(Json::parse(&value.to_string()), Ok(value));
    }

    #[test]
    fn values_are_found_by_path() {
        let value = Json::parse(r#" {"a": {"b": [1, "x", null]}, "c": "A\n\/"} "#).unwrap();
        assert_eq!(value.items("a.b").len(), 3);
        assert_eq!(value.text("c"), Some("A\n/"));
        assert_eq!((value.number("a.b"), value.number("a.c"), value.at("c.d")), (None, None, None));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,]", "{\"a\" 1}", "nul", "\"a", "\"\\x\"", "1 2", "-", "{1:2}"] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert!(Json::parse(&"[".repeat(100)).is_err());
    }
}
