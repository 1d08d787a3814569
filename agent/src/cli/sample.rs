//! `tacit-agent sample`: every series with its value now.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use tacit_wire::SeriesDef;

use super::print;
use crate::clock::Tick;
use crate::config::Config;
use crate::source::probe::Answers;
use crate::source::registry::{self, Sources};
use crate::source::task::{Refresher, run_apart};
use crate::source::{Dictionary, Root, Sample, Sampled, SeriesTable, Source, SourceError};

/// How long the result of a slow source is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// All sources of this machine, sampled in place.
pub struct Machine {
    sources: Vec<Box<dyn Source>>,
    table: SeriesTable,
    dictionary: Arc<Dictionary>,
    values: Vec<f32>,
    /// Series that each source wrote or holds, in the order of the sources.
    counts: Vec<usize>,
    refreshers: Vec<Refresher>,
    answers: Answers,
}

/// How one source fared.
pub type Outcome = (&'static str, Result<Sampled, SourceError>);

/// One series as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct Printed {
    name: String,
    attributes: Map<String, Value>,
    unit: String,
    value: Option<f32>,
}

impl Machine {
    /// Opens the sources and waits for the first result of the slow ones.
    pub fn open(root: &Root, config: &Config) -> Self {
        let Sources { list: sources, refreshers, tasks, answers, .. } = registry::all(root, config);
        run_apart(tasks);
        let size = config.sampling.max_series;
        Self {
            counts: vec![0; sources.len()],
            sources,
            table: SeriesTable::new(size),
            dictionary: Arc::default(),
            values: vec![f32::NAN; size],
            refreshers,
            answers,
        }
    }

    /// Has the slow threads read now; a thread that does not answer in time is not waited for.
    pub fn refresh(&self) {
        self.refreshers.iter().for_each(|refresh| refresh(PATIENCE));
    }

    /// One tick.
    pub fn sample(&mut self, at: Tick) -> Vec<Outcome> {
        self.values.fill(f32::NAN);
        let Self { sources, table, values, counts, .. } = self;
        let one = |(source, count): (&mut Box<dyn Source>, &mut usize)| {
            let before = table.len();
            let outcome = source.sample(&mut Sample { at, table, values });
            // Sources register what is new while they sample, so growth is theirs.
            *count = (*count + table.len()).saturating_sub(before);
            (source.name(), outcome)
        };
        let outcomes = sources.iter_mut().zip(counts).map(one).collect();
        if let Some(dictionary) = self.table.publish() {
            self.dictionary = dictionary;
        }
        outcomes
    }

    /// Newest answers of the probes.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// How many series the source at `index` has.
    pub fn series_of(&self, index: usize) -> usize {
        self.counts.get(index).copied().unwrap_or(0)
    }

    /// The series of now.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// Every series with its value, sorted by name and attributes.
    pub fn series(&self) -> Vec<(&SeriesDef, f32)> {
        let mut series: Vec<_> = self
            .dictionary
            .entries
            .iter()
            .map(|e| (&e.def, self.values.get(e.slot.index()).copied().unwrap_or(f32::NAN)))
            .collect();
        series.sort_by(|(a, _), (b, _)| (&a.name, &a.attributes).cmp(&(&b.name, &b.attributes)));
        series
    }
}

/// Runs the command.
pub fn run(root: &Root, config: &Config, watch: bool, json: bool) -> anyhow::Result<()> {
    let mut machine = Machine::open(root, config);
    let interval = config.sampling.interval.std();
    machine.refresh();
    // The first tick has no rates: it is not printed.
    complain(&machine.sample(Tick::now()));
    loop {
        std::thread::sleep(if watch { interval } else { interval.min(Duration::from_secs(1)) });
        if !watch {
            machine.refresh();
        }
        machine.sample(Tick::now());
        let series = machine.series();
        let text = match (json, watch) {
            (true, true) => serde_json::to_string(&printed(&series))?,
            (true, false) => serde_json::to_string_pretty(&printed(&series))?,
            (false, _) => table(&series),
        };
        print(&(text + "\n"));
        if !watch {
            return Ok(());
        }
    }
}

/// Sources that fail are said on standard error; the rest is printed all the same.
fn complain(outcomes: &[Outcome]) {
    for (name, outcome) in outcomes {
        if let Err(error) = outcome {
            tracing::warn!(source = name, %error, "A source cannot be sampled.");
        }
    }
}

fn printed(series: &[(&SeriesDef, f32)]) -> Vec<Printed> {
    series
        .iter()
        .map(|(def, value)| Printed {
            name: def.name.clone(),
            attributes: def.attributes.iter().map(|a| (a.key.clone(), Value::from(a.value.clone()))).collect(),
            unit: def.unit.clone(),
            value: value.is_finite().then_some(*value),
        })
        .collect()
}

fn table(series: &[(&SeriesDef, f32)]) -> String {
    let labels: Vec<String> = series.iter().map(|(def, _)| def.label()).collect();
    let width = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (label, (def, value)) in labels.iter().zip(series) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{label:width$}  {:>14} {}", number(*value), def.unit);
    }
    let _ = write!(out, "{} series", series.len());
    out
}

/// Up to six digits that matter; `-` for no value.
fn number(value: f32) -> String {
    match value {
        v if v.is_nan() => "-".to_owned(),
        0.0 => "0".to_owned(),
        v if v.is_infinite() || v.abs() >= 1e6 => format!("{v:.0}"),
        v => {
            let decimals = (5.0 - f64::from(v.abs()).log10().floor()).clamp(0.0, 9.0) as usize;
            let text = format!("{v:.decimals$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_wire::{Attribute, SeriesId};

    #[test]
    fn numbers_are_short() {
        let cases =
            [(f32::NAN, "-"), (0.0, "0"), (1.0, "1"), (0.034, "0.034"), (1234.5, "1234.5"), (4e9, "4000000000")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn json_has_the_promised_keys() {
        let def = SeriesDef {
            id: SeriesId(3),
            name: "a.b".into(),
            attributes: vec![Attribute::new("k", "v")],
            unit: "By".into(),
        };
        let text = serde_json::to_string(&printed(&[(&def, 2.5), (&def, f32::NAN)])).expect("plain values");
        assert_eq!(
            text,
            r#"[{"name":"a.b","attributes":{"k":"v"},"unit":"By","value":2.5},{"name":"a.b","attributes":{"k":"v"},"unit":"By","value":null}]"#
        );
        assert_eq!(table(&[(&def, 2.5)]), "a.b{k=v}             2.5 By\n1 series");
    }
}
