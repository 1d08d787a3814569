//! A day through the real grouping, in the order in which its alarms begin and end.

use std::collections::BTreeMap;
use std::time::Instant;

use tacit_collector::incident::group::{
    EventNo, FamilyNo, Fingerprint, GroupNo, Grouper, How, Numbers, Onset, Outcome, Role, Rules,
};

use super::alarms::{Alarm, of_day};
use super::day::Day;

/// What became of a day's alarms.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// Alarms of single metrics.
    pub alarms: usize,
    /// Events, the same thing once.
    pub events: usize,
    /// Events that opened nothing.
    pub digest: usize,
    /// Of each group that opened, when its events began, Unix seconds.
    pub groups: Vec<Vec<i64>>,
    /// Milliseconds that the grouping took.
    pub ms: f64,
}

/// Groups the alarms of a day.
#[must_use]
pub fn replay(day: &Day) -> Replayed {
    let alarms = of_day(day);
    let mut families = Numbers::default();
    let onsets: Vec<Onset> =
        alarms.iter().zip(0..).map(|(alarm, n)| onset(day, alarm, n, families.number(&alarm.family))).collect();
    // At one moment what ends goes first: it is not there any more when the next begins. An alarm may end where it began.
    let mut steps: Vec<(i64, bool, usize)> = Vec::with_capacity(2 * alarms.len());
    for (n, alarm) in alarms.iter().enumerate() {
        steps.push((alarm.begin_s, true, n));
        steps.push((alarm.end_s.max(alarm.begin_s + 1), false, n));
    }
    steps.sort_unstable();

    let begun = Instant::now();
    let mut grouper = Grouper::new(Rules::default(), GroupNo(1));
    let mut out = Vec::new();
    for (at_s, is_begin, n) in steps {
        let now_ms = at_s.saturating_mul(1000);
        if is_begin {
            out.extend(grouper.begin(&onsets[n], now_ms, &day.relations));
        } else {
            grouper.end(&onsets[n].fingerprint, now_ms, now_ms);
        }
    }
    out.extend(grouper.advance(i64::MAX));
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    let (groups, events, digest) = incidents(&out, &alarms);
    Replayed { alarms: alarms.len(), events, digest, groups, ms }
}

fn onset(day: &Day, alarm: &Alarm, n: u64, family: u32) -> Onset {
    let first = day.times.first().copied().unwrap_or(alarm.begin_s);
    Onset {
        event: EventNo(n),
        fingerprint: Fingerprint { entity: alarm.entity, family: FamilyNo(family), direction: alarm.direction },
        at_ms: alarm.begin_s.saturating_mul(1000),
        // It held for as long as it took to open.
        role: Role::Symptom,
        score: alarm.score as f32,
        claim: Some(alarm.p),
        watched_ms: alarm.begin_s.saturating_sub(first).saturating_mul(1000),
    }
}

/// When the events of each incident began, how many events there were, and how many of them are in the digest. A turn of an event
/// that is there already begins nothing.
fn incidents(out: &[Outcome], alarms: &[Alarm]) -> (Vec<Vec<i64>>, usize, usize) {
    let begin = |event: EventNo| usize::try_from(event.0).ok().and_then(|n| alarms.get(n)).map(|a| a.begin_s);
    let mut starts: BTreeMap<GroupNo, Vec<i64>> = BTreeMap::new();
    let (mut events, mut digest) = (0, 0);
    for outcome in out {
        match outcome {
            Outcome::Placed(p) if matches!(p.how, How::Repeats { .. } | How::Unstable { .. }) => {}
            Outcome::Placed(p) => {
                events += 1;
                starts.entry(p.group).or_default().extend(begin(p.event));
            }
            Outcome::Merged { from, into, .. } => {
                let moved = starts.remove(from).unwrap_or_default();
                starts.entry(*into).or_default().extend(moved);
            }
            Outcome::Digest { group, events, .. } => {
                digest += events.len();
                starts.remove(group);
            }
            Outcome::Opened { .. } | Outcome::Steady(_) => {}
        }
    }
    // What neither opened nor went into the digest cannot be: every group is over by now.
    (starts.into_values().collect(), events, digest)
}

#[cfg(test)]
mod tests {
    use tacit_collector::incident::group::{EntityNo, Topology};

    use super::super::day::Column;
    use super::*;

    /// Two services that talk and one that does not; two of them fail at minute 60, the third at minute 250, and it has a metric
    /// that jumps every few minutes, a little higher at minute 150.
    fn day() -> Day {
        let times: Vec<i64> = (0..300).map(|n| 1_700_000_000 + n * 60).collect();
        let usual = |n: usize| 9.0 + (n % 3) as f64;
        let column = |entity, family: &str, value: &dyn Fn(usize) -> f64| Column {
            entity: EntityNo(entity),
            family: family.into(),
            values: (0..300).map(value).collect(),
        };
        let fails = |from: usize| move |n: usize| if (from..from + 4).contains(&n) { 900.0 } else { usual(n) };
        let jumps = |n: usize| match n {
            150 | 151 => 120.0,
            n if n % 20 == 7 => 100.0,
            n => usual(n),
        };
        let columns = vec![
            column(1, "server", &fails(60)),
            column(1, "server", &fails(61)),
            column(1, "cpu", &fails(60)),
            column(2, "client", &fails(60)),
            column(3, "server", &fails(250)),
            column(3, "memory", &jumps),
        ];
        Day { times, columns, relations: Topology::new(&[], &[(EntityNo(1), EntityNo(2))], &[], 1) }
    }

    #[test]
    fn a_day_is_its_incidents_and_a_digest() {
        let replayed = replay(&day());
        assert_eq!((replayed.alarms, replayed.events, replayed.digest), (6, 5, 1));
        let minutes: Vec<Vec<i64>> =
            replayed.groups.iter().map(|g| g.iter().map(|s| (s - 1_700_000_000) / 60).collect()).collect();
        assert_eq!(minutes, [vec![60, 60, 60], vec![250]]);
    }
}
