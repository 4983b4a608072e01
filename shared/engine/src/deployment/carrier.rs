//! What a deployment moves its traffic between, and the stages of that (`docs/semantics.md#blue-green`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DeploymentId;
use crate::lifecycle::Event;

/// What a deployment moves traffic between. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// What carries the traffic.
    pub carrier: Carrier,
    /// How long to wait for a person before the traffic moves, in milliseconds; none goes on at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_wait_ms: Option<u64>,
    /// How long what had the traffic is kept ready after it lost it, in milliseconds.
    #[serde(default)]
    pub keep_ms: u64,
    /// Whether what had the traffic is ended after that, and what was made for the new side if it is not to have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retires: bool,
    /// The Auto Scaling group that is copied, so that the copy's instances are the new hosts; none where they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<ScalingCopy>,
    /// The side that the traffic goes back to, 0 or 1, where nothing is installed and it only goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u8>,
}

impl Shift {
    /// Whether there are hosts that the new version is brought to.
    pub fn has_hosts(&self) -> bool {
        let is_of_hosts = matches!(self.carrier, Carrier::Groups(_) | Carrier::Exchange(_));
        is_of_hosts && self.back_to.is_none()
    }

    /// Whether there are tasks that the new version is brought up with.
    pub fn has_tasks(&self) -> bool {
        matches!(self.carrier, Carrier::Service(_)) && self.back_to.is_none()
    }

    /// Whether there is test traffic that moves before the other.
    pub fn has_test_traffic(&self) -> bool {
        let Carrier::Service(service) = &self.carrier else { return false };
        service.test_listener.is_some() && self.back_to.is_none()
    }
}

/// An Auto Scaling group that is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingCopy {
    /// The group.
    pub from: String,
    /// The name of the copy.
    pub to: String,
}

/// What carries the traffic of a shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Carrier {
    /// Two target groups of one listener or rule, in the group's order. Which of them has the traffic is read.
    Groups([String; 2]),
    /// One target group, whose hosts are exchanged for others.
    Exchange(Exchange),
    /// An alias of a Lambda function.
    Alias(Alias),
    /// A service of ECS.
    Service(Box<Service>),
}

impl Carrier {
    /// The two target groups, where that is what shares the traffic.
    pub fn groups(&self) -> Option<&[String; 2]> {
        match self {
            Self::Groups(groups) => Some(groups),
            Self::Service(service) => Some(&service.groups),
            Self::Exchange(_) | Self::Alias(_) => None,
        }
    }

    /// The functions that events call, where hooks are functions and no scripts on hosts.
    pub fn hooks(&self) -> Option<&BTreeMap<Event, String>> {
        match self {
            Self::Groups(_) | Self::Exchange(_) => None,
            Self::Alias(alias) => Some(&alias.hooks),
            Self::Service(service) => Some(&service.hooks),
        }
    }
}

/// One target group, whose hosts are exchanged: those of the new version come, and then the others go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The target group.
    pub group: String,
    /// The deployment whose exchange is taken back, where the traffic only goes back: its hosts go, and those come that had
    /// the traffic before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_of: Option<DeploymentId>,
}

/// An alias of a Lambda function, and the versions that its traffic moves between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The function's name or ARN.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// The version that has the traffic.
    pub old: String,
    /// The version that is to get it.
    pub new: String,
    /// The function that each event calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<Event, String>,
}

/// A service of ECS with the external deployment controller: its tasks are in task sets, of which one is the primary one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The cluster's name.
    pub cluster: String,
    /// The service's name.
    pub name: String,
    /// The target groups of its task sets, in the group's order. Which of them has the traffic is read.
    pub groups: [String; 2],
    /// The ARN of the listener that the traffic comes through.
    pub listener: String,
    /// The ARN of the listener that test traffic comes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_listener: Option<String>,
    /// What is to run.
    pub tasks: Tasks,
    /// The function that each event calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<Event, String>,
}

/// What the tasks of a service are made of. What is not said here is as it is in the primary task set.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tasks {
    /// The task definition: its ARN, or its family and revision.
    pub definition: String,
    /// The container that the balancer sends requests to.
    pub container: String,
    /// The port that it listens at.
    pub port: u16,
    /// The version of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_version: Option<String>,
    /// Where in the network they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// What they run on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capacity: Vec<Capacity>,
}

/// Where in the network of a VPC tasks are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The ids of the subnets.
    pub subnets: Vec<String>,
    /// The ids of the security groups.
    pub security_groups: Vec<String>,
    /// Whether they get a public address.
    pub assign_public_ip: bool,
}

/// A capacity provider, and its part of the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Its name.
    pub provider: String,
    /// How many tasks run there at least.
    pub base: u32,
    /// Its part of the others, against the weights of all.
    pub weight: u32,
}

/// The tasks of one side of a service, as the service says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSet {
    /// Its id.
    pub id: String,
    /// Which of the two target groups its tasks are in, 0 or 1.
    pub side: u8,
    /// How many tasks are wanted.
    pub desired: u32,
    /// How many start.
    pub pending: u32,
    /// How many run.
    pub running: u32,
    /// Whether as many run and are healthy as are wanted.
    pub is_steady: bool,
}

/// One of the two sides of a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// What had the traffic before.
    Old,
    /// What is to get it.
    New,
}

/// The stages of a shift, in order. What a carrier has not is passed at once.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// What is to be done before the new side is made ready.
    #[default]
    BeforeInstall,
    /// The new side is made ready, and has no traffic.
    Install,
    /// What is to be done when it is ready.
    AfterInstall,
    /// The test traffic moves.
    Test,
    /// What is to be done when the test traffic has moved.
    AfterTest,
    /// It is ready, and a person may be waited for.
    Ready,
    /// What is to be done before traffic moves.
    Before,
    /// The traffic moves, as far and as fast as the ladder says.
    Move,
    /// What is to be done when all traffic has moved.
    After,
    /// The old side is kept, so that the traffic can go back.
    Keep,
    /// The old side is ended. The traffic does not go back any more.
    Retire,
    /// Nothing is left to be done.
    Over,
}

impl Stage {
    pub(super) fn next(self) -> Self {
        match self {
            Self::BeforeInstall => Self::Install,
            Self::Install => Self::AfterInstall,
            Self::AfterInstall => Self::Test,
            Self::Test => Self::AfterTest,
            Self::AfterTest => Self::Ready,
            Self::Ready => Self::Before,
            Self::Before => Self::Move,
            Self::Move => Self::After,
            Self::After => Self::Keep,
            Self::Keep => Self::Retire,
            Self::Retire | Self::Over => Self::Over,
        }
    }

    /// The event whose hook function is called in it.
    pub(super) fn hook_event(self) -> Option<Event> {
        match self {
            Self::BeforeInstall => Some(Event::BeforeInstall),
            Self::AfterInstall => Some(Event::AfterInstall),
            Self::AfterTest => Some(Event::AfterAllowTestTraffic),
            Self::Before => Some(Event::BeforeAllowTraffic),
            Self::After => Some(Event::AfterAllowTraffic),
            Self::Install | Self::Test | Self::Ready | Self::Move => None,
            Self::Keep | Self::Retire | Self::Over => None,
        }
    }
}
