//! What is told to the service manager: datagrams of `KEY=value` lines to the socket that it names (`sd_notify(3)`).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tracing::warn;

/// Longest text of a state.
const STATUS: usize = 400;

/// The way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    to: SocketAddr,
    /// It wants a sign of life at least this often.
    watchdog: Option<Duration>,
    failing: bool,
}

impl Notifier {
    /// As the environment names it; `None` when nobody wants to hear. A socket that cannot be used is said once.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|s| !s.is_empty())?;
        let watchdog =
            watchdog(std::env::var_os("WATCHDOG_USEC"), std::env::var_os("WATCHDOG_PID"), std::process::id());
        let opened = Self::new(&socket, watchdog);
        opened.inspect_err(|error| warn!(?socket, %error, "The service manager cannot be told anything.")).ok()
    }

    /// To the socket of this name: a path, or `@` and an abstract name.
    ///
    /// # Errors
    /// When the name is neither, or no socket can be had.
    pub fn new(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let to = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("NOTIFY_SOCKET is neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        // Whoever does not listen must not stop the agent.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to, watchdog, failing: false })
    }

    /// Distance of signs of life, if any are wanted: three for each that is asked for.
    #[must_use]
    pub fn every(&self) -> Option<Duration> {
        self.watchdog.map(|within| (within / 3).max(Duration::from_millis(1)))
    }

    /// Sends these lines as one message. Whether it was sent; a failure is said once.
    pub fn say(&mut self, lines: &[String]) -> bool {
        let sent = self.socket.send_to_addr(lines.join("\n").as_bytes(), &self.to);
        if let (Err(error), false) = (&sent, self.failing) {
            warn!(%error, "The service manager does not take a message; it is tried again.");
        }
        self.failing = sent.is_err();
        sent.is_ok()
    }
}

/// How often a sign of life is wanted of the process `pid`.
fn watchdog(usec: Option<OsString>, of: Option<OsString>, pid: u32) -> Option<Duration> {
    let of = of.filter(|of| !of.is_empty());
    if of.is_some_and(|of| of.to_str().and_then(|of| of.parse().ok()) != Some(pid)) {
        return None;
    }
    let usec: u64 = usec?.to_str()?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

/// The line that states how it goes: one line, not too long.
#[must_use]
pub fn status_line(words: &str) -> String {
    let line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("STATUS={}", &line[..line.floor_char_boundary(STATUS)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 2048];
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
        let length = socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    #[test]
    fn paths_and_abstract_names_are_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("bound");
        let mut notifier = Notifier::new(path.as_os_str(), None).expect("a path");
        assert!(notifier.say(&["READY=1".into(), status_line("all\nwell")]));
        assert_eq!(received(&manager), "READY=1\nSTATUS=all well");

        let name = format!("tacit-test-{}-{}", std::process::id(), fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("bound");
        let mut notifier = Notifier::new(OsStr::new(&format!("@{name}")), None).expect("a name");
        assert!(notifier.say(&["WATCHDOG=1".into()]));
        assert_eq!(received(&manager), "WATCHDOG=1");
    }

    #[test]
    fn a_manager_that_is_gone_or_deaf_stops_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let mut notifier = Notifier::new(path.as_os_str(), None).expect("a path");
        assert!(!notifier.say(&["READY=1".into()]), "nobody is there");
        let manager = UnixDatagram::bind(&path).expect("bound");
        // It never reads: at some time its queue is full, and the agent does not wait.
        assert!((0..100_000).any(|_| !notifier.say(&["STATUS=x".into()])));
        assert_eq!(received(&manager), "STATUS=x");
        assert!(Notifier::new(OsStr::new("vsock:2:1"), None).is_err());
    }

    #[test]
    fn a_watchdog_is_for_one_process() {
        let text = |text: &str| Some(OsString::from(text));
        assert_eq!(watchdog(text("90000000"), text("7"), 7), Some(Duration::from_secs(90)));
        assert_eq!(watchdog(text("90000000"), None, 7), Some(Duration::from_secs(90)));
        for (usec, pid) in [(text("90000000"), text("8")), (None, text("7")), (text("0"), None), (text("soon"), None)] {
            assert_eq!(watchdog(usec, pid, 7), None);
        }
    }

    #[test]
    fn a_state_is_one_line_of_bounded_length() {
        let line = status_line(&"ü\n".repeat(1000));
        assert!(
            line.len() <= "STATUS=".len() + STATUS && !line.contains('\n') && line.starts_with("STATUS=ü ü"),
            "{line}"
        );
    }
}
