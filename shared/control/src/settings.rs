//! What a group's settings mean: which hosts they select, and when a deployment is rolled back.

use std::collections::BTreeMap;

use engine::deployment::{AutoRollback, Traffic, Watch};
use wire::codedeploy::{
    AlarmConfiguration, ApiError, AutoRollbackConfiguration, BlueGreenDeploymentConfiguration,
    ErrorName, GroupSettings, TagFilter, TargetInstances,
};

use crate::ports::Selection;
use crate::tags::matches;

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
pub(crate) fn ready_wait_ms(blue_green: &BlueGreenDeploymentConfiguration) -> Option<u64> {
    let ready = blue_green.deployment_ready_option.clone().unwrap_or_default();
    let waits = ready.action_on_timeout.as_deref() == Some("STOP_DEPLOYMENT");
    waits.then(|| milliseconds(ready.wait_time_in_minutes.unwrap_or(READY_WAIT_MINUTES)))
}

/// Minutes as the API gives them, in milliseconds.
pub(crate) fn milliseconds(minutes: i32) -> u64 {
    u64::try_from(minutes).unwrap_or(0) * 60_000
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
