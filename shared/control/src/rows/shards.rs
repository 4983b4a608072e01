//! Where the items of a deployment's hosts lie.

use engine::{DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Row;
use super::deployments::{KEPT_MS, partition};
use crate::table::Key;

/// The places of a deployment's hosts: in so many partitions that none takes the writes of more than some hundred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostShards {
    /// The deployment.
    pub id: DeploymentId,
    /// How many partitions there are; one is the deployment's own.
    pub shards: u32,
}

impl HostShards {
    /// How the sort keys of hosts begin.
    pub(super) const SORT: &str = "HOST#";

    /// The places of a deployment with so many hosts, of which each partition has `of_shard` at most.
    pub fn of(id: &DeploymentId, hosts: usize, of_shard: usize) -> Self {
        let shards = hosts.div_ceil(of_shard.max(1)).max(1);
        Self { id: id.clone(), shards: u32::try_from(shards).unwrap_or(u32::MAX) }
    }

    /// The places of a deployment that keeps all its hosts in its own partition.
    pub fn undivided(id: &DeploymentId) -> Self {
        Self { id: id.clone(), shards: 1 }
    }

    /// The host at `ordinal`.
    pub fn key_of(&self, ordinal: u32) -> Key {
        let shard = ordinal.checked_rem(self.shards).unwrap_or_default();
        Key::new(self.partition(shard), format!("{}{ordinal:06}", Self::SORT))
    }

    /// The partitions and the beginning of the sort keys of all hosts.
    pub fn all(&self) -> impl Iterator<Item = (String, &'static str)> + '_ {
        (0..self.shards).map(|shard| (self.partition(shard), Self::SORT))
    }

    fn partition(&self, shard: u32) -> String {
        let own = partition(&self.id);
        if self.shards > 1 { format!("{own}#{shard:03}") } else { own }
    }
}

/// How many partitions the hosts of a deployment lie in. Written before the first of them, and never changed. A deployment
/// that a version before began has no such row, and its hosts lie in its own partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardsRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// How many partitions there are.
    pub shards: u32,
    /// When the deployment was created.
    pub created_at: Timestamp,
}

impl ShardsRow {
    /// The row of a deployment.
    pub fn key_of(id: &DeploymentId) -> Key {
        Key::new(partition(id), "SHARDS")
    }

    /// The places that it tells.
    pub fn shards(&self) -> HostShards {
        HostShards { id: self.deployment_id.clone(), shards: self.shards }
    }
}

impl Row for ShardsRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.created_at.plus_ms(KEPT_MS))
    }
}
