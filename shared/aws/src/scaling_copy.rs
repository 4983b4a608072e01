//! Copies of Auto Scaling groups: a deployment makes a group like the one that it goes to, and deletes one of the two when
//! it ends.
//!
//! Copied are what instances are launched from and where, how they are checked, replaced and ended, the target groups and
//! other sources of traffic, tags, lifecycle hooks, scaling policies, scheduled actions, notifications and the metrics that
//! are collected.
//!
//! Not copied are Cutover's own hooks and tags, alarms (target tracking makes its own; a step or simple policy of the copy
//! is called by no alarm until somebody names it in one), warm pools, deletion protection, which would keep the copy from
//! being taken back, the operator, instance refreshes, and what was suspended in the original. The metrics of predictive
//! policies, and expressions of metrics, stay as they are, also where they name the original.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use aws_sdk_autoscaling::error::ProvideErrorMetadata as _;
use aws_sdk_autoscaling::operation::create_auto_scaling_group::builders::CreateAutoScalingGroupFluentBuilder as Request;
use aws_sdk_autoscaling::primitives::DateTime;
use aws_sdk_autoscaling::types::{
    AutoScalingGroup, Instance, LaunchTemplateSpecification, LifecycleHook, LifecycleState,
    MetricDimension, MixedInstancesPolicy, NotificationConfiguration, ScalingActivityStatusCode,
    ScalingPolicy, ScheduledUpdateGroupAction, Tag, TargetTrackingConfiguration,
    TrafficSourceIdentifier,
};
use control::ports::{CloudError, CopyStanding, GroupCopy, Scaling as _};

use crate::error::cloud_error;
use crate::scaling::{AutoScaling, SERVICE, is_gone};

/// How the keys of the tags begin that copies are known by. A copy of a copy does not inherit them.
const OWN_TAGS: &str = "cutover:";

/// The tag of a copy that names the deployment that makes it. It is there from the first moment on, and the rights to
/// change and delete groups hang on it.
const MADE_BY: &str = "cutover:made-by";

/// The tag of a copy that was given its size. From then on the size is the affair of Auto Scaling and of people.
///
/// It is written after the size, and before any call answers how the copy stands. So whoever dies in between leaves a copy
/// that no deployment has heard of: everything that could have changed its size still rests, and giving it its size again
/// changes nothing. The other way round, a copy could be left without instances for good. That the size is not zero would
/// be no mark: Auto Scaling and people may make it so later.
const SIZED: &str = "cutover:sized";

/// How the names of Cutover's own hooks begin: these are made for each group by itself.
const OWN_HOOK: &str = "cutover-";

/// How the keys of tags begin that only AWS may give.
const TAGS_OF_AWS: &str = "aws:";

/// The role that Auto Scaling uses unless it is told of another one. Naming it would want a right to pass it.
const USUAL_ROLE: &str = "/AWSServiceRoleForAutoScaling";

/// The dimension by which metrics name a group.
const GROUP_DIMENSION: &str = "AutoScalingGroupName";

/// How far ahead a scheduled action has to be so that it is still made, in seconds: Auto Scaling refuses what has passed
/// by its own clock.
const SCHEDULE_AHEAD_S: i64 = 60;

impl AutoScaling {
    /// What [`control::ports::Scaling::copy`] says.
    pub(crate) async fn make_copy(&self, copy: &GroupCopy) -> Result<CopyStanding, CloudError> {
        let made = if let Some(made) = self.described(&copy.to).await? {
            made
        } else {
            let from = self.original(copy).await?;
            self.create_like(&from, copy).await?;
            self.found(&copy.to).await?
        };
        check_ours(&made, copy)?;
        if tag(&made, SIZED).is_some() {
            return self.standing(&made).await;
        }
        let from = self.original(copy).await?;
        let resting = GroupCopy::RESTING.map(str::to_owned);
        self.set_suspended(&copy.to, &resting, true).await?;
        self.copy_hooks(copy).await?;
        self.copy_policies(copy).await?;
        self.copy_schedule(copy).await?;
        self.copy_notifications(copy).await?;
        self.copy_metrics(&from, copy).await?;
        self.give_size(copy).await?;
        self.standing(&self.found(&copy.to).await?).await
    }

