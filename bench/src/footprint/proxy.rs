//! A proxy between agent and broker that counts what passes, by reading MQTT's fixed headers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use anyhow::{Context as _, Result};

/// What went from the agent to the broker.
#[derive(Debug, Default)]
pub struct Counts {
    /// Bytes of PUBLISH payloads, topics and headers excluded.
    pub payload: AtomicU64,
    /// PUBLISH packets.
    pub messages: AtomicU64,
    /// Bytes of the TCP stream, both ways.
    pub stream: AtomicU64,
    /// Reads and writes of the proxy, both ways: close to the number of data segments on a quiet connection.
    pub segments: AtomicU64,
}

impl Counts {
    /// Bytes on the IP level: the stream, and for each data segment and its acknowledgement 52 bytes of IPv4 and TCP header
    /// with time stamps.
    pub fn ip_bytes(&self) -> u64 {
        self.stream.load(Relaxed) + 2 * 52 * self.segments.load(Relaxed)
    }
}

/// Starts a proxy to `broker` and gives its address and counts. It ends with the process.
///
/// # Errors
/// When no port can be bound.
pub fn start(broker: SocketAddr) -> Result<(SocketAddr, Arc<Counts>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot bind a port for the proxy")?;
    let address = listener.local_addr().context("the proxy has no address")?;
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(broker) else { continue };
            let (Ok(client_read), Ok(server_read)) = (client.try_clone(), server.try_clone()) else { continue };
            let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
            thread::spawn(move || copy(client_read, server, &up, Some(PacketReader::default())));
            thread::spawn(move || copy(server_read, client, &down, None));
        }
    });
    Ok((address, counts))
}

fn copy(mut from: TcpStream, mut to: TcpStream, counts: &Counts, mut packets: Option<PacketReader>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        counts.stream.fetch_add(n as u64, Relaxed);
        counts.segments.fetch_add(1, Relaxed);
        if let Some(reader) = &mut packets {
            reader.feed(&buffer[..n], counts);
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // The other side learns of the end by its own failed read or write.
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Cuts a stream into MQTT packets and counts PUBLISH payloads.
#[derive(Debug, Default)]
struct PacketReader {
    pending: Vec<u8>,
}

impl PacketReader {
    fn feed(&mut self, bytes: &[u8], counts: &Counts) {
        self.pending.extend_from_slice(bytes);
        while let Some((header, length)) = fixed_header(&self.pending) {
            let Some(packet) = self.pending.get(header..header + length) else { return };
            if self.pending[0] >> 4 == 3 {
                counts.messages.fetch_add(1, Relaxed);
                let qos = (self.pending[0] >> 1) & 3;
                counts.payload.fetch_add(publish_payload(packet, qos).unwrap_or(0) as u64, Relaxed);
            }
            self.pending.drain(..header + length);
        }
    }
}

/// Length of the fixed header and of what follows, when both are known.
fn fixed_header(bytes: &[u8]) -> Option<(usize, usize)> {
    let (used, length) = variable_int(bytes.get(1..)?)?;
    Some((1 + used, length))
}

fn variable_int(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((i + 1, value));
        }
    }
    None
}

/// Bytes behind topic, packet id and properties of an MQTT 5 PUBLISH.
fn publish_payload(packet: &[u8], qos: u8) -> Option<usize> {
    let topic = usize::from(u16::from_be_bytes([*packet.first()?, *packet.get(1)?]));
    let at = 2 + topic + if qos > 0 { 2 } else { 0 };
    let (used, properties) = variable_int(packet.get(at..)?)?;
    packet.len().checked_sub(at + used + properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_payload_of_a_split_publish() {
        // PUBLISH, QoS 1, topic "a/b", packet id 7, no properties, payload "hello"; then a PINGREQ.
        let bytes = [&[0x32, 13, 0, 3][..], b"a/b", &[0, 7, 0], b"hello", &[0xc0, 0]].concat();
        let (counts, mut reader) = (Counts::default(), PacketReader::default());
        for byte in bytes {
            reader.feed(&[byte], &counts);
        }
        assert_eq!((counts.messages.load(Relaxed), counts.payload.load(Relaxed)), (1, 5));
        assert!(reader.pending.is_empty());
    }
}
