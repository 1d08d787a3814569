//! Changes that somebody announces: deploys, configuration, flags.
//!
//! A change is context: it opens nothing, and may explain what begins soon after it.

use std::collections::BTreeMap;

use tacit_wire::NodeId;
use tacit_wire::message::EventKind;

use super::event::{Draft, cut, line, number};
use super::places::{Directory, Place};
use crate::store::{EventRecord, EventSource, NOWHERE, Outside, nowhere};

/// What a change is unless it says so.
pub const KIND: &str = "deploy";
/// Places that one change may have: a service may be on many nodes.
const PLACES_MAX: usize = 100;
/// Longest name in a change in bytes.
pub const NAME_MAX: usize = 256;
/// The entity of a change that was made to everything, and what stands before the name of a site in that of one made to all of it.
const FLEET: &str = "fleet";
const SITE: &str = "site:";

/// What a change was made to that nobody had alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wide<'a> {
    /// Everything.
    Fleet,
    /// Everything in this site.
    Site(&'a str),
}

/// How wide a change is; none when it has a place, or is no change.
#[must_use]
pub fn wide(record: &EventRecord) -> Option<Wide<'_>> {
    let outside = record.outside.as_deref().filter(|o| o.source == EventSource::Change)?;
    if record.event.head.node.as_str() != NOWHERE {
        // A node may be called so.
        return None;
    }
    if outside.entity == FLEET { Some(Wide::Fleet) } else { outside.entity.strip_prefix(SITE).map(Wide::Site) }
}

/// What a change was made to, as it was said; all that is missing is the whole fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// A node.
    pub node: Option<String>,
    /// `NODE/OWNER`, or an owner's name, on whatever nodes it is.
    pub service: Option<String>,
    /// A vertex of the map by its id.
    pub entity: Option<String>,
    /// Everything in a site.
    pub site: Option<String>,
}

impl Target {
    /// The places that are meant.
    ///
    /// # Errors
    /// Why nobody is, in words.
    pub fn places(&self, directory: &Directory) -> Result<Vec<Place>, String> {
        let node = self.node.as_deref().map(|said| {
            directory.node(said).ok_or_else(|| format!("no node is called {:?}", cut(&line(said), 60))).cloned()
        });
        let node = node.transpose()?;
        if let Some(service) = &self.service {
            return services(service.trim(), node.as_ref(), directory);
        }
        if let Some(entity) = &self.entity {
            let on = entity.split_once('/').map_or(entity.as_str(), |(node, _)| node);
            let on = node.or_else(|| directory.node(on).filter(|found| found.as_str() == on).cloned());
            return Ok(vec![Place { node: on, entity: line(entity) }]);
        }
        if let Some(node) = node {
            return Ok(vec![Place::node(&node)]);
        }
        let entity = self.site.as_ref().map_or_else(|| FLEET.to_owned(), |site| format!("{SITE}{}", line(site)));
        Ok(vec![Place { node: None, entity }])
    }
}

fn services(said: &str, node: Option<&NodeId>, directory: &Directory) -> Result<Vec<Place>, String> {
    let unknown = |what: &str| format!("no node is called {:?}", cut(&line(what), 60));
    // What is named in full need not be on the map: it may be new.
    let (node, owner) = match (node, said.split_once('/')) {
        (Some(node), _) => (Some(node), said.strip_prefix(&format!("{node}/")).unwrap_or(said)),
        (None, Some((host, owner))) => (Some(directory.node(host).ok_or_else(|| unknown(host))?), owner),
        (None, None) => (None, said),
    };
    if owner.is_empty() {
        return Err("the service has no name: write NODE/OWNER, or the owner's name".into());
    }
    if let Some(node) = node {
        let owner = directory.service(node, owner).map_or_else(|| line(owner), str::to_owned);
        return Ok(vec![Place::service(node, &owner)]);
    }
    let found: Vec<Place> = directory
        .nodes_of(owner)
        .into_iter()
        .take(PLACES_MAX)
        .map(|(node, owner)| Place::service(node, &owner))
        .collect();
    if found.is_empty() {
        return Err(format!("no service on the map is called {:?}: write NODE/OWNER", cut(&line(owner), 60)));
    }
    Ok(found)
}

/// A change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// What was done.
    pub what: String,
    /// What kind of change, in a word.
    pub kind: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// The caller's own name for it: what is announced twice is one change.
    pub id: Option<String>,
    /// Where more can be read.
    pub url: Option<String>,
    /// Who, in which site, and whatever else is to be kept with it.
    pub labels: BTreeMap<String, String>,
}

