//! What the grouping sees of an event: numbers, so that a storm of them costs little.

use std::collections::HashMap;
use std::fmt;

use tacit_wire::message::Direction;

macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Something that can be in trouble: a unit or container on a node, a node, an endpoint outside.
    EntityNo(u32)
);
number!(
    /// A family of series, or a rule: `cpu`, `memory`, `disk-full`.
    FamilyNo(u32)
);
number!(
    /// What hosts have in common: a rack, a subnet, a tag.
    TagNo(u32)
);
number!(
    /// An event, as the caller counts them.
    EventNo(u64)
);
number!(
    /// A group, in the order in which they were made.
    GroupNo(u64)
);

/// What makes two events the same thing again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    /// Who.
    pub entity: EntityNo,
    /// In which respect.
    pub family: FamilyNo,
    /// On which side.
    pub direction: Direction,
}

/// What an event can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Somebody is hurt, and no statistics are needed to know it: a rule, a lost node, a failing edge, an outside alert.
    Certain,
    /// Somebody is hurt, as measured: an alarm of a node's model that held, an edge that is slow, a latency.
    Symptom,
    /// Unusual, but nobody is hurt by it.
    Weaker,
    /// It may explain something; it never opens anything.
    Context,
}

/// The onset of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Onset {
    /// Which event.
    pub event: EventNo,
    /// Of what.
    pub fingerprint: Fingerprint,
    /// When it began in corrected time, Unix milliseconds.
    pub at_ms: i64,
    /// What it can do.
    pub role: Role,
    /// Log ratio of its score to its threshold; 0 where there is none.
    pub score: f32,
    /// Chance of such a score in a slot of its source, as the source itself has it.
    pub claim: Option<f64>,
    /// How long its entity has been watched, in milliseconds.
    pub watched_ms: i64,
}

/// Numbers for names, in the order in which they come.
#[derive(Debug, Default, Clone)]
pub struct Numbers {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Numbers {
    /// The number of a name, a new one when it is not known.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The name of a number.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(String::as_str)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut numbers = Numbers::default();
        assert_eq!((numbers.number("db"), numbers.number("api"), numbers.number("db")), (0, 1, 0));
        assert_eq!((numbers.name(1), numbers.name(2), numbers.len()), (Some("api"), None, 2));
        assert!(!numbers.is_empty());
    }
}
