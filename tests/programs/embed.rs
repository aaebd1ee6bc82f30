//! The example `embed` from end to end: a line for each line, whatever the lines are.

use crate::folder::Folder;
use crate::model::{SHAPES, SMALL, files};
use crate::program;
use crate::program::Ran;
use pelton::Device;
use pelton::model::{Encoder, EncoderOptions, Model, Precision};
use serde_json::Value;

/// Runs the example: exit code, standard output, standard error.
fn embed(args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let Ran { code, out, err } = program::run_on("embed", args, input);
    (code, out, err)
}

#[allow(clippy::cast_possible_truncation, reason = "what was an f32 is one")]
fn numbers(line: &str) -> Vec<f32> {
    let value: Value = serde_json::from_str(line).expect("a line is JSON");
    let list = value.as_array().unwrap_or_else(|| panic!("{line}"));
    list.iter().map(|x| x.as_f64().expect("numbers") as f32).collect()
}

#[test]
fn every_line_has_its_line() {
    let folder = Folder::new("lines", &files(&SMALL, 9));
    let path = folder.arg();
    let mut input = b"turning water\n\nbad \xff line\nturning water\r\n".to_vec();
    input.extend(b"a ".repeat(50_000));
    input.extend("\nWasserräder, 水車 \u{0}".as_bytes());
    let args = ["--model", path, "--device", "cpu", "--max-batch-tokens", "96", "--dtype", "f32"];
    let (code, out, err) = embed(&args, &input);
    assert_eq!(code, Some(0), "{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 6, "{out}");
    assert_eq!(lines[2], "{\"error\":\"the line is not UTF-8 from byte 4 on\"}");
    assert_eq!(lines[0], lines[3], "the end of a line is not part of it");
    // The numbers read back to the very same.
    let model = Model::load(&folder.0).expect("a good folder");
    let mut encoder = Encoder::new(&model, &Device::cpu(), EncoderOptions::default()).unwrap();
    let long = "a ".repeat(50_000);
    let found = encoder.embed(&["turning water", "", &long, "Wasserräder, 水車 \u{0}"]).unwrap();
    for (row, line) in found.rows().zip([0, 1, 4, 5]) {
        assert_eq!(row, numbers(lines[line]), "line {line}");
    }
    for says in [
        "device   cpu: the processor was asked for",
        "lines    6, of them 1 errors",
        "latency  n=6",
    ] {
        assert!(err.contains(says), "{says}: {err}");
    }
    assert!(err.contains(model.hash()), "{err}");
    let (code, out, _) = embed(&args, b"");
    assert_eq!((code, out.as_str()), (Some(0), ""));
}

#[test]
fn lines_are_embedded_at_the_precision_that_was_asked_for() {
    let folder = Folder::new("dtype", &files(&SMALL, 9));
    let path = folder.arg();
    let model = Model::load(&folder.0).expect("a good folder");
    for precision in [Precision::F16, Precision::Bf16, Precision::Int8] {
        let dtype = precision.to_string();
        let args = ["--model", path, "--device", "cpu", "--dtype", &dtype];
        let (code, out, err) = embed(&args, b"turning water\n");
        assert_eq!(code, Some(0), "{err}");
        assert!(err.contains(&format!("dtype    {dtype}\n")), "{err}");
        let options = EncoderOptions { precision: Some(precision), ..EncoderOptions::default() };
        let mut encoder = Encoder::new(&model, &Device::cpu(), options).expect("it fits");
        assert_eq!(encoder.embed(&["turning water"]).expect("a text")[0], numbers(out.trim_end()));
    }
}

#[test]
fn mistakes_are_named() {
    let folder = Folder::new("mistakes", &files(&SHAPES[1], 9));
    let path = folder.arg();
    for (args, says) in [
        (&[][..], "--model DIR is missing"),
        (
            &["--model", path, "--dtype", "f64"],
            "--dtype: \"f64\" is not built; there are: f32, f16, bf16, int8",
        ),
        (&["--model", path, "--max-batch-tokens", "0"], "--max-batch-tokens: \"0\" is no number"),
        (&["--model", path, "--max-batch-tokens", "7", "--device", "cpu"], "batch_tokens: 80 to"),
        (&["--model", path, "--device", "abacus"], "abacus: no such device; devices here:"),
        (&["--model", "/nowhere"], "/nowhere: not a folder"),
        (&["--modell", path], "--modell"),
    ] {
        let (code, out, err) = embed(args, b"a\n");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
    std::fs::remove_file(folder.0.join("tokenizer.json")).expect("it was there");
    let (code, _, err) = embed(&["--model", path], b"a\n");
    assert_eq!(code, Some(2));
    assert!(err.contains("tokenizer.json: missing; a model is a folder with"), "{err}");
    let (code, out, _) = embed(&["--help"], b"");
    assert!(code == Some(0) && out.contains("--max-batch-tokens N"));
}
