//! The page of the map: whole without its script, unmoved by hostile names, and drawn in a browser.

use serde_json::{Value, json};
use tacit_wire::Attribute;
use tacit_wire::message::Birth;

use crate::browser::Browser;
use crate::console::{encode, page};
use crate::html::Page;
use crate::messages::{birth, half, links, now_ms, settled_minute};
use crate::schema::Described;
use crate::site::{Node, Site};

/// A front, called `owner`, that uses a database on another node.
async fn site_with_a_map(owner: &str) -> (Site, [Node; 2]) {
    let site = Site::start().await;
    let (web, db) = (site.node("web-1").await, site.node("db-1").await);
    for (node, name, address) in [(&web, "web-1", "10.0.0.1"), (&db, "db-1", "10.0.0.2")] {
        let tags = vec![Attribute::new("role", &name[..name.len() - 2])];
        node.say("birth", &Birth { addresses: vec![address.into()], tags, ..birth(name, 1) }).await;
    }
    let minute = settled_minute();
    web.say("links", &links("web-1", 1, minute, vec![half(owner, false, "10.0.0.2", 5432, &[40_001])])).await;
    let server = half("postgresql.service", true, "10.0.0.1", 5432, &[40_001]);
    db.say("links", &links("db-1", 1, minute, vec![server])).await;
    site.until("/api/v1/map", |map| map["edges"][0]["owned"] == true).await;
    (site, [web, db])
}

#[tokio::test]
async fn the_map_is_whole_without_its_script() {
    let (site, _nodes) = site_with_a_map("nginx.service").await;
    let described = Described::of(&site).await;
    let map = site.json("/api/v1/map").await;
    assert_eq!(map["tags"], json!({ "db-1": { "role": "db" }, "web-1": { "role": "web" } }));
    assert!(page(&site, "/nodes/db-1", 200).await.says("role=db"));
    let edge = "web-1/nginx.service%3Edb-1/postgresql.service:tcp/5432";
    let earlier = now_ms() - 3 * 3_600_000;
    for (query, words) in [
        (
            String::new(),
            vec![
                "Drawing needs JavaScript",
                "web-1/nginx.service",
                "One edge.",
                "1 of 1 edges between nodes (100.0 %)",
            ],
        ),
        ("?group=tag.role".into(), vec!["by role", "One edge."]),
        ("?sort=rtt&group=none&infrastructure=true".into(), vec!["One edge.", "1.0 ms"]),
        (format!("?edge={edge}"), vec!["First seen", "reports, level 2", "Connects an hour", "tcp/5432"]),
        ("?show=db-1/postgresql.service".into(), vec!["Incoming", "Clients", "It connects to nobody."]),
        ("?service=postgresql.service".into(), vec!["Incoming", "One edge."]),
        ("?blast=postgresql.service".into(), vec!["What breaks with", "1 depend on it"]),
        ("?path_from=web-1&path_to=db-1".into(), vec!["From", "db-1/postgresql.service"]),
        ("?path_from=db-1&path_to=web-1".into(), vec!["No way leads there along connects."]),
        (format!("?diff={earlier}"), vec!["1 appeared", "0 as they were"]),
        (format!("?to={earlier}"), vec!["No edge is on this map."]),
        ("?connects=1000".into(), vec!["No edge is on this map."]),
        ("?failing=true&outside=false".into(), vec!["No edge is on this map."]),
        // A time at which it was not there is no reason to show nothing.
        ("?edge=none".into(), vec!["edge \"none\" does not exist.", "One edge."]),
        ("?show=none".into(), vec!["none has no edge on this map.", "One edge."]),
        ("?blast=none".into(), vec!["\"none\" on the map does not exist.", "One edge."]),
    ] {
        let path = format!("/map{query}");
        let page = page(&site, &path, 200).await;
        for words in words {
            assert!(page.says(words), "{path} does not say {words:?}: {:?}", page.texts);
        }
        for key in ["data-map", "data-diff", "data-blast", "data-path"] {
            let asked = page.tags.iter().find_map(|t| t.attribute(key)).expect("the script finds what it draws");
            assert!(asked.is_empty() || described.has(asked), "{path}: {asked}");
        }
    }
    for (path, link) in [
        ("/nodes/db-1", "/map?node=db-1&infrastructure=true"),
        ("/map?show=db-1/postgresql.service", "/nodes/db-1"),
        ("/map?show=db-1/postgresql.service", "/map?blast=db-1/postgresql.service&show=db-1/postgresql.service"),
    ] {
        let page = page(&site, path, 200).await;
        assert!(page.all("a").any(|a| a.attribute("href") == Some(link)), "{path}: {link}");
    }
    let policy = site.get("/map").await.header("content-security-policy").to_owned();
    assert!(policy.contains("script-src 'self'; style-src 'self'") && !policy.contains("unsafe"), "{policy}");
    site.stop().await;
}

