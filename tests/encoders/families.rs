//! Families of encoders on every device, against what the reference library computed in `f64`.

use crate::cuda_host;
use crate::family::{Recorded, recorded};
use crate::model;
use pelton::model::{Encoder, EncoderOptions, Model};
use pelton::pipeline::texts::{TextInline, Texts, Vectors};
use pelton::{Device, Options};

/// Largest error: of an element of a vector of length 1; of scores, of one.
const OFF_MAX: f64 = 2e-6;

fn agree(device: &Device, ids_max: usize) {
    let all = recorded();
    assert_eq!(all.len(), 10);
    for recorded in &all {
        let Recorded { name, files, ids, results } = recorded;
        let model =
            Model::from_files(files.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut encoder =
            Encoder::new(&model, device, EncoderOptions::default()).expect("the model fits");
        let some: Vec<&[u32]> =
            ids.iter().map(|ids| &ids[..]).filter(|ids| ids.len() <= ids_max).collect();
        assert!(some.len() >= 3);
        let found = match recorded.classifies() {
            true => encoder.classify_tokens(&some),
            false => encoder.embed_tokens(&some),
        };
        let found = found.expect("ids in range");
        let wanted = ids.iter().zip(results).filter(|(ids, _)| ids.len() <= ids_max);
        let mut worst: f64 = 0.0;
        for (row, (_, want)) in found.rows().zip(wanted) {
            assert_eq!(row.len(), want.len(), "{name}");
            for (found, want) in row.iter().zip(want) {
                worst = worst.max((f64::from(*found) - want).abs() / want.abs().max(1.0));
            }
        }
        println!("{}, {name}: largest error {worst:.2e}", device.caps().name);
        assert!(worst <= OFF_MAX, "{name}: {worst:e}");
    }
}

#[test]
fn the_processor_agrees_with_the_reference() {
    agree(&Device::cpu(), usize::MAX);
}

#[test]
fn wgsl_agrees_with_the_reference() {
    match Device::named("wgpu:llvmpipe") {
        Ok(gpu) => agree(&gpu, usize::MAX),
        Err(error) => cuda_host::skip("wgsl_agrees_with_the_reference", &error.to_string()),
    }
}

#[test]
fn cuda_agrees_with_the_reference() {
    let Some(gpu) = cuda_host::driver::cuda("cuda_agrees_with_the_reference") else { return };
    // The stand-in takes a second for a few tokens.
    agree(&gpu, if cuda_host::driver::is_real() { usize::MAX } else { 4 });
}

fn named(name: &str) -> Recorded {
    recorded().into_iter().find(|recorded| recorded.name == name).expect("it is recorded")
}

#[test]
fn scores_come_as_a_stream_and_are_those_of_a_call() {
    let found = named("BertForSequenceClassification");
    let model = Model::from_files(found.files).expect("a good folder");
    let mut encoder =
        Encoder::new(&model, &Device::cpu(), EncoderOptions::default()).expect("it fits");
    let ids: Vec<&[u32]> = found.ids.iter().map(|ids| &ids[..]).collect();
    let want = encoder.classify_tokens(&ids).expect("ids in range");
    let mut inline =
        TextInline::new(Texts::new(&model), Options::on(Device::cpu())).expect("it fits");
    let mut lane = inline.lane().expect("a lane");
    (0..).zip(&ids).for_each(|(id, ids)| lane.push_tokens(id, ids).expect("there is room"));
    let mut seen = 0;
    let judge = |vectors: Vectors| {
        for vector in vectors.iter() {
            let id = usize::try_from(vector.id()).expect("small");
            assert_eq!(vector.values(), Ok(&want[id]), "event {id}");
            seen += 1;
        }
    };
    inline.settle(judge).expect("it works");
    assert_eq!(seen, ids.len());
}

#[test]
fn scores_have_names_and_embeddings_none() {
    let found = named("BertForSequenceClassification");
    let model = Model::from_files(found.files).expect("a good folder");
    assert_eq!(model.labels(), Some(&["calm", "angry", "sad"].map(String::from)[..]));
    let mut encoder =
        Encoder::new(&model, &Device::cpu(), EncoderOptions::default()).expect("it fits");
    assert_eq!(encoder.labels(), model.labels());
    // Alone as among others, over more batches than one, and for every text.
    let texts = vec!["turning water"; 300];
    let scores = encoder.classify(&texts).expect("texts have scores");
    assert_eq!((scores.dim(), scores.len()), (3, 300));
    let alone = encoder.classify(&[""; 1]).expect("an empty text has scores");
    assert_eq!((alone.len(), alone[0] == scores[0]), (1, false));
    assert!(scores.rows().all(|row| row == &scores[0]));
    let error = encoder.embed(&["a"]).expect_err("refused").to_string();
    assert!(error.contains("use classify"), "{error}");
    let model = Model::from_files(model::files(&model::SMALL, 1)).expect("a good folder");
    let mut encoder =
        Encoder::new(&model, &Device::cpu(), EncoderOptions::default()).expect("it fits");
    assert_eq!(encoder.labels(), None);
    let error = encoder.classify(&["a"]).expect_err("refused").to_string();
    assert!(error.contains("use embed"), "{error}");
}

/// As all-mpnet-base-v2 lies in its folder: a tokenizer of BERT's words between RoBERTa's special tokens, one of which
/// takes the space before it.
#[test]
fn a_folder_of_mpnet_loads_as_it_is() {
    let found = named("MPNetModel");
    let mut files = model::files(&model::SMALL, 1);
    let tokenizer = model::tokenizer()
        .replace("[PAD]", "<s>")
        .replace("[CLS]", "</s>")
        .replace("[SEP]", "<unk>")
        .replace("[MASK]", "<mask>")
        .replace(
            "\"sep\":[\"<unk>\",3],\"cls\":[\"</s>\",2]",
            "\"sep\":[\"</s>\",2],\"cls\":[\"<s>\",0]",
        )
        .replace(
            "{\"type\":\"BertProcessing\"",
            "{\"type\":\"RobertaProcessing\",\"trim_offsets\":true,\"add_prefix_space\":false",
        );
    let mask = "\"content\":\"<mask>\",\"special\":true,\"single_word\":false,\"lstrip\":";
    assert!(
        tokenizer.contains(&format!("{mask}false")) && tokenizer.contains("\"cls\":[\"<s>\",0]")
    );
    let tokenizer = tokenizer.replace(&format!("{mask}false"), &format!("{mask}true"));
    files.insert("tokenizer.json".into(), tokenizer.into_bytes());
    files.insert("model.safetensors".into(), found.files["model.safetensors"].clone());
    let config = String::from_utf8(found.files["config.json"].clone()).expect("text");
    let config = config.replace("\"MPNetModel\"", "\"MPNetForMaskedLM\"");
    files.insert("config.json".into(), config.into_bytes());
    let model = Model::from_files(files).expect("a good folder");
    assert_eq!((model.dim(), model.tokens_max(), model.labels()), (64, model::TOKENS_MAX, None));
    let words = model::vocab();
    let id = |word: &str| {
        u32::try_from(words.iter().position(|w| w == word).expect("known")).expect("few")
    };
    let want = [0, id("water"), id("##wheel"), 4, id("turn"), id("##ing"), 1, 2];
    assert_eq!(model.tokens("Waterwheel <mask> turning 水"), want);
}

#[test]
fn what_a_family_does_not_have_is_named() {
    for (name, old, new, says) in [
        ("RobertaModel", "\"roberta\"", "\"xlnet\"", "known: bert, roberta, xlm-roberta"),
        ("RobertaModel", "\"roberta\"", "\"mpnet\"", "type_vocab_size: not known here"),
        ("MPNetModel", "num_buckets\":32", "num_buckets\":16", "not a whole number from 32 to 32"),
        ("MPNetModel", "\"mpnet\"", "\"bert\"", "relative_attention_num_buckets: not known here"),
        (
            "MPNetModel",
            "\"num_attention_heads\":2",
            "\"num_attention_heads\":1",
            "attention_bias.weight",
        ),
        ("RobertaModel", "\"pad_token_id\":1", "\"pad_token_id\":9", "pad_token_id: not a whole"),
        ("RobertaModel", "\"absolute\"", "\"relative_key\"", "\"relative_key\" is not supported"),
        ("RobertaModel", "\"use_cache\"", "\"is_decoder\"", "is_decoder: only false"),
        ("DistilBertModel", "\"n_heads\":2", "\"n_heads\":3", "n_heads: heads of 32, 64 or 128"),
        ("DistilBertModel", "\"dim\":64", "\"hidden_size\":64", "hidden_size: not known here"),
        (
            "BertForSequenceClassification",
            "\"1\":\"angry\"",
            "\"3\":\"angry\"",
            "id2label.1: missing",
        ),
        (
            "BertForSequenceClassification",
            ",\"2\":\"sad\"",
            "",
            "tensor classifier.weight: its shape",
        ),
        ("BertForSequenceClassification", "BertFor", "XlnetFor", "not of this model_type"),
    ] {
        let mut files = named(name).files;
        let config = String::from_utf8(files["config.json"].clone()).expect("text");
        assert!(config.contains(old), "{name} holds {old}: {config}");
        files.insert("config.json".into(), config.replacen(old, new, 1).into_bytes());
        let error = Model::from_files(files).expect_err("refused").to_string();
        assert!(error.contains(says), "{name}, {new}: {error}");
    }
    let mut files = named("BertForSequenceClassification").files;
    files.insert("modules.json".into(), b"[]".to_vec());
    let error = Model::from_files(files).expect_err("refused").to_string();
    assert!(error.contains("modules.json: not supported beside"), "{error}");
}
