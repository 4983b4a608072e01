//! What a group knows of its hosts: one item for each, which the host's end in a deployment leaves.

use engine::deployment::{Deployment, HostState};
use engine::{DeploymentId, GroupId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wire::host::HostStatus;

use super::{Before, HostRow, OutOfReach, Row};
use crate::table::Key;

/// A host of a group, as the last deployment that touched it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRow {
    /// The group.
    pub group_id: GroupId,
    /// The host's name.
    pub name: String,
    /// Whether that deployment succeeded there, and what is installed.
    pub known: Before,
    /// That deployment.
    pub deployment_id: DeploymentId,
    /// The host's place in it.
    pub ordinal: u32,
    /// Its fencing number, or a later one up to which nothing else touched the host: a row is only replaced by one with a
    /// higher number.
    pub generation: u64,
    /// What is known instead if that deployment does not count the host as ended so. It may have been stopped, or have
    /// heard that the host is gone, before it heard what this row tells; the deployment's row says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless_counted: Option<Before>,
}

impl MemberRow {
    /// How many partitions the members of a group lie in. A partition takes 1,000 writes a second, and all hosts of a
    /// fleet of 10,000 may end within seconds.
    pub const SHARDS: u8 = 64;

    /// The host called `name` of a group.
    pub fn key_of(group: &GroupId, name: &str) -> Key {
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let shard = digest.first().map_or(0, |byte| byte % Self::SHARDS);
        Key::new(Self::partition(group, shard), name)
    }

    /// The partitions that the members of a group lie in.
    pub fn partitions_of(group: &GroupId) -> impl Iterator<Item = String> {
        (0..Self::SHARDS).map(|shard| Self::partition(group, shard))
    }

    fn partition(group: &GroupId, shard: u8) -> String {
        format!("GROUP#{group}#MEMBERS#{shard:02}")
    }

    /// What the end of a host leaves; none if it has not ended, or ended as it was before.
    pub fn left_by(host: &HostRow) -> Option<Self> {
        let generation = host.generation?;
        let (known, may_not_count) = match (host.status, host.out_of_reach) {
            (Some(HostStatus::Succeeded), _) => {
                let known = Before { healthy: true, installed: host.installs.clone() };
                (known, host.gone)
            }
            (Some(HostStatus::Failed), _) => (Before::default(), host.gone),
            (_, Some(OutOfReach::GivenUp)) => (Before::default(), true),
            (_, Some(OutOfReach::ShutOut)) => {
                (Before { healthy: false, ..host.before.clone() }, true)
            }
            (Some(HostStatus::InProgress) | None, None) => return None,
        };
        let unless_counted = may_not_count.then(|| host.before.clone());
        Some(Self {
            group_id: host.group_id.clone(),
            name: host.name.clone(),
            unless_counted: unless_counted.filter(|before| *before != known),
            known,
            deployment_id: host.deployment_id.clone(),
            ordinal: host.ordinal,
            generation,
        })
    }

    /// What is known of the host, by its last deployment as that was stored when it ended.
    pub fn settled(self, last: Option<&Deployment>) -> Before {
        let Some(otherwise) = self.unless_counted else { return self.known };
        let host = last.and_then(|last| last.hosts().get(self.ordinal));
        match host.map(|host| host.state) {
            None
            | Some(
                HostState::Succeeded
                | HostState::Failed
                | HostState::Silent
                | HostState::NotStarted,
            ) => self.known,
            Some(
                HostState::Untouched
                | HostState::Sent
                | HostState::Unclaimed
                | HostState::Running
                | HostState::Skipped
                | HostState::Gone,
            ) => otherwise,
        }
    }
}

impl Row for MemberRow {
    fn key(&self) -> Key {
        Self::key_of(&self.group_id, &self.name)
    }
}
