//! The life of an incident: it opens, events join and end, it is muted and heard again, it is over, it comes back. Pure: each
//! function gives the change to save; `now` is an argument.

use std::collections::BTreeSet;

use tacit_wire::message::Phase;

use super::about::{About, node_of};
use super::correlator::alarms;
use crate::store::{
    AuditEntry, CauseHead, ENTITIES_MAX, EventRecord, Incident, IncidentChange, IncidentId, IncidentState, NOWHERE,
};

/// An incident whose events have all ended is resolved after this long.
const QUIET_MS: i64 = 2 * 60_000;
/// One in which something comes and goes waits for so long, should nobody say that it is steady.
const HELD_MS: i64 = 60 * 60_000;
/// An incident that comes back within this long is the same one.
pub const REOPEN_MS: i64 = 15 * 60_000;

/// What begins this long after an incident on one of its nodes is part of it: one machine that fails in several ways is one thing.
const SAME_NODE_MS: i64 = 15 * 60_000;

/// The actor of what Tacit does itself.
pub const TACIT: &str = "tacit";

/// A line of the trail of what Tacit did.
#[must_use]
pub fn entry(now_ms: i64, action: &str, note: impl Into<Option<String>>) -> AuditEntry {
    AuditEntry { at_ms: now_ms, actor: TACIT.into(), action: action.into(), note: note.into() }
}

fn told(event: &EventRecord, why: &str) -> Option<String> {
    let e = &event.event;
    let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
    Some(format!("{} {}: {}{because}", e.kind, e.phase, e.text))
}

/// JSON has no infinity: an incident that holds one could not be read again.
fn severity(event: &EventRecord) -> f32 {
    event.event.severity.get().unwrap_or(0.0).clamp(0.0, 1.0)
}

/// A new incident of these events, which were all looked at; `None` of none.
#[must_use]
pub fn open(events: &[EventRecord], why: &str, parent: Option<IncidentId>, now_ms: i64) -> Option<IncidentChange> {
    let first = events.iter().min_by_key(|e| e.onset_ms)?;
    let mut incident = Incident {
        id: 0,
        state: IncidentState::Open,
        muted_by: None,
        title: first.event.text.clone(),
        severity: 0.0,
        nodes: Vec::new(),
        onset_ms: first.onset_ms,
        opened_ms: now_ms,
        updated_ms: now_ms,
        resolved_ms: None,
        assignee: None,
        label: None,
        events: 0,
        injected: true,
        revision: 0,
        cause: None,
        cause_label: None,
        entities: Vec::new(),
        gate: Some(why.to_owned()),
        parent,
        merged_into: None,
        unstable: false,
    };
    let mut audit = Vec::new();
    for event in events {
        take_in(&mut incident, event, now_ms);
        let action = if audit.is_empty() { "opened" } else { "event-added" };
        audit.push(entry(now_ms, action, told(event, "")));
    }
    if let Some(parent) = parent {
        audit.push(entry(now_ms, "child", Some(format!("it goes on with incident {parent}, which takes no more"))));
    }
    Some(IncidentChange { incident, event: None, also: events.iter().map(EventRecord::key).collect(), audit })
}

/// An event on its way into an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Joining {
    /// The event.
    pub event: EventRecord,
    /// Why it belongs there.
    pub why: String,
    /// It is a turn of something that comes and goes.
    pub unstable: bool,
}

/// Events belong to an incident from now on; they were looked at. One that is over comes back for what alarms and lasts.
#[must_use]
pub fn join(joining: &[Joining], incident: &Incident, now_ms: i64) -> IncidentChange {
    let mut incident = incident.clone();
    let mut audit = Vec::new();
    for Joining { event, why, unstable } in joining {
        if !incident.is_open() && is_heard(event) {
            reopen(&mut incident);
            audit.push(entry(now_ms, "reopened", told(event, why)));
        } else {
            audit.push(entry(now_ms, "event-added", told(event, why)));
        }
        if *unstable && !incident.unstable {
            incident.unstable = true;
            audit.push(entry(now_ms, "unstable", Some(format!("{}: {why}", event.event.text))));
        }
        take_in(&mut incident, event, now_ms);
    }
    let also = joining.iter().map(|j| j.event.key()).collect();
    IncidentChange { incident, event: None, also, audit }
}

/// Events that waited belong to an incident from now on.
#[must_use]
pub fn adopt(events: Vec<EventRecord>, incident: &Incident, why: &str, now_ms: i64) -> IncidentChange {
    let joining = |event| Joining { event, why: why.to_owned(), unstable: false };
    let joining: Vec<Joining> = events.into_iter().map(joining).collect();
    join(&joining, incident, now_ms)
}

