//! Cutover's own operations, spoken like CodeDeploy's: subscriptions of a group to uploads, what a group is doing, the
//! output of hooks, and rolling back by hand (`docs/semantics.md#api`).

mod traffic;

pub use traffic::{
    AddBalancer, AddBalancerOutput, AlarmNote, BalancerInfo, CreateLadder, CreateLadderOutput,
    GetProgress, GetProgressOutput, ListBalancers, ListBalancersOutput, RemoveBalancer, ShiftStage,
    Steer, SteerDeployment, TargetGroupStatus, TargetStatus,
};

use crate::codedeploy::{ApiError, Empty, ErrorName, Seconds, checks};

shape! {
    /// Deploys to a group what is uploaded under a prefix of a bucket.
    Subscribe {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
        /// The bucket.
        bucket: String,
        /// What the keys begin with; absent or empty for all.
        prefix: String,
    }
}

shape! {
    /// Ends a subscription.
    Unsubscribe {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
        /// The bucket.
        bucket: String,
        /// The prefix that was subscribed to.
        prefix: String,
    }
}

shape! {
    /// Asks which subscriptions there are.
    ListSubscriptions {
        /// Only those of this application.
        application_name: String,
        /// Only those of this group; needs the application.
        deployment_group_name: String,
    }
}

shape! {
    /// Which subscriptions there are.
    ListSubscriptionsOutput {
        /// The subscriptions.
        subscriptions: Vec<Subscription>,
    }
}

shape! {
    /// A group's subscription to uploads.
    Subscription {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
        /// The bucket.
        bucket: String,
        /// What the keys begin with.
        prefix: String,
    }
}

shape! {
    /// Asks what a group is doing.
    GetGroupStatus {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
    }
}

shape! {
    /// What a group is doing.
    GetGroupStatusOutput {
        /// The deployment that has not ended.
        active_deployment_id: String,
        /// The upload that waits for it.
        queued_upload: UploadInfo,
        /// What the group goes back to.
        last_successful_deployment_id: String,
        /// The newest deployment, whatever became of it.
        last_attempted_deployment_id: String,
        /// Recent uploads, the newest first.
        uploads: Vec<UploadInfo>,
        /// The group's subscriptions.
        subscriptions: Vec<Subscription>,
    }
}

shape! {
    /// An upload and what became of it.
    UploadInfo {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The identity of the PUT that made it.
        identity: String,
        /// The object's ETag, without quotes.
        e_tag: String,
        /// The object's size in bytes.
        size: u64,
        /// When it came.
        time: Seconds,
        /// What became of it.
        state: UploadState,
        /// Why it was refused, and what to do.
        reason: String,
        /// The file of the bundle that is wrong.
        file: String,
        /// The line in it, from 1.
        line: u32,
        /// The column, from 1.
        column: u32,
        /// The deployment that it started.
        deployment_id: String,
    }
}

words! {
    /// What became of an upload.
    UploadState {
        /// It waits for the deployment that is active.
        Waiting = "Waiting",
        /// It started a deployment.
        Started = "Started",
        /// It cannot be deployed.
        Refused = "Refused",
        /// A newer upload took its place.
        Superseded = "Superseded",
    }
}

shape! {
    /// Asks for the output of hooks.
    GetDeploymentLog {
        /// The deployment.
        deployment_id: String,
        /// Only that of this target.
        target_id: String,
        /// Only that of this lifecycle event.
        event: String,
        /// Only what comes after this, a `next` of an earlier answer.
        after: String,
        /// Whether the hosts shall send output as it comes for some seconds from now on.
        follow: bool,
    }
}

shape! {
    /// The output of hooks.
    GetDeploymentLogOutput {
        /// Pieces of it, in the order in which they came.
        entries: Vec<LogEntry>,
        /// Where to go on, now or when there is more; absent if nothing more will come.
        next: String,
    }
}

shape! {
    /// A piece of a hook's output.
    LogEntry {
        /// The target.
        target_id: String,
        /// The lifecycle event.
        lifecycle_event_name: String,
        /// Where the piece begins in the output of the event, in bytes.
        offset: u64,
        /// When it came, where a line does not say it.
        time: Seconds,
        /// The text; a line begins with the time at which the host read it (`wire::log`).
        text: String,
        /// Whether output between the piece before and this one was dropped.
        truncated: bool,
    }
}

