//! Gates as they were a moment ago: what polls and heartbeats are answered by, so that they cost the table little.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::Timestamp;
use engine::deployment::Gate;

use crate::table::Key;

/// How old a gate may be that polls and heartbeats are answered by, in milliseconds.
const KEPT_MS: u64 = 1_000;

/// Gates as they were a moment ago, for all who answer hosts in one process.
#[derive(Debug, Default, Clone)]
pub struct Gates(Arc<Mutex<BTreeMap<Key, (Timestamp, Gate)>>>);

impl Gates {
    /// A gate that was read less than a second before `now`. All others are forgotten, also those that seem to be read later
    /// because the clock was set back.
    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Option<Gate> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (read_at, _)| *read_at <= now && now.since_ms(*read_at) < KEPT_MS);
        all.get(key).map(|(_, gate)| gate.clone())
    }

    pub(super) fn note(&self, key: Key, read_at: Timestamp, gate: Gate) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, (read_at, gate));
    }
}
