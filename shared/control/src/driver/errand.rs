//! Effects that are performed elsewhere than they were decided, and wakes that come from outside.

use engine::deployment::{Effect, Fact};
use engine::{DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};
use tracing::{debug, instrument};

use super::TRIES;
use crate::rows::{self, DeploymentRow, Outcome, OutcomeRow};
use crate::table::TableError;
use crate::{Control, Error};

/// An effect of a deployment, as one function hands it to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Errand {
    /// The deployment that decided it.
    pub deployment_id: DeploymentId,
    /// What is to be done.
    pub effect: Effect,
}

impl Control {
    /// Performs an effect that was handed over, and writes what came of it where the deployment will hear of it. One that
    /// nobody waits for any more is not performed.
    ///
    /// # Errors
    /// When it could not be performed now; running it again does no harm.
    #[instrument(name = "deployment", skip_all, fields(deployment = %errand.deployment_id))]
    pub async fn run_errand(&self, errand: &Errand) -> Result<(), Error> {
        let id = &errand.deployment_id;
        for fact in self.try_errand(errand).await? {
            if let Some(outcome) = Outcome::of(fact.clone()) {
                let row = OutcomeRow { deployment_id: id.clone(), at: self.now(), outcome };
                self.table.write(&[rows::put(&row)?]).await?;
            }
            self.bell.ring(id, vec![fact]);
        }
        Ok(())
    }

    /// Performs the effect. The deployment goes on meanwhile, and may want it all the same: then it is performed again.
    pub(crate) async fn try_errand(&self, errand: &Errand) -> Result<Vec<Fact>, Error> {
        let Errand { deployment_id: id, effect } = errand;
        for _ in 0..TRIES {
            let Some(stored) = self.deployment(id).await? else { return Ok(Vec::new()) };
            if !stored.row.deployment.wants(effect) {
                debug!(deployment = %id, ?effect, "nobody waits for this any more");
                return Ok(Vec::new());
            }
            match self.perform_here(&stored, effect).await {
                Err(error) if error.is_conflict() => {}
                performed => return performed,
            }
        }
        Err(TableError::Conflict(DeploymentRow::key_of(id)).into())
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
