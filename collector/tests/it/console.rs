//! The pages: whole, strict, and unmoved by what strangers write.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tacit_collector::interop::event::line;
use tacit_wire::message::{
    Absent, Context, ContextKind, Direction, Evidence, ModelInForce, NodeIdentity, Phase, ProcessNote, Recording,
    RecordingRow, SourceCost, Stage, Summary,
};
use tacit_wire::{Attribute, Digest, Num, SeriesDef, SeriesId};

use crate::html::Page;
use crate::messages::{birth, death, event, now_ms, report, summary};
use crate::schema::Described;
use crate::site::Site;

const PAGES: [&str; 11] = [
    "/",
    "/incidents",
    "/incidents?all=true",
    "/incidents?muted=true",
    "/digest",
    "/incidents/1",
    "/map",
    "/nodes",
    "/nodes/web-1",
    "/quiet",
    "/settings",
];

/// Asks for a page and checks what holds for each.
pub async fn page(site: &Site, path: &str, status: u16) -> Page {
    let answer = site.get(path).await;
    assert_eq!((answer.status, answer.header("content-type")), (status, "text/html; charset=utf-8"), "{path}");
    let page = Page::parse(&answer.text);
    for (n, tag) in page.tags.iter().enumerate() {
        assert!(!matches!(tag.name.as_str(), "style" | "iframe" | "object" | "embed" | "base"), "{path}: {tag:?}");
        if tag.name == "form" {
            // What is asked for goes into the address of a page; what changes something goes through the script.
            let sent = ["action", "method"].map(|key| tag.attribute(key));
            let expected = if tag.attribute("data-form").is_some() { [None; 2] } else { [Some("/map"), Some("get")] };
            assert_eq!(sent, expected, "{path}: {tag:?}");
        }
        if tag.name == "script" {
            assert!(tag.attribute("src").is_some_and(|src| src.starts_with("/assets/")), "{path}: {tag:?}");
            assert!(page.texts.iter().all(|text| text.within != n), "{path}: a script stands in the page");
        }
        for (key, value) in &tag.attributes {
            assert!(!key.starts_with("on") && key != "style", "{path}: {tag:?}");
            if matches!(key.as_str(), "href" | "src" | "data-post" | "data-label" | "data-form") {
                assert!(value.starts_with(['/', '#']) && !value.starts_with("//"), "{path}: {tag:?}");
            }
        }
    }
    assert!(page.all("title").count() == 1 && page.all("h1").count() == 1 && page.all("main").count() == 1, "{path}");
    page
}

