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
    /// MPNet: no token types, a few names of its own, positions as RoBERTa's, and a bias by distance in attention.
    MpNet,
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

/// MPNet's.
const MPNET: &[(&str, &str)] = &[
    ("attention.self.query", "attention.attn.q"),
    ("attention.self.key", "attention.attn.k"),
    ("attention.self.value", "attention.attn.v"),
    ("attention.output.dense", "attention.attn.o"),
    ("attention.output.LayerNorm", "attention.LayerNorm"),
];

/// Rows of MPNet's table of bias by distance, half of them for keys behind the query.
pub(super) const BUCKETS: usize = 32;

/// The row of that table for a key so far from its query: T5's scheme. Up to 7 every distance has one; then eight share
/// those up to 128 by its logarithm, and the last has all that is farther.
pub(super) fn bucket(distance: isize) -> usize {
    // Where the shared ones begin: 8 · 16^(n / 8), rounded up.
    const BEGIN: [usize; 8] = [8, 12, 16, 23, 32, 46, 64, 91];
    let far = distance.unsigned_abs();
    let row =
        if far < BEGIN[0] { far } else { BEGIN[0] - 1 + BEGIN.partition_point(|&n| n <= far) };
    row + if distance > 0 { BUCKETS / 2 } else { 0 }
}

impl Family {
    /// Whether it has token types.
    pub(super) fn has_types(self) -> bool {
        !matches!(self, Self::DistilBert | Self::MpNet)
    }

    /// What names of tensors begin with in a model that has a head.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::Roberta => "roberta.",
            Self::DistilBert => "distilbert.",
            Self::MpNet => "mpnet.",
        }
    }

    /// The name of a layer's tensor, by BERT's name of it.
    pub(super) fn layer(self, layer: usize, tensor: &str) -> String {
        let (layers, names) = match self {
            Self::DistilBert => ("transformer", DISTIL),
            Self::MpNet => ("encoder", MPNET),
            _ => ("encoder", &[][..]),
        };
        let own = names.iter().find_map(|(theirs, own)| Some((own, tensor.strip_prefix(theirs)?)));
        let (own, rest) = own.unwrap_or((&tensor, ""));
        format!("{layers}.layer.{layer}.{own}{rest}")
    }

    /// Names and shapes of a classifier's tensors, in the order in which they are laid out. Those behind the prefix
    /// say so.
    pub(super) fn head(self, hidden: usize, labels: usize) -> [(String, Vec<usize>); 4] {
        let [dense, out] = match self {
            Self::Bert => ["bert.pooler.dense", "classifier"],
            Self::Roberta | Self::MpNet => ["classifier.dense", "classifier.out_proj"],
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
            Self::MpNet => "MPNetForSequenceClassification",
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

#[cfg(test)]
mod tests {
    use super::{BUCKETS, bucket};

    /// As the reference library has it, with its logarithm in `f32`.
    #[test]
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "small numbers"
    )]
    fn distances_share_rows_as_the_paper_says() {
        for distance in -600..=600_isize {
            let far = distance.unsigned_abs();
            let large = ((far as f32 / 8.0).ln() / 16f32.ln() * 8.0) as usize + 8;
            let row = if far < 8 { far } else { large.min(15) };
            let want = row + if distance > 0 { BUCKETS / 2 } else { 0 };
            assert_eq!(bucket(distance), want, "{distance}");
        }
    }
}
