//! Alarms of single metrics, as nodes would raise them: robust scores with hysteresis against the metric's own tail, and how probable
//! each is for its source.
//!
//! With median and interquartile range of the day's minutes, an alarm opens after [`OPEN_MINUTES`] minutes in a row beyond [`OPEN`]
//! and beyond [`OWN_SHARE`] of the day's *other* minutes, and closes after [`CLOSE_MINUTES`] below half of that. Its chance is the
//! share of the other minutes beyond [`OPEN`], with an exponential tail in the logarithm of the score. The reference input of 8 and no
//! tail gives three times as many alarms.

use tacit_collector::cause::statistic::Scale;
use tacit_collector::incident::group::EntityNo;
use tacit_wire::message::Direction;

use super::day::{Column, Day};

/// Robust score beyond which an alarm opens,
const OPEN: f64 = 6.0;
/// after so many minutes.
const OPEN_MINUTES: usize = 2;
/// It is beyond this share of the metric's other minutes, too.
const OWN_SHARE: f64 = 0.98;
/// It closes after so many minutes below half of what it opened at.
const CLOSE_MINUTES: usize = 3;
/// What is open at a hole in the recording of more seconds closes there.
const HOLE_S: i64 = 600;
/// A metric with fewer minutes is not judged.
const MINUTES_MIN: usize = 20;
/// From so many seconds before an alarm
const OWN_BEFORE_S: i64 = 60;
/// to so many after it, a minute says nothing about how usual the alarm is; nor one as near as this about the tail.
const OWN_AFTER_S: i64 = 480;
/// What is believed of the tail, as if so many minutes had shown
const TAIL_MINUTES: f64 = 2.0;
/// this mean logarithm of their excess.
const TAIL: f64 = 0.5;

/// An alarm of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// Start of its first minute, Unix seconds.
    pub begin_s: i64,
    /// Start of its last.
    pub end_s: i64,
    /// The service.
    pub entity: EntityNo,
    /// What the metric is about.
    pub family: String,
    /// On which side of the median it began.
    pub direction: Direction,
    /// Logarithm of its score over the threshold when it opened.
    pub score: f64,
    /// Its chance in a minute of its source.
    pub p: f64,
}

/// All alarms of a day, in the order of their begins.
#[must_use]
pub fn of_day(day: &Day) -> Vec<Alarm> {
    let mut all: Vec<Alarm> = day.columns.iter().flat_map(|column| of_column(&day.times, column)).collect();
    all.sort_by(|a, b| (a.begin_s, a.entity, &a.family).cmp(&(b.begin_s, b.entity, &b.family)));
    all
}

fn of_column(times: &[i64], column: &Column) -> Vec<Alarm> {
    let Some(scores) = Scores::of(times, &column.values) else { return Vec::new() };
    let mut alarms: Vec<Alarm> = Vec::new();
    // The score that the open alarm closes below.
    let mut close: Option<f64> = None;
    let (mut beyond, mut below) = (0, 0);
    for (n, z) in scores.z.iter().enumerate() {
        if n > 0 && times[n].saturating_sub(times[n - 1]) > HOLE_S {
            (close, beyond, below) = (None, 0, 0);
        }
        if let Some(least) = close {
            below = if *z < least { below + 1 } else { 0 };
            if let Some(alarm) = alarms.last_mut().filter(|_| below == 0) {
                alarm.end_s = times[n];
            }
            if below >= CLOSE_MINUTES {
                (close, beyond) = (None, 0);
            }
            continue;
        }
        let threshold = if *z > OPEN { scores.threshold(n) } else { f64::INFINITY };
        beyond = if *z > threshold { beyond + 1 } else { 0 };
        if beyond >= OPEN_MINUTES {
            alarms.push(scores.alarm(column, n + 1 - OPEN_MINUTES, n, threshold));
            (close, below) = (Some(threshold / 2.0), 0);
        }
    }
    alarms
}

/// A metric's robust scores.
struct Scores<'a> {
    times: &'a [i64],
    values: &'a [f64],
    median: f64,
    /// A score a minute; 0 where there is no value.
    z: Vec<f64>,
}

impl<'a> Scores<'a> {
    /// Scores of a metric; `None` when there is too little of it.
    fn of(times: &'a [i64], values: &'a [f64]) -> Option<Self> {
        let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        if finite.len() < MINUTES_MIN {
            return None;
        }
        let Scale { centre: median, unit } = Scale::quartiles(&finite, &mut Vec::new())?;
        let z = values.iter().map(|v| if v.is_finite() { (v - median).abs() / unit } else { 0.0 }).collect();
        Some(Self { times, values, median, z })
    }

