//! A collector of its own for a test, asked with the `tacit` program.

use std::process::Command;

use tacit_collector::Collector;
use tacit_collector::access::{password, token};
use tacit_collector::config::Config;
use tacit_collector::ingest::Taken;
use tacit_collector::store::{ApiToken, Role, User};
use tacit_wire::codec::{Encoding, Message, encode};
use tokio::runtime::Runtime;

pub struct Office {
    runtime: Runtime,
    collector: Collector,
    url: String,
    _folder: tempfile::TempDir,
}

impl Office {
    pub fn open() -> Self {
        Self::with(Config::default())
    }

    /// One that is set up like this, but for where it keeps things and where it listens.
    pub fn with(mut config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        config.data_dir = folder.path().join("data");
        config.mqtt.listen.set_port(0);
        config.http.listen.set_port(0);
        // Tests ask nobody's resolver.
        config.map.reverse_dns = false;
        let collector = runtime.block_on(Collector::start(&config)).unwrap();
        let url = format!("http://{}", collector.http_address());
        Self { runtime, collector, url, _folder: folder }
    }

    /// Runs the program as `ana`: whether it was good, what it printed, and what it complained of.
    pub fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        self.run_with("", arguments)
    }

    /// The same with a token in the environment.
    pub fn run_with(&self, token: &str, arguments: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tacit"));
        command.args(arguments).args(["--collector", &self.url]).env("RUST_BACKTRACE", "0").env("USER", "ana");
        let output = command.env("TACIT_TOKEN", token).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// Whether it was good, and what it printed then, or else what it complained of.
    pub fn tacit(&self, arguments: &[&str]) -> (bool, String) {
        let (good, said, why) = self.run(arguments);
        (good, if good { said } else { why })
    }

    /// What the program prints when it does what it is asked.
    pub fn said(&self, arguments: &[&str]) -> String {
        let (good, text) = self.tacit(arguments);
        assert!(good, "{arguments:?}: {text}");
        text
    }

    /// What it says when it refuses.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let (good, text) = self.tacit(arguments);
        assert!(!good, "{arguments:?}: {text}");
        text
    }

    /// Makes the first admin, `root`, as on the collector's machine, and a token of theirs.
    pub fn admin_token(&self) -> String {
        let fresh = token::make().unwrap();
        let user = User {
            name: "root".into(),
            role: Role::Admin,
            password_hash: password::hash("correct horse").unwrap(),
            created_ms: 1,
            disabled_ms: None,
        };
        let made = ApiToken {
            id: fresh.id,
            name: "root's own".into(),
            role: Role::Admin,
            made_by: Some("root".into()),
            created_ms: 1,
            expires_ms: None,
            revoked_ms: None,
            last_used_ms: None,
        };
        let store = self.collector.store();
        self.runtime.block_on(store.add_user(user)).unwrap();
        self.runtime.block_on(store.add_token(made, fresh.secret_hash)).unwrap();
        fresh.text
    }

    /// A node says something.
    pub fn hear(&self, node: &str, what: &str, message: &impl Message) {
        let payload = encode(message, Encoding::Cbor).unwrap();
        let topic = format!("tacit/1/default/u/{node}/{what}");
        assert_eq!(self.runtime.block_on(self.collector.ingest().take(&topic, &payload, node)), Taken::Done);
    }

    pub fn close(self) {
        self.runtime.block_on(self.collector.stop());
    }
}
