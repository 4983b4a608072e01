//! Fleets that change: hosts that arrive get the right revision, hosts that leave are let go, and what Auto Scaling is
//! asked to do meanwhile is taken back afterwards.
//!
//! Everything here is looked at again and again until nothing is left to be done, and each look starts from what is
//! stored and what EC2 says: a message that is lost, doubled or late changes only when something happens.

mod arrivals;
pub(crate) mod copies;
mod departures;
mod enrol;
mod member;
mod members;
mod passages;
pub(crate) mod scaling;

pub(crate) use member::Member;
pub(crate) use members::members;

use std::sync::Arc;

use async_trait::async_trait;
use engine::GroupId;
use engine::deployment::{Fact, Request};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::performing::Performs;
use crate::ports::{Balancers, Cloud, Errands};
use crate::rows::{self, DeploymentRow, PassageRow, Stored};
use crate::table::Query;
use crate::{Base, Error};

/// Finds hosts, and looks after those that come and go: what `fleet_watcher` is.
#[derive(Clone)]
pub struct FleetWatcher {
    /// What every role works on.
    pub base: Base,
    /// Instances, and what Auto Scaling does to them.
    pub cloud: Cloud,
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
        if *request == Request::CopyGroup {
            return self.copy_group(&deployment.row.deployment).await;
        }
        if *request == Request::EnrolHosts {
            return Ok(self.enrol(deployment).await?.into_iter().collect());
        }
        Err(Error::misdirected(request))
    }
}

/// How long after its last request a process may be at work still, in milliseconds: longer than functions run.
const LATE_MS: u64 = 15 * 60_000;

/// Upkeep of the fleet that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Upkeep {
    /// A host that comes or goes is looked after.
    #[serde(rename_all = "camelCase")]
    Passage {
        /// The instance.
        instance: String,
    },
    /// The hooks of a deployment group on its Auto Scaling groups are made as its settings want them.
    #[serde(rename_all = "camelCase")]
    Hooks {
        /// The deployment group.
        group_id: GroupId,
    },
    /// Processes that were suspended for deployments that have ended are resumed.
    Suspensions,
}

impl FleetWatcher {
    /// Does the upkeep that is asked for.
    ///
    /// # Errors
    /// When it cannot be done now; doing it again does no harm.
    pub async fn keep_up(&self, upkeep: &Upkeep) -> Result<(), Error> {
        match upkeep {
            Upkeep::Passage { instance } => self.attend(instance).await,
            Upkeep::Hooks { group_id } => self.keep_hooks(group_id).await,
            Upkeep::Suspensions => self.resume_scaling().await,
        }
    }

    /// Looks through all upkeep. What cannot be done now is logged, and looked at again the next time.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn keep_fleet(&self) -> Result<usize, Error> {
        let all: Vec<Stored<PassageRow>> =
            rows::load_all(&*self.base.table, Query::prefix(PassageRow::ALL, "", 100)).await?;
        for passage in &all {
            let instance = &passage.row.instance;
            if let Err(error) = self.attend(instance).await {
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
pub(crate) async fn ask_for(errands: &dyn Errands, upkeep: Upkeep, delay_s: u32) {
    if let Err(error) = errands.keep_up(&upkeep, delay_s).await {
        warn!(
            ?upkeep,
            error = &error as &dyn std::error::Error,
            "cannot ask for upkeep; it waits for the next minute"
        );
    }
}
