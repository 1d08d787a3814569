//! One run, step by step.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tacit_collector::clock::now_ms;
use tacit_collector::map::book::MINUTE_MS;
use tacit_collector::map::view::MapView;
use tacit_wire::codec::{Encoding, encode};

use super::Options;
use super::center::{AGENT, Center, HOSTS, NEW};
use super::desk::Desk;
use super::judge::{Judged, judge};
use super::node::{Cpu, Node};
use super::report::{NodeRow, Report};
use super::traffic::{Traffic, wait};
use super::truth::{End, Truth};
use crate::live::say;

/// Longest wait for an agent's first message.
const BIRTH: Duration = Duration::from_secs(60);
/// Agents look around so long before anything is measured.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// A minute's halves are with the collector so long after its end, and joined.
const JOINED_MS: i64 = 45_000;
/// Longest wait for the map to be complete.
const COMPLETE: Duration = Duration::from_secs(360);
/// Distance of looks at the map.
const LOOK: Duration = Duration::from_secs(3);

/// A run. Agents end before the collector, and that before the hosts.
pub struct Run<'a> {
    options: &'a Options,
    agent: &'a str,
    stop: &'a AtomicBool,
    nodes: Vec<Node>,
    desk: Desk,
    center: Center,
    /// What each kernel had sent again when its agent began.
    before: BTreeMap<String, u64>,
    baseline: BTreeMap<String, Cpu>,
    load: BTreeMap<String, Cpu>,
    started_ms: i64,
    /// How long the short connections took.
    short_s: f64,
    watched: Vec<String>,
}

impl<'a> Run<'a> {
    /// Of a data centre in which nothing runs yet.
    pub fn new(options: &'a Options, agent: &'a str, center: Center, desk: Desk, stop: &'a AtomicBool) -> Self {
        let watched = center.watched();
        Self {
            options,
            agent,
            stop,
            nodes: Vec::new(),
            desk,
            center,
            before: BTreeMap::new(),
            baseline: BTreeMap::new(),
            load: BTreeMap::new(),
            started_ms: now_ms(),
            short_s: 0.0,
            watched,
        }
    }

    /// Where the console is.
    pub fn console(&self) -> SocketAddr {
        self.desk.http
    }

    /// The whole run.
    ///
    /// # Errors
    /// When something cannot be started or dies, or the run was interrupted.
    pub fn all(&mut self) -> Result<Report> {
        say("starting the servers");
        let mut traffic = Traffic::new(self.options.own_servers);
        traffic.serve(&self.center)?;
        say(&format!("starting {} agents", self.watched.len()));
        for host in self.watched.clone() {
            self.start_agent(&host)?;
        }
        self.births()?;
        self.pause(LOOK_AROUND, &mut traffic)?;
        for node in &self.nodes {
            self.before.insert(node.host.clone(), node.retransmits()?);
        }
        if !self.options.baseline.is_zero() {
            say(&format!("the agents alone, for {} s", self.options.baseline.as_secs()));
            self.nodes.iter_mut().for_each(Node::begin);
            self.pause(self.options.baseline, &mut traffic)?;
            self.baseline = self.used();
        }
        self.load(&mut traffic)?;
        if !self.options.no_change && traffic.can_change(&self.center) {
            self.change(&mut traffic)?;
        }
        say("the traffic ends");
        traffic.close_archive(if self.center.has(&[NEW]) { NEW } else { "old" }, None, None)?;
        let truths = self.expected(traffic.end()?);
        let kernel: BTreeMap<String, u64> =
            self.nodes.iter().filter_map(|n| Some((n.host.clone(), n.retransmits().ok()?))).collect();
        let ended_ms = now_ms();
        let view = self.complete(ended_ms)?;
        let judged = judge(&view, &truths);
        self.report(judged, &view, &kernel)
    }

    fn start_agent(&mut self, host: &str) -> Result<()> {
        let node = Node::start(&self.center, &self.desk, host, self.agent)?;
        self.nodes.push(node);
        Ok(())
    }

