//! How good rankings are: the share of incidents whose cause is among the first k.

use std::collections::BTreeMap;

use serde::Serialize;

/// Places that count in [`Score::avg_5`].
const FIRST: usize = 5;

/// How good the rankings of some incidents are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Score {
    /// How many incidents.
    pub incidents: usize,
    /// Share with the cause in the first place.
    pub ac_1: f64,
    /// Share with the cause among the first three.
    pub ac_3: f64,
    /// Share with the cause among the first five.
    pub ac_5: f64,
    /// Mean of the shares at one to five.
    pub avg_5: f64,
    /// Share of the incidents of which the ranking says that it is sure.
    pub sure: f64,
    /// Share of those with the cause in the first place; `None` without any.
    pub ac_1_sure: Option<f64>,
    /// Milliseconds a ranking takes, median.
    pub ms: f64,
}

/// The outcome of one incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The place of the cause from 1; `None` when it was not ranked.
    pub place: Option<usize>,
    /// Whether the ranking says that it is not sure.
    pub unsure: bool,
    /// Milliseconds that the ranking took.
    pub ms: f64,
}

impl Score {
    /// The score of outcomes; `None` without any.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Option<Self> {
        let incidents = outcomes.len();
        if incidents == 0 {
            return None;
        }
        let among = |k: usize| share(outcomes.iter().filter(|o| o.place.is_some_and(|p| p <= k)).count(), incidents);
        let sure: Vec<&Outcome> = outcomes.iter().filter(|o| !o.unsure).collect();
        let sure_and_right = sure.iter().filter(|o| o.place == Some(1)).count();
        let mut ms: Vec<f64> = outcomes.iter().map(|o| o.ms).collect();
        ms.sort_by(f64::total_cmp);
        Some(Self {
            incidents,
            ac_1: among(1),
            ac_3: among(3),
            ac_5: among(5),
            avg_5: (1..=FIRST).map(among).sum::<f64>() / FIRST as f64,
            sure: share(sure.len(), incidents),
            ac_1_sure: (!sure.is_empty()).then(|| share(sure_and_right, sure.len())),
            ms: ms[incidents / 2],
        })
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// Outcomes by system and by group within it; never all systems together, as one would hide the other.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    by_group: BTreeMap<(String, String), Vec<Outcome>>,
}

/// A line of the result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The system.
    pub system: String,
    /// The kind of incident; `None` for all of the system.
    pub group: Option<String>,
    /// How good the rankings are.
    pub score: Score,
}

impl Outcomes {
    /// Takes one more.
    pub fn add(&mut self, system: String, group: String, outcome: Outcome) {
        self.by_group.entry((system, group)).or_default().push(outcome);
    }

    /// A row for each system, then one for each of its groups.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut systems: BTreeMap<&str, Vec<Outcome>> = BTreeMap::new();
        for ((system, _), outcomes) in &self.by_group {
            systems.entry(system).or_default().extend(outcomes.iter().cloned());
        }
        let mut rows = Vec::new();
        for (system, outcomes) in systems {
            let row = |group: Option<&str>, outcomes: &[Outcome]| {
                let (system, group) = (system.to_owned(), group.map(str::to_owned));
                Score::of(outcomes).map(|score| Row { system, group, score })
            };
            rows.extend(row(None, &outcomes));
            let groups: Vec<_> = self.by_group.iter().filter(|((s, _), _)| s == system).collect();
            // The only group of a system would say the same again.
            if groups.len() > 1 {
                rows.extend(groups.into_iter().filter_map(|((_, group), outcomes)| row(Some(group), outcomes)));
            }
        }
        rows
    }
}

/// Rows as a table in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| system | incidents of | n | AC@1 | AC@3 | AC@5 | Avg@5 | sure | AC@1 when sure | ms |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for Row { system, group, score } in rows {
        let group = group.as_deref().unwrap_or("all");
        let when_sure = score.ac_1_sure.map_or_else(|| "–".to_owned(), |s| format!("{s:.2}"));
        text.push_str(&format!(
            "| {system} | {group} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {when_sure} | {:.1} |\n",
            score.incidents, score.ac_1, score.ac_3, score.ac_5, score.avg_5, score.sure, score.ms
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(place: Option<usize>, unsure: bool) -> Outcome {
        Outcome { place, unsure, ms: place.map_or(9.0, |p| p as f64) }
    }

    #[test]
    fn shares_are_of_all_incidents() {
        let outcomes = [
            outcome(Some(1), false),
            outcome(Some(2), false),
            outcome(Some(5), true),
            outcome(Some(6), true),
            outcome(None, true),
        ];
        let score = Score::of(&outcomes).unwrap();
        let wanted = Score {
            incidents: 5,
            ac_1: 0.2,
            ac_3: 0.4,
            ac_5: 0.6,
            avg_5: (0.2 + 0.4 + 0.4 + 0.4 + 0.6) / 5.0,
            sure: 0.4,
            ac_1_sure: Some(0.5),
            ms: 5.0,
        };
        assert_eq!(score, wanted);
        assert_eq!(Score::of(&[]), None);
    }

    #[test]
    fn systems_are_never_pooled() {
        let mut outcomes = Outcomes::default();
        for (system, group, place) in [("b", "x", 1), ("b", "y", 2), ("a", "x", 3)] {
            outcomes.add(system.into(), group.into(), outcome(Some(place), false));
        }
        let rows = outcomes.rows();
        let heads: Vec<_> = rows.iter().map(|r| (r.system.as_str(), r.group.as_deref(), r.score.ac_1)).collect();
        assert_eq!(heads, [("a", None, 0.0), ("b", None, 0.5), ("b", Some("x"), 1.0), ("b", Some("y"), 0.0)]);
        let text = table(&rows);
        assert!(text.contains("| b | all | 2 | 0.50 | 1.00 | 1.00 | 0.90 | 1.00 | 0.50 | 2.0 |"), "{text}");
    }
}
