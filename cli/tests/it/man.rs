//! `tacit man`: what packages install beside the programs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn man(folder: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tacit")).arg("man").arg(folder).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_command_has_a_page_and_hidden_ones_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let (good, said) = man(&folder.path().join("made"));
    assert!(good, "{said}");
    let pages = names(&folder.path().join("made/man"));
    for page in ["tacit", "tacit-status", "tacit-incident-show", "tacit-agent", "tacit-agent-run", "tacit-collector"] {
        assert!(pages.contains(&format!("{page}.1")), "{page}: {pages:?}");
    }
    for hidden in ["help", "model-trial", "try-fault", "tacit-man"] {
        assert!(!pages.iter().any(|p| p.contains(hidden)), "{hidden}: {pages:?}");
    }
    for page in &pages {
        let text = std::fs::read_to_string(folder.path().join("made/man").join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let doctor = std::fs::read_to_string(folder.path().join("made/man/tacit-agent-doctor.1")).unwrap();
    assert!(doctor.contains("what is absent and why"), "{doctor}");
    for (shell, name) in [("bash", "tacit-agent.bash"), ("fish", "tacit.fish"), ("zsh", "_tacit-collector")] {
        let files = names(&folder.path().join("made/completions").join(shell));
        assert_eq!(files.len(), 3, "{shell}: {files:?}");
        let text = std::fs::read_to_string(folder.path().join("made/completions").join(shell).join(name)).unwrap();
        assert!(text.contains(name.trim_start_matches('_').split('.').next().unwrap()), "{name}: {text}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let (good, said) = man(&file.join("below"));
    assert!(!good && said.contains("cannot make") && said.contains("file/below"), "{said}");
}
