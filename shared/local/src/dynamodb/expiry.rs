//! Removes items whose time is over, as DynamoDB does. The library's own sweep reads every item of a table each time;
//! here an index of SQLite's tells which ones have expired, so that a sweep costs what there is to remove.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dynoxide::{Database, DynoxideError};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use store::attribute::{EXPIRES, PARTITION, SORT};

/// How many items are removed before somebody else has a turn.
pub(super) const PAGE: usize = 50;

/// Why expired items cannot be removed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExpiryError {
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The library.
    #[error(transparent)]
    Library(#[from] DynoxideError),
    /// An item is none.
    #[error(transparent)]
    Item(#[from] serde_json::Error),
}

/// Removes up to [`PAGE`] expired items; how many these were. To be called while nobody else is at the database.
pub(super) fn page(database: &Database, file: &Path) -> Result<usize, ExpiryError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut removed = 0;
    for table in tables(&connection)? {
        for (partition, sort) in expired(&connection, &table, now, PAGE - removed)? {
            let key: Value = json!({
                PARTITION: serde_json::from_str::<Value>(&partition)?,
                SORT: serde_json::from_str::<Value>(&sort)?,
            });
            let delete = json!({ "TableName": table, "Key": key });
            database.delete_item(serde_json::from_value(delete)?)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The tables whose items expire.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut found = connection
        .prepare("SELECT table_name FROM _tables WHERE ttl_enabled = 1 AND ttl_attribute = ?1")?;
    let names = found.query_map([EXPIRES], |row| row.get(0))?;
    names.collect()
}

/// The keys of items that have expired, as the library writes them.
fn expired(
    connection: &Connection,
    table: &str,
    now: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(String, String)>> {
    let name = table.replace('"', "\"\"");
    let at = format!("CAST(json_extract(item_json, '$.{EXPIRES}.N') AS INTEGER)");
    let there = format!("json_extract(item_json, '$.{EXPIRES}.N') IS NOT NULL");
    connection.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS \"{name}::expires\" ON \"{name}\" ({at}) WHERE {there}"
    ))?;
    let mut found = connection.prepare(&format!(
        "SELECT json_extract(item_json, '$.{PARTITION}'), json_extract(item_json, '$.{SORT}') \
         FROM \"{name}\" INDEXED BY \"{name}::expires\" WHERE {there} AND {at} < ?1 LIMIT ?2"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let keys = found.query_map([now, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    keys.collect()
}
