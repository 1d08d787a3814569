//! `detect` over two recorded series. The recordings may not be copied into the repository: `TACIT_DATA` names the folder
//! that has them. Without it this test says so and stops; in CI it fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tacit_bench::detect::detectors::Detector;
use tacit_bench::detect::result::SourceRow;
use tacit_bench::detect::{Options, evaluate};

/// Six weeks of an application server at five minutes, and a Linux host at one second with injected faults.
const SLICE: [&str; 2] = ["ASD,omi-9,", "EXI,6_0_50000_48-n5,"];

/// A folder with only these two series, and what belongs to them.
fn slice(recordings: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for source in ["ASD", "EXI", "EXQ"] {
        symlink(recordings.join(source), folder.path().join(source)).expect("the folder takes files");
    }
    let index = fs::read_to_string(recordings.join("index.csv")).expect("the recordings have an index");
    let mut lines = index.lines();
    let mut cut = vec![lines.next().expect("a first line")];
    cut.extend(lines.filter(|line| SLICE.iter().any(|start| line.starts_with(start))));
    assert_eq!(cut.len(), 3, "the index has both series");
    fs::write(folder.path().join("index.csv"), cut.join("\n")).expect("the folder takes files");
    folder
}

/// VUS-PR of the reference implementation of `pca` on these series.
const PCA_ASD: f64 = 0.674_977_9;
const PCA_EXI: f64 = 0.948_709_4;

fn rows(data: &Path, detector: Detector) -> Vec<SourceRow> {
    let options = Options { data: data.to_owned(), source: Vec::new(), detector, out: None, ask: 1.0, json: false };
    let report = evaluate(&options).expect("the slice is complete");
    println!("{}", report.table());
    assert_eq!(report.sources.iter().map(|s| s.source.as_str()).collect::<Vec<_>>(), ["ASD", "EXI"]);
    report.sources
}

#[test]
fn recorded_hosts_are_judged() {
    let Some(root) = std::env::var_os("TACIT_DATA").map(PathBuf::from) else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "TACIT_DATA must name the recordings in CI");
        println!("not run: TACIT_DATA is not set");
        return;
    };
    let folder = slice(&root.join("detection"));
    for (row, volume) in rows(folder.path(), Detector::Pca).iter().zip([PCA_ASD, PCA_EXI]) {
        let found = row.vus_pr.expect("there are events");
        assert!((found - volume).abs() < 1e-5, "{}: {found} where the reference has {volume}", row.source);
    }
    for row in rows(folder.path(), Detector::Ours) {
        let (found, chance) = (row.auc_roc.expect("there are events"), 0.5);
        assert!(found > chance + 0.1, "{}: AUC-ROC {found}", row.source);
        let attribution = row.attribution.expect("the causes are known");
        assert!(attribution.events > 6 && attribution.chance_100 < 1.0, "{attribution:?}");
        assert!(attribution.hit_rate_100 > attribution.chance_100, "{}: {attribution:?}", row.source);
        assert!(row.own_events.is_some() && row.asked.worst_per_day >= row.asked.got_per_day);
    }
}
