//! A table in memory, with indexes that are never late.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use control::table::{
    Condition, Index, Key, Page, Query, Record, SortRange, Table, TableError, Write,
};

#[derive(Default)]
pub(crate) struct MemoryTable(Mutex<BTreeMap<Key, Record>>, Mutex<Cost>);

/// What was asked of the table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Requests that read.
    pub(crate) reads: usize,
    /// Records and keys that they gave.
    pub(crate) read: usize,
    /// Requests that write.
    pub(crate) writes: usize,
    /// Records that they were to write or check.
    pub(crate) written: usize,
}

impl MemoryTable {
    /// The keys of all records.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.0.lock().unwrap().keys().cloned().collect()
    }

    /// What was asked since this was called the last time.
    pub(crate) fn take_cost(&self) -> Cost {
        std::mem::take(&mut self.1.lock().unwrap())
    }

    fn count_read(&self, found: usize) {
        let mut cost = self.1.lock().unwrap();
        cost.reads += 1;
        cost.read += found;
    }
}

fn page<T>(mut all: Vec<(String, T)>, query: &Query) -> Page<T> {
    all.retain(|(sort, _)| match &query.range {
        SortRange::Prefix(prefix) => sort.starts_with(prefix),
        SortRange::Between(from, to) => from <= sort && sort <= to,
    });
    all.sort_by(|a, b| a.0.cmp(&b.0));
    if query.descending {
        all.reverse();
    }
    if let Some(after) = &query.after {
        all.retain(|(sort, _)| if query.descending { sort < after } else { sort > after });
    }
    let more = all.len() > query.limit;
    all.truncate(query.limit);
    let next = all.last().filter(|_| more).map(|(sort, _)| sort.clone());
    Page { items: all.into_iter().map(|(_, item)| item).collect(), next }
}

#[async_trait]
impl Table for MemoryTable {
    async fn get(&self, key: &Key) -> Result<Option<Record>, TableError> {
        let found = self.0.lock().unwrap().get(key).cloned();
        self.count_read(usize::from(found.is_some()));
        Ok(found)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Record>, TableError> {
        let records = self.0.lock().unwrap();
        let found: Vec<Record> = keys.iter().filter_map(|key| records.get(key).cloned()).collect();
        self.count_read(found.len());
        Ok(found)
    }

    async fn query(&self, query: &Query) -> Result<Page<Record>, TableError> {
        let records = self.0.lock().unwrap();
        let found = records.values().filter(|record| record.key.partition == query.partition);
        let found = found.map(|record| (record.key.sort.clone(), record.clone()));
        let page = page(found.collect(), query);
        self.count_read(page.items.len());
        Ok(page)
    }

    async fn query_index(&self, index: Index, query: &Query) -> Result<Page<Key>, TableError> {
        let records = self.0.lock().unwrap();
        let places = records.values().filter_map(|record| {
            let place = match index {
                Index::Listed => record.listed.as_ref()?,
                Index::Waking => record.waking.as_ref()?,
            };
            (place.partition == query.partition).then(|| (place.sort.clone(), record.key.clone()))
        });
        let page = page(places.collect(), query);
        self.count_read(page.items.len());
        Ok(page)
    }

    async fn write(&self, writes: &[Write]) -> Result<(), TableError> {
        // Others get their turn between a read and the write that follows from it.
        tokio::task::yield_now().await;
        {
            let mut cost = self.1.lock().unwrap();
            cost.writes += 1;
            cost.written += writes.len();
        }
        let mut records = self.0.lock().unwrap();
        for write in writes {
            let (Write::Put(_, condition)
            | Write::Delete(_, condition)
            | Write::Check(_, condition)) = write;
            let found = records.get(write.key()).map(|record| record.version);
            let holds = match condition {
                Condition::None => true,
                Condition::Absent => found.is_none(),
                Condition::Exists => found.is_some(),
                Condition::Version(version) => found == Some(*version),
            };
            if !holds {
                return Err(TableError::Conflict(write.key().clone()));
            }
        }
        for write in writes {
            match write {
                Write::Put(record, _) => {
                    records.insert(record.key.clone(), record.clone());
                }
                Write::Delete(key, _) => {
                    records.remove(key);
                }
                Write::Check(..) => {}
            }
        }
        Ok(())
    }
}
