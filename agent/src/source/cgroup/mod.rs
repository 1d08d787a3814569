//! systemd units and containers, from control groups of version 1, version 2 or both.
//!
//! A thread walks the hierarchy every ten seconds; the sampling thread holds the files of the units it follows and reads
//! them every tick. How many it follows is bounded: with 500 units the largest by memory are kept, so that one crowded
//! host does not spend everybody's budget.

mod discover;
mod name;
mod parse;
mod unit;

pub use discover::{Found, Layout, walk};
pub use name::{unit_of, unit_of_process};

use std::time::Duration;

use super::feed::Feed;
use super::{Root, Sample, Sampled, SeriesTable, Source, SourceError};
use unit::Unit;

/// Distance of walks.
const WALK: Duration = Duration::from_secs(10);
/// Part of all series that units and containers may take, in percent.
const SHARE: usize = 40;
/// Series of a typical unit, by layout.
const EACH_V2: usize = 8;
const EACH_V1: usize = 5;
/// A unit that is followed stays so until another is larger by a quarter: two of a size do not swap all the time.
const LOYALTY: u64 = 4;

/// The source of family `cgroup`.
#[derive(Debug)]
pub struct Cgroups {
    layout: Layout,
    walks: Walks,
    most: usize,
    units: Vec<Unit>,
    /// Units that the newest walk found.
    found: usize,
}

#[derive(Debug)]
enum Walks {
    /// The live machine, and how many walks were used.
    Thread(Feed<Vec<Found>>, u64),
    /// A recorded tree: walked at each sample.
    Inline,
}

impl Cgroups {
    /// Follows the units below `root`, within their share of `max_series`.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn new(root: &Root, max_series: usize) -> std::io::Result<Self> {
        let layout = Layout::find(root);
        let walks = if root.is_live() && layout != Layout::None {
            let layout = layout.clone();
            Walks::Thread(Feed::start("tacit-slow-cgrp", WALK, move || walk(&layout))?, 0)
        } else {
            Walks::Inline
        };
        let each = if matches!(layout, Layout::V2(_)) { EACH_V2 } else { EACH_V1 };
        let most = (max_series * SHARE / 100 / each).max(1);
        Ok(Self { layout, walks, most, units: Vec::new(), found: 0 })
    }

    /// Takes a walk over: retires what went, opens what came.
    fn follow(&mut self, found: &[Found], table: &mut SeriesTable) {
        self.found = found.len();
        let mut ranked: Vec<(u64, &Found)> = found
            .iter()
            .map(|f| {
                let bonus = if self.units.iter().any(|u| u.path == f.path) { f.memory / LOYALTY } else { 0 };
                (f.memory + bonus, f)
            })
            .collect();
        ranked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        ranked.truncate(self.most);
        let (keep, gone) = std::mem::take(&mut self.units)
            .into_iter()
            .partition(|unit| ranked.iter().any(|(_, f)| f.path == unit.path));
        self.units = keep;
        for unit in gone {
            unit.retire(table);
        }
        for (_, found) in ranked {
            match self.units.iter_mut().find(|u| u.path == found.path) {
                Some(unit) => unit.set_limit(found.limit, table),
                None => {
                    let unit = Unit::open(&self.layout, found, table);
                    if !unit.is_empty() {
                        self.units.push(unit);
                    }
                }
            }
        }
    }
}

impl Source for Cgroups {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        if self.layout == Layout::None {
            return Ok(Sampled::Absent("/sys/fs/cgroup has neither version 1 nor version 2 mounted".into()));
        }
        let newest = match &mut self.walks {
            Walks::Inline => Some(walk(&self.layout).into()),
            Walks::Thread(feed, used) => match feed.newest() {
                None => return Ok(Sampled::Data),
                Some((count, newest)) => (std::mem::replace(used, count) != count).then_some(newest),
            },
        };
        if let Some(found) = newest {
            self.follow(&found, out.table);
        }
        let mut i = 0;
        while let Some(unit) = self.units.get_mut(i) {
            if unit.sample(out).is_ok() {
                i += 1;
                continue;
            }
            // It ended. Its successor of the same name is found by a walk now, not ten seconds later.
            self.units.swap_remove(i).retire(out.table);
            if let Walks::Thread(feed, _) = &self.walks {
                feed.request();
            }
        }
        if self.units.is_empty() && self.found == 0 {
            return Ok(Sampled::Absent("no systemd unit or container has a control group here".into()));
        }
        Ok(Sampled::Data)
    }
}
