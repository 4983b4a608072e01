//! The stages of a shift, one after the other. Like the place on a ladder, the stage follows from what is known and from
//! the time, and is stored with the next decision.

use super::carrier::{Shift, Side, Stage};
use super::failure::{Failed, Failure, FailureCode};
use super::request::Request;
use super::state::{Deployment, Shifting};
use super::traits::MOVES_MAX;
use crate::Timestamp;
use crate::health::Fleet;
use crate::lifecycle::Event;

/// How long a hook function may take to say how it went, in milliseconds: one hour.
pub const HOOK_MS: u64 = 3_600_000;

/// How long tasks may take until they are steady, in milliseconds: one hour.
pub const TASKS_MS: u64 = 3_600_000;

/// How long the copy of an Auto Scaling group may take until all its instances can be reached, in milliseconds: one hour.
pub const COPY_MS: u64 = 3_600_000;

impl Deployment {
    /// How the shift stands at `now`.
    pub(super) fn shifting_at(&self, now: Timestamp) -> Shifting {
        let mut shifting = self.shifting.clone();
        if self.order.shift.is_none() || shifting.failed.is_some() || self.is_halted(now) {
            return shifting;
        }
        loop {
            let since = shifting.since.unwrap_or(self.order.created_at);
            match self.is_stage_over(shifting.stage, since, now) {
                Ok(false) => return shifting,
                Ok(true) if shifting.stage == Stage::Over => return shifting,
                Ok(true) => {
                    shifting.stage = shifting.stage.next();
                    shifting.since = Some(now);
                }
                Err(why) => {
                    shifting.failed = Some(Failed { at: now, why });
                    return shifting;
                }
            }
        }
    }

    /// Whether somebody or something has stopped the deployment, other than the shift itself.
    pub(super) fn is_halted(&self, now: Timestamp) -> bool {
        self.stop.is_some()
            || self.alarm().is_some()
            || self.broken.is_some()
            || self.denied_at(now).is_some()
            || now >= self.deadline(now)
    }

    fn is_stage_over(
        &self,
        stage: Stage,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let Some(shift) = &self.order.shift else { return Ok(true) };
        let has_hosts = shift.has_hosts();
        if self.steering.paused {
            return self.check_others(shift, stage, since, now).map(|()| false);
        }
        self.check_moves(now)?;
        let fleet = self.fleet();
        if has_hosts && stage > Stage::Install && !self.order.rule.is_met(&fleet) {
            let message = self.unhealthy_message(&fleet);
            return Err(Failure { code: FailureCode::HealthConstraints, message });
        }
        match stage {
            Stage::BeforeInstall if has_hosts => self.is_copied(shift, since, now),
            Stage::BeforeInstall if !self.has_begun() => Ok(false),
            Stage::Install if has_hosts => self.is_installed(&fleet),
            Stage::Install if shift.has_tasks() => self.are_tasks_up(since, now),
            Stage::Install => Ok(true),
            Stage::Test => Ok(!shift.has_test_traffic() || self.shifting.tested),
            Stage::Ready => self.is_released(shift, self.without_pause(since, now), now),
            Stage::Before if has_hosts => {
                let waiting = self.hosts.fleet().in_flight;
                Ok(self.shifting.poised.len() >= waiting)
            }
            Stage::After if has_hosts => Ok(self.hosts.fleet().in_flight == 0),
            Stage::BeforeInstall
            | Stage::AfterInstall
            | Stage::AfterTest
            | Stage::Before
            | Stage::After => self.is_hook_over(stage, since, now),
            Stage::Move => {
                let is_there = self.shifting.percent == 100 && !self.awaits_way_back();
                Ok(is_there && self.has_climbed(now))
            }
            Stage::Keep => {
                let since = self.without_pause(since, now);
                Ok(self.steering.ends_wait || now >= since.plus_ms(shift.keep_ms))
            }
            Stage::Retire => self.is_old_ended(shift, now),
            Stage::Over => Ok(true),
        }
    }

