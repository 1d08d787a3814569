//! What speaks against a cause, in lines that a person can check.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::evidence::{EdgeKind, MetricKind};

/// A line of evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What it tells of.
    pub what: What,
    /// What was looked at: a metric's name, an edge as `caller → callee`, a change in words.
    pub subject: String,
    /// Unit of `from` and `to`.
    pub unit: String,
    /// What is usual; a change has none.
    pub from: Option<f64>,
    /// The furthest that was seen.
    pub to: Option<f64>,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// Whom it speaks against.
    pub credited_to: String,
    /// How much, `ln(1 + units of what is usual)`; of a change, 0 to 1 by how recent it is.
    pub strength: f64,
}

/// What a line of evidence tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A metric of the candidate.
    Metric(MetricKind),
    /// An edge.
    Edge(EdgeKind),
    /// Errors in its log.
    LogErrors,
    /// Somebody changed it.
    Change,
}

impl What {
    /// In words, before the subject.
    fn words(self) -> &'static str {
        match self {
            Self::Metric(_) => "",
            Self::Edge(EdgeKind::RoundTrip) => "round trip ",
            Self::Edge(EdgeKind::Slowness) => "answers ",
            Self::Edge(EdgeKind::Retransmits) => "retransmits ",
            Self::Edge(EdgeKind::FailedConnects) => "failed connects ",
            Self::LogErrors => "errors in the log of ",
            Self::Change => "changed: ",
        }
    }
}

impl fmt::Display for Line {
    /// `round trip api → db 0.3 ms → 41 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.what.words(), self.subject)?;
        if let (Some(from), Some(to)) = (self.from, self.to) {
            write!(f, " {} → {}", Quantity(from, &self.unit), Quantity(to, &self.unit))?;
        }
        Ok(())
    }
}

/// A number as people write it.
struct Quantity<'a>(f64, &'a str);

impl fmt::Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match (self.1, self.0.abs()) {
            ("s", v) if v > 0.0 && v < 0.001 => (self.0 * 1e6, "µs"),
            ("s", v) if v > 0.0 && v < 1.0 => (self.0 * 1e3, "ms"),
            _ => (self.0, self.1),
        };
        let digits = match value.abs() {
            v if v >= 1e6 => return write!(f, "{value:.2e}{}{unit}", gap(unit)),
            v if !(0.0005..100.0).contains(&v) => 0,
            v if v >= 10.0 => 1,
            v if v >= 1.0 => 2,
            _ => 3,
        };
        let plain = format!("{value:.digits$}");
        let plain = if digits > 0 { plain.trim_end_matches('0').trim_end_matches('.') } else { &plain };
        write!(f, "{plain}{}{unit}", gap(unit))
    }
}

fn gap(unit: &str) -> &'static str {
    if unit.is_empty() || unit == "%" { "" } else { " " }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(what: What, subject: &str, unit: &str, from: f64, to: f64) -> String {
        Line {
            what,
            subject: subject.into(),
            unit: unit.into(),
            from: Some(from),
            to: Some(to),
            since_ms: 0,
            credited_to: "db".into(),
            strength: 1.0,
        }
        .to_string()
    }

    #[test]
    fn lines_read_as_people_write() {
        let found = line(What::Edge(EdgeKind::RoundTrip), "api → db", "s", 0.000_3, 0.041);
        assert_eq!(found, "round trip api → db 300 µs → 41 ms");
        let found = line(What::Metric(MetricKind::Cpu), "processor", "%", 12.34, 99.96);
        assert_eq!(found, "processor 12.3% → 100%");
        assert_eq!(line(What::LogErrors, "db", "", 0.0, 0.25), "errors in the log of db 0 → 0.25");
        assert_eq!(line(What::Metric(MetricKind::Other), "x", "By", 1.0, 1e100), "x 1 By → 1.00e100 By");
        let change = Line {
            what: What::Change,
            subject: "deploy 12".into(),
            unit: String::new(),
            from: None,
            to: None,
            since_ms: 5,
            credited_to: "db".into(),
            strength: 0.5,
        };
        assert_eq!(change.to_string(), "changed: deploy 12");
    }
}
