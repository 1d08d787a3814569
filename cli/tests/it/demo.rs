//! `tacit demo` without its waiting: the same nodes on a clock that does not stand still, against a real collector; and the command.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tacit::demo::{FAILS_AFTER_S, Player, config, deliver, deliver_past};
use tacit_collector::Collector;
use tacit_collector::config::Config;
use tacit_collector::store::{EventQuery, EventRecord, Incident, IncidentQuery, Store};
use tacit_wire::message::EventKind;
use tokio::runtime::Runtime;

/// Seconds after the failure that are played: as long as somebody waits who wants to see something.
const AFTER_S: u64 = 60;
/// Ends a hung test, nothing else.
const PATIENCE: Duration = Duration::from_secs(90);

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

struct Shop {
    runtime: Runtime,
    collector: Collector,
    player: Player,
    _folder: tempfile::TempDir,
}

impl Shop {
    /// A shop that has lived through its past. Until its end it lives in the last minutes: what a collector hears of is over by then.
    fn learned(played_s: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut config = config(&folder.path().join("collector"));
        config.http.listen.set_port(0);
        let collector = runtime.block_on(Collector::start(&config)).unwrap();
        let mut player = Player::new(&folder.path().join("agents"), now_ms() - played_s as i64 * 1000).unwrap();
        let past = player.learn(&|| true).unwrap();
        let births = player.introduce(now_ms()).unwrap();
        runtime.block_on(deliver_past(collector.ingest(), &births, past)).unwrap();
        Self { runtime, collector, player, _folder: folder }
    }

    fn play(&mut self, until: u64) {
        while self.player.second() < until {
            let letters = self.player.step().unwrap();
            self.runtime.block_on(deliver(self.collector.ingest(), &letters)).unwrap();
        }
    }

    fn store(&self) -> &dyn Store {
        self.collector.store().as_ref()
    }

    fn events(&self) -> Vec<EventRecord> {
        let all = EventQuery { limit: Some(1000), ..EventQuery::default() };
        self.runtime.block_on(self.store().events(all)).unwrap()
    }

    fn incidents(&self) -> Vec<Incident> {
        self.runtime.block_on(self.store().incidents(IncidentQuery::default())).unwrap()
    }

    fn get(&self, path: &str) -> String {
        get(&self.collector, path)
    }
}

