//! Clients that nobody could be named for, and where the next connection of each will come from.
//!
//! A close event does not say whose a connection was; that shows only while it is open, and a dump meets one of a millisecond by luck.
//! But the kernel numbers the connections from one address to one port of another upwards: the next one's own port is 2 to 16 above the
//! last one's, even steps only (`__inet_hash_connect`; always 2 before Linux 5.18, and since then it begins elsewhere every ten seconds). So the next connection
//! is one of eight sockets. Asking the kernel for these by name costs some microseconds, where a dump walks the table of all
//! connections: so often can be asked that one is met. A wrong guess finds nothing; what is found says itself whose it is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::links::message::{LISTEN, Record};
use crate::links::owner::Owners;

/// Destinations remembered.
const MOST: usize = 64;
/// Destinations asked about at once, the busiest.
const ASKED: usize = 8;
/// So many connections in two intervals are worth asking for.
const WORTH: u32 = 3;
/// One that was met so often in an interval and had no name is left alone in it.
const FRUITLESS: u32 = 8;
/// Distance of the kernel's ports, and how many may be next.
const STEP: u16 = 2;
const STEPS: u16 = 8;
/// `TCP_TIME_WAIT`: a socket that belongs to nobody any more.
const TIME_WAIT: u8 = 6;

/// From one address to one port of another.
type Way = (IpAddr, IpAddr, u16);

/// What is known of a client.
#[derive(Debug, Clone, Copy, Default)]
struct Stranger {
    /// Its newest port.
    port: u16,
    /// Connections of this interval and the one before.
    seen: [u32; 2],
    /// How often it was met in this interval and had no name.
    fruitless: u32,
}

/// The sockets to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// The client's address.
    pub client: IpAddr,
    /// Where it connects to.
    pub server: SocketAddr,
    after: u16,
}

