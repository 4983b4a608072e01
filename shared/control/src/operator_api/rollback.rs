//! Rolling back by hand.

use engine::deployment::{Creator, Deployment, Fallback, Stage, Status};
use wire::codedeploy::ErrorName;
use wire::cutover::{RollBackDeployment, RollBackDeploymentOutput};

use super::refuse;
use crate::base::start::Request;
use crate::carriers::unknown;
use crate::rows::{self, Group};
use crate::{Error, OperatorApi};

/// Whether an earlier deployment had the bytes of `deployment`.
fn is_same(earlier: &Fallback, deployment: &Deployment) -> bool {
    deployment.pin().is_some_and(|pin| pin.sha256 == earlier.pin.sha256)
}

impl OperatorApi {
    /// `RollBackDeployment`: deploys what had succeeded last when the deployment was created. Of one that succeeded, what
    /// had succeeded last with other bytes.
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
        if let Some(request) = self.traffic_back(&found).await? {
            let started = self.base.start(&order.group_id, &request).await?;
            return Ok(RollBackDeploymentOutput { deployment_id: Some(started.to_string()) });
        }
        let Some(fallback) = self.what_worked_before(&found).await? else {
            let message = match &order.fallback {
                None => format!(
                    "No deployment of the group had succeeded before `{id}`, so there is nothing to roll back to."
                ),
                Some(_) => format!(
                    "All deployments of the group that had succeeded before `{id}` had the same bytes as it has, so there is nothing to roll back to. Deploy the revision that you want: `cutover deploy {}/{} --revision S3_URL`.",
                    order.application, order.group
                ),
            };
            return Err(refuse(ErrorName::RevisionDoesNotExist, message));
        };
        if order.creator == Creator::Rollback {
            let message = format!(
                "The deployment `{id}` is a rollback itself. Create a deployment of the revision that you want."
            );
            return Err(refuse(ErrorName::UnsupportedActionForDeploymentType, message));
        }
        let mut start = Request::new(fallback.revision, Some(fallback.pin));
        let group = rows::load::<Group>(&*self.base.table, &Group::key_of(&order.group_id)).await?;
        if let Some(group) = group {
            start.shift = self.shift_again(&found, &group.row.settings, &start.revision)?;
        }
        start.file_exists_behavior = fallback.file_exists_behavior;
        start.is_way_back = true;
        start.rolls_back = Some(id.clone());
        start.config = Some(order.config.clone());
        start.description = Some(format!(
            "Rolls back deployment {id} to what deployment {} had installed",
            fallback.deployment
        ));
        let started = self.base.start(&order.group_id, &start).await?;
        Ok(RollBackDeploymentOutput { deployment_id: Some(started.to_string()) })
    }

    /// What a deployment is rolled back to: what had succeeded last when it was created. Where it has succeeded itself, that
    /// may have been the same bytes, and the last ones before with other bytes are it.
    async fn what_worked_before(&self, found: &Deployment) -> Result<Option<Fallback>, Error> {
        let mut fallback = found.order().fallback.clone();
        if found.status() != Status::Succeeded {
            return Ok(fallback);
        }
        while let Some(earlier) = fallback.take_if(|earlier| is_same(earlier, found)) {
            let earlier = self.base.deployment(&earlier.deployment).await?;
            fallback = earlier.and_then(|stored| stored.row.deployment.order().fallback.clone());
        }
        Ok(fallback)
    }

    /// How the traffic goes back to where it was before the newest deployment of a blue/green group: nothing is installed.
    /// None for other deployments, after which the other side may have been changed, and where what had the traffic was
    /// ended.
    async fn traffic_back(&self, deployment: &Deployment) -> Result<Option<Request>, Error> {
        let order = deployment.order();
        let Some(shift) = order.shift.as_ref().filter(|shift| shift.back_to.is_none()) else {
            return Ok(None);
        };
        // The other side may have the same bytes, which is no way back.
        let is_same = order.fallback.as_ref().is_some_and(|fallback| is_same(fallback, deployment));
        if is_same && deployment.status() == Status::Succeeded {
            return Ok(None);
        }
        // Where it was not confirmed that the other side was ended, a part of it may be gone all the same.
        if shift.retires && deployment.stage() >= Some(Stage::Retire) {
            return Ok(None);
        }
        let group = rows::load::<Group>(&*self.base.table, &Group::key_of(&order.group_id)).await?;
        let newest = group.and_then(|group| group.row.slot.last_attempted);
        if newest.as_ref() != Some(deployment.id()) {
            return Ok(None);
        }
        let (revision, pin) = match &order.fallback {
            Some(fallback) => (fallback.revision.clone(), Some(fallback.pin.clone())),
            None => (order.revision.clone(), deployment.pin().cloned()),
        };
        let mut request = Request::new(revision, pin);
        request.is_way_back = true;
        request.rolls_back = Some(deployment.id().clone());
        let carrier = self.carriers.read(&shift.carrier)?;
        let way_back = carrier.way_back(deployment);
        let way_back = way_back.map_err(|error| unknown(shift.carrier.kind(), &error))?;
        let Some(way_back) = way_back else { return Ok(None) };
        request.shift = Some(way_back);
        request.config = Some(order.config.clone());
        request.description =
            Some(format!("Takes the traffic back to where it was before deployment {}", order.id));
        Ok(Some(request))
    }
}
