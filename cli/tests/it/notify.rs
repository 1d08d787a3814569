//! `tacit notify` against a collector.

use std::process::Command;

use tacit_collector::Collector;
use tacit_collector::config::Config;

fn tacit(arguments: &[&str], collector: &str) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit"));
    command.args(arguments).args(["--collector", collector]).env("RUST_BACKTRACE", "0");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn with_collector(receivers: &str, check: impl FnOnce(&str)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::parse(receivers).unwrap();
    config.data_dir = folder.path().join("data");
    config.mqtt.listen.set_port(0);
    config.http.listen.set_port(0);
    // Tests ask nobody's resolver.
    config.map.reverse_dns = false;
    let collector = runtime.block_on(Collector::start(&config)).unwrap();
    check(&format!("http://{}", collector.http_address()));
    runtime.block_on(collector.stop());
}

#[test]
fn nobody_to_tell_is_said() {
    with_collector("", |url| {
        let (good, said, _) = tacit(&["notify", "test"], url);
        assert!(good && said.starts_with("There is no receiver: [[notify.receiver]]"), "{said}");
        let (good, said, _) = tacit(&["notify", "list"], url);
        assert_eq!((good, said.as_str()), (true, "Nothing was told to anybody.\n"));
        let (good, _, why) = tacit(&["notify", "test", "ops"], url);
        assert!(!good && why.contains("receiver \"ops\" does not exist (/api/v1/receivers lists them)"), "{why}");
    });
}

#[test]
fn a_receiver_that_does_not_take_a_test_is_a_failure() {
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("[[notify.receiver]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"http://{gone}/SECRET\"\n");
    with_collector(&text, |url| {
        let (good, said, why) = tacit(&["notify", "test"], url);
        assert!(!good && why.contains("one receiver did not take the message"), "{why}");
        let row = said.lines().find(|line| line.starts_with("ops")).expect("a line for the receiver");
        assert!(row.contains("webhook") && row.contains("failed"), "{row}");
        let (good, list, _) = tacit(&["notify", "list"], url);
        assert!(good && list.contains("ops takes nothing for ") && !list.contains("SECRET"), "{list}");
        let (_, json, _) = tacit(&["notify", "test", "--json"], url);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            (&json["results"][0]["receiver"], &json["results"][0]["ok"]),
            (&serde_json::json!("ops"), &serde_json::json!(false))
        );
    });
}
