//! Deciding: what to do now, and when to ask again.

use super::hosts::HostState;
use super::request::{Plan, Request};
use super::state::{BATCH_HOSTS_MAX, Deployment, RampStep};
use crate::Timestamp;
use crate::health::Fleet;

impl Deployment {
    /// How often a host is sent its command before it counts as not started.
    pub(super) const ATTEMPTS: u8 = 2;

    /// The time in which a ramp counts hosts, in milliseconds.
    pub(super) const RAMP_MS: u64 = 1_000;

    /// What to do at `now`, from the state alone. A plan either has requests or wakes later than `now`, except for a
    /// deployment that has ended.
    pub fn plan(&self, now: Timestamp) -> Plan {
        let now = now.max(self.latest);
        if self.ended.is_some() {
            return Plan::default();
        }
        if let Some(ending) = self.ending(now) {
            return Plan { requests: vec![Request::End(ending)], wake_at: None };
        }
        let mut requests = Vec::new();
        self.watch(now, &mut requests);
        self.shift(now, &mut requests);
        if self.halted_at(now).is_none() {
            self.prepare(now, &mut requests);
            self.send_again(now, &mut requests);
            self.dispatch(now, &mut requests);
        }
        self.check_batches(now, &mut requests);
        Plan { wake_at: self.wake_after(now, &requests), requests }
    }

    /// Since when nothing new is started and hosts are told not to go on.
    pub(super) fn halted_at(&self, now: Timestamp) -> Option<Timestamp> {
        let deadline = Some(self.deadline(now)).filter(|deadline| now >= *deadline);
        let alarm = self.alarm().map(|alarm| alarm.at);
        // Also what has failed just now, and is not stored: what was made for it may have to be ended first.
        let shift = self.order.shift.as_ref();
        let failed = shift.and_then(|_| self.shifting_at(now).failed).map(|failed| failed.at);
        let denied = self.denied_at(now).map(|failed| failed.at);
        let stop = self.stop.map(|stop| stop.at);
        stop.into_iter().chain(alarm).chain(failed).chain(denied).chain(deadline).min()
    }

    /// How much longer than the silence time-out the server waits, for the time that messages take.
    pub(super) fn margin_ms(&self) -> u64 {
        (self.order.silence_ms / 10).max(500)
    }

    fn prepare(&self, now: Timestamp, requests: &mut Vec<Request>) {
        if self.broken.is_some() || !self.order.has_hosts() {
            return;
        }
        if self.pin.is_none() && self.is_due(&Request::PinRevision, now) {
            requests.push(Request::PinRevision);
        }
        // Who is on the new side of a shift can be said only when it is known which that is.
        let is_known = self.order.shift.is_none() || (self.is_free() && self.are_hosts_there());
        if !self.sealed && is_known && self.is_due(&Request::EnrolHosts, now) {
            requests.push(Request::EnrolHosts);
        }
    }

    /// Whether a request was not made, or so long ago that its outcome must be lost.
    pub(super) fn is_due(&self, request: &Request, now: Timestamp) -> bool {
        self.pending(request).is_none_or(|pending| pending.again_at <= now)
    }

    /// Whether a request was made as often as it may be, and the last time was too long ago as well.
    pub(super) fn is_in_vain(&self, request: &Request, now: Timestamp) -> bool {
        let Some(pending) = self.pending(request) else { return false };
        let is_spent = |most: u32| pending.tries >= most;
        pending.again_at <= now && self.traits(request, now).tries.is_some_and(is_spent)
    }

    fn dispatch(&self, now: Timestamp, requests: &mut Vec<Request>) {
        if !self.is_ready() {
            return;
        }
        let mut batch = self.next_batch;
        let mut push = |attempt: u8, hosts: &[u32]| {
            for hosts in hosts.chunks(usize::try_from(BATCH_HOSTS_MAX).unwrap_or(1)) {
                requests.push(Request::Dispatch {
                    batch,
                    attempt,
                    hosts: hosts.iter().copied().collect(),
                });
                batch += 1;
            }
        };
        if self.hosts.count(HostState::Unclaimed) > 0 {
            push(Self::ATTEMPTS, &self.unclaimed());
        }
        let fleet = self.fleet();
        if !self.must_stop(&fleet, now) {
            let limit = self.may_start(&fleet, now).min(self.ramp_allows(now));
            let limit = limit.min(self.sending_allows());
            push(1, &self.next_hosts(limit, now));
        }
    }

