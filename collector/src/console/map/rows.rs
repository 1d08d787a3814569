//! Edges as lines of a table.

use std::collections::HashMap;

use tacit_wire::words;

use super::asked::{Asked, Sort};
use crate::api::map::is_failing;
use crate::map::diff::MapDiff;
use crate::map::view::{MapEdge, MapView};
use crate::store::Vertex;

/// One end of an edge.
pub struct End {
    pub name: String,
    /// Its details.
    pub link: String,
}

/// The end of an edge, with a link to its details.
pub fn end(id: &str, known: &Known<'_>, asked: &Asked) -> End {
    End { name: known.name(id), link: asked.link(&[("show", id), ("edge", "")]) }
}

/// A line.
pub struct Line {
    pub client: End,
    pub server: End,
    pub port: String,
    /// Details of the edge.
    pub link: String,
    pub via: String,
    pub connects: String,
    pub failed: String,
    pub bytes: String,
    pub rtt: String,
    pub lifetime: String,
    pub active: u32,
    pub retransmits: u64,
    pub sure: String,
    /// What is to be looked at: a class with a colour.
    pub mark: &'static str,
    /// What it is, in words.
    pub change: String,
}

/// The head of a column.
pub struct Head {
    pub words: &'static str,
    pub title: &'static str,
    /// Where a click leads; empty in tables that are not sorted.
    pub link: String,
    pub is_sorted: bool,
    pub is_number: bool,
}

/// What the columns hold.
const HEADS: [(Sort, &str, &str); 10] = [
    (Sort::Client, "Client", "who connects"),
    (Sort::Server, "Server", "who listens, and on which port"),
    (Sort::Connects, "Connects", "connections opened, on average"),
    (Sort::Failed, "Failed", "connects that failed, of all that were tried"),
    (Sort::Bytes, "Bytes", "both ways, on average"),
    (Sort::Rtt, "Round trip", "median, of the network"),
    (Sort::Lifetime, "Lifetime", "mean, of connections that ended"),
    (Sort::Active, "Open", "connections open at the end"),
    (Sort::Retransmits, "Resent", "segments sent again, by both ends"),
    (Sort::Sure, "Owners known", "how sure the owners of both ends are: the lesser; a dash when one is not known"),
];

/// The heads; with links where the table can be sorted.
pub fn heads(asked: Option<&Asked>) -> Vec<Head> {
    let one = |&(sort, words, title): &(Sort, &'static str, &'static str)| {
        let word = Sort::ALL.iter().find(|(s, _)| *s == sort).map_or("", |(_, word)| *word);
        Head {
            words,
            title,
            link: asked.map_or_else(String::new, |a| a.link(&[("sort", word)])),
            is_sorted: asked.is_some_and(|a| a.sort == sort),
            is_number: !matches!(sort, Sort::Client | Sort::Server),
        }
    };
    HEADS.iter().map(one).collect()
}

/// The vertices of the maps that a page tells of.
pub struct Known<'a>(HashMap<&'a str, &'a Vertex>);

impl<'a> Known<'a> {
    pub fn new(view: &'a MapView, diff: Option<&'a MapDiff>) -> Self {
        let all = diff.into_iter().flat_map(|d| &d.vertices).chain(&view.vertices);
        Self(all.map(|v| (v.id.as_str(), v)).collect())
    }

    pub fn vertex(&self, id: &str) -> Option<&'a Vertex> {
        self.0.get(id).copied()
    }

    /// The name of a vertex for people.
    pub fn name(&self, id: &str) -> String {
        match self.vertex(id) {
            Some(Vertex { name, hostname: Some(host), .. }) => format!("{name}, {host}"),
            Some(v) => v.name.clone(),
            None => id.to_owned(),
        }
    }
}

/// An edge and what happened to it.
pub struct Told<'a> {
    pub edge: &'a MapEdge,
    pub change: String,
    pub mark: &'static str,
}

/// The edges of a map, and those that are gone from it.
pub fn told<'a>(view: &'a MapView, diff: Option<&'a MapDiff>) -> Vec<Told<'a>> {
    let mut changes = HashMap::new();
    for e in diff.into_iter().flat_map(|d| &d.appeared) {
        changes.insert(e.id.as_str(), ("appeared".to_owned(), "new"));
    }
    for c in diff.into_iter().flat_map(|d| &d.changed) {
        changes.insert(c.after.id.as_str(), (c.how.join(", "), mark(&c.how)));
    }
    let one = |edge: &'a MapEdge| {
        let (change, mark) = changes
            .get(edge.id.as_str())
            .cloned()
            .unwrap_or_else(|| if is_failing(edge) { ("fails".to_owned(), "fail") } else { (String::new(), "") });
        Told { edge, change, mark }
    };
    let gone = |edge: &'a MapEdge| Told { edge, change: "vanished".to_owned(), mark: "gone" };
    view.edges.iter().map(one).chain(diff.into_iter().flat_map(|d| &d.vanished).map(gone)).collect()
}

/// The class of a change: the worst counts.
fn mark(how: &[String]) -> &'static str {
    let has = |word: &str| how.iter().any(|h| h == word);
    if has("failing") {
        "fail"
    } else if has("slower") {
        "slow"
    } else {
        "other"
    }
}

