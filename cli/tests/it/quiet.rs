//! `tacit silence` and `tacit window` against a collector.

use crate::office::Office;

#[test]
fn alarms_are_muted_and_heard_again() {
    let office = Office::open();
    let said = |arguments: &[&str]| office.said(arguments);
    let refused = |arguments: &[&str]| office.refused(arguments);

    assert_eq!(said(&["silence", "list"]), "Nothing is silenced.\n");
    let made =
        said(&["silence", "add", "node=web-1", "family=~disk*", "--for", "2h", "--reason", "a \u{1b}[2Jnew disk"]);
    assert!(made.starts_with("Silence 1 mutes node=web-1 family=~disk* until 2"), "{made}");
    let list = said(&["silence", "list"]);
    let row = list.lines().find(|line| line.starts_with("1 ")).unwrap();
    for words in ["(in 1 h)", "ana", "node=web-1 family=~disk*", "[2Jnew disk"] {
        assert!(row.contains(words), "{words}: {list}");
    }
    assert!(!list.chars().any(|c| c.is_control() && c != '\n'), "{list:?}");
    let wide = refused(&["silence", "add", "node!=web-1", "--for", "30min", "--reason", "a move"]);
    assert!(wide.contains("mute everything") && wide.contains("tacit: --yes"), "{wide}");
    let all = said(&["silence", "add", "--yes", "--for", "30min", "--reason", "a move"]);
    assert!(all.starts_with("Silence 2 mutes everything until"), "{all}");
    assert_eq!(said(&["silence", "end", "2"]), "Silence 2 is over.\n");
    assert!(refused(&["silence", "end", "2"]).contains("silence 2 is over already"));
    assert_eq!(said(&["silence", "list"]).lines().count(), 2);
    assert!(said(&["silence", "list", "--all"]).contains("over since 2"));
    assert!(said(&["silence", "list", "--json"]).contains("\"op\": \"=~\""));
    let wrong = refused(&["silence", "add", "web-1", "--for", "2h", "--reason", "x"]);
    assert!(wrong.contains("write FIELD=VALUE"), "{wrong}");

    assert_eq!(said(&["window", "list"]), "There is no maintenance window.\n");
    let until = jiff::Timestamp::from_millisecond(jiff::Timestamp::now().as_millisecond() + 100 * 86_400_000).unwrap();
    let until = until.to_string();
    let common = ["--at", "02:00", "--for", "1h", "--zone", "UTC", "--owner", "bo", "--reason", "reads all disks"];
    let add = |more: &[&'static str]| -> Vec<String> {
        let first = ["window", "add", "--name", "backup", "node=~db-*"];
        first.iter().chain(&common).chain(more).map(ToString::to_string).collect()
    };
    let with = |more: &[&'static str], until: &str| -> (bool, String) {
        let mut arguments = add(more);
        arguments.extend(["--until".to_owned(), until.to_owned()]);
        office.tacit(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (good, made) = with(&["--weekly", "Mon,tuesday"], &until);
    assert!(good && made.starts_with("Window 1 mutes node=~db-*, each mon, tue at 02:00 for 1 h, UTC; it "), "{made}");
    let (good, made) = with(&["--monthly", "-1,1"], &until);
    assert!(good && made.contains("each month on the last, 1 at 02:00"), "{made}");
    for (days, until, words) in [
        (&["--weekly", "someday"], until.as_str(), "\"someday\" is no day of the week"),
        (&["--monthly", "32"], until.as_str(), "32 is no day of the month"),
        (&["--weekly", "mon"], "2150-01-01", "every window ends"),
        (&["--weekly", "mon"], "yesterday", "which is over"),
    ] {
        let (good, text) = with(days, until);
        assert!(!good && text.contains(words), "{words}: {text}");
    }
    let list = said(&["window", "list"]);
    for words in ["each mon, tue at 02:00 for 1 h, UTC", "backup", "bo", "node=~db-*"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    assert_eq!(said(&["window", "end", "1"]), "Window 1 is over.\n");
    assert_eq!(said(&["window", "list"]).lines().count(), 2);
    office.close();
}
