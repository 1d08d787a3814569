//! `tacit map`, `blast` and `path` against a collector.

use std::time::{Duration, Instant};

use tacit_wire::message::{Edge, EndpointDef, Head, Links, OwnerKind, Protocol};
use tacit_wire::{BootId, Num, Seq, StreamId};

use crate::office::Office;

fn links() -> Links {
    let now = jiff::Timestamp::now().as_millisecond();
    let head = Head {
        node: "web-1".parse().unwrap(),
        boot: BootId([3; 16]),
        stream: StreamId([4; 8]),
        seq: Seq(1),
        oldest: Seq(1),
        wall_ms: now,
        mono_ms: 61_000,
    };
    let end = |id, address: &str, port, owner: Option<&str>| EndpointDef {
        id,
        address: address.into(),
        port,
        owner: owner.map(str::to_owned),
        owner_kind: owner.map(|_| OwnerKind::Unit),
        scope: None,
    };
    let edge = Edge {
        local: 0,
        peer: 1,
        protocol: Protocol::Tcp,
        server: false,
        connects: 12,
        failed: 0,
        sent: 1000,
        received: 20_000,
        retransmits: 0,
        rtt_p50: Num(0.0125),
        rtt_p95: Num(0.02),
        rtt_min: Num(0.01),
        active: 1,
        lifetime: Num(1.0),
        accept_queue: None,
        confidence: Num(1.0),
        ports: Vec::new(),
    };
    Links {
        head,
        start_ms: (now - 150_000).div_euclid(60_000) * 60_000,
        step_s: 60,
        level: 1,
        overflows: 0,
        endpoints: vec![
            end(0, "", 0, Some("nginx.service")),
            end(1, "192.0.2.7", 443, None),
            end(2, "", 0, Some("\u{1b}[2Jnice\nnice\"]; evil")),
        ],
        edges: vec![Edge { local: 2, ..edge.clone() }, edge],
        steady: 0,
    }
}

#[test]
fn the_map_is_shown_and_asked() {
    let office = Office::open();
    let said = |arguments: &[&str]| office.said(arguments);
    assert!(office.tacit(&["map"]).1.contains("No connection was seen"));
    office.hear("web-1", "links", &links());
    let deadline = Instant::now() + Duration::from_secs(20);
    while !said(&["map"]).contains("nginx.service") {
        assert!(Instant::now() < deadline, "the map stays empty");
        std::thread::sleep(Duration::from_millis(100));
    }
    let table = said(&["map", "--node", "web-1", "--service", "nginx.service", "--fold"]);
    let row = "web-1/nginx.service  ext:192.0.2.7:443  tcp/443  12        0       1000 B  20 kB     0        12.5 ms";
    assert!(table.contains(row), "{table}");
    assert!(said(&["map", "--format", "json"]).contains("\"rtt_p50\": 0.0125"));
    assert!(said(&["map", "--format", "dot", "--service", "nginx.service"]).starts_with("digraph tacit {"));
    assert!(said(&["map", "--format", "mermaid"]).starts_with("flowchart LR"));
    assert!(said(&["map", "--as-of", "2026-01-01T00:00:00Z"]).contains("No connection was seen"));
    assert!(said(&["map", "--diff", "2d", "0s"]).contains("+ web-1/nginx.service -> ext:192.0.2.7:443 tcp/443"));
    let blast = said(&["blast", "ext:192.0.2.7:443"]);
    let direct = ["web-1/nginx.service", "1", "ext:192.0.2.7:443"];
    assert!(blast.lines().any(|l| l.split_whitespace().eq(direct)), "{blast}");
    assert_eq!(said(&["path", "web-1", "ext:192.0.2.7:443"]), "web-1/nginx.service -> ext:192.0.2.7:443\n");
    let (good, text) = office.tacit(&["blast", "nothing"]);
    assert!(!good && text.contains("\"nothing\" on the map does not exist"), "{text}");
    for time in ["yesterday", "yesterday 12:00", "2026-01-01", "3h ago"] {
        assert!(said(&["map", "--as-of", time]).contains("No connection was seen"), "{time}");
    }
    assert!(
        said(&["map", "--diff", "yesterday", "now"]).contains("+ web-1/nginx.service -> ext:192.0.2.7:443 tcp/443")
    );
    let (good, text) = office.tacit(&["map", "--as-of", "someday"]);
    assert!(!good && text.contains("is no time"), "{text}");
    // A hostile name moves no cursor and makes no line, whatever the format.
    for format in ["table", "dot", "mermaid"] {
        let text = said(&["map", "--format", format]);
        assert!(text.contains("[2Jnice") && !text.chars().any(|c| c.is_control() && c != '\n'), "{format}: {text:?}");
        assert_eq!(text.lines().filter(|l| l.trim_start().starts_with("nice")).count(), 0, "{format}: {text}");
    }
    office.close();
}