/// A later phase of an event that belongs to the incident already. An event that is `back` after it had ended reopens an incident that
/// was resolved a moment ago; one that lasts does not, for whoever resolved it knew of it.
#[must_use]
pub fn renew(event: &EventRecord, back: bool, incident: &Incident, now_ms: i64) -> Option<IncidentChange> {
    let mut changed = incident.clone();
    let mut audit = Vec::new();
    if !incident.is_open() {
        let back =
            back && !event.closed() && incident.resolved_ms.is_some_and(|at| now_ms.saturating_sub(at) <= REOPEN_MS);
        if !back || incident.merged_into.is_some() || !alarms(event) {
            return None;
        }
        reopen(&mut changed);
        audit.push(entry(now_ms, "reopened", told(event, "")));
    } else if event.closed() && alarms(event) {
        audit.push(entry(now_ms, "event-ended", told(event, "")));
    }
    take_in(&mut changed, event, now_ms);
    Some(IncidentChange { incident: changed, event: Some(event.clone()), also: Vec::new(), audit })
}

/// It comes back. What had muted it is asked anew.
fn reopen(incident: &mut Incident) {
    incident.state = IncidentState::Reopened;
    incident.resolved_ms = None;
    incident.muted_by = None;
}

/// What an incident becomes when an event of it says something.
fn take_in(incident: &mut Incident, event: &EventRecord, now_ms: i64) {
    let e = &event.event;
    let alarms = alarms(event);
    incident.updated_ms = now_ms;
    if alarms {
        incident.onset_ms = incident.onset_ms.min(event.onset_ms);
        incident.injected &= e.injected;
        let severity = severity(event);
        // The end of an event is no news of how bad it is, unless all of it came at once.
        let is_news = e.phase != Phase::Close || incident.id == 0;
        if severity >= incident.severity && is_news {
            incident.severity = severity;
            if incident.cause.as_ref().is_none_or(|c| c.unsure) {
                incident.title.clone_from(&e.text);
            }
        }
    }
    let about = About::of(event);
    let mut entities: BTreeSet<String> = incident.entities.drain(..).collect();
    if alarms && entities.len() < ENTITIES_MAX {
        entities.insert(about.entity.clone());
        entities.extend(event.outside.as_ref().and_then(|o| o.client.clone()));
    }
    incident.entities = entities.into_iter().collect();
    let of_entity = node_of(&about.entity).filter(|_| event.outside.is_some() && about.entity.contains('/'));
    let nodes = [Some(e.head.node.as_str()).filter(|n| *n != NOWHERE), of_entity];
    for node in nodes.into_iter().flatten().filter_map(|n| n.parse().ok()) {
        if alarms && !incident.nodes.contains(&node) && incident.nodes.len() < ENTITIES_MAX {
            incident.nodes.push(node);
        }
    }
}

/// An incident that events belong to although time has passed: it is open, or was until a moment ago, and one of their entities is
/// in it; or it began lately on the same node.
#[must_use]
pub fn same_again<'a>(recent: &'a [Incident], events: &[EventRecord], now_ms: i64) -> Option<&'a Incident> {
    let entities: BTreeSet<String> = events.iter().filter(|e| alarms(e)).map(|e| About::of(e).entity).collect();
    let onset = events.iter().map(|e| e.onset_ms).min()?;
    let nodes: BTreeSet<&str> = entities.iter().filter_map(|e| node_of(e)).collect();
    let is_here = |i: &&Incident| {
        let young = onset.saturating_sub(i.onset_ms) <= SAME_NODE_MS && i.is_open();
        young && i.nodes.iter().any(|n| nodes.contains(n.as_str()))
    };
    let is_same = |i: &&Incident| i.entities.iter().any(|e| entities.contains(e)) || is_here(i);
    let is_near = |i: &&Incident| {
        let alive = i.is_open() || i.resolved_ms.is_some_and(|at| onset.saturating_sub(at) <= REOPEN_MS);
        alive && i.merged_into.is_none() && now_ms.saturating_sub(i.updated_ms) <= 24 * 3_600_000
    };
    recent.iter().filter(is_near).find(is_same)
}

/// The change that resolves an incident in which nothing lasts any more, when it has not for long enough.
#[must_use]
pub fn ended(incident: &Incident, now_ms: i64) -> Option<IncidentChange> {
    let rest_ms = if incident.unstable { HELD_MS } else { QUIET_MS };
    // A clock that was put back makes nobody wait for the time to come again.
    let rests = now_ms.abs_diff(incident.updated_ms) < rest_ms.unsigned_abs();
    if rests || !incident.is_open() {
        return None;
    }
    let (state, resolved_ms) = (IncidentState::Resolved, Some(now_ms));
    let incident = Incident { state, resolved_ms, unstable: false, ..incident.clone() };
    let audit = vec![entry(now_ms, "resolved", Some("all its events have ended".to_owned()))];
    Some(IncidentChange { incident, event: None, also: Vec::new(), audit })
}

