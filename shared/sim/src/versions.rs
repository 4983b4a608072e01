//! Two versions side by side: until all are replaced, some of the servers are of the version before. It knows no gates, begins
//! deployments under its own layout, and leaves alone what is of a schema that it does not know.
//!
//! It is this version with a table that shows and keeps no more than that one knows.

use control::rows::{GateRow, HostRow};
use control::table::{Condition, Key, Record, Write};

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
}

impl Versions {
    /// All servers are, this part of them, for so many milliseconds.
    pub(crate) fn replaced_after(part: Part, until_ms: u64) -> Self {
        Self { old: [true; 3], part, until_ms }
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
        Some(Self { old, part, until_ms: random.between(lasts_ms / 4, lasts_ms) })
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

/// A record as the version before sees it.
pub(crate) fn seen(mut record: Record) -> Record {
    let is_ruled = is_meta(&record.key) || HostRow::ordinal_in(&record.key).is_some();
    if GateRow::is_at(&record.key) || (is_ruled && record.schema > KNOWN) {
        record.schema = UNKNOWN;
    }
    record
}

/// What the version before writes: its deployments begin under its own layout, and without a gate.
pub(crate) fn written(writes: &[Write]) -> Vec<Write> {
    let is_gate = |write: &&Write| !GateRow::is_at(write.key());
    writes.iter().filter(is_gate).cloned().map(begun).collect()
}

fn begun(write: Write) -> Write {
    match write {
        Write::Put(mut record, Condition::Absent) if is_meta(&record.key) => {
            record.body = record.body.replace(",\"layout\":\"gate\"", "");
            record.schema = KNOWN;
            Write::Put(record, Condition::Absent)
        }
        other @ (Write::Put(..) | Write::Delete(..) | Write::Check(..)) => other,
    }
}

fn is_meta(key: &Key) -> bool {
    key.sort == "META"
}
