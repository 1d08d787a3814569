//! A connection to a broker, or to the collector's https: name, address, proxy, TLS, one after the other. Each step is noted,
//! so that a failure can be told in words ([`super::words`]).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use super::mqtt::TlsConnector;
use super::words::tls_error;

/// A name with several addresses: the next is tried when the one before has not answered within this time.
const STAGGER: Duration = Duration::from_millis(250);
/// Longest answer of a proxy.
const PROXY_HEAD: usize = 8192;
/// First bytes that are kept of what the other side says.
const FIRST: usize = 8;

/// A proxy that opens tunnels (HTTP `CONNECT`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
}

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected http://HOST:PORT";
        let wrong = |what: &str| format!("{text:?}{what}: {FORM}");
        let rest = text.strip_prefix("http://").ok_or_else(|| wrong(""))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err(format!("it holds a user name; a proxy that asks for one cannot be used: {FORM}"));
        }
        let (host, port) = host_and_port(rest).ok_or_else(|| wrong(""))?;
        let port = port.ok_or_else(|| wrong(" has no port"))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

/// `HOST:PORT` with brackets around an IPv6 address.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The parts of `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`; `None` for anything else.
pub fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || host.len() > 253 || !host.chars().all(good) {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|p| *p > 0).map(|p| (host, Some(p))),
        None => rest.is_empty().then_some((host, None)),
    }
}

/// Where a connection goes, and how.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
    /// The way there, when it is not direct.
    pub proxy: Option<Proxy>,
    /// With TLS, by these settings.
    pub tls: Option<Arc<ClientConfig>>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A name is looked up.
    Name,
    /// A TCP connection is made, to the proxy if there is one.
    Tcp,
    /// The proxy is asked.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// It stands; what follows is the protocol spoken on it.
    Open,
}

/// The step at which a connection failed, and why.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("the name cannot be looked up: {0}")]
    Name(io::Error),
    #[error("{0}")]
    Tcp(io::Error),
    #[error("{0}")]
    Proxy(String),
    #[error("{0}")]
    Tls(io::Error),
}

/// What is seen of a connection while it is made and used.
#[derive(Debug)]
pub struct Progress {
    step: AtomicU8,
    first: Mutex<Vec<u8>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { step: AtomicU8::new(Step::Name as u8), first: Mutex::default() }
    }
}

impl Progress {
    /// How far it has come.
    pub fn step(&self) -> Step {
        let reached = self.step.load(Ordering::Relaxed);
        let steps = [Step::Name, Step::Tcp, Step::Proxy, Step::Tls];
        steps.into_iter().find(|step| *step as u8 == reached).unwrap_or(Step::Open)
    }

    /// The first bytes that came.
    pub fn first(&self) -> Vec<u8> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn at(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    pub(super) fn note(&self, bytes: &[u8]) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let room = FIRST.saturating_sub(first.len()).min(bytes.len());
        first.extend_from_slice(&bytes[..room]);
    }
}

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// A connection, with or without TLS.
pub type Stream = Box<dyn Duplex>;

impl Dial {
    /// Connects.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn open(&self, progress: &Progress) -> Result<Stream, DialError> {
        progress.at(Step::Name);
        let (host, port) = match &self.proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&self.host, self.port),
        };
        let addresses: Vec<_> = lookup_host((host.as_str(), port)).await.map_err(DialError::Name)?.collect();
        progress.at(Step::Tcp);
        let mut tcp = connect(addresses).await.map_err(DialError::Tcp)?;
        if let Some(proxy) = &self.proxy {
            progress.at(Step::Proxy);
            tunnel(&mut tcp, &authority(&self.host, self.port))
                .await
                .map_err(|why| DialError::Proxy(format!("the proxy at {proxy} {why}")))?;
        }
        let Some(tls) = &self.tls else {
            progress.at(Step::Open);
            return Ok(Box::new(tcp));
        };
        progress.at(Step::Tls);
        // A zone belongs to the address, not to the name.
        let name = self.host.split('%').next().unwrap_or(&self.host).to_owned();
        let name = ServerName::try_from(name).map_err(|e| DialError::Tls(io::Error::other(e)))?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(DialError::Tls)?;
        progress.at(Step::Open);
        Ok(Box::new(stream))
    }
}

