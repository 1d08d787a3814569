//! Which series are in which slot of a frame.
//!
//! Dynamic things (disks, interfaces, units) come and go: a retired slot is reused by the next new series under a new
//! *epoch*, and whoever keeps history by slot looks at the epoch of each frame.

use std::sync::Arc;

use tacit_wire::semconv::{Family, Metric};
use tacit_wire::{Attribute, SeriesDef, SeriesId};

/// A series' place in a frame. [`Slot::NONE`] stands for a series that was refused because the table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u16);

impl Slot {
    /// No place: values written to it vanish.
    pub const NONE: Self = Self(u16::MAX);

    /// Index into a frame's values.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot as a dictionary number.
    #[must_use]
    pub const fn id(self) -> SeriesId {
        SeriesId(self.0)
    }
}

/// One series of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place.
    pub slot: Slot,
    /// Name, attributes and unit.
    pub def: SeriesDef,
    /// Its family.
    pub family: Family,
    /// Epoch in which it got its slot.
    pub since: u32,
    /// A stable hash of name and attributes: history and learned state are kept by it across restarts.
    pub key: u64,
}

/// A copy of the table for the other threads, made once an epoch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dictionary {
    /// The epoch.
    pub epoch: u32,
    /// The series in slot order.
    pub entries: Vec<Entry>,
    /// Series refused because the table was full.
    pub refused: u32,
}

impl Dictionary {
    /// The entries as the wire has them.
    #[must_use]
    pub fn defs(&self) -> Vec<SeriesDef> {
        self.entries.iter().map(|e| e.def.clone()).collect()
    }

    /// The entry in a slot.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<&Entry> {
        let i = self.entries.binary_search_by_key(&slot, |e| e.slot.index()).ok()?;
        self.entries.get(i)
    }
}

/// The table itself; only the sampling thread changes it.
#[derive(Debug)]
pub struct SeriesTable {
    entries: Vec<Option<Entry>>,
    epoch: u32,
    changed: bool,
    refused: u32,
}

impl SeriesTable {
    /// An empty table for at most `capacity` series.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(usize::from(u16::MAX));
        Self { entries: vec![None; capacity], epoch: 0, changed: false, refused: 0 }
    }

    /// Registers a metric without attributes, or with those of `attributes` (key from the table, value given).
    /// A series that is already there keeps its slot; when the table is full the answer is [`Slot::NONE`].
    pub fn register(&mut self, metric: &Metric, attributes: &[(&str, &str)]) -> Slot {
        self.register_named(metric.name, metric.unit, metric.family, attributes)
    }

    /// The same for names that are not in the table of metrics (`[[scrape]]`).
    pub fn register_named(&mut self, name: &str, unit: &str, family: Family, attributes: &[(&str, &str)]) -> Slot {
        let attributes: Vec<Attribute> = attributes.iter().map(|(k, v)| Attribute::new(*k, *v)).collect();
        let key = key_of(name, &attributes);
        if let Some(entry) = self.entries.iter().flatten().find(|e| e.key == key) {
            return entry.slot;
        }
        let Some(index) = self.entries.iter().position(Option::is_none) else {
            self.refused += 1;
            return Slot::NONE;
        };
        let slot = Slot(index as u16);
        self.open_epoch();
        self.entries[index] = Some(Entry {
            slot,
            def: SeriesDef { id: slot.id(), name: name.to_owned(), attributes, unit: unit.to_owned() },
            family,
            since: self.epoch,
            key,
        });
        slot
    }

    /// Gives a slot back: its series is gone.
    pub fn retire(&mut self, slot: Slot) {
        if let Some(place) = self.entries.get_mut(slot.index())
            && place.take().is_some()
        {
            self.open_epoch();
        }
    }

    /// Gives back those slots that are not among `kept`: what a source held before and holds now.
    pub fn retire_all_but(&mut self, before: impl IntoIterator<Item = Slot>, kept: &[Slot]) {
        for gone in before.into_iter().filter(|slot| !kept.contains(slot)) {
            self.retire(gone);
        }
    }

    fn open_epoch(&mut self) {
        if !self.changed {
            self.changed = true;
            self.epoch += 1;
        }
    }

    /// The current epoch.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Series refused because the table is full.
    #[must_use]
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    /// A copy for the other threads if anything changed since the last call.
    pub fn publish(&mut self) -> Option<Arc<Dictionary>> {
        std::mem::take(&mut self.changed).then(|| {
            Arc::new(Dictionary {
                epoch: self.epoch,
                entries: self.entries.iter().flatten().cloned().collect(),
                refused: self.refused,
            })
        })
    }
}

/// FNV-1a over the label: stable across versions and machines, which the standard hasher does not promise.
fn key_of(name: &str, attributes: &[Attribute]) -> u64 {
    let parts = std::iter::once(name).chain(attributes.iter().flat_map(|a| [a.key.as_str(), a.value.as_str()]));
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_wire::semconv::LOAD_1M;

    #[test]
    fn a_retired_slot_is_reused_under_a_new_epoch() {
        let mut table = SeriesTable::new(2);
        let a = table.register_named("a", "1", Family::Disk, &[("device", "sda")]);
        let b = table.register_named("a", "1", Family::Disk, &[("device", "sdb")]);
        assert_eq!(table.register_named("a", "1", Family::Disk, &[("device", "sda")]), a);
        assert_eq!(table.register(&LOAD_1M, &[]), Slot::NONE);
        let first = table.publish().expect("it changed");
        assert_eq!((first.epoch, first.entries.len(), first.refused), (1, 2, 1));
        assert!(table.publish().is_none());

        table.retire(a);
        let c = table.register(&LOAD_1M, &[]);
        assert_eq!(c, a);
        let second = table.publish().expect("it changed");
        assert_eq!(second.epoch, 2);
        assert_eq!(second.get(c.index()).map(|e| e.since), Some(2));
        assert_eq!(second.get(b.index()).map(|e| e.since), Some(1));
    }
}
