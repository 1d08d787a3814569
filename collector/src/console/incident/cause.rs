//! Why we think so: the cause, how sure that is, and what speaks against it, in lines that a person can check.

use crate::cause::constants::EXPLAINED;
use crate::cause::{Cause, EntityKind, Line, What};
use crate::console::format::{beside_first_alarm, clock};
use crate::console::map;
use crate::store::{CauseLabel, IncidentDetail};

/// Names that a person can choose from.
const CHOICES_MAX: usize = 50;

/// Who is thought to be behind an incident.
pub struct CauseSection {
    pub first: Option<Candidate>,
    /// How sure that is, in a sentence.
    pub sure: String,
    pub unsure: bool,
    /// The next ones.
    pub others: Vec<Candidate>,
    /// What a person says of it; `was` has the name, when it was another.
    pub said: &'static str,
    pub was: String,
    /// Which it may have been instead.
    pub choices: Vec<String>,
}

/// A candidate with what speaks against it.
pub struct Candidate {
    pub entity: String,
    pub kind: &'static str,
    pub lines: Vec<EvidenceLine>,
    /// Who depends on it.
    pub blast: String,
}

/// A line that a person can check.
pub struct EvidenceLine {
    pub text: String,
    pub when: String,
}

/// The cause of an incident as ranked last.
pub fn section(detail: &IncidentDetail) -> CauseSection {
    let i = &detail.incident;
    let ranked = detail.ranking.as_ref().filter(|r| r.causes.first().is_some_and(|c| c.score > 0.0));
    let candidates = ranked.map_or(&[][..], |r| &r.causes);
    let first = match (candidates.first(), &i.cause) {
        (Some(first), _) => Some(candidate(first, i.onset_ms)),
        (None, Some(head)) => Some(Candidate {
            entity: head.entity.clone(),
            kind: kind(head.kind),
            lines: vec![EvidenceLine { text: head.line.clone(), when: String::new() }],
            blast: blast(&head.entity),
        }),
        (None, None) => None,
    };
    let (margin, unsure) = match (ranked, &i.cause) {
        (Some(r), _) => (r.margin, r.unsure),
        (None, Some(head)) => (head.margin, head.unsure),
        (None, None) => (0.0, true),
    };
    let others = candidates.iter().skip(1).take(EXPLAINED - 1).filter(|c| c.score > 0.0);
    let (said, was) = match &i.cause_label {
        None => ("", String::new()),
        Some(CauseLabel::Right) => ("right", String::new()),
        Some(CauseLabel::Was(name)) => ("was", name.clone()),
    };
    CauseSection {
        sure: sure(first.is_some(), margin, unsure, candidates.len()),
        choices: choices(first.as_ref().map(|f| f.entity.as_str()), candidates, &i.entities),
        first,
        unsure,
        others: others.map(|c| candidate(c, i.onset_ms)).collect(),
        said,
        was,
    }
}

/// How sure the first place is, in words.
fn sure(any: bool, margin: f64, unsure: bool, candidates: usize) -> String {
    let lead = format!("{:.0} %", margin * 100.0);
    match (any, unsure, margin) {
        (false, ..) => "Nothing speaks against anybody yet.".into(),
        (true, true, _) => format!("We are unsure: the first leads the next by only {lead} of its score."),
        (true, false, _) if candidates < 2 => "There is no other candidate.".into(),
        (true, false, m) if m >= 0.5 => format!("Quite sure: it leads the next by {lead} of its score."),
        (true, false, m) if m >= 0.25 => format!("Fairly sure: it leads the next by {lead} of its score."),
        (true, false, _) => format!("Likely: it leads the next by {lead} of its score."),
    }
}

/// What a candidate is, in a word.
fn kind(kind: EntityKind) -> &'static str {
    match kind {
        EntityKind::Service => "service",
        EntityKind::Node => "machine",
        EntityKind::Link => "link",
    }
}

fn candidate(cause: &Cause, onset_ms: i64) -> Candidate {
    Candidate {
        entity: cause.entity.clone(),
        kind: kind(cause.kind),
        lines: cause.evidence.iter().map(|l| line(l, onset_ms)).collect(),
        blast: blast(&cause.entity),
    }
}

fn line(line: &Line, onset_ms: i64) -> EvidenceLine {
    let at = clock(line.since_ms, onset_ms);
    let word = if line.what == What::Change { "at" } else { "from" };
    EvidenceLine {
        text: line.to_string(),
        when: format!("{word} {at}, {}", beside_first_alarm(line.since_ms, onset_ms)),
    }
}

/// The map of who depends on something.
pub fn blast(entity: &str) -> String {
    map::address("/map", [("blast", entity.to_owned())])
}

/// Which the cause may have been instead: what was ranked, then what the incident concerns.
fn choices(first: Option<&str>, candidates: &[Cause], entities: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let ranked = candidates.iter().take(CHOICES_MAX).map(|c| &c.entity);
    for name in ranked.chain(entities) {
        if all.len() < CHOICES_MAX && first != Some(name.as_str()) && !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::{EdgeKind, Ranking};
    use crate::fixtures::incident;
    use crate::store::Incident;

    const ONSET: i64 = 1_700_000_000_000;

    fn cause(entity: &str, score: f64) -> Cause {
        let line = |what: What, subject: &str, from: Option<f64>, to: Option<f64>, before: i64| Line {
            what,
            subject: subject.into(),
            unit: "s".into(),
            from,
            to,
            since_ms: ONSET - before,
            credited_to: entity.into(),
            strength: 1.0,
        };
        let slow = line(What::Edge(EdgeKind::RoundTrip), "api → db", Some(0.000_3), Some(0.041), 4_000);
        let deploy = line(What::Change, "deploy 12", None, None, 180_000);
        Cause { entity: entity.into(), kind: EntityKind::Service, score, change: None, evidence: vec![slow, deploy] }
    }

    fn detail(ranking: Option<Ranking>) -> IncidentDetail {
        let entities = vec!["api".into(), "web".into()];
        let incident = Incident { onset_ms: ONSET, entities, ..incident() };
        IncidentDetail { incident, events: Vec::new(), audit: Vec::new(), ranking }
    }

    #[test]
    fn lines_can_be_checked() {
        let causes = vec![cause("db", 2.0), cause("api", 1.0), cause("web", 0.0)];
        let told = section(&detail(Some(Ranking { causes, margin: 0.5, unsure: false })));
        let first = told.first.expect("it leads");
        assert_eq!((first.entity.as_str(), first.blast.as_str()), ("db", "/map?blast=db"));
        assert_eq!(first.lines[0].text, "round trip api → db 300 µs → 41 ms");
        assert_eq!(first.lines[0].when, "from 22:13:16, 4 s before the first alarm");
        assert_eq!(first.lines[1].when, "at 22:10:20, 3 min before the first alarm");
        assert_eq!(told.sure, "Quite sure: it leads the next by 50 % of its score.");
        assert_eq!(told.others.len(), 1, "nothing speaks against the web");
        assert_eq!(told.choices, ["api", "web"]);
    }

    #[test]
    fn doubt_is_said() {
        let causes = vec![cause("db", 2.0), cause("api", 1.9)];
        let told = section(&detail(Some(Ranking { causes, margin: 0.05, unsure: true })));
        assert!(told.unsure && told.sure.starts_with("We are unsure: the first leads the next by only 5 %"));
        let none = section(&detail(Some(Ranking { causes: vec![cause("db", 0.0)], margin: 0.0, unsure: true })));
        assert!(none.first.is_none() && none.sure.starts_with("Nothing speaks"));
        assert!(section(&detail(None)).first.is_none());
    }
}
