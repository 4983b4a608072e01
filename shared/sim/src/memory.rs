//! The table in memory, exact in its conditions, transactions, indexes and pages, with faults on demand.
//!
//! It keeps nothing beyond its own life and removes nothing that expires.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use control::table::{
    Condition, Index, Key, Page, Query, Record, SortRange, TRANSACTION_MAX, Table, TableError,
    Write,
};
use serde_json::{Value, json};
use thiserror::Error;

use crate::random::Random;

/// A table in memory.
#[derive(Debug, Default)]
pub struct MemoryTable {
    state: Mutex<State>,
}

/// How often the table fails, in requests of ten thousand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TableFaults {
    /// A request is not done, and the caller is told that the table did not answer.
    pub unavailable: u32,
    /// A write is done, and the caller is told that the table did not answer.
    pub answer_lost: u32,
    /// A write is not done, as if another transaction were at the same records.
    pub conflict: u32,
}

/// What a record is for, as far as writes are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A deployment's row.
    Deployment,
    /// A host of a deployment.
    Host,
    /// A copy of a deployment's gate.
    Gate,
    /// Output of hooks.
    Log,
    /// A group.
    Group,
    /// Everything else.
    Other,
}

impl Kind {
    pub(crate) fn of(key: &Key) -> Self {
        if key.partition.starts_with("D#") && key.sort == "META" {
            Self::Deployment
        } else if key.partition.starts_with("D#") && key.sort.starts_with("HOST#") {
            Self::Host
        } else if key.partition.starts_with("GATE#") {
            Self::Gate
        } else if key.partition.starts_with("LOG#") {
            Self::Log
        } else if key.partition.starts_with("GROUP#") && key.sort == "GROUP" {
            Self::Group
        } else {
            Self::Other
        }
    }
}

/// What was asked of a table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Requests that read.
    pub reads: usize,
    /// Records and keys that they gave.
    pub read: usize,
    /// Requests that write.
    pub writes: usize,
    /// Records that they were to write or check.
    pub written: usize,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Key, Record>,
    /// The places of records in the indexes, each with the record's key.
    listed: BTreeSet<(Key, Key)>,
    waking: BTreeSet<(Key, Key)>,
    writes: BTreeMap<Kind, u64>,
    transactions: u64,
    asked: Asked,
    faults: TableFaults,
    random: Random,
}

/// Why the table refuses a request.
#[derive(Debug, Error)]
enum Refusal {
    #[error("{0} writes are more than one transaction may have")]
    TooMany(usize),
    #[error("the record `{}` / `{}` is written twice in one transaction", .0.partition, .0.sort)]
    Twice(Key),
    #[error("a page must hold at least one record")]
    EmptyPage,
    #[error("the page token does not belong to this list; begin again without one")]
    ForeignToken,
}

/// The fault that was asked for.
#[derive(Debug, Error)]
#[error("a fault was injected")]
struct Injected;

fn refused(refusal: Refusal) -> TableError {
    TableError::Refused(Box::new(refusal))
}

fn unavailable() -> TableError {
    TableError::Unavailable(Box::new(Injected))
}

impl MemoryTable {
    /// An empty table without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on fails as often as `faults` says, by a random source of this `seed`.
    pub fn inject(&self, faults: TableFaults, seed: u64) {
        let mut state = self.lock();
        state.faults = faults;
        state.random = Random::new(seed);
    }

    /// How many records were put or deleted, by kind. Checks are not counted, nor what did not happen.
    pub fn writes(&self) -> BTreeMap<Kind, u64> {
        self.lock().writes.clone()
    }

    /// Counts writes from now on.
    pub(crate) fn count_anew(&self) {
        self.lock().writes.clear();
    }

    /// How many transactions have happened, whatever their callers were told.
    pub(crate) fn transactions(&self) -> u64 {
        self.lock().transactions
    }

    /// The record under `key`, read past all faults.
    pub fn peek(&self, key: &Key) -> Option<Record> {
        self.lock().records.get(key).cloned()
    }

    /// The keys of all records, in their order.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().records.keys().cloned().collect()
    }

    /// What was asked since this was called the last time.
    pub fn take_asked(&self) -> Asked {
        std::mem::take(&mut self.lock().asked)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<MutexGuard<'_, State>, TableError> {
        let mut state = self.lock();
        let often = state.faults.unavailable;
        if state.random.of_ten_thousand(often) { Err(unavailable()) } else { Ok(state) }
    }
}

