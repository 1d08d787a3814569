//! A model made elsewhere, from its package to the running agent: the real program, and a broken package beside a good one.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tacit_models::Manifest;
use tacit_models::import::{self, Program, TrialLimits};

const AGENT: &str = env!("CARGO_BIN_EXE_tacit-agent");

/// Writes the package of an example, made in a child of the agent's own program.
fn package(folder: &Path, name: &str) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/examples");
    let text = std::fs::read_to_string(examples.join(format!("{name}.toml"))).expect("an example");
    let manifest = Manifest::parse(&text).expect("its manifest");
    let bytes = std::fs::read(examples.join(format!("{name}.onnx"))).expect("its model");
    let program = Program { path: AGENT.into(), arguments: vec!["model-trial".into()] };
    let (package, _) =
        import::import(&bytes, &manifest, &program, TrialLimits::new(48 << 20)).expect("it passes its trial");
    package.write_folder(folder).expect("a folder");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_good_package_judges_and_a_changed_one_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    package(&path("good"), "isolation-forest");
    package(&path("changed"), "autoencoder");
    let model = path("changed").join("model.onnx");
    let mut bytes = std::fs::read(&model).expect("the model");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    std::fs::write(&model, bytes).expect("the folder is ours");
    let config = format!(
        "[publish]\nbroker = \"mqtt://127.0.0.1:1\"\n[[model]]\npath = {:?}\n[[model]]\npath = {:?}\n",
        path("changed"),
        path("good")
    );
    std::fs::write(path("agent.toml"), config).expect("a file");
    let mut agent = Running(
        Command::new(AGENT)
            .arg("run")
            .arg("--config")
            .arg(path("agent.toml"))
            .arg("--data")
            .arg(path("data"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent starts"),
    );
    let lines = BufReader::new(agent.0.stderr.take().expect("it is piped")).lines();
    let (mut passed, mut refused) = (false, false);
    let began = Instant::now();
    for line in lines.map_while(Result::ok) {
        refused |= line.contains("changed is not used") && line.contains("model.onnx was changed");
        passed |= line.contains("A model passed its trial.") && line.contains("isolation-forest");
        if passed && refused {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "passed: {passed}, refused: {refused}");
    }
    panic!("the agent ended; passed: {passed}, refused: {refused}");
}
