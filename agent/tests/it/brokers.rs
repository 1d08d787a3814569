//! Brokers of one's own: Mosquitto with the files of `packaging/mosquitto`, which therefore work as they are documented; every
//! certificate that is not taken; a proxy on the way; and a broker without MQTT 5.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, PubAckReason, PublishNoticeError, PublishOptions,
    PublishResult, QoS, TlsConfiguration, Transport,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tacit_agent::clock::Tick;
use tacit_agent::config::PublishConfig;
use tacit_agent::identity::csr;
use tacit_agent::identity::key::Key;
use tacit_agent::identity::renew::{Pace, Renewal};
use tacit_agent::identity::store::{Enrolled, Given, Store};
use tacit_agent::outbox::Folder;
use tacit_agent::outgoing::Outgoing;
use tacit_agent::publish::{Net, NetStatus, Parts};
use tokio::sync::{mpsc, watch};

use crate::pki::{Authority, LONG_AGO, Pair, collector, https, in_days};
use crate::publish::{Stored, collect, parts, summary, until};

const BROKER: &str = "/usr/sbin/mosquitto";
const PASSWD: &str = "/usr/bin/mosquitto_passwd";
/// Where the documented files say that they are.
const DOCUMENTED: &str = "/etc/mosquitto/tacit";

/// Whether there is a Mosquitto here; CI must have it.
fn mosquitto() -> bool {
    let there = Path::new(BROKER).exists() && Path::new(PASSWD).exists();
    assert!(there || std::env::var("CI").is_err(), "{BROKER} or {PASSWD} is missing");
    if !there {
        println!("skipped: {BROKER} or {PASSWD} is missing");
    }
    there
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A running Mosquitto with the documented files.
struct Mosquitto {
    child: Child,
    folder: tempfile::TempDir,
    /// For nodes, and for the collector.
    ports: (u16, u16),
}

impl Mosquitto {
    /// Fills the folder and starts with `config`, in which the documented places and ports are replaced.
    fn start(config: &str, authority: &Authority, server: &Pair, passwords: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("nodes.acl", include_str!("../../../packaging/mosquitto/nodes.acl")),
            ("collector.acl", include_str!("../../../packaging/mosquitto/collector.acl")),
        ] {
            fs::write(place(name), text).expect("a file");
        }
        for (name, from) in [("ca.pem", &authority.root()), ("broker.pem", &server.cert), ("broker.key", &server.key)] {
            fs::copy(from, place(name)).expect("a file");
        }
        fs::write(place("passwords"), "").expect("a file");
        for (user, password) in passwords {
            let made = Command::new(PASSWD).arg("-b").arg(place("passwords")).args([user, password]).status();
            assert!(made.expect("it is installed").success());
        }
        let ports = (free_port(), free_port());
        let config = config
            .replace(DOCUMENTED, &folder.path().to_string_lossy())
            .replace("listener 8883", &format!("listener {} 127.0.0.1", ports.0))
            .replace("listener 1883 ", &format!("listener {} ", ports.1));
        // As root it would become another user, who may not read this folder.
        fs::write(place("mosquitto.conf"), format!("user root\n{config}")).expect("a file");
        let child = Command::new(BROKER)
            .arg("-c")
            .arg(place("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the broker starts");
        let broker = Self { child, folder, ports };
        let deadline = Instant::now() + Duration::from_secs(30);
        for port in [ports.0, ports.1] {
            while config.contains(&format!("listener {port} ")) && TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(Instant::now() < deadline, "the broker does not listen");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        broker
    }

    /// The documented set-up with certificates.
    fn with_certificates(authority: &Authority, server: &Pair) -> Self {
        let config = include_str!("../../../packaging/mosquitto/tacit.conf");
        Self::start(config, authority, server, &[("tacit-collector", "secret")])
    }

    fn url(&self) -> String {
        format!("mqtts://localhost:{}", self.ports.0)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

/// A node's session with its state in `folder`; messages to send go into the channel.
fn node(folder: &Path, config: PublishConfig) -> (Parts<Folder>, mpsc::Sender<Outgoing>) {
    let (tx, rx) = mpsc::channel(64);
    let mut parts = parts(0, folder, rx);
    let backoff_max = parts.config.backoff_max;
    parts.config = PublishConfig { backoff_max, ..config };
    (parts, tx)
}

fn with_certificate(broker: String, roots: PathBuf, pair: Option<&Pair>) -> PublishConfig {
    PublishConfig {
        broker,
        ca_file: Some(roots),
        cert_file: pair.map(|pair| pair.cert.clone()),
        key_file: pair.map(|pair| pair.key.clone()),
        ..PublishConfig::default()
    }
}

/// What a session with this configuration says after a while: nothing when it stands.
async fn outcome(config: PublishConfig) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let (parts, _tx) = node(folder.path(), config);
    let status = Arc::clone(&parts.status);
    let (stop, stopped) = watch::channel(None);
    let net = tokio::spawn(Net::new(parts).run(stopped));
    until("an outcome", || status.connected() || !status.troubles().is_empty()).await;
    let said = status.troubles().concat();
    stop.send(Some("stopped")).expect("it runs");
    net.await.expect("no panic");
    said
}

/// Any client, as what it can prove to be.
fn client(id: &str, port: u16, tls: Option<Arc<ClientConfig>>, user: Option<(&str, &str)>) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, ("localhost", port));
    options.set_clean_start(true).set_outgoing_inflight_upper_limit(8);
    if let Some(tls) = tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
    }
    if let Some((user, password)) = user {
        options.set_credentials(user, password.as_bytes().to_vec());
    }
    AsyncClient::builder(options).capacity(8).build()
}

