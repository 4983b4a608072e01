//! Deployments, their hosts, requests to stop, and the output of hooks.

use engine::deployment::{Deployment, HostSeen, SCHEMA, Sighting};
use engine::lifecycle::Event;
use engine::{DeploymentId, GroupId, Timestamp};
use serde::{Deserialize, Serialize};
use wire::host::{EventReport, HostStatus};

use super::{Row, digits};
use crate::table::Key;

/// How long host items and logs are kept, in milliseconds: 90 days.
const KEPT_MS: u64 = 90 * 24 * 3_600_000;

/// A deployment and when it wants to be woken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentRow {
    /// The state.
    pub deployment: Deployment,
    /// The application's id: the deployment is deleted with it.
    pub application_id: String,
    /// When it wants to be advanced; none once it has ended.
    pub wake_at: Option<Timestamp>,
    /// The identity of the upload that it deploys, where an upload started it.
    pub upload: Option<String>,
}

impl DeploymentRow {
    /// The row of deployment `id`.
    pub fn key_of(id: &DeploymentId) -> Key {
        Key::new(partition(id), "META")
    }

    /// The partition of the index in which the deployments of a group are listed by creation.
    pub fn list_of(group: &GroupId) -> String {
        format!("GROUP#{group}#DEPLOYMENTS")
    }

    /// The partition of the index in which active deployments are listed by wake time.
    pub const WAKING: &str = "ACTIVE";

    /// The id in the key of a deployment's row or of one of its hosts.
    pub fn id_in(key: &Key) -> Option<DeploymentId> {
        key.partition.strip_prefix("D#")?.parse().ok()
    }
}

fn partition(id: &DeploymentId) -> String {
    format!("D#{id}")
}

impl Row for DeploymentRow {
    const SCHEMA: u32 = SCHEMA;

    fn key(&self) -> Key {
        Self::key_of(self.deployment.id())
    }

    fn listed(&self) -> Option<Key> {
        let order = self.deployment.order();
        Some(Key::new(
            Self::list_of(&order.group_id),
            format!("{}#{}", digits(order.created_at.0), order.id),
        ))
    }

    fn waking(&self) -> Option<Key> {
        let at = self.wake_at.filter(|_| self.deployment.ended().is_none())?;
        Some(Key::new(Self::WAKING, format!("{}#{}", digits(at.0), self.deployment.id())))
    }
}

/// One host of a deployment: what the host last said, and what it was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The group.
    pub group_id: GroupId,
    /// The place in deployment order.
    pub ordinal: u32,
    /// The host's name.
    pub name: String,
    /// When it was enrolled.
    pub enrolled_at: Timestamp,
    /// What it was before this deployment.
    pub before: Before,
    /// The attempt that was claimed; 0 before.
    #[serde(default)]
    pub attempt: u8,
    /// When the server last heard of the host, by the server's clock; none before the claim.
    #[serde(default)]
    pub heard_at: Option<Timestamp>,
    /// SHA-256 of the claim's token.
    #[serde(default)]
    pub token_hash: Option<String>,
    /// The number of the last report.
    #[serde(default)]
    pub sequence: u64,
    /// What the host says of itself.
    #[serde(default)]
    pub status: Option<HostStatus>,
    /// Its events; the output tails of those that ended well are left out.
    #[serde(default)]
    pub events: Vec<EventReport>,
    /// Whether and why the server does not listen to the host any more.
    #[serde(default)]
    pub out_of_reach: Option<OutOfReach>,
    /// Whether the host does not exist any more, on explicit evidence.
    #[serde(default)]
    pub gone: bool,
}

/// What a host was before a deployment, in its group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// Whether the last deployment that touched it succeeded there.
    pub healthy: bool,
    /// SHA-256 of the bundle that was last installed successfully.
    pub installed: Option<String>,
}

/// Why the server does not listen to a host any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutOfReach {
    /// It had not claimed its command when the deployment gave up waiting.
    ShutOut,
    /// It was not heard of for too long.
    GivenUp,
}

