use super::super::fixtures::{cause, incident};
use super::*;

#[test]
fn a_message_says_what_why_and_where() {
    let mut i = incident(12);
    i.cause = Some(cause("db-1/postgresql.service", false));
    i.events = 31;
    let opened =
        Message::about(&i, vec!["lab".into()], "https://tacit.example/").told(Occasion::Opened, "opened", Vec::new());
    assert_eq!(
        opened.summary,
        "Incident 12 [page]: requests are slow (cause db-1/postgresql.service, on web-1, 31 events)"
    );
    assert_eq!(opened.url, "https://tacit.example/incidents/12");
    insta::assert_snapshot!(opened.text(), @r"
    Incident 12 [page]: requests are slow (cause db-1/postgresql.service, on web-1, 31 events)

    Cause: service db-1/postgresql.service: RTT api → db 0.3 → 41 ms
    Nodes: web-1
    Since: 2023-11-14 22:13:20 UTC

    https://tacit.example/incidents/12
    ");
    let labels: Vec<_> = opened.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        labels,
        [
            "alertname=TacitIncident",
            "cause=db-1/postgresql.service",
            "incident=12",
            "node=web-1",
            "severity=page",
            "site=lab"
        ]
    );
    let read: Message = serde_json::from_str(&serde_json::to_string(&opened).unwrap()).unwrap();
    assert_eq!(read, opened);
}

#[test]
fn what_is_unsure_or_of_many_nodes_is_no_label() {
    let mut i = incident(3);
    i.cause = Some(cause("db-1", true));
    i.nodes = ["a", "b", "c"].map(|n| n.parse().unwrap()).to_vec();
    i.injected = true;
    let m = Message::about(&i, vec!["x".into(), "y".into()], "").told(Occasion::Repeat, "repeat:1", Vec::new());
    assert_eq!(m.summary, "DEMO: Still open: incident 3 [page]: requests are slow (3 nodes)");
    assert_eq!(m.labels.keys().map(String::as_str).collect::<Vec<_>>(), ["alertname", "demo", "incident", "severity"]);
    assert!(m.text().contains("Cause (unsure): service db-1: "));
}

#[test]
fn nothing_in_a_strangers_words_breaks_a_line_or_is_endless() {
    let mut i = incident(3);
    i.title = format!("first\nSubject: second\u{202e}{}", "x".repeat(1000));
    i.nodes = (0..500).map(|n| format!("n-{n}").parse().unwrap()).collect();
    let m = Message::about(&i, Vec::new(), "").told(Occasion::Opened, "opened", Vec::new());
    assert!(!m.summary.contains(['\n', '\u{202e}']));
    assert_eq!((m.title.chars().count(), m.nodes.len(), m.node_count), (TEXT_MAX, NAMES_MAX, 500));
    assert!(m.text().contains("n-7 and 492 more"), "{}", m.text());
}

#[test]
fn more_nodes_are_named() {
    let of = |nodes: &[&str]| {
        let mut i = incident(1);
        i.nodes = nodes.iter().map(|n| n.parse().unwrap()).collect();
        Message::about(&i, Vec::new(), "")
    };
    assert_eq!(more_nodes(&of(&["a"]), &of(&["a", "b", "c"])).as_deref(), Some("2 more nodes: b, c"));
    assert_eq!(more_nodes(&of(&["a"]), &of(&["a", "b"])).as_deref(), Some("1 more node: b"));
    assert_eq!(more_nodes(&of(&["a", "b"]), &of(&["b"])), None);
}

#[test]
fn times_are_rfc_3339() {
    assert_eq!(rfc3339(1_700_000_000_500), "2023-11-14T22:13:20.5Z");
    assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00Z");
}
