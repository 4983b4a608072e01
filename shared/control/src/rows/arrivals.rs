//! What finds a host in a deployment by its name, where hosts arrive: whoever brings one its revision must not read all of
//! them.

use std::collections::BTreeMap;

use engine::{DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::deployments::{KEPT_MS, partition};
use super::{HostRow, Row};
use crate::table::Key;

/// The names of hosts that a deployment has enrolled, of those that fall to one of [`RosterRow::PARTS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RosterRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// Which part.
    pub part: u8,
    /// When the deployment was created.
    pub created_at: Timestamp,
    /// The names, in their order.
    pub names: Vec<String>,
}

impl RosterRow {
    /// How many parts a roster has: 10,000 hosts make rows of some 12 KB.
    pub const PARTS: u8 = 16;

    const SORT: &str = "ROSTER#";

    /// The part of the roster of a deployment that a host's name falls to.
    pub fn key_of(id: &DeploymentId, name: &str) -> Key {
        Self::key_of_part(id, part_of(name))
    }

    /// The partition and the beginning of the sort keys of a deployment's roster.
    pub fn all_of(id: &DeploymentId) -> (String, &'static str) {
        (partition(id), Self::SORT)
    }

    fn key_of_part(id: &DeploymentId, part: u8) -> Key {
        Key::new(partition(id), format!("{}{part:02}", Self::SORT))
    }

    /// The roster of a deployment with these hosts: the parts that somebody falls to.
    pub fn of<'a>(
        id: &DeploymentId,
        created_at: Timestamp,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Self> {
        let mut parts: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for name in names {
            parts.entry(part_of(name)).or_default().push(name.to_owned());
        }
        let row = |(part, mut names): (u8, Vec<String>)| {
            names.sort();
            Self { deployment_id: id.clone(), part, created_at, names }
        };
        parts.into_iter().map(row).collect()
    }
}

/// The part that a name falls to: the same whoever else is on the roster.
fn part_of(name: &str) -> u8 {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    digest.first().map_or(0, |byte| byte % RosterRow::PARTS)
}

impl Row for RosterRow {
    fn key(&self) -> Key {
        Self::key_of_part(&self.deployment_id, self.part)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.created_at.plus_ms(KEPT_MS))
    }
}

/// That a host was appended to a deployment that was under way: once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrivedRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The host's name.
    pub name: String,
    /// The place in deployment order.
    pub ordinal: u32,
    /// When the deployment was created.
    pub created_at: Timestamp,
}

impl ArrivedRow {
    /// The row of a host in a deployment.
    pub fn key_of(id: &DeploymentId, name: &str) -> Key {
        Key::new(partition(id), format!("ARRIVED#{name}"))
    }

    /// The row that goes with that of a host.
    pub fn of(host: &HostRow) -> Self {
        Self {
            deployment_id: host.deployment_id.clone(),
            name: host.name.clone(),
            ordinal: host.ordinal,
            created_at: host.enrolled_at,
        }
    }
}

impl Row for ArrivedRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id, &self.name)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.created_at.plus_ms(KEPT_MS))
    }
}

/// That a host was deployed to alone after a deployment of its group: by which deployment it was last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaterRow {
    /// The deployment of the group.
    pub after: DeploymentId,
    /// The host's name.
    pub name: String,
    /// The deployment of the host.
    pub deployment_id: DeploymentId,
    /// The host's place in that.
    pub ordinal: u32,
    /// When the latter was created.
    pub created_at: Timestamp,
}

impl LaterRow {
    /// The row of a host, after the deployment `after` of its group.
    pub fn key_of(after: &DeploymentId, name: &str) -> Key {
        Key::new(partition(after), format!("LATER#{name}"))
    }

    /// The row that goes with that of a host in a deployment of its own.
    pub fn of(after: &DeploymentId, host: &HostRow) -> Self {
        Self {
            after: after.clone(),
            name: host.name.clone(),
            deployment_id: host.deployment_id.clone(),
            ordinal: host.ordinal,
            created_at: host.enrolled_at,
        }
    }
}

impl Row for LaterRow {
    fn key(&self) -> Key {
        Self::key_of(&self.after, &self.name)
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.created_at.plus_ms(KEPT_MS))
    }
}
