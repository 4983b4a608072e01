//! What a deployment is asked to do.

use serde::{Deserialize, Serialize};

use super::carrier::{Carrier, Shift};
use crate::appspec::FileExistsBehavior;
use crate::health::Rule;
use crate::ladder::Ladder;
use crate::lifecycle::Event;
use crate::zonal::Zonal;
use crate::{DeploymentId, GroupId, Pin, Revision, Timestamp};

/// What one deployment is asked to do. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The deployment.
    pub id: DeploymentId,
    /// The application's name when the deployment was created.
    pub application: String,
    /// The group's name then.
    pub group: String,
    /// The group.
    pub group_id: GroupId,
    /// The fencing number of the deployment in its group: higher than that of any earlier one.
    pub generation: u64,
    /// Who asked for it.
    pub creator: Creator,
    /// When.
    pub created_at: Timestamp,
    /// What is deployed.
    pub revision: Revision,
    /// What was last deployed successfully to the group: what a rollback goes back to.
    pub fallback: Option<Fallback>,
    /// The deployment that this one rolls back, by itself or because somebody asked for it.
    pub rolls_back: Option<DeploymentId>,
    /// The user's words.
    pub description: Option<String>,
    /// The deployment configuration's name.
    pub config: String,
    /// Its rule.
    pub rule: Rule,
    /// Whether a failed ApplicationStop is passed over.
    pub ignore_application_stop_failures: bool,
    /// What to do with files that are already there.
    pub file_exists_behavior: FileExistsBehavior,
    /// When it is rolled back by itself.
    pub auto_rollback: AutoRollback,
    /// How long a host may be silent, in milliseconds.
    pub silence_ms: u64,
    /// How long the whole may take, in milliseconds.
    pub total_ms: u64,
    /// Whether hosts run a hook again that was interrupted by their runner's death.
    pub rerun_interrupted: bool,
    /// Most hosts that are sent their command within a second; none for as many as the rule allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ramp: Option<u32>,
    /// How far it goes before it waits and looks; empty where only the rule counts.
    #[serde(default, skip_serializing_if = "Ladder::is_empty")]
    pub ladder: Ladder,
    /// How it goes from zone to zone; none where zones do not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zonal: Option<Zonal>,
    /// The balancers that its hosts get their traffic from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// What watches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// What its traffic moves between, where it does not go host by host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
}

impl Order {
    /// Whether there are hosts that the revision is brought to.
    pub fn has_hosts(&self) -> bool {
        self.shift.as_ref().is_none_or(Shift::has_hosts)
    }

    /// The lifecycle events that each host runs, in order.
    pub fn events(&self) -> &'static [Event] {
        match (self.creator, &self.traffic) {
            _ if self.shift.is_some() => &Event::REPLACEMENT,
            (Creator::User | Creator::Rollback | Creator::Arrival, None) => &Event::IN_PLACE,
            (Creator::User | Creator::Rollback | Creator::Arrival, Some(_)) => &Event::ALL,
            (Creator::Departure, None) => &Event::DEPARTURE,
            (Creator::Departure, Some(_)) => &Event::DEPARTURE_BALANCED,
        }
    }

    /// The event that a host begins only when it is told to, and before which it may wait for long.
    pub fn held_before(&self) -> Option<Event> {
        self.shift.as_ref().map(|_| Event::BeforeAllowTraffic)
    }

    /// What carries the traffic of a shift; none where traffic does not move all together.
    pub fn carrier(&self) -> Option<&Carrier> {
        self.shift.as_ref().map(|shift| &shift.carrier)
    }
}

/// Where hosts get their traffic from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// The target groups that each host is in, with the schemes of their balancers.
    pub groups: Vec<String>,
}

/// What a deployment is watched by. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    /// The names of the alarms.
    pub alarms: Vec<String>,
    /// Whether the deployment goes on while they cannot be read.
    pub ignores_unreadable: bool,
    /// How often they are read, in milliseconds.
    pub every_ms: u64,
}

/// Who asked for a deployment, in CodeDeploy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Creator {
    /// Somebody, or an upload that somebody made.
    #[serde(rename = "user")]
    User,
    /// Cutover, because another deployment failed or was stopped.
    #[serde(rename = "codeDeployRollback")]
    Rollback,
    /// Cutover, because a host arrived that lacks the group's revision.
    #[serde(rename = "autoscaling")]
    Arrival,
    /// Cutover, because a host is about to leave and shall stop its application before.
    #[serde(rename = "autoscalingTermination")]
    Departure,
}

impl Creator {
    /// CodeDeploy's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Rollback => "codeDeployRollback",
            Self::Arrival => "autoscaling",
            Self::Departure => "autoscalingTermination",
        }
    }

    /// Whether the deployment is of the whole group, and not of hosts that come or go alone.
    pub fn is_of_group(self) -> bool {
        matches!(self, Self::User | Self::Rollback)
    }
}

/// A deployment that can be gone back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// The deployment.
    pub deployment: DeploymentId,
    /// What it deployed.
    pub revision: Revision,
    /// The bytes that it deployed.
    pub pin: Pin,
    /// Its option for files that were already there; a rollback uses it again.
    pub file_exists_behavior: FileExistsBehavior,
}

/// When a deployment is rolled back by itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoRollback {
    /// `DEPLOYMENT_FAILURE`.
    pub on_failure: bool,
    /// `DEPLOYMENT_STOP_ON_REQUEST`.
    pub on_stop: bool,
    /// `DEPLOYMENT_STOP_ON_ALARM`.
    #[serde(default)]
    pub on_alarm: bool,
}
