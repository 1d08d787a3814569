//! The nodes that do not exist, who talks to whom, and what each of them raises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tacit_collector::store::Incoming;
use tacit_wire::message::{Context, ContextKind, Direction, Event, EventKind, Evidence, FaultKind, Head, Phase, Stage};
use tacit_wire::semconv::{self, Metric};
use tacit_wire::{Attribute, BootId, EventId, Num, Seq, StreamId};

use crate::map::fleet::{Flow, Half, birth, minute};

/// Units of a node.
const UNITS: u32 = 2;
/// Respects in which a unit, or the node itself, can be in trouble.
const FAMILIES: u32 = 8;
/// Different events that one node can have.
pub const KINDS: u32 = FAMILIES * (UNITS + 1);
/// Edges of a node behind the switch, and elsewhere.
const EDGES: u32 = 10;
const EDGES_ELSEWHERE: u32 = 3;
/// Services behind the switch that a caller from elsewhere uses.
const EDGES_BEHIND: u32 = 2;
/// The stream of the events: by it they are told from others.
pub const STREAM: StreamId = StreamId([9; 8]);

/// What the anomalies of a family are, with the series of a unit and of a node that show it.
const TROUBLE: [(FaultKind, Metric, Metric); 7] = [
    (FaultKind::Network, semconv::LINK_FAILED, semconv::TCP_FAILED),
    (FaultKind::Service, semconv::LINK_ACTIVE, semconv::TCP_ESTABLISHED),
    (FaultKind::Cpu, semconv::CGROUP_CPU, semconv::CPU_BUSY),
    (FaultKind::Memory, semconv::CGROUP_MEMORY, semconv::MEMORY_UTILIZATION),
    (FaultKind::DiskIo, semconv::CGROUP_IO, semconv::DISK_UTILIZATION),
    (FaultKind::Processes, semconv::CGROUP_TASKS, semconv::PROCESS_COUNT),
    (FaultKind::Files, semconv::LINK_ACCEPT_QUEUE, semconv::FILES_OPEN),
];

/// A storm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Nodes behind the switch.
    pub nodes: u32,
    /// Nodes elsewhere.
    pub elsewhere: u32,
    /// Events of each node behind the switch.
    pub each: u32,
    /// In how much time they come.
    pub minute: Duration,
    /// Another storm for each.
    pub seed: u64,
}

/// One event that will be raised.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// When, from the beginning of the storm.
    pub at: Duration,
    /// By which node.
    pub node: String,
    /// It is the stranger's.
    pub strange: bool,
    /// Its number among all, which is its identity.
    number: u64,
    /// Its number in the node's stream.
    seq: u64,
    /// Of which unit; none for the node itself.
    unit: Option<u32>,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// A rule that needs no learning.
    Rule(&'static str),
    /// A model's anomaly: a place in [`TROUBLE`].
    Anomaly(usize),
}

impl Plan {
    /// Nodes elsewhere that call services behind the switch.
    fn callers(&self) -> u32 {
        self.elsewhere / 10
    }

    /// The stranger, whose disk fills, and who asks it for something: they have nothing to do with the callers.
    fn strangers(&self) -> [u32; 2] {
        let filled = self.nodes + self.elsewhere / 2;
        [filled, filled + 1]
    }

    /// The name of a node.
    pub fn name(&self, node: u32) -> String {
        if node < self.nodes { format!("hall-{node}") } else { format!("else-{}", node - self.nodes) }
    }

    /// Its address: those behind the switch are in networks of their own.
    fn address(&self, node: u32) -> String {
        let (net, n) = if node < self.nodes { (20, node) } else { (30, node - self.nodes) };
        format!("10.{net}.{}.{}", n / 250, n % 250 + 1)
    }

    /// Births of all nodes.
    ///
    /// # Errors
    /// Never: the names are good.
    pub fn births(&self, at_ms: i64) -> Result<Vec<Incoming>> {
        (0..self.nodes + self.elsewhere).map(|n| birth(&self.name(n), &self.address(n), at_ms)).collect()
    }

