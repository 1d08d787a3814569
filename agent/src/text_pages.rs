//! Gives back the pages of the program file that start-up needed and steady state does not.
//!
//! Code and read-only data are mapped from the executable: a dropped page is read again from the page cache when it is
//! used next. Done once after the models are loaded, this is most of the agent's saving in memory.
#![expect(unsafe_code, reason = "madvise has no safe form; the ranges come from the kernel's own list of mappings")]

use std::path::Path;

/// Drops clean, file-backed pages of this program that can never have been written to: mappings `r-xp`, and `r--p` that
/// lie before the first `r-xp` of the file (`.rodata`). What follows the code is left alone: it holds relocated data
/// (`relro`), which is `r--p` too but was written by the loader and would be lost. Returns the bytes of the ranges.
///
/// # Errors
/// When the list of mappings cannot be read.
pub fn drop_text_pages() -> std::io::Result<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let program = std::fs::read_link("/proc/self/exe")?;
    let mut dropped = 0;
    for (start, end) in droppable(&maps, &program) {
        // SAFETY: the range is a private mapping of the program file without write permission that nobody ever wrote to
        // (see `droppable`), so each dropped page is read again from the file with the same content.
        let done = unsafe {
            rustix::mm::madvise(start as *mut std::ffi::c_void, end - start, rustix::mm::Advice::LinuxDontNeed)
        };
        if done.is_ok() {
            dropped += end - start;
        }
    }
    Ok(dropped)
}

fn droppable(maps: &str, program: &Path) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(mode)) = (words.next(), words.next()) else { continue };
        if words.nth(3).is_none_or(|path| Path::new(path) != program) {
            continue;
        }
        let Some((start, end)) = range.split_once('-') else { continue };
        let (Ok(start), Ok(end)) = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)) else { continue };
        match mode {
            "r-xp" => {
                ranges.push((start, end));
                return ranges;
            }
            "r--p" => ranges.push((start, end)),
            // Another order of segments than the usual one: only what is surely code may go.
            _ => ranges.clear(),
        }
    }
    // No code was found: this is not the layout described above.
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
555500000000-555500100000 r--p 00000000 fe:01 77 /usr/bin/tacit-agent
555500100000-555500900000 r-xp 00100000 fe:01 77 /usr/bin/tacit-agent
555500900000-555500a00000 r--p 008ff000 fe:01 77 /usr/bin/tacit-agent
555500a00000-555500a10000 rw-p 009ff000 fe:01 77 /usr/bin/tacit-agent
7f0000000000-7f0000100000 r-xp 00000000 fe:01 78 /usr/lib/libc.so.6
";

    #[test]
    fn relocated_data_and_foreign_files_stay() {
        let ranges = droppable(MAPS, Path::new("/usr/bin/tacit-agent"));
        assert_eq!(ranges, [(0x5555_0000_0000, 0x5555_0010_0000), (0x5555_0010_0000, 0x5555_0090_0000)]);
        assert!(droppable(MAPS, Path::new("/usr/bin/other")).is_empty());
    }

    #[test]
    fn the_program_still_works() {
        assert!(drop_text_pages().expect("this is Linux") > 0);
        let text: String = ('a'..='e').collect();
        assert_eq!(format!("{text}{:?}", [1.5_f32, f32::NAN]), "abcde[1.5, NaN]");
    }
}
