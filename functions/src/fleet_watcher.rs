//! EC2 hosts that come and go.

use aws::{DescribeError, Ec2Host, HostState, describe_hosts};
use control::Control;
use serde::Deserialize;
use thiserror::Error;
use tracing::info;

/// An event of EC2 or EC2 Auto Scaling.
#[derive(Debug, Deserialize)]
#[serde(tag = "detail-type", content = "detail")]
pub enum Event {
    /// An instance changed its state.
    #[serde(rename = "EC2 Instance State-change Notification")]
    State(StateChange),
    /// Auto Scaling launched an instance.
    #[serde(rename = "EC2 Instance Launch Successful")]
    Launched(Scaled),
    /// Auto Scaling terminated an instance.
    #[serde(rename = "EC2 Instance Terminate Successful")]
    Terminated(Scaled),
    /// Auto Scaling waits before an instance is put to use.
    #[serde(rename = "EC2 Instance-launch Lifecycle Action")]
    Launching(Scaled),
    /// Auto Scaling waits before an instance is terminated.
    #[serde(rename = "EC2 Instance-terminate Lifecycle Action")]
    Terminating(Scaled),
}

/// A change of an instance's state. The state itself is asked for: events come late and in any order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateChange {
    /// The instance.
    pub instance_id: String,
}

/// Something that Auto Scaling did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Scaled {
    /// The instance.
    #[serde(rename = "EC2InstanceId")]
    pub instance_id: String,
    /// The Auto Scaling group.
    pub auto_scaling_group_name: String,
}

impl Event {
    /// The instance that it is about.
    pub fn instance_id(&self) -> &str {
        match self {
            Self::State(change) => &change.instance_id,
            Self::Launched(scaled)
            | Self::Terminated(scaled)
            | Self::Launching(scaled)
            | Self::Terminating(scaled) => &scaled.instance_id,
        }
    }
}

/// Why an event was not handled.
#[derive(Debug, Error)]
pub enum Error {
    /// EC2.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// The use case.
    #[error(transparent)]
    Control(#[from] control::Error),
}

/// Asks EC2 how the instance is, and tells its deployments if it is gone. Giving new hosts their revision comes with
/// the groups of EC2 hosts.
///
/// # Errors
/// [`Error`]; Lambda then delivers the event again.
pub async fn handle(
    control: &Control,
    ec2: &aws_sdk_ec2::Client,
    event: Event,
) -> Result<(), Error> {
    let hosts = describe_hosts(ec2, [event.instance_id().to_owned()]).await?;
    for host in hosts.iter().filter(|host| is_gone(host)) {
        info!(host = host.id, "terminated");
        control.host_gone(&host.id).await?;
    }
    Ok(())
}

/// Only what EC2 says of the instance counts: that it says nothing is no evidence.
fn is_gone(host: &Ec2Host) -> bool {
    match host.state {
        HostState::Terminated => true,
        HostState::Pending | HostState::Running | HostState::Stopped | HostState::Unknown => false,
    }
}
