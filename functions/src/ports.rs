//! Control's ports as they are in a function.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use control::ports::{Clock, Dispatcher, Entropy};
use engine::Timestamp;
use wire::host::Offer;

/// Hosts that poll find their work in the table. Nothing reaches a poll that another instance of a function holds, so a
/// poll is only held back for a while, and the next one looks again.
pub(crate) struct PolledHosts;

#[async_trait]
impl Dispatcher for PolledHosts {
    async fn dispatch(&self, _offers: &[(String, Offer)]) {}

    fn ticket(&self, _name: &str) -> u64 {
        0
    }

    async fn wait(&self, _name: &str, _ticket: u64, wait_ms: u64) -> Vec<Offer> {
        tokio::time::sleep(Duration::from_millis(wait_ms.min(HELD_MS_MAX))).await;
        Vec::new()
    }
}

/// Longest a poll is held, in milliseconds: work that comes meanwhile is only seen by the next poll, and a function is
/// paid for while it waits.
const HELD_MS_MAX: u64 = 5_000;

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
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