fn tls_of(authority: &Authority, pair: &Pair) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.root()).expect("a certificate")).expect("a root");
    let chain = CertificateDer::pem_file_iter(&pair.cert).expect("a file").collect::<Result<Vec<_>, _>>();
    let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain.expect("certificates"), key)
        .expect("they belong together");
    Arc::new(config)
}

/// Runs a client and keeps what it receives, as topic and text.
fn listen(mut events: EventLoop) -> Arc<Mutex<Vec<(String, String)>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(Incoming::Publish(p)) = event {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                kept.lock().expect("no panic").push((text(&p.topic), text(&p.payload)));
            }
        }
    });
    heard
}

/// Whether the broker takes a message on this topic.
async fn may_publish(client: &AsyncClient, topic: &str) -> bool {
    let options = PublishOptions::new(QoS::AtLeastOnce);
    let notice = client.try_publish_tracked(topic.to_owned(), b"hello".to_vec(), options).expect("there is room");
    match notice.wait_async().await {
        Ok(PublishResult::Qos1(ack)) => {
            matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
        }
        Ok(other) => panic!("{topic}: {other:?}"),
        Err(PublishNoticeError::V5PubAck(_)) => false,
        Err(error) => panic!("{topic}: {error}"),
    }
}

#[test]
fn a_node_with_a_certificate_is_confined_to_its_own_topics() {
    if !mosquitto() {
        return;
    }
    let authority = Authority::new("Tacit");
    let broker = Mosquitto::with_certificates(&authority, &authority.server());
    let pair = authority.node("web-1");
    block_on(async {
        // The agent as it is, and the collector as it connects.
        let (hq, events) = client("Collector-1", broker.ports.1, None, Some(("tacit-collector", "secret")));
        let heard = listen(events);
        hq.subscribe("$share/tacit/tacit/1/+/u/+/+", QoS::AtLeastOnce).await.expect("it is asked");
        let folder = tempfile::tempdir().expect("a folder");
        let (parts, _tx) = node(folder.path(), with_certificate(broker.url(), authority.root(), Some(&pair)));
        let status = Arc::clone(&parts.status);
        let (stop, stopped) = watch::channel(None);
        let net = tokio::spawn(Net::new(parts).run(stopped));
        let birth = || heard.lock().expect("no panic").iter().any(|(topic, _)| topic == "tacit/1/lab/u/web-1/birth");
        until("the birth", birth).await;
        assert!(status.connected(), "{:?}", status.troubles());
        stop.send(Some("stopped")).expect("it runs");
        net.await.expect("no panic");

        // The same certificate in other hands: it calls itself otherwise and tries everything.
        let (thief, events) = client("web-2", broker.ports.0, Some(tls_of(&authority, &pair)), None);
        let stolen = listen(events);
        for filter in ["#", "tacit/1/+/u/+/+", "tacit/1/lab/d/web-2/+", "tacit/1/lab/d/+/+", "tacit/1/lab/d/web-1/+"] {
            thief.subscribe(filter, QoS::AtLeastOnce).await.expect("it is asked");
        }
        assert!(may_publish(&thief, "tacit/1/lab/u/web-1/event").await, "it is web-1 all the same");
        for topic in [
            "tacit/1/lab/u/web-2/event",
            "tacit/1/lab/d/web-1/config",
            "tacit/1/lab/d/web-2/command",
            "tacit/1/lab/g/all/config",
            "tacit/1/lab/c/status",
            "tacit/2/lab/u/web-1/event",
            "anything",
        ] {
            assert!(!may_publish(&thief, topic).await, "{topic}");
        }
        for topic in ["tacit/1/lab/d/web-2/config", "tacit/1/lab/d/web-1/config"] {
            assert!(may_publish(&hq, topic).await, "the collector may: {topic}");
        }
        until("what is for web-1", || !stolen.lock().expect("no panic").is_empty()).await;
        let stolen: Vec<_> = stolen.lock().expect("no panic").iter().map(|(topic, _)| topic.clone()).collect();
        assert!(stolen.iter().all(|topic| topic == "tacit/1/lab/d/web-1/config"), "{stolen:?}");
        assert!(!may_publish(&hq, "tacit/1/lab/u/web-1/event").await, "the collector is no node");
    });
}