    fn births(&mut self) -> Result<()> {
        let end = Instant::now() + BIRTH;
        while Instant::now() < end {
            self.check()?;
            let mut missing = 0;
            for node in &self.nodes {
                missing += usize::from(!self.desk.knows(&node.host)?);
            }
            if missing == 0 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("an agent sent nothing within {} s", BIRTH.as_secs())
    }

    fn check(&mut self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("interrupted; everything is undone");
        }
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    fn pause(&mut self, time: Duration, traffic: &mut Traffic) -> Result<()> {
        wait(time, || {
            self.check()?;
            traffic.check().map(|()| false)
        })
        .map(drop)
    }

    /// Waits until a minute begins.
    fn full_minute(&mut self, traffic: &mut Traffic) -> Result<()> {
        let left = MINUTE_MS - now_ms().rem_euclid(MINUTE_MS);
        self.pause(Duration::from_millis(left.unsigned_abs()), traffic)
    }

    fn used(&self) -> BTreeMap<String, Cpu> {
        self.nodes.iter().map(|n| (n.host.clone(), n.used())).collect()
    }

    /// All the traffic there is, and the many short connections in it.
    fn load(&mut self, traffic: &mut Traffic) -> Result<()> {
        say("the steady traffic begins");
        let began = Instant::now();
        traffic.steady(&self.center)?;
        if self.options.sockets > 0 {
            traffic.idle(&self.center, self.options.sockets)?;
        }
        // Long enough for all idle connections, and for the agents to see who is there.
        let more = Duration::from_millis(self.options.sockets);
        self.pause(LOOK_AROUND + more, traffic)?;
        let most = traffic.short(&self.center, self.options.short, self.options.rate)?;
        say(&format!("{most} short connections, {} a second", self.options.rate));
        self.nodes.iter_mut().for_each(Node::begin);
        let from = Instant::now();
        let expected = Duration::from_secs(self.options.short / self.options.rate.max(1));
        let done = wait(expected * 3 + Duration::from_secs(30), || {
            self.check()?;
            traffic.short_done()
        })?;
        if !done {
            bail!(
                "the short connections are not made after {} s: this machine is too slow for them",
                from.elapsed().as_secs()
            );
        }
        self.short_s = from.elapsed().as_secs_f64();
        self.load = self.used();
        let left = Duration::from_secs(self.options.seconds).saturating_sub(began.elapsed());
        self.pause(left, traffic)
    }

    /// A service moves, one goes down, and a host goes; another comes with its address.
    fn change(&mut self, traffic: &mut Traffic) -> Result<()> {
        say("waiting for a full minute: then a service moves, and one goes down");
        self.full_minute(traffic)?;
        traffic.change(&self.center, now_ms())?;
        if self.center.has(&["old", "app2"]) {
            say("a host goes, and another comes with its address");
            traffic.close_archive("old", None, Some(now_ms()))?;
            self.nodes.retain(|n| n.host != "old");
            self.center.remove("old");
            let place = HOSTS.iter().find(|(host, _)| *host == "old").map_or(0, |(_, place)| *place);
            self.center.add(NEW, place)?;
            self.start_agent(NEW)?;
            self.watched.push(NEW.to_owned());
            self.births()?;
            if let Some(node) = self.nodes.last() {
                self.before.insert(NEW.to_owned(), node.retransmits()?);
            }
            self.full_minute(traffic)?;
            traffic.open_archive(&self.center, NEW)?;
        }
        self.pause(Duration::from_secs(self.options.seconds), traffic)
    }

    /// What agents themselves do is expected too.
    fn expected(&self, mut truths: Vec<Truth>) -> Vec<Truth> {
        let (here, port) = (End::outside(self.center.net.machine()), self.desk.broker.port());
        for host in &self.watched {
            truths.push(Truth::may_be("publishes", End::of(host, AGENT), here.clone(), port));
        }
        truths
    }

    /// Waits until the last minute is joined and the map stays as it is.
    fn complete(&mut self, ended_ms: i64) -> Result<MapView> {
        let joined_ms = (ended_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS + JOINED_MS;
        say("waiting for the map to be complete");
        let (end, from_ms) = (Instant::now() + COMPLETE, self.started_ms - MINUTE_MS);
        let (mut last, mut since) = (Vec::new(), Instant::now());
        loop {
            self.check()?;
            let view = self.desk.map(from_ms)?;
            let counts: Vec<(String, u64, u64, u64)> =
                view.edges.iter().map(|e| (e.id.clone(), e.connects, e.failed, e.retransmits)).collect();
            if counts != last {
                (last, since) = (counts, Instant::now());
            }
            let rests = since.elapsed() >= self.options.settle && now_ms() >= joined_ms;
            if rests || Instant::now() >= end {
                return Ok(view);
            }
            std::thread::sleep(LOOK);
        }
    }

    fn report(&self, judged: Judged, view: &MapView, kernel: &BTreeMap<String, u64>) -> Result<Report> {
        let said = self.desk.said(self.started_ms - MINUTE_MS)?;
        let mut nodes = Vec::new();
        for host in &self.watched {
            let mine: Vec<_> = said.iter().filter(|m| m.links.head.node.as_str() == host).collect();
            let mut by_minute: BTreeMap<i64, usize> = BTreeMap::new();
            for message in &mine {
                let bytes = encode(&message.links, Encoding::Cbor).map_or(0, |b| b.len());
                *by_minute.entry(message.minute).or_default() += bytes;
            }
            let told = mine.iter().flat_map(|m| &m.links.edges).map(|e| u64::from(e.retransmits)).sum();
            let coverage = view.coverage.nodes.iter().find(|n| n.node.as_str() == host);
            let since = self.before.get(host).copied().unwrap_or(0);
            nodes.push(NodeRow {
                host: host.clone(),
                level: coverage.map(|c| c.level),
                ends_per_s: self.ends_per_s(&judged, host),
                baseline: self.baseline.get(host).copied(),
                load: self.load.get(host).copied(),
                overflows: coverage.map_or(0, |c| c.overflows),
                unusable: coverage.map_or(0, |c| c.unusable + c.beyond),
                kernel_retransmits: kernel.get(host).map(|now| now.saturating_sub(since)),
                told_retransmits: told,
                messages: mine.len(),
                bytes_per_minute: by_minute.values().sum::<usize>() as f64 / by_minute.len().max(1) as f64,
                bytes_most: by_minute.values().copied().max().unwrap_or(0),
            });
        }
        Ok(Report { judged, nodes, short_s: self.short_s, sockets: self.options.sockets })
    }

    /// Ends of short connections that a host's kernel told of in a second.
    fn ends_per_s(&self, judged: &Judged, host: &str) -> f64 {
        let ends = |t: &Truth| u64::from(t.client.host == host) + u64::from(t.server.host == host);
        let short = judged.rows.iter().map(|r| &r.truth).filter(|t| t.short);
        let sum: u64 = short.map(|t| ends(t) * t.connects.unwrap_or(0)).sum();
        sum as f64 / self.short_s.max(1e-3)
    }
}