    /// What [`control::ports::Scaling::delete_copy`] says.
    pub(crate) async fn delete_made(&self, name: &str) -> Result<bool, CloudError> {
        let Some(group) = self.described(name).await? else { return Ok(true) };
        if tag(&group, MADE_BY).is_none() {
            return Ok(true);
        }
        if group.status.is_some() {
            // A group has a status only while it is being deleted.
            return Ok(false);
        }
        let request = self.client.delete_auto_scaling_group().auto_scaling_group_name(name);
        match request.force_delete(true).send().await {
            Ok(_) => Ok(false),
            Err(error) if is_gone(error.code(), error.message()) => Ok(false),
            Err(error) if error.code() == Some("ResourceInUse") => Ok(false),
            Err(error) => Err(cloud_error(SERVICE, "DeleteAutoScalingGroup", error)),
        }
    }

    /// The group that is copied, if there is something to copy.
    async fn original(&self, copy: &GroupCopy) -> Result<AutoScalingGroup, CloudError> {
        let name = &copy.from;
        let Some(from) = self.described(name).await? else {
            return Err(refused(format!(
                "there is no group `{name}` to copy; name one that exists in the deployment group"
            )));
        };
        if from.status.is_some() {
            let why = format!("the group `{name}` is being deleted; name another one to copy");
            return Err(refused(why));
        }
        if from.desired_capacity.unwrap_or_default() <= 0 {
            return Err(refused(format!(
                "there is nothing to copy: the group `{name}` wants no instances; set its desired capacity, and \
                 deploy again"
            )));
        }
        Ok(from)
    }

    /// A group that was there a moment ago.
    async fn found(&self, name: &str) -> Result<AutoScalingGroup, CloudError> {
        self.described(name).await?.ok_or_else(|| CloudError::Unavailable {
            service: SERVICE,
            operation: "DescribeAutoScalingGroups",
            source: format!("the group `{name}` was made, and is not shown yet").into(),
        })
    }

