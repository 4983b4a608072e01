//! What carries traffic: a file for each kind, behind one trait that is picked once ([`Carriers::of`]).
//!
//! Before the trait stands what is the same for all (`traffic_evaluator/shift.rs`): whether a request is still wanted, what
//! a refusal means, and that what was asked for counts only when it is read back.

mod alias;
mod carrier;
mod exchange;
mod pair;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::deployment::{Deployment, Shift};
use wire::codedeploy::{ApiError, ComputePlatform, ErrorName, GroupSettings};

pub(crate) use carrier::unknown;
use carrier::unwritable;
pub use carrier::{Acting, Carrier, sides_of};
pub use exchange::Exchange;
pub(crate) use exchange::brought_last;

use crate::ports::Service;
use crate::{Error, settings};

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
