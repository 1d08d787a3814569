//! One record of `/dev/kmsg` (kernel: `Documentation/ABI/testing/dev-kmsg`).
//!
//! ```text
//! 4,1281,5140900,-;EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2
//!  SUBSYSTEM=block
//!  DEVICE=b8:1
//! ```
//!
//! Before the semicolon: facility and level in one number, sequence number, microseconds since boot, flags, perhaps more.
//! After it: the message, then lines of a dictionary, each behind a space.

use crate::source::ParseError;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The syslog facility; 0 is the kernel itself.
    pub facility: u64,
    /// The syslog level: 0 emergency to 7 debug.
    pub level: u8,
    /// Number of the record since boot.
    pub sequence: u64,
    /// The message, as escaped by the kernel.
    pub text: &'a str,
}

/// Parses a record.
///
/// # Errors
/// When it has another form.
pub fn parse(bytes: &[u8]) -> Result<Record<'_>, ParseError> {
    let wrong = |expected| ParseError::new(1, expected, bytes);
    // The kernel escapes everything that is not printable ASCII or UTF-8.
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("printable text"))?;
    let (prefix, message) = text.split_once(';').ok_or_else(|| wrong("a prefix and a semicolon"))?;
    let mut fields = prefix.split(',');
    let mut number = |expected| fields.next().and_then(|f| f.parse::<u64>().ok()).ok_or_else(|| wrong(expected));
    let priority = number("a priority")?;
    let sequence = number("a sequence number")?;
    number("microseconds since boot")?;
    let text = message.lines().next().unwrap_or_default();
    Ok(Record { facility: priority >> 3, level: (priority & 7) as u8, sequence, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_have_a_prefix_a_message_and_a_dictionary() {
        let record = parse(b"4,1281,5140900,-;a; b\n SUBSYSTEM=block\n DEVICE=b8:1\n").expect("a record");
        assert_eq!(record, Record { facility: 0, level: 4, sequence: 1281, text: "a; b" });
        let record = parse(b"30,7,1,-,caller=T1;systemd[1]: hello\n").expect("a record");
        assert_eq!((record.facility, record.level), (3, 6));
        for bad in [&b""[..], b"x", b"1,2;x", b"a,2,3,-;x", b"1,2,3,-", b"1,2,3,-;\xff"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// Law: no bytes make parsing panic.
        #[test]
        fn any_bytes_are_a_record_or_none(bytes in any::<Vec<u8>>(), text in "[0-9,;-]{0,20}.{0,40}") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
