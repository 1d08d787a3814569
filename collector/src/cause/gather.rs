//! Evidence of a live incident: from its events, the map, and what was changed.
//!
//! Minute values come too late and only of what moved, so metrics are taken from the events themselves: each names the series that
//! matter, with the band that is usual and, for the most telling ones, the flight recording before and after the onset. Edges come
//! from the map by the minute, and what an event says of one edge at once. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tacit_wire::message::{Event, EventKind, Evidence as Said, FaultKind};
use tacit_wire::semconv::{self, Family};
use tacit_wire::words;

use super::constants::CHANGE_SLACK_MS;
use super::evidence::{
    Change, Edge, EdgeKind, EdgeMetric, Entity, EntityKind, Evidence, Metric, MetricKind, Point, Series, Symptom,
};
use crate::incident::about::{About, node_of, service_of};
use crate::interop::changes::{Wide, wide};
use crate::map::book::RecentEdge;
use crate::store::{EventRecord, EventSource, Figures};

/// Candidates at most; nearest first.
pub const CANDIDATES_MAX: usize = 1000;
/// Series of one entity that are kept; events repeat themselves.
const METRICS_MAX: usize = 64;
/// Values that stand for a band that is usual.
const BAND_VALUES: usize = 9;
/// Bytes of a segment, and segments of a connection that carries nothing, to make a share of segments sent again.
const SEGMENT_BYTES: f64 = 1200.0;
const SEGMENTS_OF_CONNECTION: f64 = 6.0;
/// Units of what is usual that a broken rule stands for: as far as anything counts.
const CERTAIN: f64 = 1000.0;
/// Changes of a site or of the whole fleet that are kept, the last before the incident, and candidates that each counts for.
const WIDE_MAX: usize = 3;
const WIDE_FOR: usize = 200;

/// What is known of an incident when it is ranked.
#[derive(Debug, Default)]
pub struct Known<'a> {
    /// Its events.
    pub events: &'a [EventRecord],
    /// Alarms of other incidents on candidates: they do not say what is felt here, but what may be behind it.
    pub beside: &'a [EventRecord],
    /// Context events of the time before, of any node that is a candidate, of sites, and of the whole fleet.
    pub changes: &'a [EventRecord],
    /// Edges among the candidates.
    pub edges: &'a [RecentEdge],
    /// Pairs among the candidates that talk, whether minutes of them are known or not: client, server.
    pub pairs: &'a [(String, String)],
    /// Candidates beside what events name.
    pub near: &'a [String],
    /// Nodes with their sites.
    pub sites: &'a [(&'a str, &'a str)],
    /// When it began, Unix milliseconds.
    pub onset_ms: i64,
}

/// A complaint: how strong, since when, and of what.
type Felt = (f32, i64, Symptom);

