//! The tokenizers against ids that the library `tokenizers` gave: `benches/peers/encoder` recorded those of
//! `wordpiece.json`, `tests/encoder/tokenizers.py` the others.

use crate::model::{self, SMALL, TOKENIZERS, TOKENS_MAX, VOCAB, files, with_tokenizer};
use pelton::base::rng::SplitMix;
use pelton::model::Model;
use serde_json::Value;

fn tokenizer() -> Model {
    Model::from_files(files(&SMALL, 1)).expect("a good folder")
}

fn compare(name: &str, model: &Model) {
    let path = format!("{}/tests/encoder/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let recorded = std::fs::read(path).expect("it is there");
    let recorded: Value = serde_json::from_slice(&recorded).expect("it is JSON");
    let recorded = recorded.as_array().expect("a list");
    assert!(recorded.len() >= 400);
    for pair in recorded {
        let text = pair[0].as_str().expect("a text");
        let ids: Vec<u64> =
            pair[1].as_array().expect("ids").iter().flat_map(Value::as_u64).collect();
        let found: Vec<u64> = model.tokens(text).into_iter().map(u64::from).collect();
        assert_eq!(found, ids, "{name}: {:?}", text.escape_unicode().to_string());
    }
}

#[test]
fn recorded_texts_have_the_recorded_ids() {
    compare("wordpiece", &tokenizer());
    for name in TOKENIZERS {
        compare(name, &Model::from_files(with_tokenizer(name)).expect("a good folder"));
    }
}

#[test]
fn hostile_texts_end_soon() {
    for name in TOKENIZERS {
        let model = Model::from_files(with_tokenizer(name)).expect("a good folder");
        for unit in ["a", "\u{301}", " ", "'", "水", "<mask", "\u{fdfa}", "1"] {
            assert!(model.tokens(&unit.repeat(100_000 / unit.len())).len() <= TOKENS_MAX);
        }
    }
}

#[test]
fn rules_are_those_of_the_file() {
    let vocab = model::vocab();
    let model = tokenizer();
    for (text, want) in [
        ("", ""),
        ("Waterwheel turning.", "water ##wheel turn ##ing ."),
        ("  a\u{a0}b\t\nc ", "a b c"),
        ("a\u{ad}\u{0}b", "a ##b"),
        ("Ábc É", "a ##b ##c e"),
        ("水a", "[UNK] a"),
        ("a[MASK]b [mask]", "a [MASK] b [UNK] m ##a ##s ##k [UNK]"),
        ("water!", "water [UNK]"),
        (
            "abcdefghijklmnopqrst",
            "a ##b ##c ##d ##e ##f ##g ##h ##i ##j ##k ##l ##m ##n ##o ##p ##q ##r ##s ##t",
        ),
        ("abcdefghijklmnopqrstu", "[UNK]"),
        ("a1", "[UNK]"),
    ] {
        let words: Vec<&str> =
            model.tokens(text).iter().map(|&id| &vocab[id as usize][..]).collect();
        let want =
            [&["[CLS]"], &want.split_whitespace().collect::<Vec<_>>()[..], &["[SEP]"]].concat();
        assert_eq!(words, want, "{text:?}");
    }
    assert_eq!(model.tokens(&"a ".repeat(1000)).len(), TOKENS_MAX);
}

#[test]
fn any_text_has_tokens_in_range() {
    let model = tokenizer();
    let mut rng = SplitMix::new(4);
    for _ in 0..20_000 {
        let text: String = (0..rng.below(60))
            .filter_map(|_| {
                let planes =
                    [0x80, 0x600, 0x11_0000][usize::try_from(rng.below(3)).expect("small")];
                char::from_u32(u32::try_from(rng.below(planes)).expect("a plane"))
            })
            .collect();
        let ids = model.tokens(&text);
        assert!(ids.len() <= TOKENS_MAX && ids.iter().all(|&id| (id as usize) < VOCAB), "{text:?}");
        assert_eq!((ids[0], ids[ids.len() - 1]), (2, 3));
    }
}
