//! Rolling back by hand.

use wire::codedeploy::ErrorName;
use wire::cutover::{RollBackDeployment, RollBackDeploymentOutput};

use super::refuse;
use crate::start::Request;
use crate::{Control, Error};

impl Control {
    /// `RollBackDeployment`: deploys what had succeeded last when the deployment was created.
    pub async fn roll_back_deployment(
        &self,
        request: &RollBackDeployment,
    ) -> Result<RollBackDeploymentOutput, Error> {
        let found = self.known_deployment(&request.deployment_id).await?.row.deployment;
        let order = found.order();
        let id = found.id();
        if found.ended().is_none() {
            let message = format!(
                "The deployment `{id}` has not ended. Stop it with autoRollbackEnabled, which rolls it back as well."
            );
            return Err(refuse(ErrorName::InvalidDeploymentStatus, message));
        }
        let Some(fallback) = order.fallback.clone() else {
            let message = format!(
                "No deployment of the group had succeeded before `{id}`, so there is nothing to roll back to."
            );
            return Err(refuse(ErrorName::RevisionDoesNotExist, message));
        };
        if order.rolls_back.is_some() {
            let message = format!(
                "The deployment `{id}` is a rollback itself. Create a deployment of the revision that you want."
            );
            return Err(refuse(ErrorName::UnsupportedActionForDeploymentType, message));
        }
        let mut start = Request::new(fallback.revision, Some(fallback.pin));
        start.file_exists_behavior = fallback.file_exists_behavior;
        start.is_way_back = true;
        start.config = Some(order.config.clone());
        start.description = Some(format!(
            "Rolls back deployment {id} to what deployment {} had installed",
            fallback.deployment
        ));
        let started = self.start(&order.group_id, &start).await?;
        Ok(RollBackDeploymentOutput { deployment_id: Some(started.to_string()) })
    }
}
