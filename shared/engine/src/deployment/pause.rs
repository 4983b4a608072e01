//! Pauses: while a deployment is paused, its own clock stands still. The time that it may take as a whole, bakes, and the
//! waits of a shift for a person and before the old side goes do not run (`docs/semantics.md#ladders`).
//!
//! What others wait for goes on: leases, silence, and the time-outs of hooks.

use super::carrier::Stage;
use super::state::{Deployment, Pausing};
use crate::Timestamp;

/// How often a deployment that is paused looks around, in milliseconds.
const CHECK_MS: u64 = 3_600_000;

impl Deployment {
    /// How long the deployment was paused until `now`, in milliseconds.
    pub fn paused_ms(&self, now: Timestamp) -> u64 {
        let lasts_ms = self.pausing.since.map_or(0, |since| now.since_ms(since));
        self.pausing.past_ms.saturating_add(lasts_ms)
    }

    /// Since when it is paused, and for how long it was before that, in milliseconds.
    pub(super) fn paused_before(&self) -> (Option<Timestamp>, u64) {
        (self.pausing.since, self.pausing.past_ms)
    }

    /// A moment that something is timed from, later by how long the pause that lasts at `now` has kept it waiting.
    pub(super) fn without_pause(&self, from: Timestamp, now: Timestamp) -> Timestamp {
        let waits_ms = self.pausing.since.map_or(0, |since| now.since_ms(since.max(from)));
        from.plus_ms(waits_ms)
    }

    /// Whether a stage of a shift waits for nothing but time or a person, so that a pause stops its clock.
    pub(super) fn is_stopped_by_pause(stage: Stage) -> bool {
        matches!(stage, Stage::Ready | Stage::Keep)
    }

    /// When a deployment that is paused looks around; none if it is not.
    pub(super) fn checks_in_pause(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.steering.paused {
            return None;
        }
        let since = self.pausing.since.unwrap_or(now);
        Some(since.plus_ms((now.since_ms(since) / CHECK_MS + 1) * CHECK_MS))
    }

    /// Whether a pause begins or ends with the next decision.
    pub(super) fn pause_changes(&self) -> bool {
        self.steering.paused != self.pausing.since.is_some()
    }

    /// Notes that a pause began or ended. What was timed when it ended goes on from where it was.
    pub(super) fn fold_pause(&mut self, at: Timestamp) {
        match self.pausing.since {
            None if self.steering.paused => self.pausing.since = Some(at),
            Some(_) if !self.steering.paused => {
                let baking_since = self.climb.baking_since;
                self.climb.baking_since = baking_since.map(|from| self.without_pause(from, at));
                if Self::is_stopped_by_pause(self.shifting.stage) {
                    let since = self.shifting.since;
                    self.shifting.since = since.map(|from| self.without_pause(from, at));
                }
                self.pausing = Pausing { since: None, past_ms: self.paused_ms(at) };
            }
            Some(_) | None => {}
        }
    }
}
