//! What only a cloud installation has: instances that are found by their tags, commands that are pushed to them, Auto
//! Scaling, and functions that perform requests for each other. A home and the simulator have [`NoCloud`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use engine::{DeploymentId, Pin, Timestamp};
use thiserror::Error;
use wire::codedeploy::TagFilter;
use wire::host::BatchKey;

use super::{Bundles, Object, PinError, Pinned};
use crate::tags::matches;

/// Why a service of the cloud did not do as asked.
#[derive(Debug, Error)]
pub enum CloudError {
    /// It did not answer, or not now; trying again may help.
    #[error("{service} did not answer {operation}")]
    Unavailable {
        /// Which service.
        service: &'static str,
        /// What was asked of it.
        operation: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refuses; asking again gives the same answer.
    #[error("{service} refuses {operation}: {message}")]
    Refused {
        /// Which service.
        service: &'static str,
        /// What was asked of it.
        operation: &'static str,
        /// Its reason.
        message: String,
    },
}

/// Instances, by what is known of them outside.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// The tag, as key and value, that an instance must carry so that a command may be sent to it.
    fn tag(&self) -> (String, String);

    /// The instances that run, or are about to, and that `wanted` selects; each once.
    async fn select(&self, wanted: &Selection) -> Result<Vec<Instance>, CloudError>;

    /// The instances called `ids`. One that is not known is left out, and that is no evidence that it is gone.
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError>;

    /// Asks for instances to be terminated, and returns those that it may not terminate, each with the reason. One that
    /// does not exist is no error, and to one that is being terminated nothing more happens.
    async fn terminate(&self, ids: &[String]) -> Result<BTreeMap<String, String>, CloudError>;
}

/// Which instances a group wants: those that its tags select, and those of its Auto Scaling groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Sets of filters: an instance must match one filter of each set. None selects none.
    pub tag_sets: Vec<Vec<TagFilter>>,
    /// Names of Auto Scaling groups.
    pub scaling_groups: Vec<String>,
}

impl Selection {
    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.tag_sets.is_empty() && self.scaling_groups.is_empty()
    }

    /// Whether it selects the instance.
    pub fn selects(&self, instance: &Instance) -> bool {
        let matches_any =
            |set: &Vec<TagFilter>| set.iter().any(|filter| matches(filter, &instance.tags));
        let by_tags = !self.tag_sets.is_empty() && self.tag_sets.iter().all(matches_any);
        by_tags
            || instance.scaling_group.as_ref().is_some_and(|of| self.scaling_groups.contains(of))
    }
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id, which is its name as a host.
    pub id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// How it is.
    pub state: InstanceState,
    /// Its availability zone.
    pub zone: Option<String>,
    /// The Auto Scaling group that it belongs to.
    pub scaling_group: Option<String>,
}

/// What state an instance is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It starts.
    Pending,
    /// It runs.
    Running,
    /// It stops, or has stopped; it may be started again.
    Stopped,
    /// It is being terminated, or was: it will not come back.
    Terminated,
    /// There is a word for it that this version does not know.
    Unknown,
}

/// How far an instance can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It was heard of just now.
    Online,
    /// The connection to it is lost, as far as is known. It may take a command all the same.
    Lost {
        /// When it was last heard of, where that is known.
        since: Option<Timestamp>,
    },
}

/// Brings commands to instances.
#[async_trait]
pub trait Push: Send + Sync {
    /// How far each of `names` can be reached; one that commands cannot be sent to is left out.
    async fn reach(&self, names: &[String]) -> Result<BTreeMap<String, Reach>, CloudError>;

    /// Sends one command to at most [`engine::deployment::BATCH_HOSTS_MAX`] instances, and returns its id.
    ///
    /// # Errors
    /// If one of the instances cannot be sent to, none was.
    async fn send(&self, command: &Command) -> Result<String, SendError>;

    /// What the command printed on an instance and how it ended, in words for people; nothing if that is not known.
    async fn outcome(&self, command: &str, instance: &str) -> Result<Option<String>, CloudError>;
}

