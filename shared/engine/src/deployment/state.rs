//! A deployment as it is stored: what was asked for, and what became known and was decided since.
//!
//! What this means and how it changes is said in the files above: each has the methods of its topic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::carrier::{Side, Stage, TaskSet};
use super::failure::{Failed, Failure};
use super::hosts::Hosts;
use super::order::Order;
use super::ordinals::Ordinals;
use super::request::{Ending, Request};
use crate::lifecycle::Event;
use crate::{DeploymentId, Pin, Timestamp};

/// The schema of the stored form. A reader accepts its own and the one before, and defers what is newer.
pub const SCHEMA: u32 = 2;

/// Most hosts of one dispatch batch; what one call of the push transport can take.
pub const BATCH_HOSTS_MAX: u32 = 50;

/// A deployment as it is stored. See [`Deployment::apply`] and [`Deployment::plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub(super) order: Order,
    pub(super) started_at: Option<Timestamp>,
    pub(super) latest: Timestamp,
    pub(super) pin: Option<Pin>,
    pub(super) broken: Option<Failure>,
    pub(super) sealed: bool,
    pub(super) hosts: Hosts,
    pub(super) batches: Vec<Batch>,
    pub(super) next_batch: u32,
    #[serde(rename = "asked")]
    pub(super) pending: Vec<Pending>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ramp: Vec<RampStep>,
    #[serde(default, skip_serializing_if = "Climb::is_begin")]
    pub(super) climb: Climb,
    #[serde(default, rename = "wishes", skip_serializing_if = "Steering::is_none")]
    pub(super) steering: Steering,
    #[serde(default, skip_serializing_if = "Pausing::has_not_begun")]
    pub(super) pausing: Pausing,
    #[serde(default, skip_serializing_if = "Watching::has_not_begun")]
    pub(super) watching: Watching,
    #[serde(default, skip_serializing_if = "Trouble::is_none")]
    pub(super) trouble: Trouble,
    #[serde(default, skip_serializing_if = "Shifting::has_not_begun")]
    pub(super) shifting: Shifting,
    pub(super) stop: Option<Stop>,
    #[serde(default, skip_serializing_if = "Ordinals::is_empty")]
    pub(super) halted: Ordinals,
    pub(super) ended: Option<Ended>,
}

impl Deployment {
    /// A deployment that was asked for and has not begun. `pin` is given where the bytes are kept already.
    pub fn new(order: Order, pin: Option<Pin>) -> Self {
        Self {
            latest: order.created_at,
            sealed: !order.has_hosts(),
            order,
            started_at: None,
            pin,
            broken: None,
            hosts: Hosts::default(),
            batches: Vec::new(),
            next_batch: 0,
            pending: Vec::new(),
            ramp: Vec::new(),
            climb: Climb::default(),
            steering: Steering::default(),
            pausing: Pausing::default(),
            watching: Watching::default(),
            trouble: Trouble::default(),
            shifting: Shifting::default(),
            stop: None,
            halted: Ordinals::default(),
            ended: None,
        }
    }
}

/// How many hosts were sent their first command from when to when; where the order has a ramp. They are counted in
/// steps of a tenth of a second, so that there are few however slowly they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RampStep {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) started: u32,
}

/// Hosts that were sent their command together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    pub(super) id: u32,
    pub(super) attempt: u8,
    pub(super) check_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) checked_at: Option<Timestamp>,
    /// Until its command was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sending: Option<Sending>,
    pub(super) hosts: Ordinals,
}

/// A request that was decided and whose outcome is not known yet. Those about batches are on their batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pending {
    #[serde(rename = "effect")]
    pub(super) request: Request,
    pub(super) tries: u32,
    pub(super) again_at: Timestamp,
}

/// A request to stop, and whether it asks for a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stop {
    pub(super) at: Timestamp,
    pub(super) roll_back: Option<bool>,
}

/// What two requests to stop want together: a rollback that one of them asks for is never dropped, and one that says
/// nothing takes nothing back.
pub fn either_roll_back(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one || other),
        (said, None) | (None, said) => said,
    }
}

