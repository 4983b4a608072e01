//! What a group's settings mean: which hosts they select, and when a deployment is rolled back.

use std::collections::BTreeMap;

use engine::deployment::{AutoRollback, Carrier, Exchange, Service, Shift, Tasks, Traffic, Watch};
use wire::codedeploy::{
    AlarmConfiguration, ApiError, AutoRollbackConfiguration, BlueGreenDeploymentConfiguration,
    ErrorName, GroupSettings, TagFilter, TargetInstances, TrafficRoute,
};

use crate::ports::Selection;

/// Whether a group selects an on-premises instance with these tags: by any of its flat filters, or by at least one
/// filter of each set (`docs/semantics.md#hosts`). A group without filters selects none.
pub fn selects_on_premises(settings: &GroupSettings, tags: &BTreeMap<String, String>) -> bool {
    let matches_any = |filters: &[TagFilter]| filters.iter().any(|filter| matches(filter, tags));
    let (flat, sets) = on_premises_filters(settings);
    matches_any(flat) || (!sets.is_empty() && sets.iter().all(|set| matches_any(set)))
}

/// Whether a group may select on-premises instances at all.
pub fn has_on_premises_filters(settings: &GroupSettings) -> bool {
    let (flat, sets) = on_premises_filters(settings);
    !flat.is_empty() || !sets.is_empty()
}

fn on_premises_filters(settings: &GroupSettings) -> (&[TagFilter], &[Vec<TagFilter>]) {
    let flat = settings.on_premises_instance_tag_filters.as_deref();
    let sets = settings.on_premises_tag_set.as_ref();
    let sets = sets.and_then(|set| set.on_premises_tag_set_list.as_deref());
    (flat.unwrap_or_default(), sets.unwrap_or_default())
}

/// Which EC2 instances a group selects: by any of its flat filters, by at least one filter of each set, or as members of
/// its Auto Scaling groups (`docs/semantics.md#hosts`).
pub fn selection(settings: &GroupSettings) -> Selection {
    let flat = settings.ec2_tag_filters.clone().unwrap_or_default();
    let sets = settings.ec2_tag_set.as_ref().and_then(|set| set.ec2_tag_set_list.clone());
    let mut tag_sets = sets.unwrap_or_default();
    if !flat.is_empty() {
        // The API takes one of the two.
        tag_sets = vec![flat];
    }
    let scaling_groups = settings.auto_scaling_groups.clone().unwrap_or_default();
    Selection { tag_sets, scaling_groups }
}

/// Whether a filter matches tags, exactly and with regard to case.
pub fn matches(filter: &TagFilter, tags: &BTreeMap<String, String>) -> bool {
    let key = filter.key.as_deref().unwrap_or_default();
    let value = filter.value.as_deref().unwrap_or_default();
    let default = match (&filter.key, &filter.value) {
        (Some(_), Some(_)) => "KEY_AND_VALUE",
        (None, Some(_)) => "VALUE_ONLY",
        (_, None) => "KEY_ONLY",
    };
    match filter.r#type.as_deref().unwrap_or(default) {
        "KEY_ONLY" => tags.contains_key(key),
        "VALUE_ONLY" => tags.values().any(|tag| tag == value),
        _ => tags.get(key).is_some_and(|tag| tag == value),
    }
}

/// When a deployment is rolled back, from CodeDeploy's form.
pub fn auto_rollback(configuration: Option<&AutoRollbackConfiguration>) -> AutoRollback {
    let Some(configuration) = configuration.filter(|c| c.enabled == Some(true)) else {
        return AutoRollback::default();
    };
    let on = |event: &str| configuration.events.iter().flatten().any(|known| known == event);
    AutoRollback {
        on_failure: on("DEPLOYMENT_FAILURE"),
        on_stop: on("DEPLOYMENT_STOP_ON_REQUEST"),
        on_alarm: on("DEPLOYMENT_STOP_ON_ALARM"),
    }
}

/// The balancers that a group's hosts get their traffic from, if it has any (`docs/semantics.md#traffic`).
pub fn traffic(settings: &GroupSettings) -> Option<Traffic> {
    let style = settings.deployment_style.as_ref()?;
    if is_blue_green(settings) {
        return None;
    }
    if style.deployment_option.as_deref() != Some("WITH_TRAFFIC_CONTROL") {
        return None;
    }
    let groups = settings.load_balancer_info.as_ref()?.target_group_info_list.as_deref()?;
    let groups: Vec<String> = groups.iter().filter_map(|group| group.name.clone()).collect();
    Some(Traffic { groups }).filter(|traffic| !traffic.groups.is_empty())
}

/// How long a person is waited for where a group says that it waits, and not how long, in minutes.
const READY_WAIT_MINUTES: i32 = 60;

