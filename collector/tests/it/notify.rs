//! Who is told of incidents, how often, and what becomes of it when receivers do as they like.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tacit_collector::broker::Line;
use tacit_collector::config::Config;
use tacit_collector::ingest::{Ingest, Live};
use tacit_collector::notify::{Desk, Notifier};
use tacit_collector::store::{Delivery, Incident, IncidentChange, IncidentState, Notification, SqliteStore, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::PATIENCE;
use crate::messages::now_ms;
use crate::site::Site;
use crate::target::Target;

/// A store with incidents, and whoever tells of them.
struct House {
    store: Arc<dyn Store>,
    ingest: Arc<Ingest>,
    _folder: TempDir,
}

struct Running {
    desk: Arc<Desk>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends in time").unwrap();
    }
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap());
        let ingest = Arc::new(Ingest::new(Arc::clone(&store), Arc::new(Line::default())));
        Self { store, ingest, _folder: folder }
    }

    /// Tells these receivers, at once.
    fn tell(&self, receivers: &str) -> Running {
        let text = format!("[notify]\nwait = \"0s\"\ninterval = \"1s\"\n{receivers}");
        let config = Config::parse(&text).unwrap();
        let desk = Arc::new(Desk::new(&config.notify, config.pages, "http://tacit.test", now_ms()).unwrap());
        let stop = CancellationToken::new();
        let notifier = Notifier::new(Arc::clone(&desk), Arc::clone(&self.store), Arc::clone(&self.ingest));
        Running { desk, task: tokio::spawn(notifier.run(stop.clone())), stop }
    }

    async fn save(&self, incident: Incident) -> Incident {
        let change = IncidentChange { incident, event: None, also: Vec::new(), audit: Vec::new() };
        let saved = self.store.save_incident(change).await.unwrap();
        let _ = self.ingest.live.send(Live::Incident(Box::new(saved.clone())));
        saved
    }

    async fn rows(&self, receiver: &str) -> Vec<Notification> {
        let mut rows = self.store.notifications(None, 1000).await.unwrap();
        rows.retain(|n| n.receiver == receiver);
        rows
    }

    /// Waits until every notification of a receiver is as it should be.
    async fn until_all(&self, receiver: &str, check: impl Fn(&Notification) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let rows = self.rows(receiver).await;
            if rows.iter().all(&check) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{receiver} stayed {rows:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits until the newest notification of a receiver is as it should be.
    async fn until(&self, receiver: &str, check: impl Fn(&Notification) -> bool) -> Notification {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let newest = self.rows(receiver).await.into_iter().next();
            if let Some(n) = newest.as_ref().filter(|n| check(n)) {
                return n.clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "{receiver} stayed {newest:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn incident() -> Incident {
    let now = now_ms();
    Incident {
        id: 0,
        state: IncidentState::Open,
        muted_by: None,
        title: "requests are slow".into(),
        severity: 0.8,
        nodes: vec!["web-1".parse().unwrap()],
        onset_ms: now - 4000,
        opened_ms: now,
        updated_ms: now,
        resolved_ms: None,
        assignee: None,
        label: None,
        events: 1,
        injected: false,
        revision: 0,
        cause: None,
        cause_label: None,
        entities: Vec::new(),
        gate: None,
        parent: None,
        merged_into: None,
        unstable: false,
    }
}

fn resolved(mut incident: Incident) -> Incident {
    (incident.state, incident.resolved_ms) = (IncidentState::Resolved, Some(now_ms()));
    incident
}

fn webhook(name: &str, url: &str) -> String {
    format!("[[notify.receiver]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{url}\"\n")
}

#[tokio::test]
async fn an_incident_is_told_once_and_its_end_once() {
    let (house, target) = (House::new(), Target::start(|_| 200));
    let running = house.tell(&webhook("ops", &target.url("/hook")));
    let mut incident = house.save(incident()).await;
    let opened = target.until(1).await.remove(0);
    assert_eq!((opened.method.as_str(), opened.path.as_str()), ("POST", "/hook"));
    assert_eq!(opened.headers["content-type"], "application/json");
    let body = opened.json();
    assert_eq!((&body["event"], &body["status"], &body["incident"]), (&json!("opened"), &json!("firing"), &json!(1)));
    assert_eq!(body["summary"], "Incident 1 [page]: requests are slow (on web-1)");
    assert_eq!(body["url"], "http://tacit.test/incidents/1");
    for events in 2..20 {
        incident.events = events;
        incident = house.save(incident).await;
    }
    house.save(resolved(incident)).await;
    let all = target.until(2).await;
    assert_eq!(all[1].json()["status"], "resolved");
    assert_ne!(all[1].headers["idempotency-key"], opened.headers["idempotency-key"]);
    let last = house.until("ops", |n| n.delivery == Delivery::Sent).await;
    assert_eq!((last.state.as_str(), last.attempts, last.error), ("resolved", 1, None));
    running.stop().await;
    assert_eq!(target.asked().len(), 2);
    let trail = house.store.trail(10).await.unwrap();
    let notes: Vec<_> = trail.iter().map(|e| (e.action.as_str(), e.note.as_deref().unwrap())).collect();
    assert_eq!(notes, [("notified", "resolved to ops"), ("notified", "opened to ops")]);
}

#[tokio::test]
async fn receivers_that_hang_fail_refuse_or_are_gone_hold_nobody_up() {
    let house = House::new();
    let (good, hangs) = (Target::start(|_| 200), Target::start(|_| 0));
    let (fails, refuses) = (Target::start(|_| 500), Target::start(|_| 400));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let receivers = [
        webhook("hangs", &hangs.url("/")),
        webhook("fails", &fails.url("/")),
        webhook("refuses", &refuses.url("/")),
        webhook("gone", &format!("http://{gone}/")),
        webhook("good", &good.url("/")),
    ];
    let running = house.tell(&receivers.concat());
    for n in 1..=5 {
        house.save(incident()).await;
        good.until(n).await;
    }
    hangs.until(4).await;
    let failing = house.until("fails", |n| n.attempts > 0).await;
    assert_eq!(failing.delivery, Delivery::Waiting);
    assert!(failing.error.unwrap().starts_with("500 "));
    assert!(failing.next_ms > failing.made_ms);
    house.until_all("refuses", |n| n.delivery == Delivery::Failed).await;
    let refused = house.rows("refuses").await.remove(0);
    assert_eq!(refused.attempts, 1, "it is not tried again");
    let words = refused.error.unwrap();
    assert!(words.starts_with("400 ") && words.ends_with("status 400"), "{words}");
    assert_eq!(house.until("gone", |n| n.attempts > 0).await.delivery, Delivery::Waiting);
    assert!(running.desk.failing().iter().any(|line| line.starts_with("refuses takes nothing: 400 ")));
    assert!(!running.desk.failing().iter().any(|line| line.starts_with("good ")));
    running.stop().await;
    // All of them wait on disk.
    assert!(house.rows("hangs").await.iter().all(|n| n.delivery == Delivery::Waiting));
    let trail = house.store.trail(100).await.unwrap();
    assert_eq!(trail.iter().filter(|e| e.action == "notify-failed").count(), 5);
}

#[tokio::test]
async fn what_failed_is_sent_again_under_the_same_name() {
    let (house, target) = (House::new(), Target::start(|n| if n == 0 { 503 } else { 200 }));
    let running = house.tell(&webhook("ops", &target.url("/")));
    house.save(incident()).await;
    let mut waiting = house.until("ops", |n| n.attempts == 1).await;
    // As if the wait were over.
    waiting.next_ms = 0;
    house.store.settle_notification(waiting).await.unwrap();
    let sent = house.until("ops", |n| n.delivery == Delivery::Sent).await;
    assert_eq!((sent.attempts, sent.error), (2, None));
    let all = target.asked();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].headers["idempotency-key"], all[1].headers["idempotency-key"]);
    assert_eq!(all[0].body, all[1].body);
    running.stop().await;
}

#[tokio::test]
async fn an_update_says_what_is_new_and_overtakes_what_did_not_arrive() {
    let house = House::new();
    let (target, away) = (Target::start(|_| 200), Target::start(|n| if n == 0 { 500 } else { 200 }));
    let running = house.tell(&[webhook("ops", &target.url("/")), webhook("away", &away.url("/"))].concat());
    let mut incident = house.save(Incident { severity: 0.5, ..incident() }).await;
    target.until(1).await;
    let mut first = house.until("away", |n| n.attempts == 1).await;
    // It would be long until the next try.
    first.next_ms = now_ms() + 3_600_000;
    house.store.settle_notification(first.clone()).await.unwrap();
    incident.severity = 0.9;
    incident.nodes.push("web-2".parse().unwrap());
    house.save(incident).await;
    let update = target.until(2).await.remove(1).json();
    assert_eq!(update["event"], "update");
    assert_eq!(update["news"], json!(["now page (was warning)", "1 more node: web-2"]));
    // Who did not get the first message gets this one in its place, and never both.
    let newest = house.until("away", |n| n.delivery == Delivery::Sent).await;
    assert_eq!(newest.state, "update:1");
    first.next_ms = 0;
    house.store.settle_notification(first).await.unwrap();
    house.until_all("away", |n| n.delivery != Delivery::Waiting).await;
    let first = house.rows("away").await.remove(1);
    assert_eq!(first.error.as_deref(), Some("overtaken by update:1"));
    assert_eq!(away.asked().len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_restart_tells_nothing_again_and_what_ended_meanwhile() {
    let (house, target) = (House::new(), Target::start(|_| 200));
    let receivers = webhook("ops", &target.url("/"));
    let running = house.tell(&receivers);
    let first = house.save(incident()).await;
    let second = house.save(incident()).await;
    target.until(2).await;
    house.until("ops", |n| n.delivery == Delivery::Sent).await;
    running.stop().await;
    house.save(resolved(first)).await;

    let running = house.tell(&receivers);
    target.until_some(|all| all.iter().any(|a| a.json()["status"] == "resolved")).await;
    house.save(incident()).await;
    let all = target.until(4).await;
    let told: Vec<_> = all.iter().map(|a| (a.json()["incident"].clone(), a.json()["event"].clone())).collect();
    for (incident, event) in [(1, "opened"), (2, "opened"), (1, "resolved"), (3, "opened")] {
        let count = told.iter().filter(|t| **t == (json!(incident), json!(event))).count();
        assert_eq!(count, 1, "{incident} {event} in {told:?}");
    }
    assert_eq!(second.id, 2);
    assert_eq!(running.desk.pages(now_ms()), (Some(3.0), 3), "the week's pages are known after a restart");
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_wants_no_end_still_hears_that_it_came_back() {
    let (house, target) = (House::new(), Target::start(|_| 200));
    let running = house.tell(&format!("{}send_resolved = false\n", webhook("pager", &target.url("/"))));
    let open = house.save(incident()).await;
    target.until(1).await;
    let over = house.save(resolved(open)).await;
    let end = house.until("pager", |n| n.state == "resolved").await;
    assert_eq!((end.delivery, end.attempts), (Delivery::Failed, 0));
    house.save(Incident { state: IncidentState::Reopened, resolved_ms: None, ..over }).await;
    let all = target.until(2).await;
    assert_eq!(all[1].json()["state"], "reopened:1");
    running.stop().await;
}

#[tokio::test]
async fn templates_headers_and_the_heartbeat() {
    let (house, target) = (House::new(), Target::start(|_| 200));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let receivers = format!(
        "{}method = \"PUT\"\ncontent_type = \"text/plain\"\nbearer_file = {token:?}\nheaders = {{ title = \"Tacit\" }}\n\
         template = \"{{{{ level }}}}: {{{{ title }}}}\"\n\
         [[notify.receiver]]\nname = \"alive\"\nkind = \"watchdog\"\nurl = \"{}\"\n",
        webhook("ntfy", &target.url("/topic")),
        target.url("/ping")
    );
    let running = house.tell(&receivers);
    house.save(incident()).await;
    let all = target.until_some(|all| all.len() >= 2).await;
    let of = |path: &str| all.iter().find(|a| a.path == path).unwrap_or_else(|| panic!("{path} in {all:?}"));
    let message = of("/topic");
    assert_eq!((message.method.as_str(), message.body.as_str()), ("PUT", "page: requests are slow"));
    assert_eq!(
        (message.headers["authorization"].as_str(), message.headers["title"].as_str()),
        ("Bearer s3cret", "Tacit")
    );
    assert_eq!(of("/ping").method, "GET");
    running.stop().await;
}

/// A mail server that takes everything; gives the letters.
fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let letters: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken = Arc::clone(&letters);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let say = |line: &str| (&stream).write_all(format!("{line}\r\n").as_bytes()).is_ok();
            say("220 sink.test");
            let mut letter: Option<String> = None;
            for line in BufReader::new(&stream).lines() {
                let Ok(line) = line else { break };
                if let Some(text) = &mut letter {
                    if line == "." {
                        taken.lock().unwrap().push(letter.take().unwrap());
                        say("250 taken");
                    } else {
                        text.push_str(&format!("{line}\n"));
                    }
                    continue;
                }
                match line.split(' ').next().unwrap_or_default() {
                    "DATA" => {
                        letter = Some(String::new());
                        say("354 go on")
                    }
                    "QUIT" => {
                        say("221 bye");
                        break;
                    }
                    _ => say("250 fine"),
                };
            }
        }
    });
    (port, letters)
}

