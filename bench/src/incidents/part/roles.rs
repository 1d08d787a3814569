//! What each service does with a request.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read, Result as IoResult, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::service::{Service, Switch};
use super::{burn, http, names};
use crate::map::part::Talk;

/// Longest wait for an answer of the service behind.
const PATIENCE: Duration = Duration::from_secs(2);
/// Processor time of one query.
const QUERY: Duration = Duration::from_micros(500);
/// What a slow query takes: of the processor, and of waiting with the connection held.
const SLOW: [Duration; 2] = [Duration::from_millis(15), Duration::from_millis(600)];
/// What a broken API burns for each request.
const BROKEN: Duration = Duration::from_millis(20);
/// Bytes of one connection.
const TALK_MAX: u64 = 1 << 30;
/// What a leak takes each second, and at most.
const LEAK: usize = 8 << 20;
const LEAK_MOST: usize = 38;

/// Pages: asks one API after the other; one that cannot be reached is passed over, one that answers with an error is not.
pub fn web(service: &Arc<Service>, listen: SocketAddr, apis: Vec<SocketAddr>) -> Result<()> {
    service.serve(listen, move |service, stream| {
        if http::request(stream)?.is_none() {
            return Ok(true);
        }
        let first = usize::try_from(service.requests()).unwrap_or(0);
        let order = (0..apis.len()).map(|n| apis[(first + n) % apis.len()]);
        let reached = order.map(|api| TcpStream::connect_timeout(&api, PATIENCE)).find_map(IoResult::ok);
        let well = reached.is_some_and(|mut api| Talk::Http.once(&mut api, PATIENCE).is_ok());
        reply(stream, well, "502 Bad Gateway")
    })?;
    service.hold();
    Ok(())
}

/// Names, then the database, then the cache; nothing is remembered.
pub fn api(service: &Arc<Service>, listen: SocketAddr, dns: SocketAddr, talk: Talk) -> Result<()> {
    service.serve(listen, move |service, stream| {
        if http::request(stream)?.is_none() {
            return Ok(true);
        }
        if service.is(Switch::Broken) {
            burn(BROKEN);
            // Every other connection ends without a word.
            let is_silent = service.requests().is_multiple_of(2);
            return if is_silent { Ok(false) } else { reply(stream, false, "500 Internal Server Error") };
        }
        let well = ask_behind(dns, talk, service.requests()).is_ok();
        reply(stream, well, "503 Service Unavailable")
    })?;
    service.hold();
    Ok(())
}

fn ask_behind(dns: SocketAddr, talk: Talk, number: u64) -> IoResult<()> {
    let connect = |name: &str, port: u16| -> IoResult<TcpStream> {
        let address = names::ask(dns, name)?;
        let stream = TcpStream::connect_timeout(&SocketAddr::from((IpAddr::V4(address), port)), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    talk.once(&mut connect("db.shop", 5432)?, PATIENCE)?;
    let mut cache = connect("cache.shop", 6379)?;
    cache.write_all(format!("SET page:{} {number}\r\n", number % 1000).as_bytes())?;
    let mut line = String::new();
    BufReader::new(Read::take(&cache, 4096)).read_line(&mut line)?;
    if line.starts_with("+OK") { Ok(()) } else { Err(std::io::Error::other(line)) }
}

/// Queries, at most so many connections at once.
pub fn db(service: &Arc<Service>, listen: SocketAddr, most: u64) -> Result<()> {
    service.serve(listen, move |service, stream| {
        if service.open() > most {
            return reply(stream, false, "503 Too many connections");
        }
        lines(stream, |line, rest| {
            if line.starts_with("PING") {
                write_all(stream, "+PONG\r\n")?;
                return Ok(None);
            }
            http::rest(rest)?;
            if service.is(Switch::Slow) {
                burn(SLOW[0]);
                std::thread::sleep(SLOW[1]);
            } else {
                burn(QUERY);
            }
            reply(stream, true, "").map(Some)
        })
    })?;
    service.hold();
    Ok(())
}

/// Values: a journal has each of them before it is confirmed, as Redis does it with `appendonly`.
pub fn cache(service: &Arc<Service>, listen: SocketAddr, folder: &Path) -> Result<()> {
    let path = folder.join("journal");
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let journal = Mutex::new(file.with_context(|| format!("cannot make {}", path.display()))?);
    service.serve(listen, move |_, stream| {
        lines(stream, |line, _| {
            let answer = match line.split_ascii_whitespace().next() {
                Some("PING") => "+PONG\r\n",
                Some("SET") if append(&journal, line) => "+OK\r\n",
                Some("SET") => "-MISCONF no space left for the journal\r\n",
                _ => "-ERR unknown command\r\n",
            };
            write_all(stream, answer)?;
            Ok(None)
        })
    })?;
    leak(service);
    service.hold();
    Ok(())
}

/// While the switch is on, memory is taken and none given back.
fn leak(service: &Arc<Service>) {
    let service = Arc::clone(service);
    std::thread::spawn(move || {
        let mut held: Vec<Vec<u8>> = Vec::new();
        while service.goes_on() {
            if !service.is(Switch::Leak) {
                held = Vec::new();
            } else if held.len() < LEAK_MOST {
                // Every page is written, or the kernel would not give it.
                held.push(vec![1; LEAK]);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
}

/// Says that it is well, to everybody.
pub fn well(service: &Arc<Service>, listen: SocketAddr) -> Result<()> {
    service.serve(listen, |_, stream| match http::request(stream)? {
        Some(_) => reply(stream, true, ""),
        None => Ok(true),
    })?;
    service.hold();
    Ok(())
}

/// Calls `each` with every line of a connection and what comes after it, until it says how that went or the client is gone.
fn lines(
    stream: &TcpStream,
    mut each: impl FnMut(&str, &mut dyn std::io::BufRead) -> IoResult<Option<bool>>,
) -> IoResult<bool> {
    let mut input = BufReader::new(Read::take(stream, TALK_MAX));
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(true);
        }
        if let Some(well) = each(&line, &mut input)? {
            return Ok(well);
        }
    }
}

fn append(journal: &Mutex<File>, line: &str) -> bool {
    let mut file = journal.lock().unwrap_or_else(PoisonError::into_inner);
    file.write_all(line.as_bytes()).is_ok()
}

fn write_all(mut stream: &TcpStream, text: &str) -> IoResult<()> {
    stream.write_all(text.as_bytes())
}

/// Answers well or not, and says which.
fn reply(stream: &TcpStream, well: bool, otherwise: &str) -> IoResult<bool> {
    http::answer(stream, if well { "200 OK" } else { otherwise }, "shop")?;
    Ok(well)
}