    /// Makes a group like `from`, without instances. If somebody does so at the same time, one of the two comes second,
    /// which is no error: who it was is looked at after.
    async fn create_like(
        &self,
        from: &AutoScalingGroup,
        copy: &GroupCopy,
    ) -> Result<(), CloudError> {
        let role = from.service_linked_role_arn.clone().filter(|role| !role.ends_with(USUAL_ROLE));
        let lifetime = from.max_instance_lifetime.filter(|seconds| *seconds > 0);
        let impairment = from.availability_zone_impairment_policy.clone();
        let shifts = impairment.as_ref().and_then(|policy| policy.zonal_shift_enabled);
        let request = self
            .client
            .create_auto_scaling_group()
            .auto_scaling_group_name(&copy.to)
            .min_size(0)
            .desired_capacity(0)
            .set_max_size(from.max_size)
            .set_default_cooldown(from.default_cooldown)
            .set_health_check_type(from.health_check_type.clone())
            .set_health_check_grace_period(from.health_check_grace_period)
            .set_placement_group(said(from.placement_group.as_ref()))
            .set_termination_policies(from.termination_policies.clone())
            .set_service_linked_role_arn(role)
            .set_max_instance_lifetime(lifetime)
            .set_capacity_rebalance(from.capacity_rebalance)
            .set_default_instance_warmup(from.default_instance_warmup)
            .set_context(said(from.context.as_ref()))
            .set_desired_capacity_type(said(from.desired_capacity_type.as_ref()))
            .set_new_instances_protected_from_scale_in(from.new_instances_protected_from_scale_in)
            .set_instance_maintenance_policy(from.instance_maintenance_policy.clone())
            .set_availability_zone_distribution(from.availability_zone_distribution.clone())
            // The original has passed this check, or was spared it.
            .set_skip_zonal_shift_validation(shifts.filter(|shifts| *shifts))
            .set_availability_zone_impairment_policy(impairment)
            .set_capacity_reservation_specification(from.capacity_reservation_specification.clone())
            .set_instance_lifecycle_policy(from.instance_lifecycle_policy.clone())
            .set_tags(Some(tags_of(from, copy)));
        let request = with_traffic(with_zones(with_template(request, from), from), from);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("AlreadyExists") => Ok(()),
            Err(error) => Err(cloud_error(SERVICE, "CreateAutoScalingGroup", error)),
        }
    }

    async fn copy_hooks(&self, copy: &GroupCopy) -> Result<(), CloudError> {
        let has = self.hooks_of(&copy.to).await?.into_iter();
        let has: BTreeSet<_> = has.filter_map(|hook| hook.lifecycle_hook_name).collect();
        let is_wanted = |name: &String| !name.starts_with(OWN_HOOK) && !has.contains(name);
        let hooks = self.hooks_of(&copy.from).await?.into_iter();
        for hook in hooks.filter(|hook| hook.lifecycle_hook_name.as_ref().is_some_and(is_wanted)) {
            let request = self
                .client
                .put_lifecycle_hook()
                .auto_scaling_group_name(&copy.to)
                .set_lifecycle_hook_name(hook.lifecycle_hook_name)
                .set_lifecycle_transition(hook.lifecycle_transition)
                .set_notification_target_arn(said(hook.notification_target_arn.as_ref()))
                .set_role_arn(said(hook.role_arn.as_ref()))
                .set_notification_metadata(said(hook.notification_metadata.as_ref()))
                .set_heartbeat_timeout(hook.heartbeat_timeout)
                .set_default_result(hook.default_result);
            let put = request.send().await;
            put.map_err(|error| cloud_error(SERVICE, "PutLifecycleHook", error))?;
        }
        Ok(())
    }

    async fn hooks_of(&self, group: &str) -> Result<Vec<LifecycleHook>, CloudError> {
        let request = self.client.describe_lifecycle_hooks().auto_scaling_group_name(group);
        let found = request.send().await;
        let found = found.map_err(|error| cloud_error(SERVICE, "DescribeLifecycleHooks", error))?;
        Ok(found.lifecycle_hooks.unwrap_or_default())
    }

    async fn copy_policies(&self, copy: &GroupCopy) -> Result<(), CloudError> {
        let has = self.policies_of(&copy.to).await?.into_iter();
        let has: BTreeSet<_> = has.filter_map(|policy| policy.policy_name).collect();
        for policy in self.policies_of(&copy.from).await? {
            if policy.policy_name.as_ref().is_none_or(|name| has.contains(name)) {
                continue;
            }
            let tracking = policy.target_tracking_configuration;
            let steps = policy.step_adjustments.filter(|steps| !steps.is_empty());
            let request = self
                .client
                .put_scaling_policy()
                .auto_scaling_group_name(&copy.to)
                .set_policy_name(policy.policy_name)
                .set_policy_type(policy.policy_type)
                .set_adjustment_type(said(policy.adjustment_type.as_ref()))
                .set_min_adjustment_magnitude(policy.min_adjustment_magnitude)
                .set_scaling_adjustment(policy.scaling_adjustment)
                .set_cooldown(policy.cooldown)
                .set_metric_aggregation_type(said(policy.metric_aggregation_type.as_ref()))
                .set_step_adjustments(steps)
                .set_estimated_instance_warmup(policy.estimated_instance_warmup)
                .set_target_tracking_configuration(tracking.map(|of| tracked_in_copy(of, copy)))
                .set_enabled(policy.enabled)
                .set_predictive_scaling_configuration(policy.predictive_scaling_configuration);
            let put = request.send().await;
            put.map_err(|error| cloud_error(SERVICE, "PutScalingPolicy", error))?;
        }
        Ok(())
    }

    async fn policies_of(&self, group: &str) -> Result<Vec<ScalingPolicy>, CloudError> {
        let request = self.client.describe_policies().auto_scaling_group_name(group);
        let found = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        found.map_err(|error| cloud_error(SERVICE, "DescribePolicies", error))
    }

    async fn copy_schedule(&self, copy: &GroupCopy) -> Result<(), CloudError> {
        let has = self.schedule_of(&copy.to).await?.into_iter();
        let has: BTreeSet<_> = has.filter_map(|action| action.scheduled_action_name).collect();
        let now_s = DateTime::from(SystemTime::now()).secs();
        let actions = self.schedule_of(&copy.from).await?.into_iter();
        for action in actions.filter_map(|action| still_to_come(action, now_s)) {
            if action.scheduled_action_name.as_ref().is_none_or(|name| has.contains(name)) {
                continue;
            }
            let request = self
                .client
                .put_scheduled_update_group_action()
                .auto_scaling_group_name(&copy.to)
                .set_scheduled_action_name(action.scheduled_action_name)
                .set_start_time(action.start_time)
                .set_end_time(action.end_time)
                .set_recurrence(action.recurrence)
                .set_min_size(action.min_size)
                .set_max_size(action.max_size)
                .set_desired_capacity(action.desired_capacity)
                .set_time_zone(action.time_zone);
            let put = request.send().await;
            put.map_err(|error| cloud_error(SERVICE, "PutScheduledUpdateGroupAction", error))?;
        }
        Ok(())
    }

    async fn schedule_of(
        &self,
        group: &str,
    ) -> Result<Vec<ScheduledUpdateGroupAction>, CloudError> {
        let request = self.client.describe_scheduled_actions().auto_scaling_group_name(group);
        let found = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        found.map_err(|error| cloud_error(SERVICE, "DescribeScheduledActions", error))
    }

    /// Those that the copy has are left as they are, because Auto Scaling sends a test to the topic each time.
    async fn copy_notifications(&self, copy: &GroupCopy) -> Result<(), CloudError> {
        let request = self.client.describe_notification_configurations();
        let request = request.auto_scaling_group_names(&copy.from);
        let request = request.auto_scaling_group_names(&copy.to);
        let found = request.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        let found = found
            .map_err(|error| cloud_error(SERVICE, "DescribeNotificationConfigurations", error))?;
        for (topic, kinds) in notifications_to_add(found, copy) {
            let request = self
                .client
                .put_notification_configuration()
                .auto_scaling_group_name(&copy.to)
                .topic_arn(topic)
                .set_notification_types(Some(kinds.into_iter().collect()));
            let put = request.send().await;
            put.map_err(|error| cloud_error(SERVICE, "PutNotificationConfiguration", error))?;
        }
        Ok(())
    }

    async fn copy_metrics(
        &self,
        from: &AutoScalingGroup,
        copy: &GroupCopy,
    ) -> Result<(), CloudError> {
        let enabled = from.enabled_metrics.iter().flatten();
        let metrics: Vec<_> = enabled.clone().filter_map(|of| of.metric.clone()).collect();
        let granularity = enabled.clone().find_map(|of| of.granularity.as_deref());
        if metrics.is_empty() {
            // Without names, Auto Scaling would collect all of them.
            return Ok(());
        }
        let request = self
            .client
            .enable_metrics_collection()
            .auto_scaling_group_name(&copy.to)
            .granularity(granularity.unwrap_or("1Minute"))
            .set_metrics(Some(metrics));
        let enabled = request.send().await;
        enabled.map(drop).map_err(|error| cloud_error(SERVICE, "EnableMetricsCollection", error))
    }

    /// Gives the copy the size of the original, and notes that it has it.
    ///
    /// Auto Scaling knows no conditional write. So both groups are looked at again: of two processes that copy at the same
    /// time, the slower one does so only where it is behind by no more than these calls.
    async fn give_size(&self, copy: &GroupCopy) -> Result<(), CloudError> {
        let from = self.original(copy).await?;
        if tag(&self.found(&copy.to).await?, SIZED).is_some() {
            return Ok(());
        }
        let request = self
            .client
            .update_auto_scaling_group()
            .auto_scaling_group_name(&copy.to)
            .set_min_size(from.min_size)
            // It may be another one than when the copy was made, and what is wanted must not be above it.
            .set_max_size(from.max_size)
            .set_desired_capacity(from.desired_capacity);
        let sized = request.send().await;
        sized.map_err(|error| cloud_error(SERVICE, "UpdateAutoScalingGroup", error))?;
        let size = from.desired_capacity.unwrap_or_default();
        let request = self.client.create_or_update_tags();
        let request = request.tags(own_tag(&copy.to, SIZED, &size.to_string()));
        let noted = request.send().await;
        noted.map(drop).map_err(|error| cloud_error(SERVICE, "CreateOrUpdateTags", error))
    }

    async fn standing(&self, made: &AutoScalingGroup) -> Result<CopyStanding, CloudError> {
        let request = self.client.describe_scaling_activities();
        let request = request.set_auto_scaling_group_name(made.auto_scaling_group_name.clone());
        // The newest comes first.
        let newest = request.max_records(1).send().await;
        let newest =
            newest.map_err(|error| cloud_error(SERVICE, "DescribeScalingActivities", error))?;
        let failed = newest.activities.unwrap_or_default().into_iter().next();
        let failed = failed
            .filter(|newest| newest.status_code == Some(ScalingActivityStatusCode::Failed))
            .map(|failed| failed.status_message.or(failed.description).unwrap_or_default());
        let wanted = made.desired_capacity.unwrap_or_default();
        let wanted = u32::try_from(wanted).unwrap_or_default();
        let serving = made.instances.iter().flatten();
        let serving =
            serving.filter(|of| of.lifecycle_state == Some(LifecycleState::InService)).map(weight);
        // Where instances have weights, the last one may bring more than was wanted.
        let in_service = serving.fold(0_u32, u32::saturating_add).min(wanted);
        Ok(CopyStanding { wanted, in_service, trouble: failed })
    }
}