shape! {
    /// Rolls a deployment's group back to what succeeded before it.
    RollBackDeployment {
        /// The deployment.
        deployment_id: String,
    }
}

shape! {
    /// The rollback has begun.
    RollBackDeploymentOutput {
        /// The deployment that rolls back.
        deployment_id: String,
    }
}

shape! {
    /// Sets what CodeDeploy has no member for. What is absent stays.
    SetGroupOptions {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
        /// How long a host may be silent, in seconds: 10 to 3600.
        host_silence_seconds: u64,
        /// Whether hosts run an interrupted hook again.
        rerun_interrupted_hooks: bool,
    }
}

/// The longest key of an object in bytes, and so the longest prefix.
const PREFIX_LIMIT: usize = 1024;
const BUCKET_LIMIT: usize = 255;

fn group(application: &Option<String>, group: &Option<String>) -> Result<(), ApiError> {
    checks::application_name(application)?;
    checks::group_name(group).map(drop)
}

fn source(bucket: &Option<String>, prefix: &Option<String>) -> Result<(), ApiError> {
    let length = bucket.as_deref().map_or(0, str::len);
    checks::ensure((1..=BUCKET_LIMIT).contains(&length), ErrorName::Validation, || {
        "`bucket` is missing or too long; give the bucket's name".to_owned()
    })?;
    let length = prefix.as_deref().map_or(0, str::len);
    checks::ensure(length <= PREFIX_LIMIT, ErrorName::Validation, || {
        format!("`prefix` has {length} bytes; use at most {PREFIX_LIMIT}")
    })
}

impl Subscribe {
    fn check(&self) -> Result<(), ApiError> {
        group(&self.application_name, &self.deployment_group_name)?;
        source(&self.bucket, &self.prefix)
    }
}

impl Unsubscribe {
    fn check(&self) -> Result<(), ApiError> {
        group(&self.application_name, &self.deployment_group_name)?;
        source(&self.bucket, &self.prefix)
    }
}

impl ListSubscriptions {
    fn check(&self) -> Result<(), ApiError> {
        if checks::given(&self.deployment_group_name).is_some() {
            return group(&self.application_name, &self.deployment_group_name);
        }
        match checks::given(&self.application_name) {
            Some(_) => checks::application_name(&self.application_name).map(drop),
            None => Ok(()),
        }
    }
}

impl GetGroupStatus {
    fn check(&self) -> Result<(), ApiError> {
        group(&self.application_name, &self.deployment_group_name)
    }
}

impl GetDeploymentLog {
    fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id).map(drop)
    }
}

impl RollBackDeployment {
    fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id).map(drop)
    }
}

impl SetGroupOptions {
    fn check(&self) -> Result<(), ApiError> {
        group(&self.application_name, &self.deployment_group_name)?;
        let seconds = self.host_silence_seconds;
        let fits = seconds.is_none_or(|seconds| (10..=3600).contains(&seconds));
        checks::ensure(fits, ErrorName::Validation, || {
            "`hostSilenceSeconds` is too short or too long; give 10 to 3600".to_owned()
        })
    }
}

/// What the targets of these operations begin with.
pub const PREFIX: &str = "Cutover_v1.";

operations! {
    "Cutover_v1.",
    /// Cutover's own operations; the request of each is the structure of the same name.
    Subscribe => Empty,
    Unsubscribe => Empty,
    ListSubscriptions => ListSubscriptionsOutput,
    GetGroupStatus => GetGroupStatusOutput,
    GetDeploymentLog => GetDeploymentLogOutput,
    RollBackDeployment => RollBackDeploymentOutput,
    SetGroupOptions => Empty,
    CreateLadder => CreateLadderOutput,
    GetProgress => GetProgressOutput,
    SteerDeployment => Empty,
    AddBalancer => AddBalancerOutput,
    ListBalancers => ListBalancersOutput,
    RemoveBalancer => Empty,
}