impl Change {
    /// The event of a change at a place.
    #[must_use]
    pub fn event(&self, place: &Place, now_ms: i64) -> EventRecord {
        let at = self.at_ms.to_string();
        let number = match &self.id {
            Some(id) => number(&["change", id, &place.entity]),
            None => number(&["change at", &at, &place.entity, &self.kind, &self.what]),
        };
        let mut labels = self.labels.clone();
        if let Some(id) = &self.id {
            labels.insert("id".into(), id.clone());
        }
        let outside = Outside {
            source: EventSource::Change,
            entity: place.entity.clone(),
            family: self.kind.clone(),
            labels,
            url: self.url.clone(),
            client: None,
            expires_ms: None,
        };
        let draft = Draft {
            node: place.node.clone().unwrap_or_else(nowhere),
            number,
            kind: EventKind::Context,
            severity: 0.0,
            onset_ms: self.at_ms,
            text: line(&self.what),
            outside,
        };
        draft.record(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{ContextKind, Phase};

    use super::*;
    use crate::fixtures::birth;
    use crate::store::{NodeRecord, Presence};

    fn directory() -> Directory {
        let mut directory = Directory::default();
        for node in ["api-1", "api-2"] {
            directory.add_node(&NodeRecord {
                node: node.parse().unwrap(),
                site: "lab".parse().unwrap(),
                presence: Presence::Online,
                reason: None,
                first_seen_ms: 0,
                last_seen_ms: 0,
                clock_offset_ms: 0,
                birth: birth(node, 1),
                report: None,
                open_incidents: 0,
            });
            directory.add_vertex(&format!("{node}/api.service"));
        }
        directory
    }

    fn places(target: &Target) -> Result<Vec<String>, String> {
        let places = target.places(&directory())?;
        Ok(places.into_iter().map(|p| format!("{} {}", p.node.unwrap_or_else(nowhere), p.entity)).collect())
    }

    #[test]
    fn a_change_has_a_place() {
        let some = |text: &str| Some(text.to_owned());
        let service = |text: &str| Target { service: some(text), ..Target::default() };
        for (target, expected) in [
            (Target { node: some("API-1"), ..Target::default() }, Ok(vec!["api-1 api-1"])),
            (service("api-1/api"), Ok(vec!["api-1 api-1/api.service"])),
            (service("api-1/new.service"), Ok(vec!["api-1 api-1/new.service"])),
            (service("api"), Ok(vec!["api-1 api-1/api.service", "api-2 api-2/api.service"])),
            (Target { node: some("api-2"), ..service("api") }, Ok(vec!["api-2 api-2/api.service"])),
            (Target { entity: some("ext:192.0.2.7:443"), ..Target::default() }, Ok(vec!["- ext:192.0.2.7:443"])),
            (Target { entity: some("api-1/x"), ..Target::default() }, Ok(vec!["api-1 api-1/x"])),
            (Target { site: some("lab"), ..Target::default() }, Ok(vec!["- site:lab"])),
            (Target::default(), Ok(vec!["- fleet"])),
            (service("checkout"), Err("no service on the map is called \"checkout\": write NODE/OWNER")),
            (service("web-9/x"), Err("no node is called \"web-9\"")),
            (service("api-1/"), Err("the service has no name: write NODE/OWNER, or the owner's name")),
            (Target { node: some("web-9"), ..Target::default() }, Err("no node is called \"web-9\"")),
        ] {
            let expected =
                expected.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>()).map_err(str::to_owned);
            assert_eq!(places(&target), expected, "{target:?}");
        }
    }

    #[test]
    fn some_changes_are_wide() {
        let change = Change { what: "rotate keys".into(), kind: "config".into(), at_ms: 5, ..Change::default() };
        let of = |target: &Target| change.event(&target.places(&directory()).unwrap()[0], 10);
        let lab = of(&Target { site: Some("lab".into()), ..Target::default() });
        assert_eq!((wide(&of(&Target::default())), wide(&lab)), (Some(Wide::Fleet), Some(Wide::Site("lab"))));
        assert_eq!(wide(&of(&Target { node: Some("api-1".into()), ..Target::default() })), None);
        let mut node = of(&Target::default());
        node.event.head.node = "fleet".parse().unwrap();
        assert_eq!(wide(&node), None, "a node that is called so");
        node = of(&Target::default());
        node.outside.as_mut().unwrap().source = EventSource::Alert;
        assert_eq!(wide(&node), None);
    }

    #[test]
    fn what_is_announced_twice_is_one() {
        let change = Change { what: "deploy api 1.2.3".into(), kind: KIND.into(), at_ms: 5, ..Change::default() };
        let place = Place::service(&"api-1".parse().unwrap(), "api.service");
        let event = change.event(&place, 10);
        assert_eq!((event.event.phase, event.onset_ms, event.key()), (Phase::Close, 5, change.event(&place, 11).key()));
        assert_eq!(event.event.context[0].kind, ContextKind::Change);
        assert_eq!(event.event.context[0].unit.as_deref(), Some("api.service"));
        let named = |at_ms| Change { at_ms, id: Some("build 7".into()), ..change.clone() }.event(&place, 10).key();
        assert_eq!(named(5), named(6));
        assert_ne!(named(5), event.key());
    }
}
