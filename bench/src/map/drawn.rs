//! `--drawn`: a made-up fleet, layered like a real shop, for a look at the map's pages with few and many vertices.
//!
//! ```text
//! outside ─→ fronts ─→ apps ─→ stores        five services a node, about four edges a service
//!                      └─→ apps, outside
//! monitoring ─→ every node
//! ```
//!
//! Both ends of every edge tell it to a real collector. An hour is told at once, then each minute as it passes; some edges
//! appear in the second half of the hour, one in forty fails, one in forty is slow.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fastrand::Rng;
use tacit_collector::clock::now_ms;
use tacit_collector::map::book::MINUTE_MS;

use super::desk::Desk;
use super::fleet::{Flow, Half, birth, minute};
use crate::live::{say, stop_flag};

/// Minutes that are told at once.
const PAST: i64 = 60;
/// Services of a node.
const SERVICES: u32 = 5;
/// Where monitoring finds every node.
const EXPORTER: u16 = 9100;

/// A service.
#[derive(Debug, Clone)]
struct Service {
    node: u32,
    unit: String,
    port: u16,
}

/// Where an edge ends.
#[derive(Debug, Clone)]
enum End {
    Service(usize),
    Outside(String),
}

#[derive(Debug, Clone)]
struct Line {
    client: End,
    server: End,
    port: u16,
    ports: [u16; 4],
    flow: Flow,
    /// Minutes from the beginning in which it is not there yet.
    from: i64,
}

/// The fleet.
#[derive(Debug)]
struct Fleet {
    services: Vec<Service>,
    lines: Vec<Line>,
    /// Pairs of services that have their edge.
    drawn: HashSet<(usize, usize)>,
    nodes: u32,
}

