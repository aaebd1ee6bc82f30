//! Small models of seeded random weights, as the files of a folder.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own share")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small numbers")]

use pelton::base::rng::SplitMix;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The shape of a model.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub hidden: usize,
    pub heads: usize,
    pub layers: usize,
    pub inner: usize,
    pub act: &'static str,
    pub mean: bool,
    pub unit: bool,
}

/// One with heads of 32 values, as MiniLM has them.
pub const SMALL: Shape =
    Shape { hidden: 64, heads: 2, layers: 2, inner: 96, act: "gelu", mean: true, unit: true };

/// Every size of a head, both activations, both poolings, odd numbers of panels.
pub const SHAPES: [Shape; 4] = [
    SMALL,
    Shape { hidden: 128, heads: 2, layers: 2, inner: 256, act: "gelu_new", mean: false, ..SMALL },
    Shape { hidden: 128, heads: 1, layers: 1, inner: 32, unit: false, ..SMALL },
    Shape { hidden: 96, heads: 3, layers: 3, inner: 384, ..SMALL },
];

pub const PLACES: usize = 96;
/// Words of the vocabulary, the special ones included.
pub const VOCAB: usize = 64;
pub const TOKENS_MAX: usize = 80;

/// Tensors by name: shape and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A model's tensors: names, shapes, and what values are spread around.
pub fn tensors(shape: &Shape, seed: u64) -> Tensors {
    let (hidden, inner) = (shape.hidden, shape.inner);
    let mut list: Vec<(String, Vec<usize>, f64, f64)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![VOCAB, hidden], 0.0, 0.1),
        ("embeddings.position_embeddings.weight".into(), vec![PLACES, hidden], 0.0, 0.05),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, hidden], 0.0, 0.05),
    ];
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    let mut linear = Vec::new();
    for layer in 0..shape.layers {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for part in ["query", "key", "value"] {
            linear.push((name(&format!("attention.self.{part}")), hidden, hidden));
        }
        linear.push((name("attention.output.dense"), hidden, hidden));
        linear.push((name("intermediate.dense"), inner, hidden));
        linear.push((name("output.dense"), hidden, inner));
        norms.extend([name("attention.output.LayerNorm"), name("output.LayerNorm")]);
    }
    for norm in norms {
        list.push((format!("{norm}.weight"), vec![hidden], 1.0, 0.2));
        list.push((format!("{norm}.bias"), vec![hidden], 0.0, 0.1));
    }
    for (name, out, depth) in linear {
        let spread = (3.0 / depth as f64).sqrt();
        list.push((format!("{name}.weight"), vec![out, depth], 0.0, spread));
        list.push((format!("{name}.bias"), vec![out], 0.0, 0.1));
    }
    let mut rng = SplitMix::new(seed);
    let mut value = |middle: f64, spread: f64| {
        let unit = rng.below(1 << 24) as f64 / f64::from(1 << 23) - 1.0;
        (middle + spread * unit) as f32
    };
    let filled = list.into_iter().map(|(name, shape, middle, spread)| {
        let values = (0..shape.iter().product()).map(|_| value(middle, spread)).collect();
        (name, (shape, values))
    });
    filled.collect()
}

/// A safetensors file of these.
pub fn safetensors(tensors: &Tensors) -> Vec<u8> {
    let (mut header, mut values) =
        (String::from("{\"__metadata__\":{\"format\":\"pt\"}"), Vec::new());
    for (name, (shape, of)) in tensors {
        let from = values.len();
        values.extend(of.iter().flat_map(|x| x.to_le_bytes()));
        let to = values.len();
        write!(
            header,
            ",\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[{from},{to}]}}"
        )
        .expect("strings grow");
    }
    header.push('}');
    let length = header.len() as u64;
    [&length.to_le_bytes()[..], header.as_bytes(), &values].concat()
}

/// The words of the vocabulary.
pub fn vocab() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let letters = ('a'..='z').map(String::from);
    let inside = ('a'..='z').map(|c| format!("##{c}"));
    let more = [",", ".", "water", "##wheel", "turn", "##ing", "é"].map(String::from);
    special.into_iter().chain(letters).chain(inside).chain(more).collect()
}

