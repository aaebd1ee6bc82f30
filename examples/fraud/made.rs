//! Made payments, and the fraud among them.
//!
//! The world is that of the Fraud Detection Handbook (Le Borgne, Siblini, Lebichot, Bontempi 2022, chapter 3): accounts
//! with habits of their own, terminals near them, a number of payments a day and amounts around the account's mean. So
//! is *takeover*: for two weeks a third of an account's payments are five times as large. Two more patterns are what
//! card schemes warn of: *testing*, a dozen payments of small change within minutes to see whether a stolen number
//! works, and *cash-out*, stolen cards used one after another at one terminal.

use pelton::base::rng::SplitMix;
use pelton::{Pod, Zeroable};

/// A second, in ticks.
pub(crate) const SECOND: u64 = 1000;
/// A minute, in ticks.
pub(crate) const MINUTE: u64 = 60 * SECOND;
/// An hour, in ticks.
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// A day, in ticks.
pub(crate) const DAY: u64 = 24 * HOUR;
/// Days before the first fraud.
pub(crate) const QUIET: u32 = 28;
/// No case of fraud.
pub(crate) const HONEST: u32 = u32::MAX;

/// One payment.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub(crate) struct Payment {
    /// Milliseconds from the first midnight.
    pub(crate) at: u64,
    pub(crate) account: u32,
    pub(crate) terminal: u32,
    /// In money.
    pub(crate) amount: f32,
    /// Which case of fraud it belongs to, or [`HONEST`]. No query looks at it.
    pub(crate) case: u32,
}

/// A pattern of fraud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pattern {
    Testing,
    Takeover,
    CashOut,
}

impl Pattern {
    pub(crate) const ALL: [Self; 3] = [Self::Testing, Self::Takeover, Self::CashOut];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Testing => "testing",
            Self::Takeover => "takeover",
            Self::CashOut => "cash-out",
        }
    }
}

/// One case of fraud.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) pattern: Pattern,
    /// The account, or the terminal of a cash-out.
    pub(crate) who: u32,
    /// From its first payment to its last.
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Payments in the order of time, and the fraud among them.
pub(crate) struct World {
    pub(crate) payments: Vec<Payment>,
    pub(crate) cases: Vec<Case>,
}

struct Account {
    /// Logarithm of the usual amount.
    usual: f64,
    /// Payments a day.
    daily: f64,
    /// Where it pays.
    terminals: [u32; 8],
}

struct Maker {
    rng: SplitMix,
    world: World,
}

impl Maker {
    fn below(&mut self, n: u32) -> u32 {
        u32::try_from(self.rng.below(n.into())).expect("below a u32")
    }

    /// From a normal distribution.
    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.rng.unit(), self.rng.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// From a Poisson distribution.
    fn poisson(&mut self, mean: f64) -> u32 {
        let (mut n, mut left) = (0, self.rng.unit());
        let mut share = (-mean).exp();
        while left > share && n < 100 {
            left -= share;
            n += 1;
            share *= mean / f64::from(n);
        }
        n
    }

    fn pay(&mut self, at: u64, account: u32, terminal: u32, amount: f64, case: u32) {
        #[allow(clippy::cast_possible_truncation, reason = "money")]
        let amount = ((amount * 100.0).round() / 100.0).max(0.01) as f32;
        self.world.payments.push(Payment { at, account, terminal, amount, case });
        if let Some(case) = usize::try_from(case).ok().and_then(|i| self.world.cases.get_mut(i)) {
            (case.from, case.to) = (case.from.min(at), case.to.max(at));
        }
    }

    fn open(&mut self, pattern: Pattern, who: u32) -> u32 {
        self.world.cases.push(Case { pattern, who, from: u64::MAX, to: 0 });
        u32::try_from(self.world.cases.len() - 1).expect("few cases")
    }

    /// Some time of a day, mostly in the afternoon.
    fn time_of(&mut self, day: u32) -> u64 {
        let hours = (14.0 + 3.5 * self.normal()).rem_euclid(24.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a day")]
        let within = (hours * HOUR as f64) as u64;
        u64::from(day) * DAY + within
    }

    /// The usual payments of a day; of an account that is taken over a third are five times as large.
    fn usual(&mut self, day: u32, number: u32, account: &Account, taken: Option<u32>) {
        for _ in 0..self.poisson(account.daily) {
            let at = self.time_of(day);
            let terminal = account.terminals[self.below(8) as usize];
            let amount = (account.usual + 0.4 * self.normal()).exp();
            match taken.filter(|_| self.below(3) == 0) {
                Some(case) => self.pay(at, number, terminal, 5.0 * amount, case),
                None => self.pay(at, number, terminal, amount, HONEST),
            }
        }
    }

    /// A dozen payments of small change within a quarter of an hour.
    fn testing(&mut self, day: u32, account: u32, terminals: u32) {
        let case = self.open(Pattern::Testing, account);
        let mut at = self.time_of(day);
        let terminal = self.below(terminals);
        for _ in 0..10 + self.below(10) {
            at += u64::from(self.below(60)) * SECOND;
            let amount = 1.0 + 2.0 * self.rng.unit();
            self.pay(at, account, terminal, amount, case);
        }
    }

    /// Cards of others, one after another at one terminal, for three hours.
    fn cash_out(&mut self, day: u32, terminal: u32, accounts: &[Account]) {
        let case = self.open(Pattern::CashOut, terminal);
        let mut at = self.time_of(day);
        for _ in 0..40 + self.below(40) {
            at += u64::from(self.below(240)) * SECOND;
            let account = self.below(u32::try_from(accounts.len()).expect("few accounts"));
            let amount = (accounts[account as usize].usual + 0.4 * self.normal()).exp();
            self.pay(at, account, terminal, 1.5 * amount, case);
        }
    }
}

/// Makes so many days of payments. In the first four weeks all are honest.
pub(crate) fn world(accounts: u32, terminals: u32, days: u32, seed: u64) -> World {
    let world = World { payments: Vec::new(), cases: Vec::new() };
    let mut maker = Maker { rng: SplitMix::new(seed), world };
    let all: Vec<Account> = (0..accounts)
        .map(|_| Account {
            usual: 3.5 + 0.6 * maker.normal(),
            daily: 1.0 + 4.0 * maker.rng.unit(),
            terminals: [0; 8].map(|_| maker.below(terminals)),
        })
        .collect();
    // Until when an account is taken over, and by which case.
    let mut taken = vec![(0, HONEST); all.len()];
    for day in 0..days {
        if day >= QUIET {
            for _ in 0..maker.poisson(f64::from(accounts) / 1000.0) {
                let account = maker.below(accounts);
                maker.testing(day, account, terminals);
            }
            if maker.poisson(f64::from(accounts) / 2000.0) > 0 && day + 14 <= days {
                let account = maker.below(accounts);
                if day >= taken[account as usize].0 {
                    let case = maker.open(Pattern::Takeover, account);
                    taken[account as usize] = (day + 14, case);
                }
            }
            if maker.poisson(f64::from(terminals) / 1000.0) > 0 {
                let terminal = maker.below(terminals);
                maker.cash_out(day, terminal, &all);
            }
        }
        for ((number, account), &(until, case)) in (0..).zip(&all).zip(&taken) {
            maker.usual(day, number, account, (day < until).then_some(case));
        }
    }
    let mut world = maker.world;
    world.payments.sort_by_key(|payment| payment.at);
    world
}
