//! What a home asks of its machine: the time, random bytes, and keys made of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::ports::{Clock, Entropy};
use engine::Timestamp;

use crate::dir::KeyPair;

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
