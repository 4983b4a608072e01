//! Servers of the version before, which run beside those of this one until they are replaced. They are this version's code
//! behind a table that shows them, and takes from them, what a version without members knew.

use control::table::{Record, Write};
use serde_json::Value;

use crate::members;
use crate::random::Random;

/// When each of the servers is replaced, in milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade {
    pub(crate) at: [u64; 3],
    /// Whether groups were made by the version before, too.
    pub(crate) has_old_groups: bool,
}

impl Upgrade {
    /// Every fourth world begins with servers of the version before. Its chance is its own, so that worlds stay what they
    /// are otherwise.
    pub(crate) fn by_chance(seed: u64, lasts_ms: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x0075_7067_7261_6465);
        if !random.of_ten_thousand(2_500) {
            return None;
        }
        let has_old_groups = random.of_ten_thousand(8_000);
        Some(Self { at: [0; 3].map(|_| random.between(0, lasts_ms)), has_old_groups })
    }
}

/// What the version before called the newest schema, of those rows that have a newer one now.
fn newest_before(record: &Record) -> Option<u32> {
    let sort = record.key.sort.as_str();
    let is_of_deployment = record.key.partition.starts_with("D#");
    (is_of_deployment && (sort == "META" || sort.starts_with("HOST#"))).then_some(2)
}

/// A record without what the version before does not know.
fn without_news(mut record: Record) -> Record {
    if let Ok(Value::Object(mut fields)) = serde_json::from_str(&record.body) {
        let news = ["keepsMembers", "membersSince", "generation", "installs"];
        let removed = news.iter().filter(|name| fields.remove(**name).is_some()).count();
        if removed > 0 {
            record.body = Value::Object(fields).to_string();
        }
    }
    record
}

/// A record as a server of the version before sees it: of a newer schema, or without what it does not know.
pub(crate) fn seen(mut record: Record) -> Record {
    if newest_before(&record).is_some_and(|newest| record.schema > newest) {
        record.schema = u32::MAX;
        return record;
    }
    if record.key.sort == "GROUP" { without_news(record) } else { record }
}

/// What a server of the version before writes.
pub(crate) fn written(writes: &[Write]) -> Vec<Write> {
    let ours = writes.iter().filter(|write| !members::is_at(write.key())).cloned();
    ours.map(|write| match write {
        Write::Put(record, condition) => {
            let newest = newest_before(&record);
            if newest.is_none() && record.key.sort != "GROUP" {
                return Write::Put(record, condition);
            }
            let mut record = without_news(record);
            record.schema = newest.unwrap_or(record.schema);
            Write::Put(record, condition)
        }
        other @ (Write::Delete(..) | Write::Check(..)) => other,
    })
    .collect()
}
