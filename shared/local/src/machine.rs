//! What a home asks of its machine: the time, random bytes, and keys made of them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use control::ports::{Clock, Entropy};
use control::steady::SteadyClock;
use engine::Timestamp;

use crate::dir::KeyPair;

/// The time of a home: what the machine's clock said when nothing was under way, and what has gone by since.
///
/// Somebody may set the machine's clock, or it is set at last, an hour ahead and back again. A deployment that is under way
/// does not see that: no wait is over too soon, and none goes on for an hour more. Nor does a machine that slept make its
/// hosts look silent.
pub(crate) struct HomeClock {
    wall: fn() -> Timestamp,
    began: Instant,
    steady: Mutex<SteadyClock>,
}

impl HomeClock {
    /// A clock that goes with the machine's.
    pub(crate) fn new() -> Self {
        Self::of(machine_time)
    }

    fn of(wall: fn() -> Timestamp) -> Self {
        Self { wall, began: Instant::now(), steady: Mutex::new(SteadyClock::new(0, wall())) }
    }

    /// Takes over the machine's time again. Only for a moment at which nothing is under way.
    pub(crate) fn settle(&self) {
        *self.steady() = SteadyClock::new(self.even_ms(), (self.wall)());
    }

    /// Goes on from `latest`, which an earlier home has written down, if it is less than that.
    pub(crate) fn go_on_from(&self, latest: Timestamp) {
        self.steady().go_on_from(self.even_ms(), latest);
    }

    fn even_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn steady(&self) -> MutexGuard<'_, SteadyClock> {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for HomeClock {
    fn now(&self) -> Timestamp {
        self.steady().at(self.even_ms())
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn machine_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The kernel's random bytes.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without random bytes there are no secrets; the kernel has them once it has started.
        while getrandom::fill(bytes).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy.fill(&mut bytes);
    bytes
}

/// New keys for a home's clients.
pub(crate) fn new_keys() -> KeyPair {
    let letters: String = random::<16>()
        .iter()
        .map(|byte| {
            char::from(
                *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".get(usize::from(byte % 32)).unwrap_or(&b'A'),
            )
        })
        .collect();
    KeyPair {
        access_key_id: format!("AKIA{letters}"),
        secret_access_key: hex::encode(random::<20>()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR_MS: u64 = 3_600_000;
    static WALL: AtomicU64 = AtomicU64::new(10 * HOUR_MS);

    fn wall() -> Timestamp {
        Timestamp(WALL.load(Ordering::SeqCst))
    }

    #[test]
    fn a_machines_clock_that_jumps_an_hour_forward_and_back_is_followed_only_while_nothing_is_under_way()
     {
        let is_about = |clock: &HomeClock, ms: u64| (ms..ms + 60_000).contains(&clock.now().0);
        let clock = HomeClock::of(wall);
        for hours in [11, 10, 9] {
            WALL.store(hours * HOUR_MS, Ordering::SeqCst);
            assert!(is_about(&clock, 10 * HOUR_MS), "{hours}: {:?}", clock.now());
        }
        clock.settle();
        assert!(is_about(&clock, 9 * HOUR_MS));
        // An earlier home was ahead: what it has begun goes on at once.
        clock.go_on_from(Timestamp(10 * HOUR_MS));
        assert!(is_about(&clock, 10 * HOUR_MS));
        clock.go_on_from(Timestamp(9 * HOUR_MS));
        assert!(is_about(&clock, 10 * HOUR_MS));
        let before = clock.now();
        std::thread::sleep(Duration::from_millis(20));
        assert!(clock.now() > before);
    }
}
