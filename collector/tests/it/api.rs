//! `/api/v1`: good answers as they are described, bad requests with words that help.

use serde_json::{Value, json};
use tacit_collector::store::Role;
use tacit_wire::Num;
use tacit_wire::message::{CommandKind, EventKind, Phase, ResultBody};

use crate::access::{BASIC_ANA, token};
use crate::answer::Answer;
use crate::messages::{birth, bytes, event, half, links, now_ms, settled_minute, summary, topic};
use crate::schema::Described;
use crate::site::{Site, obey};

const INCIDENT: &str = "/api/v1/incidents/1";

fn answers(kind: &CommandKind) -> Vec<ResultBody> {
    match kind {
        CommandKind::Diagnose => ["all is ", "well\n"].map(|text| ResultBody::Text { text: text.into() }).to_vec(),
        CommandKind::Maintain { seconds, reason } => vec![ResultBody::Text { text: format!("{seconds} s: {reason}") }],
        CommandKind::Watch { .. } => {
            let frames = vec![vec![Num(0.5)]];
            vec![ResultBody::Frames { epoch: 1, start_ms: now_ms(), step_ms: 1000, ids: Vec::new(), frames }]
        }
        _ => vec![ResultBody::Done],
    }
}

#[tokio::test]
async fn every_operation_answers_as_described() {
    let (site, node) = Site::with_an_incident().await;
    let garbage = node.publish(&topic("web-1", "event"), b"garbage".to_vec()).await;
    assert!(garbage.is_some());
    let minute = links("web-1", 1, settled_minute(), vec![half("nginx.service", false, "192.0.2.7", 443, &[40_000])]);
    assert!(node.publish(&topic("web-1", "links"), bytes(&minute)).await.is_some());
    obey("web-1", node, answers).await;
    let mut described = Described::of(&site).await;
    let mut good = async |method: &str, path: &str, body: &str| {
        let kind: &[_] = if method == "POST" { &[("content-type", "application/json")] } else { &[] };
        let answer = site.ask(method, path, kind, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        described.check(method, path, &answer);
        if answer.header("content-type") == "application/json" { answer.json() } else { Value::Null }
    };

    let status = good("GET", "/api/v1/status", "").await;
    assert_eq!((&status["quiet"], &status["totals"]["nodes_online"]), (&json!(false), &json!(1)));
    let nodes = good("GET", "/api/v1/nodes", "").await;
    let one = good("GET", "/api/v1/nodes/web-1", "").await;
    assert_eq!(nodes["nodes"], json!([one]));
    assert_eq!((&one["presence"], &one["open_incidents"]), (&json!("online"), &json!(1)));
    assert_eq!((&one["birth"]["identity"]["hostname"], &one["report"]["uptime_s"]), (&json!("web-1"), &json!(60)));

    // A node that has said no more than that it is there.
    site.node("web-2").await.say("birth", &birth("web-2", 1)).await;
    assert_eq!(good("GET", "/api/v1/nodes/web-2", "").await["report"], Value::Null);

    let series = good("GET", "/api/v1/nodes/web-1/series", "").await;
    let cpu = json!({ "id": 1, "name": "system.cpu.utilization", "unit": "1" });
    assert_eq!(series["series"], json!([cpu]));
    let points = good("GET", "/api/v1/nodes/web-1/points", "").await;
    assert_eq!(points["series"][0]["points"][0]["mean"], json!(1.0));
    let at = points["series"][0]["points"][0]["at_ms"].as_i64().expect("a time");
    let chosen = format!("/api/v1/nodes/web-1/points?series=system.cpu.utilization&from={at}&to={}", at + 1);
    assert_eq!(good("GET", &chosen, "").await, points);
    let later = format!("/api/v1/nodes/web-1/points?from={}", at + 1);
    assert_eq!(good("GET", &later, "").await["series"][0]["points"], json!([]));
    // However long the time: one series is never too much.
    let always = "/api/v1/nodes/web-1/points?from=-9223372036854775808&to=9223372036854775807";
    assert_eq!(good("GET", always, "").await, points);
    assert_eq!(good("GET", "/api/v1/nodes/web-1/diagnose", "").await["text"], "all is well\n");
    let (path, work) = ("/api/v1/nodes/web-1/maintenance", r#"{"seconds":600,"reason":"new disk"}"#);
    assert_eq!(good("POST", path, work).await["text"], "600 s: new disk");

    let events = good("GET", "/api/v1/events?node=web-1&limit=1&since_ms=0", "").await;
    let event = good("GET", "/api/v1/events/web-1/0909090909090909", "").await;
    assert_eq!(events["events"], json!([event]));
    assert_eq!((&event["event"]["text"], &event["incident"]), (&json!("disk reads are slow"), &json!(1)));
    let bad = good("GET", "/api/v1/quarantine", "").await;
    assert_eq!((&bad["quarantine"][0]["client"], &bad["quarantine"][0]["bytes"]), (&json!("web-1"), &json!(7)));

    let incidents = good("GET", "/api/v1/incidents?open=true&node=web-1&limit=1&since_ms=0", "").await;
    let incident = good("GET", INCIDENT, "").await;
    assert_eq!((&incidents["incidents"], &incident["events"]), (&json!([incident["incident"]]), &json!([event])));
    // A second incident becomes part of the first, and is one of its own again.
    let third = site.node("web-3").await;
    third.say("birth", &birth("web-3", 1)).await;
    third.say("event", &self::event("web-3", 1, 8, Phase::Open)).await;
    let second = site.until("/api/v1/incidents?node=web-3", |list| list["incidents"][0]["id"].is_i64()).await;
    let second = format!("/api/v1/incidents/{}", second["incidents"][0]["id"]);
    good("POST", &format!("{second}/merge"), r#"{"into":1}"#).await;
    let named = r#"{"events":[{"node":"web-3","event":"0808080808080808"}]}"#;
    let parts = good("POST", &format!("{INCIDENT}/split"), named).await;
    assert_eq!(parts["split_off"]["nodes"], json!(["web-3"]));
    good("POST", &format!("{INCIDENT}/cause"), r#"{"was":"sw-1"}"#).await;
    let rankings = format!("{INCIDENT}/rankings?evidence=true");
    site.until(&rankings, |list| !list["rankings"].as_array().expect("a list").is_empty()).await;
    good("GET", &rankings, "").await;
    assert_eq!(good("GET", &format!("{INCIDENT}/replay"), "").await["same"], true);
    assert_eq!(good("GET", "/api/v1/scores", "").await["causes"], 1);
    for path in ["/api/v1/digest?limit=1", "/api/v1/suppressed", "/api/v1/trail?limit=1"] {
        good("GET", path, "").await;
    }
    for (verb, body) in [
        ("acknowledge", "{}"),
        ("label", r#"{"label":"true"}"#),
        ("comment", r#"{"note":"a new disk is ordered"}"#),
        ("assign", r#"{"assignee":"bo"}"#),
        ("resolve", "{}"),
    ] {
        good("POST", &format!("{INCIDENT}/{verb}"), body).await;
    }
    let map = site.until("/api/v1/map", |map| !map["edges"].as_array().expect("a list").is_empty()).await;
    assert_eq!(good("GET", "/api/v1/map?infrastructure=true&node=web-1&site=lab", "").await["edges"], map["edges"]);
    let edge = format!("/api/v1/map/edge?id={}", map["edges"][0]["id"].as_str().expect("an id").replace('>', "%3E"));
    assert_eq!(good("GET", &edge, "").await["hours"][0]["edge"]["connects"], 10);
    let day_ago = now_ms() - 86_400_000;
    let diff = good("GET", &format!("/api/v1/map/diff?from={day_ago}"), "").await;
    assert_eq!(diff["appeared"], map["edges"]);
    let blast = good("GET", "/api/v1/map/blast?service=ext:192.0.2.7:443", "").await;
    assert_eq!(blast["affected"][0]["id"], "web-1/nginx.service");
    assert_eq!(good("GET", "/api/v1/map/path?from=web-1&to=ext:192.0.2.7:443", "").await["found"], true);
    good("GET", "/api/v1/map/export?format=dot", "").await;
    assert_eq!(good("GET", "/api/v1/map/changes?limit=1", "").await["changes"], json!([]));
    let silence = r#"{"matchers":["node=web-9"],"minutes":60,"reason":"a new disk"}"#;
    let silence = good("POST", "/api/v1/silences", silence).await;
    assert_eq!(good("GET", "/api/v1/silences", "").await["silences"], json!([silence]));
    good("POST", "/api/v1/silences/1/end", "{}").await;
    let window = json!({ "name": "backup", "matchers": ["node=web-9"], "days": { "weekly": ["sun"] }, "at": "02:00",
        "minutes": 60, "owner": "ana", "reason": "reads all disks", "expires_ms": now_ms() + 30 * 86_400_000_i64 });
    let window = good("POST", "/api/v1/windows", &window.to_string()).await["window"].clone();
    assert_eq!(good("GET", "/api/v1/windows?all=true", "").await["windows"][0]["window"], window);
    good("POST", "/api/v1/windows/1/end", r#"{"actor":"ana"}"#).await;
    good("GET", "/api/v1/notifications?limit=1", "").await;
    assert_eq!(good("GET", "/api/v1/receivers", "").await["receivers"], json!([]));
    assert_eq!(good("POST", "/api/v1/notify/test", "{}").await["results"], json!([]));
    let alert = r#"[{"labels":{"alertname":"HighLatency","instance":"web-1:9100"}}]"#;
    good("POST", "/api/v2/alerts", alert).await;
    assert_eq!(good("GET", "/api/v2/alerts?active=true", "").await[0]["labels"]["alertname"], "HighLatency");
    let change = good("POST", "/api/v1/changes", r#"{"what":"deploy api 1.2.3","node":"web-1","id":"build 7"}"#).await;
    let listed = good("GET", "/api/v1/changes?limit=1&since_ms=0", "").await;
    assert_eq!(listed["changes"][0]["event"], change["changes"][0]["event"]);
    for path in ["/healthz", "/readyz", "/-/healthy", "/-/ready", "/api/v2/status", "/metrics", "/api/v1/openapi.json"]
    {
        good("GET", path, "").await;
    }

    site.follow("/api/v1/live").await;
    let (name, frames) = site.follow("/api/v1/nodes/web-1/watch").await.next().await.expect("frames");
    assert_eq!((name.as_str(), &frames["frames"]), ("frames", &json!([[0.5]])));

    // From the first user on, who asks has to be known.
    site.add_user("ana", Role::Admin).await;
    let bearer = token(&site, Role::Admin, Some("ana")).await;
    let mut known = async |method: &str, path: &str, authorization: &str, body: &str| {
        let headers = [("authorization", authorization), ("content-type", "application/json")];
        let answer = site.ask(method, path, &headers, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        described.check(method, path, &answer);
        answer.json()
    };
    let me = known("GET", "/api/v1/me", &bearer, "").await;
    assert_eq!((&me["role"], &me["required"]), (&json!("admin"), &json!(true)));
    let user = r#"{"name":"bo","role":"viewer","password":"correct horse"}"#;
    let user = known("POST", "/api/v1/users", &bearer, user).await;
    assert_eq!(known("GET", "/api/v1/users", &bearer, "").await["users"][1], user);
    for (what, body) in [
        ("role", r#"{"role":"operator"}"#),
        ("disable", "{}"),
        ("enable", "{}"),
        ("password", r#"{"password":"another password"}"#),
    ] {
        known("POST", &format!("/api/v1/users/bo/{what}"), &bearer, body).await;
    }
    let made = known("POST", "/api/v1/tokens", &bearer, r#"{"name":"scrape","role":"viewer","seconds":60}"#).await;
    assert_eq!(made["token"]["made_by"], "ana");
    let id = made["token"]["id"].as_str().expect("a number").to_owned();
    let tokens = known("GET", "/api/v1/tokens", &bearer, "").await;
    assert!(!tokens.to_string().contains(made["secret"].as_str().expect("a secret")), "{tokens}");
    known("POST", &format!("/api/v1/tokens/{id}/revoke"), &bearer, "{}").await;
    let lines = known("GET", "/api/v1/access-log?limit=1", &bearer, "").await;
    assert_eq!(lines["lines"][0]["path"], format!("/api/v1/tokens/{id}/revoke"));
    let change = r#"{"old":"correct horse","new":"another password"}"#;
    assert_eq!(known("POST", "/api/v1/me/password", BASIC_ANA, change).await["name"], "ana");

    // Enrolment needs TLS: `identity` asks for that.
    let unanswered: Vec<_> =
        described.unanswered().into_iter().filter(|(path, _)| !crate::identity::is_about_it(path)).collect();
    let streams = ["/api/v1/live", "/api/v1/nodes/{node}/watch"].map(|path| (path.to_owned(), "get".to_owned()));
    assert_eq!(unanswered, streams, "everything but streams, which do not end, was seen");
    site.stop().await;
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong() {
    let (site, _node) = Site::with_an_incident().await;
    let mut described = Described::of(&site).await;
    let wrong: &[(&str, u16, &str, &str)] = &[
        ("/nodes/web-9", 404, "not-found", "node web-9 does not exist"),
        ("/nodes/Web_1", 400, "bad-request", "\"Web_1\" is not valid: use 1 to 36 of a-z, 0-9 and '-'"),
        ("/nodes/%ff", 400, "bad-request", "UTF-8"),
        ("/nodes/web-9/series", 404, "not-found", "/api/v1/nodes lists"),
        ("/nodes/web-9/points", 404, "not-found", "node web-9"),
        ("/nodes/web-9/watch", 404, "not-found", "node web-9"),
        ("/nodes/web-9/diagnose", 404, "not-found", "node web-9"),
        ("/nodes/web-1/points?series=cpu", 404, "not-found", "series \"cpu\" of web-1 does not exist"),
        ("/nodes/web-1/points?series=system.cpu.utilization&series=cpu", 404, "not-found", "series \"cpu\""),
        ("/nodes/web-1/points?from=yesterday", 400, "bad-request", "write Unix milliseconds"),
        ("/nodes/web-1/points?to=99999999999999999999", 400, "bad-request", "to is not a time"),
        ("/nodes/web-1/points?from=2&to=1", 400, "bad-request", "from is after to"),
        ("/nodes/web-1/points?cursor=1", 400, "bad-request", "allowed are series, from, to"),
        ("/events?limit=0", 400, "bad-request", "allowed are 1 to 1000"),
        ("/events?limit=1001", 400, "bad-request", "allowed are 1 to 1000"),
        ("/events?limit=-1", 400, "bad-request", "limit: invalid digit"),
        ("/events?limit=1&limit=2", 400, "bad-request", "duplicate field `limit`"),
        ("/events?since_ms=today", 400, "bad-request", "since_ms: invalid digit"),
        ("/events?node=Web_1", 400, "bad-request", "\"Web_1\" is not valid"),
        ("/events?cursor=1", 400, "bad-request", "unknown field `cursor`, expected one of `node`"),
        ("/events/web-1/9", 400, "bad-request", "expected 16 hexadecimal digits"),
        ("/events/web-1/ffffffffffffffff", 404, "not-found", "event ffffffffffffffff of web-1"),
        ("/events/web-9/0909090909090909", 404, "not-found", "of web-9"),
        ("/map?from=2&to=1", 400, "bad-request", "from is not before to"),
        ("/map?from=0&to=9999999999999", 400, "bad-request", "longer than 31 days"),
        ("/map?to=-1", 400, "bad-request", "after 1970"),
        ("/map?node=Web_1", 400, "bad-request", "\"Web_1\" is not valid"),
        ("/map?group=site", 400, "bad-request", "unknown field `group`, expected one of `from`"),
        ("/map/diff", 400, "bad-request", "missing field `from`"),
        ("/map/blast?service=nothing", 404, "not-found", "\"nothing\" on the map does not exist"),
        ("/map/blast?service=", 400, "bad-request", "service has 1 to 1024 bytes"),
        ("/map/path?from=a&to=b", 404, "not-found", "\"a\" on the map"),
        ("/map/edge?id=a%3Eb:tcp/1", 404, "not-found", "edge \"a>b:tcp/1\" does not exist"),
        ("/map/export?format=png", 400, "bad-request", "unknown variant `png`, expected `dot` or `mermaid`"),
        ("/map/changes?limit=0", 400, "bad-request", "allowed are 1 to 1000"),
        ("/incidents?limit=0", 400, "bad-request", "allowed are 1 to 1000"),
        ("/notifications?limit=0", 400, "bad-request", "allowed are 1 to 1000"),
        ("/notifications?incident=first", 400, "bad-request", "incident: invalid digit"),
        ("/incidents?open=perhaps", 400, "bad-request", "open: provided string was not `true` or `false`"),
        ("/incidents?opne=true", 400, "bad-request", "unknown field `opne`, expected one of `open`"),
        ("/incidents/first", 400, "bad-request", "\"first\" is not the number of an incident"),
        ("/incidents/99999999999999999999", 400, "bad-request", "is not the number of an incident"),
        ("/incidents/99", 404, "not-found", "incident 99 does not exist"),
    ];
    for (path, status, code, words) in wrong {
        let path = format!("/api/v1{path}");
        let answer = site.get(&path).await;
        described.check("GET", &path, &answer);
        let said = answer.error(*status, code);
        assert!(said.contains(words), "{path}: {said}");
    }
    for path in ["/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/nodes/web-1/nothing", "/api/v2/nodes"] {
        assert!(site.get(path).await.error(404, "not-found").contains("/api/v1/openapi.json lists them"), "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_wrong_order_changes_nothing() {
    let (site, _node) = Site::with_an_incident().await;
    let mut described = Described::of(&site).await;
    let before = site.json(INCIDENT).await;
    let long = json!({ "actor": "x".repeat(2001) }).to_string();
    let who = json!({ "assignee": "x".repeat(2001) }).to_string();
    let huge = json!({ "note": "x".repeat(64 * 1024) }).to_string();
    let wrong: &[(&str, &str, u16, &str, &str)] = &[
        ("1/acknowledge", "", 400, "bad-request", "send {} when there is nothing to say"),
        ("1/acknowledge", "no", 400, "bad-request", "the body is not JSON: "),
        ("1/acknowledge", "[]", 400, "bad-request", "the body is wrong: "),
        ("1/acknowledge", r#"{"actr":"ana"}"#, 400, "bad-request", "unknown field `actr`, expected one of `actor`"),
        ("1/acknowledge", r#"{"actor":5}"#, 400, "bad-request", "actor: invalid type: integer `5`"),
        ("1/acknowledge", &long, 400, "bad-request", "longer than 2000 bytes"),
        ("1/resolve", &huge, 413, "too-large", "larger than 65536 bytes"),
        ("1/label", "{}", 400, "bad-request", "label is missing (one of true, false-alarm"),
        ("1/label", r#"{"label":"wrong"}"#, 400, "bad-request", "unknown variant `wrong`, expected one of `true`"),
        ("1/comment", "{}", 400, "bad-request", "note is missing"),
        ("1/comment", r#"{"note":" \n"}"#, 400, "bad-request", "note is missing"),
        ("1/assign", &who, 400, "bad-request", "longer than 2000 bytes"),
        ("one/resolve", "{}", 400, "bad-request", "\"one\" is not the number"),
        ("99/resolve", "{}", 404, "not-found", "incident 99 does not exist"),
        ("99/comment", r#"{"note":"here"}"#, 404, "not-found", "incident 99 does not exist"),
    ];
    for (what, body, status, code, words) in wrong {
        let path = format!("/api/v1/incidents/{what}");
        let answer = site.post(&path, body).await;
        described.check("POST", &path, &answer);
        let said = answer.error(*status, code);
        assert!(said.contains(words), "{path} {}: {said}", &body[..body.len().min(80)]);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let answer = site.ask("POST", &format!("{INCIDENT}/resolve"), &[("content-type", kind)], "{}").await;
        described.check("POST", &format!("{INCIDENT}/resolve"), &answer);
        assert!(answer.error(415, "not-json").contains("application/json"), "{kind}");
    }
    for (method, path, allowed) in [
        ("DELETE", INCIDENT, "GET,HEAD"),
        ("PUT", "/api/v1/nodes/web-1", "GET,HEAD"),
        ("POST", "/api/v1/events", "GET,HEAD"),
        ("GET", "/api/v1/incidents/1/resolve", "POST"),
        ("POST", "/metrics", "GET,HEAD"),
        ("POST", "/incidents/1", "GET,HEAD"),
    ] {
        let answer = site.ask(method, path, &[("content-type", "application/json")], "{}").await;
        assert!(answer.error(405, "method-not-allowed").contains(method), "{path}");
        assert_eq!(answer.header("allow"), allowed, "{method} {path}");
    }
    assert_eq!(site.json(INCIDENT).await, before);
    site.stop().await;
}

#[tokio::test]
async fn people_move_an_incident_through_its_life() {
    let (site, _node) = Site::with_an_incident().await;
    let act = async |verb: &str, body: Value| site.post(&format!("{INCIDENT}/{verb}"), &body.to_string()).await;
    let done = |answer: Answer, key: &str| {
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()[key].clone()
    };

    let taken = act("acknowledge", json!({ "actor": "ana", "note": "I look" })).await;
    assert_eq!(done(taken, "state"), "acknowledged");
    assert_eq!(site.json(INCIDENT).await["incident"]["assignee"], "ana");
    let again = act("acknowledge", json!({ "actor": "bo" })).await;
    assert!(again.error(409, "conflict").contains("incident 1 is acknowledged already"));
    assert_eq!(done(act("assign", json!({ "actor": "ana", "assignee": "bo" })).await, "assignee"), "bo");
    assert_eq!(done(act("assign", json!({ "actor": " ", "assignee": "" })).await, "assignee"), Value::Null);
    assert_eq!(
        done(act("label", json!({ "label": "maintenance", "note": "a new disk" })).await, "label"),
        "maintenance"
    );
    assert_eq!(done(act("comment", json!({ "note": "“ok” <b>" })).await, "state"), "acknowledged");
    assert_eq!(site.json("/api/v1/status").await["quiet"], false);

    assert_eq!(done(act("resolve", json!({ "actor": "ana" })).await, "state"), "resolved");
    for verb in ["resolve", "acknowledge"] {
        let late = act(verb, json!({})).await;
        assert!(late.error(409, "conflict").contains("incident 1 is resolved already"), "{verb}");
    }
    // What it was is often known only afterwards.
    assert_eq!(done(act("label", json!({ "label": "false-alarm" })).await, "label"), "false-alarm");

    let audit = site.json(INCIDENT).await["audit"].clone();
    let line = |entry: &Value| ["actor", "action", "note"].map(|k| entry[k].as_str().unwrap_or("-").to_owned());
    let trail: Vec<_> = audit.as_array().expect("a list").iter().map(line).collect();
    let expected = [
        ["tacit", "opened", "anomaly open: disk reads are slow"],
        ["ana", "acknowledged", "I look"],
        ["ana", "assigned", "bo"],
        ["operator", "assigned", "nobody"],
        ["operator", "labelled", "maintenance: a new disk"],
        ["operator", "commented", "“ok” <b>"],
        ["ana", "resolved", "-"],
        ["operator", "labelled", "false-alarm"],
    ];
    assert_eq!(trail, expected);

    let status = site.json("/api/v1/status").await;
    assert_eq!((&status["quiet"], &status["totals"]["incidents_open"]), (&json!(true), &json!(0)));
    let count = async |query: &str| {
        site.json(&format!("/api/v1/incidents?{query}")).await["incidents"].as_array().expect("a list").len()
    };
    assert_eq!((count("open=true").await, count("open=false").await, count("").await), (0, 1, 1));
    assert_eq!((count("node=web-1").await, count("node=web-2").await), (1, 0));
    assert_eq!((count("since_ms=0").await, count(&format!("since_ms={}", now_ms() + 60_000)).await), (1, 0));
    assert_eq!(site.json("/api/v1/nodes/web-1").await["open_incidents"], 0);
    site.stop().await;
}

#[tokio::test]
async fn lists_are_newest_first_and_bounded() {
    let site = Site::start().await;
    for n in 1..=3 {
        let name = format!("web-{n}");
        let node = site.node(&name).await;
        node.say("birth", &birth(&name, 1)).await;
        let mut one = event(&name, 1, n, Phase::Open);
        one.onset_ms += i64::from(n);
        // Three things: the same on three nodes at once would be one.
        (one.kind, one.rule) = (EventKind::Rule, Some(format!("rule-{n}")));
        node.say("event", &one).await;
        site.until("/api/v1/status", |status| status["totals"]["incidents_open"] == n).await;
    }
    let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let names = |list: &Value, at: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|i| i.pointer(at).unwrap().as_str().unwrap().to_owned()).collect()
    };
    let events = site.json("/api/v1/events?limit=2").await;
    assert_eq!(names(&events["events"], "/event/head/node"), ["web-3", "web-2"]);
    let incidents = site.json("/api/v1/incidents?limit=2").await;
    assert_eq!(names(&incidents["incidents"], "/nodes/0"), ["web-3", "web-2"]);
    let nodes = site.json("/api/v1/nodes").await;
    assert_eq!(
        (names(&nodes["nodes"], "/node"), &nodes["next"]),
        (strings(&["web-1", "web-2", "web-3"]), &Value::Null)
    );
    let first = site.json("/api/v1/nodes?limit=2").await;
    assert_eq!((names(&first["nodes"], "/node"), &first["next"]), (strings(&["web-1", "web-2"]), &json!("web-2")));
    let rest = site.json("/api/v1/nodes?limit=2&after=web-2").await;
    assert_eq!((names(&rest["nodes"], "/node"), &rest["next"]), (strings(&["web-3"]), &Value::Null));
    site.get("/api/v1/nodes?after=Web+2").await.error(400, "bad-request");
    site.stop().await;
}

/// Six hours of thousands of series would be an answer of hundreds of megabytes.
#[tokio::test]
async fn an_answer_of_points_is_bounded() {
    let site = Site::start().await;
    let node = site.node("web-1").await;
    node.say("birth", &birth("web-1", 1)).await;
    let mut many = summary("web-1", 1);
    many.start_ms = now_ms() - 120_000;
    let first = many.series[0].clone();
    many.series = (1..=1500)
        .map(|n| tacit_wire::SeriesDef { id: tacit_wire::SeriesId(n), name: format!("s{n}"), ..first.clone() })
        .collect();
    node.say("summary", &many).await;
    let points = "/api/v1/nodes/web-1/points";
    let said = site.get(points).await.error(400, "bad-request");
    assert!(said.contains("more than the 500000 of one answer (choose series, or a shorter time"), "{said}");
    assert_eq!(site.json(&format!("{points}?series=s1")).await["series"][0]["points"][0]["mean"], 1.0);
    let hour = site.json(&format!("{points}?from={}", now_ms() - 3_600_000)).await;
    assert_eq!(hour["series"].as_array().unwrap().len(), 1500);
    site.stop().await;
}