pub fn tokenizer() -> String {
    let words = vocab();
    assert_eq!(words.len(), VOCAB);
    let vocab: Vec<String> =
        words.iter().enumerate().map(|(id, word)| format!("\"{word}\":{id}")).collect();
    let added = |id: usize| {
        let word = &words[id];
        format!(
            "{{\"id\":{id},\"content\":\"{word}\",\"special\":true,\"single_word\":false,\
             \"lstrip\":false,\"rstrip\":false,\"normalized\":false}}"
        )
    };
    let added: Vec<String> = (0..5).map(added).collect();
    format!(
        "{{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{}],\
         \"normalizer\":{{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\
         \"strip_accents\":null,\"lowercase\":true}},\"pre_tokenizer\":{{\"type\":\"BertPreTokenizer\"}},\
         \"post_processor\":{{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]}},\
         \"decoder\":null,\"model\":{{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\
         \"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":20,\"vocab\":{{{}}}}}}}",
        added.join(","),
        vocab.join(",")
    )
}

pub fn config(shape: &Shape) -> String {
    let Shape { hidden, heads, layers, inner, act, .. } = shape;
    format!(
        "{{\"model_type\":\"bert\",\"hidden_act\":\"{act}\",\"hidden_size\":{hidden},\
         \"intermediate_size\":{inner},\"layer_norm_eps\":1e-12,\"max_position_embeddings\":{PLACES},\
         \"num_attention_heads\":{heads},\"num_hidden_layers\":{layers},\"type_vocab_size\":2,\
         \"vocab_size\":{VOCAB}}}"
    )
}

/// The files of a folder.
pub fn files(shape: &Shape, seed: u64) -> BTreeMap<String, Vec<u8>> {
    let module = |kind: &str, path: &str| format!("{{\"type\":\"s.{kind}\",\"path\":\"{path}\"}}");
    let mut modules = vec![module("Transformer", ""), module("Pooling", "1_Pooling")];
    modules.extend(shape.unit.then(|| module("Normalize", "2_Normalize")));
    let pooling = format!(
        "{{\"word_embedding_dimension\":{},\"pooling_mode_cls_token\":{},\"pooling_mode_mean_tokens\":{}}}",
        shape.hidden, !shape.mean, shape.mean
    );
    let files = [
        ("config.json", config(shape).into_bytes()),
        ("tokenizer.json", tokenizer().into_bytes()),
        ("model.safetensors", safetensors(&tensors(shape, seed))),
        ("modules.json", format!("[{}]", modules.join(",")).into_bytes()),
        ("1_Pooling/config.json", pooling.into_bytes()),
        ("sentence_bert_config.json", format!("{{\"max_seq_length\":{TOKENS_MAX}}}").into_bytes()),
    ];
    files.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

/// Sequences of random ids: of these lengths, then of random ones.
pub fn sequences(lengths: &[usize], more: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut rng = SplitMix::new(seed);
    let mut draw = |below: usize| rng.below(below as u64) as usize;
    let mut all: Vec<usize> = lengths.to_vec();
    all.extend((0..more).map(|_| 1 + draw(TOKENS_MAX)));
    all.iter().map(|&n| (0..n).map(|_| draw(VOCAB) as u32).collect()).collect()
}

/// Tokenizers under `tests/encoder`, made by `tokenizers.py` there.
pub const TOKENIZERS: [&str; 4] = ["bpe", "unigram", "charsmap", "normalized"];
/// Ids of those, at most.
pub const TOKENIZERS_VOCAB: usize = 640;

/// The `tokenizer.json` of one of them.
pub fn tokenizer_text(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/encoder");
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/encoder");
    let paths = [folder, peer].map(|folder| format!("{folder}/{name}.tokenizer.json"));
    let read = paths.iter().find_map(|path| std::fs::read_to_string(path).ok());
    read.unwrap_or_else(|| panic!("{name}.tokenizer.json lies in neither of {paths:?}"))
}

/// The smallest model with one of them.
pub fn with_tokenizer(name: &str) -> BTreeMap<String, Vec<u8>> {
    let small = Shape { layers: 1, inner: 32, hidden: 32, heads: 1, ..SMALL };
    let mut tensors = tensors(&small, 1);
    let words = (vec![TOKENIZERS_VOCAB, 32], vec![0.0; TOKENIZERS_VOCAB * 32]);
    tensors.insert("embeddings.word_embeddings.weight".into(), words);
    let mut files = files(&small, 1);
    let vocab = format!("\"vocab_size\":{TOKENIZERS_VOCAB}");
    let config = config(&small).replace(&format!("\"vocab_size\":{VOCAB}"), &vocab);
    files.insert("config.json".into(), config.into_bytes());
    files.insert("tokenizer.json".into(), tokenizer_text(name).into_bytes());
    files.insert("model.safetensors".into(), safetensors(&tensors));
    files
}
