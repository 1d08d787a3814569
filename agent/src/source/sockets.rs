//! Sockets by protocol, from `/proc/net/sockstat` and `sockstat6`:
//!
//! ```text
//! sockets: used 22
//! TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 361
//! UDP: inuse 0 mem 0
//! ```
//!
//! `mem` is in pages of the machine: 4 KiB on most, 16 KiB on a Raspberry Pi 5.

use tacit_wire::semconv as sc;

use super::keyed::{Keyed, Wanted, gauge, lines, number, words};
use super::proc_file::is_missing;
use super::{ParseError, ProcFile, Root, Sample, Sampled, Source, SourceError};

/// Names are the line's and the field's, joined.
const LEVELS: &[Wanted] = &[
    gauge("sockets:used", sc::SOCKETS_USED, &[], 1.0),
    gauge("TCP:inuse", sc::SOCKETS, &["tcp", "in_use"], 1.0),
    gauge("TCP:orphan", sc::SOCKETS, &["tcp", "orphan"], 1.0),
    gauge("TCP:tw", sc::SOCKETS, &["tcp", "time_wait"], 1.0),
    gauge("TCP:alloc", sc::SOCKETS, &["tcp", "allocated"], 1.0),
    gauge("TCP:mem", sc::SOCKETS_MEMORY, &["tcp"], 1.0),
    gauge("UDP:inuse", sc::SOCKETS, &["udp", "in_use"], 1.0),
    gauge("UDP:mem", sc::SOCKETS_MEMORY, &["udp"], 1.0),
    gauge("RAW:inuse", sc::SOCKETS, &["raw", "in_use"], 1.0),
    gauge("TCP6:inuse", sc::SOCKETS, &["tcp6", "in_use"], 1.0),
    gauge("UDP6:inuse", sc::SOCKETS, &["udp6", "in_use"], 1.0),
];

/// The source of family `sockets`.
#[derive(Debug)]
pub struct Sockets {
    v4: ProcFile,
    v6: ProcFile,
    levels: Keyed,
    /// Bytes.
    page: u64,
}

impl Sockets {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let file = |name: &str| ProcFile::new(root.join("proc/net").join(name), 512);
        let page = if root.is_live() { rustix::param::page_size() as u64 } else { 4096 };
        Self { v4: file("sockstat"), v6: file("sockstat6"), levels: Keyed::new(LEVELS), page }
    }
}

impl Source for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        // Both are read before either's error counts.
        let [v4, v6] = [&mut self.v4, &mut self.v6].map(|file| {
            let done = update(file.read()?, self.page, &mut self.levels, out);
            done.map_err(|e| e.at(file.path()))
        });
        v4?;
        match v6 {
            // A kernel without IPv6 has no such file.
            Err(e) if !is_missing(&e) => Err(e),
            _ => Ok(Sampled::Data),
        }
    }
}

fn update(text: &[u8], page: u64, levels: &mut Keyed, out: &mut Sample<'_>) -> Result<(), ParseError> {
    let mut hint = 0;
    let mut any = false;
    for (at, line) in lines(text) {
        let wrong = || ParseError::new(at, "\"PROTOCOL: name number …\"", line);
        let mut words = words(line);
        let protocol = words.next().filter(|w| w.ends_with(b":")).ok_or_else(wrong)?;
        while let Some(name) = words.next() {
            let value = words.next().and_then(number).ok_or_else(wrong)?;
            let mut key = [0; 32];
            let length = protocol.len() + name.len();
            if let Some(place) = key.get_mut(..length) {
                place[..protocol.len()].copy_from_slice(protocol);
                place[protocol.len()..].copy_from_slice(name);
                let value = if name == b"mem" { value.saturating_mul(page) } else { value };
                levels.take(&key[..length], value, &mut hint, out);
            }
        }
        any = true;
    }
    if any { Ok(()) } else { Err(ParseError::new(1, "\"PROTOCOL: name number …\"", text)) }
}
