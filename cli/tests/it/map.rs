//! `tacit map`, `blast` and `path` against a collector.

use std::process::Command;
use std::time::{Duration, Instant};

use tacit_collector::Collector;
use tacit_collector::config::Config;
use tacit_collector::ingest::Taken;
use tacit_wire::codec::{Encoding, encode};
use tacit_wire::message::{Edge, EndpointDef, Head, Links, OwnerKind, Protocol};
use tacit_wire::{BootId, Num, Seq, StreamId};

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

fn tacit(arguments: &[&str], collector: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit"));
    let output = command.args(arguments).args(["--collector", collector]).env("RUST_BACKTRACE", "0").output().unwrap();
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.success(), String::from_utf8_lossy(text).into_owned())
}

#[test]
fn the_map_is_shown_and_asked() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.mqtt.listen.set_port(0);
    config.http.listen.set_port(0);
    // Tests ask nobody's resolver.
    config.map.reverse_dns = false;
    let collector = runtime.block_on(Collector::start(&config)).unwrap();
    let url = format!("http://{}", collector.http_address());
    assert!(tacit(&["map"], &url).1.contains("No connection was seen"));
    let payload = encode(&links(), Encoding::Cbor).unwrap();
    let taken = runtime.block_on(collector.ingest().take("tacit/1/default/u/web-1/links", &payload, "web-1"));
    assert_eq!(taken, Taken::Done);
    let deadline = Instant::now() + Duration::from_secs(20);
    let said = |arguments: &[&str]| {
        let (good, text) = tacit(arguments, &url);
        assert!(good, "{arguments:?}: {text}");
        text
    };
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
    let (good, text) = tacit(&["blast", "nothing"], &url);
    assert!(!good && text.contains("\"nothing\" on the map does not exist"), "{text}");
    for time in ["yesterday", "yesterday 12:00", "2026-01-01", "3h ago"] {
        assert!(said(&["map", "--as-of", time]).contains("No connection was seen"), "{time}");
    }
    assert!(
        said(&["map", "--diff", "yesterday", "now"]).contains("+ web-1/nginx.service -> ext:192.0.2.7:443 tcp/443")
    );
    let (good, text) = tacit(&["map", "--as-of", "someday"], &url);
    assert!(!good && text.contains("is no time"), "{text}");
    // A hostile name moves no cursor and makes no line, whatever the format.
    for format in ["table", "dot", "mermaid"] {
        let text = said(&["map", "--format", format]);
        assert!(text.contains("[2Jnice") && !text.chars().any(|c| c.is_control() && c != '\n'), "{format}: {text:?}");
        assert_eq!(text.lines().filter(|l| l.trim_start().starts_with("nice")).count(), 0, "{format}: {text}");
    }
    runtime.block_on(collector.stop());
}