/// Everything that a ranking sees of an incident.
#[must_use]
pub fn gather(known: &Known<'_>) -> Evidence {
    let mut entities = Entities::default();
    let mut edges: BTreeMap<(String, String), Vec<EdgeMetric>> = BTreeMap::new();
    let mut felt: Vec<Felt> = Vec::new();
    for record in known.events.iter().filter(|e| e.event.kind != EventKind::Context) {
        add_event(record, &mut entities, &mut edges, &mut felt);
    }
    for name in known.near {
        entities.get(name);
    }
    for record in known.beside {
        add_event(record, &mut entities, &mut edges, &mut Vec::new());
    }
    for (client, server) in known.pairs {
        edges.entry((client.clone(), server.clone())).or_default();
        // Whoever calls a service depends on its machine; what is wrong there need not show in the service itself.
        let host = node_of(server).filter(|host| *host != server && node_of(client) != Some(host));
        if let Some(host) = host {
            edges.entry((client.clone(), host.to_owned())).or_default();
        }
    }
    for edge in known.edges {
        let metrics = edges.entry((edge.client.clone(), edge.server.clone())).or_default();
        metrics.extend(of_minutes(&edge.minutes, known.onset_ms));
    }
    let told = known.changes.iter().chain(known.events).filter(|e| e.event.kind == EventKind::Context);
    let (everywhere, here): (Vec<&EventRecord>, Vec<&EventRecord>) = told.partition(|e| wide(e).is_some());
    let mut changes: Vec<Change> = here.into_iter().filter_map(change).collect();
    // The strongest complaint; of equals the first.
    let stronger =
        |a: &Felt, b: &Felt| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)).then_with(|| b.2.entity.cmp(&a.2.entity));
    let symptom = felt.into_iter().max_by(stronger).map(|(_, _, symptom)| symptom);
    if let Some(symptom) = &symptom {
        add_calls_of_node(&symptom.entity, known.pairs, &mut edges);
    }
    let entities = entities.finish();
    changes.extend(wide_changes(everywhere, &entities, known));
    changes.sort_by(|a, b| (a.at_ms, &a.entity, &a.what).cmp(&(b.at_ms, &b.entity, &b.what)));
    changes.dedup();
    let names: BTreeSet<&str> = entities.iter().map(|e| e.name.as_str()).collect();
    let edge =
        |((caller, callee), metrics): ((String, String), Vec<EdgeMetric>)| Edge { caller, callee, link: None, metrics };
    let is_known = |e: &Edge| names.contains(e.caller.as_str()) && names.contains(e.callee.as_str());
    let edges = edges.into_iter().map(edge).filter(is_known).collect();
    drop(names);
    Evidence { entities, edges, changes, symptom, clean_reference: false, onset_ms: known.onset_ms }
}

/// Entities by name; the first that are named stay, when there are too many.
#[derive(Debug, Default)]
struct Entities {
    order: Vec<String>,
    by_name: BTreeMap<String, Entity>,
}

impl Entities {
    fn get(&mut self, name: &str) -> Option<&mut Entity> {
        if !self.by_name.contains_key(name) {
            if self.by_name.len() >= CANDIDATES_MAX {
                return None;
            }
            let host = node_of(name).filter(|node| *node != name);
            let kind = if host.is_none() && node_of(name).is_some() { EntityKind::Node } else { EntityKind::Service };
            let entity = Entity { name: name.to_owned(), kind, host: host.map(str::to_owned), ..Entity::default() };
            self.by_name.insert(name.to_owned(), entity);
            self.order.push(name.to_owned());
            if let Some(host) = host {
                self.get(host);
            }
        }
        self.by_name.get_mut(name)
    }

    fn add(&mut self, name: &str, metric: Metric) {
        if let Some(entity) = self.get(name).filter(|e| e.metrics.len() < METRICS_MAX) {
            entity.metrics.push(metric);
        }
    }

    fn finish(mut self) -> Vec<Entity> {
        self.order.iter().filter_map(|name| self.by_name.remove(name)).collect()
    }
}

