//! Enrolling and renewing: the program against a collector on loopback, and against whoever stands in its place.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tacit_agent::clock::{AHEAD, Tick};
use tacit_agent::config::{Config, PublishConfig};
use tacit_agent::identity::floor::Floor;
use tacit_agent::identity::key::Key;
use tacit_agent::identity::renew::{Pace, Renewal};
use tacit_agent::identity::store::{Enrolled, Given, Store};
use tacit_agent::publish::NetStatus;

use crate::pki::{Asked, Authority, JSON, LONG_AGO, Reply, collector, https, in_days, openssl, refusal};
use crate::publish::until;

const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I";

fn token(authority: &Authority) -> String {
    format!("tacit1.0a1b2c3d.{SECRET}.{}", authority.pin())
}

/// A machine that is to be enrolled: its configuration and its state.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("agent.toml"), "[node]\nsite = \"default\"\n").expect("a file");
        Self { folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn drop_in(&self) -> PathBuf {
        self.folder.path().join("agent.d/50-enrolled.toml")
    }

    fn store(&self) -> Store {
        Store::new(&self.state())
    }

    fn command(&self, url: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tacit-agent"));
        command.args(["enroll", "--collector", url, "--config"]).arg(self.config()).arg("--data").arg(self.state());
        command.args(more).env_remove("TACIT_LOG").env_remove("TACIT_ENROLL_TOKEN").stdin(Stdio::null());
        command
    }

    fn enroll(&self, port: u16, token: &str, more: &[&str]) -> Output {
        let file = self.folder.path().join("token");
        fs::write(&file, format!("{token}\n")).expect("a file");
        let mut command = self.command(&format!("https://127.0.0.1:{port}"), more);
        command.arg("--token-file").arg(&file).output().expect("the program can be started")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

/// It failed with this code and these words, showed no secret, and left no identity behind.
fn refused(output: &Output, code: i32, words: &[&str], machine: &Machine) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
    assert!(!said.contains(SECRET), "{said}");
    assert_eq!(machine.store().enrolled(), Ok(None));
    assert!(!machine.drop_in().exists());
    assert!(!machine.state().join("identity.new").exists(), "half an identity is left");
}

fn paths(asked: &Asked) -> Vec<String> {
    asked.lock().expect("no panic").iter().map(|(path, _)| path.clone()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_node_enrols_once_and_again_when_it_is_asked_to() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let answer = collector(&authority, &token, "mqtts://127.0.0.1:8883");
    let (port, asked) = https(&authority.server(), answer);
    let machine = Machine::new();

    let output = machine.enroll(port, &token, &["--node", "web-1"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for part in ["enrolled as web-1 in site lab", "mqtts://127.0.0.1:8883", "renews it by itself", "systemctl restart"]
    {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(!said.contains(SECRET) && !text(&output.stderr).contains(SECRET));
    assert_eq!(paths(&asked), ["/api/v1/ca", "/api/v1/enroll"]);
    let host = asked.lock().expect("no panic")[1].1["host"].clone();
    assert!(host.as_str().is_some_and(|host| !host.is_empty()), "{host}");

    let store = machine.store();
    assert_eq!(mode(store.folder()), 0o700);
    for file in [store.key_file(), store.certificate(), store.roots()] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let (key, cert, roots) = (store.key_file(), store.certificate(), store.roots());
    let (key, cert, roots) = (key.to_string_lossy(), cert.to_string_lossy(), roots.to_string_lossy());
    openssl(&["verify", "-CAfile", &roots, &cert]);
    let public = openssl(&["pkey", "-in", &key, "-pubout"]);
    assert_eq!(public, openssl(&["x509", "-in", &cert, "-noout", "-pubkey"]), "the certificate is for the key");

    let drop_in = fs::read_to_string(machine.drop_in()).expect("it was written");
    let config = Config::parse(&drop_in).expect("a configuration");
    assert_eq!((config.node.id.expect("a node").as_str(), config.node.site.as_str()), ("web-1", "lab"));
    assert_eq!(config.publish.broker, "mqtts://127.0.0.1:8883");
    assert_eq!(config.publish.key_file, Some(store.key_file()));
    assert_eq!(mode(&machine.drop_in()), 0o644);

    let output = machine.enroll(port, &token, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("enrolled already, as web-1 in site lab"), "{}", text(&output.stderr));
    assert_eq!(paths(&asked).len(), 2, "nobody was asked");

    let output = machine.enroll(port, &token, &["--again", "--node", "web-2"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(store.enrolled().expect("good").expect("enrolled").node.as_str(), "web-2");
    assert_ne!(public, openssl(&["pkey", "-in", &key, "-pubout"]), "a new key");
}

#[test]
fn the_token_comes_by_environment_standard_input_or_argument() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let (port, _) = https(&authority.server(), collector(&authority, &token, "mqtts://127.0.0.1:8883"));
    let url = format!("https://127.0.0.1:{port}");
    let machine = Machine::new();
    let output = machine.command(&url, &[]).env("TACIT_ENROLL_TOKEN", &token).output().expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let enrolled = machine.store().enrolled().expect("good").expect("enrolled");
    assert_eq!(enrolled.node.as_str(), "from-host", "the collector chooses when nobody asks for a name");

    let machine = Machine::new();
    let mut child = machine.command(&url, &["--token-file", "-"]).stdin(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(token.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
    let output = Machine::new().command(&url, &["--token", &token]).output().expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn whoever_is_not_the_collector_of_the_token_gets_no_token() {
    let (ours, foreign) = (Arc::new(Authority::new("Tacit")), Arc::new(Authority::new("Tacit")));
    let token = token(&ours);
    // Another collector, or somebody between who has an authority of the same name.
    let (port, asked) = https(&foreign.server(), collector(&foreign, &token, "mqtts://127.0.0.1:8883"));
    let machine = Machine::new();
    let output = machine.enroll(port, &token, &[]);
    refused(&output, 1, &["is not the one that this token is for", &ours.pin(), &foreign.pin()], &machine);
    assert_eq!(paths(&asked), ["/api/v1/ca"]);

    // Somebody between who shows the true root too, as everybody can get it, beside his own.
    let both = json!({ "certificates": format!("{}{}", foreign.root_pem(), ours.root_pem()) }).to_string();
    let (port, asked) = https(&foreign.server(), move |_: &str, _: &Value| -> Reply { (200, JSON, both.clone()) });
    let output = machine.enroll(port, &token, &[]);
    refused(&output, 1, &["does not trust", "the authority that the token names", "--ca-file"], &machine);
    assert_eq!(paths(&asked), ["/api/v1/ca"], "the token was not sent");

    // The same is good for a collector whose certificate is from elsewhere, when the user says so.
    let ca_file = foreign.root();
    let token_again = token.clone();
    let shown = json!({ "certificates": ours.root_pem() }).to_string();
    let answer = collector(&ours, &token, "mqtts://127.0.0.1:8883");
    let (port, _) = https(&foreign.server(), move |path: &str, body: &Value| -> Reply {
        if path == "/api/v1/ca" { (200, JSON, shown.clone()) } else { answer(path, body) }
    });
    let output = machine.enroll(port, &token_again, &["--ca-file", &ca_file.to_string_lossy()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kept = fs::read_to_string(machine.store().further_roots()).expect("it is kept for renewals");
    assert_eq!(kept, foreign.root_pem());
}

#[test]
fn each_refusal_is_told_with_its_way_out() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let server = authority.server();
    for (status, code, message) in [
        (401, "token_used", "this token was used already"),
        (401, "token_expired", "this token ended an hour ago"),
        (401, "token_unknown", "this token is not known here"),
        (409, "node_exists", "a node web-1 exists already"),
        (429, "too_many", "too many tries"),
    ] {
        let roots = json!({ "certificates": authority.root_pem() }).to_string();
        let (port, _) = https(&server, move |path: &str, _: &Value| -> Reply {
            if path == "/api/v1/ca" { (200, JSON, roots.clone()) } else { refusal(status, code, message) }
        });
        let machine = Machine::new();
        let output = machine.enroll(port, &token, &["--node", "web-1"]);
        refused(&output, 1, &["the collector refuses", message, "do something about it", code], &machine);
    }
}

#[test]
fn whatever_else_answers_is_called_by_its_name() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let machine = Machine::new();
    let page = |_: &str, _: &Value| -> Reply { (200, "text/html", "<!doctype html><p>Please log in".into()) };
    let (port, _) = https(&authority.server(), page);
    refused(&machine.enroll(port, &token, &[]), 1, &["answers with a web page (status 200)", "proxy"], &machine);

    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    refused(&machine.enroll(free, &token, &[]), 1, &["nobody listens at 127.0.0.1:"], &machine);

    let plain = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = plain.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.read(&mut [0; 512]).and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        }
    });
    refused(&machine.enroll(port, &token, &[]), 1, &["does not speak TLS on this port"], &machine);

    let other_name = authority.server_of("DNS:hq.example", LONG_AGO, &in_days(9));
    let (port, _) = https(&other_name, collector(&authority, &token, "mqtts://127.0.0.1:8883"));
    let output = machine.enroll(port, &token, &[]);
    refused(&output, 1, &["is for hq.example, not for 127.0.0.1"], &machine);
    let expired = authority.server_of("IP:127.0.0.1", LONG_AGO, "20250101000000Z");
    let (port, _) = https(&expired, collector(&authority, &token, "mqtts://127.0.0.1:8883"));
    let output = machine.enroll(port, &token, &[]);
    refused(
        &output,
        1,
        &["the certificate of the collector", "expired on 2025-01-01 00:00 UTC", "clock says"],
        &machine,
    );
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_with_the_same_key() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let (answer, lost) = (collector(&authority, &token, "mqtts://127.0.0.1:8883"), AtomicBool::new(false));
    let (port, asked) = https(&authority.server(), move |path: &str, body: &Value| -> Reply {
        let reply = answer(path, body);
        if path == "/api/v1/enroll" && !lost.swap(true, Ordering::Relaxed) { (0, JSON, String::new()) } else { reply }
    });
    let machine = Machine::new();
    let output = machine.enroll(port, &token, &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("run this again with the same token"), "{said}");
    assert_eq!(machine.store().enrolled(), Ok(None));

    let output = machine.enroll(port, &token, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let keys: Vec<String> = asked
        .lock()
        .expect("no panic")
        .iter()
        .filter_map(|(_, body)| body["csr"].as_str().map(str::to_owned))
        .map(|csr| {
            let file = authority.path("again.csr");
            fs::write(&file, csr).expect("a file");
            openssl(&["req", "-in", &file.to_string_lossy(), "-noout", "-pubkey"])
        })
        .collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn a_wrong_command_line_is_told_before_anybody_is_asked() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let machine = Machine::new();
    refused(&machine.enroll(1, "tacit1.0a1b2c3d.short", &[]), 2, &["no enrolment token", "tacit node token"], &machine);
    let cut = &token[..token.len() - 1];
    refused(&machine.enroll(1, cut, &[]), 2, &["something of it is missing"], &machine);
    let output = machine.command("http://hq.example:8420", &["--token", &token]).output().expect("it starts");
    refused(&output, 2, &["a token is not sent without TLS", "https://HOST:PORT"], &machine);
    let output = machine.command("https://hq.example:8420", &[]).output().expect("it starts");
    refused(&output, 2, &["a token is needed", "TACIT_ENROLL_TOKEN"], &machine);
    let output = machine.command("https://hq.example:8420", &["--token-file", "/nowhere/token"]).output();
    refused(&output.expect("it starts"), 2, &["/nowhere/token"], &machine);
    let output = machine.enroll(1, &token, &["--node", "Web 1"]);
    refused(&output, 2, &["1 to 36 of a-z"], &machine);
}

#[test]
fn what_cannot_be_written_costs_no_token() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let (port, asked) = https(&authority.server(), collector(&authority, &token, "mqtts://127.0.0.1:8883"));
    let machine = Machine::new();
    // A file where the folder for state should be: not even root can make one there.
    fs::write(machine.state(), "").expect("a file");
    let output = machine.enroll(port, &token, &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("state/identity") && said.contains("nothing was sent, the token is still good"), "{said}");
    assert!(paths(&asked).is_empty());
}

#[test]
fn a_clock_at_1970_is_lifted_or_blamed() {
    let authority = Arc::new(Authority::new("Tacit"));
    let token = token(&authority);
    let ahead = tempfile::NamedTempFile::new().expect("a file");
    fs::write(ahead.path(), (-Tick::now().wall_ms).to_string()).expect("a file");
    let enroll = |port: u16, machine: &Machine| {
        let mut command = machine.command(&format!("https://127.0.0.1:{port}"), &["--token", &token]);
        command.env(AHEAD, ahead.path()).output().expect("it starts")
    };
    let (port, _) = https(&authority.server(), collector(&authority, &token, "mqtts://127.0.0.1:8883"));
    let machine = Machine::new();
    let output = enroll(port, &machine);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("clock says 1970-01-01"), "{}", text(&output.stderr));
    assert!(machine.state().join("last-time").exists(), "the time is kept for the next start");

    let early = authority.server_of("IP:127.0.0.1", &in_days(2), &in_days(9));
    let (port, _) = https(&early, collector(&authority, &token, "mqtts://127.0.0.1:8883"));
    let machine = Machine::new();
    let output = enroll(port, &machine);
    refused(&output, 1, &["clock says 1970-01-01", "set this machine's clock if it is wrong"], &machine);
}

/// An identity whose certificate is due for renewal, at the collector on this port.
fn enrolled(authority: &Authority, port: u16, folder: &Path) -> (Store, Key) {
    let store = Store::new(folder);
    let (key, text) = Key::generate().expect("a key");
    store.begin(&text).expect("it can be written");
    let now = Tick::now().wall_ms;
    let given = Given {
        certificate: "the old certificate".into(),
        roots: authority.root_pem(),
        enrolled: Enrolled {
            collector: format!("https://127.0.0.1:{port}"),
            node: "web-1".parse().expect("a node"),
            site: "lab".parse().expect("a site"),
            broker: "mqtts://127.0.0.1:8883".into(),
            not_after_ms: now - 5,
            renew_after_ms: now - 10,
        },
    };
    store.complete(&given, None, None).expect("it can be written");
    (store, key)
}

fn renewal(store: &Store) -> (Renewal, Arc<NetStatus>) {
    let config = PublishConfig {
        broker: "mqtts://127.0.0.1:8883".into(),
        cert_file: Some(store.certificate()),
        ..PublishConfig::default()
    };
    let ms = Duration::from_millis;
    let pace = Pace { look: ms(20), retry: (ms(5), ms(50)), refused: ms(1) };
    let status = Arc::new(NetStatus::default());
    let floor = Arc::new(Floor::of_release());
    (Renewal::new(&config, &floor, &status, pace).expect("there is a certificate"), status)
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

#[test]
fn a_certificate_is_renewed_with_the_same_key_while_the_agent_runs() {
    let authority = Arc::new(Authority::new("Tacit"));
    let (port, asked) = https(&authority.server(), collector(&authority, "", "mqtts://127.0.0.1:8883"));
    let folder = tempfile::tempdir().expect("a folder");
    let (store, key) = enrolled(&authority, port, folder.path());
    let (renewal, status) = renewal(&store);
    block_on(async {
        let task = tokio::spawn(renewal.run());
        let later = || store.enrolled().is_ok_and(|e| e.is_some_and(|e| e.renew_after_ms > Tick::now().wall_ms));
        until("a new certificate", later).await;
        tokio::time::timeout(Duration::from_secs(60), status.renewed()).await.expect("the session is told");
        task.abort();
    });
    assert!(status.troubles().is_empty(), "{:?}", status.troubles());
    assert_eq!(store.key().expect("a key").public(), key.public());
    let (cert, file) = (store.certificate(), store.key_file());
    let public = openssl(&["x509", "-in", &cert.to_string_lossy(), "-noout", "-pubkey"]);
    assert_eq!(public, openssl(&["pkey", "-in", &file.to_string_lossy(), "-pubout"]));
    assert_eq!(paths(&asked), ["/api/v1/enroll/renew"], "once, and not again before it is due");
}

#[test]
fn a_renewal_that_fails_is_said_with_its_reason_and_tried_again() {
    let authority = Arc::new(Authority::new("Tacit"));
    let (port, asked) = https(&authority.server(), |_: &str, _: &Value| -> Reply {
        refusal(403, "node_revoked", "web-1 was revoked by ada")
    });
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = enrolled(&authority, port, folder.path());
    let (renewal, status) = renewal(&store);
    block_on(async {
        let task = tokio::spawn(renewal.run());
        until("the reason", || !status.troubles().is_empty()).await;
        until("another attempt", || asked.lock().expect("no panic").len() > 1).await;
        task.abort();
    });
    let said = status.troubles().concat();
    for part in ["ended on", "web-1 was revoked by ada", "tacit-agent enroll --again"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let left = fs::read_to_string(store.certificate()).expect("it is there");
    assert_eq!(left, "the old certificate", "nothing was replaced");
}

#[test]
fn a_collector_with_another_authority_renews_nothing() {
    let (ours, foreign) = (Arc::new(Authority::new("Tacit")), Arc::new(Authority::new("Tacit")));
    let (port, asked) = https(&foreign.server(), collector(&foreign, "", "mqtts://127.0.0.1:8883"));
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = enrolled(&ours, port, folder.path());
    let (renewal, status) = renewal(&store);
    block_on(async {
        let task = tokio::spawn(renewal.run());
        until("the reason", || status.troubles().concat().contains("does not trust")).await;
        task.abort();
    });
    assert!(paths(&asked).is_empty(), "nothing was sent");
}
