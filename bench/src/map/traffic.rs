//! The known traffic: who talks to whom in the data centre, how much, and what goes wrong.
//!
//! ```text
//!  world ─→ front/nginx ─→ virtual address ─→ app1, app2       short HTTP
//!           app1 ─→ cache, db (pools); app2 ─→ db, cache        short PING and sessions; loss from app2 to cache
//!           app1 ─→ delay-proxy ─→ redis                        a slow service on a fast network
//!           front ─→ virtual address ─→ cart on app1, then app2 a service that moves
//!           app2 ─→ old, then new                               an address that is used again
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::center::{BOX, BOX_GROUP, Center, Worker};
use super::part::{Shots, Talk};
use super::rules::{self, APP, ARCHIVE, BACKUP, CART, CLOSED, DELAY, INNER, OUTSIDE, PROBE, SILENT, STOCK};
use super::servers::{self, Client, Server};
use super::truth::{End, Truth};
use crate::live::process::Process;

/// Delay of each piece at the proxy: a PING takes twice as long.
const HELD_MS: u64 = 100;
/// A client that never ends by itself.
const ENDLESS: u64 = u64::MAX;

/// Whose counts an edge takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    Client,
    Server,
}

struct Running {
    worker: Worker,
    edge: Option<(Truth, Take)>,
}

/// All traffic.
pub struct Traffic {
    own: bool,
    running: Vec<Running>,
    servers: Vec<Server>,
    others: Vec<Process>,
    truths: Vec<Truth>,
    cart: Option<usize>,
    probe: Option<Worker>,
    archive: Option<[Worker; 2]>,
}

impl Traffic {
    /// None yet; with `own`, servers of ours stand in for Debian's.
    pub fn new(own: bool) -> Self {
        Self {
            own,
            running: Vec::new(),
            servers: Vec::new(),
            others: Vec::new(),
            truths: Vec::new(),
            cart: None,
            probe: None,
            archive: None,
        }
    }

    /// Starts all servers.
    ///
    /// # Errors
    /// When one is not installed or does not start.
    pub fn serve(&mut self, center: &Center) -> Result<()> {
        let at = SocketAddr::from((center.net.virtual_address(), APP));
        rules::rewrite(center)?;
        for app in ["app1", "app2"].into_iter().filter(|app| center.has(&[app])) {
            let edge = Truth {
                via: Some(at.to_string()),
                short: true,
                ..Truth::new("pages", End::of("front", "nginx.service"), End::of(app, "shop-app.service"), APP)
            };
            let edge = center.has(&["front", "world"]).then_some((edge, Take::Server));
            let worker = center.serve(app, "shop-app.service", "shop-app", APP)?;
            self.running.push(Running { worker, edge });
        }
        if center.has(&["front", "app1"]) {
            self.servers.push(servers::nginx(center, self.own, at)?);
        }
        if center.has(&["cache"]) {
            self.servers.push(servers::redis(center, self.own)?);
            let redis = servers::redis_nearby(center, self.own)?;
            let worker = center.proxy("cache", "delay-proxy.service", "delay-proxy", DELAY, redis, HELD_MS)?;
            let [client, server] = [End::of("cache", "delay-proxy.service"), End::of("cache", "redis-server.service")];
            let edge = Truth { must: center.has(&["app1"]), ..Truth::new("behind the delay", client, server, 6379) };
            self.running.push(Running { worker, edge: Some((edge, Take::Client)) });
        }
        if center.has(&["db"]) {
            self.servers.push(servers::postgres(center)?);
        }
        self.serve_rest(center)?;
        rules::lose(center)
    }

    fn serve_rest(&mut self, center: &Center) -> Result<()> {
        let plain = |worker| Running { worker, edge: None };
        if center.has(&["app1", BOX]) {
            self.running.push(plain(center.serve("app1", "shop-stock.service", "shop-stock", STOCK)?));
        }
        if center.has(&[BOX]) {
            self.running.push(plain(center.serve(BOX, BOX_GROUP, "shop-inner", INNER)?));
        }
        if center.has(&["world"]) {
            self.running.push(plain(center.serve("world", "", "outside", OUTSIDE)?));
        }
        if center.has(&["front", "app1"]) {
            self.cart = Some(self.running.len());
            self.serve_cart(center, "app1")?;
            self.probe = Some(center.serve("app1", "shop-probe.service", "shop-probe", PROBE)?);
        }
        Ok(())
    }

    fn serve_cart(&mut self, center: &Center, app: &str) -> Result<()> {
        let via = SocketAddr::from((center.net.virtual_address(), CART)).to_string();
        let [client, server] = [End::of("front", "shop-web.service"), End::of(app, "shop-cart.service")];
        let edge = Truth { via: Some(via), ..Truth::new("cart", client, server, CART) };
        let worker = center.serve(app, "shop-cart.service", "shop-cart", CART)?;
        self.running.push(Running { worker, edge: Some((edge, Take::Server)) });
        Ok(())
    }

