//! Topics: six levels below the root `tacit/1`, parsed into types where they enter.

use std::fmt;
use std::str::FromStr;

use crate::id::{NodeId, SiteId};

/// What a node publishes, the last level of `tacit/1/<site>/u/<node>/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Up {
    /// Identity and state at the start of a connection.
    Birth,
    /// The will, or a clean goodbye.
    Death,
    /// Window summaries.
    Summary,
    /// Anomaly and context events.
    Event,
    /// Connection edges.
    Links,
    /// What is in force, own cost, losses.
    Report,
    /// Answer to a command.
    Result,
}

/// What the collector publishes for one node, the last level of `tacit/1/<site>/d/<node>/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Down {
    /// Signed desired state, retained.
    Config,
    /// One command with a deadline.
    Command,
    /// Cumulative acknowledgement of streams.
    Ack,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every member.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The topic level.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $word),+ } }
            fn parse(word: &str) -> Option<Self> { match word { $($word => Some(Self::$variant),)+ _ => None } }
        }
    };
}
words!(Up { Birth = "birth", Death = "death", Summary = "summary", Event = "event", Links = "links", Report = "report", Result = "result" });
words!(Down { Config = "config", Command = "command", Ack = "ack" });

/// A topic of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// From a node.
    Up(SiteId, NodeId, Up),
    /// To a node.
    Down(SiteId, NodeId, Down),
    /// Desired state of a group of nodes, retained.
    GroupConfig(SiteId, NodeId),
    /// The collector's own state, retained.
    Status(SiteId),
}

/// Why a topic is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a topic of tacit/1: expected tacit/1/<site>/u/<node>/<message>")]
pub struct TopicError(String);

impl Topic {
    /// The filter of everything all nodes publish.
    pub const ALL_UP: &'static str = "tacit/1/+/u/+/+";
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up(site, node, what) => write!(f, "tacit/1/{site}/u/{node}/{}", what.as_str()),
            Self::Down(site, node, what) => write!(f, "tacit/1/{site}/d/{node}/{}", what.as_str()),
            Self::GroupConfig(site, group) => write!(f, "tacit/1/{site}/g/{group}/config"),
            Self::Status(site) => write!(f, "tacit/1/{site}/c/status"),
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let wrong = || TopicError(text.chars().take(120).collect());
        let rest = text.strip_prefix("tacit/1/").ok_or_else(wrong)?;
        let (site, rest) = rest.split_once('/').ok_or_else(wrong)?;
        let site: SiteId = site.parse().map_err(|_| wrong())?;
        if rest == "c/status" {
            return Ok(Self::Status(site));
        }
        let mut levels = rest.split('/');
        let (Some(direction), Some(name), Some(what), None) =
            (levels.next(), levels.next(), levels.next(), levels.next())
        else {
            return Err(wrong());
        };
        let node: NodeId = name.parse().map_err(|_| wrong())?;
        match direction {
            "u" => Up::parse(what).map(|w| Self::Up(site, node, w)).ok_or_else(wrong),
            "d" => Down::parse(what).map(|w| Self::Down(site, node, w)).ok_or_else(wrong),
            "g" if what == "config" => Ok(Self::GroupConfig(site, node)),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back() {
        let site: SiteId = "lab".parse().expect("a site");
        let node: NodeId = "web-1".parse().expect("a node");
        let ups = Up::ALL.iter().map(|w| Topic::Up(site.clone(), node.clone(), *w));
        let downs = Down::ALL.iter().map(|w| Topic::Down(site.clone(), node.clone(), *w));
        let others = [Topic::GroupConfig(site.clone(), node.clone()), Topic::Status(site.clone())];
        for topic in ups.chain(downs).chain(others) {
            assert_eq!(topic.to_string().parse(), Ok(topic));
        }
    }

    #[test]
    fn strangers_are_refused() {
        for bad in [
            "",
            "tacit/2/lab/u/a/birth",
            "tacit/1/lab/u/a/birth/x",
            "tacit/1/lab/u/+/birth",
            "tacit/1/LAB/u/a/birth",
            "tacit/1/lab/x/a/birth",
            "a/b",
        ] {
            assert!(bad.parse::<Topic>().is_err(), "{bad:?} must be refused");
        }
    }
}
