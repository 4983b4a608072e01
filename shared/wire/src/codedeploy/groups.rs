//! Deployment groups: what is deployed to, and how (`docs/semantics.md#api`).

use super::applications::resource_tags;
use super::checks::{self, given, list};
use super::common::{
    AlarmConfiguration, AutoRollbackConfiguration, BlueGreenDeploymentConfiguration,
    ComputePlatform, DeploymentStyle, Ec2DeploymentOptions, Ec2TagSet, LoadBalancerInfo,
    OnPremisesTagSet, Seconds, Tag, TagFilter,
};
use super::deployments::DeploymentStatus;
use super::errors::{ApiError, ErrorName};
use super::revisions::RevisionLocation;

shape! {
    /// Tells about a group's events.
    TriggerConfig {
        /// The trigger's name.
        trigger_name: String,
        /// The SNS topic that is told.
        trigger_target_arn: String,
        /// What it is told of: [`TriggerEventType`]s.
        trigger_events: Vec<String>,
    }
}

words! {
    /// What a trigger tells of.
    TriggerEventType {
        /// A deployment started.
        DeploymentStart = "DeploymentStart",
        /// A deployment succeeded.
        DeploymentSuccess = "DeploymentSuccess",
        /// A deployment failed.
        DeploymentFailure = "DeploymentFailure",
        /// A deployment was stopped.
        DeploymentStop = "DeploymentStop",
        /// A deployment was rolled back.
        DeploymentRollback = "DeploymentRollback",
        /// The new instances are ready.
        DeploymentReady = "DeploymentReady",
        /// A deployment to an instance started.
        InstanceStart = "InstanceStart",
        /// A deployment to an instance succeeded.
        InstanceSuccess = "InstanceSuccess",
        /// A deployment to an instance failed.
        InstanceFailure = "InstanceFailure",
        /// A new instance is ready.
        InstanceReady = "InstanceReady",
    }
}

words! {
    /// What is done with hosts that joined during a deployment.
    OutdatedInstancesStrategy {
        /// They are brought up to date.
        Update = "UPDATE",
        /// They are left.
        Ignore = "IGNORE",
    }
}

shape! {
    /// A service in ECS.
    EcsService {
        /// Its name.
        service_name: String,
        /// Its cluster.
        cluster_name: String,
    }
}

shape! {
    /// An Auto Scaling group.
    AutoScalingGroup {
        /// Its name.
        name: String,
        /// The lifecycle hook for instances that are launched.
        hook: String,
        /// The lifecycle hook for instances that are terminated.
        termination_hook: String,
    }
}

shape! {
    /// A deployment that a group remembers.
    LastDeploymentInfo {
        /// Its id.
        deployment_id: String,
        /// How it stands.
        status: DeploymentStatus,
        /// When it ended.
        end_time: Seconds,
        /// When it was created.
        create_time: Seconds,
    }
}

shape! {
    /// A deployment group.
    DeploymentGroupInfo {
        /// The application.
        application_name: String,
        /// The group's id.
        deployment_group_id: String,
        /// The group's name.
        deployment_group_name: String,
        /// The deployment configuration.
        deployment_config_name: String,
        /// EC2 instances by tag: any filter.
        ec2_tag_filters: Vec<TagFilter>,
        /// On-premises instances by tag: any filter.
        on_premises_instance_tag_filters: Vec<TagFilter>,
        /// Instances of Auto Scaling groups.
        auto_scaling_groups: Vec<AutoScalingGroup>,
        /// The role of CodeDeploy in the account.
        service_role_arn: String,
        /// The revision that was deployed last, whatever became of it.
        target_revision: RevisionLocation,
        /// Who is told.
        trigger_configurations: Vec<TriggerConfig>,
        /// Which alarms stop a deployment.
        alarm_configuration: AlarmConfiguration,
        /// When a deployment is rolled back.
        auto_rollback_configuration: AutoRollbackConfiguration,
        /// How hosts are replaced.
        deployment_style: DeploymentStyle,
        /// An [`OutdatedInstancesStrategy`].
        outdated_instances_strategy: String,
        /// How a blue/green deployment proceeds.
        blue_green_deployment_configuration: BlueGreenDeploymentConfiguration,
        /// The load balancers.
        load_balancer_info: LoadBalancerInfo,
        /// The last deployment that succeeded.
        last_successful_deployment: LastDeploymentInfo,
        /// The last deployment.
        last_attempted_deployment: LastDeploymentInfo,
        /// EC2 instances by tag: any filter of every group.
        ec2_tag_set: Ec2TagSet,
        /// On-premises instances by tag: any filter of every group.
        on_premises_tag_set: OnPremisesTagSet,
        /// Where the application runs.
        compute_platform: ComputePlatform,
        /// Services in ECS.
        ecs_services: Vec<EcsService>,
        /// What is done to Auto Scaling groups during a deployment.
        ec2_deployment_options: Ec2DeploymentOptions,
        /// Whether a deployment runs when an instance is terminated.
        termination_hook_enabled: bool,
    }
}

