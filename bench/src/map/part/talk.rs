//! What is said on a connection, as a client.

use std::io::{Error, ErrorKind, Read, Result, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Who the sessions of PostgreSQL are of.
pub const USER: &str = "shop";
/// Longest answer.
const ANSWER_MAX: u64 = 1 << 20;

/// A way to talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Talk {
    /// One HTTP request.
    Http,
    /// `PING`, as Redis takes it.
    Ping,
    /// A session of PostgreSQL with one query.
    Session,
}

impl Talk {
    /// The word for the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Ping => "ping",
            Self::Session => "session",
        }
    }

    /// All there is to a short connection.
    pub fn once(self, stream: &mut TcpStream, patience: Duration) -> Result<()> {
        self.begin(stream, patience)?;
        self.ask(stream)?;
        if self == Self::Session { stream.write_all(&[b'X', 0, 0, 0, 4]) } else { Ok(()) }
    }

    /// The beginning of a connection.
    pub fn begin(self, stream: &mut TcpStream, patience: Duration) -> Result<()> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        if self != Self::Session {
            return Ok(());
        }
        // Startup: length, protocol 3.0, pairs of words, each ended by a zero byte.
        let words = format!("user\0{USER}\0database\0postgres\0\0");
        let length = u32::try_from(words.len() + 8).map_err(Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), words.as_bytes()].concat())?;
        until_ready(stream)
    }

    /// One question and its answer.
    pub fn ask(self, stream: &mut TcpStream) -> Result<()> {
        match self {
            Self::Http => {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")?;
                let mut answer = Vec::new();
                Read::by_ref(stream).take(ANSWER_MAX).read_to_end(&mut answer)?;
                good(answer.starts_with(b"HTTP/1.1 200"))
            }
            Self::Ping => {
                stream.write_all(b"PING\r\n")?;
                let mut answer = [0; 7];
                stream.read_exact(&mut answer)?;
                good(&answer == b"+PONG\r\n")
            }
            Self::Session => {
                let query = b"select 1\0";
                let length = u32::try_from(query.len() + 4).map_err(Error::other)?;
                stream.write_all(&[&b"Q"[..], &length.to_be_bytes(), query].concat())?;
                until_ready(stream)
            }
        }
    }
}

fn good(answer: bool) -> Result<()> {
    if answer { Ok(()) } else { Err(Error::new(ErrorKind::InvalidData, "not the answer that was expected")) }
}

/// Reads messages of PostgreSQL (kind, length, body) until it is ready for a query.
fn until_ready(stream: &mut TcpStream) -> Result<()> {
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = u64::from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).saturating_sub(4);
        if length > ANSWER_MAX {
            return good(false);
        }
        std::io::copy(&mut Read::by_ref(stream).take(length), &mut std::io::sink())?;
        match head[0] {
            b'Z' => return Ok(()),
            b'E' => return good(false),
            _ => {}
        }
    }
}
