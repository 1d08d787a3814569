//! One sensor: what is read and how it becomes a value in base units.

use std::path::{Path, PathBuf};

use tacit_wire::semconv::Metric;

use crate::clock::Tick;
use crate::source::{Rate, Width};

/// A thing that gives one value.
#[derive(Debug)]
pub struct Sensor {
    /// Its metric.
    pub metric: &'static Metric,
    /// Its name within the metric, unique on the node (`coretemp/core_0`).
    pub id: String,
    /// How it is read.
    pub read: Read,
}

/// How a sensor is read.
#[derive(Debug)]
pub enum Read {
    /// A number in a file, times a factor; beyond the limits it is a broken sensor and no value.
    Scaled {
        /// The file.
        path: PathBuf,
        /// What brings it to the metric's unit.
        factor: f64,
        /// Lowest and highest value that is believed.
        limits: (f64, f64),
    },
    /// The share of the highest frequency, over several processors: file with the present one, and the highest.
    Frequency(Vec<(PathBuf, f64)>),
    /// A rate over the sum of counters.
    Counters(Vec<PathBuf>, Rate),
    /// One bit of a hexadecimal number.
    Bit(PathBuf, u32),
    /// 1 when the file says this word.
    Word(PathBuf, &'static str),
}

impl Read {
    /// The value now; NaN when there is none. May block as long as the driver likes.
    pub fn now(&mut self, at: Tick) -> f32 {
        let value = match self {
            Self::Scaled { path, factor, limits } => {
                number(path).map(|v| v * *factor).filter(|v| (limits.0..=limits.1).contains(v))
            }
            Self::Frequency(processors) => {
                let known = processors.iter().filter_map(|(path, max)| number(path).map(|now| (now, *max)));
                let (now, max) = known.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                (max > 0.0).then(|| now / max)
            }
            Self::Counters(paths, rate) => {
                let sum = paths.iter().try_fold(0_u64, |sum, path| sum.checked_add(text(path)?.trim().parse().ok()?));
                return sum.map_or(f32::NAN, |sum| rate.per_second(sum, at, Width::Bits64));
            }
            Self::Bit(path, bit) => text(path)
                .and_then(|t| u64::from_str_radix(t.trim().trim_start_matches("0x"), 16).ok())
                .map(|bits| f64::from(u8::from(bits >> *bit & 1 == 1))),
            Self::Word(path, word) => text(path).map(|t| f64::from(u8::from(t.trim() == *word))),
        };
        value.map_or(f32::NAN, |v| v as f32)
    }
}

/// The start of a small text file.
pub fn text(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(4096).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).trim_end_matches(['\0', '\n']).to_owned())
}

fn number(path: &Path) -> Option<f64> {
    text(path)?.trim().parse::<f64>().ok().filter(|v| v.is_finite())
}
