//! A node that tries everything: to be another, to speak as another, to hear what is for others. Nothing of it works, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{LastWill, PubAckReason, SubscribeReasonCode};
use rumqttc::{TlsConfiguration, Transport};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tacit_collector::store::Role;

use crate::client::{Client, PATIENCE, options, reason};
use crate::identity::{Fort, Machine, assert_refused, enter, tls};
use crate::messages::{birth, bytes, topic};

/// What nobody may hear of in these tests.
const QUIET: Duration = Duration::from_millis(300);

/// A fort with a bad node `web-1` and a good one `db-1` in the site `lab`, and one of another site.
async fn scene() -> (Fort, Machine, Machine, Machine) {
    let fort = Fort::start().await;
    let bad = fort.machine("lab", "web-1").await;
    let good = fort.machine("lab", "db-1").await;
    let far = fort.machine("home", "nas-1").await;
    (fort, bad, good, far)
}

/// Shows somebody's certificate with somebody else's key.
#[derive(Debug)]
struct Forger(Arc<CertifiedKey>);

impl ResolvesClientCert for Forger {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn forged(roots: &str, certificate: &str, key: &KeyPair) -> Transport {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
    let mut store = rustls::RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(roots.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_client_cert_resolver(Arc::new(Forger(Arc::new(CertifiedKey::new(chain, key)))));
    Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config)))
}

/// Topics that are not the bad node's.
const FOREIGN_TOPICS: [&str; 14] = [
    "tacit/1/lab/u/db-1/birth",
    "tacit/1/lab/u/db-1/event",
    "tacit/1/lab/u/web-10/birth",
    "tacit/1/home/u/web-1/birth",
    "tacit/1/home/u/nas-1/birth",
    "tacit/1/lab/d/web-1/config",
    "tacit/1/lab/d/db-1/config",
    "tacit/1/lab/d/db-1/command",
    "tacit/1/lab/g/all/config",
    "tacit/1/lab/c/status",
    "tacit/2/lab/u/web-1/birth",
    "tacit/1/lab/u/web-1/birth/more",
    "$SYS/broker/version",
    "home/door",
];

/// Filters that catch more than is for the bad node.
const FOREIGN_FILTERS: [&str; 20] = [
    "#",
    "+/#",
    "tacit/#",
    "tacit/1/#",
    "tacit/1/lab/#",
    "tacit/1/lab/u/+/+",
    "tacit/1/lab/u/web-1/+",
    "tacit/1/lab/u/db-1/event",
    "tacit/1/lab/d/+/+",
    "tacit/1/lab/d/db-1/+",
    "tacit/1/lab/d/#",
    "tacit/1/lab/d/web-1/#",
    "tacit/1/+/d/web-1/+",
    "tacit/1/home/d/web-1/+",
    "tacit/1/+/g/+/config",
    "tacit/1/home/c/status",
    "$SYS/#",
    "$share/x/tacit/1/lab/d/web-1/+",
    "$share/tacit/tacit/1/+/u/+/+",
    "$share/x/#",
];

#[tokio::test]
async fn a_node_speaks_as_nobody_else() {
    let (fort, bad, good, _) = scene().await;
    let mut victim = good.connect(fort.port()).await.unwrap();
    assert!(matches!(victim.subscribe("tacit/1/lab/d/db-1/+").await, SubscribeReasonCode::Success(_)));
    assert!(matches!(victim.subscribe("tacit/1/lab/g/+/config").await, SubscribeReasonCode::Success(_)));
    let node = bad.connect(fort.port()).await.unwrap();
    let payload = bytes(&birth("db-1", 1));
    for topic in FOREIGN_TOPICS {
        assert_eq!(node.publish(topic, payload.clone()).await, Some(PubAckReason::NotAuthorized), "{topic}");
        let retained = node.send(topic, payload.clone(), true).await.expect("connected");
        assert_eq!(reason(retained).await, Some(PubAckReason::NotAuthorized), "{topic}, retained");
    }
    // On its own topic with another's name inside: taken off its hands, and stored for nobody.
    assert_eq!(node.publish(&topic("web-1", "birth"), payload).await, Some(PubAckReason::Success));
    assert_eq!(fort.collector.ingest().counters.now().stored, 0);
    assert!(fort.collector.store().nodes(None, 10).await.unwrap().is_empty());
    assert!(victim.receive(QUIET).await.is_none(), "the victim hears nothing");
    // Its own voice it has.
    assert_eq!(node.publish(&topic("web-1", "birth"), bytes(&birth("web-1", 1))).await, Some(PubAckReason::Success));
    assert_eq!(fort.collector.store().nodes(None, 10).await.unwrap().len(), 1);
    fort.stop().await;
}

