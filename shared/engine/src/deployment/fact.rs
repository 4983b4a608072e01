//! Facts: what happened. Past tense; each is true whatever the deployment makes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::carrier::{Side, TaskSet};
use super::failure::Failure;
use super::request::{Plan, Request};
use super::state::{Refusal, Steering};
use crate::health::LeftAlone;
use crate::lifecycle::Event;
use crate::zonal::Zone;
use crate::{DeploymentId, Pin, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// The revision was found, checked, and its bytes are kept.
    RevisionPinned(Pin),
    /// The revision cannot be deployed.
    RevisionRefused(Failure),
    /// All hosts are enrolled, the first `unhealthy` of `total` were unhealthy or new to the group.
    RosterSealed {
        /// The number of hosts.
        total: u32,
        /// How many of them come first for that reason.
        unhealthy: u32,
        /// How many of those come before all others, because they have no traffic that could be taken from them.
        out: u32,
    },
    /// The same of a rollback that goes to a part of its group.
    PartSealed {
        /// The number of hosts that it goes to.
        total: u32,
        /// How many of them come first.
        unhealthy: u32,
        /// How many of those come before all others, because they have no traffic that could be taken from them.
        out: u32,
        /// The other hosts of the group.
        left_alone: LeftAlone,
    },
    /// All hosts are enrolled, in the order of these zones, to which the deployment goes one after another.
    ZonesSealed(Vec<Zone>),
    /// Hosts arrived after the roster was sealed; with them there are `total`, gone ones included.
    HostsArrived {
        /// The number of hosts.
        total: u32,
    },
    /// Hosts reported, or were looked at.
    HostsSeen(Vec<HostSeen>),
    /// What brings a batch its command has accepted it: its hosts can claim it.
    BatchAccepted {
        /// The batch.
        batch: u32,
        /// When.
        at: Timestamp,
    },
    /// What brings a batch its command did not accept it.
    BatchRefused {
        /// The batch.
        batch: u32,
        /// When. A later refusal is a later one by this.
        at: Timestamp,
        /// Why.
        refusal: Refusal,
    },
    /// All outstanding hosts of a batch were looked at.
    BatchChecked {
        /// The batch.
        batch: u32,
        /// What was found.
        seen: Vec<HostSeen>,
    },
    /// Hosts do not exist any more, on explicit evidence.
    HostsGone(Vec<u32>),
    /// Hosts were down when they were offered their command.
    HostsDown {
        /// Which.
        hosts: Vec<u32>,
        /// How long they have to claim it all the same.
        until: Timestamp,
    },
    /// Somebody asked for the deployment to stop.
    StopRequested {
        /// When.
        at: Timestamp,
        /// Whether it shall be rolled back; unsaid, the group's setting decides.
        roll_back: Option<bool>,
    },
    /// The alarms were read.
    AlarmsRead {
        /// Those that fire.
        firing: Vec<String>,
        /// Why one of them could not be read.
        unreadable: Option<String>,
        /// What those that fire have to say beyond that, for people.
        notes: BTreeMap<String, String>,
    },
    /// After an alarm, those hosts with the new version that could be spared have no traffic any more.
    Withdrawn {
        /// How many keep it, because the rule of minimum healthy hosts demands that or nobody else could take it.
        kept: u32,
    },
    /// What carries the traffic of a shift says how much of it the second side has.
    SidesFound {
        /// In percent.
        percent_of_second: u8,
    },
    /// What carries the traffic of a shift cannot do what was asked of it.
    ShiftRefused {
        /// What was asked.
        request: Request,
        /// Why not.
        why: Failure,
    },
    /// The Auto Scaling group that is copied for the new side has its copy, and all instances of that can be reached.
    GroupCopied,
    /// The tasks of a service stand so: all its task sets that are in one of the two target groups.
    TasksSeen(Vec<TaskSet>),
    /// The new side of a shift has the test traffic, as what carries it says.
    TestTrafficMoved,
    /// What had the traffic, or what was made for the new side, is no more.
    Retired {
        /// Which.
        side: Side,
    },
    /// The new side of a shift has its share of the traffic, as what carries it says.
    TrafficMoved {
        /// In percent.
        percent: u8,
    },
    /// A hook function has said how it went, or could not be called.
    HookEnded {
        /// The event.
        event: Event,
        /// Why it failed.
        failed: Option<String>,
    },
    /// Somebody wants something of the deployment; all that people want, each time.
    Steered(Steering),
    /// A plan was made, and is about to be stored and performed.
    Decided {
        /// When.
        at: Timestamp,
        /// What.
        plan: Plan,
    },
    /// The end was stored, together with the group and, where there is one, the rollback.
    Ended {
        /// When.
        at: Timestamp,
        /// The deployment that rolls this one back.
        rolled_back_by: Option<DeploymentId>,
    },
}

/// The cumulative state of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSeen {
    /// Which host.
    pub ordinal: u32,
    /// How it was seen.
    pub sighting: Sighting,
}

/// How a host was seen. Later ones in this order are later in a host's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sighting {
    /// It has not claimed its command.
    Unclaimed,
    /// It claimed its command, and was last heard of then.
    Claimed {
        /// By the server's clock.
        heard_at: Timestamp,
        /// The event of a shift in which it waits for its traffic, once its balancer finds it healthy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits_in: Option<Event>,
    },
    /// It has not claimed its command, and no longer can.
    ShutOut,
    /// It was not heard of for too long, and is no longer listened to.
    GivenUp,
    /// All its events ended well.
    Succeeded,
    /// One of its events failed.
    Failed,
    /// It was told to begin nothing more, and ended without a failure.
    Halted,
    /// It is about to vanish, on explicit evidence, and has not claimed a command: it no longer can.
    Leaving,
    /// It does not exist any more, on explicit evidence.
    Gone,
}
