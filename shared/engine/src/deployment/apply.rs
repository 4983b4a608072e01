//! Folding facts into the state. A fact that comes twice, late or out of order changes nothing that it should not.

use super::fact::{Fact, HostSeen, Sighting};
use super::hosts::{Host, HostState, Hosts};
use super::ordinals::Ordinals;
use super::request::Request;
use super::state::{
    BATCH_HOSTS_MAX, Batch, Deployment, Ended, Pending, RampStep, Sending, Stop, either_roll_back,
};
use crate::{DeploymentId, Timestamp};

/// How long hosts that are sent their first command are counted together, in milliseconds.
const RAMP_STEP_MS: u64 = 100;

impl Deployment {
    /// Folds `fact` into the state. Returns whether the state changed.
    pub fn apply(&mut self, fact: Fact) -> bool {
        if self.ended.is_some() {
            return false;
        }
        match fact {
            Fact::RevisionPinned(pin) => {
                let asked = self.answered(&Request::PinRevision);
                let new = self.pin.is_none() && self.broken.is_none();
                if new {
                    self.pin = Some(pin);
                }
                asked || new
            }
            Fact::RevisionRefused(failure) => {
                let asked = self.answered(&Request::PinRevision);
                let new = self.pin.is_none() && self.broken.is_none();
                if new {
                    self.broken = Some(failure);
                }
                asked || new
            }
            Fact::RosterSealed { total, unhealthy, out } => {
                self.seal(|| Hosts::untouched(total, unhealthy).with_out(out))
            }
            Fact::PartSealed { total, unhealthy, out, left_alone } => {
                self.seal(|| Hosts::untouched(total, unhealthy).beside(left_alone).with_out(out))
            }
            Fact::ZonesSealed(zones) => self.seal(|| Hosts::untouched_in(zones)),
            // In a shift, who comes late is brought what the group has when the deployment has ended.
            Fact::HostsArrived { total } => {
                self.sealed && self.order.shift.is_none() && self.hosts.grow(total)
            }
            Fact::HostsSeen(seen) => seen.into_iter().filter(|host| self.see(*host)).count() > 0,
            Fact::BatchAccepted { batch, at } => self.accepted(batch, at),
            Fact::BatchRefused { batch, at, refusal } => self.refused(batch, at, refusal),
            Fact::BatchChecked { batch, seen } => self.check(batch, seen),
            Fact::HostsGone(gone) => gone.into_iter().filter(|host| self.lose(*host)).count() > 0,
            Fact::HostsDown { hosts, until } => self.are_down(hosts, until),
            Fact::StopRequested { at, roll_back } => self.request_stop(at, roll_back),
            Fact::AlarmsRead { firing, unreadable, notes } => {
                self.take_reading(firing, unreadable, notes)
            }
            Fact::Withdrawn { kept } => self.withdrawn(kept),
            Fact::SidesFound { percent_of_second } => self.find_sides(percent_of_second),
            Fact::ShiftRefused { request, why } => self.refuse_shift(&request, why),
            Fact::GroupCopied => self.has_copied(),
            Fact::TasksSeen(sets) => self.see_tasks(sets),
            Fact::TestTrafficMoved => self.has_tested(),
            Fact::Retired { side } => self.has_retired(side),
            Fact::TrafficMoved { percent } => self.has_moved(percent),
            Fact::HookEnded { event, failed } => self.end_hook(event, failed),
            Fact::Steered(steering) => self.steer(steering),
            Fact::Decided { at, plan } => self.decide(at, &plan.requests),
            Fact::Ended { at, rolled_back_by } => self.end(at, rolled_back_by),
        }
    }

    pub(super) fn answered(&mut self, request: &Request) -> bool {
        let before = self.pending.len();
        self.pending.retain(|pending| pending.request != *request);
        self.pending.len() != before
    }

    fn seal(&mut self, hosts: impl FnOnce() -> Hosts) -> bool {
        self.answered(&Request::EnrolHosts);
        if self.sealed {
            return false;
        }
        self.sealed = true;
        self.hosts = hosts();
        true
    }

