//! What a model folder says about its shape: `config.json`, and the files of sentence-transformers beside it.

use super::files::Folder;
use super::json::{Json, parse};
use crate::base::error::{Error, Result};
use crate::ops::gemm::{Activation, NORM_COLUMNS_MAX};

/// Bytes of a small file of JSON, at most.
const SMALL: usize = 1 << 20;

/// Modules of sentence-transformers, at most; three are known.
const MODULES_MAX: usize = 16;

/// How the vectors of a sequence's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's.
    First,
}

/// The shape of an encoder.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) vocab: usize,
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) inner: usize,
    pub(super) places: usize,
    pub(super) types: usize,
    pub(super) eps: f32,
    pub(super) activation: Activation,
    /// Tokens of a sequence, at most.
    pub(super) tokens_max: usize,
    pub(super) pooling: Pooling,
    /// Whether results have length 1.
    pub(super) unit: bool,
}

/// Members of config.json that change nothing about what an encoder computes.
const IDLE: &[&str] = &[
    "_name_or_path",
    "architectures",
    "attention_probs_dropout_prob",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "label2id",
    "model_type",
    "pad_token_id",
    "torch_dtype",
    "transformers_version",
    "use_cache",
];
/// Those that do.
const READ: &[&str] = &[
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "position_embedding_type",
    "type_vocab_size",
    "vocab_size",
];

impl Config {
    pub(super) fn read(folder: &mut Folder) -> Result<Self> {
        let mut config = Self::of_model(folder)?;
        config.read_modules(folder)?;
        let file = "sentence_bert_config.json";
        if let Some(value) = folder.json(file, SMALL)? {
            let json = Json::new(file, &value);
            json.only(&["max_seq_length", "do_lower_case"])?;
            if let Some(most) = json.find("max_seq_length") {
                config.tokens_max = config.tokens_max.min(most.number(1..=1 << 20)?);
            }
            if let Some(lower) = json.find("do_lower_case")
                && lower.truth()?
            {
                return Err(lower.wrong("a second lower-casing is not supported"));
            }
        }
        Ok(config)
    }

    fn of_model(folder: &mut Folder) -> Result<Self> {
        let file = "config.json";
        let bytes = folder.need(file, SMALL)?;
        let value = parse(file, &bytes)?;
        let json = Json::new(file, &value);
        json.only(&[IDLE, READ].concat())?;
        json.get("model_type")?.one_of(&["bert"])?;
        if let Some(position) = json.find("position_embedding_type") {
            position.one_of(&["absolute"])?;
        }
        let act = json.get("hidden_act")?;
        let activation = match act.one_of(&["gelu", "gelu_new", "gelu_pytorch_tanh"])? {
            "gelu" => Activation::GeluErf,
            _ => Activation::GeluTanh,
        };
        let number = |name: &str, range| json.get(name)?.number(range);
        let config = Self {
            vocab: number("vocab_size", 1..=1 << 20)?,
            hidden: number("hidden_size", 32..=NORM_COLUMNS_MAX)?,
            layers: number("num_hidden_layers", 1..=48)?,
            heads: number("num_attention_heads", 1..=32)?,
            inner: number("intermediate_size", 32..=1 << 13)?,
            places: number("max_position_embeddings", 1..=1 << 16)?,
            types: number("type_vocab_size", 1..=16)?,
            #[allow(clippy::cast_possible_truncation, reason = "checked below")]
            eps: json.get("layer_norm_eps")?.real()? as f32,
            activation,
            tokens_max: number("max_position_embeddings", 1..=1 << 16)?,
            pooling: Pooling::Mean,
            unit: false,
        };
        if !(config.eps > 0.0 && config.eps < 1.0) {
            return Err(json.get("layer_norm_eps")?.wrong("not between 0 and 1"));
        }
        if !config.inner.is_multiple_of(32) {
            return Err(json.get("intermediate_size")?.wrong("not a multiple of 32"));
        }
        if ![32, 64, 128].map(|size| size * config.heads).contains(&config.hidden) {
            let heads = json.get("num_attention_heads")?;
            return Err(heads.wrong(format!(
                "heads of 32, 64 or 128 values are supported, not {} values in {} heads",
                config.hidden, config.heads
            )));
        }
        Ok(config)
    }

    /// What sentence-transformers do behind the transformer. Without their files: the mean, as it is.
    fn read_modules(&mut self, folder: &mut Folder) -> Result<()> {
        let file = "modules.json";
        let Some(value) = folder.json(file, SMALL)? else { return Ok(()) };
        let modules = Json::new(file, &value).items(MODULES_MAX)?;
        for (at, module) in modules.iter().enumerate() {
            let kind = module.get("type")?;
            let name = kind.text()?.rsplit('.').next().unwrap_or("");
            match (at, name) {
                (0, "Transformer") => {
                    if module.find("path").is_some_and(|path| path.text() != Ok("")) {
                        return Err(
                            module.wrong("a transformer in a folder of its own is not supported")
                        );
                    }
                }
                (1, "Pooling") => self.read_pooling(folder, &module.get("path")?)?,
                (2, "Normalize") => self.unit = true,
                _ => {
                    return Err(kind.wrong(
                        "not supported here; known: Transformer, then Pooling, then Normalize",
                    ));
                }
            }
        }
        if modules.len() < 2 {
            return Err(Error::source(file, "a Transformer and a Pooling are expected"));
        }
        Ok(())
    }

    fn read_pooling(&mut self, folder: &mut Folder, path: &Json<'_>) -> Result<()> {
        let name = path.text()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(path.wrong("not a plain folder name"));
        }
        let file = format!("{name}/config.json");
        let bytes = folder.need(&file, SMALL)?;
        let value = parse(&file, &bytes)?;
        let json = Json::new(&file, &value);
        let mut modes = Vec::new();
        for (name, member) in json.members()? {
            match name {
                "word_embedding_dimension" => {
                    if member.number(1..=1 << 20)? != self.hidden {
                        return Err(member.wrong(format!("hidden_size is {}", self.hidden)));
                    }
                }
                // Only models that are told what to do with a text make a difference of it.
                "include_prompt" => {
                    member.truth()?;
                }
                _ if name.starts_with("pooling_mode_") => {
                    if member.truth()? {
                        modes.push(name);
                    }
                }
                _ => return Err(member.wrong("not known here; what it means would be ignored")),
            }
        }
        self.pooling = match modes[..] {
            ["pooling_mode_mean_tokens"] => Pooling::Mean,
            ["pooling_mode_cls_token"] => Pooling::First,
            _ => {
                return Err(json.wrong(
                    "one of pooling_mode_mean_tokens and pooling_mode_cls_token, and no other, is supported",
                ));
            }
        };
        Ok(())
    }
}
