//! Wakes: what wakes deployments is started anew with nothing armed, and the invariant that nobody is woken late.

use crate::core::Event;
use crate::world::World;

/// How much later than it wanted a deployment may be woken, in milliseconds.
const LATE_MS: u64 = 1_000;

/// How much later than that where commits are paced, in milliseconds.
const PACED_MS: u64 = 2_000;

impl World {
    /// From `ms` on nothing keeps a wake from coming in time.
    pub(crate) fn punctual_from(&mut self, ms: u64) {
        let mut core = self.shared.core();
        core.punctual_since = core.punctual_since.or(Some(ms));
    }

    /// The driver's process dies and is started anew: what it was doing, and all wakes that it knew, are gone. It begins
    /// with a sweep.
    pub(crate) fn driver_restarts(&mut self) {
        self.shared.core().tell("driver", || "is started anew".to_owned());
        self.kill_drivers();
        self.shared.core().forget_wakes();
        self.sweep();
    }

    /// Reads again every deployment that has not ended.
    pub(crate) fn sweep(&mut self) {
        self.spawn("sweep", true, None, |control, _| async move {
            drop(control.traffic_evaluator().sweep().await);
        });
    }

    /// Checks that no deployment waits for a wake that should have come.
    pub(crate) fn check_wakes(&self) {
        let mut core = self.shared.core();
        if core.punctual_since.is_none_or(|since| core.now < since) {
            return;
        }
        let late_ms = LATE_MS + core.row_units.map_or(0, |_| PACED_MS);
        let now = core.time().0;
        let active = core.checks.active.values().flatten();
        let late = active.filter_map(|id| {
            let wanted_at = core.checks.deployments.get(id)?.wake_at?;
            // One that was only just written could not be woken before.
            let at = core.checks.written.get(id).copied().unwrap_or_default().max(wanted_at.0);
            (at + late_ms < now).then(|| format!("{id} is {} ms late", now - at))
        });
        if let Some(late) = late.min() {
            core.violate(late);
        }
    }
}

impl Event {
    /// Whether it wakes a deployment.
    pub(crate) fn is_wake(&self) -> bool {
        matches!(self, Self::Woken { .. } | Self::Timer { .. })
    }
}
