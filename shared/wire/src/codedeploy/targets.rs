//! The targets of a deployment: each host, and how far it got (`docs/semantics.md#lifecycle`).

use std::collections::BTreeMap;

use super::checks;
use super::common::{Seconds, TargetGroupInfo};
use super::errors::{ApiError, ErrorName, UnknownWord};

words! {
    /// How a target stands.
    TargetStatus {
        /// It has not begun.
        Pending = "Pending",
        /// It is under way.
        InProgress = "InProgress",
        /// It ended well.
        Succeeded = "Succeeded",
        /// It ended badly.
        Failed = "Failed",
        /// It was left out.
        Skipped = "Skipped",
        /// It fell silent.
        Unknown = "Unknown",
        /// It is ready for traffic.
        Ready = "Ready",
    }
}

words! {
    /// How a lifecycle event stands.
    LifecycleEventStatus {
        /// It has not begun.
        Pending = "Pending",
        /// It is under way.
        InProgress = "InProgress",
        /// It ended well.
        Succeeded = "Succeeded",
        /// It ended badly.
        Failed = "Failed",
        /// It was left out.
        Skipped = "Skipped",
        /// It fell silent.
        Unknown = "Unknown",
    }
}

words! {
    /// How a lifecycle event ended.
    LifecycleErrorCode {
        /// Well.
        Success = "Success",
        /// A script is not there.
        ScriptMissing = "ScriptMissing",
        /// A script cannot be executed.
        ScriptNotExecutable = "ScriptNotExecutable",
        /// A script took too long.
        ScriptTimedOut = "ScriptTimedOut",
        /// A script failed.
        ScriptFailed = "ScriptFailed",
        /// Something else went wrong.
        UnknownError = "UnknownError",
    }
}

words! {
    /// The side of a blue/green deployment that a target is on.
    TargetLabel {
        /// The old one.
        Blue = "Blue",
        /// The new one.
        Green = "Green",
    }
}

words! {
    /// The kinds of targets.
    DeploymentTargetType {
        /// A host.
        InstanceTarget = "InstanceTarget",
        /// An alias of a Lambda function.
        LambdaTarget = "LambdaTarget",
        /// A service of ECS.
        EcsTarget = "ECSTarget",
    }
}

shape! {
    /// What is known about the end of a lifecycle event.
    Diagnostics {
        /// How it ended.
        error_code: LifecycleErrorCode,
        /// The script.
        script_name: String,
        /// What happened.
        message: String,
        /// The end of its output.
        log_tail: String,
    }
}

shape! {
    /// A lifecycle event on a target.
    LifecycleEvent {
        /// Its name.
        lifecycle_event_name: String,
        /// What is known about its end.
        diagnostics: Diagnostics,
        /// When it began.
        start_time: Seconds,
        /// When it ended.
        end_time: Seconds,
        /// How it stands.
        status: LifecycleEventStatus,
    }
}

shape! {
    /// A host in a deployment.
    InstanceTarget {
        /// The deployment.
        deployment_id: String,
        /// The host.
        target_id: String,
        /// The host's ARN.
        target_arn: String,
        /// How it stands.
        status: TargetStatus,
        /// When that was last heard.
        last_updated_at: Seconds,
        /// Its lifecycle events.
        lifecycle_events: Vec<LifecycleEvent>,
        /// Its side of a blue/green deployment.
        instance_label: TargetLabel,
    }
}

shape! {
    /// A target of a deployment.
    DeploymentTarget {
        /// What kind.
        deployment_target_type: DeploymentTargetType,
        /// The host.
        instance_target: InstanceTarget,
        /// The alias of a Lambda function.
        lambda_target: LambdaTarget,
        /// The service of ECS.
        ecs_target: EcsTarget,
    }
}

impl DeploymentTarget {
    /// What the target of a deployment that goes to no hosts can be called: its id, and then its ARN.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let lambda = self.lambda_target.iter();
        let lambda = lambda.flat_map(|target| [&target.target_id, &target.target_arn]);
        let ecs = self.ecs_target.iter();
        let ecs = ecs.flat_map(|target| [&target.target_id, &target.target_arn]);
        lambda.chain(ecs).flatten().map(String::as_str)
    }
}

shape! {
    /// A service of ECS in a deployment.
    EcsTarget {
        /// The deployment.
        deployment_id: String,
        /// The service, as `CLUSTER:SERVICE`.
        target_id: String,
        /// Its ARN.
        target_arn: String,
        /// When its status last changed.
        last_updated_at: Seconds,
        /// Its lifecycle events.
        lifecycle_events: Vec<LifecycleEvent>,
        /// How it stands.
        status: TargetStatus,
        /// Its task sets.
        task_sets_info: Vec<EcsTaskSet>,
    }
}

