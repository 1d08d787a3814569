//! Server-sent events: what happens, and what a node measures while somebody looks.

use serde_json::{Value, json};
use tacit_wire::codec::decode;
use tacit_wire::message::{Command, CommandKind, Phase, ResultBody};
use tacit_wire::{Num, SeriesId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Client, PATIENCE};
use crate::messages::{SITE, birth, event, summary};
use crate::site::{Site, obey};

#[tokio::test]
async fn what_happens_is_told_at_once() {
    let site = Site::start().await;
    let mut live = site.follow("/api/v1/live").await;
    let node = site.node("web-1").await;
    node.say("birth", &birth("web-1", 1)).await;
    assert_eq!(live.next().await, Some(("node".into(), json!({ "node": "web-1" }))));
    node.say("summary", &summary("web-1", 1)).await;
    assert_eq!(live.next().await, Some(("summary".into(), json!({ "node": "web-1" }))));

    node.say("event", &event("web-1", 1, 9, Phase::Open)).await;
    assert_eq!(live.next_of("event").await["event"]["text"], "disk reads are slow");
    // The page that follows asks at once: it finds what it was told.
    let mut late = site.follow("/api/v1/live").await;
    let told = async |live: &mut crate::site::Stream, state: &str| {
        let mut incident = live.next_of("incident").await;
        // Its causes are ranked when that is due: a notice of its own, in between.
        while incident["state"] != state {
            incident = live.next_of("incident").await;
        }
        let mut found = site.json("/api/v1/incidents/1").await["incident"].clone();
        for changes in ["revision", "cause", "title"] {
            found[changes] = incident[changes].clone();
        }
        assert_eq!(found, incident);
    };
    told(&mut live, "open").await;
    for (verb, state) in [("acknowledge", "acknowledged"), ("resolve", "resolved")] {
        assert_eq!(site.post(&format!("/api/v1/incidents/1/{verb}"), "{}").await.status, 200);
        told(&mut live, state).await;
    }
    // Each follower has all of it from when it came.
    while late.next_of("incident").await["state"] != "resolved" {}
    site.stop().await;
}

fn frame(n: u32, values: Vec<Vec<Num>>) -> ResultBody {
    let (start_ms, ids) = (1000 * i64::from(n), vec![SeriesId(1), SeriesId(2)]);
    ResultBody::Frames { epoch: 1, start_ms, step_ms: 1000, ids, frames: values }
}

#[tokio::test]
async fn a_watched_node_is_seen() {
    let (site, client) = Site::with_an_incident().await;
    obey("web-1", client, |kind| match kind {
        CommandKind::Watch { seconds } => {
            assert!(*seconds > 0, "a lease lasts");
            let values = |n: u8| vec![vec![Num(f32::from(n)), Num::NONE]];
            vec![frame(0, values(1)), ResultBody::Done, frame(1, values(2))]
        }
        _ => vec![ResultBody::Done],
    })
    .await;
    let mut watch = site.follow("/api/v1/nodes/web-1/watch").await;
    for n in 0..2 {
        let expected = json!({
            "epoch": 1, "start_ms": 1000 * n, "step_ms": 1000, "ids": [1, 2], "frames": [[f64::from(n + 1), null]],
        });
        assert_eq!(watch.next().await, Some(("frames".into(), expected)));
    }
    site.stop().await;
}

/// Each is hundreds of kilobytes as JSON.
const PARTS: u32 = 250;

/// What waits for a reader is bounded. When that breaks a stream off it ends, and does not go round in circles.
#[tokio::test]
async fn a_reader_that_sleeps_loses_its_stream() {
    let (site, client) = Site::with_an_incident().await;
    obey("web-1", client, |kind| match kind {
        // More than the sockets between take.
        CommandKind::Watch { .. } => {
            let random =
                |n: u32| vec![(0..8000).map(|_| Num::quantised(fastrand::f32())).collect(); 2 + (n % 2) as usize];
            (0..PARTS).map(|n| frame(n, random(n))).collect()
        }
        CommandKind::Diagnose => vec![ResultBody::Text { text: "all was sent".into() }],
        _ => vec![ResultBody::Done],
    })
    .await;
    let mut socket = tokio::net::TcpStream::connect(site.host()).await.unwrap();
    let request = format!("GET /api/v1/nodes/web-1/watch HTTP/1.1\r\nhost: {}\r\n\r\n", site.host());
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 15];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    // The node obeys one after the other: it has no time for this before all is sent.
    while site.get("/api/v1/nodes/web-1/diagnose").await.status == 504 {}

    let mut text = Vec::new();
    let end = b"\r\n0\r\n\r\n";
    while !text.ends_with(end) {
        let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut text)).await.expect("the stream ends");
        assert!(read.unwrap() > 0, "the stream ends well");
        assert!(text.len() < 200_000_000, "the stream goes on and on");
    }
    let events = |name: &str| String::from_utf8_lossy(&text).matches(&format!("event: {name}\n")).count();
    assert!((1..PARTS as usize).contains(&events("frames")), "{} frames came", events("frames"));
    assert_eq!(events("silent"), 0);
    site.stop().await;
}

#[tokio::test]
async fn a_collector_that_stops_ends_what_waits() {
    let (site, mut node) = Site::with_an_incident().await;
    node.subscribe(&format!("tacit/1/{SITE}/d/web-1/command")).await;
    let mut live = site.follow("/api/v1/live").await;
    let mut watch = site.follow("/api/v1/nodes/web-1/watch").await;
    let http: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/api/v1/nodes/web-1/diagnose", site.host());
    let diagnose = tokio::task::spawn_blocking(move || {
        let mut answer = http.get(url).call().expect("the question is answered before the end");
        (answer.status().as_u16(), answer.body_mut().read_json::<Value>().expect("JSON"))
    });
    // The question is open when the node hears it.
    let asked = async |node: &mut Client| {
        let message = node.receive(PATIENCE).await.expect("a command");
        decode::<Command>(&message.payload).expect("a command").kind
    };
    while asked(&mut node).await != Some(CommandKind::Diagnose) {}
    site.stop().await;
    assert_eq!((live.next().await, watch.next().await), (None, None));
    let (status, body) = diagnose.await.unwrap();
    assert_eq!((status, &body["error"]["code"]), (503, &json!("stopping")));
}
