//! What carries traffic: a file for each kind, behind one trait that is picked once ([`Carriers::of`]).
//!
//! Before the trait stands what is the same for all (`traffic_evaluator/shift.rs`): whether a request is still wanted, what
//! a refusal means, and that what was asked for counts only when it is read back.

mod alias;
mod exchange;
mod pair;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use engine::deployment::{Deployment, Request, Shift, Side, Stage, TaskSet};
use engine::lifecycle::Event;
use wire::codedeploy::{
    ApiError, ComputePlatform, DeploymentTarget, ErrorName, GroupSettings, LifecycleEvent,
};

pub use exchange::Exchange;
pub(crate) use exchange::brought_last;

use crate::ports::{Place, Service, Wanted};
use crate::traffic_evaluator::here::Here;
use crate::{Error, settings};

/// What a carrier acts with: ports where it is, the deployment as it was read last, and the request that is performed.
pub struct Acting<'a> {
    pub(crate) here: &'a Here,
    pub(crate) deployment: &'a Deployment,
    pub(crate) request: Option<&'a Request>,
}

impl Acting<'_> {
    /// The deployment.
    pub fn deployment(&self) -> &Deployment {
        self.deployment
    }

    /// Whether what is performed is still wanted, asked as late as can be: most carriers know nothing of what a request was
    /// meant for, and one that comes late would move the traffic of a later deployment.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn still_wanted(&self) -> Result<bool, Error> {
        let Some(request) = self.request else { return Ok(false) };
        let stored = self.here.base.deployment(self.deployment.id()).await?;
        Ok(stored.is_some_and(|stored| stored.row.deployment.wants(request)))
    }
}

#[async_trait]
impl Wanted for Acting<'_> {
    async fn is_wanted(&self) -> bool {
        self.still_wanted().await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(deployment = %self.deployment.id(), error, "cannot be read; nothing is changed for it");
            false
        })
    }
}