/// Whether a group is deployed to by blue/green.
pub fn is_blue_green(settings: &GroupSettings) -> bool {
    let style = settings.deployment_style.as_ref();
    style.and_then(|style| style.deployment_type.as_deref()) == Some("BLUE_GREEN")
}

/// How the traffic of a group of hosts moves all together, if it does (`docs/semantics.md#blue-green`).
///
/// # Errors
/// Where the group asks for what cannot be done.
pub fn shift(settings: &GroupSettings) -> Result<Option<Shift>, ApiError> {
    if !is_blue_green(settings) {
        return Ok(None);
    }
    let blue_green = settings.blue_green_deployment_configuration.clone().unwrap_or_default();
    let old = blue_green.terminate_blue_instances_on_deployment_success.clone().unwrap_or_default();
    let carrier = carrier(settings)?;
    if copied(settings)?.is_some() && !matches!(carrier, Carrier::Exchange(_)) {
        let message = "The group asks for a copy of its Auto Scaling group, which takes one target group: the copy is attached to those that the group itself is attached to. Name that one alone in loadBalancerInfo.targetGroupInfoList, or set greenFleetProvisioningOption to DISCOVER_EXISTING.";
        return Err(ErrorName::InvalidBlueGreenDeploymentConfiguration.because(message));
    }
    Ok(Some(Shift {
        carrier,
        ready_wait_ms: ready_wait_ms(&blue_green),
        keep_ms: milliseconds(old.termination_wait_time_in_minutes.unwrap_or(0)),
        retires: old.action.as_deref() == Some("TERMINATE"),
        copies: None,
        back_to: None,
    }))
}

/// The Auto Scaling group of a group of hosts that is copied for each blue/green deployment, if one is.
///
/// # Errors
/// Where it is not one that is to be copied.
pub fn copied(settings: &GroupSettings) -> Result<Option<String>, ApiError> {
    let blue_green = settings.blue_green_deployment_configuration.clone().unwrap_or_default();
    let green = blue_green.green_fleet_provisioning_option.unwrap_or_default();
    let copies = green.action.as_deref() == Some("COPY_AUTO_SCALING_GROUP");
    if !copies || !is_blue_green(settings) {
        return Ok(None);
    }
    match settings.auto_scaling_groups.as_deref().unwrap_or_default() {
        [scaling_group] => Ok(Some(scaling_group.clone())),
        found => {
            let message = format!(
                "The group asks for a copy of its Auto Scaling group, and names {} of them. Name one in autoScalingGroups, \
                 or set greenFleetProvisioningOption to DISCOVER_EXISTING, and name the new instances in targetInstances.",
                found.len()
            );
            Err(ErrorName::InvalidBlueGreenDeploymentConfiguration.because(message))
        }
    }
}

/// How long a person is waited for, if one is.
fn ready_wait_ms(blue_green: &BlueGreenDeploymentConfiguration) -> Option<u64> {
    let ready = blue_green.deployment_ready_option.clone().unwrap_or_default();
    let waits = ready.action_on_timeout.as_deref() == Some("STOP_DEPLOYMENT");
    waits.then(|| milliseconds(ready.wait_time_in_minutes.unwrap_or(READY_WAIT_MINUTES)))
}

/// How the traffic of an ECS service moves (`docs/semantics.md#ecs`). Its old tasks are always ended.
///
/// # Errors
/// Where the group asks for them to be kept.
pub fn service_shift(settings: &GroupSettings, carrier: Carrier) -> Result<Shift, ApiError> {
    let blue_green = settings.blue_green_deployment_configuration.clone().unwrap_or_default();
    let old = blue_green.terminate_blue_instances_on_deployment_success.clone().unwrap_or_default();
    if old.action.as_deref() == Some("KEEP_ALIVE") {
        let message = "The group asks for the old tasks to be kept, and the next deployment needs their target group. Set terminateBlueInstancesOnDeploymentSuccess to TERMINATE, with a terminationWaitTimeInMinutes for as long as the traffic may have to go back.";
        return Err(ErrorName::InvalidBlueGreenDeploymentConfiguration.because(message));
    }
    Ok(Shift {
        carrier,
        ready_wait_ms: ready_wait_ms(&blue_green),
        keep_ms: milliseconds(old.termination_wait_time_in_minutes.unwrap_or(0)),
        retires: true,
        copies: None,
        back_to: None,
    })
}

