//! Identifiers. Each is its own type, checked where it enters, so that a wrong one cannot travel further.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text of a node or site has a wrong form.
    #[error("{kind} {found:?} is not valid: use 1 to 36 of a-z, 0-9 and '-'")]
    Label {
        /// `node` or `site`.
        kind: &'static str,
        /// What was given, cut to a readable length.
        found: String,
    },
    /// The text of a binary identifier has a wrong form.
    #[error("{found:?} is not a {kind}: expected {digits} hexadecimal digits")]
    Hex {
        /// Which identifier.
        kind: &'static str,
        /// How many digits it has.
        digits: usize,
        /// What was given, cut to a readable length.
        found: String,
    },
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

macro_rules! label_id {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(s: &str) -> Result<Self, IdError> {
                let fits = (1..=36).contains(&s.len())
                    && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if fits { Ok(Self(s.to_owned())) } else { Err(IdError::Label { kind: $kind, found: shorten(s) }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }

        impl AsRef<str> for $name { fn as_ref(&self) -> &str { &self.0 } }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.str()?.parse().map_err(decode::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.serialize_str(&self.0) }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

label_id!(
    /// A node (host or device): its MQTT client id and the common name of its certificate, unique in the fleet.
    NodeId, "node"
);
label_id!(
    /// A site: the group of nodes that share a topic prefix.
    SiteId, "site"
);

macro_rules! bytes_id {
    ($(#[$meta:meta])* $name:ident, $len:literal, $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub [u8; $len]);

        impl FromStr for $name {
            type Err = IdError;
            /// Accepts hexadecimal digits; dashes (as in a UUID) are skipped.
            fn from_str(s: &str) -> Result<Self, IdError> {
                let wrong = || IdError::Hex { kind: $kind, digits: 2 * $len, found: shorten(s) };
                let mut bytes = [0_u8; $len];
                let mut digits = 0;
                for c in s.trim().chars().filter(|c| *c != '-') {
                    let value = c.to_digit(16).ok_or_else(wrong)? as u8;
                    let byte = bytes.get_mut(digits / 2).ok_or_else(wrong)?;
                    *byte = (*byte << 4) | value;
                    digits += 1;
                }
                if digits == 2 * $len { Ok(Self(bytes)) } else { Err(wrong()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self) }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let bytes = d.bytes()?;
                bytes.try_into().map(Self).map_err(|_| decode::Error::message(concat!("wrong length of a ", $kind)))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

bytes_id!(
    /// One boot of a node, as the kernel names it in `/proc/sys/kernel/random/boot_id`.
    BootId, 16, "boot id"
);
bytes_id!(
    /// One numbered sequence of messages: a lane of one agent start. Random.
    StreamId, 8, "stream id"
);
bytes_id!(
    /// One anomaly or context event. Random; (node, event) is unique in the fleet.
    EventId, 8, "event id"
);
bytes_id!(
    /// A SHA-256 digest: of a model, a configuration, a series dictionary.
    Digest, 32, "digest"
);

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

/// The number of a message in its stream; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Seq(#[n(0)] pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A series in the node's dictionary: its slot in the agent's frame. Valid within one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct SeriesId(#[n(0)] pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_checked() {
        assert!("web-01".parse::<NodeId>().is_ok());
        for bad in ["", "Web", "a b", "a/b", "+", "#", &"x".repeat(37)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_uuid_is_a_boot_id() {
        let id: BootId = "3f0cb1d2-9a55-4a3e-8a11-0123456789ab".parse().expect("a UUID");
        assert_eq!(id.to_string(), "3f0cb1d29a554a3e8a110123456789ab");
        assert!("3f0c".parse::<BootId>().is_err());
        assert!("3f0cb1d29a554a3e8a110123456789ab00".parse::<BootId>().is_err());
    }
}
