//! Families of encoders: one architecture under several names, so each is a table of names.

use super::config::Config;
use crate::ops::gemm::Activation;

/// Who wrote the model first, and with that what its files call things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// BERT, and all who kept its names: MiniLM, BGE, E5.
    Bert,
    /// RoBERTa and XLM-R: BERT's names; positions begin behind that of padding.
    Roberta,
    /// DistilBERT: no token types, and names of its own.
    DistilBert,
}

/// DistilBERT's names of a layer's parts, by BERT's. Of two that begin alike the longer stands first.
const DISTIL: &[(&str, &str)] = &[
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
];

impl Family {
    /// What names of tensors begin with in a model that has a head.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::Roberta => "roberta.",
            Self::DistilBert => "distilbert.",
        }
    }

    /// The name of a layer's tensor, by BERT's name of it.
    pub(super) fn layer(self, layer: usize, tensor: &str) -> String {
        if self != Self::DistilBert {
            return format!("encoder.layer.{layer}.{tensor}");
        }
        let own = DISTIL.iter().find_map(|(theirs, own)| Some((own, tensor.strip_prefix(theirs)?)));
        let (own, rest) = own.unwrap_or((&tensor, ""));
        format!("transformer.layer.{layer}.{own}{rest}")
    }

    /// Names and shapes of a classifier's tensors, in the order in which they are laid out. Those behind the prefix
    /// say so.
    pub(super) fn head(self, hidden: usize, labels: usize) -> [(String, Vec<usize>); 4] {
        let [dense, out] = match self {
            Self::Bert => ["bert.pooler.dense", "classifier"],
            Self::Roberta => ["classifier.dense", "classifier.out_proj"],
            Self::DistilBert => ["pre_classifier", "classifier"],
        };
        [
            (format!("{dense}.weight"), vec![hidden, hidden]),
            (format!("{dense}.bias"), vec![hidden]),
            (format!("{out}.weight"), vec![labels, hidden]),
            (format!("{out}.bias"), vec![labels]),
        ]
    }

    /// What stands between a classifier's two layers.
    pub(super) fn head_activation(self) -> Activation {
        if self == Self::DistilBert { Activation::Relu } else { Activation::Tanh }
    }

    /// The class of Hugging Face that has the classifier.
    pub(super) fn classifier(self) -> &'static str {
        match self {
            Self::Bert => "BertForSequenceClassification",
            Self::Roberta => "RobertaForSequenceClassification",
            Self::DistilBert => "DistilBertForSequenceClassification",
        }
    }
}

/// Whether a tensor belongs to another use of the model, and no embedding or score depends on it: the pooler, heads of
/// the pretraining, and positions, which are counted here.
pub(super) fn idle(config: &Config, prefix: &str, name: &str) -> bool {
    const OWN: &[&str] = &["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"];
    const HEADS: &[&str] =
        &["cls.", "lm_head.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector."];
    let own = name.strip_prefix(prefix).is_some_and(|name| OWN.contains(&name));
    own || config.labels.is_none() && HEADS.iter().any(|head| name.starts_with(head))
}
