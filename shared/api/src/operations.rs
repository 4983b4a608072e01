//! `POST /`: operations as awsJson1.1 has them (`docs/semantics.md#api`).

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use engine::GroupId;
use http::{HeaderValue, Request, StatusCode, header};
use tracing::{error, info};
use wire::codedeploy::{ApiError, ErrorName};

use crate::Api;
use crate::dispatch::{begin, internal};

/// Largest body of a request, in bytes.
const BODY_MAX: usize = 1024 * 1024;

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

pub(crate) async fn call(State(api): State<Api>, request: Request<Body>) -> Response {
    let mut random = [0; 16];
    api.control.entropy.fill(&mut random);
    // A UUID, as every other id.
    let id = GroupId::from_random(random);
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
    let target = target.unwrap_or_default().to_owned();
    let outcome = answer(&api, &target, request).await;
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, body),
        Err(refused) => {
            info!(request = %id, target, error = %refused, "refused");
            let status = StatusCode::from_u16(refused.name.status());
            let body = serde_json::to_vec(&refused).unwrap_or_default();
            (status.unwrap_or(StatusCode::BAD_REQUEST), body)
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

async fn answer(api: &Api, target: &str, request: Request<Body>) -> Result<Vec<u8>, ApiError> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_MAX).await.map_err(|error| {
        let message = format!(
            "the body cannot be read: {error}; send at most {BODY_MAX} bytes, and all of them"
        );
        ErrorName::Serialization.because(message)
    })?;
    api.guard.check(&parts, &body).await?;
    let running = begin(target, api.control.clone(), &body)?;
    // On a task of its own: a client that goes away leaves nothing half done.
    tokio::spawn(running).await.unwrap_or_else(|failure| {
        error!(target, error = &failure as &dyn std::error::Error, "an operation broke down");
        Err(internal())
    })
}
