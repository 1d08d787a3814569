//! Who may ask what: users, sessions, tokens, roles, and the log of every change.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tacit_collector::access::config::Required;
use tacit_collector::access::{secret, token};
use tacit_collector::store::{ApiToken, Role, Session};

use crate::answer::Answer;
use crate::client::PATIENCE;
use crate::html::Page;
use crate::messages::now_ms;
use crate::site::{PASSWORD, Site};

/// `ana:correct horse` in base64.
pub const BASIC_ANA: &str = "Basic YW5hOmNvcnJlY3QgaG9yc2U=";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A token, made as on the collector's machine; it ends with `maker`.
pub async fn token(site: &Site, role: Role, maker: Option<&str>) -> String {
    let fresh = token::make().unwrap();
    let made = ApiToken {
        id: fresh.id,
        name: "ci".into(),
        role,
        made_by: maker.map(str::to_owned),
        created_ms: now_ms(),
        expires_ms: None,
        revoked_ms: None,
        last_used_ms: None,
    };
    site.store().add_token(made, fresh.secret_hash).await.unwrap();
    format!("Bearer {}", fresh.text)
}

/// A program with a token.
struct Program<'a> {
    site: &'a Site,
    bearer: String,
}

/// One with a token of its own, made by `maker`.
async fn program<'a>(site: &'a Site, role: Role, maker: &str) -> Program<'a> {
    Program { site, bearer: token(site, role, Some(maker)).await }
}

impl Program<'_> {
    async fn get(&self, path: &str) -> Answer {
        self.site.ask("GET", path, &[("authorization", self.bearer.as_str())], "").await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.site.ask("POST", path, &[("authorization", self.bearer.as_str()), JSON], &body.to_string()).await
    }
}

/// A browser that somebody signed in with.
struct Browser<'a> {
    site: &'a Site,
    cookie: String,
    csrf: String,
}

