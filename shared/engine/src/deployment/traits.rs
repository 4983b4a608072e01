//! What holds of each request, as its deployment stands: who performs it, when it is made again, what holds it back, and
//! whether it is still wanted.

use super::carrier::Shift;
use super::hosts::HostState;
use super::request::Request;
use super::sending::DENIED_MS;
use super::state::{Deployment, Pending};
use crate::Timestamp;

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

    /// Whether a request that was decided is still to be performed: nobody wants the outcome of one that was answered or is
    /// held back, nor a command for hosts that have claimed it, were sent another one, or have ended.
    pub fn wants(&self, request: &Request) -> bool {
        let is_over = self.ended.is_some() || self.traits(request, self.latest).is_held;
        !is_over && self.is_pending(request)
    }

    /// Whether a request was decided, and its outcome is not known.
    fn is_pending(&self, request: &Request) -> bool {
        if let Request::Dispatch { attempt, hosts, .. } = request {
            hosts.iter().any(|ordinal| self.awaits_claim(ordinal, *attempt))
        } else if let Request::CheckHosts { batch, .. } = request {
            self.batches.iter().any(|known| known.id == *batch)
        } else {
            matches!(request, Request::End(_)) || self.pending(request).is_some()
        }
    }

    /// A request whose outcome is not known, if it is not about a batch.
    pub(super) fn pending(&self, request: &Request) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.request == *request)
    }

    /// When a request was made last.
    pub(super) fn made_at(&self, pending: &Pending) -> Timestamp {
        let Traits { again_ms, .. } = self.traits(&pending.request, self.latest);
        Timestamp(pending.again_at.0.saturating_sub(again_ms))
    }

    /// Whether the host was sent the command of this attempt, and has not claimed it as far as is known.
    pub fn awaits_claim(&self, ordinal: u32, attempt: u8) -> bool {
        self.hosts.get(ordinal).is_some_and(|host| {
            host.attempt == attempt && matches!(host.state, HostState::Sent | HostState::Unclaimed)
        })
    }
}
