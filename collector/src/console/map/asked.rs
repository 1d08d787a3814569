//! What a map page is asked for. All that is seen on it is in its address, so that it can be sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::api::ApiError;
use crate::api::map::{MapFilter, Times};

/// Parameters, in the order in which an address holds them.
const KEYS: [&str; 21] = [
    "node",
    "service",
    "site",
    "from",
    "to",
    "diff",
    "connects",
    "bytes",
    "failing",
    "infrastructure",
    "outside",
    "group",
    "open",
    "find",
    "blast",
    "path_from",
    "path_to",
    "show",
    "edge",
    "sort",
    "skip",
];
/// Longest value: a name of the API, or a list of opened groups.
const VALUE_MAX: usize = 4096;
const HINT: &str = "the form on /map writes them";

/// How the drawing is grouped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Group {
    /// A box for each node.
    #[default]
    Node,
    /// A box for each site.
    Site,
    /// A box for each value of a tag, `tag.KEY`; nodes without it stand alone.
    Tag,
    /// No boxes.
    None,
}

/// What the table is sorted by: figures largest first, names by alphabet, doubt first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    Client,
    Server,
    Connects,
    Failed,
    #[default]
    Bytes,
    Rtt,
    Lifetime,
    Active,
    Retransmits,
    Sure,
}

impl Sort {
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Client, "client"),
        (Self::Server, "server"),
        (Self::Connects, "connects"),
        (Self::Failed, "failed"),
        (Self::Bytes, "bytes"),
        (Self::Rtt, "rtt"),
        (Self::Lifetime, "lifetime"),
        (Self::Active, "active"),
        (Self::Retransmits, "retransmits"),
        (Self::Sure, "sure"),
    ];
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    given: BTreeMap<&'static str, String>,
    pub filter: MapFilter,
    pub diff: Option<i64>,
    pub group: Group,
    pub sort: Sort,
    pub skip: usize,
}

impl Asked {
    /// Reads the parameters; blank ones are those of a form that nothing was written into.
    ///
    /// # Errors
    /// The first that makes no sense, in words.
    pub fn parse(pairs: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut given = BTreeMap::new();
        for (key, value) in pairs {
            let known = KEYS.into_iter().find(|k| *k == key);
            let known = known.ok_or_else(|| ApiError::bad(format!("there is no parameter {key:?}"), HINT))?;
            let value = value.trim();
            if value.len() > VALUE_MAX {
                return Err(ApiError::bad(format!("{key} has more than {VALUE_MAX} bytes"), HINT));
            }
            if !value.is_empty() && given.insert(known, value.to_owned()).is_some() {
                return Err(ApiError::bad(format!("{key} is there twice"), HINT));
            }
        }
        let mut asked = Self { given, ..Self::default() };
        asked.filter = asked.filter()?;
        asked.diff = asked.time("diff")?;
        asked.group = match asked.text("group") {
            Some(text) if text.strip_prefix("tag.").is_some_and(|key| !key.is_empty()) => Group::Tag,
            _ => asked.choice("group", &[(Group::Node, "node"), (Group::Site, "site"), (Group::None, "none")])?,
        };
        asked.sort = asked.choice("sort", &Sort::ALL)?;
        asked.skip = asked.number("skip", "a whole number")?.unwrap_or(0);
        Ok(asked)
    }

    fn filter(&self) -> Result<MapFilter, ApiError> {
        let flag =
            |key: &str| self.given.contains_key(key).then(|| self.choice(key, &[(false, "false"), (true, "true")]));
        let text = |key| self.text(key).map(str::to_owned);
        Ok(MapFilter {
            from: self.time("from")?,
            to: self.time("to")?,
            node: text("node"),
            service: text("service"),
            site: text("site"),
            // The API shows infrastructure unless told not to; here it would hide all else.
            infrastructure: Some(flag("infrastructure").transpose()?.unwrap_or(false)),
            outside: flag("outside").transpose()?,
            connects: self.number("connects", "a number a second")?,
            bytes: self.number("bytes", "a number a second")?,
            failing: flag("failing").transpose()?,
        })
    }

