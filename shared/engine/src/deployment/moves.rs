//! What a shift asks of what carries its traffic: to move it, to have it back, and to end a side.

use super::carrier::{Side, Stage};
use super::climb::percent_of;
use super::failure::Failure;
use super::request::Request;
use super::state::Deployment;
use crate::Timestamp;

impl Deployment {
    /// How much of the traffic the new side is to have at `now`, in percent.
    fn wanted_percent(&self, now: Timestamp) -> u8 {
        let shifting = self.shifting_at(now);
        if self.goes_back(now) {
            return 0;
        }
        let is_frozen = self.is_halted(now) || shifting.failed.is_some() || self.steering.paused;
        if is_frozen {
            return self.shifting.percent;
        }
        match shifting.stage {
            // Also where something had left it some: hosts that have traffic are not touched.
            Stage::BeforeInstall | Stage::Install | Stage::AfterInstall => 0,
            Stage::Test | Stage::AfterTest | Stage::Ready | Stage::Before => 0,
            Stage::Move => {
                let rung = self.order.ladder.get(self.climb_at(now).rung);
                let rung = rung.filter(|_| !self.steering.promoted);
                rung.map_or(100, percent_of).max(self.shifting.percent)
            }
            Stage::After | Stage::Keep | Stage::Retire | Stage::Over => 100,
        }
    }

    /// Whether the traffic is to go back to the old side at `now`, before anything else is done.
    fn goes_back(&self, now: Timestamp) -> bool {
        if self.order.shift.is_none() {
            return false;
        }
        // What had the traffic may be gone once it is being ended.
        let is_too_late = self.only_goes_back() || self.shifting.stage >= Stage::Retire;
        if is_too_late || !self.has_moved_any() {
            return false;
        }
        self.cause(now).is_some_and(|cause| self.wants_rollback(cause.status()))
    }

    /// Why the shift goes no further.
    fn cause(&self, now: Timestamp) -> Option<Failure> {
        let failed = self.shifting_at(now).failed.map(|failed| failed.why);
        self.cut_short(now).or(failed)
    }

    /// Whether the new side has traffic, or may have some.
    pub(super) fn has_moved_any(&self) -> bool {
        self.shifting.percent > 0
            || self.shifting.late_until.is_some()
            || self.pending.iter().any(|made| matches!(made.request, Request::MoveTraffic { .. }))
    }

    /// Whether traffic that a deployment only takes back is still to be asked for. It is asked for also where it is already: an
    /// earlier raise that nobody answered finds an alias changed by that, and does nothing.
    pub(super) fn awaits_way_back(&self) -> bool {
        self.only_goes_back() && !self.shifting.is_back
    }

    /// Whether the end has to wait until the traffic is back.
    fn is_going_back(&self, now: Timestamp) -> bool {
        self.goes_back(now) && !self.is_in_vain(&Request::MoveTraffic { percent: 0 }, now)
    }

    /// The side that is to be ended at `now`: the old one when it is needed no more, or what was made for the new one when
    /// it is not to have the traffic.
    fn to_retire(&self, now: Timestamp) -> Option<Side> {
        let shift = self.order.shift.as_ref()?;
        let shifting = self.shifting_at(now);
        let makes = |request: &Request| matches!(request, Request::BringUp | Request::CopyGroup);
        let is_making = self.pending.iter().any(|made| makes(&made.request));
        let is_made = is_making || !shifting.tasks.is_empty() || shifting.copied;
        let is_busy = self.hosts.fleet().in_flight > 0;
        let side = if shifting.stage == Stage::Retire {
            Side::Old
        } else if is_made && !is_busy && !self.has_moved_any() && self.cause(now).is_some() {
            Side::New
        } else {
            return None;
        };
        // Hosts are whole until somebody ends them one by one: whatever goes wrong meanwhile, no more of them are ended.
        let is_held = shift.has_hosts()
            && side == Side::Old
            && (self.steering.paused || self.cause(now).is_some());
        let is_asked_for = shift.retires || side == Side::New;
        let is_wanted = is_asked_for && shifting.retired.is_none() && !is_held;
        let is_in_vain = self.is_in_vain(&Request::Retire { side }, now);
        (is_wanted && !is_in_vain).then_some(side)
    }

