//! Where the hosts of deployments lie, as a process has read it: it never changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine::DeploymentId;

use crate::rows::HostShards;

/// Of how many deployments it is kept where their hosts lie. What is read again costs one read.
const KEPT_MAX: usize = 1_000;

/// Where the hosts of deployments lie, as far as that was read by this process.
#[derive(Debug, Default, Clone)]
pub struct KnownShards(Arc<Mutex<BTreeMap<DeploymentId, HostShards>>>);

impl KnownShards {
    fn all(&self) -> MutexGuard<'_, BTreeMap<DeploymentId, HostShards>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the hosts of a deployment lie, if that was read.
    pub(super) fn of(&self, id: &DeploymentId) -> Option<HostShards> {
        self.all().get(id).cloned()
    }

    /// Keeps what was read.
    pub(super) fn keep(&self, shards: &HostShards) {
        let mut all = self.all();
        if all.len() >= KEPT_MAX {
            all.clear();
        }
        all.insert(shards.id.clone(), shards.clone());
    }
}
