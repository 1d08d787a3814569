//! One network namespace: its sockets, what was tracked of them, and at which level.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::containers::Containers;
use super::edges::{Figures, Key, Totals};
use super::message::Record;
use super::owner::{OwnerId, Owners};
use super::proc_net;
use super::publish::Observed;
use super::socket::{SocketError, Sockets};
use super::tracker::Tracker;
use crate::source::Root;
use crate::source::open_files::OpenFiles;

/// A receive buffer from here on counts as large.
const LARGE: usize = 1 << 20;

/// How much is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `/proc/net`: no short connections, no figures.
    Tables = 0,
    /// Every connection of this namespace; owners of one's own sockets, or by control group.
    Plain = 1,
    /// Also owners of all sockets, and a large buffer.
    Owners = 2,
    /// Also the network namespaces of containers.
    Containers = 3,
}

/// Looks at one namespace, and into those of containers.
#[derive(Debug)]
pub struct Observer {
    root: Root,
    /// None where there is no netlink.
    sockets: Option<Sockets>,
    /// Why there is none.
    without: String,
    tracker: Tracker,
    owners: Owners,
    records: Vec<Record>,
    level: Level,
    lost: u64,
    /// Whether events were lost since the last [`Self::hear`].
    to_repair: bool,
    containers: Option<Containers>,
    took_inside: Duration,
}

impl Observer {
    /// Of this thread's namespace; `wanted` bytes of receive buffer are asked for.
    ///
    /// # Errors
    /// When there is neither netlink nor `/proc/net`.
    pub fn open(root: &Root, wanted: usize) -> Result<Self, String> {
        // A dump shows whether the module is there; a recorded tree has no kernel.
        let opened = if root.is_live() {
            Sockets::open(wanted).and_then(|mut s| s.dump(|_| {}).map(|()| s)).map_err(|e| e.to_string())
        } else {
            Err("not a live machine".to_owned())
        };
        let without = opened.as_ref().err().cloned().unwrap_or_default();
        if opened.is_err() {
            proc_net::read(root).map_err(|e| format!("{without}, and /proc/net/tcp cannot be read: {e}"))?;
        }
        Ok(Self::with(root, opened.ok(), without))
    }

    fn with(root: &Root, sockets: Option<Sockets>, without: String) -> Self {
        let owners_seen = OpenFiles::find(root).of_others();
        let level = match &sockets {
            None => Level::Tables,
            Some(s) if owners_seen && s.room >= LARGE => Level::Owners,
            Some(_) => Level::Plain,
        };
        Self {
            root: root.clone(),
            sockets,
            without,
            tracker: Tracker::default(),
            owners: Owners::new(root),
            records: Vec::new(),
            level,
            lost: 0,
            to_repair: false,
            containers: None,
            took_inside: Duration::ZERO,
        }
    }

    /// Looks into containers too, through the helper whose socket is `path`; it may come later.
    #[must_use]
    pub fn with_containers(self, path: &Path) -> Self {
        // What a helper passes is of the live machine, and a machine without netlink has none.
        let containers = (self.root.is_live() && self.sockets.is_some()).then(|| Containers::new(path));
        Self { containers, ..self }
    }

    /// Hears of closed sockets. Says whether events were lost, so that a dump has to repair what is known.
    pub fn hear(&mut self) -> bool {
        if let Some(containers) = &mut self.containers {
            containers.hear(&self.owners);
        }
        self.hear_own();
        std::mem::take(&mut self.to_repair)
    }

    fn hear_own(&mut self) {
        let Some(sockets) = &mut self.sockets else { return };
        let (tracker, owners) = (&mut self.tracker, &self.owners);
        tracker.batch();
        // Another failure than a full buffer shows at the next dump as well, which tells it.
        let lost = sockets.closed(|record| tracker.closed(record, owners)).unwrap_or(0);
        self.lost += lost;
        self.to_repair |= lost > 0;
    }

    /// Whether there are single sockets to ask for: each may be the next connection of a client that nobody could be named for.
    #[must_use]
    pub fn has_guesses(&self) -> bool {
        self.sockets.is_some() && !self.tracker.guesses(&self.owners).is_empty()
    }

    /// Hears of what was closed in this namespace and asks for those sockets.
    pub fn ask(&mut self) {
        self.hear_own();
        let Some(sockets) = &mut self.sockets else { return };
        let (tracker, owners) = (&mut self.tracker, &mut self.owners);
        for guess in tracker.guesses(owners) {
            let ends = guess.ports().map(|port| (SocketAddr::new(guess.client, port), guess.server));
            let mut met = None;
            // A failure shows at the next dump as well.
            let _ = sockets.find(ends, |record| met = met.or(guess.fits(record).then_some(*record)));
            if let Some(record) = met {
                tracker.met(&record, owners);
            }
        }
    }

    /// Dumps open sockets and finds their owners.
    ///
    /// # Errors
    /// What cannot be seen, for the board.
    pub fn look(&mut self, now_ms: u64) -> Result<(), String> {
        self.dump(now_ms).map_err(|e| e.to_string())?;
        if let Some(containers) = &mut self.containers {
            let began = Instant::now();
            containers.look(&mut self.owners, now_ms);
            self.took_inside = began.elapsed();
        }
        if self.owners.search(now_ms) {
            self.dump(now_ms).map_err(|e| e.to_string())?;
        }
        match self.level {
            Level::Tables => {
                Err(format!("{}: connections are read from /proc/net, short ones are not seen", self.without))
            }
            _ => Ok(()),
        }
    }

