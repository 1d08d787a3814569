//! Incidents from outside: events of many nodes come over MQTT, few incidents go out over HTTP, each headed by its cause.

use serde_json::{Value, json};
use tacit_wire::message::{Birth, Direction, Event, EventKind, Evidence, Phase};
use tacit_wire::{Attribute, Num};

use crate::messages::{birth, event, half, links, now_ms, settled_minute};
use crate::site::{Node, Site};

/// A node of the shop, in a network of its own.
async fn node_at(site: &Site, name: &str, address: &str) -> Node {
    let node = site.node(name).await;
    node.say("birth", &Birth { addresses: vec![address.into()], ..birth(name, 1) }).await;
    node
}

fn series(name: &str, attributes: &[(&str, &str)], observed: f32, high: f32) -> Evidence {
    Evidence {
        name: name.into(),
        attributes: attributes.iter().map(|(k, v)| Attribute { key: (*k).into(), value: (*v).into() }).collect(),
        unit: "1".into(),
        share: Num(0.8),
        observed: Num(observed),
        low: Num(0.0),
        high: Num(high),
        direction: Direction::High,
    }
}

/// Calls of a service that wait for an answer.
fn waiting(service: &str) -> Vec<Evidence> {
    vec![series("tacit.link.active", &[("service.name", service), ("tacit.link.role", "client")], 80.0, 4.0)]
}

struct Shop {
    site: Site,
    web: Node,
    api: Node,
    db: Node,
    mail: Node,
}

impl Shop {
    /// web → api → db, and a mail server that nobody of them talks to.
    async fn open() -> Self {
        let site = Site::start().await;
        let web = node_at(&site, "web", "10.0.1.1").await;
        let api = node_at(&site, "api", "10.0.2.1").await;
        let db = node_at(&site, "db", "10.0.3.1").await;
        let mail = node_at(&site, "mail", "10.0.4.1").await;
        let minute = settled_minute();
        let said = vec![half("nginx.service", false, "10.0.2.1", 8080, &[40_001])];
        web.say("links", &links("web", 1, minute, said)).await;
        let said = vec![
            half("api.service", true, "10.0.1.1", 8080, &[40_001]),
            half("api.service", false, "10.0.3.1", 5432, &[41_000]),
        ];
        api.say("links", &links("api", 1, minute, said)).await;
        let said = vec![half("postgresql.service", true, "10.0.2.1", 5432, &[41_000])];
        db.say("links", &links("db", 1, minute, said)).await;
        let edges = ["api/api.service>db/postgresql.service:tcp/5432", "web/nginx.service>api/api.service:tcp/8080"];
        let ids = |map: &Value| map["edges"].as_array().is_some_and(|all| all.iter().map(|e| &e["id"]).eq(edges));
        site.until("/api/v1/map", ids).await;
        Self { site, web, api, db, mail }
    }

    async fn say(&self, node: &Node, id: u8, change: impl FnOnce(&mut Event)) {
        let mut message = event(&node.name, u64::from(id), id, Phase::Open);
        change(&mut message);
        node.say("event", &message).await;
    }
}

fn names(list: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = list.as_array().expect("a list").iter().map(|n| n.as_str().expect("a name")).collect();
    names.sort_unstable();
    names
}

