//! What the settings of a deployment group may be, and what they are after a change (`docs/semantics.md#api`).

use super::checks::{self, given, list};
use super::common::{
    DeploymentOption, DeploymentReadyAction, DeploymentStyle, DeploymentType,
    GreenFleetProvisioningAction, InstanceAction, LoadBalancerInfo, TargetGroupPairInfo,
    TrafficRoute,
};
use super::errors::{ApiError, ErrorName};
use super::groups::{EcsService, GroupSettings, OutdatedInstancesStrategy, TriggerEventType};

/// Auto Scaling groups, triggers, load balancers of a kind: ten of each.
const LIST_LIMIT: usize = 10;
/// How long old hosts may be kept, in minutes.
const TERMINATION_WAIT_LIMIT: i32 = 2880;

impl GroupSettings {
    /// Checks what can be checked without the application's platform.
    ///
    /// # Errors
    /// The first thing that is wrong, as CodeDeploy names it.
    pub fn validate(&self) -> Result<(), ApiError> {
        checks::config_name(&self.deployment_config_name)?;
        self.check_hosts()?;
        self.check_role()?;
        self.check_triggers()?;
        checks::alarms(&self.alarm_configuration)?;
        checks::auto_rollback(&self.auto_rollback_configuration)?;
        let strategy = &self.outdated_instances_strategy;
        let invalid = ErrorName::InvalidInput;
        checks::word::<OutdatedInstancesStrategy>(strategy, "outdatedInstancesStrategy", invalid)?;
        style(&self.deployment_style)?;
        self.check_blue_green()?;
        load_balancers(&self.load_balancer_info)?;
        self.check_services()?;
        checks::suspended_processes(&self.ec2_deployment_options)
    }

    fn check_hosts(&self) -> Result<(), ApiError> {
        let ec2 = self.ec2_tag_set.as_ref().map_or(&[][..], |set| list(&set.ec2_tag_set_list));
        checks::tag_selection(
            list(&self.ec2_tag_filters),
            ec2,
            ErrorName::InvalidEc2Tag,
            ErrorName::InvalidEc2TagCombination,
        )?;
        let on_premises = self.on_premises_tag_set.as_ref();
        let on_premises = on_premises.map_or(&[][..], |set| list(&set.on_premises_tag_set_list));
        checks::tag_selection(
            list(&self.on_premises_instance_tag_filters),
            on_premises,
            ErrorName::InvalidTag,
            ErrorName::InvalidOnPremisesTagCombination,
        )?;
        let names = list(&self.auto_scaling_groups);
        let fits = names.len() <= LIST_LIMIT && names.iter().all(|name| !name.is_empty());
        checks::ensure(fits, ErrorName::InvalidAutoScalingGroup, || {
            format!("`autoScalingGroups` has an empty name or too many; name at most {LIST_LIMIT}")
        })
    }

    fn check_role(&self) -> Result<(), ApiError> {
        let fits =
            self.service_role_arn.as_deref().is_none_or(|arn| checks::is_arn(arn, "iam", "role/"));
        checks::ensure(fits, ErrorName::InvalidRole, || {
            "`serviceRoleArn` is no role; give its ARN, arn:PARTITION:iam::ACCOUNT:role/NAME"
                .to_owned()
        })
    }

    fn check_triggers(&self) -> Result<(), ApiError> {
        let triggers = list(&self.trigger_configurations);
        let limit = ErrorName::TriggerTargetsLimitExceeded;
        checks::ensure(triggers.len() <= LIST_LIMIT, limit, || {
            format!("there are {} triggers; use at most {LIST_LIMIT}", triggers.len())
        })?;
        let invalid = ErrorName::InvalidTriggerConfig;
        triggers.iter().try_for_each(|trigger| {
            let complete = given(&trigger.trigger_name).is_some()
                && given(&trigger.trigger_target_arn).is_some()
                && !list(&trigger.trigger_events).is_empty();
            checks::ensure(complete, invalid, || {
                "a trigger lacks something; give `triggerName`, `triggerTargetArn` and `triggerEvents`".to_owned()
            })?;
            list(&trigger.trigger_events).iter().try_for_each(|event| {
                let event = Some(event.clone());
                checks::word::<TriggerEventType>(&event, "triggerEvents", invalid).map(drop)
            })
        })
    }

