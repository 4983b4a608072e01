//! Alarms of CloudWatch: those of metrics and those that are composed of others.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use aws_sdk_cloudwatch::{Client, Config};
use control::ports::{Alarms, CloudError, Reading};
use engine::DeploymentId;

use crate::error::cloud_error;

/// Most names of one request.
const NAMES_MAX: usize = 100;

/// The longest name that an alarm can have; with a longer one, the whole request would be refused.
const NAME_CHARS_MAX: usize = 255;

/// The alarms of CloudWatch in one region.
#[derive(Debug, Clone)]
pub struct CloudWatchAlarms {
    client: Client,
}

impl CloudWatchAlarms {
    /// The alarms that a client of this configuration reads.
    pub fn new(config: impl Into<Config>) -> Self {
        Self { client: Client::from_conf(config.into()) }
    }

    /// The states of those of `names` that there are. What nobody asks for by its type, CloudWatch leaves out.
    async fn states(
        &self,
        names: &[&str],
    ) -> Result<Vec<(String, Option<StateValue>)>, CloudError> {
        let names = Some(names.iter().map(|name| (*name).to_owned()).collect());
        let request = self.client.describe_alarms().set_alarm_names(names);
        let types = [AlarmType::MetricAlarm, AlarmType::CompositeAlarm];
        let request = request.set_alarm_types(Some(types.into())).max_records(100);
        let mut pages = request.into_paginator().send();
        let mut states = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| cloud_error("CloudWatch", "DescribeAlarms", error))?;
            let of_metrics = page.metric_alarms.into_iter().flatten();
            let of_metrics = of_metrics.map(|alarm| (alarm.alarm_name, alarm.state_value));
            let composite = page.composite_alarms.into_iter().flatten();
            let composite = composite.map(|alarm| (alarm.alarm_name, alarm.state_value));
            states.extend(
                of_metrics.chain(composite).filter_map(|(name, state)| Some((name?, state))),
            );
        }
        Ok(states)
    }
}

#[async_trait]
impl Alarms for CloudWatchAlarms {
    fn reads_together(&self) -> bool {
        true
    }

    async fn read(&self, alarms: &[String], _: &DeploymentId) -> Vec<Reading> {
        let names: BTreeSet<&str> =
            alarms.iter().map(String::as_str).filter(|name| can_be_asked_for(name)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let mut readings: BTreeMap<String, Reading> = BTreeMap::new();
        for some in names.chunks(NAMES_MAX) {
            match self.states(some).await {
                Ok(states) => readings.extend(states.into_iter().map(|(name, state)| {
                    let reading = reading_of(&name, state);
                    (name, reading)
                })),
                Err(error) => {
                    let why = why_of(&error);
                    let unreadable =
                        |name: &&str| ((*name).to_owned(), Reading::Unreadable(why.clone()));
                    readings.extend(some.iter().map(unreadable));
                }
            }
        }
        alarms
            .iter()
            .map(|name| readings.get(name).cloned().unwrap_or_else(|| missing(name)))
            .collect()
    }
}

fn can_be_asked_for(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.chars().count())
}

/// What a state means. Too little to say is no alarm.
fn reading_of(name: &str, state: Option<StateValue>) -> Reading {
    match state {
        Some(StateValue::Alarm) => Reading::Firing,
        Some(StateValue::Ok | StateValue::InsufficientData) => Reading::Quiet,
        state => {
            let state = state.as_ref().map_or("no state", StateValue::as_str);
            Reading::Unreadable(format!("CloudWatch tells `{state}` of the alarm `{name}`"))
        }
    }
}

fn missing(name: &str) -> Reading {
    Reading::Unreadable(format!(
        "there is no alarm `{name}` in CloudWatch in this account and region: make it, or take its name out of \
         alarmConfiguration"
    ))
}

/// An error with what it came from.
fn why_of(error: &CloudError) -> String {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_fires_only_in_its_state_of_alarm() {
        assert_eq!(reading_of("shop", Some(StateValue::Alarm)), Reading::Firing);
        assert_eq!(reading_of("shop", Some(StateValue::Ok)), Reading::Quiet);
        assert_eq!(reading_of("shop", Some(StateValue::InsufficientData)), Reading::Quiet);
        for state in [None, Some(StateValue::from("TOMORROW"))] {
            assert!(matches!(reading_of("shop", state), Reading::Unreadable(_)));
        }
    }

    #[test]
    fn a_name_that_would_have_the_whole_request_refused_is_not_asked_for() {
        assert!(can_be_asked_for("shop: errors > 5 %"));
        assert!(can_be_asked_for(&"ä".repeat(255)));
        assert!(!can_be_asked_for(&"a".repeat(256)) && !can_be_asked_for(""));
        let Reading::Unreadable(why) = missing("shop") else { panic!("it can be read") };
        assert!(why.contains("`shop`") && why.contains("alarmConfiguration"), "{why}");
    }
}
