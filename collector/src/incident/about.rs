//! What an event is about: who, in which respect, on which side, and what it can do.

use tacit_wire::message::{Direction, Event, EventKind, Evidence, FaultKind};

use super::group::Role;
use crate::store::{EventRecord, EventSource, NOWHERE, Outside};

/// Share of an event's known score that one service has to have for the event to be about that service.
const OF_SERVICE: f32 = 0.6;
/// An alarm that was over again sooner than this, before it was grouped, did not hold.
const HELD_MS: i64 = 10_000;
/// Attributes that name a unit or container of the node.
pub const SERVICE_KEYS: [&str; 2] = ["service.name", "cgroup.name"];

/// What an event is about.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// A node (`web-1`), a vertex of the map (`web-1/nginx.service`), or a name of its own.
    pub entity: String,
    /// The rule, the fault, the alert, or the family of series.
    pub family: String,
    /// On which side.
    pub direction: Direction,
    /// What it can do.
    pub role: Role,
}

impl About {
    /// What a stored event is about.
    #[must_use]
    pub fn of(record: &EventRecord) -> Self {
        let event = &record.event;
        match record.outside.as_deref() {
            Some(outside) => Self::outside(event, outside),
            None => Self {
                entity: entity(event),
                family: family(event),
                direction: event.evidence.first().map_or(Direction::High, |e| e.direction),
                role: match event.kind {
                    EventKind::Context => Role::Context,
                    EventKind::Rule => Role::Certain,
                    EventKind::Anomaly | EventKind::Unknown if held(record) => Role::Symptom,
                    EventKind::Anomaly | EventKind::Unknown => Role::Weaker,
                },
            },
        }
    }

    fn outside(event: &Event, outside: &Outside) -> Self {
        let role = match (outside.source, event.kind) {
            (EventSource::Change, _) | (_, EventKind::Context) => Role::Context,
            (EventSource::Alert, _) | (_, EventKind::Rule) => Role::Certain,
            _ => Role::Symptom,
        };
        // Two failing edges of one server are two things.
        let family = match &outside.client {
            Some(client) => format!("{} from {client}", outside.family),
            None => format!("{} {}", outside.source.as_str(), outside.family),
        };
        Self { entity: outside.entity.clone(), family, direction: Direction::High, role }
    }
}

/// Whether an alarm lasts, or did for long enough to be a symptom. What an incident has was judged before, and stays what it was.
fn held(record: &EventRecord) -> bool {
    let lasted = record.event.end_ms.map(|end| end.saturating_sub(record.event.onset_ms));
    record.incident.is_some() || !record.closed() || !lasted.is_some_and(|ms| (0..HELD_MS).contains(&ms))
}

/// The node of an entity's name, if it has one: what is before the slash.
#[must_use]
pub fn node_of(entity: &str) -> Option<&str> {
    let node = entity.split_once('/').map_or(entity, |(node, _)| node);
    (node != NOWHERE && !node.contains(':')).then_some(node)
}

/// The unit or container that a series is about.
#[must_use]
pub fn service_of(evidence: &Evidence) -> Option<&str> {
    let of = |key: &str| evidence.attributes.iter().find(|a| a.key == key).map(|a| a.value.as_str());
    SERVICE_KEYS.into_iter().find_map(of)
}

fn entity(event: &Event) -> String {
    let node = event.head.node.as_str();
    let named = event.context.first().and_then(|c| c.unit.as_deref()).filter(|_| event.kind != EventKind::Anomaly);
    if let Some(unit) = named {
        return format!("{node}/{unit}");
    }
    let mut shares: Vec<(&str, f32)> = Vec::new();
    let mut all = 0.0;
    for evidence in &event.evidence {
        let share = evidence.share.get().unwrap_or(0.0).clamp(0.0, 1.0);
        all += share;
        if let Some(service) = service_of(evidence) {
            match shares.iter_mut().find(|(s, _)| *s == service) {
                Some((_, sum)) => *sum += share,
                None => shares.push((service, share)),
            }
        }
    }
    match shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((service, share)) if share > 0.0 && share >= OF_SERVICE * all => format!("{node}/{service}"),
        _ => node.to_owned(),
    }
}

