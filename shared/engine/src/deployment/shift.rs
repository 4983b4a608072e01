//! Blue/green: what has the traffic stays as it is, and the traffic goes to something else all together
//! (`docs/semantics.md#blue-green`).
//!
//! A shift goes through stages, in order. Like the place on a ladder, the stage follows from what is known and from the
//! time, and is stored with the next decision.

use serde::{Deserialize, Serialize};

use super::carrier::{Carrier, Shift, Stage};
use super::effect::Effect;
use super::{Deployment, Failure, FailureCode, Ordinals};
use crate::Timestamp;
use crate::health::Fleet;
use crate::ladder::{Rung, Share};
use crate::lifecycle::Event;

/// How often a balancer is asked to take the traffic back before the deployment ends without knowing that it did.
const RETURNS_MAX: u32 = 30;

/// How often a balancer is asked to move the traffic before the shift fails.
const MOVES_MAX: u32 = 300;

/// How long a hook function may take to say how it went, in milliseconds: one hour.
pub const HOOK_MS: u64 = 3_600_000;

/// How a shift stands.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Shifting {
    pub(super) stage: Stage,
    /// Since when.
    since: Option<Timestamp>,
    /// Which of the two sides is the new one; none until the balancer was asked.
    new_side: Option<u8>,
    /// How much of the traffic the new side has, in percent, as the balancer last said.
    percent: u8,
    /// Hosts that are ready to get traffic and wait for it.
    #[serde(skip_serializing_if = "Ordinals::is_empty")]
    waiting: Ordinals,
    /// Those of them that have done what is to be done before.
    #[serde(skip_serializing_if = "Ordinals::is_empty")]
    poised: Ordinals,
    /// The hooks that have ended well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<Event>,
    /// Why it goes no further.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failed {
    at: Timestamp,
    why: Failure,
}

impl Shifting {
    pub(super) fn has_not_begun(&self) -> bool {
        *self == Self::default()
    }
}

impl Deployment {
    /// The stage of a shift; none where traffic does not move all together.
    pub fn stage(&self) -> Option<Stage> {
        self.order.shift.as_ref().map(|_| self.shifting.stage)
    }

    /// How much of the traffic the new side of a shift has, in percent, as was last read.
    pub fn percent(&self) -> Option<u8> {
        self.order.shift.as_ref().map(|_| self.shifting.percent)
    }

    /// The target groups of a shift, the old one first; none until it is known which that is.
    pub fn sides(&self) -> Option<(&str, &str)> {
        let Carrier::Groups([first, second]) = &self.order.shift.as_ref()?.carrier else {
            return None;
        };
        match self.shifting.new_side? {
            0 => Some((second, first)),
            _ => Some((first, second)),
        }
    }

    /// Whether a person is waited for.
    pub fn awaits_person(&self) -> bool {
        let waits = self.order.shift.as_ref().is_some_and(|shift| shift.ready_wait_ms.is_some());
        waits && self.shifting.stage == Stage::Ready && self.ended.is_none()
    }

    /// Until when a person is waited for, or the old side is kept.
    pub fn stage_until(&self) -> Option<Timestamp> {
        let shift = self.order.shift.as_ref()?;
        let lasts_ms = match self.shifting.stage {
            Stage::Ready => shift.ready_wait_ms?,
            Stage::Keep => shift.keep_ms,
            Stage::Before | Stage::After => self.hook_of(self.shifting.stage).map(|_| HOOK_MS)?,
            Stage::Install | Stage::Move | Stage::Over => return None,
        };
        Some(self.shifting.since?.plus_ms(lasts_ms))
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
        let was_asked = self.answered(&Effect::FindSides);
        if self.shifting.new_side.is_some() || self.order.shift.is_none() {
            return was_asked;
        }
        let second = percent_of_second.min(100);
        // The new side is the one that has less. Weights start from what is read.
        let lesser = if second <= 50 { 1 } else { 0 };
        let side = match self.order.shift.as_ref().map(|shift| (&shift.carrier, shift.back_to)) {
            Some((_, Some(back_to))) => back_to.min(1),
            Some((Carrier::Alias(_), None)) => 1,
            Some((Carrier::Groups(_), None)) | None => lesser,
        };
        let percent = if side == 1 { second } else { 100 - second };
        self.shifting.new_side = Some(side);
        self.shifting.percent = percent;
        true
    }

    /// The new side has so much of the traffic, as was read back.
    pub(super) fn has_moved(&mut self, percent: u8) -> bool {
        let was_asked = self.answered(&Effect::MoveTraffic { percent });
        if was_asked {
            self.shifting.percent = percent;
        }
        was_asked
    }

