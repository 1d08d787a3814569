//! What comes in over MQTT: stored once, refused, or kept apart.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use rumqttc::mqttbytes::v5::{PubAckReason, SubscribeReasonCode};
use tacit_collector::config::Config;
use tacit_collector::incident::Judge;
use tacit_collector::store::{EventQuery, IncidentChange, IncidentQuery, IncidentState, PointQuery, Presence};
use tacit_collector::{Collector, StartError};
use tacit_wire::message::Phase;
use tacit_wire::{NodeId, Seq};
use tempfile::TempDir;

use crate::client::{Client, PATIENCE};
use crate::messages::{SITE, birth, bytes, death, event, now_ms, summary, topic};

const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn config(folder: &TempDir) -> Config {
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.mqtt.listen = FREE;
    config.http.listen = FREE;
    config
}

/// A collector in a folder of its own, and the port of its broker.
async fn start() -> (TempDir, Collector, u16) {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(&config(&folder)).await.unwrap();
    let port = collector.mqtt_address().expect("the embedded broker runs").port();
    (folder, collector, port)
}

fn web1() -> NodeId {
    "web-1".parse().unwrap()
}

/// Waits until `check` holds. What it waits for happens at once; the bound is for slow machines.
async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !check().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: it did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn acknowledged_is_stored_and_a_repetition_changes_nothing() {
    let (_folder, collector, port) = start().await;
    let node = Client::connect("web-1", port).await;
    let store = collector.store();
    assert_eq!(node.publish(&topic("web-1", "birth"), bytes(&birth("web-1", 1))).await, Some(PubAckReason::Success));
    // Looked up with no waiting: the acknowledgement came after the commit.
    assert_eq!(store.node(&web1()).await.unwrap().expect("the node is known").presence, Presence::Online);

    let opened = bytes(&event("web-1", 1, 9, Phase::Open));
    let minute = bytes(&summary("web-1", 1));
    for round in 0..3 {
        assert_eq!(node.publish(&topic("web-1", "event"), opened.clone()).await, Some(PubAckReason::Success));
        assert_eq!(node.publish(&topic("web-1", "summary"), minute.clone()).await, Some(PubAckReason::Success));
        let counts = collector.ingest().counters.now();
        assert_eq!((counts.stored, counts.duplicates), (3, 2 * round));
    }
    assert_eq!(store.events(EventQuery::default()).await.unwrap().len(), 1);
    let points = PointQuery { node: web1(), series: Vec::new(), from_ms: i64::MIN, to_ms: i64::MAX };
    assert_eq!(store.points(points).await.unwrap()[0].points.len(), 1);
    assert_eq!(store.totals().await.unwrap().messages, 3);
    let acks = store.acks(&web1()).await.unwrap();
    assert!(acks.len() == 2 && acks.iter().all(|a| a.seq == Seq(1)), "{acks:?}");
    collector.stop().await;
}

#[tokio::test]
async fn garbage_is_kept_apart_and_the_connection_lives() {
    let (_folder, collector, port) = start().await;
    let node = Client::connect("web-1", port).await;
    let garbage: [&[u8]; 5] = [b"", b"{", b"\xa1\x00", &[0xff; 300], b"\x28\xb5\x2f\xfd nothing"];
    let kinds = ["birth", "death", "summary", "event", "links", "report", "result"];
    for kind in kinds {
        for bad in garbage {
            let answer = node.publish(&topic("web-1", kind), bad.to_vec()).await;
            assert_eq!(answer, Some(PubAckReason::Success), "{kind}: sending it again would not help");
        }
    }
    // A whole message with another node's name in it.
    let foreign = bytes(&birth("web-2", 1));
    assert_eq!(node.publish(&topic("web-1", "birth"), foreign).await, Some(PubAckReason::Success));

    let sent = (kinds.len() * garbage.len()) as u64;
    let counts = collector.ingest().counters.now();
    assert_eq!(counts.refused, [("topic", 0), ("undecodable", sent), ("wrong-node", 1), ("reserved", 0)]);
    assert_eq!((counts.messages, counts.stored), (sent + 1, 0));
    let kept = collector.store().quarantined(1000).await.unwrap();
    assert_eq!(kept.len() as u64, sent + 1);
    assert!(kept[0].reason.starts_with("wrong-node: ") && kept[0].client == "web-1", "{:?}", kept[0]);
    assert!(collector.store().nodes(None, 10).await.unwrap().is_empty());

    assert!(!node.ended());
    assert_eq!(node.publish(&topic("web-1", "birth"), bytes(&birth("web-1", 1))).await, Some(PubAckReason::Success));
    assert!(collector.store().node(&web1()).await.unwrap().is_some());
    collector.stop().await;
}

