//! The invariants of gates: what hosts read in place of their deployment's row says the same, in all of its copies, and a
//! stop that was asked for besides; and no question of a host reads the row.

use std::collections::{BTreeMap, BTreeSet};

use control::rows::{DeploymentRow, GateRow, Layout, SpecificationRow};
use control::table::{Key, Record, Write};
use engine::DeploymentId;
use engine::deployment::Deployment;

use crate::checks::{Checks, demand, read};
use crate::core::Core;

/// How old a gate may be that a heartbeat is answered by, in milliseconds.
const KEPT_MS: u64 = 1_000;

/// Notes what a transaction has written of gates.
fn note(core: &mut Core, record: &Record) -> Result<(), String> {
    if GateRow::is_at(&record.key) {
        let row: GateRow = read(record)?;
        let copies = core.checks.gates.copies.entry(row.deployment_id.clone()).or_default();
        let before = copies.insert(row.number, (record.version, row.clone()));
        let keeps = before.is_none_or(|(_, before)| row.stop_requested >= before.stop_requested);
        demand!(keeps, "the gate of {} forgets a stop", row.deployment_id);
    } else if record.key.sort == "SPECIFICATION" {
        let row: SpecificationRow = read(record)?;
        let id = row.order.id.clone();
        let before = core.checks.gates.specifications.insert(id.clone(), row);
        demand!(before.is_none(), "the specification of {id} was written twice");
    }
    Ok(())
}

/// The deployment that a key is of.
fn id_in(key: &Key) -> Option<DeploymentId> {
    let of_gate = key.partition.strip_prefix("GATE#").and_then(|rest| rest.split('#').next());
    of_gate.and_then(|id| id.parse().ok()).or_else(|| DeploymentRow::id_in(key))
}

fn gate_holds(checks: &Checks, id: &DeploymentId) -> Result<(), String> {
    let Some(row) = checks.deployments.get(id) else { return Ok(()) };
    let none = BTreeMap::new();
    let copies = checks.gates.copies.get(id).unwrap_or(&none);
    if row.layout == Layout::Row {
        demand!(copies.is_empty(), "{id} is of the layout before, and has a gate");
        return Ok(());
    }
    let deployment = &row.deployment;
    let wanted: u8 = if deployment.hosts().enrolled() > 1_000 { 16 } else { 1 };
    demand!(copies.keys().copied().eq(0..wanted), "{id} has the copies {:?}", copies.keys());
    let is_stopped = checks.stops.contains_key(id);
    let versions: BTreeSet<u64> = copies.values().map(|(version, _)| *version).collect();
    demand!(versions.len() == 1, "copies of the gate of {id} have the versions {versions:?}");
    for (number, (_, copy)) in copies {
        demand!(copy.number == *number && copy.copies == wanted, "{id}: {copy:?}");
        demand!(copy.gate == deployment.gate(), "{id} has an old gate: {copy:?}");
        demand!(copy.stop_requested == is_stopped, "{id}, stopped: {is_stopped}, has {copy:?}");
    }
    let has_started = deployment.all_outstanding().next().is_some();
    let specification = checks.gates.specifications.get(id);
    demand!(
        !has_started || specification.is_some(),
        "{id} sends commands and has no specification"
    );
    let same = |known: &SpecificationRow| {
        (&known.order, Some(&known.pin)) == (deployment.order(), deployment.pin())
    };
    demand!(specification.is_none_or(same), "{id} has another specification: {specification:?}");
    Ok(())
}

/// Whether no host of a deployment may begin anything, whatever its clock says.
fn is_halted(checks: &Checks, id: &DeploymentId) -> bool {
    let halts = |deployment: &Deployment| {
        deployment.ended().is_some()
            || deployment.stop_requested()
            || deployment.alarm().is_some()
            || deployment.shift_failed_at().is_some()
    };
    let row = checks.deployments.get(id);
    checks.stops.contains_key(id) || row.is_some_and(|row| halts(&row.deployment))
}

impl Checks {
    /// Whether the host may get no permission any more, whatever it asks.
    pub(crate) fn is_barred(&self, id: &DeploymentId, ordinal: u32) -> bool {
        is_halted(self, id) || self.is_shut_out(id, ordinal)
    }

    /// The same for a heartbeat that is sent now, which starts nothing, and may be answered by what was known a second before.
    pub(crate) fn is_barred_for_long(&self, id: &DeploymentId, ordinal: u32, now: u64) -> bool {
        let halted_at = self.gates.halted_at.get(id);
        halted_at.is_some_and(|at| at + KEPT_MS <= now) || self.is_shut_out(id, ordinal)
    }

    /// Whether the host itself may get none: nobody waits for it, or it was told that nobody listens any more.
    fn is_shut_out(&self, id: &DeploymentId, ordinal: u32) -> bool {
        let host = self.hosts.get(id).and_then(|hosts| hosts.get(&ordinal));
        let known = self.deployments.get(id).and_then(|row| row.deployment.hosts().get(ordinal));
        host.is_some_and(|host| host.out_of_reach.is_some())
            || known.is_some_and(|known| !known.state.in_flight())
    }

    /// The ordinal of a host in a deployment.
    pub(crate) fn ordinal_of(&self, id: &DeploymentId, name: &str) -> Option<u32> {
        let hosts = self.hosts.get(id)?;
        hosts.values().find(|host| host.name == name).map(|host| host.ordinal)
    }
}

impl Core {
    /// Notes what a transaction has written of gates.
    pub(crate) fn note_gate(&mut self, record: &Record) -> Result<(), String> {
        note(self, record)
    }

    /// Checks the gates of the deployments that a transaction has touched, once all of it is noted.
    pub(crate) fn check_gates(&mut self, writes: &[Write]) {
        let written = writes.iter().filter(|write| !matches!(write, Write::Check(..)));
        let touched: BTreeSet<DeploymentId> =
            written.filter_map(|write| id_in(write.key())).collect();
        for id in touched {
            let now = self.now;
            if is_halted(&self.checks, &id) {
                self.checks.gates.halted_at.entry(id.clone()).or_insert(now);
            }
            if let Err(broken) = gate_holds(&self.checks, &id) {
                self.violate(broken);
            }
        }
    }

    /// Checks that a host's question does not read the row of a deployment that has a gate.
    pub(crate) fn is_read(&mut self, key: &Key) {
        if !self.asks_as_host || key.sort != "META" {
            return;
        }
        let row = DeploymentRow::id_in(key).and_then(|id| self.checks.deployments.get(&id));
        if row.is_some_and(|row| row.layout == Layout::Gate) {
            self.violate(format!("a host's question reads {key:?}"));
        }
    }
}