shape! {
    /// What a group deploys to, and how: what a client sets.
    GroupSettings {
        /// The deployment configuration.
        deployment_config_name: String,
        /// EC2 instances by tag: any filter.
        ec2_tag_filters: Vec<TagFilter>,
        /// On-premises instances by tag: any filter.
        on_premises_instance_tag_filters: Vec<TagFilter>,
        /// Auto Scaling groups by name.
        auto_scaling_groups: Vec<String>,
        /// The role of CodeDeploy in the account.
        service_role_arn: String,
        /// Who is told.
        trigger_configurations: Vec<TriggerConfig>,
        /// Which alarms stop a deployment.
        alarm_configuration: AlarmConfiguration,
        /// When a deployment is rolled back.
        auto_rollback_configuration: AutoRollbackConfiguration,
        /// An [`OutdatedInstancesStrategy`].
        outdated_instances_strategy: String,
        /// How hosts are replaced.
        deployment_style: DeploymentStyle,
        /// How a blue/green deployment proceeds.
        blue_green_deployment_configuration: BlueGreenDeploymentConfiguration,
        /// The load balancers.
        load_balancer_info: LoadBalancerInfo,
        /// EC2 instances by tag: any filter of every group.
        ec2_tag_set: Ec2TagSet,
        /// Services in ECS.
        ecs_services: Vec<EcsService>,
        /// On-premises instances by tag: any filter of every group.
        on_premises_tag_set: OnPremisesTagSet,
        /// What is done to Auto Scaling groups during a deployment.
        ec2_deployment_options: Ec2DeploymentOptions,
        /// Whether a deployment runs when an instance is terminated.
        termination_hook_enabled: bool,
    }
}

shape! {
    /// Creates a group.
    CreateDeploymentGroup {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
        /// Tags of the group itself.
        tags: Vec<Tag>,
        ..
        /// What it deploys to, and how.
        settings: GroupSettings
    }
}

shape! {
    /// The group was created.
    CreateDeploymentGroupOutput {
        /// Its id.
        deployment_group_id: String,
    }
}

shape! {
    /// Changes a group: what is absent stays, an empty list clears.
    UpdateDeploymentGroup {
        /// The application.
        application_name: String,
        /// The group.
        current_deployment_group_name: String,
        /// The name that it gets.
        new_deployment_group_name: String,
        ..
        /// What it deploys to, and how.
        settings: GroupSettings
    }
}

shape! {
    /// The group was changed.
    UpdateDeploymentGroupOutput {
        /// Auto Scaling groups whose lifecycle hooks could not be removed.
        hooks_not_cleaned_up: Vec<AutoScalingGroup>,
    }
}

shape! {
    /// Deletes a group.
    DeleteDeploymentGroup {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
    }
}

shape! {
    /// The group was deleted.
    DeleteDeploymentGroupOutput {
        /// Auto Scaling groups whose lifecycle hooks could not be removed.
        hooks_not_cleaned_up: Vec<AutoScalingGroup>,
    }
}

shape! {
    /// Asks for a group.
    GetDeploymentGroup {
        /// The application.
        application_name: String,
        /// The group.
        deployment_group_name: String,
    }
}

