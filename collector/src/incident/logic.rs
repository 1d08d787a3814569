//! Which incident an event belongs to, and when an incident is over. Pure: `now` is an argument.

use tacit_wire::message::{Event, EventKind, Phase};

use crate::store::{AuditEntry, EventRecord, Incident, IncidentChange, IncidentDetail, IncidentState, Label};

/// Events of a node that begin within this long of an incident's last change belong to it.
const GROUP_MS: i64 = 10 * 60_000;
/// An incident whose events have all ended is resolved after this long.
const QUIET_MS: i64 = 2 * 60_000;
/// An incident that comes back within this long is the same one.
const REOPEN_MS: i64 = 15 * 60_000;

/// The actor of what Tacit does itself.
pub const TACIT: &str = "tacit";

/// What to do about a phase of an event.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Nothing: it explains, but does not alarm.
    Nothing,
    /// Change an incident, or make one.
    Change(Box<IncidentChange>),
}

/// Decides about an event, given the newest incidents of its node.
#[must_use]
pub fn decide(event: &EventRecord, incidents: &[Incident], now_ms: i64) -> Decision {
    if let Some(id) = event.incident {
        return incidents.iter().find(|i| i.id == id).map_or(Decision::Nothing, |i| renew(event, i, now_ms));
    }
    let open = incidents.iter().find(|i| i.state != IncidentState::Resolved && near(i, event, GROUP_MS));
    if event.event.kind == EventKind::Context {
        // Context joins what is open; it never opens anything.
        return open.map_or(Decision::Nothing, |i| join(event, i, now_ms, "event-added"));
    }
    if let Some(incident) = open {
        return join(event, incident, now_ms, "event-added");
    }
    let back = incidents
        .iter()
        .find(|i| i.resolved_ms.is_some_and(|at| event.onset_ms.saturating_sub(at) <= REOPEN_MS && !event.closed()));
    match back {
        Some(incident) => join(event, incident, now_ms, "reopened"),
        None => open_new(event, now_ms),
    }
}

/// Whether an event belongs to an incident by time: it began while the incident was alive, or shortly after its last change.
fn near(incident: &Incident, event: &EventRecord, within_ms: i64) -> bool {
    event.onset_ms <= incident.updated_ms + within_ms
}

/// JSON has no infinity: an incident that holds one could not be read again.
fn severity(event: &Event) -> f32 {
    event.severity.get().unwrap_or(0.0).clamp(0.0, 1.0)
}

fn open_new(event: &EventRecord, now_ms: i64) -> Decision {
    let e = &event.event;
    let incident = Incident {
        id: 0,
        state: IncidentState::Open,
        muted_by: None,
        title: e.text.clone(),
        severity: severity(e),
        nodes: vec![e.head.node.clone()],
        onset_ms: event.onset_ms,
        opened_ms: now_ms,
        updated_ms: now_ms,
        resolved_ms: None,
        assignee: None,
        label: None::<Label>,
        events: 1,
        injected: e.injected,
        revision: 0,
    };
    change(event, incident, now_ms, Some("opened"))
}

fn join(event: &EventRecord, incident: &Incident, now_ms: i64, action: &str) -> Decision {
    let mut incident = worse(event, incident, now_ms);
    incident.onset_ms = incident.onset_ms.min(event.onset_ms);
    if incident.state == IncidentState::Resolved {
        incident.state = IncidentState::Reopened;
        incident.resolved_ms = None;
    }
    change(event, incident, now_ms, Some(action))
}

/// A later phase of an event that belongs to the incident already. An event that comes to life again under a resolved
/// incident reopens it.
fn renew(event: &EventRecord, incident: &Incident, now_ms: i64) -> Decision {
    if incident.state == IncidentState::Resolved {
        let again = !event.closed() && incident.resolved_ms.is_some_and(|at| now_ms - at <= REOPEN_MS);
        return if again { join(event, incident, now_ms, "reopened") } else { Decision::Nothing };
    }
    let action = event.closed().then_some("event-ended");
    change(event, worse(event, incident, now_ms), now_ms, action)
}

/// The incident with the event's severity and words, when the event is the worst so far.
fn worse(event: &EventRecord, incident: &Incident, now_ms: i64) -> Incident {
    let mut incident = incident.clone();
    let e = &event.event;
    let severity = severity(e);
    if e.kind != EventKind::Context && severity >= incident.severity && e.phase != Phase::Close {
        incident.severity = severity;
        incident.title.clone_from(&e.text);
    }
    incident.injected &= e.injected || e.kind == EventKind::Context;
    incident.updated_ms = now_ms;
    incident
}

