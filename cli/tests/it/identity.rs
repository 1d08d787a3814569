//! `tacit ca` on a folder, and `tacit node` against a collector with TLS.

use std::process::Command;

use tacit_collector::Collector;
use tacit_collector::config::Config;
use tacit_collector::store::{EnrollOutcome, NodeKey};
use tokio::runtime::Runtime;

/// Runs the program: whether it was good, what it printed, and what it complained of.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit"));
    command.args(arguments).env("RUST_BACKTRACE", "0").env("TACIT_TOKEN", "");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// What it prints when it does what it is asked.
fn said(arguments: &[&str]) -> String {
    let (good, said, why) = run(arguments);
    assert!(good, "{arguments:?}: {why}");
    said
}

/// What it says when it refuses.
fn refused(arguments: &[&str]) -> String {
    let (good, said, why) = run(arguments);
    assert!(!good, "{arguments:?}: {said}");
    why
}

/// A collector with TLS whose authority the program made.
struct Fort {
    runtime: Runtime,
    collector: Collector,
    roots: String,
    folder: tempfile::TempDir,
}

impl Fort {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap();
        said(&["ca", "init", "--data", data]);
        let roots = folder.path().join("roots.pem");
        std::fs::write(&roots, said(&["ca", "show", "--pem", "--data", data])).unwrap();
        let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        config.mqtt.listen.set_port(0);
        config.http.listen.set_port(0);
        config.map.reverse_dns = false;
        config.tls.enabled = true;
        let collector = runtime.block_on(Collector::start(&config)).unwrap();
        Self { runtime, collector, roots: roots.to_str().unwrap().to_owned(), folder }
    }

    fn with<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let place = ["--collector", self.collector.console(), "--ca-file", self.roots.as_str()];
        arguments.iter().copied().chain(place).collect()
    }

    fn said(&self, arguments: &[&str]) -> String {
        said(&self.with(arguments))
    }

    fn refused(&self, arguments: &[&str]) -> String {
        refused(&self.with(arguments))
    }

    /// A node enrols with a token.
    fn enrol(&self, token: &str, name: &str) {
        let id = token.split('.').nth(1).unwrap();
        let node = NodeKey {
            node: name.parse().unwrap(),
            site: "lab".parse().unwrap(),
            key: [1; 32],
            serial: "01".into(),
            not_after_ms: i64::MAX,
            enrolled_ms: 1,
            revoked_ms: None,
            reason: None,
        };
        let outcome = self.runtime.block_on(self.collector.store().enroll(id, node, 1)).unwrap();
        assert_eq!(outcome, EnrollOutcome::Done { replaced: false });
    }

    fn close(self) {
        self.runtime.block_on(self.collector.stop());
    }
}

#[test]
fn an_authority_is_made_turned_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    assert!(refused(&["ca", "show", "--data", data]).contains("`tacit ca init` makes one"));
    let made = said(&["ca", "init", "--data", data]);
    assert!(made.contains("its pin is ") && made.contains("Keep a copy of "), "{made}");
    assert!(refused(&["ca", "init", "--data", data]).contains("there is a certificate authority in"));
    assert!(refused(&["ca", "retire", "--data", data]).contains("there is one root only"));
    said(&["ca", "rotate", "--data", data]);
    assert!(said(&["ca", "show", "--data", data]).contains("is trusted until `tacit ca retire`"));
    let pem = said(&["ca", "show", "--pem", "--data", data]);
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(!pem.contains("PRIVATE"), "no key leaves the folder");
    assert!(said(&["ca", "retire", "--data", data]).starts_with("Only Tacit root "));
    // The folder of a configuration.
    let config = folder.path().join("collector.toml");
    std::fs::write(&config, format!("data_dir = {data:?}\n")).unwrap();
    assert_eq!(said(&["ca", "show", "--config", config.to_str().unwrap()]), said(&["ca", "show", "--data", data]));
    let nowhere = folder.path().join("nowhere");
    let why = refused(&["ca", "init", "--data", nowhere.to_str().unwrap()]);
    assert!(why.contains("there is no data folder"), "{why}");
}

#[test]
fn tokens_and_nodes_over_https() {
    let fort = Fort::open();
    assert!(fort.said(&["status"]).starts_with("All quiet."));
    assert!(fort.said(&["node", "tokens"]).starts_with("There is no token to enrol with"));
    assert!(fort.said(&["node", "identities"]).starts_with("No node is enrolled"));
    let text = fort.said(&["node", "token", "--site", "lab", "--uses", "2", "--ttl", "2h"]);
    let token = text.trim_end();
    assert!(token.starts_with("tacit1.") && token.lines().count() == 1, "{text}");
    let id = token.split('.').nth(1).unwrap();
    fort.enrol(token, "web-1");
    let list = fort.said(&["node", "tokens"]);
    let row = list.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(row.contains("lab") && row.contains("(in 1 h)") && !list.contains(token), "{list}");
    assert_eq!(fort.said(&["node", "token-revoke", id]), format!("Token {id} is over.\n"));
    assert!(fort.refused(&["node", "token-revoke", id]).contains("revoked already"));
    assert!(fort.said(&["node", "tokens"]).contains("revoked "));
    assert!(fort.refused(&["node", "token", "--site", "La b"]).contains("is not valid"));
    assert!(fort.refused(&["node", "token", "--site", "lab", "--uses", "0"]).contains("1 to 100000 nodes"));

    assert!(fort.said(&["node", "identities"]).lines().any(|line| line.starts_with("web-1  lab")));
    let revoked = fort.said(&["node", "revoke", "web-1", "--reason", "stolen"]);
    assert!(revoked.starts_with("Node web-1 is revoked"), "{revoked}");
    assert!(fort.said(&["node", "identities"]).contains(": stolen"));
    assert!(fort.refused(&["node", "revoke", "web-9", "--reason", "who"]).contains("does not exist"));
    assert!(fort.refused(&["node", "revoke", "a/b", "--reason", "who"]).contains("is no name of a node"));

    // Without the roots nobody is trusted, and the way out is said.
    let why = refused(&["status", "--collector", fort.collector.console()]);
    assert!(why.contains("--ca-file") && why.contains("tacit ca show --pem"), "{why}");
    let nothing = fort.folder.path().join("nothing.pem");
    std::fs::write(&nothing, "nothing").unwrap();
    let why = refused(&["status", "--ca-file", nothing.to_str().unwrap()]);
    assert!(why.contains("holds no certificate"), "{why}");
    fort.close();
}

#[test]
fn tail_over_tls_needs_roots_and_somebody() {
    let fort = Fort::open();
    let broker = format!("mqtts://{}", fort.collector.mqtt_address().unwrap());
    let why = refused(&["tail", "--broker", &broker]);
    assert!(why.contains("mqtts:// needs --ca-file"), "{why}");
    let why = refused(&["tail", "--broker", &broker, "--ca-file", &fort.roots]);
    assert!(why.contains("BadUserNamePassword"), "{why}");
    let why = refused(&["tail", "--broker", "tcp://127.0.0.1:1"]);
    assert!(why.contains("expected mqtt://HOST:PORT or mqtts://HOST:PORT"), "{why}");
    fort.close();
}
