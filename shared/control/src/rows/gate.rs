//! What hosts read of their deployment in place of its row: the gate, which changes, and the specification, which does not.

use engine::DeploymentId;
use engine::deployment::{Deployment, Gate, Order};
use serde::{Deserialize, Serialize};

use super::deployments::{DeploymentRow, Layout, partition};
use super::hosts::HostRow;
use super::{Row, Stored, create, record};
use crate::error::Error;
use crate::ports::Place;
use crate::table::{Condition, Key, Write};

/// Most hosts whose claims, permits and reports one copy of a gate is read for.
const HOSTS_OF_ONE: u32 = 1_000;

/// How many copies there are where there are more hosts than that.
const COPIES: u8 = 16;

/// A copy of a deployment's gate. All copies of one are equal, and have the same version: each transaction that writes one
/// of them writes all, so that a host may read whichever it was told to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The number of this copy.
    #[serde(rename = "copy")]
    pub number: u8,
    /// How many copies there are.
    pub copies: u8,
    /// What the deployment's row says.
    pub gate: Gate,
    /// Whether somebody asked for a stop, whose request is written in the same transaction as this. It is never taken back:
    /// whoever writes the gate writes it as it was read, on condition of the version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_requested: bool,
}

impl GateRow {
    /// A copy of the gate of deployment `id`. Each is in a partition of its own, so that none takes the reads of all hosts.
    pub fn key_of(id: &DeploymentId, number: u8) -> Key {
        Key::new(format!("{}{id}#{number:02}", Self::PARTITION), Self::SORT)
    }

    const PARTITION: &str = "GATE#";

    const SORT: &str = "GATE";

    /// Whether a key is that of a copy of a gate.
    pub fn is_at(key: &Key) -> bool {
        key.sort == Self::SORT && key.partition.starts_with(Self::PARTITION)
    }

    /// The keys of all copies that there may be of the gate of deployment `id`.
    pub fn keys_of(id: &DeploymentId) -> Vec<Key> {
        (0..COPIES).map(|number| Self::key_of(id, number)).collect()
    }

    /// How many copies there are of the gate of a deployment. Only its enrolled hosts count: those that arrive later do not
    /// change it.
    pub fn copies_of(deployment: &Deployment) -> u8 {
        if deployment.hosts().enrolled() > HOSTS_OF_ONE { COPIES } else { 1 }
    }

    /// The copy that the host at `ordinal` reads. It is told by an item that is written after the copies are there, and none
    /// of them goes before the deployment does.
    pub fn copy_for(deployment: &Deployment, ordinal: u32) -> u8 {
        let copies = u32::from(Self::copies_of(deployment));
        u8::try_from(ordinal % copies).unwrap_or(0)
    }

    /// The only copy of the gate of a new deployment.
    pub fn first_of(deployment: &Deployment) -> Self {
        let deployment_id = deployment.id().clone();
        Self { deployment_id, number: 0, copies: 1, gate: deployment.gate(), stop_requested: false }
    }

    /// What is said to hosts: a stop that was answered counts before the deployment has taken note of it.
    pub fn as_it_stands(self) -> Gate {
        if self.stop_requested { self.gate.with_stop() } else { self.gate }
    }

    /// The writes that replace the copies that there are of version `version`, and add those that are missing, so that all
    /// are as this one. None of it happens if the gate was changed meanwhile.
    pub fn replace_all(&self, were: u8, version: u64) -> Result<Vec<Write>, Error> {
        let copy = |number: u8| {
            let is_new = number >= were;
            let condition = if is_new { Condition::Absent } else { Condition::Version(version) };
            let row = Self { number, ..self.clone() };
            Ok(Write::Put(record(&row, version + 1)?, condition))
        };
        (0..self.copies).map(copy).collect()
    }
}

impl Row for GateRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id, self.number)
    }
}

/// What a claim needs of a deployment and never changes. It is written once, when the bytes and the hosts are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecificationRow {
    /// What was asked for.
    pub order: Order,
    /// The bytes that are deployed.
    pub pin: engine::Pin,
    /// Where it acts; none is the installation's own account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl SpecificationRow {
    /// The specification of deployment `id`.
    pub fn key_of(id: &DeploymentId) -> Key {
        Key::new(partition(id), "SPECIFICATION")
    }

    /// Whether a deployment may send commands, so that it has one: its bytes and its hosts are known.
    pub fn is_known(deployment: &Deployment) -> bool {
        let has_hosts = deployment.is_sealed() && deployment.order().has_hosts();
        has_hosts && deployment.pin().is_some()
    }

    /// That of a deployment, once it is known.
    pub fn of(row: &DeploymentRow) -> Option<Self> {
        let deployment = &row.deployment;
        let pin = deployment.pin().filter(|_| Self::is_known(deployment))?.clone();
        Some(Self { order: deployment.order().clone(), pin, place: row.place.clone() })
    }
}

impl Row for SpecificationRow {
    fn key(&self) -> Key {
        Self::key_of(&self.order.id)
    }
}

impl Stored<HostRow> {
    /// Sends the host the command of its deployment for the time `attempt`, unless it was sent that, a later one, or has
    /// claimed one. Returns the write that does so; the version is the one after it.
    pub(crate) fn offer(
        &mut self,
        deployment: &DeploymentRow,
        attempt: u8,
    ) -> Result<Option<Write>, Error> {
        if deployment.layout == Layout::Row || !self.row.lacks(attempt) {
            return Ok(None);
        }
        self.row.offered = attempt;
        self.row.gate = GateRow::copy_for(&deployment.deployment, self.row.ordinal);
        let write = self.replace()?;
        self.version += 1;
        Ok(Some(write))
    }
}

impl DeploymentRow {
    /// The writes that begin the deployment: its row, and the gate that its hosts read.
    ///
    /// # Errors
    /// Those of making JSON of them.
    pub fn begin(&self) -> Result<Vec<Write>, Error> {
        let mut writes = vec![create(self)?];
        if self.layout == Layout::Gate {
            writes.push(create(&GateRow::first_of(&self.deployment))?);
        }
        Ok(writes)
    }
}