    /// A hook function has said how it went.
    pub(super) fn end_hook(&mut self, event: Event, failed: Option<String>) -> bool {
        let was_asked = self.answered(&Effect::RunHook { event });
        if !was_asked || self.shifting.hooks.contains(&event) {
            return was_asked;
        }
        match failed {
            None => self.shifting.hooks.push(event),
            Some(message) => self.fail_shift(Failure { code: FailureCode::HookFailed, message }),
        }
        true
    }

    /// What carries the traffic cannot, or not more of it. That it cannot go back is asked for again.
    pub(super) fn refuse_shift(&mut self, why: Failure) -> bool {
        let percent = self.shifting.percent;
        let is_rise = |asked: &super::Asked| matches!(asked.effect, Effect::MoveTraffic { percent: wanted } if wanted > percent);
        let is_refused = self.answered(&Effect::FindSides) && self.shifting.new_side.is_none();
        let is_refused = is_refused || self.asked.iter().any(is_rise);
        if is_refused {
            self.fail_shift(why);
        }
        is_refused
    }

    fn fail_shift(&mut self, why: Failure) {
        // Later than any check that was decided, as a request to stop is.
        let at = self.latest.plus_ms(1);
        self.latest = at;
        self.shifting.failed.get_or_insert(Failed { at, why });
    }

    /// Whether the new side may be given such a share, though it was asked for: nothing raises it after an alarm, a stop or
    /// a failure is known, nor while it is paused, however late an effect is performed.
    pub(super) fn may_move(&self, percent: u8) -> bool {
        let is_held = self.stop.is_some()
            || self.alarm().is_some()
            || self.shifting.failed.is_some()
            || self.wishes.paused;
        !is_held || percent <= self.shifting.percent
    }

    /// Forgets that other shares of the traffic were asked for.
    pub(super) fn forget_moves(&mut self, wanted: &Effect) {
        self.asked.retain(|asked| {
            !matches!(asked.effect, Effect::MoveTraffic { .. }) || asked.effect == *wanted
        });
    }

    /// Since when a shift has failed.
    pub fn shift_failed_at(&self) -> Option<Timestamp> {
        self.shifting.failed.as_ref().map(|failed| failed.at)
    }

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
    fn is_halted(&self, now: Timestamp) -> bool {
        self.stop.is_some()
            || self.alarm().is_some()
            || self.broken.is_some()
            || now >= self.deadline()
    }

    fn is_stage_over(
        &self,
        stage: Stage,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let Some(shift) = &self.order.shift else { return Ok(true) };
        if self.wishes.paused {
            return Ok(false);
        }
        self.check_moves(now)?;
        let has_hosts = shift.has_hosts();
        let fleet = self.fleet();
        if has_hosts && stage > Stage::Install && !self.order.rule.is_met(&fleet) {
            let message = self.unhealthy_message(&fleet);
            return Err(Failure { code: FailureCode::HealthConstraints, message });
        }
        match stage {
            Stage::Install if has_hosts => self.is_installed(&fleet),
            Stage::Install => Ok(self.is_free() && !self.awaits_first_reading()),
            Stage::Ready => self.is_released(shift, since, now),
            Stage::Before if has_hosts => {
                let waiting = self.hosts.fleet().in_flight;
                Ok(self.shifting.poised.len() >= waiting)
            }
            Stage::After if has_hosts => Ok(self.hosts.fleet().in_flight == 0),
            Stage::Before | Stage::After => self.is_hook_over(stage, since, now),
            Stage::Move => Ok(self.shifting.percent == 100 && self.has_climbed(now)),
            Stage::Keep => Ok(self.wishes.ends_wait || now >= since.plus_ms(shift.keep_ms)),
            Stage::Over => Ok(true),
        }
    }

    /// Whether it is known which side is the new one, and that it has no traffic, unless the traffic only goes back to it.
    pub(super) fn is_free(&self) -> bool {
        let goes_back = self.order.shift.as_ref().is_some_and(|shift| shift.back_to.is_some());
        self.shifting.new_side.is_some() && (self.shifting.percent == 0 || goes_back)
    }

