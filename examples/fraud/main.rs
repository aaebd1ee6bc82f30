//! Card payments watched as they come, by three queries, two of them of what windows come to:
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
    Aggregate, Device, Inline, Key, Options, Pod, Result, Scores, Side, WindowScores, Windows,
    Zeroable, field,
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

/// Payments counted in windows, and the counts scored by the past of their key: alerts where a window has `least`
/// payments more than usual, and no more often than `rate` says.
fn counted(windows: Windows<Payment>, (least, rate): (f32, f64)) -> WindowScores<Payment> {
    let query = WindowScores::new(windows, Aggregate::Count);
    let scores = Scores { side: Side::Above, least, rate, warm_up: 16, rest: 12.0, ..query.scores };
    WindowScores { scores, ..query }
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
        rate: 5e-4,
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
    let mut pace = Inline::new(counted(pace, (5.0, 0.01)), Options::on(device.clone()))?;
    let mut crowds = Inline::new(counted(crowds, (10.0, 5e-4)), Options::on(device.clone()))?;
    let (mut of_accounts, mut of_terminals) = (pace.lane()?, crowds.lane()?);
    let mut book = Book::new(world, args.alerts);
    let began = Instant::now();
    for some in world.payments.chunks(512) {
        for payment in some {
            let Payment { at, account, amount, .. } = *payment;
            let amount = amount.ln();
            spent.push(Spent { at, account, amount }).expect("it was emptied before");
            of_accounts.push(*payment).expect("it was emptied before");
            of_terminals.push(*payment).expect("it was emptied before");
        }
        amounts.settle(|rows| rows.scores().for_each(|s| book.take(Watch::Amounts, &s)))?;
        pace.settle(|rows| rows.scores().for_each(|s| book.take(Watch::Pace, &s)))?;
        crowds.settle(|rows| rows.scores().for_each(|s| book.take(Watch::Crowds, &s)))?;
    }
    let took = began.elapsed().as_secs_f64();
    let all = world.payments.len();
    println!("\n{all} payments on {}", device.caps().name);
    eprintln!("{:.0} payments a second, by all three queries", all as f64 / took);
    book.print();
    Ok(())
}
