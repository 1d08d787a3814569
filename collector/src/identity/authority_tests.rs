//! The authority: what it issues is verified as clients and the broker do.

use rcgen::PublicKeyData as _;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};

use super::*;
use crate::clock::now_ms;
use crate::identity::trust::{Origin, Trust};

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join(FOLDER);
    (folder, place)
}

fn at(ms: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_millis(ms.try_into().unwrap()))
}

fn node_certificate(authority: &Authority, not_after_ms: i64, now_ms: i64) -> Vec<CertificateDer<'static>> {
    let key = KeyPair::generate().unwrap();
    let key = SubjectPublicKeyInfo::from_der(&key.subject_public_key_info()).unwrap();
    let (node, site) = ("web-1".parse().unwrap(), "lab".parse().unwrap());
    let serial = new_serial().unwrap();
    let whose = NodeCertificate { node: &node, site: &site, serial: &serial, not_after_ms };
    let pem = authority.issue_node(&key, &whose, now_ms).unwrap();
    certificate::certificates(pem.as_bytes()).unwrap()
}

/// Whether somebody who trusts these roots takes this chain for the server of that name.
fn takes(roots: &[&Root], chain: &[CertificateDer<'static>], name: &str) -> Result<(), rustls::Error> {
    let mut store = RootCertStore::empty();
    roots.iter().for_each(|root| store.add(root.der.clone()).unwrap());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(store.into(), provider).build().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now()).map(drop)
}

#[test]
fn it_is_made_once_and_read_back() {
    let (_folder, place) = place();
    assert!(matches!(Authority::load(&place), Err(AuthorityError::Missing(_))));
    let made = Authority::init(&place, now_ms()).unwrap();
    let read = Authority::load(&place).unwrap();
    assert_eq!(read.newest().pin(), made.newest().pin());
    assert_eq!(made.newest().pin().len(), 32);
    assert!(made.newest().says.is_authority && made.newest().says.is_self_issued);
    assert!(matches!(Authority::init(&place, now_ms()), Err(AuthorityError::There(_))));
    assert!(matches!(Authority::retire(&place), Err(AuthorityError::Single)));
}

#[test]
fn a_clock_at_1970_makes_nothing() {
    let (_folder, place) = place();
    let error = Authority::init(&place, 0).unwrap_err();
    assert!(error.to_string().contains("clock says 1970-01-01 00:00 UTC"), "{error}");
    assert!(!place.exists());
    let made = Authority::init(&place, now_ms()).unwrap();
    assert!(matches!(made.issue_server(&["localhost".into()], 86_400_000), Err(AuthorityError::Clock(_))));
    assert!(matches!(Authority::rotate(&place, 86_400_000), Err(AuthorityError::Clock(_))));
}

#[test]
fn a_node_gets_what_the_broker_takes() {
    let (_folder, place) = place();
    let authority = Authority::init(&place, now_ms()).unwrap();
    let end = authority.end_of(90, now_ms());
    let chain = node_certificate(&authority, end, now_ms());
    assert_eq!(chain.len(), 1);
    let says = describe(&chain[0]).unwrap();
    assert_eq!(says.whose, Some(("web-1".parse().unwrap(), "lab".parse().unwrap())));
    assert_eq!((says.serial.len(), says.not_after_ms, says.is_authority), (32, end / 1000 * 1000, false));
    let trust = Trust::new(&authority.roots().iter().map(|root| root.der.clone()).collect::<Vec<_>>(), &[]).unwrap();
    assert_eq!(trust.origin(&chain, UnixTime::now()), Ok(Origin::Own));
    assert!(trust.origin(&chain, at(end + 1000)).is_err(), "it has ended");
    assert!(trust.origin(&chain, at(0)).is_err(), "it is not valid yet");
    // It proves nobody to be a server.
    assert!(takes(&[authority.newest()], &chain, "web-1").is_err());
}

#[test]
fn the_collector_is_known_by_its_names() {
    let (_folder, place) = place();
    let authority = Authority::init(&place, now_ms()).unwrap();
    let names = ["collector.example.org", "localhost", "192.0.2.1", "::1"].map(str::to_owned);
    let (chain, _key) = authority.issue_server(&names, now_ms()).unwrap();
    for name in &names {
        assert_eq!(takes(&[authority.newest()], &chain, name), Ok(()), "{name}");
    }
    assert!(takes(&[authority.newest()], &chain, "example.org").is_err());
    let trust = Trust::new(&[authority.newest().der.clone()], &[]).unwrap();
    assert!(trust.origin(&chain, UnixTime::now()).is_err(), "it is no node");
}