#[tokio::test]
async fn every_link_leads_somewhere() {
    let (site, _node) = Site::with_an_incident().await;
    let described = Described::of(&site).await;
    let mut waiting = vec!["/".to_owned()];
    let mut seen = BTreeMap::new();
    while let Some(path) = waiting.pop() {
        if seen.contains_key(&path) {
            continue;
        }
        let answer = site.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        let kind = answer.header("content-type").to_owned();
        if kind.starts_with("text/html") {
            for tag in page(&site, &path, 200).await.tags {
                let links = ["href", "src"].into_iter().filter_map(|key| tag.attribute(key));
                // What a map can be asked for has no end; its own tests ask.
                let leads = links.filter(|link| !link.starts_with('#') && !link.starts_with("/map?"));
                waiting.extend(leads.map(str::to_owned));
                for order in ["data-post", "data-label", "data-form"].into_iter().filter_map(|key| tag.attribute(key)) {
                    assert!(described.has(order), "{path}: {order} is no operation");
                }
            }
        }
        seen.insert(path, kind);
    }
    let (assets, rest): (BTreeMap<_, _>, _) = seen.into_iter().partition(|(path, _)| path.starts_with("/assets/"));
    let name = |path: &str| path.rsplit_once('/').unwrap().1.to_owned();
    let assets: BTreeMap<_, _> = assets.iter().map(|(path, kind)| (name(path), kind.as_str())).collect();
    let (css, js) = ("text/css; charset=utf-8", "text/javascript; charset=utf-8");
    let expected = [
        ("app.css", css),
        ("app.js", js),
        ("cytoscape.min.js", js),
        ("icon.svg", "image/svg+xml"),
        ("map-layout.js", js),
        ("map.css", css),
        ("map.js", js),
        ("uPlot.iife.min.js", js),
        ("uPlot.min.css", css),
    ];
    assert_eq!(assets, expected.map(|(name, kind)| (name.to_owned(), kind)).into());
    let days = |path: &&str| path.starts_with("/digest?day=");
    let all: BTreeSet<_> = rest.keys().map(String::as_str).filter(|path| !days(path)).collect();
    assert_eq!(all, PAGES.into_iter().chain(["/metrics", "/api/v1/openapi.json"]).collect());

    // What the script asks for is there too.
    let script = include_str!("../../assets/app.js");
    let urls = script.split(['"', '`']).filter(|text| text.starts_with("/api/"));
    let urls: Vec<_> = urls.map(|url| url.replace("${", "{")).collect();
    assert!(urls.len() >= 3 && urls.iter().all(|url| described.has(url)), "{urls:?}");
    site.stop().await;
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_their_own_address_only() {
    let site = Site::start().await;
    let home = page(&site, "/", 200).await;
    let own = home.all("script").filter_map(|s| s.attribute("src")).last().expect("a script").to_owned();
    let (kept, other) = (site.get(&own).await, site.get("/assets/0/app.js").await);
    assert_eq!((kept.status, kept.header("cache-control")), (200, "public, max-age=31536000, immutable"));
    assert_eq!((other.status, other.header("cache-control")), (200, "no-store"));
    assert_eq!(kept.text, other.text);
    for path in ["/assets/0/none.js", "/assets/0/..%2fapp.js", "/assets/app.js"] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_page_that_is_none_says_so() {
    let site = Site::start().await;
    for (path, status, words) in [
        ("/nothing", 404, "There is no such page."),
        ("/nodes/web-9", 404, "Node web-9 does not exist."),
        ("/nodes/Web_9", 400, "is not valid: use 1 to 36"),
        ("/nodes/%3Cscript%3E", 400, "<script>"),
        ("/nodes/%ff", 400, "not UTF-8"),
        ("/incidents/9", 404, "Incident 9 does not exist."),
        ("/incidents/%22onload%3D%22", 404, "onload="),
        ("/map?to=yesterday", 400, "To is not a time: \"yesterday\""),
        ("/map?group=%3Cscript%3E", 400, "<script>"),
        ("/map?nothing=1", 400, "There is no parameter \"nothing\"."),
        ("/map?node=Web_1", 400, "is not valid: use 1 to 36"),
        ("/map?from=9&to=5", 400, "From is not before to."),
        ("/map?bytes=NaN", 400, "Bytes NaN is no rate."),
        ("/map?failing=true&failing=true", 400, "Failing is there twice."),
        ("/incidents?all=perhaps", 400, "all: provided string was not `true` or `false`"),
    ] {
        let page = page(&site, path, status).await;
        assert!(page.says(words), "{path}: {:?}", page.texts);
        assert!(page.all("a").any(|a| a.attribute("href") == Some("/")), "{path}: a way home");
    }
    site.stop().await;
}

#[tokio::test]
async fn an_empty_collector_says_how_to_begin() {
    let site = Site::start().await;
    for (path, words) in [
        ("/", "No node yet"),
        ("/map", "No node has told of a connection yet."),
        ("/nodes", "No node has reported yet."),
        ("/incidents", "All quiet: no incident is open."),
        ("/incidents?all=true", "There has been no incident."),
        ("/quiet", "Nothing is silenced."),
        ("/quiet", "There is no maintenance window."),
        ("/settings", "None: everything that came could be read."),
    ] {
        assert!(page(&site, path, 200).await.says(words), "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn pages_follow_what_happens() {
    let (site, client) = Site::with_an_incident().await;
    assert!(page(&site, "/", 200).await.says("One incident"));
    let buttons = async || -> Vec<String> {
        let one = page(&site, "/incidents/1", 200).await;
        let orders =
            one.all("button").filter_map(|b| b.attribute("data-post")).filter(|order| !order.ends_with("/cause"));
        orders.map(str::to_owned).collect()
    };
    let (acknowledge, resolve) = ("/api/v1/incidents/1/acknowledge", "/api/v1/incidents/1/resolve");
    assert_eq!(buttons().await, [acknowledge, resolve]);
    assert_eq!(site.post(acknowledge, r#"{"actor":"ana"}"#).await.status, 200);
    assert_eq!(buttons().await, [resolve]);
    assert!(page(&site, "/incidents/1", 200).await.says("acknowledged by ana"));
    assert_eq!(site.post(resolve, "{}").await.status, 200);
    assert_eq!(buttons().await, [""; 0]);
    let home = page(&site, "/", 200).await;
    assert!(home.says("All quiet") && home.says("1 of 1 nodes online, 1 series watched every second."));
    assert!(page(&site, "/nodes/web-1", 200).await.says("online · last message"));

    let gone = crate::messages::bytes(&death("web-1", 1, None));
    client.publish(&crate::messages::topic("web-1", "death"), gone).await.expect("acknowledged");
    let lost = page(&site, "/nodes/web-1", 200).await;
    assert!(lost.says("lost:") && lost.says("its connection broke and it did not come back"), "{:?}", lost.texts);
    site.stop().await;
}

/// A collector with `text` wherever a node or a person can put one.
async fn site_saying(text: &str) -> Site {
    let site = Site::start().await;
    let node = site.node("web-1").await;
    let t = || text.to_owned();
    let attributes = vec![Attribute::new(text, text)];
    let absent = vec![Absent { source: t(), reason: t() }];
    let model = ModelInForce { name: t(), version: t(), digest: Digest([1; 32]), stage: Stage::default(), points: 100 };

    let mut born = birth("web-1", 1);
    born.agent = t();
    born.addresses = vec![t()];
    born.absent.clone_from(&absent);
    born.models = vec![model.clone()];
    born.identity =
        NodeIdentity { hostname: t(), os: t(), kernel: t(), arch: t(), cpu: t(), board: Some(t()), ..born.identity };
    node.say("birth", &born).await;

    let mut said = report("web-1", 1);
    said.health = vec![t()];
    said.absent = absent;
    said.models = vec![model];
    said.sources = vec![SourceCost { name: t(), seconds: Num(0.1), errors: 1, last_error: Some(t()) }];
    node.say("report", &said).await;

    let series = vec![SeriesDef { id: SeriesId(1), name: t(), attributes: attributes.clone(), unit: t() }];
    node.say("summary", &Summary { start_ms: now_ms() - 120_000, series, ..summary("web-1", 1) }).await;

    let mut bad = event("web-1", 1, 9, Phase::Open);
    // Before the incident, so that every timeline has one order.
    bad.onset_ms -= 1000;
    bad.text = t();
    bad.rule = Some(t());
    bad.model = Some(Digest([1; 32]));
    bad.evidence = vec![Evidence {
        name: t(),
        attributes: attributes.clone(),
        unit: t(),
        share: Num(0.5),
        observed: Num(9.0),
        low: Num(1.0),
        high: Num(2.0),
        direction: Direction::High,
    }];
    bad.processes = vec![ProcessNote {
        pid: 7,
        name: t(),
        command: Some(t()),
        unit: Some(t()),
        cpu: Num(1.0),
        memory: Num(1.0),
        memory_growth: Num::NONE,
        io: Num::NONE,
    }];
    bad.context = vec![Context { kind: ContextKind::Boot, at_ms: bad.onset_ms, text: t(), unit: Some(t()) }];
    let row = RecordingRow { name: t(), attributes, unit: t(), values: vec![Num(1.0), Num::NONE] };
    bad.recording = Some(Recording { start_ms: bad.onset_ms, step_ms: 1000, rows: vec![row] });
    node.say("event", &bad).await;
    site.until("/api/v1/status", |status| status["totals"]["incidents_open"] == 1).await;

    for (verb, body) in
        [("assign", json!({ "actor": text, "assignee": text })), ("comment", json!({ "actor": text, "note": text }))]
    {
        assert_eq!(site.post(&format!("/api/v1/incidents/1/{verb}"), &body.to_string()).await.status, 200);
    }
    // Nothing is muted by it, or a page would say something else a moment later.
    let matchers = json!([{ "field": "entity", "op": "=", "value": text }]);
    let mute = json!({ "matchers": matchers, "minutes": 60, "actor": text, "reason": text });
    assert_eq!(site.post("/api/v1/silences", &mute.to_string()).await.status, 200);
    let window = json!({ "name": text, "matchers": matchers, "days": { "monthly": [1] }, "at": "02:00", "minutes": 60,
        "owner": text, "actor": text, "reason": text, "expires_ms": now_ms() + 100 * 86_400_000_i64 });
    assert_eq!(site.post("/api/v1/windows", &window.to_string()).await.status, 200);
    node.send("event", b"garbage".to_vec()).await;
    node.say("death", &death("web-1", 1, Some(text))).await;
    // That the agent stopped is told beside the incident, a moment later.
    site.until("/api/v1/incidents/1", |detail| detail["events"].as_array().is_some_and(|e| e.len() == 2)).await;
    site
}

/// Ends what it may stand in, in every way that pages, scripts and JSON know; turns the direction of reading; has what is no
/// letter. Less than the 256 bytes of a name.
const HOSTILE: &str = "</title></td><script>alert(1)</script><img src=x onerror=alert(2)>\" onload=\"x' y='&amp;&lt;--> \
     ]]>${1}{{2}}%00\\u0000\\\0\u{1}\n\r\t\u{202e}drow\u{2066} \u{feff}漢é\u{1f4a5}\u{2028}";

/// A text as a part of an address.
pub fn encode(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

#[tokio::test]
async fn hostile_words_stay_words() {
    let (plain, hostile) = (site_saying("plain").await, site_saying(HOSTILE).await);
    for path in PAGES {
        let (plain, hostile) = (page(&plain, path, 200).await, page(&hostile, path, 200).await);
        assert_eq!(hostile.skeleton(), plain.skeleton(), "{path}: words became tags");
        for (text, before) in hostile.texts.iter().zip(&plain.texts) {
            let expected = before.words.matches("plain").count();
            // Where words of a stranger become a sentence of ours, they are brought into one line.
            let whole = text.words.matches(HOSTILE.trim()).count();
            let one_line = text.words.matches(line(HOSTILE).as_str()).count();
            assert_eq!(whole + one_line, expected, "{path}: {text:?}, {before:?}");
            // An override reaches to the end of its block: our own words do not stand in its way.
            let alone = hostile.texts.iter().filter(|other| other.within == text.within).count() == 1;
            assert!(alone || !text.words.contains('\u{202e}'), "{path}: {text:?} turns its neighbours around");
        }
        assert_eq!(hostile.texts.len(), plain.texts.len(), "{path}");
        for chart in hostile.tags.iter().filter_map(|t| t.attribute("data-chart")) {
            let chart: Value = serde_json::from_str(chart).expect("a chart is JSON");
            assert_eq!((&chart["unit"], &chart["y"]), (&json!(HOSTILE), &json!([1.0, null])));
        }
    }
    let one = page(&hostile, "/incidents/1", 200).await;
    assert_eq!(one.tags.iter().filter(|t| t.attribute("data-chart").is_some()).count(), 1);

    let label = format!("{HOSTILE}{{{HOSTILE}={HOSTILE}}}");
    let points = hostile.json(&format!("/api/v1/nodes/web-1/points?series={}", encode(&label))).await;
    assert_eq!(points["series"][0]["series"]["unit"], HOSTILE);
    for (path, place) in [
        ("/api/v1/nodes/web-1", "/reason"),
        ("/api/v1/nodes/web-1", "/birth/identity/hostname"),
        ("/api/v1/nodes/web-1", "/report/health/0"),
        ("/api/v1/nodes/web-1/series", "/series/0/name"),
        ("/api/v1/events/web-1/0909090909090909", "/event/processes/0/command"),
        ("/api/v1/incidents/1", "/incident/title"),
        ("/api/v1/incidents/1", "/incident/assignee"),
        ("/api/v1/incidents/1", "/audit/2/note"),
    ] {
        assert_eq!(hostile.json(path).await.pointer(place), Some(&json!(HOSTILE)), "{path}: {place}");
    }
    plain.stop().await;
    hostile.stop().await;
}

#[tokio::test]
async fn long_words_are_shown_or_refused_whole() {
    let site = Site::start().await;
    let node = site.node("web-1").await;
    node.say("birth", &birth("web-1", 1)).await;
    let mut long = event("web-1", 1, 9, Phase::Open);
    long.text = "é<".repeat(2048 / 3);
    node.say("event", &long).await;
    site.until("/api/v1/status", |status| status["totals"]["incidents_open"] == 1).await;
    for path in ["/", "/incidents", "/incidents/1", "/nodes/web-1"] {
        assert!(page(&site, path, 200).await.says(&long.text), "{path}");
    }

    // Our own encoder would not write it.
    let mut longer = serde_json::to_value(event("web-1", 2, 8, Phase::Open)).unwrap();
    longer["text"] = json!("<".repeat(4096));
    node.send("event", longer.to_string().into_bytes()).await;
    let bad = site.json("/api/v1/quarantine").await;
    let reason = "undecodable: text has 4096 bytes, at most 2048 are allowed";
    assert_eq!(bad["quarantine"][0]["reason"], reason);
    assert!(page(&site, "/settings", 200).await.says(reason));
    assert_eq!(site.json("/api/v1/events").await["events"].as_array().unwrap().len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn times_beyond_every_calendar_are_shown() {
    let site = Site::start().await;
    let node = site.node("web-1").await;
    node.say("birth", &birth("web-1", 1)).await;
    for (seq, at_ms) in [(1, i64::MAX), (2, i64::MIN)] {
        let mut odd = event("web-1", seq, 9, Phase::Update);
        odd.end_ms = Some(at_ms);
        odd.context = vec![Context { kind: ContextKind::Boot, at_ms, text: format!("boot {seq}"), unit: None }];
        let row = RecordingRow { name: "x".into(), attributes: vec![], unit: "1".into(), values: vec![Num(1.0); 3] };
        odd.recording = Some(Recording { start_ms: at_ms, step_ms: u32::MAX, rows: vec![row] });
        node.say("event", &odd).await;
        site.until("/api/v1/status", |status| status["totals"]["incidents_open"] == 1).await;
        let one = page(&site, "/incidents/1", 200).await;
        assert!(one.says(&format!("boot {seq}")) && one.says("an unknown time"), "{:?}", one.texts);
    }
    site.stop().await;
}

#[tokio::test]
async fn numbers_beyond_all_bounds_stop_nothing() {
    for at_ms in [i64::MAX, i64::MIN] {
        let site = Site::start().await;
        let node = site.node("web-1").await;
        let mut born = birth("web-1", 1);
        born.clock.wall_ms = at_ms;
        node.say("birth", &born).await;
        node.say("summary", &Summary { start_ms: at_ms, step_s: u32::MAX, ..summary("web-1", 1) }).await;
        let mut odd = event("web-1", 1, 9, Phase::Open);
        odd.onset_ms = at_ms;
        odd.severity = Num(f32::INFINITY);
        node.say("event", &odd).await;
        site.until("/api/v1/status", |status| status["totals"]["incidents_open"] == 1).await;
        for path in PAGES {
            page(&site, path, 200).await;
        }
        assert_eq!(site.json("/api/v1/incidents/1").await["incident"]["severity"], 1.0);
        assert_eq!(site.post("/api/v1/incidents/1/resolve", "{}").await.status, 200);
        // The next event of such a time.
        let mut later = event("web-1", 2, 8, Phase::Open);
        later.onset_ms = i64::MIN;
        node.say("event", &later).await;
        site.until("/api/v1/incidents", |list| {
            list["incidents"][0]["events"] != 0 && list["incidents"][0]["state"] != "resolved"
        })
        .await;
        site.stop().await;
    }
}