#[tokio::test]
async fn a_node_speaks_and_hears_only_as_itself() {
    let (_folder, collector, port) = start().await;
    let node = Client::connect("web-1", port).await;
    let payload = bytes(&birth("web-2", 1));
    for foreign in [
        topic("web-2", "birth"),
        format!("tacit/1/{SITE}/d/web-1/config"),
        format!("tacit/1/{SITE}/c/status"),
        "home/door".to_owned(),
    ] {
        assert_eq!(node.publish(&foreign, payload.clone()).await, Some(PubAckReason::NotAuthorized), "{foreign}");
    }
    for foreign in [format!("tacit/1/{SITE}/d/web-2/+"), format!("tacit/1/{SITE}/u/+/+"), "#".to_owned()] {
        assert_eq!(node.subscribe(&foreign).await, SubscribeReasonCode::NotAuthorized, "{foreign}");
    }
    assert!(matches!(node.subscribe(&format!("tacit/1/{SITE}/d/web-1/+")).await, SubscribeReasonCode::Success(_)));
    assert_eq!(collector.ingest().counters.now().messages, 0);
    assert!(collector.store().nodes(None, 10).await.unwrap().is_empty());
    collector.stop().await;
}

#[tokio::test]
async fn a_tool_reads_everything_and_writes_nothing() {
    let (_folder, collector, port) = start().await;
    let mut tool = Client::connect("Tool-1", port).await;
    assert!(matches!(tool.subscribe("tacit/1/+/u/+/+").await, SubscribeReasonCode::Success(_)));
    let answer = tool.publish(&topic("web-1", "birth"), bytes(&birth("web-1", 1))).await;
    assert_eq!(answer, Some(PubAckReason::NotAuthorized));
    assert!(collector.store().nodes(None, 10).await.unwrap().is_empty());

    let node = Client::connect("web-1", port).await;
    let born = bytes(&birth("web-1", 1));
    assert_eq!(node.publish(&topic("web-1", "birth"), born.clone()).await, Some(PubAckReason::Success));
    let heard = tool.receive(PATIENCE).await.expect("the tool hears the birth");
    assert_eq!((&heard.topic[..], &heard.payload[..]), (topic("web-1", "birth").as_bytes(), &born[..]));
    collector.stop().await;
}

#[tokio::test]
async fn only_the_newest_connection_can_die() {
    let (_folder, collector, port) = start().await;
    let node = Client::connect("web-1", port).await;
    let presence = async || collector.store().node(&web1()).await.unwrap().expect("the node is known").presence;
    let said = async |what: &str, payload| {
        assert_eq!(node.publish(&topic("web-1", what), payload).await, Some(PubAckReason::Success));
    };
    said("birth", bytes(&birth("web-1", 2))).await;
    said("death", bytes(&death("web-1", 1, None))).await;
    assert_eq!(presence().await, Presence::Online, "a late death is of a connection that was replaced");
    said("death", bytes(&death("web-1", 2, Some("stopped")))).await;
    assert_eq!(presence().await, Presence::Stopped);
    said("birth", bytes(&birth("web-1", 3))).await;
    assert_eq!(presence().await, Presence::Online);
    said("death", bytes(&death("web-1", 3, None))).await;
    assert_eq!(presence().await, Presence::Lost);
    collector.stop().await;
}

