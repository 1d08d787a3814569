//! Text for a terminal: tables and times.

use std::fmt::Write as _;

use jiff::Timestamp;

/// Rows as aligned columns under a heading; numbers are the caller's business.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, width) in cells.zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:width$}  ");
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut heading.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    out
}

/// A stranger's name as it may stand in a terminal: nothing in it moves the cursor, breaks the line or turns the direction of text.
pub fn plain(name: &str) -> String {
    tacit_collector::map::names::plain(name)
}

/// Unix milliseconds as `2026-11-23 12:03:10` in UTC.
pub fn utc(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| format!("{ms} ms"), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// How long ago, in one unit: `3 s`, `12 min`, `5 h`, `2 d`.
pub fn ago(ms: i64, now_ms: i64) -> String {
    duration((now_ms - ms).max(0) / 1000)
}

/// Seconds in one unit.
pub fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The present in Unix milliseconds.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "long cell".into()], vec!["bb".into(), "x".into()]];
        assert_eq!(table(&["N", "WHAT"], &rows), "N   WHAT\na   long cell\nbb  x\n");
    }

    #[test]
    fn times_read_well() {
        assert_eq!(utc(1_700_000_000_000), "2023-11-14 22:13:20 UTC");
        assert_eq!(ago(0, 125_000), "2 min");
        assert_eq!(ago(10, 0), "0 s");
    }
}