/// What carries the traffic of a deployment.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// What it is deployed on, in CodeDeploy's words.
    fn platform(&self) -> ComputePlatform {
        ComputePlatform::Server
    }

    /// The two target groups that are its sides, where that is what they are.
    fn groups(&self) -> Option<[&str; 2]> {
        None
    }

    /// The target groups that must be there before a deployment begins.
    fn checked_groups(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The target group whose hosts have the traffic before, and are not to be changed; none until that is known.
    fn group_in_use(&self, new_side: Option<u8>) -> Option<&str> {
        sides_of(self.groups(), new_side).map(|(old, _)| old)
    }

    /// Whether a host of the new side is ready for its traffic without having been let in anywhere: it comes in when the
    /// traffic moves.
    fn enters_with_traffic(&self) -> bool {
        false
    }

    /// The names of the new and the old side for people, where they have any.
    fn side_names(&self, new_side: Option<u8>) -> Option<(String, String)> {
        sides_of(self.groups(), new_side).map(|(old, new)| (new.to_owned(), old.to_owned()))
    }

    /// The function that each event calls.
    fn hooks(&self) -> BTreeMap<Event, String> {
        BTreeMap::new()
    }

    /// The events of its one target, each with the stage in which it happens; none where it leads to hosts, which are
    /// targets themselves.
    fn target_events(&self) -> Vec<(Event, Stage)> {
        Vec::new()
    }

    /// Its one target, where it leads to no hosts.
    fn target(
        &self,
        _deployment: &Deployment,
        _place: &Place,
        _events: Vec<LifecycleEvent>,
    ) -> Option<DeploymentTarget> {
        None
    }

    /// How a deployment takes the traffic back to where it was before `deployment`; none where it never had it anywhere
    /// else.
    fn way_back(&self, deployment: &Deployment) -> Option<Shift>;

    /// How much of the traffic the second side has before anything is done, in percent.
    ///
    /// # Errors
    /// Refused where it cannot be deployed to.
    async fn second_side(&self, acting: &Acting<'_>) -> Result<u8, Error>;

    /// How much of the traffic the new side has, in percent; none where the sides are not known.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn share(&self, acting: &Acting<'_>) -> Result<Option<u8>, Error>;

    /// What it is changed under, where it is changed only as it was read. Asked before it is asked for the last time whether
    /// a change is wanted.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn revision(&self, _acting: &Acting<'_>) -> Result<String, Error> {
        Ok(String::new())
    }

    /// Asks for the new side to get its share. Also what is so already is asked for: something else that was asked for
    /// before may not have come about yet.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn give(&self, acting: &Acting<'_>, percent: u8, revision: &str) -> Result<(), Error>;

    /// Has the tasks of the new side run, and tells how all of them stand; none where that is not known yet.
    ///
    /// # Errors
    /// Those of what runs them.
    async fn bring_up(&self, _acting: &Acting<'_>) -> Result<Option<Vec<TaskSet>>, Error> {
        Ok(None)
    }

    /// Gives the new side the test traffic, and tells whether it has it.
    ///
    /// # Errors
    /// Those of what carries it.
    async fn move_test_traffic(&self, _acting: &Acting<'_>) -> Result<bool, Error> {
        Ok(false)
    }

    /// Takes the next step to the end of a side that was read to have no traffic, and tells whether it has come to it.
    ///
    /// # Errors
    /// Those of what runs there.
    async fn retire(&self, acting: &Acting<'_>, side: Side) -> Result<bool, Error>;
}

/// The old and the new one of two sides, once it is known which is which.
pub fn sides_of(groups: Option<[&str; 2]>, new_side: Option<u8>) -> Option<(&str, &str)> {
    let [first, second] = groups?;
    match new_side? {
        0 => Some((second, first)),
        _ => Some((first, second)),
    }
}

/// Reads what is stored of a carrier of one kind.
pub type Reads = Arc<
    dyn Fn(&engine::deployment::Carrier) -> Result<Arc<dyn Carrier>, serde_json::Error>
        + Send
        + Sync,
>;

/// The kinds of carriers that there are, by name.
#[derive(Clone)]
pub struct Carriers(Arc<BTreeMap<&'static str, Reads>>);

impl Default for Carriers {
    fn default() -> Self {
        let kinds: [(&'static str, Reads); 4] = [
            (pair::KIND, Arc::new(pair::read)),
            (exchange::KIND, Arc::new(exchange::read)),
            (alias::KIND, Arc::new(alias::read)),
            (service::KIND, Arc::new(service::read)),
        ];
        Self(Arc::new(kinds.into()))
    }
}

impl Carriers {
    /// These and one more kind.
    #[must_use]
    pub fn and(&self, kind: &'static str, read: Reads) -> Self {
        let mut kinds = BTreeMap::clone(&self.0);
        kinds.insert(kind, read);
        Self(Arc::new(kinds))
    }

    /// What carries the traffic of a deployment; none where it does not move all together.
    ///
    /// # Errors
    /// If what is stored of it cannot be read.
    pub fn of(&self, deployment: &Deployment) -> Result<Option<Arc<dyn Carrier>>, Error> {
        deployment.carrier().map(|stored| self.read(stored)).transpose()
    }

    /// What is stored as a carrier.
    ///
    /// # Errors
    /// If its kind is not known, or what is stored is not of its kind.
    pub fn read(&self, stored: &engine::deployment::Carrier) -> Result<Arc<dyn Carrier>, Error> {
        let unknown = |why: String| Error::UnknownCarrier { kind: stored.kind().to_owned(), why };
        let Some(read) = self.0.get(stored.kind()) else {
            return Err(unknown("this version of Cutover does not know it; upgrade it".to_owned()));
        };
        read(stored).map_err(|error| unknown(error.to_string()))
    }
}

/// How the traffic of a group of hosts moves all together, if it does (`docs/semantics.md#blue-green`).
///
/// # Errors
/// Where the group asks for what cannot be done.
pub(crate) fn of_group(group: &GroupSettings) -> Result<Option<Shift>, ApiError> {
    if !settings::is_blue_green(group) {
        return Ok(None);
    }
    let blue_green = group.blue_green_deployment_configuration.clone().unwrap_or_default();
    let old = blue_green.terminate_blue_instances_on_deployment_success.clone().unwrap_or_default();
    let shift = of_hosts(group)?;
    if settings::copied(group)?.is_some() && shift.carrier.kind() != exchange::KIND {
        let message = "The group asks for a copy of its Auto Scaling group, which takes one target group: the copy is attached to those that the group itself is attached to. Name that one alone in loadBalancerInfo.targetGroupInfoList, or set greenFleetProvisioningOption to DISCOVER_EXISTING.";
        return Err(ErrorName::InvalidBlueGreenDeploymentConfiguration.because(message));
    }
    Ok(Some(Shift {
        ready_wait_ms: settings::ready_wait_ms(&blue_green),
        keep_ms: settings::milliseconds(old.termination_wait_time_in_minutes.unwrap_or(0)),
        retires: old.action.as_deref() == Some("TERMINATE"),
        ..shift
    }))
}

/// How the traffic of a group of hosts moves all together, with nothing but its carrier settled: through one target group,
/// or through two that share the traffic of a listener.
///
/// # Errors
/// Where the settings name no target group, or too many.
fn of_hosts(settings: &GroupSettings) -> Result<Shift, ApiError> {
    let balancers = settings.load_balancer_info.clone().unwrap_or_default();
    let pairs = balancers.target_group_pair_info_list.unwrap_or_default();
    let groups = match pairs.into_iter().next() {
        Some(pair) => pair.target_groups,
        None => balancers.target_group_info_list,
    };
    let names = groups.unwrap_or_default().into_iter().filter_map(|group| group.name);
    let names: Vec<String> = names.collect();
    let made = match <[String; 1]>::try_from(names) {
        Ok([group]) => Exchange { group, back_of: None }.shift(),
        Err(names) => {
            let groups = <[String; 2]>::try_from(names).map_err(|names| {
                let found = names.len();
                let message = format!(
                    "A blue/green group names one target group, whose hosts are exchanged, or two that share the traffic of \
                     one listener, and this one names {found}. Name them in loadBalancerInfo.targetGroupInfoList. With two, \
                     the traffic can go by steps, and going back is one change of weights."
                );
                ErrorName::InvalidLoadBalancerInfo.because(message)
            })?;
            pair::shift(&groups)
        }
    };
    made.map_err(|error| unwritable(&error))
}

/// How the traffic of what an AppSpec names moves, for a group with these settings.
///
/// # Errors
/// What is wrong with the AppSpec or the settings.
pub(crate) fn of_content(
    platform: ComputePlatform,
    group: &GroupSettings,
    content: &str,
) -> Result<Shift, ApiError> {
    let wrong = |error: engine::appspec::ResourceError| {
        let message = format!("The AppSpec of the {platform} deployment is not valid. {error}.");
        ErrorName::InvalidRevision.because(message)
    };
    match platform {
        ComputePlatform::Lambda => {
            let alias = engine::appspec::parse_lambda(content.as_bytes()).map_err(wrong)?;
            alias::shift(&alias).map_err(|error| unwritable(&error))
        }
        ComputePlatform::Ecs => {
            let place = service::of_settings(group)?;
            let (tasks, hooks) =
                engine::appspec::parse_service(content.as_bytes()).map_err(wrong)?;
            service::shift_of_group(&Service { tasks, hooks, ..place }, group)
        }
        ComputePlatform::Server => {
            let message = "The application runs on servers, which are deployed a bundle, and no AppSpec by itself.";
            Err(ErrorName::InvalidRevision.because(message))
        }
    }
}

fn unwritable(error: &serde_json::Error) -> ApiError {
    ErrorName::InvalidRevision
        .because(format!("What carries the traffic cannot be stored: {error}."))
}
