//! Windows one event at a time, in whole seconds, as the words of the command line have it.

use std::collections::BTreeMap;

/// A row of a file, its time in seconds.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) key: String,
    pub(crate) value: f32,
}

/// What the command line says, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub(crate) size: u64,
    pub(crate) slide: u64,
    pub(crate) disorder: u64,
    pub(crate) lateness: u64,
}

/// The rows that count: by start, end and key, their count, sum, min, max and mean.
pub(crate) type Rows = BTreeMap<(u64, u64, String), [f64; 5]>;

impl Query {
    /// The last row of every window and key, and how many events are late for all of their windows.
    pub(crate) fn run(&self, events: &[Event]) -> (Rows, u64) {
        let (mut rows, mut newest, mut late) = (Rows::new(), None::<u64>, 0);
        for Event { at, key, value } in events {
            let value = f64::from(*value);
            let over =
                newest.map(|t| t.saturating_sub(self.disorder).saturating_sub(self.lateness));
            let mut taken = false;
            let first = at / self.slide * self.slide + self.slide;
            for end in (first..first + self.size).step_by(usize::try_from(self.slide).unwrap()) {
                if over.is_some_and(|over| end <= over) {
                    continue;
                }
                taken = true;
                let row = rows.entry((end.saturating_sub(self.size), end, key.clone()));
                let row = row.or_insert([0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 0.0]);
                row[0] += 1.0;
                row[1] += value;
                row[2] = row[2].min(value);
                row[3] = row[3].max(value);
                row[4] = row[1] / row[0];
            }
            if taken {
                newest = newest.max(Some(*at));
            } else {
                late += 1;
            }
        }
        (rows, late)
    }
}

/// Rows as the program printed them; of those that fired again the last.
pub(crate) fn parse(text: &str) -> Rows {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), 8, "{line}");
        let whole = |i: usize| fields[i].parse::<u64>().unwrap_or_else(|e| panic!("{line}: {e}"));
        let number = |i: usize| fields[i].parse::<f64>().unwrap_or_else(|e| panic!("{line}: {e}"));
        ((whole(1), whole(2), fields[0].to_owned()), [3, 4, 5, 6, 7].map(number))
    };
    text.lines().map(row).collect()
}
