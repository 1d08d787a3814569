//! Who is affected, and what was folded beneath the cause: nothing is dropped, each event has its line.

use std::collections::{BTreeMap, HashSet};

use crate::console::format::{capital, clock, counted, offset};
use crate::incident::about::{About, node_of};
use crate::incident::correlator::alarms;
use crate::store::{ENTITIES_MAX, EventRecord, IncidentDetail};

/// Things that are affected and named.
const GROUPS: usize = 100;
/// Events of one thing that are told of.
const LINES: usize = 20;

/// Who is affected.
pub struct Affected {
    /// How much, in a sentence.
    pub sentence: String,
    pub nodes: Vec<AffectedNode>,
    /// Who is on no node.
    pub elsewhere: Vec<String>,
}

/// A node with what is affected on it.
pub struct AffectedNode {
    pub node: String,
    /// Whether the inventory has it.
    pub is_known: bool,
    pub services: Vec<String>,
}

/// Who is affected by an incident, node by node.
pub fn affected(detail: &IncidentDetail) -> Affected {
    let i = &detail.incident;
    let mut nodes: BTreeMap<&str, Vec<String>> = i.nodes.iter().map(|n| (n.as_str(), Vec::new())).collect();
    let mut elsewhere = Vec::new();
    for entity in &i.entities {
        match (node_of(entity), entity.split_once('/')) {
            (Some(node), Some((_, service))) => nodes.entry(node).or_default().push(service.to_owned()),
            (Some(node), None) => {
                nodes.entry(node).or_default();
            }
            (None, _) => elsewhere.push(entity.clone()),
        }
    }
    let services: usize = nodes.values().map(Vec::len).sum();
    let known: HashSet<&str> = i.nodes.iter().map(AsRef::as_ref).collect();
    let mut parts = vec![counted(nodes.len(), "node", "nodes"), counted(services, "service", "services")];
    if !elsewhere.is_empty() {
        parts.push(format!("{} elsewhere", elsewhere.len()));
    }
    let bound = if i.entities.len() >= ENTITIES_MAX { "; no more are named" } else { "" };
    Affected {
        sentence: capital(format!("{}{bound}.", parts.join(", "))),
        nodes: nodes
            .into_iter()
            .map(|(node, services)| AffectedNode { node: node.to_owned(), is_known: known.contains(node), services })
            .collect(),
        elsewhere,
    }
}

/// What is folded into an incident.
pub struct Symptoms {
    /// How much, in a sentence.
    pub sentence: String,
    pub groups: Vec<Group>,
}

/// The events of one thing.
pub struct Group {
    pub entity: String,
    /// It is the cause itself.
    pub is_cause: bool,
    /// How many, and how many of them last.
    pub count: String,
    /// The words of the worst.
    pub words: String,
    pub lines: Vec<SymptomLine>,
    /// Events that are left out.
    pub more: usize,
}

/// One event.
pub struct SymptomLine {
    /// Which it is, as `NODE/EVENT`.
    pub key: String,
    pub when: String,
    pub offset: String,
    pub text: String,
    /// In which respect, who says it, whether it lasts.
    pub note: String,
}

