//! What a group's settings mean: which hosts they select, and when a deployment is rolled back.

use std::collections::BTreeMap;

use engine::deployment::{AutoRollback, Traffic, Watch};
use wire::codedeploy::{AlarmConfiguration, AutoRollbackConfiguration, GroupSettings, TagFilter};

use crate::ports::Selection;

/// Whether a group selects an on-premises instance with these tags: by any of its flat filters, or by at least one
/// filter of each set (`docs/semantics.md#hosts`). A group without filters selects none.
pub fn selects_on_premises(settings: &GroupSettings, tags: &BTreeMap<String, String>) -> bool {
    let matches_any = |filters: &[TagFilter]| filters.iter().any(|filter| matches(filter, tags));
    let flat = settings.on_premises_instance_tag_filters.as_deref().unwrap_or_default();
    let sets = settings
        .on_premises_tag_set
        .as_ref()
        .and_then(|set| set.on_premises_tag_set_list.as_deref());
    let sets = sets.unwrap_or_default();
    matches_any(flat) || (!sets.is_empty() && sets.iter().all(|set| matches_any(set)))
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
    if style.deployment_option.as_deref() != Some("WITH_TRAFFIC_CONTROL") {
        return None;
    }
    let groups = settings.load_balancer_info.as_ref()?.target_group_info_list.as_deref()?;
    let groups: Vec<String> = groups.iter().filter_map(|group| group.name.clone()).collect();
    Some(Traffic { groups }).filter(|traffic| !traffic.groups.is_empty())
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
