//! From scores and labels to the numbers of a series, and from those to the numbers of a source.

use serde::Serialize;

use super::attribution::HitRates;
use super::data::Entry;
use super::score::events::{HostEvents, own_threshold};
use super::score::nab::{self, NabFile};
use super::score::points::{self, Areas};
use super::score::sweep::{Sweep, Trade};
use super::score::{quantile, runs, usable, vus};
use super::scores::Scores;

/// The source that has a NAB score: its labels are windows.
const NAB: &str = "NAB";

/// Everything the numbers of a source need of one series.
#[derive(Debug)]
pub struct SeriesResult {
    entry: Entry,
    /// Of the severity after `train_end`; `None` without a labelled point there.
    volumes: Option<Areas>,
    areas: Option<Areas>,
    /// Of the alarm after `train_end`.
    events: HostEvents,
    /// The threshold the host chose for itself.
    own_threshold: f64,
    /// The detector's own events.
    own_events: Option<HostEvents>,
    raised: usize,
    nab: Option<NabFile>,
    /// The same, where the alarm begins.
    nab_onsets: Option<NabFile>,
    hit_rates: HitRates,
    cpu_s: f64,
    state_bytes: usize,
}

/// What a run of a detector cost and knew besides its scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extras {
    /// CPU seconds, learning included.
    pub cpu_s: f64,
    /// Hit rates of its attribution.
    pub hit_rates: HitRates,
}

impl SeriesResult {
    /// Holds the scores of all points against the labels of all points.
    #[must_use]
    pub fn new(entry: &Entry, scores: &Scores, labels: &[bool], extras: Extras, ask: f64) -> Self {
        let (te, period_s) = (entry.train_end, entry.period_s);
        let test = &labels[te..];
        let severity = usable(&scores.severity[te..]);
        let all_alarm = usable(&scores.alarm);
        let own_events = scores.open.as_ref().map(|open| {
            let shifted: Vec<_> = open.iter().map(|o| o.start.saturating_sub(te)..o.end.saturating_sub(te)).collect();
            HostEvents::of_intervals(test, &shifted, period_s)
        });
        let alarm = usable(&scores.alarm[te..]);
        let nab_file = |alarm: &[f64]| {
            let mut scores = vec![nab::QUIET; te];
            scores.extend_from_slice(alarm);
            (entry.source == NAB).then(|| NabFile { scores, windows: runs(labels), probation: te })
        };
        let (nab, nab_onsets) = (nab_file(&alarm), nab_file(&nab::onsets(&alarm)));
        Self {
            volumes: vus::volumes(test, &severity, entry.vus_window),
            areas: points::areas(test, &severity),
            events: HostEvents::new(test, alarm, period_s),
            own_threshold: own_threshold(&all_alarm[te / 2..te], period_s, ask),
            own_events,
            raised: scores.raised.iter().filter(|t| **t >= te).count(),
            nab,
            nab_onsets,
            hit_rates: extras.hit_rates,
            cpu_s: extras.cpu_s,
            state_bytes: scores.state_bytes,
            entry: entry.clone(),
        }
    }

    fn line(&self) -> SeriesLine {
        let days = self.events.days();
        let own = self.own_events.as_ref();
        SeriesLine {
            name: self.entry.name.clone(),
            events: self.events.events(),
            host_days: days,
            vus_pr: self.volumes.map(|v| v.pr),
            auc_pr: self.areas.map(|a| a.pr),
            asked_got_per_day: self.events.false_alarms(self.own_threshold) as f64 / days,
            asked_caught: self.events.hits(self.own_threshold),
            own_got_per_day: own.map(|o| o.false_alarms(1.0) as f64 / days),
            own_caught: own.map(|o| o.hits(1.0)),
            own_raised_per_day: own.map(|_| self.raised as f64 / days),
        }
    }
}

/// The numbers of one series.
#[derive(Debug, Clone, Serialize)]
pub struct SeriesLine {
    /// Name in its source.
    pub name: String,
    /// Events after `train_end`.
    pub events: usize,
    /// Length of that part in days.
    pub host_days: f64,
    /// Volume under the precision-recall surface, of the severity.
    pub vus_pr: Option<f64>,
    /// Area under the precision-recall curve, of the severity.
    pub auc_pr: Option<f64>,
    /// False alarms a day at its own threshold.
    pub asked_got_per_day: f64,
    /// Events caught there.
    pub asked_caught: usize,
    /// False alarms a day of the detector's own events.
    pub own_got_per_day: Option<f64>,
    /// Events they caught.
    pub own_caught: Option<usize>,
    /// New events a day the detector raised, true ones included.
    pub own_raised_per_day: Option<f64>,
}

/// How well a promise of alarms a day was kept.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Kept {
    /// False alarms a host-day over all hosts.
    pub got_per_day: f64,
    /// Those of the worst host.
    pub worst_per_day: f64,
    /// Share of the events caught; `None` when there is none.
    pub recall: Option<f64>,
    /// Median seconds from the begin of a caught event.
    pub delay_s: Option<f64>,
}

impl Kept {
    fn of<'a>(hosts: impl Iterator<Item = (&'a HostEvents, f64)>) -> Self {
        let (mut alarms, mut days, mut worst, mut hits, mut events) = (0, 0.0, 0.0_f64, 0, 0);
        let mut delays = Vec::new();
        for (host, threshold) in hosts {
            let count = host.false_alarms(threshold);
            (alarms, days) = (alarms + count, days + host.days());
            worst = worst.max(count as f64 / host.days());
            (hits, events) = (hits + host.hits(threshold), events + host.events());
            delays.extend(host.delays(threshold));
        }
        Self {
            got_per_day: alarms as f64 / days,
            worst_per_day: worst,
            recall: (events > 0).then(|| hits as f64 / events as f64),
            delay_s: quantile::median(&delays),
        }
    }
}

