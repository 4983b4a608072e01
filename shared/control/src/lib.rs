//! What Cutover does: the ports that it needs, the driver of deployments, and the use cases. No AWS and no HTTP here;
//! home, the cloud and the simulator differ only in what is plugged into the ports.

mod base;
pub mod carriers;
mod content;
pub mod deployment_stepper;
mod error;
pub mod fleet_watcher;
pub mod hook_dispatcher;
pub mod host_api;
mod installation;
pub mod operator_api;
pub mod performing;
pub mod ports;
pub mod revision_intake;
pub mod rows;
mod secrets;
pub mod settings;
pub mod steady;
pub mod table;
mod tags;
pub mod traffic_evaluator;

use std::sync::Arc;

pub use base::{Base, KnownShards, start};
use carriers::Carriers;
pub use deployment_stepper::DeploymentStepper;
use engine::deployment::Performer;
pub use error::Error;
pub use fleet_watcher::FleetWatcher;
pub use hook_dispatcher::HookDispatcher;
pub use host_api::{Followed, Gates, HostApi};
pub use installation::{DAY_MS, ROW_UNITS, Settings};
pub use operator_api::OperatorApi;
use performing::{Handover, Performers, Performs};
pub use ports::Place;
use ports::{BalancerAdmin, Bundles, Dispatcher, Messages, Placed, RequestMessage, Site};
pub use revision_intake::RevisionIntake;
pub use secrets::hash_of;
pub use traffic_evaluator::TrafficEvaluator;

/// Every role with all that they need plugged in, as a home and the simulator have them in one process. A function has
/// one role, with the ports of that alone.
#[derive(Clone)]
pub struct Control {
    /// What every role works on.
    pub base: Base,
    /// The kinds of what carries traffic.
    pub carriers: Carriers,
    /// The bytes of revisions.
    pub bundles: Arc<dyn Bundles>,
    /// Reaches hosts.
    pub dispatcher: Arc<dyn Dispatcher>,
    /// What other functions are asked for.
    pub messages: Arc<dyn Messages>,
    /// The balancers that the installation has itself, where it can have any.
    pub balancer_admin: Option<Arc<dyn BalancerAdmin>>,
    /// What deployments act on, by where that is.
    pub sites: Placed<Site>,
    /// Where this installation is.
    pub place: Place,
    /// Deployments whose output somebody follows.
    pub followed: Followed,
    /// Gates as they were a moment ago.
    pub gates: Gates,
}

impl Control {
    /// Takes uploads and pins revisions.
    pub fn revision_intake(&self) -> RevisionIntake {
        RevisionIntake { base: self.base.clone(), bundles: self.bundles.clone() }
    }

    /// Decides for deployments. What it decides is performed here, unless it can be handed over.
    pub fn deployment_stepper(&self) -> DeploymentStepper {
        DeploymentStepper {
            base: self.base.clone(),
            messages: self.messages.clone(),
            handover: Handover::Here(Arc::new(self.clone())),
        }
    }

    /// Brings hosts their commands.
    pub fn hook_dispatcher(&self) -> HookDispatcher {
        HookDispatcher {
            base: self.base.clone(),
            dispatcher: self.dispatcher.clone(),
            ports: self.sites.map(|site| hook_dispatcher::Ports {
                push: site.instances.push,
                fleet: site.instances.fleet,
            }),
        }
    }

    /// Moves traffic, reads alarms, and sweeps.
    pub fn traffic_evaluator(&self) -> TrafficEvaluator {
        TrafficEvaluator {
            base: self.base.clone(),
            carriers: self.carriers.clone(),
            sites: self.sites.clone(),
            messages: self.messages.clone(),
            handover: Handover::Here(Arc::new(self.clone())),
        }
    }

    /// Finds hosts, and looks after those that come and go.
    pub fn fleet_watcher(&self) -> FleetWatcher {
        FleetWatcher {
            base: self.base.clone(),
            carriers: self.carriers.clone(),
            messages: self.messages.clone(),
            ports: self.sites.map(|site| fleet_watcher::Ports {
                instances: site.instances,
                balancers: site.traffic.balancers,
            }),
        }
    }

    /// Answers hosts.
    pub fn host_api(&self) -> HostApi {
        HostApi {
            base: self.base.clone(),
            carriers: self.carriers.clone(),
            bundles: self.bundles.clone(),
            dispatcher: self.dispatcher.clone(),
            balancers: self.sites.map(|site| site.traffic.balancers),
            followed: self.followed.clone(),
            gates: self.gates.clone(),
        }
    }

    /// Answers operators.
    pub fn operator_api(&self) -> OperatorApi {
        OperatorApi {
            base: self.base.clone(),
            carriers: self.carriers.clone(),
            bundles: self.bundles.clone(),
            messages: self.messages.clone(),
            balancer_admin: self.balancer_admin.clone(),
            ports: self.sites.map(|site| operator_api::Ports {
                balancers: site.traffic.balancers,
                alarms: site.traffic.alarms,
            }),
            place: self.place.clone(),
            followed: self.followed.clone(),
        }
    }
}

impl Performers for Control {
    fn performer(&self, to: Performer) -> Box<dyn Performs> {
        match to {
            Performer::DeploymentStepper => Box::new(self.deployment_stepper()),
            Performer::RevisionIntake => Box::new(self.revision_intake()),
            Performer::HookDispatcher => Box::new(self.hook_dispatcher()),
            Performer::TrafficEvaluator => Box::new(self.traffic_evaluator()),
            Performer::FleetWatcher => Box::new(self.fleet_watcher()),
        }
    }
}

impl Control {
    /// Performs a request that was handed over to a role; see [`Performs::take_request`].
    ///
    /// # Errors
    /// When it could not be performed now; running it again does no harm.
    pub async fn take_request(&self, to: Performer, message: &RequestMessage) -> Result<(), Error> {
        self.performer(to).take_request(message).await
    }
}