fn refused(message: String) -> CloudError {
    CloudError::Refused { service: SERVICE, operation: "a copy of a group", message }
}

/// Refuses a group of the copy's name that is somebody else's, or that is on its way out.
fn check_ours(made: &AutoScalingGroup, copy: &GroupCopy) -> Result<(), CloudError> {
    let name = &copy.to;
    if tag(made, MADE_BY) != Some(copy.made_by.as_str()) {
        return Err(refused(format!(
            "there is a group `{name}` that the deployment {} did not make; delete or rename it, and deploy again",
            copy.made_by
        )));
    }
    if made.status.is_some() {
        return Err(refused(format!("the copy `{name}` is being deleted; deploy again")));
    }
    Ok(())
}

/// A text that is not empty.
fn said(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

/// The value of a group's tag.
fn tag<'g>(group: &'g AutoScalingGroup, key: &str) -> Option<&'g str> {
    let mut tags = group.tags.iter().flatten();
    let found = tags.find(|tag| tag.key.as_deref() == Some(key));
    found.map(|tag| tag.value.as_deref().unwrap_or_default())
}

/// A tag that instances do not get.
fn own_tag(group: &str, key: &str, value: &str) -> Tag {
    let tag = Tag::builder().resource_id(group).resource_type("auto-scaling-group");
    tag.key(key).value(value).propagate_at_launch(false).build()
}

