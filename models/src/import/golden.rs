//! Inputs with known outputs, kept in the package and run again wherever the model goes.
//!
//! The inputs come from a seed and include what models go wrong on: everything at ten deviations to either side, one
//! series alone, missing values, zeros. The outputs are those of the runtime itself, not of the training framework; what
//! the author's framework said is compared once, on import, where the manifest has `[[golden]]`.
//!
//! `golden.cbor` is one CBOR array: version, runtime, rows, width, cases; a case is name, input, output, with numbers as
//! little-endian f32.

use minicbor::{Decode, Encode};

use super::finding::{Code, Finding};
use crate::manifest::{Columns, Manifest, Preprocessing};

/// The runtime whose outputs are golden; another one re-runs them all.
pub const RUNTIME: &str = "tract 0.23.9";

/// Two outputs agree within this, relative to the golden one, plus [`ABSOLUTE`]. Across x86-64, ARM and RISC-V the
/// measured difference is 1e-5; the rest is air.
pub const RELATIVE: f32 = 1e-4;
/// See [`RELATIVE`].
pub const ABSOLUTE: f32 = 1e-5;
/// As [`RELATIVE`], for outputs that the author's framework computed.
pub const GIVEN_RELATIVE: f32 = 1e-3;
/// See [`GIVEN_RELATIVE`].
pub const GIVEN_ABSOLUTE: f32 = 1e-4;

/// Series that a model for any number of series is tried with.
pub const SERIES: usize = 5;

/// Seed of the inputs; part of the format.
const SEED: u64 = 0x7461_6369_7401;
const VERSION: u32 = 1;
/// Inputs beyond the special ones stop here, so that the golden set of a wide model is not larger than the model.
const MAX_INPUT_BYTES: usize = 128 << 10;
/// Random inputs at most.
const RANDOM: usize = 12;

/// One input and its output.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Case {
    /// What it is.
    #[n(0)]
    pub name: String,
    /// `rows * width` values, row after row.
    #[cbor(n(1), with = "little_endian")]
    pub input: Vec<f32>,
    /// The runtime's output.
    #[cbor(n(2), with = "little_endian")]
    pub output: Vec<f32>,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct GoldenSet {
    #[n(0)]
    version: u32,
    /// Who computed the outputs.
    #[n(1)]
    pub runtime: String,
    /// Rows of the input.
    #[n(2)]
    pub rows: usize,
    /// Columns of the input, the mask included.
    #[n(3)]
    pub width: usize,
    /// The cases.
    #[n(4)]
    pub cases: Vec<Case>,
}

impl GoldenSet {
    /// A set of this runtime.
    #[must_use]
    pub fn new(rows: usize, width: usize, cases: Vec<Case>) -> Self {
        Self { version: VERSION, runtime: RUNTIME.to_owned(), rows, width, cases }
    }

    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Writing to a Vec cannot fail.
        minicbor::to_vec(self).unwrap_or_default()
    }

    /// From bytes of anybody.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let set: Self = minicbor::decode(bytes).map_err(|e| format!("golden.cbor: {e}"))?;
        if set.version != VERSION {
            return Err(format!("golden.cbor: version {}, this program reads {VERSION}", set.version));
        }
        let values = set.rows.checked_mul(set.width);
        if let Some(case) = set.cases.iter().find(|c| Some(c.input.len()) != values || c.output.is_empty()) {
            return Err(format!("golden.cbor: case `{}` has not {} x {} values", case.name, set.rows, set.width));
        }
        if set.cases.is_empty() {
            return Err("golden.cbor: no cases".to_owned());
        }
        Ok(set)
    }
}

/// Number of series that the golden inputs of a manifest have.
#[must_use]
pub fn series(manifest: &Manifest) -> usize {
    match &manifest.input.columns {
        Columns::Named(names) => names.len(),
        Columns::AllSeries => SERIES,
    }
}

