//! Who is let in, with a store of its own.

use axum::http::HeaderValue;

use super::*;
use crate::store::{ApiToken, SqliteStore};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "correct horse";

struct House {
    access: Access,
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

fn house(required: Required, http: &str) -> House {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("tacit.db")).unwrap());
    let config = AccessConfig { required, ..AccessConfig::default() };
    let access = Access::new(&config, Arc::clone(&store), http.parse().unwrap(), false);
    House { access, store, _folder: folder }
}

impl House {
    async fn user(&self, name: &str, role: Role) {
        let password_hash = password::hash(PASSWORD).unwrap();
        let user = User { name: name.into(), role, password_hash, created_ms: 1, disabled_ms: None };
        self.store.add_user(user).await.unwrap();
    }

    async fn token(&self, role: Role, made_by: Option<&str>) -> String {
        let fresh = token::make().unwrap();
        let token = ApiToken {
            id: fresh.id,
            name: "ci".into(),
            role,
            made_by: made_by.map(str::to_owned),
            created_ms: now_ms(),
            expires_ms: None,
            revoked_ms: None,
            last_used_ms: None,
        };
        self.store.add_token(token, fresh.secret_hash).await.unwrap();
        fresh.text
    }

    async fn with(&self, authorization: &str) -> Result<Option<Me>, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        self.access.identify(&headers, HERE).await
    }
}

#[tokio::test]
async fn one_has_to_be_known_beyond_loopback_or_once_there_is_a_user() {
    for (required, http, before, after) in [
        (Required::Auto, "127.0.0.1:8420", false, true),
        (Required::Auto, "[::1]:8420", false, true),
        (Required::Auto, "192.0.2.1:8420", true, true),
        (Required::Auto, "0.0.0.0:8420", true, true),
        (Required::Yes, "127.0.0.1:8420", true, true),
        (Required::No, "127.0.0.1:8420", false, false),
        (Required::No, "192.0.2.1:8420", false, false),
    ] {
        let house = house(required, http);
        assert_eq!(house.access.is_required().await.unwrap(), before, "{required:?} {http}");
        assert_eq!(house.access.awaits_first_user().await.unwrap(), required != Required::No);
        house.user("ana", Role::Admin).await;
        assert_eq!(house.access.is_required().await.unwrap(), after, "{required:?} {http}");
        assert!(!house.access.awaits_first_user().await.unwrap());
    }
}

#[tokio::test]
async fn each_way_to_show_who_one_is() {
    let house = house(Required::Auto, "127.0.0.1:8420");
    house.user("ana", Role::Operator).await;
    assert_eq!(house.access.identify(&HeaderMap::new(), HERE).await.unwrap(), None);

    // ana:correct horse
    let basic = house.with("Basic YW5hOmNvcnJlY3QgaG9yc2U=").await.unwrap().unwrap();
    assert_eq!(basic, Me::user("ana", Role::Operator, None));
    let token = house.token(Role::Admin, Some("ana")).await;
    let bearer = house.with(&format!("bearer {token}")).await.unwrap().unwrap();
    assert_eq!((bearer.role, bearer.owner.as_deref()), (Some(Role::Operator), Some("ana")), "no more than its maker");
    for wrong in [
        "Bearer x",
        "Bearer",
        "Digest x",
        "Basic %%%",
        "Basic YW5h",
        // ana:wrong
        "Basic YW5hOndyb25n",
        // bo:correct horse
        "Basic Ym86Y29ycmVjdCBob3JzZQ==",
        &token,
        &format!("Bearer {token}x"),
    ] {
        let refused = house.with(wrong).await;
        assert!(matches!(refused, Err(Refusal::Wrong(_))), "{wrong}: {refused:?}");
    }

    let (user, cookie) = house.access.sign_in(HERE, ("ana", PASSWORD), &HeaderMap::new()).await.unwrap();
    assert_eq!(user.name, "ana");
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, HeaderValue::from_str(cookie.split(';').next().unwrap()).unwrap());
    let me = house.access.identify(&headers, HERE).await.unwrap().unwrap();
    assert!(me.session.is_some() && house.access.is_still(&me).await);
    // What is shown in words goes before the cookie.
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert!(house.access.identify(&headers, HERE).await.is_err());
    headers.remove(header::AUTHORIZATION);
    // Signing in again gives another session, and the one before is over.
    let (_, other) = house.access.sign_in(HERE, ("ana", PASSWORD), &headers).await.unwrap();
    assert_ne!(cookie, other);
    assert_eq!(house.access.identify(&headers, HERE).await.unwrap(), None);
    assert!(!house.access.is_still(&me).await);
}

#[tokio::test]
async fn who_is_disabled_is_out_at_once() {
    let house = house(Required::Auto, "127.0.0.1:8420");
    house.user("root", Role::Admin).await;
    house.user("ana", Role::Admin).await;
    let token = house.token(Role::Viewer, Some("ana")).await;
    let by_token = house.with(&format!("Bearer {token}")).await.unwrap().unwrap();
    assert!(house.access.is_still(&by_token).await);
    assert_eq!(house.access.check_password(HERE, "whoever", &token).await, Some(Role::Viewer));
    assert_eq!(house.access.check_password(HERE, "ana", PASSWORD).await, Some(Role::Admin));
    assert_eq!(house.access.check_password(HERE, "ana", "wrong horse").await, None);
    house.store.set_disabled("ana", Some(now_ms())).await.unwrap();
    assert!(!house.access.is_still(&by_token).await);
    assert!(house.with(&format!("Bearer {token}")).await.is_err());
    assert_eq!(house.access.check_password(HERE, "ana", PASSWORD).await, None);
    assert_eq!(house.access.check_password(HERE, "", &token).await, None);
}

#[tokio::test]
async fn passwords_are_not_tried_for_ever() {
    let house = house(Required::Auto, "127.0.0.1:8420");
    house.user("ana", Role::Admin).await;
    // Who knows the password is never slowed.
    for _ in 0..12 {
        house.access.by_password(HERE, "ana", PASSWORD).await.unwrap();
    }
    let wrong = async |address: IpAddr| house.access.by_password(address, "ana", "wrong horse").await.unwrap_err();
    // Each takes a while, and meanwhile some more are allowed.
    let mut tries = 0;
    while let Refusal::Wrong(_) = wrong(HERE).await {
        tries += 1;
        assert!(tries < 40, "nothing slows it down");
    }
    assert!(tries >= 10, "{tries}");
    assert!(matches!(house.access.by_password(HERE, "ana", PASSWORD).await, Err(Refusal::Wait(_))));
    assert!(matches!(wrong([192, 0, 2, 1].into()).await, Refusal::Wrong(_)), "others are not touched");
}

#[test]
fn names_of_users_are_plain() {
    for good in ["ana", "Ana.B", "ana@example.org", "7", &"x".repeat(64)] {
        assert!(check_name(good).is_ok(), "{good}");
    }
    for wrong in ["", "-ana", "ana b", "ana/b", "ä", "a\n", &"x".repeat(65), "Tacit", "operator", "anyone"] {
        assert!(check_name(wrong).is_err(), "{wrong:?}");
    }
}
