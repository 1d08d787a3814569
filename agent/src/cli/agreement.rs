//! `tacit-agent agreement`: whether this program computes on this processor what it computes on others.
//!
//! Kernels of the model's runtime are chosen by the processor, so a build is only known to be right where it ran. `cross/test.sh` runs this
//! under emulation; on a board it answers the same question (cross/README.md). It is hidden: there is nothing to configure by it.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use tacit_models::agreement::{self, Comparison, Recording, Scores};

use super::print;

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    comparison: Comparison,
    /// Whether a panic is caught.
    unwinds: bool,
}

/// Judges a recording and prints its scores, or compares them with known ones.
pub fn run(recording: &Path, against: Option<&Path>) -> anyhow::Result<()> {
    let values = Recording::parse(&read(recording)?).with_context(|| recording.display().to_string())?;
    let scores = agreement::judge(&values).with_context(|| recording.display().to_string())?;
    let Some(against) = against else {
        print(&(serde_json::to_string(&scores)? + "\n"));
        return Ok(());
    };
    let known: Scores = serde_json::from_str(&read(against)?)
        .with_context(|| format!("{} holds no scores as `agreement` prints them", against.display()))?;
    let report = Report { comparison: agreement::compare(&scores, &known), unwinds: agreement::unwinds() };
    print(&(serde_json::to_string_pretty(&report)? + "\n"));
    anyhow::ensure!(report.unwinds, "a panic is not caught: this program was built without what unwinding needs");
    let beyond = &report.comparison.beyond;
    anyhow::ensure!(report.comparison.agrees, "{} holds other scores: {}", against.display(), beyond.join("; "));
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Two series, one that swings and one that jumps about, long enough for a first model.
    fn recording() -> String {
        let line = |at: u32| format!("{}.5,{}\n", at % 7, (at * 7919) % 101);
        "a,b\n".to_owned() + &(0..200).map(line).collect::<String>()
    }

    #[test]
    fn scores_agree_with_themselves_and_not_with_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        fs::write(file("recording.csv"), recording()).expect("a file");
        run(&file("recording.csv"), None).expect("it is judged");
        let values = Recording::parse(&recording()).expect("a recording");
        let mut scores = agreement::judge(&values).expect("it is judged");
        fs::write(file("scores.json"), serde_json::to_string(&scores).expect("plain values")).expect("a file");
        run(&file("recording.csv"), Some(&file("scores.json"))).expect("they are the same");

        let last = scores.runs[0].points.last_mut().expect("points were judged");
        last.values[0] += 0.01;
        fs::write(file("scores.json"), serde_json::to_string(&scores).expect("plain values")).expect("a file");
        let error = run(&file("recording.csv"), Some(&file("scores.json"))).expect_err("one differs");
        assert!(format!("{error:#}").contains("score is "), "{error:#}");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("recording.csv");
        let says = |against: Option<&Path>| format!("{:#}", run(&file, against).expect_err("it is wrong"));
        assert!(says(None).contains("recording.csv"));
        fs::write(&file, "a,b\n1\n").expect("a file");
        assert!(says(None).contains("recording.csv") && says(None).contains("line 2"));
        fs::write(&file, recording()).expect("a file");
        assert!(says(Some(&file)).contains("holds no scores"));
    }
}
