//! What the table's work costs as `DynamoDB` counts it: per item and per partition key, indexes included, in each virtual
//! second. One partition takes 1,000 units written and 3,000 read a second, and an item no more.
//!
//! A unit written is up to 1 KB, a unit read consistently up to 4 KB, and half of that otherwise. In a transaction each
//! counts twice, conditions as writes.

use std::collections::BTreeMap;

use control::table::{Index, Key, Record, Write};

use crate::memory::Kind;

/// Bytes of a stored item beside its keys and its body: the names of its attributes, its schema and its version.
const ATTRIBUTES: usize = 80;

/// Bytes of an entry of an index: its own key and the item's.
const ENTRY: usize = 200;

/// Units that something took within one second.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Second {
    /// Written.
    pub written: f64,
    /// Read.
    pub read: f64,
}

/// The busiest second of what was busiest.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Hottest {
    /// The units, and what took them.
    pub written: (f64, String),
    /// The units, and what took them.
    pub read: (f64, String),
}

impl Hottest {
    fn take(&mut self, name: &str, second: Second) {
        if second.written > self.written.0 {
            self.written = (second.written, name.to_owned());
        }
        if second.read > self.read.0 {
            self.read = (second.read, name.to_owned());
        }
    }
}

/// What a simulation has cost the table.
#[derive(Debug, Default, Clone)]
pub struct Units {
    second: u64,
    items: BTreeMap<String, Second>,
    partitions: BTreeMap<String, Second>,
    /// The busiest item.
    pub item: Hottest,
    /// The busiest partition key, of the table or of an index.
    pub partition: Hottest,
    /// All units.
    pub total: Second,
    /// The size of the largest item in bytes, and its key.
    pub largest: (usize, String),
    /// How many items were written, by kind.
    pub writes: BTreeMap<Kind, u64>,
    /// How many commits of deployments' rows were not done because somebody else had changed what they rested on, and how many
    /// were.
    pub conflicts: (u64, u64),
}

fn name_of(key: &Key) -> String {
    format!("{} / {}", key.partition, key.sort)
}

/// The size of a stored record in bytes.
pub(crate) fn size_of(record: &Record) -> usize {
    let key = |key: &Key| key.partition.len() + key.sort.len();
    let places = [&record.listed, &record.waking].into_iter().flatten().map(key).sum::<usize>();
    key(&record.key) + places + record.body.len() + ATTRIBUTES
}

/// Whether these writes are a commit of a deployment's row.
fn is_commit(writes: &[(Write, Option<Record>)]) -> bool {
    let is_row = |write: &Write| Kind::of(write.key()) == Kind::Deployment;
    writes.iter().any(|(write, _)| matches!(write, Write::Put(..)) && is_row(write))
}

fn units(bytes: usize, of: usize) -> f64 {
    f64::from(u32::try_from(bytes.div_ceil(of).max(1)).unwrap_or(u32::MAX))
}

impl Units {
    /// Begins another second, if it is one.
    pub(crate) fn at(&mut self, now_ms: u64) {
        let second = now_ms / 1_000;
        if second != self.second {
            self.close();
            self.second = second;
        }
    }

    /// Ends the second that runs.
    pub(crate) fn close(&mut self) {
        for (name, second) in std::mem::take(&mut self.items) {
            self.item.take(&name, second);
        }
        for (name, second) in std::mem::take(&mut self.partitions) {
            self.partition.take(&name, second);
        }
    }

    fn add(&mut self, item: Option<String>, partition: String, more: Second) {
        let add = |to: &mut Second| {
            to.written += more.written;
            to.read += more.read;
        };
        if let Some(item) = item {
            add(self.items.entry(item).or_default());
        }
        add(self.partitions.entry(partition).or_default());
        add(&mut self.total);
    }

