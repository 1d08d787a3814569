//! A model package: three files with their digests, in a folder or as one `.tacitmodel`.
//!
//! ```text
//! folder         manifest.toml  model.onnx  golden.cbor  SHA256SUMS   (checked by `sha256sum -c SHA256SUMS`)
//! .tacitmodel    zstd( CBOR map { "tacit-model": 1, "parts": { name: [sha256, bytes] } } ), names in order
//! ```
//! The digest of a package is the SHA-256 of its SHA256SUMS. The same parts give the same bytes.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::golden::GoldenSet;
use crate::manifest::{Manifest, ManifestError};
use crate::runtime::MAX_MODEL_BYTES;

/// Name of the manifest in a package.
pub const MANIFEST: &str = "manifest.toml";
/// Name of the graph.
pub const MODEL: &str = "model.onnx";
/// Name of the golden set.
pub const GOLDEN: &str = "golden.cbor";
/// Name of the list of digests in a folder.
pub const SUMS: &str = "SHA256SUMS";

/// Ending of a package in one file.
pub const ENDING: &str = "tacitmodel";

/// Every part, in order, with its largest size.
const PARTS: [(&str, usize); 3] = [(GOLDEN, 2 << 20), (MANIFEST, 64 << 10), (MODEL, MAX_MODEL_BYTES)];
/// Largest package once unpacked: all parts and what surrounds them.
const MAX_UNPACKED: u64 = (MAX_MODEL_BYTES as u64) + (3 << 20);
const VERSION: u32 = 1;
/// Packing is done once, unpacking often.
const ZSTD_LEVEL: i32 = 19;

