//! Tokens and keys of nodes, against the promises of the trait.

use super::*;

fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("tacit.db")).unwrap();
    (folder, store)
}

fn a_new_token(id: &str, uses_left: u32, replace: bool) -> EnrollToken {
    EnrollToken {
        id: id.into(),
        site: "lab".parse().unwrap(),
        uses_left,
        created_ms: 1,
        expires_ms: 1000,
        created_by: "ana".into(),
        revoked_ms: None,
        replace,
    }
}

fn a_new_node(name: &str, key: u8) -> NodeKey {
    NodeKey {
        node: name.parse().unwrap(),
        site: "lab".parse().unwrap(),
        key: [key; 32],
        serial: format!("{key:02x}"),
        not_after_ms: 5000,
        enrolled_ms: 10,
        revoked_ms: None,
        reason: None,
    }
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_token_is_used_so_often_and_no_more() {
    let (_folder, store) = store();
    store.add_enroll_token(a_new_token("00000001", 2, false), [1; 32]).await.unwrap();
    let twice = store.add_enroll_token(a_new_token("00000001", 2, false), [2; 32]).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))));
    for (name, expected) in [
        ("web-1", EnrollOutcome::Done { replaced: false }),
        ("web-1", EnrollOutcome::NodeExists),
        ("web-2", EnrollOutcome::Done { replaced: false }),
        ("web-3", EnrollOutcome::NoToken),
    ] {
        assert_eq!(store.enroll("00000001", a_new_node(name, 7), 10).await.unwrap(), expected, "{name}");
    }
    assert_eq!(store.enroll("00000009", a_new_node("web-4", 7), 10).await.unwrap(), EnrollOutcome::NoToken);
    let known = store.enroll_token("00000001").await.unwrap().unwrap();
    assert_eq!((known.token.uses_left, known.secret_hash.as_slice()), (0, [1; 32].as_slice()));
    let names: Vec<_> = store.node_keys(None, 10).await.unwrap().into_iter().map(|n| n.node).collect();
    assert_eq!(names, [id("web-1"), id("web-2")]);
    let rest = store.node_keys(Some(&id("web-1")), 10).await.unwrap();
    assert_eq!(rest, [a_new_node("web-2", 7)]);
}

#[tokio::test]
async fn two_who_come_at_once_do_not_share_a_use() {
    let (_folder, store) = store();
    store.add_enroll_token(a_new_token("00000001", 1, false), [1; 32]).await.unwrap();
    let tries = (0..8).map(|n| store.enroll("00000001", a_new_node(&format!("web-{n}"), n), 10));
    let outcomes = futures_util::future::join_all(tries).await;
    let done = outcomes.iter().filter(|o| matches!(o, Ok(EnrollOutcome::Done { .. }))).count();
    assert_eq!((done, store.node_keys(None, 100).await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_token_that_is_over_enrols_nobody() {
    let (_folder, store) = store();
    store.add_enroll_token(a_new_token("00000001", 9, false), [1; 32]).await.unwrap();
    store.add_enroll_token(a_new_token("00000002", 9, false), [2; 32]).await.unwrap();
    assert_eq!(store.enroll("00000001", a_new_node("web-1", 1), 1000).await.unwrap(), EnrollOutcome::NoToken);
    assert_eq!(store.revoke_enroll_token("00000002", 5).await.unwrap().revoked_ms, Some(5));
    assert!(matches!(store.revoke_enroll_token("00000002", 6).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.revoke_enroll_token("00000009", 6).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.enroll("00000002", a_new_node("web-1", 1), 10).await.unwrap(), EnrollOutcome::NoToken);
    assert_eq!(store.enroll_tokens().await.unwrap().len(), 2);
    assert!(store.node_key(&id("web-1")).await.unwrap().is_none());
    assert_eq!(store.write(|t| retain(t, 1001)).await.unwrap(), 2);
}

#[tokio::test]
async fn only_some_tokens_replace_a_node() {
    let (_folder, store) = store();
    store.add_enroll_token(a_new_token("00000001", 9, false), [1; 32]).await.unwrap();
    store.add_enroll_token(a_new_token("00000002", 9, true), [2; 32]).await.unwrap();
    store.enroll("00000001", a_new_node("web-1", 1), 10).await.unwrap();
    assert_eq!(store.enroll("00000001", a_new_node("web-1", 2), 10).await.unwrap(), EnrollOutcome::NodeExists);
    let replaced = store.enroll("00000002", a_new_node("web-1", 2), 10).await.unwrap();
    assert_eq!(replaced, EnrollOutcome::Done { replaced: true });
    assert_eq!(store.node_key(&id("web-1")).await.unwrap(), Some(a_new_node("web-1", 2)));
}

#[tokio::test]
async fn a_revoked_node_comes_back_with_another_key_only() {
    let (_folder, store) = store();
    store.add_enroll_token(a_new_token("00000001", 9, false), [1; 32]).await.unwrap();
    store.enroll("00000001", a_new_node("web-1", 1), 10).await.unwrap();
    let revoked = store.revoke_node(&id("web-1"), "stolen", 20, None).await.unwrap();
    assert_eq!((revoked.revoked_ms, revoked.reason.as_deref()), (Some(20), Some("stolen")));
    assert_eq!(store.node_key(&id("web-1")).await.unwrap(), Some(revoked));
    assert!(matches!(store.revoke_node(&id("web-1"), "again", 30, None).await, Err(StoreError::Conflict(_))));
    assert!(!store.renew_node(a_new_node("web-1", 1)).await.unwrap());
    assert_eq!(store.enroll("00000001", a_new_node("web-1", 1), 10).await.unwrap(), EnrollOutcome::KeyRevoked);
    let back = store.enroll("00000001", a_new_node("web-1", 2), 10).await.unwrap();
    assert_eq!(back, EnrollOutcome::Done { replaced: true });
    assert_eq!(store.node_key(&id("web-1")).await.unwrap(), Some(a_new_node("web-1", 2)));
}

#[tokio::test]
async fn renewing_is_for_the_key_on_record() {
    let (_folder, store) = store();
    store.add_enroll_token(a_new_token("00000001", 9, false), [1; 32]).await.unwrap();
    store.enroll("00000001", a_new_node("web-1", 1), 10).await.unwrap();
    let later = NodeKey { serial: "ff".into(), not_after_ms: 9000, enrolled_ms: 50, ..a_new_node("web-1", 1) };
    assert!(store.renew_node(later.clone()).await.unwrap());
    assert_eq!(store.node_key(&id("web-1")).await.unwrap(), Some(later.clone()));
    assert!(!store.renew_node(a_new_node("web-1", 2)).await.unwrap());
    assert!(!store.renew_node(a_new_node("web-2", 1)).await.unwrap());
    assert_eq!(store.node_key(&id("web-1")).await.unwrap(), Some(later));
}

#[tokio::test]
async fn nodes_of_another_authority_can_be_revoked_too() {
    let (_folder, store) = store();
    assert!(matches!(store.revoke_node(&id("web-1"), "lost", 20, None).await, Err(StoreError::NotFound(_))));
    let unknown = NodeKey { key: [0; 32], serial: String::new(), ..a_new_node("web-1", 0) };
    let revoked = store.revoke_node(&id("web-1"), "lost", 20, Some(unknown)).await.unwrap();
    assert_eq!(store.node_key(&id("web-1")).await.unwrap(), Some(revoked));
}

#[test]
fn no_answer_holds_the_hash_of_a_key() {
    let text = serde_json::to_string(&a_new_node("web-1", 1)).unwrap();
    assert!(!text.contains("key") && text.contains("\"serial\":\"01\""), "{text}");
}
