//! Which operations there are, and what goes in and out of each.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::errors::{ApiError, ErrorName};

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

macro_rules! operations {
    ($($operation:ident => $response:ty,)*) => {
        /// The operations of CodeDeploy that Cutover has; the request of each is the structure of the same name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation {
            $(
                #[doc = concat!("`", stringify!($operation), "`.")]
                $operation,
            )*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$operation,)*];

            /// CodeDeploy's name of the operation.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$operation => stringify!($operation),)*
                }
            }

            /// Reads a value of `X-Amz-Target`.
            ///
            /// # Errors
            /// `UnknownOperationException` if it names none of these.
            pub fn from_target(target: &str) -> Result<Self, ApiError> {
                let name = target.strip_prefix("CodeDeploy_20141006.").unwrap_or_default();
                Self::ALL.iter().copied().find(|each| each.name() == name).ok_or_else(|| {
                    ErrorName::UnknownOperation.because(format!(
                        "there is no operation `{target}`; update the server if it is older than the client"
                    ))
                })
            }
        }

        $(impl Request for super::$operation {
            const TARGET: &'static str = concat!("CodeDeploy_20141006.", stringify!($operation));
            type Response = $response;

            fn validate(&self) -> Result<(), ApiError> {
                self.check()
            }
        })*
    };
}

operations! {
    CreateApplication => super::CreateApplicationOutput,
    GetApplication => super::GetApplicationOutput,
    BatchGetApplications => super::BatchGetApplicationsOutput,
    ListApplications => super::ListApplicationsOutput,
    UpdateApplication => Empty,
    DeleteApplication => Empty,
    CreateDeploymentGroup => super::CreateDeploymentGroupOutput,
    GetDeploymentGroup => super::GetDeploymentGroupOutput,
    BatchGetDeploymentGroups => super::BatchGetDeploymentGroupsOutput,
    ListDeploymentGroups => super::ListDeploymentGroupsOutput,
    UpdateDeploymentGroup => super::UpdateDeploymentGroupOutput,
    DeleteDeploymentGroup => super::DeleteDeploymentGroupOutput,
    CreateDeploymentConfig => super::CreateDeploymentConfigOutput,
    GetDeploymentConfig => super::GetDeploymentConfigOutput,
    ListDeploymentConfigs => super::ListDeploymentConfigsOutput,
    DeleteDeploymentConfig => Empty,
    RegisterApplicationRevision => Empty,
    GetApplicationRevision => super::GetApplicationRevisionOutput,
    BatchGetApplicationRevisions => super::BatchGetApplicationRevisionsOutput,
    ListApplicationRevisions => super::ListApplicationRevisionsOutput,
    CreateDeployment => super::CreateDeploymentOutput,
    GetDeployment => super::GetDeploymentOutput,
    BatchGetDeployments => super::BatchGetDeploymentsOutput,
    ListDeployments => super::ListDeploymentsOutput,
    StopDeployment => super::StopDeploymentOutput,
    ListDeploymentTargets => super::ListDeploymentTargetsOutput,
    GetDeploymentTarget => super::GetDeploymentTargetOutput,
    BatchGetDeploymentTargets => super::BatchGetDeploymentTargetsOutput,
    RegisterOnPremisesInstance => Empty,
    GetOnPremisesInstance => super::GetOnPremisesInstanceOutput,
    BatchGetOnPremisesInstances => super::BatchGetOnPremisesInstancesOutput,
    ListOnPremisesInstances => super::ListOnPremisesInstancesOutput,
    DeregisterOnPremisesInstance => Empty,
    AddTagsToOnPremisesInstances => Empty,
    RemoveTagsFromOnPremisesInstances => Empty,
}
// STUBS
impl super::CreateApplication {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::GetApplication {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::BatchGetApplications {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::ListApplications {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::UpdateApplication {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::DeleteApplication {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::CreateDeploymentGroup {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::GetDeploymentGroup {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::BatchGetDeploymentGroups {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::ListDeploymentGroups {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::UpdateDeploymentGroup {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::DeleteDeploymentGroup {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::CreateDeploymentConfig {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::GetDeploymentConfig {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::ListDeploymentConfigs {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::DeleteDeploymentConfig {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::RegisterApplicationRevision {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::GetApplicationRevision {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::BatchGetApplicationRevisions {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::ListApplicationRevisions {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::CreateDeployment {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::GetDeployment {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::BatchGetDeployments {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::ListDeployments {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::StopDeployment {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::ListDeploymentTargets {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::GetDeploymentTarget {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::BatchGetDeploymentTargets {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::RegisterOnPremisesInstance {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::GetOnPremisesInstance {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::BatchGetOnPremisesInstances {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::ListOnPremisesInstances {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::DeregisterOnPremisesInstance {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::AddTagsToOnPremisesInstances {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
impl super::RemoveTagsFromOnPremisesInstances {
    fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}
