//! Fleets that change: hosts that arrive get the right revision, hosts that leave are let go, and what Auto Scaling is
//! asked to do meanwhile is taken back afterwards.
//!
//! Everything here is looked at again and again until nothing is left to be done, and each look starts from what is
//! stored and what EC2 says: a message that is lost, doubled or late changes only when something happens.

mod arrivals;
pub(crate) mod copies;
mod departures;
mod enrol;
mod here;
mod member;
mod members;
pub(crate) mod scaling;
mod transitions;

pub(crate) use member::Member;
pub(crate) use members::members;

use std::sync::Arc;

use async_trait::async_trait;
use engine::deployment::{Fact, Request};
use tracing::warn;

use here::Here;

use crate::carriers::Carriers;
use crate::performing::Performs;
use crate::ports::{Balancers, Instances, LifecycleAction, Messages, Place, Placed, Upkeep};
use crate::rows::{self, DeploymentRow, Stored, TransitionRow};
use crate::table::Query;
use crate::{Base, Error};

/// Finds hosts, and looks after those that come and go: what `fleet_watcher` is.
#[derive(Clone)]
pub struct FleetWatcher {
    /// What every role works on.
    pub base: Base,
    /// The kinds of what carries traffic.
    pub carriers: Carriers,
    /// What other functions are asked for.
    pub messages: Arc<dyn Messages>,
    /// Instances, by where they are.
    pub ports: Placed<Ports>,
}

/// What the watcher has to do with in one account and region.
#[derive(Clone)]
pub struct Ports {
    /// Instances, and what Auto Scaling does to them.
    pub instances: Instances,
    /// Which hosts have traffic.
    pub balancers: Arc<dyn Balancers>,
}

#[async_trait]
impl Performs for FleetWatcher {
    fn base(&self) -> &Base {
        &self.base
    }

    async fn perform(
        &self,
        deployment: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        let here = self.at(deployment.row.place.as_ref()).await?;
        if *request == Request::CopyGroup {
            return here.copy_group(&deployment.row.deployment).await;
        }
        if *request == Request::EnrolHosts {
            return Ok(here.enrol(deployment).await?.into_iter().collect());
        }
        Err(Error::misdirected(request))
    }
}

/// How long after its last request a process may be at work still, in milliseconds: longer than functions run.
const LATE_MS: u64 = 15 * 60_000;

impl FleetWatcher {
    /// The watcher in one account and region; none is the installation's own.
    async fn at(&self, place: Option<&Place>) -> Result<Here, Error> {
        Ok(self.here(place, self.ports.at(place).await?))
    }

    /// The watcher where the installation is: what it hears of instances comes from there.
    fn in_own(&self) -> Here {
        self.here(None, self.ports.in_own())
    }

    fn here(&self, place: Option<&Place>, Ports { instances, balancers }: Ports) -> Here {
        let (base, messages) = (self.base.clone(), self.messages.clone());
        let carriers = self.carriers.clone();
        Here { base, carriers, messages, place: place.cloned(), instances, balancers }
    }

    /// Takes note that an instance changed its state. Which state is asked of EC2; that it says nothing is no evidence.
    ///
    /// # Errors
    /// When it cannot be noted; being told again does no harm.
    pub async fn host_changed(&self, instance: &str) -> Result<(), Error> {
        self.in_own().host_changed(instance).await
    }

    /// Takes note that an instance starts, runs, or was launched. `action` is what Auto Scaling holds it back by; hooks that
    /// are not Cutover's are none of its business.
    ///
    /// # Errors
    /// When it cannot be noted; being told again does no harm.
    pub async fn host_arrives(
        &self,
        instance: &str,
        action: Option<LifecycleAction>,
    ) -> Result<(), Error> {
        self.in_own().host_arrives(instance, action).await
    }

    /// Takes note that an instance is about to vanish: nothing new is started on it, and what runs may end.
    ///
    /// # Errors
    /// When it cannot be noted; being told again does no harm.
    pub async fn host_leaves(
        &self,
        instance: &str,
        action: Option<LifecycleAction>,
    ) -> Result<(), Error> {
        self.in_own().host_leaves(instance, action).await
    }

    /// Does the upkeep that is asked for.
    ///
    /// # Errors
    /// When it cannot be done now; doing it again does no harm.
    pub async fn keep_up(&self, upkeep: &Upkeep) -> Result<(), Error> {
        match upkeep {
            Upkeep::Transition { instance } => self.in_own().attend(instance).await,
            Upkeep::Hooks { group_id } => self.keep_hooks(group_id).await,
            Upkeep::Suspensions => self.resume_scaling().await,
        }
    }

    /// Looks through all upkeep. What cannot be done now is logged, and looked at again the next time.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn keep_fleet(&self) -> Result<usize, Error> {
        let all: Vec<Stored<TransitionRow>> =
            rows::load_all(&*self.base.table, Query::prefix(TransitionRow::ALL, "", 100)).await?;
        let here = self.in_own();
        for transition in &all {
            let instance = &transition.row.instance;
            if let Err(error) = here.attend(instance).await {
                warn!(
                    host = instance,
                    error = &error as &dyn std::error::Error,
                    "cannot look after a host that comes or goes; the next minute tries again"
                );
            }
        }
        self.resume_scaling().await?;
        Ok(all.len())
    }
}

/// Asks for upkeep soon. If that is lost, the upkeep of the next minute does it.
pub(crate) async fn ask_for(messages: &dyn Messages, upkeep: Upkeep, delay_s: u32) {
    if let Err(error) = messages.keep_up(&upkeep, delay_s).await {
        warn!(
            ?upkeep,
            error = &error as &dyn std::error::Error,
            "cannot ask for upkeep; it waits for the next minute"
        );
    }
}
