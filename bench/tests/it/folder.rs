//! A small data folder made for a test.

use std::fs;
use std::path::{Path, PathBuf};

/// Points of a series, where its part for learning ends, and its fault.
pub const POINTS: usize = 4000;
pub const TRAIN_END: usize = 2400;
pub const FAULT: std::ops::Range<usize> = 3200..3260;
pub const METRICS: usize = 5;

/// A folder with source `TOY`: two hosts of five noisy metrics at one point a minute; in the fault two metrics jump.
pub fn toy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut index = "source,name,T,D,train_end,period_s,vus_window\n".to_owned();
    for (name, seed) in [("one", 1), ("two", 2)] {
        index.push_str(&format!("TOY,{name},{POINTS},{METRICS},{TRAIN_END},60,20\n"));
        let mut noise = fastrand::Rng::with_seed(seed);
        let value = |metric: usize, t: usize, noise: &mut fastrand::Rng| {
            let fault = FAULT.contains(&t) && (1..=2).contains(&metric);
            noise.f32() + noise.f32() + metric as f32 * 10.0 + if fault { 6.0 } else { 0.0 }
        };
        let values: Vec<f32> =
            (0..METRICS).flat_map(|m| (0..POINTS).map(move |t| (m, t))).map(|(m, t)| value(m, t, &mut noise)).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let labels: Vec<u8> = (0..POINTS).map(|t| u8::from(FAULT.contains(&t))).collect();
        write_array(&path(folder.path(), name, "X"), "<f4", &format!("({METRICS}, {POINTS})"), &bytes);
        write_array(&path(folder.path(), name, "y"), "|u1", &format!("({POINTS},)"), &labels);
        let causes = format!("{}-{}:2,3\n", FAULT.start - TRAIN_END, FAULT.end - 1 - TRAIN_END);
        fs::write(folder.path().join(format!("TOY/{name}.dims.txt")), causes).expect("the folder takes files");
    }
    fs::write(folder.path().join("index.csv"), index).expect("the folder takes files");
    folder
}

/// Where an array of a series is.
pub fn path(folder: &Path, name: &str, kind: &str) -> PathBuf {
    folder.join(format!("TOY/{name}.{kind}.npy.zst"))
}

/// Writes an array as NumPy and zstd do.
pub fn write_array(path: &Path, kind: &str, shape: &str, values: &[u8]) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut raw = b"\x93NUMPY\x01\x00".to_vec();
    raw.extend((header.len() as u16).to_le_bytes());
    raw.extend(header.as_bytes());
    raw.extend(values);
    fs::create_dir_all(path.parent().expect("a folder above")).expect("the folder takes files");
    fs::write(path, zstd::encode_all(raw.as_slice(), 1).expect("memory")).expect("the folder takes files");
}