#[test]
fn each_certificate_that_is_not_taken_is_told_with_its_way_out() {
    if !mosquitto() {
        return;
    }
    let (authority, foreign) = (Authority::new("Tacit"), Authority::new("Somebody else"));
    let (good, revoked) = (authority.node("web-1"), authority.node("gone-1"));
    let list = authority.revoke(&revoked.cert);
    let with_list = include_str!("../../../packaging/mosquitto/tacit.conf")
        .replace("#crlfile /etc/mosquitto/tacit/revoked.pem", &format!("crlfile {}", list.display()));
    assert!(with_list.contains("\ncrlfile "));
    let server = authority.server();
    let broker = Mosquitto::start(&with_list, &authority, &server, &[]);
    let own = |pair: Option<&Pair>| outcome(with_certificate(broker.url(), authority.root(), pair));
    let expired = authority.node_until("web-1", "20250101000000Z");
    let strange = foreign.node("web-1");
    let cases: [(Option<&Pair>, &[&str]); 4] = [
        (None, &["demands a certificate", "this node has none", "publish.cert_file"]),
        (Some(&strange), &["does not know the issuer of this node's certificate (web-1)"]),
        (Some(&expired), &["valid until 2025-01-01 00:00 UTC, expired", "tacit-agent enroll --again"]),
        (Some(&revoked), &["says that this node's certificate (gone-1) was revoked", "enroll --again"]),
    ];
    block_on(async {
        assert_eq!(own(Some(&good)).await, "", "the others fail for their own reasons");
        for (pair, words) in cases {
            let said = own(pair).await;
            for word in words {
                assert!(said.contains(word), "no {word:?} in {said}");
            }
        }
        let said = outcome(with_certificate(broker.url(), foreign.root(), Some(&good))).await;
        assert!(said.contains("from an issuer that this node does not trust; it trusts those in"), "{said}");
        let plain = format!("mqtt://localhost:{}", broker.ports.0);
        let said = outcome(PublishConfig { broker: plain, ..PublishConfig::default() }).await;
        assert!(said.contains("speaks TLS: write mqtts://") || said.contains("closed the connection"), "{said}");
    });
}

#[test]
fn a_broker_whose_own_certificate_is_wrong_is_told() {
    if !mosquitto() {
        return;
    }
    let authority = Authority::new("Tacit");
    let pair = authority.node("web-1");
    for (server, words) in [
        (authority.server_of("DNS:localhost", LONG_AGO, "20250101000000Z"), "expired on 2025-01-01 00:00 UTC"),
        (authority.server_of("DNS:localhost", &in_days(3), &in_days(9)), "set this machine's clock if it is wrong"),
        (authority.server_of("DNS:broker.example", LONG_AGO, &in_days(8)), "is for broker.example, not for localhost"),
    ] {
        let broker = Mosquitto::with_certificates(&authority, &server);
        block_on(async {
            let said = outcome(with_certificate(broker.url(), authority.root(), Some(&pair))).await;
            assert!(said.contains("the certificate of the broker at localhost:") && said.contains(words), "{said}");
        });
    }
}