/// Attribution, averaged over events.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Attributed {
    /// Events whose cause is known.
    pub events: usize,
    /// HitRate@100%.
    pub hit_rate_100: f64,
    /// What chance reaches there.
    pub chance_100: f64,
    /// HitRate@150%.
    pub hit_rate_150: f64,
    /// What chance reaches there.
    pub chance_150: f64,
}

/// The numbers of one source.
#[derive(Debug, Clone, Serialize)]
pub struct SourceRow {
    /// Its name.
    pub source: String,
    /// Its series.
    pub series: usize,
    /// Events after `train_end`.
    pub events: usize,
    /// Length of those parts together, in days.
    pub host_days: f64,
    /// Volumes and areas: means over the series with events, of the severity.
    pub vus_pr: Option<f64>,
    /// See `vus_pr`.
    pub auc_pr: Option<f64>,
    /// See `vus_pr`.
    pub vus_roc: Option<f64>,
    /// See `vus_pr`.
    pub auc_roc: Option<f64>,
    /// Share of the events caught at one false alarm a host-day, one threshold for all hosts, of the alarm.
    pub recall_at_1: Option<f64>,
    /// The same at a tenth.
    pub recall_at_01: Option<f64>,
    /// Median seconds from the begin of an event to the alarm at one false alarm a host-day.
    pub delay_s: Option<f64>,
    /// Each host's own threshold from its unlabelled history.
    pub asked: Kept,
    /// The detector's own events.
    pub own_events: Option<Kept>,
    /// New events a host-day the detector raised, true ones included.
    pub own_raised_per_day: Option<f64>,
    /// Whether it named the right metrics.
    pub attribution: Option<Attributed>,
    /// Score of the Numenta benchmark, standard profile.
    pub nab: Option<f64>,
    /// The same of where the alarm begins.
    pub nab_onsets: Option<f64>,
    /// CPU microseconds a point of a metric, learning included.
    pub cpu_us_per_value: f64,
    /// Largest saved state in bytes.
    pub state_bytes: usize,
    /// The series one by one.
    pub by_series: Vec<SeriesLine>,
}

impl SourceRow {
    /// From all series of a source, at least one.
    #[must_use]
    pub fn new(source: &str, series: &[SeriesResult]) -> Self {
        let hosts: Vec<&HostEvents> = series.iter().map(|s| &s.events).collect();
        let events: usize = hosts.iter().map(|h| h.events()).sum();
        let host_days: f64 = hosts.iter().map(|h| h.days()).sum();
        let sweep = Sweep::new(&hosts);
        let (at_1, at_01) = (sweep.at_budget(1.0), sweep.at_budget(0.1));
        let delays = at_1.map(|t| hosts.iter().flat_map(|h| h.delays(t.threshold)).collect::<Vec<f64>>());
        let recall = |trade: Option<Trade>| trade.filter(|_| events > 0).map(|t| t.recall);
        let own: Option<Vec<(&HostEvents, f64)>> =
            series.iter().map(|s| s.own_events.as_ref().map(|o| (o, 1.0))).collect();
        let values: usize = series.iter().map(|s| s.entry.points * s.entry.metrics).sum();
        let nab_of = |file: fn(&SeriesResult) -> Option<&NabFile>| {
            nab::score(&series.iter().filter_map(file).cloned().collect::<Vec<_>>())
        };
        Self {
            source: source.to_owned(),
            series: series.len(),
            events,
            host_days,
            vus_pr: mean(series.iter().filter_map(|s| s.volumes).map(|v| v.pr)),
            auc_pr: mean(series.iter().filter_map(|s| s.areas).map(|a| a.pr)),
            vus_roc: mean(series.iter().filter_map(|s| s.volumes).map(|v| v.roc)),
            auc_roc: mean(series.iter().filter_map(|s| s.areas).map(|a| a.roc)),
            recall_at_1: recall(at_1),
            recall_at_01: recall(at_01),
            delay_s: delays.and_then(|d| quantile::median(&d)),
            asked: Kept::of(series.iter().map(|s| (&s.events, s.own_threshold))),
            own_raised_per_day: own.as_ref().map(|_| series.iter().map(|s| s.raised).sum::<usize>() as f64 / host_days),
            own_events: own.map(|own| Kept::of(own.into_iter())),
            attribution: attributed(series),
            nab: nab_of(|s| s.nab.as_ref()),
            nab_onsets: nab_of(|s| s.nab_onsets.as_ref()),
            cpu_us_per_value: series.iter().map(|s| s.cpu_s).sum::<f64>() * 1e6 / values as f64,
            state_bytes: series.iter().map(|s| s.state_bytes).max().unwrap_or(0),
            by_series: series.iter().map(SeriesResult::line).collect(),
        }
    }
}

fn attributed(series: &[SeriesResult]) -> Option<Attributed> {
    let mut sum = HitRates::default();
    series.iter().for_each(|s| sum.add(&s.hit_rates));
    let n = sum.events as f64;
    (sum.events > 0).then(|| Attributed {
        events: sum.events,
        hit_rate_100: sum.at_100 / n,
        chance_100: sum.chance_100 / n,
        hit_rate_150: sum.at_150 / n,
        chance_150: sum.chance_150 / n,
    })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
