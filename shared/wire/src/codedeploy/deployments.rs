//! Deployments (`docs/semantics.md#api`).

use super::checks::{self, given, list};
use super::common::{
    AlarmConfiguration, AutoRollbackConfiguration, BlueGreenDeploymentConfiguration,
    ComputePlatform, DeploymentStyle, Ec2DeploymentOptions, Ec2TagSet, LoadBalancerInfo, Seconds,
    TagFilter,
};
use super::errors::{ApiError, ErrorName};
use super::revisions::{self, RevisionLocation};

words! {
    /// How a deployment stands.
    DeploymentStatus {
        /// It was accepted.
        Created = "Created",
        /// It waits to be started.
        Queued = "Queued",
        /// It is under way.
        InProgress = "InProgress",
        /// All hosts are done, and it is watched.
        Baking = "Baking",
        /// It ended well.
        Succeeded = "Succeeded",
        /// It ended badly.
        Failed = "Failed",
        /// It was stopped.
        Stopped = "Stopped",
        /// The new hosts are ready for traffic.
        Ready = "Ready",
    }
}

words! {
    /// Who created a deployment.
    DeploymentCreator {
        /// Somebody.
        User = "user",
        /// An Auto Scaling group that launched an instance.
        AutoScaling = "autoscaling",
        /// A rollback.
        CodeDeployRollback = "codeDeployRollback",
        /// The service.
        CodeDeploy = "CodeDeploy",
        /// The update of hosts that joined during a deployment.
        CodeDeployAutoUpdate = "CodeDeployAutoUpdate",
        /// CloudFormation.
        CloudFormation = "CloudFormation",
        /// A rollback by CloudFormation.
        CloudFormationRollback = "CloudFormationRollback",
        /// An Auto Scaling group that terminates an instance.
        AutoScalingTermination = "autoscalingTermination",
    }
}

words! {
    /// Why a deployment did not succeed: those of CodeDeploy's codes that a deployment to hosts has.
    ErrorCode {
        /// No host took the deployment.
        AgentIssue = "AGENT_ISSUE",
        /// An alarm is firing.
        AlarmActive = "ALARM_ACTIVE",
        /// The application was deleted.
        ApplicationMissing = "APPLICATION_MISSING",
        /// The Auto Scaling group is not as it has to be.
        AutoScalingConfiguration = "AUTO_SCALING_CONFIGURATION",
        /// The application is unhealthy.
        CustomerApplicationUnhealthy = "CUSTOMER_APPLICATION_UNHEALTHY",
        /// The group was deleted.
        DeploymentGroupMissing = "DEPLOYMENT_GROUP_MISSING",
        /// Too many hosts failed.
        HealthConstraints = "HEALTH_CONSTRAINTS",
        /// The configuration leaves no host to deploy to.
        HealthConstraintsInvalid = "HEALTH_CONSTRAINTS_INVALID",
        /// A right is missing.
        IamRolePermissions = "IAM_ROLE_PERMISSIONS",
        /// The service failed.
        InternalError = "INTERNAL_ERROR",
        /// The revision cannot be deployed.
        InvalidRevision = "INVALID_REVISION",
        /// It was stopped by hand.
        ManualStop = "MANUAL_STOP",
        /// A hook function failed, or did not say how it went.
        HookExecutionFailure = "HOOK_EXECUTION_FAILURE",
        /// The function is not as the revision says.
        InvalidLambdaFunction = "INVALID_LAMBDA_FUNCTION",
        /// The service is not as it has to be.
        InvalidEcsService = "INVALID_ECS_SERVICE",
        /// The tasks of the service do not run as they should.
        EcsUpdateError = "ECS_UPDATE_ERROR",
        /// The target groups cannot carry the deployment.
        ElasticLoadBalancingInvalid = "ELASTIC_LOAD_BALANCING_INVALID",
        /// There are no hosts to deploy to.
        NoInstances = "NO_INSTANCES",
        /// There are too many hosts.
        OverMaxInstances = "OVER_MAX_INSTANCES",
        /// A limit was reached.
        ResourceLimitExceeded = "RESOURCE_LIMIT_EXCEEDED",
        /// The revision is gone.
        RevisionMissing = "REVISION_MISSING",
        /// Another service refused too many requests.
        Throttled = "THROTTLED",
        /// It took too long.
        Timeout = "TIMEOUT",
    }
}