/// What came and went has been quiet for long enough.
#[must_use]
pub fn steady(incident: &Incident, now_ms: i64) -> Option<IncidentChange> {
    let incident = Incident { unstable: false, ..Some(incident).filter(|i| i.unstable)?.clone() };
    let audit = vec![entry(now_ms, "steady", Some("what came and went has been quiet".to_owned()))];
    Some(IncidentChange { incident, event: None, also: Vec::new(), audit })
}

/// What an incident becomes when something mutes it, another thing does, or nothing any more.
#[must_use]
pub fn mute(incident: &Incident, by: Option<String>, now_ms: i64) -> Option<IncidentChange> {
    let mut changed = incident.clone();
    let audit = match (incident.state, by) {
        (IncidentState::Open | IncidentState::Reopened, Some(by)) => {
            changed.state = IncidentState::Muted;
            let audit = entry(now_ms, "muted", Some(format!("by {by}")));
            changed.muted_by = Some(by);
            audit
        }
        (IncidentState::Muted, Some(by)) if incident.muted_by.as_ref() != Some(&by) => {
            let audit = entry(now_ms, "muted", Some(format!("by {by}")));
            changed.muted_by = Some(by);
            audit
        }
        (IncidentState::Muted, None) => {
            let before = changed.muted_by.take().unwrap_or_default();
            changed.state = IncidentState::Open;
            entry(now_ms, "heard", Some(format!("no longer muted by {before}")))
        }
        _ => return None,
    };
    Some(IncidentChange { incident: changed, event: None, also: Vec::new(), audit: vec![audit] })
}

/// What an incident becomes when its causes are ranked anew. The words of a cause that is sure head it.
#[must_use]
pub fn blame(
    incident: &Incident,
    head: Option<CauseHead>,
    title: Option<String>,
    now_ms: i64,
) -> Option<IncidentChange> {
    if incident.cause == head && title.as_ref().is_none_or(|t| *t == incident.title) {
        return None;
    }
    let named = |cause: &Option<CauseHead>| cause.as_ref().map(|c| (c.entity.clone(), c.unsure));
    let mut audit = Vec::new();
    // Of a single thing that is in trouble by itself there is nothing to tell.
    let is_told = incident.entities.len() > 1 || head.as_ref().is_some_and(|c| !incident.entities.contains(&c.entity));
    if is_told && named(&incident.cause) != named(&head) {
        let note = match &head {
            Some(c) if c.unsure => format!("unsure, perhaps {}: {}", c.entity, c.line),
            Some(c) => format!("{}: {}", c.entity, c.line),
            None => "nothing speaks against anybody".into(),
        };
        audit.push(entry(now_ms, "ranked", Some(note)));
    }
    let mut changed = incident.clone();
    changed.cause = head;
    if let Some(title) = title {
        changed.title = title;
    }
    Some(IncidentChange { incident: changed, event: None, also: Vec::new(), audit })
}

