//! What the detector makes of a recording of this or another machine: a table a second of the parts of its score, for looking
//! into a fault that was found late or not at all.
//!
//! ```text
//! tacit-agent sample --watch --json > recording.jsonl     # one line a second
//! cargo run --release -p tacit-agent --example judge_recording -- recording.jsonl [levels.csv] > parts.csv
//! ```
//!
//! Columns: second, series, windows, level, what of it is far (each root mean square over series), alarm, whether an event is open, and the three series that are furthest from usual. A second file, when it is named, gets the
//! smoothed deviation of each series.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};

use serde_json::Value;
use tacit_agent::detect::floors::floor;
use tacit_agent::detect::model::is_judged;
use tacit_models::{Detector, DetectorConfig};
use tacit_wire::{Attribute, SeriesDef, SeriesId};

/// Slots for series.
const MOST: usize = 1024;
/// Weight of the newest deviation in the smoothed one, as in the detector.
const SMOOTHING: f32 = 0.3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("name a recording: tacit-agent sample --watch --json > FILE")?;
    let mut detector = Detector::new(DetectorConfig { capacity: MOST, period_ms: 1000, budget_per_day: Some(0.5) });
    let mut slots: HashMap<String, usize> = HashMap::new();
    let mut names: Vec<String> = Vec::new();
    let mut levels = vec![0.0_f32; MOST];
    let mut matrix = match std::env::args().nth(2) {
        Some(path) => Some(BufWriter::new(std::fs::File::create(path)?)),
        None => None,
    };
    println!("second,series,windows,level,far,alarm,open,furthest");
    for (second, line) in (0_u64..).zip(BufReader::new(std::fs::File::open(path)?).lines()) {
        let mut values = vec![f32::NAN; MOST];
        for series in serde_json::from_str::<Vec<Value>>(&line?)? {
            let def = def_of(&series);
            let label = def.label();
            if !is_judged(&def) {
                continue;
            }
            let next = slots.len();
            let slot = *slots.entry(label.clone()).or_insert(next);
            if slot >= MOST {
                continue;
            }
            if slot == names.len() {
                detector.bind(slot, slot as u64 + 1);
                detector.set_floor(slot, floor(&def));
                names.push(label);
            }
            values[slot] = series["value"].as_f64().map_or(f32::NAN, |v| v as f32);
        }
        let step = detector.step(&values, second * 1000, second as i64 * 1000);
        while detector.refit_due() && !detector.refit_some(MOST)? {}
        for (slot, level) in levels.iter_mut().enumerate().take(names.len()) {
            *level += SMOOTHING * (detector.z(slot) - *level);
        }
        if let Some(matrix) = &mut matrix {
            let row: Vec<String> = levels.iter().take(names.len()).map(|z| format!("{z:.2}")).collect();
            writeln!(matrix, "{}", row.join(","))?;
        }
        let parts = detector.parts();
        let mut far: Vec<(f32, &str)> = levels.iter().copied().zip(names.iter().map(String::as_str)).collect();
        far.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        let far: Vec<String> = far.iter().take(3).map(|(z, name)| format!("{name}={z:.1}")).collect();
        println!(
            "{second},{},{:.4},{:.4},{:.4},{:.3},{},{}",
            step.series,
            parts.windows_rms,
            parts.level,
            parts.far,
            step.alarm,
            u8::from(step.open),
            far.join(" ").replace(',', ";"),
        );
    }
    Ok(())
}

fn def_of(series: &Value) -> SeriesDef {
    let attribute = |(key, value): (&String, &Value)| Attribute {
        key: key.clone(),
        value: value.as_str().unwrap_or_default().to_owned(),
    };
    SeriesDef {
        id: SeriesId(0),
        name: series["name"].as_str().unwrap_or_default().to_owned(),
        attributes: series["attributes"].as_object().into_iter().flatten().map(attribute).collect(),
        unit: series["unit"].as_str().unwrap_or_default().to_owned(),
    }
}
