//! Why deployments do not succeed.

use serde::{Deserialize, Serialize};

use super::status::Status;
use crate::Timestamp;

/// Why a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// CodeDeploy's code.
    pub code: FailureCode,
    /// What happened, and what to do.
    pub message: String,
}

/// CodeDeploy's error codes of a deployment, as far as they occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureCode {
    /// Too many hosts failed.
    HealthConstraints,
    /// The configuration leaves no host that may be taken out.
    HealthConstraintsInvalid,
    /// The group has no hosts.
    NoInstances,
    /// The object is not in the bucket.
    RevisionMissing,
    /// The object is no valid bundle.
    InvalidRevision,
    /// Somebody asked for it.
    ManualStop,
    /// An alarm fires, or cannot be read.
    AlarmActive,
    /// It took too long.
    Timeout,
    /// A hook function failed, or did not say how it went.
    HookFailed,
    /// The function, its alias or its versions are not as the revision says.
    InvalidFunction,
    /// The service is not as it has to be.
    InvalidService,
    /// The tasks of the new version do not run, or a side of the service could not be ended.
    TasksFailed,
    /// The target groups cannot carry the deployment.
    InvalidBalancer,
    /// The Auto Scaling group cannot be copied, or its copy has no instances.
    AutoScalingConfiguration,
    /// Commands to hosts are denied.
    IamRolePermissions,
}

impl Failure {
    /// The status of a deployment that ends for this reason.
    pub(super) fn status(&self) -> Status {
        match self.code {
            FailureCode::ManualStop | FailureCode::AlarmActive => Status::Stopped,
            FailureCode::HealthConstraints
            | FailureCode::HealthConstraintsInvalid
            | FailureCode::NoInstances
            | FailureCode::RevisionMissing
            | FailureCode::InvalidRevision
            | FailureCode::Timeout
            | FailureCode::HookFailed
            | FailureCode::InvalidFunction
            | FailureCode::InvalidService
            | FailureCode::TasksFailed
            | FailureCode::InvalidBalancer
            | FailureCode::AutoScalingConfiguration
            | FailureCode::IamRolePermissions => Status::Failed,
        }
    }
}

/// A failure that is known before the deployment ends for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) at: Timestamp,
    pub(super) why: Failure,
}