shape! {
    /// A group.
    GetDeploymentGroupOutput {
        /// The group.
        deployment_group_info: DeploymentGroupInfo,
    }
}

shape! {
    /// Asks for several groups.
    BatchGetDeploymentGroups {
        /// The application.
        application_name: String,
        /// The groups, at most 100.
        deployment_group_names: Vec<String>,
    }
}

shape! {
    /// Several groups.
    BatchGetDeploymentGroupsOutput {
        /// Those that were found.
        deployment_groups_info: Vec<DeploymentGroupInfo>,
        /// Which were not found; empty if all were.
        error_message: String,
    }
}

shape! {
    /// Asks which groups an application has.
    ListDeploymentGroups {
        /// The application.
        application_name: String,
        /// Where to go on.
        next_token: String,
    }
}

shape! {
    /// Which groups an application has.
    ListDeploymentGroupsOutput {
        /// The application.
        application_name: String,
        /// Their names.
        deployment_groups: Vec<String>,
        /// Where the next page begins, if there is one.
        next_token: String,
    }
}

impl From<GroupSettings> for DeploymentGroupInfo {
    /// The group as far as a client sets it; nothing that it set is left out.
    fn from(settings: GroupSettings) -> Self {
        let named = |name| AutoScalingGroup { name: Some(name), ..AutoScalingGroup::default() };
        Self {
            deployment_config_name: settings.deployment_config_name,
            ec2_tag_filters: settings.ec2_tag_filters,
            on_premises_instance_tag_filters: settings.on_premises_instance_tag_filters,
            auto_scaling_groups: settings
                .auto_scaling_groups
                .map(|names| names.into_iter().map(named).collect()),
            service_role_arn: settings.service_role_arn,
            trigger_configurations: settings.trigger_configurations,
            alarm_configuration: settings.alarm_configuration,
            auto_rollback_configuration: settings.auto_rollback_configuration,
            outdated_instances_strategy: settings.outdated_instances_strategy,
            deployment_style: settings.deployment_style,
            blue_green_deployment_configuration: settings.blue_green_deployment_configuration,
            load_balancer_info: settings.load_balancer_info,
            ec2_tag_set: settings.ec2_tag_set,
            ecs_services: settings.ecs_services,
            on_premises_tag_set: settings.on_premises_tag_set,
            ec2_deployment_options: settings.ec2_deployment_options,
            termination_hook_enabled: settings.termination_hook_enabled,
            ..Self::default()
        }
    }
}

impl CreateDeploymentGroup {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::group_name(&self.deployment_group_name)?;
        checks::ensure(
            given(&self.settings.service_role_arn).is_some(),
            ErrorName::RoleRequired,
            || {
                "`serviceRoleArn` is missing; give its ARN, arn:PARTITION:iam::ACCOUNT:role/NAME"
                    .to_owned()
            },
        )?;
        self.settings.validate()?;
        resource_tags(list(&self.tags))
    }
}

impl UpdateDeploymentGroup {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::name(
            &self.current_deployment_group_name,
            "currentDeploymentGroupName",
            ErrorName::DeploymentGroupNameRequired,
            ErrorName::InvalidDeploymentGroupName,
        )?;
        if let Some(name) = &self.new_deployment_group_name {
            let invalid = ErrorName::InvalidDeploymentGroupName;
            checks::name_characters(name, "newDeploymentGroupName", invalid)?;
        }
        self.settings.validate()
    }
}

impl DeleteDeploymentGroup {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::group_name(&self.deployment_group_name).map(drop)
    }
}

impl GetDeploymentGroup {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::group_name(&self.deployment_group_name).map(drop)
    }
}

impl BatchGetDeploymentGroups {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name)?;
        checks::names(
            &self.deployment_group_names,
            "deploymentGroupNames",
            ErrorName::DeploymentGroupNameRequired,
            ErrorName::InvalidDeploymentGroupName,
        )
    }
}

impl ListDeploymentGroups {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::application_name(&self.application_name).map(drop)
    }
}