/// The tags of the copy.
fn tags_of(from: &AutoScalingGroup, copy: &GroupCopy) -> Vec<Tag> {
    let is_theirs = |key: &String| !key.starts_with(TAGS_OF_AWS) && !key.starts_with(OWN_TAGS);
    let theirs = from.tags.iter().flatten().filter(|tag| tag.key.as_ref().is_some_and(is_theirs));
    let theirs = theirs.map(|tag| {
        Tag::builder()
            .resource_id(&copy.to)
            .resource_type("auto-scaling-group")
            .set_key(tag.key.clone())
            .set_value(tag.value.clone())
            .set_propagate_at_launch(tag.propagate_at_launch)
            .build()
    });
    theirs.chain([own_tag(&copy.to, MADE_BY, copy.made_by.as_str())]).collect()
}

/// With what instances are launched from: one of the three, where groups with several templates show the first one, too.
fn with_template(request: Request, from: &AutoScalingGroup) -> Request {
    match (&from.mixed_instances_policy, &from.launch_template) {
        (Some(mixed), _) => request.mixed_instances_policy(mixed_by_id(mixed.clone())),
        (None, Some(template)) => request.launch_template(by_id(template.clone())),
        (None, None) => {
            request.set_launch_configuration_name(from.launch_configuration_name.clone())
        }
    }
}

