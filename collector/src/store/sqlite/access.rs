//! Users, API tokens, sessions and the log of changes.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::convert::parse;
use super::{AccessLine, AccessStore, ApiToken, KnownToken, Role, Session, SqliteStore, StoreError, User};

/// Most users, and most tokens that are in force.
const USERS_MAX: i64 = 1000;
const TOKENS_MAX: i64 = 1000;
/// Sessions of one user: with one more the oldest ends.
const SESSIONS_MAX: i64 = 20;
/// Lines of the log that are kept.
const LOG_ROWS: i64 = 200_000;

const USER: &str = "SELECT name, role, password_hash, created_ms, disabled_ms FROM user";
const TOKEN: &str =
    "SELECT id, name, role, made_by, created_ms, expires_ms, revoked_ms, last_used_ms, secret_hash FROM api_token";

fn a_user(r: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        name: r.get(0)?,
        role: parse(r, 1)?,
        password_hash: r.get(2)?,
        created_ms: r.get(3)?,
        disabled_ms: r.get(4)?,
    })
}

fn a_token(r: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        id: r.get(0)?,
        name: r.get(1)?,
        role: parse(r, 2)?,
        made_by: r.get(3)?,
        created_ms: r.get(4)?,
        expires_ms: r.get(5)?,
        revoked_ms: r.get(6)?,
        last_used_ms: r.get(7)?,
    })
}

fn user(c: &Connection, name: &str) -> Result<Option<User>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{USER} WHERE name = ?1"))?;
    Ok(statement.query_row([name], a_user).optional()?)
}

fn known_user(c: &Connection, name: &str) -> Result<User, StoreError> {
    user(c, name)?.ok_or_else(|| StoreError::NotFound(format!("user {name}")))
}

fn any_user(c: &Connection) -> Result<bool, StoreError> {
    Ok(c.prepare_cached("SELECT 1 FROM user LIMIT 1")?.exists([])?)
}

fn users(c: &Connection) -> Result<Vec<User>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{USER} ORDER BY name"))?;
    let rows = statement.query_map([], a_user)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn add_user(t: &Transaction<'_>, new: &User) -> Result<(), StoreError> {
    if user(t, &new.name)?.is_some() {
        return Err(StoreError::Conflict(format!("there is a user {} already", new.name)));
    }
    let there: i64 = t.prepare_cached("SELECT count(*) FROM user")?.query_row([], |r| r.get(0))?;
    if there >= USERS_MAX {
        return Err(StoreError::Conflict(format!("there are {USERS_MAX} users already, and that is the most")));
    }
    t.prepare_cached(
        "INSERT INTO user (name, role, password_hash, created_ms, disabled_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![new.name, new.role.as_str(), new.password_hash, new.created_ms, new.disabled_ms])?;
    Ok(())
}

/// Refuses to take the rights of the last admin: nobody could give them back but the command line of the collector's machine.
fn others_rule(t: &Transaction<'_>, user: &User) -> Result<(), StoreError> {
    if user.role != Role::Admin || user.disabled_ms.is_some() {
        return Ok(());
    }
    let others = t
        .prepare_cached("SELECT 1 FROM user WHERE role = 'admin' AND disabled_ms IS NULL AND name <> ?1 LIMIT 1")?
        .exists([&user.name])?;
    if others {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("{} is the last admin: make another one first", user.name)))
}

fn set_role(t: &Transaction<'_>, name: &str, role: Role) -> Result<User, StoreError> {
    let known = known_user(t, name)?;
    if role != Role::Admin {
        others_rule(t, &known)?;
    }
    t.prepare_cached("UPDATE user SET role = ?2 WHERE name = ?1")?.execute(params![name, role.as_str()])?;
    Ok(User { role, ..known })
}

fn set_disabled(t: &Transaction<'_>, name: &str, since_ms: Option<i64>) -> Result<User, StoreError> {
    let known = known_user(t, name)?;
    if known.disabled_ms.is_some() == since_ms.is_some() {
        let state = if since_ms.is_some() { "disabled" } else { "enabled" };
        return Err(StoreError::Conflict(format!("user {name} is {state} already")));
    }
    if since_ms.is_some() {
        others_rule(t, &known)?;
    }
    t.prepare_cached("UPDATE user SET disabled_ms = ?2 WHERE name = ?1")?.execute(params![name, since_ms])?;
    end_sessions_of(t, name)?;
    Ok(User { disabled_ms: since_ms, ..known })
}

