//! Every bad configuration gets a message with line, key and what is allowed.

use std::path::Path;

use tacit_agent::config::Config;

#[test]
fn bad_configurations_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-configs");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "only {} bad configurations found", files.len());
    let mut differences = String::new();
    for path in files {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let error = Config::load(&path).expect_err(&name).to_string();
        let folder = format!("{}/", folder.display());
        let got = error.replace(&folder, "");
        let expected_path = path.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected_path, format!("{got}\n")).expect("the folder is writable");
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if expected.trim_end() != got {
            differences.push_str(&format!("{name}\n  expected: {}\n  got:      {got}\n", expected.trim_end()));
        }
        assert!(got.contains(": line "), "{name}: no line in {got:?}");
    }
    assert!(differences.is_empty(), "UPDATE_EXPECTED=1 writes the files anew:\n{differences}");
}