#[tokio::test]
async fn what_nodes_send_is_never_retained() {
    let (_folder, collector, port) = start().await;
    let node = Client::connect("web-1", port).await;
    let notice = node.send(&topic("web-1", "birth"), bytes(&birth("web-1", 1)), true).await.expect("connected");
    assert_eq!(crate::client::reason(notice).await, Some(PubAckReason::Success));
    assert!(collector.store().node(&web1()).await.unwrap().is_some(), "it is stored all the same");

    let mut tool = Client::connect("Tool-1", port).await;
    assert!(matches!(tool.subscribe("tacit/1/+/u/+/+").await, SubscribeReasonCode::Success(_)));
    // Retained messages come before anything published later: the first that comes is the later one.
    let later = bytes(&summary("web-1", 1));
    assert_eq!(node.publish(&topic("web-1", "summary"), later).await, Some(PubAckReason::Success));
    let heard = tool.receive(PATIENCE).await.expect("the later message");
    assert_eq!((&heard.topic[..], heard.retain), (topic("web-1", "summary").as_bytes(), false));
    collector.stop().await;
}

#[tokio::test]
async fn a_folder_and_a_port_belong_to_one_collector() {
    let (folder, collector, port) = start().await;
    let error = Collector::start(&config(&folder)).await.expect_err("the folder is taken");
    assert!(matches!(error, StartError::Locked { .. }), "{error}");

    let other = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind(FREE).unwrap();
    let mut http = config(&other);
    http.http.listen = taken.local_addr().unwrap();
    let error = Collector::start(&http).await.expect_err("the HTTP port is taken");
    assert!(matches!(error, StartError::Http { .. }), "{error}");
    assert!(error.to_string().contains(&http.http.listen.to_string()), "{error}");

    let mut mqtt = config(&other);
    mqtt.mqtt.listen.set_port(port);
    let error = Collector::start(&mqtt).await.expect_err("the MQTT port is taken");
    assert!(matches!(error, StartError::Broker(_)), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");

    // What failed left nothing behind: the folder can be used, and so can the first one after its collector ended.
    Collector::start(&config(&other)).await.expect("the folder is free").stop().await;
    collector.stop().await;
    Collector::start(&config(&folder)).await.expect("the folder is free again").stop().await;
}

#[tokio::test]
async fn an_event_opens_an_incident_that_resolves_after_it_closed() {
    let (_folder, collector, port) = start().await;
    let node = Client::connect("web-1", port).await;
    let store = collector.store();
    node.publish(&topic("web-1", "birth"), bytes(&birth("web-1", 1))).await.expect("acknowledged");
    node.publish(&topic("web-1", "event"), bytes(&event("web-1", 1, 9, Phase::Open))).await.expect("acknowledged");
    let newest = async || store.incidents(IncidentQuery::default()).await.unwrap().into_iter().next();
    until("the incident opens", async || newest().await.is_some()).await;
    let incident = newest().await.expect("it is there");
    assert_eq!((incident.state, incident.title.as_str()), (IncidentState::Open, "disk reads are slow"));
    assert_eq!(incident.nodes, [web1()]);

    node.publish(&topic("web-1", "event"), bytes(&event("web-1", 2, 9, Phase::Close))).await.expect("acknowledged");
    let detail = async || store.incident(incident.id).await.unwrap().expect("it is there");
    until("the end is noted", async || detail().await.audit.iter().any(|a| a.action == "event-ended")).await;
    let mut judge = Judge::new(store.clone(), collector.ingest().clone(), collector.map().clone());
    judge.round(now_ms()).await.unwrap();
    assert_eq!(detail().await.incident.state, IncidentState::Open, "it was not quiet for long enough");

    // As if the last change had been three minutes ago.
    let mut quiet = detail().await.incident;
    quiet.updated_ms -= 180_000;
    store
        .save_incident(IncidentChange { incident: quiet, event: None, also: Vec::new(), audit: Vec::new() })
        .await
        .unwrap();
    judge.round(now_ms() + 6000).await.unwrap();
    let detail = detail().await;
    assert_eq!(detail.incident.state, IncidentState::Resolved);
    let trail: Vec<_> = detail.audit.iter().map(|a| a.action.as_str()).collect();
    assert_eq!(trail, ["opened", "event-ended", "resolved"]);
    collector.stop().await;
}
