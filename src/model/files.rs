//! A model folder in memory: read once, within limits, hashed, and checked as a whole.

use super::config::{Config, Pooling};
use super::family;
use super::json::parse;
use super::layout::{self, LayerShape};
use super::quant::Recipe;
use super::safetensors::Tensors;
use super::tokenizer::{self, Tokenizer};
use crate::base::error::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the weights, at most: 4 GiB.
const WEIGHTS_BYTES_MAX: usize = 4 << 30;
/// Bytes of `tokenizer.json`, at most.
const TOKENIZER_BYTES_MAX: usize = 64 << 20;

/// Where files come from, and the hash of those that were read.
pub(super) struct Folder {
    from: From,
    hash: hmac_sha256::Hash,
}

enum From {
    Disk(PathBuf),
    Memory(BTreeMap<String, Vec<u8>>),
}

impl Folder {
    /// A file's bytes; `None` when it is not there.
    fn read(&mut self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let bytes = match &mut self.from {
            From::Memory(files) => files.remove(name),
            From::Disk(folder) => read_file(&folder.join(name), bytes_max)?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        if bytes.len() > bytes_max {
            return Err(too_large(name, bytes_max));
        }
        // Names and lengths are part of it, so that no two folders make the same bytes.
        self.hash.update(name.as_bytes());
        self.hash.update([0]);
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(&bytes);
        Ok(Some(bytes))
    }

    /// The bytes of a file that must be there.
    pub(super) fn need(&mut self, name: &str, bytes_max: usize) -> Result<Vec<u8>> {
        let what =
            "missing; a model is a folder with config.json, tokenizer.json and model.safetensors";
        self.read(name, bytes_max)?.ok_or_else(|| Error::source(name, what))
    }

    /// A file of JSON that may be there.
    pub(super) fn json(&mut self, name: &str, bytes_max: usize) -> Result<Option<Value>> {
        self.read(name, bytes_max)?.map(|bytes| parse(name, &bytes)).transpose()
    }
}

fn too_large(name: impl std::fmt::Display, bytes_max: usize) -> Error {
    Error::source(name, format!("larger than {bytes_max} bytes"))
}

fn read_file(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>> {
    let wrong = |error: std::io::Error| Error::source(path.display(), error);
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    // Opening a pipe would wait for somebody to write to it.
    if !found.is_file() {
        return Err(Error::source(path.display(), "not a file"));
    }
    let length = usize::try_from(found.len()).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(too_large(path.display(), bytes_max));
    }
    let mut bytes = Vec::new();
    let full = |_| Error::source(path.display(), format!("no memory for its {length} bytes"));
    bytes.try_reserve_exact(length + 1).map_err(full)?;
    // It may be growing while it is read.
    let file = File::open(path).map_err(wrong)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
    Ok(Some(bytes))
}

/// A model folder, read and checked. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) tokenizer: Tokenizer,
    pub(super) tensors: Tensors,
    /// What names of tensors begin with.
    pub(super) prefix: &'static str,
    hash: String,
}

/// What is wrong with token ids.
pub(crate) enum Misfit {
    /// They are none, or too many.
    Length,
    /// The one at this place is not of the vocabulary.
    Token(usize),
}