    /// What is to be asked of what carries the traffic at `now`.
    pub(super) fn shift(&self, now: Timestamp, requests: &mut Vec<Request>) {
        if self.order.shift.is_none() {
            return;
        }
        if self.shifting.new_side.is_none() {
            if self.halted_at(now).is_none() && self.is_due(&Request::FindSides, now) {
                requests.push(Request::FindSides);
            }
            return;
        }
        let percent = self.wanted_percent(now);
        let wanted = Request::MoveTraffic { percent };
        // What was back too early to say so for good is asked for once more, after the last moment at which it may change.
        let is_early = self.pending(&wanted).is_none()
            && self.shifting.late_until.is_some_and(|until| now < until);
        let is_way_back = self.awaits_way_back() && percent == 100;
        let is_unsure = (self.goes_back(now) && !is_early) || is_way_back;
        if (percent != self.shifting.percent || is_unsure) && self.is_due(&wanted, now) {
            requests.push(wanted);
        }
        let retire = self.to_retire(now).map(|side| Request::Retire { side });
        let next = retire.or_else(|| self.next_step(now));
        requests.extend(next.filter(|next| self.is_due(next, now)));
    }

    /// What the stage that the shift is in at `now` asks for, beside the traffic.
    fn next_step(&self, now: Timestamp) -> Option<Request> {
        let shifting = self.shifting_at(now);
        let shift = self.order.shift.as_ref()?;
        let is_early = shifting.stage == Stage::BeforeInstall && !self.has_begun();
        if is_early || shifting.failed.is_some() || self.is_halted(now) {
            return None;
        }
        if let Some(event) = self.hook_of(shifting.stage) {
            return (!shifting.hooks.contains(&event)).then_some(Request::RunHook { event });
        }
        if shifting.stage == Stage::BeforeInstall && !self.are_hosts_there() {
            return Some(Request::CopyGroup);
        }
        // While it is paused, a stage lasts although all is done.
        if shifting.stage == Stage::Install && shift.has_tasks() {
            return (!self.are_tasks_steady()).then_some(Request::BringUp);
        }
        let is_test = shifting.stage == Stage::Test && shift.has_test_traffic();
        (is_test && !shifting.tested).then_some(Request::MoveTestTraffic)
    }

    /// How a shift ends at `now`: none while it has to go on, else why it did not succeed, or that it did.
    pub(super) fn shift_ending(&self, now: Timestamp) -> Option<Result<(), Failure>> {
        let is_busy = self.hosts.fleet().in_flight > 0 || self.is_going_back(now);
        if is_busy || self.to_retire(now).is_some() {
            return None;
        }
        match self.cause(now) {
            Some(failure) => Some(Err(failure)),
            None => (self.shifting_at(now).stage == Stage::Over).then_some(Ok(())),
        }
    }

    /// What becomes of the traffic of a shift that did not succeed, in words.
    pub(super) fn traffic_after(&self, is_wanted_back: bool) -> String {
        let id = &self.order.id;
        if !self.has_moved_any() {
            return "The traffic is where it was before the deployment, and what has it was not changed: there is nothing \
                    to roll back."
                .to_owned();
        }
        if self.shifting.stage >= Stage::Retire {
            return "The traffic stays with the new version: what had it before was being ended, or has been.".to_owned();
        }
        if is_wanted_back {
            return format!(
                "The traffic could not be taken back: the balancer did not say that it is. Look at its weights, and try \
                 again with `cutover rollback {id}`."
            );
        }
        let percent = self.shifting.percent;
        if percent == 0 {
            return format!(
                "The traffic was asked to move, and the balancer did not say that it has: the new version may have a part of \
                 it. Take it back with `cutover rollback {id}`."
            );
        }
        format!(
            "The traffic stays as it is: the new version has {percent}% of it. Take it back with `cutover rollback {id}`."
        )
    }
}
