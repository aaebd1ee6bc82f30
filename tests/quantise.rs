//! Quantised models: what is written loads and gives the same bytes, budgets are kept, hostile files are refused.

#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

#[path = "encoder/model.rs"]
mod model;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod program;

use model::{SHAPES, SMALL, files, safetensors, tensors};
use pelton::Device;
use pelton::model::{Encoder, EncoderOptions, Model, Precision, quantise};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TEXTS: [&str; 10] =
    ["a", "water", "turning wheel", "a b c", "é", "water, turn.", "", "w", "x y z z", "turn turn"];

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
        let made = quantise(&model, precision, None, Some(&TEXTS)).expect("it can be done");
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
        let error =
            quantise(&again, precision, None, None).expect_err("once is enough").to_string();
        assert!(error.contains("quantised already"), "{error}");
    }
}

#[test]
fn a_folder_of_f16_is_read_as_it_is() {
    let model = load(files(&SMALL, 5)).expect("a good folder");
    let made = quantise(&model, Precision::F16, None, Some(&TEXTS)).expect("it can be done");
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
    let error = quantise(&model, Precision::F16, None, Some(&TEXTS)).expect_err("refused");
    assert!(error.to_string().ends_with(&says), "{error}");
    assert!(embed(&model, Some(Precision::Bf16)).is_ok());
}

#[test]
fn budgets_are_kept_with_as_few_wide_layers_as_that_takes() {
    let model = load(files(&SHAPES[3], 5)).expect("a good folder");
    let make =
        |budget| quantise(&model, Precision::Int8, budget, Some(&TEXTS)).expect("it can be done");
    let narrow = make(None);
    let count = |made: &pelton::model::Quantised, precision| {
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
    let says = |budget, texts: &[&str]| {
        quantise(&model, Precision::Int8, budget, Some(texts)).expect_err("refused").to_string()
    };
    assert_eq!(says(None, &["a"; 7]), "invalid: 7 texts; half of them judge, so 8 are needed");
    assert_eq!(says(Some(f64::NAN), &TEXTS), "invalid: budget: NaN is no number above 0");
    assert_eq!(says(Some(-1.0), &TEXTS), "invalid: budget: -1 is no number above 0");
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
    let made = quantise(&model, Precision::Int8, None, None).expect("it can be done").safetensors;
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
    let mut rng = pelton::base::rng::SplitMix::new(7);
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

/// A folder on disk that is gone when the test is over.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(args: &[&str]) -> program::Ran {
    program::run("quantise", args)
}

#[test]
fn the_program_makes_a_folder_that_loads() {
    let home = Folder(std::env::temp_dir().join(format!("pelton-{}-quantise", std::process::id())));
    let (from, to) = (home.0.join("from"), home.0.join("to"));
    for (name, bytes) in files(&SMALL, 5) {
        let path = from.join(name);
        std::fs::create_dir_all(path.parent().expect("in the folder")).expect("it can be made");
        std::fs::write(path, bytes).expect("it can be written");
    }
    fn text(path: &Path) -> &str {
        path.to_str().expect("plain names")
    }
    let (source, target) = (text(&from), text(&to));
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
        (&[source, source, "--dtype", "bf16"], "it is there already"),
    ] {
        let ran = run(args);
        assert!(ran.code == Some(2) && ran.err.contains(says), "{args:?}: {ran:?}");
    }
    let lines = home.0.join("lines.txt");
    std::fs::write(&lines, TEXTS.join("\n")).expect("it can be written");
    let ran =
        run(&[source, target, "--dtype", "int8", "--budget", "0.001", "--text", text(&lines)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out.contains("1      output            int8 ") && ran.out.contains("judged 5 texts"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read_to_string(to.join("report.txt")).expect("it is there"), ran.out);
    let model = Model::load(&to).expect("it loads");
    assert!(embed(&model, None).is_ok() && run(&["--help"]).out.contains("--budget GAP"));
}
