//! What is known of every edge before the map is looked at.

use serde::Serialize;

use super::part::Counts;

/// One end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct End {
    /// Its node, or `ext:` and its address when it is outside.
    pub host: String,
    /// Its unit, container or executable; none outside, and where nobody can know it.
    pub owner: Option<String>,
}

impl End {
    /// An owner on a host.
    pub fn of(host: &str, owner: &str) -> Self {
        Self { host: host.to_owned(), owner: Some(owner.to_owned()) }
    }

    /// Somebody on a host who is gone before anybody can look.
    pub fn on(host: &str) -> Self {
        Self { host: host.to_owned(), owner: None }
    }

    /// An address outside.
    pub fn outside(address: std::net::Ipv4Addr) -> Self {
        Self { host: format!("ext:{address}"), owner: None }
    }
}

/// An edge that is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Truth {
    /// What it is for.
    pub what: String,
    /// Who connects.
    pub client: End,
    /// Who listens.
    pub server: End,
    /// The server's port; 0 when it is any.
    pub port: u16,
    /// The address that the client uses, when it is rewritten.
    pub via: Option<String>,
    /// Connections that were opened, when somebody counted them.
    pub connects: Option<u64>,
    /// Connects that failed.
    pub failed: u64,
    /// Whether it is one of those with very many short connections.
    pub short: bool,
    /// Whether the map has to have it.
    pub must: bool,
    /// Whether packets are lost on it.
    pub lossy: bool,
    /// Whether the kernel forgets its port, because the connects block and are refused.
    pub port_lost: bool,
    /// Whether an end is in a namespace that only the third level sees.
    pub contained: bool,
    /// From when on it is there, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Until when.
    pub until_ms: Option<i64>,
    /// How long its connections lived, where that is to be seen.
    pub lived_s: Option<f64>,
}

impl Truth {
    /// An edge that the map has to have.
    pub fn new(what: &str, client: End, server: End, port: u16) -> Self {
        Self {
            what: what.to_owned(),
            client,
            server,
            port,
            via: None,
            connects: None,
            failed: 0,
            short: false,
            must: true,
            lossy: false,
            port_lost: false,
            contained: false,
            since_ms: None,
            until_ms: None,
            lived_s: None,
        }
    }

    /// An edge that may be there.
    pub fn may_be(what: &str, client: End, server: End, port: u16) -> Self {
        Self { must: false, ..Self::new(what, client, server, port) }
    }

    /// Adds what its client counted.
    pub fn take_client(&mut self, counts: &Counts) {
        self.connects = Some(self.connects.unwrap_or(0) + counts.connected);
        self.failed += counts.failed;
        if let Some(lived) = &mut self.lived_s {
            *lived = counts.lived_s;
        }
    }

    /// Adds what its server counted.
    pub fn take_server(&mut self, counts: &Counts) {
        self.connects = Some(self.connects.unwrap_or(0) + counts.accepted);
    }
}

/// Edges with the same ends and port are one on the map.
pub fn merged(all: Vec<Truth>) -> Vec<Truth> {
    let mut out: Vec<Truth> = Vec::new();
    for truth in all {
        let same = |t: &&mut Truth| t.client == truth.client && t.server == truth.server && t.port == truth.port;
        match out.iter_mut().find(same) {
            Some(there) => {
                let sum = there.connects.zip(truth.connects).map(|(a, b)| a + b);
                there.connects = sum;
                there.failed += truth.failed;
                there.short |= truth.short;
                there.must |= truth.must;
                there.lossy |= truth.lossy;
                if !there.what.contains(&truth.what) {
                    there.what = format!("{}, {}", there.what, truth.what);
                }
            }
            None => out.push(truth),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_edge_is_told_once() {
        let edge =
            |what: &str, connects| Truth { connects, ..Truth::new(what, End::of("a", "x"), End::of("b", "y"), 80) };
        let other = Truth::new("c", End::of("a", "x"), End::of("b", "y"), 81);
        let all = merged(vec![edge("a", Some(3)), other, edge("b", Some(4))]);
        assert_eq!((all.len(), all[0].connects, all[0].what.as_str()), (2, Some(7), "a, b"));
        assert_eq!(merged(vec![edge("a", Some(3)), edge("b", None)])[0].connects, None, "half a count is none");
    }
}
