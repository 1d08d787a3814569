//! Who is let in, with an authority and a store of their own.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use tempfile::TempDir;

use super::*;
use crate::store::{EnrollToken, SqliteStore};

/// A collector's identity in a folder.
pub struct House {
    pub identity: Arc<Identity>,
    pub store: Arc<dyn Store>,
    pub folder: TempDir,
}

/// A node's key and what it got for it.
pub struct Node {
    pub key: KeyPair,
    pub chain: Vec<CertificateDer<'static>>,
}

/// One with an authority; its configuration is changed before it opens.
pub fn house(change: impl FnOnce(&mut Config)) -> House {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    config.tls.enabled = true;
    config.identity.names = vec!["collector.example.org".into(), "localhost".into()];
    Authority::init(&folder.path().join(authority::FOLDER), now_ms()).unwrap();
    change(&mut config);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap());
    let identity = Arc::new(Identity::open(&config, Arc::clone(&store)).unwrap());
    House { identity, store, folder }
}

/// A request for a certificate.
pub fn csr(key: &KeyPair) -> String {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "whatever");
    params.serialize_request(key).unwrap().pem().unwrap()
}

impl House {
    /// A token of the site `lab`, in its text.
    pub async fn token(&self, uses_left: u32, replace: bool) -> String {
        let fresh = token::make(&self.identity.pin().unwrap()).unwrap();
        let token = EnrollToken {
            id: fresh.id,
            site: "lab".parse().unwrap(),
            uses_left,
            created_ms: now_ms(),
            expires_ms: now_ms() + 3_600_000,
            created_by: "ana".into(),
            revoked_ms: None,
            replace,
        };
        self.store.add_enroll_token(token, fresh.secret_hash).await.unwrap();
        fresh.text
    }

    /// A node that was enrolled.
    pub async fn node(&self, name: &str) -> Node {
        let token = self.token(1, false).await;
        let key = KeyPair::generate().unwrap();
        let asked = enrol::Asked { token: &token, csr: &csr(&key), node: Some(name), host: "" };
        let issued = self.identity.enrol(asked, now_ms()).await.unwrap();
        Node { key, chain: certificate::certificates(issued.certificate.as_bytes()).unwrap() }
    }
}

#[tokio::test]
async fn a_node_is_let_in_with_the_key_on_record_only() {
    let house = house(|_| {});
    let node = house.node("web-1").await;
    let peer = house.identity.recognise(&node.chain).unwrap().unwrap();
    assert_eq!((peer.node.as_str(), peer.site.as_str(), peer.origin), ("web-1", "lab", Origin::Own));
    house.identity.admits(&peer).await.unwrap();
    assert_eq!(house.identity.recognise(&[]), Ok(None));

    // Somebody takes its place: the old certificate has not ended, and counts no more.
    let token = house.token(1, true).await;
    let other = KeyPair::generate().unwrap();
    let connection = house.identity.list(&peer.node);
    let asked = enrol::Asked { token: &token, csr: &csr(&other), node: Some("web-1"), host: "" };
    house.identity.enrol(asked, now_ms()).await.unwrap();
    assert!(connection.cut().is_cancelled());
    assert!(matches!(house.identity.admits(&peer).await, Err(Denied::Replaced)));

    let unknown = Peer { node: "web-9".parse().unwrap(), ..peer.clone() };
    assert!(matches!(house.identity.admits(&unknown).await, Err(Denied::Unknown)));
    let moved = Peer { site: "home".parse().unwrap(), ..house_peer(&house, "web-2").await };
    assert!(matches!(house.identity.admits(&moved).await, Err(Denied::Replaced)));
}

async fn house_peer(house: &House, name: &str) -> Peer {
    let node = house.node(name).await;
    house.identity.recognise(&node.chain).unwrap().unwrap()
}

#[tokio::test]
async fn a_revoked_node_is_cut_and_refused() {
    let house = house(|_| {});
    let peer = house_peer(&house, "web-1").await;
    let connection = house.identity.list(&peer.node);
    house.identity.revoke(&peer.node, "stolen", now_ms()).await.unwrap();
    assert!(connection.cut().is_cancelled());
    let why = house.identity.admits(&peer).await.unwrap_err();
    assert_eq!(why.to_string(), "it was revoked: stolen");
    assert!(house.identity.revoke(&peer.node, "again", now_ms()).await.is_err());
    assert!(house.identity.revoke(&"web-9".parse().unwrap(), "who?", now_ms()).await.is_err());
}