/// A template by its id alone: Auto Scaling tells both id and name, and takes one.
fn by_id(mut template: LaunchTemplateSpecification) -> LaunchTemplateSpecification {
    if template.launch_template_id.is_some() {
        template.launch_template_name = None;
    }
    template
}

fn mixed_by_id(mut mixed: MixedInstancesPolicy) -> MixedInstancesPolicy {
    if let Some(template) = &mut mixed.launch_template {
        template.launch_template_specification =
            template.launch_template_specification.take().map(by_id);
        for instead in template.overrides.iter_mut().flatten() {
            instead.launch_template_specification =
                instead.launch_template_specification.take().map(by_id);
        }
    }
    mixed
}

/// With the subnets; they say the zones. Only a group without subnets is told the zones themselves.
fn with_zones(request: Request, from: &AutoScalingGroup) -> Request {
    match said(from.vpc_zone_identifier.as_ref()) {
        Some(subnets) => request.vpc_zone_identifier(subnets),
        None => request.set_availability_zones(from.availability_zones.clone()),
    }
}

/// With the target groups and load balancers. That the copy has them from the beginning does no harm: it has no instances
/// until `AddToLoadBalancer` rests.
fn with_traffic(request: Request, from: &AutoScalingGroup) -> Request {
    let groups = from.target_group_arns.iter().flatten();
    let balancers = from.load_balancer_names.iter().flatten();
    let sources = from.traffic_sources.iter().flatten();
    let is_other = |source: &TrafficSourceIdentifier| {
        let id = source.identifier.as_ref();
        !groups.clone().chain(balancers.clone()).any(|known| Some(known) == id)
    };
    if !sources.clone().any(is_other) {
        let request = groups.fold(request, Request::target_group_arns);
        return balancers.fold(request, Request::load_balancer_names);
    }
    // VPC Lattice is known by this member only, which lists the others, too; both are not taken together.
    sources.fold(request, |request, source| request.traffic_sources(source.clone()))
}

/// What a policy of the copy follows: where the metric is that of the original, that of the copy.
fn tracked_in_copy(
    mut tracking: TargetTrackingConfiguration,
    copy: &GroupCopy,
) -> TargetTrackingConfiguration {
    let rename = |dimensions: &mut Option<Vec<MetricDimension>>| {
        for dimension in dimensions.iter_mut().flatten() {
            let is_original = dimension.name.as_deref() == Some(GROUP_DIMENSION)
                && dimension.value.as_ref() == Some(&copy.from);
            if is_original {
                dimension.value = Some(copy.to.clone());
            }
        }
    };
    if let Some(custom) = &mut tracking.customized_metric_specification {
        rename(&mut custom.dimensions);
        for query in custom.metrics.iter_mut().flatten() {
            if let Some(metric) = query.metric_stat.as_mut().and_then(|stat| stat.metric.as_mut()) {
                rename(&mut metric.dimensions);
            }
        }
    }
    tracking
}

/// The action as it can be made now; none if it is over. One that comes again and has begun begins now.
fn still_to_come(
    mut action: ScheduledUpdateGroupAction,
    now_s: i64,
) -> Option<ScheduledUpdateGroupAction> {
    let is_past = |at: Option<&DateTime>| at.is_some_and(|at| at.secs() < now_s + SCHEDULE_AHEAD_S);
    action.recurrence = said(action.recurrence.as_ref());
    if is_past(action.end_time.as_ref()) {
        return None;
    }
    if is_past(action.start_time.as_ref()) {
        action.recurrence.as_ref()?;
        action.start_time = None;
    }
    Some(action)
}

/// Of what the original and the copy announce: what only the original does, as topics with what is told there.
fn notifications_to_add(
    both: Vec<NotificationConfiguration>,
    copy: &GroupCopy,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut has: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for told in both {
        let (Some(group), Some(topic), Some(kind)) =
            (told.auto_scaling_group_name, told.topic_arn, told.notification_type)
        else {
            continue;
        };
        let of = if group == copy.to { &mut has } else { &mut wanted };
        of.entry(topic).or_default().insert(kind);
    }
    wanted.retain(|topic, kinds| has.get(topic).is_none_or(|has| !kinds.is_subset(has)));
    wanted
}