    fn dump(&mut self, now_ms: u64) -> Result<(), SocketError> {
        self.records.clear();
        match &mut self.sockets {
            Some(sockets) => sockets.dump(|record| self.records.push(*record))?,
            None => self.records = proc_net::read(&self.root).unwrap_or_default(),
        }
        self.tracker.dumped(&self.records, &mut self.owners, self.sockets.is_some(), now_ms);
        Ok(())
    }

    /// The edges of the interval that began at `start_ms`.
    pub fn take(&mut self, start_ms: i64) -> (HashMap<Key, Figures>, Observed) {
        let mut edges = self.tracker.take(&self.owners);
        if let Some(containers) = &mut self.containers {
            self.lost += containers.take(&self.owners, &mut edges);
        }
        self.owners.tidy();
        let overflows = u32::try_from(std::mem::take(&mut self.lost)).unwrap_or(u32::MAX);
        (edges, Observed { start_ms, level: self.level() as u8, overflows })
    }

    /// Connections open now, by edge.
    #[must_use]
    pub fn active(&self) -> HashMap<Key, u32> {
        let mut active = self.tracker.active(&self.owners);
        if let Some(containers) = &self.containers {
            containers.active(&self.owners, &mut active);
        }
        active
    }

    /// What each service did in the interval so far, as a client and as a server.
    #[must_use]
    pub fn services(&self) -> HashMap<(OwnerId, bool), Totals> {
        let mut services = self.tracker.services();
        if let Some(containers) = &self.containers {
            containers.services(&self.owners, &mut services);
        }
        services
    }

    /// Whether more looks would name clients whose connections are too short to be met by chance.
    #[must_use]
    pub fn has_unnamed_clients(&self) -> bool {
        self.tracker.has_unnamed_clients()
    }

    /// The owners found so far.
    #[must_use]
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// The level of observation.
    #[must_use]
    pub fn level(&self) -> Level {
        // One level has all that is below it.
        let seen = self.level == Level::Owners && self.containers.as_ref().is_some_and(Containers::are_seen);
        if seen { Level::Containers } else { self.level }
    }

    /// What is seen inside containers, if they are looked into.
    #[must_use]
    pub fn containers(&self) -> Option<&Containers> {
        self.containers.as_ref()
    }

    /// How much of the last look was for containers: those have an account of their own, and a busy one does not make looks at this
    /// namespace rare.
    #[must_use]
    pub fn took_inside(&self) -> Duration {
        self.took_inside
    }

    /// Time until events have to be read again: a buffer of the stock size holds 166 of them.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_millis(match &self.sockets {
            None => 500,
            Some(sockets) if self.least_room(sockets.room) >= LARGE => 250,
            Some(_) => 100,
        })
    }

    fn least_room(&self, own: usize) -> usize {
        self.containers.as_ref().and_then(Containers::least_room).map_or(own, |least| least.min(own))
    }

    /// In plain words: the level and what is missing for a higher one.
    #[must_use]
    pub fn describe(&self) -> String {
        let inside = self
            .containers
            .as_ref()
            .map_or_else(|| "containers with a network of their own are not seen".to_owned(), Containers::describe);
        self.describe_with(&inside)
    }

    /// The same, with what is known of containers from elsewhere.
    #[must_use]
    pub fn describe_with(&self, inside: &str) -> String {
        match (self.level, &self.sockets) {
            (Level::Owners, _) => {
                let level = self.level() as u8;
                format!("level {level}: every connection of this network namespace and its owner; {inside}")
            }
            (Level::Plain, Some(sockets)) => format!(
                "level 1: every connection; owners by control group or of this user only (all need CAP_SYS_PTRACE), \
                 {} KiB for events (more needs CAP_NET_ADMIN); {inside}",
                sockets.room / 1024
            ),
            _ => format!("level 0: {}; connections are read from /proc/net, short ones are not seen", self.without),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn this_process_is_seen_talking_to_itself() {
        let mut observer = Observer::open(&Root::live(), super::super::socket::WANTED).expect("something can be seen");
        observer.look(0).expect("netlink is here");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        observer.look(20_000).expect("it works");
        let (edges, observed) = observer.take(0);
        assert!(observed.level >= 1);
        let mine = |key: &&Key| key.port == port || key.peer_port == port;
        let found: Vec<&Key> = edges.keys().filter(mine).collect();
        assert_eq!(found.len(), 2, "{edges:?}");
        assert!(found.iter().all(|k| !observer.owners().get(k.owner).name.is_empty()), "{found:?}");
        drop(stream);
    }

    #[test]
    fn without_a_kernel_the_tables_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::new(folder.path());
        assert!(Observer::open(&root, 0).expect_err("nothing").contains("/proc/net/tcp"));
        std::fs::create_dir_all(folder.path().join("proc/net")).expect("made");
        std::fs::write(folder.path().join("proc/net/tcp"), "  sl  local\n").expect("written");
        let mut observer = Observer::open(&root, 0).expect("a table");
        assert_eq!((observer.level(), observer.look(0).is_err()), (Level::Tables, true));
        assert!(observer.describe().starts_with("level 0"));
    }
}