    /// Whether what carries the traffic was asked in vain for too long.
    fn check_moves(&self, now: Timestamp) -> Result<(), Failure> {
        let is_move = |effect: &&Effect| matches!(effect, Effect::MoveTraffic { .. });
        let asked = self.asked.iter().map(|asked| &asked.effect).find(is_move);
        if !asked.is_some_and(|asked| self.is_in_vain(asked, MOVES_MAX, now)) {
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
        if self.wishes.continued || self.wishes.promoted {
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

    /// The event whose hook function a stage waits for.
    fn hook_of(&self, stage: Stage) -> Option<Event> {
        let Carrier::Alias(alias) = &self.order.shift.as_ref()?.carrier else { return None };
        let event = match stage {
            Stage::Before => Event::BeforeAllowTraffic,
            Stage::After => Event::AfterAllowTraffic,
            Stage::Install | Stage::Ready | Stage::Move | Stage::Keep | Stage::Over => return None,
        };
        alias.hooks.contains_key(&event).then_some(event)
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

    /// How much of the traffic the new side is to have at `now`, in percent.
    fn wanted_percent(&self, now: Timestamp) -> u8 {
        let shifting = self.shifting_at(now);
        if self.goes_back(now) {
            return 0;
        }
        let is_frozen = self.is_halted(now) || shifting.failed.is_some() || self.wishes.paused;
        if is_frozen {
            return self.shifting.percent;
        }
        match shifting.stage {
            // Also where something had left it some: hosts that have traffic are not touched.
            Stage::Install | Stage::Ready | Stage::Before => 0,
            Stage::Move => {
                let rung = self.order.ladder.get(self.climb_at(now).rung);
                let rung = rung.filter(|_| !self.wishes.promoted);
                rung.map_or(100, percent_of).max(self.shifting.percent)
            }
            Stage::After | Stage::Keep | Stage::Over => 100,
        }
    }

    /// Whether the traffic is to go back to the old side at `now`, before anything else is done.
    fn goes_back(&self, now: Timestamp) -> bool {
        let Some(shift) = &self.order.shift else { return false };
        if shift.back_to.is_some() || !self.has_moved_any() {
            return false;
        }
        let failed = self.shifting_at(now).failed.map(|failed| failed.why);
        let cause = self.cut_short(now).or(failed);
        cause.is_some_and(|cause| self.wants_rollback(cause.status()))
    }

    /// Whether the new side has traffic, or may have some.
    fn has_moved_any(&self) -> bool {
        self.shifting.percent > 0
            || self.asked.iter().any(|asked| matches!(asked.effect, Effect::MoveTraffic { .. }))
    }

    /// Whether the end has to wait until the traffic is back.
    fn is_going_back(&self, now: Timestamp) -> bool {
        let back = Effect::MoveTraffic { percent: 0 };
        self.goes_back(now) && !self.is_in_vain(&back, RETURNS_MAX, now)
    }

    /// What is to be asked of what carries the traffic at `now`.
    pub(super) fn shift(&self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.order.shift.is_none() {
            return;
        }
        if self.shifting.new_side.is_none() {
            if self.halted_at(now).is_none() && self.is_due(&Effect::FindSides, now) {
                effects.push(Effect::FindSides);
            }
            return;
        }
        let percent = self.wanted_percent(now);
        let wanted = Effect::MoveTraffic { percent };
        let is_unsure = self.goes_back(now);
        if (percent != self.shifting.percent || is_unsure) && self.is_due(&wanted, now) {
            effects.push(wanted);
        }
        let shifting = self.shifting_at(now);
        let hook = self.hook_of(shifting.stage).filter(|event| !shifting.hooks.contains(event));
        if let (Some(event), None, false) = (hook, &shifting.failed, self.is_halted(now)) {
            let run = Effect::RunHook { event };
            if self.is_due(&run, now) {
                effects.push(run);
            }
        }
    }

    /// How a shift ends at `now`: none while it has to go on, else why it did not succeed, or that it did.
    pub(super) fn shift_ending(&self, now: Timestamp) -> Option<Result<(), Failure>> {
        if self.hosts.fleet().in_flight > 0 || self.is_going_back(now) {
            return None;
        }
        let shifting = self.shifting_at(now);
        let failed = shifting.failed.map(|failed| failed.why);
        match self.cut_short(now).or(failed) {
            Some(failure) => Some(Err(failure)),
            None => (shifting.stage == Stage::Over).then_some(Ok(())),
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
        if is_wanted_back {
            return format!(
                "The traffic could not be taken back: the balancer did not say that it is. Look at its weights, and try \
                 again with `cutover rollback {id}`."
            );
        }
        let percent = self.shifting.percent;
        format!(
            "The traffic stays as it is: the new version has {percent}% of it. Take it back with `cutover rollback {id}`."
        )
    }

    /// When time alone changes how the shift stands.
    pub(super) fn shift_moment(&self, now: Timestamp) -> Option<Timestamp> {
        let shift = self.order.shift.as_ref()?;
        let shifting = self.shifting_at(now);
        let since = shifting.since?;
        match shifting.stage {
            Stage::Ready => Some(since.plus_ms(shift.ready_wait_ms?)),
            Stage::Keep => Some(since.plus_ms(shift.keep_ms)),
            Stage::Before | Stage::After => {
                self.hook_of(shifting.stage).map(|_| since.plus_ms(HOOK_MS))
            }
            Stage::Install | Stage::Move | Stage::Over => None,
        }
    }
}

/// How much of the traffic a rung is, in percent.
pub(super) fn percent_of(rung: Rung) -> u8 {
    match rung.share {
        Share::Percent(percent) => percent,
        // Refused where the order is made: traffic is not counted in hosts.
        Share::Hosts(_) => 1,
    }
}
