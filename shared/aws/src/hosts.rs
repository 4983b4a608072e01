//! EC2 instances as hosts. Which of them a group wants is not decided here.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance, InstanceStateName};
use thiserror::Error;

/// Most ids of one request, as EC2 recommends.
const IDS_MAX: usize = 100;

/// An EC2 instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ec2Host {
    /// The instance's id.
    pub id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its state.
    pub state: HostState,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Its private address.
    pub private_address: Option<String>,
    /// The Auto Scaling group that started it.
    pub auto_scaling_group: Option<String>,
}

/// What state an instance is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostState {
    /// It starts.
    Pending,
    /// It runs.
    Running,
    /// It stops, or has stopped; it may be started again.
    Stopped,
    /// It is being terminated, or was: it will not come back.
    Terminated,
    /// EC2 has a word for it that this version does not know.
    Unknown,
}

/// EC2 did not say how the instances are.
#[derive(Debug, Error)]
#[error("EC2 did not describe the instances; check the right ec2:DescribeInstances")]
pub struct DescribeError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Describes the instances `ids`, in the order of their ids. One that EC2 does not know is left out, and that is no
/// evidence that it is gone: EC2 also does not know those that were started a moment ago.
///
/// # Errors
/// When EC2 does not answer, or refuses.
pub async fn describe_hosts(
    client: &Client,
    ids: impl IntoIterator<Item = String>,
) -> Result<Vec<Ec2Host>, DescribeError> {
    let ids: Vec<String> = ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut hosts = Vec::with_capacity(ids.len());
    for some in ids.chunks(IDS_MAX) {
        describe(client, some, &mut hosts).await?;
    }
    hosts.sort_by(|one: &Ec2Host, other| one.id.cmp(&other.id));
    Ok(hosts)
}

/// Asks by filter rather than by id: a filter leaves out what is not there, where ids fail the whole request with
/// `InvalidInstanceID.NotFound`.
async fn describe(
    client: &Client,
    ids: &[String],
    hosts: &mut Vec<Ec2Host>,
) -> Result<(), DescribeError> {
    let filter = Filter::builder().name("instance-id").set_values(Some(ids.to_vec())).build();
    let mut pages = client.describe_instances().filters(filter).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| DescribeError(Box::new(error)))?;
        let instances = page.reservations.into_iter().flatten();
        let instances = instances.flat_map(|reservation| reservation.instances.unwrap_or_default());
        hosts.extend(instances.filter_map(host_of));
    }
    Ok(())
}

fn host_of(instance: Instance) -> Option<Ec2Host> {
    let tags: BTreeMap<String, String> = instance
        .tags
        .into_iter()
        .flatten()
        .filter_map(|tag| tag.key.map(|key| (key, tag.value.unwrap_or_default())))
        .collect();
    Some(Ec2Host {
        id: instance.instance_id?,
        auto_scaling_group: tags.get("aws:autoscaling:groupName").cloned(),
        tags,
        state: instance.state.and_then(|state| state.name).map_or(HostState::Unknown, state_of),
        zone: instance.placement.and_then(|placement| placement.availability_zone),
        private_address: instance.private_ip_address,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enumeration may grow")]
fn state_of(name: InstanceStateName) -> HostState {
    match name {
        InstanceStateName::Pending => HostState::Pending,
        InstanceStateName::Running => HostState::Running,
        InstanceStateName::Stopping | InstanceStateName::Stopped => HostState::Stopped,
        InstanceStateName::ShuttingDown | InstanceStateName::Terminated => HostState::Terminated,
        _ => HostState::Unknown,
    }
}
