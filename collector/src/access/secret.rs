//! Random secrets, their hashes, and the letters in which they travel.

use tacit_wire::Digest;

/// Bytes of a secret: nobody guesses one, so a plain hash is enough to keep it by.
const BYTES: usize = 32;

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub struct NoRandom(String);

/// A new secret: 32 random bytes as 43 letters.
///
/// # Errors
/// When the system has no random numbers.
pub fn make() -> Result<String, NoRandom> {
    Ok(letters(&random::<BYTES>()?))
}

/// Random bytes.
///
/// # Errors
/// When the system has no random numbers.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| NoRandom(e.to_string()))?;
    Ok(bytes)
}

/// What is kept of a secret.
#[must_use]
pub fn hash(secret: &str) -> [u8; 32] {
    Digest::of(secret.as_bytes()).0
}

/// Whether two secrets are the same. Their hashes are compared: how long that takes tells nothing of them.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    hash(one) == hash(other)
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Bytes as base64url without padding.
fn letters(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let part = |n: usize| u32::from(three.get(n).copied().unwrap_or(0));
        let word = part(0) << 16 | part(1) << 8 | part(2);
        for n in 0..=three.len() {
            out.push(char::from(LETTERS[(word >> (18 - 6 * n)) as usize & 63]));
        }
    }
    out
}

/// The bytes of a text in base64, with or without its padding, as HTTP's Basic scheme has it; `None` when it is none.
#[must_use]
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let value = |letter: &u8| match letter {
        b'+' => Some(62),
        b'/' => Some(63),
        other => LETTERS.iter().position(|l| l == other).and_then(|n| u32::try_from(n).ok()),
    };
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for four in text.chunks(4) {
        let values: Vec<u32> = four.iter().map(value).collect::<Option<_>>()?;
        if values.len() == 1 {
            return None;
        }
        let word = values.iter().enumerate().fold(0, |word, (n, v)| word | v << (18 - 6 * n));
        for n in 0..values.len() - 1 {
            out.push((word >> (16 - 8 * n) & 255) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_back() {
        for (raw, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (b"fooba", "Zm9vYmE"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff], "-_8"),
        ] {
            assert_eq!(letters(raw), text);
            assert_eq!(bytes(text).as_deref(), Some(raw));
        }
        assert_eq!(bytes("Zm8=").as_deref(), Some(&b"fo"[..]));
        assert_eq!(bytes("+/8=").as_deref(), Some(&[0xfb, 0xff][..]));
        for wrong in ["Z", "Zm9vY", "Z m8", "Zm8\n", "é", "Zg=a"] {
            assert_eq!(bytes(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn no_secret_is_like_another() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
        assert!(same(&one, &one) && !same(&one, &other) && !same(&one, ""));
        assert_ne!(random::<4>().unwrap(), random::<4>().unwrap());
    }
}