/// The service that a group deploys to, and the listeners and target groups of its traffic. What it is to run is the
/// AppSpec's, and left empty.
///
/// # Errors
/// What is missing.
pub fn service(settings: &GroupSettings) -> Result<Service, ApiError> {
    let named = settings.ecs_services.iter().flatten().next().cloned().unwrap_or_default();
    let (Some(name), Some(cluster)) = (named.service_name, named.cluster_name) else {
        let message = "The group names no ECS service. Name one in its ecsServices, by serviceName and clusterName.";
        return Err(ErrorName::InvalidEcsService.because(message));
    };
    let balancers = settings.load_balancer_info.clone().unwrap_or_default();
    let pair = balancers.target_group_pair_info_list.unwrap_or_default().into_iter().next();
    let pair = pair.unwrap_or_default();
    let names = pair.target_groups.unwrap_or_default().into_iter().filter_map(|group| group.name);
    let listener = |route: Option<TrafficRoute>| route?.listener_arns?.into_iter().next();
    let groups = <[String; 2]>::try_from(names.collect::<Vec<_>>());
    let (Ok(groups), Some(listener_arn)) = (groups, listener(pair.prod_traffic_route)) else {
        let message = "The traffic of an ECS service moves between two target groups behind a listener. Name both in loadBalancerInfo.targetGroupPairInfoList, with the prodTrafficRoute, and with a testTrafficRoute if there is one.";
        return Err(ErrorName::InvalidTargetGroupPair.because(message));
    };
    Ok(Service {
        cluster,
        name,
        groups,
        listener: listener_arn,
        test_listener: listener(pair.test_traffic_route),
        tasks: Tasks::default(),
        hooks: BTreeMap::new(),
    })
}

fn milliseconds(minutes: i32) -> u64 {
    u64::try_from(minutes).unwrap_or(0) * 60_000
}

/// What carries the traffic of a blue/green group: one target group, or two that share the traffic of a listener.
fn carrier(settings: &GroupSettings) -> Result<Carrier, ApiError> {
    let balancers = settings.load_balancer_info.clone().unwrap_or_default();
    let pairs = balancers.target_group_pair_info_list.unwrap_or_default();
    let groups = match pairs.into_iter().next() {
        Some(pair) => pair.target_groups,
        None => balancers.target_group_info_list,
    };
    let names = groups.unwrap_or_default().into_iter().filter_map(|group| group.name);
    let names: Vec<String> = names.collect();
    match <[String; 1]>::try_from(names) {
        Ok([group]) => Ok(Carrier::Exchange(Exchange { group, back_of: None })),
        Err(names) => <[String; 2]>::try_from(names).map(Carrier::Groups).map_err(|names| {
            let found = names.len();
            let message = format!(
                "A blue/green group names one target group, whose hosts are exchanged, or two that share the traffic of one \
                 listener, and this one names {found}. Name them in loadBalancerInfo.targetGroupInfoList. With two, the \
                 traffic can go by steps, and going back is one change of weights."
            );
            ErrorName::InvalidLoadBalancerInfo.because(message)
        }),
    }
}

/// The settings of a group that selects the replacement hosts of a deployment, on premises as well as in EC2.
pub fn replacements(settings: &GroupSettings, targets: &TargetInstances) -> GroupSettings {
    GroupSettings {
        ec2_tag_filters: targets.tag_filters.clone(),
        on_premises_instance_tag_filters: targets.tag_filters.clone(),
        auto_scaling_groups: targets.auto_scaling_groups.clone(),
        ec2_tag_set: targets.ec2_tag_set.clone(),
        on_premises_tag_set: None,
        ..settings.clone()
    }
}

/// What watches a deployment, from CodeDeploy's form; `every_ms` is how often it is read.
pub fn watch(configuration: Option<&AlarmConfiguration>, every_ms: u64) -> Option<Watch> {
    let configuration =
        configuration.filter(|configuration| configuration.enabled == Some(true))?;
    let alarms = configuration.alarms.iter().flatten().filter_map(|alarm| alarm.name.clone());
    Some(Watch {
        alarms: alarms.collect(),
        ignores_unreadable: configuration.ignore_poll_alarm_failure == Some(true),
        every_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(key: Option<&str>, value: Option<&str>, kind: &str) -> TagFilter {
        TagFilter {
            key: key.map(Into::into),
            value: value.map(Into::into),
            r#type: Some(kind.into()),
        }
    }

    #[test]
    fn tag_filters_select_by_key_by_value_or_by_both() {
        let tags = BTreeMap::from([("home".to_owned(), "yes".to_owned())]);
        assert!(matches(&filter(Some("home"), None, "KEY_ONLY"), &tags));
        assert!(matches(&filter(None, Some("yes"), "VALUE_ONLY"), &tags));
        assert!(matches(&filter(Some("home"), Some("yes"), "KEY_AND_VALUE"), &tags));
        assert!(!matches(&filter(Some("Home"), Some("yes"), "KEY_AND_VALUE"), &tags));
        assert!(!selects_on_premises(&GroupSettings::default(), &tags));
    }
}
