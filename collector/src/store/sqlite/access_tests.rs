//! Users, tokens, sessions and their log, against the promises of the trait.

use super::super::schema;
use super::*;

fn store() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("tacit.db")).unwrap();
    (folder, store)
}

fn a_new_user(name: &str, role: Role) -> User {
    User { name: name.into(), role, password_hash: "hash".into(), created_ms: 1, disabled_ms: None }
}

fn a_new_session(n: u8, user: &str, created_ms: i64) -> Session {
    Session {
        id_hash: [n; 32],
        user: user.into(),
        csrf: format!("csrf {n}"),
        created_ms,
        expires_ms: created_ms + 1000,
    }
}

fn a_new_token(id: &str, made_by: Option<&str>) -> ApiToken {
    ApiToken {
        id: id.into(),
        name: "prometheus".into(),
        role: Role::Operator,
        made_by: made_by.map(str::to_owned),
        created_ms: 1,
        expires_ms: None,
        revoked_ms: None,
        last_used_ms: None,
    }
}

fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result.unwrap_err() {
        StoreError::Conflict(words) => words,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_name_belongs_to_one_user() {
    let (_folder, store) = store();
    assert!(!store.any_user().await.unwrap());
    store.add_user(a_new_user("bo", Role::Viewer)).await.unwrap();
    store.add_user(a_new_user("ana", Role::Admin)).await.unwrap();
    assert!(store.any_user().await.unwrap());
    assert_eq!(conflict(store.add_user(a_new_user("bo", Role::Admin)).await), "there is a user bo already");
    assert_eq!(store.user("bo").await.unwrap(), Some(a_new_user("bo", Role::Viewer)));
    assert_eq!(store.user("Bo").await.unwrap(), None);
    let names: Vec<_> = store.users().await.unwrap().into_iter().map(|u| u.name).collect();
    assert_eq!(names, ["ana", "bo"]);
    assert!(matches!(store.set_role("cy", Role::Admin).await, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn the_last_admin_stays() {
    let (_folder, store) = store();
    for (name, role) in [("ana", Role::Admin), ("bo", Role::Admin), ("cy", Role::Viewer)] {
        store.add_user(a_new_user(name, role)).await.unwrap();
    }
    store.set_disabled("bo", Some(5)).await.unwrap();
    assert!(conflict(store.set_disabled("bo", Some(6)).await).contains("disabled already"));
    assert!(conflict(store.set_role("ana", Role::Operator).await).contains("ana is the last admin"));
    assert!(conflict(store.set_disabled("ana", Some(6)).await).contains("ana is the last admin"));
    // One who is disabled is none.
    assert_eq!(store.set_role("bo", Role::Viewer).await.unwrap().role, Role::Viewer);
    assert_eq!(store.set_role("cy", Role::Admin).await.unwrap().role, Role::Admin);
    assert_eq!(store.set_disabled("ana", Some(7)).await.unwrap().disabled_ms, Some(7));
    assert_eq!(store.set_disabled("ana", None).await.unwrap().disabled_ms, None);
    assert!(conflict(store.set_disabled("ana", None).await).contains("enabled already"));
}

#[tokio::test]
async fn a_session_ends_with_its_time_its_user_and_its_password() {
    let (_folder, store) = store();
    store.add_user(a_new_user("ana", Role::Admin)).await.unwrap();
    store.add_user(a_new_user("bo", Role::Viewer)).await.unwrap();
    for (n, user) in [(1, "ana"), (2, "bo"), (3, "bo")] {
        store.open_session(a_new_session(n, user, 10), None).await.unwrap();
    }
    let (session, user) = store.session([1; 32], 1009).await.unwrap().unwrap();
    assert_eq!((session, user.name.as_str()), (a_new_session(1, "ana", 10), "ana"));
    assert!(store.session([1; 32], 1010).await.unwrap().is_none());
    store.prolong_session([1; 32], 2000).await.unwrap();
    store.prolong_session([1; 32], 1500).await.unwrap();
    assert_eq!(store.session([1; 32], 1999).await.unwrap().unwrap().0.expires_ms, 2000);

    // Signing in again in the same browser ends what was there.
    store.open_session(a_new_session(4, "bo", 20), Some([2; 32])).await.unwrap();
    assert!(store.session([2; 32], 30).await.unwrap().is_none());
    store.end_session([4; 32]).await.unwrap();
    assert!(store.session([4; 32], 30).await.unwrap().is_none());
    assert_eq!(store.set_password("bo", "other".into()).await.unwrap().password_hash, "other");
    assert!(store.session([3; 32], 30).await.unwrap().is_none());
    store.open_session(a_new_session(5, "bo", 30), None).await.unwrap();
    store.set_disabled("bo", Some(40)).await.unwrap();
    assert!(store.session([5; 32], 50).await.unwrap().is_none());
    assert!(store.session([1; 32], 50).await.unwrap().is_some(), "others are not touched");
}

#[tokio::test]
async fn the_oldest_of_many_sessions_ends() {
    let (_folder, store) = store();
    store.add_user(a_new_user("ana", Role::Admin)).await.unwrap();
    for n in 1..=21 {
        store.open_session(a_new_session(n, "ana", i64::from(n)), None).await.unwrap();
    }
    assert!(store.session([1; 32], 30).await.unwrap().is_none());
    assert!(store.session([2; 32], 30).await.unwrap().is_some());
    assert!(store.session([21; 32], 30).await.unwrap().is_some());
}

#[tokio::test]
async fn a_token_is_found_with_who_made_it() {
    let (_folder, store) = store();
    store.add_user(a_new_user("ana", Role::Admin)).await.unwrap();
    store.add_token(a_new_token("00000001", Some("ana")), [1; 32]).await.unwrap();
    store.add_token(a_new_token("00000002", None), [2; 32]).await.unwrap();
    assert!(conflict(store.add_token(a_new_token("00000001", None), [3; 32]).await).contains("try again"));
    let known = store.token("00000001").await.unwrap().unwrap();
    assert_eq!((known.secret_hash.as_slice(), known.maker.unwrap().name.as_str()), ([1; 32].as_slice(), "ana"));
    assert_eq!(store.token("00000002").await.unwrap().unwrap().maker, None);
    assert_eq!(store.token("00000009").await.unwrap(), None);
    store.token_used("00000001", 77).await.unwrap();
    assert_eq!(store.revoke_token("00000001", 99).await.unwrap().revoked_ms, Some(99));
    assert!(conflict(store.revoke_token("00000001", 100).await).contains("revoked already"));
    assert!(matches!(store.revoke_token("00000009", 99).await, Err(StoreError::NotFound(_))));
    let all = store.tokens().await.unwrap();
    let said: Vec<_> = all.iter().map(|t| (t.id.as_str(), t.last_used_ms, t.revoked_ms)).collect();
    assert_eq!(said, [("00000001", Some(77), Some(99)), ("00000002", None, None)]);
}

#[test]
fn the_log_is_bounded_and_final() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = schema::open(&folder.path().join("tacit.db")).unwrap();
    let t = connection.transaction().unwrap();
    let line = |at_ms: i64| AccessLine {
        n: 0,
        at_ms,
        who: "ana".into(),
        role: "admin".into(),
        address: "192.0.2.1".into(),
        method: "POST".into(),
        path: "/api/v1/users".into(),
        status: 200,
    };
    for at_ms in 1..=3 {
        append(&t, &line(at_ms)).unwrap();
    }
    let times = |lines: Vec<AccessLine>| lines.iter().map(|l| (l.n, l.at_ms)).collect::<Vec<_>>();
    assert_eq!(times(log(&t, None, 2).unwrap()), [(3, 3), (2, 2)]);
    assert_eq!(times(log(&t, Some(2), 10).unwrap()), [(1, 1)]);
    assert!(t.execute("UPDATE access_log SET who = 'bo'", []).is_err());
    // As if many more had come.
    t.execute(
        "INSERT INTO access_log SELECT ?1, at_ms, who, role, address, method, path, status FROM access_log WHERE n = 3",
        [LOG_ROWS + 2],
    )
    .unwrap();
    append(&t, &line(9)).unwrap();
    assert_eq!(times(log(&t, None, 10).unwrap()), [(LOG_ROWS + 3, 9), (LOG_ROWS + 2, 3)]);
}

#[test]
fn what_is_over_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut connection = schema::open(&folder.path().join("tacit.db")).unwrap();
    let t = connection.transaction().unwrap();
    add_user(&t, &a_new_user("ana", Role::Admin)).unwrap();
    open_session(&t, &a_new_session(1, "ana", 10), None).unwrap();
    for (id, expires_ms) in [("00000001", Some(50)), ("00000002", Some(500)), ("00000003", None)] {
        add_token(&t, &ApiToken { expires_ms, ..a_new_token(id, None) }, [1; 32]).unwrap();
    }
    assert_eq!(retain(&t, 1010, 100).unwrap(), 2);
    let left: Vec<_> = tokens(&t).unwrap().into_iter().map(|t| t.id).collect();
    assert_eq!(left, ["00000002", "00000003"]);
    assert!(session(&t, [1; 32], 0).unwrap().is_none());
}
