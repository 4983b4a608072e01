//! awsJson1.1: which operation a request names, its body, its answer, its errors (`docs/semantics.md#api`).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::response::Response;
use control::{Error, OperatorApi};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tracing::{error, info, warn};
use wire::codedeploy::{self, ApiError, ErrorName, Request as _, decode};
use wire::cutover;

use crate::shared::Shared;

/// What the path of an operation that is called under its name begins with.
pub(crate) const NAMED: &str = "/codedeploy/";

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Answers a call of an operation.
pub(crate) async fn call(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let answer = answer(&shared, request).await;
    let mut response = match answer {
        Ok(body) => Response::new(Body::from(body)),
        Err(refused) => {
            let body = serde_json::to_vec(&refused).unwrap_or_default();
            let mut response = Response::new(Body::from(body));
            *response.status_mut() =
                StatusCode::from_u16(refused.name.status()).unwrap_or(StatusCode::BAD_REQUEST);
            response
        }
    };
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    if let Ok(id) = HeaderValue::from_str(&shared.operators.base.new_request_id()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

async fn answer(shared: &Shared, request: Request) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    let whole = Request::from_parts(parts.clone(), body);
    let body = Bytes::from_request(whole, &()).await.map_err(|rejected| {
        ErrorName::Serialization.because(format!("the body cannot be read: {rejected}"))
    })?;
    shared.guard.check(&parts, &body).await?;
    let target = target_of(&parts.headers)?;
    agree(parts.uri.path(), target)?;
    let running = begin(target, shared.operators.clone(), body)?;
    // On a task of its own: a client that goes away leaves nothing half done.
    let answered = tokio::spawn(running).await.unwrap_or_else(|broken| {
        error!(target, error = &broken as &dyn std::error::Error, "an operation broke down");
        Err(ErrorName::InternalFailure
            .because("the operation broke down; the log of the service says why"))
    });
    match &answered {
        Ok(_) => info!(target, "answered"),
        Err(refused) => {
            info!(target, code = refused.name.name(), message = refused.message, "refused");
        }
    }
    answered
}

type Running = BoxFuture<'static, Result<Vec<u8>, ApiError>>;

/// The operation that `target` names.
fn begin(target: &str, operators: OperatorApi, body: Bytes) -> Result<Running, ApiError> {
    if target.starts_with(cutover::PREFIX) {
        let operation = cutover::Operation::from_target(target)?;
        return Ok(own_operation(operators, operation, body));
    }
    Ok(operation(operators, codedeploy::Operation::from_target(target)?, body))
}

fn target_of(headers: &HeaderMap) -> Result<&str, ApiError> {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    target.ok_or_else(|| {
        ErrorName::UnknownOperation
            .because("the header X-Amz-Target is missing; use an AWS SDK or the AWS CLI")
    })
}

/// Whether a path that names an operation names that of `target`: who is in front of this may have decided by the path.
/// It is compared as it was sent, because with escapes it could be another one to them.
fn agree(path: &str, target: &str) -> Result<(), ApiError> {
    if path == "/" {
        return Ok(());
    }
    let named = path.strip_prefix(NAMED).unwrap_or_default();
    if target.split_once('.').is_some_and(|(_, operation)| operation == named) {
        return Ok(());
    }
    Err(ErrorName::AccessDenied.because(format!(
        "the path names the operation `{named}`, but the header X-Amz-Target `{target}`; send both for the same one"
    )))
}

/// Calls the use case of each operation: its method of [`OperatorApi`] has the operation's name.
macro_rules! calls {
    ($name:ident, $module:ident: $($operation:ident => $method:ident,)*) => {
        fn $name(operators: OperatorApi, operation: $module::Operation, body: Bytes) -> Running {
            match operation {
                $($module::Operation::$operation => Box::pin(async move {
                    let request: $module::$operation = decode(&body)?;
                    request.validate()?;
                    encode(operators.$method(&request).await)
                }),)*
            }
        }
    };
}

calls! { operation, codedeploy:
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
    ContinueDeployment => continue_deployment,
    PutLifecycleEventHookExecutionStatus => put_lifecycle_event_hook_execution_status,
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

calls! { own_operation, cutover:
    Subscribe => subscribe,
    Unsubscribe => unsubscribe,
    ListSubscriptions => list_subscriptions,
    GetGroupStatus => get_group_status,
    GetDeploymentLog => get_deployment_log,
    RollBackDeployment => roll_back_deployment,
    SetGroupOptions => set_group_options,
    CreateLadder => create_ladder,
    GetProgress => get_progress,
    SteerDeployment => steer_deployment,
    AddBalancer => add_balancer,
    ListBalancers => list_balancers,
    RemoveBalancer => remove_balancer,
}

/// The body of an answer; an answer without members has none.
fn encode<T: Serialize>(answer: Result<T, Error>) -> Result<Vec<u8>, ApiError> {
    let body = serde_json::to_vec(&answer.map_err(refusal)?);
    let body = body.map_err(|_| {
        ErrorName::InternalFailure.because("the answer cannot be written; report this")
    })?;
    Ok(if body == b"{}" { Vec::new() } else { body })
}

/// What a client is told of an error.
fn refusal(error: Error) -> ApiError {
    match error {
        Error::Refused(refused) => refused,
        Error::Host(refused) => ErrorName::InvalidInput.because(refused.message),
        error @ (Error::Table(_)
        | Error::Pin(_)
        | Error::Cloud(_)
        | Error::Balancer(_)
        | Error::Function(_)
        | Error::Service(_)
        | Error::Unreadable { .. }
        | Error::UnknownCarrier { .. }
        | Error::Newer { .. }
        | Error::Misdirected(_))
            if error.is_passing() =>
        {
            warn!(error = &error as &dyn std::error::Error, "cannot answer now");
            ErrorName::ServiceUnavailable.because(format!("{error}; try again"))
        }
        error @ (Error::Table(_)
        | Error::Pin(_)
        | Error::Cloud(_)
        | Error::Balancer(_)
        | Error::Function(_)
        | Error::Service(_)
        | Error::Unreadable { .. }
        | Error::UnknownCarrier { .. }
        | Error::Newer { .. }
        | Error::Misdirected(_)) => {
            error!(error = &error as &dyn std::error::Error, "cannot answer");
            ErrorName::InternalFailure.because(format!("{error}; the log of the service says more"))
        }
    }
}