fn family(event: &Event) -> String {
    if let Some(rule) = &event.rule {
        return rule.clone();
    }
    if event.kind == EventKind::Context {
        return event.context.first().map_or_else(|| "context".into(), |c| c.kind.to_string());
    }
    match (event.fault, event.evidence.first()) {
        (Some(fault), _) if fault != FaultKind::Unknown => fault.to_string(),
        (_, Some(evidence)) => head(&evidence.name).to_owned(),
        _ => "unknown".into(),
    }
}

/// The part of a metric's name that says what it is about: `system.cpu` of `system.cpu.utilization`.
fn head(name: &str) -> &str {
    let words = if name.starts_with("system.linux.") { 3 } else { 2 };
    name.match_indices('.').nth(words - 1).map_or(name, |(at, _)| &name[..at])
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::Phase;
    use tacit_wire::{Attribute, Num};

    use super::*;
    use crate::fixtures::event;

    fn series(name: &str, service: Option<&str>, share: f32) -> Evidence {
        let attributes =
            service.map(|s| Attribute { key: "service.name".into(), value: s.into() }).into_iter().collect();
        Evidence {
            name: name.into(),
            attributes,
            unit: "1".into(),
            share: Num(share),
            observed: Num(1.0),
            low: Num(0.0),
            high: Num(0.1),
            direction: Direction::High,
        }
    }

    #[test]
    fn an_event_of_mostly_one_service_is_about_that() {
        let mut record = event(1, EventKind::Anomaly, Phase::Open, 0);
        record.event.evidence = vec![
            series("tacit.link.active", Some("api.service"), 0.4),
            series("tacit.link.failed", Some("api.service"), 0.3),
            series("system.cpu.utilization", None, 0.2),
        ];
        let about = About::of(&record);
        assert_eq!((about.entity.as_str(), about.family.as_str()), ("web-1/api.service", "tacit.link"));
        assert_eq!(about.role, Role::Symptom);
        record.event.evidence[2].share = Num(0.6);
        assert_eq!(About::of(&record).entity, "web-1");
        record.event.evidence.clear();
        record.event.fault = Some(FaultKind::Memory);
        assert_eq!(About::of(&record).family, "memory");
    }

    #[test]
    fn an_alarm_that_did_not_hold_is_weaker() {
        let over = |kind, lasted: Option<i64>| {
            let mut record = event(1, kind, Phase::Close, 5_000);
            record.event.end_ms = lasted.map(|ms| 5_000 + ms);
            record
        };
        let role = |record: &EventRecord| About::of(record).role;
        let anomaly = EventKind::Anomaly;
        assert_eq!(role(&over(anomaly, Some(9_999))), Role::Weaker);
        assert_eq!(role(&over(anomaly, Some(10_000))), Role::Symptom);
        // It says no time, or one that cannot be.
        assert_eq!((role(&over(anomaly, None)), role(&over(anomaly, Some(-1)))), (Role::Symptom, Role::Symptom));
        let mut lasts = over(anomaly, Some(100));
        lasts.event.phase = Phase::Update;
        assert_eq!(role(&lasts), Role::Symptom, "it is there again");
        let known = EventRecord { incident: Some(3), ..over(anomaly, Some(100)) };
        assert_eq!(role(&known), Role::Symptom, "an incident has it");
        assert_eq!(role(&over(EventKind::Rule, Some(100))), Role::Certain);
        assert_eq!(role(&over(EventKind::Context, Some(0))), Role::Context);
    }

    #[test]
    fn what_comes_from_elsewhere_says_itself_what_it_is_about() {
        let mut record = event(1, EventKind::Rule, Phase::Open, 0);
        let outside =
            Outside { source: EventSource::Alert, entity: "db".into(), family: "Slow".into(), ..Outside::default() };
        record.outside = Some(Box::new(outside));
        let about = About::of(&record);
        assert_eq!((about.entity.as_str(), about.family.as_str(), about.role), ("db", "alert Slow", Role::Certain));
        record.event.kind = EventKind::Context;
        record.outside.as_mut().unwrap().source = EventSource::Change;
        assert_eq!(About::of(&record).role, Role::Context);
    }

    #[test]
    fn nodes_stand_before_the_slash() {
        assert_eq!(node_of("web-1/nginx.service"), Some("web-1"));
        assert_eq!(node_of("web-1"), Some("web-1"));
        assert_eq!(node_of("ext:192.0.2.7:443"), None);
        assert_eq!(node_of("alert:checkout"), None);
        assert_eq!(node_of(NOWHERE), None);
    }
}
