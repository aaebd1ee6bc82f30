//! Quantised models: what is written loads and gives the same bytes, budgets are kept, hostile files are refused.

#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use crate::family;
use crate::folder::Folder;
use crate::model::{SHAPES, SMALL, files, safetensors, tensors};
use crate::program;
use crate::program::Temporary;
use pelton::Device;
use pelton::base::rng::SplitMix;
use pelton::model::{
    Embeddings, Encoder, EncoderOptions, Model, Precision, QuantiseOptions, Quantised, quantise,
};
use std::collections::BTreeMap;

const TEXTS: [&str; 10] =
    ["a", "water", "turning wheel", "a b c", "é", "water, turn.", "", "w", "x y z z", "turn turn"];

/// What most of the tests ask for.
const JUDGED: QuantiseOptions<'static> =
    QuantiseOptions { budget: None, texts: Some(&TEXTS), classes: None };

fn load(files: BTreeMap<String, Vec<u8>>) -> pelton::Result<Model> {
    Model::from_files(files)
}

/// A folder with these weights in place of its own.
fn with(weights: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(&SMALL, 5);
    files.insert("model.safetensors".into(), weights);
    files
}

fn embed(model: &Model, precision: Option<Precision>) -> pelton::Result<Vec<f32>> {
    let options = EncoderOptions { precision, ..EncoderOptions::default() };
    Ok(Encoder::new(model, &Device::cpu(), options)?.embed(&TEXTS)?.values().to_vec())
}

#[test]
fn what_is_written_runs_as_it_was_judged() {
    let model = load(files(&SMALL, 5)).expect("a good folder");
    for precision in [Precision::F16, Precision::Bf16, Precision::Int8] {
        let made = quantise(&model, precision, &JUDGED).expect("it can be done");
        assert_eq!((made.products.len(), made.judged), (8, 5));
        assert!(
            made.products
                .iter()
                .all(|product| product.precision == precision && product.loss > 0.0)
        );
        assert!(
            made.gap.0 > 0.0 && made.gap.0 < 1e-3 && made.gap.1 <= made.gap.0,
            "{:?}",
            made.gap
        );
        assert!((0.5..=1.0).contains(&made.agreement), "{}", made.agreement);
        let again = load(with(made.safetensors)).expect("what was written loads");
        let found = embed(&again, None).expect("texts");
        let exact = embed(&model, None).expect("texts");
        assert_ne!(found, exact);
        if precision != Precision::Int8 {
            assert_eq!(
                found,
                embed(&model, Some(precision)).expect("texts"),
                "as asked for at once"
            );
        }
        let off = found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 0.05, "{off}");
        let error = embed(&again, Some(Precision::Int8)).expect_err("it says itself").to_string();
        assert!(error.contains("precision: the folder is quantised"), "{error}");
        let error = quantise(&again, precision, &QuantiseOptions::default())
            .expect_err("once is enough")
            .to_string();
        assert!(error.contains("quantised already"), "{error}");
    }
}

#[test]
fn a_folder_of_f16_is_read_as_it_is() {
    let model = load(files(&SMALL, 5)).expect("a good folder");
    let made = quantise(&model, Precision::F16, &JUDGED).expect("it can be done");
    let ours = load(with(made.safetensors.clone())).expect("it loads");
    // The same tensors, but not as a file of ours: F32 unless asked for.
    let plain = changed(&made.safetensors, "\"pelton-quantised\"", "\"pelton-quantisee\"");
    let plain = load(with(plain)).expect("it loads");
    let found = embed(&ours, None).expect("texts");
    assert_eq!(embed(&plain, Some(Precision::F16)).expect("texts"), found);
    assert_ne!(embed(&plain, None).expect("texts"), found);
}

