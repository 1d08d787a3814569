//! How machines become nodes, stay nodes, and are shut out: with real certificates over real sockets.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _, SanType};
use rumqttc::mqttbytes::v5::{PubAckReason, SubscribeReasonCode};
use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tacit_collector::Collector;
use tacit_collector::access::password;
use tacit_collector::config::Config;
use tacit_collector::identity::authority::{self, Authority, NodeCertificate, new_serial};
use tacit_collector::identity::certificate;
use tacit_collector::store::{NodeKey, Role, User};
use tacit_wire::NodeId;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::answer::{Answer, agent, agent_trusting, ask};
use crate::client::{Client, PATIENCE, options};
use crate::messages::{birth, bytes, now_ms, topic};
use crate::schema::Described;

const DAY_MS: i64 = 86_400_000;

/// Whether an operation of the API is one of those that are asked here.
pub fn is_about_it(path: &str) -> bool {
    path == "/api/v1/ca" || ["/api/v1/enroll", "/api/v1/identities"].iter().any(|begin| path.starts_with(begin))
}

/// A collector that speaks TLS, in a folder of its own.
pub struct Fort {
    pub collector: Collector,
    pub folder: TempDir,
    pub http: ureq::Agent,
    pub roots: String,
}

/// A machine's key, and what it got for it.
pub struct Machine {
    pub name: String,
    pub key: KeyPair,
    pub certificate: String,
    pub ca: String,
}

impl Fort {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
        config.mqtt.listen.set_port(0);
        config.http.listen.set_port(0);
        config.map.reverse_dns = false;
        config.tls.enabled = true;
        change(&mut config);
        // Some months ago, so that there can be certificates that have ended since.
        let made_ms = (now_ms() - 100 * DAY_MS).max(authority::CLOCK_FLOOR_MS);
        let authority = Authority::init(&config.data_dir.join(authority::FOLDER), made_ms).unwrap();
        let roots = authority.newest().pem.clone();
        let collector = Collector::start(&config).await.unwrap();
        Self { collector, folder, http: agent_trusting(&roots), roots }
    }

    fn ca(&self) -> std::path::PathBuf {
        self.folder.path().join("data").join(authority::FOLDER)
    }

    pub fn port(&self) -> u16 {
        self.collector.mqtt_address().expect("the embedded broker runs").port()
    }

    pub async fn get(&self, path: &str) -> Answer {
        ask(&self.http, self.collector.console(), "GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        ask(&self.http, self.collector.console(), "POST", path, &json, &body.to_string()).await
    }

    /// An order that must be taken.
    pub async fn done(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    pub async fn token(&self, site: &str) -> String {
        let made = self.done("/api/v1/enroll-tokens", &json!({ "site": site })).await;
        made["secret"].as_str().expect("a token").to_owned()
    }

    pub async fn try_to_enrol(&self, token: &str, node: &str, key: &KeyPair) -> Answer {
        let body = json!({ "token": token, "csr": csr(key), "node": node, "host": "somewhere" });
        self.post("/api/v1/enroll", &body).await
    }

    /// A machine that was enrolled.
    pub async fn machine(&self, site: &str, name: &str) -> Machine {
        let (token, key) = (self.token(site).await, KeyPair::generate().unwrap());
        let answer = self.try_to_enrol(&token, name, &key).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Machine::of(&answer.json(), key)
    }

    /// A certificate that our authority makes for a key, of a node of the site `lab`, as if it were another time.
    fn certificate_at(&self, key: &KeyPair, name: &str, made_ms: i64, not_after_ms: i64) -> String {
        issue(&Authority::load(&self.ca()).unwrap(), key, name, made_ms, not_after_ms)
    }

    pub async fn user(&self, name: &str, role: Role) {
        let password_hash = password::hash("correct horse").unwrap();
        let user = User { name: name.into(), role, password_hash, created_ms: now_ms(), disabled_ms: None };
        self.collector.store().add_user(user).await.unwrap();
    }

    pub async fn stop(self) {
        self.collector.stop().await;
    }
}

impl Machine {
    fn of(answer: &Value, key: KeyPair) -> Self {
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        Self { name: text("node"), key, certificate: text("certificate"), ca: text("ca") }
    }

    /// Connects as itself.
    pub async fn connect(&self, port: u16) -> Result<Client, String> {
        enter(&self.name, port, &self.ca, Some((&self.certificate, &self.key))).await
    }
}

fn issue(authority: &Authority, key: &KeyPair, name: &str, made_ms: i64, not_after_ms: i64) -> String {
    let requested = certificate::request(&csr(key)).unwrap();
    let (node, site) = (name.parse().unwrap(), "lab".parse().unwrap());
    let serial = new_serial().unwrap();
    let whose = NodeCertificate { node: &node, site: &site, serial: &serial, not_after_ms };
    authority.issue_node(&requested.public_key, &whose, made_ms).unwrap()
}

/// A request for a certificate.
pub fn csr(key: &KeyPair) -> String {
    CertificateParams::new(Vec::<String>::new()).unwrap().serialize_request(key).unwrap().pem().unwrap()
}

/// How a client speaks TLS that trusts these roots and shows this certificate.
pub fn tls(roots: &str, shown: Option<(&str, &KeyPair)>) -> Transport {
    let certificates = |pem: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
    };
    let mut store = rustls::RootCertStore::empty();
    for root in certificates(roots) {
        store.add(root).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some((pem, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(certificates(pem), key).unwrap()
        }
    };
    Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config)))
}

