//! Tensors of a safetensors file: eight bytes of length, a JSON header, then the values.
//!
//! <https://github.com/huggingface/safetensors>: offsets count from the end of the header; tensors lie one after
//! another without gaps or overlaps, which is checked before any is looked at.

use super::json::{Json, parse};
use crate::base::error::{Error, Result};
use crate::ops::low::Precision;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes of a header, at most.
const HEADER_BYTES_MAX: usize = 16 << 20;
/// Dimensions of a tensor, at most.
const DIMENSIONS_MAX: usize = 8;

/// The element types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    F32,
    F16,
    BF16,
    I8,
    I64,
}

/// Where a tensor lies, and its shape.
#[derive(Debug)]
struct Tensor {
    element: Element,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

/// A tensor to be written.
pub(super) struct Stored {
    pub(super) dtype: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

/// A whole file, checked.
pub(super) struct Tensors {
    file: String,
    bytes: Vec<u8>,
    tensors: BTreeMap<String, Tensor>,
    /// Whether `write` wrote it.
    quantised: bool,
}

/// What a file's metadata says that was quantised here.
const QUANTISED: (&str, &str) = ("format", "pelton-quantised");

impl Tensors {
    pub(super) fn new(file: &str, bytes: Vec<u8>) -> Result<Self> {
        let wrong = |what: String| Error::source(file, what);
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(wrong(format!("{} bytes, a header has 8 at least", bytes.len())));
        };
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > rest.len().min(HEADER_BYTES_MAX) {
            return Err(wrong(format!(
                "its header says {length} bytes; the file has {}, at most {HEADER_BYTES_MAX} are read",
                rest.len()
            )));
        }
        let header = parse(file, &rest[..length])?;
        let mut tensors = BTreeMap::new();
        let mut quantised = false;
        for (name, entry) in Json::new(file, &header).members()? {
            if name == "__metadata__" {
                let found = header.get(name).and_then(|entry| entry.get(QUANTISED.0));
                quantised = found.and_then(|value| value.as_str()) == Some(QUANTISED.1);
            } else {
                tensors.insert(name.to_owned(), tensor(&entry, rest.len() - length)?);
            }
        }
        let tensors = Self { file: file.to_owned(), bytes, tensors, quantised };
        tensors.check_order(length)?;
        Ok(tensors.moved(8 + length))
    }

    /// Refuses gaps and overlaps.
    fn check_order(&self, header: usize) -> Result<()> {
        let mut order: Vec<_> = self.tensors.iter().map(|(name, t)| (&t.bytes, name)).collect();
        order.sort_by_key(|(bytes, _)| (bytes.start, bytes.end));
        let mut end = 0;
        for (bytes, name) in order {
            if bytes.start != end {
                let what = if bytes.start < end { "overlaps" } else { "leaves a gap behind" };
                return Err(self.wrong(name, format!("{what} the tensor before it")));
            }
            end = bytes.end;
        }
        let have = self.bytes.len() - 8 - header;
        if end != have {
            let what = format!("tensors end at byte {end}, the file at {have}");
            return Err(Error::source(&self.file, what));
        }
        Ok(())
    }

    /// With offsets from the start of the file.
    fn moved(mut self, start: usize) -> Self {
        for tensor in self.tensors.values_mut() {
            tensor.bytes = tensor.bytes.start + start..tensor.bytes.end + start;
        }
        self
    }

    pub(super) fn wrong(&self, name: &str, what: impl std::fmt::Display) -> Error {
        let name: String = name.chars().take(200).collect();
        Error::source(&self.file, format!("tensor {name}: {what}"))
    }

    /// Refuses tensors that `known` does not know.
    pub(super) fn only(&self, known: impl Fn(&str) -> bool) -> Result<()> {
        match self.tensors.keys().find(|name| !known(name)) {
            Some(name) => Err(self.wrong(name, "not known; what it means would be ignored")),
            None => Ok(()),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The values of a tensor that must be there with this shape, all finite.
    pub(super) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.checked(name, shape)?;
        let bytes = &self.bytes[tensor.bytes.clone()];
        let pairs = || bytes.as_chunks::<2>().0.iter();
        let values: Vec<f32> = match tensor.element {
            Element::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Element::F16 => pairs().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect(),
            Element::BF16 => pairs().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
            Element::I8 | Element::I64 => {
                return Err(self.wrong(name, "whole numbers where reals are expected"));
            }
        };
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(self.wrong(name, format!("value {at} is {}", values[at]))),
            None => Ok(values),
        }
    }

