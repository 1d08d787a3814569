//! What cannot be used is said before anything starts.

use std::net::TcpListener;
use std::process::Command;

fn fails(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tacit")).args(arguments).env("RUST_BACKTRACE", "0").output().unwrap();
    assert!(!output.status.success(), "{arguments:?} must fail");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let said = fails(&["up", "--data", data, "--http", &address, "--mqtt", "127.0.0.1:0"]);
    assert!(said.contains(&format!("cannot listen for HTTP on {address}")), "{said}");
    let said = fails(&["up", "--data", data, "--http", "127.0.0.1:0", "--mqtt", &address]);
    assert!(said.contains(&format!("cannot listen for MQTT on {address}")), "{said}");
    let said = fails(&["up", "--data", "/proc/nowhere", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"]);
    assert!(said.contains("cannot use the data folder"), "{said}");
    let said = fails(&["up", "--data", data, "--broker", "tcp://127.0.0.1"]);
    assert!(said.contains("write mqtt://HOST:PORT"), "{said}");
    let said = fails(&["status", "--collector", &format!("http://{address}x")]);
    assert!(said.contains("cannot reach the collector"), "{said}");
}
