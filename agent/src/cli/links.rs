//! `tacit-agent links`: who talks to whom on this machine, observed for a while.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::print;
use crate::clock::Tick;
use crate::config::Config;
use crate::links::edges::{Figures, Key};
use crate::links::message::Transport;
use crate::links::{Observer, Owners, socket};
use crate::source::Root;

/// One edge as `--json` prints it.
#[derive(Debug, Serialize)]
struct Printed {
    owner: String,
    confidence: f32,
    role: &'static str,
    protocol: &'static str,
    local: String,
    peer: String,
    connects: u32,
    failed: u32,
    sent: u64,
    received: u64,
    retransmits: u32,
    active: u32,
    round_trip: Option<f32>,
}

/// Observes for `time` and prints what was seen.
pub fn run(root: &Root, config: &Config, time: Duration, json: bool) -> Result<()> {
    let observer = Observer::open(root, socket::WANTED).map_err(anyhow::Error::msg)?;
    let mut observer = observer.with_containers(&config.links.helper);
    let looked = |observer: &mut Observer| observer.look(Tick::now().mono_ms);
    let trouble = looked(&mut observer).err();
    let (end, mut next_look) = (Instant::now() + time, Instant::now());
    while Instant::now() < end {
        std::thread::sleep(observer.pause().min(end.saturating_duration_since(Instant::now())));
        if observer.hear() || Instant::now() >= next_look {
            // What it says stays the same from look to look.
            let _ = looked(&mut observer);
            next_look = Instant::now() + config.links.interval.std();
        }
    }
    observer.hear();
    let _ = looked(&mut observer);
    let active = observer.active();
    let (mut edges, observed) = observer.take(Tick::now().wall_ms);
    for (key, active) in active {
        edges.entry(key).or_default().active = active;
    }
    let printed = sorted(edges, observer.owners());
    if json {
        print(&format!("{}\n", serde_json::to_string(&printed)?));
        return Ok(());
    }
    print(&table(&printed));
    eprintln!("{}.", observer.describe());
    if observed.overflows > 0 {
        eprintln!("{} closed connections were lost, the kernel says: counts are too low.", observed.overflows);
    }
    if let Some(trouble) = trouble {
        eprintln!("{trouble}.");
    }
    Ok(())
}

/// Those that moved most first.
fn sorted(edges: HashMap<Key, Figures>, owners: &Owners) -> Vec<Printed> {
    let mut printed: Vec<Printed> = edges.into_iter().map(|(key, figures)| one(key, figures, owners)).collect();
    let weight = |p: &Printed| (p.sent.saturating_add(p.received), p.connects, p.active);
    printed.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| (&a.owner, &a.peer).cmp(&(&b.owner, &b.peer))));
    printed
}

fn one(key: Key, mut figures: Figures, owners: &Owners) -> Printed {
    let end = |address: Option<std::net::IpAddr>, port: u16| match (address, port) {
        (None, 0) => "-".to_owned(),
        (None, port) => format!(":{port}"),
        (Some(address), 0) => address.to_string(),
        (Some(address), port) => std::net::SocketAddr::new(address, port).to_string(),
    };
    let owner = &owners.get(key.owner).name;
    Printed {
        owner: if owner.is_empty() { "unattributed".to_owned() } else { owner.to_string() },
        confidence: figures.confidence(),
        role: if key.server { "server" } else { "client" },
        protocol: if key.transport == Transport::Tcp { "tcp" } else { "udp" },
        local: end(key.local, key.port),
        peer: end(key.peer, key.peer_port),
        connects: figures.connects,
        failed: figures.failed,
        sent: figures.sent,
        received: figures.received,
        retransmits: figures.retransmits,
        active: figures.active,
        round_trip: figures.round_trips().map(|[median, ..]| median),
    }
}

fn table(edges: &[Printed]) -> String {
    let widest =
        |of: fn(&Printed) -> &str, title: &str| edges.iter().map(|e| of(e).len()).max().unwrap_or(0).max(title.len());
    let (owner, local, peer) =
        (widest(|e| &e.owner, "OWNER"), widest(|e| &e.local, "LOCAL"), widest(|e| &e.peer, "PEER"));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:owner$}  ROLE    PROTO  {:local$}  {:peer$}  CONNECTS  FAILED  OPEN       SENT   RECEIVED  RETRANS  ROUND TRIP",
        "OWNER", "LOCAL", "PEER"
    );
    for e in edges {
        let rtt = e.round_trip.map_or_else(|| "-".to_owned(), |s| format!("{:.2} ms", s * 1000.0));
        let _ = writeln!(
            text,
            "{:owner$}  {}  {:5}  {:local$}  {:peer$}  {:8}  {:6}  {:4}  {:>9}  {:>9}  {:7}  {rtt:>10}",
            e.owner,
            e.role,
            e.protocol,
            e.local,
            e.peer,
            e.connects,
            e.failed,
            e.active,
            bytes(e.sent),
            bytes(e.received),
            e.retransmits
        );
    }
    text
}

fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let step = (n.max(1).ilog2() / 10).min(3) as usize;
    if step == 0 { format!("{n} B") } else { format!("{:.1} {}", n as f64 / 1024_f64.powi(step as i32), units[step]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_printed_the_busiest_first() {
        let owners = Owners::new(&Root::new("/nonexistent"));
        let key = |peer_port| Key {
            transport: Transport::Tcp,
            server: false,
            local: None,
            port: 0,
            owner: 0,
            peer: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            peer_port,
        };
        let figures = |sent| {
            let mut figures = Figures::default();
            (figures.sent, figures.connects) = (sent, 2);
            figures
        };
        let printed = sorted(HashMap::from([(key(80), figures(10)), (key(443), figures(3 << 20))]), &owners);
        let text = table(&printed);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("127.0.0.1:443") && lines[1].contains("3.0 MiB"), "{text}");
        assert!(lines[2].starts_with("unattributed  client  tcp"), "{text}");
        assert!(lines.iter().skip(1).all(|l| l.len() == lines[1].len()), "{text}");
    }
}
