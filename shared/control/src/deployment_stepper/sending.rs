//! What the stepper knows and learns of batches that are being sent.

use engine::deployment::{Deployment, Fact, Request};
use wire::host::BatchKey;

use crate::hook_dispatcher::refusal_of;
use crate::rows::{self, BatchRow, Stored};
use crate::{DeploymentStepper, Error};

impl DeploymentStepper {
    /// What it tells a deployment that a request could not be performed: only that of a command is waited for by seconds, and
    /// any other is asked for again by itself.
    pub(super) fn told_by_failure(&self, request: &Request, error: &Error) -> Option<Fact> {
        let Request::Dispatch { batch, .. } = request else { return None };
        Some(Fact::BatchRefused { batch: *batch, at: self.base.now(), refusal: refusal_of(error) })
    }

    /// What is written of the batches that a deployment is sending.
    pub(super) async fn deliveries(&self, deployment: &Deployment) -> Result<Vec<Fact>, Error> {
        let key =
            |number| BatchRow::key_of(&BatchKey { deployment_id: deployment.id().clone(), number });
        let keys: Vec<_> = deployment.sending().map(key).collect();
        let batches: Vec<Stored<BatchRow>> = rows::load_many(&*self.base.table, &keys).await?;
        Ok(batches.iter().filter_map(|batch| batch.row.told()).collect())
    }
}
