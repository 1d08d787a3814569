//! Comma-separated values with a line of names first, plain or compressed with zstd.
//!
//! Files are strangers' bytes: at most [`BYTES_MAX`] are decompressed, and every line has as many fields as the first.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Most bytes of a file, decompressed.
const BYTES_MAX: u64 = 256 << 20;

/// The text of a file, decompressed when its name ends in `.zst`.
///
/// # Errors
/// A file that cannot be read, is damaged, too long, or no text.
pub fn text(path: &Path) -> Result<String> {
    let file =
        File::open(path).with_context(|| format!("cannot open {}; is the data folder complete?", path.display()))?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|e| e == "zst") {
        zstd::Decoder::new(file)
            .and_then(|decoder| decoder.take(BYTES_MAX + 1).read_to_end(&mut bytes))
            .with_context(|| format!("{} is not a whole zstd file; fetch it again", path.display()))?;
    } else {
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    }
    ensure!(bytes.len() as u64 <= BYTES_MAX, "{} is longer than {BYTES_MAX} bytes", path.display());
    String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))
}

/// A file of comma-separated values. A field between double quotes may hold commas; none may hold a line's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Where it was read.
    pub path: PathBuf,
    /// Names of its columns.
    pub columns: Vec<String>,
    /// Its lines, with a field for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// As [`text`]; a line with another number of fields than the first, or with a quote that does not end.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, &text(path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
        let (_, first) = lines.next().with_context(|| format!("{} is empty", path.display()))?;
        let place = |at: usize| format!("{}:{}", path.display(), at + 1);
        let columns = fields(first).with_context(|| place(0))?;
        let mut rows = Vec::new();
        for (at, line) in lines {
            let row = fields(line).with_context(|| place(at))?;
            let (found, wanted) = (row.len(), columns.len());
            ensure!(found == wanted, "{}: {found} fields where the first line names {wanted}", place(at));
            rows.push(row);
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// The number of a column.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn column(&self, name: &str) -> Result<usize> {
        let at = self.columns.iter().position(|c| c == name);
        at.with_context(|| format!("{} has no column {name}", self.path.display()))
    }

    /// A column of numbers; an empty field is NaN.
    ///
    /// # Errors
    /// A field that is something else.
    pub fn numbers(&self, column: usize) -> Result<Vec<f64>> {
        let number = |field: &str| if field.is_empty() { Ok(f64::NAN) } else { field.parse() };
        self.read_as(column, number, "a number")
    }

    /// A column of whole numbers, such as times.
    ///
    /// # Errors
    /// A field that is something else.
    pub fn whole(&self, column: usize) -> Result<Vec<i64>> {
        self.read_as(column, str::parse, "a whole number")
    }

    fn read_as<T, E>(&self, column: usize, read: impl Fn(&str) -> Result<T, E>, wanted: &str) -> Result<Vec<T>> {
        let mut values = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let field = &row[column];
            let value = read(field).ok();
            values.push(value.with_context(|| {
                format!("{}: {} is {field:?}, not {wanted}", self.path.display(), self.columns[column])
            })?);
        }
        Ok(values)
    }
}

fn fields(line: &str) -> Result<Vec<String>> {
    if !line.contains('"') {
        return Ok(line.split(',').map(str::to_owned).collect());
    }
    let (mut all, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut signs = line.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            // Two quotes inside quotes are one.
            '"' if quoted && signs.peek() == Some(&'"') => {
                signs.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            sign => field.push(sign),
        }
    }
    ensure!(!quoted, "a quote does not end");
    all.push(field);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Table> {
        Table::parse(Path::new("t.csv"), text)
    }

    #[test]
    fn fields_may_be_empty_or_quoted() {
        let table = parse("a,\"b,c\"\n1,\n,\"say \"\"x\"\"\"\n").unwrap();
        assert_eq!(table.columns, ["a", "b,c"]);
        assert_eq!(table.rows, [["1", ""], ["", "say \"x\""]]);
        assert_eq!(table.column("b,c").unwrap(), 1);
        let numbers = table.numbers(0).unwrap();
        assert!(numbers[0] == 1.0 && numbers[1].is_nan());
    }

    #[test]
    fn bad_tables_say_where() {
        for (text, reason) in [
            ("", "is empty"),
            ("a,b\n1\n", "t.csv:2: 1 fields where the first line names 2"),
            ("a\n\"x\n", "t.csv:2: a quote does not end"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
        let table = parse("a\nx\n").unwrap();
        assert!(format!("{:#}", table.numbers(0).unwrap_err()).contains("a is \"x\", not a number"));
        assert!(format!("{:#}", table.whole(0).unwrap_err()).contains("not a whole number"));
        assert!(format!("{:#}", table.column("b").unwrap_err()).contains("t.csv has no column b"));
    }

    #[test]
    fn compressed_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv.zst");
        std::fs::write(&path, zstd::encode_all(b"a\n5\n".as_slice(), 1).unwrap()).unwrap();
        assert_eq!(Table::read(&path).unwrap().whole(0).unwrap(), [5]);
        std::fs::write(&path, b"a\n5\n").unwrap();
        assert!(format!("{:#}", Table::read(&path).unwrap_err()).contains("not a whole zstd file"));
    }
}