    /// Starts what goes on all the time.
    ///
    /// # Errors
    /// When something cannot be started.
    pub fn steady(&mut self, center: &Center) -> Result<()> {
        let net = &center.net;
        let app = |host: &str| End::of(host, "shop-app.service");
        if center.has(&["app1", "cache"]) {
            let cache = net.socket("cache", 6379)?;
            let edge = Truth::new("pool", app("app1"), End::of("cache", "redis-server.service"), 6379);
            self.pool(center, "app1", "shop-app.service", cache, 8, edge)?;
            let slow = End::of("app1", "shop-slow.service");
            let edge = Truth {
                lived_s: Some(0.0),
                ..Truth::new("slow service", slow, End::of("cache", "delay-proxy.service"), DELAY)
            };
            let shots = shots(net.socket("cache", DELAY)?, Talk::Ping, 20, ENDLESS);
            self.shoot(center, "app1", "shop-slow.service", "shop-slow", &shots, Some(edge))?;
            // The client is gone before anybody looks: nobody can know more than its host.
            let edge = Truth::new("refused", End::on("app1"), End::on("cache"), CLOSED);
            let refused = self::shots(net.socket("cache", CLOSED)?, Talk::Ping, 5, 100);
            self.shoot(center, "app1", "shop-app.service", "shop-app", &refused, Some(edge))?;
        }
        if center.has(&["app2", "cache"]) {
            let (cache, sync) = (net.socket("cache", 6379)?, End::of("app2", "shop-sync.service"));
            let edge =
                Truth { lossy: true, ..Truth::new("lossy", sync, End::of("cache", "redis-server.service"), 6379) };
            self.pool(center, "app2", "shop-sync.service", cache, 2, edge.clone())?;
            self.shoot(
                center,
                "app2",
                "shop-sync.service",
                "shop-sync",
                &shots(cache, Talk::Ping, 5, ENDLESS),
                Some(edge),
            )?;
        }
        if center.has(&["app1", "db"]) {
            let edge = Truth::new("pool", app("app1"), End::of("db", "postgresql.service"), 5432);
            match servers::pgbench(center, "app1", "shop-app.service", 4, 5)? {
                Client::Own(worker) => self.running.push(Running { worker, edge: Some((edge, Take::Client)) }),
                Client::Debian(process) => {
                    self.others.push(process);
                    // Four, and one with which it looks around first.
                    self.truths.push(Truth { connects: Some(5), ..edge });
                }
            }
        }
        self.steady_inside(center)?;
        self.steady_outside(center)?;
        self.steady_changing(center)
    }

    /// Out of the container, whose host puts its own address in place of the container's, and into it.
    fn steady_inside(&mut self, center: &Center) -> Result<()> {
        let inside = End::of("app2", "lxc-box");
        if center.has(&["app1", BOX]) {
            let edge = Truth {
                contained: true,
                ..Truth::new("out of the container", inside.clone(), End::of("app1", "shop-stock.service"), STOCK)
            };
            let shots = shots(center.net.socket("app1", STOCK)?, Talk::Http, 2, ENDLESS);
            self.shoot(center, BOX, BOX_GROUP, "shop-box", &shots, Some(edge))?;
        }
        if center.has(&[BOX]) {
            let client = End::of("app2", "shop-sync.service");
            let edge = Truth { contained: true, ..Truth::new("into the container", client, inside, INNER) };
            let shots = shots(center.net.socket(BOX, INNER)?, Talk::Http, 2, ENDLESS);
            self.shoot(center, "app2", "shop-sync.service", "shop-sync", &shots, Some(edge))?;
        }
        Ok(())
    }

    fn steady_outside(&mut self, center: &Center) -> Result<()> {
        let net = &center.net;
        if center.has(&["app1", "world"]) {
            let to = net.socket("world", OUTSIDE)?;
            let edge = Truth::new(
                "outside",
                End::of("app1", "shop-app.service"),
                End::outside(net.address("world")?),
                OUTSIDE,
            );
            self.shoot(center, "app1", "shop-app.service", "shop-app", &shots(to, Talk::Http, 2, ENDLESS), Some(edge))?;
        }
        if center.has(&["db", "world"]) {
            let to = net.socket("world", BACKUP)?;
            let edge = Truth {
                port_lost: true,
                ..Truth::new("refused, blocking", End::on("db"), End::outside(net.address("world")?), BACKUP)
            };
            let shots = Shots { blocking: true, ..shots(to, Talk::Ping, 5, 50) };
            self.shoot(center, "db", "shop-backup.service", "shop-backup", &shots, Some(edge))?;
        }
        if center.has(&["app2", "db"]) {
            let watch = End::of("app2", "shop-watch.service");
            let edge = Truth::new("no answer", watch, End::on("db"), SILENT);
            let shots = Shots { patience_ms: 3000, ..shots(net.socket("db", SILENT)?, Talk::Ping, 1, 10) };
            self.shoot(center, "app2", "shop-watch.service", "shop-watch", &shots, Some(edge))?;
        }
        Ok(())
    }