impl State {
    fn note_read(&mut self, found: usize) {
        self.asked.reads += 1;
        self.asked.read += found;
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), TableError> {
        check_size(writes)?;
        self.asked.writes += 1;
        self.asked.written += writes.len();
        if self.random.of_ten_thousand(self.faults.unavailable) {
            return Err(unavailable());
        }
        if let Some(broken) = writes.iter().find(|write| !self.holds(write)) {
            return Err(TableError::Conflict(broken.key().clone()));
        }
        if self.random.of_ten_thousand(self.faults.conflict)
            && let Some(write) = self.random.pick(writes)
        {
            return Err(TableError::Conflict(write.key().clone()));
        }
        for write in writes {
            match write {
                Write::Put(record, _) => self.put(record),
                Write::Delete(key, _) => self.remove(key),
                Write::Check(..) => continue,
            }
            *self.writes.entry(Kind::of(write.key())).or_default() += 1;
        }
        self.transactions += 1;
        if self.random.of_ten_thousand(self.faults.answer_lost) {
            return Err(unavailable());
        }
        Ok(())
    }

    fn holds(&self, write: &Write) -> bool {
        let (Write::Put(_, condition) | Write::Delete(_, condition) | Write::Check(_, condition)) =
            write;
        let known = self.records.get(write.key());
        match condition {
            Condition::None => true,
            Condition::Absent => known.is_none(),
            Condition::Exists => known.is_some(),
            Condition::Version(version) => known.is_some_and(|known| known.version == *version),
        }
    }

    fn put(&mut self, record: &Record) {
        self.remove(&record.key);
        if let Some(place) = &record.listed {
            self.listed.insert((place.clone(), record.key.clone()));
        }
        if let Some(place) = &record.waking {
            self.waking.insert((place.clone(), record.key.clone()));
        }
        self.records.insert(record.key.clone(), record.clone());
    }

    fn remove(&mut self, key: &Key) {
        let Some(record) = self.records.remove(key) else { return };
        if let Some(place) = record.listed {
            self.listed.remove(&(place, record.key.clone()));
        }
        if let Some(place) = record.waking {
            self.waking.remove(&(place, record.key));
        }
    }
}

fn check_size(writes: &[Write]) -> Result<(), TableError> {
    if writes.len() > TRANSACTION_MAX {
        return Err(refused(Refusal::TooMany(writes.len())));
    }
    let mut keys = BTreeSet::new();
    match writes.iter().map(Write::key).find(|key| !keys.insert(*key)) {
        Some(twice) => Err(refused(Refusal::Twice(twice.clone()))),
        None => Ok(()),
    }
}

/// Cuts a page out of the places of a partition. `places` are rising pairs of a sort key and a record's key, beginning
/// where the range of `query` may begin.
fn page<'a>(
    places: impl DoubleEndedIterator<Item = (&'a Key, &'a Key)>,
    index: Option<Index>,
    query: &Query,
) -> Result<Page<Key>, TableError> {
    if query.limit == 0 {
        return Err(refused(Refusal::EmptyPage));
    }
    let after = query
        .after
        .as_ref()
        .map(|token| read_token(token, index, query).ok_or(Refusal::ForeignToken));
    let after = after.transpose().map_err(refused)?;
    let wanted = |(place, key): &(&Key, &Key)| {
        let ahead = after.as_ref().is_none_or(|(sort, last)| {
            let (here, there) = ((place.sort.as_str(), *key), (sort.as_str(), last));
            if query.descending { here < there } else { here > there }
        });
        ahead && in_range(&place.sort, &query.range)
    };
    let found: Vec<(&Key, &Key)> = if query.descending {
        places.rev().filter(wanted).take(query.limit).collect()
    } else {
        places.filter(wanted).take(query.limit).collect()
    };
    // Like DynamoDB's, a full page has a next one, even if that turns out to be empty.
    let next = found
        .last()
        .filter(|_| found.len() == query.limit)
        .map(|(place, key)| token(index, place, key));
    Ok(Page { items: found.into_iter().map(|(_, key)| key.clone()).collect(), next })
}

fn in_range(sort: &str, range: &SortRange) -> bool {
    match range {
        SortRange::Prefix(prefix) => sort.starts_with(prefix),
        SortRange::Between(low, high) => low.as_str() <= sort && sort <= high.as_str(),
    }
}

