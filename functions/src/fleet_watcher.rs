//! EC2 hosts that come and go, and the finding of a group's hosts.

use control::FleetWatcher;
use control::performing::Performs as _;
use control::ports::{LifecycleAction, RequestMessage, Upkeep};
use serde::Deserialize;

use crate::BatchAnswer;
use crate::queue::Woken;

/// Rosters to be made and upkeep that is due, or an event of EC2 or Auto Scaling.
pub type Event = Woken<Request, Told>;

/// What other functions ask for.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Request {
    /// A request of a deployment.
    Message(RequestMessage),
    /// Upkeep of the fleet.
    Upkeep(Upkeep),
}

/// An event of EC2, EC2 Auto Scaling or the schedule.
#[derive(Debug, Deserialize)]
#[serde(tag = "detail-type", content = "detail")]
pub enum Told {
    /// A minute has gone by.
    #[serde(rename = "Scheduled Event")]
    Minute {},
    /// An instance changed its state.
    #[serde(rename = "EC2 Instance State-change Notification")]
    State(StateChange),
    /// A spot instance will be taken away in two minutes.
    #[serde(rename = "EC2 Spot Instance Interruption Warning")]
    Interruption(StateChange),
    /// Auto Scaling launched an instance.
    #[serde(rename = "EC2 Instance Launch Successful")]
    Launched(Scaled),
    /// Auto Scaling terminated an instance.
    #[serde(rename = "EC2 Instance Terminate Successful")]
    Terminated(Scaled),
    /// Auto Scaling waits before an instance is put to use.
    #[serde(rename = "EC2 Instance-launch Lifecycle Action")]
    Launching(Held),
    /// Auto Scaling waits before an instance is terminated.
    #[serde(rename = "EC2 Instance-terminate Lifecycle Action")]
    Terminating(Held),
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
}

/// An instance that a lifecycle hook holds back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Held {
    /// The instance.
    #[serde(rename = "EC2InstanceId")]
    pub instance_id: String,
    /// The Auto Scaling group.
    pub auto_scaling_group_name: String,
    /// The hook.
    pub lifecycle_hook_name: String,
    /// What the hold is named by.
    pub lifecycle_action_token: String,
}

impl From<Held> for LifecycleAction {
    fn from(held: Held) -> Self {
        Self {
            scaling_group: held.auto_scaling_group_name,
            hook: held.lifecycle_hook_name,
            instance: held.instance_id,
            token: held.lifecycle_action_token,
        }
    }
}

/// Makes rosters and keeps the fleet up, and tells of hosts that come and go.
///
/// # Errors
/// When an event cannot be taken note of; Lambda then delivers it again.
pub async fn handle(role: &FleetWatcher, event: Event) -> Result<BatchAnswer, control::Error> {
    match event {
        Woken::Queue(messages) => {
            return Ok(messages.handle(async |request| perform(role, request).await).await);
        }
        Woken::Event(Told::Minute {}) => drop(role.keep_fleet().await?),
        Woken::Event(
            Told::State(StateChange { instance_id })
            | Told::Launched(Scaled { instance_id })
            | Told::Terminated(Scaled { instance_id }),
        ) => role.host_changed(&instance_id).await?,
        Woken::Event(Told::Interruption(StateChange { instance_id })) => {
            role.host_leaves(&instance_id, None).await?;
        }
        Woken::Event(Told::Launching(held)) => {
            role.host_arrives(&held.instance_id.clone(), Some(held.into())).await?;
        }
        Woken::Event(Told::Terminating(held)) => {
            role.host_leaves(&held.instance_id.clone(), Some(held.into())).await?;
        }
    }
    Ok(BatchAnswer::default())
}

async fn perform(role: &FleetWatcher, request: Request) -> Result<(), control::Error> {
    match request {
        Request::Message(message) => role.take_request(&message).await,
        Request::Upkeep(upkeep) => role.keep_up(&upkeep).await,
    }
}