shape! {
    /// Why a deployment did not succeed.
    ErrorInformation {
        /// What kind.
        code: ErrorCode,
        /// What happened.
        message: String,
    }
}

shape! {
    as "PascalCase";
    /// How many targets of a deployment are in which state.
    DeploymentOverview {
        /// Not started.
        pending: u64,
        /// Under way.
        in_progress: u64,
        /// Ended well.
        succeeded: u64,
        /// Ended badly.
        failed: u64,
        /// Left out.
        skipped: u64,
        /// Ready for traffic.
        ready: u64,
    }
}

shape! {
    /// How a deployment is related to a rollback.
    RollbackInfo {
        /// The deployment that rolls it back.
        rollback_deployment_id: String,
        /// The deployment that it rolls back.
        rollback_triggering_deployment_id: String,
        /// What became of the rollback.
        rollback_message: String,
    }
}

shape! {
    /// The replacement hosts of a blue/green deployment.
    TargetInstances {
        /// By tag: any filter.
        tag_filters: Vec<TagFilter>,
        /// Auto Scaling groups by name.
        auto_scaling_groups: Vec<String>,
        /// By tag: any filter of every group.
        ec2_tag_set: Ec2TagSet,
    }
}

shape! {
    /// Updates of hosts that joined during a deployment.
    RelatedDeployments {
        /// The deployment that made this one necessary.
        auto_update_outdated_instances_root_deployment_id: String,
        /// The deployments that this one made necessary.
        auto_update_outdated_instances_deployment_ids: Vec<String>,
    }
}

words! {
    /// What a deployment does to a host.
    DeploymentMode {
        /// It installs the revision.
        Standard = "STANDARD",
        /// It restarts what is installed.
        Restart = "RESTART",
    }
}

shape! {
    /// A deployment.
    DeploymentInfo {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
        /// The deployment configuration.
        deployment_config_name: String,
        /// Its id.
        deployment_id: String,
        /// The revision that had succeeded last when it was created.
        previous_revision: RevisionLocation,
        /// The revision.
        revision: RevisionLocation,
        /// How it stands.
        status: DeploymentStatus,
        /// Why it did not succeed.
        error_information: ErrorInformation,
        /// When it was created.
        create_time: Seconds,
        /// When it was started.
        start_time: Seconds,
        /// When it ended.
        complete_time: Seconds,
        /// How its targets stand.
        deployment_overview: DeploymentOverview,
        /// Its description.
        description: String,
        /// Who created it.
        creator: DeploymentCreator,
        /// Whether a host goes on after its ApplicationStop failed.
        ignore_application_stop_failures: bool,
        /// When it is rolled back.
        auto_rollback_configuration: AutoRollbackConfiguration,
        /// Whether hosts that have the revision are left out.
        update_outdated_instances_only: bool,
        /// How it is related to a rollback.
        rollback_info: RollbackInfo,
        /// How hosts are replaced.
        deployment_style: DeploymentStyle,
        /// The replacement hosts of a blue/green deployment.
        target_instances: TargetInstances,
        /// Whether the wait before old hosts are terminated has begun.
        instance_termination_wait_time_started: bool,
        /// How a blue/green deployment proceeds.
        blue_green_deployment_configuration: BlueGreenDeploymentConfiguration,
        /// The load balancers.
        load_balancer_info: LoadBalancerInfo,
        /// More about its status.
        additional_deployment_status_info: String,
        /// A [`engine::appspec::FileExistsBehavior`], as CodeDeploy writes it.
        file_exists_behavior: String,
        /// A [`DeploymentMode`].
        deployment_mode: String,
        /// What is said about its status.
        deployment_status_messages: Vec<String>,
        /// Where the application runs.
        compute_platform: ComputePlatform,
        /// The id that CloudFormation gave it.
        external_id: String,
        /// Updates of hosts that joined meanwhile.
        related_deployments: RelatedDeployments,
        /// Which alarms stop it, instead of the group's.
        override_alarm_configuration: AlarmConfiguration,
        /// What is done to Auto Scaling groups meanwhile.
        ec2_deployment_options: Ec2DeploymentOptions,
    }
}

