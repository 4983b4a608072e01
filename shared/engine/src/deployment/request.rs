//! Requests: everything that a deployment may ask of the world, and the plan that names them.

use serde::{Deserialize, Serialize};

use super::carrier::Side;
use super::failure::Failure;
use super::ordinals::Ordinals;
use super::status::Status;
use crate::Timestamp;
use crate::lifecycle::Event;

/// Something to be done. It may be performed twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Fetch the revision, check it and keep its bytes. Outcome: `RevisionPinned` or `RevisionRefused`.
    PinRevision,
    /// Find the hosts, put them in order and write an item for each. Outcome: `RosterSealed`.
    EnrolHosts,
    /// Let these hosts know that there is a command to claim. Outcome: `BatchAccepted` or `BatchRefused`; then the hosts speak
    /// for themselves.
    Dispatch {
        /// The batch.
        batch: u32,
        /// The attempt of all its hosts.
        attempt: u8,
        /// The hosts.
        hosts: Ordinals,
    },
    /// Look at the outstanding hosts of a batch. Outcome: `BatchChecked`.
    CheckHosts {
        /// The batch.
        batch: u32,
        /// Shut out those that have not claimed their command.
        shut_out: bool,
        /// Give up those that were last heard of before this moment.
        give_up_before: Timestamp,
    },
    /// Read the alarms that watch the deployment. Outcome: `AlarmsRead`.
    ReadAlarms,
    /// Take the traffic from the hosts that have the new version, where others are left to take it. Outcome: `Withdrawn`,
    /// once the balancer says so.
    Withdraw,
    /// Ask what carries the traffic of a shift which of its two sides has it. Outcome: `SidesFound`.
    FindSides,
    /// Give the new side of a shift its share of the traffic, and the old one the rest. Outcome: `TrafficMoved`, once what
    /// carries it says so.
    MoveTraffic {
        /// How much, in percent.
        percent: u8,
    },
    /// Make a copy of an Auto Scaling group for the new side of a shift. Outcome: `GroupCopied`, once its instances can be
    /// reached.
    CopyGroup,
    /// Have the tasks of the new side of a service run. Outcome: `TasksSeen`, which may say that they do not yet.
    BringUp,
    /// Give the new side of a shift all of the test traffic. Outcome: `TestTrafficMoved`, once what carries it says so.
    MoveTestTraffic,
    /// End one side of a shift, which has no traffic any more. Outcome: `Retired`, once it is so.
    Retire {
        /// Which.
        side: Side,
    },
    /// Call the hook function of an event, once. Outcome: `HookEnded`, when the function says how it went.
    RunHook {
        /// The event.
        event: Event,
    },
    /// End the deployment: its own row, the group's, and that of the rollback or the waiting upload, in one
    /// transaction. Outcome: `Ended`.
    End(Ending),
}

/// How a deployment shall end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ending {
    /// `Succeeded`, `Failed` or `Stopped`.
    pub status: Status,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// Whether the fallback is deployed next.
    pub roll_back: bool,
    /// Why it is not, though the settings ask for it.
    pub rollback_refused: Option<String>,
}

impl Ending {
    pub(super) fn succeeded() -> Self {
        Self { status: Status::Succeeded, failure: None, roll_back: false, rollback_refused: None }
    }
}

/// What is decided at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What to do, in this order.
    pub requests: Vec<Request>,
    /// When to ask again, if no fact comes before; always later than the moment of the plan.
    pub wake_at: Option<Timestamp>,
}
