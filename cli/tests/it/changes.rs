//! `tacit change` against a collector.

use crate::office::Office;

#[test]
fn a_change_is_announced() {
    let office = Office::open();

    let (good, said) = office.tacit(&["change", "deploy api\u{1b}[2J 1.2.3", "--at", "10min"]);
    assert!(good && said.starts_with("fleet: deploy api\u{fffd}[2J 1.2.3 (2") && said.ends_with(" UTC)\n"), "{said}");
    let named = ["change", "rotate keys", "--kind", "config", "--site", "lab", "--id", "7", "--json"];
    let event = |said: &str| serde_json::from_str::<serde_json::Value>(said).unwrap()["changes"][0].clone();
    let (first, again) = (event(&office.tacit(&named).1), event(&office.tacit(&named).1));
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
        let (good, said) = office.tacit(&arguments);
        assert!(!good && said.contains(words), "{arguments:?}: {said}");
    }
    office.close();
}