/// Whether an event alarms and lasts.
#[must_use]
pub fn is_heard(event: &EventRecord) -> bool {
    alarms(event) && !event.closed()
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::EventKind;

    use super::*;
    use crate::fixtures::event;

    const MINUTE: i64 = 60_000;

    fn opened(at: i64) -> Incident {
        let first = event(1, EventKind::Anomaly, Phase::Open, at);
        Incident { id: 1, ..open(&[first], "a symptom", None, at).expect("one event").incident }
    }

    fn joined(event: &EventRecord, incident: &Incident, why: &str, unstable: bool, now: i64) -> IncidentChange {
        join(&[Joining { event: event.clone(), why: why.into(), unstable }], incident, now)
    }

    #[test]
    fn it_opens_with_the_words_of_the_worst() {
        let mut worse = event(2, EventKind::Rule, Phase::Open, MINUTE);
        worse.event.severity = tacit_wire::Num(0.9);
        let change = open(&[event(1, EventKind::Anomaly, Phase::Open, 0), worse], "two", None, MINUTE).unwrap();
        let i = &change.incident;
        assert_eq!((i.title.as_str(), i.onset_ms, i.severity, change.also.len()), ("event 2", 0, 0.9, 2));
        assert_eq!((i.nodes.len(), i.entities.as_slice()), (1, &["web-1".to_owned()][..]));
        assert_eq!(change.audit[0].action, "opened");
        assert!(open(&[], "", None, 0).is_none());
    }

    #[test]
    fn an_acknowledged_incident_stays_acknowledged() {
        let mut incident = opened(0);
        incident.state = IncidentState::Acknowledged;
        let second = event(2, EventKind::Anomaly, Phase::Open, MINUTE);
        let change = joined(&second, &incident, "same host", false, MINUTE);
        assert_eq!(change.incident.state, IncidentState::Acknowledged);
        assert_eq!(change.audit[0].note.as_deref(), Some("anomaly open: event 2 (same host)"));
    }

    #[test]
    fn it_resolves_after_quiet_and_reopens_when_it_comes_back() {
        let mut closed = event(1, EventKind::Anomaly, Phase::Close, 0);
        closed.incident = Some(1);
        let incident = renew(&closed, false, &opened(0), 3 * MINUTE).unwrap().incident;
        assert!(ended(&incident, 4 * MINUTE).is_none());
        let resolved = ended(&incident, 5 * MINUTE).expect("two quiet minutes").incident;
        assert_eq!(resolved.state, IncidentState::Resolved);

        let again = event(2, EventKind::Anomaly, Phase::Open, 10 * MINUTE);
        assert!(same_again(std::slice::from_ref(&resolved), std::slice::from_ref(&again), 10 * MINUTE).is_some());
        assert_eq!(joined(&again, &resolved, "", false, 10 * MINUTE).incident.state, IncidentState::Reopened);
        let late = event(3, EventKind::Anomaly, Phase::Open, 40 * MINUTE);
        assert!(same_again(&[resolved], &[late], 40 * MINUTE).is_none());
    }

    #[test]
    fn an_unstable_event_keeps_its_incident_open() {
        let mut still = event(1, EventKind::Anomaly, Phase::Close, 0);
        still.incident = Some(1);
        let unstable = joined(&still, &opened(0), "4 times by now", true, 0).incident;
        assert!(unstable.unstable && ended(&unstable, 59 * MINUTE).is_none());
        let calm = steady(&unstable, 30 * MINUTE).unwrap().incident;
        assert!(ended(&calm, 30 * MINUTE).is_some());
        let over = ended(&unstable, 60 * MINUTE).expect("nobody said that it is steady").incident;
        assert!(!over.unstable);
        assert!(steady(&calm, 31 * MINUTE).is_none());
    }

    #[test]
    fn context_explains_but_neither_names_nor_reopens() {
        let mut resolved = opened(0);
        resolved.state = IncidentState::Resolved;
        resolved.resolved_ms = Some(MINUTE);
        let mut note = event(9, EventKind::Context, Phase::Open, 2 * MINUTE);
        note.event.severity = tacit_wire::Num(1.0);
        let change = joined(&note, &resolved, "", false, 2 * MINUTE).incident;
        assert_eq!((change.state, change.title.as_str()), (IncidentState::Resolved, "event 1"));
    }

    #[test]
    fn it_is_muted_and_heard_again() {
        let muted = mute(&opened(0), Some("silence 3".into()), 1).unwrap();
        assert_eq!(
            (muted.incident.state, muted.audit[0].note.as_deref()),
            (IncidentState::Muted, Some("by silence 3"))
        );
        assert!(mute(&muted.incident, Some("silence 3".into()), 2).is_none(), "it is muted by that already");
        let heard = mute(&muted.incident, None, 3).unwrap().incident;
        assert_eq!((heard.state, heard.muted_by), (IncidentState::Open, None));
        let held = Incident { state: IncidentState::Acknowledged, ..opened(0) };
        assert!(mute(&held, Some("silence 3".into()), 1).is_none(), "somebody has it");
    }

    #[test]
    fn what_became_part_of_another_does_not_come_back_of_its_own() {
        let update = event(4, EventKind::Rule, Phase::Update, 5);
        let over = Incident { state: IncidentState::Resolved, resolved_ms: Some(MINUTE), ..opened(0) };
        assert!(renew(&update, true, &over, MINUTE).is_some());
        assert!(renew(&update, false, &over, MINUTE).is_none(), "who resolved it knows that it lasts");
        assert!(renew(&update, true, &Incident { merged_into: Some(2), ..over }, MINUTE).is_none());
    }

    #[test]
    fn a_sure_cause_heads_the_incident() {
        let head = |unsure| CauseHead {
            entity: "db-1".into(),
            kind: crate::cause::EntityKind::Node,
            line: "disk 0.1 → 0.9".into(),
            margin: 0.4,
            unsure,
        };
        let two = Incident { entities: vec!["api-1".into(), "web-1".into()], ..opened(0) };
        let ranked = blame(&two, Some(head(false)), Some("db-1: disk".into()), 1).unwrap();
        assert_eq!((ranked.incident.title.as_str(), ranked.audit.len()), ("db-1: disk", 1));
        assert!(blame(&ranked.incident, Some(head(false)), Some("db-1: disk".into()), 2).is_none());
        let mut louder = event(2, EventKind::Rule, Phase::Open, 0);
        louder.event.severity = tacit_wire::Num(1.0);
        assert_eq!(joined(&louder, &ranked.incident, "", false, 3).incident.title, "db-1: disk");
    }
}
