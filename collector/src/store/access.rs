//! Who may ask the collector, as it is kept: users, API tokens, sessions of browsers, and the log of every change.
//!
//! Secrets are not here: of a password there is its argon2 hash, of a token and of a session the SHA-256 of what only its holder has.

use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StoreError;

/// What somebody may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything but users, tokens and the log of changes.
    Viewer,
    /// Acts on incidents, silences, windows, changes and nodes.
    Operator,
    /// Makes users and tokens, and reads the log of changes.
    Admin,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The role in a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: write viewer, operator or admin")]
pub struct NoRole(pub String);

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(word: &str) -> Result<Self, NoRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == word).ok_or_else(|| NoRole(word.to_owned()))
    }
}

/// Somebody who signs in with a password. A user is disabled, never removed: the log names them for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The password's hash with its parameters; in no answer.
    #[serde(skip)]
    pub password_hash: String,
    /// When they were made, Unix milliseconds.
    pub created_ms: i64,
    /// Since when they may do nothing, Unix milliseconds.
    pub disabled_ms: Option<i64>,
}

/// A key for programs, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApiToken {
    /// Its number, eight hexadecimal digits.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do; never more than who made it.
    pub role: Role,
    /// The user who made it: it ends with them. None when it was made on the collector's machine.
    pub made_by: Option<String>,
    /// When it was made, Unix milliseconds.
    pub created_ms: i64,
    /// When it ends, Unix milliseconds.
    pub expires_ms: Option<i64>,
    /// When somebody ended it, Unix milliseconds.
    pub revoked_ms: Option<i64>,
    /// When it was used last, to some minutes, Unix milliseconds.
    pub last_used_ms: Option<i64>,
}

/// A token as it is looked up when somebody shows one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownToken {
    /// The token.
    pub token: ApiToken,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
    /// Who made it, as they are now.
    pub maker: Option<User>,
}

/// A browser that somebody signed in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub id_hash: [u8; 32],
    /// Who.
    pub user: String,
    /// What a change from this browser must carry.
    pub csrf: String,
    /// When they signed in, Unix milliseconds.
    pub created_ms: i64,
    /// When it ends unless it is used before, Unix milliseconds.
    pub expires_ms: i64,
}

/// A line of the log of changes; never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessLine {
    /// Number; 0 before it is stored.
    pub n: i64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Who: a user's name, `token NAME (ID)`, `anyone` where nobody has to sign in, `-` for who was not known.
    pub who: String,
    /// With which role; `-` for none.
    pub role: String,
    /// From where: an address, or `local` for the collector's own command line.
    pub address: String,
    /// How.
    pub method: String,
    /// On what.
    pub path: String,
    /// What the answer was.
    pub status: u16,
}

/// The part of the store about who may ask.
#[async_trait]
pub trait AccessStore: Send + Sync {
    /// Whether there is a user, disabled ones too.
    async fn any_user(&self) -> Result<bool, StoreError>;

    /// All users, by name.
    async fn users(&self) -> Result<Vec<User>, StoreError>;

    /// One user.
    async fn user(&self, name: &str) -> Result<Option<User>, StoreError>;

    /// Adds a user; a name that is taken, by a disabled user too, is a conflict.
    async fn add_user(&self, user: User) -> Result<(), StoreError>;

    /// Gives a user a role. The last admin who is not disabled stays one.
    async fn set_role(&self, name: &str, role: Role) -> Result<User, StoreError>;

    /// Disables a user since a time, or enables them again; their sessions end. The last admin stays.
    async fn set_disabled(&self, name: &str, since_ms: Option<i64>) -> Result<User, StoreError>;

    /// Gives a user a password by its hash; their sessions end.
    async fn set_password(&self, name: &str, hash: String) -> Result<User, StoreError>;

    /// Keeps a session and forgets the one that the browser had before, what is over, and the oldest beyond a bound of the user.
    async fn open_session(&self, session: Session, before: Option<[u8; 32]>) -> Result<(), StoreError>;

    /// A session that is not over at a time, and its user.
    async fn session(&self, id_hash: [u8; 32], now_ms: i64) -> Result<Option<(Session, User)>, StoreError>;

    /// Lets a session end later.
    async fn prolong_session(&self, id_hash: [u8; 32], expires_ms: i64) -> Result<(), StoreError>;

    /// Ends a session.
    async fn end_session(&self, id_hash: [u8; 32]) -> Result<(), StoreError>;

    /// Adds a token by the hash of its secret.
    async fn add_token(&self, token: ApiToken, secret_hash: [u8; 32]) -> Result<(), StoreError>;

    /// All tokens, newest first.
    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError>;

    /// One token.
    async fn token(&self, id: &str) -> Result<Option<KnownToken>, StoreError>;

    /// Ends a token; one that is ended already is a conflict.
    async fn revoke_token(&self, id: &str, at_ms: i64) -> Result<ApiToken, StoreError>;

    /// Notes when a token was used last.
    async fn token_used(&self, id: &str, at_ms: i64) -> Result<(), StoreError>;

    /// Appends to the log of changes; the oldest of a bounded number is forgotten.
    async fn append_access(&self, line: AccessLine) -> Result<(), StoreError>;

    /// The log of changes, newest first, of numbers below `before`.
    async fn access_log(&self, before: Option<i64>, limit: usize) -> Result<Vec<AccessLine>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_read() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        let wrong = "Admin".parse::<Role>().unwrap_err().to_string();
        assert_eq!(wrong, "\"Admin\" is no role: write viewer, operator or admin");
    }

    #[test]
    fn no_answer_holds_the_hash_of_a_password() {
        let hash = "$argon2id$secret".to_owned();
        let user =
            User { name: "ana".into(), role: Role::Admin, password_hash: hash, created_ms: 1, disabled_ms: None };
        let text = serde_json::to_string(&user).unwrap();
        assert_eq!(text, r#"{"name":"ana","role":"admin","created_ms":1,"disabled_ms":null}"#);
    }
}