    /// Takes the later of what is known and what was seen, by the place in a host's life. What ended stays ended.
    fn see(&mut self, seen: HostSeen) -> bool {
        let Some(known) = self.hosts.get(seen.ordinal) else { return false };
        let waits = match seen.sighting {
            Sighting::Claimed { waits_in: Some(event), .. } if known.state.in_flight() => {
                self.wait_in(seen.ordinal, event)
            }
            Sighting::Claimed { .. }
            | Sighting::Unclaimed
            | Sighting::ShutOut
            | Sighting::GivenUp
            | Sighting::Succeeded
            | Sighting::Failed
            | Sighting::Halted
            | Sighting::Leaving
            | Sighting::Gone => false,
        };
        let state = match seen.sighting {
            Sighting::Unclaimed => HostState::Sent,
            Sighting::Claimed { .. } => HostState::Running,
            Sighting::ShutOut if self.was_left_out(seen.ordinal) => HostState::Skipped,
            Sighting::ShutOut => HostState::NotStarted,
            Sighting::GivenUp => HostState::Silent,
            Sighting::Succeeded => HostState::Succeeded,
            // What runs there now is of no revision, so that it counts as one that failed; it is not shown as one.
            Sighting::Failed | Sighting::Halted => HostState::Failed,
            Sighting::Gone if known.state == HostState::Untouched => {
                return self.lose(seen.ordinal);
            }
            // What runs there may still end. A command that was not claimed cannot be any more.
            Sighting::Leaving => {
                let is_running = known.state.is_running_or_over();
                return !is_running && self.lose(seen.ordinal);
            }
            Sighting::Gone => HostState::Gone,
        };
        if !known.state.in_flight() || state <= known.state {
            return waits;
        }
        self.hosts.set(seen.ordinal, Host { state, attempt: known.attempt });
        if seen.sighting == Sighting::Halted {
            self.halted.insert(seen.ordinal);
        }
        if !state.in_flight() {
            self.wait_no_more(seen.ordinal);
            self.drop_finished_batches(seen.ordinal);
        }
        true
    }

    /// Folds a look at all outstanding hosts of a batch, and sets when to look again: when the host that was heard of
    /// first will have been silent for too long. Hosts that are late in claiming their command are sent it once more.
    fn check(&mut self, batch: u32, seen: Vec<HostSeen>) -> bool {
        let heard = seen.iter().filter_map(|host| match host.sighting {
            Sighting::Claimed { heard_at, .. } => Some(heard_at),
            Sighting::Unclaimed
            | Sighting::ShutOut
            | Sighting::GivenUp
            | Sighting::Succeeded
            | Sighting::Failed
            | Sighting::Halted
            | Sighting::Leaving
            | Sighting::Gone => None,
        });
        // Whatever is known of it: a command that all have claimed was accepted.
        let is_claimed = seen.iter().all(|host| host.sighting != Sighting::Unclaimed);
        let silent_at = heard.min().map(|at| at.plus_ms(self.order.silence_ms + self.margin_ms()));
        for host in seen {
            match host.sighting {
                Sighting::Unclaimed => self.mark_unclaimed(host.ordinal, batch),
                Sighting::Claimed { .. }
                | Sighting::ShutOut
                | Sighting::GivenUp
                | Sighting::Succeeded
                | Sighting::Failed
                | Sighting::Halted
                | Sighting::Leaving
                | Sighting::Gone => {
                    self.see(host);
                }
            }
        }
        if let (Some(at), Some(silent_at)) =
            (self.batches.iter().position(|b| b.id == batch), silent_at)
        {
            let mut batch = self.batches.remove(at);
            if is_claimed {
                batch.sending = None;
            }
            batch.check_at = silent_at.max(self.latest.plus_ms(1));
            batch.hosts = self.in_flight(&batch).collect();
            self.add_batch(batch);
            self.forget_refusal();
        }
        true
    }

    /// Marks a host that was looked at with `batch` as late, if it is.
    fn mark_unclaimed(&mut self, ordinal: u32, batch: u32) {
        let Some(host) = self.hosts.get(ordinal) else { return };
        let tells = |batch: &Batch| batch.tells_late() && batch.hosts.contains(ordinal);
        // It is still in that batch, or that was added to another one.
        let likely = self.batches.iter().filter(|known| known.id == batch);
        let is_late = likely.chain(&self.batches).any(tells);
        if is_late && host.state == HostState::Sent && host.attempt < Self::ATTEMPTS {
            self.hosts.set(ordinal, Host { state: HostState::Unclaimed, attempt: host.attempt });
        }
    }

