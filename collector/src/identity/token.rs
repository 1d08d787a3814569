//! Tokens with which nodes enrol: `tacit1.<id>.<secret>.<pin>`.
//!
//! The number says which token it is, the secret that one has it; only the secret's SHA-256 is kept. The pin is the beginning of the SHA-256 over the
//! root that the node shall trust: it knows from the token alone whether it talks to the right collector.

use crate::access::secret::{self, NoRandom};
use crate::store::KnownEnrollToken;

use super::enrol::Refusal;

/// How a token begins.
const SCHEME: &str = "tacit1";
/// Hexadecimal digits of its number.
const ID: usize = 8;
/// Hexadecimal digits of its pin.
const PIN: usize = 32;
/// Letters of its secret: 32 bytes as base64url without padding.
const SECRET: usize = 43;
/// Longest life of a token.
pub const LIFE_MAX_S: u64 = 90 * 86_400;
/// Most nodes of one token.
pub const USES_MAX: u32 = 100_000;

/// A new token.
#[derive(Debug)]
pub struct Fresh {
    /// Its number.
    pub id: String,
    /// What the node gets; nobody can see it again.
    pub text: String,
    /// What is kept.
    pub secret_hash: [u8; 32],
}

/// The parts of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Its number.
    pub id: &'a str,
    /// The secret.
    pub secret: &'a str,
    /// The beginning of the root's hash.
    pub pin: &'a str,
}

/// Makes a token for nodes that shall trust this root.
///
/// # Errors
/// When the system has no random numbers.
pub fn make(pin: &str) -> Result<Fresh, NoRandom> {
    let id = format!("{:08x}", u32::from_be_bytes(secret::random()?));
    let secret = secret::make()?;
    Ok(Fresh { text: format!("{SCHEME}.{id}.{secret}.{pin}"), secret_hash: secret::hash(&secret), id })
}

/// The parts of a token; `None` when a text is none.
#[must_use]
pub fn parse(text: &str) -> Option<Parts<'_>> {
    let mut parts = text.trim().split('.');
    let (scheme, id, secret, pin) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    let fits =
        scheme == SCHEME && parts.next().is_none() && is_hex(id, ID) && is_hex(pin, PIN) && secret.len() == SECRET;
    fits.then_some(Parts { id, secret, pin })
}

/// Whether who shows this secret has this token.
#[must_use]
pub fn is_right(known: &KnownEnrollToken, secret: &str) -> bool {
    // Hashes are compared: how long that takes tells nothing of the secret.
    known.secret_hash == secret::hash(secret)
}

/// Whether a token still counts at a time.
///
/// # Errors
/// Why it does not.
pub fn check(known: &KnownEnrollToken, now_ms: i64) -> Result<(), Refusal> {
    let token = &known.token;
    if token.revoked_ms.is_some() {
        return Err(Refusal::TokenRevoked);
    }
    if token.expires_ms <= now_ms {
        return Err(Refusal::TokenExpired(token.expires_ms));
    }
    if token.uses_left == 0 { Err(Refusal::TokenUsed) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::EnrollToken;

    const HASH: &str = "0123456789abcdef0123456789abcdef";

    fn known(fresh: &Fresh) -> KnownEnrollToken {
        let token = EnrollToken {
            id: fresh.id.clone(),
            site: "lab".parse().unwrap(),
            uses_left: 1,
            created_ms: 1,
            expires_ms: 100,
            created_by: "ana".into(),
            revoked_ms: None,
            replace: false,
        };
        KnownEnrollToken { token, secret_hash: fresh.secret_hash.to_vec() }
    }

    #[test]
    fn a_token_is_what_was_made() {
        let fresh = make(HASH).unwrap();
        let parts = parse(&fresh.text).unwrap();
        assert_eq!((parts.id, parts.pin, parts.secret.len()), (fresh.id.as_str(), HASH, 43));
        assert_eq!(parse(&format!("  {}\n", fresh.text)), Some(parts), "as it was pasted");
        assert!(is_right(&known(&fresh), parts.secret));
        assert!(!is_right(&known(&fresh), &parts.secret[1..]));
        let secret = parts.secret;
        for wrong in [
            String::new(),
            "tacit1".into(),
            format!("tacit2.00000001.{secret}.{HASH}"),
            format!("tacit1.0000001.{secret}.{HASH}"),
            format!("tacit1.0000000A.{secret}.{HASH}"),
            format!("tacit1.00000001.{secret}"),
            format!("tacit1.00000001.{}.{HASH}", &secret[1..]),
            format!("tacit1.00000001.{secret}.{}", &HASH[1..]),
            format!("tacit1.00000001.{secret}.{HASH}.x"),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn it_ends_in_three_ways() {
        let mut token = known(&make(HASH).unwrap());
        assert!(check(&token, 99).is_ok());
        assert!(matches!(check(&token, 100), Err(Refusal::TokenExpired(100))));
        token.token.uses_left = 0;
        assert!(matches!(check(&token, 99), Err(Refusal::TokenUsed)));
        token.token.revoked_ms = Some(50);
        assert!(matches!(check(&token, 100), Err(Refusal::TokenRevoked)), "that somebody ended it is said first");
    }
}
