//! The shop: six machines, the service of each, and who calls whom.
//!
//! ```text
//!                       ┌─ web-1 nginx ─┐              ┌─ cache-1 redis
//! customers, balanced ──┤               ├─ api-1 api ──┼─ db-1 postgresql ── batch-1 batch
//!                       └─ web-2 nginx ─┘              └─ payments (outside)
//! ```
//!
//! Addresses are of the ranges that documentation uses: they are nobody's.

/// The site of the shop, a level of its topics.
pub const SITE: &str = "demo";

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// Its address.
    pub address: &'static str,
    /// The unit of its service.
    pub unit: &'static str,
    /// What that listens on, if on anything.
    pub port: Option<u16>,
    /// Processors.
    pub cores: u32,
    /// Memory in bytes.
    pub memory: u64,
}

const GIB: u64 = 1 << 30;

/// The machines, in the order of their numbers.
pub const MACHINES: [Machine; 6] = [
    Machine { name: "web-1", address: "192.0.2.11", unit: "nginx.service", port: Some(443), cores: 4, memory: 8 * GIB },
    Machine { name: "web-2", address: "192.0.2.12", unit: "nginx.service", port: Some(443), cores: 4, memory: 8 * GIB },
    Machine {
        name: "api-1",
        address: "192.0.2.21",
        unit: "shop-api.service",
        port: Some(8080),
        cores: 8,
        memory: 16 * GIB,
    },
    Machine {
        name: "cache-1",
        address: "192.0.2.31",
        unit: "redis-server.service",
        port: Some(6379),
        cores: 2,
        memory: 8 * GIB,
    },
    Machine {
        name: "db-1",
        address: "192.0.2.41",
        unit: "postgresql.service",
        port: Some(5432),
        cores: 8,
        memory: 32 * GIB,
    },
    Machine {
        name: "batch-1",
        address: "192.0.2.51",
        unit: "shop-batch.service",
        port: None,
        cores: 4,
        memory: 8 * GIB,
    },
];

/// Numbers of machines.
pub const WEB: [usize; 2] = [0, 1];
/// The application.
pub const API: usize = 2;
/// What it keeps at hand.
pub const CACHE: usize = 3;
/// The database, which fails.
pub const DB: usize = 4;
/// What works on orders beside the application.
pub const BATCH: usize = 5;

/// One end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The service of the machine of this number.
    Machine(usize),
    /// An address outside.
    Outside(&'static str),
}

impl End {
    /// Its address.
    #[must_use]
    pub fn address(self) -> &'static str {
        match self {
            Self::Machine(number) => MACHINES[number].address,
            Self::Outside(address) => address,
        }
    }
}

/// Who calls whom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// Who connects.
    pub client: End,
    /// Who listens.
    pub server: End,
    /// On which port.
    pub port: u16,
    /// Round trip of the network in seconds.
    pub round_trip: f64,
}

/// The balancer in front of the shop, and who takes payments.
pub const OUTSIDE: [(&str, &str); 2] =
    [("198.51.100.7", "load balancer (simulated)"), ("203.0.113.20", "payments (simulated)")];
const BALANCER: End = End::Outside(OUTSIDE[0].0);
const PAYMENTS: End = End::Outside(OUTSIDE[1].0);

const fn path(client: End, server: End, port: u16, round_trip: f64) -> Path {
    Path { client, server, port, round_trip }
}

/// The paths, in the order of their numbers.
pub const PATHS: [Path; 8] = [
    path(BALANCER, End::Machine(WEB[0]), 443, 0.001_1),
    path(BALANCER, End::Machine(WEB[1]), 443, 0.001_2),
    path(End::Machine(WEB[0]), End::Machine(API), 8080, 0.000_26),
    path(End::Machine(WEB[1]), End::Machine(API), 8080, 0.000_27),
    path(End::Machine(API), End::Machine(CACHE), 6379, 0.000_21),
    path(End::Machine(API), End::Machine(DB), 5432, 0.000_24),
    path(End::Machine(API), PAYMENTS, 443, 0.018),
    path(End::Machine(BATCH), End::Machine(DB), 5432, 0.000_29),
];

/// Numbers of paths: customers to the web servers.
pub const TO_WEB: [usize; 2] = [0, 1];
/// The web servers to the application.
pub const TO_API: [usize; 2] = [2, 3];
/// The application to what it keeps at hand.
pub const TO_CACHE: usize = 4;
/// The application to the database.
pub const TO_DB: usize = 5;
/// The application to who takes payments.
pub const TO_PAYMENTS: usize = 6;
/// The batch jobs to the database.
pub const BATCH_TO_DB: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_ends_at_a_port_that_somebody_listens_on() {
        for path in PATHS {
            if let End::Machine(number) = path.server {
                assert_eq!(MACHINES[number].port, Some(path.port), "{path:?}");
            }
            assert_ne!(path.client.address(), path.server.address());
        }
        let mut names: Vec<&str> = MACHINES.iter().flat_map(|m| [m.name, m.address]).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2 * MACHINES.len());
    }
}
