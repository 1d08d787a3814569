//! Connections inside network namespaces that the agent cannot enter, through the helper's own code. Only root may make namespaces;
//! for others these tests have nothing to look at and say so.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use tacit_agent::clock::Tick;
use tacit_agent::detect::event::Sender;
use tacit_agent::links::edges::{Figures, Key};
use tacit_agent::links::{Batch, Level, Observed, Observer, Owners, STEP_MS, socket};
use tacit_agent::source::Root;
use tacit_agent::source::cgroup::unit_of_process;
use tacit_netns::{Settings, inode_of, own, serve};

const INSIDE: &str = "TACIT_TEST_INSIDE";
const PORT: u16 = 8099;

/// What runs in a container: it serves on loopback and connects to itself as often as it is told.
#[test]
#[ignore = "a process of the test below"]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let mut lines = std::io::stdin().lines();
    lines.next().expect("it may begin").expect("text");
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("iproute2").success());
    let listener = TcpListener::bind(("127.0.0.1", PORT)).expect("a free port");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"hello");
        }
    });
    println!("ready");
    for line in lines {
        let times: u32 = line.expect("text").parse().expect("a number");
        for _ in 0..times {
            let mut stream = TcpStream::connect(("127.0.0.1", PORT)).expect("it listens");
            stream.read_to_end(&mut Vec::new()).expect("it answers");
        }
        println!("done");
    }
}

/// A process in a network namespace and, where that can be, in a control group like Docker's.
struct Container {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    groups: Vec<PathBuf>,
}

