//! The group as an aggregate: which deployment is active, which upload waits, what succeeded last. It changes in the
//! same transaction as the start and the end of a deployment.

use serde::{Deserialize, Serialize};

use crate::deployment::{Creator, Deployment, Ending, Fallback, Status};
use crate::{DeploymentId, Pin, Revision, Timestamp};

/// What a group is doing.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// The fencing number of the newest deployment; each start takes the next one.
    pub generation: u64,
    /// The deployment that has not ended.
    pub active: Option<DeploymentId>,
    /// The newest upload that came while a deployment was active.
    pub queued: Option<Upload>,
    /// The newest upload that was started or queued; an older one that comes late starts nothing.
    pub newest_upload: u64,
    /// Its rank among those with the same place in the order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub newest_rank: String,
    /// What the group goes back to.
    pub last_successful: Option<Fallback>,
    /// The newest deployment, whatever became of it.
    pub last_attempted: Option<DeploymentId>,
    /// The newest deployment of the group itself, and not of a host that came or went alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_of_group: Option<DeploymentId>,
}

/// An uploaded revision that a group shall be deployed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// The identity of the PUT that made it.
    pub identity: String,
    /// Its place in the order of uploads.
    pub order: u64,
    /// Its rank among uploads with the same place, where a place is no more than a moment: a later one has a later text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rank: String,
    /// What was uploaded.
    pub revision: Revision,
    /// The bytes.
    pub pin: Pin,
    /// When it came.
    pub at: Timestamp,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The group is free: start it now.
    Start,
    /// A deployment is active; the upload waits, in place of any that waited before.
    Wait,
    /// A newer upload was started or waits.
    Superseded,
}

impl Slot {
    /// Takes the slot for a new deployment and returns its fencing number.
    ///
    /// # Errors
    /// The deployment that is active.
    pub fn start(&mut self, id: &DeploymentId, creator: Creator) -> Result<u64, DeploymentId> {
        match &self.active {
            Some(active) => Err(active.clone()),
            None => Ok(self.take(id, creator)),
        }
    }

    fn take(&mut self, id: &DeploymentId, creator: Creator) -> u64 {
        self.generation += 1;
        if creator.is_of_group() {
            self.newest_of_group = Some(id.clone());
        }
        self.active = Some(id.clone());
        self.last_attempted = Some(id.clone());
        self.generation
    }

    /// Says what becomes of an upload, and keeps it if it has to wait.
    pub fn admit(&mut self, upload: &Upload) -> Admission {
        // Of two with the same place and rank, the one that comes later is the later one.
        if (upload.order, &upload.rank) < (self.newest_upload, &self.newest_rank) {
            return Admission::Superseded;
        }
        self.newest_upload = upload.order;
        self.newest_rank.clone_from(&upload.rank);
        if self.active.is_none() {
            return Admission::Start;
        }
        self.queued = Some(upload.clone());
        Admission::Wait
    }

    /// Frees the slot at the end of `deployment`, and remembers it if it succeeded. With `rollback`, the slot goes over
    /// to that deployment, whose fencing number is returned; else an upload that waited is taken out, to be started.
    pub fn end(
        &mut self,
        deployment: &Deployment,
        ending: &Ending,
        rollback: Option<&DeploymentId>,
    ) -> Next {
        if self.active.as_ref() != Some(deployment.id()) {
            return Next::Nothing;
        }
        self.active = None;
        // What only took the traffic back, to what no deployment here had installed, has deployed nothing.
        let order = deployment.order();
        let is_way_back = order.shift.as_ref().is_some_and(|shift| shift.back_to.is_some());
        let of_group = order.creator.is_of_group() && !(is_way_back && order.fallback.is_none());
        if let (Status::Succeeded, Some(pin), true) = (ending.status, deployment.pin(), of_group) {
            self.last_successful = Some(Fallback {
                deployment: deployment.id().clone(),
                revision: deployment.order().revision.clone(),
                pin: pin.clone(),
                file_exists_behavior: deployment.order().file_exists_behavior,
            });
        }
        match rollback {
            Some(rollback) => Next::Rollback { generation: self.take(rollback, Creator::Rollback) },
            None => self.queued.take().map_or(Next::Nothing, Next::Queued),
        }
    }
}

/// What follows a deployment's end.
#[expect(clippy::large_enum_variant, reason = "one at a time, and none is kept")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The slot is free.
    Nothing,
    /// The rollback holds the slot.
    Rollback {
        /// Its fencing number.
        generation: u64,
    },
    /// An upload waited; it is started now.
    Queued(Upload),
}
