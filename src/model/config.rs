//! What a model folder says about its shape: `config.json`, and the files of sentence-transformers beside it.

use super::family::{BUCKETS, Family};
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
    pub(super) family: Family,
    /// Names of a classifier's outputs.
    pub(super) labels: Option<Vec<String>>,
    /// Places before that of the first token.
    pub(super) places_before: usize,
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

/// Members of config.json that change nothing about what an encoder computes: those of training (dropout, losses,
/// initial values), of decoders (caches, beams), of other tokens' meaning, and notes about the file.
const IDLE: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_name_or_path",
    "adapters",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "directionality",
    "dropout",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "initializer_range",
    "label2id",
    "language",
    "model_max_length",
    "name",
    "output_past",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "problem_type",
    "qa_dropout",
    "return_dict",
    "sep_token_id",
    "seq_classif_dropout",
    // Positions are a table in the file either way.
    "sinusoidal_pos_embds",
    "task_specific_params",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_weights_",
    "tie_word_embeddings",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "use_cache",
];
/// Those that do.
const READ: &[&str] = &[
    "architectures",
    "id2label",
    "model_type",
    "num_labels",
    "pad_token_id",
    "position_embedding_type",
    "vocab_size",
    "max_position_embeddings",
];
/// Those whose names depend on the family: BERT's and DistilBERT's.
const NAMED: &[(&str, &str)] = &[
    ("hidden_act", "activation"),
    ("hidden_size", "dim"),
    ("intermediate_size", "hidden_dim"),
    ("num_attention_heads", "n_heads"),
    ("num_hidden_layers", "n_layers"),
    ("layer_norm_eps", ""),
    ("type_vocab_size", ""),
];
/// Members about how a decoder makes texts, which the library writes for every model.
const GENERATION: &[&str] = &[
    "bad_words_ids",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
];
/// Members that must be false: true would ask for another result.
const FALSE: &[&str] = &[
    "add_cross_attention",
    "is_decoder",
    "is_encoder_decoder",
    "output_attentions",
    "output_hidden_states",
    "use_bfloat16",
];
/// Members that must be empty: heads that were taken out, and a text before every text.
const EMPTY: &[&str] = &["prefix", "pruned_heads"];
/// Outputs of a classifier, at most.
const LABELS_MAX: usize = 1024;
/// Bytes of a label, at most.
const LABEL_BYTES_MAX: usize = 1024;

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
        let family = read_family(&json)?;
        let distil = family == Family::DistilBert;
        if let Some(buckets) = json.find("relative_attention_num_buckets") {
            // The library computes with so many, whatever is said here.
            buckets.number(BUCKETS..=BUCKETS)?;
        }
        let named = |name: &'static str| own_name(family, name);
        let act = json.get(named("hidden_act"))?;
        let activation = match act.one_of(&["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"])? {
            "gelu" => Activation::GeluErf,
            "relu" => Activation::Relu,
            _ => Activation::GeluTanh,
        };
        let number = |name: &'static str, range| json.get(named(name))?.number(range);
        let places = number("max_position_embeddings", 1..=1 << 16)?;
        let places_before = match family {
            Family::Roberta => {
                1 + json.find("pad_token_id").map_or(Ok(1), |id| id.number(0..=8))?
            }
            // Behind that of token 1, whatever pad_token_id says.
            Family::MpNet => 2,
            _ => 0,
        };
        if places_before >= places {
            let what = "leaves no place for a token behind that of padding";
            return Err(json.get("max_position_embeddings")?.wrong(what));
        }
        let config = Self {
            family,
            labels: read_labels(&json, family)?,
            places_before,
            vocab: number("vocab_size", 1..=1 << 20)?,
            hidden: number("hidden_size", 32..=NORM_COLUMNS_MAX)?,
            layers: number("num_hidden_layers", 1..=48)?,
            heads: number("num_attention_heads", 1..=32)?,
            inner: number("intermediate_size", 32..=1 << 13)?,
            places,
            types: if family.has_types() { number("type_vocab_size", 1..=16)? } else { 1 },
            #[allow(clippy::cast_possible_truncation, reason = "checked below")]
            eps: if distil { 1e-12 } else { json.get("layer_norm_eps")?.real()? as f32 },
            activation,
            tokens_max: places - places_before,
            pooling: Pooling::Mean,
            unit: false,
        };
        if !(config.eps > 0.0 && config.eps < 1.0) {
            return Err(json.get("layer_norm_eps")?.wrong("not between 0 and 1"));
        }
        if !config.inner.is_multiple_of(32) {
            return Err(json.get(named("intermediate_size"))?.wrong("not a multiple of 32"));
        }
        if ![32, 64, 128].map(|size| size * config.heads).contains(&config.hidden) {
            let heads = json.get(named("num_attention_heads"))?;
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
        if self.labels.is_some() {
            return Err(Error::source(file, "not supported beside a classification head"));
        }
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

/// What the family calls a member that BERT calls so.
fn own_name(family: Family, bert: &'static str) -> &'static str {
    let own = NAMED.iter().find(|(name, _)| *name == bert && family == Family::DistilBert);
    own.map_or(bert, |(_, own)| own)
}

/// The family; members that it does not know, or that ask for another result, are refused.
fn read_family(json: &Json<'_>) -> Result<Family> {
    let kinds = ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet"];
    let family = match json.get("model_type")?.one_of(&kinds)? {
        "bert" => Family::Bert,
        "distilbert" => Family::DistilBert,
        "mpnet" => Family::MpNet,
        _ => Family::Roberta,
    };
    let shape = NAMED.iter().map(|(bert, _)| own_name(family, bert));
    let mut known: Vec<&str> = [IDLE, GENERATION, READ, FALSE, EMPTY].concat();
    known.extend(shape.filter(|name| family.has_types() || *name != "type_vocab_size"));
    known.extend((family == Family::MpNet).then_some("relative_attention_num_buckets"));
    json.only(&known)?;
    for member in EMPTY.iter().filter_map(|name| json.find(name)) {
        if !member.is_empty() {
            return Err(member.wrong("only an empty one is supported"));
        }
    }
    for flag in FALSE.iter().filter_map(|name| json.find(name)) {
        if flag.truth()? {
            return Err(flag.wrong("only false is supported"));
        }
    }
    if let Some(position) = json.find("position_embedding_type") {
        position.one_of(&["absolute"])?;
    }
    Ok(family)
}

/// Names of the classes, when the model is said to have a classifier.
fn read_labels(json: &Json<'_>, family: Family) -> Result<Option<Vec<String>>> {
    let Some(list) = json.find("architectures") else { return Ok(None) };
    let mut classifies = false;
    for item in list.items(16)? {
        let name = item.text()?;
        let known = name.strip_prefix("XLM").unwrap_or(name);
        let ours = known == family.classifier() || name == "CamembertForSequenceClassification";
        if name.ends_with("ForSequenceClassification") && !ours {
            return Err(
                item.wrong(format!("not of this model_type; known: {}", family.classifier()))
            );
        }
        classifies |= ours;
    }
    if !classifies {
        return Ok(None);
    }
    let Some(names) = json.find("id2label") else {
        let count = json.find("num_labels").map_or(Ok(2), |count| count.number(1..=LABELS_MAX))?;
        return Ok(Some((0..count).map(|id| format!("LABEL_{id}")).collect()));
    };
    let count = names.object()?.len();
    if !(1..=LABELS_MAX).contains(&count) {
        return Err(names.wrong(format!("{count} labels, 1 to {LABELS_MAX} are taken")));
    }
    let label = |id: usize| {
        let label = names.get(&id.to_string())?;
        let text = label.text()?;
        if text.len() > LABEL_BYTES_MAX {
            return Err(label.wrong(format!("longer than {LABEL_BYTES_MAX} bytes")));
        }
        Ok(text.to_owned())
    };
    let labels = (0..count).map(label).collect::<Result<Vec<_>>>()?;
    if let Some(said) = json.find("num_labels")
        && said.number(1..=LABELS_MAX)? != count
    {
        return Err(said.wrong(format!("id2label has {count}")));
    }
    Ok(Some(labels))
}