/// Connects; what the client says when it cannot.
pub async fn enter(id: &str, port: u16, roots: &str, shown: Option<(&str, &KeyPair)>) -> Result<Client, String> {
    let mut options = options(id, port);
    options.set_transport(tls(roots, shown));
    Client::open(options, 32).await
}

/// Asserts that somebody is not let in, and that the client is told so in this word.
pub fn assert_refused(outcome: Result<Client, String>, word: &str) {
    let Err(why) = outcome else { panic!("it was let in: {word}") };
    assert!(why.contains(word), "{why}");
}

/// Waits until a client's connection has ended.
async fn until_ended(client: &Client) {
    let wait = async {
        while !client.ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the connection ends");
}

#[tokio::test]
async fn a_machine_becomes_a_node() {
    let fort = Fort::start().await;
    let mut described = Described::new(fort.get("/api/v1/openapi.json").await.json());
    let mut seen = |method: &str, path: &str, answer: &Answer| {
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        described.check(method, path, answer);
        answer.json()
    };
    let made = fort.post("/api/v1/enroll-tokens", &json!({ "site": "lab", "uses": 2, "seconds": 600 })).await;
    let made = seen("POST", "/api/v1/enroll-tokens", &made);
    let token = made["secret"].as_str().expect("a token");
    // Before it trusts anybody, a machine compares the token's pin with what the collector shows.
    let roots = seen("GET", "/api/v1/ca", &fort.get("/api/v1/ca").await);
    let roots = certificate::certificates(roots["certificates"].as_str().expect("PEM").as_bytes()).unwrap();
    assert!(token.ends_with(&authority::pin(&roots[0])));

    let key = KeyPair::generate().unwrap();
    let answer = fort.try_to_enrol(token, "web-1", &key).await;
    let answer = seen("POST", "/api/v1/enroll", &answer);
    assert_eq!((&answer["node"], &answer["site"]), (&json!("web-1"), &json!("lab")));
    assert_eq!(answer["broker"], format!("mqtts://127.0.0.1:{}", fort.port()));
    let machine = Machine::of(&answer, key);
    let node = machine.connect(fort.port()).await.unwrap();
    let born = node.publish(&topic("web-1", "birth"), bytes(&birth("web-1", 1))).await;
    assert_eq!(born, Some(PubAckReason::Success));
    assert!(fort.collector.store().node(&"web-1".parse().unwrap()).await.unwrap().is_some());
    let down = node.subscribe("tacit/1/lab/d/web-1/+").await;
    assert!(matches!(down, SubscribeReasonCode::Success(_)), "{down:?}");

    let renewed = fort.post("/api/v1/enroll/renew", &json!({ "node": "web-1", "csr": csr(&machine.key) })).await;
    let renewed = seen("POST", "/api/v1/enroll/renew", &renewed);
    assert_ne!(renewed["certificate"], answer["certificate"]);
    assert_eq!((&renewed["site"], &renewed["broker"]), (&answer["site"], &answer["broker"]));

    let listed = seen("GET", "/api/v1/enroll-tokens", &fort.get("/api/v1/enroll-tokens").await);
    assert_eq!((&listed["tokens"][0]["uses_left"], &listed["tokens"][0]["created_by"]), (&json!(1), &json!("anyone")));
    assert!(!listed.to_string().contains(token.split('.').nth(2).unwrap()), "{listed}");
    let id = made["token"]["id"].as_str().expect("a number");
    let path = format!("/api/v1/enroll-tokens/{id}/revoke");
    seen("POST", &path, &fort.post(&path, &json!({})).await);
    let nodes = seen("GET", "/api/v1/identities", &fort.get("/api/v1/identities?limit=1").await);
    assert_eq!((&nodes["identities"][0]["node"], &nodes["next"]), (&json!("web-1"), &Value::Null));
    let path = "/api/v1/identities/web-1/revoke";
    let revoked = seen("POST", path, &fort.post(path, &json!({ "reason": "sold" })).await);
    assert_eq!(revoked["reason"], "sold");
    let left: Vec<_> = described.unanswered().into_iter().filter(|(path, _)| is_about_it(path)).collect();
    assert!(left.is_empty(), "{left:?}");
    // Who was enrolled and revoked is in the log of changes.
    let log = fort.get("/api/v1/access-log").await.json().to_string();
    assert!(log.contains(&format!("node web-1 (token {id})")) && log.contains("/identities/web-1/revoke"), "{log}");
    fort.stop().await;
}

#[tokio::test]
async fn a_token_is_for_one_machine() {
    let fort = Fort::start().await;
    let token = fort.token("lab").await;
    let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    assert_eq!(fort.try_to_enrol(&token, "web-1", &one).await.status, 200);
    let said = fort.try_to_enrol(&token, "web-2", &other).await.error(401, "token_used");
    assert!(said.contains("tacit node token --site SITE"), "{said}");
    // Its answer was lost: the same machine asks again.
    assert_eq!(fort.try_to_enrol(&token, "web-1", &one).await.status, 200);
    let next = fort.token("lab").await;
    let said = fort.try_to_enrol(&next, "web-1", &other).await.error(409, "node_exists");
    assert!(said.contains("a node web-1 exists already") && said.contains("--replace"), "{said}");
    fort.try_to_enrol("tacit1.nothing", "web-2", &other).await.error(401, "token_unknown");
    let nonsense = json!({ "token": next, "csr": "nothing", "node": "web-2", "host": "" });
    fort.post("/api/v1/enroll", &nonsense).await.error(400, "csr_invalid");
    let nameless = json!({ "token": next, "csr": csr(&other), "node": null, "host": "localhost" });
    fort.post("/api/v1/enroll", &nameless).await.error(400, "node_invalid");
    // After all of this the token is as good as new.
    let named = json!({ "token": next, "csr": csr(&other), "host": "DB-1.example.org" });
    assert_eq!(fort.done("/api/v1/enroll", &named).await["node"], "db-1");
    fort.stop().await;
}

#[tokio::test]
async fn who_was_away_for_weeks_comes_back() {
    let fort = Fort::start().await;
    let mut machine = fort.machine("lab", "web-1").await;
    let ended_ms = now_ms() - 20 * DAY_MS;
    // As if it had been enrolled long ago.
    machine.certificate = fort.certificate_at(&machine.key, "web-1", ended_ms - 5 * DAY_MS, ended_ms);
    let node: NodeId = "web-1".parse().unwrap();
    let known = fort.collector.store().node_key(&node).await.unwrap().unwrap();
    let long_ago = |not_after_ms| NodeKey { not_after_ms, ..known.clone() };
    assert!(fort.collector.store().renew_node(long_ago(ended_ms)).await.unwrap());
    assert_refused(machine.connect(fort.port()).await, "CertificateExpired");

    let request = json!({ "node": "web-1", "csr": csr(&machine.key) });
    let stranger = json!({ "node": "web-1", "csr": csr(&KeyPair::generate().unwrap()) });
    fort.post("/api/v1/enroll/renew", &stranger).await.error(403, "key_unknown");
    let renewed = fort.done("/api/v1/enroll/renew", &request).await;
    machine.certificate = renewed["certificate"].as_str().expect("PEM").to_owned();
    assert!(machine.connect(fort.port()).await.is_ok());

    // Beyond the grace somebody has to look after it.
    assert!(fort.collector.store().renew_node(long_ago(now_ms() - 91 * DAY_MS)).await.unwrap());
    let said = fort.post("/api/v1/enroll/renew", &request).await.error(403, "grace_over");
    assert!(said.contains("more than 90 days ago") && said.contains("--replace"), "{said}");
    fort.post("/api/v1/enroll/renew", &json!({ "node": "web-9", "csr": csr(&machine.key) }))
        .await
        .error(404, "node_unknown");
    fort.stop().await;
}

#[tokio::test]
async fn a_revoked_node_is_cut_at_once_and_stays_out() {
    let fort = Fort::start().await;
    let (machine, other) = (fort.machine("lab", "web-1").await, fort.machine("lab", "web-2").await);
    let (node, neighbour) = (machine.connect(fort.port()).await.unwrap(), other.connect(fort.port()).await.unwrap());
    fort.post("/api/v1/identities/web-1/revoke", &json!({ "reason": " " })).await.error(400, "bad-request");
    fort.done("/api/v1/identities/web-1/revoke", &json!({ "reason": "stolen" })).await;
    until_ended(&node).await;
    assert_refused(machine.connect(fort.port()).await, "Banned");
    let request = json!({ "node": "web-1", "csr": csr(&machine.key) });
    fort.post("/api/v1/enroll/renew", &request).await.error(403, "node_revoked");
    fort.post("/api/v1/identities/web-1/revoke", &json!({ "reason": "again" })).await.error(409, "conflict");
    fort.post("/api/v1/identities/web-9/revoke", &json!({ "reason": "who" })).await.error(404, "not-found");
    let token = fort.token("lab").await;
    fort.try_to_enrol(&token, "web-1", &machine.key).await.error(403, "key_revoked");

    // Another machine takes its place; what the old one has does not come back to life with it.
    let place = fort.machine("lab", "web-1").await;
    assert!(place.connect(fort.port()).await.is_ok());
    assert_refused(machine.connect(fort.port()).await, "NotAuthorized");
    assert!(!neighbour.ended());
    let born = neighbour.publish(&topic("web-2", "birth"), bytes(&birth("web-2", 1))).await;
    assert_eq!(born, Some(PubAckReason::Success));
    fort.stop().await;
}

#[tokio::test]
async fn strangers_certificates_are_refused_and_they_are_told_why() {
    let fort = Fort::start().await;
    let key = KeyPair::generate().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Authority::init(&elsewhere.path().join("ca"), now_ms()).unwrap();
    let certificate = issue(&foreign, &key, "web-1", now_ms(), now_ms() + DAY_MS);
    let show = async |certificate: &str, word: &str| {
        let outcome = enter("web-1", fort.port(), &fort.roots, Some((certificate, &key))).await;
        assert_refused(outcome, word);
    };
    show(&certificate, "UnknownCA").await;

    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "web-1");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI("tacit://lab/web-1".try_into().unwrap())];
    show(&params.self_signed(&key).unwrap().pem(), "UnknownCA").await;

    let early = fort.certificate_at(&key, "web-1", now_ms() + 2 * DAY_MS, now_ms() + 3 * DAY_MS);
    show(&early, "CertificateExpired").await;
    // Of our own authority, and nobody was enrolled with it.
    let unknown = fort.certificate_at(&key, "web-1", now_ms(), now_ms() + DAY_MS);
    show(&unknown, "NotAuthorized").await;
    // The other way round: who trusts another authority does not talk to us.
    let outcome = enter("web-1", fort.port(), &foreign.newest().pem, None).await;
    assert_refused(outcome, "UnknownIssuer");
    assert!(fort.collector.store().nodes(None, 10).await.unwrap().is_empty());
    fort.stop().await;
}

