//! What others say: alerts as Prometheus sends them, changes, and nodes that go and come back.

use std::sync::Arc;

use rumqttc::mqttbytes::v5::PubAckReason;
use serde_json::{Value, json};
use tacit_collector::Collector;
use tacit_collector::config::Config;
use tacit_collector::interop::presence::{Broker, RollCall};
use tacit_collector::store::{EventQuery, EventRecord, EventSource, Presence};
use tacit_wire::message::Phase;
use tempfile::TempDir;

use crate::client::Client;
use crate::messages::{birth, bytes, death, now_ms, topic};
use crate::schema::Described;
use crate::site::Site;

const ALERTS: &str = "/api/v2/alerts";
const CHANGES: &str = "/api/v1/changes";
const MINUTE: i64 = 60_000;

fn written(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// An alert as Prometheus sends it each minute: it ends in four, unless it is sent again.
fn firing(labels: &Value) -> Value {
    json!({
        "labels": labels,
        "annotations": { "summary": "p99 is above 2 s" },
        "startsAt": written(now_ms() - MINUTE),
        "endsAt": written(now_ms() + 4 * MINUTE),
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
    })
}

async fn events(site: &Site) -> Vec<Value> {
    site.json("/api/v1/events?limit=1000").await["events"].as_array().expect("a list").clone()
}

/// How many alerts had this outcome.
async fn heard(site: &Site, outcome: &str) -> f64 {
    let line = format!("tacit_collector_alerts_received_total{{outcome=\"{outcome}\"}} ");
    let text = site.get("/metrics").await.text;
    let value = text.lines().find_map(|l| l.strip_prefix(&line)).expect("each outcome is counted");
    value.parse().expect("a number")
}

#[tokio::test]
async fn prometheus_sends_alerts_as_to_an_alertmanager() {
    let site = Site::start().await;
    let mut described = Described::of(&site).await;
    site.node("web-1").await.say("birth", &birth("web-1", 1)).await;
    let known = firing(&json!({ "alertname": "HighLatency", "instance": "WEB-1:9100", "severity": "page" }));
    let unknown = firing(&json!({ "alertname": "Probe", "instance": "10.9.9.9:80" }));
    let prometheus = [("content-type", "application/json"), ("user-agent", "Prometheus/3.5.0")];
    let answer = site.ask("POST", ALERTS, &prometheus, &json!([known, unknown]).to_string()).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    described.check("POST", ALERTS, &answer);

    let events = events(&site).await;
    let of = |name: &str| events.iter().find(|e| e["outside"]["family"] == name).expect("it is stored");
    let high = of("HighLatency");
    assert_eq!(
        (&high["event"]["head"]["node"], &high["outside"]["entity"]),
        (&json!("web-1"), &json!("web-1")),
        "{high}"
    );
    assert_eq!((&high["event"]["kind"], &high["event"]["phase"]), (&json!("rule"), &json!("open")));
    assert_eq!(high["event"]["text"], "p99 is above 2 s");
    assert_eq!(of("Probe")["outside"]["entity"], "alert:Probe");

    let open = site.get(ALERTS).await;
    described.check("GET", ALERTS, &open);
    let open = open.json();
    assert_eq!(open.as_array().map(Vec::len), Some(2));
    assert_eq!((&open[0]["status"]["state"], &open[0]["receivers"][0]["name"]), (&json!("active"), &json!("tacit")));
    // What Alertmanager's own tool asks.
    assert_eq!(site.json("/api/v2/status").await["cluster"]["status"], "disabled");
    assert_eq!(site.json(&format!("{ALERTS}?active=false&silenced=true")).await, json!([]));
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(site.get(path).await.status, 200);
    }
    site.stop().await;
}

