//! Learned state as bytes: versioned, checked, keyed by series and not by slot.
//!
//! ```text
//! "TCTD" | version u16 | period_ms u32 | verdict | count u32 | count × series | crc32 of all before, u32
//! series: key u64, phase u8, mean f64, deviation f32, deviation0 f32, points u32, window points u32, 16 × f32
//! ```
//! Little endian. 97 bytes a series and 62 more.

use crate::standardise::{Level, Phase};
use crate::verdict::Saved;
use crate::whiten::WINDOW;

const MAGIC: &[u8; 4] = b"TCTD";
const VERSION: u16 = 1;

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

/// What one series has learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SavedSeries {
    pub key: u64,
    pub level: Level,
    pub lags: [f32; WINDOW],
    pub window_points: u32,
}

pub(crate) fn encode(period_ms: u32, verdict: &Saved, series: &[SavedSeries]) -> Vec<u8> {
    let mut out = Vec::with_capacity(80 + series.len() * 97);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&period_ms.to_le_bytes());
    out.extend_from_slice(&verdict.learned.to_le_bytes());
    for (value, points) in [verdict.quantile, (verdict.margin, verdict.events), (verdict.seen.0, verdict.seen.1)] {
        out.extend_from_slice(&value.to_le_bytes());
        out.extend_from_slice(&points.to_le_bytes());
    }
    out.extend_from_slice(&verdict.seen.2.to_le_bytes());
    out.extend_from_slice(&verdict.open_paused_ms.unwrap_or(u64::MAX).to_le_bytes());
    out.extend_from_slice(&(series.len() as u32).to_le_bytes());
    for s in series {
        out.extend_from_slice(&s.key.to_le_bytes());
        out.push(match s.level.phase {
            Phase::Starting => 0,
            Phase::Constant => 1,
            Phase::Live => 2,
        });
        out.extend_from_slice(&s.level.mean.to_le_bytes());
        out.extend_from_slice(&s.level.deviation.to_le_bytes());
        out.extend_from_slice(&s.level.deviation0.to_le_bytes());
        out.extend_from_slice(&s.level.points.to_le_bytes());
        out.extend_from_slice(&s.window_points.to_le_bytes());
        s.lags.iter().for_each(|lag| out.extend_from_slice(&lag.to_le_bytes()));
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

pub(crate) fn decode(period_ms: u32, bytes: &[u8]) -> Result<(Saved, Vec<SavedSeries>), StateError> {
    let split = bytes.len().checked_sub(4).ok_or(StateError::Damaged("too short"))?;
    let (body, crc) = bytes.split_at(split);
    let mut r = Reader(body);
    if r.take::<4>()? != *MAGIC {
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
    if found != period_ms {
        return Err(StateError::Period { found, expected: period_ms });
    }
    let learned = r.u64()?;
    let quantile = (r.f32()?, r.u32()?);
    let (margin, events) = (r.f32()?, r.u32()?);
    let seen = (r.f32()?, r.u32()?, r.f32()?);
    let open_paused_ms = Some(r.u64()?).filter(|ms| *ms != u64::MAX);
    let saved = Saved { learned, quantile, margin, seen, events, open_paused_ms };
    let count = r.u32()? as usize;
    if count > MAX_SERIES {
        return Err(StateError::Damaged("too many series"));
    }
    let series = (0..count).map(|_| r.series()).collect::<Result<Vec<_>, _>>()?;
    if r.0.is_empty() { Ok((saved, series)) } else { Err(StateError::Damaged("bytes left over")) }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(StateError::Damaged("too short"))?;
        self.0 = rest;
        Ok(*head)
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

    fn series(&mut self) -> Result<SavedSeries, StateError> {
        let key = self.u64()?;
        let phase = match self.take::<1>()? {
            [0] => Phase::Starting,
            [1] => Phase::Constant,
            [2] => Phase::Live,
            _ => return Err(StateError::Damaged("unknown phase")),
        };
        let mean = f64::from_le_bytes(self.take()?);
        if !mean.is_finite() {
            return Err(StateError::Damaged("not a number"));
        }
        let (deviation, deviation0, points) = (self.f32()?.max(0.0), self.f32()?.max(0.0), self.u32()?);
        let level = Level { phase, mean, deviation, deviation0, points };
        let window_points = self.u32()?;
        let mut lags = [0.0; WINDOW];
        for lag in &mut lags {
            *lag = self.f32()?;
        }
        Ok(SavedSeries { key, level, lags, window_points })
    }
}
