//! Waits of blue/green deployments that somebody ends, and what hook functions say (`docs/semantics.md#blue-green`).

use engine::deployment::{Deployment, Stage, Steering};
use wire::codedeploy::{
    ContinueDeployment, DeploymentWaitType, Empty, ErrorName, HookExecutionStatus,
    PutLifecycleEventHookExecutionStatus, PutLifecycleEventHookExecutionStatusOutput,
};

use super::hooks::Taken;
use super::{refuse, text};
use crate::rows::HookStatus;
use crate::{Error, OperatorApi};

impl OperatorApi {
    /// `ContinueDeployment`.
    pub async fn continue_deployment(&self, request: &ContinueDeployment) -> Result<Empty, Error> {
        let wait = request.wait_type()?;
        self.steer_with(&request.deployment_id, |deployment, steering| match wait {
            DeploymentWaitType::ReadyWait => continue_ready(deployment, steering),
            DeploymentWaitType::TerminationWait => end_keep(deployment, steering),
        })
        .await
    }

    /// `PutLifecycleEventHookExecutionStatus`.
    pub async fn put_lifecycle_event_hook_execution_status(
        &self,
        request: &PutLifecycleEventHookExecutionStatus,
    ) -> Result<PutLifecycleEventHookExecutionStatusOutput, Error> {
        let deployment = self.known_deployment(&request.deployment_id).await?.row.deployment;
        let id = deployment.id();
        if deployment.hook_events().is_none() {
            let message = format!(
                "The deployment `{id}` has no hook functions: its hooks are scripts on hosts."
            );
            return Err(refuse(ErrorName::UnsupportedActionForDeploymentType, message));
        }
        let status = match request.required_status()? {
            HookExecutionStatus::Succeeded => HookStatus::Succeeded,
            HookExecutionStatus::Failed => HookStatus::Failed,
        };
        let secret = text(&request.lifecycle_event_hook_execution_id);
        match self.take_hook_status(&deployment, secret, status).await? {
            Taken::Now => Ok(PutLifecycleEventHookExecutionStatusOutput {
                lifecycle_event_hook_execution_id: Some(secret.to_owned()),
            }),
            Taken::Before => {
                let message = "The hook has said how it went already, and something else than this. What it said first counts.";
                Err(refuse(ErrorName::LifecycleEventAlreadyCompleted, message))
            }
            Taken::Unknown => {
                let message = format!(
                    "No hook of the deployment `{id}` was called with this id. Give the LifecycleEventHookExecutionId of the \
                     function's own event."
                );
                Err(refuse(ErrorName::InvalidLifecycleEventHookExecutionId, message))
            }
        }
    }
}

fn has_shift(deployment: &Deployment) -> Result<Stage, Error> {
    deployment.stage().ok_or_else(|| {
        let message = format!(
            "The deployment `{}` is in place and waits for nobody. To end the bake of a step, use SkipBake.",
            deployment.id()
        );
        refuse(ErrorName::UnsupportedActionForDeploymentType, message)
    })
}

fn continue_ready(deployment: &Deployment, steering: &mut Steering) -> Result<(), Error> {
    if has_shift(deployment)? != Stage::Ready {
        let message = format!(
            "The deployment `{}` is not in the status Ready. Ask for it again, and continue it when it is.",
            deployment.id()
        );
        return Err(refuse(ErrorName::DeploymentIsNotInReadyState, message));
    }
    steering.continued = true;
    Ok(())
}

fn end_keep(deployment: &Deployment, steering: &mut Steering) -> Result<(), Error> {
    if has_shift(deployment)? != Stage::Keep {
        let message = format!(
            "The deployment `{}` does not wait with the old instances: not all of its traffic has moved.",
            deployment.id()
        );
        return Err(refuse(ErrorName::InvalidDeploymentStatus, message));
    }
    steering.ends_wait = true;
    Ok(())
}