#[tokio::test]
async fn alerts_are_chosen_as_alertmanagers_tools_choose() {
    let site = Site::start().await;
    let mut described = Described::of(&site).await;
    let all = json!([
        firing(&json!({ "alertname": "Slow", "job": "api", "severity": "page" })),
        firing(&json!({ "alertname": "Slow", "job": "web" })),
        firing(&json!({ "alertname": "Full", "job": "db", "path": "/var/log" })),
    ]);
    assert_eq!(site.post(ALERTS, &all.to_string()).await.status, 200);
    let mut jobs = async |query: &str| {
        let answer = site.get(&format!("{ALERTS}?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        described.check("GET", ALERTS, &answer);
        let chosen = answer.json();
        let jobs =
            chosen.as_array().expect("a list").iter().map(|alert| alert["labels"]["job"].as_str().unwrap_or("-"));
        let mut jobs: Vec<String> = jobs.map(str::to_owned).collect();
        jobs.sort_unstable();
        jobs.join(" ")
    };
    // As amtool asks, with what it leaves empty.
    let amtool = "active=true&inhibited=false&silenced=false&unprocessed=false&receiver=";
    assert_eq!(jobs(&format!("{amtool}&filter=alertname%3D%22Slow%22")).await, "api web");
    for (query, expected) in [
        ("filter=alertname%3DSlow&filter=severity%3D%22%22", "web"),
        ("filter=job!%3D%22api%22", "db web"),
        ("filter=job%3D~%22a.%2B%7Cd%22", "api"),
        ("filter=job!~a.*", "db web"),
        ("filter=path%3D%22%2Fvar%2Flog%22&receiver=t.*", "db"),
        ("receiver=tacit", "api db web"),
        ("receiver=tac", ""),
        ("receiver=ops&active=false", ""),
    ] {
        assert_eq!(jobs(query).await, expected, "{query}");
    }
    for (query, words) in [
        ("filter=job", "\"job\" is no matcher: write NAME=VALUE"),
        ("filter=job%3D~(", "the pattern \"(\" of job is no regular expression"),
        ("receiver=*", "the pattern \"*\" of receiver is no regular expression"),
        ("active=perhaps", "active is neither true nor false: \"perhaps\""),
        ("label=job", "there is no parameter \"label\""),
    ] {
        let answer = site.get(&format!("{ALERTS}?{query}")).await;
        described.check("GET", ALERTS, &answer);
        let said = answer.error(400, "bad-request");
        assert!(said.contains(words), "{query}: {said}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_thousand_repetitions_are_one_event_and_one_end() {
    let site = Site::start().await;
    let alert = firing(&json!({ "alertname": "Slow", "job": "api" }));
    let batch = Value::from(vec![alert.clone(); 10]).to_string();
    for _ in 0..100 {
        assert_eq!(site.post(ALERTS, &batch).await.status, 200);
    }
    let told = events(&site).await;
    assert_eq!((told.len(), &told[0]["revision"], &told[0]["event"]["phase"]), (1, &json!(1), &json!("open")));
    assert_eq!((heard(&site, "new").await, heard(&site, "repeated").await), (1.0, 999.0));

    let mut over = alert;
    over["endsAt"] = written(now_ms() - 1000).into();
    for _ in 0..3 {
        assert_eq!(site.post(ALERTS, &json!([over]).to_string()).await.status, 200);
    }
    let told = events(&site).await;
    assert_eq!((told.len(), &told[0]["event"]["phase"]), (1, &json!("close")));
    assert_eq!((heard(&site, "resolved").await, site.json(ALERTS).await), (1.0, json!([])));
    site.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_named_and_the_rest_is_taken() {
    let site = Site::start().await;
    let mut described = Described::of(&site).await;
    let good = firing(&json!({ "alertname": "Good" }));
    let batch = json!([
        { "annotations": {} },
        good,
        { "labels": { "job": "api" } },
        { "labels": { "alertname": "Late" }, "startsAt": "yesterday" },
        5,
    ]);
    let answer = site.post(ALERTS, &batch.to_string()).await;
    described.check("POST", ALERTS, &answer);
    let said = answer.error(400, "bad-request");
    for words in [
        "alerts[0]: it has no labels",
        "alerts[2]: it has no label alertname",
        "alerts[3]: startsAt \"yesterday\" is no time",
        "alerts[4]: it has no labels",
        "the other 1 were taken",
        "docs/INCIDENTS.md",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(events(&site).await.len(), 1);
    assert_eq!(heard(&site, "refused").await, 4.0);

    let many = format!("[{}]", vec!["{}"; 10_001].join(","));
    for (body, status, code, words) in [
        ("{}", 400, "bad-request", "no array of alerts"),
        ("", 400, "bad-request", "no array of alerts"),
        (many.as_str(), 400, "bad-request", "10001 alerts at once"),
    ] {
        assert!(site.post(ALERTS, body).await.error(status, code).contains(words), "{words}");
    }
    assert_eq!(site.post(ALERTS, "[]").await.status, 200);
    site.ask("POST", ALERTS, &[("content-type", "text/plain")], "[]").await.error(415, "not-json");
    site.ask("POST", ALERTS, &[("content-type", "application/json"), ("origin", "http://evil.example")], "[]")
        .await
        .error(403, "forbidden");

    // An annotation of 10 MB is refused, one of 3 MB is cut.
    let annotated = |bytes: usize| {
        let mut alert = firing(&json!({ "alertname": "Long" }));
        alert["annotations"]["summary"] = "x ".repeat(bytes / 2).into();
        json!([alert]).to_string()
    };
    let answer = site.post(ALERTS, &annotated(10_000_000)).await;
    described.check("POST", ALERTS, &answer);
    assert!(answer.error(413, "too-large").contains("larger than 4194304 bytes"));
    assert_eq!(site.post(ALERTS, &annotated(3_000_000)).await.status, 200);
    let told = events(&site).await;
    let long = told.iter().find(|e| e["outside"]["family"] == "Long").expect("it was taken");
    assert_eq!(long["event"]["text"].as_str().map(|text| text.chars().count()), Some(500));
    site.stop().await;
}

#[tokio::test]
async fn times_that_cannot_be_are_brought_to_now_and_our_own_alerts_are_dropped() {
    let site = Site::start().await;
    let before = now_ms();
    let far = |name: &str, starts: i64| {
        let mut alert = firing(&json!({ "alertname": name }));
        alert["startsAt"] = written(starts).into();
        alert["endsAt"] = Value::Null;
        alert
    };
    let own = firing(&json!({ "alertname": "TacitIncident", "instance": "web-1" }));
    let batch = json!([far("Future", before + 86_400_000), far("Past", 0), own]);
    assert_eq!(site.post(ALERTS, &batch.to_string()).await.status, 200);
    let told = events(&site).await;
    assert_eq!((told.len(), heard(&site, "own").await), (2, 1.0));
    for event in told {
        let onset = event["onset_ms"].as_i64().expect("a time");
        assert!((before..=now_ms()).contains(&onset), "{event}");
        assert!(event["event"]["text"].as_str().expect("a text").contains("which is not believed"), "{event}");
    }
    site.stop().await;
}

#[tokio::test]
async fn changes_are_announced_once_and_listed() {
    let site = Site::start().await;
    let mut described = Described::of(&site).await;
    site.node("api-1").await.say("birth", &birth("api-1", 1)).await;
    let deploy = json!({ "what": "deploy api 1.2.3", "service": "api-1/api.service", "actor": "ci", "id": "build 7",
        "url": "https://ci.example/7", "at": written(now_ms() - 5 * MINUTE) });
    for _ in 0..2 {
        let answer = site.post(CHANGES, &deploy.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        described.check("POST", CHANGES, &answer);
        let change = &answer.json()["changes"][0];
        assert_eq!(
            (&change["outside"]["entity"], &change["outside"]["family"]),
            (&json!("api-1/api.service"), &json!("deploy"))
        );
        assert_eq!(
            (&change["event"]["kind"], &change["outside"]["labels"]["actor"]),
            (&json!("context"), &json!("ci"))
        );
    }
    assert_eq!(site.post(CHANGES, r#"{"what":"rotate keys","kind":"config"}"#).await.status, 200);
    let listed = site.get(&format!("{CHANGES}?limit=10")).await;
    described.check("GET", CHANGES, &listed);
    let listed = listed.json()["changes"].clone();
    let texts: Vec<&Value> = listed.as_array().expect("a list").iter().map(|c| &c["event"]["text"]).collect();
    assert_eq!(texts, ["rotate keys", "deploy api 1.2.3"]);
    let recent = site.json(&format!("{CHANGES}?since_ms={}", now_ms() - MINUTE)).await;
    assert_eq!(recent["changes"].as_array().map(Vec::len), Some(1));

    let far = written(now_ms() + 3_600_000);
    for (body, words) in [
        (json!({ "what": " " }), "what has 1 to 2000 bytes"),
        (json!({ "what": "x", "node": "web-9" }), "no node is called \"web-9\""),
        (json!({ "what": "x", "service": "checkout" }), "no service on the map is called \"checkout\""),
        (json!({ "what": "x", "at": far }), "in the future"),
        (json!({ "what": "x", "at": "noon" }), "\"noon\" is no time"),
        (json!({ "what": "x", "at_ms": 0 }), "more than 30 days ago"),
        (json!({ "what": "x", "kind": "A deploy" }), "kind is no word"),
        (json!({ "what": "x", "url": "javascript:alert(1)" }), "url is no address"),
        (json!({ "what": "x", "whom": "y" }), "unknown field `whom`"),
    ] {
        let answer = site.post(CHANGES, &body.to_string()).await;
        described.check("POST", CHANGES, &answer);
        assert!(answer.error(400, "bad-request").contains(words), "{body}: {}", answer.text);
    }
    site.get(&format!("{CHANGES}?limit=0")).await.error(400, "bad-request");
    site.stop().await;
}

/// A collector in a folder that outlives it, and the port of its broker.
async fn collector(folder: &TempDir) -> (Collector, u16) {
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.mqtt.listen.set_port(0);
    config.http.listen.set_port(0);
    config.map.reverse_dns = false;
    let collector = Collector::start(&config).await.unwrap();
    let port = collector.mqtt_address().expect("the embedded broker runs").port();
    (collector, port)
}

async fn say(node: &Client, name: &str, what: &str, payload: Vec<u8>) {
    assert_eq!(node.publish(&topic(name, what), payload).await, Some(PubAckReason::Success), "{what}");
}

/// Looks who is there as the collector's own look does, at any time.
fn roll_call(collector: &Collector, started_ms: i64) -> RollCall {
    RollCall::new(Arc::clone(collector.store()), Arc::clone(collector.ingest()), Broker::Embedded, started_ms)
}

async fn told(collector: &Collector) -> Vec<EventRecord> {
    let mut events = collector.store().events(EventQuery::default()).await.unwrap();
    events.retain(|e| e.source() == EventSource::Presence);
    events
}

async fn presence(collector: &Collector, node: &str) -> Presence {
    collector.store().node(&node.parse().unwrap()).await.unwrap().expect("it is known").presence
}

#[tokio::test]
async fn a_node_that_is_lost_is_told_and_so_is_its_return() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, port) = collector(&folder).await;
    let node = Client::connect("web-2", port).await;
    let mut calls = roll_call(&collector, now_ms());
    say(&node, "web-2", "birth", bytes(&birth("web-2", 1))).await;
    say(&node, "web-2", "death", bytes(&death("web-2", 1, None))).await;
    calls.round(now_ms()).await.unwrap();
    assert!(told(&collector).await.is_empty(), "it may come back");
    for _ in 0..2 {
        calls.round(now_ms() + 31_000).await.unwrap();
    }
    let lost = told(&collector).await;
    assert_eq!((lost.len(), lost[0].event.phase, lost[0].event.head.node.as_str()), (1, Phase::Open, "web-2"));
    assert!(lost[0].event.text.starts_with("node web-2 is lost: its connection broke at "), "{}", lost[0].event.text);
    say(&node, "web-2", "birth", bytes(&birth("web-2", 2))).await;
    calls.round(now_ms() + 35_000).await.unwrap();
    let back = told(&collector).await;
    assert_eq!((back.len(), back[0].event.phase, back[0].key()), (1, Phase::Close, lost[0].key()));
    say(&node, "web-2", "death", bytes(&death("web-2", 2, Some("stopped")))).await;
    calls.round(now_ms()).await.unwrap();
    let stopped = told(&collector).await.into_iter().find(|e| e.key() != lost[0].key()).expect("a goodbye is told");
    assert_eq!(stopped.outside.map(|o| o.family).as_deref(), Some("stopped"));
    collector.stop().await;
}

#[tokio::test]
async fn a_collector_that_is_started_anew_calls_nobody_lost_who_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (first, port) = collector(&folder).await;
    for name in ["web-1", "web-2"] {
        let node = Client::connect(name, port).await;
        say(&node, name, "birth", bytes(&birth(name, 1))).await;
    }
    first.stop().await;
    let (second, port) = collector(&folder).await;
    let mut calls = roll_call(&second, now_ms());
    calls.round(now_ms() + 100_000).await.unwrap();
    assert!(told(&second).await.is_empty());
    assert_eq!(presence(&second, "web-1").await, Presence::Online);
    let node = Client::connect("web-1", port).await;
    say(&node, "web-1", "birth", bytes(&birth("web-1", 2))).await;
    // One of them never came back.
    calls.round(now_ms() + 200_000).await.unwrap();
    let lost = told(&second).await;
    assert_eq!((lost.len(), lost[0].event.head.node.as_str(), lost[0].event.phase), (1, "web-2", Phase::Open));
    assert_eq!(presence(&second, "web-1").await, Presence::Online);
    second.stop().await;
}

#[tokio::test]
async fn no_node_may_have_the_name_of_none() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, port) = collector(&folder).await;
    let node = Client::connect("-", port).await;
    for what in ["birth", "death", "summary", "event", "links", "report", "result"] {
        say(&node, "-", what, bytes(&birth("-", 1))).await;
    }
    let counts = collector.ingest().counters.now();
    assert_eq!((counts.refused[3], counts.stored), (("reserved", 7), 0));
    assert!(collector.store().nodes(None, 10).await.unwrap().is_empty());
    let kept = collector.store().quarantined(1).await.unwrap();
    assert!(kept[0].reason.starts_with("reserved: no node may be called \"-\""), "{}", kept[0].reason);
    collector.stop().await;
}