    /// The value of a parameter.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.given.get(key).map(String::as_str)
    }

    fn choice<T: Copy + Default>(&self, key: &str, choices: &[(T, &str)]) -> Result<T, ApiError> {
        let Some(text) = self.text(key) else { return Ok(T::default()) };
        let found = choices.iter().find(|(_, word)| *word == text).map(|(choice, _)| *choice);
        found.ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(_, word)| *word).collect();
            ApiError::bad(format!("{key} is {text:?}, none of {}", words.join(", ")), HINT)
        })
    }

    fn number<T: std::str::FromStr>(&self, key: &str, what: &str) -> Result<Option<T>, ApiError> {
        let wrong = |text: &str| ApiError::bad(format!("{key} is not {what}: {text:?}"), HINT);
        self.text(key).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// Unix milliseconds, or what a browser's field for a time writes, taken as UTC.
    fn time(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let written = || {
            let at = text.trim_end_matches('Z').parse::<DateTime>().ok()?;
            Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
        };
        text.parse().ok().or_else(written).map(Some).ok_or_else(|| {
            let what = format!("{key} is not a time: {text:?}; write Unix milliseconds or 2026-01-31T12:00, UTC");
            ApiError::bad(what, HINT)
        })
    }

    /// Whether anything is asked for but the whole map of now.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.given.is_empty()
    }

    /// What of it differs between two times.
    #[must_use]
    pub fn times(&self, from: i64) -> Times {
        let f = self.filter.clone();
        Times {
            from,
            to: f.to,
            node: f.node,
            service: f.service,
            site: f.site,
            infrastructure: f.infrastructure,
            outside: f.outside,
            connects: f.connects,
            bytes: f.bytes,
            failing: f.failing,
        }
    }

    /// The address of this page with some parameters changed; an empty value leaves one out. Another selection begins its table
    /// at the top.
    #[must_use]
    pub fn link(&self, changes: &[(&str, &str)]) -> String {
        let value = |key: &'static str| {
            let changed = changes.iter().find(|(c, _)| *c == key).map(|(_, value)| *value);
            let kept = self.text(key).filter(|_| key != "skip");
            changed.or(kept).filter(|v| !v.is_empty()).map(|v| (key, v.to_owned()))
        };
        address("/map", KEYS.into_iter().filter_map(value))
    }

    /// The address at the API of the map that is asked for.
    #[must_use]
    pub fn of_map(&self) -> String {
        address("/api/v1/map", self.of_filter([("from", self.filter.from), ("to", self.filter.to)]))
    }

    /// The address at the API of the difference that is asked for.
    #[must_use]
    pub fn of_difference(&self) -> String {
        let Some(from) = self.diff else { return String::new() };
        address("/api/v1/map/diff", self.of_filter([("from", Some(from)), ("to", self.filter.to)]))
    }

    fn of_filter(&self, times: [(&'static str, Option<i64>); 2]) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let infrastructure = self.filter.infrastructure.unwrap_or(false).to_string();
        let keys = ["node", "service", "site", "outside", "connects", "bytes", "failing"];
        let rest = keys.into_iter().filter_map(move |key| Some((key, self.text(key)?.to_owned())));
        let times = times.into_iter().filter_map(|(key, at)| Some((key, at?.to_string())));
        times.chain([("infrastructure", infrastructure)]).chain(rest)
    }

    /// The address at the API of what depends on the service that is asked for.
    #[must_use]
    pub fn of_blast(&self) -> String {
        let Some(service) = self.text("blast") else { return String::new() };
        let to = self.filter.to.map(|to| ("to", to.to_string()));
        address("/api/v1/map/blast", [("service", service.to_owned())].into_iter().chain(to))
    }

    /// The address at the API of the way that is asked for.
    #[must_use]
    pub fn of_path(&self) -> String {
        let (Some(from), Some(to)) = (self.text("path_from"), self.text("path_to")) else { return String::new() };
        let at = self.filter.to.map(|to| ("at", to.to_string()));
        address("/api/v1/map/path", [("from", from.to_owned()), ("to", to.to_owned())].into_iter().chain(at))
    }
}

/// A path with a query.
pub fn address(path: &str, pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut out = path.to_owned();
    for (key, value) in pairs {
        out.push(if out.len() == path.len() { '?' } else { '&' });
        out.push_str(key);
        out.push('=');
        for byte in value.bytes() {
            // What a query may hold as it is.
            if byte.is_ascii_alphanumeric() || b"-._~/:@,".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// A moment as a browser's field for a time has it, in UTC.
pub fn field(ms: Option<i64>) -> String {
    let at = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(String::new, |at| at.strftime("%Y-%m-%dT%H:%M").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, ApiError> {
        Asked::parse(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn an_address_holds_all_that_is_asked_for() {
        let page = asked(&[("group", "site"), ("to", "2026-01-31T12:00"), ("node", ""), ("skip", "100")]).unwrap();
        assert_eq!((page.group, page.skip, page.filter.to), (Group::Site, 100, Some(1_769_860_800_000)));
        assert_eq!(
            page.link(&[("show", "web-1/a b&c>é")]),
            "/map?to=2026-01-31T12:00&group=site&show=web-1/a%20b%26c%3E%C3%A9"
        );
        assert_eq!(asked(&[("group", "tag.rack")]).unwrap().group, Group::Tag);
        assert_eq!(page.link(&[("to", ""), ("group", "")]), "/map");
        assert_eq!(page.link(&[("skip", "200"), ("to", "")]), "/map?group=site&skip=200");
        assert_eq!(page.of_map(), "/api/v1/map?to=1769860800000&infrastructure=false");
        assert_eq!([page.of_blast(), page.of_path(), page.of_difference()], [""; 3]);
        assert!(!page.is_plain() && asked(&[("node", " ")]).unwrap().is_plain());
    }

    #[test]
    fn the_api_is_asked_for_the_same() {
        let page = asked(&[
            ("failing", "true"),
            ("infrastructure", "true"),
            ("diff", "5"),
            ("to", "9"),
            ("blast", "a b"),
            ("path_from", "x"),
            ("path_to", "y"),
        ]);
        let page = page.unwrap();
        assert_eq!(page.of_difference(), "/api/v1/map/diff?from=5&to=9&infrastructure=true&failing=true");
        assert_eq!(page.of_blast(), "/api/v1/map/blast?service=a%20b&to=9");
        assert_eq!(page.of_path(), "/api/v1/map/path?from=x&to=y&at=9");
    }

    #[test]
    fn mistakes_are_explained() {
        for (key, value, words) in [
            ("nothing", "1", "there is no parameter \"nothing\""),
            ("to", "yesterday", "to is not a time: \"yesterday\""),
            ("group", "rack", "group is \"rack\", none of node, site, none"),
            ("group", "tag.", "group is \"tag.\", none of node, site, none"),
            ("connects", "many", "connects is not a number a second: \"many\""),
            ("failing", "yes", "failing is \"yes\", none of false, true"),
            ("skip", "-1", "skip is not a whole number"),
        ] {
            let error = asked(&[(key, value)]).unwrap_err();
            assert!(error.message().starts_with(words), "{}", error.message());
        }
        assert!(asked(&[("to", "1"), ("to", "2")]).unwrap_err().message().contains("twice"));
        assert!(asked(&[("find", &"x".repeat(5000))]).is_err());
    }
}