#[tokio::test]
async fn mail_arrives() {
    let (house, (port, letters)) = (House::new(), mail_server());
    let running = house.tell(&format!(
        "[[notify.receiver]]\nname = \"mail\"\nkind = \"mail\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
         from = \"Tacit <tacit@example.org>\"\nto = [\"ana@example.org\", \"bo@example.org\"]\n"
    ));
    house.save(incident()).await;
    let sent = house.until("mail", |n| n.delivery == Delivery::Sent).await;
    assert_eq!((sent.state.as_str(), sent.attempts), ("opened", 1));
    let letter = letters.lock().unwrap().pop().expect("a letter");
    for line in [
        "Subject: Incident 1 [page]: requests are slow (on web-1)",
        "References: <tacit-1@example.org>",
        "Nodes: web-1",
        "http://tacit.test/incidents/1",
    ] {
        assert!(letter.lines().any(|l| l == line), "{line} in {letter}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_test_says_what_each_receiver_answers() {
    let (good, bad) = (Target::start(|_| 202), Target::start(|_| 403));
    let text = [webhook("good", &good.url("/a")), webhook("bad", &bad.url("/SECRET"))].concat();
    let notify = Config::parse(&text).unwrap().notify;
    let site = Site::start_with(|config| config.notify = notify).await;
    let all = site.post("/api/v1/notify/test", "{}").await.json();
    assert_eq!(all["results"][0], json!({ "receiver": "good", "kind": "webhook", "ok": true, "said": "202 Accepted" }));
    assert_eq!(
        (&all["results"][1]["ok"], &all["results"][1]["said"]),
        (&json!(false), &json!("403 Forbidden: status 403"))
    );
    assert_eq!(good.asked()[0].json()["event"], "test");
    let one = site.post("/api/v1/notify/test", r#"{"receiver":"good"}"#).await.json();
    assert_eq!((one["results"].as_array().map(Vec::len), bad.asked().len()), (Some(1), 1));
    let stranger = site.post("/api/v1/notify/test", r#"{"receiver":"ops"}"#).await;
    assert!(stranger.error(404, "not-found").contains("receiver \"ops\" does not exist"));

    let receivers = site.json("/api/v1/receivers").await;
    assert_eq!(receivers["receivers"][0]["health"]["error"], json!(null));
    assert!(receivers["receivers"][1]["health"]["error"].as_str().is_some_and(|e| e.starts_with("403 ")));
    assert!(!receivers.to_string().contains("SECRET"), "{receivers}");
    let status = site.json("/api/v1/status").await;
    assert_eq!(status["notify_failing"], json!(["bad takes nothing: 403 Forbidden: status 403"]));
    assert_eq!((&status["pages_promised"], &status["pages_actual"]), (&json!(3.0), &json!(0)));
    site.stop().await;
}
