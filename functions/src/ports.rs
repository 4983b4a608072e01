//! Control's ports as they are in a function.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use control::ports::{Clock, Dispatcher, Entropy};
use engine::Timestamp;
use wire::host::Offer;

/// Hosts that poll find their work in the table. Nothing reaches a poll that another instance of a function holds, and a
/// function is paid for while it holds one: so none is held, and hosts are told when to come again.
pub(crate) struct PolledHosts;

/// How long a host that polls waits when there was nothing, in milliseconds: what it costs is in `docs/cloud.md`.
const AGAIN_AFTER_MS: u64 = 15_000;

#[async_trait]
impl Dispatcher for PolledHosts {
    async fn dispatch(&self, _offers: &[(String, Offer)]) {}

    fn ticket(&self, _name: &str) -> u64 {
        0
    }

    fn again_after_ms(&self) -> Option<u64> {
        Some(AGAIN_AFTER_MS)
    }

    async fn wait(&self, _name: &str, _ticket: u64, _wait_ms: u64) -> Vec<Offer> {
        Vec::new()
    }
}

/// The machine's clock.
pub(crate) struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    async fn sleep(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
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