fn add_event(
    record: &EventRecord,
    entities: &mut Entities,
    edges: &mut BTreeMap<(String, String), Vec<EdgeMetric>>,
    felt: &mut Vec<Felt>,
) {
    let about = About::of(record);
    let event = &record.event;
    let severity = event.severity.get().unwrap_or(0.0);
    // How much is asked is no complaint.
    let mut complain = |entity: &str, kind: MetricKind, weight: f32| {
        if matches!(kind, MetricKind::Latency | MetricKind::Errors) {
            felt.push((weight, record.onset_ms, Symptom { entity: entity.to_owned(), kind }));
        }
    };
    entities.get(&about.entity);
    if let Some(outside) = &record.outside
        && let Some(client) = &outside.client
    {
        entities.get(client);
        let kind = if outside.family == "failing" { EdgeKind::FailedConnects } else { EdgeKind::Slowness };
        let observed = f64::from(event.evidence.first().and_then(|e| e.observed.get()).unwrap_or(1.0));
        let usual = f64::from(event.evidence.first().and_then(|e| e.high.get()).unwrap_or(0.0));
        let series = Series::new([usual; 5], [Point { at_ms: record.onset_ms, value: observed }]);
        edges.entry((client.clone(), outside.entity.clone())).or_default().push(EdgeMetric { kind, series });
        let what = if kind == EdgeKind::FailedConnects { MetricKind::Errors } else { MetricKind::Latency };
        complain(client, what, severity);
        return;
    }
    if event.evidence.is_empty() || event.kind == EventKind::Rule {
        let kind = certain_kind(record, &about);
        complain(&about.entity, kind, severity);
        let series = Series::new([0.0; 5], [Point { at_ms: record.onset_ms, value: CERTAIN }]);
        entities.add(&about.entity, Metric { name: event.text.clone(), kind, unit: String::new(), series });
    }
    for said in &event.evidence {
        let (entity, kind) = place(event, said);
        if said.name == semconv::LOG_ERRORS.name {
            if let Some(entity) = entities.get(&entity) {
                entity.log_errors = Some(series_of(record, said));
            }
            continue;
        }
        let share = said.share.get().unwrap_or(0.0).clamp(0.0, 1.0);
        if is_client(said) {
            complain(&entity, kind, severity * share);
        }
        let name = words::name(&said.name, &said.attributes);
        let name = if entity.contains('/') { name } else { format!("{name} on {entity}") };
        let unit = if said.unit.starts_with('{') || said.unit == "1" { String::new() } else { said.unit.clone() };
        entities.add(&entity, Metric { name, kind, unit, series: series_of(record, said) });
    }
}

/// What a node complains of (a probe, an alert about it) its services feel: it calls whom they call.
fn add_calls_of_node(node: &str, pairs: &[(String, String)], edges: &mut BTreeMap<(String, String), Vec<EdgeMetric>>) {
    let leaves = |(client, server): &&(String, String)| node_of(client) == Some(node) && node_of(server) != Some(node);
    for (_, server) in pairs.iter().filter(leaves) {
        for callee in [Some(server.as_str()), node_of(server)].into_iter().flatten() {
            edges.entry((node.to_owned(), callee.to_owned())).or_default();
        }
    }
}

/// What a rule, an alert or an event without series stands for.
fn certain_kind(record: &EventRecord, about: &About) -> MetricKind {
    if record.source() == EventSource::Alert {
        let text = format!("{} {}", about.family, record.event.text).to_lowercase();
        let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
        return match () {
            () if has(&["latency", "slow", "duration", "response time", "timeout"]) => MetricKind::Latency,
            () if has(&["error", "5xx", "fail", "unavailable", "burn"]) => MetricKind::Errors,
            () if has(&["cpu", "load"]) => MetricKind::Cpu,
            () if has(&["memory", "oom", "swap"]) => MetricKind::Memory,
            () if has(&["disk", "filesystem", "inode"]) => MetricKind::Disk,
            () if has(&["network", "packet"]) => MetricKind::Network,
            () => MetricKind::Other,
        };
    }
    match record.event.fault {
        Some(FaultKind::Cpu | FaultKind::Processes) => MetricKind::Cpu,
        Some(FaultKind::Memory) => MetricKind::Memory,
        Some(FaultKind::DiskIo | FaultKind::DiskFull | FaultKind::Files) => MetricKind::Disk,
        Some(FaultKind::Network) => MetricKind::Network,
        // A probe that fails is felt by whoever asks; a unit that failed is why.
        _ if record.event.rule.as_deref() == Some("probe-failed") => MetricKind::Errors,
        _ => MetricKind::Other,
    }
}

/// Whether a series tells of calls that a service makes, rather than of what it does itself.
fn is_client(said: &Said) -> bool {
    said.attributes.iter().any(|a| a.key == "tacit.link.role" && a.value == "client") || said.name.starts_with("probe.")
}

