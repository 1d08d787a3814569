//! The agent's detector, driven point by point as the agent drives it.

use anyhow::{Context as _, Result};
use tacit_models::{DetectorConfig, Transition};

use super::Request;
use crate::detect::data::Series;
use crate::detect::scores::{Attribution, Scores};

/// Runs over all points. Fits are done at once where the agent spreads them over a few points.
pub fn judge(series: &Series, request: Request) -> Result<Scores> {
    let period_ms = series.period_s * 1000;
    let budget_per_day = Some(request.budget_per_day);
    let mut detector =
        tacit_models::Detector::new(DetectorConfig { capacity: series.metrics, period_ms, budget_per_day });
    for slot in 0..series.metrics {
        detector.bind(slot, slot as u64 + 1);
    }
    let mut scores = Scores {
        severity: Vec::with_capacity(series.points),
        alarm: Vec::with_capacity(series.points),
        attribution: request.attribution.then(|| Attribution::starting(series.train_end, series.metrics)),
        ..Scores::default()
    };
    let mut open = Vec::new();
    let mut opened = None;
    let mut row = vec![0.0; series.metrics];
    for t in 0..series.points {
        series.row(t, &mut row);
        let step = detector.step(&row, t as u64 * u64::from(period_ms), t as i64 * i64::from(period_ms));
        scores.severity.push(if step.judged { step.score } else { f32::NAN });
        scores.alarm.push(if step.judged { step.excess } else { f32::NAN });
        if step.transition == Some(Transition::Open) {
            scores.raised.push(t);
        }
        match (opened, step.open) {
            (None, true) => opened = Some(t),
            (Some(from), false) => {
                open.push(from..t);
                opened = None;
            }
            _ => {}
        }
        if let Some(attribution) = scores.attribution.as_mut().filter(|_| t >= series.train_end) {
            attribution.push(detector.shares());
        }
        if detector.refit_due() {
            detector.refit_some(usize::MAX).with_context(|| format!("the fit at point {t} failed"))?;
        }
    }
    open.extend(opened.map(|from| from..series.points));
    scores.open = Some(open);
    scores.state_bytes = detector.save().len();
    Ok(scores)
}
