//! Bytes ↔ messages: CBOR or JSON from the same types, zstd above [`limits::COMPRESS_ABOVE`].
//!
//! The three forms are told apart by their first bytes, because not every broker hands content types on: zstd frames
//! begin `28 b5 2f fd`, JSON objects with `{`, and a CBOR map never with either.

use minicbor::{Decode, Encode};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;

/// How messages are written. Readers take both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Compact: CBOR with integer keys.
    #[default]
    Cbor,
    /// For people and scripts: JSON with names.
    Json,
}

/// Why bytes are not a message, or a message is not sendable.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Beyond the size limit.
    #[error("{what} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Broken or oversized compression.
    #[error("zstd: {0}")]
    Zstd(#[source] std::io::Error),
    /// Not CBOR of the expected shape.
    #[error("cbor: {0}")]
    Cbor(#[from] minicbor::decode::Error),
    /// Not JSON of the expected shape.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// Well formed, but beyond a bound of [`limits`].
    #[error("{0}")]
    Invalid(#[from] Invalid),
}

/// A field beyond its bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} has {found} {unit}, at most {limit} are allowed")]
pub struct Invalid {
    /// The field's path.
    pub field: &'static str,
    /// Measured size.
    pub found: usize,
    /// Allowed size.
    pub limit: usize,
    /// What is counted.
    pub unit: &'static str,
}

/// A message of this protocol: serialisable both ways and able to check its own bounds.
pub trait Message: Encode<()> + for<'b> Decode<'b, ()> + Serialize + DeserializeOwned {
    /// Refuses fields beyond the bounds of [`limits`].
    ///
    /// # Errors
    /// The first field found beyond its bound.
    fn validate(&self) -> Result<(), Invalid>;
}

/// On the ledger's largest message (18 KB, `full`) level 1 takes 127 KB of memory where level 3 takes 488 KB, for 4 % more
/// bytes; on those of `lean` the bytes are the same. `ledger.rs` prints the figures.
const LEVEL: i32 = 1;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The MQTT content type of a payload.
#[must_use]
pub fn content_type(payload: &[u8]) -> &'static str {
    match payload.first() {
        Some(b'{') => "application/json",
        _ if payload.starts_with(&ZSTD_MAGIC) => "application/cbor+zstd",
        _ => "application/cbor",
    }
}

/// Writes a message. JSON is never compressed: it is for people.
///
/// # Errors
/// When a field is beyond its bound, or the result is larger than [`limits::PAYLOAD`].
pub fn encode<M: Message>(message: &M, encoding: Encoding) -> Result<Vec<u8>, WireError> {
    message.validate()?;
    let payload = match encoding {
        Encoding::Json => serde_json::to_vec(message)?,
        Encoding::Cbor => {
            let plain = minicbor::to_vec(message).expect("writing to a vector cannot fail");
            if plain.len() > limits::COMPRESS_ABOVE {
                let packed = zstd::bulk::compress(&plain, LEVEL).map_err(WireError::Zstd)?;
                if packed.len() < plain.len() { packed } else { plain }
            } else {
                plain
            }
        }
    };
    if payload.len() > limits::PAYLOAD {
        return Err(WireError::TooLarge { what: "payload", size: payload.len(), limit: limits::PAYLOAD });
    }
    Ok(payload)
}

/// Reads a message in any of the three forms and checks its bounds.
///
/// # Errors
/// When the bytes are too large, malformed, or a field is beyond its bound.
pub fn decode<M: Message>(payload: &[u8]) -> Result<M, WireError> {
    if payload.len() > limits::PAYLOAD {
        return Err(WireError::TooLarge { what: "payload", size: payload.len(), limit: limits::PAYLOAD });
    }
    let message: M = if payload.first() == Some(&b'{') {
        serde_json::from_slice(payload)?
    } else if payload.starts_with(&ZSTD_MAGIC) {
        whole(&decompress(payload)?)?
    } else {
        whole(payload)?
    };
    message.validate()?;
    Ok(message)
}

/// Reads one CBOR item that fills `plain`.
fn whole<M: Message>(plain: &[u8]) -> Result<M, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(plain);
    let message = decoder.decode()?;
    if decoder.position() < plain.len() {
        return Err(minicbor::decode::Error::message("bytes follow the message").at(decoder.position()));
    }
    Ok(message)
}

