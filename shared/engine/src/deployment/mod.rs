//! The deployment: a state that facts change and a plan is made from.
//!
//! [`Deployment::apply`] is the only code that changes it, [`Deployment::plan`] the only code that decides. Both are
//! pure. Whatever is decided is folded into the state as [`Fact::Decided`] and stored before it is done, so that a
//! crash between any two steps loses nothing; requests may be performed twice.

mod apply;
mod carrier;
mod climb;
mod fact;
mod gate;
mod hosts;
mod moves;
mod order;
mod ordinals;
mod pause;
mod plan;
mod request;
mod sending;
mod shift;
mod stages;
mod verdict;
mod watch;
mod zones;

use serde::{Deserialize, Serialize};

pub use carrier::{Carrier, CarrierTraits, ScalingCopy, Shift, Side, Stage, TaskSet};
pub use climb::{Climb, Steering};
pub use fact::{Fact, HostSeen, Sighting};
pub use gate::{Fired, Gate};
pub use hosts::{Host, HostState, Hosts};
pub use order::{AutoRollback, Creator, Fallback, Order, Traffic};
pub use ordinals::{Ordinals, OrdinalsError};
use pause::Pausing;
pub use request::{Ending, Performer, Plan, Request, Traits};
pub use sending::{DENIED_MS, Refusal};
use sending::{Sending, Trouble};
use shift::Shifting;
pub use stages::{COPY_MS, HOOK_MS, TASKS_MS};
pub use verdict::{Failure, FailureCode};
use watch::Watching;
pub use watch::{Alarm, Watch};

use crate::ladder::Ladder;
use crate::lifecycle::Event;
use crate::{DeploymentId, Pin, Timestamp};

/// The schema of the stored form. A reader accepts its own and the one before, and defers what is newer.
pub const SCHEMA: u32 = 2;

/// Most hosts of one dispatch batch; what one call of the push transport can take.
pub const BATCH_HOSTS_MAX: u32 = 50;

/// Why a host may not go on that the deployment does not wait for.
pub const NOT_WAITED_FOR: &str = "the deployment does not wait for this host any more";

/// How long hosts that are sent their first command are counted together, in milliseconds.
const RAMP_STEP_MS: u64 = 100;

/// CodeDeploy's status of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Accepted, and not begun.
    Created,
    /// Under way.
    InProgress,
    /// Waits for a person before its traffic moves.
    Ready,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended because somebody asked for it.
    Stopped,
}

impl Status {
    /// Whether nothing will change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Stopped)
    }

    /// CodeDeploy's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::InProgress => "InProgress",
            Self::Ready => "Ready",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Stopped => "Stopped",
        }
    }
}

/// A deployment as it is stored. See [`Deployment::apply`] and [`Deployment::plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    order: Order,
    started_at: Option<Timestamp>,
    latest: Timestamp,
    pin: Option<Pin>,
    broken: Option<Failure>,
    sealed: bool,
    hosts: Hosts,
    batches: Vec<Batch>,
    next_batch: u32,
    #[serde(rename = "asked")]
    pending: Vec<Pending>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ramp: Vec<RampStep>,
    #[serde(default, skip_serializing_if = "Climb::is_begin")]
    climb: Climb,
    #[serde(default, rename = "wishes", skip_serializing_if = "Steering::is_none")]
    steering: Steering,
    #[serde(default, skip_serializing_if = "Pausing::has_not_begun")]
    pausing: Pausing,
    #[serde(default, skip_serializing_if = "Watching::has_not_begun")]
    watching: Watching,
    #[serde(default, skip_serializing_if = "Trouble::is_none")]
    trouble: Trouble,
    #[serde(default, skip_serializing_if = "Shifting::has_not_begun")]
    shifting: Shifting,
    stop: Option<Stop>,
    #[serde(default, skip_serializing_if = "Ordinals::is_empty")]
    halted: Ordinals,
    ended: Option<Ended>,
}

/// How many hosts were sent their first command from when to when; where the order has a ramp. They are counted in
/// steps of a tenth of a second, so that there are few however slowly they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RampStep {
    since: Timestamp,
    until: Timestamp,
    started: u32,
}

impl RampStep {
    /// Whether its hosts count against the second that ends at `now`.
    fn counts_at(&self, now: Timestamp) -> bool {
        now.since_ms(self.until) < Deployment::RAMP_MS
    }
}

/// Hosts that were sent their command together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Batch {
    id: u32,
    attempt: u8,
    check_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checked_at: Option<Timestamp>,
    /// Until its command was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sending: Option<Sending>,
    hosts: Ordinals,
}

