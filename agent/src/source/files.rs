//! Open files and inodes of the whole system, from `/proc/sys/fs/file-nr` (`open 0 limit`) and `inode-nr` (`held free`).

use tacit_wire::semconv as sc;

use super::keyed::{number, words};
use super::{ParseError, ProcFile, Root, Sample, Sampled, Slot, Source, SourceError};

/// The source of family `files`.
#[derive(Debug)]
pub struct Files {
    files: ProcFile,
    inodes: ProcFile,
    slots: Option<[Slot; 3]>,
}

impl Files {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Self {
            files: ProcFile::new(root.join("proc/sys/fs/file-nr"), 128),
            inodes: ProcFile::new(root.join("proc/sys/fs/inode-nr"), 128),
            slots: None,
        }
    }
}

impl Source for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let [open, _, limit] = parse::<3>(self.files.read()?).map_err(|e| e.at(self.files.path()))?;
        let [held, _] = parse::<2>(self.inodes.read()?).map_err(|e| e.at(self.inodes.path()))?;
        let [open_slot, share, inodes] = *self.slots.get_or_insert_with(|| {
            [sc::FILES_OPEN, sc::FILES_UTILIZATION, sc::INODES_CACHED].map(|m| out.table.register(&m, &[]))
        });
        out.set(open_slot, open as f32);
        out.set(share, open as f32 / limit.max(1) as f32);
        out.set(inodes, held as f32);
        Ok(Sampled::Data)
    }
}

fn parse<const N: usize>(text: &[u8]) -> Result<[u64; N], ParseError> {
    let mut values = [0; N];
    let mut found = words(text).map(number);
    for value in &mut values {
        *value = found.next().flatten().ok_or_else(|| ParseError::new(1, "whole numbers", text))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_form() {
        assert_eq!(parse::<3>(b"1184\t0\t9223372036854775807\n"), Ok([1184, 0, 9_223_372_036_854_775_807]));
        assert!(parse::<3>(b"1184\t0\n").is_err());
    }
}
