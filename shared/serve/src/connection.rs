//! What is known of one connection: when a byte last passed, and whether it is the client that is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Whom a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waits {
    /// For the client, who is to send a request, and owes nothing before.
    Idle,
    /// For the client, who is to send the rest of a body, or to take an answer.
    Client,
    /// For the application, or for nobody: the connection was upgraded.
    Not,
}

/// What is known of a connection. It is written by its task and read by its room.
#[derive(Debug)]
pub(super) struct Connection {
    opened: Instant,
    /// When a byte last passed or the connection's state changed, in milliseconds since it was opened.
    last_ms: AtomicU64,
    is_owed: AtomicBool,
    wants_body: AtomicBool,
    cannot_write: AtomicBool,
    is_upgraded: AtomicBool,
    close: CancellationToken,
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            last_ms: AtomicU64::new(0),
            is_owed: AtomicBool::new(false),
            wants_body: AtomicBool::new(false),
            cannot_write: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
            close: CancellationToken::new(),
        }
    }

    /// Whom it waits for.
    pub(super) fn waits(&self) -> Waits {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        if is(&self.is_upgraded) {
            Waits::Not
        } else if is(&self.cannot_write) || is(&self.wants_body) {
            Waits::Client
        } else if is(&self.is_owed) {
            Waits::Not
        } else {
            Waits::Idle
        }
    }

    /// For how long no byte has passed.
    pub(super) fn silent_for(&self) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(last)
    }

    /// Ends it.
    pub(super) fn close(&self) {
        self.close.cancel();
    }

    /// Ready when it is to end.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// The application has a request, until what is returned is dropped.
    pub(super) fn owe(self: &Arc<Self>) -> Owing {
        self.is_owed.store(true, Ordering::Relaxed);
        self.touch();
        Owing(Arc::clone(self))
    }

    /// From now on it is no HTTP.
    pub(super) fn upgrade(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    /// Whether the client is to take what was written before more can be.
    pub(super) fn cannot_write(&self, is_so: bool) {
        self.set(&self.cannot_write, is_so);
    }

    /// Whether somebody waits for more of a request's body.
    pub(super) fn wants_body(&self, is_so: bool) {
        self.set(&self.wants_body, is_so);
    }

    /// A byte has passed.
    pub(super) fn touch(&self) {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now, Ordering::Relaxed);
    }

    fn set(&self, flag: &AtomicBool, to: bool) {
        if flag.swap(to, Ordering::Relaxed) != to {
            self.touch();
        }
    }
}

/// An answer is owed to the client.
pub(super) struct Owing(Arc<Connection>);

impl Drop for Owing {
    fn drop(&mut self) {
        self.0.is_owed.store(false, Ordering::Relaxed);
        self.0.touch();
    }
}
