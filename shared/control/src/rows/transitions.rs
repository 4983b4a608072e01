//! Hosts that come and go: those that arrive or leave and are looked after meanwhile, the Auto Scaling groups of
//! deployment groups, and what is suspended on them.

use engine::{DeploymentId, GroupId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ports::{LifecycleAction, Place};
use crate::table::Key;

/// Which way a host goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// It comes, and shall get its revision.
    Arriving,
    /// It goes, and may stop its application before.
    Leaving,
}

/// A host that comes or goes, until nothing is left to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TransitionRow {
    /// The instance.
    pub instance: String,
    /// Which way.
    pub direction: Direction,
    /// Since when.
    pub since: Timestamp,
    /// The lifecycle actions that hold the instance back, of one hook or of those of several deployment groups.
    #[serde(default, rename = "holds")]
    pub actions: Vec<LifecycleAction>,
    /// Actions of this transition that were answered before those, and stay answered, however often they are told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<LifecycleAction>,
    /// When Auto Scaling was last told that it takes time.
    pub beat_at: Option<Timestamp>,
    /// Deployments that were started for this transition.
    #[serde(default)]
    pub deployments: Vec<DeploymentId>,
    /// What Auto Scaling is told at the end; written before it is told, so that it is never told both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When Auto Scaling was told; kept for a while, because what was told of the host may be told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
}

/// What Auto Scaling is told of a host that it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It goes on its way.
    Continue,
    /// It arrived and did not get its revision: it is terminated.
    Abandon,
}

impl TransitionRow {
    /// Whether this action was told of before.
    pub(crate) fn knows(&self, action: &LifecycleAction) -> bool {
        self.actions.contains(action) || self.answered.contains(action)
    }

    /// The partition of all hosts that come or go.
    pub const ALL: &str = "PASSAGES";

    /// The transition of an instance.
    pub fn key_of(instance: &str) -> Key {
        Key::new(Self::ALL, instance)
    }
}

impl Row for TransitionRow {
    fn key(&self) -> Key {
        Self::key_of(&self.instance)
    }
}

/// That a deployment group names an Auto Scaling group: found by the name of the latter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingGroupRow {
    /// The Auto Scaling group.
    pub scaling_group: String,
    /// The deployment group.
    pub group_id: GroupId,
    /// Where both are; none is the installation's own account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl ScalingGroupRow {
    /// The partition of an Auto Scaling group's deployment groups.
    pub fn all_of(scaling_group: &str) -> String {
        format!("SCALING#{scaling_group}")
    }

    /// The partition of the index in which a deployment group's Auto Scaling groups are listed.
    pub fn list_of(group: &GroupId) -> String {
        format!("GROUP#{group}#SCALING")
    }

    /// The row of one of them.
    pub fn key_of(scaling_group: &str, group: &GroupId) -> Key {
        Key::new(Self::all_of(scaling_group), group.as_str())
    }
}

impl Row for ScalingGroupRow {
    fn key(&self) -> Key {
        Self::key_of(&self.scaling_group, &self.group_id)
    }

    fn listed(&self) -> Option<Key> {
        Some(Key::new(Self::list_of(&self.group_id), &self.scaling_group))
    }
}

/// Processes of an Auto Scaling group that were suspended for deployments, and shall be resumed after the last of them.
/// Written before they are suspended, so that none stays suspended because somebody died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuspensionRow {
    /// The Auto Scaling group.
    pub scaling_group: String,
    /// The processes that ran before: those that users had suspended are not among them.
    pub processes: Vec<String>,
    /// The deployments that want it.
    pub deployments: Vec<DeploymentId>,
    /// When they were first resumed after the last of those. They are resumed again for a while, because a process that
    /// was about to suspend them may be late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_at: Option<Timestamp>,
    /// Where that group is; none is the installation's own account and region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl SuspensionRow {
    /// The partition of all suspensions.
    pub const ALL: &str = "SUSPENSIONS";

    /// The suspension on an Auto Scaling group, which two places may have under one name.
    pub fn key_of(scaling_group: &str, place: Option<&Place>) -> Key {
        let within = place.map(|Place { account, region }| format!("{account}/{region}/"));
        Key::new(Self::ALL, format!("{}{scaling_group}", within.unwrap_or_default()))
    }
}

impl Row for SuspensionRow {
    fn key(&self) -> Key {
        Self::key_of(&self.scaling_group, self.place.as_ref())
    }
}