impl HostRow {
    /// The host at `ordinal` of a deployment.
    pub fn key_of(id: &DeploymentId, ordinal: u32) -> Key {
        Key::new(partition(id), format!("{}{ordinal:06}", Self::SORT))
    }

    /// The partition and the beginning of the sort keys of a deployment's hosts.
    pub fn all_of(id: &DeploymentId) -> (String, &'static str) {
        (partition(id), Self::SORT)
    }

    const SORT: &str = "HOST#";

    /// The ordinal in the key of a host's row.
    pub fn ordinal_in(key: &Key) -> Option<u32> {
        key.sort.strip_prefix(Self::SORT)?.parse().ok()
    }

    /// The partition of the index in which a host's deployments are listed by time.
    pub fn list_of(name: &str) -> String {
        format!("HOST#{name}#DEPLOYMENTS")
    }

    /// The place of a deployment in that partition, where the host was enrolled at `enrolled_at`.
    pub fn place_in_list(enrolled_at: Timestamp, id: &DeploymentId) -> String {
        format!("{}#{id}", digits(enrolled_at.0))
    }

    /// What the engine shall know of the host.
    pub fn seen(&self) -> HostSeen {
        let sighting = match (self.status, self.out_of_reach, self.heard_at) {
            (Some(HostStatus::Succeeded), ..) => Sighting::Succeeded,
            (Some(HostStatus::Failed), ..) => Sighting::Failed,
            _ if self.gone => Sighting::Gone,
            (_, Some(OutOfReach::ShutOut), _) => Sighting::ShutOut,
            (_, Some(OutOfReach::GivenUp), _) => Sighting::GivenUp,
            (_, None, Some(heard_at)) => Sighting::Claimed { heard_at },
            (_, None, None) => Sighting::Unclaimed,
        };
        HostSeen { ordinal: self.ordinal, sighting }
    }
}

impl Row for HostRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id, self.ordinal)
    }

    fn listed(&self) -> Option<Key> {
        let sort = Self::place_in_list(self.enrolled_at, &self.deployment_id);
        Some(Key::new(Self::list_of(&self.name), sort))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.enrolled_at.plus_ms(KEPT_MS))
    }
}

/// That somebody asked for a deployment to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// When.
    pub at: Timestamp,
    /// Whether it shall be rolled back.
    pub roll_back: Option<bool>,
}

impl StopRow {
    /// The request for deployment `id`.
    pub fn key_of(id: &DeploymentId) -> Key {
        Key::new(partition(id), "STOP")
    }
}

impl Row for StopRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id)
    }
}

/// Output of a host's hooks, as one report brought it. Never in the deployment's own partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The host's ordinal.
    pub ordinal: u32,
    /// The host's name.
    pub name: String,
    /// The number of the report.
    pub sequence: u64,
    /// When it came.
    pub at: Timestamp,
    /// Pieces of output.
    pub events: Vec<LoggedEvent>,
}

/// A piece of one event's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedEvent {
    /// The event.
    pub event: Event,
    /// Where it begins, in bytes; none for the tail that an event leaves at its end, which takes the place of what
    /// came before.
    pub offset: Option<u64>,
    /// The text.
    pub text: String,
}

impl LogRow {
    /// The partition of a deployment's output, and the beginning of the sort keys of one host's.
    pub fn all_of(id: &DeploymentId, ordinal: Option<u32>) -> (String, String) {
        (format!("LOG#{id}"), ordinal.map(|ordinal| format!("{ordinal:06}#")).unwrap_or_default())
    }
}

impl Row for LogRow {
    fn key(&self) -> Key {
        let (partition, host) = Self::all_of(&self.deployment_id, Some(self.ordinal));
        Key::new(partition, format!("{host}{}", digits(self.sequence)))
    }

    fn expires_at(&self) -> Option<Timestamp> {
        Some(self.at.plus_ms(KEPT_MS))
    }
}
