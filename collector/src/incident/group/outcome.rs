//! What the grouping decided, and why: lines for the audit trail.

use std::fmt;

use super::event::{EventNo, GroupNo};
use super::flap::Steady;
use super::gate::Gate;

/// What binds an event to a group, relation by relation; each is already weighted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// The group.
    pub group: GroupNo,
    /// The same unit or node.
    pub unit: f64,
    /// The same host.
    pub host: f64,
    /// Direct edges.
    pub edge: f64,
    /// Two hops.
    pub two_hops: f64,
    /// The same rack, subnet or tag.
    pub tag: f64,
    /// The same moment.
    pub simultaneous: f64,
}

impl Weights {
    /// Nothing binds yet.
    #[must_use]
    pub fn none(group: GroupNo) -> Self {
        Self { group, unit: 0.0, host: 0.0, edge: 0.0, two_hops: 0.0, tag: 0.0, simultaneous: 0.0 }
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.unit + self.host + self.edge + self.two_hops + self.tag + self.simultaneous
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.total())?;
        let parts = [
            ("same unit", self.unit),
            ("same host", self.host),
            ("direct edge", self.edge),
            ("two hops", self.two_hops),
            ("same tag", self.tag),
            ("same moment", self.simultaneous),
        ];
        let mut before = ": ";
        for (name, weight) in parts.into_iter().filter(|(_, w)| *w >= 0.005) {
            write!(f, "{before}{name} {weight:.2}")?;
            before = ", ";
        }
        Ok(())
    }
}

/// How an event came to its group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// Nothing binds it enough; the nearest group, if any.
    First {
        /// What bound it most.
        nearest: Option<Weights>,
    },
    /// It is bound to the group's events.
    Joined(Weights),
    /// The same thing began on many hosts at once.
    Shared {
        /// How many.
        hosts: usize,
    },
    /// The group that it is bound to takes no more events.
    Child {
        /// That group.
        of: GroupNo,
        /// What binds it.
        weights: Weights,
    },
    /// It is an event that is there already.
    Repeats {
        /// Which one.
        event: EventNo,
    },
    /// It is a turn of an event that comes and goes.
    Unstable {
        /// Which one.
        event: EventNo,
        /// Transitions within the time of flapping.
        transitions: usize,
    },
}

/// Where an event went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// The event.
    pub event: EventNo,
    /// Its group. One that repeats an old event may be in a group that is over.
    pub group: GroupNo,
    /// Why.
    pub how: How,
    /// How probable it was for its source; 1 when that was not asked.
    pub p: f64,
}

/// Why a group did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It had no symptom, and too little else.
    NoSymptom {
        /// Improbable events that it had.
        improbable: usize,
    },
    /// Too many events waited in groups that did not open.
    Crowded,
}

/// Something that was decided.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// An event has its group.
    Placed(Placed),
    /// A group went into another.
    Merged {
        /// What is no more.
        from: GroupNo,
        /// What it went into.
        into: GroupNo,
        /// Whether it had opened.
        was_open: bool,
    },
    /// A group is an incident now.
    Opened {
        /// Which one.
        group: GroupNo,
        /// The group that it goes on with, when that was full.
        parent: Option<GroupNo>,
        /// Why.
        gate: Gate,
        /// The events it has so far, in the order in which they came.
        events: Vec<EventNo>,
    },
    /// A group never opened: its events go into the digest.
    Digest {
        /// Which one.
        group: GroupNo,
        /// Its events.
        events: Vec<EventNo>,
        /// Why it did not open.
        why: Why,
    },
    /// An event that came and went has been quiet.
    Steady(Steady),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed(placed) => placed.fmt(f),
            Self::Merged { from, into, .. } => write!(f, "group {from} goes into group {into}"),
            Self::Opened { group, gate, parent, .. } => {
                write!(f, "group {group} opens: {gate}")?;
                parent.map_or(Ok(()), |p| write!(f, "; it goes on with group {p}"))
            }
            Self::Digest { group, events, why } => {
                write!(
                    f,
                    "group {group} with {} event{} goes into the digest: {why}",
                    events.len(),
                    plural(events.len())
                )
            }
            Self::Steady(s) => write!(f, "event {} is stable again", s.event),
        }
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, group, p, .. } = self;
        match &self.how {
            How::First { nearest } => {
                write!(f, "event {event} (p {p:.1e}) begins group {group}: ")?;
                match nearest {
                    None => write!(f, "nothing is related"),
                    Some(w) => write!(f, "group {} is nearest with {w}", w.group),
                }
            }
            How::Joined(weights) => write!(f, "event {event} (p {p:.1e}) joins group {group} with {weights}"),
            How::Shared { hosts } => {
                write!(f, "event {event} (p {p:.1e}) is in group {group}: the same began on {hosts} hosts at once")
            }
            How::Child { of, weights } => {
                write!(f, "event {event} (p {p:.1e}) begins group {group}: group {of} ({weights}) takes no more")
            }
            How::Repeats { event: known } => write!(f, "event {event} is event {known} of group {group} again"),
            How::Unstable { event: known, transitions } => write!(
                f,
                "event {event} is event {known} of group {group}, which is unstable ({transitions} transitions)"
            ),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certain { event } => write!(f, "event {event} is a symptom"),
            Self::Symptom { event, p } => write!(f, "event {event} is a symptom that is no habit (p {p:.1e})"),
            Self::Several { events, entities, limit } => {
                write!(f, "{events} independent events on {entities} entities, each with p at most {limit:.0e}")
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSymptom { improbable } => {
                write!(f, "no symptom and {improbable} improbable event{}", plural(*improbable))
            }
            Self::Crowded => write!(f, "too many events waited"),
        }
    }
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_can_be_read() {
        let weights = Weights { host: 0.4, edge: 0.42, ..Weights::none(GroupNo(7)) };
        let joined = Placed { event: EventNo(3), group: GroupNo(7), how: How::Joined(weights), p: 2e-5 };
        let line = "event 3 (p 2.0e-5) joins group 7 with 0.82: same host 0.40, direct edge 0.42";
        assert_eq!(Outcome::Placed(joined).to_string(), line);
        let digest =
            Outcome::Digest { group: GroupNo(2), events: vec![EventNo(1)], why: Why::NoSymptom { improbable: 1 } };
        assert_eq!(digest.to_string(), "group 2 with 1 event goes into the digest: no symptom and 1 improbable event");
    }
}