impl Container {
    fn start(digit: &str) -> Self {
        let mut child = Command::new("unshare")
            .arg("--net")
            .arg(std::env::current_exe().expect("it has a path"))
            .args(["containers::inside", "--exact", "--ignored", "--nocapture"])
            .env(INSIDE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is there");
        let said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut container = Self { child, said, groups: Vec::new() };
        // Version 2 alone, beside version 1, and version 1 alone.
        for tree in ["", "unified", "systemd", "pids"] {
            let tree = Path::new("/sys/fs/cgroup").join(tree);
            let group = tree.join(format!("docker-{}.scope", digit.repeat(64)));
            if tree.join("cgroup.procs").exists() && std::fs::create_dir(&group).is_ok() {
                let _ = std::fs::write(group.join("cgroup.procs"), container.child.id().to_string());
                container.groups.push(group);
            }
        }
        container.tell("begin", "ready");
        container
    }

    fn tell(&mut self, line: &str, answer: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{line}").expect("it reads");
        let ends = |said: &std::io::Result<String>| said.as_ref().is_ok_and(|line| line.ends_with(answer));
        self.said.by_ref().find(ends).expect("it answers").expect("text");
    }

    fn inode(&self) -> u32 {
        let link = std::fs::read_link(format!("/proc/{}/ns/net", self.child.id())).expect("it runs");
        inode_of(&link).expect("a namespace")
    }

    /// The name that its control group tells; empty where it could not be put into one.
    fn name(&self) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", self.child.id())).expect("it runs");
        unit_of_process(&text).filter(|name| name.starts_with("docker-")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for group in &self.groups {
            // The kernel takes a moment to see that it is empty.
            for _ in 0..100 {
                if std::fs::remove_dir(group).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// One end of a cable whose other end is in a container: it is gone when the container's namespace is.
struct Cable(String);

impl Cable {
    fn to(process: u32) -> Self {
        let cable = Self(format!("tacit-cable-{}", std::process::id()));
        cable.ip(&["netns", "add", &cable.0]);
        let process = process.to_string();
        cable.ip(&["-n", &cable.0, "link", "add", "w0", "type", "veth", "peer", "name", "w1", "netns", &process]);
        cable
    }

    fn ip(&self, arguments: &[&str]) {
        assert!(Command::new("ip").args(arguments).status().expect("iproute2").success(), "ip {arguments:?}");
    }

    fn is_plugged_in(&self) -> bool {
        let mut show = Command::new("ip");
        show.args(["-n", &self.0, "link", "show", "w0"]).stdout(Stdio::null()).stderr(Stdio::null());
        show.status().expect("iproute2").success()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// The helper, served by a thread for as long as the tests run.
fn helper(folder: &Path) -> PathBuf {
    let path = folder.join("netns.sock");
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&listener, &SocketAddrUnix::new(&path).expect("a short path")).expect("a free path");
    listen(&listener, 16).expect("it listens");
    let own = own().expect("it is ours");
    let settings = Settings { allowed: 0, idle: Duration::from_secs(600), proc: "/proc".into(), own };
    std::thread::spawn(move || serve(listener.as_fd(), &settings));
    path
}

/// An observer, and what it saw inside containers so far.
struct Seen {
    observer: Observer,
    began: Instant,
    edges: HashMap<Key, Figures>,
}

impl Seen {
    fn look(&mut self) -> Observed {
        self.observer.hear();
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).expect("soon");
        self.observer.look(now_ms).expect("it works");
        let (edges, observed) = self.observer.take(0);
        for (key, figures) in edges {
            if self.observer.owners().get(key.owner).scope != 0 {
                self.edges.entry(key).or_default().merge(figures);
            }
        }
        observed
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..3000 {
            self.look();
            if holds(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what}: {} {:?}", self.observer.describe(), self.edges);
    }

    fn holds(&self, inode: u32) -> bool {
        self.observer.containers().expect("they are looked into").held().contains(&inode)
    }

    /// Connects of a namespace, as a client and as a server.
    fn connects(&self, inode: u32) -> [u32; 2] {
        let of = |server: bool| {
            let mine = |key: &Key| key.server == server && self.owners().get(key.owner).scope == inode;
            self.edges.iter().filter(|(key, _)| mine(key)).map(|(_, figures)| figures.connects).sum()
        };
        [of(false), of(true)]
    }

    fn owners(&self) -> &Owners {
        self.observer.owners()
    }
}

#[test]
fn connections_inside_containers_are_seen_and_what_is_gone_is_let_go_of() {
    if !rustix::process::getuid().is_root() {
        eprintln!("Only root may make network namespaces: nothing was tested.");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (mut a, mut b) = (Container::start("a"), Container::start("b"));
    let cable = Cable::to(a.child.id());
    let [in_a, in_b] = [a.inode(), b.inode()];
    let observer = Observer::open(&Root::live(), socket::WANTED).expect("netlink is here");
    let observer = observer.with_containers(&helper(folder.path()));
    let mut seen = Seen { observer, began: Instant::now(), edges: HashMap::new() };
    seen.until("both are opened", |seen| seen.holds(in_a) && seen.holds(in_b));
    assert_eq!((seen.observer.level(), seen.look().level), (Level::Containers, 3));

    a.tell("50", "done");
    b.tell("30", "done");
    seen.until("all are counted", |seen| seen.connects(in_a) == [50, 50] && seen.connects(in_b) == [30, 30]);
    for key in seen.edges.keys() {
        let owner = seen.owners().get(key.owner);
        let container = if owner.scope == in_a { &a } else { &b };
        if [in_a, in_b].contains(&owner.scope) && !container.name().is_empty() {
            assert_eq!(*owner.name, *container.name(), "{key:?}");
        }
    }
    one_loopback_is_not_the_other(&seen, in_a, in_b);

    // Nobody hears of these before the container has ended, and its namespace lives only by the agent's descriptors.
    a.tell("10", "done");
    drop(a);
    assert!(cable.is_plugged_in(), "the descriptors keep the namespace");
    seen.until("it is let go of", |seen| !seen.holds(in_a));
    assert_eq!((seen.connects(in_a), seen.connects(in_b)), ([60, 60], [30, 30]));
    seen.until("the kernel has removed the namespace", |_| !cable.is_plugged_in());
    assert!(seen.holds(in_b), "the other one stays");
}

/// Both containers have the same addresses and ports; only their scopes tell them apart.
fn one_loopback_is_not_the_other(seen: &Seen, a: u32, b: u32) {
    let sender = Sender { node: "n".parse().expect("an id"), boot: Default::default() };
    let observed = Observed { start_ms: 0, level: 3, overflows: 0 };
    let (edges, active) = (seen.edges.clone(), HashMap::new());
    let messages = Batch::new(STEP_MS).minute(edges, &active, observed, seen.owners(), &sender, Tick::default());
    let mut ends: BTreeMap<(Option<u32>, bool), Vec<u32>> = BTreeMap::new();
    for end in messages.iter().flat_map(|m| &m.endpoints).filter(|e| e.port == PORT) {
        assert_eq!(end.address, "127.0.0.1");
        ends.entry((end.scope, end.owner_kind.is_some())).or_default().push(end.id);
    }
    ends.retain(|(scope, _), _| [Some(a), Some(b)].contains(scope));
    assert_eq!(ends.len(), 4, "a local end and a peer in each: {ends:?}");
}
