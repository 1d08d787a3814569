//! The result, as a table for people and as JSON.

use serde::Serialize;

use super::catalogue::Fault;
use super::outcome::{Named, Outcome};

/// All of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// How long the agent learned before the first fault, seconds.
    pub learned_s: f64,
    /// Quiet time that was watched for false alarms, seconds.
    pub quiet_s: f64,
    /// Alarms in it, as their sentences.
    pub false_alarms: Vec<String>,
    /// Alarms while learning, as their sentences; they count nowhere.
    pub while_learning: Vec<String>,
    /// Alarms after one fault's end and before the next: mostly what a fault leaves behind. They count nowhere.
    pub between: Vec<String>,
    /// The faults, in order.
    pub faults: Vec<Outcome>,
}

/// The figures of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Faults asked for, those that did not run included.
    pub asked: usize,
    /// Faults that ran.
    pub ran: usize,
    /// Faults found.
    pub found: usize,
    /// Of those found, the ones whose kind was right.
    pub kind_right: usize,
    /// Of those found that have a culprit: named in words, and listed at least.
    pub in_words: usize,
    /// See `in_words`.
    pub listed: usize,
    /// Faults found that have a culprit.
    pub with_culprit: usize,
    /// Median delay of those found, seconds.
    pub delay_median_s: Option<f64>,
    /// Largest delay of those found, seconds.
    pub delay_max_s: Option<f64>,
    /// False alarms an hour of quiet time.
    pub false_alarms_per_hour: Option<f64>,
}

impl Report {
    /// The figures.
    pub fn totals(&self) -> Totals {
        let found: Vec<&Outcome> = self.faults.iter().filter(|o| o.found()).collect();
        let named = |what: &[Named]| found.iter().filter(|o| o.named.is_some_and(|n| what.contains(&n))).count();
        let mut delays: Vec<f64> = found.iter().filter_map(|o| o.delay_s).collect();
        delays.sort_unstable_by(f64::total_cmp);
        Totals {
            asked: self.faults.len(),
            ran: self.faults.iter().filter(|o| o.refused.is_none()).count(),
            found: found.len(),
            kind_right: found.iter().filter(|o| o.kind_right == Some(true)).count(),
            in_words: named(&[Named::InWords]),
            listed: named(&[Named::InWords, Named::Listed]),
            with_culprit: found.len() - named(&[Named::Nobody]),
            delay_median_s: delays.get(delays.len() / 2).copied(),
            delay_max_s: delays.last().copied(),
            false_alarms_per_hour: (self.quiet_s > 0.0).then(|| self.false_alarms.len() as f64 * 3600.0 / self.quiet_s),
        }
    }

    /// As one JSON object.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "report": self, "totals": self.totals() })
    }

    /// As Markdown.
    pub fn table(&self, faults: &[Fault]) -> String {
        let mut text =
            "| fault | found | after s | kind said | kind | culprit | what the event says, or why it did not run |\n\
             |---|---|---:|---|---|---|---|\n"
                .to_owned();
        for o in &self.faults {
            let what = faults.iter().find(|f| f.name == o.fault).map_or("", |f| f.what);
            let found = match (o.found(), &o.refused) {
                (true, _) if o.again => "again",
                (true, _) => "yes",
                (false, None) => "**no**",
                (false, Some(_)) => "**not run**",
            };
            let kind = o.kind_right.map_or("", |right| if right { "right" } else { "wrong" });
            let said = o.said.join(", ").replace('|', "/");
            let words = o.refused.as_ref().unwrap_or(&o.text).replace('|', "/").replace('\n', " ");
            text.push_str(&format!(
                "| {}: {what} | {found} | {} | {} | {kind} | {} | {words} |\n",
                o.fault,
                number(o.delay_s),
                if said.is_empty() && o.found() { "none" } else { &said },
                o.named.map_or("", culprit),
            ));
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let t = self.totals();
        let mut text = format!(
            "\nFound {} of {} ({} ran), after a median of {} s and at most {} s. Of those found: kind right {} of {}; culprit in \
             the sentence {} of {}, listed at least {}.\n",
            t.found,
            t.asked,
            t.ran,
            number(t.delay_median_s),
            number(t.delay_max_s),
            t.kind_right,
            t.found,
            t.in_words,
            t.with_culprit,
            t.listed
        );
        text.push_str(&format!(
            "False alarms in {:.0} quiet minutes: {}. Learned for {:.0} min before.\n",
            self.quiet_s / 60.0,
            self.false_alarms.len(),
            self.learned_s / 60.0
        ));
        let lists =
            [("false alarm", &self.false_alarms), ("while learning", &self.while_learning), ("between", &self.between)];
        for (name, list) in lists {
            list.iter().for_each(|words| text.push_str(&format!("- {name}: {words}\n")));
        }
        text
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.0}"))
}

fn culprit(named: Named) -> &'static str {
    match named {
        Named::InWords => "named",
        Named::Listed => "listed",
        Named::No => "no",
        Named::Nobody => "–",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::catalogue::ALL;

    fn found(name: &str, delay_s: f64, right: bool, named: Named) -> Outcome {
        let fault = ALL.iter().find(|f| f.name == name).unwrap();
        Outcome {
            refused: None,
            delay_s: Some(delay_s),
            said: vec!["cpu".into()],
            kind_right: Some(right),
            named: Some(named),
            text: "CPU busy | all of it".into(),
            ..Outcome::refused(fault, String::new())
        }
    }

    #[test]
    fn what_did_not_run_is_missed_and_the_figures_follow() {
        let refused = Outcome::refused(&ALL[2], "no cpu controller".into());
        let missed = Outcome { refused: None, ..refused.clone() };
        let report = Report {
            quiet_s: 1800.0,
            learned_s: 600.0,
            false_alarms: vec!["memory 3 %".into()],
            faults: vec![
                found("cpu-hog", 6.0, true, Named::InWords),
                found("leak-fast", 20.0, false, Named::Listed),
                found("packet-loss", 10.0, false, Named::Nobody),
                refused,
                missed,
            ],
            ..Report::default()
        };
        let totals = report.totals();
        assert_eq!((totals.asked, totals.ran, totals.found, totals.kind_right), (5, 4, 3, 1));
        assert_eq!((totals.in_words, totals.listed, totals.with_culprit), (1, 2, 2));
        assert_eq!((totals.delay_median_s, totals.delay_max_s), (Some(10.0), Some(20.0)));
        assert_eq!(totals.false_alarms_per_hour, Some(2.0));

        let table = report.table(&ALL);
        for words in ["Found 3 of 5 (4 ran)", "**not run**", "no cpu controller", "**no**", "false alarm: memory 3 %"] {
            assert!(table.contains(words), "{words} is missing:\n{table}");
        }
        let rows: Vec<&str> = table.lines().take_while(|l| l.starts_with('|')).collect();
        assert_eq!(rows.len(), 7);
        assert!(rows.iter().all(|row| row.matches('|').count() == 8), "words may not break the table:\n{table}");
        assert_eq!(report.json()["totals"]["found"], 3);
    }

    #[test]
    fn nothing_found_has_no_delay() {
        let totals = Report::default().totals();
        assert_eq!(totals, Totals::default());
    }
}