/// Whom a series is about, and what it tells of.
fn place(event: &Event, said: &Said) -> (String, MetricKind) {
    let node = event.head.node.as_str();
    let entity = service_of(said).map_or_else(|| node.to_owned(), |service| format!("{node}/{service}"));
    let link = [
        (semconv::LINK_FAILED.name, MetricKind::Errors),
        (semconv::LINK_ACTIVE.name, MetricKind::Latency),
        (semconv::LINK_ACCEPT_QUEUE.name, MetricKind::Latency),
        (semconv::LINK_CONNECTS.name, MetricKind::Traffic),
        (semconv::LINK_IO.name, MetricKind::Traffic),
        (semconv::PROBE_DURATION.name, MetricKind::Latency),
        (semconv::PROBE_UP.name, MetricKind::Errors),
    ];
    let resource = said.attributes.iter().find(|a| a.key.ends_with("resource")).map(|a| a.value.as_str());
    let family = semconv::ALL.iter().find(|m| m.name == said.name).map(|m| m.family);
    let of_link = link.into_iter().find(|(name, _)| *name == said.name).map(|(_, kind)| kind);
    let kind = of_link.unwrap_or_else(|| match (family, resource) {
        (Some(Family::Cpu | Family::Load | Family::Processes), _)
        | (Some(Family::Pressure | Family::Cgroup), Some("cpu")) => MetricKind::Cpu,
        (Some(Family::Memory | Family::Vm), _) | (Some(Family::Pressure | Family::Cgroup), Some("memory")) => {
            MetricKind::Memory
        }
        (Some(Family::Disk | Family::FileSystem | Family::Files), _)
        | (Some(Family::Pressure | Family::Cgroup), Some("io")) => MetricKind::Disk,
        (Some(Family::Network | Family::Protocol | Family::Sockets | Family::Link), _) => MetricKind::Network,
        (Some(Family::Cgroup), _) if said.name.contains(".cpu.") => MetricKind::Cpu,
        (Some(Family::Cgroup), _) if said.name.contains(".memory.") => MetricKind::Memory,
        (Some(Family::Cgroup), _) if said.name.contains(".disk.") => MetricKind::Disk,
        _ => MetricKind::Other,
    });
    (entity, kind)
}

/// A series as the event shows it: its flight recording, else its band and what was seen.
fn series_of(record: &EventRecord, said: &Said) -> Series {
    let event = &record.event;
    let here = |at_ms: i64| at_ms.saturating_sub(event.onset_ms).saturating_add(record.onset_ms);
    let recorded = event.recording.as_ref().and_then(|recording| {
        let row = recording.rows.iter().find(|r| r.name == said.name && r.attributes == said.attributes)?;
        let at = |n: usize| recording.start_ms.saturating_add(n as i64 * i64::from(recording.step_ms));
        let values = row.values.iter().enumerate().filter_map(|(n, v)| Some((at(n), f64::from(v.get()?))));
        let (before, after): (Vec<_>, Vec<_>) = values.partition(|(at, _)| *at < event.onset_ms);
        let enough = before.len() >= BAND_VALUES && !after.is_empty();
        enough.then(|| {
            let window = after.into_iter().map(|(at, value)| Point { at_ms: here(at), value });
            Series::new(before.into_iter().map(|(_, value)| value), window)
        })
    });
    recorded.unwrap_or_else(|| {
        let observed = said.observed.get().map(f64::from);
        let window = observed.map(|value| Point { at_ms: record.onset_ms, value });
        Series::new(band(said), window)
    })
}

/// Values whose median and quartiles are those of the band that is usual.
fn band(said: &Said) -> Vec<f64> {
    let (low, high) = (said.low.get().map(f64::from), said.high.get().map(f64::from));
    let (low, high) = match (low, high) {
        (Some(low), Some(high)) => (low, high),
        (None, Some(high)) => (0.0_f64.min(high), high),
        (Some(low), None) => (low, low),
        (None, None) => return Vec::new(),
    };
    let step = (high - low) / (BAND_VALUES - 1) as f64;
    (0..BAND_VALUES).map(|n| low + step * n as f64).collect()
}

/// How a figure is read.
type Reading = fn(&Figures) -> Option<f64>;

