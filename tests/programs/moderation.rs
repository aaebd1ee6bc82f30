//! The example `moderation` from end to end: a line for each message, whatever the messages are.

use crate::family;
use crate::folder::Folder;
use crate::model::{SMALL, files};
use crate::program::{Ran, Temporary, run_on};
use pelton::Device;
use pelton::model::{Encoder, EncoderOptions, Model};
use serde_json::Value;
use std::collections::BTreeMap;

/// Lines by the number of their message, each of which comes once.
fn lines(ran: &Ran) -> BTreeMap<u64, Value> {
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("a line is JSON");
        (value["message"].as_u64().expect("a number"), value)
    };
    let all: Vec<_> = ran.out.lines().map(line).collect();
    let by_number: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(by_number.len(), all.len(), "{}", ran.out);
    by_number
}

fn encoder(folder: &Folder) -> Encoder {
    let model = Model::load(&folder.0).expect("a good folder");
    Encoder::new(&model, &Device::cpu(), EncoderOptions::default()).expect("it fits")
}

fn close(line: &Value, label: &str, score: f32) {
    assert_eq!(line["label"], label, "{line}");
    let found = line["score"].as_f64().expect("a score");
    assert!((found - f64::from(score)).abs() < 1e-5, "{line}, not {score}");
    assert!(line["latency_us"].as_u64().is_some_and(|us| us > 0), "{line}");
}

fn classifier(name: &str) -> Folder {
    let all = family::recorded();
    let found = all.iter().find(|found| found.name == "BertForSequenceClassification");
    Folder::new(name, &found.expect("it is recorded").files)
}

#[test]
fn every_message_has_its_label() {
    let folder = classifier("labels");
    let args = ["--model", folder.arg(), "--device", "cpu", "--deadline", "10s"];
    let mut input = b"turning water\r\n\nbad \xff line\n".to_vec();
    input.extend(b"a ".repeat(100_000));
    input.extend("\nWasserräder, 水車 \u{0}".as_bytes());
    let ran = run_on("moderation", &args, &input);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let lines = lines(&ran);
    assert_eq!(lines.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(lines[&3]["error"], "the text is not UTF-8 from byte 4 on");
    assert_eq!(lines[&4]["error"], "the text has 200000 bytes, more than Texts::bytes_max");
    let scores = encoder(&folder).classify(&["turning water", "", "Wasserräder, 水車 \u{0}"]);
    for (row, message) in scores.expect("texts have scores").rows().zip([1, 2, 5]) {
        let labels = ["calm", "angry", "sad"].into_iter().zip(row);
        let (best, most) = labels.max_by(|a, b| a.1.total_cmp(b.1)).expect("three");
        let all: f32 = row.iter().map(|x| (x - most).exp()).sum();
        close(&lines[&message], best, 1.0 / all);
    }
    for says in ["messages 5: 3 judged, 0 of them late, 2 errors, 0 handed", "latency event n=3"] {
        assert!(ran.err.contains(says), "{says}: {}", ran.err);
    }
    let none = run_on("moderation", &args, b"");
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""), "{}", none.err);
}

#[test]
fn a_message_has_the_topic_that_is_nearest() {
    let folder = Folder::new("topics", &files(&SMALL, 9));
    let topics =
        Temporary::new("topics.txt", "wet\twater, a jet\n\nturning wheel\n\"wet\"\tx\n".as_bytes());
    let args = ["--model", folder.arg(), "--topics", topics.arg(), "--device", "cpu"];
    let low = run_on("moderation", &[&args[..], &["--dtype", "int8"]].concat(), b"turning wheel\n");
    close(&lines(&low)[&1], "turning wheel", 1.0);
    let ran = run_on("moderation", &args, b"turning wheel\nx\na wheel of water\n");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let lines = lines(&ran);
    close(&lines[&1], "turning wheel", 1.0);
    close(&lines[&2], "\"wet\"", 1.0);
    let texts = ["water, a jet", "turning wheel", "x", "a wheel of water"];
    let found = encoder(&folder).embed(&texts).expect("texts are embedded");
    let cosine = |i: usize| found[i].iter().zip(&found[3]).map(|(a, b)| a * b).sum::<f32>();
    let best = (0..3).max_by(|&a, &b| cosine(a).total_cmp(&cosine(b))).expect("three");
    close(&lines[&3], ["wet", "turning wheel", "\"wet\""][best], cosine(best));
}

#[test]
fn made_messages_come_from_their_seed_and_all_are_accounted_for() {
    let folder = classifier("made");
    for (full, waits) in [("wait", true), ("reject", false), ("drop", false)] {
        let run = |seed| {
            let args =
                ["--model", folder.arg(), "--device", "cpu", "--made", "300", "--seed", seed];
            let ran = run_on("moderation", &[&args[..], &["--full", full]].concat(), b"ignored\n");
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            assert!(ran.err.contains("messages 300: "), "{}", ran.err);
            let lines = lines(&ran);
            assert!(!waits || lines.len() == 300 && lines.values().all(|x| x["error"].is_null()));
            let label = |(number, line): (&u64, &Value)| (*number, line["score"].to_string());
            lines.iter().map(label).collect::<Vec<_>>()
        };
        let [one, two] = ["1", "2"].map(run);
        assert!(one != two, "other seeds, other messages");
        assert!(!waits || one == run("1"));
    }
    let args = ["--model", folder.arg(), "--device", "cpu", "--made", "20", "--rate", "200"];
    let begin = std::time::Instant::now();
    assert_eq!(lines(&run_on("moderation", &args, b"")).len(), 20);
    assert!(begin.elapsed().as_millis() >= 95, "the last one is due after 95 ms");
}

#[test]
fn mistakes_are_named() {
    let (embeds, classes) = (Folder::new("mistakes", &files(&SMALL, 9)), classifier("refused"));
    let (empty, topics) =
        (Temporary::new("empty.txt", b"\n \n"), Temporary::new("one.txt", b"a\n"));
    let bad = Temporary::new("bad.txt", b"\xff\n");
    for (args, says) in [
        (&[][..], "--model DIR is missing"),
        (&["--model", embeds.arg()], "--topics FILE is missing"),
        (&["--model", classes.arg(), "--topics", topics.arg()], "leave it out"),
        (&["--model", embeds.arg(), "--topics", empty.arg()], "no topic in it"),
        (&["--model", embeds.arg(), "--topics", bad.arg()], "bad.txt"),
        (&["--model", embeds.arg(), "--topics", "/nowhere"], "/nowhere"),
        (&["--model", "/nowhere"], "/nowhere: not a folder"),
        (
            &["--model", classes.arg(), "--full", "spin"],
            "--full: \"spin\"; known: wait, reject, drop",
        ),
        (
            &["--model", classes.arg(), "--dtype", "f8"],
            "--dtype: \"f8\" is not built; there are: f32",
        ),
        (&["--model", classes.arg(), "--made", "-1"], "--made: \"-1\" is no whole number"),
        (&["--model", classes.arg(), "--deadline", "soon"], "--deadline: "),
        (&["--model", classes.arg(), "--deadline", "0s"], "latency_target: 0"),
        (&["--model", classes.arg(), "--device", "abacus"], "abacus: no such device"),
        (&["--modell", "a"], "--modell"),
    ] {
        let ran = run_on("moderation", args, b"a\n");
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{args:?}: {}", ran.err);
    }
    let help = run_on("moderation", &["--help"], b"");
    assert!(help.code == Some(0) && help.out.contains("--topics FILE"));
}
