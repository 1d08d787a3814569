//! One question to an endpoint and its answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::icmp;
use super::stream::{self, Stream};
use super::target::{How, Target};

/// Longest status line that is waited for.
const HEAD: usize = 1024;

/// What came of a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// It answered as it should.
    pub up: bool,
    /// How long it took: the connection, the handshake, the status line, or the echo. NaN without an answer.
    pub seconds: f32,
    /// HTTP status.
    pub status: Option<u16>,
    /// End of the certificate's validity, Unix milliseconds.
    pub not_after_ms: Option<i64>,
    /// What is wrong, in words; empty when it is up.
    pub error: String,
}

/// Asks one endpoint again and again.
pub struct Asker {
    target: Target,
    /// HTTP status that is good; empty takes 200 to 399.
    status: Vec<u16>,
    limit: Duration,
    tls: Option<Arc<ClientConfig>>,
    sequence: u16,
}

impl Asker {
    /// Asks `target`, waits `limit` for the answer, and takes these `status` as good (200 to 399 when there are none).
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(target: Target, status: Vec<u16>, limit: Duration) -> Result<Self, String> {
        let tls = if target.how.is_tls() { Some(stream::config()?) } else { None };
        Ok(Self { target, status, limit, tls, sequence: 0 })
    }

    /// Asks once.
    pub async fn ask(&mut self) -> Answer {
        let mut answer = Answer { seconds: f32::NAN, ..Answer::default() };
        self.sequence = self.sequence.wrapping_add(1);
        let began = Instant::now();
        let result = match timeout(self.limit, self.question(&mut answer)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {:?}", self.limit)),
        };
        match result {
            Ok(()) => {
                answer.up = true;
                answer.seconds = began.elapsed().as_secs_f32();
            }
            Err(error) => answer.error = error,
        }
        answer
    }

    async fn question(&self, answer: &mut Answer) -> Result<(), String> {
        let words = |e: io::Error| e.to_string();
        let Target { how, host, port, .. } = &self.target;
        if *how == How::Icmp {
            let mut addresses = lookup_host((host.as_str(), 0)).await.map_err(words)?;
            let address = addresses.next().ok_or("the name has no address")?;
            return icmp::ping(address, self.sequence).await;
        }
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(words)?;
        let mut stream = match &self.tls {
            Some(config) => Stream::handshake(tcp, host, Arc::clone(config)).await.map_err(words)?,
            None => Stream::plain(tcp),
        };
        answer.not_after_ms = stream.not_after_ms();
        if !how.is_http() {
            return Ok(());
        }
        let status = self.get(&mut stream).await?;
        answer.status = Some(status);
        let good = if self.status.is_empty() { (200..400).contains(&status) } else { self.status.contains(&status) };
        if good { Ok(()) } else { Err(format!("it answers with status {status}")) }
    }

    /// Sends the request and reads the status line.
    async fn get(&self, stream: &mut Stream) -> Result<u16, String> {
        let words = |e: io::Error| e.to_string();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tacit-agent/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.target.path,
            self.target.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        stream.send(request.as_bytes()).await.map_err(words)?;
        let mut head = [0; HEAD];
        let mut filled = 0;
        while filled < HEAD && !head[..filled].contains(&b'\n') {
            match stream.receive(&mut head[filled..]).await.map_err(words)? {
                0 => break,
                n => filled += n,
            }
        }
        status(&head[..filled]).ok_or_else(|| "it does not answer with HTTP".to_owned())
    }
}

/// The number in `HTTP/1.1 200 OK`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let digits = std::str::from_utf8(rest.get(..3)?).ok()?;
    let ends = rest.get(3).is_none_or(u8::is_ascii_whitespace);
    digits.parse().ok().filter(|status| ends && (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// An answer, the status wanted, whether that is up, and the status seen.
    type Case = (&'static [u8], &'static [u16], bool, Option<u16>);

    fn ask(target: &str, status: &[u16]) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let target = target.parse().expect("a good target");
        let limit = Duration::from_millis(if status == [1] { 50 } else { 20_000 });
        let mut asker = Asker::new(target, status.to_vec(), limit).expect("TLS");
        runtime.block_on(asker.ask())
    }

    /// Sends `answer` to one connection, after its request.
    fn server(answer: &'static [u8]) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 2048];
            let n = stream.read(&mut request).unwrap_or(0);
            let _ = stream.write_all(answer);
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        (port, thread)
    }

    #[test]
    fn tcp_is_up_when_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = format!("tcp://{}", listener.local_addr().expect("an address"));
        let answer = ask(&target, &[]);
        assert!(answer.up && answer.seconds >= 0.0 && answer.status.is_none(), "{answer:?}");
        drop(listener);
        let answer = ask(&target, &[]);
        assert!(!answer.up && answer.seconds.is_nan() && answer.error.contains("refused"), "{answer:?}");
    }

    #[test]
    fn http_is_judged_by_its_status() {
        let cases: [Case; 6] = [
            (b"HTTP/1.1 204 No Content\r\n\r\n", &[], true, Some(204)),
            (b"HTTP/1.0 503 Busy\r\n\r\n", &[], false, Some(503)),
            (b"HTTP/1.1 401 Unauthorized\r\n\r\n", &[401], true, Some(401)),
            (b"HTTP/1.1 200 OK\r\n\r\n", &[401], false, Some(200)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", &[], false, None),
            (b"", &[], false, None),
        ];
        for (text, wanted, up, status) in cases {
            let (port, thread) = server(text);
            let answer = ask(&format!("http://127.0.0.1:{port}/health?x=1"), wanted);
            assert_eq!((answer.up, answer.status), (up, status), "{answer:?}");
            assert_eq!(answer.error.is_empty(), up);
            let request = thread.join().expect("the server ended");
            assert!(request.starts_with("GET /health?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        }
    }

    #[test]
    fn who_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let answer = ask(&format!("http://{}/", listener.local_addr().expect("an address")), &[1]);
        assert!(!answer.up && answer.error == "no answer within 50ms", "{answer:?}");
    }

    #[test]
    fn a_server_without_tls_is_no_panic() {
        for text in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"", b"\x16\x03\x03\xff\xff\0\0\0"] {
            let (port, thread) = server(text);
            let answer = ask(&format!("https://127.0.0.1:{port}/"), &[]);
            assert!(!answer.up && !answer.error.is_empty(), "{answer:?}");
            thread.join().expect("the server ended");
        }
    }

    #[test]
    fn ping_works_or_says_what_to_set() {
        let answer = ask("icmp://127.0.0.1", &[]);
        match icmp::open(false) {
            Ok(_) => assert!(answer.up && answer.seconds >= 0.0, "{answer:?}"),
            Err(why) => {
                assert!(why.contains("net.ipv4.ping_group_range"), "{why}");
                assert_eq!((answer.up, answer.error), (false, why));
            }
        }
    }

    proptest! {
        /// Law: no answer makes it panic.
        #[test]
        fn any_head_has_a_status_or_none(bytes in any::<Vec<u8>>(), text in "HTTP/1.[0-9 ]{0,9}") {
            let _ = status(&bytes);
            prop_assert!(status(text.as_bytes()).is_none_or(|s| (100..1000).contains(&s)));
        }
    }
}
