//! What a ranking sees: who may be the cause, who calls whom, what moved, what was changed, and what the symptom is.
//!
//! All of it can be written as JSON and read again, so that a ranking can be repeated later with what was known then.

use serde::{Deserialize, Serialize};

/// Largest magnitude of a value. Squares and sums of such values are still finite, so that no stranger's number makes a NaN.
const VALUE_MAX: f64 = 1e100;

/// What is known of an incident.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who may be the cause. Two of one name are one.
    pub entities: Vec<Entity>,
    /// Who calls whom. Edges with an end that is no entity are left out.
    #[serde(default)]
    pub edges: Vec<Edge>,
    /// What was changed.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// What people complain of, where that is known.
    #[serde(default)]
    pub symptom: Option<Symptom>,
    /// Whether it is known that nothing was wrong in the reference time. Then mean and standard deviation tell more than median
    /// and interquartile range, which a reference with faults in it needs.
    #[serde(default)]
    pub clean_reference: bool,
    /// When the incident began, Unix milliseconds.
    pub onset_ms: i64,
}

/// Something that can be the cause.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Its name, which edges, changes and the symptom use.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub kind: EntityKind,
    /// The entity that it runs on, by name.
    #[serde(default)]
    pub host: Option<String>,
    /// What is measured of it.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// Share of its log lines that are errors, 0 to 1.
    #[serde(default)]
    pub log_errors: Option<Series>,
}

/// What an entity is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A service.
    #[default]
    Service,
    /// A machine.
    Node,
    /// A link that several edges share, such as a switch.
    Link,
}

/// A measured series of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, for people.
    pub name: String,
    /// What it tells of.
    pub kind: MetricKind,
    /// Its unit, for people.
    #[serde(default)]
    pub unit: String,
    /// Its values.
    pub series: Series,
}

/// What a metric tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// How long the entity takes to answer.
    Latency,
    /// Errors, or their absence: failure rates, availability.
    Errors,
    /// How much is asked of it.
    Traffic,
    /// Processor.
    Cpu,
    /// Memory.
    Memory,
    /// Disks, file systems and system calls on them.
    Disk,
    /// Bytes and packets.
    Network,
    /// Anything else.
    Other,
}

impl MetricKind {
    /// Whether it is what users feel, and what therefore spreads from callee to caller. The others stay where they are.
    #[must_use]
    pub fn is_felt(self) -> bool {
        matches!(self, Self::Latency | Self::Errors | Self::Traffic)
    }

    /// Whether a metric of this kind counts under a symptom: of what users feel only what they complain of.
    #[must_use]
    pub fn counts_for(self, symptom: Option<Self>) -> bool {
        match symptom {
            Some(symptom) if symptom.is_felt() => self == symptom || !self.is_felt(),
            _ => true,
        }
    }
}

/// Who calls whom.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Who connects.
    pub caller: String,
    /// Who is called.
    pub callee: String,
    /// The entity that it crosses, by name: a link that others share.
    #[serde(default)]
    pub link: Option<String>,
    /// What is measured of it.
    #[serde(default)]
    pub metrics: Vec<EdgeMetric>,
}

/// A measured series of an edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeMetric {
    /// What it tells of, and thereby its unit.
    pub kind: EdgeKind,
    /// Its values.
    pub series: Series,
}

/// What a series of an edge tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// Time on the way, in seconds: the round trip, or what the caller waits beyond what the callee takes.
    RoundTrip,
    /// Time that the callee takes, in seconds.
    Slowness,
    /// Share of segments that were sent again, 0 to 1.
    Retransmits,
    /// Share of connects that failed, 0 to 1.
    FailedConnects,
}

/// Values before the incident and during it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Unchecked")]
pub struct Series {
    reference: Vec<f64>,
    window: Vec<Point>,
}

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
}

#[derive(Deserialize)]
struct Unchecked {
    reference: Vec<f64>,
    window: Vec<Point>,
}

impl From<Unchecked> for Series {
    fn from(raw: Unchecked) -> Self {
        Self::new(raw.reference, raw.window)
    }
}

impl Series {
    /// A series of what is there: values that are no number are missing ones, and enormous ones are brought down to what can be
    /// reckoned with.
    #[must_use]
    pub fn new(reference: impl IntoIterator<Item = f64>, window: impl IntoIterator<Item = Point>) -> Self {
        let bound = |value: f64| value.clamp(-VALUE_MAX, VALUE_MAX);
        let reference = reference.into_iter().filter(|v| !v.is_nan()).map(bound).collect();
        let there = window.into_iter().filter(|p| !p.value.is_nan());
        Self { reference, window: there.map(|p| Point { value: bound(p.value), ..p }).collect() }
    }

    /// Values before the incident, in any order.
    #[must_use]
    pub fn reference(&self) -> &[f64] {
        &self.reference
    }

    /// Values of the incident.
    #[must_use]
    pub fn window(&self) -> &[Point] {
        &self.window
    }
}

/// Something that somebody did: a deploy, a package, a configuration, a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// To whom, by name.
    pub entity: String,
    /// What, in words.
    pub what: String,
}

/// What people complain of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symptom {
    /// Of whom, by name.
    pub entity: String,
    /// What kind of metric shows it.
    pub kind: MetricKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_missing_and_what_is_enormous_is_bounded() {
        let window = [f64::NAN, f64::INFINITY, 2.0].map(|value| Point { at_ms: 7, value });
        let series = Series::new([1.0, f64::NAN, -1e308, f64::NEG_INFINITY], window);
        assert_eq!(series.reference(), [1.0, -1e100, -1e100]);
        assert_eq!(series.window(), [Point { at_ms: 7, value: 1e100 }, Point { at_ms: 7, value: 2.0 }]);
    }

    #[test]
    fn of_what_is_felt_only_the_symptom_counts() {
        use MetricKind::{Cpu, Errors, Latency, Traffic};
        assert!(Latency.counts_for(Some(Latency)) && Cpu.counts_for(Some(Latency)));
        assert!(!Errors.counts_for(Some(Latency)) && !Traffic.counts_for(Some(Errors)));
        assert!(Errors.counts_for(None) && Errors.counts_for(Some(Cpu)));
    }

    #[test]
    fn evidence_comes_back_from_json_as_it_was() {
        let series = Series::new([1.0, f64::NAN, f64::INFINITY], [Point { at_ms: 60_000, value: 5.5 }]);
        let metric =
            Metric { name: "latency p95".into(), kind: MetricKind::Latency, unit: "s".into(), series: series.clone() };
        let evidence = Evidence {
            entities: vec![Entity {
                name: "db".into(),
                host: Some("n1".into()),
                metrics: vec![metric],
                log_errors: Some(series.clone()),
                ..Entity::default()
            }],
            edges: vec![Edge {
                caller: "api".into(),
                callee: "db".into(),
                link: None,
                metrics: vec![EdgeMetric { kind: EdgeKind::RoundTrip, series }],
            }],
            changes: vec![Change { at_ms: 1, entity: "db".into(), what: "deploy 12".into() }],
            symptom: Some(Symptom { entity: "api".into(), kind: MetricKind::Errors }),
            clean_reference: true,
            onset_ms: 60_000,
        };
        let text = serde_json::to_string(&evidence).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
        // A stored text from elsewhere goes through the same door.
        let text = text.replace("5.5", "1e300");
        let read: Evidence = serde_json::from_str(&text).unwrap();
        assert_eq!(read.entities[0].metrics[0].series.window()[0].value, 1e100);
    }
}