impl<'a> Browser<'a> {
    async fn sign_in(site: &'a Site, name: &str) -> Self {
        let answer = login(site, name, PASSWORD, &[]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text);
        let set = answer.header("set-cookie");
        let port = site.host().rsplit_once(':').unwrap().1.to_owned();
        assert!(set.starts_with(&format!("tacit-{port}=")), "{set}");
        assert!(set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax"), "{set}");
        let cookie = set.split(';').next().unwrap().to_owned();
        let mut browser = Self { site, cookie, csrf: String::new() };
        let page = browser.page("/account").await;
        let meta = page.all("meta").find(|tag| tag.attribute("name") == Some("tacit-csrf"));
        browser.csrf = meta.and_then(|tag| tag.attribute("content")).expect("a page has its token").to_owned();
        browser
    }

    async fn get(&self, path: &str) -> Answer {
        self.site.ask("GET", path, &[("cookie", self.cookie.as_str())], "").await
    }

    async fn page(&self, path: &str) -> Page {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        Page::parse(&answer.text)
    }

    /// What the script of a page sends.
    async fn post(&self, path: &str, body: Value) -> Answer {
        let headers = [("cookie", self.cookie.as_str()), JSON, ("x-tacit-csrf", self.csrf.as_str())];
        self.site.ask("POST", path, &headers, &body.to_string()).await
    }

    /// What a form of a page sends.
    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = encoded(&[&[("csrf", self.csrf.as_str())][..], fields].concat());
        self.site.ask("POST", path, &[("cookie", self.cookie.as_str()), FORM], &body).await
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = fields.iter().map(|(k, v)| format!("{k}={}", crate::console::encode(v))).collect();
    pairs.join("&")
}

async fn login(site: &Site, name: &str, password: &str, more: &[(&str, &str)]) -> Answer {
    let fields = encoded(&[&[("name", name), ("password", password)][..], more].concat());
    site.ask("POST", "/login", &[FORM], &fields).await
}

/// The log of changes, oldest first: who, role, method, path and status.
async fn log(site: &Site) -> Vec<String> {
    let lines = site.store().access_log(None, 1000).await.unwrap();
    let said = |l: &tacit_collector::store::AccessLine| {
        assert!(l.address == "127.0.0.1" || l.address == "local", "{l:?}");
        format!("{} {} {} {} {}", l.who, l.role, l.method, l.path, l.status)
    };
    lines.iter().rev().map(said).collect()
}

#[tokio::test]
async fn on_loopback_without_a_user_everybody_may_do_everything() {
    let (site, _node) = Site::with_an_incident().await;
    let me = site.json("/api/v1/me").await;
    assert_eq!(me, json!({ "name": "anyone", "role": "admin", "required": false }));
    assert_eq!(site.post("/api/v1/incidents/1/acknowledge", r#"{"actor":"ana"}"#).await.status, 200);
    assert_eq!(site.json("/api/v1/incidents/1").await["incident"]["assignee"], "ana");
    let away = site.get("/login").await;
    assert_eq!((away.status, away.header("location")), (303, "/"));
    assert_eq!(login(&site, "ana", PASSWORD, &[]).await.status, 409);
    // Credentials that nobody asked for are no matter.
    assert_eq!(site.ask("GET", "/api/v1/status", &[("authorization", "Bearer x")], "").await.status, 200);
    // Who merely reaches it does not say who rules it.
    let first = json!({ "name": "eve", "role": "admin", "password": PASSWORD }).to_string();
    let said = site.post("/api/v1/users", &first).await.error(409, "conflict");
    assert!(said.contains("tacit-collector user add NAME --role admin"), "{said}");
    let token = json!({ "name": "eve", "role": "admin" }).to_string();
    site.post("/api/v1/tokens", &token).await.error(409, "conflict");
    assert!(site.json("/api/v1/users").await["users"].as_array().unwrap().is_empty());
    assert_eq!(log(&site).await, ["anyone - POST /api/v1/incidents/1/acknowledge 200"]);
    site.stop().await;
}

/// Runs `tacit-collector` with arguments and standard input: whether it was good, and what it said.
fn command(arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tacit-collector"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who does not read it has closed it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.success(), String::from_utf8_lossy(said).into_owned())
}

#[tokio::test]
async fn the_first_admin_is_made_beside_the_running_collector() {
    let site = Site::start().await;
    let data = site.folder().join("data");
    let file = site.folder().join("collector.toml");
    std::fs::write(&file, format!("data_dir = {data:?}\n")).unwrap();
    let file = file.to_str().unwrap();
    let (good, said) = command(&["user", "add", "ana", "--role", "admin", "--config", file], "short\n");
    assert!(!good && said.contains("10 to 256 are allowed"), "{said}");
    assert_eq!(site.get("/api/v1/status").await.status, 200, "nothing has changed");
    let (good, said) = command(&["user", "add", "ana", "--role", "admin", "--config", file], &format!("{PASSWORD}\n"));
    assert!(good && said == "User ana has the role admin and may sign in.\n", "{said}");

    // From now on who asks has to be known.
    let refused = site.get("/api/v1/status").await;
    assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"tacit\"");
    assert!(refused.error(401, "unauthorized").contains("sign in at /login"));
    let away = site.get("/map?node=web-1&find=a%20b").await;
    assert_eq!((away.status, away.header("location")), (303, "/login?next=/map%3Fnode%3Dweb-1%26find%3Da%2520b"));
    for free in ["/healthz", "/readyz", "/login", "/assets/0/app.css"] {
        assert_eq!(site.get(free).await.status, 200, "{free}");
    }
    let page = Page::parse(&site.get("/login?next=/nodes").await.text);
    assert!(page.all("input").any(|i| i.attribute("name") == Some("next") && i.attribute("value") == Some("/nodes")));
    let back = login(&site, "ana", PASSWORD, &[("next", "/nodes?after=a")]).await;
    assert_eq!((back.status, back.header("location")), (303, "/nodes?after=a"));
    let elsewhere = login(&site, "ana", PASSWORD, &[("next", "//evil.example")]).await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (303, "/"));

    let (good, said) = command(&["token", "make", "ci", "--role", "viewer", "--ttl", "1d", "--config", file], "");
    assert!(good && said.starts_with("tacit-api."), "{said}");
    let program = Program { site: &site, bearer: format!("Bearer {}", said.trim()) };
    assert_eq!(program.get("/api/v1/status").await.status, 200);
    let (good, said) = command(&["user", "disable", "ana", "--config", file], "");
    assert!(!good && said.contains("ana is the last admin"), "{said}");
    let lines = log(&site).await;
    assert!(lines[0].ends_with("- COMMAND user add ana (admin) 200"), "{lines:?}");
    assert_eq!(lines[1..3], ["ana admin POST /login 303", "ana admin POST /login 303"]);
    site.stop().await;
}

#[tokio::test]
async fn each_role_may_do_what_it_may() {
    let (site, _node) = Site::with_an_incident().await;
    site.add_user("root", Role::Admin).await;
    let viewer = program(&site, Role::Viewer, "root").await;
    let operator = program(&site, Role::Operator, "root").await;
    let admin = program(&site, Role::Admin, "root").await;
    for (path, stranger) in [
        ("/api/v1/status", 401),
        ("/api/v1/incidents/1", 401),
        ("/api/v1/openapi.json", 401),
        ("/metrics", 401),
        ("/-/ready", 401),
        ("/", 303),
        ("/settings", 303),
    ] {
        assert_eq!(site.get(path).await.status, stranger, "{path}");
        for who in [&viewer, &operator, &admin] {
            assert_eq!(who.get(path).await.status, 200, "{path}");
        }
    }
    let acknowledge = "/api/v1/incidents/1/acknowledge";
    let said = viewer.post(acknowledge, json!({})).await.error(403, "forbidden");
    assert!(said.contains("this needs the role operator, and token ci ("), "{said}");
    assert_eq!(site.post(acknowledge, "{}").await.status, 401);
    assert_eq!(operator.post(acknowledge, json!({ "actor": "bo" })).await.status, 200);
    let incident = admin.get("/api/v1/incidents/1").await.json();
    assert_eq!(incident["incident"]["assignee"], "bo (token ci)", "a program may say for whom it acts");

    let user = json!({ "name": "cy", "role": "viewer", "password": PASSWORD });
    for path in ["/api/v1/users", "/api/v1/tokens", "/api/v1/access-log", "/settings/users"] {
        for who in [&viewer, &operator] {
            assert_eq!(who.get(path).await.status, 403, "{path}");
        }
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
    operator.post("/api/v1/users", user.clone()).await.error(403, "forbidden");
    operator.post("/api/v1/users/root/disable", json!({})).await.error(403, "forbidden");
    let made = admin.post("/api/v1/users", user).await.json();
    assert_eq!((&made["name"], &made["role"], &made["password_hash"]), (&json!("cy"), &json!("viewer"), &Value::Null));

    // What no line of the table knows does not exist, and nothing else is done with what it knows.
    for who in [&viewer, &admin] {
        who.get("/api/v1/nothing").await.error(404, "not-found");
        assert_eq!(who.get("/nothing").await.status, 404);
        let wrong = site.ask("DELETE", "/api/v1/users", &[("authorization", who.bearer.as_str())], "").await;
        wrong.error(405, "method-not-allowed");
    }
    assert_eq!(site.ask("DELETE", "/api/v1/users", &[], "").await.status, 401);
    assert_eq!(site.get("/api/v1/nothing").await.status, 401, "strangers do not even hear what is there");

    let lines = log(&site).await;
    let ends = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!(ends("viewer POST /api/v1/incidents/1/acknowledge 403"), 1, "{lines:?}");
    assert_eq!(ends("operator POST /api/v1/incidents/1/acknowledge 200"), 1, "{lines:?}");
    assert_eq!(ends("operator POST /api/v1/users/root/disable 403"), 1, "{lines:?}");
    assert_eq!(ends("admin POST /api/v1/users 200"), 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("- ")), "strangers do not fill it: {lines:?}");
    let told = admin.get("/api/v1/access-log?limit=1").await.json();
    assert_eq!(told["lines"][0]["status"], 405);
    let next = told["next"].as_i64().unwrap();
    assert_eq!(admin.get(&format!("/api/v1/access-log?limit=1&before={next}")).await.json()["lines"][0]["n"], next - 1);
    site.stop().await;
}

#[tokio::test]
async fn a_page_elsewhere_cannot_use_a_browsers_cookie() {
    let (site, _node) = Site::with_an_incident().await;
    site.add_user("ana", Role::Admin).await;
    let ana = Browser::sign_in(&site, "ana").await;
    let other = Browser::sign_in(&site, "ana").await;
    let acknowledge = "/api/v1/incidents/1/acknowledge";
    let cookie = ("cookie", ana.cookie.as_str());
    for token in
        [&[][..], &[("x-tacit-csrf", "")], &[("x-tacit-csrf", "guess")], &[("x-tacit-csrf", other.csrf.as_str())]]
    {
        let headers = [&[cookie, JSON][..], token].concat();
        let said = site.ask("POST", acknowledge, &headers, "{}").await.error(403, "forbidden");
        assert!(said.contains("does not carry the token of its page"), "{said}");
    }
    // Nor can a form, and neither goes instead of the other.
    for body in ["", "csrf=", "csrf=guess", &format!("csrf={}", other.csrf)] {
        let answer = site.ask("POST", "/logout", &[cookie, FORM, ("x-tacit-csrf", ana.csrf.as_str())], body).await;
        assert_eq!(answer.status, 403, "{body}");
    }
    let headers = [cookie, JSON, ("x-tacit-csrf", ana.csrf.as_str())];
    for elsewhere in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
        let headers = [&headers[..], &[elsewhere]].concat();
        site.ask("POST", acknowledge, &headers, "{}").await.error(403, "forbidden");
    }
    let form = format!("csrf={}&do=disable", ana.csrf);
    let answer = site.ask("POST", "/login", &[FORM, ("sec-fetch-site", "cross-site")], &form).await;
    assert_eq!(answer.status, 403, "nobody is signed in as somebody else");
    assert_eq!(ana.get("/api/v1/incidents/1").await.json()["incident"]["state"], "open");

