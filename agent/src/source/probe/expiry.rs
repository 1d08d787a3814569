//! Until when a certificate is valid, by the shortest walk through its DER form.
//!
//! ```text
//! Certificate ::= SEQUENCE { TBSCertificate ::= SEQUENCE {
//!     [0] version OPTIONAL, serialNumber INTEGER, signature SEQUENCE, issuer SEQUENCE,
//!     validity SEQUENCE { notBefore, notAfter UTCTime | GeneralizedTime }, … (RFC 5280, section 4.1)
//! ```

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity in Unix milliseconds; `None` when it is no certificate.
#[must_use]
pub fn not_after_ms(der: &[u8]) -> Option<i64> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (tbs, _) = expect(certificate, SEQUENCE)?;
    let rest = expect(tbs, VERSION).map_or(tbs, |(_, rest)| rest);
    let (_serial, rest) = expect(rest, INTEGER)?;
    let (_signature, rest) = expect(rest, SEQUENCE)?;
    let (_issuer, rest) = expect(rest, SEQUENCE)?;
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (_, _, after) = element(validity)?;
    let (tag, time, _) = element(after)?;
    time_ms(tag, time)
}

/// Tag, content and what follows the first element.
pub(crate) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        // Long form: so many bytes of length follow; no certificate needs more than three.
        long @ 0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (bytes.iter().fold(0, |length, b| (length << 8) | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

pub(crate) fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// `YYMMDDHHMMSSZ` (50 and above are of the last century) or `YYYYMMDDHHMMSSZ`.
pub(crate) fn time_ms(tag: u8, text: &[u8]) -> Option<i64> {
    let (digits, year_digits) = match (tag, text.len()) {
        (UTC_TIME, 13) => (text, 2),
        (GENERALIZED_TIME, 15) => (text, 4),
        _ => return None,
    };
    let digits = digits.strip_suffix(b"Z")?;
    let number =
        |part: &[u8]| part.iter().try_fold(0_i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')));
    let (year, rest) = digits.split_at_checked(year_digits)?;
    let year = match (number(year)?, year_digits) {
        (year, 2) if year >= 50 => 1900 + year,
        (year, 2) => 2000 + year,
        (year, _) => year,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut part = |range: std::ops::RangeInclusive<i64>| parts.next()?.filter(|n| range.contains(n));
    let (month, day) = (part(1..=12)?, part(1..=31)?);
    let (hour, minute, second) = (part(0..=23)?, part(0..=59)?, part(0..=60)?);
    let days = days_since_1970(year, month, day);
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

/// Days since 1970-01-01 in the Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn times_of_both_forms() {
        let utc = |text: &str| time_ms(UTC_TIME, text.as_bytes());
        let general = |text: &str| time_ms(GENERALIZED_TIME, text.as_bytes());
        assert_eq!(utc("700101000000Z"), Some(0));
        assert_eq!(utc("261125095315Z"), Some(1_795_600_395_000));
        assert_eq!(general("20000229235959Z"), Some(951_868_799_000));
        assert_eq!(general("99991231235959Z"), Some(253_402_300_799_000));
        for bad in ["", "261125095315", "26112509531xZ", "261325095315Z", "260025095315Z", "2611250953150Z"] {
            assert_eq!(utc(bad), None, "{bad:?}");
        }
    }

    /// Real certificates of both key kinds and both time forms, against what openssl says of them.
    #[test]
    fn certificates_of_openssl() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let openssl = |arguments: &[&str]| {
            let out =
                Command::new("openssl").args(arguments).env("LC_ALL", "C").output().expect("openssl is installed");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        for (kind, days) in [("rsa:2048", "9"), ("rsa:2048", "20000"), ("ed25519", "1"), ("ed25519", "36500")] {
            let (key, der) = (path("key.pem"), path("cert.der"));
            openssl(&[
                "req",
                "-x509",
                "-newkey",
                kind,
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &der,
                "-outform",
                "DER",
                "-subj",
                "/CN=shop.example/O=Long enough to need more than one byte of length",
                "-days",
                days,
            ]);
            let ours = not_after_ms(&std::fs::read(&der).expect("it was made")).expect("a certificate");
            let end = openssl(&["x509", "-inform", "DER", "-in", &der, "-noout", "-enddate", "-dateopt", "iso_8601"]);
            let date =
                Command::new("date").args(["-u", "-d", end.trim().trim_start_matches("notAfter="), "+%s"]).output();
            let theirs = String::from_utf8_lossy(&date.expect("date is installed").stdout).trim().parse::<i64>();
            assert_eq!(Ok(ours / 1000), theirs, "{kind} {days} {end}");
        }
    }

    proptest! {
        /// Law: no bytes make the walk panic, be they arbitrary or nearly DER.
        #[test]
        fn any_bytes_are_walked(bytes in any::<Vec<u8>>(), nearly in prop::collection::vec(
            prop_oneof![Just(SEQUENCE), Just(INTEGER), Just(VERSION), Just(UTC_TIME), Just(0x81), Just(0x83), 0..40_u8], 0..120)) {
            let _ = not_after_ms(&bytes);
            let _ = not_after_ms(&nearly);
            let _ = time_ms(UTC_TIME, &bytes);
        }

        /// Law: one day is one day, in every year.
        #[test]
        fn days_follow_each_other(year in 1..9999_i64, month in 1..=12_i64, day in 1..28_i64) {
            prop_assert_eq!(days_since_1970(year, month, day) + 1, days_since_1970(year, month, day + 1));
        }
    }
}
