//! Services of ECS, and the task sets that their tasks are in (`docs/semantics.md#ecs`). Weights are the balancer's.

use std::collections::BTreeMap;

use async_trait::async_trait;
use engine::DeploymentId;
use engine::appspec::Tasks;
use engine::deployment::TaskSet;
use engine::lifecycle::Event;
use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// Why a service did not do as asked.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// There is none, it is not as it should be, or nobody may; asking again gives the same answer.
    #[error("the service `{name}` cannot be deployed to: {message}")]
    Refused {
        /// The service, as `CLUSTER:SERVICE`.
        name: String,
        /// The reason, and what to do.
        message: String,
    },
    /// The tasks of the new version do not run; waiting longer does not help.
    #[error("the new tasks of the service `{name}` do not run: {message}")]
    Failing {
        /// The service.
        name: String,
        /// What became of them.
        message: String,
    },
    /// No answer, or not now; trying again may help.
    #[error("the service `{name}` could not be asked about")]
    Unavailable {
        /// The service.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Services of ECS. Everything may be asked twice.
#[async_trait]
pub trait Services: Send + Sync {
    /// Whether the service can be deployed to: it is there, and its deployments are controlled from outside.
    async fn check(&self, service: &Service) -> Result<(), ServiceError>;

    /// Has the tasks of deployment `id` run in target group `side` of the service, and tells how all its task sets in the
    /// two target groups stand. Task sets that an earlier deployment has left in that target group are ended: they have no
    /// traffic, or this was not to be called.
    async fn bring_up(
        &self,
        service: &Service,
        side: u8,
        id: &DeploymentId,
    ) -> Result<Vec<TaskSet>, ServiceError>;

    /// Makes the tasks in target group `kept` the primary ones, and ends those in the other one. Returns whether that is
    /// so.
    async fn keep_only(&self, service: &Service, kept: u8) -> Result<bool, ServiceError>;
}

/// Where there are no services.
#[derive(Debug, Clone, Copy)]
pub struct NoServices;

impl NoServices {
    fn none<T>(service: &Service) -> Result<T, ServiceError> {
        let name = format!("{}:{}", service.cluster, service.name);
        let message =
            "a home has no ECS services; deploy this application with an installation on AWS";
        Err(ServiceError::Refused { name, message: message.to_owned() })
    }
}

#[async_trait]
impl Services for NoServices {
    async fn check(&self, service: &Service) -> Result<(), ServiceError> {
        Self::none(service)
    }

    async fn bring_up(
        &self,
        service: &Service,
        _: u8,
        _: &DeploymentId,
    ) -> Result<Vec<TaskSet>, ServiceError> {
        Self::none(service)
    }

    async fn keep_only(&self, service: &Service, _: u8) -> Result<bool, ServiceError> {
        Self::none(service)
    }
}
