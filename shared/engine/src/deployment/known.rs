//! What is known of a deployment, as anybody may ask.

use super::hosts::{Host, HostState, Hosts};
use super::order::Order;
use super::ordinals::Ordinals;
use super::state::{Batch, Deployment, Ended, either_roll_back};
use super::status::Status;
use crate::lifecycle::Event;
use crate::{DeploymentId, Pin, Timestamp};

/// Why a host may not go on that the deployment does not wait for.
pub const NOT_WAITED_FOR: &str = "the deployment does not wait for this host any more";

impl Deployment {
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

    pub(super) fn in_flight<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = u32> + 'a {
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
    pub(super) fn deadline(&self, now: Timestamp) -> Timestamp {
        let limit_ms = self.limit_ms().saturating_add(self.paused_ms(now));
        self.order.created_at.plus_ms(limit_ms)
    }
}