shape! {
    /// Creates a deployment.
    CreateDeployment {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
        /// The revision.
        revision: RevisionLocation,
        /// The deployment configuration.
        deployment_config_name: String,
        /// A description, at most 256 characters.
        description: String,
        /// Whether a host goes on after its ApplicationStop failed.
        ignore_application_stop_failures: bool,
        /// The replacement hosts of a blue/green deployment.
        target_instances: TargetInstances,
        /// When it is rolled back.
        auto_rollback_configuration: AutoRollbackConfiguration,
        /// Whether hosts that have the revision are left out.
        update_outdated_instances_only: bool,
        /// A [`engine::appspec::FileExistsBehavior`], as CodeDeploy writes it.
        file_exists_behavior: String,
        /// A [`DeploymentMode`].
        deployment_mode: String,
        /// Which alarms stop it, instead of the group's.
        override_alarm_configuration: AlarmConfiguration,
        /// What is done to Auto Scaling groups meanwhile.
        ec2_deployment_options: Ec2DeploymentOptions,
    }
}

shape! {
    /// The deployment was created.
    CreateDeploymentOutput {
        /// Its id.
        deployment_id: String,
    }
}

shape! {
    /// Asks for a deployment.
    GetDeployment {
        /// The deployment.
        deployment_id: String,
    }
}

shape! {
    /// A deployment.
    GetDeploymentOutput {
        /// The deployment.
        deployment_info: DeploymentInfo,
    }
}

shape! {
    /// Asks for several deployments.
    BatchGetDeployments {
        /// The deployments, at most 100.
        deployment_ids: Vec<String>,
    }
}

shape! {
    /// Several deployments.
    BatchGetDeploymentsOutput {
        /// Those that there are.
        deployments_info: Vec<DeploymentInfo>,
    }
}

shape! {
    /// A span of time; an end that is absent is open.
    TimeRange {
        /// Its beginning.
        start: Seconds,
        /// Its end.
        end: Seconds,
    }
}

shape! {
    /// Asks which deployments there are, the newest first.
    ListDeployments {
        /// Only those of this application; goes with the group.
        application_name: String,
        /// Only those of this group; goes with the application.
        deployment_group_name: String,
        /// Only those that CloudFormation gave this id.
        external_id: String,
        /// Only those with one of these [`DeploymentStatus`]es.
        include_only_statuses: Vec<String>,
        /// Only those that were created then.
        create_time_range: TimeRange,
        /// Where to go on.
        next_token: String,
    }
}

shape! {
    /// Which deployments there are.
    ListDeploymentsOutput {
        /// Their ids.
        deployments: Vec<String>,
        /// Where the next page begins, if there is one.
        next_token: String,
    }
}

shape! {
    /// Stops a deployment.
    StopDeployment {
        /// The deployment.
        deployment_id: String,
        /// Whether it is rolled back then; absent means what the deployment says itself.
        auto_rollback_enabled: bool,
    }
}

words! {
    /// Whether a deployment was stopped.
    StopStatus {
        /// Hosts are still at work.
        Pending = "Pending",
        /// Nothing more will be started.
        Succeeded = "Succeeded",
    }
}

shape! {
    /// Whether the deployment was stopped.
    StopDeploymentOutput {
        /// How far it got.
        status: StopStatus,
        /// The same in words.
        status_message: String,
    }
}

