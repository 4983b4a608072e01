//! One command that was pushed to this host: claimed by the secret of its batch, carried out as the agent does it, and
//! then the process ends (`docs/semantics.md#hosts`).
//!
//! Several may run at once, also beside an agent. What a group has on the host is guarded by the group's own lock. Copies
//! of one command wait for each other before they claim, since a claim takes the token from whoever claimed before:
//! `<state>/pushed/<deployment id>` is held by the one whose turn it is.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::DeploymentId;
use thiserror::Error;
use tokio::time::Instant;
use wire::host::{HostStatus, Offer, Refusal, RefusalCode};

use crate::client::{BackOff, CallError, Client, PushedCommand};
use crate::clock::awake;
use crate::command::{self, Done};
use crate::config::AgentConfig;
use crate::deleted;
use crate::group::Group;
use crate::host::Host;
use crate::http::HttpError;
use crate::journal::Journal;
use crate::remote::Claimed;
use crate::run::InterruptedHook;
use crate::stop::{END_WITHIN, Stop};

/// The directory of the files that say whose turn it is.
const TURNS: &str = "pushed";
/// How often another copy of the command is looked at.
const GLANCE: Duration = Duration::from_millis(100);
/// How often it is asked whether the API was heard of.
const LOOK: Duration = Duration::from_secs(1);

/// How a pushed command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushedEnd {
    /// The host's deployment has ended.
    Ended {
        /// How.
        status: HostStatus,
        /// Whether the API was told.
        is_delivered: bool,
        /// The hook that had to be ended, because the process was told to end.
        interrupted: Option<InterruptedHook>,
    },
    /// Another copy of the command, which this one has waited for, has carried it out.
    Copy {
        /// How that ended.
        status: HostStatus,
    },
    /// There is nothing to do.
    NotWanted {
        /// Why.
        reason: String,
    },
}

/// Why a pushed command could not be carried out at all.
#[derive(Debug, Error)]
pub enum PushError {
    /// The state directory cannot be used.
    #[error("the state directory `{}` cannot be used: run as root, on a disk that can be written to", path.display())]
    State {
        /// The directory, or what is in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no HTTP client.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The API does not know the batch by this secret.
    #[error(
        "{api} does not let this host claim a command of {batch}: {reason}. The command came too late or for another host; \
         look at the deployment, and deploy again if this host is still without it"
    )]
    Unauthorized {
        /// The API.
        api: String,
        /// The batch.
        batch: String,
        /// What it says.
        reason: String,
    },
    /// The API does not understand the claim.
    #[error(
        "{api} does not understand this runner: {reason}. Update the runner, or correct the address of the API"
    )]
    Refused {
        /// The API.
        api: String,
        /// What it says.
        reason: String,
    },
    /// The API did not answer in time.
    #[error(
        "nothing could be claimed from {api} in {seconds} s: {reason}. Check that this host reaches that address (routes, \
         security groups, DNS, certificates)"
    )]
    Unreachable {
        /// The API.
        api: String,
        /// How long it was tried.
        seconds: u64,
        /// What happened last.
        reason: String,
    },
    /// The process was told to end before it had claimed anything.
    #[error("told to end before anything was claimed")]
    ToldToEnd,
    /// The command did not end in time after the process was told to.
    #[error(
        "told to end, and not everything has ended in time; the group's next deployment on this host puts it right"
    )]
    NotEnded,
}

/// Carries out one pushed command, or ends it when `shutdown` is ready; then it has ended after 4 s, and what ran is
/// reported as interrupted: no later process takes it up.
///
/// A file operation may outlast this call in a thread of the runtime: end the runtime with `shutdown_background`.
///
/// # Errors
/// [`PushError`]: nothing was claimed, or nothing is known of how it ended.
pub async fn run_once(
    config: AgentConfig,
    command: PushedCommand,
    shutdown: impl Future<Output = ()>,
) -> Result<PushedEnd, PushError> {
    make_state(&config.state)?;
    let client = Arc::new(Client::of_batch(command.clone())?);
    let (asked, stop) = Stop::new(config.limits.grace_ms);
    let host = Host::new(config, stop);
    let mut work = pin!(work(&host, &client, &command));
    tokio::select! {
        biased;
        end = &mut work => return end,
        () = shutdown => {}
        () = is_lost(&host, &client) => tracing::error!(
            api = command.api,
            "the API was not heard of for too long: this command ends here"
        ),
    }
    let now = Instant::now();
    asked.send_replace(Some(now));
    tokio::time::timeout_at(now + END_WITHIN, work).await.unwrap_or(Err(PushError::NotEnded))
}

/// A host that never had a command has no state directory yet.
fn make_state(state: &Path) -> Result<(), PushError> {
    let make = || {
        if !state.is_dir() {
            std::fs::create_dir_all(state)?;
            // Users that hooks run as pass through it.
            std::fs::set_permissions(state, Permissions::from_mode(0o711))?;
        }
        Ok(())
    };
    make().map_err(|source| PushError::State { path: state.to_owned(), source })
}

