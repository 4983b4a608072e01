//! Ends the streams that earlier versions gave a home's table. Nobody ever read them, so their records were kept for
//! ever, with each item before and after each change, and every write looked through all of them for the last number.

use std::path::Path;

use dynoxide::Database;
use dynoxide::actions::create_table::StreamSpecification;
use dynoxide::actions::list_tables::ListTablesRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use rusqlite::{Connection, OpenFlags};

/// Lets no table record its changes any more.
pub(super) fn end(database: &Database) -> dynoxide::Result<()> {
    for table_name in database.list_tables(ListTablesRequest::default())?.table_names {
        let off = StreamSpecification { stream_enabled: false, stream_view_type: None };
        database.update_table(UpdateTableRequest {
            table_name,
            stream_specification: Some(off),
            ..UpdateTableRequest::default()
        })?;
    }
    Ok(())
}

/// Removes what was recorded, and gives the room back to the file system. The library has no call for it.
pub(super) fn forget(file: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let count: i64 =
        connection.query_row("SELECT COUNT(*) FROM _stream_records", [], |row| row.get(0))?;
    if count > 0 {
        connection.execute_batch("DELETE FROM _stream_records; VACUUM")?;
        tracing::debug!(count, "removed old stream records");
    }
    Ok(())
}