/// Sorts edges as asked; ends with the names, so that there is one order only.
pub fn sort(edges: &mut [Told<'_>], by: Sort) {
    let figure = |e: &MapEdge| match by {
        Sort::Client | Sort::Server => 0.0,
        Sort::Connects => e.connects as f64,
        Sort::Failed => e.failed as f64,
        Sort::Bytes => e.bytes() as f64,
        Sort::Rtt => e.rtt_p50.map_or(-1.0, f64::from),
        Sort::Lifetime => e.lifetime.map_or(-1.0, f64::from),
        Sort::Active => e.active.into(),
        Sort::Retransmits => e.retransmits as f64,
        Sort::Sure => -f64::from(if e.owned { e.confidence } else { -1.0 }),
    };
    edges.sort_by(|a, b| {
        let (a, b) = (a.edge, b.edge);
        let by_figure = figure(b).total_cmp(&figure(a));
        let by_name = if by == Sort::Server { a.server.cmp(&b.server) } else { a.client.cmp(&b.client) };
        by_figure.then(by_name).then_with(|| a.id.cmp(&b.id))
    });
}

/// An edge as a line; `seconds` is the length of the time that its figures are of.
pub fn line(told: &Told<'_>, seconds: f64, known: &Known<'_>, asked: &Asked) -> Line {
    let e = told.edge;
    Line {
        client: end(&e.client, known, asked),
        server: end(&e.server, known, asked),
        port: e.port_text(),
        link: asked.link(&[("edge", &e.id), ("show", "")]),
        via: e.via.as_ref().map_or_else(String::new, |via| format!("via {via}")),
        connects: rate(e.connects, seconds),
        failed: failed(e),
        bytes: words::value((e.bytes() as f64 / seconds) as f32, "By/s"),
        rtt: seconds_or_dash(e.rtt_p50),
        lifetime: seconds_or_dash(e.lifetime),
        active: e.active,
        retransmits: e.retransmits,
        sure: sure(e),
        mark: told.mark,
        change: told.change.clone(),
    }
}

/// A count as a rate that can be read.
pub fn rate(count: u64, seconds: f64) -> String {
    let a_second = count as f64 / seconds;
    match a_second {
        _ if count == 0 => "0".into(),
        s if s >= 1.0 => format!("{}/s", words::digits(s as f32)),
        s if s >= 1.0 / 60.0 => format!("{}/min", words::digits((s * 60.0) as f32)),
        s => format!("{}/h", words::digits((s * 3600.0) as f32)),
    }
}

/// Failed connects with their share.
pub fn failed(e: &MapEdge) -> String {
    if e.failed == 0 {
        return "0".into();
    }
    let tried = e.connects.max(e.failed) as f64;
    format!("{} ({})", e.failed, words::value((e.failed as f64 / tried) as f32, "1"))
}

/// A time, or a dash.
pub fn seconds_or_dash(value: Option<f32>) -> String {
    value.map_or_else(|| "–".into(), |s| words::value(s, "s"))
}

/// How sure the owners are.
pub fn sure(e: &MapEdge) -> String {
    if e.owned { words::value(e.confidence, "1") } else { "–".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::diff::diff;
    use crate::map::fixtures::view;

    #[test]
    fn a_table_has_one_order() {
        let mut view = view(&[("b/x", "a/x"), ("a/x", "c/x"), ("a/x", "b/x")]);
        view.edges[2].rtt_p50 = Some(0.2);
        view.edges[1].owned = false;
        let order = |by| {
            let mut edges = told(&view, None);
            sort(&mut edges, by);
            edges.iter().map(|t| t.edge.server.clone()).collect::<Vec<_>>()
        };
        assert_eq!(order(Sort::Bytes), ["b/x", "c/x", "a/x"]);
        assert_eq!(order(Sort::Server), ["a/x", "b/x", "c/x"]);
        assert_eq!(order(Sort::Rtt)[0], "a/x");
        assert_eq!(order(Sort::Sure)[0], "c/x", "what is not known comes first");
    }

    #[test]
    fn what_changed_is_told_in_words() {
        let before = view(&[("a/x", "b/x"), ("a/x", "c/x")]);
        let mut after = view(&[("a/x", "b/x"), ("a/x", "d/x"), ("a/x", "e/x")]);
        after.edges[0].rtt_p50 = Some(0.041);
        after.edges[2].failed = 5;
        let diff = diff(&before, &after);
        let with: Vec<_> =
            told(&after, Some(&diff)).iter().map(|t| (t.edge.server.clone(), t.change.clone(), t.mark)).collect();
        let line = |server: &str, change: &str, mark| (server.to_owned(), change.to_owned(), mark);
        let expected = [
            line("b/x", "slower", "slow"),
            line("d/x", "appeared", "new"),
            line("e/x", "appeared", "new"),
            line("c/x", "vanished", "gone"),
        ];
        assert_eq!(with, expected);
        assert_eq!(told(&after, None)[2].change, "fails");
    }

    #[test]
    fn a_lost_port_is_said_in_words() {
        let mut view = view(&[("a/x", "b/x"), ("a/x", "c/x")]);
        view.edges[1].port = 0;
        let (all, known) = (told(&view, None), Known::new(&view, None));
        let ports = all.iter().map(|t| line(t, 60.0, &known, &Asked::default()).port);
        assert_eq!(ports.collect::<Vec<_>>(), ["tcp/80", "tcp/port unknown"]);
    }

    #[test]
    fn rates_are_readable() {
        assert_eq!([rate(0, 60.0), rate(600, 60.0), rate(6, 60.0), rate(3, 3600.0)], ["0", "10/s", "6.0/min", "3.0/h"]);
    }
}