/// A command that is pushed. It says only where to claim what is to be done.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The instances.
    pub instances: Vec<String>,
    /// The batch.
    pub batch: BatchKey,
    /// What the batch is claimed with.
    pub secret: String,
    /// How long it may take on an instance, in seconds.
    pub timeout_s: u32,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Command")
            .field("instances", &self.instances)
            .field("batch", &self.batch)
            .field("timeout_s", &self.timeout_s)
            .finish_non_exhaustive()
    }
}

/// Why a command was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// One of the instances is none that can be sent to; which one is not said.
    #[error("one of the instances cannot be sent to: {0}")]
    Instances(String),
    /// The service.
    #[error(transparent)]
    Cloud(#[from] CloudError),
}

/// Auto Scaling groups: what holds instances back while they come and go.
#[async_trait]
pub trait Scaling: Send + Sync {
    /// Makes the hooks of a deployment group on an Auto Scaling group be there, or not.
    async fn keep_hooks(&self, hooks: &Hooks) -> Result<(), CloudError>;

    /// Says that an instance still needs time.
    async fn heartbeat(&self, action: &LifecycleAction) -> Result<(), CloudError>;

    /// Lets an instance go on its way; with `abandon`, one that arrives is terminated instead. An instance that is not
    /// held any more is no error.
    async fn release(&self, action: &LifecycleAction, abandon: bool) -> Result<(), CloudError>;

    /// Which of `processes` the group runs, so that they can be suspended.
    async fn running(
        &self,
        scaling_group: &str,
        processes: &[String],
    ) -> Result<Vec<String>, CloudError>;

    /// Suspends or resumes processes. Doing it again changes nothing; a group that is gone is no error.
    async fn set_suspended(
        &self,
        scaling_group: &str,
        processes: &[String],
        suspended: bool,
    ) -> Result<(), CloudError>;

    /// Asks for an instance of an Auto Scaling group to be terminated and not replaced: the group wants one less from then
    /// on. One that is in no group any more is no error.
    ///
    /// # Errors
    /// Refused where the group would have less instances than its minimum.
    async fn terminate(&self, instance: &str) -> Result<(), CloudError>;

    /// Makes a group like another one, as far as that has not been done, and tells how it stands. Until it is resumed by
    /// [`Scaling::set_suspended`], the copy runs none of [`GroupCopy::RESTING`].
    ///
    /// # Errors
    /// Refused where the group cannot be copied; asking again gives the same answer.
    async fn copy(&self, copy: &GroupCopy) -> Result<CopyStanding, CloudError>;

    /// Deletes a group with its instances, if a deployment has made it, and tells whether it is gone. One that somebody else
    /// has made is left as it is, and counts as gone: nothing is left to be done.
    async fn delete_copy(&self, scaling_group: &str) -> Result<bool, CloudError>;
}

/// An Auto Scaling group that a deployment makes like another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCopy {
    /// The group that is copied.
    pub from: String,
    /// The name of the copy.
    pub to: String,
    /// The deployment that makes it.
    pub made_by: DeploymentId,
}

impl GroupCopy {
    /// Processes that rest in a copy: it keeps its instances as they are, and out of target groups, until the deployment
    /// has put them to use.
    pub const RESTING: [&str; 6] = [
        "AZRebalance",
        "AddToLoadBalancer",
        "AlarmNotification",
        "HealthCheck",
        "ReplaceUnhealthy",
        "ScheduledActions",
    ];
}

/// How a copy of an Auto Scaling group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStanding {
    /// How many instances it is to have: as many as the copied group had when the copy was made.
    pub wanted: u32,
    /// How many of them are in service.
    pub in_service: u32,
    /// Why the last launch failed, in the words of Auto Scaling; none if it did not.
    pub trouble: Option<String>,
}

/// Hooks of a deployment group on an Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// The Auto Scaling group.
    pub scaling_group: String,
    /// The name of the hook for instances that arrive.
    pub launch: String,
    /// Whether that one shall be there.
    pub is_launch_wanted: bool,
    /// The name of the hook for instances that leave.
    pub termination: String,
    /// Whether that one shall be there.
    pub is_termination_wanted: bool,
}