/// The inputs for a manifest: the author's own first, then the special ones, then random ones.
///
/// # Errors
/// An author's input of the wrong length.
pub fn inputs(manifest: &Manifest) -> Result<Vec<(String, Vec<f32>)>, Finding> {
    let (rows, n) = (manifest.input.rows, series(manifest));
    let limits = manifest.limits(n);
    let values = limits.input[0] * limits.input[1];
    let mut all = Vec::new();
    for (i, given) in manifest.golden.iter().enumerate() {
        let place = format!("golden {i}");
        if given.input.len() != values || given.output.len() != limits.output {
            let found = format!("{} inputs and {} outputs", given.input.len(), given.output.len());
            return Err(Finding::new(Code::Golden, place, found, format!("{values} and {}", limits.output)));
        }
        all.push((format!("given {i}"), given.input.clone()));
    }
    // Raw values of a real series may be anything; standardised ones are cut at ten deviations.
    let far = if manifest.input.preprocessing == Preprocessing::RawWindow { 100.0 } else { 10.0 };
    let mask = manifest.input.mask;
    let make = |value: &dyn Fn(usize, usize) -> f32, present: &dyn Fn(usize, usize) -> bool| {
        let mut input = Vec::with_capacity(values);
        for r in 0..rows {
            input.extend((0..n).map(|c| if present(r, c) { value(r, c) } else { 0.0 }));
            if mask {
                input.extend((0..n).map(|c| f32::from(present(r, c))));
            }
        }
        input
    };
    let everywhere = |_: usize, _: usize| true;
    type Value<'a> = &'a dyn Fn(usize, usize) -> f32;
    let special: [(&str, Value<'_>); 8] = [
        ("zeros", &|_, _| 0.0),
        ("ones", &|_, _| 1.0),
        ("all far up", &|_, _| far),
        ("all far down", &|_, _| -far),
        ("alternating", &|r, c| if (r + c) % 2 == 0 { far } else { -far }),
        ("first series alone", &|_, c| if c == 0 { far } else { 0.0 }),
        ("last series alone", &|_, c| if c + 1 == n { -far } else { 0.0 }),
        ("step in the last row", &|r, _| if r + 1 == rows { far } else { 0.0 }),
    ];
    all.extend(special.iter().map(|(name, value)| ((*name).to_owned(), make(value, &everywhere))));
    if mask {
        all.push(("all missing".to_owned(), make(&|_, _| 0.0, &|_, _| false)));
        all.push(("every second series missing".to_owned(), make(&|_, _| 1.0, &|_, c| c % 2 == 0)));
    }
    let mut random = Random(SEED);
    for i in 0..RANDOM {
        if i >= 4 && all.len() * values * 4 >= MAX_INPUT_BYTES {
            break;
        }
        let spread = [1.0, 0.3, 3.0][i % 3];
        let noise: Vec<f32> = (0..rows * n).map(|_| random.normal() * spread).collect();
        all.push((format!("random {i}"), make(&|r, c| noise[r * n + c], &everywhere)));
    }
    Ok(all)
}

/// Where two outputs differ by more than this, if they do: position, golden value, other value.
#[must_use]
pub fn difference(golden: &[f32], other: &[f32], relative: f32, absolute: f32) -> Option<(usize, f32, f32)> {
    if golden.len() != other.len() {
        return Some((golden.len().min(other.len()), golden.len() as f32, other.len() as f32));
    }
    let same = |(a, b): (&f32, &f32)| (a - b).abs() <= absolute + relative * a.abs();
    let at = golden.iter().zip(other).position(|pair| !same(pair))?;
    Some((at, golden[at], other[at]))
}

/// A small generator of our own: the same numbers on every machine and for ever (splitmix64).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// About normal: twelve uniforms less six need no logarithm, whose last digit differs between machines.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}

/// Lists of f32 as one string of bytes.
mod little_endian {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    pub fn encode<C, W: Write>(values: &[f32], e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        e.bytes(&bytes)?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<f32>, Error> {
        let (values, rest) = d.bytes()?.as_chunks();
        if !rest.is_empty() {
            return Err(Error::message("a list of f32 has a broken length"));
        }
        Ok(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_back_and_a_damaged_one_is_not() {
        let case = Case { name: "zeros".into(), input: vec![0.0, 1.5], output: vec![-2.0] };
        let set = GoldenSet::new(1, 2, vec![case]);
        let bytes = set.encode();
        assert_eq!(GoldenSet::decode(&bytes), Ok(set.clone()));
        for cut in 0..bytes.len() {
            assert!(GoldenSet::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(GoldenSet::decode(&GoldenSet { width: 3, ..set }.encode()).is_err());
    }

    #[test]
    fn a_difference_is_found_and_a_rounding_error_is_not() {
        assert_eq!(difference(&[1.0, 100.0], &[1.0, 100.005], RELATIVE, ABSOLUTE), None);
        assert_eq!(difference(&[1.0, 100.0], &[1.0, 100.1], RELATIVE, ABSOLUTE), Some((1, 100.0, 100.1)));
        assert_eq!(difference(&[1.0], &[f32::NAN], RELATIVE, ABSOLUTE).map(|d| d.0), Some(0));
        assert!(difference(&[1.0], &[1.0, 2.0], RELATIVE, ABSOLUTE).is_some());
    }
}
