//! A network namespace with one link to the machine: the agent lives in it when network faults are asked for, with steady
//! traffic over the link, so that a fault has something to disturb and disturbs nobody else.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::faults::undo::{Janitor, Promise, Undo, run};

/// Addresses of the two ends, from the block that is kept for benchmarks (RFC 2544).
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 1);
const INSIDE: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 2);
/// Bytes that the server answers a request with.
pub const ANSWER: usize = 20_000;

/// The namespace.
#[derive(Debug)]
pub struct Netns {
    /// Its name for `ip netns`.
    pub name: String,
    /// The link's end outside.
    pub link: String,
    /// Where the server of the steady traffic listens.
    pub server: SocketAddr,
    /// Where the name server listens.
    pub resolver: SocketAddr,
    janitor: Arc<Janitor>,
    _made: Vec<Promise>,
}

impl Netns {
    /// Makes namespace, link and the servers outside.
    ///
    /// # Errors
    /// Without root or `ip`.
    pub fn new(janitor: &Arc<Janitor>) -> Result<Self> {
        let name = format!("tacit-faults-{}", std::process::id());
        // Names of links have at most 15 characters.
        let link = format!("tf{}", std::process::id());
        let space = janitor.make(&["ip", "netns", "add", &name], &["ip", "netns", "delete", &name])?;
        let add = ["ip", "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &name];
        // The link goes before the namespace that holds its other end.
        let made = vec![janitor.make(&add, &["ip", "link", "delete", &link])?, space];
        let (outside, inside) = (format!("{OUTSIDE}/30"), format!("{INSIDE}/30"));
        run(&["ip", "address", "add", &outside, "dev", &link])?;
        run(&["ip", "link", "set", &link, "up"])?;
        for rest in [
            &["address", "add", &inside, "dev", "eth0"][..],
            &["link", "set", "eth0", "up"],
            &["link", "set", "lo", "up"],
            &["route", "add", "default", "via", &OUTSIDE.to_string()],
        ] {
            run(&[&["ip", "-n", &name][..], rest].concat())?;
        }
        let (server, resolver) = (serve().context("no server for traffic")?, answer().context("no name server")?);
        Ok(Self { name, link, server, resolver, janitor: Arc::clone(janitor), _made: made })
    }

    /// Drops packets that `rule` (in nft's words) meets on their way in, until the promise ends.
    ///
    /// # Errors
    /// Without `nft` or the kernel's modules for it.
    pub fn drop_incoming(&self, rule: &str) -> Result<Promise> {
        let inside = ["ip", "netns", "exec", &self.name, "nft"];
        let undo = [&inside[..], &["delete", "table", "inet", "faults"]].concat();
        let promise = self.janitor.promise(Undo::run(&undo))?;
        let table = format!(
            "table inet faults {{ chain incoming {{ type filter hook input priority 0; policy accept; {rule} drop; }}; }}"
        );
        if let Err(error) = run(&[&inside[..], &[table.as_str()]].concat()) {
            promise.forget();
            return Err(error);
        }
        Ok(promise)
    }

    /// Limits what comes in to so many kilobits a second, until the promise ends.
    ///
    /// # Errors
    /// Without `tc` or the kernel's token bucket.
    pub fn limit_incoming(&self, kbit: u32) -> Result<Promise> {
        let on = ["dev", &self.link, "root"];
        let promise = self.janitor.promise(Undo::run(&[&["tc", "qdisc", "delete"][..], &on].concat()))?;
        let rate = format!("{kbit}kbit");
        let bucket = ["tbf", "rate", &rate, "burst", "16kb", "latency", "400ms"];
        if let Err(error) = run(&[&["tc", "qdisc", "add"][..], &on, &bucket].concat()) {
            promise.forget();
            return Err(error);
        }
        Ok(promise)
    }
}

/// Answers each byte with [`ANSWER`] bytes, for as long as this process lives.
fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind((OUTSIDE, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
    Ok(address)
}

fn talk(mut stream: TcpStream) {
    // A client that went away without a word does not hold the thread for ever.
    let limits = stream.set_read_timeout(Some(Duration::from_secs(120)));
    let (mut request, answer) = ([0; 1], vec![7_u8; ANSWER]);
    while limits.is_ok() && stream.read_exact(&mut request).is_ok() && stream.write_all(&answer).is_ok() {}
}

/// Answers each DNS question with the same address (RFC 1035: the question, and one answer that points to its name).
fn answer() -> Result<SocketAddr> {
    let socket = UdpSocket::bind((OUTSIDE, 53))?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(question) = buffer.get(..length).filter(|q| q.len() > 12) else { continue };
            let mut reply = question.to_vec();
            // A response, recursion available, one answer: name at 12, type A, class IN, 60 s, four bytes.
            (reply[2], reply[3], reply[7]) = (0x81, 0x80, 1);
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(OUTSIDE.octets());
            // Whoever asked may be gone.
            let _ = socket.send_to(&reply, from);
        }
    });
    Ok(address)
}
