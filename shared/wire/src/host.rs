//! The host protocol, under `/cutover/v1/host/`: JSON over HTTP, always asked by the host.
//!
//! A host *polls* (held by the server until there is work), *claims* what it was offered and receives a token and the
//! specification, and *reports* its cumulative state with that token. Each report answers whether the host may start
//! its next lifecycle event. Refusals are [`Refusal`] with HTTP 4xx.

use engine::appspec::FileExistsBehavior;
use engine::lifecycle::Event;
use engine::{DeploymentId, GroupId, IdError};
use serde::{Deserialize, Serialize};

/// `POST /cutover/v1/host/poll`, `Authorization: Bearer <host key>`: is there something to do?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollRequest {
    /// The host's name.
    pub host: String,
    /// What the host is doing already; it is not offered again.
    #[serde(default)]
    pub busy: Vec<DeploymentId>,
    /// How long the server may hold the question, in milliseconds; it answers sooner when there is work, and holds no
    /// question for longer than 50 s.
    pub wait_ms: u64,
    /// The version of the runner.
    pub runner_version: String,
    /// Deployment groups that the host keeps something for; said now and then, to hear which of them were deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_groups: Vec<GroupId>,
}

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollResponse {
    /// What waits to be claimed; empty if nothing came up in time.
    pub offers: Vec<Offer>,
    /// How long the host waits before it polls again if nothing was offered, in milliseconds; unsaid, it polls at once.
    /// A server that cannot hold a question says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_after_ms: Option<u64>,
    /// Of the groups that the host keeps something for, those that there are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted_groups: Vec<GroupId>,
}

/// A command that a host may claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The host's ordinal in it.
    pub ordinal: u32,
    /// The attempt, from 1.
    pub attempt: u8,
}

/// `POST /cutover/v1/host/claim`, `Authorization: Bearer <host key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRequest {
    /// The host's name.
    pub host: String,
    /// What is claimed.
    pub offer: Offer,
}

/// `POST /cutover/v1/host/batch/claim`, `Authorization: Bearer <secret of the batch>`: how a host claims whose command
/// was pushed to it. The push names the batch and not the host, so the host says who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchClaimRequest {
    /// The host's name: its instance id.
    pub host: String,
    /// The batch that the command came with.
    pub batch: BatchKey,
    /// As in a poll.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_groups: Vec<GroupId>,
}

/// The answer to a batch claim: the command, and what a claim of it gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchClaimResponse {
    /// The command that was claimed; reports name it.
    pub offer: Offer,
    /// What a claim gives.
    #[serde(flatten)]
    pub claim: ClaimResponse,
    /// As in the answer to a poll.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted_groups: Vec<GroupId>,
}

/// A dispatch batch: a deployment's id, a slash, and the batch's number in it, as `d-A1B2C3D4E/12`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchKey {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The batch's number.
    pub number: u32,
}

impl std::fmt::Display for BatchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.deployment_id, self.number)
    }
}

impl std::str::FromStr for BatchKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError { kind: "batch", text: text.to_owned() };
        let (deployment, number) = text.split_once('/').ok_or_else(wrong)?;
        let is_number =
            (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
        Ok(Self { deployment_id: deployment.parse()?, number })
    }
}

impl TryFrom<String> for BatchKey {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<BatchKey> for String {
    fn from(key: BatchKey) -> Self {
        key.to_string()
    }
}

/// What a host needs for one command. Claiming again gives a new token and makes the old one void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimResponse {
    /// The bearer token for reports of this command.
    pub token: String,
    /// What to do.
    pub specification: Specification,
    /// Where to fetch the bundle with a plain GET; short-lived.
    pub bundle_url: String,
    /// How long the permission to start events lasts from this answer, in milliseconds.
    pub lease_ms: u64,
    /// Events that an earlier claim of this command already reported as ended; the runner's own journal decides.
    #[serde(default)]
    pub reported: Vec<EventReport>,
    /// Whether events may start. If not, the deployment was halted after an earlier claim: the token is there for the host
    /// to report what it knows, and for nothing else.
    #[serde(default = "yes")]
    pub proceed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn yes() -> bool {
    true
}

/// What is to be done on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Specification {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The application's name.
    pub application_name: String,
    /// The group's name.
    pub deployment_group_name: String,
    /// The group's id; what the host keeps for the group is kept under it.
    pub deployment_group_id: GroupId,
    /// The fencing number: a host refuses a lower one than it has seen for the group.
    pub generation: u64,
    /// Who asked: `user`, `codeDeployRollback` …
    pub creator: String,
    /// The bundle.
    pub bundle: Bundle,
    /// What to do with files that are already there, unless the AppSpec says.
    pub file_exists_behavior: FileExistsBehavior,
    /// Whether a failed ApplicationStop is passed over.
    pub ignore_application_stop_failures: bool,
    /// The events to run, in order.
    pub events: Vec<Event>,
    /// The event that the host begins only when it is told to; none where all follow each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_before: Option<Event>,
    /// Whether a hook that was interrupted by the runner's death is run again.
    pub rerun_interrupted: bool,
}

