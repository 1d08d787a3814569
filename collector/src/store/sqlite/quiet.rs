//! Silences and windows. Each is kept as the JSON that the API gives, beside the time at which it is over.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rankings;
use super::{Silence, StoreError, TrailEntry, Window};

/// Most silences, and most windows, that are not over.
const SILENCES_MAX: i64 = 1000;
const WINDOWS_MAX: i64 = 200;
/// Of those that are over, so many of the newest numbers are kept; the trail has more.
const KEPT: i64 = 2000;
/// How exactly it is known when a window was used last: what it mutes is looked at every few seconds.
const USED_STEP_MS: i64 = 60_000;

fn read<T: DeserializeOwned>(r: &Row<'_>) -> rusqlite::Result<(i64, T)> {
    let text: String = r.get(1)?;
    let value = serde_json::from_str(&text)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, Box::new(e)))?;
    Ok((r.get(0)?, value))
}

fn a_silence(r: &Row<'_>) -> rusqlite::Result<Silence> {
    let (id, silence) = read::<Silence>(r)?;
    Ok(Silence { id, ..silence })
}

fn a_window(r: &Row<'_>) -> rusqlite::Result<Window> {
    let (id, window) = read::<Window>(r)?;
    Ok(Window { id, ..window })
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Database(e.to_string()))
}

/// A table of this file: its name, the column of the time at which a row is over, what is in it, and how many may be in force.
struct Table {
    name: &'static str,
    over: &'static str,
    word: &'static str,
    most: i64,
}

const SILENCE: Table = Table { name: "silence", over: "ends", word: "silence", most: SILENCES_MAX };
const RECURRING: Table = Table { name: "recurring", over: "expires", word: "window", most: WINDOWS_MAX };

impl Table {
    /// Writes a new row, unless too many are in force, and gives its number.
    fn insert(&self, t: &Transaction<'_>, over_ms: i64, data: &str, now_ms: i64) -> Result<i64, StoreError> {
        let Self { name, over, word, most } = self;
        let there: i64 = t
            .prepare_cached(&format!("SELECT count(*) FROM {name} WHERE {over} > ?1"))?
            .query_row([now_ms], |r| r.get(0))?;
        if there >= *most {
            return Err(StoreError::Conflict(format!(
                "{most} {word}s are in force already, and that is the most: end some, or make one of several"
            )));
        }
        t.prepare_cached(&format!("INSERT INTO {name} ({over}, data) VALUES (?1, ?2)"))?
            .execute(params![over_ms, data])?;
        let id = t.last_insert_rowid();
        t.prepare_cached(&format!("DELETE FROM {name} WHERE id <= ?1 AND {over} <= ?2"))?
            .execute(params![id.saturating_sub(KEPT), now_ms])?;
        Ok(id)
    }

    fn update(&self, t: &Transaction<'_>, id: i64, over_ms: i64, data: &str) -> Result<(), StoreError> {
        let Self { name, over, .. } = self;
        t.prepare_cached(&format!("UPDATE {name} SET {over} = ?2, data = ?3 WHERE id = ?1"))?
            .execute(params![id, over_ms, data])?;
        Ok(())
    }

    /// One row; whoever changes it reads it in the same transaction.
    fn one<T>(
        &self,
        c: &Connection,
        id: i64,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = c.prepare_cached(&format!("SELECT id, data FROM {} WHERE id = ?1", self.name))?;
        Ok(statement.query_row([id], row).optional()?)
    }

