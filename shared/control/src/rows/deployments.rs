//! Deployments, requests to stop, and the output of hooks.

use engine::deployment::{Deployment, Fact, SCHEMA, Steering};
use engine::lifecycle::Event;
use engine::{DeploymentId, GroupId, Timestamp};
use serde::{Deserialize, Serialize};
use wire::codedeploy::TargetInstances;

use super::{Row, digits};
use crate::ports::Place;
use crate::table::Key;

/// How long host items and logs are kept, in milliseconds: 90 days.
pub(super) const KEPT_MS: u64 = 90 * 24 * 3_600_000;

/// Where hosts find what they must know of a deployment. One ends under the layout that it began with.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layout {
    /// In its row: as the version before has it.
    #[default]
    Row,
    /// In its gate, its specification, and their own items.
    Gate,
}

impl Layout {
    fn is_row(&self) -> bool {
        *self == Self::Row
    }
}

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
    /// The hosts that it is for, where that is not the whole group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<String>>,
    /// What selects its hosts in place of the group's own settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<TargetInstances>,
    /// The deployment of the group itself that was the newest before it; none for the first one, and where an earlier
    /// version noted none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<DeploymentId>,
    /// Where it acts; none is the installation's own account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Its layout. The version before leaves a deployment of a later one alone, by the schema.
    #[serde(default, skip_serializing_if = "Layout::is_row")]
    pub layout: Layout,
}

impl DeploymentRow {
    /// Whether its hosts note in their group how they ended ([`MemberRow`](super::MemberRow)): not those of a deployment that
    /// a version before began, which may go on with it.
    pub fn keeps_members(&self) -> bool {
        self.layout == Layout::Gate
    }

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

    /// The id in the key of a deployment's row or of one of its hosts, which may lie in a partition beside its own.
    pub fn id_in(key: &Key) -> Option<DeploymentId> {
        key.partition.strip_prefix("D#")?.split('#').next()?.parse().ok()
    }
}

pub(super) fn partition(id: &DeploymentId) -> String {
    format!("D#{id}")
}

impl Row for DeploymentRow {
    const SCHEMA: u32 = SCHEMA + 1;

    fn schema(&self) -> u32 {
        match self.layout {
            Layout::Row => SCHEMA,
            Layout::Gate => SCHEMA + 1,
        }
    }

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

    /// A new one. What its own steps write wakes nobody: they know when to come back.
    fn wakes(&self) -> bool {
        self.deployment.started_at().is_none() && self.deployment.ended().is_none()
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

    /// What it tells the deployment.
    pub fn fact(&self) -> Fact {
        Fact::StopRequested { at: self.at, roll_back: self.roll_back }
    }
}

impl Row for StopRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id)
    }

    fn wakes(&self) -> bool {
        true
    }
}

/// What people want of a deployment that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SteeringRow {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// When that last changed.
    pub at: Timestamp,
    /// All that they want.
    #[serde(rename = "wishes")]
    pub steering: Steering,
}

impl SteeringRow {
    /// The steering of deployment `id`.
    pub fn key_of(id: &DeploymentId) -> Key {
        Key::new(partition(id), "WISHES")
    }
}

impl Row for SteeringRow {
    fn key(&self) -> Key {
        Self::key_of(&self.deployment_id)
    }

    fn wakes(&self) -> bool {
        true
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