/// The first of these addresses that takes a connection; one that says nothing does not keep the others from it.
async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut tries = JoinSet::new();
    for (wait, address) in (0..).zip(addresses) {
        tries.spawn(async move {
            tokio::time::sleep(STAGGER * wait).await;
            TcpStream::connect(address).await
        });
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// Asks a proxy for a tunnel.
async fn tunnel(tcp: &mut TcpStream, to: &str) -> Result<(), String> {
    let request =
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: tacit-agent/{}\r\n\r\n", env!("CARGO_PKG_VERSION"));
    let words = |e: io::Error| format!("broke the connection off: {e}");
    tcp.write_all(request.as_bytes()).await.map_err(words)?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD {
            return Err("does not answer as an HTTP proxy".into());
        }
        match tcp.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(e) => return Err(words(e)),
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match status {
        Some(status) if status.starts_with('2') && status.len() == 3 => Ok(()),
        Some("407") => Err("asks for a user name and a password, which this agent does not send".into()),
        Some(_) => {
            let shown: String = line.chars().filter(|c| !c.is_control()).take(80).collect();
            Err(format!("opens no tunnel to {to}: {shown}"))
        }
        None => Err("does not answer as an HTTP proxy".into()),
    }
}

/// Whether an error says that the other side has closed the connection.
pub fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof)
}

/// A stream whose first bytes are noted, and whose errors say why.
///
/// A TLS server that does not like our certificate says so and closes; by then our greeting may be on its way, and the
/// write fails before anybody has read what was said. So a failed write first reads what is there.
#[derive(Debug)]
pub struct Watched<S> {
    inner: S,
    progress: Arc<Progress>,
    /// A write failed with this; why is still to be read.
    broken: Option<io::Error>,
}

impl<S> Watched<S> {
    pub fn new(inner: S, progress: Arc<Progress>) -> Self {
        Self { inner, progress, broken: None }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    fn explained<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let error = match polled {
            Poll::Ready(Err(error)) if is_closed(&error) => error,
            other => return other,
        };
        let mut space = [0; 256];
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
            // The system has not told yet; it will.
            Poll::Pending => {
                self.broken = Some(error);
                Poll::Pending
            }
            Poll::Ready(Err(why)) if tls_error(&why).is_some() => Poll::Ready(Err(why)),
            Poll::Ready(_) => {
                self.progress.note(buf.filled());
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.progress.note(&buf.filled()[before..]);
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = match this.broken.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut this.inner).poll_write(cx, buf),
        };
        this.explained(cx, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match this.broken.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => Pin::new(&mut this.inner).poll_flush(cx),
        };
        this.explained(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
    }

    fn to(port: u16, proxy: Option<&str>) -> Dial {
        let proxy = proxy.map(|p| p.parse().expect("a proxy"));
        Dial { host: "127.0.0.1".into(), port, proxy, tls: None }
    }

