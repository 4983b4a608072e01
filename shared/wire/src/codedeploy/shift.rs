//! Blue/green deployments that wait, and hook functions that say how they went (`docs/semantics.md#blue-green`).

use super::{ApiError, ErrorName, checks};

words! {
    /// What a deployment waits for.
    DeploymentWaitType {
        /// A person, before its traffic moves.
        ReadyWait = "READY_WAIT",
        /// The end of the time in which the old side is kept.
        TerminationWait = "TERMINATION_WAIT",
    }
}

shape! {
    /// Ends a wait of a blue/green deployment.
    ContinueDeployment {
        /// The deployment.
        deployment_id: String,
        /// A [`DeploymentWaitType`]; `READY_WAIT` unless said.
        deployment_wait_type: String,
    }
}

words! {
    /// What a hook function may say.
    HookExecutionStatus {
        /// The deployment may go on.
        Succeeded = "Succeeded",
        /// It may not.
        Failed = "Failed",
    }
}

shape! {
    /// Says how the hook function of a lifecycle event went.
    PutLifecycleEventHookExecutionStatus {
        /// The deployment.
        deployment_id: String,
        /// The id that the function was given.
        lifecycle_event_hook_execution_id: String,
        /// A [`HookExecutionStatus`].
        status: String,
    }
}

shape! {
    /// It was taken.
    PutLifecycleEventHookExecutionStatusOutput {
        /// The id that the function was given.
        lifecycle_event_hook_execution_id: String,
    }
}

impl ContinueDeployment {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id)?;
        self.wait_type().map(drop)
    }

    /// What the deployment shall wait for no longer.
    ///
    /// # Errors
    /// `InvalidDeploymentWaitType`.
    pub fn wait_type(&self) -> Result<DeploymentWaitType, ApiError> {
        let invalid = ErrorName::InvalidDeploymentWaitType;
        let given = checks::word(&self.deployment_wait_type, "deploymentWaitType", invalid)?;
        Ok(given.unwrap_or(DeploymentWaitType::ReadyWait))
    }
}

impl PutLifecycleEventHookExecutionStatus {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        checks::deployment_id(&self.deployment_id)?;
        let id = checks::given(&self.lifecycle_event_hook_execution_id);
        checks::ensure(id.is_some(), ErrorName::InvalidLifecycleEventHookExecutionId, || {
            "`lifecycleEventHookExecutionId` is missing; give the one that the function was called with".to_owned()
        })?;
        self.required_status().map(drop)
    }

    /// What the function says.
    ///
    /// # Errors
    /// `InvalidLifecycleEventHookExecutionStatus` where that is neither `Succeeded` nor `Failed`.
    pub fn required_status(&self) -> Result<HookExecutionStatus, ApiError> {
        let invalid = ErrorName::InvalidLifecycleEventHookExecutionStatus;
        let given = checks::word(&self.status, "status", invalid)?;
        given.ok_or_else(|| invalid.because("`status` is missing; say Succeeded or Failed"))
    }
}
