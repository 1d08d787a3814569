//! Values that name their unit: `"10s"`, `"64MiB"`, `"1/day"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! text_value {
    ($name:ident, $expected:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                d.deserialize_str(Text)
            }
        }
    };
}

/// A length of time, written with its unit: `ms`, `s`, `min`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(std::time::Duration);

const TIME_UNITS: [(&str, u64); 5] = [("ms", 1), ("min", 60_000), ("s", 1000), ("h", 3_600_000), ("d", 86_400_000)];

impl Duration {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0.as_millis() as u64
    }

    /// For the standard library.
    #[must_use]
    pub const fn std(self) -> std::time::Duration {
        self.0
    }
}

impl FromStr for Duration {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || format!("{s:?} is not a duration: write a whole number and ms, s, min, h or d, as in \"10s\"");
        let (unit, factor) = TIME_UNITS.iter().find(|(u, _)| s.ends_with(u)).ok_or_else(wrong)?;
        let number: u64 = s[..s.len() - unit.len()].trim().parse().map_err(|_| wrong())?;
        number.checked_mul(*factor).map(|ms| Self(std::time::Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.as_millis();
        let (unit, factor) = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)]
            .into_iter()
            .find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor))
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", ms / factor)
    }
}
text_value!(Duration, "a duration in quotes, as in \"10s\"");

/// A number of bytes, written with its unit: `B`, `KiB`, `MiB`, `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    /// So many mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || format!("{s:?} is not a size: write a whole number and B, KiB, MiB or GiB, as in \"64MiB\"");
        let (unit, factor) = SIZE_UNITS.iter().find(|(u, _)| s.ends_with(u)).ok_or_else(wrong)?;
        let number: u64 = s[..s.len() - unit.len()].trim().parse().map_err(|_| wrong())?;
        number.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) =
            SIZE_UNITS.into_iter().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}
text_value!(Size, "a size in quotes, as in \"64MiB\"");

/// How many model events a node may raise: `"1/day"`, `"2/week"`, `"off"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlarmBudget {
    count: u32,
    days: u32,
}

impl AlarmBudget {
    /// So many a day.
    #[must_use]
    pub const fn per_day(count: u32) -> Self {
        Self { count, days: 1 }
    }

    /// Events a day; `None` when model events are off.
    #[must_use]
    pub fn rate_per_day(self) -> Option<f64> {
        (self.count > 0).then(|| f64::from(self.count) / f64::from(self.days))
    }
}

impl FromStr for AlarmBudget {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || format!("{s:?} is not an alarm budget: write \"N/day\", \"N/week\" or \"off\", as in \"1/day\"");
        if s == "off" {
            return Ok(Self { count: 0, days: 1 });
        }
        let (count, per) = s.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let days = match per.trim() {
            "day" => 1,
            "week" => 7,
            _ => return Err(wrong()),
        };
        if (1..=1000).contains(&count) { Ok(Self { count, days }) } else { Err(wrong()) }
    }
}

impl fmt::Display for AlarmBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.count, self.days) {
            (0, _) => f.write_str("off"),
            (n, 1) => write!(f, "{n}/day"),
            (n, _) => write!(f, "{n}/week"),
        }
    }
}
text_value!(AlarmBudget, "an alarm budget in quotes, as in \"1/day\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back() {
        for text in ["250ms", "10s", "5min", "12h", "7d"] {
            assert_eq!(text.parse::<Duration>().expect("a duration").to_string(), text);
        }
        for text in ["1B", "512KiB", "64MiB", "2GiB"] {
            assert_eq!(text.parse::<Size>().expect("a size").to_string(), text);
        }
        for text in ["off", "1/day", "2/week"] {
            assert_eq!(text.parse::<AlarmBudget>().expect("a budget").to_string(), text);
        }
    }

    #[test]
    fn a_unit_is_required_and_overflow_refused() {
        for bad in ["10", "s", "1.5s", "-1s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(bad.parse::<Duration>().is_err(), "{bad:?} must be refused");
        }
        for bad in ["10", "64MB", "MiB", "18446744073709551615GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad:?} must be refused");
        }
        for bad in ["1", "0/day", "1/hour", "x/day"] {
            assert!(bad.parse::<AlarmBudget>().is_err(), "{bad:?} must be refused");
        }
    }
}
