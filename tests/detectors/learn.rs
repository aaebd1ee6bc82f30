//! Drift detectors: number by number what River's say (recorded by `tests/learn/record.py`), delay and false alarms,
//! what they hold, and numbers that are none.

use pelton::base::rng::SplitMix;
use pelton::learn::{Adwin, AdwinOptions, PageHinkley, PageHinkleyOptions};

const RECORDED: &str = include_str!("../learn/river.txt");
const LENGTH: usize = 20_000;

/// About normal: twelve uniform numbers, less six.
fn bell(rng: &mut SplitMix) -> f64 {
    let mut total = 0.0;
    for _ in 0..12 {
        total += rng.unit();
    }
    total - 6.0
}

/// The streams of the script.
fn number(stream: &str, rng: &mut SplitMix, i: usize) -> f64 {
    let from = |at: usize, to: f64| if i >= at { to } else { 0.0 };
    match stream {
        "still" => bell(rng),
        "jump" => bell(rng) + from(10_000, 1.0),
        "fall" => 3.0 * bell(rng) - from(7_000, 40.0),
        "errors" => f64::from(u8::from(rng.below(10) < if i < 5_000 { 2 } else { 4 })),
        "ramp" => rng.unit() + i.saturating_sub(8_000) as f64 / 4_000.0,
        "stairs" => bell(rng) + 2.0 * (i / 3_000 % 3) as f64,
        "constant" => [0.1, 0.3][usize::from(i >= 9_000)],
        _ => panic!("no stream {stream}"),
    }
}

/// A record: detector, options, stream, seed, and the lines that follow.
struct Record {
    head: Vec<&'static str>,
    lines: Vec<Vec<&'static str>>,
}

fn records(detector: &str) -> Vec<Record> {
    let mut found: Vec<Record> = Vec::new();
    for line in RECORDED.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "adwin" | "page-hinkley" | "trees" => {
                found.push(Record { head: words, lines: Vec::new() });
            }
            _ => found.last_mut().expect("a head comes first").lines.push(words),
        }
    }
    found.retain(|record| record.head[0] == detector);
    found
}

impl Record {
    fn options(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.head[1].split(',').filter_map(|option| option.split_once('='))
    }

    fn stream(&self) -> impl Iterator<Item = (usize, f64)> {
        let (stream, seed) = (self.head[2], self.head[3].parse().expect("a seed"));
        let mut rng = SplitMix::new(seed);
        (0..LENGTH).map(move |i| (i, number(stream, &mut rng, i)))
    }
}

fn close(got: f64, want: &str, context: &str) {
    let want: f64 = want.parse().expect("a number");
    assert!((got - want).abs() <= 1e-9 * want.abs().max(1e-6), "{got} for {want}: {context}");
}

#[test]
fn adwin_says_what_river_says() {
    let mut detections = 0;
    for record in records("adwin") {
        let mut options = AdwinOptions::default();
        for (name, value) in record.options() {
            let count = || value.parse().expect("a count");
            match name {
                "delta" => options.delta = value.parse().expect("a number"),
                "clock" => options.clock = count(),
                "max_buckets" => options.buckets = count(),
                "min_window_length" => options.shortest = count(),
                "grace_period" => options.grace = count(),
                "restart" => options.restart = value == "true",
                _ => panic!("no option {name}"),
            }
        }
        let context = record.head.join(" ");
        let mut window = Adwin::new(options).expect("options in range");
        let mut wanted = record.lines.iter();
        let same = |words: &[&str], window: &Adwin| {
            assert_eq!(window.width() as f64, words[1].parse::<f64>().unwrap(), "{context}");
            close(window.mean(), words[2], &context);
            close(window.variance(), words[3], &context);
        };
        for (i, x) in record.stream() {
            if window.update(x) {
                let words = wanted.next().expect("River says no more");
                assert_eq!(words[0], i.to_string(), "{context}");
                same(words, &window);
                detections += 1;
            }
        }
        let end = wanted.next().expect("an end");
        assert_eq!(end[0], "end", "{context}: River detects more");
        same(end, &window);
    }
    assert!(detections > 100, "{detections}");
}

#[test]
fn page_hinkley_says_what_river_says() {
    let mut detections = 0;
    for record in records("page-hinkley") {
        let mut options = PageHinkleyOptions::default();
        for (name, value) in record.options() {
            match name {
                "min_instances" => options.warm_up = value.parse().expect("a count"),
                "delta" => options.delta = value.parse().expect("a number"),
                "threshold" => options.threshold = value.parse().expect("a number"),
                "alpha" => options.alpha = value.parse().expect("a number"),
                "mode" => (options.up, options.down) = (value == "up", value == "down"),
                _ => panic!("no option {name}"),
            }
        }
        let mut test = PageHinkley::new(options).expect("options in range");
        let found: Vec<String> =
            record.stream().filter(|&(_, x)| test.update(x)).map(|(i, _)| i.to_string()).collect();
        let wanted: Vec<&str> =
            record.lines.iter().map(|words| words[0]).take_while(|&word| word != "end").collect();
        assert_eq!(found, wanted, "{}", record.head.join(" "));
        detections += found.len();
    }
    assert!(detections > 100, "{detections}");
}

