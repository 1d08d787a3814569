//! Tokens to enrol with, and the keys of nodes.

use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use tacit_wire::NodeId;

use super::convert::parse;
use super::{EnrollOutcome, EnrollToken, IdentityStore, KnownEnrollToken, NodeKey, SqliteStore, StoreError};

/// Most tokens that are kept.
const TOKENS_MAX: i64 = 10_000;

const TOKEN: &str = "SELECT id, site, uses_left, created_ms, expires_ms, created_by, revoked_ms, replace, secret_hash FROM enroll_token";
const NODE: &str = "SELECT node, site, spki_hash, serial, not_after_ms, enrolled_ms, revoked_ms, reason FROM node_key";

fn a_token(r: &Row<'_>) -> rusqlite::Result<EnrollToken> {
    Ok(EnrollToken {
        id: r.get(0)?,
        site: parse(r, 1)?,
        uses_left: r.get(2)?,
        created_ms: r.get(3)?,
        expires_ms: r.get(4)?,
        created_by: r.get(5)?,
        revoked_ms: r.get(6)?,
        replace: r.get(7)?,
    })
}

fn a_node(r: &Row<'_>) -> rusqlite::Result<NodeKey> {
    let key: Vec<u8> = r.get(2)?;
    let wrong = |_| rusqlite::Error::FromSqlConversionFailure(2, Type::Blob, "a hash has 32 bytes".into());
    Ok(NodeKey {
        node: parse(r, 0)?,
        site: parse(r, 1)?,
        key: key.try_into().map_err(wrong)?,
        serial: r.get(3)?,
        not_after_ms: r.get(4)?,
        enrolled_ms: r.get(5)?,
        revoked_ms: r.get(6)?,
        reason: r.get(7)?,
    })
}

fn add_token(t: &Transaction<'_>, new: &EnrollToken, secret_hash: [u8; 32]) -> Result<(), StoreError> {
    let there: i64 = t.prepare_cached("SELECT count(*) FROM enroll_token")?.query_row([], |r| r.get(0))?;
    if there >= TOKENS_MAX {
        return Err(StoreError::Conflict(format!("there are {there} tokens to enrol with: that is enough")));
    }
    let added = t
        .prepare_cached(
            "INSERT OR IGNORE INTO enroll_token
             (id, secret_hash, site, uses_left, created_ms, expires_ms, created_by, revoked_ms, replace)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, NULL, ?8)",
        )?
        .execute(params![
            new.id,
            secret_hash,
            new.site.as_str(),
            new.uses_left,
            new.created_ms,
            new.expires_ms,
            new.created_by,
            new.replace
        ])?;
    if added == 0 {
        return Err(StoreError::Conflict(format!("there is a token {} already: try again", new.id)));
    }
    Ok(())
}

fn tokens(c: &Connection) -> Result<Vec<EnrollToken>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{TOKEN} ORDER BY created_ms DESC, id"))?;
    let rows = statement.query_map([], a_token)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn token(c: &Connection, id: &str) -> Result<Option<KnownEnrollToken>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{TOKEN} WHERE id = ?1"))?;
    let known = |r: &Row<'_>| Ok(KnownEnrollToken { token: a_token(r)?, secret_hash: r.get(8)? });
    Ok(statement.query_row([id], known).optional()?)
}

fn revoke_token(t: &Transaction<'_>, id: &str, at_ms: i64) -> Result<EnrollToken, StoreError> {
    let known = token(t, id)?.ok_or_else(|| StoreError::NotFound(format!("enrolment token {id}")))?.token;
    if known.revoked_ms.is_some() {
        return Err(StoreError::Conflict(format!("enrolment token {id} is revoked already")));
    }
    t.prepare_cached("UPDATE enroll_token SET revoked_ms = ?2 WHERE id = ?1")?.execute(params![id, at_ms])?;
    Ok(EnrollToken { revoked_ms: Some(at_ms), ..known })
}

fn node(c: &Connection, node: &NodeId) -> Result<Option<NodeKey>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{NODE} WHERE node = ?1"))?;
    Ok(statement.query_row([node.as_str()], a_node).optional()?)
}

fn nodes(c: &Connection, after: Option<&NodeId>, limit: usize) -> Result<Vec<NodeKey>, StoreError> {
    let mut statement = c.prepare_cached(&format!("{NODE} WHERE node > ?1 ORDER BY node LIMIT ?2"))?;
    let after = after.map_or("", NodeId::as_str);
    let rows = statement.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], a_node)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn put(t: &Transaction<'_>, n: &NodeKey) -> Result<(), StoreError> {
    t.prepare_cached(
        "INSERT OR REPLACE INTO node_key
         (node, site, spki_hash, serial, not_after_ms, enrolled_ms, revoked_ms, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        n.node.as_str(),
        n.site.as_str(),
        n.key,
        n.serial,
        n.not_after_ms,
        n.enrolled_ms,
        n.revoked_ms,
        n.reason
    ])?;
    Ok(())
}

