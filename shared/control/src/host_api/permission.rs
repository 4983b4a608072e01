//! What a host may do: by what the gate of its deployment says to all of its hosts, and by what its own item says of it.

use engine::Timestamp;
use engine::deployment::{Gate, NOT_WAITED_FOR};

use crate::rows::{self, GateRow, HostRow, SpecificationRow, Stored};
use crate::{Error, HostApi};

/// What decides whether a host may go on.
#[derive(Debug)]
pub(super) struct Permission {
    /// What is said to all of its hosts.
    pub(super) gate: Gate,
    /// Whether a command for this one is out and has not ended.
    pub(super) is_in_flight: bool,
    /// The attempt that it was sent.
    pub(super) attempt: u8,
}

impl Permission {
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
    /// What a host may do by what is stored now; none if its deployment was deleted.
    pub(super) async fn permission(&self, host: &HostRow) -> Result<Option<Permission>, Error> {
        let key = GateRow::key_of(&host.deployment_id, host.gate);
        let read_at = self.base.now();
        let gate: Option<Stored<GateRow>> = rows::load(&*self.base.table, &key).await?;
        let Some(gate) = gate else { return self.permission_by_row(host).await };
        let gate = gate.row.as_it_stands();
        self.gates.note(key, read_at, gate.clone());
        Ok(Some(Permission::of(gate, host)))
    }

    /// The same by what was stored within the last second: for polls, whose offers are looked at again when they are claimed, and for
    /// heartbeats, which start nothing.
    pub(super) async fn permission_lately(
        &self,
        host: &HostRow,
    ) -> Result<Option<Permission>, Error> {
        let key = GateRow::key_of(&host.deployment_id, host.gate);
        match self.gates.get(&key, self.base.now()) {
            Some(gate) => Ok(Some(Permission::of(gate, host))),
            None => self.permission(host).await,
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