/// A bundle, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    /// The bucket that it was uploaded to (`BUNDLE_BUCKET` of hooks).
    pub bucket: String,
    /// Its key there (`BUNDLE_KEY`).
    pub key: String,
    /// The object's version, where the bucket has versions (`BUNDLE_VERSION`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The object's ETag without quotes (`BUNDLE_ETAG`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    /// SHA-256 of the bytes, lower-case hex; checked before anything is unpacked.
    pub sha256: String,
    /// The size in bytes.
    pub size: u64,
}

/// `POST /cutover/v1/host/report`, `Authorization: Bearer <token of the claim>`: the whole state, every time.
///
/// A report whose `sequence` is not higher than that of one that was already taken changes nothing, and is answered all the
/// same. So a host asks whether its next script may start: by a report with the sequence [`ReportRequest::QUESTION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportRequest {
    /// The deployment.
    pub deployment_id: DeploymentId,
    /// The host's ordinal in it.
    pub ordinal: u32,
    /// The attempt that was claimed.
    pub attempt: u8,
    /// Rises with each report of this command, also over a restart of the runner.
    pub sequence: u64,
    /// Where the host stands.
    pub status: HostStatus,
    /// Each event of the specification, in order.
    pub events: Vec<EventReport>,
    /// Output since the last report, where the server follows the logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<OutputChunk>,
}

impl ReportRequest {
    /// The sequence of a report that tells nothing, and only asks for its answer.
    pub const QUESTION: u64 = 0;
}

/// Where a host stands in a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostStatus {
    /// Working.
    InProgress,
    /// All events ended well.
    Succeeded,
    /// An event failed, or the host was told to begin nothing more, and the rest was skipped.
    Failed,
}

/// One lifecycle event on one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventReport {
    /// Which event.
    pub event: Event,
    /// How it stands.
    pub status: EventStatus,
    /// When it began, by the host's clock, in UTC milliseconds: shown, never compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When it ended, by the host's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// How it ended; none before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<EventDiagnostics>,
}

/// CodeDeploy's status of a lifecycle event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventStatus {
    /// Not begun.
    Pending,
    /// Running.
    InProgress,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Left out: an earlier one failed; or, with diagnostics that say why, the host was told to begin nothing more.
    Skipped,
    /// Nobody knows: the host was not heard of again.
    Unknown,
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventDiagnostics {
    /// CodeDeploy's code.
    pub error_code: ErrorCode,
    /// The script that failed, as the AppSpec names it; empty if none did.
    pub script_name: String,
    /// What happened, and what to do.
    pub message: String,
    /// The end of the event's output, at most 64 KiB, valid UTF-8.
    pub log_tail: String,
}

/// CodeDeploy's error codes of a lifecycle event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    /// Ended well.
    Success,
    /// The script is not in the bundle.
    ScriptMissing,
    /// The script could not be made executable.
    ScriptNotExecutable,
    /// The script took too long.
    ScriptTimedOut,
    /// The script ended with another code than 0.
    ScriptFailed,
    /// Everything else: the bundle, the files, the runner, an interruption.
    UnknownError,
}

/// A piece of output that somebody follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputChunk {
    /// The event that printed it.
    pub event: Event,
    /// Where it begins in the event's output, in bytes.
    pub offset: u64,
    /// The text; invalid UTF-8 was replaced.
    pub text: String,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportResponse {
    /// Whether the next script may start. If not, the host ends its command now: a script that runs is left to end, what
    /// would follow is skipped.
    pub proceed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long this permission lasts, in milliseconds.
    pub lease_ms: u64,
    /// Whether somebody follows the output, so that it shall be sent as it comes.
    pub follow: bool,
    /// How it stands with the balancer, where the host waits in an event of its.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficAnswer>,
}

/// How an event of the balancer stands, in which a host waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficAnswer {
    /// The event.
    pub event: Event,
    /// Whether it is over, and went well.
    pub done: bool,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// How soon the host reports again while it is neither, in milliseconds.
    pub again_after_ms: u64,
}

/// Why a poll, a claim or a report was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// What kind.
    pub code: RefusalCode,
    /// What happened, and what to do.
    pub message: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalCode {
    /// 401: the key or token is not known or not valid any more.
    Unauthorized,
    /// 409: the command was stopped, superseded or is finished; the host forgets it.
    Superseded,
    /// 400: the request is not understood.
    Invalid,
}