#[test]
fn a_node_with_a_password_is_confined_to_its_own_topics() {
    if !mosquitto() {
        return;
    }
    let authority = Authority::new("Tacit");
    let config = include_str!("../../../packaging/mosquitto/tacit-passwords.conf");
    let users = [("tacit-collector", "secret"), ("web-1", "one"), ("web-2", "two")];
    let broker = Mosquitto::start(config, &authority, &authority.server(), &users);
    let password = broker.folder.path().join("password");
    let with_password = |text: &str| {
        fs::write(&password, format!("{text}\n")).expect("a file");
        outcome(PublishConfig {
            username: Some("web-1".into()),
            password_file: Some(password.clone()),
            ..with_certificate(broker.url(), authority.root(), None)
        })
    };
    block_on(async {
        assert_eq!(with_password("one").await, "");
        let said = with_password("wrong").await;
        assert!(said.contains("refuses this node") && said.contains("publish.password_file"), "{said}");

        let tls = {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority.root()).expect("a certificate")).expect("a root");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth())
        };
        let (thief, events) = client("web-1", broker.ports.0, Some(tls), Some(("web-2", "two")));
        let _heard = listen(events);
        assert!(may_publish(&thief, "tacit/1/lab/u/web-2/event").await);
        assert!(!may_publish(&thief, "tacit/1/lab/u/web-1/event").await, "a client id proves nothing");
    });
}

/// Passes connections on, as an HTTP proxy does that is asked to `CONNECT`; counts them.
fn proxy(to: u16) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && near.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            log.lock().expect("no panic").push(line);
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let _ = near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { continue };
            std::thread::spawn(move || pass(near, far));
            std::thread::spawn(move || pass(far_again, near_again));
        }
    });
    (url, asked)
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_proxy_and_a_named_protocol_are_no_hindrance() {
    if !mosquitto() {
        return;
    }
    let authority = Authority::new("Tacit");
    let broker = Mosquitto::with_certificates(&authority, &authority.server());
    let (url, asked) = proxy(broker.ports.0);
    let pair = authority.node("web-1");
    block_on(async {
        let config = PublishConfig {
            proxy: Some(url),
            alpn: Some("mqtt".into()),
            ..with_certificate("mqtts://localhost:443".into(), authority.root(), Some(&pair))
        };
        assert_eq!(outcome(config).await, "");
    });
    assert_eq!(asked.lock().expect("no panic").first().map(String::as_str), Some("CONNECT localhost:443 HTTP/1.1"));
}