async fn work(
    host: &Host,
    client: &Arc<Client>,
    command: &PushedCommand,
) -> Result<PushedEnd, PushError> {
    let id = &command.batch.deployment_id;
    let turn = tokio::select! {
        biased;
        _ = host.stop.asked() => return Err(PushError::ToldToEnd),
        turn = Turn::take(&host.config.state, id) => turn?,
    };
    let claimed = tokio::select! {
        biased;
        _ = host.stop.asked() => return Err(PushError::ToldToEnd),
        claimed = claim(host, client, command) => claimed?,
    };
    match claimed {
        Ok((offer, claimed)) => {
            let Done { status, is_delivered, interrupted } =
                command::carry_out(host, client, offer, &claimed).await;
            deleted::tidy(&host.config).await;
            // A command that was pushed is never left for later.
            let status = status.ok_or(PushError::NotEnded)?;
            Ok(PushedEnd::Ended { status, is_delivered, interrupted })
        }
        Err(reason) => Ok(match result_here(&host.config.state, id) {
            Some(status) if turn.has_waited => PushedEnd::Copy { status },
            Some(_) | None => PushedEnd::NotWanted { reason },
        }),
    }
}

/// Claims the command; the inner error says why there is nothing to do.
async fn claim(
    host: &Host,
    client: &Client,
    command: &PushedCommand,
) -> Result<Result<(Offer, Claimed), String>, PushError> {
    let patience = Duration::from_millis(host.config.limits.claim_within_ms);
    let began = Instant::now();
    let mut back_off = BackOff::default();
    let api = || command.api.clone();
    loop {
        let sent_at = awake();
        let groups = deleted::to_ask(&host.config);
        let error = match client.claim_batch(command, groups.clone()).await {
            Ok(answer) => {
                deleted::heard(&host.config.state, &groups, &answer.deleted_groups);
                return Ok(Ok((answer.offer, Claimed::new(answer.claim, sent_at))));
            }
            Err(CallError::Refused(Refusal { code, message: reason })) => match code {
                RefusalCode::Superseded => return Ok(Err(reason)),
                RefusalCode::Invalid => return Err(PushError::Refused { api: api(), reason }),
                RefusalCode::Unauthorized => {
                    let batch = command.batch.to_string();
                    return Err(PushError::Unauthorized { api: api(), batch, reason });
                }
            },
            Err(error @ (CallError::Unreachable(_) | CallError::Status(_))) => error,
        };
        tracing::debug!(%error, "claiming again soon");
        let wait = client.wait_for(&error, &mut back_off);
        if began.elapsed() + wait >= patience {
            let (seconds, reason) = (patience.as_secs(), error.to_string());
            return Err(PushError::Unreachable { api: api(), seconds, reason });
        }
        tokio::time::sleep(wait).await;
    }
}

/// Waits until the API, once it was heard of, has been silent for too long while no script runs. Nobody else ends a pushed command that waits
/// for a permission which cannot come.
async fn is_lost(host: &Host, client: &Client) {
    let most = Duration::from_millis(host.config.limits.orphaned_after_ms);
    loop {
        tokio::time::sleep(LOOK.min(most)).await;
        let is_silent = client.heard_at().is_some_and(|at| at.elapsed() >= most);
        if is_silent && !host.runs_hooks() {
            return;
        }
    }
}

/// How a deployment ended on this host, if it did.
fn result_here(state: &Path, id: &DeploymentId) -> Option<HostStatus> {
    let groups = Group::all(state).ok()?;
    groups.iter().find_map(|group| Journal::story(&group.deployment(id)).ok()?.finished)
}

/// The turn of one copy of a command: no other process on this host claims or carries it out meanwhile.
#[derive(Debug)]
struct Turn {
    /// Locked as long as it is open.
    _file: File,
    path: PathBuf,
    has_waited: bool,
}

impl Turn {
    /// Waits for the other copies of the command that came before.
    async fn take(state: &Path, id: &DeploymentId) -> Result<Self, PushError> {
        let dir = state.join(TURNS);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PushError::State { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed(&dir))?;
        clear(&dir);
        let path = dir.join(id.as_str());
        let mut has_waited = false;
        loop {
            if let Some(file) = try_turn(&path).map_err(failed(&path))? {
                return Ok(Self { _file: file, path, has_waited });
            }
            has_waited = true;
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Removed before it is unlocked. Who has it open already sees that it is another file by then.
        std::fs::remove_file(&self.path).unwrap_or_else(|error| tracing::warn!(%error));
    }
}

/// Takes the turn, unless another process has it.
fn try_turn(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    let (own, now) = (file.metadata()?, std::fs::metadata(path));
    let is_same = now.is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino()));
    Ok(is_same.then_some(file))
}

/// Removes what processes that died have left.
fn clear(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Ok(Some(_turn)) = try_turn(&path) {
            std::fs::remove_file(&path).unwrap_or_else(|error| tracing::debug!(%error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_turn_of_a_process_that_died_is_nobodys_and_its_file_goes() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join(TURNS);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("d-AAAAAAAAA"), "").unwrap();
        let id: DeploymentId = "d-BBBBBBBBB".parse().unwrap();
        let turn = Turn::take(state.path(), &id).await.unwrap();
        assert!(!turn.has_waited);
        let names = || std::fs::read_dir(&dir).unwrap().map(|it| it.unwrap().file_name());
        assert_eq!(names().collect::<Vec<_>>(), ["d-BBBBBBBBB"]);
        let second = {
            let (state, id) = (state.path().to_owned(), id.clone());
            tokio::spawn(async move { Turn::take(&state, &id).await })
        };
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(!second.is_finished());
        drop(turn);
        let second = second.await.unwrap().unwrap();
        assert!(second.has_waited);
        drop(second);
        assert_eq!(names().count(), 0);
    }
}
