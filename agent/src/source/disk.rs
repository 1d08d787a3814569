//! Block devices, from `/proc/diskstats`:
//!
//! ```text
//! 254 0 vda 216690 39803 26983762 427924 54954 174237 48414960 321894 0 86164 758001 …
//! ```
//!
//! After the name: reads, reads merged, sectors read, ms reading, writes, writes merged, sectors written, ms writing,
//! operations under way, ms busy, weighted ms. Sectors are 512 bytes whatever the device. The ms counters, and on 32-bit
//! kernels all, wrap at 32 bits. Whole devices only: a partition has no entry of its own under `/sys/block`; the boot and
//! replay-protected areas of an eMMC have one, but nothing reads or writes them.

use tacit_wire::semconv as sc;

use super::keyed::{lines, number, words};
use super::rate::increase;
use super::{ParseError, ProcFile, Root, Sample, Sampled, Slot, Source, SourceError, Width};
use crate::clock::Tick;

const SECTOR: f32 = 512.0;
const DIRECTIONS: [&str; 2] = ["read", "write"];

/// The source of family `disk`.
#[derive(Debug)]
pub struct Disk {
    file: ProcFile,
    state: State,
}

#[derive(Debug)]
struct State {
    root: Root,
    ignore: Vec<String>,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    name: Box<[u8]>,
    /// `None` for a partition or an ignored device.
    slots: Option<Slots>,
    last: Option<(Counters, Tick)>,
    seen: bool,
}

/// By direction where there are two.
#[derive(Debug, Clone, Copy)]
struct Slots {
    io: [Slot; 2],
    operations: [Slot; 2],
    merged: [Slot; 2],
    wait: [Slot; 2],
    utilization: Slot,
    queue: Slot,
    pending: Slot,
}

/// The eleven numbers behind the name.
type Counters = [u64; 11];

impl Disk {
    /// Reads below `root`, without devices whose name begins with one of `ignore`.
    #[must_use]
    pub fn new(root: &Root, ignore: &[String]) -> Self {
        let state = State { root: root.clone(), ignore: ignore.to_vec(), devices: Vec::new() };
        Self { file: ProcFile::new(root.join("proc/diskstats"), 8192), state }
    }
}

impl Source for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let done = self.state.update(self.file.read()?, out);
        done.map_err(|e| e.at(self.file.path()))?;
        if self.state.devices.iter().all(|d| d.slots.is_none()) {
            return Ok(Sampled::Absent("no block device (of those that are not ignored)".into()));
        }
        Ok(Sampled::Data)
    }
}

impl State {
    fn update(&mut self, text: &[u8], out: &mut Sample<'_>) -> Result<(), ParseError> {
        for (at, line) in lines(text) {
            let (name, now) = parse(at, line)?;
            let index = match self.devices.iter().position(|d| &*d.name == name) {
                Some(index) => index,
                None => {
                    let slots = self.is_wanted(name).then(|| register(name, out));
                    self.devices.push(Device { name: name.into(), slots, last: None, seen: true });
                    self.devices.len() - 1
                }
            };
            self.devices[index].sample(&now, out);
        }
        self.devices.retain_mut(|device| {
            let stays = std::mem::take(&mut device.seen);
            if let (false, Some(slots)) = (stays, device.slots) {
                slots.all().for_each(|slot| out.table.retire(slot));
            }
            stays
        });
        Ok(())
    }

    fn is_wanted(&self, name: &[u8]) -> bool {
        let Ok(name) = std::str::from_utf8(name) else { return false };
        // In /sys/block a '/' of the name ("cciss/c0d0") is written '!'.
        let whole = self.root.join("sys/block").join(name.replace('/', "!")).exists();
        let area = name.strip_prefix("mmcblk").is_some_and(|rest| rest.contains("boot") || rest.contains("rpmb"));
        whole && !area && !self.ignore.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

impl Device {
    fn sample(&mut self, now: &Counters, out: &mut Sample<'_>) {
        self.seen = true;
        let Some(slots) = self.slots else { return };
        let Some((before, then)) = self.last.replace((*now, out.at)) else { return };
        let seconds = out.at.seconds_since(then) as f32;
        // A reset of one counter is a new device under the old name: nothing is said of this step.
        let mut gained = [0.0_f32; 11];
        for (i, gain) in gained.iter_mut().enumerate() {
            let Some(delta) = increase(before[i], now[i], Width::Bits32) else {
                if i == PENDING {
                    continue;
                }
                return;
            };
            *gain = delta as f32;
        }
        if seconds <= 0.0 {
            return;
        }
        for (direction, base) in [0, 4].into_iter().enumerate() {
            let [operations, merged, sectors, ms] =
                [gained[base], gained[base + 1], gained[base + 2], gained[base + 3]];
            out.set(slots.operations[direction], operations / seconds);
            out.set(slots.merged[direction], merged / seconds);
            out.set(slots.io[direction], sectors * SECTOR / seconds);
            // Nothing completed: nothing waited. That keeps the series alive on an idle device.
            out.set(slots.wait[direction], if operations > 0.0 { ms / 1000.0 / operations } else { 0.0 });
        }
        out.set(slots.pending, now[PENDING] as f32);
        out.set(slots.utilization, (gained[9] / 1000.0 / seconds).min(1.0));
        out.set(slots.queue, gained[10] / 1000.0 / seconds);
    }
}

/// Place of the one level among the counters: operations under way.
const PENDING: usize = 8;

impl Slots {
    fn all(self) -> impl Iterator<Item = Slot> {
        [self.io, self.operations, self.merged, self.wait].into_iter().flatten().chain([
            self.utilization,
            self.queue,
            self.pending,
        ])
    }
}

fn register(name: &[u8], out: &mut Sample<'_>) -> Slots {
    let name = String::from_utf8_lossy(name);
    let device = ("system.device", name.as_ref());
    let mut both = |metric| DIRECTIONS.map(|d| out.table.register(&metric, &[device, ("disk.io.direction", d)]));
    let [io, operations, merged, wait] =
        [sc::DISK_IO, sc::DISK_OPERATIONS, sc::DISK_MERGED, sc::DISK_AWAIT].map(&mut both);
    let [utilization, queue, pending] =
        [sc::DISK_UTILIZATION, sc::DISK_QUEUE, sc::DISK_PENDING].map(|m| out.table.register(&m, &[device]));
    Slots { io, operations, merged, wait, utilization, queue, pending }
}

fn parse(at: usize, line: &[u8]) -> Result<(&[u8], Counters), ParseError> {
    let wrong = || ParseError::new(at, "major, minor, name and eleven numbers", line);
    let mut words = words(line).skip(2);
    let name = words.next().ok_or_else(wrong)?;
    let mut counters = Counters::default();
    for counter in &mut counters {
        *counter = words.next().and_then(number).ok_or_else(wrong)?;
    }
    Ok((name, counters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_form() {
        let line =
            b" 254       0 vda 216690 39803 26983762 427924 54954 174237 48414960 321894 3 86164 758001 25056 32";
        let (name, counters) = parse(1, line).expect("the kernel's form");
        assert_eq!((name, counters[0], counters[PENDING], counters[10]), (&b"vda"[..], 216_690, 3, 758_001));
        assert!(parse(1, b"254 0 vda 1 2 3").is_err());
    }
}
