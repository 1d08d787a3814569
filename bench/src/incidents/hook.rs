//! Somebody who is told: a webhook that counts what arrives.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result as IoResult, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Longest message.
const MESSAGE_MAX: u64 = 4 << 20;

/// The webhook; it listens until this process ends.
#[derive(Debug)]
pub struct Hook {
    at: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Hook {
    /// Listens on loopback.
    ///
    /// # Errors
    /// When it cannot.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen for notifications")?;
        let at = listener.local_addr().context("a listener has an address")?;
        let count = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if read(&stream).is_ok() {
                    counted.fetch_add(1, Relaxed);
                    // Who sent it may be gone; it arrived all the same.
                    let _ = confirm(&stream);
                }
            }
        });
        Ok(Self { at, count })
    }

    /// What the collector is told to tell it.
    pub fn url(&self) -> String {
        format!("http://{}/", self.at)
    }

    /// How many notifications arrived so far.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
}

/// Reads a whole message.
fn read(stream: &TcpStream) -> IoResult<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(std::io::Read::take(stream, MESSAGE_MAX));
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(Error::other)?;
        }
    }
    let mut body = Vec::new();
    if lines.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(Error::from(ErrorKind::UnexpectedEof));
    }
    Ok(())
}

fn confirm(mut stream: &TcpStream) -> IoResult<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_whole_is_counted() {
        let hook = Hook::start().unwrap();
        let answer = ureq::post(hook.url()).send("{\"incident\": 1}").unwrap();
        assert_eq!((answer.status().as_u16(), hook.count()), (200, 1));
        let mut half = TcpStream::connect(hook.at).unwrap();
        half.write_all(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nx").unwrap();
        drop(half);
        ureq::post(hook.url()).send("{}").unwrap();
        assert_eq!(hook.count(), 2, "the half one was not");
    }
}
