//! Who may ask the collector what: users, sessions, tokens, and the log of every change.
//!
//! ```text
//! cookie ─────────────→ session ─┐
//! Bearer tacit-api.… ─→ token ───┼→ Me: who, role ─→ the table of roles ─→ handler ─→ log of changes
//! Basic name:password → password ┘
//! ```
//!
//! On loopback without a user everybody may do everything, as everybody on this machine can reach it anyway. From the first user on, and always
//! beyond loopback, whoever asks has to be known (`[access] required = "auto"`). Everything is looked up at each request: a user who is
//! disabled, a token that is revoked and a role that is taken count at once.

pub mod config;
pub mod limits;
pub mod local;
pub mod log;
pub mod me;
pub mod password;
pub mod roles;
pub mod secret;
pub mod session;
pub mod token;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use tokio::sync::watch;

use crate::clock::now_ms;
use crate::store::{KnownToken, Store, StoreError, User};
use config::{AccessConfig, Required};
use limits::{Limits, Rate};
use me::{Me, MySession, Who};
use password::{PasswordError, Passwords};
use roles::Role;
use session::Sessions;

/// Tries to sign in of one address: ten at once, then ten a minute. Those that succeed do not count.
const LOGINS: Rate = Rate { burst: 10, every: Duration::from_secs(6) };
/// Changes of one address: 300 at once, then ten a second.
const CHANGES: Rate = Rate { burst: 300, every: Duration::from_millis(100) };
/// When a token was used last is known to this.
const USED_STEP_MS: i64 = 600_000;
/// Bytes of a user's name.
const NAME_MAX: usize = 64;
/// What the collector calls itself and others in its trails; no user may have these names.
const RESERVED: [&str; 4] = ["tacit", "operator", "anyone", "nobody"];

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What they showed is wrong.
    #[error("{0}")]
    Wrong(&'static str),
    /// Their address tried too often.
    #[error("too many tries from this address: the next in {0} s")]
    Wait(u64),
    /// Too many sign in.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The system has no random numbers.
    #[error(transparent)]
    Random(#[from] secret::NoRandom),
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Knows who asks.
#[derive(Debug)]
pub struct Access {
    store: Arc<dyn Store>,
    required: Required,
    is_beyond_loopback: bool,
    /// There is a user; there always will be.
    has_user: AtomicBool,
    /// How browsers are known.
    pub sessions: Sessions,
    /// Compares passwords.
    pub passwords: Passwords,
    logins: Limits,
    changes: Limits,
    /// Moves when somebody's rights ended: what goes on for long looks again.
    rights: watch::Sender<u64>,
}

impl Access {
    /// Who may ask a collector that listens for people at this address, with TLS or without.
    #[must_use]
    pub fn new(config: &AccessConfig, store: Arc<dyn Store>, http: SocketAddr, has_tls: bool) -> Self {
        Self {
            store,
            required: config.required,
            is_beyond_loopback: !http.ip().is_loopback(),
            has_user: AtomicBool::new(false),
            sessions: Sessions::new(config.session_hours, http.port(), has_tls),
            passwords: Passwords::default(),
            logins: Limits::new(LOGINS),
            changes: Limits::new(CHANGES),
            rights: watch::Sender::new(0),
        }
    }

    /// Whether who asks has to be known.
    ///
    /// # Errors
    /// When the store cannot be asked: then nobody is let in.
    pub async fn is_required(&self) -> Result<bool, StoreError> {
        match self.required {
            Required::Yes => Ok(true),
            Required::No => Ok(false),
            Required::Auto if self.is_beyond_loopback => Ok(true),
            Required::Auto => self.has_user().await,
        }
    }

    /// Whether the first user is still to be made, on the collector's machine: who merely reaches it over HTTP must not be the one to say who
    /// its admin is.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn awaits_first_user(&self) -> Result<bool, StoreError> {
        Ok(self.required != Required::No && !self.has_user().await?)
    }

    async fn has_user(&self) -> Result<bool, StoreError> {
        // The first one is made by another process: see `local`.
        if !self.has_user.load(Ordering::Relaxed) && self.store.any_user().await? {
            self.has_user.store(true, Ordering::Relaxed);
        }
        Ok(self.has_user.load(Ordering::Relaxed))
    }

    /// Who sends a request with these headers; nobody when it shows nothing.
    ///
    /// # Errors
    /// When what it shows is wrong, or was tried too often.
    pub async fn identify(&self, headers: &HeaderMap, address: IpAddr) -> Result<Option<Me>, Refusal> {
        let Some(shown) = headers.get(header::AUTHORIZATION) else { return self.by_cookie(headers).await };
        let (scheme, shown) = shown.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        let shown = shown.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.by_token(shown).await.map(Some);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(Refusal::Wrong("the authorization header is neither Bearer nor Basic"));
        }
        let pair = secret::bytes(shown).and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
            return Err(Refusal::Wrong("the Basic authorization is not a name and a password in base64"));
        };
        // A sender that knows Basic only may have a token as its password.
        if token::parse(password).is_some() {
            return self.by_token(password).await.map(Some);
        }
        let user = self.by_password(address, name, password).await?;
        Ok(Some(Me::user(&user.name, user.role, None)))
    }

    async fn by_cookie(&self, headers: &HeaderMap) -> Result<Option<Me>, Refusal> {
        let Some(id_hash) = self.sessions.shown(headers) else { return Ok(None) };
        let now = now_ms();
        let Some((session, user)) = self.store.session(id_hash, now).await? else { return Ok(None) };
        if user.disabled_ms.is_some() {
            return Ok(None);
        }
        if let Some(end) = self.sessions.prolonged(&session, now) {
            self.store.prolong_session(id_hash, end).await?;
        }
        Ok(Some(Me::user(&user.name, user.role, Some(MySession { id_hash, csrf: session.csrf }))))
    }

    async fn by_token(&self, text: &str) -> Result<Me, Refusal> {
        const WRONG: Refusal = Refusal::Wrong("the token is unknown, over or revoked");
        let (id, secret) = token::parse(text).ok_or(WRONG)?;
        let now = now_ms();
        let known = self.store.token(id).await?.ok_or(WRONG)?;
        let role = token::role(&known, secret, now).ok_or(WRONG)?;
        if known.token.last_used_ms.is_none_or(|used| now.saturating_sub(used) >= USED_STEP_MS) {
            self.store.token_used(id, now).await?;
        }
        Ok(of_token(known, role))
    }

    /// The user with this name and password, who is not disabled.
    ///
    /// # Errors
    /// When there is none, or the address has tried too often.
    pub async fn by_password(&self, address: IpAddr, name: &str, password: &str) -> Result<User, Refusal> {
        self.logins.take(address, Instant::now()).map_err(Refusal::Wait)?;
        let user = self.store.user(name).await?.filter(|user| user.disabled_ms.is_none());
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let is_right = self.passwords.is_right(password.to_owned(), hash).await?;
        let user = user.filter(|_| is_right).ok_or(Refusal::Wrong("name or password is wrong"))?;
        self.logins.give_back(address);
        Ok(user)
    }

    /// What who has this name and password may do, for what is not HTTP; a token serves as a password under any name.
    pub async fn check_password(&self, address: IpAddr, name: &str, password: &str) -> Option<Role> {
        let found = if token::parse(password).is_some() {
            self.by_token(password).await.map(|me| me.role)
        } else {
            self.by_password(address, name, password).await.map(|user| Some(user.role))
        };
        found.inspect_err(|why| tracing::debug!(%why, %address, "Not let in.")).ok().flatten()
    }

    /// Signs somebody in: the user, and the header that gives the browser its cookie. What the browser had before ends.
    ///
    /// # Errors
    /// As [`Access::by_password`].
    pub async fn sign_in(
        &self,
        address: IpAddr,
        (name, password): (&str, &str),
        headers: &HeaderMap,
    ) -> Result<(User, String), Refusal> {
        let user = self.by_password(address, name, password).await?;
        let (session, value) = self.sessions.begin(&user.name, now_ms())?;
        self.store.open_session(session, self.sessions.shown(headers)).await?;
        Ok((user, self.sessions.cookie(&value)))
    }

    /// Takes one change of an address.
    ///
    /// # Errors
    /// When it makes too many: after how many seconds it may go on.
    pub fn take_change(&self, address: IpAddr) -> Result<(), Refusal> {
        self.changes.take(address, Instant::now()).map_err(Refusal::Wait)
    }

    /// Somebody's rights have ended.
    pub fn rights_changed(&self) {
        self.rights.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Sees when somebody's rights end.
    #[must_use]
    pub fn rights(&self) -> watch::Receiver<u64> {
        self.rights.subscribe()
    }

    /// Whether somebody who was let in would be let in now, with the same role.
    pub async fn is_still(&self, me: &Me) -> bool {
        let now = now_ms();
        let found = match (&me.who, &me.session) {
            (Who::Anyone, _) => return !self.is_required().await.unwrap_or(true),
            (Who::Nobody, _) => return true,
            (Who::User(_), Some(session)) => {
                self.store.session(session.id_hash, now).await.map(|found| found.and_then(|(_, user)| may_now(&user)))
            }
            (Who::User(name), None) => self.store.user(name).await.map(|user| user.and_then(|user| may_now(&user))),
            (Who::Token { id, .. }, _) => {
                self.store.token(id).await.map(|known| known.and_then(|known| token::lives(&known, now)))
            }
        };
        found.is_ok_and(|role| role.is_some() && role == me.role)
    }
}

fn may_now(user: &User) -> Option<Role> {
    user.disabled_ms.is_none().then_some(user.role)
}

fn of_token(known: KnownToken, role: Role) -> Me {
    let who = Who::Token { name: known.token.name, id: known.token.id };
    Me { who, role: Some(role), owner: known.token.made_by, session: None }
}

/// Whether a user may have this name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._@-".contains(&b);
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !begins || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
        return Err(format!(
            "{name:?} is no name of a user: write 1 to {NAME_MAX} of a-z, A-Z, 0-9 and . _ @ -, a letter or digit first"
        ));
    }
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("{name:?} is what the collector calls somebody else: choose another name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