#[test]
fn weights_that_f16_cannot_hold_are_refused_by_name() {
    let mut all = tensors(&SMALL, 5);
    let name = "encoder.layer.1.intermediate.dense.weight";
    all.get_mut(name).expect("it is there").1[3] = -65520.0;
    let model = load(with(safetensors(&all))).expect("a good folder");
    let error = embed(&model, Some(Precision::F16)).expect_err("refused").to_string();
    let says =
        format!("tensor {name}: -65520 is more than F16 holds, 65504; bf16 and int8 hold it");
    assert!(error.ends_with(&says), "{error}");
    let error = quantise(&model, Precision::F16, &JUDGED).expect_err("refused");
    assert!(error.to_string().ends_with(&says), "{error}");
    assert!(embed(&model, Some(Precision::Bf16)).is_ok());
}

#[test]
fn budgets_are_kept_with_as_few_wide_layers_as_that_takes() {
    let model = load(files(&SHAPES[3], 5)).expect("a good folder");
    let make = |budget| {
        let options = QuantiseOptions { budget, ..JUDGED };
        quantise(&model, Precision::Int8, &options).expect("it can be done")
    };
    let narrow = make(None);
    let count = |made: &Quantised, precision| {
        made.products.iter().filter(|product| product.precision == precision).count()
    };
    let (wide, some) = (make(Some(1e-30)), make(Some(narrow.gap.0 / 2.0)));
    assert_eq!(count(&wide, Precision::F32), 12, "rounding alone is more than that");
    assert_eq!(wide.gap.0.max(0.0), wide.gap.0);
    assert!(some.gap.0 <= narrow.gap.0 / 2.0, "{:?} {:?}", some.gap, narrow.gap);
    let kept = count(&some, Precision::Int8);
    assert!((1..12).contains(&kept), "{kept} of 12 stay narrow");
    let loose = make(Some(1.0));
    assert_eq!((count(&loose, Precision::Int8), loose.gap), (12, narrow.gap));
    // What is kept in several types loads and says so.
    let mut all = files(&SHAPES[3], 5);
    all.insert("model.safetensors".into(), some.safetensors);
    let mixed = load(all).expect("it loads");
    let encoder = Encoder::new(&mixed, &Device::cpu(), EncoderOptions::default()).expect("it fits");
    assert!(encoder.precisions().len() > 1);
}

#[test]
fn what_cannot_be_done_is_named() {
    let model = load(files(&SMALL, 5)).expect("a good folder");
    let refused = |model: &Model, options: QuantiseOptions<'_>| {
        quantise(model, Precision::Int8, &options).expect_err("refused").to_string()
    };
    let says = |budget, texts: &[&str]| {
        refused(&model, QuantiseOptions { budget, texts: Some(texts), classes: None })
    };
    assert_eq!(says(None, &["a"; 7]), "invalid: 7 texts; half of them judge, so 8 are needed");
    assert_eq!(says(Some(f64::NAN), &TEXTS), "invalid: budget: NaN is no number above 0");
    assert_eq!(says(Some(-1.0), &TEXTS), "invalid: budget: -1 is no number above 0");
    let classes = |model, texts, classes| {
        refused(model, QuantiseOptions { budget: None, texts, classes: Some(classes) })
    };
    let nine = classes(&model, Some(&TEXTS[..]), &[0; 9]);
    assert_eq!(nine, "invalid: classes: 9 for 10 texts, not one for each");
    let alone = classes(&model, None, &[0; 24]);
    assert_eq!(alone, "invalid: classes: give the texts that they are of, too");
    let wrong = classes(&classifier(), Some(&TEXTS[..]), &[0, 2, 3, 0, 0, 0, 0, 0, 0, usize::MAX]);
    assert_eq!(wrong, "invalid: classes: 3 of text 2; the model has 0 to 2");
}

