//! Requests that are performed elsewhere than they were decided, and wakes that come from outside.

use engine::deployment::{Fact, Performer, Request};
use engine::{DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::{debug, instrument};

use super::TRIES;
use crate::rows::{self, DeploymentRow, Outcome, OutcomeRow};
use crate::table::TableError;
use crate::{Control, Error};

/// A request of a deployment, as one function hands it to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Errand {
    /// The deployment that decided it.
    pub deployment_id: DeploymentId,
    /// What is to be done.
    #[serde(rename = "effect")]
    pub request: Request,
}

impl Control {
    /// Performs a request that was handed over, and has its deployment hear what came of it. One that nobody waits for any
    /// more is not performed.
    ///
    /// # Errors
    /// When it could not be performed now; running it again does no harm.
    #[instrument(name = "deployment", skip_all, fields(deployment = %errand.deployment_id))]
    pub async fn run_errand(&self, errand: &Errand) -> Result<(), Error> {
        let Errand { deployment_id: id, request } = errand;
        for _ in 0..TRIES {
            let Some(stored) = self.deployment(id).await? else { return Ok(()) };
            let deployment = &stored.row.deployment;
            if !deployment.wants(request) {
                debug!(deployment = %id, ?request, "nobody waits for this any more");
                return Ok(());
            }
            let performer = deployment.traits(request, self.now()).performer;
            match self.perform_here(&stored, request).await {
                // The deployment goes on meanwhile, and may want it all the same: then it is performed again.
                Err(error) if error.is_conflict() => {}
                performed => return self.take_outcome(id, performer, performed?).await,
            }
        }
        Err(TableError::Conflict(DeploymentRow::key_of(id)).into())
    }

    /// Has a deployment hear what came of a request that `performer` has performed elsewhere than it was decided. Who may do all
    /// that a step may need goes on with the deployment at once, so that an alarm takes traffic back without another function
    /// in between; any other one writes it down, which wakes the deployment.
    async fn take_outcome(
        &self,
        id: &DeploymentId,
        performer: Performer,
        facts: Vec<Fact>,
    ) -> Result<(), Error> {
        if facts.is_empty() {
            return Ok(());
        }
        if performer.may_step() {
            return self.advance(id, facts).await.map(drop);
        }
        for outcome in facts.iter().cloned().filter_map(Outcome::of) {
            let row = OutcomeRow { deployment_id: id.clone(), at: self.now(), outcome };
            self.table.write(&[rows::put(&row)?]).await?;
        }
        self.bell.ring(id, facts);
        Ok(())
    }

    /// Takes a wake that was armed for `at`. A later one may have been armed since: a wake that is not the newest does
    /// nothing, and arms nothing. One that comes too early is armed again.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn wake(&self, id: &DeploymentId, at: Timestamp) -> Result<(), Error> {
        let Some(stored) = self.deployment(id).await? else { return Ok(()) };
        if stored.row.wake_at != Some(at) || stored.row.deployment.ended().is_some() {
            return Ok(());
        }
        if self.now() < at {
            self.bell.ring_at(id, at).await;
            return Ok(());
        }
        self.advance(id, Vec::new()).await.map(drop)
    }
}
