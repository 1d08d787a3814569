//! One incident that is two: some of its events become an incident of their own.

use std::collections::HashSet;

use tacit_wire::NodeId;

use super::{change, conflict, entry, joined, still_one};
use crate::incident::about::About;
use crate::incident::correlator::alarms;
use crate::store::{
    ENTITIES_MAX, EventKey, EventRecord, Incident, IncidentChange, IncidentId, IncidentState, NOWHERE, StoreError,
};

/// The incident that the chosen events make. What is left of the other is [`after_split`], once this one has its number.
///
/// # Errors
/// [`StoreError::Conflict`] when the incident is over, a chosen event is not in it, or no alarm would go or stay.
pub fn split_off(
    from: &Incident,
    events: &[EventRecord],
    chosen: &HashSet<EventKey>,
    actor: &str,
    note: Option<&str>,
    now_ms: i64,
) -> Result<IncidentChange, StoreError> {
    still_one(from)?;
    if !from.is_open() {
        return Err(conflict(from, "is resolved already"));
    }
    let (go, stay): (Vec<&EventRecord>, Vec<&EventRecord>) = events.iter().partition(|e| chosen.contains(&e.key()));
    if go.len() < chosen.len() {
        let there: HashSet<EventKey> = go.iter().map(|e| e.key()).collect();
        let missing = chosen.iter().filter(|key| !there.contains(*key)).min();
        let missing = missing.map_or_else(String::new, |(node, event)| format!("{event} of {node}"));
        return Err(conflict(from, format!("does not hold event {missing}")));
    }
    if !go.iter().any(|e| alarms(e)) {
        return Err(conflict(from, "keeps its alarms: choose at least one, context alone is no incident"));
    }
    if !stay.iter().any(|e| alarms(e)) {
        return Err(conflict(from, "would lose all its alarms: at least one has to stay"));
    }
    let mut part = Incident {
        id: 0,
        revision: 0,
        state: IncidentState::Open,
        muted_by: None,
        title: String::new(),
        opened_ms: now_ms,
        updated_ms: now_ms,
        resolved_ms: None,
        assignee: None,
        label: None,
        cause: None,
        cause_label: None,
        gate: Some(format!("{actor} split it off incident {}", from.id)),
        parent: None,
        merged_into: None,
        unstable: false,
        ..from.clone()
    };
    describe(&mut part, &go);
    let said = joined(Some(format!("split off incident {}", from.id)), note.map(str::to_owned));
    let keys = go.iter().map(|e| e.key()).collect();
    Ok(IncidentChange { also: keys, ..change(part, entry(actor, "opened", said, now_ms)) })
}

/// What is left of an incident when some of its events have become incident `part`.
#[must_use]
pub fn after_split(
    from: &Incident,
    stay: &[EventRecord],
    part: IncidentId,
    actor: &str,
    note: Option<&str>,
    now_ms: i64,
) -> IncidentChange {
    let mut left = from.clone();
    let stay: Vec<&EventRecord> = stay.iter().collect();
    describe(&mut left, &stay);
    left.updated_ms = now_ms;
    let said = joined(Some(format!("incident {part} was split off")), note.map(str::to_owned));
    change(left, entry(actor, "split", said, now_ms))
}

