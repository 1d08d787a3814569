//! Opening the database file and bringing its schema up to date.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, events};

/// "TACT": marks the file as ours.
const APPLICATION: i64 = 0x5441_4354;

/// Each is run once, in order; the file's `user_version` says how many were.
pub const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/001_first.sql"),
    include_str!("../migrations/002_event_revision.sql"),
    include_str!("../migrations/003_map.sql"),
    include_str!("../migrations/004_map_spans.sql"),
    include_str!("../migrations/005_incidents.sql"),
    include_str!("../migrations/006_tags.sql"),
    include_str!("../migrations/007_access.sql"),
    include_str!("../migrations/008_event_figures.sql"),
    include_str!("../migrations/009_identity.sql"),
];
/// The version of the schema that has figures of events beside them; what older collectors stored gets them then.
const EVENT_FIGURES: i64 = 8;

/// Opens the file for the writer.
pub fn open(path: &Path) -> Result<Connection, StoreError> {
    let wrong = |e: rusqlite::Error| {
        let text = e.to_string();
        let hint = if text.contains("not a database") || text.contains("malformed") {
            "; it is damaged or not a Tacit database: move it away to begin anew, or restore a copy"
        } else {
            ""
        };
        StoreError::Database(format!("{}: {text}{hint}", path.display()))
    };
    let mut connection = Connection::open(path).map_err(wrong)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(wrong)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(wrong)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0)).map_err(wrong)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0)).map_err(wrong)?;
    if application != APPLICATION && tables > 0 {
        let text = format!("{}: this is another program's database; name another folder", path.display());
        return Err(StoreError::Database(text));
    }
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(wrong)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    connection.pragma_update(None, "application_id", APPLICATION).map_err(wrong)?;
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found.max(0) as usize) {
        let transaction = connection.transaction().map_err(wrong)?;
        transaction.execute_batch(migration).map_err(wrong)?;
        if index as i64 + 1 == EVENT_FIGURES {
            events::fill_figures(&transaction).map_err(wrong)?;
        }
        transaction.pragma_update(None, "user_version", index as i64 + 1).map_err(wrong)?;
        transaction.commit().map_err(wrong)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the file for reading only.
pub fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
