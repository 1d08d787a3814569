//! `docs/PROTOCOL.md` against the code. `UPDATE_DOCS=1` rewrites its generated tables.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tacit_wire::codec::{Message, decode};
use tacit_wire::message::{Birth, Event, Summary};
use tacit_wire::topic::{Down, Up};
use tacit_wire::{limits, semconv};

/// Tests of one process rewrite the page one after the other.
static PAGE: Mutex<()> = Mutex::new(());

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md"))
}

fn page() -> String {
    std::fs::read_to_string(path()).expect("docs/PROTOCOL.md is part of the repository")
}

/// The contents of the page's code blocks in a language.
pub fn blocks(language: &str) -> Vec<String> {
    let page = page();
    let opening = format!("```{language}\n");
    page.split(&opening).skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0.to_owned())).collect()
}

/// Compares the text between two marks with what it should be; with `UPDATE_DOCS=1` rewrites it.
pub fn check(name: &str, wanted: &str) {
    let _one_at_a_time = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let page = page();
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin} in PROTOCOL.md"));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end} in PROTOCOL.md"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let new = format!("{before}{begin}{wanted}{end}{after}");
        std::fs::write(path(), new).expect("docs/PROTOCOL.md is writable");
    } else {
        assert_eq!(found, wanted, "run `just update-docs` and look at the change");
    }
}

#[test]
fn the_series_table_is_the_code_s() {
    let mut table =
        format!("Version {}.\n\n| name | unit | attributes | what |\n|---|---|---|---|\n", semconv::VERSION);
    for m in semconv::ALL {
        let attributes: Vec<_> = m.attributes.iter().map(|a| format!("`{a}`")).collect();
        writeln!(table, "| `{}` | `{}` | {} | {} |", m.name, m.unit, attributes.join(", "), m.about).expect("a string");
    }
    check("series", &table);
}

#[test]
fn the_limits_are_the_code_s() {
    let rows = [
        ("payload on the wire", limits::PAYLOAD, "bytes"),
        ("payload after decompression", limits::DECOMPRESSED, "bytes"),
        ("CBOR that is not compressed, at most", limits::COMPRESS_ABOVE, "bytes"),
        ("name, reason, version, attribute", limits::NAME, "bytes"),
        ("sentence, command line, address to fetch from", limits::TEXT, "bytes"),
        ("settings of a configuration", limits::SETTINGS, "bytes"),
        ("text of an answer", limits::BODY, "bytes"),
        ("any list, where no smaller bound is named", limits::LIST, "elements"),
        ("attributes of one series", limits::ATTRIBUTES, "elements"),
        ("values of one row, samples of one answer", limits::POINTS, "elements"),
    ];
    let mut table = String::from("| what | at most | |\n|---|---|---|\n");
    for (what, limit, unit) in rows {
        writeln!(table, "| {what} | {limit} | {unit} |").expect("a string");
    }
    check("limits", &table);
}

#[test]
fn every_topic_is_described() {
    let page = page();
    for topic in Up::ALL.iter().map(|t| format!("| `u/<node>/{}` |", t.as_str())) {
        assert!(page.contains(&topic), "{topic} is missing");
    }
    for topic in Down::ALL.iter().map(|t| format!("| `d/<node>/{}` |", t.as_str())) {
        assert!(page.contains(&topic), "{topic} is missing");
    }
}

/// An example decodes, and says nothing that the message does not hold.
fn assert_example<M: Message>(json: &str) {
    let message: M = decode(json.as_bytes()).unwrap_or_else(|e| panic!("{e} in\n{json}"));
    let again = serde_json::to_value(&message).expect("a message is JSON");
    let given: serde_json::Value = serde_json::from_str(json).expect("it decoded");
    let names = |v: &serde_json::Value| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
    assert_eq!(names(&given), names(&again));
}

#[test]
fn the_examples_are_messages() {
    let examples = blocks("json");
    let [birth, summary, event] = examples.as_slice() else { panic!("three examples, not {}", examples.len()) };
    assert_example::<Birth>(birth);
    assert_example::<Summary>(summary);
    assert_example::<Event>(event);
}
