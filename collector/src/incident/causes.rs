//! Ranks who is behind an incident, from what is stored of it and from the map, again and again while evidence comes.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tacit_wire::{NodeId, SiteId};

use super::about::{About, node_of};
use super::correlator::{alarms, end_of};
use crate::cause::gather::{CANDIDATES_MAX, Known, gather};
use crate::cause::{Ranking, rank};
use crate::interop::changes::wide;
use crate::map::Map;
use crate::map::book::Pair;
use crate::store::{CauseHead, EventQuery, EventRecord, Incident, Store, StoreError, StoredRanking};

/// How far before the onset changes count, and edges are known by the minute.
const BEFORE_MS: i64 = 30 * 60_000;
/// Events of all nodes around the onset that are looked through.
const AROUND_MAX: usize = 5000;
/// Through how many calls a cause is looked for from what complains.
const STEPS: usize = 3;

/// Who talks to whom, by name, both ways.
#[derive(Debug, Default)]
pub struct Neighbours {
    callees: HashMap<String, Vec<String>>,
    callers: HashMap<String, Vec<String>>,
    /// Vertices of each node.
    on_node: HashMap<String, BTreeSet<String>>,
}

impl Neighbours {
    /// Of the pairs of a map. Infrastructure is among them: a name server may be the cause.
    #[must_use]
    pub fn new(pairs: &[Pair]) -> Self {
        let mut all = Self::default();
        for pair in pairs.iter().filter(|p| p.client != p.server) {
            all.callees.entry(pair.client.clone()).or_default().push(pair.server.clone());
            all.callers.entry(pair.server.clone()).or_default().push(pair.client.clone());
            for (vertex, node) in [(&pair.client, &pair.client_node), (&pair.server, &pair.server_node)] {
                if let Some(node) = node {
                    all.on_node.entry(node.to_string()).or_default().insert(vertex.clone());
                }
            }
        }
        all
    }

    /// Who may be behind what these entities complain of: themselves, what is on their nodes, whom those call through some
    /// steps, and who calls them, for what is common to several callers. Nearest first.
    #[must_use]
    pub fn candidates(&self, entities: &[String]) -> Vec<String> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut order: Vec<&str> = Vec::new();
        let mut queue: VecDeque<(&str, usize)> = VecDeque::new();
        for entity in entities {
            let here = self.on_node.get(entity.as_str()).into_iter().flatten().map(String::as_str);
            for name in std::iter::once(entity.as_str()).chain(here) {
                if seen.insert(name) {
                    order.push(name);
                    queue.push_back((name, 0));
                }
            }
        }
        let asked: Vec<&str> = order.clone();
        while let Some((at, steps)) = queue.pop_front() {
            if steps >= STEPS || order.len() >= CANDIDATES_MAX {
                continue;
            }
            for next in self.callees.get(at).into_iter().flatten().map(String::as_str) {
                if seen.insert(next) {
                    order.push(next);
                    queue.push_back((next, steps + 1));
                }
            }
        }
        for caller in asked.iter().filter_map(|name| self.callers.get(*name)).flatten().map(String::as_str) {
            if seen.insert(caller) {
                order.push(caller);
            }
        }
        order.truncate(CANDIDATES_MAX);
        order.into_iter().map(str::to_owned).collect()
    }

    /// Pairs among these.
    fn among(&self, names: &HashSet<String>) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for client in names {
            let servers = self.callees.get(client).into_iter().flatten().filter(|s| names.contains(*s));
            pairs.extend(servers.map(|server| (client.clone(), server.clone())));
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

/// What a ranking looks into beside the incident.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Who talks to whom.
    pub neighbours: &'a Neighbours,
    /// Sites of nodes.
    pub sites: &'a HashMap<NodeId, SiteId>,
    /// What else happened.
    pub store: &'a Arc<dyn Store>,
    /// What edges did.
    pub map: &'a Arc<Map>,
}

/// Ranks the causes of an incident as it is known now. Of a large one `events` are the alarms that tell most
/// ([`Store::telling_events`]): those that began first and the worst, some hundreds. What it concerns is named in the incident
/// as well, so that who complains beyond these is a candidate all the same.
///
/// # Errors
/// When the database cannot be asked.
pub async fn ranked(
    incident: &Incident,
    events: &[EventRecord],
    around: &Surroundings<'_>,
    now_ms: i64,
) -> Result<StoredRanking, StoreError> {
    let onset_ms = incident.onset_ms;
    let mut entities = incident.entities.clone();
    entities.extend(events.iter().filter(|e| alarms(e)).map(|e| About::of(e).entity));
    let near = around.neighbours.candidates(&entities);
    let names: HashSet<String> = near.iter().cloned().collect();
    let pairs = around.neighbours.among(&names);
    let nodes: HashSet<&str> = near.iter().filter_map(|n| node_of(n)).collect();
    // Oldest first: what was before a storm explains it, and is not pushed out by it.
    let query = EventQuery {
        since_ms: Some(onset_ms.saturating_sub(BEFORE_MS)),
        until_ms: Some(onset_ms.saturating_add(60_000)),
        beside: Some(incident.id),
        oldest_first: true,
        limit: Some(AROUND_MAX),
        ..EventQuery::default()
    };
    let mut others = around.store.events(query).await?;
    others.retain(|e| {
        let is_over = alarms(e) && e.closed() && end_of(e) < onset_ms;
        let is_near = |entity: &str| names.contains(entity) || node_of(entity).is_some_and(|n| nodes.contains(n));
        !is_over && (wide(e).is_some() || is_near(&About::of(e).entity))
    });
    let (beside, changes): (Vec<EventRecord>, Vec<EventRecord>) = others.into_iter().partition(alarms);
    let sites: Vec<(&str, &str)> = around.sites.iter().map(|(node, site)| (node.as_str(), site.as_str())).collect();
    let edges = around.map.recent(onset_ms.saturating_sub(BEFORE_MS), Arc::new(names)).await?;
    let known = Known {
        events,
        beside: &beside,
        changes: &changes,
        edges: &edges,
        pairs: &pairs,
        near: &near,
        sites: &sites,
        onset_ms,
    };
    let evidence = gather(&known);
    // Of a thousand services this takes some tens of milliseconds.
    let (evidence, ranking) = tokio::task::spawn_blocking(move || {
        let ranking = rank(&evidence);
        (evidence, ranking)
    })
    .await
    .map_err(|e| StoreError::Database(e.to_string()))?;
    Ok(StoredRanking { incident: incident.id, at_ms: now_ms, evidence, ranking })
}