#[tokio::test]
async fn a_node_hears_what_is_for_it_and_nothing_else() {
    let (fort, bad, good, far) = scene().await;
    let mut node = bad.connect(fort.port()).await.unwrap();
    for filter in FOREIGN_FILTERS {
        assert_eq!(node.subscribe(filter).await, SubscribeReasonCode::NotAuthorized, "{filter}");
    }
    for (other, site) in [(good, "lab"), (far, "home")] {
        let client = other.connect(fort.port()).await.unwrap();
        let birth_topic = format!("tacit/1/{site}/u/{}/birth", other.name);
        let born = client.publish(&birth_topic, bytes(&birth(&other.name, 1))).await;
        assert_eq!(born, Some(PubAckReason::Success));
    }
    assert!(node.receive(QUIET).await.is_none(), "it hears nothing of them");
    let down = node.subscribe("tacit/1/lab/d/web-1/+").await;
    assert!(matches!(down, SubscribeReasonCode::Success(_)), "{down:?}");
    assert!(matches!(node.subscribe("tacit/1/lab/c/status").await, SubscribeReasonCode::Success(_)));
    fort.stop().await;
}

#[tokio::test]
async fn a_node_is_nobody_else() {
    let (fort, bad, good, _) = scene().await;
    let victim = good.connect(fort.port()).await.unwrap();
    let shown = Some((bad.certificate.as_str(), &bad.key));
    for id in ["db-1", "nas-1", "Tool-1", "web-10", "web-1 "] {
        let outcome = enter(id, fort.port(), &fort.roots, shown).await;
        assert_refused(outcome, "ClientIdentifierNotValid");
    }
    // Without a certificate nobody is a node.
    for id in ["db-1", "web-1"] {
        assert_refused(enter(id, fort.port(), &fort.roots, None).await, "NotAuthorized");
    }
    // Another's certificate is public; without its key it opens nothing.
    let mut options = options("db-1", fort.port());
    options.set_transport(forged(&fort.roots, &good.certificate, &bad.key));
    assert_refused(Client::open(options, 32).await, "AlertReceived");
    assert!(!victim.ended(), "nobody took its session over");
    fort.stop().await;
}

#[tokio::test]
async fn a_will_is_on_the_nodes_own_topic() {
    let (fort, bad, good, _) = scene().await;
    let victim = good.connect(fort.port()).await.unwrap();
    let dies_with = async |topic: &str, retain: bool| {
        let mut options = options("web-1", fort.port());
        options.set_last_will(LastWill::new(topic, b"dead".to_vec(), QoS::AtLeastOnce, retain, None));
        options.set_transport(tls(&fort.roots, Some((&bad.certificate, &bad.key))));
        Client::open(options, 32).await
    };
    for topic in ["tacit/1/lab/u/db-1/death", "tacit/1/lab/d/db-1/command", "tacit/1/home/u/web-1/death", "home/door"] {
        assert_refused(dies_with(topic, false).await, "NotAuthorized");
    }
    assert_refused(dies_with("tacit/1/lab/u/web-1/death", true).await, "NotAuthorized");
    assert!(dies_with("tacit/1/lab/u/web-1/death", false).await.is_ok());
    assert!(!victim.ended());
    fort.stop().await;
}

#[tokio::test]
async fn a_tool_signs_in_reads_and_writes_nothing() {
    let (fort, bad, ..) = scene().await;
    fort.user("root", Role::Admin).await;
    fort.user("ana", Role::Viewer).await;
    let sign_in = async |id: &str, password: &str| {
        let mut options = options(id, fort.port());
        options.set_credentials("ana", password.to_owned());
        options.set_transport(tls(&fort.roots, None));
        Client::open(options, 32).await
    };
    assert_refused(enter("Tool-1", fort.port(), &fort.roots, None).await, "BadUserNamePassword");
    assert_refused(sign_in("Tool-1", "wrong horse").await, "BadUserNamePassword");
    assert_refused(sign_in("db-1", "correct horse").await, "NotAuthorized");
    let mut tool = sign_in("Tool-1", "correct horse").await.unwrap();
    assert!(matches!(tool.subscribe("tacit/1/+/u/+/+").await, SubscribeReasonCode::Success(_)));
    assert_eq!(tool.subscribe("#").await, SubscribeReasonCode::NotAuthorized);
    for topic in FOREIGN_TOPICS {
        assert_eq!(tool.publish(topic, b"x".to_vec()).await, Some(PubAckReason::NotAuthorized), "{topic}");
    }
    let node = bad.connect(fort.port()).await.unwrap();
    let born = bytes(&birth("web-1", 1));
    assert_eq!(node.publish(&topic("web-1", "birth"), born.clone()).await, Some(PubAckReason::Success));
    let heard = tool.receive(PATIENCE).await.expect("the tool hears the node");
    assert_eq!((&heard.topic[..], &heard.payload[..]), (topic("web-1", "birth").as_bytes(), &born[..]));
    fort.stop().await;
}