    assert_eq!(ana.post(acknowledge, json!({ "actor": "bo" })).await.status, 200);
    assert_eq!(ana.get("/api/v1/incidents/1").await.json()["incident"]["assignee"], "ana", "nobody signs as another");
    site.stop().await;
}

#[tokio::test]
async fn passwords_cannot_be_tried_for_ever() {
    let site = Site::start().await;
    site.add_user("ana", Role::Admin).await;
    let mut tries = 0;
    let slowed = loop {
        let answer = login(&site, if tries % 2 == 0 { "ana" } else { "my secret" }, "wrong horse", &[]).await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 401, "{}", answer.text);
        assert!(answer.text.contains("Name or password is wrong."), "{}", answer.text);
        tries += 1;
        assert!(tries < 60, "nothing slows it down");
    };
    assert!(tries >= 10, "{tries}");
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(slowed.text.contains("Too many tries from this address"), "{}", slowed.text);
    // Neither the right password nor another way in helps now.
    assert_eq!(login(&site, "ana", PASSWORD, &[]).await.status, 429);
    let basic = site.ask("GET", "/api/v1/status", &[("authorization", BASIC_ANA)], "").await;
    assert!(!basic.header("retry-after").is_empty());
    basic.error(429, "too-many");
    // A token has no password to guess.
    let program = Program { site: &site, bearer: token(&site, Role::Viewer, None).await };
    assert_eq!(program.get("/api/v1/status").await.status, 200);
    let lines = log(&site).await;
    assert_eq!(lines.len(), tries, "each try that was one, and none that was refused before: {lines:?}");
    assert_eq!(lines[..2], ["ana - POST /login 401", "- - POST /login 401"], "what is no name may be a password");
    site.stop().await;
}

