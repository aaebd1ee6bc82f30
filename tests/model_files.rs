//! Model folders that are not as they should be: each is refused with an error that names what is wrong, and none
//! makes the loader panic, hang or take memory that the file does not have.

#[path = "encoder/family.rs"]
mod family;
#[path = "encoder/model.rs"]
mod model;
#[allow(dead_code, reason = "the allocator is what is used here")]
mod steady;

use model::{SHAPES, SMALL, files, tensors};
use pelton::base::rng::SplitMix;
use pelton::model::{Model, Pooling};
use std::collections::BTreeMap;

type Files = BTreeMap<String, Vec<u8>>;

/// Bytes that may be asked for at once, whatever a file says: a few times what the largest file here has.
const BYTES_MAX: usize = 4 << 20;

/// Mutations of each kind of file of BERT's, and of all other families' and tokenizers' kinds together: a fifth of all.
/// That is 170,000 where everything is checked; PELTON_MUTATIONS sets it, and 2,000,000 makes ten million in all.
fn count() -> u64 {
    let asked = std::env::var("PELTON_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let all = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    asked.unwrap_or(if all { 34_000 } else { 4_000 })
}

/// What is said of a folder in which one text of one file is another.
fn refused(name: &str, old: &str, new: &str) -> String {
    let mut files = files(&SMALL, 1);
    // Of the weights it is the header that is changed.
    let bytes = files.remove(name).expect("it is there");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("no file is so short");
    let header = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(0);
    let weights = name == "model.safetensors";
    let (text, behind) = if weights { rest.split_at(header) } else { (&bytes[..], &[][..]) };
    let text = std::str::from_utf8(text).expect("JSON is text");
    assert!(text.contains(old), "{name} holds {old}");
    let text = text.replacen(old, new, 1);
    let length = (text.len() as u64).to_le_bytes();
    let length = if weights { &length[..] } else { &[] };
    files.insert(name.into(), [length, text.as_bytes(), behind].concat());
    match Model::from_files(files) {
        Ok(_) => panic!("{name}: {new} for {old} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn good_folders_load() {
    for shape in &SHAPES {
        let model = Model::from_files(files(shape, 1)).expect("a good folder");
        assert_eq!((model.dim(), model.tokens_max()), (shape.hidden, model::TOKENS_MAX));
        let pooling = if shape.mean { Pooling::Mean } else { Pooling::First };
        assert_eq!(model.pooling(), (pooling, shape.unit));
        assert_eq!(model.hash().len(), 64);
    }
    let [a, b] = [1, 2].map(|seed| Model::from_files(files(&SMALL, seed)).expect("a good folder"));
    assert_ne!(a.hash(), b.hash(), "other weights");
    let mut plain = files(&SMALL, 1);
    plain.retain(|name, _| {
        ["config.json", "tokenizer.json", "model.safetensors"].contains(&&name[..])
    });
    let plain = Model::from_files(plain).expect("a folder of Hugging Face");
    assert_eq!((plain.pooling(), plain.tokens_max()), ((Pooling::Mean, false), model::PLACES));
}

/// A file, what stands there, what is put in its place, and a part of the error.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("config.json", "\"bert\"", "\"gpt2\"", "model_type: \"gpt2\" is not supported; known: bert"),
    ("config.json", "\"gelu\"", "\"silu\"", "hidden_act: \"silu\" is not supported"),
    ("config.json", "\"hidden_size\":64", "\"hidden_size\":65", "num_attention_heads: heads of"),
    ("config.json", "\"hidden_size\":64", "\"hidden_size\":-1", "hidden_size: not a whole number"),
    (
        "config.json",
        "\"hidden_size\":64",
        "\"hidden_size\":1e99",
        "hidden_size: not a whole number",
    ),
    ("config.json", "\"hidden_size\":64", "\"hidden\":64", "config.json: hidden: not known here"),
    (
        "config.json",
        "\"num_hidden_layers\":2",
        "\"num_hidden_layers\":3",
        "encoder.layer.2.attention",
    ),
    (
        "config.json",
        "\"num_hidden_layers\":2",
        "\"num_hidden_layers\":1",
        "encoder.layer.1.attention",
    ),
    ("config.json", "1e-12", "0", "layer_norm_eps: not between 0 and 1"),
    ("config.json", "\"vocab_size\":64", "\"vocab_size\":63", "model.vocab.é: not a whole number"),
    ("config.json", "{", "[", "config.json: not JSON"),
    ("modules.json", "s.Normalize", "s.Dense", "[2].type: not supported here"),
    ("modules.json", "1_Pooling", "../etc", "[1].path: not a plain folder name"),
    ("1_Pooling/config.json", "tokens\":true", "tokens\":false", "one of pooling_mode_mean_tokens"),
    ("1_Pooling/config.json", "dimension\":64", "dimension\":63", "hidden_size is 64"),
    ("sentence_bert_config.json", "80", "2", "leaves no room for a token"),
    ("tokenizer.json", "\"WordPiece\"", "\"Char\"", "model.type: \"Char\" is not supported"),
    ("tokenizer.json", "BertNormalizer", "NFC", "normalizer.type: \"NFC\" is not supported"),
    ("tokenizer.json", "BertPreTokenizer", "Metaspace", "pre_tokenizer.type: \"Metaspace\""),
    (
        "tokenizer.json",
        "\"single_word\":false",
        "\"single_word\":true",
        "[0].single_word: only false",
    ),
    ("tokenizer.json", "per_word\":20", "per_word\":1001", "not a whole number from 1 to 1000"),
    ("tokenizer.json", "\"unk_token\":\"[UNK]\"", "\"unk_token\":\"?\"", "not in the vocabulary"),
    ("tokenizer.json", "\"a\":5", "\"a\":64", "model.vocab.a: not a whole number from 0 to 63"),
    ("model.safetensors", "F32", "F64", "dtype: \"F64\" is not supported; known: F32, F16, BF16"),
    ("model.safetensors", "[64]", "[65]", "do not hold its shape [65]"),
    ("model.safetensors", "[64, 64]", "[4096,1]", "its shape is [4096, 1], the configuration says"),
    ("model.safetensors", "layer.0.output", "layer.0.outputs", "encoder.layer.0.output.LayerNorm"),
    ("model.safetensors", "[0,256]", "[4,260]", "leaves a gap behind the tensor before it"),
    ("model.safetensors", "[256,512]", "[0,0256]", "not JSON"),
    ("model.safetensors", "[256,512]", "[  0,256]", "overlaps the tensor before it"),
    ("model.safetensors", "\"shape\":[64]", "\"shape\":[[]]", "shape[0]: not a whole number"),
];

#[test]
fn what_is_wrong_is_named() {
    for &(name, old, new, says) in WRONG {
        let error = refused(name, old, new);
        assert!(error.contains(says), "{name}, {new} for {old}: {error}");
    }
    for name in ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"] {
        let mut files = files(&SMALL, 1);
        files.remove(name);
        let error = Model::from_files(files).expect_err("a file is missing").to_string();
        assert!(error.starts_with(&format!("{name}: missing")), "{error}");
    }
    let deep = "[".repeat(1 << 16);
    assert!(refused("config.json", "{", &deep).contains("recursion limit"));
}

/// Members that the library writes and that change no result, and values of them that would.
#[test]
fn idle_members_of_a_configuration_are_let_pass() {
    let with = |member: &str| {
        let mut files = files(&SMALL, 1);
        let config = model::config(&SMALL).replacen('{', &format!("{{{member},"), 1);
        files.insert("config.json".into(), config.into_bytes());
        Model::from_files(files).map(|_| ()).map_err(|error| error.to_string())
    };
    for good in [
        "\"tie_word_embeddings\":false",
        "\"chunk_size_feed_forward\":64",
        "\"torchscript\":true",
        "\"pruned_heads\":{}",
        "\"problem_type\":\"multi_label_classification\"",
        "\"prefix\":\"\"",
        "\"is_encoder_decoder\":false",
        "\"max_length\":20",
        "\"task_specific_params\":null",
    ] {
        assert_eq!(with(good), Ok(()), "{good}");
    }
    for (bad, says) in [
        (
            "\"pruned_heads\":{\"0\":[1]}",
            "config.json: pruned_heads: only an empty one is supported",
        ),
        ("\"prefix\":\"query: \"", "prefix: only an empty one"),
        ("\"is_encoder_decoder\":true", "is_encoder_decoder: only false is supported"),
        ("\"quantization_config\":{}", "quantization_config: not known here"),
        ("\"auto_map\":{}", "auto_map: not known here"),
        ("\"relative_attention_num_buckets\":32", "relative_attention_num_buckets: not known here"),
    ] {
        let error = with(bad).expect_err("refused");
        assert!(error.contains(says), "{bad}: {error}");
    }
}

#[test]
fn weights_are_finite_and_all_there() {
    let with = |change: &dyn Fn(&mut model::Tensors)| {
        let mut tensors = tensors(&SMALL, 1);
        change(&mut tensors);
        let mut files = files(&SMALL, 1);
        files.insert("model.safetensors".into(), model::safetensors(&tensors));
        Model::from_files(files).expect_err("refused").to_string()
    };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let name = "encoder.layer.1.output.dense.weight";
        let error = with(&|tensors| tensors.get_mut(name).unwrap().1[17] = bad);
        assert_eq!(error, format!("model.safetensors: tensor {name}: value 17 is {bad}"));
    }
    let error = with(&|tensors| _ = tensors.remove("embeddings.LayerNorm.bias"));
    assert!(error.ends_with("tensor embeddings.LayerNorm.bias: missing"), "{error}");
    let error =
        with(&|tensors| _ = tensors.insert("classifier.weight".into(), (vec![1], vec![0.0])));
    assert!(error.contains("tensor classifier.weight: not known"), "{error}");
}