    /// Answers one connection with `answer` after its head, then echoes; gives what it was asked.
    fn proxy(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let _ = stream.write_all(answer.as_bytes());
            let mut ping = [0; 4];
            if !answer.is_empty() && stream.read_exact(&mut ping).is_ok() {
                let _ = stream.write_all(&ping);
            }
            String::from_utf8_lossy(&head).into_owned()
        });
        (url, thread)
    }

    #[test]
    fn a_tunnel_is_asked_for_and_used() {
        let (url, thread) = proxy("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n");
        let progress = Arc::new(Progress::default());
        let echoed = block_on(async {
            let dial = Dial { host: "broker.example".into(), ..to(8883, Some(&url)) };
            let stream = dial.open(&progress).await.expect("a tunnel");
            let mut stream = Watched::new(stream, Arc::clone(&progress));
            stream.write_all(b"ping").await.expect("it is sent");
            stream.flush().await.expect("it is sent");
            let mut back = [0; 4];
            stream.read_exact(&mut back).await.expect("it comes back");
            back
        });
        assert_eq!(&echoed, b"ping");
        assert_eq!((progress.step(), progress.first()), (Step::Open, b"ping".to_vec()));
        let asked = thread.join().expect("the proxy ended");
        assert!(asked.starts_with("CONNECT broker.example:8883 HTTP/1.1\r\nHost: broker.example:8883\r\n"), "{asked}");
    }

    #[test]
    fn a_proxy_that_refuses_is_quoted() {
        for (answer, words) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "asks for a user name and a password"),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "opens no tunnel to 127.0.0.1:8883: HTTP/1.1 403 Forbidden"),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer as an HTTP proxy"),
            ("", "does not answer as an HTTP proxy"),
        ] {
            let (url, thread) = proxy(answer);
            let progress = Progress::default();
            let error = block_on(to(8883, Some(&url)).open(&progress)).err().expect("no tunnel").to_string();
            assert!(error.starts_with("the proxy at 127.0.0.1:") && error.contains(words), "{error}");
            assert_eq!(progress.step(), Step::Proxy);
            thread.join().expect("the proxy ended");
        }
    }

    #[test]
    fn each_step_fails_as_itself() {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let progress = Progress::default();
        assert_eq!(progress.step(), Step::Name);
        let error = block_on(to(free, None).open(&progress)).err().expect("nobody listens");
        assert!(matches!(&error, DialError::Tcp(e) if e.kind() == io::ErrorKind::ConnectionRefused), "{error}");
        assert_eq!(progress.step(), Step::Tcp);
        assert!(block_on(connect(Vec::new())).is_err_and(|e| e.to_string().contains("no address")));
    }

    #[test]
    fn a_second_address_serves_when_the_first_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let good = listener.local_addr().expect("an address");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let stream = block_on(connect(vec![free, good])).expect("the second serves");
        assert_eq!(stream.peer_addr().expect("an address"), good);
    }

    #[test]
    fn proxies_are_taken_apart() {
        for (good, shown) in [
            ("http://proxy.example:3128", "proxy.example:3128"),
            ("http://10.0.0.1:8080/", "10.0.0.1:8080"),
            ("http://[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(good.parse::<Proxy>().expect(good).to_string(), shown);
        }
        for bad in [
            "",
            "proxy:3128",
            "https://p:1",
            "http://p",
            "http://:1",
            "http://p:0",
            "http://u:secret@p:1",
            "http://p:1/x",
        ] {
            let error = bad.parse::<Proxy>().expect_err(bad);
            assert!(error.contains("expected http://HOST:PORT") && !error.contains("secret"), "{error}");
        }
    }

    /// Takes nothing, and tells at the second look why.
    struct Closing {
        looks: usize,
        why: fn() -> io::Result<&'static [u8]>,
    }

    impl AsyncRead for Closing {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.looks += 1;
            if self.looks == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready((self.why)().map(|bytes| buf.put_slice(bytes)))
        }
    }

    impl AsyncWrite for Closing {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_write_that_fails_tells_what_the_other_side_said_before_it_closed() {
        let alert = || -> io::Result<&'static [u8]> {
            let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
            Err(io::Error::new(io::ErrorKind::InvalidData, alert))
        };
        let progress = Arc::new(Progress::default());
        let mut stream = Watched::new(Closing { looks: 0, why: alert }, Arc::clone(&progress));
        let error = block_on(stream.write_all(b"hello")).expect_err("it is closed");
        assert!(tls_error(&error).is_some(), "{error:?}");
        let mut stream = Watched::new(Closing { looks: 0, why: alert }, Arc::clone(&progress));
        assert!(tls_error(&block_on(stream.flush()).expect_err("it is closed")).is_some());

        let mut stream = Watched::new(Closing { looks: 0, why: || Ok(b"HTTP/1.1 400") }, Arc::clone(&progress));
        let error = block_on(stream.write_all(b"hello")).expect_err("it is closed");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(progress.first(), b"HTTP/1.1");
        let mut stream = Watched::new(Closing { looks: 0, why: || Ok(b"") }, progress);
        let error = block_on(stream.write_all(b"hello")).expect_err("it is closed");
        assert!(is_closed(&error) && tls_error(&error).is_none());
    }

    proptest! {
        /// Law: only the first bytes are kept, in their order, however they come.
        #[test]
        fn the_first_bytes_are_kept(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..6)) {
            let progress = Progress::default();
            parts.iter().for_each(|part| progress.note(part));
            let all = parts.concat();
            prop_assert_eq!(progress.first(), all[..all.len().min(FIRST)].to_vec());
        }

        /// Law: no text makes the reader of addresses panic, and what it takes is written back the same.
        #[test]
        fn addresses_read_back(text in "\\[?[a-z0-9.:%-]{0,12}\\]?(:[0-9]{0,6})?", raw in any::<String>()) {
            let _ = host_and_port(&raw);
            if let Some((host, Some(port))) = host_and_port(&text) {
                let again = authority(host, port);
                prop_assert_eq!(host_and_port(&again), Some((host, Some(port))));
            }
        }
    }
}