#[tokio::test]
async fn sessions_end() {
    let site = Site::start().await;
    site.add_user("root", Role::Admin).await;
    site.add_user("ana", Role::Viewer).await;
    let admin = program(&site, Role::Admin, "root").await;
    let is_in = async |browser: &Browser<'_>| browser.get("/api/v1/me").await.status == 200;

    let (one, other) = (Browser::sign_in(&site, "ana").await, Browser::sign_in(&site, "ana").await);
    assert_ne!(one.cookie, other.cookie);
    let out = one.form("/logout", &[]).await;
    assert_eq!((out.status, out.header("location")), (303, "/login"));
    assert!(out.header("set-cookie").contains("=; Path=/; Max-Age=0;"), "{}", out.header("set-cookie"));
    assert!(!is_in(&one).await && is_in(&other).await);

    // Signing in again in one browser ends what it had.
    let body = encoded(&[("name", "ana"), ("password", PASSWORD)]);
    let again = site.ask("POST", "/login", &[("cookie", other.cookie.as_str()), FORM], &body).await;
    assert!(again.status == 303 && !is_in(&other).await);

    // Their own new password ends all, and so does one that an admin sets.
    let one = Browser::sign_in(&site, "ana").await;
    let wrong = one.form("/account/password", &[("old", "wrong horse"), ("new", "a better password")]).await;
    assert!(wrong.status == 400 && wrong.text.contains("The present password is wrong."), "{}", wrong.text);
    let short = one.form("/account/password", &[("old", PASSWORD), ("new", "short")]).await;
    assert!(short.status == 400 && short.text.contains("10 to 256 are allowed"), "{}", short.text);
    let changed = one.form("/account/password", &[("old", PASSWORD), ("new", "a better password")]).await;
    assert_eq!((changed.status, changed.header("location")), (303, "/login?changed=true"));
    assert!(!is_in(&one).await);
    assert_eq!(login(&site, "ana", PASSWORD, &[]).await.status, 401);
    assert_eq!(admin.post("/api/v1/users/ana/password", json!({ "password": PASSWORD })).await.status, 200);
    let one = Browser::sign_in(&site, "ana").await;

    // Time ends them too.
    let (value, now) = (secret::make().unwrap(), now_ms());
    let over = Session {
        id_hash: secret::hash(&value),
        user: "ana".into(),
        csrf: "x".into(),
        created_ms: now - 20_000,
        expires_ms: now - 1,
    };
    site.store().open_session(over, None).await.unwrap();
    let name = one.cookie.split('=').next().unwrap();
    let cookie = format!("{name}={value}");
    let late = site.ask("GET", "/nodes", &[("cookie", cookie.as_str())], "").await;
    assert_eq!((late.status, late.header("location")), (303, "/login?next=/nodes"));

    // And an admin, at once.
    let program = program(&site, Role::Viewer, "ana").await;
    assert!(is_in(&one).await && program.get("/api/v1/me").await.status == 200);
    assert_eq!(admin.post("/api/v1/users/ana/disable", json!({})).await.status, 200);
    assert!(!is_in(&one).await);
    program.get("/api/v1/me").await.error(401, "unauthorized");
    assert_eq!(login(&site, "ana", PASSWORD, &[]).await.status, 401);
    assert_eq!(site.ask("GET", "/api/v1/me", &[("authorization", BASIC_ANA)], "").await.status, 401);
    admin.post("/api/v1/users/root/disable", json!({})).await.error(409, "conflict");
    assert_eq!(admin.post("/api/v1/users/ana/enable", json!({})).await.status, 200);
    assert!(!is_in(&one).await, "a session that ended does not come back");
    assert_eq!(program.get("/api/v1/me").await.status, 200, "a token does");
    site.stop().await;
}