/// The events of an incident by what they are about: the cause first, then in the order in which they began.
pub fn symptoms(detail: &IncidentDetail) -> Symptoms {
    let cause = detail.incident.cause.as_ref().map_or("", |c| c.entity.as_str());
    let mut groups: Vec<(String, Vec<(&EventRecord, String)>)> = Vec::new();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    let mut events: Vec<&EventRecord> = detail.events.iter().filter(|e| alarms(e)).collect();
    events.sort_by_key(|e| e.onset_ms);
    for record in events {
        let About { entity, family, .. } = About::of(record);
        let at = *place.entry(entity.clone()).or_insert_with(|| {
            groups.push((entity, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push((record, family));
    }
    groups.sort_by_key(|(entity, _)| entity.as_str() != cause);
    let beneath: usize = groups.iter().filter(|(entity, _)| entity != cause).map(|(_, events)| events.len()).sum();
    let all = groups.len();
    let groups: Vec<Group> =
        groups.iter().take(GROUPS).map(|(e, events)| group(e, events, e == cause, detail.incident.onset_ms)).collect();
    let of = if cause.is_empty() { "in it" } else { "beneath the cause" };
    let bound = if all > GROUPS { format!("; of {all} things the first {GROUPS} are shown") } else { String::new() };
    Symptoms { sentence: capital(format!("{} {of}{bound}.", counted(beneath, "event", "events"))), groups }
}

fn group(entity: &str, events: &[(&EventRecord, String)], is_cause: bool, onset_ms: i64) -> Group {
    let last = events.iter().filter(|(e, _)| !e.closed()).count();
    let worst = events.iter().max_by(|a, b| a.0.event.severity.0.total_cmp(&b.0.event.severity.0));
    let line = |(record, family): &(&EventRecord, String)| SymptomLine {
        key: format!("{}/{}", record.event.head.node, record.event.event),
        when: clock(record.onset_ms, onset_ms),
        offset: offset(record.onset_ms, onset_ms),
        text: record.event.text.clone(),
        note: format!("{family} · {}", if record.closed() { "ended" } else { "lasts" }),
    };
    let count = counted(events.len(), "event", "events");
    Group {
        entity: entity.to_owned(),
        is_cause,
        count: if last == 0 { format!("{count}, over") } else { format!("{count}, {last} last") },
        words: worst.map_or_else(String::new, |(e, _)| e.event.text.clone()),
        lines: events.iter().take(LINES).map(line).collect(),
        more: events.len().saturating_sub(LINES),
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{EventKind, Phase};

    use super::*;
    use crate::cause::EntityKind;
    use crate::fixtures::{event, incident};
    use crate::store::{CauseHead, Incident};

    fn detail(events: Vec<EventRecord>, cause: Option<&str>) -> IncidentDetail {
        let head = |entity: &str| CauseHead {
            entity: entity.into(),
            kind: EntityKind::Node,
            line: String::new(),
            margin: 0.5,
            unsure: false,
        };
        let incident = Incident { cause: cause.map(head), ..incident() };
        IncidentDetail { incident, events, audit: Vec::new(), ranking: None }
    }

    fn of_node(id: u8, node: &str, phase: Phase, at: i64) -> EventRecord {
        let mut record = event(id, EventKind::Anomaly, phase, at);
        record.event.head.node = node.parse().unwrap();
        record
    }

    #[test]
    fn symptoms_are_folded_and_none_is_lost() {
        let mut events: Vec<_> = (1..=30).map(|n| of_node(n, "web-1", Phase::Open, i64::from(n) * 1000)).collect();
        events.push(of_node(31, "db-1", Phase::Close, 40_000));
        events.push(event(32, EventKind::Context, Phase::Open, 0));
        let told = symptoms(&detail(events, Some("db-1")));
        assert_eq!(told.sentence, "30 events beneath the cause.");
        let heads: Vec<_> = told.groups.iter().map(|g| (g.entity.as_str(), g.is_cause, g.count.as_str())).collect();
        assert_eq!(heads, [("db-1", true, "one event, over"), ("web-1", false, "30 events, 30 last")]);
        assert_eq!((told.groups[1].lines.len(), told.groups[1].more), (LINES, 10));
        let second = &told.groups[1].lines[1];
        assert_eq!((second.offset.as_str(), second.key.as_str()), ("+2 s", "web-1/0202020202020202"));
        assert_eq!(symptoms(&detail(vec![of_node(1, "a", Phase::Open, 0)], None)).sentence, "One event in it.");
    }

    #[test]
    fn who_is_affected_is_told_node_by_node() {
        let mut one = detail(Vec::new(), None);
        one.incident.entities = ["web-1/nginx.service", "web-2", "db", "ext:192.0.2.7:443"].map(str::to_owned).to_vec();
        let told = affected(&one);
        assert_eq!(told.sentence, "3 nodes, one service, 1 elsewhere.");
        let nodes: Vec<_> = told.nodes.iter().map(|n| (n.node.as_str(), n.is_known, n.services.len())).collect();
        assert_eq!(nodes, [("db", false, 0), ("web-1", true, 1), ("web-2", false, 0)]);
        assert_eq!(told.elsewhere, ["ext:192.0.2.7:443"]);
    }
}
