//! Requests of deployments, as the roles perform them: each its own, in the process that decided them or in another one.

use std::sync::Arc;

use async_trait::async_trait;
use engine::DeploymentId;
use engine::deployment::{Fact, Performer, Request};
use tracing::{debug, instrument, warn};

use crate::ports::{Messages, RequestMessage};
use crate::rows::{self, DeploymentRow, Outcome, OutcomeRow, Stored};
use crate::table::TableError;
use crate::{Base, Error};

/// How often a step is tried again when somebody else changed the row meanwhile.
pub(crate) const TRIES: u32 = 20;

/// Goes on with deployments.
#[async_trait]
pub trait Advances: Send + Sync {
    /// Folds facts into a deployment and takes its next step.
    ///
    /// # Errors
    /// Those of the table.
    async fn go_on(&self, id: &DeploymentId, facts: Vec<Fact>) -> Result<(), Error>;
}

/// The roles of one process, each for the requests that it performs.
pub trait Performers: Send + Sync {
    /// The role that performs the requests of `to`.
    fn performer(&self, to: Performer) -> Box<dyn Performs>;
}

/// A role that performs requests of deployments.
#[async_trait]
pub trait Performs: Send + Sync {
    /// What it works on.
    fn base(&self) -> &Base;

    /// What it goes on with the deployment with, if it may do all that a step may need: so an alarm takes traffic back without
    /// another function in between.
    fn stepper(&self) -> Option<Box<dyn Advances>> {
        None
    }

    /// Performs one of its requests. Returns what came of it, as far as that is known.
    ///
    /// # Errors
    /// When it could not be performed now, and performing it again does no harm; or when it is a request of another role.
    async fn perform(
        &self,
        deployment: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error>;

    /// Performs a request that was handed over, and has its deployment hear what came of it. One that nobody waits for any
    /// more is not performed.
    ///
    /// # Errors
    /// When it could not be performed now; running it again does no harm.
    #[instrument(name = "deployment", skip_all, fields(deployment = %message.deployment_id))]
    async fn take_request(&self, message: &RequestMessage) -> Result<(), Error> {
        let RequestMessage { deployment_id: id, request } = message;
        for _ in 0..TRIES {
            let Some(stored) = self.base().deployment(id).await? else { return Ok(()) };
            if !stored.row.deployment.wants(request) {
                debug!(deployment = %id, ?request, "nobody waits for this any more");
                return Ok(());
            }
            match self.perform(&stored, request).await {
                // The deployment goes on meanwhile, and may want it all the same: then it is performed again.
                Err(error) if error.is_conflict() => {}
                performed => return self.tell(id, performed?).await,
            }
        }
        Err(TableError::Conflict(DeploymentRow::key_of(id)).into())
    }

    /// Has a deployment hear what came of its request: at once where a step can be taken here, else by an item, whose writing
    /// wakes it.
    ///
    /// # Errors
    /// Those of the table.
    async fn tell(&self, id: &DeploymentId, facts: Vec<Fact>) -> Result<(), Error> {
        if facts.is_empty() {
            return Ok(());
        }
        if let Some(stepper) = self.stepper() {
            return stepper.go_on(id, facts).await;
        }
        let base = self.base();
        for outcome in facts.iter().cloned().filter_map(Outcome::of) {
            let row = OutcomeRow { deployment_id: id.clone(), at: base.now(), outcome };
            base.table.write(&[rows::put(&row)?]).await?;
        }
        base.waker.wake(id, facts);
        Ok(())
    }
}

/// Where requests are performed.
#[derive(Clone)]
pub enum Handover {
    /// In the functions that they are handed to.
    Elsewhere,
    /// In this process, where they cannot be handed over.
    Here(Arc<dyn Performers>),
    /// Those on traffic by this role, which has a step of its own, and all others elsewhere.
    Traffic(Arc<dyn Performs>),
}

impl Handover {
    /// Performs a request of a deployment, or hands it over: then nothing is known of it yet.
    pub(crate) async fn perform(
        &self,
        messages: &dyn Messages,
        stored: &Stored<DeploymentRow>,
        request: &Request,
        to: Performer,
    ) -> Result<Vec<Fact>, Error> {
        let id = stored.row.deployment.id();
        let message = RequestMessage { deployment_id: id.clone(), request: request.clone() };
        if messages.hand_over(to, &message).await? {
            return Ok(Vec::new());
        }
        match self {
            Self::Here(roles) => roles.performer(to).perform(stored, request).await,
            Self::Traffic(evaluator) if to == Performer::TrafficEvaluator => {
                evaluator.perform(stored, request).await
            }
            Self::Elsewhere | Self::Traffic(_) => {
                warn!(deployment = %id, ?request, "nobody performs this: the function has no queue for it; set its `CUTOVER_QUEUE_` variables as `template.yaml` does");
                Ok(Vec::new())
            }
        }
    }
}