/// Writes into an incident what its events say.
fn describe(incident: &mut Incident, events: &[&EventRecord]) {
    let heard = || events.iter().filter(|e| alarms(e));
    let bad = |e: &EventRecord| e.event.severity.get().unwrap_or(0.0).clamp(0.0, 1.0);
    let Some(worst) = heard().max_by(|a, b| bad(a).total_cmp(&bad(b))) else { return };
    incident.severity = bad(worst);
    if !heard().any(|e| e.event.text == incident.title) {
        incident.title.clone_from(&worst.event.text);
    }
    incident.onset_ms = heard().map(|e| e.onset_ms).min().unwrap_or(incident.onset_ms);
    incident.injected = heard().all(|e| e.event.injected);
    let mut nodes: HashSet<&NodeId> = HashSet::new();
    let here = heard().map(|e| &e.event.head.node).filter(|n| n.as_str() != NOWHERE);
    incident.nodes = here.filter(|n| nodes.insert(*n)).cloned().collect();
    let mut known = HashSet::new();
    let ends = |e: &&EventRecord| [Some(About::of(e).entity), e.outside.as_ref().and_then(|o| o.client.clone())];
    let entities = heard().flat_map(ends).flatten().filter(|entity| known.insert(entity.clone()));
    incident.entities = entities.take(ENTITIES_MAX).collect();
    incident.events = u32::try_from(events.len()).unwrap_or(u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{event, incident};
    use tacit_wire::Num;
    use tacit_wire::message::{EventKind, Phase};

    fn held() -> Vec<EventRecord> {
        let mut other = event(2, EventKind::Rule, Phase::Open, 70);
        other.event.head.node = "db-1".parse().unwrap();
        other.event.severity = Num(0.5);
        vec![event(1, EventKind::Anomaly, Phase::Open, 60), other, event(3, EventKind::Context, Phase::Open, 50)]
    }

    fn chosen(events: &[&EventRecord]) -> HashSet<EventKey> {
        events.iter().map(|e| e.key()).collect()
    }

    #[test]
    fn the_chosen_become_an_incident_and_the_rest_stays_one() {
        let (events, from) = (held(), Incident { id: 7, assignee: Some("bo".into()), ..incident() });
        let made = split_off(&from, &events, &chosen(&[&events[1]]), "ana", Some("not ours"), 90).unwrap();
        let part = &made.incident;
        assert_eq!((part.id, part.state, part.title.as_str()), (0, IncidentState::Open, "event 2"));
        assert_eq!((part.severity, part.onset_ms, part.opened_ms), (0.5, 70, 90));
        assert_eq!((part.nodes.len(), part.nodes[0].as_str(), part.assignee.as_deref()), (1, "db-1", None));
        assert_eq!(part.gate.as_deref(), Some("ana split it off incident 7"));
        assert_eq!(made.also, [events[1].key()]);
        assert_eq!(made.audit[0].note.as_deref(), Some("split off incident 7: not ours"));

        let stay = [events[0].clone(), events[2].clone()];
        let left = after_split(&from, &stay, 8, "ana", None, 90);
        assert_eq!((left.incident.id, left.incident.title.as_str(), left.incident.onset_ms), (7, "event 1", 60));
        assert_eq!((left.incident.nodes.len(), left.incident.assignee.as_deref()), (1, Some("bo")));
        assert_eq!(left.audit[0].note.as_deref(), Some("incident 8 was split off"));
    }

    #[test]
    fn an_alarm_goes_and_an_alarm_stays() {
        let (events, from) = (held(), Incident { id: 7, ..incident() });
        let why = |of: &Incident, keys: &HashSet<EventKey>| {
            split_off(of, &events, keys, "ana", None, 1).unwrap_err().to_string()
        };
        assert!(why(&from, &chosen(&[&events[2]])).contains("context alone is no incident"));
        assert!(why(&from, &chosen(&[&events[0], &events[1]])).contains("at least one has to stay"));
        assert!(why(&from, &HashSet::new()).contains("choose at least one"));
        let stranger = event(9, EventKind::Rule, Phase::Open, 0);
        let missing = why(&from, &chosen(&[&events[0], &stranger]));
        assert_eq!(missing, "incident 7 does not hold event 0909090909090909 of web-1");
        let over = Incident { state: IncidentState::Resolved, ..from.clone() };
        assert!(why(&over, &chosen(&[&events[1]])).contains("resolved already"));
        let gone = Incident { merged_into: Some(2), ..from };
        assert!(why(&gone, &chosen(&[&events[1]])).contains("part of incident 2"));
    }
}