    /// Whether the file says itself what its linear layers are to run in.
    pub(super) fn quantised(&self) -> bool {
        self.quantised
    }

    /// What a matrix of a quantised file is to run in.
    pub(super) fn precision(&self, name: &str) -> Precision {
        match self.tensors.get(name).map(|tensor| tensor.element) {
            Some(Element::I8) => Precision::Int8,
            Some(Element::F16) => Precision::F16,
            Some(Element::BF16) => Precision::Bf16,
            _ => Precision::F32,
        }
    }

    /// The codes of a matrix of this shape, where a quantised file has it as such: none is -128.
    pub(super) fn codes(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<i8>>> {
        let tensor = self.checked(name, shape)?;
        if !self.quantised || tensor.element != Element::I8 {
            return Ok(None);
        }
        let codes = self.bytes[tensor.bytes.clone()].iter().map(|byte| byte.cast_signed());
        let codes: Vec<i8> = codes.collect();
        match codes.iter().position(|&code| code == i8::MIN) {
            Some(at) => Err(self.wrong(name, format!("value {at} is -128, codes are -127 to 127"))),
            None => Ok(Some(codes)),
        }
    }

    /// A quantised file: these tensors in place of those of their names, and all others as they are.
    pub(super) fn write(&self, changed: &BTreeMap<String, Stored>) -> Vec<u8> {
        let mut all: BTreeMap<&str, (&str, &[usize], &[u8])> = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            let dtype = match tensor.element {
                Element::F32 => "F32",
                Element::F16 => "F16",
                Element::BF16 => "BF16",
                Element::I8 => "I8",
                Element::I64 => "I64",
            };
            all.insert(name, (dtype, &tensor.shape, &self.bytes[tensor.bytes.clone()]));
        }
        for (name, stored) in changed {
            all.insert(name, (stored.dtype, &stored.shape, &stored.bytes));
        }
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".into(), serde_json::json!({ QUANTISED.0: QUANTISED.1 }));
        let mut end = 0;
        for (name, (dtype, shape, bytes)) in &all {
            let offsets = [end, end + bytes.len()];
            end = offsets[1];
            let entry =
                serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
            header.insert((*name).to_owned(), entry);
        }
        let mut header = serde_json::Value::Object(header).to_string();
        // Values begin at a multiple of eight bytes, as the format's own library has it.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        let length = (header.len() as u64).to_le_bytes();
        let values = all.values().flat_map(|(_, _, bytes)| *bytes);
        length.iter().chain(header.as_bytes()).chain(values).copied().collect()
    }

    /// Checks that a tensor is there with this shape.
    pub(super) fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        self.checked(name, shape).map(|_| ())
    }

    fn checked(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.wrong(name, "missing"));
        };
        if tensor.shape != shape {
            let what = format!("its shape is {:?}, the configuration says {shape:?}", tensor.shape);
            return Err(self.wrong(name, what));
        }
        Ok(tensor)
    }
}

/// An entry of the header, for a file with so many bytes of values.
fn tensor(entry: &Json<'_>, have: usize) -> Result<Tensor> {
    entry.only(&["dtype", "shape", "data_offsets"])?;
    let (element, size) = match entry.get("dtype")?.one_of(&["F32", "F16", "BF16", "I8", "I64"])? {
        "F32" => (Element::F32, 4),
        "F16" => (Element::F16, 2),
        "BF16" => (Element::BF16, 2),
        "I8" => (Element::I8, 1),
        _ => (Element::I64, 8),
    };
    let dimensions = entry.get("shape")?.items(DIMENSIONS_MAX)?;
    let shape = dimensions.iter().map(|n| n.number(0..=usize::MAX)).collect::<Result<Vec<_>>>()?;
    let product = shape.iter().try_fold(size, |all: usize, &n| all.checked_mul(n));
    let ends = entry.get("data_offsets")?.items(2)?;
    let [start, end] = &ends[..] else {
        return Err(entry.wrong("data_offsets: two numbers are expected"));
    };
    let (start, end) = (start.number(0..=have)?, end.number(0..=have)?);
    if product.is_none() || end.checked_sub(start) != product {
        return Err(entry.wrong(format!("bytes {start} to {end} do not hold its shape {shape:?}")));
    }
    Ok(Tensor { element, shape, bytes: start..end })
}