#[tokio::test]
async fn hostile_names_stay_names_on_the_map() {
    // What of it is no letter is taken out before it comes to the map.
    let hostile =
        "</bdi></td><script>alert(1)</script><img src=x onerror=alert(2)>\" onload=\"x' y='&amp;&lt;--> %00${1}{{2}}";
    let (plain, others) = (site_with_a_map("plain").await, site_with_a_map(hostile).await);
    let queries = |name: &str| {
        let id = encode(&format!("web-1/{name}"));
        let edge = encode(&format!("web-1/{name}>db-1/postgresql.service:tcp/5432"));
        [
            "/map".to_owned(),
            format!("/map?edge={edge}&find={}", encode(name)),
            format!("/map?show={id}&path_from={id}&path_to=db-1"),
            format!("/map?service={}&blast={id}&open={}", encode(name), encode(name)),
            "/map?blast=postgresql.service".to_owned(),
            "/nodes/web-1".to_owned(),
        ]
    };
    for (before, path) in queries("plain").iter().zip(queries(hostile)) {
        let (before, page) = (page(&plain.0, before, 200).await, page(&others.0, &path, 200).await);
        assert_eq!(page.skeleton(), before.skeleton(), "{path}: words became tags");
        let count = |page: &Page, name: &str| page.texts.iter().map(|t| t.words.matches(name).count()).sum::<usize>();
        assert_eq!(count(&page, hostile), count(&before, "plain"), "{path}");
        assert!(count(&page, hostile) > 0, "{path}");
        for chart in page.tags.iter().filter_map(|t| t.attribute("data-chart")) {
            serde_json::from_str::<Value>(chart).expect("a chart is JSON");
        }
    }
    plain.0.stop().await;
    others.0.stop().await;
}

/// A map of `nodes` × `services` clients that use as many servers on each of the `fan` nodes that follow.
async fn site_of(nodes: u16, services: u16, fan: u16) -> (Site, Vec<Node>) {
    let site = Site::start().await;
    let minute = settled_minute();
    let address = |n: u16| format!("10.0.0.{}", n % nodes + 1);
    let mut all = Vec::new();
    for n in 0..nodes {
        let name = format!("node-{n}");
        let node = site.node(&name).await;
        node.say("birth", &Birth { addresses: vec![address(n)], ..birth(&name, 1) }).await;
        let said = (0..services).flat_map(|s| {
            let to = move |d: u16| half(&format!("app-{s}.service"), false, &address(n + d), 5000 + s, &[]);
            (1..=fan).map(to)
        });
        node.say("links", &links(&name, 1, minute, said.collect())).await;
        all.push(node);
    }
    let expected = usize::from(nodes * services * fan);
    site.until("/api/v1/map", |map| map["edges"].as_array().is_some_and(|e| e.len() == expected)).await;
    (site, all)
}

/// Opens pages of a map of this size in a browser, and waits until so much is drawn.
async fn drawn(size: (u16, u16, u16), pages: Vec<(&'static str, &'static str)>, then: fn(&Browser, &str)) {
    let (site, nodes) = site_of(size.0, size.1, size.2).await;
    let console = format!("http://{}", site.host());
    let look = move || {
        let Some(browser) = Browser::start() else { return };
        for (path, words) in pages {
            browser.open(&format!("{console}{path}"));
            browser.wait_for("#said", words);
            let shown = browser.script("return document.querySelector('#map canvas').width > 100");
            assert_eq!(shown, json!(true), "{path} has a drawing");
        }
        then(&browser, &console);
        let complaints = browser.complaints();
        assert!(complaints.is_empty(), "the page works without complaint: {complaints:?}");
    };
    tokio::task::spawn_blocking(look).await.expect("the pages are as they should be");
    drop(nodes);
    site.stop().await;
}

