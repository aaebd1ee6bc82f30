//! What was found, held against what there was.

use super::made::{Case, DAY, HONEST, HOUR, MINUTE, Pattern, QUIET, World};
use pelton::Score;
use std::collections::BTreeMap;

/// Which query an alert is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Amounts,
    Pace,
    Crowds,
}

/// A week's counts.
#[derive(Debug, Clone, Copy, Default)]
struct Week {
    payments: u64,
    begun: u64,
    found: u64,
    alerts: u64,
    right: u64,
}

/// All cases, and the alerts that came.
pub(crate) struct Book<'a> {
    world: &'a World,
    /// The case of each fraudulent payment by its account and time.
    by_payment: BTreeMap<(u32, u64), u32>,
    /// The first alert that each case got.
    first: Vec<Option<u64>>,
    weeks: Vec<Week>,
    /// Alerts still to be printed.
    to_print: usize,
}

/// An event time as people say it.
fn clock(at: u64) -> String {
    let (hours, minutes) = (at % DAY / HOUR, at % HOUR / MINUTE);
    format!("day {:2} {hours:02}:{minutes:02}", at / DAY)
}

fn week(at: u64) -> usize {
    usize::try_from(at / (7 * DAY)).expect("few weeks")
}

impl<'a> Book<'a> {
    /// Prints so many alerts as they come.
    pub(crate) fn new(world: &'a World, to_print: usize) -> Self {
        let last = world.payments.last().map_or(0, |payment| week(payment.at));
        let mut weeks = vec![Week::default(); last + 2];
        world.payments.iter().for_each(|payment| weeks[week(payment.at)].payments += 1);
        world.cases.iter().filter(|c| c.to > 0).for_each(|case| weeks[week(case.from)].begun += 1);
        let fraud = world.payments.iter().filter(|payment| payment.case != HONEST);
        let by_payment = fraud.map(|p| ((p.account, p.at), p.case)).collect();
        Self { world, by_payment, first: vec![None; world.cases.len()], weeks, to_print }
    }

    /// Takes a score; only alerts count.
    pub(crate) fn take(&mut self, watch: Watch, score: &Score<'_>) {
        if !score.alert() {
            return;
        }
        let (who, at) = (u32::try_from(score.key()).expect("keys are dense"), score.time());
        let case = self.case(watch, who, at);
        if self.to_print > 0 {
            self.to_print -= 1;
            let was = case.map_or("honest", |case| self.world.cases[case].pattern.name());
            println!("{} {}   [{was}]", clock(at), reason(watch, who, score));
        }
        let week = &mut self.weeks[week(at)];
        week.alerts += 1;
        week.right += u64::from(case.is_some());
        if let Some(case) = case
            && self.first[case].is_none()
        {
            self.first[case] = Some(at);
        }
    }

    /// The case that an alert is about.
    fn case(&self, watch: Watch, who: u32, at: u64) -> Option<usize> {
        if watch == Watch::Amounts {
            let case = self.by_payment.get(&(who, at))?;
            return usize::try_from(*case).ok();
        }
        // A window ends up to its length after what it counts.
        let about = |case: &Case| {
            let of_terminal = case.pattern == Pattern::CashOut;
            of_terminal == (watch == Watch::Crowds)
                && case.who == who
                && (case.from..=case.to + 3 * HOUR).contains(&at)
        };
        self.world.cases.iter().position(about)
    }

    /// Prints what was found, week by week and pattern by pattern.
    pub(crate) fn print(&mut self) {
        for (case, first) in self.world.cases.iter().zip(&self.first) {
            self.weeks[week(case.from.min(case.to))].found += u64::from(first.is_some());
        }
        let share = |a: u64, b: u64| match b {
            0 => "    -".to_string(),
            _ => format!("{:5.2}", a as f64 / b as f64),
        };
        println!("\nweek payments cases found recall alerts right precision");
        let learning = usize::try_from(QUIET / 7).expect("few weeks");
        for (i, w) in self.weeks.iter().enumerate().filter(|(_, w)| w.payments > 0) {
            println!(
                "{:4} {:8} {:5} {:5}  {} {:6} {:5}     {}{}",
                i + 1,
                w.payments,
                w.begun,
                w.found,
                share(w.found, w.begun),
                w.alerts,
                w.right,
                share(w.right, w.alerts),
                if i < learning { "   all honest" } else { "" }
            );
        }
        println!("\npattern  cases found recall  median delay: payments  hours");
        for pattern in Pattern::ALL {
            self.print_pattern(pattern);
        }
    }

    fn print_pattern(&self, pattern: Pattern) {
        let of = |(_, (case, _)): &(usize, (&Case, &Option<u64>))| {
            case.pattern == pattern && case.to > 0
        };
        let cases: Vec<_> =
            self.world.cases.iter().zip(&self.first).enumerate().filter(of).collect();
        let mut delays: Vec<(u64, f64)> = Vec::new();
        for (number, (case, first)) in &cases {
            let Some(first) = first else { continue };
            let before = |p: &&super::made::Payment| {
                usize::try_from(p.case) == Ok(*number) && p.at <= *first
            };
            let payments = self.world.payments.iter().filter(before).count() as u64;
            delays.push((payments, first.saturating_sub(case.from) as f64 / HOUR as f64));
        }
        delays.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (payments, hours) = delays.get(delays.len() / 2).copied().unwrap_or_default();
        println!(
            "{:8} {:5} {:5}  {:5.2} {payments:22} {hours:6.1}",
            pattern.name(),
            cases.len(),
            delays.len(),
            delays.len() as f64 / cases.len().max(1) as f64
        );
    }
}

/// What stands out, in the words of who has to act.
fn reason(watch: Watch, who: u32, score: &Score<'_>) -> String {
    let rare = score.score();
    match watch {
        Watch::Amounts => format!(
            "account {who} paid {:.2}; usual is {:.2} to {:.2}; one in 10^{rare:.1}",
            score.value().exp(),
            score.band(1.0).start().exp(),
            score.band(1.0).end().exp(),
        ),
        Watch::Pace => format!(
            "account {who} paid {:.0} times in half an hour; usual is {:.1}; one in 10^{rare:.1}",
            score.value(),
            score.expected(),
        ),
        Watch::Crowds => format!(
            "terminal {who} took {:.0} payments in three hours; usual is {:.1}; one in 10^{rare:.1}",
            score.value(),
            score.expected(),
        ),
    }
}
