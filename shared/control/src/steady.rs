//! The time of a home: what its machine's clock said when nothing was under way, and what has gone by since.

use engine::Timestamp;

/// A clock that goes on evenly, whatever the machine's clock is set to meanwhile. It goes by two clocks that whoever holds
/// it reads: one that nobody sets and that counts milliseconds from some moment, and the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteadyClock {
    /// What the even clock said at a moment, in milliseconds.
    at_ms: u64,
    /// What time it was then.
    time: Timestamp,
}

impl SteadyClock {
    /// A clock that says `time` when the even clock says `even_ms`.
    pub fn new(even_ms: u64, time: Timestamp) -> Self {
        Self { at_ms: even_ms, time }
    }

    /// What time it is when the even clock says `even_ms`.
    pub fn at(&self, even_ms: u64) -> Timestamp {
        self.time.plus_ms(even_ms.saturating_sub(self.at_ms))
    }

    /// Goes on from `latest`, which somebody has written down, if it is less than that.
    pub fn go_on_from(&mut self, even_ms: u64, latest: Timestamp) {
        if self.at(even_ms) < latest {
            *self = Self::new(even_ms, latest);
        }
    }
}
