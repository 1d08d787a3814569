//! Recordings of real hosts at 1 Hz with injected faults. They may not be copied into the repository: `TACIT_DATA` names
//! the folder that has them, and without it this test says so and stops.

use std::path::{Path, PathBuf};

use crate::simulated::detector;

/// The body of an array file.
fn body(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let bytes = zstd::decode_all(file).expect("zstd");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..].to_vec()
}

/// Area under the ROC curve of scores with labels.
fn auc(scored: &[(f32, bool)]) -> f64 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut normal, mut wins, mut faults) = (0.0, 0.0, 0.0);
    for (_, fault) in sorted {
        if fault {
            faults += 1.0;
            wins += normal;
        } else {
            normal += 1.0;
        }
    }
    wins / (faults * normal)
}

#[test]
fn it_beats_a_plain_z_score_on_recorded_hosts() {
    let Some(root) = std::env::var_os("TACIT_DATA").map(PathBuf::from) else {
        println!("not run: TACIT_DATA is not set");
        return;
    };
    let folder = root.join("detection/EXI");
    let (mut ours, mut plain) = (0.0, 0.0);
    for name in ["1_0_100000_16-n7", "5_0_100000_37-n7", "6_0_50000_48-n5"] {
        let labels = body(&folder.join(format!("{name}.y.npy.zst")));
        let points = labels.len();
        let values: Vec<f32> = body(&folder.join(format!("{name}.X.npy.zst")))
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let (series, fit) = (values.len() / points, points * 2 / 5);
        let scales: Vec<(f32, f32)> = values.chunks_exact(points).map(|x| scale(&x[..fit])).collect();
        let mut d = detector(series, 1000, 24.0);
        let (mut by_us, mut by_z) = (Vec::new(), Vec::new());
        for t in 0..points {
            let row: Vec<f32> = (0..series).map(|s| values[s * points + t]).collect();
            let step = d.step(&row, t as u64 * 1000, t as i64 * 1000);
            if d.refit_due() {
                d.refit().expect("loads");
            }
            if t >= fit {
                by_us.push((step.score, labels[t] != 0));
                by_z.push((mean_z(&row, &scales), labels[t] != 0));
            }
        }
        println!("{name}: {:.3}, plain z {:.3}", auc(&by_us), auc(&by_z));
        (ours, plain) = (ours + auc(&by_us) / 3.0, plain + auc(&by_z) / 3.0);
    }
    assert!(ours > plain + 0.02, "{ours:.3} against {plain:.3} of a plain z-score");
}

/// Mean and standard deviation.
fn scale(x: &[f32]) -> (f32, f32) {
    let mean = x.iter().sum::<f32>() / x.len() as f32;
    (mean, (x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / x.len() as f32).sqrt())
}

/// Mean over series of the absolute deviation in training standard deviations.
fn mean_z(row: &[f32], scales: &[(f32, f32)]) -> f32 {
    let z = row.iter().zip(scales).map(
        |(x, (mean, deviation))| {
            if *deviation > 0.0 { ((x - mean) / deviation).abs().min(10.0) } else { 0.0 }
        },
    );
    z.sum::<f32>() / row.len() as f32
}
