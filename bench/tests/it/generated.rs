//! `detect` over a small folder with an obvious fault, through the program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::folder::{FAULT, POINTS, TRAIN_END, path, toy, write_array};

fn detect(data: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit-bench"));
    command.arg("detect").arg("--data").arg(data).args(more).output().expect("the program starts")
}

fn json(data: &Path, more: &[&str]) -> Value {
    let output = detect(data, &[more, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn refusal(data: &Path, more: &[&str]) -> String {
    let output = detect(data, more);
    assert!(!output.status.success(), "it was accepted: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_detector_finds_an_obvious_fault() {
    let folder = toy();
    for detector in ["ours", "netdata", "netdata-uncut", "pca"] {
        let report = json(folder.path(), &["--detector", detector]);
        let row = &report["sources"][0];
        assert_eq!((&report["detector"], &row["source"], &row["series"]), (&detector.into(), &"TOY".into(), &2.into()));
        assert_eq!((&row["events"], row["by_series"].as_array().unwrap().len()), (&2.into(), 2));
        assert_eq!(row["recall_at_1"], 1.0, "{detector}");
        assert!(row["auc_roc"].as_f64().unwrap() > 0.5, "{detector}: {}", row["auc_roc"]);
        assert!(row["nab"].is_null(), "NAB's score is for NAB");
    }
}

#[test]
fn our_detector_keeps_its_promise_and_names_the_cause() {
    let folder = toy();
    let report = json(folder.path(), &["--ask", "2", "--source", "TOY"]);
    let row = &report["sources"][0];
    assert_eq!(report["asked_per_day"], 2.0);
    assert!(row["vus_pr"].as_f64().unwrap() > 0.5, "{}", row["vus_pr"]);
    let (own, attribution) = (&row["own_events"], &row["attribution"]);
    assert_eq!(own["recall"], 1.0, "{own}");
    assert!(own["got_per_day"].as_f64().unwrap() <= 2.0, "{own}");
    assert!(own["delay_s"].as_f64().unwrap() <= 600.0, "{own}");
    assert!(row["own_raised_per_day"].as_f64().unwrap() > 0.0);
    assert_eq!((&attribution["events"], &attribution["hit_rate_100"]), (&2.into(), &1.0.into()), "{attribution}");
    assert_eq!((&attribution["chance_100"], &attribution["chance_150"]), (&0.4.into(), &0.6.into()));
    assert!(row["cpu_us_per_value"].as_f64().unwrap() > 0.0 && row["state_bytes"].as_u64().unwrap() > 100);
}

#[test]
fn scores_are_written_for_all_points_before_a_label_is_read() {
    let (folder, out) = (toy(), tempfile::tempdir().expect("a folder"));
    write_array(&path(folder.path(), "two", "y"), "|u1", "(7,)", &[0; 7]);
    let error = refusal(folder.path(), &["--out", out.path().to_str().unwrap()]);
    assert!(error.contains("TOY/two") && error.contains("two.y.npy.zst") && error.contains("shape is (7,)"), "{error}");
    for kind in ["severity", "alarm"] {
        let bytes = fs::read(out.path().join(format!("TOY/two.{kind}.f32"))).expect("it was written");
        let scores: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!((scores.len(), bytes.len()), (POINTS, 4 * POINTS));
        assert!(scores.iter().all(|s| s.is_finite()));
        let highest = (TRAIN_END..POINTS).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap();
        // Means of twenty points look back: the highest may come as much later.
        assert!((FAULT.start..FAULT.end + 20).contains(&highest), "{kind}: the highest is at {highest}");
    }
}

#[test]
fn the_table_has_a_row_for_each_source() {
    let folder = toy();
    let output = detect(folder.path(), &["--detector", "pca"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 3, "{text}");
    assert!(rows[0].contains("VUS-PR") && rows[2].contains("TOY"), "{text}");
    assert!(rows.iter().all(|row| row.chars().count() == rows[0].chars().count()), "{text}");
    assert!(output.stderr.is_empty(), "progress belongs on a terminal: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_bad_folder_is_refused_in_plain_words() {
    let empty = tempfile::tempdir().expect("a folder");
    let error = refusal(empty.path(), &[]);
    assert!(error.contains("index.csv") && error.contains("--data"), "{error}");
    let folder = toy();
    for (arguments, reason) in [
        (["--source", "TOY,SMD"], "--source SMD"),
        (["--ask", "0"], "--ask 0"),
        (["--detector", "oracle"], "netdata-uncut"),
        (["--out", "/proc/nowhere"], "--out: cannot make"),
    ] {
        let error = refusal(folder.path(), &arguments);
        assert!(error.contains(reason), "{error:?} does not say {reason:?}");
    }
    fs::write(folder.path().join("TOY/one.dims.txt"), "800-700:1\n").unwrap();
    let error = refusal(folder.path(), &[]);
    assert!(error.contains("one.dims.txt:1"), "{error}");
    fs::write(path(folder.path(), "one", "X"), b"no array").unwrap();
    let error = refusal(folder.path(), &[]);
    assert!(error.contains("one.X.npy.zst is not a whole zstd file"), "{error}");
    fs::remove_file(path(folder.path(), "one", "X")).unwrap();
    let error = refusal(folder.path(), &[]);
    assert!(error.contains("cannot open") && error.contains("one.X.npy.zst"), "{error}");
}