    /// Whether what others do in a stage takes too long: no pause stops that.
    fn check_others(
        &self,
        shift: &Shift,
        stage: Stage,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure> {
        match stage {
            Stage::BeforeInstall if shift.has_hosts() => self.is_copied(shift, since, now),
            Stage::Install if shift.has_tasks() => self.are_tasks_up(since, now),
            Stage::BeforeInstall
            | Stage::AfterInstall
            | Stage::AfterTest
            | Stage::Before
            | Stage::After => self.is_hook_over(stage, since, now),
            Stage::Install
            | Stage::Test
            | Stage::Ready
            | Stage::Move
            | Stage::Keep
            | Stage::Retire
            | Stage::Over => Ok(true),
        }
        .map(drop)
    }

    /// Whether what carries the traffic and what watches it have been asked, so that something may be done.
    pub(super) fn has_begun(&self) -> bool {
        self.is_free() && !self.awaits_first_reading()
    }

    /// Whether it is known which side is the new one, and that it has no traffic, unless the traffic only goes back to it.
    pub(super) fn is_free(&self) -> bool {
        self.shifting.new_side.is_some() && (self.shifting.percent == 0 || self.only_goes_back())
    }

    /// Whether what carries the traffic was asked in vain for too long.
    fn check_moves(&self, now: Timestamp) -> Result<(), Failure> {
        let is_move = |request: &&Request| matches!(request, Request::MoveTraffic { .. });
        let made = self.pending.iter().map(|made| &made.request).find(is_move);
        if !made.is_some_and(|made| self.is_in_vain(made, now)) {
            return Ok(());
        }
        let message = format!(
            "The traffic was asked to move {MOVES_MAX} times, and the balancer did not say that it has: either it did not \
             answer, or too few hosts of the new version were healthy there. See its own account of them."
        );
        Err(Failure { code: FailureCode::InvalidBalancer, message })
    }

    fn is_installed(&self, fleet: &Fleet) -> Result<bool, Failure> {
        if fleet.in_flight > 0 || !self.is_free() {
            return Ok(false);
        }
        self.judged(fleet).transpose().map(|ended| ended.is_some())
    }

    fn is_released(
        &self,
        shift: &Shift,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let Some(wait_ms) = shift.ready_wait_ms else { return Ok(true) };
        if self.steering.continued || self.steering.promoted {
            return Ok(true);
        }
        if now < since.plus_ms(wait_ms) {
            return Ok(false);
        }
        let minutes = wait_ms / 60_000;
        let message = format!(
            "Nobody continued the deployment within {minutes} minutes of its being ready, so it was stopped. No traffic \
             had moved."
        );
        Err(Failure { code: FailureCode::ManualStop, message })
    }

    fn is_copied(&self, shift: &Shift, since: Timestamp, now: Timestamp) -> Result<bool, Failure> {
        let Some(copy) = shift.copies.as_ref().filter(|_| !self.shifting.copied) else {
            return Ok(true);
        };
        if now < since.plus_ms(COPY_MS) {
            return Ok(false);
        }
        let message = format!(
            "The copy `{}` of the Auto Scaling group `{}` had not all of its instances within an hour, or Systems Manager did \
             not reach all of them. The activities of the copy and the log of the fleet watcher say why.",
            copy.to, copy.from
        );
        Err(Failure { code: FailureCode::AutoScalingConfiguration, message })
    }

    fn are_tasks_up(&self, since: Timestamp, now: Timestamp) -> Result<bool, Failure> {
        if self.are_tasks_steady() {
            return Ok(true);
        }
        if now < since.plus_ms(TASKS_MS) {
            return Ok(false);
        }
        let message = "The new tasks were not steady within an hour: either they did not all run, or the target group did \
                       not find them healthy. The events of the service in ECS say why."
            .to_owned();
        Err(Failure { code: FailureCode::TasksFailed, message })
    }

    fn is_old_ended(&self, shift: &Shift, now: Timestamp) -> Result<bool, Failure> {
        if !shift.retires || self.shifting.retired.is_some() {
            return Ok(true);
        }
        if !self.is_in_vain(&Request::Retire { side: Side::Old }, now) {
            return Ok(false);
        }
        if shift.has_hosts() {
            let message = "The new version has all of the traffic, but not all instances that had it before could be \
                           terminated within an hour: either their connections did not end, or EC2 did not say that they \
                           are gone. Terminate them by hand; the log of the traffic evaluator says what is missing."
                .to_owned();
            return Err(Failure { code: FailureCode::Timeout, message });
        }
        let message = "The new version has all of the traffic, but what had it before could not be ended. End it by hand; the \
                       log of the traffic evaluator says why it could not be."
            .to_owned();
        Err(Failure { code: FailureCode::TasksFailed, message })
    }

    /// The event whose hook function a stage waits for.
    pub(super) fn hook_of(&self, stage: Stage) -> Option<Event> {
        let shift = self.order.shift.as_ref()?;
        let event = stage.hook_event()?;
        if stage == Stage::AfterTest && !shift.has_test_traffic() {
            return None;
        }
        shift.traits.hooks.as_ref()?.contains(&event).then_some(event)
    }

    fn is_hook_over(
        &self,
        stage: Stage,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let Some(event) = self.hook_of(stage) else { return Ok(true) };
        if self.shifting.hooks.contains(&event) {
            return Ok(true);
        }
        if now < since.plus_ms(HOOK_MS) {
            return Ok(false);
        }
        let message = format!(
            "The hook function of {event} did not say within an hour how it went. It has to call \
             PutLifecycleEventHookExecutionStatus with the ids that it was given."
        );
        Err(Failure { code: FailureCode::HookFailed, message })
    }

    /// When time alone changes how the shift stands.
    pub(super) fn shift_moment(&self, now: Timestamp) -> Option<Timestamp> {
        self.lasts_until(&self.shifting_at(now), now)
    }

    /// Until when a stage lasts at most, where that is known: not of one whose clock a pause has stopped.
    pub(super) fn lasts_until(&self, shifting: &Shifting, now: Timestamp) -> Option<Timestamp> {
        let shift = self.order.shift.as_ref()?;
        if self.steering.paused && Self::is_stopped_by_pause(shifting.stage) {
            return None;
        }
        let copies = shift.copies.as_ref().filter(|_| !shifting.copied);
        let lasts_ms = match shifting.stage {
            Stage::BeforeInstall if copies.is_some() => COPY_MS,
            Stage::Ready => shift.ready_wait_ms?,
            Stage::Keep => shift.keep_ms,
            Stage::Install => shift.has_tasks().then_some(TASKS_MS)?,
            Stage::Test | Stage::Move | Stage::Retire | Stage::Over => return None,
            stage @ (Stage::BeforeInstall
            | Stage::AfterInstall
            | Stage::AfterTest
            | Stage::Before
            | Stage::After) => self.hook_of(stage).map(|_| HOOK_MS)?,
        };
        let since = shifting.since.unwrap_or(self.order.created_at);
        // A pause that has just ended, and is not stored.
        let since = match Self::is_stopped_by_pause(shifting.stage) {
            true => self.without_pause(since, now),
            false => since,
        };
        Some(since.plus_ms(lasts_ms))
    }
}
