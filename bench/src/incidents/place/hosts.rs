//! Who is in the data centre.
//!
//! ```text
//!  world ─→ web-1, web-2 ─→ api-1, api-2 ─┬→ dns-1
//!    │                                    ├→ db-1
//!    └────→ mail-1                        └→ cache-1
//! ```

use std::path::{Path, PathBuf};

/// The agent's unit.
pub const AGENT: &str = "tacit-agent.service";
/// A unit of every host that has nothing to do, until a fault has work for it.
pub const JOB: &str = "batch.service";
/// The outside, which has no agent, its place in the network and its unit.
pub const WORLD: (&str, u8, &str) = ("world", 9, "visitors.service");

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Pages.
    Web,
    /// What pages are made of.
    Api,
    /// The database.
    Db,
    /// The cache.
    Cache,
    /// The name server.
    Names,
    /// A service that has nothing to do with the shop.
    Mail,
}

/// A host with an agent and one service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// Its place in the network.
    pub place: u8,
    /// Processor time that its service and its jobs have, in cores.
    pub cores: f64,
}

const fn host(name: &'static str, role: Role, place: u8, cores: f64) -> Host {
    Host { name, role, place, cores }
}

/// All hosts, in the order in which their services are started.
pub static HOSTS: [Host; 8] = [
    host("dns-1", Role::Names, 7, 0.25),
    host("db-1", Role::Db, 5, 0.5),
    host("cache-1", Role::Cache, 6, 0.25),
    host("api-1", Role::Api, 3, 0.2),
    host("api-2", Role::Api, 4, 0.2),
    host("web-1", Role::Web, 1, 0.2),
    host("web-2", Role::Web, 2, 0.2),
    host("mail-1", Role::Mail, 8, 0.2),
];

/// The host of this name.
pub fn find(name: &str) -> Option<&'static Host> {
    HOSTS.iter().find(|h| h.name == name)
}

/// Programs of Debian that stand in for servers of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs {
    /// Redis.
    pub redis: Option<PathBuf>,
    /// The folder of PostgreSQL's programs.
    pub postgres: Option<PathBuf>,
}

impl Programs {
    /// What is installed.
    pub fn installed() -> Self {
        let redis = ["/usr/bin/redis-server", "/bin/redis-server"].iter().map(Path::new).find(|p| p.exists());
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders = versions.map(|v| v.path().join("bin"));
        let whole = folders.filter(|bin| ["initdb", "postgres", "psql"].iter().all(|p| bin.join(p).exists()));
        Self { redis: redis.map(Path::to_owned), postgres: whole.max() }
    }
}

impl Host {
    /// The unit of its service.
    pub fn unit(&self, programs: &Programs) -> &'static str {
        match self.role {
            Role::Web => "shop-web.service",
            Role::Api => "shop-api.service",
            Role::Db if programs.postgres.is_some() => "postgresql.service",
            Role::Db => "shop-db.service",
            Role::Cache if programs.redis.is_some() => "redis-server.service",
            Role::Cache => "shop-cache.service",
            Role::Names => "shop-names.service",
            Role::Mail => "mail.service",
        }
    }

    /// The port of its service.
    pub fn port(&self) -> u16 {
        match self.role {
            Role::Web => 80,
            Role::Api => 8080,
            Role::Db => 5432,
            Role::Cache => 6379,
            // Names themselves are asked for on port 53; here it says whether it is well.
            Role::Names => 8053,
            Role::Mail => 8025,
        }
    }

    /// Whether its service speaks HTTP.
    pub fn speaks_http(&self, programs: &Programs) -> bool {
        match self.role {
            Role::Cache => false,
            Role::Db => programs.postgres.is_none(),
            _ => true,
        }
    }

    /// Whether its service is one of ours, which shows figures.
    pub fn is_ours(&self, programs: &Programs) -> bool {
        match self.role {
            Role::Db => programs.postgres.is_none(),
            Role::Cache => programs.redis.is_none(),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_host_has_a_place_of_its_own() {
        let mut places: BTreeSet<u8> = HOSTS.iter().map(|h| h.place).collect();
        assert!(places.insert(WORLD.1) && places.len() == HOSTS.len() + 1);
        assert!(HOSTS.iter().all(|h| find(h.name) == Some(h)) && find("old").is_none());
        // Names of links have at most 15 characters: `to-` and the host's.
        assert!(HOSTS.iter().all(|h| h.name.len() <= 12));
    }

    #[test]
    fn programs_of_debian_have_units_of_their_own() {
        let (ours, debian) = (
            Programs::default(),
            Programs { redis: Some("/usr/bin/redis-server".into()), postgres: Some("/usr/lib/x".into()) },
        );
        let [db, cache, web] = ["db-1", "cache-1", "web-1"].map(|n| find(n).unwrap());
        assert_eq!((db.unit(&ours), db.unit(&debian)), ("shop-db.service", "postgresql.service"));
        assert!(db.speaks_http(&ours) && !db.speaks_http(&debian) && !cache.speaks_http(&ours));
        assert!(cache.is_ours(&ours) && !cache.is_ours(&debian) && web.is_ours(&debian));
    }
}