    /// Records were read by their keys.
    pub(crate) fn got<'a>(&mut self, keys: impl Iterator<Item = (&'a Key, Option<&'a Record>)>) {
        for (key, record) in keys {
            let read = units(record.map_or(0, size_of), 4_096);
            let second = Second { read, written: 0.0 };
            self.add(Some(name_of(key)), key.partition.clone(), second);
        }
    }

    /// Records of a partition were read together.
    pub(crate) fn queried(&mut self, partition: &str, records: &[Record]) {
        let read = units(records.iter().map(size_of).sum(), 4_096);
        self.add(None, partition.to_owned(), Second { read, written: 0.0 });
    }

    /// Entries of an index were read together, as they were a moment ago.
    pub(crate) fn queried_index(&mut self, index: Index, partition: &str, entries: usize) {
        let read = units(entries * ENTRY, 4_096) / 2.0;
        self.add(None, format!("{index:?} {partition}"), Second { read, written: 0.0 });
    }

    /// Records were written together. `before` is what was there.
    pub(crate) fn wrote(&mut self, writes: &[(Write, Option<Record>)]) {
        self.conflicts.1 += u64::from(is_commit(writes));
        self.take_written(writes);
        for (write, before) in writes {
            let record = match write {
                Write::Put(record, _) => Some(record),
                Write::Delete(..) | Write::Check(..) => None,
            };
            let key = write.key();
            if let Some(record) = record
                && size_of(record) > self.largest.0
            {
                self.largest = (size_of(record), name_of(key));
            }
            if !matches!(write, Write::Check(..)) {
                *self.writes.entry(Kind::of(key)).or_default() += 1;
                self.index(Index::Listed, before.as_ref(), record, |record| record.listed.as_ref());
                self.index(Index::Waking, before.as_ref(), record, |record| record.waking.as_ref());
            }
        }
    }

    /// A place in an index that is left costs a unit, and so does one that is taken.
    fn index(
        &mut self,
        index: Index,
        before: Option<&Record>,
        after: Option<&Record>,
        place: fn(&Record) -> Option<&Key>,
    ) {
        let (before, after) = (before.and_then(place), after.and_then(place));
        if before == after {
            return;
        }
        for key in [before, after].into_iter().flatten() {
            let partition = format!("{index:?} {}", key.partition);
            self.add(None, partition, Second { written: 1.0, read: 0.0 });
        }
    }

    /// Writes were not done, because somebody else had changed what they rest on. They cost what they would have cost.
    pub(crate) fn conflicted(&mut self, writes: &[(Write, Option<Record>)]) {
        self.conflicts.0 += u64::from(is_commit(writes));
        self.take_written(writes);
    }

    fn take_written(&mut self, writes: &[(Write, Option<Record>)]) {
        let times = if writes.len() > 1 { 2.0 } else { 1.0 };
        for (write, before) in writes {
            let before_bytes = before.as_ref().map_or(0, size_of);
            let bytes = match write {
                Write::Put(record, _) => size_of(record).max(before_bytes),
                Write::Delete(..) | Write::Check(..) => before_bytes,
            };
            let (key, written) = (write.key(), units(bytes, 1_024) * times);
            self.add(Some(name_of(key)), key.partition.clone(), Second { written, read: 0.0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use control::table::Condition;

    use super::*;

    fn record(sort: &str, bytes: usize, waking: Option<&str>) -> Record {
        Record {
            key: Key::new("D", sort),
            schema: 1,
            version: 1,
            body: "x".repeat(bytes),
            listed: None,
            waking: waking.map(|at| Key::new("ACTIVE", at)),
            expires_at: None,
            wakes: false,
        }
    }

    #[test]
    fn units_are_counted_as_the_service_counts_them() {
        let mut units = Units::default();
        units.at(1_000);
        let put = |record: Record| (Write::Put(record, Condition::None), None);
        units.wrote(&[put(record("a", 100, None))]);
        assert_eq!(units.total.written, 1.0, "up to 1 KB is one unit");
        units.wrote(&[put(record("a", 1_500, None)), put(record("b", 10, None))]);
        assert_eq!(units.total.written, 1.0 + 2.0 * 3.0, "twice in a transaction");
        let was = record("b", 10, Some("1"));
        units.wrote(&[(Write::Put(record("b", 10, Some("2")), Condition::None), Some(was))]);
        assert_eq!(units.total.written, 8.0 + 2.0, "a place that is left, and one that is taken");
        let big = record("a", 9_000, None);
        units.got([(&big.key, Some(&big)), (&Key::new("D", "none"), None)].into_iter());
        assert_eq!(units.total.read, 3.0 + 1.0, "what is not there costs a unit");
        units.queried_index(Index::Waking, "ACTIVE", 10);
        assert_eq!(units.total.read, 4.5, "half of it where it may be late");
        units.at(2_000);
        assert_eq!(units.partition.written, (8.0, "D".to_owned()));
        assert_eq!(units.item.written, (5.0, "D / a".to_owned()));
        assert_eq!(units.largest.1, "D / a");
    }
}