    /// Whether hosts can be sent their commands.
    fn is_ready(&self) -> bool {
        let is_free = self.order.shift.is_none() || self.is_free();
        is_free && self.pin.is_some() && self.sealed && !self.awaits_first_reading()
    }

    /// How many more hosts the rules and the ladder let start.
    fn may_start(&self, fleet: &Fleet, now: Timestamp) -> u32 {
        self.rules_allow(fleet, now).min(self.ladder_allows(fleet, now))
    }

    /// How many more hosts may be sent their first command in the second that ends now.
    fn ramp_allows(&self, now: Timestamp) -> u32 {
        let Some(most) = self.order.start_ramp else { return u32::MAX };
        let counted = self.ramp.iter().filter(|step| step.counts_at(now));
        most.max(1).saturating_sub(counted.map(|step| step.started).sum())
    }

    /// When the ramp allows hosts that it holds back at `now`.
    fn ramp_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.order.start_ramp?;
        if self.halted_at(now).is_some() || !self.is_ready() {
            return None;
        }
        let fleet = self.fleet();
        let wanted = self.may_start(&fleet, now).min(fleet.untouched()).min(self.sending_allows());
        let is_held_back = wanted > 0 && !self.must_stop(&fleet, now);
        let first = self.ramp.iter().find(|step| step.counts_at(now));
        is_held_back.then(|| first.map_or(now, |step| step.until).plus_ms(Self::RAMP_MS))
    }

    fn unclaimed(&self) -> Vec<u32> {
        let is_unclaimed = |ordinal: &u32| {
            self.hosts.get(*ordinal).is_some_and(|host| host.state == HostState::Unclaimed)
        };
        let mut found: Vec<u32> =
            self.batches.iter().flat_map(|batch| batch.hosts.iter()).filter(is_unclaimed).collect();
        found.sort_unstable();
        found
    }

    fn check_batches(&self, now: Timestamp, requests: &mut Vec<Request>) {
        let halt = self.halted_at(now);
        for batch in &self.batches {
            let before_halt =
                halt.is_some_and(|halt| batch.checked_at.is_none_or(|checked| checked < halt));
            // Hosts are looked at last: there are many, and this is asked for with each fact.
            let is_due =
                batch.check_at <= now || (before_halt && self.unclaimed_of(batch).next().is_some());
            if !is_due {
                continue;
            }
            requests.push(Request::CheckHosts {
                batch: batch.id,
                shut_out: halt.is_some()
                    || (batch.attempt >= Self::ATTEMPTS && batch.sending.is_none()),
                give_up_before: Timestamp(
                    now.0.saturating_sub(self.order.silence_ms + self.margin_ms()),
                ),
            });
        }
    }

    /// The next moment at which time alone changes the plan, once `requests` were decided at `now`.
    fn wake_after(&self, now: Timestamp, requests: &[Request]) -> Option<Timestamp> {
        if requests.is_empty() {
            return self.next_moment(now);
        }
        let mut decided = self.clone();
        decided.decide(now, requests);
        decided.next_moment(now)
    }

    fn next_moment(&self, now: Timestamp) -> Option<Timestamp> {
        let pending = self.pending.iter().map(|pending| pending.again_at);
        pending
            .chain(self.batches.iter().map(|batch| batch.check_at))
            .chain(self.sending_moments())
            .chain(self.ramp_at(now))
            .chain(self.reads_alarms_at(now))
            .chain(self.has_baked_at(self.climb_at(now), now))
            .chain(self.shift_moment(now))
            .chain(self.shifting.late_until)
            .chain([self.checks_in_pause(now).unwrap_or_else(|| self.deadline(now))])
            .filter(|at| *at > now)
            .min()
    }
}

impl RampStep {
    /// Whether its hosts count against the second that ends at `now`.
    pub(super) fn counts_at(&self, now: Timestamp) -> bool {
        now.since_ms(self.until) < Deployment::RAMP_MS
    }
}
