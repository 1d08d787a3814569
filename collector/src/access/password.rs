//! Passwords: how they are kept, and how they are compared without holding anything up.
//!
//! Kept as Argon2id (RFC 9106) in the PHC form, with 19 MiB, two passes and one lane, the least that OWASP names; a hash carries
//! its parameters, so they can be raised later without a loss. A comparison costs some ten milliseconds of a core, which is the
//! point. It runs beside the threads that answer, at most two at once (38 MiB), and what waits for them is bounded too: strangers who
//! send passwords can slow signing in, and nothing else.

use std::sync::{Arc, OnceLock};

use argon2::password_hash::SaltString;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version};
use tokio::sync::Semaphore;

use super::secret;

/// Memory in KiB, passes, lanes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Comparisons that run at once.
const AT_ONCE: usize = 2;
/// Comparisons that run or wait; what comes then is refused.
const WAITING: usize = 32;
/// Bytes of a password.
const LEAST: usize = 10;
const MOST: usize = 256;

/// Why a password cannot be taken or compared.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It is too short or too long.
    #[error("the password has {0} bytes: {least} to {most} are allowed", least = LEAST, most = MOST)]
    Length(usize),
    /// Too many are being compared.
    #[error("too many people sign in at this moment")]
    Busy,
    /// It did not work.
    #[error("a password cannot be hashed: {0}")]
    Hash(String),
}

/// Compares and hashes passwords, a bounded number at once.
#[derive(Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(AT_ONCE)), places: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Passwords {
    /// Whether `password` is the one of this hash. Without a hash (there is no such user) it is not, after the same time.
    ///
    /// # Errors
    /// When too many are being compared already.
    pub async fn is_right(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        self.run(move || match hash {
            Some(hash) => Ok(is_of(&password, &hash)),
            None => {
                std::hint::black_box(is_of(&password, nobodys()?));
                Ok(false)
            }
        })
        .await
    }

    /// The hash to keep of a new password.
    ///
    /// # Errors
    /// When it is too short or too long, or too many are being compared.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        check(&password)?;
        self.run(move || hash(&password)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let work = move || {
            let done = work();
            // Held until here: who asked may have gone long before.
            drop((turn, place));
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| PasswordError::Hash(e.to_string()))?
    }
}

/// Whether a password may be taken.
///
/// # Errors
/// When it is too short or too long.
pub fn check(password: &str) -> Result<(), PasswordError> {
    if (LEAST..=MOST).contains(&password.len()) { Ok(()) } else { Err(PasswordError::Length(password.len())) }
}

/// The hash to keep of a password; takes a while.
///
/// # Errors
/// When it is too short or too long, or the system has no random numbers.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    check(password)?;
    let wrong = |e: &dyn std::fmt::Display| PasswordError::Hash(e.to_string());
    let salt = SaltString::encode_b64(&secret::random::<16>().map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    let hash = argon2()?.hash_password(password.as_bytes(), &salt).map_err(|e| wrong(&e))?;
    Ok(hash.to_string())
}

fn argon2() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| PasswordError::Hash(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn is_of(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    // Longer ones are nobody's; the time is that of any other.
    let given = password.as_bytes().get(..MOST.min(password.len())).unwrap_or_default();
    let matches = Argon2::default().verify_password(given, &parsed).is_ok();
    matches && password.len() <= MOST
}

/// A hash whose password nobody has.
fn nobodys() -> Result<&'static str, PasswordError> {
    static HASH: OnceLock<String> = OnceLock::new();
    if let Some(hash) = HASH.get() {
        return Ok(hash);
    }
    let password = secret::make().map_err(|e| PasswordError::Hash(e.to_string()))?;
    let made = hash(&password)?;
    Ok(HASH.get_or_init(|| made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_by_its_hash() {
        let kept = hash("correct horse").unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(!kept.contains("horse"));
        assert!(is_of("correct horse", &kept));
        for wrong in ["correct hors", "correct horse ", "Correct horse", ""] {
            assert!(!is_of(wrong, &kept), "{wrong:?}");
        }
        assert_ne!(hash("correct horse").unwrap(), kept, "each has its own salt");
        for damaged in ["", "x", "$argon2id$v=19$m=19456,t=2,p=1$", "$5$rounds=5000$abc$def"] {
            assert!(!is_of("correct horse", damaged), "{damaged:?}");
        }
    }

    #[test]
    fn the_length_is_bounded() {
        for wrong in ["", "short", "ninebytes", &"x".repeat(257)] {
            let said = hash(wrong).unwrap_err().to_string();
            assert_eq!(said, format!("the password has {} bytes: 10 to 256 are allowed", wrong.len()));
        }
        let longest = "x".repeat(256);
        let kept = hash(&longest).unwrap();
        assert!(is_of(&longest, &kept));
        assert!(!is_of(&"x".repeat(257), &kept));
    }

    #[tokio::test]
    async fn nobody_has_the_password_of_nobody() {
        let passwords = Passwords::default();
        assert!(!passwords.is_right("correct horse".into(), None).await.unwrap());
        let kept = passwords.hash("correct horse".into()).await.unwrap();
        assert!(passwords.is_right("correct horse".into(), Some(kept)).await.unwrap());
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let passwords = Passwords::default();
        let turns = Arc::clone(&passwords.running).acquire_many_owned(AT_ONCE as u32).await.unwrap();
        let places = Arc::clone(&passwords.places).acquire_many_owned(WAITING as u32).await.unwrap();
        let refused = passwords.is_right("correct horse".into(), None).await;
        assert!(matches!(refused, Err(PasswordError::Busy)), "{refused:?}");
        drop((turns, places));
        assert!(passwords.is_right("correct horse".into(), None).await.is_ok());
    }
}
