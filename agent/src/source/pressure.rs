//! Pressure stall information of the host, from `/proc/pressure/{cpu,memory,io,irq}`:
//!
//! ```text
//! some avg10=0.00 avg60=0.12 avg300=0.30 total=215487317
//! full avg10=0.00 avg60=0.00 avg300=0.00 total=0
//! ```
//!
//! `total` is microseconds of stall since boot: its rate is the share of time, exact at any distance of samples, where the
//! averages lag.

use tacit_wire::semconv as sc;

use super::keyed::{lines, number, words};
use super::proc_file::is_missing;
use super::{ParseError, ProcFile, Rate, Root, Sample, Sampled, Slot, Source, SourceError, Width};

const RESOURCES: [&str; 4] = ["cpu", "memory", "io", "irq"];
const KINDS: [&str; 2] = ["some", "full"];

/// The source of family `pressure`.
#[derive(Debug)]
pub struct Pressure {
    resources: Vec<Resource>,
    /// Why there is none, once that is known.
    absent: Option<String>,
}

#[derive(Debug)]
struct Resource {
    name: &'static str,
    file: ProcFile,
    places: [(Option<Slot>, Rate); 2],
}

impl Pressure {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let folder = root.join("proc/pressure");
        let resource = |name: &&'static str| {
            let file = ProcFile::new(folder.join(name), 256);
            // Only "irq" is younger than the others; what is not there at the start does not come.
            file.exists().then(|| Resource { name, file, places: Default::default() })
        };
        let resources: Vec<_> = RESOURCES.iter().filter_map(resource).collect();
        let absent = resources.is_empty().then(|| {
            format!("{} is not there: the kernel was built without pressure stall information", folder.display())
        });
        Self { resources, absent }
    }
}

impl Source for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        if let Some(reason) = &self.absent {
            return Ok(Sampled::Absent(reason.clone()));
        }
        let mut failed = None;
        let mut off = None;
        self.resources.retain_mut(|resource| match resource.sample(out) {
            Ok(()) => true,
            // One may be off alone: "irq" where the kernel does not account for interrupts.
            Err(e) if turned_off(&e) || is_missing(&e) => {
                resource.retire(out);
                off = Some(e);
                false
            }
            Err(e) => {
                failed.get_or_insert(e);
                true
            }
        });
        if let (true, Some(e)) = (self.resources.is_empty(), off) {
            let reason = format!("{e}; pressure is turned off: boot with psi=1 to have it");
            self.absent = Some(reason.clone());
            return Ok(Sampled::Absent(reason));
        }
        failed.map_or(Ok(Sampled::Data), Err)
    }
}

/// A kernel booted with `psi=0` has the files but answers EOPNOTSUPP.
fn turned_off(error: &SourceError) -> bool {
    matches!(error, SourceError::Read { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()))
}

impl Resource {
    fn sample(&mut self, out: &mut Sample<'_>) -> Result<(), SourceError> {
        let totals = parse(self.file.read()?).map_err(|e| e.at(self.file.path()))?;
        for ((kind, total), (slot, rate)) in KINDS.iter().zip(totals).zip(&mut self.places) {
            let Some(total) = total else { continue };
            let name = self.name;
            let slot = *slot.get_or_insert_with(|| {
                out.table.register(&sc::PRESSURE, &[("system.resource", name), ("system.pressure.kind", kind)])
            });
            // Microseconds a second.
            out.set(slot, rate.per_second(total, out.at, Width::Bits64) / 1e6);
        }
        Ok(())
    }

    fn retire(&mut self, out: &mut Sample<'_>) {
        for slot in self.places.iter_mut().filter_map(|(slot, _)| slot.take()) {
            out.table.retire(slot);
        }
    }
}

/// Microseconds of "some" and of "full"; a kernel may lack one of the two.
fn parse(text: &[u8]) -> Result<[Option<u64>; 2], ParseError> {
    let mut totals = [None; 2];
    for (at, line) in lines(text) {
        let wrong = || ParseError::new(at, "\"some … total=…\" or \"full … total=…\"", line);
        let kind = words(line).next().ok_or_else(wrong)?;
        let place = KINDS.iter().position(|k| k.as_bytes() == kind).ok_or_else(wrong)?;
        let total = words(line).find_map(|w| w.strip_prefix(b"total=")).and_then(number).ok_or_else(wrong)?;
        totals[place] = Some(total);
    }
    if totals == [None; 2] { Err(ParseError::new(1, "\"some … total=…\"", text)) } else { Ok(totals) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_form() {
        let text =
            b"some avg10=0.00 avg60=0.12 avg300=0.30 total=215487317\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse(text), Ok([Some(215_487_317), Some(7)]));
        assert_eq!(parse(b"full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"), Ok([None, Some(7)]));
        for bad in [&b""[..], b"some", b"some total=x", b"none total=1"] {
            assert!(parse(bad).is_err());
        }
    }
}
