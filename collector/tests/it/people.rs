//! What people do to incidents and what they are shown, with a store that nothing but the test writes into.

use serde_json::{Value, json};
use tacit_collector::cause::rank;
use tacit_collector::store::{
    AuditEntry, CauseHead, EventRecord, Incident, IncidentChange, IncidentState, StoredRanking, TrailEntry,
};
use tacit_wire::Num;
use tacit_wire::message::{Context, ContextKind, Event, EventKind, Phase};

use crate::html::Page;
use crate::messages::{event, now_ms};
use crate::office::{API, DB, Office, evidence};

fn head() -> CauseHead {
    let ranking = rank(&evidence(now_ms()));
    let first = ranking.causes.first().expect("there are candidates");
    let line = first.evidence.first().map(ToString::to_string).unwrap_or_default();
    CauseHead { entity: first.entity.clone(), kind: first.kind, line, margin: ranking.margin, unsure: ranking.unsure }
}

/// An alarm of a node.
fn alarm(node: &str, id: u8, text: &str) -> Event {
    Event { text: text.into(), ..event(node, u64::from(id), id, Phase::Open) }
}

fn key(node: &str, id: u8) -> Value {
    json!({ "node": node, "event": format!("{id:02x}").repeat(8) })
}

/// Actor, action and note of the newest line of a trail.
fn last_line(detail: &Value) -> [String; 3] {
    let line = detail["audit"].as_array().and_then(|a| a.last()).expect("a line").clone();
    ["actor", "action", "note"].map(|k| line[k].as_str().unwrap_or("-").to_owned())
}