impl Guess {
    /// The client's ports that may be next.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let after = self.after;
        (1..=STEPS).filter_map(move |n| after.checked_add(n * STEP))
    }

    /// Whether this is one of the sockets asked for, and still somebody's. Where there is no such connection the kernel answers with what listens on that
    /// port.
    #[must_use]
    pub fn fits(&self, record: &Record) -> bool {
        (record.remote, record.remote_port) == (self.server.ip(), self.server.port())
            && record.local == self.client
            && record.state != TIME_WAIT
            && record.state != LISTEN
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Strangers(HashMap<Way, Stranger>);

impl Strangers {
    /// A connection of a client that nobody could be named for has ended.
    pub fn closed(&mut self, record: &Record) {
        let way = way(record);
        // Before it was bound, or after a refused connect that blocked, there is no such way.
        if record.local_port == 0 || record.remote_port == 0 || record.local.is_unspecified() {
            return;
        }
        if self.0.len() < MOST || self.0.contains_key(&way) {
            let stranger = self.0.entry(way).or_default();
            stranger.port = record.local_port;
            stranger.seen[0] = stranger.seen[0].saturating_add(1);
        }
    }

    /// Whom to ask for: those that nobody is known for yet, the busiest first.
    #[must_use]
    pub fn guesses(&self, owners: &Owners) -> Vec<Guess> {
        let seen = |s: &Stranger| s.seen[0].saturating_add(s.seen[1]);
        let worth = |(way, s): &(&Way, &Stranger)| {
            seen(s) >= WORTH && s.fruitless < FRUITLESS && owners.remembered((way.1, way.2)).is_none()
        };
        let mut all: Vec<(&Way, &Stranger)> = self.0.iter().filter(worth).collect();
        all.sort_unstable_by(|(a, x), (b, y)| seen(y).cmp(&seen(x)).then_with(|| a.cmp(b)));
        let guess =
            |(way, s): (&Way, &Stranger)| Guess { client: way.0, server: SocketAddr::new(way.1, way.2), after: s.port };
        all.into_iter().take(ASKED).map(guess).collect()
    }

    /// One was met, and has no name.
    pub fn stays_nameless(&mut self, record: &Record) {
        if let Some(stranger) = self.0.get_mut(&way(record)) {
            stranger.fruitless = stranger.fruitless.saturating_add(1);
        }
    }

    /// An interval ends: who was not seen in two of them is forgotten.
    pub fn interval(&mut self) {
        self.0.retain(|_, stranger| {
            (stranger.seen, stranger.fruitless) = ([0, stranger.seen[0]], 0);
            stranger.seen[1] > 0
        });
    }
}

fn way(record: &Record) -> Way {
    (record.local, record.remote, record.remote_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::message::Transport;
    use crate::source::Root;
    use std::net::Ipv4Addr;

    fn record(port: u16, server: u32) -> Record {
        Record {
            transport: Transport::Tcp,
            state: 7,
            local: Ipv4Addr::LOCALHOST.into(),
            local_port: port,
            remote: Ipv4Addr::from_bits(server).into(),
            remote_port: 80,
            cookie: 1,
            queue: 0,
            inode: 0,
            cgroup: 0,
            info: None,
        }
    }

    fn servers(strangers: &Strangers, owners: &Owners) -> Vec<IpAddr> {
        strangers.guesses(owners).iter().map(|g| g.server.ip()).collect()
    }

    #[test]
    fn the_next_port_is_one_of_eight_after_the_newest() {
        let (mut strangers, owners) = (Strangers::default(), Owners::new(&Root::new("/nonexistent")));
        [40_000, 40_002].into_iter().for_each(|port| strangers.closed(&record(port, 1)));
        assert_eq!(strangers.guesses(&owners), [], "two may be chance");
        strangers.closed(&record(40_010, 1));
        let [guess] = strangers.guesses(&owners)[..] else { panic!("one") };
        let ports: Vec<u16> = guess.ports().collect();
        assert_eq!(ports, [40_012, 40_014, 40_016, 40_018, 40_020, 40_022, 40_024, 40_026]);
        assert_eq!(Guess { after: u16::MAX - 3, ..guess }.ports().count(), 1, "there are no more");
        let met = Record { state: 1, ..record(40_014, 1) };
        assert!(guess.fits(&met));
        let others =
            [Record { state: TIME_WAIT, ..met }, Record { state: LISTEN, ..met }, Record { remote_port: 0, ..met }];
        assert!(others.iter().all(|other| !guess.fits(other)));
    }

    #[test]
    fn who_is_known_or_has_no_name_is_not_asked_for() {
        let (mut strangers, mut owners) = (Strangers::default(), Owners::new(&Root::new("/nonexistent")));
        for server in 1..=3 {
            (0..WORTH + server).for_each(|_| strangers.closed(&record(40_000, server)));
        }
        let address = |server: u32| IpAddr::from(Ipv4Addr::from_bits(server));
        assert_eq!(servers(&strangers, &owners), [address(3), address(2), address(1)]);
        owners.remember((address(2), 80), 7);
        (0..FRUITLESS).for_each(|_| strangers.stays_nameless(&record(40_000, 3)));
        assert_eq!(servers(&strangers, &owners), [address(1)]);
        strangers.interval();
        assert_eq!(servers(&strangers, &owners), [address(3), address(1)], "another try");
        strangers.interval();
        assert!(strangers.0.is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let (mut strangers, owners) = (Strangers::default(), Owners::new(&Root::new("/nonexistent")));
        for server in 0..10_000 {
            (0..WORTH).for_each(|_| strangers.closed(&record(40_000, server)));
        }
        assert_eq!((strangers.0.len(), strangers.guesses(&owners).len()), (MOST, ASKED));
        strangers.closed(&Record { local: Ipv4Addr::UNSPECIFIED.into(), ..record(1, 1) });
        assert_eq!(strangers.0.len(), MOST);
    }
}
