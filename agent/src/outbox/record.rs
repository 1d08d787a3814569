//! What a segment file holds. All numbers are little-endian.
//!
//! ```text
//! file   := header record*
//! header := "TACITOB1"                                     8 bytes
//! record := crc32   of everything after itself             4
//!           length  of everything after itself             4
//!           stream  id                                      8
//!           seq     number in the stream                    8
//!           wall    Unix milliseconds when queued           8
//!           lane    0 events, 1 rest                        1
//!           topic   index into `topic::Up::ALL`             1
//!           payload the message as it is published          length - 26
//! ```
//!
//! A file is only ever appended to, so a crash leaves a whole prefix and perhaps a torn record after it: reading stops at
//! the first record whose length or checksum is wrong.

use tacit_wire::message::Lane;
use tacit_wire::topic::Up;
use tacit_wire::{Seq, StreamId, limits};

/// First bytes of every segment.
pub const HEADER: &[u8; 8] = b"TACITOB1";
const PREFIX: usize = 8;
const FIXED: usize = 26;
/// Bytes of a record without its payload.
pub const OVERHEAD: usize = PREFIX + FIXED;

/// A record without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The stream.
    pub stream: StreamId,
    /// Its number there.
    pub seq: Seq,
    /// When queued, Unix milliseconds.
    pub wall_ms: i64,
    /// The lane.
    pub lane: Lane,
    /// The topic.
    pub topic: Up,
}

/// Appends one record to `out`.
pub fn write(out: &mut Vec<u8>, meta: &Meta, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&((FIXED + payload.len()) as u32).to_le_bytes());
    out.extend_from_slice(&meta.stream.0);
    out.extend_from_slice(&meta.seq.0.to_le_bytes());
    out.extend_from_slice(&meta.wall_ms.to_le_bytes());
    out.push(u8::from(meta.lane != Lane::Events));
    out.push(Up::ALL.iter().position(|u| *u == meta.topic).unwrap_or(0) as u8);
    out.extend_from_slice(payload);
    let crc = crc32fast::hash(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Reads the record at the start of `bytes`: what it is, and where its payload is. `None` when it is torn or corrupt.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(Meta, std::ops::Range<usize>)> {
    let crc = u32::from_le_bytes(word(bytes, 0)?);
    let length = u32::from_le_bytes(word(bytes, 4)?) as usize;
    if !(FIXED..=FIXED + limits::PAYLOAD).contains(&length) || bytes.len() < PREFIX + length {
        return None;
    }
    if crc32fast::hash(&bytes[4..PREFIX + length]) != crc {
        return None;
    }
    let lane = match bytes[32] {
        0 => Lane::Events,
        1 => Lane::Rest,
        _ => return None,
    };
    let meta = Meta {
        stream: StreamId(word(bytes, 8)?),
        seq: Seq(u64::from_le_bytes(word(bytes, 16)?)),
        wall_ms: i64::from_le_bytes(word(bytes, 24)?),
        lane,
        topic: *Up::ALL.get(usize::from(bytes[33]))?,
    };
    // Numbers count from 1 and never come near the end of their range; a forged one must not overflow anything.
    (1..u64::MAX / 2).contains(&meta.seq.0).then_some((meta, OVERHEAD..PREFIX + length))
}

/// What reading a segment gave.
#[derive(Debug, Default)]
pub struct Scan {
    /// Whole records with the offset of each and the length of its payload.
    pub records: Vec<(Meta, u64, usize)>,
    /// Bytes of the file that are good; what follows is torn or corrupt.
    pub good: u64,
}

/// Reads as much of a segment as is whole. `None` when it is no segment at all.
#[must_use]
pub fn scan(bytes: &[u8]) -> Option<Scan> {
    if !bytes.starts_with(HEADER) {
        return None;
    }
    let mut scan = Scan { records: Vec::new(), good: HEADER.len() as u64 };
    let mut at = HEADER.len();
    while let Some((meta, payload)) = read(&bytes[at..]) {
        scan.records.push((meta, at as u64, payload.len()));
        at += payload.end;
    }
    scan.good = at as u64;
    Some(scan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meta(seq: u64) -> Meta {
        Meta { stream: StreamId([7; 8]), seq: Seq(seq), wall_ms: 5, lane: Lane::Rest, topic: Up::Summary }
    }

    proptest! {
        /// Reading arbitrary bytes never panics, and never claims more than was given.
        #[test]
        fn arbitrary_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), headed: bool) {
            if headed { bytes.splice(0..0, *HEADER); }
            if let Some(scan) = scan(&bytes) { prop_assert!(scan.good <= bytes.len() as u64); }
        }

        /// A file cut anywhere reads back as a prefix of what was written.
        #[test]
        fn cut_anywhere(lengths in proptest::collection::vec(0_usize..200, 1..20), cut in 8_usize..4000) {
            let mut file = HEADER.to_vec();
            let mut ends = Vec::new();
            for (i, n) in lengths.iter().enumerate() {
                write(&mut file, &meta(i as u64 + 1), &vec![i as u8; *n]);
                ends.push(file.len());
            }
            let cut = cut.min(file.len());
            let whole = ends.iter().filter(|e| **e <= cut).count();
            let scan = scan(&file[..cut]).expect("the header is whole");
            prop_assert_eq!(scan.records.len(), whole);
            prop_assert!(scan.records.iter().enumerate().all(|(i, (m, _, n))| m.seq.0 == i as u64 + 1 && *n == lengths[i]));
        }

        /// One changed bit is noticed: nothing that was not written is ever read.
        #[test]
        fn one_bit(bit in 0_usize..(3 * (OVERHEAD + 10) * 8)) {
            let mut file = HEADER.to_vec();
            for seq in 1..=3 { write(&mut file, &meta(seq), &[9; 10]); }
            file[8 + bit / 8] ^= 1 << (bit % 8);
            let scan = scan(&file).expect("the header is whole");
            prop_assert_eq!(scan.records.len(), bit / 8 / (OVERHEAD + 10));
        }
    }
}
