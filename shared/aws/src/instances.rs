//! EC2 instances as hosts, found by tags and Auto Scaling groups.

use std::collections::BTreeMap;

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{Filter, InstanceStateName};
use control::ports::{CloudError, Fleet, Instance, InstanceState, Selection};
use wire::codedeploy::TagFilter;

use crate::error::cloud_error;

/// Most ids of one request, as EC2 recommends.
const IDS_MAX: usize = 100;

/// The tag that EC2 Auto Scaling gives its instances; it is taken from those that are detached.
const SCALING_GROUP: &str = "aws:autoscaling:groupName";

/// The code of a refusal because there is no such instance.
const NOT_FOUND: &str = "InvalidInstanceID.NotFound";

/// The fleet in EC2.
#[derive(Debug, Clone)]
pub struct Ec2Fleet {
    client: Client,
    stack: String,
}

impl Ec2Fleet {
    /// The fleet that `client` sees. Commands go to instances that carry the tag `cutover` with the value `stack`.
    pub fn new(client: Client, stack: impl Into<String>) -> Self {
        Self { client, stack: stack.into() }
    }

    /// The instances that match all of `filters`, page after page.
    async fn list(
        &self,
        filters: Vec<Filter>,
        found: &mut BTreeMap<String, Instance>,
    ) -> Result<(), CloudError> {
        let request = self.client.describe_instances().set_filters(Some(filters));
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| cloud_error("EC2", "DescribeInstances", error))?;
            let reservations = page.reservations.into_iter().flatten();
            let instances = reservations.flat_map(|one| one.instances.unwrap_or_default());
            found.extend(instances.filter_map(instance_of).map(|found| (found.id.clone(), found)));
        }
        Ok(())
    }

    /// Asks for instances to be terminated, all or none; why not, if it is refused.
    async fn end(&self, ids: &[String]) -> Result<Option<String>, CloudError> {
        let request = self.client.terminate_instances().set_instance_ids(Some(ids.to_vec()));
        let Err(error) = request.send().await else { return Ok(None) };
        let is_gone = error.code() == Some(NOT_FOUND);
        match cloud_error("EC2", "TerminateInstances", error) {
            CloudError::Refused { .. } if is_gone && ids.len() == 1 => Ok(None),
            CloudError::Refused { message, .. } => Ok(Some(message)),
            error @ CloudError::Unavailable { .. } => Err(error),
        }
    }
}

#[async_trait]
impl Fleet for Ec2Fleet {
    fn tag(&self) -> (String, String) {
        ("cutover".to_owned(), self.stack.clone())
    }

    /// EC2 is asked for what one filter of the first set, or one Auto Scaling group, leads to; the other sets are applied
    /// to what it answers. Filters of one request narrow each other, so that each needs its own.
    async fn select(&self, wanted: &Selection) -> Result<Vec<Instance>, CloudError> {
        let by_tags = wanted.tag_sets.iter().min_by_key(|set| set.len()).into_iter().flatten();
        let by_group = wanted
            .scaling_groups
            .iter()
            .map(|name| filter(&format!("tag:{SCALING_GROUP}"), [name.as_str()]));
        let mut found = BTreeMap::new();
        for one in by_tags.map(filter_of).chain(by_group) {
            let running = filter("instance-state-name", ["pending", "running"]);
            self.list(vec![one, running], &mut found).await?;
        }
        Ok(found.into_values().filter(|instance| wanted.selects(instance)).collect())
    }

    /// Asks by filter rather than by id: a filter leaves out what is not there, where ids fail the whole request with
    /// `InvalidInstanceID.NotFound`.
    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        let mut found = BTreeMap::new();
        for some in ids.chunks(IDS_MAX) {
            let ids = filter("instance-id", some.iter().map(String::as_str));
            self.list(vec![ids], &mut found).await?;
        }
        // Only of these may anything be concluded, also where somebody answers who does not know the filter.
        Ok(found.into_values().filter(|instance| ids.contains(&instance.id)).collect())
    }

    /// One that is protected or not known keeps all of a request from being terminated: then each has its own.
    async fn terminate(&self, ids: &[String]) -> Result<BTreeMap<String, String>, CloudError> {
        let mut refused = BTreeMap::new();
        for some in ids.chunks(IDS_MAX) {
            if self.end(some).await?.is_none() {
                continue;
            }
            for id in some {
                if let Some(why) = self.end(std::slice::from_ref(id)).await? {
                    refused.insert(id.clone(), format!("EC2 does not terminate it: {why}"));
                }
            }
        }
        Ok(refused)
    }
}

fn filter<'v>(name: &str, values: impl IntoIterator<Item = &'v str>) -> Filter {
    // In values of EC2's filters, `*` and `?` stand for anything.
    let literal = |value: &str| value.replace('\\', r"\\").replace('*', r"\*").replace('?', r"\?");
    let values = values.into_iter().map(literal).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// What EC2 is asked for a filter of CodeDeploy's.
fn filter_of(wanted: &TagFilter) -> Filter {
    match (wanted.key.as_deref(), wanted.value.as_deref(), wanted.r#type.as_deref()) {
        (Some(key), _, Some("KEY_ONLY")) | (Some(key), None, _) => filter("tag-key", [key]),
        (_, value, Some("VALUE_ONLY")) | (None, value, _) => {
            filter("tag-value", [value.unwrap_or_default()])
        }
        (Some(key), Some(value), _) => filter(&format!("tag:{key}"), [value]),
    }
}

fn instance_of(instance: aws_sdk_ec2::types::Instance) -> Option<Instance> {
    let tags: BTreeMap<String, String> = instance
        .tags
        .into_iter()
        .flatten()
        .filter_map(|tag| tag.key.map(|key| (key, tag.value.unwrap_or_default())))
        .collect();
    Some(Instance {
        id: instance.instance_id?,
        scaling_group: tags.get(SCALING_GROUP).cloned(),
        tags,
        state: instance.state.and_then(|state| state.name).map_or(InstanceState::Unknown, state_of),
        zone: instance.placement.and_then(|placement| placement.availability_zone),
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enumeration may grow")]
fn state_of(name: InstanceStateName) -> InstanceState {
    match name {
        InstanceStateName::Pending => InstanceState::Pending,
        InstanceStateName::Running => InstanceState::Running,
        InstanceStateName::Stopping | InstanceStateName::Stopped => InstanceState::Stopped,
        InstanceStateName::ShuttingDown | InstanceStateName::Terminated => {
            InstanceState::Terminated
        }
        _ => InstanceState::Unknown,
    }
}