    fn steady_changing(&mut self, center: &Center) -> Result<()> {
        if center.has(&["front", "app1"]) {
            let cart = SocketAddr::from((center.net.virtual_address(), CART));
            self.shoot(center, "front", "shop-web.service", "shop-web", &shots(cart, Talk::Http, 5, ENDLESS), None)?;
            let probe = center.net.socket("app1", PROBE)?;
            let [client, server] = [End::of("front", "shop-probe.service"), End::of("app1", "shop-probe.service")];
            let edge = Truth::new("goes down", client, server, PROBE);
            let shots = shots(probe, Talk::Ping, 5, ENDLESS);
            self.shoot(center, "front", "shop-probe.service", "shop-probe", &shots, Some(edge))?;
        }
        if center.has(&["app2", "old"]) {
            self.archive = Some(archive(center, "old")?);
        }
        Ok(())
    }

    /// Opens idle connections within a host, in pairs, and says on which.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn idle(&mut self, center: &Center, sockets: u64) -> Result<()> {
        let host = "front";
        if !center.has(&[host]) {
            bail!("--sockets needs front");
        }
        let own = std::env::current_exe().context("cannot find this program's own path")?;
        let (own, pairs) = (own.to_string_lossy().into_owned(), (sockets / 2).to_string());
        let words = [own.as_str(), "inject", "sockets", "--per-s", "2500", "--most", &pairs, "--seconds", "3600"];
        self.others.push(center.start(host, "shop-idle.service", &words)?);
        let end = || End::of(host, "shop-idle.service");
        self.truths.push(Truth::may_be("idle", end(), end(), 0));
        Ok(())
    }

    /// Starts the short connections: `most` in all, `rate` a second, as far as there are hosts for them. Gives how many there
    /// will be.
    ///
    /// # Errors
    /// When something cannot be started.
    pub fn short(&mut self, center: &Center, most: u64, rate: u64) -> Result<u64> {
        let all = [
            (4, center.has(&["world", "front", "app1"])),
            (5, center.has(&["app1", "cache"])),
            (1, center.has(&["app2", "db"])),
        ];
        let whole: u64 = all.iter().filter(|(_, there)| *there).map(|(weight, _)| weight).sum();
        if whole == 0 {
            bail!("no short connections without world, front and app1, or app1 and cache, or app2 and db");
        }
        let [pages, pings, sessions] =
            all.map(
                |(weight, there)| if there { (most * weight / whole, (rate * weight / whole).max(1)) } else { (0, 1) },
            );
        if pages.0 > 0 {
            let (to, client) = (center.net.socket("front", 80)?, End::outside(center.net.address("world")?));
            let edge = Truth::new("short", client, End::of("front", "nginx.service"), 80);
            self.many(center, "world", "", "visitors", &shots(to, Talk::Http, pages.1, pages.0), edge)?;
        }
        if pings.0 > 0 {
            let (to, client) = (center.net.socket("cache", 6379)?, End::of("app1", "shop-app.service"));
            let edge = Truth::new("short", client, End::of("cache", "redis-server.service"), 6379);
            self.many(center, "app1", "shop-app.service", "shop-app", &shots(to, Talk::Ping, pings.1, pings.0), edge)?;
        }
        if sessions.0 > 0 {
            let (to, client) = (center.net.socket("db", 5432)?, End::of("app2", "shop-app.service"));
            let edge = Truth::new("short", client, End::of("db", "postgresql.service"), 5432);
            let shots = shots(to, Talk::Session, sessions.1, sessions.0);
            self.many(center, "app2", "shop-app.service", "shop-app", &shots, edge)?;
        }
        Ok(pages.0 + pings.0 + sessions.0)
    }

    fn many(&mut self, center: &Center, host: &str, unit: &str, name: &str, shots: &Shots, edge: Truth) -> Result<()> {
        self.shoot(center, host, unit, name, shots, Some(Truth { short: true, ..edge }))
    }

    /// Whether the short connections are all made; fails when something has ended that should not.
    ///
    /// # Errors
    /// Why it ended.
    pub fn short_done(&mut self) -> Result<bool> {
        self.check()?;
        let is_short = |r: &&mut Running| r.edge.as_ref().is_some_and(|(e, take)| e.short && *take == Take::Client);
        Ok(self.running.iter_mut().filter(is_short).all(|r| r.worker.ended()))
    }

    /// Fails when a server or client failed.
    ///
    /// # Errors
    /// Why it did.
    pub fn check(&mut self) -> Result<()> {
        let workers = self.running.iter_mut().find_map(|r| r.worker.trouble());
        let servers = || self.servers.iter_mut().find_map(Server::trouble);
        let trouble = workers.or_else(servers).or_else(|| self.others.iter_mut().find_map(Process::trouble));
        trouble.map_or(Ok(()), |words| bail!(words))
    }

    /// Whether the data centre has a service that can move.
    pub fn can_change(&self, center: &Center) -> bool {
        self.cart.is_some() && center.has(&["app2"])
    }

    /// The service moves: from now on the virtual address leads to the other host. A service goes down as well.
    ///
    /// # Errors
    /// When the new place does not serve.
    pub fn change(&mut self, center: &Center, now_ms: i64) -> Result<()> {
        let Some(cart) = self.cart else { return Ok(()) };
        self.serve_cart(center, "app2")?;
        rules::send_cart(center, center.net.address("app2")?)?;
        if let Some((old, _)) = &mut self.running[cart].edge {
            old.until_ms = Some(now_ms);
        }
        if let Some(Running { edge: Some((new, _)), .. }) = self.running.last_mut() {
            new.since_ms = Some(now_ms);
        }
        self.probe.take().map_or(Ok(()), |worker| worker.end().map(drop))
    }

    /// Ends the archive on a host that goes.
    ///
    /// # Errors
    /// When a part of it failed.
    pub fn close_archive(&mut self, host: &str, since_ms: Option<i64>, until_ms: Option<i64>) -> Result<()> {
        let Some([server, client]) = self.archive.take() else { return Ok(()) };
        let [from, to] = [End::of("app2", "shop-report"), End::of(host, "shop-archive.service")];
        let mut edge = Truth { since_ms, until_ms, ..Truth::new("archive", from, to, ARCHIVE) };
        edge.take_client(&client.end()?);
        server.end()?;
        self.truths.push(edge);
        Ok(())
    }

    /// Opens the archive on the host that came.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn open_archive(&mut self, center: &Center, host: &str) -> Result<()> {
        self.archive = Some(archive(center, host)?);
        Ok(())
    }

    /// Ends all clients, then all servers, and gives what was true.
    ///
    /// # Errors
    /// When one of them failed: then nothing is known.
    pub fn end(mut self) -> Result<Vec<Truth>> {
        self.others.clear();
        for Running { worker, edge } in self.running.drain(..).rev() {
            let counts = worker.end()?;
            if let Some((mut truth, take)) = edge {
                match take {
                    Take::Client => truth.take_client(&counts),
                    Take::Server => truth.take_server(&counts),
                }
                self.truths.push(truth);
            }
        }
        Ok(super::truth::merged(std::mem::take(&mut self.truths)))
    }

    fn pool(&mut self, center: &Center, host: &str, unit: &str, to: SocketAddr, most: u64, edge: Truth) -> Result<()> {
        let (to, most) = (to.to_string(), most.to_string());
        let words = ["pool", "--to", &to, "--talk", Talk::Ping.word(), "--connections", &most, "--per-s", "5"];
        let worker = center.part(host, unit, "shop-pool", &words)?;
        self.running.push(Running { worker, edge: Some((edge, Take::Client)) });
        Ok(())
    }

    fn shoot(
        &mut self,
        center: &Center,
        host: &str,
        unit: &str,
        name: &str,
        shots: &Shots,
        edge: Option<Truth>,
    ) -> Result<()> {
        let worker = center.short(host, unit, name, shots)?;
        self.running.push(Running { worker, edge: edge.map(|e| (e, Take::Client)) });
        Ok(())
    }
}

/// The archive on a host, and its client on app2: a program of no unit.
fn archive(center: &Center, host: &str) -> Result<[Worker; 2]> {
    let server = center.serve(host, "shop-archive.service", "shop-archive", ARCHIVE)?;
    let shots = shots(center.net.socket(host, ARCHIVE)?, Talk::Ping, 5, ENDLESS);
    Ok([server, center.short("app2", "", "shop-report", &shots)?])
}

fn shots(to: SocketAddr, talk: Talk, per_s: u64, most: u64) -> Shots {
    Shots { to, talk, per_s, most, blocking: false, patience_ms: 5000 }
}

/// Waits while nothing fails, at most so long; says whether `done` came to pass.
///
/// # Errors
/// What failed.
pub fn wait(time: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + time;
    loop {
        if done()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(100).min(end.saturating_duration_since(Instant::now())));
    }
}
