//! Virtual memory activity, from `/proc/vmstat`: lines of a name and a number, pages unless said.
//!
//! `pgpgin` and `pgpgout` are in KiB. Kernels differ in names: what one lacks has no series.

use tacit_wire::semconv as sc;

use super::keyed::{Keyed, Wanted, counter, lines, number, words};
use super::{ParseError, ProcFile, Root, Sample, Sampled, Source, SourceError};

const COUNTS: &[Wanted] = &[
    counter("workingset_refault_anon", sc::VM_REFAULTS, &["anonymous"], 1.0),
    counter("workingset_refault_file", sc::VM_REFAULTS, &["file"], 1.0),
    counter("pgpgin", sc::VM_IO, &["read"], 1024.0),
    counter("pgpgout", sc::VM_IO, &["write"], 1024.0),
    counter("pswpin", sc::PAGING_OPERATIONS, &["in"], 1.0),
    counter("pswpout", sc::PAGING_OPERATIONS, &["out"], 1.0),
    counter("pgalloc_normal", sc::VM_ALLOCATED, &[], 1.0),
    counter("allocstall_normal", sc::VM_ALLOCATION_STALLS, &[], 1.0),
    counter("pgfree", sc::VM_FREED, &[], 1.0),
    counter("pgactivate", sc::VM_ACTIVATED, &[], 1.0),
    counter("pgdeactivate", sc::VM_DEACTIVATED, &[], 1.0),
    counter("pgfault", sc::PAGING_FAULTS, &["minor"], 1.0),
    counter("pgmajfault", sc::PAGING_FAULTS, &["major"], 1.0),
    counter("pgsteal_kswapd", sc::VM_RECLAIMED, &["kswapd"], 1.0),
    counter("pgsteal_direct", sc::VM_RECLAIMED, &["direct"], 1.0),
    counter("pgscan_kswapd", sc::VM_SCANNED, &["kswapd"], 1.0),
    counter("pgscan_direct", sc::VM_SCANNED, &["direct"], 1.0),
    counter("oom_kill", sc::VM_OOM_KILLS, &[], 1.0),
    counter("compact_stall", sc::VM_COMPACTION_STALLS, &[], 1.0),
    counter("thp_fault_fallback", sc::VM_THP_FALLBACKS, &[], 1.0),
    counter("pgrotated", sc::VM_EVENTS, &["pgrotated"], 1.0),
    counter("pginodesteal", sc::VM_EVENTS, &["pginodesteal"], 1.0),
    counter("slabs_scanned", sc::VM_EVENTS, &["slabs_scanned"], 1.0),
    counter("kswapd_inodesteal", sc::VM_EVENTS, &["kswapd_inodesteal"], 1.0),
    counter("pageoutrun", sc::VM_EVENTS, &["pageoutrun"], 1.0),
    counter("pgmigrate_success", sc::VM_EVENTS, &["pgmigrate_success"], 1.0),
    counter("pgmigrate_fail", sc::VM_EVENTS, &["pgmigrate_fail"], 1.0),
    counter("compact_fail", sc::VM_EVENTS, &["compact_fail"], 1.0),
    counter("compact_success", sc::VM_EVENTS, &["compact_success"], 1.0),
    counter("thp_fault_alloc", sc::VM_EVENTS, &["thp_fault_alloc"], 1.0),
    counter("thp_collapse_alloc", sc::VM_EVENTS, &["thp_collapse_alloc"], 1.0),
    counter("thp_split_page", sc::VM_EVENTS, &["thp_split_page"], 1.0),
    counter("workingset_activate_file", sc::VM_EVENTS, &["workingset_activate_file"], 1.0),
    counter("unevictable_pgs_culled", sc::VM_EVENTS, &["unevictable_pgs_culled"], 1.0),
];

/// The source of family `vm`.
#[derive(Debug)]
pub struct Vm {
    file: ProcFile,
    counts: Keyed,
}

impl Vm {
    /// Reads below `root`.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        Self { file: ProcFile::new(root.join("proc/vmstat"), 8192), counts: Keyed::new(COUNTS) }
    }
}

impl Source for Vm {
    fn name(&self) -> &'static str {
        "vm"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let done = update(self.file.read()?, &mut self.counts, out);
        done.map_err(|e| e.at(self.file.path()))?;
        Ok(Sampled::Data)
    }
}

fn update(text: &[u8], counts: &mut Keyed, out: &mut Sample<'_>) -> Result<(), ParseError> {
    let mut hint = 0;
    let mut any = false;
    for (at, line) in lines(text) {
        let mut words = words(line);
        let (key, value) = words
            .next()
            .zip(words.next().and_then(number))
            .ok_or_else(|| ParseError::new(at, "a name and a number", line))?;
        counts.take(key, value, &mut hint, out);
        any = true;
    }
    if any { Ok(()) } else { Err(ParseError::new(1, "lines of a name and a number", text)) }
}