    fn check_blue_green(&self) -> Result<(), ApiError> {
        let Some(configuration) = &self.blue_green_deployment_configuration else { return Ok(()) };
        let invalid = ErrorName::InvalidBlueGreenDeploymentConfiguration;
        let wait_fits = |minutes: Option<i32>| {
            minutes.is_none_or(|minutes| (0..=TERMINATION_WAIT_LIMIT).contains(&minutes))
        };
        if let Some(old) = &configuration.terminate_blue_instances_on_deployment_success {
            checks::word::<InstanceAction>(&old.action, "action", invalid)?;
            checks::ensure(wait_fits(old.termination_wait_time_in_minutes), invalid, || {
                format!(
                    "`terminationWaitTimeInMinutes` is too long; give 0 to {TERMINATION_WAIT_LIMIT}"
                )
            })?;
        }
        if let Some(ready) = &configuration.deployment_ready_option {
            let action = checks::word::<DeploymentReadyAction>(
                &ready.action_on_timeout,
                "actionOnTimeout",
                invalid,
            )?;
            let wait = ready.wait_time_in_minutes;
            checks::ensure(wait_fits(wait), invalid, || {
                format!("`waitTimeInMinutes` is too long; give 0 to {TERMINATION_WAIT_LIMIT}")
            })?;
            let waits = wait.is_some_and(|minutes| minutes > 0);
            let stops = action == Some(DeploymentReadyAction::StopDeployment);
            checks::ensure(stops || !waits, invalid, || {
                "Deployment ready action cannot be set to 'CONTINUE_DEPLOYMENT' when timeout is specified".to_owned()
            })?;
        }
        let Some(fleet) = &configuration.green_fleet_provisioning_option else { return Ok(()) };
        checks::word::<GreenFleetProvisioningAction>(&fleet.action, "action", invalid).map(drop)
    }

    fn check_services(&self) -> Result<(), ApiError> {
        let services = list(&self.ecs_services);
        let complete = |service: &EcsService| {
            given(&service.service_name).is_some() && given(&service.cluster_name).is_some()
        };
        let fits = services.len() <= 1 && services.iter().all(complete);
        checks::ensure(fits, ErrorName::InvalidEcsService, || {
            "`ecsServices` names one service, by `serviceName` and `clusterName`".to_owned()
        })
    }