/// Feeds the fleet and leaves the console up until told to stop.
///
/// # Errors
/// When the collector cannot be started.
pub fn run(services: u32, http: Option<SocketAddr>) -> Result<()> {
    if !(5..=20_000).contains(&services) {
        bail!("--drawn {services}: allowed are 5 to 20000");
    }
    let Some(http) = http else { bail!("--drawn is for looking at: say where with --keep-serving 127.0.0.1:8420") };
    let folder = tempfile::tempdir().context("cannot make a folder for the run")?;
    let stop = stop_flag()?;
    let desk = Desk::start(folder.path(), std::net::Ipv4Addr::LOCALHOST, Some(http))?;
    let fleet = Fleet::new(services);
    say(&format!("{} services on {} nodes with {} edges", fleet.services.len(), fleet.nodes, fleet.lines.len()));
    let first = now_ms().div_euclid(MINUTE_MS) - PAST;
    let births =
        (0..fleet.nodes).map(|n| birth(&name(n), &address(n), first * MINUTE_MS)).collect::<Result<Vec<_>>>()?;
    desk.with(async |c| Ok(c.store().commit(births).await?))?;
    let mut told = 0;
    while !stop.load(Ordering::Relaxed) {
        if first + told < now_ms().div_euclid(MINUTE_MS) {
            let messages = fleet.minute(told, first + told)?;
            desk.with(async |c| Ok(c.store().commit(messages).await?))?;
            told += 1;
            if told == PAST {
                say(&format!(
                    "the map is at http://{}/map; it is complete in half a minute; Ctrl-C ends it",
                    desk.http
                ));
            }
        } else {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

fn name(node: u32) -> String {
    format!("node-{node:03}")
}

fn address(node: u32) -> String {
    format!("10.{}.{}.{}", node / 62_500, node / 250 % 250, node % 250 + 1)
}

impl Fleet {
    /// So many services, always the same ones.
    fn new(count: u32) -> Self {
        let mut rng = Rng::with_seed(7);
        let nodes = count.div_ceil(SERVICES);
        let (fronts, stores) = ((count / 10).max(1), (count / 4).max(1));
        let kind = |n: u32| match n {
            0 => ("prometheus", 9090),
            n if n <= fronts => ("front", 443),
            n if n >= count - stores => (["postgresql", "redis", "kafka", "minio"][n as usize % 4], 5000),
            _ => (["cart", "search", "stock", "mail", "billing", "users", "prices", "images"][n as usize % 8], 8000),
        };
        let services: Vec<Service> = (0..count)
            .map(|n| {
                let (what, port) = kind(n);
                Service { node: n % nodes, unit: format!("{what}-{n}.service"), port: port + (n / nodes) as u16 }
            })
            .collect();
        let mut fleet = Self { services, lines: Vec::new(), drawn: HashSet::new(), nodes };
        let [first_app, first_store, end] = [fronts + 1, count - stores, count].map(|n| n as usize);
        let apps = first_app.min(first_store)..first_store.max(first_app);
        let storage = first_store..end;
        for front in 1..first_app {
            let visitors = End::Outside(format!("203.0.113.{}", front % 250 + 1));
            fleet.line(&mut rng, visitors, End::Service(front));
            for _ in 0..4 {
                let to = pick(&mut rng, &apps).or_else(|| pick(&mut rng, &storage));
                to.into_iter().for_each(|to| fleet.line(&mut rng, End::Service(front), End::Service(to)));
            }
        }
        for app in apps.clone() {
            for _ in 0..rng.usize(2..=3) {
                let to = pick(&mut rng, &storage);
                to.into_iter().for_each(|to| fleet.line(&mut rng, End::Service(app), End::Service(to)));
            }
            // Forward only: a shop has few circles.
            for _ in 0..rng.usize(1..=3) {
                let to = pick(&mut rng, &(app + 1..apps.end));
                to.into_iter().for_each(|to| fleet.line(&mut rng, End::Service(app), End::Service(to)));
            }
            if rng.u8(..10) == 0 {
                let api = format!("198.51.100.{}", rng.u8(1..20));
                fleet.line(&mut rng, End::Service(app), End::Outside(api));
            }
        }
        for store in storage.clone().filter(|s| s + 4 < end) {
            fleet.line(&mut rng, End::Service(store), End::Service(store + 4));
        }
        fleet.watch(&mut rng);
        fleet
    }

    /// Monitoring asks something on every node.
    fn watch(&mut self, rng: &mut Rng) {
        for node in 0..self.nodes {
            self.services.push(Service { node, unit: "node-exporter.service".into(), port: EXPORTER });
            self.line(rng, End::Service(0), End::Service(self.services.len() - 1));
        }
    }

    fn line(&mut self, rng: &mut Rng, client: End, server: End) {
        if let (End::Service(from), End::Service(to)) = (&client, &server)
            && !self.drawn.insert((*from, *to))
        {
            return;
        }
        let port = match &server {
            End::Service(to) => self.services[*to].port,
            End::Outside(_) => 443,
        };
        // From a connect a minute to a thousand a second, most of them few.
        let connects = 10_f64.powf(rng.f64() * rng.f64() * 4.8) as u32;
        let bytes = 10_f64.powf(2.0 + rng.f64() * 3.0) as u64;
        let [fails, slow] = [0; 2].map(|_: u8| rng.u8(..40) == 0);
        let lifetime_s = if slow { 3.0 } else { 0.02 + rng.f32() * 0.2 };
        let flow = Flow {
            connects,
            failed: if fails { connects / 5 + 1 } else { 0 },
            sent: u64::from(connects) * bytes / 4,
            received: u64::from(connects) * bytes,
            retransmits: rng.u32(..20).saturating_sub(15),
            rtt_s: if matches!(&client, End::Outside(_)) { 0.03 } else { 0.0002 + rng.f32() * 0.001 },
            active: (f64::from(connects) / 60.0 * f64::from(lifetime_s)).ceil() as u32,
            lifetime_s,
        };
        let ports = [0; 4].map(|_: u16| rng.u16(32_768..60_999));
        let from = if rng.u8(..30) == 0 { PAST / 2 } else { 0 };
        self.lines.push(Line { client, server, port, ports, flow, from });
    }

    /// What all nodes say of minute `n`, which is minute `at` of the clock.
    fn minute(&self, n: i64, at: i64) -> Result<Vec<tacit_collector::store::Incoming>> {
        let mut halves: Vec<Vec<Half>> = vec![Vec::new(); self.nodes as usize];
        for line in self.lines.iter().filter(|l| n >= l.from) {
            for (here, there, server) in [(&line.client, &line.server, false), (&line.server, &line.client, true)] {
                let End::Service(own) = here else { continue };
                let own = &self.services[*own];
                let peer = match there {
                    End::Service(other) => address(self.services[*other].node),
                    End::Outside(address) => address.clone(),
                };
                halves[own.node as usize].push(Half {
                    owner: own.unit.clone(),
                    server,
                    peer,
                    port: line.port,
                    ports: line.ports,
                    flow: line.flow,
                });
            }
        }
        let number = n.unsigned_abs() + 1;
        let each = (0..).zip(&halves).map(|(node, halves)| minute(&name(node), number, at * MINUTE_MS, halves));
        each.collect()
    }
}

fn pick(rng: &mut Rng, of: &std::ops::Range<usize>) -> Option<usize> {
    (!of.is_empty()).then(|| rng.usize(of.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_has_the_size_that_is_asked_for_and_both_halves_of_its_edges() {
        for count in [5, 10, 100, 500] {
            let fleet = Fleet::new(count);
            let edges = fleet.lines.len() as u32;
            assert!((count..=count * 6).contains(&edges), "{count}: {edges}");
            let inner = fleet
                .lines
                .iter()
                .filter(|l| matches!(l.client, End::Service(_)) && matches!(l.server, End::Service(_)));
            let outer = fleet.lines.len() - inner.clone().count();
            let messages = fleet.minute(PAST, 1000).expect("names are good");
            let said: usize = messages
                .iter()
                .map(|m| match &m.body {
                    tacit_collector::store::IncomingBody::Links(links) => links.edges.len(),
                    _ => 0,
                })
                .sum();
            assert_eq!(said, 2 * inner.count() + outer);
        }
    }

    #[test]
    fn nodes_have_addresses_of_their_own() {
        let all: HashSet<String> = (0..4000).map(address).collect();
        assert_eq!(all.len(), 4000);
        assert!(all.iter().all(|a| a.parse::<std::net::Ipv4Addr>().is_ok()));
    }
}
