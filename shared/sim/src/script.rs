//! What is kept for a test that says itself what happens; see [`crate::scripted`].

use std::collections::BTreeMap;
use std::fmt;

use control::ports::Unheard;
use engine::{DeploymentId, Timestamp};
use futures::future::BoxFuture;
use wire::host::BatchKey;

/// A moment within a request to a port, in which something else can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// An alias was read, and its reader has not heard of it.
    AliasRead,
    /// A hook function is about to be called.
    HookCalled,
}

/// What a test says beside what the models are told, and what it wants to know.
#[derive(Default)]
pub(crate) struct Script {
    /// AppSpecs in the bucket, by their keys.
    pub(crate) specs: BTreeMap<String, String>,
    /// The digests of the bytes that are kept, and when they were put last.
    pub(crate) kept: BTreeMap<String, Timestamp>,
    /// How long no host was heard of; none where only the table can tell.
    pub(crate) unheard: Option<Unheard>,
    /// The deployments that want to be woken.
    pub(crate) wakes: Vec<DeploymentId>,
    /// The instances that were sent a command, each with its batch and the secret of that.
    pub(crate) commands: Vec<(String, BatchKey, String)>,
    /// The functions that were called, each with what it was told.
    pub(crate) calls: Vec<(String, String)>,
    /// What happens in the middle of something else, once.
    pub(crate) meanwhile: BTreeMap<Moment, BoxFuture<'static, ()>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}
