//! The rules that several requests share (`docs/semantics.md#api`). Each check names the exception that CodeDeploy has
//! for what it refuses.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::common::{
    AlarmConfiguration, AutoRollbackConfiguration, AutoRollbackEvent, AutoScalingGroupProcess,
    Ec2DeploymentOptions, Tag, TagFilter, TagFilterType,
};
use super::errors::{ApiError, ErrorName, UnknownWord};

/// Applications, groups, on-premises instances and deployments per batch.
pub(super) const BATCH_LIMIT: usize = 100;
const NAME_LIMIT: usize = 100;
const DESCRIPTION_LIMIT: usize = 256;
const TAGS_PER_GROUP: usize = 10;
const TAG_GROUPS: usize = 3;
const TAG_KEY_LIMIT: usize = 128;
const TAG_VALUE_LIMIT: usize = 256;
const ALARM_LIMIT: usize = 10;
const ALARM_NAME_LIMIT: usize = 255;
/// Ids are eleven characters; clients that send anything else are told that there is no such deployment, unless it is
/// too long to be one by any rule.
const DEPLOYMENT_ID_LIMIT: usize = 100;

/// The value, if there is one that is not empty.
pub(crate) fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|text| !text.is_empty())
}

/// The list; absent is empty.
pub(super) fn list<T>(value: &Option<Vec<T>>) -> &[T] {
    value.as_deref().unwrap_or_default()
}

/// Refuses with `name` unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    name: ErrorName,
    message: impl FnOnce() -> String,
) -> Result<(), ApiError> {
    if holds { Ok(()) } else { Err(name.because(message())) }
}

/// Refuses a word that the enumeration does not have; absent is fine.
pub(super) fn word<W: FromStr<Err = UnknownWord>>(
    value: &Option<String>,
    member: &str,
    name: ErrorName,
) -> Result<Option<W>, ApiError> {
    let Some(text) = value else { return Ok(None) };
    text.parse().map(Some).map_err(|error: UnknownWord| {
        name.because(format!("`{member}`: {error}; give one of these"))
    })
}

/// Refuses a name that is missing or has other characters than names have.
pub(super) fn name<'a>(
    value: &'a Option<String>,
    member: &str,
    missing: ErrorName,
    invalid: ErrorName,
) -> Result<&'a str, ApiError> {
    let Some(text) = given(value) else {
        return Err(missing.because(format!("`{member}` is missing; give one")));
    };
    name_characters(text, member, invalid)?;
    Ok(text)
}

/// Refuses a name that has other characters than names have, or too many.
pub(super) fn name_characters(
    text: &str,
    member: &str,
    invalid: ErrorName,
) -> Result<(), ApiError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    ensure(!text.is_empty() && text.len() <= NAME_LIMIT && text.chars().all(fits), invalid, || {
        format!("`{member}` is `{text}`; use 1 to {NAME_LIMIT} of letters, digits and +=,.@_-")
    })
}

/// Refuses a list of names that is empty or too long, or that has an unfit name.
pub(super) fn names(
    values: &Option<Vec<String>>,
    member: &str,
    missing: ErrorName,
    invalid: ErrorName,
) -> Result<(), ApiError> {
    let values = list(values);
    ensure(!values.is_empty(), missing, || format!("`{member}` is empty; give at least one"))?;
    batch(values, member, ErrorName::BatchLimitExceeded)?;
    values.iter().try_for_each(|text| name_characters(text, member, invalid))
}

/// Refuses a list that is too long for one request.
pub(super) fn batch<T>(values: &[T], member: &str, name: ErrorName) -> Result<(), ApiError> {
    ensure(values.len() <= BATCH_LIMIT, name, || {
        format!("`{member}` has {}; ask for at most {BATCH_LIMIT} at a time", values.len())
    })
}

pub(crate) fn application_name(value: &Option<String>) -> Result<&str, ApiError> {
    name(
        value,
        "applicationName",
        ErrorName::ApplicationNameRequired,
        ErrorName::InvalidApplicationName,
    )
}