/// A request that was decided and whose outcome is not known yet. Those about batches are on their batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pending {
    #[serde(rename = "effect")]
    request: Request,
    tries: u32,
    again_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    at: Timestamp,
    roll_back: Option<bool>,
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

    /// The deployment that takes `self` back to its fallback, if there is one.
    pub fn rollback(&self, id: DeploymentId, generation: u64, now: Timestamp) -> Option<Self> {
        let fallback = self.order.fallback.clone()?;
        let description = format!("Rolls back deployment {}", self.order.id);
        let order = Order {
            id,
            generation,
            creator: Creator::Rollback,
            created_at: now.max(self.latest),
            revision: fallback.revision.clone(),
            rolls_back: Some(self.order.id.clone()),
            description: Some(description),
            file_exists_behavior: fallback.file_exists_behavior,
            auto_rollback: AutoRollback::default(),
            // What worked before comes back as fast as the rule allows, and whatever fires meanwhile.
            ladder: Ladder::default(),
            zonal: None,
            watch: None,
            ..self.order.clone()
        };
        Some(Self::new(order, Some(fallback.pin)))
    }

    /// What was asked for.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The deployment's id.
    pub fn id(&self) -> &DeploymentId {
        &self.order.id
    }

    /// The status, in CodeDeploy's words.
    pub fn status(&self) -> Status {
        match (&self.ended, self.started_at) {
            (Some(ended), _) => ended.ending.status,
            (None, Some(_)) if self.awaits_person() => Status::Ready,
            (None, Some(_)) => Status::InProgress,
            (None, None) => Status::Created,
        }
    }

    /// When the first request was decided.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// When the last decision was made, or the last request to stop came.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// How it ended.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// The bytes that are deployed, once they are known.
    pub fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// The lifecycle events that each host runs, in order.
    pub fn events(&self) -> &'static [Event] {
        self.order.events()
    }

    /// The event that a host begins only when it is told to, and before which it may wait for long.
    pub fn held_before(&self) -> Option<Event> {
        self.order.held_before()
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
    fn pending(&self, request: &Request) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.request == *request)
    }

    /// When a request was made last.
    fn made_at(&self, pending: &Pending) -> Timestamp {
        let Traits { again_ms, .. } = self.traits(&pending.request, self.latest);
        Timestamp(pending.again_at.0.saturating_sub(again_ms))
    }

    /// Whether the host was sent the command of this attempt, and has not claimed it as far as is known.
    pub fn awaits_claim(&self, ordinal: u32, attempt: u8) -> bool {
        self.hosts.get(ordinal).is_some_and(|host| {
            host.attempt == attempt && matches!(host.state, HostState::Sent | HostState::Unclaimed)
        })
    }

    /// Whether all hosts are enrolled.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// The hosts.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The hosts of a batch that are in flight.
    pub fn outstanding(&self, batch: u32) -> Ordinals {
        self.batches.iter().filter(|b| b.id == batch).flat_map(|b| self.in_flight(b)).collect()
    }

    /// Whether a host ended because it was told to begin nothing more: none of its events failed.
    pub fn was_halted(&self, ordinal: u32) -> bool {
        let has_ended = |host: Host| host.state == HostState::Failed;
        self.halted.contains(ordinal) && self.hosts.get(ordinal).is_some_and(has_ended)
    }

    /// How many hosts did.
    pub fn halted(&self) -> u32 {
        let halted = self.halted.iter().filter(|ordinal| self.was_halted(*ordinal)).count();
        u32::try_from(halted).unwrap_or(u32::MAX)
    }

    /// All hosts that are in flight.
    pub fn all_outstanding(&self) -> impl Iterator<Item = u32> + '_ {
        self.batches.iter().flat_map(|batch| self.in_flight(batch))
    }

    fn in_flight<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = u32> + 'a {
        batch
            .hosts
            .iter()
            .filter(|ordinal| self.hosts.get(*ordinal).is_some_and(|host| host.state.in_flight()))
    }

    /// Whether somebody asked for it to stop.
    pub fn stop_requested(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether a request to stop with this wish is known, and taken into account.
    pub fn has_heard_stop(&self, roll_back: Option<bool>) -> bool {
        self.stop.is_some_and(|stop| either_roll_back(stop.roll_back, roll_back) == stop.roll_back)
    }

    /// Whether the deployment still waits for what the host has to say, even if the host starts nothing more.
    pub fn waits_for(&self, ordinal: u32) -> bool {
        let in_flight = self.hosts.get(ordinal).is_some_and(|host| host.state.in_flight());
        self.ended.is_none() && in_flight
    }

    /// Whether the host may claim its command or start its next event. Withholding it is how stops and time-outs act.
    ///
    /// # Errors
    /// Why not, as a sentence for the host's log.
    pub fn may_proceed(&self, ordinal: u32, now: Timestamp) -> Result<(), &'static str> {
        self.gate().may_proceed(now)?;
        let in_flight = self.hosts.get(ordinal).is_some_and(|host| host.state.in_flight());
        in_flight.then_some(()).ok_or(NOT_WAITED_FOR)
    }

    /// How long a host may go on without hearing from the server, in milliseconds: half of the silence time-out.
    pub fn lease_ms(&self) -> u64 {
        self.order.silence_ms / 2
    }

    /// How long the whole may take, in milliseconds; pauses come on top. So does how long zones bake, once it is known how
    /// many there are.
    pub fn limit_ms(&self) -> u64 {
        self.order.total_ms.saturating_add(self.zones_bake_ms())
    }

    /// When the time is over that the deployment may take, if it is paused no longer than until `now`.
    fn deadline(&self, now: Timestamp) -> Timestamp {
        let limit_ms = self.limit_ms().saturating_add(self.paused_ms(now));
        self.order.created_at.plus_ms(limit_ms)
    }
}

#[cfg(test)]
mod tests;
