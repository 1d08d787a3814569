//! Servers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::Builder;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Tally, Work};
use crate::live::limit::raise_open_files;

/// A client that went away without a word does not hold a thread for ever.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest request.
const REQUEST_MAX: u64 = 1 << 20;
/// Memory of a thread that has one connection.
const STACK: usize = 128 * 1024;
/// Bytes of a page.
const PAGE: usize = 600;

/// Answers HTTP requests, one a connection, and `PING`.
///
/// # Errors
/// When it cannot listen.
pub fn serve(work: &Work, listen: SocketAddr) -> Result<()> {
    accept(work, listen, |stream, _| answer(stream))
}

/// Hands connections on to another server; each piece is held for a while, both ways.
///
/// # Errors
/// When it cannot listen.
pub fn proxy(work: &Work, listen: SocketAddr, to: SocketAddr, delay: Duration) -> Result<()> {
    accept(work, listen, move |stream, tally| hand_on(stream, to, delay, tally))
}

fn accept(
    work: &Work,
    listen: SocketAddr,
    each: impl Fn(TcpStream, &Tally) -> std::io::Result<()> + Clone + Send + 'static,
) -> Result<()> {
    raise_open_files()?;
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let tally = Arc::clone(&work.tally);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            tally.accepted.fetch_add(1, Relaxed);
            let (each, tally) = (each.clone(), Arc::clone(&tally));
            // A client that gets no thread sees its connection end. What becomes of a connection is the client's to count.
            let _ = Builder::new().stack_size(STACK).spawn(move || drop(each(stream, &tally)));
        }
    });
    work.hold();
    Ok(())
}

fn answer(stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream.take(REQUEST_MAX));
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.starts_with("PING") {
            out.write_all(b"+PONG\r\n")?;
        } else if line.starts_with("GET ") {
            while lines.read_line(&mut line)? > 0 && !line.ends_with("\r\n\r\n") {}
            let page = "x".repeat(PAGE);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PAGE}\r\nConnection: close\r\n\r\n");
            return out.write_all(&[head.as_bytes(), page.as_bytes()].concat());
        }
    }
}

fn hand_on(client: TcpStream, to: SocketAddr, delay: Duration, tally: &Tally) -> std::io::Result<()> {
    let Ok(server) = TcpStream::connect_timeout(&to, PATIENCE) else {
        tally.failed.fetch_add(1, Relaxed);
        return Ok(());
    };
    tally.connected.fetch_add(1, Relaxed);
    let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
    let back = Builder::new().stack_size(STACK).spawn(move || copy(server_too, client_too, delay))?;
    copy(client, server, delay);
    // The other direction has its own end.
    let _ = back.join();
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let ready = from.set_read_timeout(Some(PATIENCE)).is_ok() && to.set_nodelay(true).is_ok();
    let mut buffer = [0; 16 * 1024];
    while ready && let Ok(n @ 1..) = from.read(&mut buffer) {
        std::thread::sleep(delay);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Whoever is gone already needs no telling.
    let _ = to.shutdown(Shutdown::Write);
}