#[tokio::test]
async fn a_small_map_is_drawn_and_answers() {
    let pages = vec![
        ("/map", "Drawn: 10 vertices 5 edges."),
        ("/map?find=node-3", "2 matches for node-3."),
        ("/map?blast=node-1/:5000", "1 vertex depends on what is marked as down, 8 do not."),
        ("/map?path_from=node-0/app-0.service&path_to=node-1/:5000", "The way has 1 step."),
        ("/map?diff=3600000", "Drawn: 10 vertices 5 edges."),
        ("/map", "Drawn: 10 vertices 5 edges."),
    ];
    drawn((5, 1, 1), pages, answers).await;
}

/// The first page of the browser is an open map.
fn answers(browser: &Browser, console: &str) {
    // By the keys: the first service, and its details without another page.
    let key = |key: &str| {
        let event = format!("new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, cancelable: true }})");
        browser.script(&format!("window.stays = true; document.getElementById('map').dispatchEvent({event})"));
    };
    key("ArrowRight");
    browser.wait_for("#said", "outgoing.");
    key("Enter");
    browser.wait_for("#details", "What breaks with it");
    // A link of the table: the edge, with its hours drawn, at an address that can be sent.
    browser.click("#answers table.edges a.port");
    browser.wait_for("#details", "First seen");
    assert_eq!(browser.script("return document.querySelectorAll('#details .chart canvas').length"), json!(6));
    assert_eq!(browser.script("return window.stays && location.search.startsWith('?edge=')"), json!(true));
    // A group is closed by the button, and the address tells.
    browser.click("[data-map-do='close']");
    browser.wait_for("#said", "Drawn: 5 vertices 5 edges");
    browser.script("history.back()");
    browser.wait_for("#said", "Drawn: 10 vertices 5 edges.");
    // What the address says is wrong with is said in words.
    browser.open(&format!("{console}/map?sort=colour"));
    browser.wait_for("main", "Sort is \"colour\"");
    // The answer with an error is a complaint of the browser's, not of the page.
    let refused = browser.complaints();
    assert!(refused.iter().all(|c| c.contains("400")), "{refused:?}");
}

#[tokio::test]
async fn a_map_of_a_hundred_vertices_is_open() {
    drawn((10, 5, 2), vec![("/map", "Drawn: 100 vertices 100 edges.")], |_, _| ()).await;
}

#[tokio::test]
async fn a_large_map_is_folded_until_it_is_opened() {
    let pages = vec![
        ("/map", "Drawn: 25 vertices 200 edges, of them 25 closed groups"),
        ("/map?open=node-3", "Drawn: 44 vertices"),
        ("/map?group=site", "Drawn: 1 vertex 0 edges"),
        ("/map?group=none", "Drawn: 500 vertices 2000 edges."),
    ];
    drawn((25, 10, 8), pages, layers).await;
}

/// The layout by itself: callers stand left of whom they call, whatever cycles there are, and nothing covers anything.
fn layers(browser: &Browser, _: &str) {
    let chain = "return TacitMap.layered([0, 1, 2, 3].map(() => ({ w: 10, h: 10 })), [[0, 1], [1, 2], [2, 3], [3, 1], [0, 3]], { x: 5, y: 5 }).layers";
    assert_eq!(browser.script(chain), json!([0, 1, 2, 3]));
    let tree = "const links = []; for (let n = 1; n < 200; n++) links.push([(n - 1) >> 2, n]);
        const { places } = TacitMap.layered(Array.from({ length: 200 }, () => ({ w: 10, h: 10 })), links, { x: 5, y: 5 });
        let covered = 0;
        places.forEach((a, i) => places.slice(0, i).forEach((b) => { if (Math.abs(a.x - b.x) < 10 && Math.abs(a.y - b.y) < 10) covered++; }));
        return [links.filter(([a, b]) => places[a].x >= places[b].x).length, covered, places.every((p) => Number.isFinite(p.x + p.y))]";
    assert_eq!(browser.script(tree), json!([0, 0, true]));
}
