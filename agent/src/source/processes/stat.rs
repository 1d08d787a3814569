//! The text of `/proc/PID/stat`, `/proc/PID/io` and `/proc/PID/cmdline`.
//!
//! ```text
//! 812 (tmux: server) S 1 812 812 0 -1 4194560 2190 … 57 31 … 4512 9383936 1122 …
//! ```
//!
//! The command name may hold spaces and parentheses: fields are counted after the *last* closing one.

/// What a scan takes from one `stat` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Command name as the kernel has it, at most 15 bytes for programs.
    pub name: &'a [u8],
    /// `R`, `S`, `D`, `Z`, `T`, `t`, `I`, `X`.
    pub state: u8,
    /// Processor time used, user and system, in clock ticks.
    pub ticks: u64,
    /// Start, in clock ticks since boot.
    pub start: u64,
    /// Resident memory in pages.
    pub pages: u64,
}

/// Parses a `stat` line; `None` when it has another form.
pub fn parse(text: &[u8]) -> Option<Stat<'_>> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let name = text.get(open + 1..close)?;
    let mut fields = text.get(close + 1..)?.split(|b| *b == b' ' || *b == b'\n').filter(|f| !f.is_empty());
    let [state] = *fields.next()? else { return None };
    // From here `nth` counts on from the state, field 3 of proc(5): utime is 14, stime 15, starttime 22, rss 24.
    let utime = number(fields.nth(10)?)?;
    let stime = number(fields.next()?)?;
    let start = number(fields.nth(6)?)?;
    let pages = number(fields.nth(1)?)?;
    Some(Stat { name, state, ticks: utime.checked_add(stime)?, start, pages })
}

/// Bytes that reached or came from a device, out of `/proc/PID/io`.
pub fn parse_io(text: &[u8]) -> Option<u64> {
    let field = |key: &[u8]| text.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(key)).and_then(number);
    field(b"read_bytes: ")?.checked_add(field(b"write_bytes: ")?)
}

/// A command line for people: arguments joined by spaces, without control characters, cut to 120 characters.
pub fn command_line(text: &[u8]) -> Option<String> {
    const LIMIT: usize = 120;
    let text = String::from_utf8_lossy(text);
    let joined = text.trim_end_matches('\0').chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = joined.take(LIMIT + 1).collect();
    if let Some((end, _)) = line.char_indices().nth(LIMIT) {
        line.truncate(end);
        line.pop();
        line.push('…');
    }
    (!line.trim().is_empty()).then_some(line)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"812 (a) (b c) S 1 812 812 0 -1 4194560 2190 0 3 0 57 31 0 0 20 0 1 0 4512 9383936 1122 18446744073709551615 1 1 0 0 0 0 0 4096 134433283 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn reads_names_with_parentheses() {
        let stat = parse(LINE).expect("the kernel's form");
        assert_eq!(stat, Stat { name: b"a) (b c", state: b'S', ticks: 88, start: 4512, pages: 1122 });
    }

    #[test]
    fn truncation_anywhere_is_no_panic() {
        for end in 0..LINE.len() {
            let _ = parse(&LINE[..end]);
        }
        for garbage in [&b""[..], b")(", b"1 (x)", b"1 (x) S", b"\xff(\xfe)\xfd", b"1 (x) SS 1 2 3"] {
            assert_eq!(parse(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn reads_io() {
        let text =
            b"rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 0\n";
        assert_eq!(parse_io(text), Some(4608));
        assert_eq!(parse_io(b"read_bytes: x\n"), None);
    }

    #[test]
    fn command_lines_are_cut_and_cleaned() {
        assert_eq!(command_line(b"nginx\0-g\0a\nb\0").as_deref(), Some("nginx -g a b"));
        assert_eq!(command_line(b"\0\0"), None);
        let long = command_line("é".repeat(300).as_bytes()).expect("a line");
        assert_eq!((long.chars().count(), long.ends_with('…')), (120, true));
    }
}
