//! The wish that the agent ends, as every part of it sees it.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Within this time after it was told to end, an agent has ended.
pub(crate) const END_WITHIN: Duration = Duration::from_millis(3_900);

/// Sees whether the agent shall end; clones see the same.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    asked_at: watch::Receiver<Option<Instant>>,
    grace: Duration,
}

impl Stop {
    /// A wish that can be uttered through the sender.
    pub(crate) fn new(grace_ms: u64) -> (watch::Sender<Option<Instant>>, Self) {
        let (sender, asked_at) = watch::channel(None);
        (sender, Self { asked_at, grace: Duration::from_millis(grace_ms) })
    }

    /// Waits until it is uttered, and says when that was.
    pub(crate) async fn asked(&self) -> Instant {
        let mut receiver = self.asked_at.clone();
        let found = receiver.wait_for(Option::is_some).await.ok().and_then(|at| *at);
        match found {
            Some(at) => at,
            // Nobody is left who could utter it.
            None => pending().await,
        }
    }

    /// Waits until it is uttered and what may go on for a while has had its time.
    pub(crate) async fn grace_is_over(&self) {
        let asked_at = self.asked().await;
        sleep_until(asked_at + self.grace).await;
    }
}
