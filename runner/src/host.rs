//! What all commands that one process carries out on this host share.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::AgentConfig;
use crate::stop::Stop;

/// What all commands of a process share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: AgentConfig,
    pub(crate) stop: Stop,
    /// How many scripts run.
    hooks: AtomicUsize,
}

impl Host {
    /// A host on which no script runs yet.
    pub(crate) fn new(config: AgentConfig, stop: Stop) -> Self {
        Self { config, stop, hooks: AtomicUsize::new(0) }
    }

    /// Whether a script runs.
    pub(crate) fn runs_hooks(&self) -> bool {
        self.hooks.load(Ordering::Acquire) > 0
    }

    /// Runs a script that counts as long as it runs.
    pub(crate) async fn counted<T>(&self, script: impl Future<Output = T>) -> T {
        let _counted = Counted::new(&self.hooks);
        script.await
    }
}

/// One more as long as it is there, however it goes.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
