//! Blue/green: what has the traffic stays as it is, and the traffic goes to something else all together
//! (`docs/semantics.md#blue-green`).
//!
//! Here is what becomes known of a shift. Which stage it is in and what it asks for are in `stages` and `moves`.

use super::carrier::{Carrier, Shift, Side, Stage, TaskSet};
use super::failure::{Failed, Failure, FailureCode};
use super::ordinals::Ordinals;
use super::request::Request;
use super::state::{Deployment, Pending};
use crate::Timestamp;
use crate::health::Fleet;
use crate::lifecycle::Event;

/// How long after it was made a request that raises the new side's share may still come about, in milliseconds: it is given
/// up after five seconds, and what carries the traffic may take some more.
const LATE_MS: u64 = 15_000;

impl Deployment {
    /// The stage of a shift; none where traffic does not move all together.
    pub fn stage(&self) -> Option<Stage> {
        self.order.shift.as_ref().map(|_| self.shifting.stage)
    }

    /// What carries the traffic of a shift; none where traffic does not move all together.
    pub fn carrier(&self) -> Option<&Carrier> {
        self.order.carrier()
    }

    /// How much of the traffic the new side of a shift has, in percent, as was last read.
    pub fn percent(&self) -> Option<u8> {
        self.order.shift.as_ref().map(|_| self.shifting.percent)
    }

    /// The events of a shift that call a function; none where hooks are scripts on hosts.
    pub fn hook_events(&self) -> Option<&[Event]> {
        self.order.shift.as_ref()?.traits.hooks.as_deref()
    }

    /// Whether a person is waited for.
    pub fn awaits_person(&self) -> bool {
        let waits = self.order.shift.as_ref().is_some_and(|shift| shift.ready_wait_ms.is_some());
        waits && self.shifting.stage == Stage::Ready && self.ended.is_none()
    }

    /// Until when a person or a hook function is waited for, or the old side is kept.
    pub fn stage_until(&self) -> Option<Timestamp> {
        self.lasts_until(&self.shifting, self.latest)
    }

    /// The tasks of the service that a shift is of, as it last said.
    pub fn task_sets(&self) -> &[TaskSet] {
        &self.shifting.tasks
    }

    /// The new one of the two sides, 0 or 1, once it is known.
    pub fn new_side(&self) -> Option<u8> {
        self.shifting.new_side
    }

    /// Which side of a shift was ended.
    pub fn retired(&self) -> Option<Side> {
        self.shifting.retired
    }

    /// The hosts of a shift that are installed and wait for their traffic to move.
    pub fn waiting(&self) -> &Ordinals {
        &self.shifting.waiting
    }

    /// Whether a host is installed and waits until the traffic may move.
    pub fn is_waiting(&self, ordinal: u32) -> bool {
        self.shifting.stage <= Stage::Ready && self.shifting.waiting.contains(ordinal)
    }

    /// Those of them that have done what is to be done before they get traffic.
    pub fn poised(&self) -> &Ordinals {
        &self.shifting.poised
    }

    /// The hosts as the rule of minimum healthy hosts sees them: one that waits for its traffic has succeeded so far.
    pub(super) fn fleet(&self) -> Fleet {
        let mut fleet = self.hosts.fleet();
        let waiting = self.shifting.waiting.len().min(fleet.in_flight);
        fleet.in_flight -= waiting;
        fleet.succeeded += waiting;
        fleet
    }

    /// Takes it that a host waits in an event of a shift.
    pub(super) fn wait_in(&mut self, ordinal: u32, event: Event) -> bool {
        if self.order.shift.is_none() {
            return false;
        }
        let one: Ordinals = [ordinal].into_iter().collect();
        let shifting = &mut self.shifting;
        let known = (shifting.waiting.len(), shifting.poised.len());
        shifting.waiting = shifting.waiting.union(&one);
        if event == Event::AllowTraffic {
            shifting.poised = shifting.poised.union(&one);
        }
        known != (shifting.waiting.len(), shifting.poised.len())
    }

