//! API tokens: keys for programs, `tacit-api.<id>.<secret>`.
//!
//! The number says which token it is, the secret that one has it; only the secret's SHA-256 is kept. A token can do what its role says, never
//! more than who made it may now, and ends with them.

use super::secret::{self, NoRandom};
use crate::store::{KnownToken, Role};

/// How a token begins.
const SCHEME: &str = "tacit-api";
/// Bytes of a token's name.
const NAME_MAX: usize = 64;
/// Longest life of a token that has an end.
pub const LIFE_MAX_S: u64 = 3650 * 86_400;

/// A new token.
#[derive(Debug)]
pub struct Fresh {
    /// Its number.
    pub id: String,
    /// What its holder gets; nobody can see it again.
    pub text: String,
    /// What is kept.
    pub secret_hash: [u8; 32],
}

/// Makes a token.
///
/// # Errors
/// When the system has no random numbers.
pub fn make() -> Result<Fresh, NoRandom> {
    let id = format!("{:08x}", u32::from_be_bytes(secret::random()?));
    let secret = secret::make()?;
    Ok(Fresh { text: format!("{SCHEME}.{id}.{secret}"), secret_hash: secret::hash(&secret), id })
}

/// The number of a token and its secret; `None` when a text is none.
#[must_use]
pub fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(SCHEME)?.strip_prefix('.')?.split_once('.')?;
    let is_number = id.len() == 8 && id.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    (is_number && !secret.is_empty()).then_some((id, secret))
}

/// What who shows this secret of a token may do at a time; nothing when it is wrong, or the token has ended by itself or with its maker.
#[must_use]
pub fn role(known: &KnownToken, secret: &str, now_ms: i64) -> Option<Role> {
    let is_right = known.secret_hash == secret::hash(secret);
    if is_right { lives(known, now_ms) } else { None }
}

/// What a token may do at a time, when it has not ended.
#[must_use]
pub fn lives(known: &KnownToken, now_ms: i64) -> Option<Role> {
    let token = &known.token;
    if token.revoked_ms.is_some() || token.expires_ms.is_some_and(|end| end <= now_ms) {
        return None;
    }
    match (&token.made_by, &known.maker) {
        (None, _) => Some(token.role),
        (Some(_), Some(maker)) if maker.disabled_ms.is_none() => Some(token.role.min(maker.role)),
        (Some(_), _) => None,
    }
}

/// Whether a token may have this name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let hidden = name.chars().any(char::is_control) || crate::map::names::plain(name) != name;
    if name.trim().is_empty() || name.len() > NAME_MAX || hidden {
        return Err(format!("a token's name says what it is for, in one line of 1 to {NAME_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ApiToken, User};

    fn known(made_by: Option<&str>, maker: Option<User>) -> (KnownToken, String) {
        let fresh = make().unwrap();
        let token = ApiToken {
            id: fresh.id,
            name: "ci".into(),
            role: Role::Operator,
            made_by: made_by.map(str::to_owned),
            created_ms: 1,
            expires_ms: Some(100),
            revoked_ms: None,
            last_used_ms: None,
        };
        let secret = parse(&fresh.text).unwrap().1.to_owned();
        (KnownToken { token, secret_hash: fresh.secret_hash.to_vec(), maker }, secret)
    }

    fn ana(role: Role, disabled_ms: Option<i64>) -> Option<User> {
        Some(User { name: "ana".into(), role, password_hash: String::new(), created_ms: 1, disabled_ms })
    }

    #[test]
    fn a_token_is_what_was_made() {
        let fresh = make().unwrap();
        let (id, secret) = parse(&fresh.text).unwrap();
        assert_eq!((id, secret.len()), (fresh.id.as_str(), 43));
        assert_eq!(secret::hash(secret), fresh.secret_hash);
        for wrong in [
            "",
            "tacit-api",
            "tacit-api.",
            "tacit-api.00000001",
            "tacit-api.00000001.",
            "tacit-api.0000000A.x",
            "tacit-api.000001.x",
            "tacit1.00000001.x",
            "tacit-api00000001.x",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn it_ends_with_its_time_and_its_maker() {
        let (mut alone, secret) = known(None, None);
        assert_eq!(role(&alone, &secret, 99), Some(Role::Operator));
        assert_eq!(role(&alone, &secret, 100), None);
        assert_eq!(role(&alone, &secret[1..], 99), None);
        assert_eq!(role(&alone, "", 99), None);
        alone.token.revoked_ms = Some(50);
        assert_eq!(role(&alone, &secret, 10), None);

        for (maker, expected) in [
            (ana(Role::Admin, None), Some(Role::Operator)),
            (ana(Role::Viewer, None), Some(Role::Viewer)),
            (ana(Role::Admin, Some(5)), None),
            (None, None),
        ] {
            let (made, secret) = known(Some("ana"), maker.clone());
            assert_eq!(role(&made, &secret, 99), expected, "{maker:?}");
        }
    }

    #[test]
    fn a_name_is_a_line() {
        for good in ["ci", "Prometheus in Graz", "ü"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for wrong in ["", "  ", "a\nb", "a\u{202e}b", &"x".repeat(65)] {
            assert!(check_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