#[tokio::test]
async fn a_role_that_is_taken_is_gone_at_once() {
    let (site, _node) = Site::with_an_incident().await;
    site.add_user("root", Role::Admin).await;
    site.add_user("ana", Role::Operator).await;
    let admin = program(&site, Role::Admin, "root").await;
    let ana = Browser::sign_in(&site, "ana").await;
    let program = program(&site, Role::Operator, "ana").await;
    let comment = ("/api/v1/incidents/1/comment", json!({ "note": "here" }));
    assert_eq!(ana.post(comment.0, comment.1.clone()).await.status, 200);
    assert_eq!(program.post(comment.0, comment.1.clone()).await.status, 200);
    assert_eq!(admin.post("/api/v1/users/ana/role", json!({ "role": "viewer" })).await.status, 200);
    ana.post(comment.0, comment.1.clone()).await.error(403, "forbidden");
    program.post(comment.0, comment.1.clone()).await.error(403, "forbidden");
    assert!(ana.page("/incidents/1").await.all("body").all(|body| body.attribute("class") == Some("reader")));
    site.stop().await;
}

/// Listens to a stream until it ends, or for as long as anything may take.
fn listen(host: &str, authorization: &str) -> std::thread::JoinHandle<String> {
    let mut socket = TcpStream::connect(host).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /api/v1/live HTTP/1.1\r\nhost: {host}\r\nauthorization: {authorization}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 15];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    std::thread::spawn(move || {
        let mut rest = String::new();
        socket.read_to_string(&mut rest).expect("the stream ends");
        rest
    })
}

