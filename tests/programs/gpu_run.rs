//! The script that runs the tests and benches on a machine with a GPU, over programs that pass, fail, skip and hang.

use crate::json::Json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `gpu.sh pack` writes beside the script: kind, program, test, seconds.
const PARTS: &str = "\
bench rates - 9
bench absent - 9
example bench_devices - 9
test proof cuda_right 9
test proof cuda_wrong 9
test proof cuda_not_here 9
test proof cuda_hangs 1
";
const PROOF: &str = r#"
case $1 in
  cuda_right) ;;
  cuda_wrong) printf 'a "quoted" \\ and\ta tab\nµ\n'; exit 101 ;;
  cuda_not_here) echo "SKIP $1: no card" | tee -a "$PELTON_SKIPS" ;;
  cuda_hangs) sleep 60 ;;
esac
[[ $PELTON_CUDA == real ]]
"#;
const RATES: &str =
    r#"echo noise; echo '{"id":"X-1","value":2.5,"unit":"GB/s"}'; echo '{"id": broken'"#;
const ABSENT: &str = "echo 'SKIP X-2: no card' >&2";
const DEVICES: &str = r#"
[[ $2 != wgpu ]] || exit 2
printf '{\n  "device": {"name": "%s"},\n  "commit": "%s"\n}\n' "$2" "$PELTON_COMMIT" >"$6"
"#;

/// A folder as `gpu.sh pack` leaves it, gone when the test is over.
struct Pack(PathBuf);

impl Pack {
    fn new(test: &str) -> Self {
        let root = std::env::temp_dir().join(format!("pelton-{}-{test}", std::process::id()));
        fs::create_dir_all(root.join("bin")).expect("temporary folders can be made");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/gpu_run.sh");
        fs::copy(script, root.join("run.sh")).expect("the script is there");
        fs::write(root.join("parts"), PARTS).expect("it can be written");
        let built = "PELTON_COMMIT=c0ffee\nPELTON_CHANGES=\nPELTON_RUSTC=rustc 1\n";
        fs::write(root.join("built"), built).expect("it can be written");
        for (name, text) in
            [("proof", PROOF), ("rates", RATES), ("absent", ABSENT), ("bench_devices", DEVICES)]
        {
            let path = root.join("bin").join(name);
            fs::write(&path, format!("#!/usr/bin/env bash\n{text}\n")).expect("it can be written");
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        Self(root)
    }

    fn run(&self, parts: &[&str]) -> (Output, Json) {
        let out = self.0.join("out.json");
        let mut command = Command::new("bash");
        let ran = command.arg(self.0.join("run.sh")).arg(&out).args(parts).output();
        let text = fs::read_to_string(out).expect("a report");
        let ran = ran.expect("bash starts");
        let report = Json::parse(&text).unwrap_or_else(|why| panic!("{why}: {ran:?}\n{text}"));
        (ran, report)
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn everything_runs_whatever_fails() {
    let pack = Pack::new("everything");
    let (ran, report) = pack.run(&["tests", "benches", "devices"]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    let statuses = |part: &str| {
        let texts = report.items(part).iter().map(|item| {
            [item.text("name"), item.text("status")].map(|text| text.unwrap_or("none").to_owned())
        });
        texts.map(|[name, status]| format!("{name}: {status}")).collect::<Vec<_>>()
    };
    let tests = [
        "proof cuda_right: passed",
        "proof cuda_wrong: failed (101)",
        "proof cuda_not_here: skipped",
        "proof cuda_hangs: timeout after 1 s",
    ];
    assert_eq!(statuses("tests"), tests);
    let log = report.items("tests")[1].text("log");
    assert_eq!(log, Some("a \"quoted\" \\ and\ta tab\n"), "what is not ASCII is left out");
    let runs = [
        "rates: passed",
        "absent: skipped",
        "bench_devices cuda: passed",
        "bench_devices wgpu: failed (2)",
        "bench_devices cpu: passed",
    ];
    assert_eq!(statuses("bench_runs"), runs);
    let [rate] = report.items("benches") else { panic!("{report}") };
    assert_eq!((rate.text("id"), rate.number("value")), (Some("X-1"), Some(2.5)));
    let devices: Vec<_> =
        report.items("devices").iter().map(|device| device.text("device.name")).collect();
    assert_eq!(devices, [Some("cuda"), Some("cpu")]);
    assert_eq!(report.items("devices")[0].text("commit"), Some("c0ffee"));
    assert!(report.text("context.date").is_some_and(|date| date.len() == 10), "{report}");
}

#[test]
fn parts_are_chosen_and_judged() {
    let pack = Pack::new("parts");
    let (ran, report) = pack.run(&["benches"]);
    assert_eq!((ran.status.code(), report.items("tests").len()), (Some(0), 0), "{ran:?}");
    let unknown =
        Command::new("bash").arg(pack.0.join("run.sh")).args(["/dev/null", "all"]).output();
    assert_eq!(unknown.expect("bash starts").status.code(), Some(2));
}
