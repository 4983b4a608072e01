//! Which operations there are, and what goes in and out of each.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;

/// The request of an operation.
pub trait Request: Serialize + DeserializeOwned {
    /// The value of `X-Amz-Target`.
    const TARGET: &'static str;
    /// The answer.
    type Response: Serialize + DeserializeOwned;

    /// Checks what can be checked without stored state.
    ///
    /// # Errors
    /// The first thing that is wrong, as CodeDeploy names it.
    fn validate(&self) -> Result<(), ApiError>;
}

/// The answer of an operation that has nothing to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// Reads a body; an empty one is `{}`.
///
/// # Errors
/// `SerializationException` if it is no JSON object, or a member is of the wrong type.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // A structure is also read from an array of its members; the protocol knows only objects.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ErrorName::Serialization.because("the body is no JSON object; send `{…}`"));
    }
    serde_json::from_slice(body).map_err(|error| {
        ErrorName::Serialization.because(format!("the body cannot be read: {error}; correct it"))
    })
}

operations! {
    "CodeDeploy_20141006.",
    /// The operations of CodeDeploy that Cutover has; the request of each is the structure of the same name.
    CreateApplication => CreateApplicationOutput,
    GetApplication => GetApplicationOutput,
    BatchGetApplications => BatchGetApplicationsOutput,
    ListApplications => ListApplicationsOutput,
    UpdateApplication => Empty,
    DeleteApplication => Empty,
    CreateDeploymentGroup => CreateDeploymentGroupOutput,
    GetDeploymentGroup => GetDeploymentGroupOutput,
    BatchGetDeploymentGroups => BatchGetDeploymentGroupsOutput,
    ListDeploymentGroups => ListDeploymentGroupsOutput,
    UpdateDeploymentGroup => UpdateDeploymentGroupOutput,
    DeleteDeploymentGroup => DeleteDeploymentGroupOutput,
    CreateDeploymentConfig => CreateDeploymentConfigOutput,
    GetDeploymentConfig => GetDeploymentConfigOutput,
    ListDeploymentConfigs => ListDeploymentConfigsOutput,
    DeleteDeploymentConfig => Empty,
    RegisterApplicationRevision => Empty,
    GetApplicationRevision => GetApplicationRevisionOutput,
    BatchGetApplicationRevisions => BatchGetApplicationRevisionsOutput,
    ListApplicationRevisions => ListApplicationRevisionsOutput,
    CreateDeployment => CreateDeploymentOutput,
    GetDeployment => GetDeploymentOutput,
    BatchGetDeployments => BatchGetDeploymentsOutput,
    ListDeployments => ListDeploymentsOutput,
    StopDeployment => StopDeploymentOutput,
    ContinueDeployment => Empty,
    PutLifecycleEventHookExecutionStatus => PutLifecycleEventHookExecutionStatusOutput,
    ListDeploymentTargets => ListDeploymentTargetsOutput,
    GetDeploymentTarget => GetDeploymentTargetOutput,
    BatchGetDeploymentTargets => BatchGetDeploymentTargetsOutput,
    RegisterOnPremisesInstance => Empty,
    GetOnPremisesInstance => GetOnPremisesInstanceOutput,
    BatchGetOnPremisesInstances => BatchGetOnPremisesInstancesOutput,
    ListOnPremisesInstances => ListOnPremisesInstancesOutput,
    DeregisterOnPremisesInstance => Empty,
    AddTagsToOnPremisesInstances => Empty,
    RemoveTagsFromOnPremisesInstances => Empty,
}