/// The first key that may be in the range of `query`, and the first one after its partition.
fn bounds(query: &Query) -> (Key, Key) {
    let (SortRange::Prefix(first) | SortRange::Between(first, _)) = &query.range;
    (Key::new(&query.partition, first), Key::new(format!("{}\0", query.partition), ""))
}

fn token(index: Option<Index>, place: &Key, key: &Key) -> String {
    json!([name(index), place.partition, place.sort, key.partition, key.sort]).to_string()
}

fn read_token(token: &str, index: Option<Index>, query: &Query) -> Option<(String, Key)> {
    let parts: Value = serde_json::from_str(token).ok()?;
    let part = |at: usize| parts.get(at).and_then(Value::as_str);
    let sort = part(2)?;
    let ours =
        part(0)? == name(index) && part(1)? == query.partition && in_range(sort, &query.range);
    ours.then_some((sort.to_owned(), Key::new(part(3)?, part(4)?)))
}

fn name(index: Option<Index>) -> &'static str {
    match index {
        None => "table",
        Some(Index::Listed) => "listed",
        Some(Index::Waking) => "waking",
    }
}

#[async_trait]
impl Table for MemoryTable {
    async fn get(&self, key: &Key) -> Result<Option<Record>, TableError> {
        let mut state = self.read()?;
        let found = state.records.get(key).cloned();
        state.note_read(usize::from(found.is_some()));
        Ok(found)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Record>, TableError> {
        let mut state = self.read()?;
        let distinct: BTreeSet<&Key> = keys.iter().collect();
        // In another order than they were asked for, because nobody may rely on that one.
        let found = distinct.into_iter().rev().filter_map(|key| state.records.get(key).cloned());
        let found: Vec<Record> = found.collect();
        state.note_read(found.len());
        Ok(found)
    }

    async fn query(&self, query: &Query) -> Result<Page<Record>, TableError> {
        let mut state = self.read()?;
        let (first, end) = bounds(query);
        let places = state.records.range(first..end).map(|(key, _)| (key, key));
        let page = page(places, None, query)?;
        let items = page.items.iter().filter_map(|key| state.records.get(key).cloned());
        let items: Vec<Record> = items.collect();
        state.note_read(items.len());
        Ok(Page { items, next: page.next })
    }

    async fn query_index(&self, index: Index, query: &Query) -> Result<Page<Key>, TableError> {
        let mut state = self.read()?;
        let (first, end) = bounds(query);
        let places = match index {
            Index::Listed => &state.listed,
            Index::Waking => &state.waking,
        };
        let lowest = || Key::new("", "");
        let places = places.range((first, lowest())..(end, lowest()));
        let page = page(places.map(|(place, key)| (place, key)), Some(index), query)?;
        state.note_read(page.items.len());
        Ok(page)
    }

    async fn write(&self, writes: &[Write]) -> Result<(), TableError> {
        self.lock().write(writes)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn put(sort: &str, condition: Condition) -> [Write; 1] {
        let record = Record {
            key: Key::new("D#d-AAAAAAAAA", sort),
            schema: 1,
            version: 1,
            body: "{}".to_owned(),
            listed: None,
            waking: None,
            expires_at: None,
            wakes: false,
        };
        [Write::Put(record, condition)]
    }

    #[test]
    fn the_table_in_memory_keeps_the_contract_of_tables() {
        block_on(control::table::contract::check_table(&MemoryTable::new()));
    }

    #[test]
    fn a_write_whose_answer_is_lost_has_happened() {
        let table = MemoryTable::new();
        table.inject(TableFaults { answer_lost: 10_000, ..TableFaults::default() }, 1);
        let outcome = block_on(table.write(&put("META", Condition::Absent)));
        assert!(matches!(outcome, Err(TableError::Unavailable(_))), "{outcome:?}");
        assert_eq!(table.writes(), BTreeMap::from([(Kind::Deployment, 1)]));
        assert!(table.peek(&Key::new("D#d-AAAAAAAAA", "META")).is_some());
    }

    #[test]
    fn a_write_that_is_refused_by_a_fault_has_not_happened() {
        for faults in [
            TableFaults { unavailable: 10_000, ..TableFaults::default() },
            TableFaults { conflict: 10_000, ..TableFaults::default() },
        ] {
            let table = MemoryTable::new();
            table.inject(faults, 1);
            assert!(block_on(table.write(&put("HOST#000001", Condition::None))).is_err());
            assert_eq!(table.writes(), BTreeMap::new());
            assert!(table.peek(&Key::new("D#d-AAAAAAAAA", "HOST#000001")).is_none());
        }
    }
}