/// How a deployment ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How.
    pub ending: Ending,
    /// The deployment that rolls this one back.
    pub rolled_back_by: Option<DeploymentId>,
}

/// Where a deployment stands on its ladder, or among its zones: a configuration has one or the other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Climb {
    /// The rung or the zone, from 0; as many as there are once all are done.
    pub rung: u32,
    /// Since when all its hosts have ended, and it bakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baking_since: Option<Timestamp>,
}

impl Climb {
    pub(super) fn is_begin(&self) -> bool {
        *self == Self::default()
    }
}

/// What people want of a deployment that is under way, all together. A later version replaces an earlier one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Steering {
    /// Rises with each change.
    pub version: u64,
    /// Nothing new is started.
    #[serde(default)]
    pub paused: bool,
    /// No rung holds the deployment back any more, and nothing bakes. Zones still go one after another.
    #[serde(default)]
    pub promoted: bool,
    /// Rungs or zones below this one do not bake any more.
    #[serde(default)]
    pub baked_below: u32,
    /// A shift that is ready waits no longer for a person.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continued: bool,
    /// The old side of a shift is kept no longer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ends_wait: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Steering {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How long a deployment was paused.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pausing {
    /// Since when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
    /// For how long it was before that, in milliseconds.
    pub(super) past_ms: u64,
}

impl Pausing {
    pub(super) fn has_not_begun(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the command of a batch was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Whether it will be refused again until somebody allows it; otherwise it passes by itself.
    pub denied: bool,
    /// What was refused, and by whom.
    pub message: String,
}

/// A batch whose command has not been accepted, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sending {
    /// How often it was sent.
    pub(super) tries: u32,
    /// When it is sent again.
    pub(super) again_at: Timestamp,
    /// When it was refused last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused_at: Option<Timestamp>,
    /// Since when it is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) denied_since: Option<Timestamp>,
}

/// What keeps commands from being accepted.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trouble {
    /// Why one was refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<Refusal>,
    /// One was denied for too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<Failed>,
}

impl Trouble {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How a shift stands.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Shifting {
    pub(super) stage: Stage,
    /// Since when.
    pub(super) since: Option<Timestamp>,
    /// Which of the two sides is the new one; none until the balancer was asked.
    pub(super) new_side: Option<u8>,
    /// How much of the traffic the new side has, in percent, as the balancer last said.
    pub(super) percent: u8,
    /// Until when a request that raises this may still come about, of which nobody knows what became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) late_until: Option<Timestamp>,
    /// Whether what carries the traffic has said that it is back, of a deployment that only takes it back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_back: bool,
    /// Hosts that are ready to get traffic and wait for it.
    #[serde(skip_serializing_if = "Ordinals::is_empty")]
    pub(super) waiting: Ordinals,
    /// Those of them that have done what is to be done before.
    #[serde(skip_serializing_if = "Ordinals::is_empty")]
    pub(super) poised: Ordinals,
    /// Whether the Auto Scaling group that is copied has its copy.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) copied: bool,
    /// The tasks of a service, as it last said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tasks: Vec<TaskSet>,
    /// Whether the new side has the test traffic.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) tested: bool,
    /// The side that was ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retired: Option<Side>,
    /// The hooks that have ended well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hooks: Vec<Event>,
    /// Why it goes no further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<Failed>,
}

impl Shifting {
    pub(super) fn has_not_begun(&self) -> bool {
        *self == Self::default()
    }
}

/// How watching stands.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Watching {
    /// When the alarms were last asked for.
    pub(super) asked_at: Option<Timestamp>,
    /// Whether they were read once.
    pub(super) has_read: bool,
    /// How often in a row one of them could not be read.
    pub(super) unreadable: u32,
    /// What fired.
    pub(super) alarm: Option<Alarm>,
    /// When those hosts with the new version that could be spared had no traffic any more.
    pub(super) withdrawn_at: Option<Timestamp>,
    /// How many hosts with the new version keep it all the same.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) kept: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Watching {
    pub(super) fn has_not_begun(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a watched deployment is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// When that became known.
    pub at: Timestamp,
    /// The alarms that fire; none if they cannot be read.
    pub names: Vec<String>,
    /// Why they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// What those that fire had to say beyond that, for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
}
