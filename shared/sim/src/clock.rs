//! The clock of the machine of a home: somebody sets it an hour ahead and back again, or back and ahead. The home takes
//! over its time only while nothing is under way, so that nothing waits longer for it and nothing is over sooner.

use control::steady::SteadyClock;
use engine::Timestamp;

use crate::core::{Core, EPOCH_MS, Event};
use crate::random::Random;
use crate::world::World;

/// How far the machine's clock is set, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

/// How often a home takes over the machine's time while nothing is under way, in milliseconds.
const SETTLE_MS: u64 = 5_000;

/// What a seed decides about the machine's clock.
#[derive(Debug, Clone)]
pub(crate) struct ClockStory {
    /// When it is set, and to how many hours more than it is.
    sets: Vec<(u64, i8)>,
}

impl ClockStory {
    /// Every second home has one that jumps. Its chance is its own, so that worlds stay what they are otherwise.
    pub(crate) fn by_chance(seed: u64, lasts_ms: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x0063_6c6f_636b);
        if !random.of_ten_thousand(5_000) {
            return None;
        }
        let mut at = 0;
        let mut hours: i8 = 0;
        let mut sets = Vec::new();
        for _ in 0..random.between(2, 6) {
            at += random.between(1, lasts_ms / 2);
            hours = match hours {
                0 => *random.pick(&[1, -1]).unwrap_or(&1),
                _ => 0,
            };
            sets.push((at, hours));
        }
        Some(Self { sets })
    }
}

/// The machine's clock, and the home's.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// How many hours the machine's is ahead.
    hours: i8,
    steady: SteadyClock,
}

impl Default for Clocks {
    fn default() -> Self {
        let steady = SteadyClock::new(EPOCH_MS, Timestamp(EPOCH_MS));
        Self { hours: 0, steady }
    }
}

impl Core {
    /// What time it is for the home.
    pub(crate) fn time(&self) -> Timestamp {
        self.clocks.steady.at(self.now)
    }

    /// What time the machine says that it is.
    fn machine_time(&self) -> Timestamp {
        let ahead = HOUR_MS * u64::from(self.clocks.hours.unsigned_abs());
        Timestamp(match self.clocks.hours.is_negative() {
            true => self.now - ahead,
            false => self.now + ahead,
        })
    }
}

impl World {
    /// Sets the story of the machine's clock going. It draws no chance of the world's own.
    pub(crate) fn begin_clock(&self, story: &ClockStory) {
        let mut core = self.shared.core();
        for (ms, hours) in &story.sets {
            core.push_first(*ms, Event::ClockSet { hours: *hours });
        }
        core.push_first(SETTLE_MS, Event::Settle);
    }

    pub(crate) fn clock_set(&self, hours: i8) {
        let mut core = self.shared.core();
        core.tell("clock", || format!("is set to {hours} h ahead"));
        core.clocks.hours = hours;
    }

    /// The home takes over the machine's time, if nothing is under way.
    pub(crate) fn settle(&self) {
        let is_idle = !self.is_anything_asked();
        let mut core = self.shared.core();
        core.push_first(SETTLE_MS, Event::Settle);
        let is_still = core.checks.active.values().all(std::collections::BTreeSet::is_empty);
        if is_idle && is_still {
            core.clocks.steady = SteadyClock::new(core.now, core.machine_time());
        }
    }
}