#[test]
fn sizes_are_believed_only_when_the_file_has_them() {
    let weights = |bytes: Vec<u8>| {
        let mut files = files(&SMALL, 1);
        files.insert("model.safetensors".into(), bytes);
        Model::from_files(files).expect_err("refused").to_string()
    };
    assert!(weights(Vec::new()).contains("0 bytes, a header has 8 at least"));
    assert!(weights(u64::MAX.to_le_bytes().to_vec()).contains("its header says"));
    let header = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let huge =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,0]}}";
    assert!(weights(header(huge)).contains("do not hold its shape"));
    let past =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[18446744073709551612,0]}}";
    assert!(weights(header(past)).contains("data_offsets[0]: not a whole number from 0 to 0"));
}

/// Changes a few bytes: sets, drops, doubles, swaps, cuts off.
fn mutate(bytes: &mut Vec<u8>, reach: usize, rng: &mut SplitMix) {
    const TEXTS: &[&[u8]] = &[
        b"null",
        b"-1",
        b"1e309",
        b"18446744073709551615",
        b"[]",
        b"{}",
        b"\"\"",
        b"[[[[",
        b"true",
        b"\\ud800",
    ];
    for _ in 0..=rng.below(3) {
        if bytes.is_empty() {
            return;
        }
        let mut draw = |below: usize| usize::try_from(rng.below(below as u64)).expect("small");
        let reach = reach.min(bytes.len());
        let at = draw(reach);
        match draw(8) {
            0 => bytes[at] = u8::try_from(draw(256)).expect("a byte"),
            1 => bytes[at] ^= 1 << draw(8),
            2 => _ = bytes.drain(at..reach.min(at + 1 + draw(40))),
            3 => {
                let piece = bytes[at..reach.min(at + 1 + draw(40))].to_vec();
                let to = draw(reach);
                bytes.splice(to..to, piece);
            }
            4 => bytes.truncate(at + draw(bytes.len() - at)),
            5 => bytes.swap(at, draw(reach)),
            _ => {
                let text = TEXTS[draw(TEXTS.len())];
                bytes.splice(at..reach.min(at + draw(6)), text.iter().copied());
            }
        }
    }
}

