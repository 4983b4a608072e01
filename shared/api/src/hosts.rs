//! `/cutover/v1/host/…`: the host protocol.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use control::Control;
use http::{HeaderMap, Request, StatusCode, header};
use serde::de::DeserializeOwned;
use wire::host::{ClaimRequest, PollRequest, Refusal, RefusalCode, ReportRequest};

use crate::Api;
use crate::dispatch::refusal;

/// Largest body, in bytes: a report may bring much output.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// Holds the question for as long as the host wants. A host that goes away ends it.
pub(crate) async fn poll(State(api): State<Api>, request: Request<Body>) -> Response {
    match read::<PollRequest>(request).await {
        Ok((key, request)) => shown(api.control.poll(&key, &request).await),
        Err(refused) => refuse(&refused),
    }
}

pub(crate) async fn claim(State(api): State<Api>, request: Request<Body>) -> Response {
    match read::<ClaimRequest>(request).await {
        Ok((key, request)) => shown(api.control.claim(&key, &request).await),
        Err(refused) => refuse(&refused),
    }
}

pub(crate) async fn report(State(api): State<Api>, request: Request<Body>) -> Response {
    let read = read::<ReportRequest>(request).await;
    match read {
        Ok((token, request)) => {
            let control: Control = api.control;
            shown(Box::pin(control.report(&token, request)).await)
        }
        Err(refused) => refuse(&refused),
    }
}

/// The bearer's secret and the body.
async fn read<T: DeserializeOwned>(request: Request<Body>) -> Result<(String, T), Refusal> {
    let (parts, body) = request.into_parts();
    let secret = bearer(&parts.headers).ok_or_else(|| Refusal {
        code: RefusalCode::Unauthorized,
        message:
            "there is no `Authorization: Bearer …` header; send the host's key or the claim's token"
                .to_owned(),
    })?;
    let invalid = |message: String| Refusal { code: RefusalCode::Invalid, message };
    let body = to_bytes(body, BODY_MAX).await.map_err(|error| {
        invalid(format!("the body cannot be read: {error}; send at most {BODY_MAX} bytes"))
    })?;
    let request = serde_json::from_slice(&body)
        .map_err(|error| invalid(format!("the body is not understood: {error}; correct it")))?;
    Ok((secret, request))
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
}

fn shown<T: serde::Serialize>(outcome: Result<T, control::Error>) -> Response {
    match outcome {
        Ok(answer) => Json(answer).into_response(),
        Err(control::Error::Host(refused)) => refuse(&refused),
        Err(error) => {
            let refused = refusal(error);
            let status = StatusCode::from_u16(refused.name.status());
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(refused)).into_response()
        }
    }
}

fn refuse(refused: &Refusal) -> Response {
    let status = match refused.code {
        RefusalCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalCode::Superseded => StatusCode::CONFLICT,
        RefusalCode::Invalid => StatusCode::BAD_REQUEST,
    };
    (status, Json(refused)).into_response()
}
