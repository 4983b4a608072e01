//! The host protocol over HTTP: bearer keys and tokens, JSON bodies, refusals as HTTP 4xx.

use std::future::Future;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use control::Error;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;
use wire::host::{BatchKey, Refusal, RefusalCode};

use crate::shared::Shared;

/// `POST /cutover/v1/host/poll`.
pub(crate) async fn poll(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&headers, &body, async |key, request| shared.hosts.poll(&key, &request).await).await
}

/// `POST /cutover/v1/host/claim`.
pub(crate) async fn claim(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&headers, &body, async |key, request| shared.hosts.claim(&key, &request).await).await
}

/// `POST /cutover/v1/host/batch/claim`.
pub(crate) async fn claim_batch(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&headers, &body, async |secret, request| {
        shared.hosts.claim_batch(&secret, &request).await
    })
    .await
}

/// What `GET /cutover/v1/host/runner` is asked with.
#[derive(Debug, Deserialize)]
pub(crate) struct RunnerQuery {
    batch: BatchKey,
    digest: String,
}

/// `GET /cutover/v1/host/runner`: leads to where the runner can be fetched.
pub(crate) async fn runner(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    query: Result<Query<RunnerQuery>, QueryRejection>,
) -> Response {
    let Query(RunnerQuery { batch, digest }) = match query {
        Ok(query) => query,
        Err(error) => {
            return refuse(RefusalCode::Invalid, format!("the query cannot be read: {error}"));
        }
    };
    let Some(secret) = bearer(&headers) else { return unidentified() };
    match shared.hosts.runner_url(&secret, &batch, &digest).await {
        Ok(url) => Redirect::temporary(&url).into_response(),
        Err(error) => failed(error),
    }
}

/// `POST /cutover/v1/host/report`.
pub(crate) async fn report(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&headers, &body, async |token, request| shared.hosts.report(&token, request).await).await
}

async fn answer<Q, A, F>(
    headers: &HeaderMap,
    body: &[u8],
    ask: impl FnOnce(String, Q) -> F,
) -> Response
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Future<Output = Result<A, Error>>,
{
    let Some(secret) = bearer(headers) else { return unidentified() };
    let request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => {
            return refuse(RefusalCode::Invalid, format!("the body cannot be read: {error}"));
        }
    };
    match ask(secret, request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => failed(error),
    }
}

fn failed(error: Error) -> Response {
    if let Error::Host(Refusal { code, message }) = error {
        return refuse(code, message);
    }
    warn!(error = &error as &dyn std::error::Error, "cannot answer a host now");
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}; try again")).into_response()
}

fn unidentified() -> Response {
    let message = "send `Authorization: Bearer <key, token or secret>`".to_owned();
    refuse(RefusalCode::Unauthorized, message)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    Some(value.strip_prefix("Bearer ")?.trim().to_owned())
}

fn refuse(code: RefusalCode, message: String) -> Response {
    let status = match code {
        RefusalCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalCode::Superseded => StatusCode::CONFLICT,
        RefusalCode::Invalid => StatusCode::BAD_REQUEST,
    };
    (status, Json(Refusal { code, message })).into_response()
}
