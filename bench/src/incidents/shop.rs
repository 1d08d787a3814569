//! The services of the shop and those who visit it.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::debian::{self, CONNECTIONS};
use super::place::ground::{Ground, LIFETIME_S};
use super::place::hosts::{HOSTS, Host, Role, WORLD};
use crate::live::process::Process;
use crate::map::part::Talk;

/// Pages a second that are asked of each web server, and requests of the mail server.
const PAGES: u64 = 10;
const MAILS: u64 = 5;
/// Where names are asked for.
pub const DNS: u16 = 53;

/// The running shop. Visitors end before services.
#[derive(Debug)]
pub struct Shop {
    visitors: Vec<Process>,
    services: BTreeMap<&'static str, Process>,
}

impl Shop {
    /// Starts everything.
    ///
    /// # Errors
    /// When something does not start.
    pub fn open(ground: &Ground) -> Result<Self> {
        let mut shop = Self { visitors: Vec::new(), services: BTreeMap::new() };
        for host in &HOSTS {
            shop.start(ground, host)?;
        }
        for host in HOSTS.iter().filter(|h| matches!(h.role, Role::Web | Role::Mail)) {
            let rate = if host.role == Role::Mail { MAILS } else { PAGES };
            shop.visitors.push(visit(ground, host, rate)?);
        }
        Ok(shop)
    }

    /// Starts the service of a host.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(&mut self, ground: &Ground, host: &'static Host) -> Result<()> {
        let process = match (host.role, &ground.programs.redis, &ground.programs.postgres) {
            (Role::Cache, Some(redis), _) => debian::redis(ground, host, redis, &cache_folder(ground)?)?,
            (Role::Db, _, Some(postgres)) => debian::postgres(ground, host, postgres)?,
            _ => ours(ground, host)?,
        };
        self.services.insert(host.name, process);
        Ok(())
    }

    /// Stops the service of a host.
    pub fn stop(&mut self, host: &str) {
        self.services.remove(host);
    }

    /// Fails when something failed.
    ///
    /// # Errors
    /// What did, and why.
    pub fn check(&mut self) -> Result<()> {
        let mut all = self.services.values_mut().chain(&mut self.visitors);
        all.find_map(Process::trouble).map_or(Ok(()), |words| bail!(words))
    }
}

/// Where the cache writes: the small disk, when there is one.
fn cache_folder(ground: &Ground) -> Result<std::path::PathBuf> {
    let folder = ground.disk().map_or_else(|_| ground.folder.clone(), |disk| disk.mount.clone()).join("cache");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn ours(ground: &Ground, host: &Host) -> Result<Process> {
    let at = ground.net.socket(host.name, host.port())?;
    let mut words: Vec<String> = Vec::new();
    match host.role {
        Role::Web => {
            let apis: Vec<String> = addresses(ground, Role::Api)?;
            words.extend(["web".into(), "--apis".into(), apis.join(",")]);
        }
        Role::Api => {
            let dns = format!("{}:{DNS}", of_role(ground, Role::Names)?);
            let talk = if ground.programs.postgres.is_some() { Talk::Session } else { Talk::Http };
            words.extend(["api".into(), "--names".into(), dns, "--talk".into(), talk.word().into()]);
        }
        Role::Db => words.extend(["db".into(), "--most".into(), CONNECTIONS.to_string()]),
        Role::Cache => {
            let folder = cache_folder(ground)?.to_string_lossy().into_owned();
            words.extend(["cache".into(), "--folder".into(), folder]);
        }
        Role::Names => {
            words.extend(["names".into(), "--dns".into(), format!("{}:{DNS}", at.ip())]);
            for (name, role) in [("db.shop", Role::Db), ("cache.shop", Role::Cache)] {
                words.extend(["--name".into(), format!("{name}={}", of_role(ground, role)?)]);
            }
        }
        Role::Mail => words.push("mail".into()),
    }
    let switches = ground.switches(host.name).to_string_lossy().into_owned();
    words.extend(["--listen".into(), at.to_string(), "--switches".into(), switches]);
    words.extend(["--seconds".into(), LIFETIME_S.to_string()]);
    let words: Vec<&str> = ["incident-part"].into_iter().chain(words.iter().map(String::as_str)).collect();
    let mut process = ground.part(host.name, host.unit(&ground.programs), &words)?;
    ground.wait_for(at, &mut process)?;
    Ok(process)
}

fn visit(ground: &Ground, host: &Host, per_s: u64) -> Result<Process> {
    let to = ground.net.socket(host.name, host.port())?.to_string();
    let report = ground.folder.join(format!("visitors-{}.json", host.name)).to_string_lossy().into_owned();
    let [rate, most, seconds] = [per_s, u64::MAX, LIFETIME_S].map(|n| n.to_string());
    let words = ["map-part", "short", "--name", "visitors", "--report", &report, "--seconds", &seconds];
    let shots = ["--to", &to, "--talk", Talk::Http.word(), "--per-s", &rate, "--most", &most];
    ground.part(WORLD.0, WORLD.2, &[&words[..], &shots].concat())
}

/// Addresses with ports of all hosts of a role.
fn addresses(ground: &Ground, role: Role) -> Result<Vec<String>> {
    let hosts = HOSTS.iter().filter(|h| h.role == role);
    hosts.map(|h| Ok(ground.net.socket(h.name, h.port())?.to_string())).collect()
}

/// The address of the first host of a role.
fn of_role(ground: &Ground, role: Role) -> Result<std::net::Ipv4Addr> {
    match HOSTS.iter().find(|h| h.role == role) {
        Some(host) => ground.net.address(host.name),
        None => bail!("the data centre has no {role:?}"),
    }
}