fn get(collector: &Collector, path: &str) -> String {
    let url = format!("http://{}{path}", collector.http_address());
    ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Client and server of every edge.
fn edges(map: &str) -> BTreeSet<(String, String)> {
    let map: Value = serde_json::from_str(map).unwrap();
    let end = |edge: &Value, key: &str| edge[key].as_str().unwrap_or_default().to_owned();
    map["edges"].as_array().unwrap().iter().map(|e| (end(e, "client"), end(e, "server"))).collect()
}

#[test]
fn a_quiet_past_then_the_database_fails_and_an_incident_opens() {
    let mut shop = Shop::learned(FAILS_AFTER_S + AFTER_S);
    let failure = shop.player.second() + FAILS_AFTER_S;
    shop.player.fail_at(failure);
    shop.play(failure);
    let failure_ms = shop.player.now_ms();

    // Nothing but a package that was upgraded, and nobody was called for that.
    let unjudged = |shop: &Shop| shop.runtime.block_on(shop.store().unjudged_events(10)).unwrap();
    until("all events were looked at", || unjudged(&shop).is_empty());
    let before = shop.events();
    let of_nodes = before.iter().filter(|e| e.outside.is_none());
    let texts: Vec<&str> = of_nodes.map(|e| e.event.text.as_str()).collect();
    assert!(texts.len() == 1 && texts[0].starts_with("openssl upgraded"), "{texts:?}");
    assert_eq!(shop.incidents().len(), 0, "{:?}", shop.incidents());
    let quiet: Value = serde_json::from_str(&shop.get("/api/v1/status")).unwrap();
    assert_eq!((&quiet["demo"], &quiet["quiet"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(quiet["totals"]["nodes_online"], 6);

    shop.play(failure + AFTER_S);
    let events = shop.events();
    let alarms: Vec<&EventRecord> = events.iter().filter(|e| e.event.kind == EventKind::Anomaly).collect();
    let nodes: BTreeSet<&str> = alarms.iter().map(|e| e.event.head.node.as_str()).collect();
    let callers = ["api-1", "web-1", "web-2", "batch-1"].iter().filter(|node| nodes.contains(**node)).count();
    assert!(nodes.contains("db-1") && callers >= 2, "alarms of {nodes:?}");
    for event in &alarms {
        assert!(event.event.injected, "{:?}", event.event);
        let early_ms = failure_ms - event.event.onset_ms;
        assert!(early_ms < 5000, "an onset {early_ms} ms before the failure: {}", event.event.text);
    }
    let of_db = alarms.iter().find(|e| e.event.head.node.as_str() == "db-1").unwrap();
    assert!(!of_db.event.evidence.is_empty() && of_db.event.recording.is_some(), "{:?}", of_db.event);

    let concerns_db = |i: &Incident| i.injected && i.nodes.iter().any(|n| n.as_str() == "db-1");
    until("an incident of the database", || shop.incidents().iter().any(concerns_db));
    let wanted = [
        ("web-1/nginx.service", "api-1/shop-api.service"),
        ("web-2/nginx.service", "api-1/shop-api.service"),
        ("api-1/shop-api.service", "cache-1/redis-server.service"),
        ("api-1/shop-api.service", "db-1/postgresql.service"),
        ("batch-1/shop-batch.service", "db-1/postgresql.service"),
    ];
    let wanted: BTreeSet<(String, String)> = wanted.map(|(client, server)| (client.into(), server.into())).into();
    // And the balancer to both web servers, and the application to who takes payments: nothing else, once late halves were joined.
    until("the map has its edges", || {
        let found = edges(&shop.get("/api/v1/map"));
        wanted.is_subset(&found) && found.len() == wanted.len() + 3
    });
    for path in ["/", "/incidents", "/map", "/nodes/db-1", "/nowhere"] {
        let page = if path == "/nowhere" { missing(&shop.collector, path) } else { shop.get(path) };
        assert!(page.contains("<title>DEMO") && page.contains("nothing here is real"), "{path}: {page}");
    }
    shop.runtime.block_on(shop.collector.stop());
}

/// The page that says that there is none.
fn missing(collector: &Collector, path: &str) -> String {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}{path}", collector.http_address());
    agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap()
}

#[test]
fn a_real_collector_beside_it_is_not_marked() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut pretended = config(&folder.path().join("demo"));
    let mut real = Config { data_dir: folder.path().join("real"), ..Config::default() };
    for config in [&mut pretended, &mut real] {
        config.http.listen.set_port(0);
        config.mqtt.listen.set_port(0);
        config.map.reverse_dns = false;
    }
    let (pretended, real) = runtime
        .block_on(async { (Collector::start(&pretended).await.unwrap(), Collector::start(&real).await.unwrap()) });
    for _ in 0..3 {
        assert!(get(&pretended, "/").contains("DEMO"));
        assert!(!get(&real, "/").contains("DEMO"));
    }
    assert!(get(&real, "/api/v1/status").contains("\"demo\":false"));
    runtime.block_on(async {
        pretended.stop().await;
        real.stop().await;
    });
}

#[test]
fn the_command_says_what_it_is_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit"));
    command.args(["demo", "--http", "127.0.0.1:0", "--for", "1s"]).env("TMPDIR", folder.path());
    let output = command.env("RUST_BACKTRACE", "0").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["DEMO: a simulated shop", "Tacit demo: http://127.0.0.1:", "Nothing is kept"] {
        assert!(said.contains(part), "{part:?} is missing:\n{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the temporary folder is gone");
}
