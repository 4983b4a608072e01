//! The use cases behind CodeDeploy's operations and Cutover's own: each takes the request as it came over the wire,
//! already validated, and returns the answer.
//!
//! Whatever changes more than one record does so in one transaction under the versions that were read; on a conflict
//! everything is read and decided anew.

mod applications;
mod balancers;
mod claims;
mod configs;
mod content;
mod deployment_info;
mod deployments;
mod groups;
mod hooks;
mod instances;
mod ladders;
mod logs;
mod paging;
mod revisions;
mod rollback;
mod stops;
mod subscriptions;
mod targets;
mod users;
mod waits;

use std::sync::Arc;

pub(crate) use configs::predefined_ladder;
use engine::{DeploymentId, GroupId};
use wire::codedeploy::ErrorName;

use crate::carriers::Carriers;
use crate::ports::{Alarms, BalancerAdmin, Balancers, Bundles, CloudError, Messages, Placed};
use crate::rows::{self, Application, DeploymentRow, Group, GroupName, Stored};
use crate::{Base, Error, Followed, Place};

/// Answers operators: CodeDeploy's operations and Cutover's own.
#[derive(Clone)]
pub struct OperatorApi {
    /// What every role works on.
    pub base: Base,
    /// The kinds of what carries traffic.
    pub carriers: Carriers,
    /// The buckets of revisions.
    pub bundles: Arc<dyn Bundles>,
    /// What other functions are asked for.
    pub messages: Arc<dyn Messages>,
    /// The balancers that the installation has itself, where it can have any.
    pub balancer_admin: Option<Arc<dyn BalancerAdmin>>,
    /// What deployments are checked against before they begin, by where they act.
    pub ports: Placed<Ports>,
    /// Where this installation is.
    pub place: Place,
    /// Deployments whose output somebody follows.
    pub followed: Followed,
}

/// What operators are told of in one account and region.
#[derive(Clone)]
pub struct Ports {
    /// All balancers.
    pub balancers: Arc<dyn Balancers>,
    /// The alarms.
    pub alarms: Arc<dyn Alarms>,
}

/// A member of a request; absent is empty.
fn text(member: &Option<String>) -> &str {
    member.as_deref().unwrap_or_default()
}

/// The error of this name.
fn refuse(name: ErrorName, message: impl Into<String>) -> Error {
    name.because(message).into()
}

/// Reads a member that takes one of a few words.
fn word<T: std::str::FromStr<Err = wire::codedeploy::UnknownWord>>(
    member: Option<&str>,
    error: ErrorName,
) -> Result<Option<T>, Error> {
    member
        .map(|text| text.parse().map_err(|unknown: T::Err| refuse(error, unknown.to_string())))
        .transpose()
}

impl OperatorApi {
    /// What operators are told of where a group acts.
    async fn ports_at(&self, place: Option<&Place>) -> Result<Ports, Error> {
        match self.ports.at(place).await {
            Err(error @ CloudError::Refused { .. }) => Err(refuse(
                ErrorName::InvalidRole,
                format!("The group cannot be deployed to: {error}."),
            )),
            found => Ok(found?),
        }
    }

    fn new_uuid(&self) -> GroupId {
        GroupId::from_random(self.base.random())
    }

    /// The application called `name`.
    async fn application(&self, name: &str) -> Result<Stored<Application>, Error> {
        self.find_application(name).await?.ok_or_else(|| {
            refuse(
                ErrorName::ApplicationDoesNotExist,
                format!("No application found for name: {name}"),
            )
        })
    }

    /// The application called `name`, unless it does not exist or is being deleted.
    async fn find_application(&self, name: &str) -> Result<Option<Stored<Application>>, Error> {
        let found =
            rows::load::<Application>(&*self.base.table, &Application::key_of(name)).await?;
        Ok(found.filter(|stored| !stored.row.deleting))
    }

    /// The group called `name` of an application.
    async fn group(&self, application: &Application, name: &str) -> Result<NamedGroup, Error> {
        self.find_group(application, name).await?.ok_or_else(|| {
            refuse(
                ErrorName::DeploymentGroupDoesNotExist,
                format!("No Deployment Group found for name: {name}"),
            )
        })
    }

    async fn find_group(
        &self,
        application: &Application,
        name: &str,
    ) -> Result<Option<NamedGroup>, Error> {
        let key = GroupName::key_of(&application.id, name);
        let Some(name) = rows::load::<GroupName>(&*self.base.table, &key).await? else {
            return Ok(None);
        };
        let group = rows::load::<Group>(&*self.base.table, &Group::key_of(&name.row.id)).await?;
        Ok(group.map(|group| NamedGroup { name, group }))
    }

    /// The application and the group that a request names.
    async fn application_and_group(
        &self,
        application: &Option<String>,
        group: &Option<String>,
    ) -> Result<(Application, NamedGroup), Error> {
        let application = self.application(text(application)).await?.row;
        let group = self.group(&application, text(group)).await?;
        Ok((application, group))
    }

    /// The deployment with an id that came from a client.
    async fn known_deployment(&self, id: &Option<String>) -> Result<Stored<DeploymentRow>, Error> {
        let id = text(id);
        let missing = || {
            let message = format!(
                "No deployment has the id `{id}`. `cutover status` shows the deployments of each group."
            );
            refuse(ErrorName::DeploymentDoesNotExist, message)
        };
        // A text that is no id names no deployment, whatever its form.
        let parsed: DeploymentId = id.parse().map_err(|_| missing())?;
        self.base.deployment(&parsed).await?.ok_or_else(missing)
    }
}

/// A group with the record of its name.
struct NamedGroup {
    name: Stored<GroupName>,
    group: Stored<Group>,
}