/// Why a package cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The disk said no.
    #[error("cannot {doing} {path}")]
    Io {
        /// "read" or "write".
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A part that is missing, too large or not known.
    #[error("{place}: {what}; a package has manifest.toml, model.onnx, golden.cbor and their digests")]
    Part {
        /// Which package or file.
        place: String,
        /// What is wrong with it.
        what: String,
    },
    /// A part that is not what its digest says.
    #[error("{part} was changed: its SHA-256 is {found}, the package says {expected}")]
    Digest {
        /// Which part.
        part: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// A package in memory, its digests checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// The manifest.
    pub manifest: Manifest,
    /// The golden set.
    pub golden: GoldenSet,
    parts: BTreeMap<&'static str, Vec<u8>>,
}

impl Package {
    /// Puts a package together.
    ///
    /// # Errors
    /// A manifest that cannot be written, or parts that are too large.
    pub fn new(manifest: &Manifest, model: Vec<u8>, golden: &GoldenSet) -> Result<Self, PackageError> {
        let part = |e: toml::ser::Error| PackageError::Part { place: MANIFEST.to_owned(), what: e.to_string() };
        let text = toml::to_string(manifest).map_err(part)?;
        Self::from_parts(BTreeMap::from([(MANIFEST, text.into_bytes()), (MODEL, model), (GOLDEN, golden.encode())]))
    }

    fn from_parts(parts: BTreeMap<&'static str, Vec<u8>>) -> Result<Self, PackageError> {
        for (name, most) in PARTS {
            let wrong = |what: String| PackageError::Part { place: name.to_owned(), what };
            let bytes = parts.get(name).ok_or_else(|| wrong("it is missing".to_owned()))?;
            if bytes.len() > most {
                return Err(wrong(format!("it has {} bytes, at most {most} are allowed", bytes.len())));
            }
        }
        let wrong = |place: &str, what: String| PackageError::Part { place: place.to_owned(), what };
        let text = std::str::from_utf8(&parts[MANIFEST]).map_err(|e| wrong(MANIFEST, e.to_string()))?;
        let manifest = Manifest::parse(text)?;
        let golden = GoldenSet::decode(&parts[GOLDEN]).map_err(|what| wrong(GOLDEN, what))?;
        if manifest.foreign.is_some() {
            return Err(wrong(
                MANIFEST,
                "it has a table `foreign`, which only a model has that is yet to be imported".into(),
            ));
        }
        Ok(Self { manifest, golden, parts })
    }

    /// The graph as bytes.
    #[must_use]
    pub fn model(&self) -> &[u8] {
        &self.parts[MODEL]
    }

    /// The parts with their sizes and digests, by name.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, usize, String)> {
        self.parts.iter().map(|(name, bytes)| (*name, bytes.len(), digest(bytes)))
    }

    /// The list of digests, as `sha256sum` writes it.
    #[must_use]
    pub fn sums(&self) -> String {
        self.parts().map(|(name, _, digest)| format!("{digest}  {name}\n")).collect()
    }

    /// The digest of the whole package.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(self.sums().as_bytes())
    }

    /// Reads a folder or a `.tacitmodel`.
    ///
    /// # Errors
    /// Not there, not a package, or changed.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        if path.is_dir() { Self::read_folder(path) } else { Self::decode(&read_file(path, MAX_UNPACKED)?) }
    }

    fn read_folder(folder: &Path) -> Result<Self, PackageError> {
        let sums = read_file(&folder.join(SUMS), 4096)?;
        let sums = String::from_utf8_lossy(&sums);
        let mut parts = BTreeMap::new();
        for (name, most) in PARTS {
            let bytes = read_file(&folder.join(name), most as u64)?;
            let expected = sums.lines().filter_map(|l| l.split_once("  ")).find(|(_, n)| *n == name).map(|(d, _)| d);
            check(name, &bytes, expected.unwrap_or("nothing"))?;
            parts.insert(name, bytes);
        }
        Self::from_parts(parts)
    }

    /// Writes the package into a folder, which is made.
    ///
    /// # Errors
    /// The disk said no.
    pub fn write_folder(&self, folder: &Path) -> Result<(), PackageError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PackageError::Io { doing: "write", path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let sums = self.sums().into_bytes();
        for (name, bytes) in self.parts.iter().chain([(&SUMS, &sums)]) {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// The package as one file.
    ///
    /// # Errors
    /// The compressor failed.
    pub fn encode(&self) -> Result<Vec<u8>, PackageError> {
        let mut e = minicbor::Encoder::new(Vec::new());
        let written = (|| {
            e.map(2)?.str("tacit-model")?.u32(VERSION)?.str("parts")?.map(self.parts.len() as u64)?;
            for (name, bytes) in &self.parts {
                e.str(name)?.array(2)?.bytes(&Sha256::digest(bytes))?.bytes(bytes)?;
            }
            Ok::<(), minicbor::encode::Error<std::convert::Infallible>>(())
        })();
        let wrong = |what: String| PackageError::Part { place: "the package".to_owned(), what };
        written.map_err(|e| wrong(e.to_string()))?;
        zstd::bulk::compress(&e.into_writer(), ZSTD_LEVEL).map_err(|e| wrong(e.to_string()))
    }

    /// Reads a package of one file.
    ///
    /// # Errors
    /// Not a package, too large, or changed.
    pub fn decode(bytes: &[u8]) -> Result<Self, PackageError> {
        let wrong = |what: String| PackageError::Part { place: "the package".to_owned(), what };
        let mut unpacked = Vec::new();
        // What it says of its own size is a stranger's word: stop at the most that is allowed.
        zstd::Decoder::new(bytes)
            .and_then(|d| d.take(MAX_UNPACKED + 1).read_to_end(&mut unpacked))
            .map_err(|e| wrong(format!("not a .{ENDING}: {e}")))?;
        if unpacked.len() as u64 > MAX_UNPACKED {
            return Err(wrong(format!("it unpacks to more than {MAX_UNPACKED} bytes")));
        }
        let mut parts = BTreeMap::new();
        for (name, expected, bytes) in decode_parts(&unpacked).map_err(|e| wrong(format!("not a .{ENDING}: {e}")))? {
            let Some((name, _)) = PARTS.iter().find(|(known, _)| *known == name) else {
                return Err(wrong(format!("an unknown part `{}`", name.escape_default())));
            };
            check(name, bytes, &hex(expected))?;
            if parts.insert(*name, bytes.to_vec()).is_some() {
                return Err(wrong(format!("`{name}` twice")));
            }
        }
        Self::from_parts(parts)
    }
}

type Part<'a> = (&'a str, &'a [u8], &'a [u8]);

fn decode_parts(bytes: &[u8]) -> Result<Vec<Part<'_>>, minicbor::decode::Error> {
    let wrong = minicbor::decode::Error::message;
    let mut d = minicbor::Decoder::new(bytes);
    if d.map()? != Some(2) || d.str()? != "tacit-model" {
        return Err(wrong("no such map"));
    }
    if d.u32()? != VERSION {
        return Err(wrong("a version that this program does not read"));
    }
    if d.str()? != "parts" {
        return Err(wrong("no parts"));
    }
    let count = d.map()?.filter(|n| *n <= PARTS.len() as u64).ok_or_else(|| wrong("too many parts"))?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let name = d.str()?;
        if d.array()? != Some(2) {
            return Err(wrong("a part is a digest and bytes"));
        }
        parts.push((name, d.bytes()?, d.bytes()?));
    }
    if d.position() == bytes.len() { Ok(parts) } else { Err(wrong("something behind the last part")) }
}

fn check(part: &str, bytes: &[u8], expected: &str) -> Result<(), PackageError> {
    let found = digest(bytes);
    if found == expected {
        return Ok(());
    }
    Err(PackageError::Digest { part: part.to_owned(), found, expected: expected.to_owned() })
}

/// SHA-256 in hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// Not there, or larger.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, PackageError> {
    let failed = |source| PackageError::Io { doing: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|f| f.take(most + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > most {
        let what = format!("it has more than the {most} bytes that are allowed");
        return Err(PackageError::Part { place: path.display().to_string(), what });
    }
    Ok(bytes)
}