#[tokio::test]
async fn nodes_of_a_given_authority_need_no_record() {
    let other = tempfile::tempdir().unwrap();
    let place = other.path().join("ca");
    let foreign = Authority::init(&place, now_ms()).unwrap();
    let file = other.path().join("roots.pem");
    std::fs::write(&file, &foreign.newest().pem).unwrap();

    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let requested = certificate::request(&csr(&key)).unwrap();
        let (node, site) = (name.parse().unwrap(), "home".parse().unwrap());
        let serial = authority::new_serial().unwrap();
        let not_after_ms = foreign.end_of(1, now_ms());
        let whose = authority::NodeCertificate { node: &node, site: &site, serial: &serial, not_after_ms };
        let pem = foreign.issue_node(&requested.public_key, &whose, now_ms()).unwrap();
        certificate::certificates(pem.as_bytes()).unwrap()
    };
    let stranger = house(|_| {});
    let said = stranger.identity.recognise(&issue("web-1")).unwrap_err();
    assert!(said.contains("the certificate of web-1 is of another authority"), "{said}");

    let house = house(|config| config.tls.client_ca_file = Some(file));
    let peer = house.identity.recognise(&issue("web-1")).unwrap().unwrap();
    assert_eq!((peer.origin, peer.site.as_str()), (Origin::Given, "home"));
    house.identity.admits(&peer).await.unwrap();
    house.identity.revoke(&peer.node, "lost", now_ms()).await.unwrap();
    assert!(matches!(house.identity.admits(&peer).await, Err(Denied::Revoked(_))));
    // A name that was enrolled here belongs to who enrolled it.
    let ours = house_peer(&house, "web-2").await;
    let theirs = house.identity.recognise(&issue("web-2")).unwrap().unwrap();
    assert!(house.identity.admits(&ours).await.is_ok());
    assert!(matches!(house.identity.admits(&theirs).await, Err(Denied::Replaced)));
}

#[test]
fn a_good_certificate_may_name_nobody() {
    let other = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::<String>::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.distinguished_name.push(DnType::CommonName, "a company");
    let certificate = root.self_signed(&key).unwrap();
    let file = other.path().join("roots.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    let issuer = rcgen::Issuer::new(root, key);
    let leaf = |names: &[&str]| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "web-1");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
        vec![params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone()]
    };
    let house = house(|config| config.tls.client_ca_file = Some(file));
    assert!(house.identity.recognise(&leaf(&["tacit://lab/web-1"])).unwrap().is_some());
    let said = house.identity.recognise(&leaf(&["https://web-1"])).unwrap_err();
    assert!(said.contains("names no node and site: it needs tacit://SITE/NODE"), "{said}");
}

#[tokio::test]
async fn a_rotation_is_seen_without_a_restart() {
    let house = house(|_| {});
    let place = house.folder.path().join(authority::FOLDER);
    let old = house.node("web-1").await;
    let (mqtt, pin) = (house.identity.mqtt().unwrap(), house.identity.pin().unwrap());
    house.identity.look(now_ms());
    assert!(!mqtt.has_changed().unwrap(), "nothing has happened");

    Authority::rotate(&place, now_ms()).unwrap();
    house.identity.look(now_ms());
    assert!(mqtt.has_changed().unwrap());
    assert_ne!(house.identity.pin().unwrap(), pin);
    assert_eq!(house.identity.roots_pem().matches("BEGIN CERTIFICATE").count(), 2);
    assert!(house.identity.recognise(&old.chain).unwrap().is_some());
    assert_eq!(house.node("web-2").await.chain.len(), 2, "with the way from the old root");

    Authority::retire(&place).unwrap();
    house.identity.look(now_ms());
    let said = house.identity.recognise(&old.chain).unwrap_err();
    assert!(said.contains("a root that was retired"), "{said}");
    // What cannot be used changes nothing.
    std::fs::write(place.join("root.pem"), "nothing").unwrap();
    house.identity.look(now_ms());
    assert_eq!(house.identity.roots_pem().matches("BEGIN CERTIFICATE").count(), 1);
}

#[tokio::test]
async fn the_collector_renews_its_own_certificate() {
    let house = house(|_| {});
    let tls = house.identity.tls.as_ref().unwrap();
    let before = tls.shown.look(|own| own.not_after_ms);
    house.identity.look(now_ms() + 59 * 86_400_000);
    assert_eq!(tls.shown.look(|own| own.not_after_ms), before);
    house.identity.look(now_ms() + 61 * 86_400_000);
    assert!(tls.shown.look(|own| own.not_after_ms) > before);
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
    let store = || -> Arc<dyn Store> { Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap()) };
    let off = Identity::open(&config, store()).unwrap();
    assert!(off.mqtt().is_none() && off.pin().is_none() && off.roots_pem().is_empty());
    config.tls.enabled = true;
    let error = Identity::open(&config, store()).unwrap_err().to_string();
    assert!(error.contains("`tacit ca init` makes one"), "{error}");
    Authority::init(&folder.path().join(authority::FOLDER), now_ms()).unwrap();
    config.tls.client_ca_file = Some(folder.path().join("nowhere.pem"));
    let error = Identity::open(&config, store()).unwrap_err().to_string();
    assert!(error.starts_with("tls.client_ca_file: cannot read "), "{error}");
}

#[test]
fn a_collector_has_names() {
    assert_eq!(names(&["a.example".to_owned()]), ["a.example"]);
    let own = names(&[]);
    assert!(own.ends_with(&["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]), "{own:?}");
    assert_eq!(house(|_| {}).identity.public_name(), Some("collector.example.org"));
    let local = house(|config| config.identity.names = vec!["localhost".into(), "::1".into()]);
    assert_eq!(local.identity.public_name(), None);
}
