//! `tacit incidents`, `tacit incident …` and `tacit digest` against a collector.

use std::time::{Duration, Instant};

use serde_json::Value;
use tacit_wire::message::{Event, EventKind, Head, Phase};
use tacit_wire::{BootId, EventId, Num, Seq, StreamId};

use crate::office::Office;

/// A broken rule of a node.
fn broken(node: &str, id: u8, text: &str) -> Event {
    let now = jiff::Timestamp::now().as_millisecond();
    let head = Head {
        node: node.parse().unwrap(),
        boot: BootId([3; 16]),
        stream: StreamId([id; 8]),
        seq: Seq(1),
        oldest: Seq(1),
        wall_ms: now,
        mono_ms: 61_000,
    };
    Event {
        head,
        event: EventId([id; 8]),
        kind: EventKind::Rule,
        phase: Phase::Open,
        onset_ms: now,
        onset_mono_ms: 61_000,
        end_ms: None,
        severity: Num(0.8),
        score: Num(1.0),
        rule: Some("disk-full".into()),
        text: text.into(),
        evidence: Vec::new(),
        processes: Vec::new(),
        context: Vec::new(),
        recording: None,
        model: None,
        stage: None,
        persisting: false,
        injected: false,
        fault: None,
        confidence: Num(0.0),
        p_value: Num(0.0),
    }
}

/// Asks until the answer is there.
fn wait<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn people_work_with_incidents() {
    let office = Office::open();
    let said = |arguments: &[&str]| office.said(arguments);
    let refused = |arguments: &[&str]| office.refused(arguments);
    assert_eq!(said(&["incidents", "--muted"]), "Nothing is muted.\n");
    assert!(said(&["incidents", "--scores"]).contains("no cause was judged yet"));
    assert!(said(&["digest"]).contains(": 0 events opened nothing"));
    for (node, id, text) in [("web-1", 1, "the disk \u{1b}[2Jfills"), ("db-1", 2, "the log fills")] {
        office.hear(node, "event", &broken(node, id, text));
    }
    let of = |node: &str| {
        let list: Value = serde_json::from_str(&said(&["incidents", "--json"])).unwrap();
        let found = list["incidents"].as_array().unwrap().iter().find(|i| i["nodes"][0] == node)?;
        Some(found["id"].to_string())
    };
    let (web, db) = (wait("an incident of web-1", || of("web-1")), wait("an incident of db-1", || of("db-1")));

    let list = said(&["incidents"]);
    assert!(list.lines().next().unwrap().contains("CAUSE") && list.lines().count() == 3, "{list}");
    let show = said(&["incident", "show", &web]);
    for words in ["incident ", "\nCause\n", "\nWorst event\n", "\nFolded beneath\n", "\nTimeline\n"] {
        assert!(show.contains(words), "{words}: {show}");
    }
    said(&["incident", "comment", &web, "we look"]);
    said(&["incident", "assign", &web, "bo"]);
    said(&["incident", "cause", &web, "--was", "sw-1"]);
    said(&["incident", "label", &web, "true", "--note", "a log that nobody turned"]);
    let show = said(&["incident", "show", &web]);
    for words in ["bo has it", "a person says that it was sw-1", "commented by ana: we look", "true: a log that nobody"]
    {
        assert!(show.contains(words), "{words}: {show}");
    }
    let wrong = refused(&["incident", "cause", &web, "--right", "--was", "sw-1"]);
    assert!(wrong.contains("cannot be used with"), "{wrong}");
    assert!(said(&["incidents", "--scores"]).contains("judged causes: 1;"));

    let merged = said(&["incident", "merge", &db, "--into", &web]);
    assert!(merged.starts_with(&format!("Incident {web} is open: ")), "{merged}");
    let gone = refused(&["incident", "ack", &db]);
    assert!(gone.contains(&format!("became part of incident {web}")), "{gone}");
    let why = said(&["incident", "why", &web]);
    for words in ["Why it opened", "merged", "web-1/0101010101010101", "db-1/0202020202020202", "Nothing muted it."] {
        assert!(why.contains(words), "{words}: {why}");
    }
    assert!(refused(&["incident", "split", &web, "first"]).contains("is no event: write NODE/EVENT"));
    let split = said(&["incident", "split", &web, "db-1/0202020202020202", "--note", "another disk"]);
    assert_eq!(split.lines().count(), 2, "{split}");

    let replay = wait("a ranking", || Some(office.tacit(&["incident", "replay", &web])).filter(|(good, _)| *good)).1;
    assert!(replay.contains("The same evidence gives the same ranking."), "{replay}");
    let web = web.as_str();
    for arguments in [vec!["incident", "show", web], vec!["incident", "why", web], vec!["digest"]] {
        let text = said(&arguments);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{arguments:?}: {text:?}");
        let mut for_programs = arguments.clone();
        for_programs.push("--json");
        let json = said(&for_programs);
        assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
    }
    assert!(refused(&["digest", "--day", "someday"]).contains("\"someday\" is not a day"));
    office.close();
}