fn change(event: &EventRecord, incident: Incident, now_ms: i64, action: Option<&str>) -> Decision {
    let e = &event.event;
    let audit = action
        .map(|action| AuditEntry {
            at_ms: now_ms,
            actor: TACIT.into(),
            action: action.into(),
            note: Some(format!("{} {}: {}", e.kind, e.phase, e.text)),
        })
        .into_iter()
        .collect();
    Decision::Change(Box::new(IncidentChange { incident, event: Some(event.clone()), audit }))
}

/// The change that resolves an incident whose events have all ended long enough ago.
#[must_use]
pub fn ended(detail: &IncidentDetail, now_ms: i64) -> Option<IncidentChange> {
    let mut alarms = detail.events.iter().filter(|e| e.event.kind != EventKind::Context).peekable();
    alarms.peek()?;
    let all_ended = alarms.all(EventRecord::closed);
    if !all_ended || now_ms - detail.incident.updated_ms < QUIET_MS {
        return None;
    }
    let mut incident = detail.incident.clone();
    incident.state = IncidentState::Resolved;
    incident.resolved_ms = Some(now_ms);
    let audit = AuditEntry {
        at_ms: now_ms,
        actor: TACIT.into(),
        action: "resolved".into(),
        note: Some("all its events have ended".into()),
    };
    Some(IncidentChange { incident, event: None, audit: vec![audit] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::event;

    const MINUTE: i64 = 60_000;

    fn changed(decision: Decision) -> Incident {
        match decision {
            Decision::Change(change) => change.incident,
            Decision::Nothing => panic!("a change was expected"),
        }
    }

    fn opened(at: i64) -> Incident {
        let mut incident = changed(decide(&event(1, EventKind::Anomaly, Phase::Open, at), &[], at));
        incident.id = 1;
        incident
    }

    #[test]
    fn the_first_alarm_opens_and_the_next_joins() {
        let first = opened(0);
        assert_eq!(first.state, IncidentState::Open);
        let second = event(2, EventKind::Rule, Phase::Open, 5 * MINUTE);
        let joined = changed(decide(&second, std::slice::from_ref(&first), 5 * MINUTE));
        assert_eq!((joined.id, joined.onset_ms), (1, 0));
        let later = event(3, EventKind::Anomaly, Phase::Open, 30 * MINUTE);
        assert_eq!(changed(decide(&later, &[first], 30 * MINUTE)).id, 0);
    }

    #[test]
    fn context_never_opens() {
        let context = event(1, EventKind::Context, Phase::Open, 0);
        assert!(matches!(decide(&context, &[], 0), Decision::Nothing));
        assert_eq!(changed(decide(&context, &[opened(0)], 0)).id, 1);
    }

    #[test]
    fn an_acknowledged_incident_stays_acknowledged() {
        let mut incident = opened(0);
        incident.state = IncidentState::Acknowledged;
        let second = event(2, EventKind::Anomaly, Phase::Open, MINUTE);
        assert_eq!(changed(decide(&second, &[incident], MINUTE)).state, IncidentState::Acknowledged);
    }

    #[test]
    fn it_resolves_after_quiet_and_reopens_when_it_comes_back() {
        let mut closed = event(1, EventKind::Anomaly, Phase::Close, 0);
        closed.incident = Some(1);
        let incident = changed(decide(&closed, &[opened(0)], 3 * MINUTE));
        let detail = IncidentDetail { incident, events: vec![closed], audit: Vec::new() };
        assert!(ended(&detail, 4 * MINUTE).is_none());
        let resolved = ended(&detail, 5 * MINUTE).expect("two quiet minutes").incident;
        assert_eq!(resolved.state, IncidentState::Resolved);

        let again = event(2, EventKind::Anomaly, Phase::Open, 10 * MINUTE);
        let back = changed(decide(&again, std::slice::from_ref(&resolved), 10 * MINUTE));
        assert_eq!((back.id, back.state), (1, IncidentState::Reopened));
        let late = event(3, EventKind::Anomaly, Phase::Open, 40 * MINUTE);
        assert_eq!(changed(decide(&late, &[resolved], 40 * MINUTE)).id, 0);
    }

    #[test]
    fn an_open_event_keeps_its_incident_open() {
        let mut open = event(1, EventKind::Anomaly, Phase::Update, 0);
        open.incident = Some(1);
        let detail = IncidentDetail { incident: opened(0), events: vec![open], audit: Vec::new() };
        assert!(ended(&detail, 600 * MINUTE).is_none());
    }
}
