//! The host's side of the host protocol: one question, one answer. When to ask again is the caller's business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::DeploymentId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use wire::host::{
    ClaimRequest, ClaimResponse, Offer, PollRequest, PollResponse, Refusal, RefusalCode,
    ReportRequest, ReportResponse,
};

use crate::http::{self, HttpError, Trust};

/// The file in the state directory that says where home is.
pub(crate) const CONNECTION_FILE: &str = "connection.json";

/// How long an ordinary question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may be; an honest one is a few kilobytes.
const ANSWER_BYTES: usize = 4 << 20;

/// Where home is and who this host is: the content of `connection.json` in the agent's state directory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The base URL of the API, such as `http://127.0.0.1:7070`.
    pub api: String,
    /// The host's name.
    pub host: String,
    /// The host's key.
    pub key: String,
}

/// Why a question has no good answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("home cannot be reached: {0}")]
    Unreachable(String),
    #[error("home answered with HTTP {0}")]
    Status(u16),
    #[error("{} ({:?})", .0.message, .0.code)]
    Refused(Refusal),
}

/// Asks home.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    path: PathBuf,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("Connection")
            .field("api", &self.api)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// # Errors
    /// The HTTP client cannot be made.
    pub(crate) fn new(state: &Path) -> Result<Self, HttpError> {
        let http = http::builder(Trust::Nobody)?
            .no_proxy()
            .connect_timeout(Duration::from_secs(3))
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self { http, path: state.join(CONNECTION_FILE), connection: Mutex::new(None) })
    }

    /// Asks what is to be done.
    pub(crate) async fn poll(
        &self,
        busy: Vec<DeploymentId>,
        wait_ms: u64,
    ) -> Result<PollResponse, CallError> {
        let connection = self.connection()?;
        let host = connection.host.clone();
        let runner_version = env!("CARGO_PKG_VERSION").to_owned();
        let request = PollRequest { host, busy, wait_ms, runner_version };
        let patience = PATIENCE + Duration::from_millis(wait_ms);
        self.ask(&connection, "poll", &connection.key, &request, patience).await
    }

    /// Claims what was offered.
    pub(crate) async fn claim(&self, offer: &Offer) -> Result<ClaimResponse, CallError> {
        let connection = self.connection()?;
        let request = ClaimRequest { host: connection.host.clone(), offer: offer.clone() };
        self.ask(&connection, "claim", &connection.key, &request, PATIENCE).await
    }

    /// Reports how a command stands.
    pub(crate) async fn report(
        &self,
        token: &str,
        request: &ReportRequest,
    ) -> Result<ReportResponse, CallError> {
        let connection = self.connection()?;
        self.ask(&connection, "report", token, request, PATIENCE).await
    }

    /// Begins to fetch a bundle.
    pub(crate) async fn fetch(&self, url: &str) -> Result<reqwest::Response, CallError> {
        let response = self.http.get(url).send().await.map_err(|error| unreachable_by(&error))?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(CallError::Status(status.as_u16())) }
    }

    fn connection(&self) -> Result<Arc<Connection>, CallError> {
        let mut known = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = &*known {
            return Ok(Arc::clone(connection));
        }
        let read = || -> std::io::Result<Connection> {
            Ok(serde_json::from_slice(&std::fs::read(&self.path)?)?)
        };
        let connection = Arc::new(read().map_err(|error| {
            CallError::Unreachable(format!("`{}`: {error}", self.path.display()))
        })?);
        *known = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// A home that does not answer may have moved, so that the file is read again for the next question.
    fn forget_connection(&self) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        connection: &Connection,
        what: &str,
        bearer: &str,
        question: &Q,
        patience: Duration,
    ) -> Result<A, CallError> {
        let url = format!("{}/cutover/v1/host/{what}", connection.api.trim_end_matches('/'));
        let request = self.http.post(url).bearer_auth(bearer).json(question).timeout(patience);
        let answer = self.answer(request).await;
        match &answer {
            Err(CallError::Refused(Refusal {
                code: RefusalCode::Superseded | RefusalCode::Invalid,
                ..
            }))
            | Ok(_) => {}
            Err(_) => self.forget_connection(),
        }
        let (status, body) = answer?;
        serde_json::from_slice(&body).map_err(|error| {
            CallError::Unreachable(format!(
                "its answer to a {what} (HTTP {status}) is not understood: {error}"
            ))
        })
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), CallError> {
        let mut response = request.send().await.map_err(|error| unreachable_by(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unreachable_by(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(CallError::Unreachable(format!(
                    "its answer is longer than {ANSWER_BYTES} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok((status.as_u16(), body));
        }
        if status.is_client_error()
            && let Ok(refusal) = serde_json::from_slice(&body)
        {
            return Err(CallError::Refused(refusal));
        }
        Err(CallError::Status(status.as_u16()))
    }
}

fn unreachable_by(error: &reqwest::Error) -> CallError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    CallError::Unreachable(text)
}

/// A wait that grows with each failure and is never quite the same on two hosts.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The next wait: `first` doubled with each failure, up to `most`, and up to a quarter more.
    pub(crate) fn next(&mut self, first: Duration, most: Duration) -> Duration {
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures = self.failures.saturating_add(1);
        wait + wait.mul_f64(jitter() / 4.0)
    }

    /// Forgets the failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number between 0 and 1 that differs from host to host; no secret depends on it.
fn jitter() -> f64 {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