    /// Gives hosts that were down when they were offered their command until `until` to claim it, and no second offer.
    fn are_down(&mut self, mut hosts: Vec<u32>, until: Timestamp) -> bool {
        hosts.retain(|ordinal| {
            let is_sent =
                self.hosts.get(*ordinal).is_some_and(|host| host.state == HostState::Sent);
            // Also when it is told again.
            let waits_longer = |batch: &Batch| {
                batch.hosts.contains(*ordinal)
                    && (batch.attempt < Self::ATTEMPTS || batch.check_at > until)
            };
            is_sent && self.batches.iter().any(waits_longer)
        });
        if hosts.is_empty() {
            return false;
        }
        for batch in &mut self.batches {
            batch.hosts = batch.hosts.iter().filter(|host| !hosts.contains(host)).collect();
        }
        self.batches.retain(|batch| !batch.hosts.is_empty());
        hosts.sort_unstable();
        self.add_batch(Batch {
            id: self.next_batch,
            attempt: Self::ATTEMPTS,
            check_at: until.max(self.latest.plus_ms(1)),
            checked_at: None,
            sending: None,
            hosts: hosts.into_iter().collect(),
        });
        self.next_batch += 1;
        true
    }

    fn lose(&mut self, ordinal: u32) -> bool {
        match self.hosts.get(ordinal) {
            None | Some(Host { state: HostState::Gone, .. }) => false,
            Some(host) => {
                self.hosts.set(ordinal, Host { state: HostState::Gone, attempt: host.attempt });
                self.wait_no_more(ordinal);
                self.drop_finished_batches(ordinal);
                true
            }
        }
    }

    fn request_stop(&mut self, at: Timestamp, roll_back: Option<bool>) -> bool {
        if let Some(stop) = &mut self.stop {
            let both = either_roll_back(stop.roll_back, roll_back);
            return std::mem::replace(&mut stop.roll_back, both) != both;
        }
        // Later than any check that was decided, so that the next plan looks at every batch once more.
        let at = at.max(self.latest.plus_ms(1));
        self.latest = at;
        self.stop = Some(Stop { at, roll_back });
        true
    }

    pub(super) fn decide(&mut self, at: Timestamp, requests: &[Request]) -> bool {
        let at = at.max(self.latest);
        self.latest = at;
        let (climb, shifting) = (self.climb_at(at), self.shifting_at(at));
        let has_climbed = self.climb != climb || self.shifting != shifting || self.pause_changes();
        self.climb = climb;
        self.shifting = shifting;
        self.fold_pause(at);
        self.fold_denial(at);
        if !requests.is_empty() {
            self.started_at.get_or_insert(at);
        }
        for request in requests {
            self.note(request, at);
        }
        has_climbed || !requests.is_empty()
    }

    /// Notes that a request is made at `at`, and when it is made again without an outcome.
    fn note(&mut self, request: &Request, at: Timestamp) {
        let again_at = at.plus_ms(self.traits(request, at).again_ms);
        if let Request::Dispatch { batch, attempt, hosts } = request {
            return self.send(*batch, *attempt, hosts, at, again_at);
        }
        if let Request::CheckHosts { batch, .. } = request {
            if let Some(batch) = self.batches.iter_mut().find(|known| known.id == *batch) {
                (batch.check_at, batch.checked_at) = (again_at, Some(at));
            }
            return;
        }
        if matches!(request, Request::MoveTraffic { .. }) {
            self.forget_moves(request);
        }
        if *request == Request::ReadAlarms {
            self.ask_for_alarms(at);
        }
        if !matches!(request, Request::End(_)) {
            self.make(request, again_at);
        }
    }

    /// Sends a batch its command, for the first time or again.
    fn send(
        &mut self,
        batch: u32,
        attempt: u8,
        hosts: &Ordinals,
        at: Timestamp,
        again_at: Timestamp,
    ) {
        let known = self.batches.iter_mut().find(|known| known.id == batch);
        if let Some(sending) = known.and_then(|known| known.sending.as_mut()) {
            sending.try_again(again_at);
            return;
        }
        if attempt == 1 {
            self.count_in_ramp(at, hosts.len());
        }
        for ordinal in hosts.iter() {
            self.drop_from_batches(ordinal);
            self.hosts.set(ordinal, Host { state: HostState::Sent, attempt });
        }
        self.add_batch(Batch {
            id: batch,
            attempt,
            check_at: at.plus_ms(self.order.silence_ms / 2),
            checked_at: None,
            sending: Some(Sending::begun(again_at)),
            hosts: hosts.clone(),
        });
        self.next_batch = self.next_batch.max(batch + 1);
    }

