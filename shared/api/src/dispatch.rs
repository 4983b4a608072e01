//! Which use case answers which operation.

use std::pin::Pin;

use control::Control;
use serde::Serialize;
use tracing::error;
use wire::codedeploy::{ApiError, ErrorName, Request, decode};

/// An operation that goes on.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Vec<u8>, ApiError>> + Send>>;

macro_rules! dispatch {
    ($($service:ident { $($operation:ident => $method:ident,)* })*) => {
        $(mod $service {
            use super::{ApiError, Control, Running, answer, read};
            use wire::$service::Operation;

            /// Reads and checks the request of an operation, and begins it.
            pub(super) fn begin(
                operation: Operation,
                control: Control,
                body: &[u8],
            ) -> Result<Running, ApiError> {
                match operation {
                    $(Operation::$operation => {
                        let request = read::<wire::$service::$operation>(body)?;
                        Ok(Box::pin(async move { answer(control.$method(&request).await) }))
                    })*
                }
            }
        })*
    };
}

dispatch! {
    codedeploy {
        CreateApplication => create_application,
        GetApplication => get_application,
        BatchGetApplications => batch_get_applications,
        ListApplications => list_applications,
        UpdateApplication => update_application,
        DeleteApplication => delete_application,
        CreateDeploymentGroup => create_deployment_group,
        GetDeploymentGroup => get_deployment_group,
        BatchGetDeploymentGroups => batch_get_deployment_groups,
        ListDeploymentGroups => list_deployment_groups,
        UpdateDeploymentGroup => update_deployment_group,
        DeleteDeploymentGroup => delete_deployment_group,
        CreateDeploymentConfig => create_deployment_config,
        GetDeploymentConfig => get_deployment_config,
        ListDeploymentConfigs => list_deployment_configs,
        DeleteDeploymentConfig => delete_deployment_config,
        RegisterApplicationRevision => register_application_revision,
        GetApplicationRevision => get_application_revision,
        BatchGetApplicationRevisions => batch_get_application_revisions,
        ListApplicationRevisions => list_application_revisions,
        CreateDeployment => create_deployment,
        GetDeployment => get_deployment,
        BatchGetDeployments => batch_get_deployments,
        ListDeployments => list_deployments,
        StopDeployment => stop_deployment,
        ListDeploymentTargets => list_deployment_targets,
        GetDeploymentTarget => get_deployment_target,
        BatchGetDeploymentTargets => batch_get_deployment_targets,
        RegisterOnPremisesInstance => register_on_premises_instance,
        GetOnPremisesInstance => get_on_premises_instance,
        BatchGetOnPremisesInstances => batch_get_on_premises_instances,
        ListOnPremisesInstances => list_on_premises_instances,
        DeregisterOnPremisesInstance => deregister_on_premises_instance,
        AddTagsToOnPremisesInstances => add_tags_to_on_premises_instances,
        RemoveTagsFromOnPremisesInstances => remove_tags_from_on_premises_instances,
    }
    cutover {
        Subscribe => subscribe,
        Unsubscribe => unsubscribe,
        ListSubscriptions => list_subscriptions,
        GetGroupStatus => get_group_status,
        GetDeploymentLog => get_deployment_log,
        RollBackDeployment => roll_back_deployment,
        SetGroupOptions => set_group_options,
    }
}

/// Reads and checks the request of the operation that `target` names, and begins it.
pub(crate) fn begin(target: &str, control: Control, body: &[u8]) -> Result<Running, ApiError> {
    if target.starts_with("Cutover_v1.") {
        cutover::begin(wire::cutover::Operation::from_target(target)?, control, body)
    } else {
        codedeploy::begin(wire::codedeploy::Operation::from_target(target)?, control, body)
    }
}

fn read<R: Request>(body: &[u8]) -> Result<R, ApiError> {
    let request: R = decode(body)?;
    request.validate()?;
    Ok(request)
}

fn answer<T: Serialize>(outcome: Result<T, control::Error>) -> Result<Vec<u8>, ApiError> {
    let answer = outcome.map_err(refusal)?;
    serde_json::to_vec(&answer).map_err(|error| {
        error!(error = &error as &dyn std::error::Error, "an answer could not be written");
        internal()
    })
}

/// What a client is told of an error: its own mistakes in full, everything else in one sentence.
pub(crate) fn refusal(error: control::Error) -> ApiError {
    if let control::Error::Refused(refused) = error {
        return refused;
    }
    error!(error = &error as &dyn std::error::Error, "an operation failed");
    if error.is_passing() {
        let message = "The service cannot answer now. Try again in a moment.";
        return ErrorName::ServiceUnavailable.because(message);
    }
    internal()
}

/// The refusal for what nobody but the service is to blame for.
pub(crate) fn internal() -> ApiError {
    ErrorName::InternalFailure
        .because("The service failed to answer. Its log says why; report it if it stays.")
}
