//! Who may ask, and what every answer carries.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::answer::Answer;
use crate::site::Site;

const RESOLVE: &str = "/api/v1/incidents/1/resolve";

/// Asserts that an answer carries what keeps strangers out.
fn assert_sealed(answer: &Answer, what: &str) {
    let policy: BTreeMap<_, _> =
        answer.header("content-security-policy").split(';').filter_map(|rule| rule.trim().split_once(' ')).collect();
    for (rule, sources) in [
        ("default-src", "'none'"),
        ("script-src", "'self'"),
        ("style-src", "'self'"),
        ("connect-src", "'self'"),
        ("form-action", "'self'"),
        ("frame-ancestors", "'none'"),
        ("base-uri", "'none'"),
    ] {
        assert_eq!(policy.get(rule), Some(&sources), "{what}: {policy:?}");
    }
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("x-frame-options"), "DENY", "{what}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    assert_eq!(answer.header("access-control-allow-origin"), "", "{what}");
}

#[tokio::test]
async fn every_answer_is_sealed() {
    let (site, _node) = Site::with_an_incident().await;
    for path in ["/", "/incidents/1", "/nothing", "/assets/0/app.js", "/api/v1/nodes", "/api/v1/nothing", "/metrics"] {
        assert_sealed(&site.get(path).await, path);
    }
    assert_sealed(&site.ask("GET", "/", &[("host", "evil.example")], "").await, "a foreign host");
    assert_sealed(&site.post(RESOLVE, "no").await, "no JSON");
    assert_sealed(&site.ask("POST", RESOLVE, &[], "{}").await, "no type");
    assert_sealed(&site.ask("DELETE", "/", &[], "").await, "no such method");
    assert_sealed(&site.post(RESOLVE, "{}").await, "done");
    site.stop().await;
}

#[tokio::test]
async fn only_loopback_names_are_answered() {
    let site = Site::start().await;
    let port = site.host().rsplit_once(':').unwrap().1.to_owned();
    for path in ["/", "/api/v1/status", "/api/v1/nothing", "/metrics", "/healthz", "/assets/0/app.js"] {
        for host in
            ["evil.example", &format!("evil.example:{port}"), "127.0.0.1.evil.example", "192.0.2.1", "localhost@evil"]
        {
            let said = site.ask("GET", path, &[("host", host)], "").await.error(403, "forbidden");
            assert!(said.contains("use http://127.0.0.1 or http://localhost"), "{path} as {host}: {said}");
        }
    }
    for host in ["localhost", &format!("localhost:{port}"), "[::1]:80", "127.0.0.1"] {
        assert_eq!(site.ask("GET", "/", &[("host", host)], "").await.status, 200, "{host}");
    }
    // HTTP/1.0 needs no host.
    let mut socket = tokio::net::TcpStream::connect(site.host()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 403"), "{answer}");
    site.stop().await;
}

#[tokio::test]
async fn pages_elsewhere_change_nothing() {
    let (site, _node) = Site::with_an_incident().await;
    let post = async |headers: &[(&str, &str)]| site.ask("POST", RESOLVE, headers, "{}").await;
    let json = ("content-type", "application/json");
    let own = format!("http://{}", site.host());
    for header in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", ""),
        ("origin", &format!("http://evil.example/{}", site.host())),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let said = post(&[json, header]).await.error(403, "forbidden");
        assert!(said.contains("comes from another origin"), "{header:?}: {said}");
    }
    // What the browser itself says goes before what a page can write.
    post(&[json, ("origin", &own), ("sec-fetch-site", "cross-site")]).await.error(403, "forbidden");
    // A form or a script can send these without asking first.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=application/json"] {
        post(&[("content-type", kind)]).await.error(415, "not-json");
    }
    // A page that asks first gets no permission.
    let ask = [("origin", "http://evil.example"), ("access-control-request-method", "POST")];
    assert_eq!(site.ask("OPTIONS", RESOLVE, &ask, "").await.header("access-control-allow-origin"), "");
    assert_eq!(site.json("/api/v1/incidents/1").await["incident"]["state"], "open");

    let own =
        [("content-type", "Application/JSON; charset=utf-8"), ("origin", &own), ("sec-fetch-site", "same-origin")];
    assert_eq!(post(&own).await.status, 200);
    site.stop().await;
}