    /// Who talks to whom: client, its unit, server, its unit; a client node uses a service with one of its units only.
    pub fn edges(&self) -> BTreeSet<[u32; 4]> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut edges: BTreeMap<[u32; 3], u32> = BTreeMap::new();
        let mut talk = |client: [u32; 2], server: [u32; 2]| {
            if client[0] != server[0] {
                edges.entry([client[0], server[0], server[1]]).or_insert(client[1]);
            }
        };
        let (nodes, callers, all) = (self.nodes, self.callers(), self.nodes + self.elsewhere);
        for node in 0..nodes {
            for n in 0..EDGES {
                talk([node, n % UNITS], [random.u32(0..nodes), random.u32(0..UNITS)]);
            }
        }
        for node in nodes..all {
            let calls = node < nodes + callers;
            let (from, to) = if calls { (nodes, nodes + callers) } else { (nodes + callers, all) };
            for _ in 0..EDGES_ELSEWHERE {
                talk([node, 0], [random.u32(from..to), 0]);
            }
            let behind = if calls { EDGES_BEHIND } else { 0 };
            for _ in 0..behind {
                talk([node, 0], [random.u32(0..nodes), 0]);
            }
        }
        let [filled, client] = self.strangers();
        talk([client, 0], [filled, 0]);
        edges.into_iter().map(|([client, server, of], by)| [client, by, server, of]).collect()
    }

    /// A minute of all edges, told by both ends; the `number`th of each node.
    ///
    /// # Errors
    /// Never: the names are good.
    pub fn links(&self, number: u64, start_ms: i64) -> Result<Vec<Incoming>> {
        let mut halves: BTreeMap<u32, Vec<Half>> = BTreeMap::new();
        for [client, by, server, of] in self.edges() {
            let ports = [0, 1, 2, 3].map(|p| (32_768 + (client * 97 + server * 13 + of * 31 + p * 7) % 28_000) as u16);
            let port = 7000 + of as u16;
            for (node, unit, is_server, peer) in [(client, by, false, server), (server, of, true, client)] {
                let owner = unit_name(unit);
                let half = Half { owner, server: is_server, peer: self.address(peer), port, ports, flow: FLOW };
                halves.entry(node).or_default().push(half);
            }
        }
        halves.iter().map(|(node, halves)| minute(&self.name(*node), number, start_ms, halves)).collect()
    }

    /// All events, in the order in which they are raised.
    pub fn alarms(&self) -> Vec<Alarm> {
        let mut random = fastrand::Rng::with_seed(self.seed.wrapping_add(1));
        let minute_ms = u64::try_from(self.minute.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut all: Vec<(u64, u32, Option<u32>, What)> = Vec::new();
        for node in 0..self.nodes {
            let mut kinds: Vec<u32> = (0..KINDS).collect();
            random.shuffle(&mut kinds);
            for kind in kinds.into_iter().take(self.each as usize) {
                let (part, family) = (kind / FAMILIES, kind % FAMILIES);
                let unit = (part < UNITS).then_some(part);
                let rule = if unit.is_some() { "unit-failed" } else { "probe-failed" };
                let what = (family as usize).checked_sub(1).map_or(What::Rule(rule), What::Anomaly);
                all.push((random.u64(0..minute_ms), node, unit, what));
            }
        }
        // Whoever calls a service behind the switch from elsewhere gets no answer.
        for node in self.nodes..self.nodes + self.callers() {
            all.push((random.u64(minute_ms / 30..minute_ms), node, None, What::Rule("probe-failed")));
        }
        let ([filled, client], half) = (self.strangers(), minute_ms / 2);
        let later = |share: u64| half + minute_ms * share / 60_000;
        all.push((half, filled, None, What::Rule("disk-full")));
        all.push((later(1000), filled, Some(0), What::Anomaly(1)));
        all.push((later(3000), client, Some(0), What::Anomaly(1)));
        all.sort_unstable_by_key(|(at, node, unit, _)| (*at, *node, *unit));
        let mut seqs: BTreeMap<u32, u64> = BTreeMap::new();
        let alarm = |(number, (at, node, unit, what)): (u64, (u64, u32, Option<u32>, What))| {
            let seq = seqs.entry(node).or_default();
            *seq += 1;
            let strange = node == filled || node == client;
            Alarm { at: Duration::from_millis(at), node: self.name(node), strange, number, seq: *seq, unit, what }
        };
        (1..).zip(all).map(alarm).collect()
    }
}

const FLOW: Flow = Flow {
    connects: 40,
    failed: 0,
    sent: 100_000,
    received: 900_000,
    retransmits: 1,
    rtt_s: 0.0005,
    active: 4,
    lifetime_s: 0.5,
};

fn unit_name(unit: u32) -> String {
    format!("svc-{unit}.service")
}

