//! Reads the arrays of a data folder: NumPy's `.npy` format, version 1, compressed with zstd.
//!
//! ```text
//! offset  bytes
//! 0       6      \x93NUMPY
//! 6       2      version: 1, 0
//! 8       2      length of the header, little endian
//! 10      …      a Python dictionary in ASCII: {'descr': '<f4', 'fortran_order': False, 'shape': (19, 12960), }
//! 10+…    …      the values, little endian, last axis fastest
//! ```
//!
//! Files are strangers' bytes: every size is checked against what the index announced before it is believed, and at most
//! so much is decompressed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// Longest header read; NumPy writes 118 bytes.
const HEADER_MAX: usize = 4096;

/// 32-bit floats of this shape.
///
/// # Errors
/// A file that cannot be read, is damaged, or holds something else.
pub fn floats(path: &Path, shape: &[usize]) -> Result<Vec<f32>> {
    let body = body(path, "<f4", 4, shape)?;
    let values = body.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Ok(values.collect())
}

/// Bytes of this shape.
///
/// # Errors
/// As [`floats`].
pub fn bytes(path: &Path, shape: &[usize]) -> Result<Vec<u8>> {
    body(path, "|u1", 1, shape)
}

fn body(path: &Path, kind: &str, size: usize, shape: &[usize]) -> Result<Vec<u8>> {
    let wanted = shape.iter().try_fold(size, |bytes, n| bytes.checked_mul(*n)).context("an array too large to hold")?;
    let file =
        File::open(path).with_context(|| format!("cannot open {}; is the data folder complete?", path.display()))?;
    let mut raw = Vec::new();
    // One byte more than is allowed tells a file that is too long.
    let limit = (wanted + HEADER_MAX + 11) as u64;
    zstd::Decoder::new(file)
        .and_then(|decoder| decoder.take(limit).read_to_end(&mut raw))
        .with_context(|| format!("{} is not a whole zstd file; fetch it again", path.display()))?;
    let body = parse(&raw, kind, shape).with_context(|| format!("{} cannot be used", path.display()))?;
    ensure!(
        body.len() == wanted,
        "{} holds {} bytes of values where index.csv announces {wanted}; one of the two is of another version",
        path.display(),
        if raw.len() as u64 == limit { format!("more than {}", body.len()) } else { body.len().to_string() },
    );
    Ok(body.to_vec())
}

/// The values behind a header that says the wanted kind and shape.
fn parse<'a>(raw: &'a [u8], kind: &str, shape: &[usize]) -> Result<&'a [u8]> {
    let Some(rest) = raw.strip_prefix(b"\x93NUMPY") else { bail!("it is not a .npy array") };
    let [major, _, low, high, rest @ ..] = rest else { bail!("its header is cut off") };
    ensure!(*major == 1, "its .npy version is {major}; save it with version 1");
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    ensure!(length <= HEADER_MAX, "its header of {length} bytes is too long");
    let (header, values) = rest.split_at_checked(length).context("its header is cut off")?;
    let header = std::str::from_utf8(header).context("its header is not text")?;
    let found = entry(header, "descr").context("its header does not name a type")?;
    ensure!(found == format!("'{kind}'"), "its values are {found}, not '{kind}'; convert them");
    let order = entry(header, "fortran_order").context("its header does not name an order")?;
    ensure!(order == "False", "its last axis is not the fastest; save it in C order");
    let found = entry(header, "shape").context("its header does not name a shape")?;
    let sizes: Option<Vec<usize>> =
        found.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().ok()).collect();
    ensure!(
        sizes.as_deref() == Some(shape),
        "its shape is ({found}) where index.csv announces {shape:?}; one of the two is of another version"
    );
    Ok(values)
}

/// The text of one entry of the header's dictionary: up to the next comma, or what is between parentheses.
fn entry<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("'{key}'");
    let rest = header.get(header.find(&quoted)? + quoted.len()..)?.trim_start().strip_prefix(':')?.trim_start();
    match rest.strip_prefix('(') {
        Some(inside) => inside.split_once(')').map(|(shape, _)| shape),
        None => rest.split([',', '}']).next().map(str::trim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(header: &str, values: &[u8]) -> Vec<u8> {
        let mut raw = b"\x93NUMPY\x01\x00".to_vec();
        raw.extend((header.len() as u16).to_le_bytes());
        raw.extend(header.as_bytes());
        raw.extend(values);
        raw
    }

    fn written(raw: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), zstd::encode_all(raw, 1).unwrap()).unwrap();
        file
    }

    const GOOD: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n";

    #[test]
    fn what_numpy_writes_is_read() {
        let values: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let file = written(&array(GOOD, &values));
        assert_eq!(floats(file.path(), &[2, 3]).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let labels = written(&array("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }\n", &[0, 1, 1, 0]));
        assert_eq!(bytes(labels.path(), &[4]).unwrap(), [0, 1, 1, 0]);
    }

    #[test]
    fn every_bad_file_is_refused_with_its_reason() {
        let values = [0_u8; 24];
        let cases: [(Vec<u8>, &str); 9] = [
            (b"hello".to_vec(), "not a .npy array"),
            (b"\x93NUMPY\x01".to_vec(), "header is cut off"),
            (b"\x93NUMPY\x01\x00\xff\x00{".to_vec(), "header is cut off"),
            (
                array(GOOD, &values).iter().enumerate().map(|(i, b)| if i == 6 { 3 } else { *b }).collect(),
                "version is 3",
            ),
            (array(&GOOD.replace("<f4", "<f8"), &values), "values are '<f8'"),
            (array(&GOOD.replace("False", "True"), &values), "C order"),
            (array(&GOOD.replace("(2, 3)", "(3, 2)"), &values), "shape is (3, 2)"),
            (array(GOOD, &values[..20]), "holds 20 bytes"),
            (array(GOOD, &[0; 9000]), "holds more than"),
        ];
        for (raw, reason) in cases {
            let file = written(&raw);
            let error = format!("{:#}", floats(file.path(), &[2, 3]).unwrap_err());
            assert!(error.contains(reason), "{error:?} does not say {reason:?}");
        }
        let plain = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(plain.path(), b"not compressed").unwrap();
        assert!(format!("{:#}", floats(plain.path(), &[1]).unwrap_err()).contains("not a whole zstd file"));
        assert!(format!("{:#}", bytes(Path::new("/nowhere/x"), &[1]).unwrap_err()).contains("cannot open /nowhere/x"));
    }
}
