//! Who is told of what.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::message::Message;

/// `[[notify.route]]`: an incident that fits all conditions goes to these receivers. Of several routes the first that fits
/// counts, unless it says `continue = true`. What fits none is told to nobody.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// Who is told.
    pub receivers: Vec<String>,
    /// One of its sites is like one of these; `*` stands for any text, here and below.
    pub sites: Vec<String>,
    /// One of its nodes is like one of these.
    pub nodes: Vec<String>,
    /// One of the tags of its nodes is like one of these, written as in `role=db*`.
    pub tags: Vec<String>,
    /// One of the services and other things it concerns is like one of these.
    pub entities: Vec<String>,
    /// It is at least so bad, 0 to 1.
    pub min_severity: f32,
    /// Routes after this one are looked at, too.
    #[serde(rename = "continue")]
    pub go_on: bool,
}

impl RouteConfig {
    /// # Errors
    /// The first thing wrong, given which receivers can be told.
    pub fn check(&self, told: impl Fn(&str) -> bool) -> Result<(), String> {
        if self.receivers.is_empty() {
            return Err("receivers is missing: who is told?".into());
        }
        if let Some(stranger) = self.receivers.iter().find(|name| !told(name)) {
            return Err(format!("receivers: there is no receiver {stranger:?} that can be told"));
        }
        if [&self.sites, &self.nodes, &self.tags, &self.entities].into_iter().flatten().any(String::is_empty) {
            return Err("an empty pattern fits nothing: write \"*\" for all".into());
        }
        if let Some(pattern) = self.tags.iter().find(|pattern| !pattern.contains('=') && *pattern != "*") {
            return Err(format!("tags: {pattern:?} fits no tag: write KEY=VALUE, as in \"role=db*\""));
        }
        if (0.0..=1.0).contains(&self.min_severity) {
            Ok(())
        } else {
            Err(format!("min_severity: {} is not between 0 and 1", self.min_severity))
        }
    }

    fn fits(&self, message: &Message, entities: &[String]) -> bool {
        let any = |patterns: &[String], names: &[String]| {
            patterns.is_empty() || patterns.iter().any(|p| names.iter().any(|n| like(p, n)))
        };
        message.severity >= f64::from(self.min_severity) - 1e-6
            && any(&self.sites, &message.sites)
            && any(&self.nodes, &message.nodes)
            && any(&self.tags, &message.tags)
            && any(&self.entities, entities)
    }
}

/// The receivers of an incident, out of all that can be told.
#[must_use]
pub fn receivers<'a>(routes: &'a [RouteConfig], all: &[&'a str], message: &Message) -> BTreeSet<&'a str> {
    if routes.is_empty() {
        return all.iter().copied().collect();
    }
    let mut chosen = BTreeSet::new();
    for route in routes.iter().filter(|r| r.fits(message, &message.entities)) {
        chosen.extend(route.receivers.iter().map(String::as_str));
        if !route.go_on {
            break;
        }
    }
    chosen
}

/// Whether the whole text is as a pattern says, in which `*` stands for any text. Takes time in proportion to both lengths
/// multiplied, whatever they are.
#[must_use]
pub fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when it does not fit: after the last star, one byte of the text later.
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            back = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after, from)) = back {
            back = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::incident;
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text) in
            [("*", ""), ("web-*", "web-1"), ("*/nginx.service", "web-1/nginx.service"), ("a*b*c", "aXbbYc")]
        {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("web-*", "db-1"), ("web", "web-1"), ("a*b", "abc"), ("*a", "")] {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
        // Nothing that a stranger names takes long.
        assert!(!like(&"a*".repeat(50), &"a".repeat(1000).replacen('a', "b", 1)));
    }

    #[test]
    fn the_first_route_that_fits_counts() {
        let route = |name: &str, change: fn(&mut RouteConfig)| {
            let mut route = RouteConfig { receivers: vec![name.into()], ..RouteConfig::default() };
            change(&mut route);
            route
        };
        let all = ["db", "page", "chat", "rest"];
        let routes = [
            route("chat", |r| r.go_on = true),
            route("db", |r| r.nodes = vec!["db-*".into()]),
            route("page", |r| {
                r.min_severity = 0.8;
                r.sites = vec!["lab".into()];
            }),
            route("rest", |_| {}),
        ];
        let mut i = incident(1);
        let told = |i: &crate::store::Incident, site: &str| {
            let message = Message::about(i, vec![site.to_owned()], "");
            receivers(&routes, &all, &message).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(told(&i, "lab"), ["chat", "page"]);
        assert_eq!(told(&i, "home"), ["chat", "rest"]);
        i.severity = 0.5;
        assert_eq!(told(&i, "lab"), ["chat", "rest"]);
        i.nodes.push("db-7".parse().unwrap());
        assert_eq!(told(&i, "lab"), ["chat", "db"]);
        let tagged = Message::about(&incident(1), Vec::new(), "").tagged(["role=web".to_owned()]);
        let by_tag = [route("chat", |r| r.tags = vec!["role=w*".into()]), route("rest", |_| {})];
        assert_eq!(receivers(&by_tag, &all, &tagged), ["chat"].into());
        assert_eq!(receivers(&by_tag, &all, &Message::about(&incident(1), Vec::new(), "")), ["rest"].into());
        let message = Message::about(&i, Vec::new(), "");
        assert_eq!(receivers(&[], &all, &message).len(), 4, "without routes all are told");
        assert!(receivers(&routes[1..2], &all, &Message::about(&incident(1), Vec::new(), "")).is_empty());
    }
}
