//! `tacit-bench detect`: how good a detector is, on labelled series, by the same rules for all.
//!
//! ```text
//! index.csv → values → detector → scores, frozen ┬→ --out
//!                                                └→ + labels, causes → numbers of a series → numbers of a source
//! ```
//!
//! A detector sees the values point by point and never a label: labels are read when a series' scores are done. [`data`]
//! reads the folder, [`detectors`] are what is compared, [`score`] has the metrics, [`attribution`] asks whether the right
//! metrics were named, and [`report`] prints.

pub mod attribution;
pub mod causes;
pub mod data;
pub mod detectors;
mod npy;
pub mod report;
pub mod result;
pub mod score;
pub mod scores;
pub mod work;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum as _};

use attribution::HitRates;
use data::{Entry, Folder};
use detectors::{Detector, Request};
use report::Report;
use result::{Extras, SeriesResult, SourceRow};
use score::events::Rules;
use scores::Scores;

/// Arguments of `tacit-bench detect`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Folder with index.csv and the series it lists.
    #[arg(long)]
    pub data: PathBuf,
    /// Only these sources.
    #[arg(long, value_delimiter = ',')]
    pub source: Vec<String>,
    /// What to evaluate.
    #[arg(long, value_enum, default_value = "ours")]
    pub detector: Detector,
    /// Folder for the scores of all points: SOURCE/NAME.severity.f32 and .alarm.f32, raw little endian.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// False alarms a host-day to ask for: the budget of the detector, and of each host's own threshold.
    #[arg(long, default_value_t = 1.0)]
    pub ask: f64,
    /// Print JSON instead of a table; it has every series too.
    #[arg(long)]
    pub json: bool,
}

/// Runs the evaluation and prints it.
///
/// # Errors
/// As [`evaluate`].
pub fn run(options: &Options) -> Result<()> {
    let report = evaluate(options)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).context("cannot write the report as JSON")?);
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// Runs a detector over every series and scores it.
///
/// # Errors
/// A data folder that is incomplete or damaged, a detector that fails, or scores that cannot be written.
pub fn evaluate(options: &Options) -> Result<Report> {
    ensure!(
        options.ask > 0.0 && options.ask <= 1440.0,
        "--ask {}: allowed is more than 0 and at most 1440 a day",
        options.ask
    );
    let folder = Folder::open(&options.data, &options.source)?;
    let size = |entry: &Entry| entry.points * entry.metrics;
    let name = |entry: &Entry| format!("{}/{}", entry.source, entry.name);
    let results = work::on_all_cores(&folder.entries, size, name, |entry| one_series(options, &folder, entry))?;
    let mut by_source: Vec<(String, Vec<SeriesResult>)> = Vec::new();
    for (entry, result) in folder.entries.iter().zip(results) {
        match by_source.iter_mut().find(|(source, _)| *source == entry.source) {
            Some((_, of_source)) => of_source.push(result),
            None => by_source.push((entry.source.clone(), vec![result])),
        }
    }
    by_source.sort_by(|a, b| a.0.cmp(&b.0));
    let detector = options.detector.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
    let sources = by_source.iter().map(|(source, series)| SourceRow::new(source, series)).collect();
    Ok(Report { detector, asked_per_day: options.ask, sources })
}

/// First the scores, which are then no longer touched; then the labels.
fn one_series(options: &Options, folder: &Folder, entry: &Entry) -> Result<SeriesResult> {
    let series = folder.series(entry)?;
    let request = Request { budget_per_day: options.ask, attribution: causes::are_known(folder, entry) };
    let before = work::thread_cpu();
    let mut scores = options.detector.judge(&series, request)?;
    let cpu_s = (work::thread_cpu() - before).as_secs_f64();
    scores.fill_unjudged();
    ensure!(
        scores.severity.len() == entry.points && scores.alarm.len() == entry.points,
        "the detector gave {} and {} scores for {} points",
        scores.severity.len(),
        scores.alarm.len(),
        entry.points
    );
    if let Some(out) = &options.out {
        write_scores(&out.join(&entry.source), &entry.name, &scores)?;
    }

    let labels = folder.labels(entry)?;
    let hit_rates = match &scores.attribution {
        None => HitRates::default(),
        Some(attribution) => {
            let causes = causes::read(folder, entry)?;
            let alarm = score::usable(&scores.alarm[entry.train_end..]);
            let slack = Rules::at_period(entry.period_s).slack;
            HitRates::of(&causes, &alarm, attribution, entry.train_end, entry.metrics, slack)
        }
    };
    Ok(SeriesResult::new(entry, &scores, &labels, Extras { cpu_s, hit_rates }, options.ask))
}

fn write_scores(folder: &Path, name: &str, scores: &Scores) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("--out: cannot make {}", folder.display()))?;
    for (kind, values) in [("severity", &scores.severity), ("alarm", &scores.alarm)] {
        let path = folder.join(format!("{name}.{kind}.f32"));
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        fs::write(&path, bytes).with_context(|| format!("--out: cannot write {}", path.display()))?;
    }
    Ok(())
}