#[tokio::test]
async fn nodes_of_another_authority_can_be_let_in() {
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Authority::init(&elsewhere.path().join("ca"), now_ms()).unwrap();
    let file = elsewhere.path().join("roots.pem");
    std::fs::write(&file, &foreign.newest().pem).unwrap();
    let fort = Fort::start_with(|config| config.tls.client_ca_file = Some(file)).await;
    let key = KeyPair::generate().unwrap();
    let certificate = issue(&foreign, &key, "edge-1", now_ms(), now_ms() + DAY_MS);
    let connect = async || enter("edge-1", fort.port(), &fort.roots, Some((&certificate, &key))).await;
    let node = connect().await.unwrap();
    let born = node.publish(&topic("edge-1", "birth"), bytes(&birth("edge-1", 1))).await;
    assert_eq!(born, Some(PubAckReason::Success));
    fort.done("/api/v1/identities/edge-1/revoke", &json!({ "reason": "lost" })).await;
    until_ended(&node).await;
    assert_refused(connect().await, "Banned");
    fort.stop().await;
}

#[tokio::test]
async fn a_rotation_needs_no_restart_and_loses_nobody() {
    let fort = Fort::start().await;
    let before = fort.machine("lab", "web-1").await;
    Authority::rotate(&fort.ca(), now_ms()).unwrap();
    fort.collector.identity().look(now_ms());
    // It knows the old root only, and its certificate is of the old root.
    assert!(before.connect(fort.port()).await.is_ok());
    // `fort` asks as somebody who knows the old root only.
    let after = fort.machine("lab", "web-2").await;
    assert_eq!(after.ca.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(after.connect(fort.port()).await.is_ok());
    let key = &before.key;
    let renewed = fort.done("/api/v1/enroll/renew", &json!({ "node": "web-1", "csr": csr(key) })).await;
    let renewed = Machine::of(&renewed, KeyPair::from_pem(&key.serialize_pem()).unwrap());

    let retired = Authority::retire(&fort.ca()).unwrap();
    fort.collector.identity().look(now_ms());
    let http = agent_trusting(&retired.newest().pem);
    let answer = ask(&http, fort.collector.console(), "GET", "/healthz", &[], "").await;
    assert_eq!(answer.status, 200);
    assert!(renewed.connect(fort.port()).await.is_ok());
    assert!(after.connect(fort.port()).await.is_ok());
    // Who was not there in time knows only a root that nobody uses any more.
    assert_refused(before.connect(fort.port()).await, "UnknownIssuer");
    let shown = Some((before.certificate.as_str(), key));
    assert_refused(enter("web-1", fort.port(), &renewed.ca, shown).await, "UnknownCA");
    fort.stop().await;
}

#[tokio::test]
async fn who_says_nothing_holds_up_nobody() {
    let fort = Fort::start().await;
    let machine = fort.machine("lab", "web-1").await;
    let mqtt = fort.collector.mqtt_address().unwrap();
    let mut silent = Vec::new();
    for _ in 0..25 {
        silent.push(TcpStream::connect(mqtt).await.unwrap());
        silent.push(TcpStream::connect(fort.collector.http_address()).await.unwrap());
    }
    let in_time = Duration::from_secs(5);
    let answer = tokio::time::timeout(in_time, fort.get("/healthz")).await.expect("an answer beside them");
    assert_eq!(answer.status, 200);
    let entered = tokio::time::timeout(in_time, machine.connect(fort.port())).await.expect("an entry beside them");
    assert!(entered.is_ok());
    drop(silent);
    fort.stop().await;
}

#[tokio::test]
async fn nothing_is_said_without_tls() {
    let fort = Fort::start().await;
    let url = format!("http://{}", fort.collector.http_address());
    let plain = tokio::task::spawn_blocking(move || agent().get(format!("{url}/healthz")).call().is_err());
    assert!(plain.await.unwrap());
    assert!(Client::try_connect("web-1", fort.port(), 32).await.is_none());
    assert!(Client::try_connect("Tool-1", fort.port(), 32).await.is_none());
    fort.stop().await;
}

#[tokio::test]
async fn enrolment_cannot_be_tried_for_ever() {
    let fort = Fort::start().await;
    let key = KeyPair::generate().unwrap();
    // Those that succeed do not count.
    for n in 0..35 {
        fort.machine("lab", &format!("web-{n}")).await;
    }
    let mut tries = 0;
    let slowed = loop {
        let answer = fort.try_to_enrol("tacit1.nothing", "web-1", &key).await;
        if answer.status == 429 {
            break answer;
        }
        answer.error(401, "token_unknown");
        tries += 1;
        assert!(tries < 100, "nothing slows it down");
    };
    assert!(tries >= 30, "{tries}");
    assert!(slowed.header("retry-after").parse::<u64>().is_ok_and(|wait| wait > 0), "{slowed:?}");
    slowed.error(429, "too-many");
    fort.stop().await;
}

#[tokio::test]
async fn a_collector_without_tls_enrols_nobody() {
    let site = crate::site::Site::start().await;
    site.get("/api/v1/ca").await.error(404, "not-found");
    let said = site.post("/api/v1/enroll-tokens", r#"{"site":"lab"}"#).await.error(409, "conflict");
    assert!(said.contains("tacit ca init"), "{said}");
    site.stop().await;
}

#[tokio::test]
async fn a_key_on_record_is_the_key_of_the_certificate() {
    let fort = Fort::start().await;
    let machine = fort.machine("lab", "web-1").await;
    let known = fort.collector.store().node_key(&"web-1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(known.key, tacit_wire::Digest::of(&machine.key.subject_public_key_info()).0);
    fort.stop().await;
}