    /// Takes it that a host waits no more, whatever became of it.
    pub(super) fn wait_no_more(&mut self, ordinal: u32) {
        if !self.shifting.waiting.contains(ordinal) {
            return;
        }
        let without = |all: &Ordinals| all.iter().filter(|other| *other != ordinal).collect();
        self.shifting.waiting = without(&self.shifting.waiting);
        self.shifting.poised = without(&self.shifting.poised);
    }

    /// Takes what the balancer says of the two sides: how much of the traffic the second one has.
    pub(super) fn find_sides(&mut self, percent_of_second: u8) -> bool {
        let was_asked = self.answered(&Request::FindSides);
        if self.shifting.new_side.is_some() || self.order.shift.is_none() {
            return was_asked;
        }
        let second = percent_of_second.min(100);
        // The new side is the one that has less. Weights start from what is read.
        let lesser = if second <= 50 { 1 } else { 0 };
        let side = match self.order.shift.as_ref() {
            Some(Shift { back_to: Some(back_to), .. }) => (*back_to).min(1),
            Some(shift) if shift.traits.second_is_new => 1,
            Some(_) | None => lesser,
        };
        let percent = if side == 1 { second } else { 100 - second };
        self.shifting.new_side = Some(side);
        self.shifting.percent = percent;
        true
    }

    /// The new side has so much of the traffic, as was read back.
    pub(super) fn has_moved(&mut self, percent: u8) -> bool {
        let request = Request::MoveTraffic { percent };
        let Some(pending) = self.pending(&request) else { return false };
        let (made_at, tries) = (self.made_at(pending), pending.tries);
        self.answered(&request);
        if percent > self.shifting.percent && tries > 1 {
            // An earlier one was not answered.
            self.expect_late(made_at);
        }
        if percent == 0 && self.shifting.late_until.is_some_and(|until| made_at >= until) {
            self.shifting.late_until = None;
        }
        self.shifting.percent = percent;
        self.shifting.is_back |= percent == 100 && self.only_goes_back();
        true
    }

    /// Whether the deployment does nothing but take traffic back.
    pub(super) fn only_goes_back(&self) -> bool {
        self.order.shift.as_ref().is_some_and(|shift| shift.back_to.is_some())
    }

    /// Takes it that a request that was made at `made_at` may come about until some time later.
    fn expect_late(&mut self, made_at: Timestamp) {
        self.shifting.late_until = self.shifting.late_until.max(self.late_until_of(made_at));
    }

    /// Until when a request that was made at `made_at` may come about.
    fn late_until_of(&self, made_at: Timestamp) -> Option<Timestamp> {
        // What is late finds what is changed only as it was read to be another one, and does nothing.
        let is_fenced = self.order.shift.as_ref().is_some_and(|shift| shift.traits.fenced);
        (!is_fenced).then(|| made_at.plus_ms(LATE_MS))
    }

    /// A hook function has said how it went.
    pub(super) fn end_hook(&mut self, event: Event, failed: Option<String>) -> bool {
        let was_asked = self.answered(&Request::RunHook { event });
        if !was_asked || self.shifting.hooks.contains(&event) {
            return was_asked;
        }
        match failed {
            None => self.shifting.hooks.push(event),
            Some(message) => self.fail_shift(Failure { code: FailureCode::HookFailed, message }),
        }
        true
    }

    /// The tasks of a service stand so.
    pub(super) fn see_tasks(&mut self, sets: Vec<TaskSet>) -> bool {
        if self.pending(&Request::BringUp).is_none() {
            return false;
        }
        let is_new = self.shifting.tasks != sets;
        self.shifting.tasks = sets;
        // Asked again until they are steady.
        let is_steady = self.are_tasks_steady() && self.answered(&Request::BringUp);
        is_new || is_steady
    }

    pub(super) fn are_tasks_steady(&self) -> bool {
        let mut sets = self.shifting.tasks.iter();
        sets.any(|set| Some(set.side) == self.shifting.new_side && set.is_steady)
    }