/// Who leads a ranking; `None` when nothing speaks against anybody.
#[must_use]
pub fn head(ranking: &Ranking) -> Option<CauseHead> {
    let first = ranking.causes.first().filter(|c| c.score > 0.0)?;
    let line = first.evidence.iter().find(|l| l.what != crate::cause::What::Change).or(first.evidence.first())?;
    Some(CauseHead {
        entity: first.entity.clone(),
        kind: first.kind,
        line: line.to_string(),
        margin: ranking.margin,
        unsure: ranking.unsure,
    })
}

/// What heads an incident whose cause is sure: the cause's own words, else its strongest line. Of an unsure one the worst event's
/// words stay.
#[must_use]
pub fn title(head: &CauseHead, events: &[EventRecord]) -> Option<String> {
    if head.unsure {
        return None;
    }
    let cause = head.entity.as_str();
    let of_cause = |e: &&EventRecord| {
        let about = About::of(e);
        alarms(e) && (about.entity == cause || node_of(&about.entity) == Some(cause)) && e.outside.is_none()
    };
    let severity = |e: &&EventRecord| e.event.severity.get().unwrap_or(0.0);
    let own = events.iter().filter(of_cause).max_by(|a, b| severity(a).total_cmp(&severity(b)));
    let single = events.iter().filter(|e| alarms(e)).all(|e| of_cause(&e));
    Some(match own {
        Some(event) if single => event.event.text.clone(),
        Some(event) => format!("{cause}: {}", event.event.text),
        None => format!("{cause}: {}", head.line),
    })
}

/// Whether two rankings say the same to a person: who leads, how sure, and the first five.
#[must_use]
pub fn same(a: &Ranking, b: &Ranking) -> bool {
    let five = |r: &Ranking| r.causes.iter().take(5).map(|c| c.entity.clone()).collect::<Vec<_>>();
    a.unsure == b.unsure && five(a) == five(b)
}

#[cfg(test)]
mod tests {
    use tacit_wire::Num;
    use tacit_wire::message::{EventKind, Phase};

    use super::*;
    use crate::cause::EntityKind;
    use crate::fixtures::event;

    fn pair(client: &str, server: &str) -> Pair {
        let node = |vertex: &str| node_of(vertex).and_then(|n| n.parse().ok());
        Pair {
            client: client.into(),
            server: server.into(),
            client_node: node(client),
            server_node: node(server),
            infrastructure: false,
        }
    }

    #[test]
    fn candidates_are_what_is_called_and_who_calls() {
        let pairs = [
            pair("web-1/nginx", "api-1/api"),
            pair("api-1/api", "db-1/postgres"),
            pair("db-1/postgres", "nas-1/nfs"),
            pair("mail-1/smtp", "mx-1/smtp"),
        ];
        let neighbours = Neighbours::new(&pairs);
        let found = neighbours.candidates(&["api-1".into()]);
        assert_eq!(found, ["api-1", "api-1/api", "db-1/postgres", "nas-1/nfs", "web-1/nginx"]);
        let among = neighbours.among(&found.into_iter().collect());
        assert_eq!(among.len(), 3, "{among:?}");
    }

    #[test]
    fn the_title_is_the_causes_own_words() {
        let head = |entity: &str, unsure| CauseHead {
            entity: entity.into(),
            kind: EntityKind::Node,
            line: "disk 0.1 → 1".into(),
            margin: 0.5,
            unsure,
        };
        let mine = event(1, EventKind::Anomaly, Phase::Open, 0);
        let mut other = event(2, EventKind::Anomaly, Phase::Open, 0);
        other.event.head.node = "api-1".parse().unwrap();
        other.event.severity = Num(0.99);
        assert_eq!(title(&head("web-1", false), std::slice::from_ref(&mine)).as_deref(), Some("event 1"));
        let both = [mine, other];
        assert_eq!(title(&head("web-1", false), &both).as_deref(), Some("web-1: event 1"));
        assert_eq!(title(&head("db-1", false), &both).as_deref(), Some("db-1: disk 0.1 → 1"));
        assert_eq!(title(&head("db-1", true), &both), None);
    }

    #[test]
    fn an_empty_ranking_blames_nobody() {
        assert_eq!(head(&Ranking::default()), None);
        assert!(same(&Ranking::default(), &Ranking::default()));
    }
}
