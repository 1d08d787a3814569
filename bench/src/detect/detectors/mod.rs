//! Detectors that can be compared: ours, and others from their public descriptions.
//!
//! All are causal: what is said of a point depends on that point and those before it. The others are fitted once on the
//! part before `train_end`; ours learns from the first point to the last, as on a node, and is not told where that part
//! ends.

mod lag_clusters;
mod ours;
mod pca;
mod tail;

use anyhow::Result;

use super::data::Series;
use super::scores::Scores;

/// A detector by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Detector {
    /// What the agent runs.
    Ours,
    /// Netdata's method as shipped: share of the metrics whose lag clusters all call a point anomalous.
    Netdata,
    /// The same models, with the distance itself instead of a bit.
    NetdataUncut,
    /// Principal components over the metrics (over a window when there is one metric), Mahalanobis distance.
    Pca,
}

/// What a run asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// Events a day that the detector may raise, if it has a budget.
    pub budget_per_day: f64,
    /// Whether attribution is needed after `train_end`.
    pub attribution: bool,
}

impl Detector {
    /// Scores a series.
    ///
    /// # Errors
    /// What the detector could not do.
    pub fn judge(self, series: &Series, request: Request) -> Result<Scores> {
        match self {
            Self::Ours => ours::judge(series, request),
            Self::Netdata => Ok(lag_clusters::judge(series, request, lag_clusters::Form::AsShipped)),
            Self::NetdataUncut => Ok(lag_clusters::judge(series, request, lag_clusters::Form::Uncut)),
            Self::Pca => pca::judge(series),
        }
    }
}