/// Reads an optional member whose kind a newer sender may have extended: an unknown kind in JSON is absent, as in CBOR.
pub(crate) fn known_kind<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Option<T>, D::Error> {
    let Some(value) = Option::<serde_json::Value>::deserialize(d)? else { return Ok(None) };
    match serde_json::from_value(value) {
        Ok(kind) => Ok(Some(kind)),
        // serde has no other way to tell: this is the text of `serde::de::Error::unknown_variant`.
        Err(e) if e.to_string().starts_with("unknown variant") => Ok(None),
        Err(e) => Err(D::Error::custom(e)),
    }
}

/// Undoes the compression of one zstd frame that states its content size. Memory is taken by that size, checked first:
/// reserving [`limits::DECOMPRESSED`] for every message would be an eighth of the agent's memory.
fn decompress(payload: &[u8]) -> Result<Vec<u8>, WireError> {
    let broken = |what| WireError::Zstd(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    let size = match zstd::zstd_safe::get_frame_content_size(payload) {
        Ok(Some(size)) => usize::try_from(size).unwrap_or(usize::MAX),
        Ok(None) => return Err(broken("the frame does not state its content size")),
        Err(_) => return Err(broken("the frame header is damaged")),
    };
    if size > limits::DECOMPRESSED {
        return Err(WireError::TooLarge { what: "decompressed payload", size, limit: limits::DECOMPRESSED });
    }
    zstd::bulk::decompress(payload, size).map_err(WireError::Zstd)
}

/// Collects bound checks of a message in one readable chain.
#[derive(Debug, Default)]
pub struct Check(Option<Invalid>);

impl Check {
    /// Starts with nothing wrong.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    fn at_most(mut self, field: &'static str, found: usize, limit: usize, unit: &'static str) -> Self {
        if self.0.is_none() && found > limit {
            self.0 = Some(Invalid { field, found, limit, unit });
        }
        self
    }

    /// A short text: [`limits::NAME`].
    #[must_use]
    pub fn name(self, field: &'static str, text: &str) -> Self {
        self.at_most(field, text.len(), limits::NAME, "bytes")
    }

    /// A sentence: [`limits::TEXT`].
    #[must_use]
    pub fn text(self, field: &'static str, text: &str) -> Self {
        self.at_most(field, text.len(), limits::TEXT, "bytes")
    }

    /// A body: [`limits::BODY`].
    #[must_use]
    pub fn body(self, field: &'static str, bytes: usize) -> Self {
        self.at_most(field, bytes, limits::BODY, "bytes")
    }

    /// Settings: [`limits::SETTINGS`].
    #[must_use]
    pub fn settings(self, field: &'static str, text: &str) -> Self {
        self.at_most(field, text.len(), limits::SETTINGS, "bytes")
    }

    /// A list with a bound of its own.
    #[must_use]
    pub fn list<T>(self, field: &'static str, list: &[T], limit: usize) -> Self {
        self.at_most(field, list.len(), limit, "elements")
    }

    /// Checks each element in turn.
    #[must_use]
    pub fn each<T>(self, list: &[T], check: impl Fn(Self, &T) -> Self) -> Self {
        list.iter().fold(self, check)
    }

    /// The result.
    ///
    /// # Errors
    /// The first bound that was passed.
    pub fn done(self) -> Result<(), Invalid> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Ack;

    #[test]
    fn a_compressed_frame_must_say_its_size_truthfully() {
        let bomb = zstd::bulk::compress(&vec![0; limits::DECOMPRESSED + 1], 3).expect("zeros compress");
        assert!(bomb.len() < 1024);
        assert!(matches!(decode::<Ack>(&bomb), Err(WireError::TooLarge { .. })));

        // A streaming compressor does not know the size when it writes the header.
        let silent = zstd::stream::encode_all(&[0xa0_u8; 64][..], 3).expect("writing to a vector cannot fail");
        assert!(matches!(decode::<Ack>(&silent), Err(WireError::Zstd(_))));

        // Two frames, of which only the first one's size is stated first.
        let one = zstd::bulk::compress(&[0xa0; 64], 3).expect("a few bytes compress");
        assert!(matches!(decode::<Ack>(&[one.as_slice(), &one].concat()), Err(WireError::Zstd(_))));
    }
}
