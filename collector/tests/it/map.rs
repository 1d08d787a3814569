//! The map from outside: halves come over MQTT, edges go out over HTTP.

use serde_json::{Value, json};
use tacit_wire::codec::decode;
use tacit_wire::message::{Birth, Command, CommandKind, Links, Listener};

use crate::client::PATIENCE;
use crate::messages::{SITE, birth, half, links, now_ms, settled_minute};
use crate::site::{Node, Site};

async fn node_at(site: &Site, name: &str, address: &str) -> Node {
    let node = site.node(name).await;
    node.say("birth", &Birth { addresses: vec![address.into()], ..birth(name, 1) }).await;
    node
}

fn edges(map: &Value) -> Vec<&str> {
    map["edges"].as_array().expect("a list").iter().map(|e| e["id"].as_str().expect("an id")).collect()
}

/// A front, two servers behind a virtual address, a database, and somebody outside.
#[tokio::test]
async fn halves_become_a_map_that_answers_questions() {
    let site = Site::start().await;
    let lb = node_at(&site, "lb", "10.0.0.1").await;
    let app = node_at(&site, "app", "10.0.0.2").await;
    let db = node_at(&site, "db", "10.0.0.3").await;
    let minute = settled_minute();
    let said = vec![
        half("nginx.service", false, "10.98.0.200", 80, &[40_001, 40_003]),
        half("nginx.service", true, "203.0.113.9", 443, &[50_001]),
        half("chronyd.service", false, "10.0.0.3", 53, &[1]),
    ];
    lb.say("links", &links("lb", 1, minute, said)).await;
    let said = vec![
        half("web.service", true, "10.0.0.1", 8080, &[40_001, 40_003]),
        half("web.service", false, "10.0.0.3", 5432, &[41_000]),
    ];
    app.say("links", &links("app", 1, minute, said)).await;
    db.say("links", &links("db", 1, minute, vec![half("postgresql.service", true, "10.0.0.2", 5432, &[41_000])])).await;

    let expected = [
        "app/web.service>db/postgresql.service:tcp/5432",
        "ext:203.0.113.9>lb/nginx.service:tcp/443",
        "lb/chronyd.service>db/:53:tcp/53",
        "lb/nginx.service>app/web.service:tcp/8080",
    ];
    let map = site.until("/api/v1/map", |map| edges(map) == expected).await;
    let edge = &map["edges"][3];
    assert_eq!(
        (&edge["via"], &edge["owned"], &edge["confidence"]),
        (&json!("10.98.0.200:80"), &json!(true), &json!(1.0))
    );
    assert_eq!((&edge["sent"], &edge["received"], &edge["retransmits"]), (&json!(1000), &json!(9000), &json!(2)));
    let c = &map["coverage"];
    assert_eq!((&c["edges"], &c["edges_owned"], &c["outside"]), (&json!(3), &json!(2), &json!(1)));

    let part = async |query: &str| {
        let map = site.json(&format!("/api/v1/map?{query}")).await;
        edges(&map).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(part("infrastructure=false").await.len(), 3);
    assert_eq!(part("service=postgresql.service").await, [expected[0]]);
    assert_eq!(part("node=app").await, [expected[0], expected[3]]);
    assert_eq!(part("site=nowhere").await.len(), 0);
    assert_eq!(part(&format!("to={}", minute - 1)).await.len(), 0, "before there was nothing");

    let blast = site.json("/api/v1/map/blast?service=postgresql.service").await;
    let affected: Vec<_> = blast["affected"].as_array().unwrap().iter().map(|d| (&d["id"], &d["steps"])).collect();
    let chain = ["app/web.service", "lb/nginx.service", "ext:203.0.113.9"].map(|id| json!(id));
    assert_eq!(affected, [(&chain[0], &json!(1)), (&chain[1], &json!(2)), (&chain[2], &json!(3))]);
    assert_eq!(blast["unaffected"], json!(["db/:53", "lb/chronyd.service"]));
    let path = site.json("/api/v1/map/path?from=lb&to=db/postgresql.service").await;
    assert_eq!(path["vertices"], json!(["lb/nginx.service", "app/web.service", "db/postgresql.service"]));

    let dot = site.get("/api/v1/map/export?format=dot&service=web.service").await;
    assert!(dot.text.contains("\"lb/nginx.service\" -> \"app/web.service\""), "{}", dot.text);
    let metrics = site.get("/metrics").await.text;
    let line = "traces_service_graph_request_total{client=\"app/web.service\",server=\"db/postgresql.service\",connection_type=\"database\"} 10";
    assert!(metrics.contains(line), "{metrics}");
    site.stop().await;
}

/// A node that floods, and one that claims what is another's, harm nobody else.
#[tokio::test]
async fn forged_links_stay_at_their_sender() {
    let site = Site::start().await;
    let web = node_at(&site, "web", "10.0.0.1").await;
    let db = node_at(&site, "db", "10.0.0.2").await;
    let evil = node_at(&site, "evil", "10.0.0.2").await;
    let minute = settled_minute();
    for seq in 1..=13 {
        let many = (0..800_u32).map(|n| {
            let peer = format!("10.{}.{}.{}", 100 + seq, n / 250, n % 250);
            half("x", false, &peer, 80, &[])
        });
        evil.say("links", &links("evil", seq, minute, many.collect())).await;
    }
    let forged = vec![half("postgresql.service", true, "10.0.0.1", 5432, &[40_001])];
    evil.say("links", &links("evil", 14, minute - 60_000, forged)).await;
    web.say("links", &links("web", 1, minute, vec![half("nginx.service", false, "10.0.0.2", 5432, &[40_001])])).await;
    db.say("links", &links("db", 1, minute, vec![half("postgresql.service", true, "10.0.0.1", 5432, &[40_001])])).await;

    let honest = "web/nginx.service>db/postgresql.service:tcp/5432";
    let map = site.until("/api/v1/map?node=db", |map| edges(map) == [honest]).await;
    let conflict = &map["coverage"]["conflicts"][0];
    assert_eq!((&conflict["kind"], &conflict["nodes"]), (&json!("address"), &json!(["db", "evil"])));
    assert_eq!(conflict["text"], "10.0.0.2 in lab is claimed by db and evil; db is believed");
    let all = site.until("/api/v1/map?node=evil", |map| edges(map).len() >= 4096).await;
    assert!(edges(&all).len() <= 4098, "bounded by node");
    let evil = all["coverage"]["nodes"].as_array().unwrap().iter().find(|n| n["node"] == "evil").unwrap();
    assert!(evil["beyond"].as_u64().unwrap() >= 13 * 800 - 4096, "{evil}");
    site.stop().await;
}

/// Whatever the order in which halves come and however often, the map is the same.
#[tokio::test]
async fn late_halves_are_folded_in_once() {
    let site = Site::start().await;
    let web = node_at(&site, "web", "10.0.0.1").await;
    let db = node_at(&site, "db", "10.0.0.2").await;
    let minute = settled_minute();
    let client = links("web", 1, minute, vec![half("nginx.service", false, "10.0.0.2", 5432, &[40_001])]);
    web.say("links", &client).await;
    site.until("/api/v1/map", |map| edges(map) == ["web/nginx.service>db/:5432:tcp/5432"]).await;
    web.say("links", &client).await;
    db.say("links", &links("db", 1, minute, vec![half("pg", true, "10.0.0.1", 5432, &[40_001])])).await;
    let map = site.until("/api/v1/map", |map| edges(map) == ["web/nginx.service>db/pg:tcp/5432"]).await;
    assert_eq!(map["edges"][0]["connects"], 10);
    assert!(map["edges"][0]["last_seen_ms"].as_i64().unwrap() <= now_ms());
    site.stop().await;
}

/// The collector was away when a node announced its endpoints: it asks for them, and loses nothing of what came meanwhile.
#[tokio::test]
async fn a_node_is_asked_for_what_it_did_not_announce() {
    let site = Site::start().await;
    let mut web = site.node("web").await;
    web.client.subscribe(&format!("tacit/1/{SITE}/d/web/+")).await;
    web.say("birth", &Birth { capabilities: vec!["announce".into()], ..birth("web", 1) }).await;
    let minute = settled_minute();
    let mut message = links("web", 1, minute, vec![half("nginx.service", false, "192.0.2.7", 443, &[])]);
    let endpoints = std::mem::take(&mut message.endpoints);
    web.say("links", &message).await;
    loop {
        let message = web.client.receive(PATIENCE).await.expect("a command");
        // It asks for other things too.
        if message.topic.ends_with(b"/command")
            && decode::<Command>(&message.payload).expect("a command").kind == Some(CommandKind::Announce)
        {
            break;
        }
    }
    web.say("links", &Links { endpoints, ..links("web", 2, minute + 60_000, Vec::new()) }).await;
    let map = site.until("/api/v1/map", |map| edges(map) == ["web/nginx.service>ext:192.0.2.7:443:tcp/443"]).await;
    assert_eq!(map["edges"][0]["connects"], 10);
    assert_eq!(map["coverage"]["nodes"][0]["unusable"], 1, "it is told what was not known meanwhile");
    site.stop().await;
}

/// A server that says nothing of its connections is named by its birth, and a connect that lost its port is on its edge.
#[tokio::test]
async fn births_name_servers_and_lost_ports_are_found() {
    let site = Site::start().await;
    let web = node_at(&site, "web", "10.0.0.1").await;
    let db = site.node("db").await;
    let listeners = vec![Listener { address: "*".into(), port: 5432, owner: Some("postgresql.service".into()) }];
    db.say("birth", &Birth { addresses: vec!["10.0.0.2".into()], listeners, ..birth("db", 1) }).await;
    let (local, peer, mut failed) = half("php", false, "10.0.0.2", 0, &[]);
    (failed.connects, failed.failed, failed.active) = (0, 7, 0);
    let elsewhere = half("php", false, "192.0.2.9", 0, &[]);
    let said = vec![half("php", false, "10.0.0.2", 5432, &[40_001]), (local, peer, failed), elsewhere];
    web.say("links", &links("web", 1, settled_minute(), said)).await;
    let expected = ["web/php>db/postgresql.service:tcp/5432", "web/php>ext:192.0.2.9:tcp/0"];
    let map = site.until("/api/v1/map", |map| edges(map) == expected).await;
    assert_eq!((&map["edges"][0]["failed"], &map["edges"][0]["connects"]), (&json!(7), &json!(10)));
    assert!(map["edges"][0]["confidence"].as_f64().unwrap() < 1.0, "only its birth says so");
    site.stop().await;
}

/// Both ends tell five minutes in one message, and then only that nothing changed.
#[tokio::test]
async fn batches_and_steady_edges_are_whole() {
    let site = Site::start().await;
    let web = node_at(&site, "web", "10.0.0.1").await;
    let db = node_at(&site, "db", "10.0.0.2").await;
    let start = settled_minute() - 10 * 60_000;
    for (node, peer, server) in [(&web, "10.0.0.2", false), (&db, "10.0.0.1", true)] {
        let name = if server { "db" } else { "web" };
        let told = links(name, 1, start, vec![half("x", server, peer, 5432, &[40_001])]);
        node.say("links", &Links { step_s: 300, ..told }).await;
        let steady = links(name, 2, start + 5 * 60_000, Vec::new());
        node.say("links", &Links { step_s: 300, steady: 1, ..steady }).await;
    }
    let is_whole = |map: &Value| edges(map).len() == 1 && map["edges"][0]["connects"] == 20;
    let from = start - 3_600_000;
    let map = site.until(&format!("/api/v1/map?from={from}"), is_whole).await;
    assert_eq!(map["edges"][0]["id"], "web/x>db/x:tcp/5432");
    assert_eq!((&map["edges"][0]["sent"], &map["edges"][0]["first_seen_ms"]), (&json!(2000), &json!(start)));
    site.stop().await;
}