#[tokio::test]
async fn two_incidents_become_one() {
    let office = Office::open().await;
    let one = office.incident(&[alarm("web-1", 1, "answers are late")], |_| {}).await;
    let two = office.incident(&[alarm("db-1", 2, "disk is slow"), alarm("db-1", 3, "memory")], |_| {}).await;
    let path = |id: i64, verb: &str| format!("/api/v1/incidents/{id}/{verb}");

    let refused = office.post(&path(one.id, "merge"), json!({ "into": one.id })).await;
    assert!(refused.error(409, "conflict").contains("cannot become part of itself"));
    office.post(&path(one.id, "merge"), json!({ "into": 99 })).await.error(404, "not-found");
    office.post(&path(one.id, "merge"), json!({})).await.error(400, "bad-request");

    let whole =
        office.done(&path(one.id, "merge"), json!({ "into": two.id, "actor": "ana", "note": "one disk" })).await;
    assert_eq!((&whole["id"], &whole["events"]), (&json!(two.id), &json!(3)));
    assert_eq!(whole["nodes"], json!(["db-1", "web-1"]));
    let told = office.json(&format!("/api/v1/incidents/{}", two.id)).await;
    assert_eq!(told["events"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        last_line(&told),
        ["ana".to_owned(), "merged".into(), format!("incident {} with 1 event: one disk", one.id)]
    );
    let part = office.json(&format!("/api/v1/incidents/{}", one.id)).await;
    assert_eq!((&part["incident"]["state"], &part["incident"]["merged_into"]), (&json!("resolved"), &json!(two.id)));
    assert_eq!(part["events"], json!([]));
    assert_eq!(last_line(&part)[1], "merged-into");

    // It takes no more orders, and says where to give them.
    for (verb, body) in [
        ("acknowledge", json!({})),
        ("comment", json!({ "note": "x" })),
        ("label", json!({ "label": "true" })),
        ("merge", json!({ "into": two.id })),
    ] {
        let words = office.post(&path(one.id, verb), body).await.error(409, "conflict");
        assert!(words.contains(&format!("became part of incident {}", two.id)), "{verb}: {words}");
    }
    let page = office.page(&format!("/incidents/{}", one.id)).await;
    assert!(page.says("became part of") && page.all("form").count() == 0, "{:?}", page.texts);
    assert!(office.page("/digest").await.says("became part of others"));

    let over = office.incident(&[alarm("app-1", 4, "over")], |i| i.state = IncidentState::Resolved).await;
    let words = office.post(&path(two.id, "merge"), json!({ "into": over.id })).await.error(409, "conflict");
    assert!(words.contains("is resolved already"), "{words}");
    office.close();
}

#[tokio::test]
async fn an_incident_is_split() {
    let office = Office::open().await;
    let events = [alarm("web-1", 1, "answers are late"), alarm("db-1", 2, "disk is slow")];
    let whole = office.incident(&events, |_| {}).await;
    let path = format!("/api/v1/incidents/{}/split", whole.id);
    // On its page each alarm has a box that goes with the form, wherever that stands.
    let boxes = |page: &Page| -> Vec<String> {
        let of_form = page.all("input").filter(|i| i.attribute("form") == Some("split-off"));
        let words = ["type", "name", "data-as", "value"];
        let mut boxes: Vec<_> = of_form.map(|i| words.map(|k| i.attribute(k).unwrap_or("-")).join(" ")).collect();
        boxes.sort_unstable();
        boxes
    };
    let page = office.page(&format!("/incidents/{}", whole.id)).await;
    assert_eq!(
        boxes(&page),
        ["checkbox events event db-1/0202020202020202", "checkbox events event web-1/0101010101010101"]
    );
    let form = page.all("form").find(|f| f.attribute("id") == Some("split-off")).expect("it can be split");
    assert_eq!(form.attribute("data-form"), Some(path.as_str()));
    for (events, status, words) in [
        (json!([]), 400, "name 1 to 1000 events"),
        (json!([key("web-1", 9)]), 409, "does not hold event 0909090909090909 of web-1"),
        (json!([key("web-1", 1), key("db-1", 2)]), 409, "at least one has to stay"),
        (json!([{ "node": "Web_1", "event": "0101010101010101" }]), 400, "is not valid"),
        (json!([{ "node": "web-1", "event": "first" }]), 400, "hexadecimal"),
    ] {
        let code = if status == 400 { "bad-request" } else { "conflict" };
        let said = office.post(&path, json!({ "events": events })).await.error(status, code);
        assert!(said.contains(words), "{said}");
    }
    let body = json!({ "events": [key("db-1", 2)], "actor": "ana", "note": "not ours" });
    let parts = office.done(&path, body).await;
    let (left, part) = (&parts["incident"], &parts["split_off"]);
    assert_eq!((&left["id"], &left["events"], &left["nodes"]), (&json!(whole.id), &json!(1), &json!(["web-1"])));
    assert_eq!(
        (&part["events"], &part["title"], &part["nodes"]),
        (&json!(1), &json!("disk is slow"), &json!(["db-1"]))
    );
    assert_eq!(
        (&part["state"], &part["gate"]),
        (&json!("open"), &json!(format!("ana split it off incident {}", whole.id)))
    );
    let event = office.json("/api/v1/events/db-1/0202020202020202").await;
    assert_eq!(event["incident"], part["id"]);
    let trail = office.json(&format!("/api/v1/incidents/{}", whole.id)).await;
    assert_eq!(
        last_line(&trail),
        ["ana".to_owned(), "split".into(), format!("incident {} was split off: not ours", part["id"])]
    );
    let new = office.json(&format!("/api/v1/incidents/{}", part["id"])).await;
    assert_eq!(last_line(&new)[1], "opened");
    let page = office.page(&format!("/incidents/{}", whole.id)).await;
    assert!(boxes(&page).is_empty() && !page.says("Split off"), "one alarm is no two: {:?}", page.texts);
    office.close();
}

#[tokio::test]
async fn causes_are_judged_replayed_and_scored() {
    let office = Office::open().await;
    let one = office.incident(&[alarm("web-1", 1, "answers are late")], |i| i.cause = Some(head())).await;
    let two = office.incident(&[alarm("web-2", 2, "answers are late")], |i| i.cause = Some(head())).await;
    let bare = office.incident(&[alarm("web-3", 3, "something")], |_| {}).await;
    let path = |id: i64, rest: &str| format!("/api/v1/incidents/{id}{rest}");

    let none = office.ask("GET", &path(one.id, "/replay"), None).await.error(404, "not-found");
    assert!(none.contains(&format!("a ranking of incident {}", one.id)), "{none}");
    office.ask("GET", &path(99, "/replay"), None).await.error(404, "not-found");
    office.ask("GET", &path(99, "/rankings"), None).await.error(404, "not-found");
    assert_eq!(office.json(&path(one.id, "/rankings")).await, json!({ "rankings": [] }));

    let first = office.rank(&one, 1_000).await;
    office.rank(&one, 2_000).await;
    office.rank(&two, 1_000).await;
    let listed = office.json(&path(one.id, "/rankings")).await;
    let at: Vec<_> = listed["rankings"].as_array().unwrap().iter().map(|r| r["at_ms"].as_i64().unwrap()).collect();
    assert_eq!(at, [2_000, 1_000]);
    assert_eq!(
        (&listed["rankings"][0]["ranking"]["causes"][0]["entity"], &listed["rankings"][0]["evidence"]),
        (&json!(DB), &Value::Null)
    );
    let whole = office.json(&path(one.id, "/rankings?evidence=true")).await;
    assert_eq!(whole["rankings"][0]["evidence"]["edges"][0]["callee"], DB);

    let replay = office.json(&path(one.id, "/replay")).await;
    assert_eq!((&replay["same"], &replay["at_ms"]), (&json!(true), &json!(2_000)));
    assert_eq!(replay["stored"]["causes"][0]["entity"], DB);
    assert_eq!(office.json(&path(one.id, "/replay?at_ms=1000")).await["same"], true);
    office.ask("GET", &path(one.id, "/replay?at_ms=5"), None).await.error(404, "not-found");
    // A memory of another method differs, and both are shown.
    let mut old = first;
    (old.at_ms, old.ranking.margin) = (3_000, 0.01);
    old.ranking.causes.reverse();
    office.store.save_ranking(old).await.unwrap();
    let replay = office.json(&path(one.id, "/replay")).await;
    assert_eq!((&replay["same"], &replay["stored"]["causes"][0]["entity"]), (&json!(false), &json!(API)));
    assert_eq!(replay["again"]["causes"][0]["entity"], DB);

    for (body, words) in [
        (json!({}), "it is not said which it was"),
        (json!({ "right": false }), "it is not said which it was"),
        (json!({ "right": true, "was": "x" }), "right and was are both there"),
        (json!({ "was": " " }), "it is not said which it was"),
        (json!({ "was": "x".repeat(2001) }), "longer than 2000 bytes"),
        (json!({ "right": true, "wsa": "x" }), "unknown field `wsa`"),
    ] {
        let said = office.post(&path(one.id, "/cause"), body).await.error(400, "bad-request");
        assert!(said.contains(words), "{said}");
    }
    let said = office.post(&path(bare.id, "/cause"), json!({ "right": true })).await.error(409, "conflict");
    assert!(said.contains("has no cause that could be right"), "{said}");
    assert_eq!(
        office.done(&path(one.id, "/cause"), json!({ "right": true, "actor": "ana" })).await["cause_label"],
        "right"
    );
    assert_eq!(office.done(&path(two.id, "/cause"), json!({ "was": API })).await["cause_label"], json!({ "was": API }));
    assert_eq!(
        office.done(&path(bare.id, "/cause"), json!({ "was": "sw-1" })).await["cause_label"],
        json!({ "was": "sw-1" })
    );
    office.done(&path(one.id, "/label"), json!({ "label": "true" })).await;
    let odd = office.post(&path(two.id, "/label"), json!({ "label": "true", "of": 1 })).await.error(400, "bad-request");
    assert!(odd.contains("of goes with the label duplicate"), "{odd}");
    office.post(&path(two.id, "/label"), json!({ "label": "duplicate", "of": 99 })).await.error(404, "not-found");
    office.done(&path(two.id, "/label"), json!({ "label": "duplicate", "of": one.id })).await;
    let trail = office.json(&path(two.id, "")).await;
    assert_eq!(last_line(&trail)[2], format!("duplicate of incident {}", one.id));

    // One was right, one was the second of two, one was not ranked at all.
    let scores = office.json("/api/v1/scores").await;
    assert_eq!((&scores["incidents"], &scores["causes"], &scores["precision"]), (&json!(3), &json!(3), &json!(1.0)));
    let third = |key: &str| (scores[key].as_f64().unwrap() * 3.0).round();
    assert_eq!(["at_1", "at_3", "at_5"].map(third), [1.0, 2.0, 2.0]);
    assert!(office.page("/digest").await.says("Among the first three"));

    let only = office.json(&format!("/api/v1/incidents?cause={}", DB.replace('/', "%2F"))).await;
    assert_eq!(only["incidents"].as_array().map(Vec::len), Some(2));
    assert_eq!(office.json("/api/v1/incidents?cause=nobody").await["incidents"], json!([]));
    office.close();
}

#[tokio::test]
async fn what_disturbed_nobody_is_shown_and_says_why() {
    let office = Office::open().await;
    let left_out = office.events(&[alarm("web-1", 1, "a little slow"), alarm("web-2", 2, "a little late")]).await;
    let keys = |records: &[EventRecord]| records.iter().map(EventRecord::key).collect::<Vec<_>>();
    office.store.mark_digest(keys(&left_out[..1]), "no symptom and 1 improbable event".into()).await.unwrap();
    office.store.mark_digest(keys(&left_out[1..]), "no symptom and 0 improbable events".into()).await.unwrap();
    let muted = office
        .incident(&[alarm("db-1", 3, "disk is slow"), alarm("db-1", 4, "memory")], |i| {
            i.state = IncidentState::Muted;
            i.muted_by = Some("silence 3".into());
        })
        .await;
    let unstable = office.incident(&[alarm("app-1", 5, "flaps")], |i| i.unstable = true).await;
    let entry = TrailEntry {
        at_ms: now_ms(),
        actor: "ana".into(),
        action: "silence-made".into(),
        subject: "silence 3".into(),
        note: Some("a new disk".into()),
    };
    office.store.append_trail(vec![entry]).await.unwrap();

    let digest = office.json("/api/v1/digest").await;
    assert_eq!((&digest["events_counted"], &digest["complete"]), (&json!(2), &json!(true)));
    assert_eq!(digest["entities"], json!([{ "name": "web-1", "events": 1 }, { "name": "web-2", "events": 1 }]));
    assert_eq!(digest["reasons"].as_array().map(Vec::len), Some(2));
    assert_eq!(office.json("/api/v1/digest?limit=1").await["events"].as_array().map(Vec::len), Some(1));
    assert_eq!(office.json("/api/v1/digest?day=2020-01-31").await["events_counted"], 0);
    for (query, words) in [
        ("day=yesterday", "\"yesterday\" is not a day"),
        ("day=2020-01-31&to_ms=5", "day stands beside"),
        ("from_ms=5&to_ms=4", "from_ms is not before to_ms"),
        ("from_ms=0&to_ms=9999999999999", "longer than 31 days"),
        ("limit=0", "allowed are 1 to 1000"),
        ("since=1", "unknown field `since`"),
    ] {
        let said = office.ask("GET", &format!("/api/v1/digest?{query}"), None).await.error(400, "bad-request");
        assert!(said.contains(words), "{query}: {said}");
    }

    let suppressed = office.json("/api/v1/suppressed").await;
    assert_eq!(
        (&suppressed["muted"][0]["id"], &suppressed["muted"][0]["muted_by"]),
        (&json!(muted.id), &json!("silence 3"))
    );
    assert_eq!(suppressed["unstable"][0]["id"], unstable.id);
    assert_eq!((&suppressed["folded_events"], &suppressed["digest_events"]), (&json!(1), &json!(2)));
    assert_eq!(office.json("/api/v1/trail?limit=1").await["trail"][0]["subject"], "silence 3");
    office.ask("GET", "/api/v1/trail?limit=0", None).await.error(400, "bad-request");

    let page = office.page("/digest").await;
    for words in [
        "2 events of the last 24 hours opened nothing.",
        "no symptom and 1 improbable event",
        "Muted by silence 3",
        "memory",
        "One event belongs to an incident that was told of before.",
        "silence 3, silence-made by ana: a new disk",
        "Nobody has labelled an incident yet.",
    ] {
        assert!(page.says(words), "{words}: {:?}", page.texts);
    }
    assert!(office.page("/digest?day=2020-01-31").await.says("No event of that day"));
    assert_eq!(office.ask("GET", "/digest?day=someday", None).await.status, 400);

    // The inbox keeps what is muted apart, and says by what; home stays calm about it.
    let ids = async |query: &str| {
        let list = office.json(&format!("/api/v1/incidents?{query}")).await;
        list["incidents"].as_array().unwrap().iter().map(|i| i["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("muted=true").await, [muted.id]);
    assert_eq!(ids("muted=false").await, [unstable.id]);
    assert_eq!((ids("state=muted").await, ids("state=resolved").await), (vec![muted.id], Vec::new()));
    assert!(!office.page("/incidents").await.says("memory"));
    let inbox = office.page("/incidents?muted=true").await;
    assert!(inbox.says("Muted by silence 3") && inbox.says("2 events") && !inbox.says("flaps"), "{:?}", inbox.texts);
    assert!(office.page(&format!("/incidents/{}", muted.id)).await.says("Muted by silence 3"));
    let home = office.page("/").await;
    assert!(home.says("One incident") && home.says("Muted now"), "{:?}", home.texts);
    office.done(&format!("/api/v1/incidents/{}/resolve", unstable.id), json!({})).await;
    office.done(&format!("/api/v1/incidents/{}/acknowledge", muted.id), json!({ "actor": "ana" })).await;
    assert!(office.page("/incidents").await.says("memory"), "who takes it hears it");
    office.close();
}

/// An incident with everything that its page can show, in the words of `text`.
async fn shown(office: &Office, text: &str) -> Incident {
    let onset = now_ms() - 60_000;
    let mut worst = alarm("web-1", 1, text);
    worst.onset_ms = onset;
    worst.context = vec![Context { kind: ContextKind::Change, at_ms: onset - 120_000, text: text.into(), unit: None }];
    let late = Event { severity: Num(0.3), onset_ms: onset + 5_000, ..alarm("web-2", 2, text) };
    let context = Event { kind: EventKind::Context, onset_ms: onset - 60_000, ..alarm("web-1", 3, text) };
    let incident = office
        .incident(&[worst, late, context], |i| {
            i.cause = Some(CauseHead { entity: text.into(), ..head() });
            i.entities = vec![format!("ext:{text}"), format!("web-1/{text}"), "web-2".into()];
            i.onset_ms = onset;
            i.gate = Some(text.into());
            i.assignee = Some(text.into());
            i.unstable = true;
        })
        .await;
    let mut stored =
        StoredRanking { incident: incident.id, at_ms: 1, ranking: rank(&evidence(onset)), evidence: evidence(onset) };
    for cause in &mut stored.ranking.causes {
        cause.entity = format!("{text}{}", cause.entity);
        for line in &mut cause.evidence {
            line.subject = text.into();
        }
    }
    office.store.save_ranking(stored).await.unwrap();
    let audit =
        vec![AuditEntry { at_ms: now_ms(), actor: text.into(), action: "commented".into(), note: Some(text.into()) }];
    let change = IncidentChange { incident: incident.clone(), event: None, also: Vec::new(), audit };
    office.store.save_incident(change).await.unwrap()
}

#[tokio::test]
async fn a_page_answers_in_order() {
    let office = Office::open().await;
    let incident = shown(&office, "slow").await;
    let page = office.page(&format!("/incidents/{}", incident.id)).await;
    let heads: Vec<&str> =
        page.texts.iter().filter(|t| page.tags[t.within].name == "h2").map(|t| t.words.as_str()).collect();
    let expected = [
        "Why we think so",
        "Since when",
        "Who is affected",
        "What changed before",
        "What was folded beneath",
        "What happened",
        "Act on it",
    ];
    assert_eq!(heads, expected);
    for words in ["comes and goes", "4 s before the first alarm", "Opened because:", "−2 min", "web-1: slow"] {
        assert!(page.says(words), "{words}: {:?}", page.texts);
    }
    // What can be done is there, and goes to where it is described.
    let orders: Vec<_> = page.all("form").filter_map(|f| f.attribute("data-form")).collect();
    let own = |verb: &str| format!("/api/v1/incidents/{}/{verb}", incident.id);
    for order in [own("comment"), own("assign"), own("cause"), own("split"), "/api/v1/silences".to_owned()] {
        assert!(orders.contains(&order.as_str()), "{order}: {orders:?}");
    }
    let right = page.all("button").find(|b| b.attribute("data-body").is_some()).expect("the cause can be confirmed");
    assert_eq!(right.attribute("data-body"), Some("{\"right\":true}"));
    office.close();
}

/// Ends what it may stand in, in the ways that pages and scripts know.
const HOSTILE: &str = "</title></td><script>alert(1)</script>\" onload=\"x' &amp;-->\n\u{202e}drow é";

#[tokio::test]
async fn words_of_strangers_stay_words() {
    let (plain, hostile) = (Office::open().await, Office::open().await);
    let one = shown(&plain, "plain").await;
    assert_eq!(shown(&hostile, HOSTILE).await.id, one.id);
    for (office, text) in [(&plain, "plain"), (&hostile, HOSTILE)] {
        let left_out = office.events(&[alarm("web-9", 9, text)]).await;
        let keys = left_out.iter().map(EventRecord::key).collect();
        office.store.mark_digest(keys, text.into()).await.unwrap();
        let entry = TrailEntry {
            at_ms: 1,
            actor: text.into(),
            action: "x".into(),
            subject: "y".into(),
            note: Some(text.into()),
        };
        office.store.append_trail(vec![entry]).await.unwrap();
    }
    for path in [format!("/incidents/{}", one.id), "/incidents".into(), "/digest".into(), "/".into()] {
        let (plain, hostile) = (plain.page(&path).await, hostile.page(&path).await);
        assert_eq!(hostile.skeleton(), plain.skeleton(), "{path}: words became tags");
        assert_eq!(hostile.texts.len(), plain.texts.len(), "{path}");
        for text in &hostile.texts {
            // An override reaches to the end of its block: our own words do not stand in its way.
            let alone = hostile.texts.iter().filter(|other| other.within == text.within).count() == 1;
            assert!(alone || !text.words.contains('\u{202e}'), "{path}: {text:?} turns its neighbours around");
        }
    }
    plain.close();
    hostile.close();
}
