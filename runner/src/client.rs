//! The host's side of the host protocol: one question, one answer. When to ask again is the caller's business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::{DeploymentId, GroupId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;
use wire::host::{
    BatchClaimRequest, BatchClaimResponse, BatchKey, ClaimRequest, ClaimResponse, Offer,
    PollRequest, PollResponse, Refusal, RefusalCode, ReportRequest, ReportResponse,
};

use crate::failure::describe;
use crate::http::{Http, HttpError};

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

/// A command that was pushed to this host, as the push brought it.
#[derive(Clone, PartialEq, Eq)]
pub struct PushedCommand {
    /// The base URL of the API.
    pub api: String,
    /// The host's name.
    pub host: String,
    /// The batch that the command belongs to.
    pub batch: BatchKey,
    /// The batch's secret.
    pub secret: String,
}

/// Why a question has no good answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("the API cannot be reached: {0}")]
    Unreachable(String),
    #[error("the API answered with HTTP {0}")]
    Status(u16),
    #[error("{} ({:?})", .0.message, .0.code)]
    Refused(Refusal),
}

/// Asks home.
#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    access: Access,
    heard_at: Mutex<Option<Instant>>,
}

/// By what right this host asks.
#[derive(Debug)]
enum Access {
    /// By its key: it polls. Where home is stands in a file, and may change.
    Key { path: PathBuf, connection: Mutex<Option<Arc<Connection>>> },
    /// By the secret of the batch that was pushed to it.
    Batch(PushedCommand),
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

impl std::fmt::Debug for PushedCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushedCommand")
            .field("api", &self.api)
            .field("host", &self.host)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// The client of a host that polls.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub(crate) fn of_host(state: &Path) -> Result<Self, HttpError> {
        let path = state.join(CONNECTION_FILE);
        Self::new(Access::Key { path, connection: Mutex::new(None) })
    }

    /// The client of a host that a command was pushed to.
    ///
    /// # Errors
    /// The HTTP client cannot be made; also, if the API's address needs certificates of which the host has none.
    pub(crate) fn of_batch(command: PushedCommand) -> Result<Self, HttpError> {
        let api = command.api.clone();
        let client = Self::new(Access::Batch(command))?;
        client.http.for_url(&api)?;
        Ok(client)
    }

    fn new(access: Access) -> Result<Self, HttpError> {
        Ok(Self { http: Http::new()?, access, heard_at: Mutex::new(None) })
    }

    /// Whether the command was pushed, so that this process is the only one that will ever ask about it.
    pub(crate) fn is_pushed(&self) -> bool {
        matches!(self.access, Access::Batch(_))
    }

    /// The host's name, once it is known.
    pub(crate) fn host_name(&self) -> Option<String> {
        match &self.access {
            Access::Key { .. } => self.connection().ok().map(|known| known.host.clone()),
            Access::Batch(command) => Some(command.host.clone()),
        }
    }

    /// When home last said something that was understood, if it ever did.
    pub(crate) fn heard_at(&self) -> Option<Instant> {
        *lock(&self.heard_at)
    }

    /// Asks what is to be done.
    pub(crate) async fn poll(
        &self,
        busy: Vec<DeploymentId>,
        wait_ms: u64,
        kept_groups: Vec<GroupId>,
    ) -> Result<PollResponse, CallError> {
        let connection = self.connection()?;
        let host = connection.host.clone();
        let runner_version = env!("CARGO_PKG_VERSION").to_owned();
        let request = PollRequest { host, busy, wait_ms, runner_version, kept_groups };
        let patience = PATIENCE + Duration::from_millis(wait_ms);
        self.ask(&connection.api, "poll", &connection.key, &request, patience).await
    }

    /// Claims what was offered, for the first time or again.
    pub(crate) async fn claim(&self, offer: &Offer) -> Result<ClaimResponse, CallError> {
        match &self.access {
            Access::Batch(command) => {
                self.claim_batch(command, Vec::new()).await.map(|answer| answer.claim)
            }
            Access::Key { .. } => {
                let connection = self.connection()?;
                let request = ClaimRequest { host: connection.host.clone(), offer: offer.clone() };
                self.ask(&connection.api, "claim", &connection.key, &request, PATIENCE).await
            }
        }
    }

    /// Claims the command that a batch has for this host, and asks which of some groups were deleted.
    pub(crate) async fn claim_batch(
        &self,
        command: &PushedCommand,
        kept_groups: Vec<GroupId>,
    ) -> Result<BatchClaimResponse, CallError> {
        let PushedCommand { api, host, batch, secret } = command;
        let (host, batch_key) = (host.clone(), batch.clone());
        let request = BatchClaimRequest { host, batch: batch_key, kept_groups };
        let answer: BatchClaimResponse =
            self.ask(api, "batch/claim", secret, &request, PATIENCE).await?;
        let (offered, specified) = (&answer.offer, &answer.claim.specification);
        let wanted = &batch.deployment_id;
        if offered.deployment_id == *wanted && specified.deployment_id == *wanted {
            return Ok(answer);
        }
        let other = &offered.deployment_id;
        Err(CallError::Unreachable(format!("its answer to a claim of {batch} is about {other}")))
    }

    /// Reports how a command stands.
    pub(crate) async fn report(
        &self,
        token: &str,
        request: &ReportRequest,
    ) -> Result<ReportResponse, CallError> {
        match &self.access {
            Access::Batch(command) => {
                self.ask(&command.api, "report", token, request, PATIENCE).await
            }
            Access::Key { .. } => {
                let connection = self.connection()?;
                self.ask(&connection.api, "report", token, request, PATIENCE).await
            }
        }
    }

    /// Begins to fetch a bundle.
    pub(crate) async fn fetch(&self, url: &str) -> Result<reqwest::Response, CallError> {
        let http = self.client_for(url)?;
        let response = http.get(url).send().await.map_err(unreachable_by)?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(CallError::Status(status.as_u16())) }
    }

    /// How long to wait before a question is asked again. A home that is not there is looked for often; the address of a
    /// push is that of a whole fleet, which spares it.
    pub(crate) fn wait_for(&self, error: &CallError, back_off: &mut BackOff) -> Duration {
        let most = match error {
            CallError::Unreachable(_) if !self.is_pushed() => Duration::from_millis(600),
            CallError::Unreachable(_) | CallError::Status(_) | CallError::Refused(_) => {
                Duration::from_secs(5)
            }
        };
        back_off.next(Duration::from_millis(200), most)
    }

    /// Waits until a question may be asked again.
    pub(crate) async fn wait_after(&self, error: &CallError, back_off: &mut BackOff) {
        tracing::debug!(%error, "asking again soon");
        tokio::time::sleep(self.wait_for(error, back_off)).await;
    }

    fn connection(&self) -> Result<Arc<Connection>, CallError> {
        let Access::Key { path, connection } = &self.access else {
            return Err(CallError::Unreachable(
                "a pushed command has no key of its host".to_owned(),
            ));
        };
        let mut known = lock(connection);
        if let Some(connection) = &*known {
            return Ok(Arc::clone(connection));
        }
        let read = || -> std::io::Result<Connection> {
            Ok(serde_json::from_slice(&std::fs::read(path)?)?)
        };
        let connection =
            Arc::new(read().map_err(|error| {
                CallError::Unreachable(format!("`{}`: {error}", path.display()))
            })?);
        *known = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// A home that does not answer may have moved, so that the file is read again for the next question.
    fn forget_connection(&self) {
        if let Access::Key { connection, .. } = &self.access {
            *lock(connection) = None;
        }
    }

    fn client_for(&self, url: &str) -> Result<&reqwest::Client, CallError> {
        self.http.for_url(url).map_err(|error| CallError::Unreachable(error.to_string()))
    }

    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        api: &str,
        what: &str,
        bearer: &str,
        question: &Q,
        patience: Duration,
    ) -> Result<A, CallError> {
        let url = format!("{}/cutover/v1/host/{what}", api.trim_end_matches('/'));
        let http = self.client_for(&url)?;
        let request = http.post(url).bearer_auth(bearer).json(question).timeout(patience);
        let answer = self.answer(request).await;
        if matches!(answer, Ok(_) | Err(CallError::Refused(_))) {
            *lock(&self.heard_at) = Some(Instant::now());
        }
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
        let mut response = request.send().await.map_err(unreachable_by)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable_by)? {
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

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unreachable_by(error: reqwest::Error) -> CallError {
    CallError::Unreachable(without_secrets(error))
}

/// An error with its causes. Of its URL only the origin is told: the query of a bundle's URL opens the bundle.
pub(crate) fn without_secrets(error: reqwest::Error) -> String {
    let at = error.url().map(|url| format!("{}: ", url.origin().ascii_serialization()));
    format!("{}{}", at.unwrap_or_default(), describe(&error.without_url()))
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
