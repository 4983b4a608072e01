//! The table as the use cases see it: records under two-part keys, conditional writes, transactions, two indexes.
//!
//! What the records mean is in [`crate::rows`]; how they are stored is the adapter's affair.

use async_trait::async_trait;
use engine::Timestamp;
use thiserror::Error;

#[cfg(feature = "contract")]
pub mod contract;

/// Most writes of one transaction.
pub const TRANSACTION_MAX: usize = 100;

/// The table. Reads by key are consistent; what an index gives may be late by a moment.
#[async_trait]
pub trait Table: Send + Sync {
    /// The record under `key`.
    async fn get(&self, key: &Key) -> Result<Option<Record>, TableError>;

    /// The records under `keys`, in no particular order; those that do not exist are left out.
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Record>, TableError>;

    /// Records of one partition, whole and consistent.
    async fn query(&self, query: &Query) -> Result<Page<Record>, TableError>;

    /// Keys of the records of one partition of an index.
    async fn query_index(&self, index: Index, query: &Query) -> Result<Page<Key>, TableError>;

    /// Does all of `writes` or, if one condition does not hold, none. At most [`TRANSACTION_MAX`], each on another key.
    async fn write(&self, writes: &[Write]) -> Result<(), TableError>;
}

/// A record's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The partition. The adapter puts account and region before it.
    pub partition: String,
    /// The place in it.
    pub sort: String,
}

impl Key {
    /// A key out of its two parts.
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub key: Key,
    /// The schema of `body`.
    pub schema: u32,
    /// Rises with each write; conditions compare it.
    pub version: u64,
    /// The content as JSON.
    pub body: String,
    /// Its place in [`Index::Listed`].
    pub listed: Option<Key>,
    /// Its place in [`Index::Waking`].
    pub waking: Option<Key>,
    /// When it may be removed.
    pub expires_at: Option<Timestamp>,
    /// Whether its writing wakes a deployment.
    pub wakes: bool,
}

/// The indexes. They hold keys only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Index {
    /// Deployments of a group by creation, revisions of an application by registration, hosts' deployments …
    Listed,
    /// Active deployments by the moment at which they want to be woken.
    Waking,
}

/// A question for the records of one partition, in the order of their sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The partition.
    pub partition: String,
    /// The sort keys that are wanted.
    pub range: SortRange,
    /// Most records of the page.
    pub limit: usize,
    /// Whether the last come first.
    pub descending: bool,
    /// Where the page before ended.
    pub after: Option<String>,
}

/// A range of sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortRange {
    /// Those that begin with this text; the empty one means all.
    Prefix(String),
    /// Those from the first to the second, both included.
    Between(String, String),
}

impl Query {
    /// All of a partition that begins with `prefix`, first `limit` ones.
    pub fn prefix(partition: impl Into<String>, prefix: impl Into<String>, limit: usize) -> Self {
        let range = SortRange::Prefix(prefix.into());
        Self { partition: partition.into(), range, limit, descending: false, after: None }
    }
}

/// A part of the answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found.
    pub items: Vec<T>,
    /// What to ask for the next page with, if there is one: opaque.
    pub next: Option<String>,
}

/// One part of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Puts the record in place of what is there, if the condition holds.
    Put(Record, Condition),
    /// Removes what is there, if the condition holds.
    Delete(Key, Condition),
    /// Only demands that the condition holds.
    Check(Key, Condition),
}

impl Write {
    /// The key that is written or checked.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(record, _) => &record.key,
            Self::Delete(key, _) | Self::Check(key, _) => key,
        }
    }
}

/// What must be there for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    None,
    /// Nothing.
    Absent,
    /// A record of any version.
    Exists,
    /// A record of this version.
    Version(u64),
}

/// Why the table did not do as asked.
#[derive(Debug, Error)]
pub enum TableError {
    /// A condition did not hold, or another transaction was at the same records. Nothing was written.
    #[error("the record `{}` / `{}` was changed meanwhile", .0.partition, .0.sort)]
    Conflict(Key),
    /// The table cannot be reached, or asks to be asked later.
    #[error("the table did not answer; try again")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The table refused the request, which trying again will not change.
    #[error("the table refused the request")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}