pub(crate) fn group_name(value: &Option<String>) -> Result<&str, ApiError> {
    name(
        value,
        "deploymentGroupName",
        ErrorName::DeploymentGroupNameRequired,
        ErrorName::InvalidDeploymentGroupName,
    )
}

pub(crate) fn deployment_id(value: &Option<String>) -> Result<&str, ApiError> {
    let Some(id) = given(value) else {
        return Err(ErrorName::DeploymentIdRequired.because("`deploymentId` is missing; give one"));
    };
    deployment_id_length(id)?;
    Ok(id)
}

pub(super) fn deployment_id_length(id: &str) -> Result<(), ApiError> {
    ensure(
        !id.is_empty() && id.len() <= DEPLOYMENT_ID_LIMIT,
        ErrorName::InvalidDeploymentId,
        || "a deployment's id is empty or too long; give one like `d-A1B2C3D4E`".to_owned(),
    )
}

pub(crate) fn config_name(value: &Option<String>) -> Result<(), ApiError> {
    value.as_deref().map_or(Ok(()), |text| {
        name_characters(text, "deploymentConfigName", ErrorName::InvalidDeploymentConfigName)
    })
}

pub(super) fn description(value: &Option<String>) -> Result<(), ApiError> {
    let length = value.as_deref().map_or(0, |text| text.chars().count());
    ensure(length <= DESCRIPTION_LIMIT, ErrorName::DescriptionTooLong, || {
        format!("`description` has {length} characters; use at most {DESCRIPTION_LIMIT}")
    })
}

/// Tags that are put on something.
pub(super) fn tags(tags: &[Tag], name: ErrorName) -> Result<(), ApiError> {
    tags.iter().try_for_each(|tag| {
        let key = tag.key.as_deref().unwrap_or_default().chars().count();
        let value = tag.value.as_deref().unwrap_or_default().chars().count();
        ensure((1..=TAG_KEY_LIMIT).contains(&key) && value <= TAG_VALUE_LIMIT, name, || {
            format!(
                "a tag has a key of {key} characters and a value of {value}; \
                 use 1 to {TAG_KEY_LIMIT} and at most {TAG_VALUE_LIMIT}"
            )
        })
    })
}

impl TagFilter {
    /// What the filter compares; without a `Type`, that which it has. `None` if it cannot match anything.
    pub fn compares(&self) -> Option<TagFilterType> {
        let compares = match (&self.r#type, &self.key, &self.value) {
            (Some(word), _, _) => word.parse().ok()?,
            (None, Some(_), Some(_)) => TagFilterType::KeyAndValue,
            (None, Some(_), None) => TagFilterType::KeyOnly,
            (None, None, Some(_)) => TagFilterType::ValueOnly,
            (None, None, None) => return None,
        };
        let (key, value) = (given(&self.key).is_some(), self.value.is_some());
        let complete = match compares {
            TagFilterType::KeyOnly => key,
            TagFilterType::ValueOnly => value,
            TagFilterType::KeyAndValue => key && value,
        };
        complete.then_some(compares)
    }
}

