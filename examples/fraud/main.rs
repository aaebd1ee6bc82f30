//! Card payments watched as they come, by queries that feed each other:
//!
//! - *amounts*: every payment scored by what its account usually spends;
//! - *pace*: payments of an account in half an hour, counted in windows, and those counts scored by its past;
//! - *crowds*: the same for terminals, in windows of three hours.
//!
//! The payments are made, with known fraud among them, so the program can tell at the end what was found, how much of
//! what was found is fraud, and how long it took.

mod args;
mod cases;
mod made;

use args::{Args, HELP};
use cases::{Book, Watch};
use made::{HOUR, MINUTE, Payment, World};
use pelton::{
    Device, Feed, Inline, Key, Options, Pod, Result, Rows, Score, Scores, Side, Windows, Zeroable,
    field,
};
use std::process::ExitCode;
use std::time::Instant;

/// What is scored of a payment.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Spent {
    at: u64,
    account: u32,
    /// Logarithm of the amount: amounts are usual or not by their ratio.
    amount: f32,
}

/// What is scored of a window.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Count {
    at: u64,
    who: u32,
    payments: f32,
}

/// Payments counted in windows, and the counts scored by the past of their key.
struct Counted {
    windows: Inline<Payment>,
    payments: Feed<Payment>,
    scores: Inline<Count>,
    counts: Feed<Count>,
}

impl Counted {
    /// Alerts where a window has `least` payments more than usual, and no more often than `rate` says.
    fn new(
        windows: Windows<Payment>,
        keys: u32,
        (least, rate): (f32, f64),
        device: &Device,
    ) -> Result<Self> {
        let scores = Scores {
            key: Key::dense(field!(Count.who), keys),
            side: Side::Above,
            least,
            rate,
            warm_up: 16,
            rest: 12.0,
            ..Scores::new(field!(Count.at), field!(Count.payments))
        };
        let windows = Inline::new(windows, Options::on(device.clone()))?;
        let scores = Inline::new(scores, Options::on(device.clone()))?;
        let (payments, counts) = (windows.lane()?, scores.lane()?);
        Ok(Self { windows, payments, scores, counts })
    }

    /// Takes what has been pushed so far to its end.
    fn settle(&mut self, mut take: impl FnMut(&Score<'_>)) -> Result<()> {
        let Self { windows, scores, counts, .. } = self;
        let mut ready = Vec::new();
        windows.settle(|rows: Rows| {
            ready.extend(rows.iter().map(|row| {
                let who = u32::try_from(row.key()).expect("keys are dense");
                Count { at: row.end(), who, payments: row.count() as f32 }
            }));
        })?;
        for some in ready.chunks(1024) {
            for &count in some {
                counts.push(count).expect("it was emptied before");
            }
            scores.settle(|rows| rows.scores().for_each(|score| take(&score)))?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}; --help lists the options");
            return ExitCode::from(2);
        }
    };
    if args.help {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let device = match Device::named(&args.device) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let world = made::world(args.accounts, args.terminals, args.days, args.seed);
    match watch(&args, &device, &world) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}

fn watch(args: &Args, device: &Device, world: &World) -> Result<()> {
    let amounts = Scores {
        key: Key::dense(field!(Spent.account), args.accounts),
        side: Side::Above,
        // Twice the usual amount at least.
        least: 2f32.ln(),
        rate: 1e-4,
        horizon: 512.0,
        warm_up: 20,
        rest: 8.0,
        ..Scores::new(field!(Spent.at), field!(Spent.amount))
    };
    let mut amounts = Inline::new(amounts, Options::on(device.clone()))?;
    let mut spent = amounts.lane()?;
    let pace = Windows {
        key: Key::dense(field!(Payment.account), args.accounts),
        ..Windows::hopping(field!(Payment.at), 30 * MINUTE, 10 * MINUTE)
    };
    let crowds = Windows {
        key: Key::dense(field!(Payment.terminal), args.terminals),
        ..Windows::hopping(field!(Payment.at), 3 * HOUR, HOUR)
    };
    let mut pace = Counted::new(pace, args.accounts, (5.0, 0.01), device)?;
    let mut crowds = Counted::new(crowds, args.terminals, (10.0, 1e-4), device)?;
    let mut book = Book::new(world, args.alerts);
    let began = Instant::now();
    for some in world.payments.chunks(512) {
        for payment in some {
            let Payment { at, account, amount, .. } = *payment;
            let amount = amount.ln();
            spent.push(Spent { at, account, amount }).expect("it was emptied before");
            pace.payments.push(*payment).expect("it was emptied before");
            crowds.payments.push(*payment).expect("it was emptied before");
        }
        amounts.settle(|rows| rows.scores().for_each(|s| book.take(Watch::Amounts, &s)))?;
        pace.settle(|score| book.take(Watch::Pace, score))?;
        crowds.settle(|score| book.take(Watch::Crowds, score))?;
    }
    let took = began.elapsed().as_secs_f64();
    let all = world.payments.len();
    println!("\n{all} payments on {}", device.caps().name);
    eprintln!("{:.0} payments a second, by all three queries", all as f64 / took);
    book.print();
    Ok(())
}
