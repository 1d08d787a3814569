//! The table of a run.

use super::catalogue::Fault;
use super::score::{Found, Outcome};

/// Incidents are to open within so many seconds.
const SOON_S: f64 = 30.0;

/// All outcomes as a table, and what they come to.
pub fn table(outcomes: &[Outcome], faults: &[&Fault]) -> String {
    let mut text = "| fault | what | incidents (wanted) | opened after s | first cause | place | right after s | notifications | events | |\n\
         |---|---|---:|---:|---|---:|---:|---:|---:|---|\n"
        .to_owned();
    for outcome in outcomes {
        let what = faults.iter().find(|f| f.name == outcome.fault).map_or("", |f| f.what);
        let causes = |of: &dyn Fn(&Found) -> String| outcome.causes.iter().map(of).collect::<Vec<_>>().join("; ");
        let right = |c: &Found| if c.rank == Some(1) { "" } else { "**" };
        text.push_str(&format!(
            "| {} | {what} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            outcome.fault,
            incidents(outcome),
            seconds(outcome.opened_s),
            causes(&|c| format!("{0}{1}{0}", right(c), c.first.as_deref().unwrap_or("nobody"))),
            causes(&|c| c.rank.map_or("–".into(), |rank| rank.to_string())),
            causes(&|c| seconds(c.right_s)),
            outcome.notifications,
            outcome.events,
            remarks(outcome),
        ));
    }
    text + &summary(outcomes)
}

fn incidents(outcome: &Outcome) -> String {
    let counts = format!("{} ({})", outcome.incidents, outcome.wanted);
    if outcome.is_one_each() { counts } else { format!("**{counts}**") }
}

fn seconds(time: Option<f64>) -> String {
    time.map_or("–".into(), |s| format!("{s:.0}"))
}

fn remarks(outcome: &Outcome) -> String {
    let mut words = Vec::new();
    if let Some(reason) = &outcome.refused {
        words.push(format!("**not run**: {reason}"));
    }
    if outcome.merged > 0 {
        words.push(format!("{} became part of another", outcome.merged));
    }
    if outcome.open_before > 0 {
        words.push(format!("{} were open before", outcome.open_before));
    }
    if outcome.causes.iter().any(|c| c.unsure) {
        words.push("unsure".to_owned());
    }
    words.join("; ").replace('|', "/")
}

/// What the single faults come to; two at once are counted apart. A fault that did not run is missed.
fn summary(outcomes: &[Outcome]) -> String {
    let single: Vec<&Outcome> = outcomes.iter().filter(|o| o.wanted == 1).collect();
    let of = |wanted: &dyn Fn(&Outcome) -> bool| {
        format!("{} of {}", single.iter().filter(|o| wanted(o)).count(), single.len())
    };
    let several = outcomes.iter().filter(|o| o.wanted > 1);
    let told: usize = outcomes.iter().map(|o| o.notifications).sum();
    let mut rows = vec![
        ("one incident", of(&Outcome::is_one_each)),
        ("opened within 30 s", of(&|o| o.opened_s.is_some_and(|s| s <= SOON_S))),
        ("cause at the first place", of(&|o| o.is_found(1))),
        ("cause among the first three", of(&|o| o.is_found(3))),
        ("notifications", told.to_string()),
    ];
    rows.extend(several.map(|o| ("two faults at once: incidents", format!("{} of {}", o.incidents, o.wanted))));
    let body: String = rows.iter().map(|(what, value)| format!("| {what} | {value} |\n")).collect();
    format!("\n| figure | |\n|---|---|\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_right_and_what_was_not() {
        let found = Found {
            culprit: "db-1".into(),
            incident: Some(1),
            first: Some("db-1/postgresql.service".into()),
            rank: Some(1),
            unsure: false,
            right_s: Some(12.4),
        };
        let good = Outcome {
            fault: "db-slow".into(),
            wanted: 1,
            incidents: 1,
            opened_s: Some(17.0),
            causes: vec![found.clone()],
            notifications: 1,
            events: 9,
            ..Outcome::default()
        };
        let wrong = Found { first: Some("web-1".into()), rank: Some(4), right_s: None, unsure: true, ..found };
        let bad = Outcome { incidents: 2, opened_s: Some(41.0), causes: vec![wrong], ..good.clone() };
        let missed =
            Outcome { fault: "disk-full".into(), wanted: 1, refused: Some("a|b".into()), ..Outcome::default() };
        let text = table(&[good, bad, missed], &[]);
        assert!(text.contains("| db-slow |  | 1 (1) | 17 | db-1/postgresql.service | 1 | 12 | 1 | 9 |  |\n"), "{text}");
        assert!(text.contains("| **2 (1)** | 41 | **web-1** | 4 | – | 1 | 9 | unsure |\n"), "{text}");
        assert!(text.contains("**not run**: a/b"), "{text}");
        assert!(text.contains("| one incident | 1 of 3 |\n| opened within 30 s | 1 of 3 |\n"), "{text}");
        assert!(text.contains("| cause at the first place | 1 of 3 |\n"), "{text}");
        assert!(text.contains("| notifications | 2 |\n"), "{text}");
    }
}