/// Weeks offline: the certificate ended meanwhile. The broker refuses it, the collector renews it for the key that it knows, and
/// the session stands; nothing is restarted.
#[test]
fn a_node_whose_certificate_ended_comes_back_by_itself() {
    if !mosquitto() {
        return;
    }
    let authority = Arc::new(Authority::new("Tacit"));
    let broker = Mosquitto::with_certificates(&authority, &authority.server());
    let (port, asked) = https(&authority.server(), collector(&authority, "", &broker.url()));
    let (folder, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let store = ended(&authority, port, state.path());
    let config = PublishConfig {
        broker: broker.url(),
        ca_file: Some(store.roots()),
        cert_file: Some(store.certificate()),
        key_file: Some(store.key_file()),
        ..PublishConfig::default()
    };
    block_on(async {
        let (parts, _tx) = node(folder.path(), config.clone());
        let status: Arc<NetStatus> = Arc::clone(&parts.status);
        let (stop, stopped) = watch::channel(None);
        // It would not ask by itself for an hour: only the refusal makes it.
        let hour = Duration::from_secs(3600);
        let pace = Pace { look: hour, retry: (hour, hour), refused: hour };
        let renewal = Renewal::new(&config, &parts.floor, &status, pace).expect("there is a certificate");
        let renewal = tokio::spawn(renewal.run());
        let net = tokio::spawn(Net::new(parts).run(stopped));
        until("the session", || status.connected()).await;
        assert!(status.troubles().is_empty(), "{:?}", status.troubles());
        renewal.abort();
        stop.send(Some("stopped")).expect("it runs");
        net.await.expect("no panic");
    });
    assert_eq!(asked.lock().expect("no panic").len(), 1);
}

/// An identity of `web-1` whose certificate ended long ago.
fn ended(authority: &Authority, port: u16, folder: &Path) -> Store {
    let store = Store::new(folder);
    let (key, text) = Key::generate().expect("a key");
    store.begin(&text).expect("it can be written");
    let asked = authority.path("ended.csr");
    fs::write(&asked, csr::request(&key, "web-1").expect("a request")).expect("a file");
    let extensions = "subjectAltName=URI:tacit://lab/web-1\nextendedKeyUsage=clientAuth";
    let cert = authority.sign(&asked, LONG_AGO, "20250101000000Z", extensions);
    let given = Given {
        certificate: fs::read_to_string(cert).expect("it was made"),
        roots: authority.root_pem(),
        enrolled: Enrolled {
            collector: format!("https://localhost:{port}"),
            node: "web-1".parse().expect("a node"),
            site: "lab".parse().expect("a site"),
            broker: "mqtts://localhost:8883".into(),
            not_after_ms: 1_735_689_600_000,
            // So that the time alone does not lead to a renewal.
            renew_after_ms: Tick::now().wall_ms + 86_400_000,
        },
    };
    store.complete(&given, None, None).expect("it can be written");
    store
}

/// Mosquitto cannot be told to refuse MQTT 5, so the refusal is as MQTT 3.1.1 (section 3.1.2.2) has it: return code 1, then the end.
#[test]
fn a_broker_without_mqtt5_is_named_as_what_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut greeting = [0; 512];
            let n = stream.read(&mut greeting).unwrap_or(0);
            // The level of the protocol, after its name: 4 is MQTT 3.1.1.
            let level = greeting[..n].windows(5).find(|w| w.starts_with(b"MQTT")).map(|w| w[4]);
            let code = u8::from(level != Some(4));
            let _ = stream.write_all(&[0x20, 2, 0, code]);
        }
    });
    block_on(async {
        let said =
            outcome(PublishConfig { broker: format!("mqtt://127.0.0.1:{port}"), ..PublishConfig::default() }).await;
        for part in ["speaks MQTT 3.1.1 only", "this agent needs MQTT 5", "bridges", "docs/BROKERS.md"] {
            assert!(said.contains(part), "no {part:?} in {said}");
        }
    });
}

/// The way out for such a broker: a Mosquitto near the nodes that speaks MQTT 3.1.1 with it.
#[test]
fn a_broker_without_mqtt5_is_reached_over_a_bridge() {
    // With the birth a multiple of the ten after which the collector acknowledges.
    const MESSAGES: usize = 49;
    if !mosquitto() {
        return;
    }
    let authority = Authority::new("Tacit");
    let server = authority.server();
    let plain = "listener 1883 127.0.0.1\nallow_anonymous true\n";
    let far = Mosquitto::start(plain, &authority, &server, &[]);
    let bridge = include_str!("../../../packaging/mosquitto/tacit-bridge.conf");
    assert!(bridge.contains("\nbridge_protocol_version mqttv311\n"));
    let address = format!("address 127.0.0.1:{}", far.ports.1);
    let near = format!("{plain}{}", bridge.replace("address broker.example:8883", &address));
    let near = Mosquitto::start(&near, &authority, &server, &[]);
    block_on(async {
        let stored = Arc::new(Mutex::new(Stored::default()));
        let collector = tokio::spawn(collect(far.ports.1, Arc::clone(&stored)));
        let folder = tempfile::tempdir().expect("a folder");
        let broker = format!("mqtt://127.0.0.1:{}", near.ports.1);
        let (parts, tx) = node(folder.path(), PublishConfig { broker, ..PublishConfig::default() });
        let status = Arc::clone(&parts.status);
        let (stop, stopped) = watch::channel(None);
        let net = tokio::spawn(Net::new(parts).run(stopped));
        for n in 0..MESSAGES {
            tx.send(summary(n)).await.expect("the network thread takes it in");
        }
        until("everything stored behind the bridge", || stored.lock().expect("no panic").count() == MESSAGES).await;
        // What is acknowledged there comes back over it.
        until("an empty outbox", || status.outbox_bytes() == 0).await;
        stop.send(Some("stopped")).expect("it runs");
        net.await.expect("no panic");
        collector.abort();
    });
}
