//! Two versions side by side: until all are replaced, some of the servers are of the version before. It knows no gates, begins
//! deployments under its own layout, and leaves alone what is of a schema that it does not know.
//!
//! It is this version with a table that shows and keeps no more than that one knows.

use control::rows::{GateRow, HostRow};
use control::table::{Condition, Key, Record, Write};
use serde_json::Value;

use crate::members;
use crate::random::Random;

/// The newest schema of deployments and their hosts that the version before reads.
const KNOWN: u32 = 2;

/// A schema that no version of these years reads.
const UNKNOWN: u32 = 999;

/// Which part of a server is of the version before: functions are not replaced at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    All,
    /// Who decides for deployments.
    Steppers,
    /// Who answers hosts and operators, and performs requests.
    Others,
}

/// Which servers are of the version before, and until when.
#[derive(Debug, Clone)]
pub(crate) struct Versions {
    old: [bool; 3],
    part: Part,
    until_ms: u64,
    /// Whether groups were made by the version before, too.
    pub(crate) has_old_groups: bool,
}

impl Versions {
    /// All servers are, this part of them, for so many milliseconds.
    pub(crate) fn replaced_after(part: Part, until_ms: u64) -> Self {
        Self { old: [true; 3], part, until_ms, has_old_groups: true }
    }

    /// Every fifth world has some. Its chance is its own, so that worlds stay what they are otherwise.
    pub(crate) fn by_chance(seed: u64, lasts_ms: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x0076_6572_7369_6f6e);
        if !random.of_ten_thousand(2_000) {
            return None;
        }
        // All of them, so that deployments are begun that only the other version ends; or some.
        let servers = [[true; 3], [true; 3], [true, false, false], [false, true, true]];
        let old = *random.pick(&servers).unwrap_or(&[true; 3]);
        let parts = [Part::All, Part::Steppers, Part::Others];
        let part = *random.pick(&parts).unwrap_or(&Part::All);
        let until_ms = random.between(lasts_ms / 4, lasts_ms);
        Some(Self { old, part, until_ms, has_old_groups: random.of_ten_thousand(8_000) })
    }

    /// Whether a server is of the version before, so many milliseconds after the beginning, where it decides or does anything
    /// else.
    pub(crate) fn is_old(&self, server: usize, is_driver: bool, ms: u64) -> bool {
        let is_part = match self.part {
            Part::All => true,
            Part::Steppers => is_driver,
            Part::Others => !is_driver,
        };
        is_part && ms < self.until_ms && self.old.get(server).is_some_and(|old| *old)
    }
}

/// Members of rows that the version before does not know.
const NEWS: [&str; 5] = ["layout", "membersSince", "generation", "installs", "offered"];

/// Whether the version before reads such a record by its schema.
fn is_ruled(record: &Record) -> bool {
    is_meta(&record.key) || HostRow::ordinal_in(&record.key).is_some()
}

fn is_group(key: &Key) -> bool {
    key.sort == "GROUP"
}

/// A record without what the version before does not know.
fn without_news(mut record: Record) -> Record {
    if let Ok(Value::Object(mut fields)) = serde_json::from_str(&record.body) {
        let removed = NEWS.iter().filter(|name| fields.remove(**name).is_some()).count();
        if removed > 0 {
            record.body = Value::Object(fields).to_string();
        }
    }
    record
}

/// A record of a deployment without the traits of its carrier, which the version before does not know.
fn without_traits(mut record: Record) -> Record {
    let Ok(mut body) = serde_json::from_str::<Value>(&record.body) else { return record };
    let shift = body.pointer_mut("/deployment/order/shift").and_then(Value::as_object_mut);
    if shift.and_then(|shift| shift.remove("traits")).is_some() {
        record.body = body.to_string();
    }
    record
}

/// A record as the version before sees it.
pub(crate) fn seen(mut record: Record) -> Record {
    if GateRow::is_at(&record.key) || (is_ruled(&record) && record.schema > KNOWN) {
        record.schema = UNKNOWN;
    }
    if is_group(&record.key) { without_news(record) } else { record }
}

/// What the version before writes: its deployments begin under its own layout, without a gate, and their hosts leave no
/// members behind.
pub(crate) fn written(writes: &[Write]) -> Vec<Write> {
    let is_known = |write: &&Write| !GateRow::is_at(write.key()) && !members::is_at(write.key());
    writes.iter().filter(is_known).cloned().map(begun).collect()
}

fn begun(write: Write) -> Write {
    match write {
        Write::Put(record, condition) if is_ruled(&record) || is_group(&record.key) => {
            let record = without_traits(record);
            let is_new = is_meta(&record.key) && condition == Condition::Absent;
            let is_old = !is_meta(&record.key) || is_new;
            let mut record = if is_old { without_news(record) } else { record };
            if is_old && is_ruled(&record) {
                record.schema = KNOWN;
            }
            Write::Put(record, condition)
        }
        other @ (Write::Put(..) | Write::Delete(..) | Write::Check(..)) => other,
    }
}

fn is_meta(key: &Key) -> bool {
    key.sort == "META"
}