/// What an instance counts of the desired capacity: more than one only in groups with weights.
fn weight(instance: &Instance) -> u32 {
    instance.weighted_capacity.as_deref().and_then(|weight| weight.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use aws_sdk_autoscaling::types::{LaunchTemplate, LaunchTemplateOverrides};

    use super::*;

    const NOW_S: i64 = 1_800_000_000;

    fn template() -> LaunchTemplateSpecification {
        let template = LaunchTemplateSpecification::builder().launch_template_id("lt-1");
        template.launch_template_name("web").version("7").build()
    }

    #[test]
    fn templates_are_named_once_wherever_they_are_named() {
        let other = LaunchTemplateOverrides::builder().instance_type("m8g.large");
        let mixed = LaunchTemplate::builder()
            .launch_template_specification(template())
            .overrides(other.launch_template_specification(template()).build())
            .overrides(LaunchTemplateOverrides::builder().instance_type("m7a.large").build())
            .build();
        let mixed = MixedInstancesPolicy::builder().launch_template(mixed).build();
        let made = mixed_by_id(mixed).launch_template.unwrap();
        let named = LaunchTemplateSpecification::builder().launch_template_id("lt-1").version("7");
        let named = named.build();
        assert_eq!(made.launch_template_specification.as_ref(), Some(&named));
        let others: Vec<_> =
            made.overrides().iter().map(|of| of.launch_template_specification.clone()).collect();
        assert_eq!(others, [Some(named), None]);
        let by_name = LaunchTemplateSpecification::builder().launch_template_name("web").build();
        assert_eq!(by_id(by_name.clone()), by_name);
    }

    #[test]
    fn only_actions_that_are_still_to_come_are_made() {
        let hour = 3_600;
        let action = |start: Option<i64>, end: Option<i64>, recurrence: &str| {
            let action = ScheduledUpdateGroupAction::builder()
                .set_start_time(start.map(|in_s| DateTime::from_secs(NOW_S + in_s)))
                .set_end_time(end.map(|in_s| DateTime::from_secs(NOW_S + in_s)))
                .recurrence(recurrence)
                .build();
            let made = still_to_come(action, NOW_S)?;
            Some(made.start_time.map(|at| at.secs() - NOW_S))
        };
        assert_eq!(action(Some(hour), None, ""), Some(Some(hour)), "once, later");
        assert_eq!(action(Some(-hour), None, ""), None, "once, before");
        assert_eq!(action(Some(1), None, ""), None, "once, as good as before");
        assert_eq!(action(Some(-hour), None, "0 3 * * *"), Some(None), "again and again");
        assert_eq!(action(None, None, "0 3 * * *"), Some(None), "again and again, from no time on");
        assert_eq!(action(Some(-hour), Some(hour), "0 3 * * *"), Some(None), "not for long");
        assert_eq!(action(Some(-hour), Some(-1), "0 3 * * *"), None, "no more");
    }

    #[test]
    fn only_what_the_copy_does_not_announce_is_added() {
        let made_by = "d-A1B2C3D4E".parse().unwrap();
        let copy = GroupCopy { from: "web".to_owned(), to: "web-2".to_owned(), made_by };
        let told = |group: &str, topic: &str, kind: &str| {
            let told = NotificationConfiguration::builder().auto_scaling_group_name(group);
            told.topic_arn(topic).notification_type(kind).build()
        };
        let both = vec![
            told("web", "whole", "LAUNCH"),
            told("web", "half", "LAUNCH"),
            told("web", "half", "TERMINATE"),
            told("web", "none", "LAUNCH"),
            told("web-2", "whole", "LAUNCH"),
            told("web-2", "half", "LAUNCH"),
            told("web-2", "own", "LAUNCH"),
        ];
        let added = notifications_to_add(both, &copy);
        let added: Vec<_> =
            added.iter().map(|(topic, kinds)| (topic.as_str(), kinds.len())).collect();
        assert_eq!(added, [("half", 2), ("none", 1)]);
    }
}
