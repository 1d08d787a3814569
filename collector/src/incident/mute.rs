//! What keeps an incident from disturbing anybody: a silence, a window, or the incident that is behind it. Pure.

use std::collections::{BTreeMap, HashMap};

use tacit_wire::{NodeId, SiteId};

use super::about::About;
use super::correlator::alarms;
use super::life::is_heard;
use super::quiet::{MutedBy, Quiet, Subject};
use super::scene::Scene;
use crate::store::{EventRecord, Incident, IncidentId, IncidentState, NOWHERE, NodeTags};

/// Through how many calls what is wrong with a service reaches who depends on it.
const STEPS: usize = 3;
/// An incident is muted by another when it begins this long after it at most.
const AFTER_MS: i64 = 15 * 60_000;

/// What mutes an incident with these events, given sites and tags of nodes: all that lasts has to be muted, by whatever; or all
/// that alarmed, when it is over.
#[must_use]
pub fn by_people(
    events: &[EventRecord],
    quiet: &Quiet,
    (sites, tags): (&HashMap<NodeId, SiteId>, &NodeTags),
    now_ms: i64,
) -> Option<MutedBy> {
    let none = BTreeMap::new();
    let lasts = events.iter().any(is_heard);
    let mut first = None;
    for record in events.iter().filter(|e| if lasts { is_heard(e) } else { alarms(e) }) {
        let about = About::of(record);
        let node = Some(record.event.head.node.as_str()).filter(|n| *n != NOWHERE);
        let subject = Subject {
            node,
            site: sites.get(&record.event.head.node).map(SiteId::as_str),
            entity: &about.entity,
            source: record.source().as_str(),
            kind: record.event.kind.as_str(),
            family: record.outside.as_ref().map_or(&about.family, |o| &o.family),
            text: &record.event.text,
            labels: record.outside.as_ref().map_or(&none, |o| &o.labels),
            tags: tags.get(&record.event.head.node).unwrap_or(&none),
        };
        let by = quiet.mutes(&subject, now_ms)?;
        first.get_or_insert(by);
    }
    first
}

/// The open incident that explains another: everything in that depends on its cause, which is sure. It began before, or has
/// the lesser number: no two mute each other.
#[must_use]
pub fn by_cause<'a>(incident: &Incident, open: &'a [Incident], scene: &Scene) -> Option<&'a Incident> {
    let explains = |other: &&Incident| {
        let Some(cause) = other.cause.as_ref().filter(|c| !c.unsure) else { return false };
        let later = incident.onset_ms.saturating_sub(other.onset_ms);
        // One that is not stored yet has no number.
        let number = if incident.id == 0 { IncidentId::MAX } else { incident.id };
        let is_before = (other.onset_ms, other.id) < (incident.onset_ms, number) && later <= AFTER_MS;
        is_before
            && other.is_open()
            && other.state != IncidentState::Muted
            && !incident.entities.is_empty()
            && incident.entities.iter().all(|e| *e != cause.entity && scene.depends(e, &cause.entity, STEPS))
    };
    open.iter().find(explains)
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{EventKind, Phase};

    use super::*;
    use crate::cause::EntityKind;
    use crate::fixtures::{event, incident};
    use crate::map::book::Pair;
    use crate::store::{CauseHead, MatchOp, Matcher, Silence};

    fn silence(node: &str) -> Quiet {
        let matcher = Matcher { field: "node".into(), op: MatchOp::Equal, value: node.into() };
        let silence = Silence {
            id: 3,
            matchers: vec![matcher],
            starts_ms: 0,
            ends_ms: 100,
            actor: "ana".into(),
            reason: "disk swap".into(),
            made_ms: 0,
            ended_ms: None,
        };
        Quiet::new(vec![silence], Vec::new())
    }

    #[test]
    fn all_that_lasts_has_to_be_muted() {
        let (sites, tags) = (HashMap::new(), NodeTags::new());
        let places = (&sites, &tags);
        let mut events = vec![event(1, EventKind::Rule, Phase::Open, 0), event(2, EventKind::Context, Phase::Open, 0)];
        let by = by_people(&events, &silence("web-1"), places, 50);
        assert_eq!(by.map(|b| b.to_string()).as_deref(), Some("silence 3"));
        assert_eq!(by_people(&events, &silence("web-1"), places, 100), None, "it is over");
        let mut other = event(3, EventKind::Rule, Phase::Open, 0);
        other.event.head.node = "db-1".parse().unwrap();
        events.push(other.clone());
        assert_eq!(by_people(&events, &silence("web-1"), places, 50), None);
        other.event.phase = Phase::Close;
        events[2] = other;
        assert!(by_people(&events, &silence("web-1"), places, 50).is_some(), "what is over disturbs nobody");
        events[0].event.phase = Phase::Close;
        assert_eq!(by_people(&events, &silence("web-1"), places, 50), None, "all are over, and one was not silenced");
        events.pop();
        assert!(by_people(&events, &silence("web-1"), places, 50).is_some(), "it came and went in silence");
        assert_eq!(by_people(&[], &silence("web-1"), places, 50), None);
    }

    #[test]
    fn a_silence_may_ask_for_a_tag() {
        let node: NodeId = "web-1".parse().unwrap();
        let role = |value: &str| NodeTags::from([(node.clone(), [("role".to_owned(), value.to_owned())].into())]);
        let mut quiet = silence("web-1");
        quiet.silences[0].matchers = vec!["tag.role=~web|cache".parse().unwrap()];
        let events = [event(1, EventKind::Rule, Phase::Open, 0)];
        let by = |tags: &NodeTags| by_people(&events, &quiet, (&HashMap::new(), tags), 50);
        assert!(by(&role("web")).is_some());
        assert!(by(&role("db")).is_none() && by(&NodeTags::new()).is_none());
    }

    #[test]
    fn who_depends_on_a_sure_cause_is_muted_by_its_incident() {
        let mut scene = Scene::default();
        let pair = Pair {
            client: "web-1/api".into(),
            server: "db-1/postgres".into(),
            client_node: Some("web-1".parse().unwrap()),
            server_node: Some("db-1".parse().unwrap()),
            infrastructure: false,
        };
        scene.renew(&[pair], &[], &NodeTags::new());
        let head = |unsure| CauseHead {
            entity: "db-1/postgres".into(),
            kind: EntityKind::Service,
            line: String::new(),
            margin: 0.5,
            unsure,
        };
        let mut cause = incident();
        (cause.id, cause.cause) = (12, Some(head(false)));
        let mut symptom = incident();
        (symptom.id, symptom.onset_ms, symptom.entities) = (13, 1000, vec!["web-1/api".into()]);
        assert_eq!(by_cause(&symptom, std::slice::from_ref(&cause), &scene).map(|i| i.id), Some(12));
        symptom.entities.push("mail-1".into());
        assert!(by_cause(&symptom, std::slice::from_ref(&cause), &scene).is_none(), "something else is wrong too");
        symptom.entities.pop();
        symptom.onset_ms = cause.onset_ms;
        assert!(by_cause(&symptom, std::slice::from_ref(&cause), &scene).is_some(), "12 is less than 13");
        symptom.id = 11;
        assert!(by_cause(&symptom, std::slice::from_ref(&cause), &scene).is_none());
        symptom.id = 0;
        assert!(by_cause(&symptom, std::slice::from_ref(&cause), &scene).is_some(), "it is new");
        cause.cause = Some(head(true));
        assert!(by_cause(&symptom, &[cause], &scene).is_none(), "nobody is sure");
    }
}
