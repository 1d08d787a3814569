//! `tacit change` against a collector.

use std::process::Command;

use tacit_collector::Collector;
use tacit_collector::config::Config;

fn tacit(arguments: &[&str], collector: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit"));
    command.args(arguments).args(["--collector", collector]).env("RUST_BACKTRACE", "0").env("USER", "ana");
    let output = command.output().unwrap();
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.success(), String::from_utf8_lossy(text).into_owned())
}

#[test]
fn a_change_is_announced() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.mqtt.listen.set_port(0);
    config.http.listen.set_port(0);
    // Tests ask nobody's resolver.
    config.map.reverse_dns = false;
    let collector = runtime.block_on(Collector::start(&config)).unwrap();
    let url = format!("http://{}", collector.http_address());

    let (good, said) = tacit(&["change", "deploy api\u{1b}[2J 1.2.3", "--at", "10min"], &url);
    assert!(good && said.starts_with("fleet: deploy api\u{fffd}[2J 1.2.3 (2") && said.ends_with(" UTC)\n"), "{said}");
    let named = ["change", "rotate keys", "--kind", "config", "--site", "lab", "--id", "7", "--json"];
    let event = |said: &str| serde_json::from_str::<serde_json::Value>(said).unwrap()["changes"][0].clone();
    let (first, again) = (event(&tacit(&named, &url).1), event(&tacit(&named, &url).1));
    assert_eq!(first["event"]["event"], again["event"]["event"], "the same change");
    assert_eq!(
        (&first["outside"]["entity"], &first["outside"]["labels"]["actor"]),
        (&"site:lab".into(), &"ana".into())
    );
    for (arguments, words) in [
        (["change", "x", "--service", "web-9/api"], "no node is called \"web-9\""),
        (["change", "x", "--at", "someday"], "\"someday\" is no time"),
        (["change", " ", "--site", "lab"], "what has 1 to 2000 bytes (say what was done: deploy api 1.2.3)"),
    ] {
        let (good, said) = tacit(&arguments, &url);
        assert!(!good && said.contains(words), "{arguments:?}: {said}");
    }
    runtime.block_on(collector.stop());
}
