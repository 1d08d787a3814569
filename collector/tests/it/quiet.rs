//! Silences and windows: made, listed, ended, and refused when they cannot be meant.

use serde_json::{Value, json};

use crate::console::page;
use crate::messages::now_ms;
use crate::schema::Described;
use crate::site::Site;

const DAY_MS: i64 = 86_400_000;

/// A silence that can be made, with some of it replaced.
fn silence(change: Value) -> String {
    changed(json!({ "matchers": ["node=web-1"], "minutes": 120, "reason": "a new disk" }), change)
}

/// A window that can be made, with some of it replaced.
fn window(change: Value) -> String {
    let base = json!({ "name": "backup", "matchers": ["node=~db-*"], "days": { "weekly": ["sun"] }, "at": "02:00",
        "minutes": 60, "zone": "UTC", "owner": "ana", "reason": "reads all disks", "expires_ms": now_ms() + 90 * DAY_MS });
    changed(base, change)
}

fn changed(mut base: Value, change: Value) -> String {
    let fields = base.as_object_mut().expect("an object");
    if let Value::Object(change) = change {
        fields.extend(change);
    }
    base.to_string()
}

#[tokio::test]
async fn a_silence_is_made_listed_and_ended() {
    let site = Site::start().await;
    let body = silence(
        json!({ "matchers": ["node=web-1", { "field": "family", "op": "=~", "value": "disk*" }], "actor": "ana" }),
    );
    let made = site.post("/api/v1/silences", &body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let made = made.json();
    assert_eq!((&made["id"], &made["actor"], &made["ended_ms"]), (&json!(1), &json!("ana"), &Value::Null));
    let length = made["ends_ms"].as_i64().unwrap() - made["starts_ms"].as_i64().unwrap();
    assert_eq!((length, &made["made_ms"]), (120 * 60_000, &made["starts_ms"]));
    assert_eq!(made["matchers"][1], json!({ "field": "family", "op": "=~", "value": "disk*" }));

    // Until a time, and from a time to come.
    let (starts, ends) = (now_ms() + DAY_MS, now_ms() + 2 * DAY_MS);
    let later = silence(json!({ "minutes": null, "starts_ms": starts, "ends_ms": ends }));
    let later = site.post("/api/v1/silences", &later).await.json();
    assert_eq!((&later["starts_ms"], &later["ends_ms"]), (&json!(starts), &json!(ends)));
    assert_eq!(later["actor"], "operator");
    assert_eq!(site.json("/api/v1/silences").await["silences"], json!([later, made]));

    let ended = site.post("/api/v1/silences/1/end", r#"{"actor":"bo"}"#).await.json();
    assert!(ended["ended_ms"].as_i64() >= made["made_ms"].as_i64());
    assert_eq!(site.json("/api/v1/silences").await["silences"], json!([later]));
    assert_eq!(site.json("/api/v1/silences?all=true").await["silences"], json!([later, ended]));
    let again = site.post("/api/v1/silences/1/end", "{}").await.error(409, "conflict");
    assert!(again.contains("silence 1 is over already"), "{again}");

    let page = page(&site, "/quiet", 200).await;
    for words in ["silence 1 ended", "silence 2 made", "node=web-1 family=~disk*", "begins", "a new disk"] {
        assert!(page.says(words), "{words}: {:?}", page.texts);
    }
    let buttons: Vec<_> = page.all("button").filter_map(|b| b.attribute("data-post")).collect();
    assert_eq!(buttons, ["/api/v1/silences/2/end"]);
    site.stop().await;
}

#[tokio::test]
async fn a_window_is_made_listed_and_ended() {
    let site = Site::start().await;
    // From now on for a day, each week.
    let now = now_ms();
    let today = jiff::Timestamp::from_millisecond(now).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    let day = today.strftime("%a").to_string().to_lowercase();
    let change = json!({ "days": { "weekly": [day] }, "at": today.strftime("%H:%M").to_string(), "minutes": 1440,
        "expires_ms": now + 5 * DAY_MS - 1000, "actor": "bo" });
    let made = site.post("/api/v1/windows", &window(change)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let made = made.json();
    assert_eq!((&made["window"]["id"], &made["window"]["owner"]), (&json!(1), &json!("ana")));
    assert_eq!((&made["open_now"], &made["next_ms"]), (&json!(true), &Value::Null), "it expires before it opens again");
    let closes = made["open_until_ms"].as_i64().unwrap();
    assert!((now + DAY_MS - 60_000..=now + DAY_MS).contains(&closes), "{closes} beside {now}");
    assert!(made["warning"].as_str().unwrap().starts_with("expires in 4 days"), "{made}");

    let monthly = site.post("/api/v1/windows", &window(json!({ "days": { "monthly": [1, -1] } }))).await.json();
    assert_eq!((&monthly["window"]["days"], &monthly["warning"]), (&json!({ "monthly": [1, -1] }), &Value::Null));
    assert!(monthly["next_ms"].as_i64().unwrap() > now);
    let list = site.json("/api/v1/windows").await["windows"].clone();
    assert_eq!([&list[0]["window"], &list[1]["window"]], [&monthly["window"], &made["window"]]);

    let before = page(&site, "/quiet", 200).await;
    for words in ["open now", "expires in 4 days", "each month on 1, the last at 02:00 for 1 h, UTC", "window 2 made"] {
        assert!(before.says(words), "{words}: {:?}", before.texts);
    }
    let ended = site.post("/api/v1/windows/1/end", "{}").await.json();
    assert_eq!((&ended["open_now"], &ended["next_ms"], &ended["warning"]), (&json!(false), &Value::Null, &Value::Null));
    assert_eq!(site.json("/api/v1/windows").await["windows"].as_array().unwrap().len(), 1);
    assert_eq!(site.json("/api/v1/windows?all=true").await["windows"][1], ended);
    let again = site.post("/api/v1/windows/1/end", "{}").await.error(409, "conflict");
    assert!(again.contains("window 1 is over already"), "{again}");
    assert!(page(&site, "/quiet", 200).await.says("window 1 ended"));
    site.stop().await;
}

#[tokio::test]
async fn what_mutes_everything_has_to_be_meant() {
    let site = Site::start().await;
    for all in [json!([]), json!(["node=~*"]), json!(["node!=web-1"]), json!([{ "field": "severity", "value": "" }])] {
        let refused = site.post("/api/v1/silences", &silence(json!({ "matchers": all }))).await;
        let said = refused.error(400, "bad-request");
        assert!(said.contains("mute everything") && said.contains("\"confirm\": true"), "{all}: {said}");
        site.post("/api/v1/windows", &window(json!({ "matchers": all }))).await.error(400, "bad-request");
        let meant = silence(json!({ "matchers": all, "confirm": true }));
        assert_eq!(site.post("/api/v1/silences", &meant).await.status, 200, "{all}");
    }
    assert_eq!(site.json("/api/v1/silences").await["silences"].as_array().unwrap().len(), 4);
    assert!(page(&site, "/quiet", 200).await.says("everything, or all but that"));
    site.stop().await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_in_words() {
    let site = Site::start().await;
    let mut described = Described::of(&site).await;
    let now = now_ms();
    let many = ["node=a"; 21];
    let long = format!("text={}", "x".repeat(501));
    for (change, words) in [
        (json!({ "matchers": ["web-1"] }), "\"web-1\" is no matcher: write FIELD=VALUE"),
        (json!({ "matchers": ["source=nodes"] }), "source is never \"nodes\""),
        (json!({ "matchers": [5] }), "a matcher is wrong: invalid type: integer `5`"),
        (json!({ "matchers": [{ "field": "node", "value": "a", "regex": true }] }), "unknown field `regex`"),
        (json!({ "matchers": [{ "field": "node", "op": "~", "value": "a" }] }), "unknown variant `~`"),
        (json!({ "matchers": [{ "field": "a=b", "value": "c" }] }), "\"a=b\" is no field"),
        (json!({ "matchers": many }), "21 matchers are more than 20"),
        (json!({ "matchers": [long] }), "has 501 bytes, at most 500"),
        (json!({ "reason": " " }), "the reason is missing"),
        (json!({ "reason": "x".repeat(2001) }), "the reason has 2001 bytes"),
        (json!({ "actor": "x".repeat(257) }), "the actor has more than 256 bytes"),
        (json!({ "minutes": null }), "either minutes or ends_ms"),
        (json!({ "ends_ms": now + DAY_MS }), "either minutes or ends_ms"),
        (json!({ "minutes": 0 }), "which is over"),
        (json!({ "minutes": -5 }), "minutes: invalid value"),
        (json!({ "minutes": null, "ends_ms": now - 1000 }), "which is over"),
        (json!({ "minutes": 90 * 1440 + 1 }), "longer than 90 days"),
        (json!({ "minutes": u32::MAX }), "longer than 90 days"),
        (json!({ "minutes": null, "ends_ms": i64::MAX }), "longer than 90 days"),
        (json!({ "starts_ms": now + 91 * DAY_MS }), "in more than 90 days"),
        (json!({ "starts_ms": i64::MAX }), "before it begins"),
        (json!({ "for": "2h" }), "unknown field `for`"),
    ] {
        let answer = site.post("/api/v1/silences", &silence(change.clone())).await;
        described.check("POST", "/api/v1/silences", &answer);
        let said = answer.error(400, "bad-request");
        assert!(said.contains(words), "{change}: {said}");
    }
    for (change, words) in [
        (json!({ "name": "" }), "the name is missing"),
        (json!({ "owner": "" }), "the owner is missing"),
        (json!({ "reason": "" }), "the reason is missing"),
        (json!({ "expires_ms": null }), "every window ends"),
        (json!({ "expires_ms": i64::MAX }), "every window ends"),
        (json!({ "expires_ms": now + 401 * DAY_MS }), "in more than 400 days"),
        (json!({ "expires_ms": now }), "which is over"),
        (json!({ "zone": "Mars/Olympus" }), "the time zone \"Mars/Olympus\" is not known"),
        (json!({ "at": "2am" }), "\"2am\" is no time of day: write HH:MM"),
        (json!({ "days": { "weekly": ["someday"] } }), "\"someday\" is no day of the week"),
        (json!({ "days": { "weekly": [] } }), "no days"),
        (json!({ "days": { "monthly": [32] } }), "32 is no day of the month"),
        (json!({ "days": { "monthly": [1], "weekly": ["mon"] } }), "either weekly or monthly"),
        (json!({ "days": {} }), "either weekly or monthly"),
        (json!({ "days": { "daily": true } }), "unknown field `daily`"),
        (json!({ "minutes": 0 }), "possible are 1 to 10080"),
        (json!({ "minutes": 10_080 }), "and so never close"),
        (json!({ "matchers": ["="] }), "is no field"),
    ] {
        let answer = site.post("/api/v1/windows", &window(change.clone())).await;
        described.check("POST", "/api/v1/windows", &answer);
        let said = answer.error(400, "bad-request");
        assert!(said.contains(words), "{change}: {said}");
    }
    for (path, status, code, words) in [
        ("/api/v1/silences/9/end", 404, "not-found", "silence 9 does not exist"),
        ("/api/v1/windows/9/end", 404, "not-found", "window 9 does not exist"),
        ("/api/v1/silences/first/end", 400, "bad-request", "\"first\" is not the number of a silence"),
        ("/api/v1/windows/first/end", 400, "bad-request", "is not the number of a window"),
    ] {
        let answer = site.post(path, "{}").await;
        described.check("POST", path, &answer);
        let said = answer.error(status, code);
        assert!(said.contains(words), "{path}: {said}");
    }
    for path in ["/api/v1/silences", "/api/v1/windows"] {
        let which = path.rsplit('/').next().unwrap();
        assert_eq!(site.json(&format!("{path}?all=true")).await[which], json!([]), "nothing was made");
        site.get(&format!("{path}?old=true")).await.error(400, "bad-request");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_link_fills_the_form() {
    let site = Site::start().await;
    let filled = page(&site, "/quiet?matchers=node%3Dweb-1%0Atext%3D%3C/textarea%3E", 200).await;
    assert!(filled.says("node=web-1\ntext=</textarea>"), "{:?}", filled.texts);
    assert!(filled.all("details").next().expect("a form").attribute("open").is_some());
    let forms: Vec<_> = filled.all("form").filter_map(|f| f.attribute("data-form")).collect();
    assert_eq!(forms, ["/api/v1/silences", "/api/v1/windows"]);
    site.stop().await;
}