#[tokio::test]
async fn a_stream_ends_with_the_rights_of_who_listens() {
    let site = Site::start().await;
    site.add_user("root", Role::Admin).await;
    site.add_user("ana", Role::Viewer).await;
    let admin = program(&site, Role::Admin, "root").await;
    let (host, bearer) = (site.host(), token(&site, Role::Viewer, Some("ana")).await);
    let stream = tokio::task::spawn_blocking(move || listen(&host, &bearer)).await.unwrap();
    assert_eq!(admin.post("/api/v1/users/ana/disable", json!({})).await.status, 200);
    let heard = tokio::task::spawn_blocking(move || stream.join()).await.unwrap().unwrap();
    assert!(heard.contains("text/event-stream"), "{heard}");
    site.stop().await;
}

#[tokio::test]
async fn senders_of_alerts_show_a_token_or_a_password() {
    let site = Site::start().await;
    site.add_user("ana", Role::Operator).await;
    let alert = json!([{ "labels": { "alertname": "HighLatency", "instance": "web-1:9100" } }]).to_string();
    let send = async |authorization: &str| {
        site.ask("POST", "/api/v2/alerts", &[("authorization", authorization), JSON], &alert).await.status
    };
    let bearer = token(&site, Role::Operator, None).await;
    let text = bearer.trim_start_matches("Bearer ");
    // A name that means nothing, and the token as its password.
    let basic = format!("Basic {}", base64(&format!("alertmanager:{text}")));
    for good in [bearer.as_str(), &basic, BASIC_ANA] {
        assert_eq!(send(good).await, 200, "{good}");
    }
    let reader = token(&site, Role::Viewer, None).await;
    for (wrong, status) in [(reader.as_str(), 403), ("Bearer tacit-api.00000000.x", 401), ("Basic YW5hOng=", 401)] {
        assert_eq!(send(wrong).await, status, "{wrong}");
    }
    let metrics = site.ask("GET", "/metrics", &[("authorization", reader.as_str())], "").await;
    assert_eq!(metrics.status, 200);
    site.stop().await;
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let three = |part: &[u8]| {
        let word = (0..3).fold(0, |word, n| word << 8 | usize::from(part.get(n).copied().unwrap_or(0)));
        (0..4)
            .map(move |n| word >> (18 - 6 * n) & 63)
            .map(|n| char::from(LETTERS[n]))
            .take(part.len() + 1)
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(three).collect()
}

#[tokio::test]
async fn pages_for_people_who_sign_in() {
    let (site, _node) = Site::with_an_incident().await;
    site.add_user("ana", Role::Admin).await;
    let ana = Browser::sign_in(&site, "ana").await;
    for path in ["/", "/incidents/1", "/map", "/nodes/web-1", "/quiet", "/settings", "/settings/users", "/account"] {
        let answer = ana.get(path).await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("form-action 'self'") && !policy.contains("unsafe"), "{policy}");
        let page = Page::parse(&answer.text);
        assert!(page.says("ana") && page.says("Sign out"), "{path}");
        for form in page.all("form").filter(|form| form.attribute("method") == Some("post")) {
            assert!(form.attribute("action").is_some_and(|to| to.starts_with('/')), "{path}: {form:?}");
        }
        let posts = page.all("form").filter(|form| form.attribute("method") == Some("post")).count();
        let tokens: Vec<_> = page.all("input").filter(|i| i.attribute("name") == Some("csrf")).collect();
        assert!(posts >= 1 && tokens.len() == posts, "{path}: each form carries the token");
        assert!(tokens.iter().all(|i| i.attribute("value") == Some(ana.csrf.as_str())), "{path}");
    }

    // Everything of the page works as a form.
    let here = "/settings/users";
    let done = |answer: &Answer| (answer.status, answer.header("location").to_owned()) == (303, here.to_owned());
    let made = ana.form(here, &[("name", "bo"), ("role", "viewer"), ("password", PASSWORD)]).await;
    assert!(done(&made), "{}", made.text);
    let twice = ana.form(here, &[("name", "bo"), ("role", "viewer"), ("password", PASSWORD)]).await;
    assert!(twice.status == 409 && twice.text.contains("There is a user bo already."), "{}", twice.text);
    let odd = ana.form(here, &[("name", "<b>"), ("role", "viewer"), ("password", PASSWORD)]).await;
    assert!(odd.status == 400 && Page::parse(&odd.text).says("\"<b>\" is no name of a user"), "{}", odd.text);
    assert!(done(&ana.form("/settings/users/bo", &[("do", "role"), ("role", "operator")]).await));
    assert!(done(&ana.form("/settings/users/bo", &[("do", "password"), ("password", "another password")]).await));
    assert!(done(&ana.form("/settings/users/bo", &[("do", "disable")]).await));
    let page = ana.page(here).await;
    assert!(page.says("Enable") && page.says("disabled"));
    assert!(done(&ana.form("/settings/users/bo", &[("do", "enable")]).await));
    assert_eq!(ana.form("/settings/users/bo", &[("do", "dance")]).await.status, 400);
    assert_eq!(ana.form("/settings/users/cy", &[("do", "disable")]).await.status, 404);
    assert_eq!(ana.form("/settings/users/ana", &[("do", "disable")]).await.status, 409, "the last admin");

    let made = ana.form("/settings/tokens", &[("name", "scrape"), ("role", "viewer"), ("days", "30")]).await;
    let page = Page::parse(&made.text);
    let secret =
        page.texts.iter().find(|text| text.words.starts_with("tacit-api.")).expect("it is shown").words.clone();
    let program = Program { site: &site, bearer: format!("Bearer {secret}") };
    assert_eq!(program.get("/metrics").await.status, 200);
    let page = ana.page(here).await;
    assert!(page.says("scrape") && !page.texts.iter().any(|text| text.words.contains(&secret)), "and never again");
    let id = secret.split('.').nth(1).unwrap();
    assert!(done(&ana.form(&format!("/settings/tokens/{id}"), &[]).await));
    assert_eq!(program.get("/metrics").await.status, 401);
    assert!(ana.page(here).await.says("POST /settings/tokens → 200"));
    site.stop().await;
}

#[tokio::test]
async fn where_it_is_required_nobody_is_let_in_before_the_first_user() {
    let site = Site::start_with(|config| config.access.required = Required::Yes).await;
    assert_eq!(site.get("/api/v1/status").await.status, 401);
    assert_eq!(site.get("/").await.status, 303);
    assert_eq!(site.get("/login").await.status, 200);
    assert_eq!(
        site.post("/api/v1/users", r#"{"name":"eve","role":"admin","password":"correct horse"}"#).await.status,
        401
    );
    site.stop().await;
    let open = Site::start_with(|config| config.access.required = Required::No).await;
    open.add_user("ana", Role::Admin).await;
    assert_eq!(open.get("/api/v1/status").await.status, 200);
    open.stop().await;
}
