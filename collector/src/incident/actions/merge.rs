//! Two incidents that are one.

use std::collections::HashSet;
use std::hash::Hash;

use super::{change, conflict, entry, joined, still_one};
use crate::store::{ENTITIES_MAX, EventKey, Incident, IncidentChange, IncidentState, StoreError};

/// The two changes that make one incident of two. The first is saved first: what was not done then can be done again.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The incident that goes on takes the events.
    pub into: IncidentChange,
    /// The other is over.
    pub from: IncidentChange,
}

/// Makes `from` a part of `into`, with all its events.
///
/// # Errors
/// [`StoreError::Conflict`] when they are the same, one is part of another already, or `into` is over.
pub fn merge(
    from: &Incident,
    into: &Incident,
    events: Vec<EventKey>,
    actor: &str,
    note: Option<&str>,
    now_ms: i64,
) -> Result<Merge, StoreError> {
    if from.id == into.id {
        return Err(conflict(from, "cannot become part of itself"));
    }
    still_one(from)?;
    still_one(into)?;
    if !into.is_open() {
        return Err(conflict(into, "is resolved already: merge into one that is open"));
    }
    let note = note.map(str::to_owned);
    let taken = format!("incident {} with {} event{}", from.id, events.len(), if events.len() == 1 { "" } else { "s" });
    let whole = IncidentChange {
        also: events,
        ..change(together(from, into, now_ms), entry(actor, "merged", joined(Some(taken), note.clone()), now_ms))
    };
    let mut part = from.clone();
    part.state = IncidentState::Resolved;
    part.resolved_ms.get_or_insert(now_ms);
    part.merged_into = Some(into.id);
    part.updated_ms = now_ms;
    let said = joined(Some(format!("incident {}", into.id)), note);
    Ok(Merge { into: whole, from: change(part, entry(actor, "merged-into", said, now_ms)) })
}

/// `into` with what it has of `from`. It keeps its name, for people know it by that; whoever has one of them has the whole.
fn together(from: &Incident, into: &Incident, now_ms: i64) -> Incident {
    let mut whole = into.clone();
    whole.severity = whole.severity.max(from.severity);
    whole.onset_ms = whole.onset_ms.min(from.onset_ms);
    add(&mut whole.nodes, &from.nodes, ENTITIES_MAX);
    add(&mut whole.entities, &from.entities, ENTITIES_MAX);
    whole.injected &= from.injected;
    whole.unstable |= from.unstable;
    if whole.cause.is_none() {
        whole.cause.clone_from(&from.cause);
    }
    if whole.assignee.is_none() {
        whole.assignee.clone_from(&from.assignee);
    }
    if from.state == IncidentState::Acknowledged {
        whole.state = IncidentState::Acknowledged;
        whole.muted_by = None;
    }
    whole.updated_ms = now_ms;
    whole
}

/// Adds what is not there yet, up to so many in all.
fn add<T: Clone + Eq + Hash>(to: &mut Vec<T>, from: &[T], most: usize) {
    let known: HashSet<T> = to.iter().cloned().collect();
    let room = most.saturating_sub(to.len());
    to.extend(from.iter().filter(|one| !known.contains(*one)).take(room).cloned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{event, incident};
    use tacit_wire::NodeId;
    use tacit_wire::message::{EventKind, Phase};

    fn numbered(id: i64) -> Incident {
        Incident { id, ..incident() }
    }

    #[test]
    fn the_events_move_and_both_trails_tell_of_it() {
        let from = Incident {
            nodes: vec!["db-1".parse().unwrap()],
            entities: vec!["db-1/postgresql.service".into(), "web-1".into()],
            severity: 0.9,
            onset_ms: -5,
            unstable: true,
            ..numbered(7)
        };
        let into = Incident { entities: vec!["web-1".into()], ..numbered(3) };
        let keys = vec![event(1, EventKind::Rule, Phase::Open, 0).key()];
        let merge = merge(&from, &into, keys.clone(), "ana", Some("one switch"), 50).unwrap();

        let whole = &merge.into.incident;
        assert_eq!((whole.id, whole.state, whole.severity, whole.onset_ms), (3, IncidentState::Open, 0.9, -5));
        assert_eq!(whole.nodes, ["web-1", "db-1"].map(|n| n.parse::<NodeId>().unwrap()));
        assert_eq!(whole.entities, ["web-1", "db-1/postgresql.service"]);
        assert!(whole.unstable && whole.title == into.title);
        assert_eq!(merge.into.also, keys);
        let said = |c: &IncidentChange| (c.audit[0].action.clone(), c.audit[0].note.clone().unwrap_or_default());
        assert_eq!(said(&merge.into), ("merged".into(), "incident 7 with 1 event: one switch".into()));

        let part = &merge.from.incident;
        assert_eq!((part.state, part.resolved_ms, part.merged_into), (IncidentState::Resolved, Some(50), Some(3)));
        assert_eq!(said(&merge.from), ("merged-into".into(), "incident 3: one switch".into()));
    }

    #[test]
    fn who_has_a_part_has_the_whole() {
        let from = Incident { state: IncidentState::Acknowledged, assignee: Some("ana".into()), ..numbered(7) };
        let into = Incident { state: IncidentState::Muted, muted_by: Some("silence 3".into()), ..numbered(3) };
        let whole = merge(&from, &into, Vec::new(), "tacit", None, 1).unwrap().into.incident;
        assert_eq!(
            (whole.state, whole.muted_by, whole.assignee.as_deref()),
            (IncidentState::Acknowledged, None, Some("ana"))
        );
        let taken = Incident { assignee: Some("bo".into()), ..numbered(3) };
        assert_eq!(
            merge(&from, &taken, Vec::new(), "tacit", None, 1).unwrap().into.incident.assignee.as_deref(),
            Some("bo")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let why =
            |from: &Incident, into: &Incident| merge(from, into, Vec::new(), "ana", None, 1).unwrap_err().to_string();
        assert!(why(&numbered(3), &numbered(3)).contains("incident 3 cannot become part of itself"));
        let over = Incident { state: IncidentState::Resolved, ..numbered(4) };
        assert!(why(&numbered(3), &over).contains("incident 4 is resolved already"));
        let gone = Incident { merged_into: Some(1), ..numbered(5) };
        assert!(why(&gone, &numbered(3)).contains("incident 5 became part of incident 1"));
        assert!(why(&numbered(3), &gone).contains("incident 5 became part of incident 1"));
        // One that is over may turn out to have been the beginning of this one.
        assert!(merge(&over, &numbered(3), Vec::new(), "ana", None, 1).is_ok());
    }

    #[test]
    fn names_stay_bounded() {
        let many = |from: usize| (from..from + 150).map(|n| format!("n{n}")).collect::<Vec<_>>();
        let mut names = many(0);
        add(&mut names, &many(100), ENTITIES_MAX);
        assert_eq!((names.len(), names.last().map(String::as_str)), (200, Some("n199")));
    }
}