fn set_password(t: &Transaction<'_>, name: &str, hash: String) -> Result<User, StoreError> {
    let known = known_user(t, name)?;
    t.prepare_cached("UPDATE user SET password_hash = ?2 WHERE name = ?1")?.execute(params![name, hash])?;
    end_sessions_of(t, name)?;
    Ok(User { password_hash: hash, ..known })
}

fn end_sessions_of(t: &Transaction<'_>, name: &str) -> Result<(), StoreError> {
    t.prepare_cached("DELETE FROM session WHERE user = ?1")?.execute([name])?;
    Ok(())
}

fn open_session(t: &Transaction<'_>, new: &Session, before: Option<[u8; 32]>) -> Result<(), StoreError> {
    if let Some(before) = before {
        end_session(t, before)?;
    }
    t.prepare_cached("DELETE FROM session WHERE expires_ms <= ?1")?.execute([new.created_ms])?;
    t.prepare_cached(
        "DELETE FROM session WHERE user = ?1 AND id_hash NOT IN
           (SELECT id_hash FROM session WHERE user = ?1 ORDER BY created_ms DESC LIMIT ?2)",
    )?
    .execute(params![new.user, SESSIONS_MAX - 1])?;
    t.prepare_cached("INSERT INTO session (id_hash, user, csrf, created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![new.id_hash, new.user, new.csrf, new.created_ms, new.expires_ms])?;
    Ok(())
}

fn session(c: &Connection, id_hash: [u8; 32], now_ms: i64) -> Result<Option<(Session, User)>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT user, csrf, created_ms, expires_ms FROM session WHERE id_hash = ?1 AND expires_ms > ?2",
    )?;
    let found = statement.query_row(params![id_hash, now_ms], |r| {
        Ok(Session { id_hash, user: r.get(0)?, csrf: r.get(1)?, created_ms: r.get(2)?, expires_ms: r.get(3)? })
    });
    let Some(session) = found.optional()? else { return Ok(None) };
    Ok(user(c, &session.user)?.map(|user| (session, user)))
}

fn end_session(t: &Transaction<'_>, id_hash: [u8; 32]) -> Result<(), StoreError> {
    t.prepare_cached("DELETE FROM session WHERE id_hash = ?1")?.execute(params![id_hash])?;
    Ok(())
}

fn add_token(t: &Transaction<'_>, new: &ApiToken, secret_hash: [u8; 32]) -> Result<(), StoreError> {
    let there: i64 = t
        .prepare_cached(
            "SELECT count(*) FROM api_token WHERE revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > ?1)",
        )?
        .query_row([new.created_ms], |r| r.get(0))?;
    if there >= TOKENS_MAX {
        let words = format!("{TOKENS_MAX} tokens are in force already, and that is the most: revoke some");
        return Err(StoreError::Conflict(words));
    }
    let added = t
        .prepare_cached(
            "INSERT OR IGNORE INTO api_token (id, name, role, made_by, created_ms, expires_ms, secret_hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            new.id,
            new.name,
            new.role.as_str(),
            new.made_by,
            new.created_ms,
            new.expires_ms,
            secret_hash
        ])?;
    if added == 0 {
        return Err(StoreError::Conflict(format!("there is a token {} already: try again", new.id)));
    }
    Ok(())
}

fn tokens(c: &Connection) -> Result<Vec<ApiToken>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{TOKEN} ORDER BY created_ms DESC, id"))?;
    let rows = statement.query_map([], a_token)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn token(c: &Connection, id: &str) -> Result<Option<KnownToken>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{TOKEN} WHERE id = ?1"))?;
    let found = statement.query_row([id], |r| Ok((a_token(r)?, r.get::<_, Vec<u8>>(8)?))).optional()?;
    let Some((token, secret_hash)) = found else { return Ok(None) };
    let maker = token.made_by.as_deref().map(|name| user(c, name)).transpose()?.flatten();
    Ok(Some(KnownToken { token, secret_hash, maker }))
}

fn revoke_token(t: &Transaction<'_>, id: &str, at_ms: i64) -> Result<ApiToken, StoreError> {
    let known = token(t, id)?.ok_or_else(|| StoreError::NotFound(format!("token {id}")))?.token;
    if known.revoked_ms.is_some() {
        return Err(StoreError::Conflict(format!("token {id} is revoked already")));
    }
    t.prepare_cached("UPDATE api_token SET revoked_ms = ?2 WHERE id = ?1")?.execute(params![id, at_ms])?;
    Ok(ApiToken { revoked_ms: Some(at_ms), ..known })
}

