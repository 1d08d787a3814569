//! `/metrics`, `/healthz` and `/readyz`.

use std::collections::{BTreeMap, BTreeSet};

use tacit_wire::message::Phase;

use crate::messages::{birth, bytes, event, summary};
use crate::site::Site;

/// The samples of a text in the exposition format, by name and labels. Panics at what a scraper would refuse.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let text = text.strip_suffix("# EOF\n").expect("the text has an end");
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let (mut family, mut families, mut helped) = ((String::new(), String::new()), BTreeSet::new(), BTreeSet::new());
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("help has words");
            assert!(words.ends_with('.') && helped.insert(name.to_owned()), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type has a kind");
            assert!(is_name(name) && matches!(kind, "counter" | "gauge"), "{line}");
            assert!(helped.contains(name) && families.insert(name.to_owned()), "{line}");
            family = (name.to_owned(), if kind == "counter" { format!("{name}_total") } else { name.to_owned() });
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            assert_eq!(name, family.1, "{line}: samples stand below their type");
            let labels = labels.strip_suffix('}').expect("labels end");
            for label in labels.split(',').filter(|l| !l.is_empty()) {
                let (key, value) = label.split_once("=\"").expect("a label has a value");
                assert!(is_name(key) && value.ends_with('"'), "{line}");
            }
            let value: f64 = value.parse().expect("a value is a number");
            assert!(value.is_finite() && samples.insert(sample.to_owned(), value).is_none(), "{line}");
        }
    }
    assert_eq!(families, helped);
    samples
}

#[tokio::test]
async fn metrics_parse_and_move() {
    let site = Site::start().await;
    let scrape = async || {
        let answer = site.get("/metrics").await;
        assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        parse(&answer.text)
    };
    let before = scrape().await;
    assert!(before.keys().all(|name| name.starts_with("tacit_collector_")), "{before:?}");

    let node = site.node("web-1").await;
    let minute = bytes(&summary("web-1", 1));
    let said = [
        ("birth", bytes(&birth("web-1", 1))),
        ("summary", minute.clone()),
        ("summary", minute),
        ("event", b"garbage".to_vec()),
        ("summary", bytes(&summary("web-2", 2))),
        ("event", bytes(&event("web-1", 1, 9, Phase::Open))),
    ];
    let sent: usize = said.iter().map(|(_, payload)| payload.len()).sum();
    for (what, payload) in said {
        node.send(what, payload).await;
    }
    site.until("/api/v1/status", |status| status["totals"]["incidents_open"] == 1).await;

    let after = scrape().await;
    assert!(after.keys().eq(before.keys()), "what is counted does not depend on what came");
    let moved = |name: &str| after[&format!("tacit_collector_{name}")] - before[&format!("tacit_collector_{name}")];
    for (name, by) in [
        ("messages_received_total", 6.0),
        ("received_bytes_total", sent as f64),
        ("messages_stored_total", 3.0),
        ("messages_duplicate_total", 1.0),
        ("messages_refused_total{reason=\"undecodable\"}", 1.0),
        ("messages_refused_total{reason=\"wrong-node\"}", 1.0),
        ("messages_refused_total{reason=\"topic\"}", 0.0),
        ("store_failures_total", 0.0),
        ("nodes{presence=\"online\"}", 1.0),
        ("nodes{presence=\"offline\"}", 0.0),
        ("series", 1.0),
        ("incidents_open", 1.0),
    ] {
        assert_eq!(moved(name), by, "{name}");
    }
    assert!(after["tacit_collector_store_bytes"] > 0.0);
    site.stop().await;
}

#[tokio::test]
async fn health_is_said_in_a_word() {
    let site = Site::start().await;
    for (path, word) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = site.get(path).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, word));
        let head = site.ask("HEAD", path, &[], "").await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    }
    site.stop().await;
}