/// A lifecycle action of Auto Scaling: a hook holds an instance back until it is completed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleAction {
    /// The Auto Scaling group.
    pub scaling_group: String,
    /// The hook.
    pub hook: String,
    /// The instance.
    pub instance: String,
    /// What the action is named by.
    pub token: String,
}

/// Instances: those that there are, commands to them, and the groups that they come and go with.
#[derive(Clone)]
pub struct Instances {
    /// Which there are.
    pub fleet: Arc<dyn Fleet>,
    /// Commands to them.
    pub push: Arc<dyn Push>,
    /// Their Auto Scaling groups.
    pub scaling: Arc<dyn Scaling>,
}

impl Instances {
    /// There are none.
    pub fn none() -> Self {
        let none = Arc::new(NoCloud);
        Self { fleet: none.clone(), push: none.clone(), scaling: none }
    }
}

/// Where there is no cloud, or where a function has no business with a part of it: nothing is handed over, nothing
/// found, and what would have to reach an instance says so.
#[derive(Debug, Clone, Copy)]
pub struct NoCloud;

impl NoCloud {
    fn refused(operation: &'static str) -> CloudError {
        let message = "there is none here; use a cloud installation for EC2 instances".to_owned();
        CloudError::Refused { service: "the cloud", operation, message }
    }
}

#[async_trait]
impl Bundles for NoCloud {
    async fn pin(&self, _: &Object) -> Result<Pinned, PinError> {
        Err(PinError::Unavailable(Box::new(Self::refused("read a bundle"))))
    }

    async fn read(&self, _: &Object, _: usize) -> Result<String, PinError> {
        Err(PinError::Unavailable(Box::new(Self::refused("read an AppSpec"))))
    }

    async fn url(&self, _: &Pin) -> Result<String, PinError> {
        Err(PinError::Unavailable(Box::new(Self::refused("sign a URL"))))
    }

    async fn runner_url(&self, _: &str) -> Result<String, PinError> {
        Err(PinError::Unavailable(Box::new(Self::refused("sign a URL"))))
    }
}

#[async_trait]
impl Fleet for NoCloud {
    fn tag(&self) -> (String, String) {
        ("cutover".to_owned(), String::new())
    }

    async fn select(&self, _: &Selection) -> Result<Vec<Instance>, CloudError> {
        Ok(Vec::new())
    }

    async fn describe(&self, _: &[String]) -> Result<Vec<Instance>, CloudError> {
        Ok(Vec::new())
    }

    async fn terminate(&self, _: &[String]) -> Result<BTreeMap<String, String>, CloudError> {
        Err(Self::refused("terminate instances"))
    }
}

#[async_trait]
impl Push for NoCloud {
    async fn reach(&self, _: &[String]) -> Result<BTreeMap<String, Reach>, CloudError> {
        Err(Self::refused("find out which instances can be reached"))
    }

    async fn send(&self, _: &Command) -> Result<String, SendError> {
        Err(Self::refused("send a command").into())
    }

    async fn outcome(&self, _: &str, _: &str) -> Result<Option<String>, CloudError> {
        Ok(None)
    }
}

#[async_trait]
impl Scaling for NoCloud {
    async fn keep_hooks(&self, _: &Hooks) -> Result<(), CloudError> {
        Ok(())
    }

    async fn heartbeat(&self, _: &LifecycleAction) -> Result<(), CloudError> {
        Ok(())
    }

    async fn release(&self, _: &LifecycleAction, _: bool) -> Result<(), CloudError> {
        Ok(())
    }

    async fn running(&self, _: &str, _: &[String]) -> Result<Vec<String>, CloudError> {
        Ok(Vec::new())
    }

    async fn set_suspended(&self, _: &str, _: &[String], _: bool) -> Result<(), CloudError> {
        Ok(())
    }

    async fn terminate(&self, _: &str) -> Result<(), CloudError> {
        Err(Self::refused("terminate an instance"))
    }

    async fn copy(&self, _: &GroupCopy) -> Result<CopyStanding, CloudError> {
        Err(Self::refused("copy an Auto Scaling group"))
    }

    async fn delete_copy(&self, _: &str) -> Result<bool, CloudError> {
        Err(Self::refused("delete an Auto Scaling group"))
    }
}