/// One group of tag filters.
pub(super) fn tag_filters(filters: &[TagFilter], name: ErrorName) -> Result<(), ApiError> {
    ensure(filters.len() <= TAGS_PER_GROUP, name, || {
        format!("there are {} tag filters; use at most {TAGS_PER_GROUP} in a group", filters.len())
    })?;
    filters.iter().try_for_each(|filter| {
        word::<TagFilterType>(&filter.r#type, "Type", name)?;
        ensure(filter.compares().is_some(), name, || {
            "a tag filter lacks what its Type compares; give Key for KEY_ONLY, Value for VALUE_ONLY, and both \
             for KEY_AND_VALUE"
                .to_owned()
        })?;
        let fits = |text: &Option<String>, limit| text.as_deref().is_none_or(|t| t.chars().count() <= limit);
        ensure(fits(&filter.key, TAG_KEY_LIMIT) && fits(&filter.value, TAG_VALUE_LIMIT), name, || {
            format!("a tag filter is too long; keys have {TAG_KEY_LIMIT} characters, values {TAG_VALUE_LIMIT}")
        })
    })
}

/// Tag filters and groups of them, of which only one may be used.
pub(super) fn tag_selection(
    filters: &[TagFilter],
    groups: &[Vec<TagFilter>],
    name: ErrorName,
    combination: ErrorName,
) -> Result<(), ApiError> {
    ensure(filters.is_empty() || groups.is_empty(), combination, || {
        "there are both tag filters and a tag set; use one of them".to_owned()
    })?;
    tag_filters(filters, name)?;
    ensure(groups.len() <= TAG_GROUPS, ErrorName::TagSetListLimitExceeded, || {
        format!("the tag set has {} groups; use at most {TAG_GROUPS}", groups.len())
    })?;
    groups.iter().try_for_each(|group| {
        ensure(!group.is_empty(), combination, || {
            "a group of the tag set has no filter; add one or leave the group out".to_owned()
        })?;
        tag_filters(group, name)
    })
}

pub(super) fn alarms(configuration: &Option<AlarmConfiguration>) -> Result<(), ApiError> {
    let Some(configuration) = configuration else { return Ok(()) };
    let alarms = list(&configuration.alarms);
    ensure(alarms.len() <= ALARM_LIMIT, ErrorName::AlarmsLimitExceeded, || {
        format!("there are {} alarms; use at most {ALARM_LIMIT}", alarms.len())
    })?;
    let invalid = ErrorName::InvalidAlarmConfig;
    ensure(configuration.enabled != Some(true) || !alarms.is_empty(), invalid, || {
        "alarms are enabled, and there is none; name at least one or set `enabled` to false"
            .to_owned()
    })?;
    let mut seen = BTreeSet::new();
    alarms.iter().try_for_each(|alarm| {
        let text = alarm.name.as_deref().unwrap_or_default();
        ensure((1..=ALARM_NAME_LIMIT).contains(&text.chars().count()), invalid, || {
            format!("an alarm's name is empty or too long; use 1 to {ALARM_NAME_LIMIT} characters")
        })?;
        ensure(seen.insert(text), invalid, || {
            format!("alarm `{text}` is there twice; name it once")
        })
    })
}

pub(super) fn auto_rollback(
    configuration: &Option<AutoRollbackConfiguration>,
) -> Result<(), ApiError> {
    let Some(configuration) = configuration else { return Ok(()) };
    let events = list(&configuration.events);
    let invalid = ErrorName::InvalidAutoRollbackConfig;
    ensure(configuration.enabled != Some(true) || !events.is_empty(), invalid, || {
        "rollback is enabled for no event; name at least one or set `enabled` to false".to_owned()
    })?;
    events.iter().try_for_each(|event| {
        word::<AutoRollbackEvent>(&Some(event.clone()), "events", invalid).map(drop)
    })
}

pub(super) fn suspended_processes(options: &Option<Ec2DeploymentOptions>) -> Result<(), ApiError> {
    let processes = options
        .as_ref()
        .map_or(&[][..], |options| list(&options.auto_scaling_group_processes_to_suspend));
    let invalid = ErrorName::InvalidAutoScalingGroupProcessToSuspend;
    let mut seen = BTreeSet::new();
    processes.iter().try_for_each(|process| {
        word::<AutoScalingGroupProcess>(
            &Some(process.clone()),
            "autoScalingGroupProcessesToSuspend",
            invalid,
        )?;
        ensure(seen.insert(process), invalid, || {
            format!("`{process}` is there twice; name it once")
        })
    })
}

/// Whether the text is the ARN of a resource of IAM or STS of that kind.
pub(super) fn is_arn(text: &str, service: &str, resource: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    parts.next() == Some("arn")
        && parts.next().is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some(service)
        && parts.next().is_some()
        && parts.next().is_some_and(|account| !account.is_empty())
        && parts
            .next()
            .and_then(|rest| rest.strip_prefix(resource))
            .is_some_and(|name| !name.is_empty() && !name.contains(char::is_whitespace))
}
