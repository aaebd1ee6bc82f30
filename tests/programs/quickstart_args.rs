//! The quickstart's command line, tested here because examples are built by `cargo test` but not run.

#[path = "../../examples/quickstart/args.rs"]
mod args;

use args::{Args, Format, HELP, Source, parse};
use pelton::base::time::Shape;

const SECOND: u64 = 1_000_000_000;

fn ok(line: &str) -> Args {
    parse(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

#[test]
fn defaults_are_those_of_the_help() {
    let hour = 3600 * SECOND;
    let want = Args {
        source: None,
        shape: Shape::new(hour, hour).unwrap(),
        disorder: 0,
        lateness: 0,
        horizon: 720 * hour,
        run_for: 5 * SECOND,
        device: "best".into(),
        format: Format::Text,
        strict: false,
        help: false,
    };
    assert_eq!(ok(""), want);
    let said =
        "--size 1h --slide=1h --disorder 0s --lateness 0 --horizon 30d --seconds 5s --device best";
    assert_eq!(ok(&format!("{said} --format text")), want);
}

#[test]
fn everything_can_be_said() {
    let args = ok(
        "--csv a/b.csv --time at --value=v --key k --size 60s --slide 20s --disorder 1.5s --lateness 1m \
                   --horizon 1w --seconds 0.5 --device wgpu:llvmpipe --format csv --strict",
    );
    let source = Source {
        path: "a/b.csv".into(),
        time: "at".into(),
        value: "v".into(),
        key: Some("k".into()),
    };
    assert_eq!(args.source, Some(source));
    assert_eq!((args.shape.size(), args.shape.slide()), (60 * SECOND, 20 * SECOND));
    assert_eq!((args.disorder, args.lateness), (3 * SECOND / 2, 60 * SECOND));
    assert_eq!((args.horizon, args.run_for), (7 * 86_400 * SECOND, SECOND / 2));
    assert_eq!(
        (args.device.as_str(), args.format, args.strict),
        ("wgpu:llvmpipe", Format::Csv, true)
    );
    assert!(ok("-h").help && ok("--csv f --help").help && !args.help);
}

#[test]
fn mistakes_name_the_option_and_what_it_takes() {
    for (line, want) in [
        ("--csv f", "--csv needs --time COL"),
        ("--csv f --time t", "--csv needs --value COL"),
        ("--time t", "add --csv FILE"),
        ("--key k", "add --csv FILE"),
        ("--size 5", "--size: "),
        ("--size 0s", "--size, --slide: "),
        ("--size 10s --slide 3s", "must divide the size"),
        ("--size", "missing argument for option '--size'"),
        ("--disorder -1s", "--disorder: "),
        ("--seconds 0", "--seconds: "),
        ("--seconds forever", "--seconds: "),
        ("--format json", "--format: \"json\" is not one of text, csv"),
        ("--strict=1", "--strict"),
        ("--sizes 1h", "invalid option '--sizes'; --help lists all options"),
        ("-x", "invalid option '-x'"),
        ("data.csv", "options begin with --"),
    ] {
        let error = parse(line.split_whitespace()).expect_err(line);
        assert!(error.contains(want), "{line}: {error}");
        assert!(!error.contains('\n'), "{line}: one line");
    }
}

#[test]
fn help_names_every_option() {
    for option in
        "csv time value key size slide disorder lateness horizon seconds device format strict help"
            .split(' ')
    {
        assert!(HELP.contains(&format!("  --{option} ")), "--{option}");
    }
    assert!(HELP.lines().all(|line| line.len() <= 100));
}