impl Model {
    /// Reads a folder of Hugging Face or sentence-transformers as it is: `config.json`, `tokenizer.json`,
    /// `model.safetensors` (F32, or F16 and BF16, which are widened), and where they are there `modules.json`, its
    /// pooling's `config.json` and `sentence_bert_config.json`. Without `modules.json` a result is the mean of the
    /// tokens' vectors.
    ///
    /// Supported: `model_type` bert, roberta, xlm-roberta, camembert, distilbert and mpnet; absolute positions;
    /// WordPiece, byte-level BPE and Unigram. A folder whose `architectures` names the family's
    /// `...ForSequenceClassification` has a classifier (see [`Model::labels`]). A text in which RoBERTa's or MPNet's
    /// `<pad>` stands literally counts it as any token.
    ///
    /// # Errors
    /// `Source`, naming the file, the field or tensor, and what is accepted.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            return Err(Error::source(folder.display(), "not a folder"));
        }
        Self::read(From::Disk(folder.to_owned())).map_err(|error| match error {
            // Files read by name alone get the folder's.
            Error::Source { at, what } if !Path::new(&at).starts_with(folder) => {
                Error::source(folder.join(at).display(), what)
            }
            other => other,
        })
    }

    /// The same of files in memory, by their names in the folder; those that are not needed are left alone.
    ///
    /// # Errors
    /// As for `load`.
    pub fn from_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self> {
        Self::read(From::Memory(files.into_iter().collect()))
    }

    fn read(from: From) -> Result<Self> {
        let mut folder = Folder { from, hash: hmac_sha256::Hash::new() };
        let config = Config::read(&mut folder)?;
        let file = "tokenizer.json";
        let bytes = folder.need(file, TOKENIZER_BYTES_MAX)?;
        let tokenizer = tokenizer::read(file, &bytes, config.vocab)?;
        if tokenizer.specials() >= config.tokens_max {
            let (file, name) = match config.tokens_max + config.places_before == config.places {
                true => ("config.json", "max_position_embeddings"),
                false => ("sentence_bert_config.json", "max_seq_length"),
            };
            let what = format!("{name}: {} leaves no room for a token", config.tokens_max);
            return Err(Error::source(file, what));
        }
        let file = "model.safetensors";
        let tensors = Tensors::new(file, folder.need(file, WEIGHTS_BYTES_MAX)?)?;
        let prefix = config.family.prefix();
        let headed = tensors.has(&format!("{prefix}embeddings.word_embeddings.weight"));
        let prefix = if headed || config.labels.is_some() { prefix } else { "" };
        let hash = folder.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let inner = Inner { config, tokenizer, tensors, prefix, hash };
        inner.check()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Values of an embedding.
    pub fn dim(&self) -> usize {
        self.inner.config.hidden
    }

    /// Tokens of a text, at most, `[CLS]` and `[SEP]` included; what is beyond is cut off.
    pub fn tokens_max(&self) -> usize {
        self.inner.config.tokens_max
    }

    /// How token vectors become one, and whether it is brought to length 1.
    pub fn pooling(&self) -> (Pooling, bool) {
        (self.inner.config.pooling, self.inner.config.unit)
    }

    /// What a classifier's outputs are called (`id2label`); `None` for a model that makes embeddings.
    pub fn labels(&self) -> Option<&[String]> {
        self.inner.config.labels.as_deref()
    }

    /// SHA-256 over all files that were read, as hexadecimal digits: what a result was made with.
    pub fn hash(&self) -> &str {
        &self.inner.hash
    }

    /// A text's token ids, as the encoder takes them.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.tokens_into(text, (&mut tokens, &mut String::new()));
        tokens
    }

    /// The same into memory that is there; WordPiece then allocates nothing. The string is memory to work with.
    pub(crate) fn tokens_into(&self, text: &str, to: (&mut Vec<u32>, &mut String)) {
        self.inner.tokenizer.tokens_into(text, self.inner.config.tokens_max, to);
    }

    /// Why the model does not take these token ids, if it does not.
    pub(crate) fn misfit(&self, ids: &[u32]) -> Option<Misfit> {
        if ids.is_empty() || ids.len() > self.tokens_max() {
            return Some(Misfit::Length);
        }
        ids.iter().position(|&id| id as usize >= self.vocab()).map(Misfit::Token)
    }

    /// Ids that its tokens have: all below.
    pub(crate) fn vocab(&self) -> usize {
        self.inner.config.vocab
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({:?}, sha256 {})", self.inner.config, self.inner.hash)
    }
}

impl Inner {
    /// Whether all tensors are there, of the shapes that the configuration says, finite, and no others.
    fn check(&self) -> Result<()> {
        let shape = LayerShape::new(&self.config);
        let mut known: Vec<(String, Vec<usize>)> = Vec::new();
        let mut codes: Vec<String> = Vec::new();
        for (name, shape) in shape.embeddings() {
            known.push((format!("{}embeddings.{name}", self.prefix), shape));
        }
        known.extend(shape.bias().map(|(name, shape)| (format!("{}{name}", self.prefix), shape)));
        for layer in 0..self.config.layers {
            for (tensor, of) in shape.layer() {
                let name = shape.name(self, layer, tensor);
                if let [columns, depth] = of[..]
                    && self.tensors.codes(&name, &of)?.is_some()
                {
                    known.push((layout::scales_of(&name), vec![columns]));
                    known.push((layout::smooth_of(&name), vec![depth]));
                    codes.push(name);
                } else {
                    known.push((name, of));
                }
            }
        }
        known.extend(
            self.config
                .labels
                .iter()
                .flat_map(|labels| self.config.family.head(self.config.hidden, labels.len())),
        );
        for (name, shape) in &known {
            self.tensors.check(name, shape)?;
        }
        known.sort();
        self.tensors.only(|name| {
            known.binary_search_by(|(known, _)| known.as_str().cmp(name)).is_ok()
                || codes.iter().any(|codes| codes == name)
                || family::idle(&self.config, self.prefix, name)
        })?;
        known.iter().try_for_each(|(name, shape)| self.tensors.values(name, shape).map(|_| ()))?;
        Recipe::stored(self).map(|_| ())
    }
}
