//! What is in the table: the types of its records, their keys, and how they are read and written.
//!
//! Records outlive code. Each type has a schema number; a reader accepts its own and the one before and leaves a newer
//! one alone ([`Error::Newer`]). Golden records in `tests/golden` hold the stored forms still.

mod arrivals;
mod batches;
mod catalog;
mod deployments;
mod gate;
mod hooks;
mod hosts;
mod members;
mod old_hosts;
mod rechecks;
mod shards;
mod transitions;
mod uploads;

pub use arrivals::{ArrivedRow, LaterRow, RosterRow};
pub use batches::{BatchHost, BatchRow, CommandRow, Outcome, OutcomeRow, RefusedBatch};
pub use catalog::{
    Application, ApplicationId, Config, Group, GroupName, IamArn, OnPremises, RegisteredRevision,
    TrafficClaim,
};
pub use deployments::{DeploymentRow, Layout, LogRow, LoggedEvent, SteeringRow, StopRow};
pub use gate::{GateRow, SpecificationRow};
pub use hooks::{HookRow, HookStatus};
pub use hosts::{Before, HostRow, OutOfReach, Transport};
pub use members::MemberRow;
pub use old_hosts::{Kept, OldHostsRow};
pub use rechecks::RecheckRow;
pub use shards::{HostShards, ShardsRow};
pub use transitions::{Direction, ScalingGroupRow, SuspensionRow, TransitionRow, Verdict};
pub use uploads::{Subscription, UnhandledUpload, UploadRow, UploadState};

use engine::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::table::{Condition, Index, Key, Page, Query, Record, Table, Write};

/// A type of record.
pub trait Row: Serialize + DeserializeOwned {
    /// The newest schema. Those before are read as well.
    const SCHEMA: u32 = 1;

    /// The schema that is written, where that depends on what is in the row: what the version before has begun stays readable
    /// for it.
    fn schema(&self) -> u32 {
        Self::SCHEMA
    }

    /// The record's place.
    fn key(&self) -> Key;

    /// Its place in the index of lists.
    fn listed(&self) -> Option<Key> {
        None
    }

    /// Its place in the index of wakes.
    fn waking(&self) -> Option<Key> {
        None
    }

    /// When it may be removed.
    fn expires_at(&self) -> Option<Timestamp> {
        None
    }

    /// Whether its writing wakes a deployment, where the table's stream does so.
    fn wakes(&self) -> bool {
        false
    }
}

/// A row with the version that it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The content.
    pub row: T,
    /// The version of the record.
    pub version: u64,
}

impl<T: Row> Stored<T> {
    /// How many bytes the content is written in.
    pub fn size(&self) -> Result<usize, Error> {
        Ok(record(&self.row, self.version)?.body.len())
    }

    /// The write that replaces the record, if nobody changed it meanwhile.
    pub fn replace(&self) -> Result<Write, Error> {
        let record = record(&self.row, self.version + 1)?;
        Ok(Write::Put(record, Condition::Version(self.version)))
    }

    /// The write that removes the record, if nobody changed it meanwhile.
    pub fn remove(&self) -> Write {
        Write::Delete(self.row.key(), Condition::Version(self.version))
    }

    /// A condition that nobody changed the record meanwhile.
    pub fn unchanged(&self) -> Write {
        Write::Check(self.row.key(), Condition::Version(self.version))
    }
}

/// The write that puts a row where none is.
pub fn create<T: Row>(row: &T) -> Result<Write, Error> {
    Ok(Write::Put(record(row, 1)?, Condition::Absent))
}

/// The write that puts a row where none is, and where one was removed before: the version is one that none of its
/// predecessors had, so that nobody who still holds one of those takes the new row for it.
pub fn create_anew<T: Row>(row: &T, now: Timestamp) -> Result<Write, Error> {
    Ok(Write::Put(record(row, now.0)?, Condition::Absent))
}

/// The write that puts a row whatever is there.
pub fn put<T: Row>(row: &T) -> Result<Write, Error> {
    Ok(Write::Put(record(row, 1)?, Condition::None))
}

fn record<T: Row>(row: &T, version: u64) -> Result<Record, Error> {
    let body = serde_json::to_string(row)
        .map_err(|source| Error::Unreadable { key: row.key(), source })?;
    Ok(Record {
        key: row.key(),
        schema: row.schema(),
        version,
        body,
        listed: row.listed(),
        waking: row.waking(),
        expires_at: row.expires_at(),
        wakes: row.wakes(),
    })
}

/// Reads a record as a row.
///
/// # Errors
/// `Newer` or `Unreadable`.
pub fn read<T: Row>(record: &Record) -> Result<Stored<T>, Error> {
    if record.schema > T::SCHEMA {
        return Err(Error::Newer { key: record.key.clone(), schema: record.schema });
    }
    let row = serde_json::from_str(&record.body);
    let row = row.map_err(|source| Error::Unreadable { key: record.key.clone(), source })?;
    Ok(Stored { row, version: record.version })
}

/// The row under `key`.
pub async fn load<T: Row>(table: &dyn Table, key: &Key) -> Result<Option<Stored<T>>, Error> {
    table.get(key).await?.as_ref().map(read).transpose()
}

/// The rows under `keys`, in the order of `keys`; those that do not exist are left out.
pub async fn load_many<T: Row>(table: &dyn Table, keys: &[Key]) -> Result<Vec<Stored<T>>, Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let records = table.get_many(keys).await?;
    let mut found: std::collections::BTreeMap<&Key, &Record> =
        records.iter().map(|r| (&r.key, r)).collect();
    keys.iter().filter_map(|key| found.remove(key)).map(read).collect()
}

/// Those of the rows under `keys` that can be read. The others keep nobody from these: they are of a newer version, which
/// does what is to be done about them, or whoever needs one of them says what is wrong with it.
pub async fn load_readable<T: Row>(
    table: &dyn Table,
    keys: &[Key],
) -> Result<Vec<Stored<T>>, Error> {
    let records = if keys.is_empty() { Vec::new() } else { table.get_many(keys).await? };
    Ok(records.iter().filter_map(|record| read(record).ok()).collect())
}

/// One page of rows.
pub async fn load_page<T: Row>(table: &dyn Table, query: &Query) -> Result<Page<Stored<T>>, Error> {
    let page = table.query(query).await?;
    let items = page.items.iter().map(read).collect::<Result<_, Error>>()?;
    Ok(Page { items, next: page.next })
}

/// All rows of a query, page after page.
pub async fn load_all<T: Row>(
    table: &dyn Table,
    mut query: Query,
) -> Result<Vec<Stored<T>>, Error> {
    let mut all = Vec::new();
    loop {
        let page = load_page(table, &query).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(all),
        }
    }
}

/// All rows that a query of the index of lists leads to, page after page.
pub async fn load_listed<T: Row>(
    table: &dyn Table,
    mut query: Query,
) -> Result<Vec<Stored<T>>, Error> {
    let mut keys = Vec::new();
    loop {
        let page = table.query_index(Index::Listed, &query).await?;
        keys.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return load_many(table, &keys).await,
        }
    }
}

/// A number as a part of a sort key: as many digits as any has, so that the order of texts is that of numbers.
pub(crate) fn digits(number: u64) -> String {
    format!("{number:020}")
}

/// Whether a flag may be left out, as it was before there was one.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests;
