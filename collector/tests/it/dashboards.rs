//! The dashboard and the alert rules that are shipped ask for metrics that there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::site::Site;

const DASHBOARD: &str = include_str!("../../../packaging/grafana/tacit-collector.json");
const RULES: &str = include_str!("../../../packaging/prometheus/tacit-alerts.yml");
const PREFIX: &str = "tacit_collector_";

/// Metrics that a text names, each with the labels that it chooses or groups by nearest to the name.
fn named(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (at, _) in text.match_indices(PREFIX) {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let labels = names.entry(rest[..end].to_owned()).or_default();
        let chosen = rest[end..].strip_prefix('{').and_then(|r| r.split_once('}')).map_or("", |(chosen, _)| chosen);
        labels.extend(chosen.split(',').filter_map(|c| Some(c.split_once(['=', '!'])?.0.trim().to_owned())));
    }
    names
}

#[tokio::test]
async fn dashboard_and_rules_ask_for_what_there_is() {
    let site = Site::start().await;
    let exposed = site.get("/metrics").await.text;
    let samples: Vec<&str> = exposed.lines().filter(|line| !line.starts_with('#')).collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let asked = panels.iter().flat_map(|p| p["targets"].as_array().expect("targets"));
    let expressions: Vec<&str> = asked.map(|t| t["expr"].as_str().expect("an expression")).collect();
    for text in expressions.iter().copied().chain([RULES]) {
        for (name, labels) in named(text) {
            let of = |line: &&&str| line.strip_prefix(name.as_str()).is_some_and(|r| r.starts_with(['{', ' ']));
            let sample = samples.iter().find(of).unwrap_or_else(|| panic!("{name} is not exposed"));
            // Prometheus itself adds who was asked.
            for label in labels.iter().filter(|l| !["job", "instance"].contains(&l.as_str())) {
                assert!(sample.contains(&format!("{label}=\"")), "{name} has no label {label}: {sample}");
            }
        }
    }
    assert!(named(&expressions.concat()).len() > 15, "the dashboard shows what the collector counts");
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    site.stop().await;
}

#[test]
fn every_rule_has_a_name_a_severity_and_words() {
    let rules: Vec<&str> = RULES.split("- alert: ").skip(1).collect();
    assert!(rules.len() >= 6);
    for rule in rules {
        assert!(rule.starts_with("Tacit"), "{rule}");
        for key in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert_eq!(rule.matches(key).count(), 1, "{key} in {rule}");
        }
    }
}
