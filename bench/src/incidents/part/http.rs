//! As much HTTP as the shop needs.

use std::io::{BufRead, BufReader, Read, Result, Write as _};
use std::net::TcpStream;

/// Longest request.
const REQUEST_MAX: u64 = 64 * 1024;

/// The first line of a request, whose head is read to its end; nothing when the client is gone.
pub fn request(stream: &TcpStream) -> Result<Option<String>> {
    let mut lines = BufReader::new(Read::take(stream, REQUEST_MAX));
    let mut first = String::new();
    if lines.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    rest(&mut lines)?;
    Ok(Some(first))
}

/// Reads the rest of a head.
pub fn rest(lines: &mut (impl BufRead + ?Sized)) -> Result<()> {
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 && !line.trim_end().is_empty() {
        line.clear();
    }
    Ok(())
}

/// Answers, and says that this was all.
pub fn answer(mut stream: &TcpStream, status: &str, body: &str) -> Result<()> {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_request_is_read_and_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(request(&server).unwrap().as_deref(), Some("GET /x HTTP/1.1\r\n"));
        answer(&server, "200 OK", "page").unwrap();
        drop(server);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\npage"), "{text}");
    }
}
