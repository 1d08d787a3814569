//! `tacit notify` against a collector.

use tacit_collector::config::Config;

use crate::office::Office;

fn open(receivers: &str) -> Office {
    Office::with(Config::parse(receivers).unwrap())
}

#[test]
fn nobody_to_tell_is_said() {
    let office = open("");
    let (good, said, _) = office.run(&["notify", "test"]);
    assert!(good && said.starts_with("There is no receiver: [[notify.receiver]]"), "{said}");
    let (good, said, _) = office.run(&["notify", "list"]);
    assert_eq!((good, said.as_str()), (true, "Nothing was told to anybody.\n"));
    let (good, _, why) = office.run(&["notify", "test", "ops"]);
    assert!(!good && why.contains("receiver \"ops\" does not exist (/api/v1/receivers lists them)"), "{why}");
    office.close();
}

#[test]
fn a_receiver_that_does_not_take_a_test_is_a_failure() {
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!("[[notify.receiver]]\nname = \"ops\"\nkind = \"webhook\"\nurl = \"http://{gone}/SECRET\"\n");
    let office = open(&text);
    let (good, said, why) = office.run(&["notify", "test"]);
    assert!(!good && why.contains("one receiver did not take the message"), "{why}");
    let row = said.lines().find(|line| line.starts_with("ops")).expect("a line for the receiver");
    assert!(row.contains("webhook") && row.contains("failed"), "{row}");
    let (good, list, _) = office.run(&["notify", "list"]);
    assert!(good && list.contains("ops takes nothing for ") && !list.contains("SECRET"), "{list}");
    let (_, json, _) = office.run(&["notify", "test", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["results"][0]["receiver"], &json["results"][0]["ok"]),
        (&serde_json::json!("ops"), &serde_json::json!(false))
    );
    office.close();
}
