//! Values of the configuration that name their unit: `"30s"`, `"3/week"`.

use std::fmt;

use serde::{Deserialize, Serialize};

const TIME_UNITS: [(&str, i64); 5] = [("ms", 1), ("min", 60_000), ("s", 1000), ("h", 3_600_000), ("d", 86_400_000)];
/// Ten years: nothing that is waited for is longer.
const LONGEST_MS: i64 = 3650 * 86_400_000;

/// A length of time, written with its unit: `ms`, `s`, `min`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(i64);

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(n: u32) -> Self {
        Self(n as i64 * 1000)
    }

    /// In milliseconds.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }
}

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a duration: write a whole number and ms, s, min, h or d, as in \"30s\"");
        let (unit, factor) = TIME_UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
        let number: u32 = text[..text.len() - unit.len()].trim().parse().map_err(|_| wrong())?;
        let ms = i64::from(number).saturating_mul(*factor);
        if ms > LONGEST_MS { Err(format!("{text:?} is longer than ten years")) } else { Ok(Self(ms)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)]
            .into_iter()
            .find(|(_, factor)| self.0 > 0 && self.0 % factor == 0)
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// How often the fleet may disturb somebody: `"3/week"`, `"1/day"`, `"5/month"`, `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pages {
    count: u32,
    days: u32,
}

const PER: [(&str, u32); 3] = [("day", 1), ("week", 7), ("month", 30)];

impl Pages {
    /// So often a week.
    #[must_use]
    pub const fn per_week(count: u32) -> Self {
        Self { count, days: 7 }
    }

    /// How many a week; `None` when nothing is promised.
    #[must_use]
    pub fn a_week(self) -> Option<f64> {
        (self.count > 0).then(|| f64::from(self.count) * 7.0 / f64::from(self.days))
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self::per_week(3)
    }
}

impl TryFrom<String> for Pages {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no promise: write \"N/day\", \"N/week\", \"N/month\" or \"off\", as in \"3/week\"");
        if text == "off" {
            return Ok(Self { count: 0, days: 7 });
        }
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let (_, days) = PER.into_iter().find(|(word, _)| *word == per.trim()).ok_or_else(wrong)?;
        if (1..=10_000).contains(&count) { Ok(Self { count, days }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PER.into_iter().find(|(_, days)| *days == self.days) {
            Some((word, _)) if self.count > 0 => write!(f, "{}/{word}", self.count),
            _ => f.write_str("off"),
        }
    }
}

impl From<Pages> for String {
    fn from(pages: Pages) -> Self {
        pages.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back() {
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("5min", 300_000), ("4h", 14_400_000), ("7d", 604_800_000)]
        {
            let span = Span::try_from(text.to_owned()).expect(text);
            assert_eq!((span.ms(), span.to_string().as_str()), (ms, text));
        }
        for (text, a_week) in [("3/week", Some(3.0)), ("1/day", Some(7.0)), ("30/month", Some(7.0)), ("off", None)] {
            let pages = Pages::try_from(text.to_owned()).expect(text);
            assert_eq!((pages.a_week(), pages.to_string().as_str()), (a_week, text));
        }
    }

    #[test]
    fn a_unit_is_required_and_overflow_refused() {
        for bad in ["30", "s", "1.5s", "-1s", "5m", "99999999999s", "4000000000d", ""] {
            assert!(Span::try_from(bad.to_owned()).is_err(), "{bad:?} must be refused");
        }
        for bad in ["3", "0/week", "-1/day", "3/year", "/week", "99999/day"] {
            assert!(Pages::try_from(bad.to_owned()).is_err(), "{bad:?} must be refused");
        }
    }
}
