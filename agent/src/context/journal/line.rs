//! One line of `journalctl --output=json`: an object whose values are strings, `null` (too long), or arrays.
//!
//! ```text
//! {"__REALTIME_TIMESTAMP":"1700000000000000","PRIORITY":"3","_SYSTEMD_UNIT":"shop.service",…}
//! ```

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A field of a line: a string, or whatever else.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Field {
    /// Its text.
    Text(String),
    /// `null`, which is too long, or an array, which is no text or stands there more than once.
    Other(IgnoredAny),
}

impl Field {
    /// The text, if it is one.
    #[must_use]
    pub fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(IgnoredAny) => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Object {
    #[serde(rename = "PRIORITY")]
    priority: Option<Field>,
    #[serde(rename = "_SYSTEMD_UNIT")]
    unit: Option<Field>,
    #[serde(rename = "UNIT")]
    about: Option<Field>,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Field>,
}

/// What is taken from a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who wrote it: a unit, `kernel`, or `other`.
    pub unit: String,
    /// It is an error: priority 3 (`err`) or worse.
    pub error: bool,
}

/// The fields that are asked for.
pub const FIELDS: &str = "--output-fields=PRIORITY,_SYSTEMD_UNIT,UNIT,_TRANSPORT";
/// Priorities up to this are errors (syslog's `err`).
const ERROR: u8 = 3;
/// Longest name of a unit.
const LONGEST: usize = 128;

/// Parses a line; `None` for what is no entry.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Entry> {
    let object: Object = serde_json::from_slice(line).ok()?;
    let text = |field: Option<Field>| field?.text().filter(|text| !text.is_empty() && text.len() <= LONGEST);
    let priority = text(object.priority).and_then(|p| p.parse::<u8>().ok());
    // What systemd itself writes is about a unit.
    let written_by = text(object.unit).filter(|unit| unit != "init.scope");
    let kernel = text(object.transport).filter(|t| t == "kernel");
    let unit = written_by.or_else(|| text(object.about)).or(kernel).unwrap_or_else(|| "other".to_owned());
    // What has no priority is as harmless as what says so (`info`).
    Some(Entry { unit, error: priority.is_some_and(|p| p <= ERROR) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(line: &str) -> Option<(String, bool)> {
        parse(line.as_bytes()).map(|e| (e.unit, e.error))
    }

    #[test]
    fn recorded_lines() {
        let unit = |name: &str, error| Some((name.to_owned(), error));
        let head = r#"{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1700000000000000","_BOOT_ID":"ab","__MONOTONIC_TIMESTAMP":"5""#;
        for (rest, wanted) in [
            (r#","PRIORITY":"6","_SYSTEMD_UNIT":"cron.service","_TRANSPORT":"syslog"}"#, unit("cron.service", false)),
            (r#","PRIORITY":"3","_SYSTEMD_UNIT":"shop.service","_TRANSPORT":"stdout"}"#, unit("shop.service", true)),
            (r#","PRIORITY":"4","_SYSTEMD_UNIT":"init.scope","UNIT":"shop.service"}"#, unit("shop.service", false)),
            (r#","PRIORITY":"2","_TRANSPORT":"kernel"}"#, unit("kernel", true)),
            (r#","PRIORITY":"6","_TRANSPORT":"audit"}"#, unit("other", false)),
            (r#","PRIORITY":["3","6"],"_SYSTEMD_UNIT":null}"#, unit("other", false)),
            (r#","PRIORITY":"x","_SYSTEMD_UNIT":[120,255]}"#, unit("other", false)),
            ("}", unit("other", false)),
            (",", None),
        ] {
            assert_eq!(entry(&format!("{head}{rest}")), wanted, "{rest}");
        }
        for bad in ["", "[]", "null", "-- No entries --", "{\"PRIORITY\":"] {
            assert_eq!(entry(bad), None, "{bad:?}");
        }
    }

    proptest! {
        /// Law: no bytes make parsing panic.
        #[test]
        fn any_line_is_an_entry_or_none(bytes in any::<Vec<u8>>(), text in "\\{(\"(PRIORITY|UNIT|x)\":(\"[0-9a-z]{0,5}\"|null|\\[1\\]|-?[0-9.e]{1,9}),?){0,4}\\}") {
            let _ = parse(&bytes);
            prop_assert!(entry(&text).is_none_or(|(unit, _)| unit.len() <= LONGEST));
        }
    }
}
