//! A file system is full, or will be within the set time at the rate of the last hour.
//!
//! The rate is a robust slope: the median of slopes over five minutes, one a minute. One large file that comes or goes touches
//! five of them and does not decide (with all pairs, as Theil and Sen have it, it touches half). It counts from ten minutes on,
//! and only when no single minute made a large part of the growth: with ten points one file touches every slope.

use tacit_wire::message::{Direction, Evidence};
use tacit_wire::{Attribute, Num, semconv, words};

use super::Finding;
use crate::source::filesystem::MountUsage;

/// Points kept, one a minute.
const POINTS: usize = 60;
/// Points before a rate is believed.
const ENOUGH: usize = 10;
/// Points that a slope spans.
const LAG: usize = 5;
/// A minute that made more than this share of all growth was a file, not a rate.
const ONE_FILE: f64 = 0.4;
/// Distance of points.
const EVERY_MS: u64 = 60_000;
/// Full now: share in use.
const FULL: f32 = 0.97;
/// No longer full below this.
const FREED: f32 = 0.95;

/// The rule's memory.
#[derive(Debug)]
pub struct DiskFull {
    within_s: f64,
    mounts: Vec<Mount>,
}

#[derive(Debug)]
struct Mount {
    point: String,
    used: heapless::Deque<(u64, u64), POINTS>,
    broken: bool,
}

impl DiskFull {
    /// Warns when a file system will be full within `within_s` seconds.
    #[must_use]
    pub fn new(within_s: f64) -> Self {
        Self { within_s, mounts: Vec::new() }
    }

    /// Another time from now on; the rates that were seen stay.
    pub fn set_within(&mut self, within_s: f64) {
        self.within_s = within_s;
    }

    /// Looks at all file systems; what is read-only or does not answer is left out.
    pub fn look(&mut self, mounts: &[MountUsage], now_mono_ms: u64) -> Vec<Finding> {
        self.mounts.retain(|m| mounts.iter().any(|seen| *seen.mount == *m.point));
        let mut findings = Vec::new();
        for seen in mounts.iter().filter(|m| !m.read_only) {
            let Some(space) = seen.space else { continue };
            let index = self.mounts.iter().position(|m| m.point == *seen.mount).unwrap_or_else(|| {
                self.mounts.push(Mount { point: seen.mount.to_string(), used: heapless::Deque::new(), broken: false });
                self.mounts.len() - 1
            });
            let mount = &mut self.mounts[index];
            mount.remember(now_mono_ms, space.used);
            let share = space.utilization();
            let seconds = mount.seconds_until_full(space.free);
            let full = share >= if mount.broken { FREED } else { FULL };
            // Going back takes half as much again: a rate that wavers around the limit is one event.
            let soon = seconds.filter(|s| *s < self.within_s * if mount.broken { 1.5 } else { 1.0 });
            mount.broken = full || soon.is_some();
            findings.push(finding(&mount.point, mount.broken, full, share, space.free, soon));
        }
        findings
    }
}

impl Mount {
    fn remember(&mut self, now: u64, used: u64) {
        if self.used.back().is_some_and(|(at, _)| now.saturating_sub(*at) < EVERY_MS) {
            return;
        }
        if self.used.is_full() {
            self.used.pop_front();
        }
        // There is room: one was taken out.
        let _ = self.used.push_back((now, used));
    }

    /// At the present rate; `None` when it does not grow, or not for long enough to tell.
    fn seconds_until_full(&self, free: u64) -> Option<f64> {
        let (newest, first) = (self.used.back()?, self.used.front()?);
        // A growth of less than a thousandth of what is left in the watched time is noise.
        if self.used.len() < ENOUGH || newest.1.saturating_sub(first.1) < free / 1000 {
            return None;
        }
        let growth = newest.1.saturating_sub(first.1);
        let steps = self.used.iter().zip(self.used.iter().skip(1)).map(|((_, a), (_, b))| b.saturating_sub(*a));
        if steps.max().unwrap_or(0) as f64 > ONE_FILE * growth as f64 {
            return None;
        }
        let later = self.used.iter().skip(LAG);
        let mut slopes: Vec<f64> = (self.used.iter().zip(later))
            .map(|((t1, u1), (t2, u2))| (*u2 as f64 - *u1 as f64) / ((*t2 - *t1).max(1) as f64 / 1000.0))
            .collect();
        slopes.sort_unstable_by(f64::total_cmp);
        let slope = slopes.get(slopes.len() / 2).copied().unwrap_or(0.0);
        (slope > 0.0).then(|| free as f64 / slope)
    }
}