/// A step of one deviation is seen within some 50 numbers, and seldom anything where nothing is.
#[test]
fn adwin_is_quick_and_seldom_wrong() {
    let (mut delays, mut wrong) = (Vec::new(), 0);
    for seed in 100..130 {
        let (mut window, mut rng) = (Adwin::default(), SplitMix::new(seed));
        let found: Vec<usize> =
            (0..LENGTH).filter(|&i| window.update(number("jump", &mut rng, i))).collect();
        wrong += found.iter().filter(|&i| !(10_000..=10_200).contains(i)).count();
        delays.extend(found.iter().find(|&&i| i >= 10_000).map(|i| i - 10_000));
    }
    delays.sort_unstable();
    assert_eq!(delays.len(), 30, "every step is seen");
    assert!((20..=80).contains(&delays[15]) && delays[29] < 150, "{delays:?}");
    assert!(wrong <= 2, "{wrong} false alarms in 600,000 numbers");
}

#[test]
fn adwin_holds_few_buckets() {
    for buckets in [2u32, 5, 20] {
        let options = AdwinOptions { buckets, delta: 1e-9, ..AdwinOptions::default() };
        let mut window = Adwin::new(options).unwrap();
        let mut rng = SplitMix::new(5);
        for i in 1..=300_000u64 {
            window.update(bell(&mut rng));
            let most = f64::from(buckets) * (1.0 + (i as f64).log2());
            assert!(window.buckets() as f64 <= most, "{} of {i} numbers", window.buckets());
        }
        assert!(window.width() == 300_000 && window.buckets() > 17);
    }
}

#[test]
fn what_is_no_number_changes_nothing() {
    let mut rng = SplitMix::new(6);
    let (mut plain, mut dirty) = (Adwin::default(), Adwin::default());
    let (mut plain_test, mut dirty_test) = (PageHinkley::default(), PageHinkley::default());
    for i in 0..LENGTH {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e101] {
            assert!(!dirty.update(bad) && !dirty_test.update(bad));
        }
        let x = number("stairs", &mut rng, i);
        assert_eq!(plain.update(x), dirty.update(x));
        assert_eq!(plain_test.update(x), dirty_test.update(x));
    }
    assert_eq!((plain.width(), plain.mean()), (dirty.width(), dirty.mean()));
    assert_eq!(plain_test.mean(), dirty_test.mean());
    assert_eq!((dirty.ignored(), dirty_test.ignored()), (80_000, 80_000));
    assert!(plain.detections() > 4 && plain_test.detections() > 4);
    // The largest numbers that are some.
    for i in 0..5000 {
        let x = if i % 2 == 0 { 1e100 } else { -1e100 };
        dirty.update(x);
        dirty_test.update(x);
    }
    assert!(dirty.mean().is_finite() && dirty.variance().is_finite());
    assert!(dirty_test.mean().is_finite());
}

#[test]
fn empty_ones_say_zero() {
    let window = Adwin::default();
    assert_eq!((window.width(), window.mean(), window.variance()), (0, 0.0, 0.0));
    assert_eq!((window.buckets(), window.detections()), (0, 0));
    let test = PageHinkley::default();
    assert_eq!((test.count(), test.mean(), test.detections()), (0, 0.0, 0));
}

#[test]
fn options_out_of_range_are_named() {
    let adwin = AdwinOptions::default();
    let cases = [
        (AdwinOptions { delta: 0.0, ..adwin }, "delta: 0; accepted"),
        (AdwinOptions { delta: f64::NAN, ..adwin }, "delta: NaN"),
        (AdwinOptions { clock: 0, ..adwin }, "clock: 0; accepted are 1 and more"),
        (AdwinOptions { buckets: 1, ..adwin }, "buckets: 1; accepted are 2 to 1024"),
        (AdwinOptions { shortest: 0, ..adwin }, "shortest: 0"),
    ];
    for (options, want) in cases {
        let error = Adwin::new(options).expect_err(want).to_string();
        assert!(error.contains(want), "{error}");
    }
    let page = PageHinkleyOptions::default();
    let cases = [
        (PageHinkleyOptions { delta: -1.0, ..page }, "delta: -1; accepted are 0 to 1e100"),
        (PageHinkleyOptions { threshold: 0.0, ..page }, "threshold: 0"),
        (PageHinkleyOptions { alpha: 1.5, ..page }, "alpha: 1.5; accepted are numbers above 0"),
    ];
    for (options, want) in cases {
        let error = PageHinkley::new(options).expect_err(want).to_string();
        assert!(error.contains(want), "{error}");
    }
}
