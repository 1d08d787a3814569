//! A collector of its own for a test, asked over HTTP.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tacit_collector::Collector;
use tacit_collector::access::password;
use tacit_collector::config::Config;
use tacit_collector::store::{Role, Store, User};
use tacit_wire::codec::{Message, decode};
use tacit_wire::message::{Command, CommandKind, Phase, ResultBody, Summary};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::answer::{Answer, agent, ask};
use crate::client::{Client, PATIENCE};
use crate::messages::{SITE, birth, bytes, event, now_ms, report, result, summary, topic};

/// The password of every user of a test.
pub const PASSWORD: &str = "correct horse";

pub struct Site {
    collector: Collector,
    http: ureq::Agent,
    folder: TempDir,
}

impl Site {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A collector whose configuration is changed before it starts.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        config.mqtt.listen.set_port(0);
        config.http.listen.set_port(0);
        // Tests ask nobody's resolver.
        config.map.reverse_dns = false;
        change(&mut config);
        let collector = Collector::start(&config).await.unwrap();
        Self { collector, http: agent(), folder }
    }

    /// The node `web-1` with a series, a minute of it, a report, and something that goes wrong: incident 1.
    pub async fn with_an_incident() -> (Self, Client) {
        let site = Self::start().await;
        let node = site.node("web-1").await;
        node.say("birth", &birth("web-1", 1)).await;
        node.say("report", &report("web-1", 1)).await;
        node.say("summary", &Summary { start_ms: now_ms() - 120_000, ..summary("web-1", 1) }).await;
        node.say("event", &event("web-1", 1, 9, Phase::Open)).await;
        // With its first ranking: until then it still changes by itself.
        site.until("/api/v1/incidents?open=true", |found| found["incidents"][0]["cause"].is_object()).await;
        (site, node.client)
    }

    /// A node's connection.
    pub async fn node(&self, name: &str) -> Node {
        let port = self.collector.mqtt_address().expect("the embedded broker runs").port();
        Node { name: name.to_owned(), client: Client::connect(name, port).await }
    }

    /// What is kept.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.collector.store()
    }

    /// Where it is kept.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a user as the command line of the collector's machine does.
    pub async fn add_user(&self, name: &str, role: Role) {
        let password_hash = password::hash(PASSWORD).unwrap();
        let user = User { name: name.into(), role, password_hash, created_ms: now_ms(), disabled_ms: None };
        self.store().add_user(user).await.unwrap();
    }

    /// Host and port of the HTTP side.
    pub fn host(&self) -> String {
        self.collector.http_address().to_string()
    }

    /// Any request.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(&self.http, &self.host(), method, path, headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], body).await
    }

    /// A JSON answer that must be good.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// Asks until the answer is as it should be. What it waits for happens at once; the bound is for slow machines.
    pub async fn until(&self, path: &str, check: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.json(path).await;
            if check(&answer) {
                return answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stayed {answer:#}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Follows server-sent events.
    pub async fn follow(&self, path: &str) -> Stream {
        let (http, url) = (self.http.clone(), format!("http://{}{path}", self.host()));
        let open = move || http.get(url).call().expect("the stream opens");
        let answer = tokio::task::spawn_blocking(open).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream", "{path}");
        let (sender, events) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut name = String::new();
            for line in BufReader::new(answer.into_body().into_reader()).lines() {
                let Ok(line) = line else { return };
                if let Some(event) = line.strip_prefix("event: ") {
                    event.clone_into(&mut name);
                } else if let Some(data) = line.strip_prefix("data: ") {
                    let data = serde_json::from_str(data).expect("data is JSON");
                    if sender.send((name.clone(), data)).is_err() {
                        return;
                    }
                }
            }
        });
        Stream(events)
    }

    pub async fn stop(self) {
        self.collector.stop().await;
    }
}

/// Server-sent events, each a name and its data.
pub struct Stream(mpsc::UnboundedReceiver<(String, Value)>);

impl Stream {
    /// The next event, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("the stream goes on or ends")
    }

    /// The data of the next event of this name.
    pub async fn next_of(&mut self, name: &str) -> Value {
        loop {
            let (said, data) = self.next().await.expect("the stream goes on");
            if said == name {
                return data;
            }
        }
    }
}

/// A node's connection.
pub struct Node {
    pub name: String,
    pub client: Client,
}

impl Node {
    pub async fn say(&self, what: &str, message: &impl Message) {
        self.send(what, bytes(message)).await;
    }

    pub async fn send(&self, what: &str, payload: Vec<u8>) {
        let answer = self.client.publish(&topic(&self.name, what), payload).await;
        assert_eq!(answer, Some(rumqttc::mqttbytes::v5::PubAckReason::Success), "{what}");
    }
}

/// Lets a node answer each command with what `answers` gives, the last being the last part, until the broker ends.
pub async fn obey(name: &'static str, mut client: Client, answers: fn(&CommandKind) -> Vec<ResultBody>) {
    client.subscribe(&format!("tacit/1/{SITE}/d/{name}/+")).await;
    tokio::spawn(async move {
        while !client.ended() {
            let Some(message) = client.receive(PATIENCE).await.filter(|m| m.topic.ends_with(b"/command")) else {
                continue;
            };
            let command: Command = decode(&message.payload).expect("a command");
            let bodies = answers(&command.kind.expect("a known kind"));
            for (n, body) in (1..).zip(bodies.iter()) {
                let part = result(name, command.id, n, n as usize == bodies.len(), body.clone());
                client.publish(&topic(name, "result"), bytes(&part)).await;
            }
        }
    });
}
