//! The rules of enrolment.

use rcgen::KeyPair;

use super::*;
use crate::clock::now_ms;
use crate::identity::certificate::{certificates, describe};
use crate::identity::tests::{House, csr, house};

async fn enrol(house: &House, token: &str, key: &KeyPair, node: &str) -> Result<Issued, Refusal> {
    let csr = csr(key);
    house.identity.enrol(Asked { token, csr: &csr, node: Some(node), host: "" }, now_ms()).await
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    result.unwrap_err().answer().1
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

#[tokio::test]
async fn a_node_gets_a_certificate_of_its_name_and_the_tokens_site() {
    let house = house(|config| config.identity.node_days = 30);
    let token = house.token(1, false).await;
    let key = key();
    let issued = enrol(&house, &token, &key, "web-1").await.unwrap();
    let says = describe(&certificates(issued.certificate.as_bytes()).unwrap()[0]).unwrap();
    assert_eq!(says.whose, Some(("web-1".parse().unwrap(), "lab".parse().unwrap())), "not what the request said");
    let days = |ms: i64| (ms - now_ms() + 60_000) / DAY_MS;
    assert_eq!((days(issued.not_after_ms), days(issued.renew_after_ms)), (30, 20));
    assert!(token.ends_with(&house.identity.pin().unwrap()));
    let roots = certificates(issued.ca.as_bytes()).unwrap();
    assert_eq!(crate::identity::authority::pin(&roots[0]), house.identity.pin().unwrap());
    let on_record = house.store.node_key(&issued.node).await.unwrap().unwrap();
    assert_eq!((on_record.serial, on_record.key), (says.serial, says.key));
}

#[tokio::test]
async fn each_token_is_refused_for_its_own_reason() {
    let house = house(|_| {});
    let token = house.token(1, false).await;
    let id = token.split('.').nth(1).unwrap().to_owned();
    enrol(&house, &token, &key(), "web-1").await.unwrap();
    assert_eq!(code(enrol(&house, &token, &key(), "web-2").await), "token_used");
    house.store.revoke_enroll_token(&id, now_ms()).await.unwrap();
    assert_eq!(code(enrol(&house, &token, &key(), "web-2").await), "token_revoked");
    let over = house.token(1, false).await;
    let request = csr(&key());
    let late = Asked { token: &over, csr: &request, node: Some("web-2"), host: "" };
    assert_eq!(code(house.identity.enrol(late, now_ms() + 3_700_000).await), "token_expired");
    let foreign = over.replace(over.split('.').nth(2).unwrap(), &"A".repeat(43));
    for wrong in ["", "nothing", foreign.as_str()] {
        assert_eq!(code(enrol(&house, wrong, &key(), "web-2").await), "token_unknown", "{wrong}");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() {
    let house = house(|_| {});
    let token = house.token(1, false).await;
    let key = key();
    let first = enrol(&house, &token, &key, "web-1").await.unwrap();
    let again = enrol(&house, &token, &key, "web-1").await.unwrap();
    assert_eq!((again.node, again.site, again.token), (first.node, first.site, None));
    assert_ne!(again.certificate, first.certificate);
    // Who has the key but not the secret of a token gets nothing here.
    assert_eq!(code(enrol(&house, "nothing", &key, "web-1").await), "token_unknown");
}

#[tokio::test]
async fn a_name_belongs_to_one_key() {
    let house = house(|_| {});
    house.node("web-1").await;
    let token = house.token(9, false).await;
    let refused = enrol(&house, &token, &key(), "web-1").await.unwrap_err();
    assert_eq!(refused.to_string(), "a node web-1 exists already, with another key");
    let (status, code, hint) = refused.answer();
    assert_eq!((status.as_u16(), code), (409, "node_exists"));
    assert!(["--node", "tacit node revoke NODE", "--replace"].iter().all(|way| hint.contains(way)), "{hint}");
    let replacing = house.token(1, true).await;
    assert!(enrol(&house, &replacing, &key(), "web-1").await.is_ok());
    // After a revocation the name is free, for another key.
    let stolen = key();
    enrol(&house, &token, &stolen, "web-2").await.unwrap();
    house.identity.revoke(&"web-2".parse().unwrap(), "stolen", now_ms()).await.unwrap();
    assert_eq!(self::code(enrol(&house, &token, &stolen, "web-2").await), "key_revoked");
    assert!(enrol(&house, &token, &key(), "web-2").await.is_ok());
}

#[tokio::test]
async fn who_has_the_key_renews_within_the_grace() {
    let house = house(|config| (config.identity.node_days, config.identity.grace_days) = (10, 5));
    let node = house.node("web-1").await;
    let request = csr(&node.key);
    let renew = async |days: i64| house.identity.renew("web-1", &request, now_ms() + days * DAY_MS).await;
    assert_eq!(code(renew(16).await), "grace_over");
    let late = renew(14).await.unwrap();
    assert!(late.not_after_ms > now_ms() + 23 * DAY_MS, "from then on");
    assert_eq!(late.token, None);
    assert!(renew(28).await.is_ok(), "the grace begins with the end of the newest certificate");
    assert_eq!(code(house.identity.renew("web-1", &csr(&key()), now_ms()).await), "key_unknown");
    assert_eq!(code(house.identity.renew("web-2", &request, now_ms()).await), "node_unknown");
    assert_eq!(code(house.identity.renew("Web_1", &request, now_ms()).await), "node_invalid");
    assert_eq!(code(house.identity.renew("web-1", "nothing", now_ms()).await), "csr_invalid");
    house.identity.revoke(&"web-1".parse().unwrap(), "stolen", now_ms()).await.unwrap();
    assert_eq!(code(renew(1).await), "node_revoked");
}

#[tokio::test]
async fn the_clock_of_the_collector_has_to_be_right() {
    let house = house(|_| {});
    let token = house.token(1, false).await;
    let request = csr(&key());
    let asked = Asked { token: &token, csr: &request, node: Some("web-1"), host: "" };
    let refused = house.identity.enrol(asked, 86_400_000).await.unwrap_err();
    assert!(refused.to_string().contains("clock says 1970-01-02"), "{refused}");
    assert!(enrol(&house, &token, &key(), "web-1").await.is_ok(), "the token was not used up by that");
}

#[test]
fn a_machines_name_becomes_a_nodes() {
    for (host, expected) in [
        ("web-1", Some("web-1")),
        ("Web_1.example.org", Some("web-1")),
        ("ip-10-0-0-1.ec2.internal", Some("ip-10-0-0-1")),
        ("-edge-", Some("edge")),
        (&"x".repeat(60)[..], Some(&"x".repeat(36)[..])),
        ("raspberrypi", None),
        ("localhost.localdomain", None),
        ("", None),
        ("___", None),
        ("ÄÖ", None),
    ] {
        assert_eq!(name(None, host).ok().as_ref().map(NodeId::as_str), expected, "{host:?}");
    }
    assert_eq!(name(Some("db-1"), "web-1").unwrap().as_str(), "db-1");
    assert!(matches!(name(Some("Db 1"), "web-1"), Err(Refusal::NodeInvalid(_))));
}
