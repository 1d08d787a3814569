//! Learned state as bytes: versioned, checked, keyed by series and not by slot.
//!
//! ```text
//! "TCTD" | version u16 | period_ms u32 | verdict | fusion | count u32 | count × series | count u32 | count × block | crc32 u32
//! verdict: 64 bytes of numbers, 8 days × 144 × i8 of what recurs
//! series: key u64, phase u8, mean f64, deviation f32, deviation0 f32, points u32        level
//!         points u32, 16 × f32                                                         autocovariances
//!         points u32, 3 × f32                                                          means of the state's features
//!         longest run f32, changes u32                                                 flat lines
//!         models u8, models × 14 × f32                                                 lag clusters
//!         reach f32, points u32                                                        how far it has been from usual
//!         season u8: 0, or 1, 144 × f16, deviation f32, points u32, points u32, 16 × f32
//!         anchor u8: 0, or 1, mean f32, scale f32, points u32
//! block:  count u8, count × key u64, then for each pair of them (the later first) 9 × f32    ties between series
//! ```
//! Little endian.

use half::f16;

use crate::clusters::{MODELS, NUMBERS};
use crate::creep::Anchor;
use crate::fusion::MEASURED;
use crate::recurring::{DAYS, SLOTS};
use crate::season::PHASES;
use crate::standardise::{Level, Phase};
use crate::subspace::{BLOCK, FEATURES};
use crate::verdict::Saved;
use crate::whiten::WINDOW;

const MAGIC: &[u8; 4] = b"TCTD";
/// Of what is learned about the score of a foreign model.
const FOREIGN: &[u8; 4] = b"TCTF";
const VERSION: u16 = 5;

/// More series than this in a state file are not believed.
const MAX_SERIES: usize = 20_000;

/// Why a saved state cannot be used. The detector then starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not such a file, or one that was cut or changed.
    #[error("the saved state is damaged ({0}); learning starts anew")]
    Damaged(&'static str),
    /// Written by another version.
    #[error("the saved state has version {found}, this program reads {VERSION}; learning starts anew")]
    Version {
        /// The version found.
        found: u16,
    },
    /// Learned at another period.
    #[error("the saved state was learned at {found} ms a point, now a point is {expected} ms; learning starts anew")]
    Period {
        /// Milliseconds a point in the file.
        found: u32,
        /// Milliseconds a point now.
        expected: u32,
    },
}

/// Autocovariances and the points behind them.
pub(crate) type Lags = ([f32; WINDOW], u32);

/// What one series has learned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedSeries {
    pub key: u64,
    pub level: Level,
    pub windows: Lags,
    /// Means of the state's features, and the points behind them and the ties.
    pub state: ([f32; FEATURES], u32),
    pub flat: (f32, u32),
    pub clusters: Vec<[f32; NUMBERS]>,
    /// How far it has been from usual, and the points behind that.
    pub reach: (f32, u32),
    pub season: Option<Box<SavedSeason>>,
    pub anchor: Option<Anchor>,
}

/// What one series has learned of the time of day.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedSeason {
    pub profile: [f16; PHASES],
    pub deviation: f32,
    pub points: u32,
    pub windows: Lags,
}

/// How the series of a block hang together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedBlock {
    pub keys: Vec<u64>,
    /// Of keys `a >= b` at `a (a + 1) / 2 + b`.
    pub pairs: Vec<[f32; FEATURES * FEATURES]>,
}

impl SavedBlock {
    /// The ties of two of its series; the first index is not the smaller one.
    pub fn pair(&self, a: usize, b: usize) -> &[f32; FEATURES * FEATURES] {
        &self.pairs[a * (a + 1) / 2 + b]
    }
}

/// Everything a detector has learned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedState {
    pub verdict: Saved,
    pub fusion: [(f32, u32); MEASURED],
    pub series: Vec<SavedSeries>,
    pub blocks: Vec<SavedBlock>,
}

struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, x: u32) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }

    fn u64(&mut self, x: u64) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }

    fn f32s(&mut self, list: &[f32]) {
        list.iter().for_each(|x| self.0.extend_from_slice(&x.to_le_bytes()));
    }

    fn tail(&mut self, (value, points): (f32, u32)) {
        self.f32s(&[value]);
        self.u32(points);
    }

    fn verdict(&mut self, verdict: &Saved) {
        self.u64(verdict.learned);
        self.tail(verdict.young);
        self.tail(verdict.quantile);
        self.tail((verdict.tail.0, verdict.tail.2));
        self.f32s(&[verdict.tail.1]);
        self.tail((verdict.margin, verdict.events));
        self.tail((verdict.seen.0, verdict.seen.1));
        self.f32s(&[verdict.seen.2]);
        self.u64(verdict.open_paused_ms.unwrap_or(u64::MAX));
        self.0.extend(verdict.recurring.iter().map(|x| x.to_le_bytes()[0]));
    }

    fn level(&mut self, level: &Level) {
        self.0.push(match level.phase {
            Phase::Starting => 0,
            Phase::Constant => 1,
            Phase::Live => 2,
        });
        self.0.extend_from_slice(&level.mean.to_le_bytes());
        self.f32s(&[level.deviation, level.deviation0]);
        self.u32(level.points);
    }

    fn sealed(mut self) -> Vec<u8> {
        let crc = crc32fast::hash(&self.0);
        self.u32(crc);
        self.0
    }

    fn lags(&mut self, (lags, points): &Lags) {
        self.u32(*points);
        self.f32s(lags);
    }

    fn series(&mut self, s: &SavedSeries) {
        self.u64(s.key);
        self.level(&s.level);
        self.lags(&s.windows);
        self.u32(s.state.1);
        self.f32s(&s.state.0);
        self.tail(s.flat);
        self.0.push(s.clusters.len().min(MODELS) as u8);
        s.clusters.iter().take(MODELS).for_each(|model| self.f32s(model));
        self.tail(s.reach);
        self.0.push(u8::from(s.season.is_some()));
        if let Some(season) = &s.season {
            season.profile.iter().for_each(|p| self.0.extend_from_slice(&p.to_le_bytes()));
            self.f32s(&[season.deviation]);
            self.u32(season.points);
            self.lags(&season.windows);
        }
        self.0.push(u8::from(s.anchor.is_some()));
        if let Some(anchor) = &s.anchor {
            self.f32s(&[anchor.mean, anchor.scale]);
            self.u32(anchor.points);
        }
    }
}

pub(crate) fn encode(period_ms: u32, state: &SavedState) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(256 + state.series.len() * 1000 + state.blocks.len() * 20_000));
    w.0.extend_from_slice(MAGIC);
    w.0.extend_from_slice(&VERSION.to_le_bytes());
    w.u32(period_ms);
    w.verdict(&state.verdict);
    state.fusion.iter().for_each(|tail| w.tail(*tail));
    w.u32(state.series.len() as u32);
    state.series.iter().for_each(|s| w.series(s));
    w.u32(state.blocks.len() as u32);
    for block in &state.blocks {
        w.0.push(block.keys.len() as u8);
        block.keys.iter().for_each(|key| w.u64(*key));
        block.pairs.iter().for_each(|pair| w.f32s(pair));
    }
    w.sealed()
}

/// What was learned about the score of a foreign model, by the digest of its package.
pub(crate) fn encode_foreign(period_ms: u32, package: &str, verdict: &Saved, level: &Level) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(256));
    w.0.extend_from_slice(FOREIGN);
    w.0.extend_from_slice(&VERSION.to_le_bytes());
    w.u32(period_ms);
    w.verdict(verdict);
    w.level(level);
    w.0.extend_from_slice(package.as_bytes());
    w.sealed()
}

/// See [`encode_foreign`].
pub(crate) fn decode_foreign(period_ms: u32, package: &str, bytes: &[u8]) -> Result<(Saved, Level), StateError> {
    let mut r = opened(FOREIGN, period_ms, bytes)?;
    let (verdict, level) = (r.verdict()?, r.level()?);
    if r.0 == package.as_bytes() { Ok((verdict, level)) } else { Err(StateError::Damaged("of another model")) }
}

/// The body of a state after its header, its checksum compared.
fn opened<'a>(magic: &[u8; 4], period_ms: u32, bytes: &'a [u8]) -> Result<Reader<'a>, StateError> {
    let split = bytes.len().checked_sub(4).ok_or(StateError::Damaged("too short"))?;
    let (body, crc) = bytes.split_at(split);
    let mut r = Reader(body);
    if r.take::<4>()? != *magic {
        return Err(StateError::Damaged("not a detector's state"));
    }
    if crc != crc32fast::hash(body).to_le_bytes() {
        return Err(StateError::Damaged("checksum"));
    }
    let found = u16::from_le_bytes(r.take()?);
    if found != VERSION {
        return Err(StateError::Version { found });
    }
    let found = r.u32()?;
    if found == period_ms { Ok(r) } else { Err(StateError::Period { found, expected: period_ms }) }
}

