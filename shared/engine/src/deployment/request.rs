//! Requests: everything that a deployment may ask of the world, what holds of each, and the plan that names them.

use serde::{Deserialize, Serialize};

use super::{DENIED_MS, Deployment, Failure, Ordinals, Shift, Side, Status};
use crate::Timestamp;
use crate::lifecycle::Event;

/// How often hosts are withdrawn from traffic before the deployment ends without knowing that they are.
const WITHDRAWALS_MAX: u32 = 30;

/// How often a balancer is asked to move the traffic before the shift fails.
pub(super) const MOVES_MAX: u32 = 300;

/// How often what carries the traffic is asked to take it back, or to end a side, before the deployment ends without
/// knowing that it did.
const RETURNS_MAX: u32 = 30;

/// How often it is asked for the old hosts to be ended, ten seconds apart: a balancer may let their connections end for an
/// hour before that.
const DRAINS_MAX: u32 = 400;

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

/// Who performs a request. In the cloud it is the function of that name; at home all of it is one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Performer {
    /// Whoever decided it: nothing but the table is read and written.
    DeploymentStepper,
    /// `revision_intake`, which may read buckets.
    RevisionIntake,
    /// `hook_dispatcher`, which may send commands to hosts.
    HookDispatcher,
    /// `traffic_evaluator`, which may change who has traffic, and read alarms.
    TrafficEvaluator,
    /// `fleet_watcher`, which may look for hosts, and copy Auto Scaling groups.
    FleetWatcher,
}

/// What holds of a request, as its deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Who performs it.
    pub performer: Performer,
    /// How long after it was made its outcome may be missing before it is made again, in milliseconds.
    pub again_ms: u64,
    /// How often it is made before it is in vain; none where only the limits of the deployment and its stages end it.
    pub tries: Option<u32>,
    /// How long it may be refused before the deployment fails for that, in milliseconds; none where it is made again for
    /// as long as there are tries.
    pub fatal_after_ms: Option<u64>,
    /// Whether what became known since it was decided holds it back: a stop, an alarm, a failure, and for some a pause.
    pub is_held: bool,
}

impl Deployment {
    /// What holds of a request at `now`: the one place that says it.
    pub fn traits(&self, request: &Request, now: Timestamp) -> Traits {
        use Performer::{
            DeploymentStepper, FleetWatcher, HookDispatcher, RevisionIntake, TrafficEvaluator,
        };
        let halts = self.is_held();
        let pauses = halts || self.steering.paused;
        let makes = halts || self.is_retiring();
        let is_broken_off = || self.is_halted(now) || self.shifting.failed.is_some();
        let moves = || if is_broken_off() { RETURNS_MAX } else { MOVES_MAX };
        let has_hosts = self.order.shift.as_ref().is_some_and(Shift::has_hosts);
        let retires = if has_hosts { DRAINS_MAX } else { RETURNS_MAX };
        let unknown = self.shifting.new_side.is_none().then_some(0);
        let raises = |percent: u8| percent > self.shifting.percent;
        let (performer, again_ms, tries, fatal_after_ms, is_held) = match request {
            //                      who performs it, again after, tries, fatal after, what holds it
            Request::PinRevision => (RevisionIntake, 30_000, None, Some(0), false),
            Request::EnrolHosts => (FleetWatcher, 30_000, None, None, false),
            Request::Dispatch { .. } => (HookDispatcher, 30_000, None, Some(DENIED_MS), halts),
            Request::CheckHosts { .. } => (DeploymentStepper, 30_000, None, None, false),
            Request::ReadAlarms => (TrafficEvaluator, 10_000, None, None, false),
            Request::Withdraw => (TrafficEvaluator, 1_000, Some(WITHDRAWALS_MAX), None, false),
            Request::FindSides => (TrafficEvaluator, 10_000, None, unknown, false),
            Request::MoveTraffic { percent } if raises(*percent) => {
                (TrafficEvaluator, 1_000, Some(moves()), Some(0), pauses)
            }
            Request::MoveTraffic { .. } => (TrafficEvaluator, 1_000, Some(moves()), None, false),
            Request::CopyGroup => (FleetWatcher, 10_000, None, Some(0), makes),
            Request::BringUp => (TrafficEvaluator, 5_000, None, Some(0), makes),
            Request::MoveTestTraffic => (TrafficEvaluator, 5_000, None, Some(0), makes),
            Request::Retire { side } => {
                (TrafficEvaluator, 10_000, Some(retires), None, !self.may_retire(*side))
            }
            Request::RunHook { .. } => (TrafficEvaluator, 30_000, None, None, false),
            Request::End(_) => (DeploymentStepper, 30_000, None, None, false),
        };
        Traits { performer, again_ms, tries, fatal_after_ms, is_held }
    }
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