fn finding(point: &str, broken: bool, full: bool, share: f32, free: u64, soon: Option<f64>) -> Finding {
    let (share_text, free_text) = (words::value(share, "1"), words::value(free as f32, "By"));
    let text = match soon {
        Some(seconds) if !full => {
            let hours = seconds / 3600.0;
            format!("{point} will be full in {hours:.1} h at its present rate: {share_text} in use, {free_text} free")
        }
        _ if full => format!("{point} is full: {share_text} in use, {free_text} free"),
        _ => format!("{point} has room again: {share_text} in use, {free_text} free"),
    };
    let severity = if full { 0.9 } else { soon.map_or(0.0, |s| if s < 3600.0 { 0.8 } else { 0.5 }) };
    let evidence = Evidence {
        name: semconv::FS_UTILIZATION.name.into(),
        attributes: vec![Attribute::new("system.filesystem.mountpoint", point)],
        unit: "1".into(),
        share: Num(1.0),
        observed: Num::quantised(share),
        low: Num::NONE,
        high: Num(FULL),
        direction: Direction::High,
    };
    Finding {
        rule: "disk-full",
        subject: point.to_owned(),
        broken,
        severity,
        text,
        evidence: vec![evidence],
        ..Finding::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::filesystem::Space;

    const GB: u64 = 1_000_000_000;

    fn look(rule: &mut DiskFull, minute: u64, used: u64) -> Finding {
        let space = Space { used, free: 100 * GB - used, total: 100 * GB, inodes: None };
        let mount = MountUsage { mount: "/".into(), kind: "ext4".into(), read_only: false, space: Some(space) };
        rule.look(&[mount], minute * 60_000).remove(0)
    }

    #[test]
    fn steady_growth_is_told_after_ten_minutes() {
        let mut rule = DiskFull::new(12.0 * 3600.0);
        let told: Vec<bool> = (0..12).map(|m| look(&mut rule, m, 50 * GB + m * GB / 5).broken).collect();
        assert_eq!(told.iter().position(|b| *b), Some(9));
        // It stopped growing: after an hour it is over.
        assert!((12..100).map(|m| look(&mut rule, m, 53 * GB).broken).any(|b| !b));
    }

    #[test]
    fn noise_and_one_large_file_are_not() {
        let mut rule = DiskFull::new(12.0 * 3600.0);
        for minute in 0..60 {
            let file = if minute >= 30 { 20 * GB } else { 0 };
            let used = 50 * GB + file + (minute * 7 % 5) * 1_000_000;
            assert!(!look(&mut rule, minute, used).broken, "minute {minute}");
        }
    }

    #[test]
    fn one_large_file_in_the_first_minutes_is_not_a_rate() {
        for at in 1..14 {
            let mut rule = DiskFull::new(12.0 * 3600.0);
            let told =
                (0..40).any(|m| look(&mut rule, m, 50 * GB + if m >= at { 3 * GB } else { 0 } + m * 1_000_000).broken);
            assert!(!told, "a file at minute {at}");
        }
    }

    #[test]
    fn growth_in_bursts_is_told() {
        let mut rule = DiskFull::new(12.0 * 3600.0);
        assert!((0..40).any(|m| look(&mut rule, m, 50 * GB + m / 5 * GB).broken));
    }

    #[test]
    fn full_is_told_at_once_and_ends_with_room() {
        let mut rule = DiskFull::new(12.0 * 3600.0);
        assert!(look(&mut rule, 0, 98 * GB).broken);
        assert!(look(&mut rule, 1, 96 * GB).broken, "between the two limits it stays");
        assert!(!look(&mut rule, 2, 80 * GB).broken);
    }
}