fn append(t: &Transaction<'_>, line: &AccessLine) -> Result<(), StoreError> {
    t.prepare_cached(
        "INSERT INTO access_log (at_ms, who, role, address, method, path, status) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![line.at_ms, line.who, line.role, line.address, line.method, line.path, line.status])?;
    let newest = t.last_insert_rowid();
    t.prepare_cached("DELETE FROM access_log WHERE n <= ?1")?.execute([newest - LOG_ROWS])?;
    Ok(())
}

fn log(c: &Connection, before: Option<i64>, limit: usize) -> Result<Vec<AccessLine>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT n, at_ms, who, role, address, method, path, status FROM access_log WHERE n < ?1 ORDER BY n DESC LIMIT ?2",
    )?;
    let rows = statement.query_map(params![before.unwrap_or(i64::MAX), limit as i64], |r| {
        Ok(AccessLine {
            n: r.get(0)?,
            at_ms: r.get(1)?,
            who: r.get(2)?,
            role: r.get(3)?,
            address: r.get(4)?,
            method: r.get(5)?,
            path: r.get(6)?,
            status: r.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets sessions that are over, and tokens that have been for long.
pub fn retain(t: &Transaction<'_>, now_ms: i64, tokens_before_ms: i64) -> Result<usize, StoreError> {
    let sessions = t.execute("DELETE FROM session WHERE expires_ms <= ?1", [now_ms])?;
    let tokens = t.execute("DELETE FROM api_token WHERE revoked_ms < ?1 OR expires_ms < ?1", [tokens_before_ms])?;
    Ok(sessions + tokens)
}

#[async_trait]
impl AccessStore for SqliteStore {
    async fn any_user(&self) -> Result<bool, StoreError> {
        self.read(any_user).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read(users).await
    }

    async fn user(&self, name: &str) -> Result<Option<User>, StoreError> {
        let name = name.to_owned();
        self.read(move |c| user(c, &name)).await
    }

    async fn add_user(&self, user: User) -> Result<(), StoreError> {
        self.write(move |t| add_user(t, &user)).await
    }

    async fn set_role(&self, name: &str, role: Role) -> Result<User, StoreError> {
        let name = name.to_owned();
        self.write(move |t| set_role(t, &name, role)).await
    }

    async fn set_disabled(&self, name: &str, since_ms: Option<i64>) -> Result<User, StoreError> {
        let name = name.to_owned();
        self.write(move |t| set_disabled(t, &name, since_ms)).await
    }

    async fn set_password(&self, name: &str, hash: String) -> Result<User, StoreError> {
        let name = name.to_owned();
        self.write(move |t| set_password(t, &name, hash)).await
    }

    async fn open_session(&self, session: Session, before: Option<[u8; 32]>) -> Result<(), StoreError> {
        self.write(move |t| open_session(t, &session, before)).await
    }

    async fn session(&self, id_hash: [u8; 32], now_ms: i64) -> Result<Option<(Session, User)>, StoreError> {
        self.read(move |c| session(c, id_hash, now_ms)).await
    }

    async fn prolong_session(&self, id_hash: [u8; 32], expires_ms: i64) -> Result<(), StoreError> {
        self.write(move |t| {
            t.prepare_cached("UPDATE session SET expires_ms = ?2 WHERE id_hash = ?1 AND expires_ms < ?2")?
                .execute(params![id_hash, expires_ms])?;
            Ok(())
        })
        .await
    }

    async fn end_session(&self, id_hash: [u8; 32]) -> Result<(), StoreError> {
        self.write(move |t| end_session(t, id_hash)).await
    }

    async fn add_token(&self, token: ApiToken, secret_hash: [u8; 32]) -> Result<(), StoreError> {
        self.write(move |t| add_token(t, &token, secret_hash)).await
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, StoreError> {
        self.read(tokens).await
    }

    async fn token(&self, id: &str) -> Result<Option<KnownToken>, StoreError> {
        let id = id.to_owned();
        self.read(move |c| token(c, &id)).await
    }

    async fn revoke_token(&self, id: &str, at_ms: i64) -> Result<ApiToken, StoreError> {
        let id = id.to_owned();
        self.write(move |t| revoke_token(t, &id, at_ms)).await
    }

    async fn token_used(&self, id: &str, at_ms: i64) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |t| {
            t.prepare_cached("UPDATE api_token SET last_used_ms = ?2 WHERE id = ?1")?.execute(params![id, at_ms])?;
            Ok(())
        })
        .await
    }

    async fn append_access(&self, line: AccessLine) -> Result<(), StoreError> {
        self.write(move |t| append(t, &line)).await
    }

    async fn access_log(&self, before: Option<i64>, limit: usize) -> Result<Vec<AccessLine>, StoreError> {
        self.read(move |c| log(c, before, limit)).await
    }
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