    /// Counts hosts that are sent their first command against the ramp.
    fn count_in_ramp(&mut self, at: Timestamp, hosts: u32) {
        if self.order.start_ramp.is_none() {
            return;
        }
        self.ramp.retain(|step| step.counts_at(at));
        match self.ramp.last_mut() {
            Some(step) if at.since_ms(step.since) < RAMP_STEP_MS => {
                step.until = at;
                step.started = step.started.saturating_add(hosts);
            }
            _ => self.ramp.push(RampStep { since: at, until: at, started: hosts }),
        }
    }

    /// Adds a batch, or its hosts to one of the same age that has room for them: where commands are sent one by one, as
    /// other hosts end, a batch for each of thousands of hosts would not fit into the row.
    ///
    /// The older batch's time to be looked at holds for both, so that a host may be looked at sooner than it would have
    /// been, by a twentieth of the silence time-out at most. Whether it is given up does not depend on that.
    pub(super) fn add_batch(&mut self, batch: Batch) {
        let window = self.order.silence_ms / 20;
        let fits = |other: &&mut Batch| {
            other.sending.is_none()
                && batch.sending.is_none()
                && other.attempt == batch.attempt
                && other.checked_at.is_some() == batch.checked_at.is_some()
                && other.check_at.since_ms(batch.check_at) <= window
                && batch.check_at.since_ms(other.check_at) <= window
                && other.hosts.len() + batch.hosts.len() <= BATCH_HOSTS_MAX
        };
        // The newest is the likeliest.
        match self.batches.iter_mut().rev().find(fits) {
            Some(other) => {
                other.hosts = other.hosts.union(&batch.hosts);
                other.check_at = other.check_at.min(batch.check_at);
                other.checked_at = other.checked_at.min(batch.checked_at);
            }
            None => self.batches.push(batch),
        }
    }

    fn make(&mut self, request: &Request, again_at: Timestamp) {
        match self.pending.iter_mut().find(|pending| pending.request == *request) {
            Some(pending) => {
                pending.tries += 1;
                pending.again_at = again_at;
            }
            None => self.pending.push(Pending { request: request.clone(), tries: 1, again_at }),
        }
    }

    fn end(&mut self, at: Timestamp, rolled_back_by: Option<DeploymentId>) -> bool {
        let at = at.max(self.latest);
        let Some(ending) = self.ending(at) else { return false };
        (self.climb, self.shifting) = (self.climb_at(at), self.shifting_at(at));
        self.latest = at;
        self.started_at.get_or_insert(at);
        let untouched: Vec<u32> = self.hosts.next_untouched(u32::MAX).collect();
        for ordinal in untouched {
            self.hosts.set(ordinal, Host { state: HostState::Skipped, attempt: 0 });
        }
        self.batches.clear();
        self.pending.clear();
        self.ended = Some(Ended { at, ending, rolled_back_by });
        true
    }

    /// Takes a host that is sent a new command out of the batch of its old one.
    fn drop_from_batches(&mut self, ordinal: u32) {
        if self.hosts.get(ordinal).is_none_or(|host| host.attempt == 0) {
            return;
        }
        for batch in self.batches.iter_mut().filter(|batch| batch.hosts.contains(ordinal)) {
            batch.hosts = batch.hosts.iter().filter(|other| *other != ordinal).collect();
        }
        self.batches.retain(|batch| !batch.hosts.is_empty());
    }

    /// Forgets the batch of `ordinal` once none of its hosts is in flight.
    fn drop_finished_batches(&mut self, ordinal: u32) {
        let hosts = &self.hosts;
        let in_flight =
            |ordinal: u32| hosts.get(ordinal).is_some_and(|host| host.state.in_flight());
        self.batches
            .retain(|batch| !batch.hosts.contains(ordinal) || batch.hosts.iter().any(in_flight));
    }
}
