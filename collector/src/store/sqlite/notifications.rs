//! Notifications: what waits, what arrived, and that nobody is told a state twice.

use rusqlite::types::Type;
use rusqlite::{Connection, Row, Transaction, params};

use super::{Delivery, IncidentId, Notification, StoreError};

/// Notifications that are kept. Older ones go once they wait for nothing and their incident is over.
const KEPT: i64 = 50_000;

fn json(error: &serde_json::Error) -> StoreError {
    StoreError::Database(error.to_string())
}

fn word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Waiting => "waiting",
        Delivery::Sent => "sent",
        Delivery::Failed => "failed",
    }
}

fn record(r: &Row<'_>) -> rusqlite::Result<Notification> {
    let (id, text): (i64, String) = (r.get(0)?, r.get(1)?);
    let wrong = |e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e));
    let mut notification: Notification = serde_json::from_str(&text).map_err(wrong)?;
    notification.id = id;
    notification.body = r.get(2)?;
    Ok(notification)
}

/// Queues notifications and gives those that were not there, with their numbers.
pub fn queue(t: &Transaction<'_>, all: Vec<Notification>) -> Result<Vec<Notification>, StoreError> {
    let mut new = Vec::with_capacity(all.len());
    for mut n in all {
        let data = serde_json::to_string(&n).map_err(|e| json(&e))?;
        let rows = t
            .prepare_cached(
                "INSERT OR IGNORE INTO notification (incident, receiver, state, made, next, delivery, body, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![n.incident, n.receiver, n.state, n.made_ms, n.next_ms, word(n.delivery), n.body, data])?;
        if rows > 0 {
            n.id = t.last_insert_rowid();
            new.push(n);
        }
    }
    if let Some(last) = new.last() {
        forget(t, last.id - KEPT)?;
    }
    Ok(new)
}

/// Forgets those up to a number. What an open incident was told stays, or it would be told again.
fn forget(t: &Transaction<'_>, up_to: i64) -> Result<(), StoreError> {
    t.prepare_cached(
        "DELETE FROM notification WHERE id <= ?1 AND delivery <> 'waiting'
           AND incident NOT IN (SELECT id FROM incident WHERE open = 1)",
    )?
    .execute([up_to])?;
    Ok(())
}

/// Those that are to be tried, the longest due first.
pub fn due(c: &Connection, now_ms: i64, limit: usize) -> Result<Vec<Notification>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT id, data, body FROM notification WHERE delivery = 'waiting' AND next <= ?1 ORDER BY next, id LIMIT ?2",
    )?;
    let rows = statement.query_map(params![now_ms, i64::try_from(limit).unwrap_or(i64::MAX)], record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes what became of a try.
pub fn settle(t: &Transaction<'_>, n: &Notification) -> Result<(), StoreError> {
    let data = serde_json::to_string(n).map_err(|e| json(&e))?;
    let rows = t
        .prepare_cached("UPDATE notification SET next = ?2, delivery = ?3, data = ?4 WHERE id = ?1")?
        .execute(params![n.id, n.next_ms, word(n.delivery), data])?;
    if rows == 0 { Err(StoreError::NotFound(format!("notification {}", n.id))) } else { Ok(()) }
}

/// Notifications, newest first.
pub fn list(c: &Connection, incident: Option<IncidentId>, limit: usize) -> Result<Vec<Notification>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Result<Vec<_>, _> = match incident {
        // The key that keeps states apart finds those of one incident.
        Some(id) => c
            .prepare_cached("SELECT id, data, body FROM notification WHERE incident = ?1 ORDER BY id DESC LIMIT ?2")?
            .query_map([id, limit], record)?
            .collect(),
        None => c
            .prepare_cached("SELECT id, data, body FROM notification ORDER BY id DESC LIMIT ?1")?
            .query_map([limit], record)?
            .collect(),
    };
    Ok(rows?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SqliteStore, Store as _};

    fn notification(receiver: &str, state: &str) -> Notification {
        Notification {
            id: 0,
            incident: 7,
            receiver: receiver.into(),
            state: state.into(),
            body: format!("{receiver} is told {state}"),
            summary: state.into(),
            made_ms: 100,
            next_ms: 100,
            attempts: 0,
            delivery: Delivery::Waiting,
            sent_ms: None,
            error: None,
        }
    }

    fn store() -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("t.db")).unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn a_receiver_is_told_a_state_once() {
        let (_folder, store) = store();
        let first = vec![notification("ops", "opened"), notification("chat", "opened")];
        let new = store.queue_notifications(first.clone()).await.unwrap();
        assert_eq!(new.iter().map(|n| n.id).collect::<Vec<_>>(), [1, 2]);
        let again = [first, vec![notification("ops", "update:1")]].concat();
        let new = store.queue_notifications(again).await.unwrap();
        assert_eq!(new.iter().map(|n| n.state.as_str()).collect::<Vec<_>>(), ["update:1"]);
        let all = store.notifications(Some(7), 10).await.unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0], new[0], "what comes back is what was put in, with its body");
        assert_eq!(all[0].body, "ops is told update:1");
        assert!(store.notifications(Some(8), 10).await.unwrap().is_empty());
        assert_eq!(store.notifications(None, 2).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn what_is_due_waits_until_it_is_settled() {
        let (_folder, store) = store();
        let mut later = notification("ops", "update:1");
        later.next_ms = 200;
        store.queue_notifications(vec![notification("ops", "opened"), later]).await.unwrap();
        let due = store.due_notifications(100, 10).await.unwrap();
        assert_eq!(due.iter().map(|n| n.state.as_str()).collect::<Vec<_>>(), ["opened"]);
        let mut failed = due[0].clone();
        (failed.attempts, failed.next_ms, failed.error) = (1, 300, Some("no answer".into()));
        store.settle_notification(failed).await.unwrap();
        assert_eq!(store.due_notifications(250, 10).await.unwrap()[0].state, "update:1");
        let mut sent = store.due_notifications(300, 10).await.unwrap().remove(1);
        assert_eq!((sent.attempts, sent.error.as_deref()), (1, Some("no answer")));
        (sent.delivery, sent.sent_ms, sent.error) = (Delivery::Sent, Some(301), None);
        store.settle_notification(sent).await.unwrap();
        assert_eq!(store.due_notifications(i64::MAX, 10).await.unwrap().len(), 1);
        assert!(store.due_notifications(i64::MAX, 0).await.unwrap().is_empty());
        let mut stranger = notification("ops", "opened");
        stranger.id = 99;
        assert!(matches!(store.settle_notification(stranger).await, Err(StoreError::NotFound(_))));
    }

    #[test]
    fn the_oldest_go_but_not_what_waits_or_is_open() {
        let mut c = Connection::open_in_memory().unwrap();
        c.execute_batch(include_str!("../migrations/001_first.sql")).unwrap();
        c.execute_batch(
            "CREATE TABLE notification (id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER, receiver TEXT, state TEXT,
                made INTEGER, next INTEGER, delivery TEXT, body TEXT, data TEXT, UNIQUE (incident, receiver, state));
             INSERT INTO incident (id, open, opened, data) VALUES (1, 1, 0, '{}'), (2, 0, 0, '{}');",
        )
        .unwrap();
        let t = c.transaction().unwrap();
        let of = |incident, state: &str, delivery| Notification { incident, delivery, ..notification("ops", state) };
        let all = vec![
            of(1, "opened", Delivery::Sent),
            of(2, "opened", Delivery::Sent),
            of(2, "update:1", Delivery::Waiting),
            of(2, "resolved", Delivery::Failed),
        ];
        queue(&t, all).unwrap();
        forget(&t, 3).unwrap();
        let left: Vec<_> = list(&t, None, 10).unwrap().into_iter().map(|n| (n.incident, n.state)).collect();
        assert_eq!(left, [(2, "resolved".into()), (2, "update:1".into()), (1, "opened".into())]);
    }
}
