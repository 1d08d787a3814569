//! The result as a table for people and as JSON.

use serde::Serialize;

use super::result::{Kept, SourceRow};

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The detector.
    pub detector: String,
    /// False alarms a host-day that were asked for.
    pub asked_per_day: f64,
    /// A row a source, by name.
    pub sources: Vec<SourceRow>,
}

impl Report {
    /// One row a source, as a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let heads = [
            "source",
            "series",
            "VUS-PR",
            "AUC-PR",
            "VUS-ROC",
            "AUC-ROC",
            "rec@1/d",
            "rec@.1/d",
            "delay s",
            "got/d (worst)",
            "recall",
            "own got/d (worst)",
            "own recall",
            "own delay s",
            "raised/d",
            "hit@100 (chance)",
            "hit@150 (chance)",
            "NAB",
            "NAB onsets",
            "µs/value",
            "state B",
        ];
        let mut rows: Vec<Vec<String>> = vec![heads.iter().map(|h| (*h).to_owned()).collect()];
        rows.extend(self.sources.iter().map(cells));
        let widths: Vec<usize> =
            (0..heads.len()).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
        let mut table = format!("{}, asked for {} false alarms a host-day\n\n", self.detector, self.asked_per_day);
        for (i, row) in rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            table.push_str(&format!("| {} |\n", cells.join(" | ")));
            if i == 0 {
                let rules: Vec<String> = widths.iter().map(|width| format!("{}:", "-".repeat(width + 1))).collect();
                table.push_str(&format!("|{}|\n", rules.join("|")));
            }
        }
        table
    }
}

fn cells(row: &SourceRow) -> Vec<String> {
    let got = |kept: &Kept| format!("{:.2} ({:.1})", kept.got_per_day, kept.worst_per_day);
    let hit = |rate: f64, chance: f64| format!("{rate:.2} ({chance:.2})");
    let own = row.own_events.as_ref();
    vec![
        row.source.clone(),
        row.series.to_string(),
        number(row.vus_pr, 3),
        number(row.auc_pr, 3),
        number(row.vus_roc, 3),
        number(row.auc_roc, 3),
        number(row.recall_at_1, 3),
        number(row.recall_at_01, 3),
        number(row.delay_s, 0),
        got(&row.asked),
        number(row.asked.recall, 2),
        text(own.map(got)),
        number(own.and_then(|o| o.recall), 2),
        number(own.and_then(|o| o.delay_s), 0),
        number(row.own_raised_per_day, 2),
        text(row.attribution.map(|a| hit(a.hit_rate_100, a.chance_100))),
        text(row.attribution.map(|a| hit(a.hit_rate_150, a.chance_150))),
        number(row.nab, 1),
        number(row.nab_onsets, 1),
        format!("{:.2}", row.cpu_us_per_value),
        row.state_bytes.to_string(),
    ]
}

fn number(value: Option<f64>, digits: usize) -> String {
    text(value.filter(|v| v.is_finite()).map(|v| format!("{v:.digits$}")))
}

fn text(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_owned())
}
