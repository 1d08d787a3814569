//! Series: a name by OpenTelemetry's semantic conventions, attributes, and a unit.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::{Digest, SeriesId};

/// One attribute of a series, such as `device = "sda"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Attribute {
    /// The key, as OpenTelemetry writes it in this place (`cpu.mode`, `system.device`).
    #[n(0)]
    pub key: String,
    /// The value.
    #[n(1)]
    pub value: String,
}

impl Attribute {
    /// An attribute from its two texts.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

/// An entry of a node's series dictionary.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct SeriesDef {
    /// Number in the dictionary.
    #[n(0)]
    pub id: SeriesId,
    /// Name, as in the table of `PROTOCOL.md`.
    #[n(1)]
    pub name: String,
    /// Attributes in the order of the source.
    #[n(2)]
    #[cbor(skip_if = "Vec::is_empty")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Unit in UCUM notation (`1`, `By`, `s`, `Cel`, `{fault}/s`).
    #[n(3)]
    pub unit: String,
}

impl SeriesDef {
    /// The series as one line: `system.disk.io{system.device=sda,disk.io.direction=read}`.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.name, &self.attributes)
    }
}

/// A name and attributes as one line: `name{key=value,…}`.
#[must_use]
pub fn label(name: &str, attributes: &[Attribute]) -> String {
    use std::fmt::Write as _;
    let mut out = name.to_owned();
    for (i, a) in attributes.iter().enumerate() {
        out.push(if i == 0 { '{' } else { ',' });
        // Writing to a String cannot fail.
        let _ = write!(out, "{}={}", a.key, a.value);
    }
    if !attributes.is_empty() {
        out.push('}');
    }
    out
}

/// The hash by which both ends know that they hold the same dictionary: SHA-256 over the sorted entries' labels and ids.
#[must_use]
pub fn dictionary_hash(entries: &[SeriesDef]) -> Digest {
    let mut lines: Vec<String> = entries.iter().map(|s| format!("{}\t{}\t{}\n", s.id.0, s.label(), s.unit)).collect();
    lines.sort_unstable();
    Digest::of(lines.concat().as_bytes())
}
