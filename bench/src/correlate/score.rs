//! Whether the groups are the faults. Labels are read here and nowhere else.
//!
//! A group covers a fault when one of its events begins from [`BEFORE_S`] before the injection to [`AFTER_S`] after it. Faults are
//! *seen* that any group covers; *mixed* are groups that cover more than one, *without* those that cover none.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::replay::Replayed;
use crate::cause::case;

/// An event may begin so many seconds before the fault was noted,
const BEFORE_S: i64 = 60;
/// and so many after it.
const AFTER_S: i64 = 360;

/// A fault that was injected.
#[derive(Debug, Clone, Deserialize)]
pub struct Fault {
    day: String,
    inject_time: i64,
}

/// The faults of all days.
///
/// # Errors
/// Labels that are missing or damaged.
pub fn faults(root: &Path) -> Result<Vec<Fault>> {
    case::json(&root.join("incidents.json"))
}

/// How good the groups of a day are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// The day; several have `all`.
    pub day: String,
    /// Alarms of single metrics.
    pub alarms: usize,
    /// Events: what is left of them when the same thing counts once.
    pub events: usize,
    /// Events that opened nothing.
    pub digest: usize,
    /// Groups that opened.
    pub groups: usize,
    /// Faults.
    pub faults: usize,
    /// Faults that a group covers.
    pub seen: usize,
    /// Groups that cover a fault.
    pub covering: usize,
    /// Groups that cover several.
    pub mixed: usize,
    /// Groups that cover none.
    pub without: usize,
    /// Milliseconds that the grouping took.
    pub ms: f64,
}

impl Score {
    /// Scores a day.
    #[must_use]
    pub fn of(day: String, replayed: &Replayed, faults: &[Fault]) -> Self {
        let at: Vec<i64> = faults.iter().filter(|f| f.day == day).map(|f| f.inject_time).collect();
        let covered = |starts: &Vec<i64>| -> BTreeSet<usize> {
            let covers = |fault: i64| {
                let (from, to) = (fault.saturating_sub(BEFORE_S), fault.saturating_add(AFTER_S));
                starts.iter().any(|s| (from..=to).contains(s))
            };
            (0..at.len()).filter(|n| covers(at[*n])).collect()
        };
        let by_group: Vec<BTreeSet<usize>> = replayed.groups.iter().map(covered).collect();
        let seen: BTreeSet<usize> = by_group.iter().flatten().copied().collect();
        let count = |is: &dyn Fn(usize) -> bool| by_group.iter().filter(|c| is(c.len())).count();
        Self {
            day,
            alarms: replayed.alarms,
            events: replayed.events,
            digest: replayed.digest,
            groups: by_group.len(),
            faults: at.len(),
            seen: seen.len(),
            covering: count(&|n| n > 0),
            mixed: count(&|n| n > 1),
            without: count(&|n| n == 0),
            ms: replayed.ms,
        }
    }

    /// Groups for each fault that was seen.
    #[must_use]
    pub fn per_fault(&self) -> f64 {
        self.covering as f64 / self.seen.max(1) as f64
    }

    fn add(&mut self, other: &Self) {
        self.alarms += other.alarms;
        self.events += other.events;
        self.digest += other.digest;
        self.groups += other.groups;
        self.faults += other.faults;
        self.seen += other.seen;
        self.covering += other.covering;
        self.mixed += other.mixed;
        self.without += other.without;
        self.ms += other.ms;
    }
}

/// A row a day and one for all, as a table in Markdown.
#[must_use]
pub fn table(scores: &[Score]) -> String {
    let mut all = Score {
        day: "all".into(),
        alarms: 0,
        events: 0,
        digest: 0,
        groups: 0,
        faults: 0,
        seen: 0,
        covering: 0,
        mixed: 0,
        without: 0,
        ms: 0.0,
    };
    let mut text = String::from(
        "| day | alarms | events | in the digest | groups | faults seen | groups per seen fault | mixed | without a fault | ms |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for score in scores {
        all.add(score);
        text.push_str(&row(score));
    }
    text.push_str(&row(&all));
    text
}

fn row(s: &Score) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {}/{} | {:.2} | {} | {} | {:.1} |\n",
        s.day,
        s.alarms,
        s.events,
        s.digest,
        s.groups,
        s.seen,
        s.faults,
        s.per_fault(),
        s.mixed,
        s.without,
        s.ms
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(inject_time: i64) -> Fault {
        Fault { day: "d1".into(), inject_time }
    }

    #[test]
    fn groups_are_counted_as_the_reference_does() {
        let groups = vec![vec![940], vec![1360, 5000], vec![1361], vec![1000, 2000], vec![939, 9000]];
        let replayed = Replayed { alarms: 12, events: 9, digest: 1, groups, ms: 1.0 };
        let other = Fault { day: "d2".into(), inject_time: 9000 };
        let score = Score::of("d1".into(), &replayed, &[fault(1000), fault(2000), fault(3000), other]);
        assert_eq!((score.groups, score.faults, score.seen), (5, 3, 2));
        assert_eq!((score.covering, score.mixed, score.without), (3, 1, 2));
        assert!((score.per_fault() - 1.5).abs() < 1e-9);
        let table = table(&[score.clone(), score]);
        assert!(table.ends_with("| all | 24 | 18 | 2 | 10 | 4/6 | 1.50 | 2 | 4 | 2.0 |\n"), "{table}");
    }
}