    /// The Auto Scaling group has its copy, whose instances can be reached.
    pub(super) fn has_copied(&mut self) -> bool {
        let was_asked = self.answered(&Request::CopyGroup);
        self.shifting.copied |= was_asked;
        was_asked
    }

    /// Whether the new hosts are there: where a group is copied for them, they have to come up first.
    pub(super) fn are_hosts_there(&self) -> bool {
        let copies = self.order.shift.as_ref().and_then(|shift| shift.copies.as_ref());
        copies.is_none() || self.shifting.copied
    }

    /// The new side has the test traffic, as was read back.
    pub(super) fn has_tested(&mut self) -> bool {
        let was_asked = self.answered(&Request::MoveTestTraffic);
        self.shifting.tested |= was_asked;
        was_asked
    }

    /// A side was ended.
    pub(super) fn has_retired(&mut self, side: Side) -> bool {
        let was_asked = self.answered(&Request::Retire { side });
        if was_asked {
            self.shifting.retired = Some(side);
            let new = self.shifting.new_side;
            self.shifting.tasks.retain(|set| (Some(set.side) == new) == (side == Side::Old));
        }
        was_asked
    }

    /// What carries the traffic cannot do what was asked of it. That the traffic cannot go back, or a side not be ended, is
    /// asked for again.
    pub(super) fn refuse_shift(&mut self, request: &Request, why: Failure) -> bool {
        let is_fatal = self.traits(request, self.latest).fatal_after_ms == Some(0);
        let is_refused = is_fatal && self.pending(request).is_some();
        if is_refused {
            self.fail_shift(why);
        }
        // Anything else may have happened in part, and is to be taken back.
        let was_asked = *request == Request::FindSides && self.answered(request);
        is_refused || was_asked
    }

    fn fail_shift(&mut self, why: Failure) {
        // Later than any check that was decided, as a request to stop is.
        let at = self.latest.plus_ms(1);
        self.latest = at;
        self.shifting.failed.get_or_insert(Failed { at, why });
    }

    /// Whether a side may be ended: the old one when the traffic does not go back any more, the new one when it has none.
    pub(super) fn may_retire(&self, side: Side) -> bool {
        let is_last = self.shifting.stage == Stage::Retire;
        let has_hosts = self.order.shift.as_ref().is_some_and(Shift::has_hosts);
        let is_held = has_hosts && (self.is_held() || self.steering.paused);
        match side {
            Side::Old => is_last && self.shifting.percent == 100 && !is_held,
            Side::New => !is_last && !self.has_moved_any(),
        }
    }

    /// Whether nothing new is done on the way to more traffic for the new side.
    pub(super) fn is_held(&self) -> bool {
        self.stop.is_some()
            || self.alarm().is_some()
            || self.trouble.failed.is_some()
            || self.shifting.failed.is_some()
    }

    /// Whether a side is being ended, or has been: nothing is made any more.
    pub(super) fn is_retiring(&self) -> bool {
        let is_retire = |request: &Request| matches!(request, Request::Retire { .. });
        self.shifting.retired.is_some() || self.pending.iter().any(|made| is_retire(&made.request))
    }

    /// Forgets that other shares of the traffic were asked for. A higher one that was not answered may come about later.
    pub(super) fn forget_moves(&mut self, wanted: &Request) {
        let known = self.shifting.percent;
        let is_raise = |made: &&Pending| {
            made.request != *wanted
                && matches!(made.request, Request::MoveTraffic { percent } if percent > known)
        };
        let forgotten = self.pending.iter().filter(is_raise).map(|made| self.made_at(made)).max();
        if let Some(made_at) = forgotten {
            self.expect_late(made_at);
        }
        self.pending.retain(|made| {
            !matches!(made.request, Request::MoveTraffic { .. }) || made.request == *wanted
        });
    }

    /// Since when a shift has failed.
    pub fn shift_failed_at(&self) -> Option<Timestamp> {
        self.shifting.failed.as_ref().map(|failed| failed.at)
    }
}
