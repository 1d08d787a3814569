//! Names and addresses: as much of DNS (RFC 1035) as the shop needs, on both sides.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::service::{Service, Switch};

/// As resolvers do: so long for each try, so many tries.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 2;
/// Bytes of a head, and of what follows the name in a question.
const HEAD: usize = 12;
const TYPE_AND_CLASS: [u8; 4] = [0, 1, 0, 1];

/// `db.shop=192.0.2.1`.
///
/// # Errors
/// When it is of another form.
pub fn known(text: &str) -> std::result::Result<(String, Ipv4Addr), String> {
    let wrong = || format!("{text:?}: expected NAME=ADDRESS");
    let (name, address) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), address.parse().map_err(|_| wrong())?))
}

/// Asks for the address of a name.
pub fn ask(server: SocketAddr, name: &str) -> Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let id = fastrand::u16(..);
    let question = question(id, name);
    let mut buffer = [0; 512];
    let mut last = Error::from(ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(&question)?;
        match socket.recv(&mut buffer) {
            Ok(length) => return address(&buffer[..length], id),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Answers questions on a thread of its own.
///
/// # Errors
/// When the port cannot be had.
pub fn serve(service: &Arc<Service>, at: SocketAddr, list: Vec<(String, Ipv4Addr)>) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(at).with_context(|| format!("cannot listen on {at}"))?;
    let service = Arc::clone(service);
    spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            while service.is(Switch::Hang) {
                sleep(Duration::from_millis(100));
            }
            let began = Instant::now();
            let reply = reply(&buffer[..length], &list);
            // Whoever asked may be gone.
            let sent = reply.as_ref().is_some_and(|reply| socket.send_to(reply, from).is_ok());
            service.count(began, sent);
        }
    });
    Ok(())
}

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63).min(63));
        bytes.extend(label.bytes().take(63));
    }
    bytes.push(0);
    bytes.extend(TYPE_AND_CLASS);
    bytes
}

/// The name that is asked for.
fn asked(question: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut rest = question.get(HEAD..)?;
    loop {
        let (length, tail) = rest.split_first()?;
        if *length == 0 {
            return (tail == TYPE_AND_CLASS).then(|| labels.join("."));
        }
        let (label, tail) = tail.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = tail;
    }
}

fn reply(question: &[u8], list: &[(String, Ipv4Addr)]) -> Option<Vec<u8>> {
    let name = asked(question)?;
    let mut reply = question.to_vec();
    let Some((_, address)) = list.iter().find(|(known, _)| *known == name) else {
        // A response: there is no such name.
        (reply[2], reply[3]) = (0x81, 0x83);
        return Some(reply);
    };
    // A response with one answer: the name at 12, type A, class IN, 5 s, four bytes.
    (reply[2], reply[3], reply[7]) = (0x81, 0x80, 1);
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
    reply.extend(address.octets());
    Some(reply)
}

/// The address in the reply to question `id`.
fn address(reply: &[u8], id: u16) -> Result<Ipv4Addr> {
    let wrong = || Error::new(ErrorKind::InvalidData, "not the answer that was asked for");
    let is_ours = reply.get(..2) == Some(&id.to_be_bytes()[..]) && reply.get(7) == Some(&1);
    let bytes = reply.last_chunk::<4>().filter(|_| is_ours && reply.len() > HEAD + 16);
    bytes.map(|b| Ipv4Addr::from(*b)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_with_the_address_of_its_name() {
        let list = [known("db.shop=192.0.2.7").unwrap()];
        let question = question(0x1234, "DB.shop");
        assert_eq!(asked(&question).as_deref(), Some("db.shop"));
        let answer = reply(&question, &list).unwrap();
        assert_eq!(address(&answer, 0x1234).unwrap(), Ipv4Addr::new(192, 0, 2, 7));
        assert!(address(&answer, 0x1235).is_err(), "another question's answer");
        let unknown = reply(&super::question(7, "else.shop"), &list).unwrap();
        assert!(address(&unknown, 7).is_err(), "there is no such name");
    }

    #[test]
    fn strange_packets_get_no_reply() {
        for bytes in [&[][..], &[0; 12], &[0; 17], &[255; 40], &question(1, "db.shop")[..15]] {
            assert_eq!(reply(bytes, &[]), None, "{bytes:?}");
            assert!(address(bytes, 0).is_err());
        }
        assert!(known("db.shop").is_err() && known("db.shop=x").is_err());
    }
}