impl Alarm {
    /// Its number among all.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The message of it, when it is raised at this time.
    ///
    /// # Errors
    /// Never: the name is good.
    pub fn event(&self, now_ms: i64) -> Result<Event> {
        let head = Head {
            node: self.node.parse().context("the node's name")?,
            boot: BootId([1; 16]),
            stream: STREAM,
            seq: Seq(self.seq),
            oldest: Seq(1),
            wall_ms: now_ms,
            mono_ms: 86_400_000 + u64::try_from(self.at.as_millis()).unwrap_or(0),
        };
        let unit = self.unit.map(unit_name);
        let who = unit.clone().unwrap_or_else(|| self.node.clone());
        let (kind, rule, fault, text, evidence) = match self.what {
            What::Rule(rule) => {
                let fault = if rule == "disk-full" { FaultKind::DiskFull } else { FaultKind::Service };
                (EventKind::Rule, Some(rule.to_owned()), fault, format!("{who}: {rule}"), Vec::new())
            }
            What::Anomaly(place) => {
                let (fault, of_unit, of_node) = TROUBLE[place % TROUBLE.len()];
                let series = if unit.is_some() { of_unit } else { of_node };
                let text = format!("{who}: {} is unusual", series.name);
                (EventKind::Anomaly, None, fault, text, vec![evidence(&series, unit.as_deref())])
            }
        };
        let is_rule = kind == EventKind::Rule;
        let context = unit.filter(|_| is_rule).map(|unit| Context {
            kind: ContextKind::UnitFailed,
            at_ms: now_ms,
            text: text.clone(),
            unit: Some(unit),
        });
        Ok(Event {
            event: EventId(self.number.to_be_bytes()),
            kind,
            phase: Phase::Open,
            onset_ms: now_ms,
            onset_mono_ms: head.mono_ms,
            head,
            end_ms: None,
            severity: Num(0.7),
            score: Num(if is_rule { 0.0 } else { 2.0 }),
            rule,
            text,
            evidence,
            processes: Vec::new(),
            context: context.into_iter().collect(),
            recording: None,
            model: None,
            stage: (!is_rule).then_some(Stage::Full),
            persisting: false,
            injected: false,
            fault: Some(fault),
            confidence: Num(1.0),
            p_value: Num(if is_rule { 0.0 } else { 1e-6 }),
        })
    }
}

fn evidence(series: &Metric, unit: Option<&str>) -> Evidence {
    let key = if series.attributes.contains(&"service.name") { "service.name" } else { "cgroup.name" };
    Evidence {
        name: series.name.to_owned(),
        attributes: unit.map(|unit| Attribute::new(key, unit)).into_iter().collect(),
        unit: series.unit.to_owned(),
        share: Num(1.0),
        observed: Num(100.0),
        low: Num(0.0),
        high: Num(1.0),
        direction: Direction::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { nodes: 60, elsewhere: 24, each: 20, minute: Duration::from_secs(10), seed: 7 }
    }

    #[test]
    fn a_storm_has_as_many_events_as_asked_for_and_three_of_a_stranger() {
        let alarms = plan().alarms();
        assert_eq!(alarms.len(), 60 * 20 + 2 + 3);
        assert!(alarms.is_sorted_by_key(|a| a.at) && alarms.iter().all(|a| a.at < plan().minute));
        let strange: Vec<&Alarm> = alarms.iter().filter(|a| a.strange).collect();
        assert_eq!(strange.len(), 3);
        assert_eq!(strange[0].what, What::Rule("disk-full"));
        assert!(strange.iter().all(|a| a.node.starts_with("else-")));
        assert_eq!(plan().alarms(), alarms, "the same storm for the same number");
    }

    #[test]
    fn every_event_can_be_sent_and_none_is_another_again() {
        use tacit_wire::codec::{Encoding, decode, encode};
        let mut seen = BTreeSet::new();
        for alarm in plan().alarms() {
            let event = alarm.event(1_700_000_000_000).unwrap();
            let bytes = encode(&event, Encoding::Cbor).unwrap();
            assert_eq!(decode::<Event>(&bytes).unwrap(), event);
            assert!(seen.insert((alarm.node.clone(), alarm.seq)));
        }
    }

    #[test]
    fn strangers_and_callers_have_nobody_in_common() {
        let plan = plan();
        let edges = plan.edges();
        let behind = |n: u32| n < plan.nodes;
        let strange = plan.strangers();
        assert!(edges.iter().any(|[c, _, s, _]| !behind(*c) && behind(*s)), "some elsewhere call services behind it");
        assert!(edges.iter().all(|[c, _, s, _]| !behind(*c) || behind(*s)));
        let near: BTreeSet<u32> = edges
            .iter()
            .filter(|[c, _, s, _]| strange.contains(c) || strange.contains(s))
            .flat_map(|[c, _, s, _]| [*c, *s])
            .collect();
        assert!(near.iter().all(|n| *n >= plan.nodes + plan.callers()), "{near:?}");
        // Both ends tell of every edge.
        let told = plan.links(1, 0).unwrap();
        assert!(told.len() <= (plan.nodes + plan.elsewhere) as usize && !told.is_empty());
    }
}