    /// Scores of minutes that are not from `before` seconds before a time to [`OWN_AFTER_S`] after it.
    fn others(&self, at: i64, before: i64) -> impl Iterator<Item = f64> + '_ {
        let (from, to) = (at.saturating_sub(before), at.saturating_add(OWN_AFTER_S));
        let minutes = self.times.iter().zip(self.values).zip(&self.z);
        minutes.filter(move |((t, v), _)| !(from..=to).contains(*t) && v.is_finite()).map(|(_, z)| *z)
    }

    /// What a minute has to be beyond.
    fn threshold(&self, minute: usize) -> f64 {
        let mut others: Vec<f64> = self.others(self.times[minute], OWN_AFTER_S).collect();
        if others.is_empty() {
            return OPEN;
        }
        others.sort_by(f64::total_cmp);
        percentile(&others, OWN_SHARE).max(OPEN)
    }

    /// The alarm of these minutes.
    fn alarm(&self, column: &Column, first: usize, last: usize, threshold: f64) -> Alarm {
        let at = self.times[first];
        let least = self.z[first..=last].iter().copied().fold(f64::INFINITY, f64::min);
        // Each minute has its own threshold; the first may have been below that of the last.
        let score = (least / threshold).ln();
        let (mut count, mut beyond, mut excess) = (0.0, 0.0, 0.0);
        for z in self.others(at, OWN_BEFORE_S) {
            count += 1.0;
            if z > OPEN {
                beyond += 1.0;
                excess += (z / OPEN).ln();
            }
        }
        let tail = (excess + TAIL_MINUTES * TAIL) / (beyond + TAIL_MINUTES);
        Alarm {
            begin_s: at,
            end_s: self.times[last],
            entity: column.entity,
            family: column.family.clone(),
            direction: if self.values[first] > self.median { Direction::High } else { Direction::Low },
            score,
            p: ((beyond + 0.5) / (count + 1.0) * (-score.max(0.0) / tail).exp()).min(1.0),
        }
    }
}

/// A percentile of sorted values, linearly interpolated.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - at.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: Vec<f64>) -> Column {
        Column { entity: EntityNo(1), family: "server".into(), values }
    }

    /// Alarms of values a minute, around 10 ± 1, over three hours.
    fn alarms(changes: &[(usize, f64)]) -> Vec<Alarm> {
        let mut values: Vec<f64> = (0..180).map(|n| 9.0 + f64::from(n % 3)).collect();
        for (n, value) in changes {
            values[*n] = *value;
        }
        let times: Vec<i64> = (0..180).map(|n| n * 60).collect();
        of_column(&times, &column(values))
    }

    #[test]
    fn an_alarm_holds_from_its_first_minute_to_its_last() {
        assert_eq!(alarms(&[(50, 90.0)]), []);
        let found = alarms(&[(50, 90.0), (51, 90.0), (52, f64::NAN), (53, 90.0)]);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].begin_s, found[0].end_s), (3000, 3180));
        assert_eq!(found[0].direction, Direction::High);
        assert_eq!(alarms(&[(50, -90.0), (51, -90.0)])[0].direction, Direction::Low);
    }

    #[test]
    fn what_happens_often_is_probable() {
        let once = alarms(&[(50, 90.0), (51, 90.0)]);
        let twice = alarms(&[(50, 90.0), (51, 90.0), (150, 60.0)]);
        assert_eq!((once.len(), twice.len()), (1, 1));
        assert!(once[0].p < 0.01 && twice[0].p > 2.0 * once[0].p, "{} {}", once[0].p, twice[0].p);
        let larger = alarms(&[(50, 900.0), (51, 900.0)]);
        assert!(larger[0].p < once[0].p / 5.0, "{}", larger[0].p);
        // What the metric does in more than its share of minutes is nothing, until there is more than that.
        let often = [10, 11, 40, 41, 70, 71, 100, 101, 130, 131];
        assert_eq!(alarms(&often.map(|n| (n, 90.0))), []);
        let mut changes = often.map(|n| (n, 90.0)).to_vec();
        changes.extend([(160, 900.0), (161, 900.0)]);
        assert_eq!(alarms(&changes).len(), 1);
    }

    #[test]
    fn a_hole_in_the_recording_ends_an_alarm() {
        let mut values = vec![10.0; 200];
        values.extend([90.0, 90.0, 90.0, 90.0]);
        let mut times: Vec<i64> = (0..202).map(|n| n * 60).collect();
        times.extend([20_000, 20_060]);
        // Each half is but two of two hundred other minutes.
        let ends: Vec<_> = of_column(&times, &column(values)).iter().map(|a| (a.begin_s, a.end_s)).collect();
        assert_eq!(ends, [(12_000, 12_060), (20_000, 20_060)]);
    }

    #[test]
    fn too_little_is_no_alarm() {
        let times: Vec<i64> = (0..100).collect();
        assert_eq!(of_column(&times, &column(vec![f64::NAN; 100])), []);
    }
}
