//! The little DER and PEM that an identity needs: a writer for the request ([`super::csr`]), and a reader that tells of a
//! certificate whose it is and when it is valid, for messages. Nothing is judged here; rustls does that.

use crate::source::probe::expiry::{element, expect, time_ms};

pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OID: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
/// `[0]`, constructed: the version of a certificate, the attributes of a request.
pub const CONTEXT_0: u8 = 0xa0;
/// id-at-commonName, 2.5.4.3.
pub const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// Longest name that is shown.
const LONGEST_NAME: usize = 64;
/// Columns of a PEM file.
const COLUMNS: usize = 64;

/// What messages say of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Common name of its subject; empty when it has none.
    pub name: String,
    /// Beginning of its validity, Unix milliseconds.
    pub not_before_ms: i64,
    /// End of its validity, Unix milliseconds.
    pub not_after_ms: i64,
}

/// Reads a certificate in DER form; `None` when it is none.
#[must_use]
pub fn describe(der: &[u8]) -> Option<Certificate> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (tbs, _) = expect(certificate, SEQUENCE)?;
    let rest = expect(tbs, CONTEXT_0).map_or(tbs, |(_, rest)| rest);
    let (_serial, rest) = expect(rest, INTEGER)?;
    let (_signature, rest) = expect(rest, SEQUENCE)?;
    let (_issuer, rest) = expect(rest, SEQUENCE)?;
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (subject, _) = expect(rest, SEQUENCE)?;
    let (tag, before, rest) = element(validity)?;
    let not_before_ms = time_ms(tag, before)?;
    let (tag, after, _) = element(rest)?;
    Some(Certificate { name: common_name(subject), not_before_ms, not_after_ms: time_ms(tag, after)? })
}

/// `Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value }`; the first common name in it.
fn common_name(mut names: &[u8]) -> String {
    while let Some((set, rest)) = expect(names, SET) {
        let pair = expect(set, SEQUENCE).and_then(|(pair, _)| expect(pair, OID));
        if let Some((_, value)) = pair.filter(|(kind, _)| *kind == COMMON_NAME)
            && let Some((_, text, _)) = element(value)
        {
            let text = String::from_utf8_lossy(text);
            return text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        }
        names = rest;
    }
    String::new()
}

/// One element: tag, length, and these parts one after the other.
#[must_use]
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// DER as a PEM block.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(COLUMNS));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Base64 with padding (RFC 4648, section 4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, b| (group << 8) | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// A moment for people: `2026-12-01 13:22 UTC`.
#[must_use]
pub fn date(ms: i64) -> String {
    let minutes = ms.div_euclid(60_000);
    let (year, month, day) = civil(minutes.div_euclid(1440));
    let minute = minutes.rem_euclid(1440);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minute / 60, minute % 60)
}

/// The Gregorian date of a day since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_of_all_forms() {
        assert_eq!(tlv(SEQUENCE, &[]), [0x30, 0]);
        assert_eq!(tlv(OID, &[&[1, 2], &[3]]), [6, 3, 1, 2, 3]);
        assert_eq!(tlv(SET, &[&[0; 0x7f]])[..2], [0x31, 0x7f]);
        assert_eq!(tlv(SET, &[&[0; 0x80]])[..3], [0x31, 0x81, 0x80]);
        assert_eq!(tlv(SET, &[&[0; 0x1234]])[..4], [0x31, 0x82, 0x12, 0x34]);
    }

    #[test]
    fn base64_as_in_its_standard() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn dates_read_as_people_write_them() {
        for (ms, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_868_799_000, "2000-02-29 23:59 UTC"),
            (1_795_600_395_000, "2026-11-25 09:53 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
            (253_402_300_799_000, "9999-12-31 23:59 UTC"),
        ] {
            assert_eq!(date(ms), text);
        }
        let _ = (date(i64::MIN), date(i64::MAX));
    }

    #[test]
    fn a_name_is_found_among_others() {
        let attribute = |kind: &[u8], value: &str| {
            let pair = tlv(SEQUENCE, &[&tlv(OID, &[kind]), &tlv(UTF8_STRING, &[value.as_bytes()])]);
            tlv(SET, &[&pair])
        };
        let organisation = attribute(&[0x55, 0x04, 0x0a], "Example");
        let name = attribute(COMMON_NAME, "web-1\n");
        assert_eq!(common_name(&[organisation.clone(), name].concat()), "web-1");
        assert_eq!(common_name(&organisation), "");
    }

    proptest! {
        /// Law: no bytes make the reader panic.
        #[test]
        fn any_bytes_are_read(bytes in any::<Vec<u8>>(), nearly in prop::collection::vec(
            prop_oneof![Just(SEQUENCE), Just(SET), Just(OID), Just(INTEGER), Just(CONTEXT_0), 0..40_u8], 0..120)) {
            let _ = describe(&bytes);
            let _ = describe(&nearly);
            let _ = common_name(&nearly);
        }

        /// Law: what the writer writes the reader reads, whatever its length.
        #[test]
        fn what_is_written_reads_back(content in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let written = tlv(SEQUENCE, &[&content]);
            let (tag, read, rest) = element(&written).expect("an element");
            prop_assert_eq!((tag, read, rest.len()), (SEQUENCE, content.as_slice(), 0));
        }

        /// Law: PEM of any bytes is read back as the same by the library that reads it in the end.
        #[test]
        fn pem_reads_back(der in prop::collection::vec(any::<u8>(), 1..400)) {
            use rustls::pki_types::{CertificateDer, pem::PemObject as _};
            let text = pem("CERTIFICATE", &der);
            let read = CertificateDer::from_pem_slice(text.as_bytes()).expect("a block");
            prop_assert_eq!(read.as_ref(), der.as_slice());
            prop_assert!(text.lines().all(|line| line.len() <= COLUMNS));
        }
    }
}