/// Changes a quantised file's header; what is replaced has the same length.
fn changed(weights: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = weights.windows(from.len()).position(|bytes| bytes == from.as_bytes()).expect(from);
    let mut bytes = weights.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn hostile_files_are_refused_by_name() {
    let model = load(files(&SMALL, 5)).expect("a good folder");
    let made = quantise(&model, Precision::Int8, &QuantiseOptions::default())
        .expect("it can be done")
        .safetensors;
    let key = "encoder.layer.1.attention.self.key.weight";
    for (bytes, says) in [
        (
            changed(&made, "\"pelton-quantised\"", "\"pelton-quantisee\""),
            "scales: not known; what it means would be ignored",
        ),
        (changed(&made, &format!("{key}.smooth"), &format!("{key}.smoot_")), "smooth: missing"),
        (changed(&made, &format!("{key}.scales"), &format!("{key}.scale_")), "scales: missing"),
    ] {
        let error = load(with(bytes)).expect_err("refused").to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    // A code of -128, and factors that are not those of the query.
    let header = 8 + u64::from_le_bytes(*made.first_chunk().expect("a length")) as usize;
    let text = String::from_utf8(made[8..header].to_vec()).expect("JSON");
    let begin = |name: &str| {
        let entry = text.split(&format!("\"{name}\":")).nth(1).expect(name);
        let offsets = entry.split("\"data_offsets\":[").nth(1).expect("offsets");
        header + offsets.split(',').next().expect("a number").parse::<usize>().expect("a number")
    };
    for (name, byte, says) in [
        (key.to_owned(), 0x80, "value 0 is -128, codes are -127 to 127"),
        (format!("{key}.smooth"), 0x01, "not of the type and with the factors of the query's"),
    ] {
        let mut bytes = made.clone();
        bytes[begin(&name)] = byte;
        let error = load(with(bytes)).expect_err("refused").to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
    // Seeded mutations of the header: an error or a model, never a panic.
    let mut rng = SplitMix::new(7);
    for _ in 0..2000 {
        let mut bytes = made.clone();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(header as u64) as usize;
            bytes[at] = (rng.next_u64() >> 56) as u8;
        }
        if let Ok(model) = load(with(bytes)) {
            let _ = embed(&model, None);
        }
    }
}

#[test]
fn a_float_file_says_nothing_of_layers() {
    let mut all = tensors(&SMALL, 5);
    let name = "encoder.layer.0.output.dense.weight.smooth".to_owned();
    all.insert(name, (vec![96], vec![1.0; 96]));
    let error = load(with(safetensors(&all))).expect_err("refused").to_string();
    assert!(error.contains("not known"), "{error}");
}

fn run(args: &[&str]) -> program::Ran {
    program::run("quantise", args)
}

#[test]
fn the_program_makes_a_folder_that_loads() {
    let (from, to) = (Folder::new("from", &files(&SMALL, 5)), gone("to"));
    let (source, target) = (from.arg(), to.arg());
    for (args, says) in [
        (&[][..], "two folders are needed"),
        (&[source, target], "--dtype TYPE is missing: f16, bf16 or int8"),
        (&[source, target, "--dtype", "f32"], "--dtype: \"f32\" is none of f16, bf16, int8"),
        (
            &[source, target, "--dtype", "int8", "--budget", "0"],
            "--budget: \"0\" is no number above 0",
        ),
        (&[source, target, "--dtype", "int8", "--text", "/nowhere"], "/nowhere: "),
        (&["/nowhere", target, "--dtype", "int8"], "/nowhere: not a folder"),
        (&[source, target, "--dtype", "int8", "--labels", "/nowhere"], "give that, too"),
        (&[source, source, "--dtype", "bf16"], "it is there already"),
    ] {
        let ran = run(args);
        assert!(ran.code == Some(2) && ran.err.contains(says), "{args:?}: {ran:?}");
    }
    let lines = Temporary::new("lines", TEXTS.join("\n").as_bytes());
    let ran = run(&[source, target, "--dtype", "int8", "--budget", "0.001", "--text", lines.arg()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out.contains("1      output            int8 ") && ran.out.contains("judged 5 texts"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read_to_string(to.0.join("report.txt")).expect("it is there"), ran.out);
    let model = Model::load(&to.0).expect("it loads");
    assert!(embed(&model, None).is_ok() && run(&["--help"]).out.contains("--budget GAP"));
}

/// A folder that the program is to make; gone when the test is over.
fn gone(name: &str) -> Folder {
    let none = BTreeMap::new();
    Folder::new(&format!("quantised-{name}"), &none)
}

/// The files of a small classifier of three classes.
fn classes_files() -> BTreeMap<String, Vec<u8>> {
    let all = family::recorded();
    let found = all.iter().find(|found| found.name == "BertForSequenceClassification");
    found.expect("it is recorded").files.clone()
}

fn classifier() -> Model {
    load(classes_files()).expect("a good folder")
}

/// Texts of a few letters, some of them twice.
fn made(count: usize, seed: u64) -> Vec<String> {
    let mut rng = SplitMix::new(seed);
    let mut letter = || char::from(b'a' + rng.below(3) as u8);
    (0..count).map(|i| (0..1 + i % 4).flat_map(|_| [letter(), ' ']).collect()).collect()
}

/// Whether each judging text gets its class: what is said of it is the largest of these, the first of equals.
fn right(rows: &[&[f32]], classes: &[usize], labelled: bool) -> Vec<bool> {
    let first = |values: Vec<f64>| {
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        values.iter().position(|value| *value == most).expect("there is one")
    };
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let near = |i: usize, j: usize| {
        let (a, b) = (rows[i], rows[j]);
        if i == j { f64::NEG_INFINITY } else { dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() }
    };
    let said = |i: usize| {
        if labelled {
            return first(rows[i].iter().map(|x| f64::from(*x)).collect());
        }
        classes[first((0..rows.len()).map(|j| near(i, j)).collect())]
    };
    (0..rows.len()).map(|i| said(i) == classes[i]).collect()
}

/// How many of the texts' classes are found by the folder's own weights and by those written, and lost: every other one
/// of the first 512 texts is asked.
fn counted(
    folder: &BTreeMap<String, Vec<u8>>,
    made: &Quantised,
    texts: &[&str],
    classes: &[usize],
) -> [usize; 3] {
    let mut written = folder.clone();
    written.insert("model.safetensors".into(), made.safetensors.clone());
    let judging = |i: &usize| i % 2 == 1 && *i < 512;
    let classes: Vec<usize> = (0..texts.len()).filter(judging).map(|i| classes[i]).collect();
    let judges: Vec<&str> = (0..texts.len()).filter(judging).map(|i| texts[i]).collect();
    let [before, now] = [folder, &written].map(|files| {
        let model = load(files.clone()).expect("it loads");
        let labelled = model.labels().is_some();
        let encoder = Encoder::new(&model, &Device::cpu(), EncoderOptions::default());
        let mut encoder = encoder.expect("it fits");
        let found: Embeddings =
            if labelled { encoder.classify(&judges) } else { encoder.embed(&judges) }
                .expect("texts");
        right(&found.rows().collect::<Vec<_>>(), &classes, labelled)
    });
    let both = || before.iter().zip(&now);
    [
        both().filter(|(before, _)| **before).count(),
        both().filter(|(_, now)| **now).count(),
        both().filter(|(before, now)| **before && !**now).count(),
    ]
}

#[test]
fn labels_are_counted_as_a_naive_program_counts_them() {
    let (mut seen, mut lost) = (0, 0);
    for (folder, seed) in [(classes_files(), 1), (files(&SMALL, 5), 2), (files(&SHAPES[3], 3), 3)] {
        let model = load(folder.clone()).expect("a good folder");
        for count in [8, 9, 64, 515] {
            let texts = made(count, seed);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut rng = SplitMix::new(seed);
            let classes: Vec<usize> = (0..count).map(|_| rng.below(3) as usize).collect();
            let options = QuantiseOptions {
                texts: Some(&texts),
                classes: Some(&classes),
                ..QuantiseOptions::default()
            };
            let made = quantise(&model, Precision::Int8, &options).expect("it can be done");
            let accuracy = made.accuracy.expect("there are classes");
            let expected = counted(&folder, &made, &texts, &classes);
            assert_eq!([accuracy.exact, accuracy.found, accuracy.lost], expected, "{count} texts");
            assert_eq!(made.judged, count.min(512) / 2);
            seen += accuracy.exact;
            lost += accuracy.lost;
        }
    }
    assert!(seen > 100 && lost > 0, "{seen} are right, {lost} are lost: too few to tell");
    let model = load(files(&SMALL, 5)).expect("a good folder");
    assert_eq!(quantise(&model, Precision::F16, &JUDGED).expect("it can be done").accuracy, None);
}

#[test]
fn the_program_says_how_many_labels_it_still_finds() {
    let from = Folder::new("labelled", &classes_files());
    let text = Temporary::new("labelled-text", TEXTS.join("\n").as_bytes());
    let asked = |labels: &str, name: &str| {
        let (file, to) = (Temporary::new(name, labels.as_bytes()), gone(name));
        let args =
            [from.arg(), to.arg(), "--dtype", "f16", "--text", text.arg(), "--labels", file.arg()];
        (run(&args), file.arg().to_owned())
    };
    // What the model itself says, by name and by number: all are right.
    let model = classifier();
    let names = model.labels().expect("it is a classifier").to_vec();
    let mut encoder =
        Encoder::new(&model, &Device::cpu(), EncoderOptions::default()).expect("fits");
    let scores = encoder.classify(&TEXTS).expect("texts");
    let classes: Vec<usize> = scores
        .rows()
        .map(|row| (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("three"))
        .collect();
    let lines = |name: &dyn Fn(usize, usize) -> String| -> String {
        let lines = classes.iter().enumerate().map(|(i, class)| name(i, *class) + "\n");
        lines.collect()
    };
    let all = lines(&|i, class| if i % 4 < 2 { class.to_string() } else { names[class].clone() });
    let says = "right  100.0 % of 5 labels in F32, 100.0 % as written: nothing is lost\n       \
                0 of them in F32 alone, 0 as written alone\n";
    let (ran, _) = asked(&all, "right");
    assert!(ran.code == Some(0) && ran.out.contains(says), "{ran:?}");
    // One of those that judge is wrong, one of those that calibrate does not count.
    let other =
        |i, class: usize| names[if i == 3 || i == 4 { (class + 1) % 3 } else { class }].clone();
    let (ran, _) = asked(&lines(&other), "other");
    assert!(ran.out.contains("right  80.0 % of 5 labels in F32, 80.0 % as written"), "{ran:?}");
    for (labels, says) in [
        ("calm\n".repeat(9), ": 9 lines for 10 texts; write a label for each".to_owned()),
        ("calm\n".repeat(4) + " \n" + &"calm\n".repeat(5), ", line 5: no label".to_owned()),
        (
            "calm\n".repeat(9) + "3",
            ", line 10: \"3\" is no label of the model: calm, angry, sad, or 0 to 2".to_owned(),
        ),
    ] {
        let (ran, path) = asked(&labels, "wrong");
        assert!(ran.code == Some(2) && ran.err.contains(&(path + &says)), "{says}: {ran:?}");
    }
    // Embeddings have no labels of their own: any words do.
    let (from, to) = (Folder::new("unlabelled", &files(&SMALL, 5)), gone("any"));
    let labels = Temporary::new("any-labels", "x\ny\n".repeat(5).as_bytes());
    let bad = Temporary::new("bad-text", b"a\nb\n\xff\nc");
    let mut args =
        [from.arg(), to.arg(), "--dtype", "bf16", "--text", text.arg(), "--labels", labels.arg()];
    let ran = run(&args);
    assert!(ran.out.contains("right  100.0 % of 5 labels in F32, 100.0 %"), "{ran:?}");
    args[5] = bad.arg();
    let ran = run(&args);
    assert!(ran.code == Some(2) && ran.err.contains(", line 3: not UTF-8"), "{ran:?}");
}