fn mutations(name: &str, seed: u64) {
    let small = model::Shape { layers: 1, inner: 32, hidden: 32, heads: 1, ..SMALL };
    assert!(mutations_of(&files(&small, 1), name, seed, count()) > 0, "{name}: none loaded");
}

/// How many of so many mutations of a good folder's file still load.
fn mutations_of(good: &Files, name: &str, seed: u64, count: u64) -> u64 {
    Model::from_files(good.clone()).expect("a good folder");
    let mut rng = SplitMix::new(seed);
    // Of the weights the header is what there is to read.
    let reach = if name == "model.safetensors" { 3000 } else { usize::MAX };
    let (mut loaded, mut refused) = (0u64, 0u64);
    for i in 0..count {
        let mut files = good.clone();
        mutate(files.get_mut(name).expect("it is there"), reach, &mut rng);
        match Model::from_files(files) {
            Ok(model) => {
                loaded += 1;
                assert!(model.tokens("water, [MASK] é").len() <= model.tokens_max());
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.len() < 2000, "{name} {i}: {} bytes of error", text.len());
            }
        }
    }
    let largest = steady::largest();
    assert!(largest <= BYTES_MAX, "{name}: {largest} bytes were asked for at once");
    assert!(refused > count / 4, "{name}: {loaded} loaded, {refused} refused");
    loaded
}

#[test]
fn mutated_weights_are_read_or_refused() {
    mutations("model.safetensors", 11);
}

#[test]
fn mutated_configurations_are_read_or_refused() {
    mutations("config.json", 12);
}

#[test]
fn mutated_tokenizers_are_read_or_refused() {
    mutations("tokenizer.json", 13);
}

#[test]
fn mutated_tokenizers_of_other_kinds_are_read_or_refused() {
    for (seed, kind) in (14..).zip(model::TOKENIZERS) {
        mutations_of(&model::with_tokenizer(kind), "tokenizer.json", seed, count() / 4);
    }
}

#[test]
fn mutated_families_are_read_or_refused() {
    for (seed, recorded) in (20..).zip(family::recorded().into_iter().skip(2).step_by(2)) {
        mutations_of(&recorded.files, "config.json", seed, count() / 8);
        mutations_of(&recorded.files, "model.safetensors", seed, count() / 8);
    }
}
