//! The texts of the control group files. Numbers are scanned from bytes: nothing is allocated.

/// The first number of a file such as `memory.current`; `None` for `max` and for anything else.
pub fn single(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii())
}

/// The value of `key` in lines of the form `key value` (`cpu.stat`).
pub fn keyed(text: &[u8], key: &[u8]) -> Option<u64> {
    lines(text).find_map(|line| line.strip_prefix(key)?.strip_prefix(b" ").and_then(|v| number(v.trim_ascii())))
}

/// Bytes read and written on all devices, from version 2's `io.stat`:
///
/// ```text
/// 259:0 rbytes=90112 wbytes=4096 rios=14 wios=1 dbytes=0 dios=0
/// ```
///
/// A device mapper volume and the disk below it both have a line: their bytes are counted twice, as by the kernel.
pub fn io_stat(text: &[u8]) -> Option<[u64; 2]> {
    let mut sums = [0_u64; 2];
    for word in lines(text).flat_map(|line| line.split(|b| *b == b' ')) {
        for (sum, key) in sums.iter_mut().zip([&b"rbytes="[..], b"wbytes="]) {
            if let Some(value) = word.strip_prefix(key) {
                *sum = sum.checked_add(number(value)?)?;
            }
        }
    }
    Some(sums)
}

/// The same from version 1's `blkio.throttle.io_service_bytes`:
///
/// ```text
/// 8:0 Read 90112
/// 8:0 Write 4096
/// Total 94208
/// ```
pub fn blkio(text: &[u8]) -> Option<[u64; 2]> {
    let mut sums = [0_u64; 2];
    for line in lines(text) {
        let mut words = line.split(|b| *b == b' ').skip(1);
        let (Some(what), Some(value)) = (words.next(), words.next()) else { continue };
        for (sum, key) in sums.iter_mut().zip([&b"Read"[..], b"Write"]) {
            if what == key {
                *sum = sum.checked_add(number(value)?)?;
            }
        }
    }
    Some(sums)
}

/// Microseconds in which some task was stalled, from a pressure file:
///
/// ```text
/// some avg10=0.00 avg60=0.02 avg300=0.00 total=48127
/// full avg10=0.00 avg60=0.00 avg300=0.00 total=46002
/// ```
pub fn pressure(text: &[u8]) -> Option<u64> {
    let some = lines(text).find_map(|line| line.strip_prefix(b"some "))?;
    some.split(|b| *b == b' ').find_map(|word| number(word.strip_prefix(b"total=")?))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n')
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, b| match b {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_forms() {
        assert_eq!(single(b"4096\n"), Some(4096));
        assert_eq!(single(b"max\n"), None);
        let cpu = b"usage_usec 120\nuser_usec 80\nsystem_usec 40\nnr_throttled 2\nthrottled_usec 9\n";
        assert_eq!(
            (keyed(cpu, b"usage_usec"), keyed(cpu, b"throttled_usec"), keyed(cpu, b"usage")),
            (Some(120), Some(9), None)
        );
        assert_eq!(io_stat(b"8:0 rbytes=10 wbytes=1 rios=1\n8:16 rbytes=5 wbytes=2 dbytes=7\n"), Some([15, 3]));
        assert_eq!(io_stat(b""), Some([0, 0]));
        assert_eq!(blkio(b"8:0 Read 7\n8:0 Write 8\n8:0 Sync 9\n8:16 Read 1\nTotal 16\n"), Some([8, 8]));
        assert_eq!(pressure(b"some avg10=0.00 avg60=0.02 avg300=0.00 total=48127\nfull total=1\n"), Some(48127));
    }

    #[test]
    fn garbage_and_overflow_are_refused() {
        for garbage in [&b""[..], b"\xff\xfe", b"some", b"some total=x", b"99999999999999999999", b"usage_usec", b"-1"]
        {
            assert_eq!((single(garbage), keyed(garbage, b"usage_usec"), pressure(garbage)), (None, None, None));
        }
        assert_eq!(io_stat(b"8:0 rbytes=18446744073709551615\n8:1 rbytes=1"), None);
        assert_eq!(blkio(b"8:0 Read -3"), None);
    }
}