#[test]
fn a_rotation_leaves_nobody_behind() {
    let (_folder, place) = place();
    let before = Authority::init(&place, now_ms()).unwrap();
    let old_node = node_certificate(&before, before.end_of(90, now_ms()), now_ms());
    let after = Authority::rotate(&place, now_ms()).unwrap();
    assert_eq!(after.roots().len(), 2);
    assert_eq!(after.roots()[1].pin(), before.newest().pin());
    assert_ne!(after.newest().pin(), before.newest().pin());
    assert!(matches!(Authority::rotate(&place, now_ms()), Err(AuthorityError::Turning)));

    // Who knows either root, or both, takes the collector.
    let (chain, _key) = after.issue_server(&["localhost".to_owned()], now_ms()).unwrap();
    for roots in [&[before.newest()][..], &[after.newest()], &[after.newest(), before.newest()]] {
        assert_eq!(takes(roots, &chain, "localhost"), Ok(()), "{} roots", roots.len());
    }
    let ders = |authority: &Authority| authority.roots().iter().map(|root| root.der.clone()).collect::<Vec<_>>();
    let trust = Trust::new(&ders(&after), &[]).unwrap();
    let new_node = node_certificate(&after, after.end_of(90, now_ms()), now_ms());
    assert_eq!(trust.origin(&old_node, UnixTime::now()), Ok(Origin::Own));
    assert_eq!(trust.origin(&new_node, UnixTime::now()), Ok(Origin::Own));
    // A broker elsewhere that knows the old root only takes new nodes too.
    assert_eq!(Trust::new(&ders(&before), &[]).unwrap().origin(&new_node, UnixTime::now()), Ok(Origin::Own));

    let last = Authority::retire(&place).unwrap();
    assert_eq!(last.roots().len(), 1);
    let trust = Trust::new(&ders(&last), &[]).unwrap();
    assert!(trust.origin(&old_node, UnixTime::now()).is_err());
    assert_eq!(trust.origin(&new_node, UnixTime::now()), Ok(Origin::Own));
    assert_eq!(last.issue_server(&["localhost".to_owned()], now_ms()).unwrap().0.len(), 1);
    assert!(Authority::rotate(&place, now_ms()).is_ok(), "and again");
}

#[test]
fn a_rotation_that_was_cut_off_is_finished_or_forgotten() {
    let (_folder, place) = place();
    Authority::init(&place, now_ms()).unwrap();
    let copy = |from: &str| std::fs::read(place.join(from)).unwrap();
    let (root, key) = (copy(ROOT), copy(KEY));
    Authority::rotate(&place, now_ms()).unwrap();
    let (new_root, new_key) = (copy(ROOT), copy(KEY));
    // After the first rename: the old root still issues, the cross certificate means nothing.
    std::fs::write(place.join(ROOT), &root).unwrap();
    std::fs::write(place.join(KEY), &key).unwrap();
    assert_eq!(Authority::load(&place).unwrap().roots().len(), 1);
    // After the second: the new key waits, and is taken.
    std::fs::write(place.join(ROOT), &new_root).unwrap();
    std::fs::write(files::waiting(&place.join(KEY)), &new_key).unwrap();
    assert_eq!(Authority::load(&place).unwrap().roots().len(), 2);
    assert_eq!(copy(KEY), new_key);
    assert!(!files::waiting(&place.join(KEY)).exists());
}

#[test]
fn what_is_damaged_is_named() {
    let (_folder, place) = place();
    Authority::init(&place, now_ms()).unwrap();
    let other = tempfile::tempdir().unwrap();
    Authority::init(&other.path().join(FOLDER), now_ms()).unwrap();
    let foreign = std::fs::read(other.path().join(FOLDER).join(KEY)).unwrap();
    let wrong: [(&str, &[u8], &str); 3] = [
        (KEY, &foreign, "it is not the key of the newest root"),
        (KEY, b"nothing", "it holds no usable key"),
        (ROOT, b"nothing", "it holds no certificate in PEM form"),
    ];
    for (name, content, words) in wrong {
        let path = place.join(name);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let error = Authority::load(&place).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(words) && error.contains("restore it"), "{error}");
        std::fs::write(&path, good).unwrap();
    }
    std::fs::remove_file(place.join(KEY)).unwrap();
    let error = Authority::load(&place).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains(KEY), "{error}");
    assert!(
        matches!(Authority::init(&place, now_ms()), Err(AuthorityError::There(_))),
        "a root is not replaced by accident"
    );
}
