//! How a host stands with its deployment: what the gate says to all of its hosts, and what its own item says of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine::Timestamp;
use engine::deployment::{Gate, NOT_WAITED_FOR};

use crate::rows::{self, GateRow, HostRow, SpecificationRow, Stored};
use crate::table::Key;
use crate::{Error, HostApi};

/// How old a gate may be that polls and heartbeats are answered by, in milliseconds.
const KEPT_MS: u64 = 1_000;

/// Gates as they were a moment ago, for all who answer hosts in one process.
#[derive(Debug, Default, Clone)]
pub struct Gates(Arc<Mutex<BTreeMap<Key, (Timestamp, Gate)>>>);

impl Gates {
    /// A gate that was read less than a second before `now`. All others are forgotten, also those that seem to be read later
    /// because the clock was set back.
    fn get(&self, key: &Key, now: Timestamp) -> Option<Gate> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (read_at, _)| *read_at <= now && now.since_ms(*read_at) < KEPT_MS);
        all.get(key).map(|(_, gate)| gate.clone())
    }

    fn note(&self, key: Key, read_at: Timestamp, gate: Gate) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, (read_at, gate));
    }
}

/// How a host stands with its deployment.
#[derive(Debug)]
pub(super) struct Standing {
    /// What is said to all of its hosts.
    pub(super) gate: Gate,
    /// Whether a command for this one is out and has not ended.
    pub(super) is_in_flight: bool,
    /// The attempt that it was sent.
    pub(super) attempt: u8,
}

impl Standing {
    fn of(gate: Gate, host: &HostRow) -> Self {
        Self { gate, is_in_flight: host.is_in_flight(), attempt: host.offered }
    }

    /// Whether the host may claim its command or start its next event.
    pub(super) fn may_proceed(&self, now: Timestamp) -> Result<(), &'static str> {
        self.gate.may_proceed(now)?;
        self.is_in_flight.then_some(()).ok_or(NOT_WAITED_FOR)
    }

    /// Whether the deployment still waits for what the host has to say, even if the host starts nothing more.
    pub(super) fn is_waited_for(&self) -> bool {
        self.is_in_flight && !self.gate.has_ended()
    }
}

impl HostApi {
    /// How a host stands, as is stored now; none if its deployment was deleted.
    pub(super) async fn standing(&self, host: &HostRow) -> Result<Option<Standing>, Error> {
        let key = GateRow::key_of(&host.deployment_id, host.gate);
        let read_at = self.base.now();
        let gate: Option<Stored<GateRow>> = rows::load(&*self.base.table, &key).await?;
        let Some(gate) = gate else { return self.standing_by_row(host).await };
        let gate = gate.row.as_it_stands();
        self.gates.note(key, read_at, gate.clone());
        Ok(Some(Standing::of(gate, host)))
    }

    /// The same as it was within the last second: for polls, whose offers are looked at again when they are claimed, and for
    /// heartbeats, which start nothing.
    pub(super) async fn standing_lately(&self, host: &HostRow) -> Result<Option<Standing>, Error> {
        let key = GateRow::key_of(&host.deployment_id, host.gate);
        match self.gates.get(&key, self.base.now()) {
            Some(gate) => Ok(Some(Standing::of(gate, host))),
            None => self.standing(host).await,
        }
    }

    /// What the host's deployment is to do, and never changes; none before its bytes are known.
    pub(super) async fn specification(
        &self,
        host: &HostRow,
    ) -> Result<Option<SpecificationRow>, Error> {
        let key = SpecificationRow::key_of(&host.deployment_id);
        match rows::load::<SpecificationRow>(&*self.base.table, &key).await? {
            Some(specification) => Ok(Some(specification.row)),
            None => self.specification_by_row(host).await,
        }
    }
}
