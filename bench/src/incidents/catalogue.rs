//! The faults, one row each, and who is behind each of them.

use std::time::Duration;

use super::inject::{self, Start};

/// Who is behind a fault: any of these names is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Culprit {
    /// The host: itself, whatever runs on it, or a link that is named after it.
    pub host: &'static str,
    /// A service elsewhere that is to blame as much.
    pub also: Option<&'static str>,
}

impl Culprit {
    /// Whether a candidate of a ranking is meant.
    pub fn is(&self, entity: &str, kind: &str) -> bool {
        let node = entity.split_once('/').map_or(entity, |(node, _)| node);
        let of_link = || entity.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == self.host);
        node == self.host || self.also == Some(entity) || (kind == "link" && of_link())
    }
}

/// A fault.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Name on the command line and in the table.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// Who is behind it; as many incidents are right.
    pub culprits: &'static [Culprit],
    /// How it is started.
    pub start: Start,
    /// A second fault, and how long after the first it comes.
    pub then: Option<(Duration, Start)>,
}

const fn on(host: &'static str) -> Culprit {
    Culprit { host, also: None }
}

const API_1: &[Culprit] = &[on("api-1")];
const API_2: &[Culprit] = &[on("api-2")];
const CACHE: &[Culprit] = &[on("cache-1")];
const DB: &[Culprit] = &[on("db-1")];
const NAMES: &[Culprit] = &[on("dns-1")];
const WEB: &[Culprit] = &[on("web-1")];
/// The database, and the job that takes its connections.
const POOL: &[Culprit] = &[Culprit { host: "db-1", also: Some("api-2/batch.service") }];
const STRANGERS: &[Culprit] = &[on("api-2"), on("mail-1")];

const fn fault(name: &'static str, what: &'static str, culprits: &'static [Culprit], start: Start) -> Fault {
    Fault { name, what, culprits, start, then: None }
}

/// All faults.
pub static ALL: [Fault; 11] = [
    fault("db-slow", "the database is slow and holds its connections", DB, inject::db_slow),
    fault("link-loss", "one in ten packets to cache-1 is lost (nft)", CACHE, inject::link_loss),
    fault("host-overloaded", "a job on api-2 takes the host's processor time", API_2, inject::overload),
    fault("service-killed", "the API on api-2 is stopped: connects are refused", API_2, inject::kill_api),
    fault("bad-deploy", "a change of api-1 is announced; from then on it fails and burns", API_1, inject::deploy),
    fault("disk-full", "the disk below the cache fills, and writes are refused", CACHE, inject::fill_disk),
    fault("dns-broken", "the name server takes nothing in any more", NAMES, inject::break_names),
    fault("memory-leak", "the cache grows by 8 MB a second, up to 300 MB", CACHE, inject::leak),
    fault("accept-queue", "web-1 accepts no connection: its queue fills", WEB, inject::fill_queue),
    fault("pool-exhausted", "a job on api-2 keeps all connections of the database", POOL, inject::take_connections),
    Fault {
        then: Some((Duration::from_secs(20), inject::break_mail)),
        ..fault("two-at-once", "the API on api-2 is stopped, and 20 s later mail-1 hangs", STRANGERS, inject::kill_api)
    },
];

/// The faults of these names, in the table's order; all for no name.
///
/// # Errors
/// A name that is not in the table.
pub fn select(only: &[String]) -> anyhow::Result<Vec<&'static Fault>> {
    if let Some(unknown) = only.iter().find(|name| ALL.iter().all(|f| f.name != name.as_str())) {
        let names: Vec<&str> = ALL.iter().map(|f| f.name).collect();
        anyhow::bail!("--only {unknown}: no fault has that name; there are {}", names.join(", "));
    }
    Ok(ALL.iter().filter(|f| only.is_empty() || only.iter().any(|name| name == f.name)).collect())
}

/// The table as text for `--list`.
pub fn list() -> String {
    let width = ALL.iter().map(|f| f.name.len()).max().unwrap_or(0);
    ALL.iter().map(|f| format!("{:width$}  {}\n", f.name, f.what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incidents::place::hosts::find;

    #[test]
    fn the_table_is_consistent() {
        for (i, fault) in ALL.iter().enumerate() {
            assert!(ALL[..i].iter().all(|f| f.name != fault.name), "{} is there twice", fault.name);
            assert!(!fault.culprits.is_empty() && list().contains(fault.what), "{}", fault.name);
            assert!(fault.culprits.iter().all(|c| find(c.host).is_some()), "{}", fault.name);
            assert_eq!(fault.culprits.len(), 1 + usize::from(fault.then.is_some()), "{}", fault.name);
        }
        assert!(ALL.iter().filter(|f| f.then.is_none()).count() >= 10);
    }

    #[test]
    fn a_culprit_is_known_by_host_service_and_link() {
        let culprit = Culprit { host: "db-1", also: Some("api-2/batch.service") };
        for (entity, kind) in [
            ("db-1", "node"),
            ("db-1/postgresql.service", "service"),
            ("api-2/batch.service", "service"),
            ("link:api-1>db-1", "link"),
        ] {
            assert!(culprit.is(entity, kind), "{entity}");
        }
        for (entity, kind) in [
            ("db-10", "node"),
            ("api-2", "node"),
            ("api-2/shop-api.service", "service"),
            ("ext:db-1", "service"),
            ("link:db-10", "link"),
        ] {
            assert!(!culprit.is(entity, kind), "{entity}");
        }
    }

    #[test]
    fn faults_are_chosen_by_name() {
        let names = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            select(&only).unwrap().iter().map(|f| f.name).collect()
        };
        assert_eq!(names(&["dns-broken", "db-slow"]), ["db-slow", "dns-broken"]);
        assert_eq!(names(&[]).len(), ALL.len());
        let error = select(&["db-slo".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("db-slo") && error.contains("two-at-once"), "{error}");
    }
}
