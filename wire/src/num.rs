//! A measured value on the wire.

use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A measured value: an `f32` that travels in the shortest CBOR form that holds it exactly (integer, half or single
/// precision; one to five bytes). "No value" is NaN here, `null` in CBOR and JSON.
#[derive(Debug, Clone, Copy, PartialOrd, Default)]
pub struct Num(pub f32);

impl Num {
    /// The absent value.
    pub const NONE: Self = Self(f32::NAN);

    /// The value rounded to eleven significant bits (about three decimal digits): ratios then take three bytes, not five.
    #[must_use]
    pub fn quantised(value: f32) -> Self {
        if !value.is_finite() || value == 0.0 {
            return Self(value);
        }
        // 24 bits of significand less 11 leaves 13 to round away; adding half of the cut part rounds to nearest.
        let bits = value.to_bits();
        let rounded = f32::from_bits((bits.wrapping_add(0x1000)) & !0x1fff);
        Self(if rounded.is_finite() { rounded } else { value })
    }

    /// The value, or `None` when it is absent.
    #[must_use]
    pub fn get(self) -> Option<f32> {
        (!self.0.is_nan()).then_some(self.0)
    }
}

impl PartialEq for Num {
    /// Bitwise, but all NaN are one: two absent values are equal.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (self.0.is_nan() && other.0.is_nan())
    }
}

impl From<f32> for Num {
    fn from(value: f32) -> Self {
        Self(value)
    }
}

/// Integers up to here are exact in an `f32`.
const EXACT: f32 = 16_777_216.0;

impl<C> Encode<C> for Num {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let v = self.0;
        if v.is_nan() {
            return e.null()?.ok();
        }
        let half = half::f16::from_f32(v);
        // Negative zero is written as zero: nobody measures it.
        if v.fract() == 0.0 && v.abs() <= EXACT && (v.abs() < 256.0 || half.to_f32() != v) {
            return e.i64(v as i64)?.ok();
        }
        if half.to_f32() == v { e.f16(v)?.ok() } else { e.f32(v)?.ok() }
    }
}

impl<'b, C> Decode<'b, C> for Num {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Ok(match d.datatype()? {
            Type::Null | Type::Undefined => {
                d.skip()?;
                Self::NONE
            }
            Type::F16 => Self(d.f16()?),
            Type::F32 => Self(d.f32()?),
            Type::F64 => Self(d.f64()? as f32),
            _ => Self(i64::try_from(d.int()?).map_err(decode::Error::custom)? as f32),
        })
    }
}

impl Serialize for Num {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { s.serialize_f32(self.0) } else { s.serialize_none() }
    }
}

impl<'de> Deserialize<'de> for Num {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Option::<f32>::deserialize(d)?.map_or(Self::NONE, Self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(v: f32) -> Vec<u8> {
        minicbor::to_vec(Num(v)).expect("encoding to a vector cannot fail")
    }

    #[test]
    fn takes_the_shortest_exact_form() {
        assert_eq!(bytes(0.0).len(), 1);
        assert_eq!(bytes(7.0).len(), 1);
        assert_eq!(bytes(200.0).len(), 2);
        assert_eq!(bytes(0.5).len(), 3);
        assert_eq!(bytes(0.034).len(), 5);
        assert_eq!(minicbor::to_vec(Num::quantised(0.034)).expect("a vector").len(), 3);
        assert_eq!(bytes(f32::NAN), [0xf6]);
    }

    #[test]
    fn quantising_keeps_three_digits() {
        for v in [0.034_f32, 1.0, 12_345.0, 1.6e9, -3.3e-5, 2.0e-38] {
            let q = Num::quantised(v).0;
            assert!(((q - v) / v).abs() <= 1.0 / 2048.0, "{v} became {q}");
        }
    }
}