    /// What holds after `change`: what it has replaces what is here, and the rest stays. Tag filters and a tag set of
    /// the same kind of instances replace each other.
    #[must_use]
    pub fn changed_by(mut self, change: Self) -> Self {
        let ec2 = change.ec2_tag_set.as_ref().map_or(&[][..], |set| list(&set.ec2_tag_set_list));
        let on_premises = change.on_premises_tag_set.as_ref();
        let on_premises = on_premises.map_or(&[][..], |set| list(&set.on_premises_tag_set_list));
        self.ec2_tag_filters = self.ec2_tag_filters.filter(|_| ec2.is_empty());
        self.ec2_tag_set = self.ec2_tag_set.filter(|_| list(&change.ec2_tag_filters).is_empty());
        self.on_premises_instance_tag_filters =
            self.on_premises_instance_tag_filters.filter(|_| on_premises.is_empty());
        self.on_premises_tag_set = self
            .on_premises_tag_set
            .filter(|_| list(&change.on_premises_instance_tag_filters).is_empty());
        Self {
            deployment_config_name: change.deployment_config_name.or(self.deployment_config_name),
            ec2_tag_filters: change.ec2_tag_filters.or(self.ec2_tag_filters),
            on_premises_instance_tag_filters: change
                .on_premises_instance_tag_filters
                .or(self.on_premises_instance_tag_filters),
            auto_scaling_groups: change.auto_scaling_groups.or(self.auto_scaling_groups),
            service_role_arn: change.service_role_arn.or(self.service_role_arn),
            trigger_configurations: change.trigger_configurations.or(self.trigger_configurations),
            alarm_configuration: change.alarm_configuration.or(self.alarm_configuration),
            auto_rollback_configuration: change
                .auto_rollback_configuration
                .or(self.auto_rollback_configuration),
            outdated_instances_strategy: change
                .outdated_instances_strategy
                .or(self.outdated_instances_strategy),
            deployment_style: change.deployment_style.or(self.deployment_style),
            blue_green_deployment_configuration: change
                .blue_green_deployment_configuration
                .or(self.blue_green_deployment_configuration),
            load_balancer_info: change.load_balancer_info.or(self.load_balancer_info),
            ec2_tag_set: change.ec2_tag_set.or(self.ec2_tag_set),
            ecs_services: change.ecs_services.or(self.ecs_services),
            on_premises_tag_set: change.on_premises_tag_set.or(self.on_premises_tag_set),
            ec2_deployment_options: change.ec2_deployment_options.or(self.ec2_deployment_options),
            termination_hook_enabled: change
                .termination_hook_enabled
                .or(self.termination_hook_enabled),
        }
    }
}

fn style(style: &Option<DeploymentStyle>) -> Result<(), ApiError> {
    let Some(style) = style else { return Ok(()) };
    let invalid = ErrorName::InvalidDeploymentStyle;
    let complete =
        given(&style.deployment_type).is_some() && given(&style.deployment_option).is_some();
    checks::ensure(complete, invalid, || {
        "Deployment type or deployment option cannot be null or empty".to_owned()
    })?;
    checks::word::<DeploymentType>(&style.deployment_type, "deploymentType", invalid)?;
    checks::word::<DeploymentOption>(&style.deployment_option, "deploymentOption", invalid)
        .map(drop)
        .map_err(|_| {
            invalid.because(
                "Deployment option can only be WITH_TRAFFIC_CONTROL or WITHOUT_TRAFFIC_CONTROL",
            )
        })
}

fn load_balancers(balancers: &Option<LoadBalancerInfo>) -> Result<(), ApiError> {
    let Some(balancers) = balancers else { return Ok(()) };
    let (elbs, groups) = (list(&balancers.elb_info_list), list(&balancers.target_group_info_list));
    let named = elbs.iter().all(|elb| given(&elb.name).is_some())
        && groups.iter().all(|group| given(&group.name).is_some());
    let fits = named && elbs.len() <= LIST_LIMIT && groups.len() <= LIST_LIMIT;
    checks::ensure(fits, ErrorName::InvalidLoadBalancerInfo, || {
        format!(
            "a load balancer has no name, or there are too many; name at most {LIST_LIMIT} of each kind"
        )
    })?;
    let pairs = list(&balancers.target_group_pair_info_list);
    let one = |route: &TrafficRoute| list(&route.listener_arns).len() == 1;
    let complete = |pair: &TargetGroupPairInfo| {
        let groups = list(&pair.target_groups);
        groups.len() == 2
            && groups.iter().all(|group| given(&group.name).is_some())
            && pair.prod_traffic_route.as_ref().is_some_and(one)
            && pair.test_traffic_route.as_ref().is_none_or(one)
    };
    let fits = pairs.len() <= 1 && pairs.iter().all(complete);
    checks::ensure(fits, ErrorName::InvalidTargetGroupPair, || {
        "`targetGroupPairInfoList` takes one pair: two target groups, a `prodTrafficRoute` of one listener and \
         perhaps a `testTrafficRoute` of one"
            .to_owned()
    })
}
