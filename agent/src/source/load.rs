//! Load averages and threads, from `/proc/loadavg`:
//!
//! ```text
//! 0.42 0.36 0.30 2/431 20310
//! ```
//!
//! The three averages count threads that run, wait for a processor, or wait uninterruptibly (usually for a disk).

use tacit_wire::semconv;

use super::{ParseError, ProcFile, Root, Sample, Sampled, Slot, Source, SourceError};

/// The source of family `load`.
#[derive(Debug)]
pub struct Load {
    file: ProcFile,
    slots: Option<[Slot; 5]>,
}

impl Load {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Self { file: ProcFile::new(root.join("proc/loadavg"), 128), slots: None }
    }
}

impl Source for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let text = self.file.read()?;
        let values = parse(text).map_err(|e| e.at(self.file.path()))?;
        let slots = *self.slots.get_or_insert_with(|| {
            use semconv::{LOAD_1M, LOAD_5M, LOAD_15M, THREADS, THREADS_RUNNABLE};
            [LOAD_1M, LOAD_5M, LOAD_15M, THREADS_RUNNABLE, THREADS].map(|m| out.table.register(&m, &[]))
        });
        for (slot, value) in slots.into_iter().zip(values) {
            out.set(slot, value);
        }
        Ok(Sampled::Data)
    }
}

/// Load over 1, 5 and 15 minutes, runnable threads, threads.
fn parse(text: &[u8]) -> Result<[f32; 5], ParseError> {
    let wrong = || ParseError::new(1, "three averages and runnable/total", text);
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let mut words = text.split_ascii_whitespace();
    let number = |word: Option<&str>| {
        // Rust also reads "inf", "NaN" and a sign, which the kernel never writes.
        word.and_then(|w| w.parse::<f32>().ok()).filter(|v| v.is_finite() && *v >= 0.0).ok_or_else(wrong)
    };
    let averages = [number(words.next())?, number(words.next())?, number(words.next())?];
    let (runnable, total) = words.next().and_then(|w| w.split_once('/')).ok_or_else(wrong)?;
    Ok([averages[0], averages[1], averages[2], number(Some(runnable))?, number(Some(total))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_form() {
        assert_eq!(parse(b"0.42 0.36 0.30 2/431 20310\n"), Ok([0.42, 0.36, 0.30, 2.0, 431.0]));
    }

    #[test]
    fn says_what_is_wrong() {
        for garbage in [&b""[..], b"0.42", b"a b c d/e f", b"1 2 3 4 5", b"\xff\xfe", b"nan inf -1 2/431"] {
            assert!(parse(garbage).is_err(), "{garbage:?} must be refused");
        }
    }
}