fn enroll(t: &Transaction<'_>, id: &str, new: &NodeKey, now_ms: i64) -> Result<EnrollOutcome, StoreError> {
    let Some(known) = token(t, id)? else { return Ok(EnrollOutcome::NoToken) };
    let there = node(t, &new.node)?;
    if let Some(there) = &there {
        if there.revoked_ms.is_some() && there.key == new.key {
            return Ok(EnrollOutcome::KeyRevoked);
        }
        if there.revoked_ms.is_none() && !known.token.replace {
            return Ok(EnrollOutcome::NodeExists);
        }
    }
    let taken = t
        .prepare_cached(
            "UPDATE enroll_token SET uses_left = uses_left - 1
             WHERE id = ?1 AND uses_left > 0 AND revoked_ms IS NULL AND expires_ms > ?2",
        )?
        .execute(params![id, now_ms])?;
    if taken == 0 {
        return Ok(EnrollOutcome::NoToken);
    }
    put(t, new)?;
    Ok(EnrollOutcome::Done { replaced: there.is_some() })
}

fn renew(t: &Transaction<'_>, n: &NodeKey) -> Result<bool, StoreError> {
    let renewed = t
        .prepare_cached(
            "UPDATE node_key SET serial = ?3, not_after_ms = ?4, enrolled_ms = ?5
             WHERE node = ?1 AND spki_hash = ?2 AND revoked_ms IS NULL",
        )?
        .execute(params![n.node.as_str(), n.key, n.serial, n.not_after_ms, n.enrolled_ms])?;
    Ok(renewed > 0)
}

fn revoke(
    t: &Transaction<'_>,
    name: &NodeId,
    reason: &str,
    at_ms: i64,
    unknown: Option<NodeKey>,
) -> Result<NodeKey, StoreError> {
    let missing = || StoreError::NotFound(format!("an enrolled node {name}"));
    let known = node(t, name)?.or(unknown).ok_or_else(missing)?;
    if known.revoked_ms.is_some() {
        return Err(StoreError::Conflict(format!("node {name} is revoked already")));
    }
    let revoked = NodeKey { revoked_ms: Some(at_ms), reason: Some(reason.to_owned()), ..known };
    put(t, &revoked)?;
    Ok(revoked)
}

/// Forgets tokens that have been over for long.
pub fn retain(t: &Transaction<'_>, before_ms: i64) -> Result<usize, StoreError> {
    Ok(t.execute("DELETE FROM enroll_token WHERE expires_ms < ?1", [before_ms])?)
}

#[async_trait]
impl IdentityStore for SqliteStore {
    async fn add_enroll_token(&self, token: EnrollToken, secret_hash: [u8; 32]) -> Result<(), StoreError> {
        self.write(move |t| add_token(t, &token, secret_hash)).await
    }

    async fn enroll_tokens(&self) -> Result<Vec<EnrollToken>, StoreError> {
        self.read(tokens).await
    }

    async fn enroll_token(&self, id: &str) -> Result<Option<KnownEnrollToken>, StoreError> {
        let id = id.to_owned();
        self.read(move |c| token(c, &id)).await
    }

    async fn revoke_enroll_token(&self, id: &str, at_ms: i64) -> Result<EnrollToken, StoreError> {
        let id = id.to_owned();
        self.write(move |t| revoke_token(t, &id, at_ms)).await
    }

    async fn enroll(&self, token: &str, node: NodeKey, now_ms: i64) -> Result<EnrollOutcome, StoreError> {
        let token = token.to_owned();
        self.write(move |t| enroll(t, &token, &node, now_ms)).await
    }

    async fn renew_node(&self, node: NodeKey) -> Result<bool, StoreError> {
        self.write(move |t| renew(t, &node)).await
    }

    async fn node_key(&self, name: &NodeId) -> Result<Option<NodeKey>, StoreError> {
        let name = name.clone();
        self.read(move |c| node(c, &name)).await
    }

    async fn node_keys(&self, after: Option<&NodeId>, limit: usize) -> Result<Vec<NodeKey>, StoreError> {
        let after = after.cloned();
        self.read(move |c| nodes(c, after.as_ref(), limit)).await
    }

    async fn revoke_node(
        &self,
        node: &NodeId,
        reason: &str,
        at_ms: i64,
        unknown: Option<NodeKey>,
    ) -> Result<NodeKey, StoreError> {
        let (node, reason) = (node.clone(), reason.to_owned());
        self.write(move |t| revoke(t, &node, &reason, at_ms, unknown)).await
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
