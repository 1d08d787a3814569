//! Network interfaces, from `/proc/net/dev`:
//!
//! ```text
//! Inter-|   Receive                                                |  Transmit
//!  face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
//!   eth0: 430382364   17343    0    0    0     0          0         0  1281004   11037    0    0    0     0       0          0
//! ```
//!
//! Counters are as wide as the driver's, 32 bits on some. When one of an interface begins anew (its driver was loaded
//! again), a fall of another is no wrap either.

use tacit_wire::semconv as sc;

use super::keyed::{lines, number, words};
use super::{ParseError, ProcFile, Rate, Root, Sample, Sampled, Slot, Source, SourceError, Width};

/// Columns that are kept: bytes, packets, errors and drops, received and sent; multicast; and kinds of faults.
const COLUMNS: [usize; KEPT] = [0, 1, 2, 3, 8, 9, 10, 11, 7, 4, 5, 12, 13, 14];
const KEPT: usize = 14;
/// Names of the last five.
const FAULTS: [&str; 5] = ["receive_fifo", "frame", "transmit_fifo", "collision", "carrier"];

/// The source of family `network`.
#[derive(Debug)]
pub struct Network {
    file: ProcFile,
    state: State,
}

#[derive(Debug)]
struct State {
    ignore: Vec<String>,
    interfaces: Vec<Interface>,
}

#[derive(Debug)]
struct Interface {
    name: Box<[u8]>,
    /// `None` for an ignored interface.
    slots: Option<[Slot; KEPT]>,
    rates: [Rate; KEPT],
    seen: bool,
}

impl Network {
    /// Reads below `root`, without interfaces whose name begins with one of `ignore`.
    #[must_use]
    pub fn new(root: &Root, ignore: &[String]) -> Self {
        let state = State { ignore: ignore.to_vec(), interfaces: Vec::new() };
        Self { file: ProcFile::new(root.join("proc/net/dev"), 4096), state }
    }
}

impl Source for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let done = self.state.update(self.file.read()?, out);
        done.map_err(|e| e.at(self.file.path()))?;
        Ok(Sampled::Data)
    }
}

impl State {
    fn update(&mut self, text: &[u8], out: &mut Sample<'_>) -> Result<(), ParseError> {
        let mut lines = lines(text);
        // Without its two lines of headings the text is something else: no reason to let go of the interfaces.
        let headings = (&mut lines).take(2).filter(|(_, line)| line.contains(&b'|')).count();
        if headings < 2 {
            return Err(ParseError::new(1, "two lines of headings", text));
        }
        for (at, line) in lines {
            let (name, counters) = parse(at, line)?;
            let index = match self.interfaces.iter().position(|i| &*i.name == name) {
                Some(index) => index,
                None => {
                    let text = String::from_utf8_lossy(name);
                    let wanted = !self.ignore.iter().any(|prefix| text.starts_with(prefix.as_str()));
                    let slots = wanted.then(|| register(&text, out));
                    self.interfaces.push(Interface { name: name.into(), slots, rates: Default::default(), seen: true });
                    self.interfaces.len() - 1
                }
            };
            let interface = &mut self.interfaces[index];
            interface.seen = true;
            let anew = interface.rates.iter().zip(counters).any(|(rate, value)| rate.is_reset(value, Width::Bits32));
            let width = if anew { Width::Bits64 } else { Width::Bits32 };
            for ((slot, rate), value) in interface.slots.iter().flatten().zip(&mut interface.rates).zip(counters) {
                out.set(*slot, rate.per_second(value, out.at, width));
            }
        }
        self.interfaces.retain_mut(|interface| {
            let stays = std::mem::take(&mut interface.seen);
            if !stays {
                interface.slots.iter().flatten().for_each(|slot| out.table.retire(*slot));
            }
            stays
        });
        Ok(())
    }
}

fn register(name: &str, out: &mut Sample<'_>) -> [Slot; KEPT] {
    let mut slots = [Slot::NONE; KEPT];
    for (half, direction) in slots[..8].chunks_mut(4).zip(["receive", "transmit"]) {
        let metrics = [sc::NETWORK_IO, sc::NETWORK_PACKETS, sc::NETWORK_ERRORS, sc::NETWORK_DROPPED];
        for (slot, metric) in half.iter_mut().zip(metrics) {
            *slot =
                out.table.register(&metric, &[("network.interface.name", name), ("network.io.direction", direction)]);
        }
    }
    let interface = ("network.interface.name", name);
    slots[8] = out.table.register(&sc::NETWORK_MULTICAST, &[interface]);
    for (slot, fault) in slots[9..].iter_mut().zip(FAULTS) {
        *slot = out.table.register(&sc::NETWORK_FAULTS, &[interface, ("network.fault", fault)]);
    }
    slots
}

/// Name and the kept columns. The name may touch its first number (`eth0:430`) and, on kernels before 4.18, hold a colon.
fn parse(at: usize, line: &[u8]) -> Result<(&[u8], [u64; KEPT]), ParseError> {
    let wrong = || ParseError::new(at, "\"name:\" and sixteen numbers", line);
    let colon = line.iter().rposition(|b| *b == b':').ok_or_else(wrong)?;
    let (name, rest) = (line[..colon].trim_ascii(), &line[colon + 1..]);
    if name.is_empty() {
        return Err(wrong());
    }
    let mut all = [0; 16];
    let mut numbers = words(rest).map(number);
    for value in &mut all {
        *value = numbers.next().flatten().ok_or_else(wrong)?;
    }
    Ok((name, COLUMNS.map(|c| all[c])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_form() {
        let line = b"  eth0:430382364   17343    1    2    0     0          0         0  1281004   11037    3    4    0     0       0          0";
        assert_eq!(
            parse(3, line),
            Ok((&b"eth0"[..], [430_382_364, 17_343, 1, 2, 1_281_004, 11_037, 3, 4, 0, 0, 0, 0, 0, 0]))
        );
        assert!(parse(3, b"eth0 1 2").is_err());
        assert!(parse(3, b"eth0: 1 2").is_err());
        assert!(parse(3, b": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").is_err());
        let (name, _) = parse(3, b"eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").expect("an old name");
        assert_eq!(name, b"eth0:1");
    }
}