    /// Rows that are not over at a time, or all, newest first.
    fn list<T>(
        &self,
        c: &Connection,
        not_over_at: Option<i64>,
        row: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let Self { name, over, .. } = self;
        let mut statement =
            c.prepare_cached(&format!("SELECT id, data FROM {name} WHERE ?1 IS NULL OR {over} > ?1 ORDER BY id DESC"))?;
        let rows = statement.query_map([not_over_at], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn missing(&self, id: i64) -> StoreError {
        StoreError::NotFound(format!("{} {id}", self.word))
    }

    fn ended(&self, id: i64) -> StoreError {
        StoreError::Conflict(format!("somebody has ended {} {id} already", self.word))
    }
}

/// Writes a silence and a line of the trail. What was ended stays so.
pub fn save_silence(t: &Transaction<'_>, mut silence: Silence, mut trail: TrailEntry) -> Result<Silence, StoreError> {
    if silence.id == 0 {
        silence.id = SILENCE.insert(t, silence.until_ms(), &text(&silence)?, trail.at_ms)?;
        trail.subject = format!("silence {}", silence.id);
    } else {
        let known = SILENCE.one(t, silence.id, a_silence)?.ok_or_else(|| SILENCE.missing(silence.id))?;
        if known.ended_ms.is_some() {
            return Err(SILENCE.ended(silence.id));
        }
        SILENCE.update(t, silence.id, silence.until_ms(), &text(&silence)?)?;
    }
    rankings::append(t, &trail)?;
    Ok(silence)
}

/// Silences, newest first.
pub fn silences(c: &Connection, not_over_at: Option<i64>) -> Result<Vec<Silence>, StoreError> {
    SILENCE.list(c, not_over_at, a_silence)
}

/// One silence.
pub fn silence(c: &Connection, id: i64) -> Result<Option<Silence>, StoreError> {
    SILENCE.one(c, id, a_silence)
}

/// Writes a window and a line of the trail. What was ended stays so, and when it muted something last is not forgotten.
pub fn save_window(t: &Transaction<'_>, mut window: Window, mut trail: TrailEntry) -> Result<Window, StoreError> {
    if window.id == 0 {
        window.id = RECURRING.insert(t, window.until_ms(), &text(&window)?, trail.at_ms)?;
        trail.subject = format!("window {}", window.id);
    } else {
        let known = RECURRING.one(t, window.id, a_window)?.ok_or_else(|| RECURRING.missing(window.id))?;
        if known.ended_ms.is_some() {
            return Err(RECURRING.ended(window.id));
        }
        window.used_ms = window.used_ms.max(known.used_ms);
        RECURRING.update(t, window.id, window.until_ms(), &text(&window)?)?;
    }
    rankings::append(t, &trail)?;
    Ok(window)
}

/// Notes when something was muted by a window last, to a minute; one that is not kept any more is no matter.
pub fn window_used(t: &Transaction<'_>, id: i64, at_ms: i64) -> Result<(), StoreError> {
    let Some(mut window) = RECURRING.one(t, id, a_window)? else { return Ok(()) };
    if window.used_ms.is_none_or(|used| at_ms.saturating_sub(used) >= USED_STEP_MS) {
        window.used_ms = Some(at_ms);
        RECURRING.update(t, id, window.until_ms(), &text(&window)?)?;
    }
    Ok(())
}

/// Windows, newest first.
pub fn windows(c: &Connection, not_over_at: Option<i64>) -> Result<Vec<Window>, StoreError> {
    RECURRING.list(c, not_over_at, a_window)
}

/// One window.
pub fn window(c: &Connection, id: i64) -> Result<Option<Window>, StoreError> {
    RECURRING.one(c, id, a_window)
}

#[cfg(test)]
mod tests {
    use super::super::{SqliteStore, Store as _, WindowDays, schema};
    use super::*;

    fn store() -> (tempfile::TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("tacit.db")).unwrap();
        (folder, store)
    }

    fn block<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn a_line(action: &str, subject: &str, at_ms: i64) -> TrailEntry {
        TrailEntry { at_ms, actor: "ana".into(), action: action.into(), subject: subject.into(), note: None }
    }

    fn a_new_silence() -> Silence {
        Silence {
            id: 0,
            matchers: vec!["node=web-1".parse().unwrap(), "family=~disk*".parse().unwrap()],
            starts_ms: 10,
            ends_ms: 100,
            actor: "ana".into(),
            reason: "a new disk".into(),
            made_ms: 10,
            ended_ms: None,
        }
    }

    fn a_new_window() -> Window {
        Window {
            id: 0,
            name: "backup".into(),
            matchers: vec!["node=~db-*".parse().unwrap()],
            days: WindowDays::Monthly(vec![1, -1]),
            at: "02:00".into(),
            minutes: 60,
            zone: "Europe/Berlin".into(),
            owner: "ana".into(),
            reason: "reads all disks".into(),
            made_ms: 10,
            expires_ms: 1000,
            ended_ms: None,
            used_ms: None,
        }
    }

    #[test]
    fn a_silence_is_kept_until_its_end_and_its_trail_for_longer() {
        let (_folder, store) = store();
        block(async {
            let made = store.save_silence(a_new_silence(), a_line("silence-made", "", 10)).await.unwrap();
            assert_eq!(made, Silence { id: 1, ..a_new_silence() });
            let other = store.save_silence(a_new_silence(), a_line("silence-made", "", 11)).await.unwrap();
            assert_eq!(store.silence(1).await.unwrap().as_ref(), Some(&made));
            assert_eq!(store.silences(Some(99)).await.unwrap(), [other.clone(), made.clone()]);
            assert!(store.silences(Some(100)).await.unwrap().is_empty());

            let ended = Silence { ended_ms: Some(50), ..made };
            let end = || store.save_silence(ended.clone(), a_line("silence-ended", "silence 1", 50));
            assert_eq!(end().await.unwrap(), ended);
            assert_eq!(store.silences(Some(50)).await.unwrap(), std::slice::from_ref(&other));
            assert_eq!(store.silences(None).await.unwrap(), [other, ended.clone()]);
            // Who was slower does not end it again, and leaves no line.
            assert!(end().await.unwrap_err().to_string().contains("ended silence 1 already"));
            let unknown = Silence { id: 9, ..a_new_silence() };
            assert!(matches!(store.save_silence(unknown, a_line("", "", 0)).await, Err(StoreError::NotFound(_))));

            let trail = store.trail(10).await.unwrap();
            let said: Vec<_> = trail.iter().map(|e| (e.action.as_str(), e.subject.as_str())).collect();
            let expected =
                [("silence-ended", "silence 1"), ("silence-made", "silence 2"), ("silence-made", "silence 1")];
            assert_eq!(said, expected);
        });
    }

    #[test]
    fn a_window_remembers_when_it_was_used() {
        let (_folder, store) = store();
        block(async {
            let made = store.save_window(a_new_window(), a_line("window-made", "", 10)).await.unwrap();
            assert_eq!(made, Window { id: 1, ..a_new_window() });
            for at_ms in [60_000, 40_000, 119_999] {
                store.window_used(1, at_ms).await.unwrap();
            }
            store.window_used(9, 60_000).await.unwrap();
            assert_eq!(store.window(1).await.unwrap().unwrap().used_ms, Some(60_000));
            // As read before it was used.
            let ended = Window { ended_ms: Some(70), ..made };
            let saved = store.save_window(ended.clone(), a_line("window-ended", "window 1", 70)).await.unwrap();
            assert_eq!(saved, Window { used_ms: Some(60_000), ..ended });
            assert_eq!(
                (store.windows(Some(69)).await.unwrap().len(), store.windows(Some(70)).await.unwrap()),
                (1, vec![])
            );
            assert_eq!(store.windows(None).await.unwrap(), std::slice::from_ref(&saved));
            assert!(store.save_window(saved, a_line("window-ended", "window 1", 71)).await.is_err());
            // Late news of its use neither opens it again nor is lost.
            store.window_used(1, 120_000).await.unwrap();
            let last = store.window(1).await.unwrap().unwrap();
            assert_eq!((last.used_ms, last.ended_ms), (Some(120_000), Some(70)));
        });
    }

    #[test]
    fn only_so_many_are_in_force_and_only_so_many_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = schema::open(&folder.path().join("tacit.db")).unwrap();
        // One transaction: a thousand commits would take long.
        let t = connection.transaction().unwrap();
        let add = |now_ms: i64, ends_ms: i64| {
            save_silence(&t, Silence { ends_ms, ..a_new_silence() }, a_line("silence-made", "", now_ms))
        };
        for _ in 0..SILENCES_MAX {
            add(10, 100).unwrap();
        }
        let refused = add(99, 200).unwrap_err();
        assert!(matches!(&refused, StoreError::Conflict(said) if said.contains("end some")), "{refused}");
        for _ in 0..SILENCES_MAX {
            add(100, 200).unwrap();
        }
        assert_eq!((silences(&t, None).unwrap().len(), silences(&t, Some(100)).unwrap().len()), (2000, 1000));
        assert_eq!(add(200, 300).unwrap().id, 2001);
        assert_eq!((silences(&t, None).unwrap().len(), silence(&t, 1).unwrap()), (2000, None));

        for _ in 0..WINDOWS_MAX {
            save_window(&t, a_new_window(), a_line("window-made", "", 10)).unwrap();
        }
        assert!(save_window(&t, a_new_window(), a_line("window-made", "", 10)).is_err());
    }
}
