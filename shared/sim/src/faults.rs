//! What goes wrong in one simulation, and how often.

use crate::memory::TableFaults;
use crate::random::Random;

/// How often things go wrong, each of ten thousand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) table: TableFaults,
    /// A task dies where it waits.
    pub(crate) die: u32,
    /// A request takes up to half a second.
    pub(crate) slow: u32,
    /// A process stands still for up to a minute and a half.
    pub(crate) stall: u32,
    pub(crate) wake_lost: u32,
    pub(crate) wake_twice: u32,
    /// It comes up to two minutes later.
    pub(crate) wake_late: u32,
    pub(crate) timer_lost: u32,
    pub(crate) offer_lost: u32,
    pub(crate) offer_late: u32,
    /// A host's question does not arrive.
    pub(crate) question_lost: u32,
    /// The answer does not.
    pub(crate) answer_lost: u32,
    /// A question arrives a second time, later.
    pub(crate) question_twice: u32,
    pub(crate) bundles_away: u32,
    /// A host crashes, at each of its steps.
    pub(crate) crash: u32,
    /// A host that crashes stays down.
    pub(crate) stays_down: u32,
    /// A host is cut off, at each of its steps.
    pub(crate) cut: u32,
    pub(crate) announced_twice: u32,
    pub(crate) message_lost: u32,
    pub(crate) message_twice: u32,
    /// It comes up to two minutes later.
    pub(crate) message_late: u32,
    /// The cloud does not answer.
    pub(crate) throttled: u32,
    /// Something is told of a command, true or not.
    pub(crate) hints: u32,
    /// How far the servers' clocks are apart, in milliseconds.
    pub(crate) skew_ms: u64,
}

impl Faults {
    /// The same with the faults of a cloud, as far as anything fails at all.
    pub(crate) fn with_cloud(self, random: &mut Random) -> Self {
        if self == Self::default() {
            return self;
        }
        let mut often = |most: u64| {
            let often = if random.of_ten_thousand(5_000) { random.between(1, most) } else { 0 };
            u32::try_from(often).unwrap_or(0)
        };
        Self { throttled: often(1_500), hints: often(5_000), ..self }
    }

    /// Faults by chance: each kind is there in about half of all worlds, and every fifth world has none at all.
    pub(crate) fn by_chance(random: &mut Random) -> Self {
        if random.of_ten_thousand(2_000) {
            return Self::default();
        }
        let mut often = |most: u64| {
            let often = if random.of_ten_thousand(5_000) { random.between(1, most) } else { 0 };
            u32::try_from(often).unwrap_or(0)
        };
        Self {
            table: TableFaults {
                unavailable: often(200),
                answer_lost: often(300),
                conflict: often(500),
            },
            die: often(100),
            slow: often(1_000),
            stall: often(15),
            wake_lost: often(5_000),
            wake_twice: often(3_000),
            wake_late: often(2_000),
            timer_lost: often(5_000),
            offer_lost: often(8_000),
            offer_late: often(2_000),
            question_lost: often(500),
            answer_lost: often(500),
            question_twice: often(2_000),
            bundles_away: often(3_000),
            crash: often(100),
            stays_down: often(3_000),
            cut: often(100),
            announced_twice: often(5_000),
            message_lost: often(3_000),
            message_twice: often(3_000),
            message_late: often(2_000),
            skew_ms: u64::from(often(2_000)),
            throttled: 0,
            hints: 0,
        }
    }
}