/// A slow database makes everybody complain; a full disk elsewhere is another matter.
#[tokio::test]
async fn a_failing_database_is_one_incident_and_heads_it() {
    let shop = Shop::open().await;
    shop.say(&shop.web, 1, |e| e.evidence = waiting("nginx.service")).await;
    shop.say(&shop.api, 1, |e| (e.evidence, e.severity) = (waiting("api.service"), Num(0.95))).await;
    shop.say(&shop.db, 1, |e| {
        e.text = "disk vda is busy 100 % (usual 2 % to 10 %)".into();
        e.evidence = vec![series("system.linux.disk.utilization", &[("system.device", "vda")], 1.0, 0.1)];
    })
    .await;
    let full = |e: &mut Event| (e.kind, e.rule, e.text) = (EventKind::Rule, Some("disk-full".into()), "/ fills".into());
    shop.say(&shop.mail, 1, full).await;

    let sure = |i: &Value| i["cause"]["entity"] == "db" && i["cause"]["unsure"] == false;
    let all = shop
        .site
        .until("/api/v1/incidents?open=true", |all| {
            // Two that turned out to be one a moment later are one.
            let list = all["incidents"].as_array().expect("a list");
            list.len() == 2 && list.iter().any(sure)
        })
        .await;
    let list = all["incidents"].as_array().expect("a list");
    let (shop_wide, alone): (Vec<&Value>, Vec<&Value>) = list.iter().partition(|i| sure(i));
    assert_eq!(names(&shop_wide[0]["nodes"]), ["api", "db", "web"]);
    assert_eq!(shop_wide[0]["title"], "db: disk vda is busy 100 % (usual 2 % to 10 %)");
    assert_eq!((names(&alone[0]["nodes"]), &alone[0]["title"]), (vec!["mail"], &json!("/ fills")));

    let detail = shop.site.json(&format!("/api/v1/incidents/{}", shop_wide[0]["id"])).await;
    let causes = detail["ranking"]["causes"].as_array().expect("a ranking");
    assert_eq!(causes[0]["entity"], "db");
    assert!(causes[0]["evidence"][0]["subject"].as_str().is_some_and(|s| s.contains("on db")), "{:#}", causes[0]);
    assert!(detail["events"].as_array().expect("a list").len() == 3);
    shop.site.stop().await;
}

/// What only explains opens nothing, and is there when something breaks.
#[tokio::test]
async fn context_opens_nothing_and_joins_what_breaks() {
    let shop = Shop::open().await;
    let restart = |e: &mut Event| {
        (e.kind, e.text, e.onset_ms) = (EventKind::Context, "api.service was restarted".into(), now_ms() - 3000);
    };
    shop.say(&shop.api, 1, restart).await;
    let seen = |list: &Value| list["events"].as_array().is_some_and(|l| !l.is_empty());
    shop.site.until("/api/v1/events?node=api", seen).await;
    assert!(shop.site.json("/api/v1/incidents").await["incidents"].as_array().expect("a list").is_empty());
    shop.say(&shop.api, 2, |e| e.evidence = waiting("api.service")).await;
    let joined = |detail: &Value| detail["events"].as_array().is_some_and(|l| l.len() == 2);
    shop.site.until("/api/v1/incidents", |all| all["incidents"].as_array().is_some_and(|l| l.len() == 1)).await;
    shop.site.until("/api/v1/incidents/1", joined).await;
    shop.site.stop().await;
}

/// What comes and goes is one incident that stays open, not one page after another.
#[tokio::test]
async fn what_flaps_is_held() {
    let shop = Shop::open().await;
    let start = now_ms() - 120_000;
    for turn in 0..5_u8 {
        let at = start + i64::from(turn) * 20_000;
        let mut open = event("mail", u64::from(turn) * 2 + 1, turn + 1, Phase::Open);
        (open.kind, open.rule, open.onset_ms) = (EventKind::Rule, Some("probe-failed".into()), at);
        shop.mail.say("event", &open).await;
        let close = Event { phase: Phase::Close, end_ms: Some(at + 10_000), ..open };
        let head = tacit_wire::message::Head { seq: tacit_wire::Seq(u64::from(turn) * 2 + 2), ..close.head.clone() };
        shop.mail.say("event", &Event { head, ..close }).await;
    }
    let all = shop
        .site
        .until("/api/v1/incidents", |all| {
            all["incidents"].as_array().is_some_and(|l| l.iter().any(|i| i["unstable"] == true))
        })
        .await;
    assert_eq!(all["incidents"].as_array().expect("a list").len(), 1, "{all:#}");
    shop.site.stop().await;
}