pub(crate) fn decode(period_ms: u32, bytes: &[u8]) -> Result<SavedState, StateError> {
    let mut r = opened(MAGIC, period_ms, bytes)?;
    let verdict = r.verdict()?;
    let mut fusion = [(0.0, 0); MEASURED];
    for tail in &mut fusion {
        *tail = r.tail()?;
    }
    let series = r.list(MAX_SERIES, Reader::series)?;
    let blocks = r.list(MAX_SERIES, Reader::block)?;
    if !r.0.is_empty() {
        return Err(StateError::Damaged("bytes left over"));
    }
    Ok(SavedState { verdict, fusion, series, blocks })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(StateError::Damaged("too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn list<T>(
        &mut self,
        most: usize,
        item: impl Fn(&mut Self) -> Result<T, StateError>,
    ) -> Result<Vec<T>, StateError> {
        let count = self.u32()? as usize;
        if count > most {
            return Err(StateError::Damaged("too many entries"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn byte(&mut self) -> Result<u8, StateError> {
        self.take::<1>().map(|[b]| b)
    }

    fn u32(&mut self) -> Result<u32, StateError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, StateError> {
        self.take().map(u64::from_le_bytes)
    }

    /// A finite number: nothing else is ever written.
    fn f32(&mut self) -> Result<f32, StateError> {
        let x = f32::from_le_bytes(self.take()?);
        if x.is_finite() { Ok(x) } else { Err(StateError::Damaged("not a number")) }
    }

    fn f32s<const N: usize>(&mut self) -> Result<[f32; N], StateError> {
        let mut list = [0.0; N];
        for x in &mut list {
            *x = self.f32()?;
        }
        Ok(list)
    }

    fn tail(&mut self) -> Result<(f32, u32), StateError> {
        Ok((self.f32()?, self.u32()?))
    }

    fn verdict(&mut self) -> Result<Saved, StateError> {
        let learned = self.u64()?;
        let young = self.tail()?;
        let quantile = self.tail()?;
        let (mean, points) = self.tail()?;
        let tail = (mean.max(0.0), self.f32()?.max(0.0), points);
        let (margin, events) = self.tail()?;
        let (largest, points) = self.tail()?;
        let seen = (largest, points, self.f32()?);
        let open_paused_ms = Some(self.u64()?).filter(|ms| *ms != u64::MAX);
        let recurring = self.take::<{ DAYS * SLOTS }>()?.map(|byte| i8::from_le_bytes([byte])).to_vec();
        Ok(Saved { learned, young, quantile, tail, margin, seen, events, open_paused_ms, recurring })
    }

    fn level(&mut self) -> Result<Level, StateError> {
        let phase = match self.byte()? {
            0 => Phase::Starting,
            1 => Phase::Constant,
            2 => Phase::Live,
            _ => return Err(StateError::Damaged("unknown phase")),
        };
        let mean = f64::from_le_bytes(self.take()?);
        if !mean.is_finite() {
            return Err(StateError::Damaged("not a number"));
        }
        Ok(Level {
            phase,
            mean,
            deviation: self.f32()?.max(0.0),
            deviation0: self.f32()?.max(0.0),
            points: self.u32()?,
        })
    }

    fn lags(&mut self) -> Result<Lags, StateError> {
        let points = self.u32()?;
        Ok((self.f32s()?, points))
    }

    fn series(&mut self) -> Result<SavedSeries, StateError> {
        let key = self.u64()?;
        let level = self.level()?;
        let windows = self.lags()?;
        let points = self.u32()?;
        let state = (self.f32s()?, points);
        let flat = self.tail()?;
        let models = usize::from(self.byte()?);
        if models > MODELS {
            return Err(StateError::Damaged("too many models"));
        }
        let clusters = (0..models).map(|_| self.f32s()).collect::<Result<_, _>>()?;
        let reach = self.tail()?;
        let season = match self.byte()? {
            0 => None,
            1 => Some(Box::new(self.season()?)),
            _ => return Err(StateError::Damaged("unknown season")),
        };
        let anchor = match self.byte()? {
            0 => None,
            1 => Some(Anchor { mean: self.f32()?, scale: self.f32()?, points: self.u32()? }),
            _ => return Err(StateError::Damaged("unknown anchor")),
        };
        Ok(SavedSeries { key, level, windows, state, flat, clusters, reach, season, anchor })
    }

    fn season(&mut self) -> Result<SavedSeason, StateError> {
        let mut profile = [f16::NAN; PHASES];
        for p in &mut profile {
            *p = f16::from_le_bytes(self.take()?);
            if p.is_infinite() {
                return Err(StateError::Damaged("not a number"));
            }
        }
        let (deviation, points) = (self.f32()?.max(0.0), self.u32()?);
        Ok(SavedSeason { profile, deviation, points, windows: self.lags()? })
    }

    fn block(&mut self) -> Result<SavedBlock, StateError> {
        let count = usize::from(self.byte()?);
        if count > BLOCK {
            return Err(StateError::Damaged("a block of too many series"));
        }
        let keys = (0..count).map(|_| self.u64()).collect::<Result<_, _>>()?;
        let pairs = (0..count * (count + 1) / 2).map(|_| self.f32s()).collect::<Result<_, _>>()?;
        Ok(SavedBlock { keys, pairs })
    }
}
