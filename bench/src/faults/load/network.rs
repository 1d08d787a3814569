//! Steady traffic over the link of the bench's own namespace.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Limit;
use crate::faults::place::netns::ANSWER;

/// Longest wait for an answer; a connection that gives none is made anew.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests of one connection.
const REQUESTS: u32 = 50;

/// Asks for answers, so many a second.
///
/// # Errors
/// Never; a server that is not there is asked again.
pub fn talk(limit: &Limit, to: SocketAddr, per_s: u64) -> Result<()> {
    let pause = Duration::from_secs(1) / u32::try_from(per_s.max(1)).unwrap_or(1);
    while limit.goes_on() {
        // Broken connections are what some faults are about.
        let _ = connection(limit, to, pause);
        limit.rest(pause);
    }
    Ok(())
}

fn connection(limit: &Limit, to: SocketAddr, pause: Duration) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut answer = vec![0; ANSWER];
    for _ in 0..REQUESTS {
        if !limit.goes_on() {
            break;
        }
        stream.write_all(b"?")?;
        stream.read_exact(&mut answer)?;
        limit.rest(pause);
    }
    Ok(())
}

/// Asks for a name, so many times a second.
///
/// # Errors
/// When no socket can be had.
pub fn resolve(limit: &Limit, to: SocketAddr, per_s: u64) -> Result<()> {
    // Question 1 of RFC 1035: shop.example, type A, class IN; recursion desired.
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04shop\x07example\x00\x00\x01\x00\x01";
    let mut answer = [0; 512];
    let pause = Duration::from_secs(1) / u32::try_from(per_s.max(1)).unwrap_or(1);
    while limit.goes_on() {
        // As resolvers do: a socket for each question, and three tries of a second.
        let socket = UdpSocket::bind(("0.0.0.0", 0)).context("no socket for a question")?;
        socket.set_read_timeout(Some(Duration::from_secs(1))).context("no time limit for a question")?;
        for _ in 0..3 {
            let asked = socket.send_to(question, to).and_then(|_| socket.recv(&mut answer));
            if asked.is_ok() || !limit.goes_on() {
                break;
            }
        }
        limit.rest(pause);
    }
    Ok(())
}