impl CreateDeployment {
    /// Whether the group has to be named and the revision to be given is asked later, of
    /// [`Self::required_group_name`] and [`Self::required_revision`]: CodeDeploy looks for the application first.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        if given(&self.deployment_group_name).is_some() {
            checks::group_name(&self.deployment_group_name)?;
        }
        revisions::optional(&self.revision)?;
        checks::config_name(&self.deployment_config_name)?;
        checks::description(&self.description)?;
        self.check_target_instances()?;
        checks::auto_rollback(&self.auto_rollback_configuration)?;
        checks::alarms(&self.override_alarm_configuration)?;
        let known = matches!(
            self.file_exists_behavior.as_deref(),
            None | Some("DISALLOW" | "OVERWRITE" | "RETAIN")
        );
        checks::ensure(known, ErrorName::InvalidFileExistsBehavior, || {
            "`fileExistsBehavior` is not known; give DISALLOW, OVERWRITE or RETAIN".to_owned()
        })?;
        checks::suspended_processes(&self.ec2_deployment_options)?;
        self.check_mode()
    }

    fn check_target_instances(&self) -> Result<(), ApiError> {
        let Some(targets) = &self.target_instances else { return Ok(()) };
        let groups =
            targets.ec2_tag_set.as_ref().map_or(&[][..], |set| list(&set.ec2_tag_set_list));
        let invalid = ErrorName::InvalidTargetInstances;
        checks::tag_selection(list(&targets.tag_filters), groups, invalid, invalid)
            .map_err(|error| invalid.because(error.message))
    }

    fn check_mode(&self) -> Result<(), ApiError> {
        let invalid = ErrorName::InvalidInput;
        let mode =
            checks::word::<DeploymentMode>(&self.deployment_mode, "deploymentMode", invalid)?;
        let restart = mode == Some(DeploymentMode::Restart);
        checks::ensure(!(restart && self.revision.is_some()), invalid, || {
            "a deployment that restarts takes no revision; leave `revision` out".to_owned()
        })?;
        let some_only = self.update_outdated_instances_only == Some(true);
        checks::ensure(!(restart && some_only), invalid, || {
            "a deployment that restarts has no outdated instances; leave `updateOutdatedInstancesOnly` out".to_owned()
        })
    }

    /// The group's name, which is missed only after the application was found.
    ///
    /// # Errors
    /// `DeploymentGroupNameRequiredException`.
    pub fn required_group_name(&self) -> Result<&str, ApiError> {
        given(&self.deployment_group_name).ok_or_else(|| {
            ErrorName::DeploymentGroupNameRequired.because("Deployment Group name is missing")
        })
    }

    /// The revision, which is missed only after the group was found; `None` if the deployment restarts what is there.
    ///
    /// # Errors
    /// `RevisionRequiredException`.
    pub fn required_revision(&self) -> Result<Option<&RevisionLocation>, ApiError> {
        let restart = self.deployment_mode.as_deref() == Some(DeploymentMode::Restart.name());
        if self.revision.is_none() && !restart {
            return Err(ErrorName::RevisionRequired.because("RevisionLocation must be specified"));
        }
        Ok(self.revision.as_ref())
    }
}

impl GetDeployment {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id).map(drop)
    }
}

impl BatchGetDeployments {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let ids = list(&self.deployment_ids);
        checks::ensure(!ids.is_empty(), ErrorName::DeploymentIdRequired, || {
            "`deploymentIds` is empty; give at least one".to_owned()
        })?;
        checks::batch(ids, "deploymentIds", ErrorName::BatchLimitExceeded)?;
        ids.iter().try_for_each(|id| checks::deployment_id_length(id))
    }
}

impl ListDeployments {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let application = given(&self.application_name).is_some();
        let group = given(&self.deployment_group_name).is_some();
        if application || group {
            checks::application_name(&self.application_name)?;
            checks::group_name(&self.deployment_group_name)?;
        }
        list(&self.include_only_statuses).iter().try_for_each(|status| {
            let invalid = ErrorName::InvalidDeploymentStatus;
            let status = Some(status.clone());
            checks::word::<DeploymentStatus>(&status, "includeOnlyStatuses", invalid).map(drop)
        })?;
        let range = self.create_time_range.clone().unwrap_or_default();
        let ordered = match (range.start, range.end) {
            (Some(start), Some(end)) => start <= end,
            (None, _) | (_, None) => true,
        };
        checks::ensure(ordered, ErrorName::InvalidTimeRange, || {
            "`createTimeRange` ends before it starts; exchange `start` and `end`".to_owned()
        })
    }
}

impl StopDeployment {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id).map(drop)
    }
}
