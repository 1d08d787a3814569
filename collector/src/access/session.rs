//! Sessions of browsers: a random cookie of which only the hash is kept.
//!
//! A session ends so many hours after signing in, whatever happens (`access.session_hours`), and earlier when a quarter of that passes
//! without a request. Signing in always makes a new one and ends the one that the browser had: nobody can be given a session that somebody else
//! knows. The cookie is out of reach of scripts (`HttpOnly`), does not come along with requests that other pages make (`SameSite=Lax`), and
//! under TLS travels under TLS only (`Secure`, and a name that browsers take from nobody else: `__Host-`). Its name holds the port: browsers keep
//! cookies by host alone, and several collectors may be on one.

use axum::http::{HeaderMap, header};

use super::secret::{self, NoRandom};
use crate::store::Session;

const HOUR_MS: i64 = 3_600_000;
/// A session is prolonged in steps of this: not each request is worth a write.
const STEP_MS: i64 = 60_000;
/// Letters of a cookie's value.
const LETTERS: usize = 43;

/// How sessions are made and found.
#[derive(Debug)]
pub struct Sessions {
    cookie: String,
    is_secure: bool,
    life_ms: i64,
    idle_ms: i64,
}

impl Sessions {
    /// Sessions of at most so many hours, of a collector that listens on this port, with TLS or without.
    #[must_use]
    pub fn new(hours: u32, port: u16, is_secure: bool) -> Self {
        let cookie = if is_secure { format!("__Host-tacit-{port}") } else { format!("tacit-{port}") };
        let life_ms = i64::from(hours) * HOUR_MS;
        Self { cookie, is_secure, life_ms, idle_ms: life_ms / 4 }
    }

    /// A new session of a user, and the value of its cookie.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn begin(&self, user: &str, now_ms: i64) -> Result<(Session, String), NoRandom> {
        let value = secret::make()?;
        let session = Session {
            id_hash: secret::hash(&value),
            user: user.to_owned(),
            csrf: secret::make()?,
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(self.idle_ms),
        };
        Ok((session, value))
    }

    /// When a session that is used now ends, if that is worth a write.
    #[must_use]
    pub fn prolonged(&self, session: &Session, now_ms: i64) -> Option<i64> {
        let last = session.created_ms.saturating_add(self.life_ms);
        let end = now_ms.saturating_add(self.idle_ms).min(last);
        (end >= session.expires_ms.saturating_add(STEP_MS) || (end == last && end > session.expires_ms)).then_some(end)
    }

    /// The header that gives a browser its cookie.
    #[must_use]
    pub fn cookie(&self, value: &str) -> String {
        self.header(value, self.life_ms / 1000)
    }

    /// The header that takes it away.
    #[must_use]
    pub fn no_cookie(&self) -> String {
        self.header("", 0)
    }

    fn header(&self, value: &str, seconds: i64) -> String {
        let secure = if self.is_secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", self.cookie)
    }

    /// The hash of the cookie that a request carries.
    #[must_use]
    pub fn shown(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(name, _)| *name == self.cookie)?;
        (value.len() == LETTERS).then(|| secret::hash(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&'static str]) -> HeaderMap {
        cookies.iter().map(|c| (header::COOKIE, axum::http::HeaderValue::from_static(c))).collect()
    }

    #[test]
    fn a_session_has_two_ends() {
        let sessions = Sessions::new(12, 8420, false);
        let (mut session, value) = sessions.begin("ana", 0).unwrap();
        assert_eq!((session.expires_ms, session.id_hash), (3 * HOUR_MS, secret::hash(&value)));
        assert_ne!(session.csrf, value);
        assert_eq!(sessions.prolonged(&session, STEP_MS - 1), None, "not worth a write");
        assert_eq!(sessions.prolonged(&session, STEP_MS), Some(3 * HOUR_MS + STEP_MS));
        session.expires_ms = 11 * HOUR_MS;
        assert_eq!(sessions.prolonged(&session, 10 * HOUR_MS), Some(12 * HOUR_MS), "the last end does not move");
        session.expires_ms = 12 * HOUR_MS;
        assert_eq!(sessions.prolonged(&session, 11 * HOUR_MS), None);
    }

    #[test]
    fn a_cookie_is_for_this_collector_only() {
        let plain = Sessions::new(12, 8420, false);
        assert_eq!(plain.cookie("x"), "tacit-8420=x; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax");
        let secure = Sessions::new(1, 443, true);
        assert_eq!(secure.cookie("x"), "__Host-tacit-443=x; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(secure.no_cookie(), "__Host-tacit-443=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn the_right_cookie_is_found_among_others() {
        const VALUE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let sessions = Sessions::new(12, 8420, false);
        let hash = Some(secret::hash(VALUE));
        assert_eq!(sessions.shown(&headers(&["tacit-8420=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])), hash);
        let among = ["grafana=1; tacit-8421=x", "a=b;tacit-8420=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; c=d"];
        assert_eq!(sessions.shown(&headers(&among)), hash);
        for none in [&[][..], &["tacit-8420="], &["tacit-8420=short"], &["tacit-8420"], &["xtacit-8420=aaaa"]] {
            assert_eq!(sessions.shown(&headers(none)), None, "{none:?}");
        }
    }
}
