//! One HTTP/1.1 request on an open connection, and its whole answer. Enrolling asks three questions in the life of a node; the
//! agent's other HTTP client cannot be told what time it is, which decides about certificates ([`super::floor`]).

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::publish::dial::Stream;

/// Largest answer that is read: some certificates.
const LONGEST: usize = 256 * 1024;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Its `Content-Type`; empty when it has none.
    pub kind: String,
    /// What it holds.
    pub body: Vec<u8>,
}

/// Asks; `body` is JSON when there is one.
///
/// # Errors
/// What is wrong with the connection or the answer, in words that go on from "it".
pub async fn ask(stream: &mut Stream, host: &str, path: &str, body: Option<&str>) -> Result<Answer, String> {
    let broken = |e: io::Error| format!("broke the connection off: {e}");
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tacit-agent/{}\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        env!("CARGO_PKG_VERSION"),
        body.len(),
    );
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            // Many servers close without saying so; whether it was whole is seen below.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(e) => return Err(broken(e)),
        }
        if bytes.len() > LONGEST {
            return Err("answers with more than a certificate".into());
        }
        if whole(&bytes).is_some_and(|length| bytes.len() >= length) {
            break;
        }
    }
    parse(&bytes)
}

/// Head and body of an answer that has begun.
fn parts(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v)
}

/// The length of the whole answer, when its head tells it.
fn whole(bytes: &[u8]) -> Option<usize> {
    let (head, body) = parts(bytes)?;
    let length: usize = header(head, "content-length")?.parse().ok()?;
    (bytes.len() - body.len()).checked_add(length)
}

fn parse(bytes: &[u8]) -> Result<Answer, String> {
    let not_http = || "does not answer with HTTP".to_owned();
    let (head, body) = parts(bytes).ok_or_else(not_http)?;
    let line = head.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).ok_or_else(not_http)?;
    let status = status.parse().ok().filter(|s| (100..1000).contains(s)).ok_or_else(not_http)?;
    let body = if header(head, "transfer-encoding").is_some_and(|kind| kind.eq_ignore_ascii_case("chunked")) {
        unchunk(body).ok_or("broke its answer off")?
    } else {
        let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(body.len());
        body.get(..length).ok_or("broke its answer off")?.to_vec()
    };
    Ok(Answer { status, kind: header(head, "content-type").unwrap_or_default().to_owned(), body })
}

/// Joins the pieces of a chunked body; `None` when the last one is missing.
fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        let rest = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        let (piece, rest) = rest.split_at_checked(size)?;
        body.extend_from_slice(piece);
        bytes = rest.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(text: &str) -> Result<(u16, String, String), String> {
        parse(text.as_bytes()).map(|a| (a.status, a.kind, String::from_utf8_lossy(&a.body).into_owned()))
    }

    #[test]
    fn answers_of_all_forms() {
        let json = |status, body: &str| Ok((status, "application/json".to_owned(), body.to_owned()));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        assert_eq!(answer(&format!("{head}Content-Length: 2\r\n\r\n{{}}trailing")), json(200, "{}"));
        assert_eq!(answer(&format!("{head}\r\n{{}}")), json(200, "{}"), "to the end of the connection");
        let chunks = "Transfer-Encoding: Chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n";
        assert_eq!(answer(&format!("{head}{chunks}")), json(200, "{}"));
        assert_eq!(answer("HTTP/1.0 502 Bad Gateway\r\n\r\n"), Ok((502, String::new(), String::new())));
    }

    #[test]
    fn what_is_cut_short_or_no_http_is_said() {
        for cut in ["Content-Length: 9\r\n\r\n{}", "Transfer-Encoding: chunked\r\n\r\n9\r\n{}"] {
            let text = format!("HTTP/1.1 200 OK\r\n{cut}");
            assert!(answer(&text).is_err_and(|e| e == "broke its answer off"), "{text:?}");
        }
        for text in ["", "SSH-2.0\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 9999 X\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
            assert!(answer(text).is_err_and(|e| e == "does not answer with HTTP"), "{text:?}");
        }
    }

    proptest! {
        /// Law: no answer makes it panic.
        #[test]
        fn any_answer_is_read(bytes in any::<Vec<u8>>(), text in "HTTP/1.1 200\r\n(Content-Length: [0-9]{0,20}|transfer-encoding: chunked)\r\n\r\n[0-9a-f\r\n]{0,40}") {
            let _ = parse(&bytes);
            let _ = whole(&bytes);
            let _ = parse(text.as_bytes());
            let _ = whole(text.as_bytes());
            let _ = unchunk(&bytes);
        }
    }
}