shape! {
    /// A task set of a service.
    EcsTaskSet {
        /// Its id; the name is misspelt in CodeDeploy's API.
        identifer: String,
        /// How many tasks are wanted.
        desired_count: u32,
        /// How many start.
        pending_count: u32,
        /// How many run.
        running_count: u32,
        /// `PRIMARY` or `ACTIVE`.
        status: String,
        /// How much of the traffic it has, in percent.
        traffic_weight: u32,
        /// The target group that its tasks are in.
        target_group: TargetGroupInfo,
        /// Its side of the deployment.
        task_set_label: TargetLabel,
    }
}

shape! {
    /// An alias of a Lambda function in a deployment.
    LambdaTarget {
        /// The deployment.
        deployment_id: String,
        /// The function and its alias, as `NAME:ALIAS`.
        target_id: String,
        /// The same as an ARN.
        target_arn: String,
        /// How it stands.
        status: TargetStatus,
        /// When that last changed.
        last_updated_at: Seconds,
        /// Its lifecycle events.
        lifecycle_events: Vec<LifecycleEvent>,
        /// The versions.
        lambda_function_info: LambdaFunctionInfo,
    }
}

shape! {
    /// The versions of a function that a deployment moves traffic between.
    LambdaFunctionInfo {
        /// The function.
        function_name: String,
        /// Its alias.
        function_alias: String,
        /// The version that had the traffic.
        current_version: String,
        /// The version that gets it.
        target_version: String,
        /// How much of the traffic that has, in percent.
        target_version_weight: u32,
    }
}

words! {
    /// What targets are filtered by.
    TargetFilterName {
        /// Their status.
        TargetStatus = "TargetStatus",
        /// Their side of a blue/green deployment.
        ServerInstanceLabel = "ServerInstanceLabel",
    }
}

shape! {
    /// Asks which targets a deployment has.
    ListDeploymentTargets {
        /// The deployment.
        deployment_id: String,
        /// Where to go on.
        next_token: String,
        /// Only those with one of the values, by [`TargetFilterName`].
        target_filters: BTreeMap<String, Vec<String>>,
    }
}

shape! {
    /// Which targets a deployment has.
    ListDeploymentTargetsOutput {
        /// Their ids.
        target_ids: Vec<String>,
        /// Where the next page begins, if there is one.
        next_token: String,
    }
}

shape! {
    /// Asks for a target.
    GetDeploymentTarget {
        /// The deployment.
        deployment_id: String,
        /// The target.
        target_id: String,
    }
}

shape! {
    /// A target.
    GetDeploymentTargetOutput {
        /// The target.
        deployment_target: DeploymentTarget,
    }
}

shape! {
    /// Asks for several targets.
    BatchGetDeploymentTargets {
        /// The deployment.
        deployment_id: String,
        /// The targets, at most 25.
        target_ids: Vec<String>,
    }
}

shape! {
    /// Several targets.
    BatchGetDeploymentTargetsOutput {
        /// The targets.
        deployment_targets: Vec<DeploymentTarget>,
    }
}

/// Targets in one request.
const TARGET_BATCH_LIMIT: usize = 25;
/// A target's id may be an ARN; none is longer.
const TARGET_ID_LIMIT: usize = 1011;

fn fit(id: &str) -> Result<(), ApiError> {
    let fits = (1..=TARGET_ID_LIMIT).contains(&id.len());
    checks::ensure(fits, ErrorName::InvalidDeploymentTargetId, || {
        "a target's id is empty or too long; give one that ListDeploymentTargets gave".to_owned()
    })
}

impl ListDeploymentTargets {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id)?;
        self.target_filters.iter().flatten().try_for_each(|(filter, values)| {
            let unknown = ErrorName::InvalidTargetFilterName;
            let filter = filter.parse().map_err(|error: UnknownWord| {
                unknown.because(format!("a target filter: {error}; give one of these"))
            })?;
            values.iter().try_for_each(|value| {
                let value = Some(value.clone());
                match filter {
                    TargetFilterName::TargetStatus => {
                        let invalid = ErrorName::InvalidInstanceStatus;
                        checks::word::<TargetStatus>(&value, "TargetStatus", invalid).map(drop)
                    }
                    TargetFilterName::ServerInstanceLabel => {
                        let invalid = ErrorName::InvalidInstanceType;
                        checks::word::<TargetLabel>(&value, "ServerInstanceLabel", invalid)
                            .map(drop)
                    }
                }
            })
        })
    }
}

impl GetDeploymentTarget {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id)?;
        checks::given(&self.target_id).map_or_else(
            || Err(ErrorName::DeploymentTargetIdRequired.because("`targetId` is missing; give one")),
            fit,
        )
    }
}

impl BatchGetDeploymentTargets {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id)?;
        let ids = checks::list(&self.target_ids);
        checks::ensure(!ids.is_empty(), ErrorName::DeploymentTargetIdRequired, || {
            "`targetIds` is empty; give at least one".to_owned()
        })?;
        let limit = ErrorName::DeploymentTargetListSizeExceeded;
        checks::ensure(ids.len() <= TARGET_BATCH_LIMIT, limit, || {
            format!("there are {} targets; ask for at most {TARGET_BATCH_LIMIT}", ids.len())
        })?;
        ids.iter().try_for_each(|id| fit(id))
    }
}