/// What an edge did before the incident, and since.
fn of_minutes(minutes: &[(i64, Figures)], onset_ms: i64) -> Vec<EdgeMetric> {
    let kinds: [(EdgeKind, Reading); 4] = [
        (EdgeKind::RoundTrip, |f| number(f.rtt_p50)),
        (EdgeKind::Slowness, slowness),
        (EdgeKind::Retransmits, |f| {
            let segments =
                f.sent.saturating_add(f.received) as f64 / SEGMENT_BYTES + f.connects as f64 * SEGMENTS_OF_CONNECTION;
            (segments > 0.0).then(|| (f.retransmits as f64 / segments).min(1.0))
        }),
        (EdgeKind::FailedConnects, |f| {
            let all = f.connects.saturating_add(f.failed);
            (all > 0).then(|| f.failed as f64 / all as f64)
        }),
    ];
    // The minute of the onset is part of the window.
    let begun = |at: i64| at.saturating_add(60_000) > onset_ms;
    let metric = |(kind, of): (EdgeKind, Reading)| {
        let reference = minutes.iter().filter(|(at, _)| !begun(*at)).filter_map(|(_, f)| of(f));
        let window = minutes.iter().filter(|(at, _)| begun(*at));
        let window = window.filter_map(|(at, f)| Some(Point { at_ms: (*at).max(onset_ms), value: of(f)? }));
        EdgeMetric { kind, series: Series::new(reference, window) }
    };
    kinds.into_iter().map(metric).filter(|m| !m.series.window().is_empty()).collect()
}

fn number(value: f32) -> Option<f64> {
    value.is_finite().then(|| f64::from(value))
}

/// How long a connection is served: how long it lived, or by Little's law how many are open for each that comes in a second.
fn slowness(f: &Figures) -> Option<f64> {
    let by_little = || (f.connects > 0).then(|| f64::from(f.active) * 60.0 / f.connects as f64);
    number(f.lifetime).or_else(by_little)
}

/// A change that a context event tells of.
fn change(record: &EventRecord) -> Option<Change> {
    use tacit_wire::message::ContextKind as Kind;
    let event = &record.event;
    let about = About::of(record);
    let is_change = match record.source() {
        EventSource::Change => true,
        EventSource::Node => event.context.first().is_none_or(|c| {
            matches!(c.kind, Kind::Boot | Kind::UnitRestarted | Kind::Change | Kind::ClockJump | Kind::Maintenance)
        }),
        _ => false,
    };
    is_change.then(|| Change { at_ms: record.onset_ms, entity: about.entity, what: event.text.clone() })
}

/// Changes that were made to a site or to everything: each is one of every candidate there of which something was measured. What
/// did not move is innocent of them as of any other.
fn wide_changes(mut told: Vec<&EventRecord>, entities: &[Entity], known: &Known<'_>) -> Vec<Change> {
    told.retain(|e| e.onset_ms <= known.onset_ms.saturating_add(CHANGE_SLACK_MS));
    told.sort_by_key(|e| (Reverse(e.onset_ms), e.key()));
    told.dedup_by_key(|e| e.key());
    told.truncate(WIDE_MAX);
    let sites: BTreeMap<&str, &str> = known.sites.iter().copied().collect();
    let site_of = |name: &str| node_of(name).and_then(|node| sites.get(node)).copied();
    let moved: Vec<&Entity> = entities.iter().filter(|e| !e.metrics.is_empty()).collect();
    let of = |record: &&EventRecord| -> Vec<Change> {
        let (words, site) = match wide(record) {
            Some(Wide::Fleet) => ("(whole fleet)".to_owned(), None),
            Some(Wide::Site(site)) => (format!("(site {site})"), Some(site)),
            None => return Vec::new(),
        };
        let is_there = |e: &&&Entity| site.is_none() || site_of(e.name.as_str()) == site;
        let what = format!("{words} {}", record.event.text);
        let change = |e: &&Entity| Change { at_ms: record.onset_ms, entity: e.name.clone(), what: what.clone() };
        moved.iter().filter(is_there).take(WIDE_FOR).map(change).collect()
    };
    told.iter().flat_map(of).collect()
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
