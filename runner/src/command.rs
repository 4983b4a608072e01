//! One command from its claim to the answer to its last report.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use durable::Disk;
use engine::DeploymentId;
use thiserror::Error;
use wire::host::{ClaimResponse, HostStatus, Offer};

use crate::client::Client;
use crate::config::AgentConfig;
use crate::events::{End, InterruptedHook, Run, RunError, TOLD_TO_END, pending};
use crate::group::{Group, GroupLock};
use crate::install::{self, Recovery};
use crate::journal::Journal;
use crate::lease::{self, Lease};
use crate::process::{self, PID_FILE};
use crate::stop::Stop;

/// How long after the wish to end a last report is still tried.
const LAST_WORD: Duration = Duration::from_millis(3_600);

/// What all commands of an agent share.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: AgentConfig,
    pub(crate) client: Arc<Client>,
    pub(crate) stop: Stop,
    /// How many scripts run.
    pub(crate) hooks: AtomicUsize,
}

impl Host {
    /// Whether a script runs.
    pub(crate) fn runs_hooks(&self) -> bool {
        self.hooks.load(Ordering::Acquire) > 0
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Done {
    /// How it ended; none, if the next agent goes on with it.
    pub(crate) status: Option<HostStatus>,
    /// Whether home was told, or wants no report of it any more.
    pub(crate) is_delivered: bool,
    /// The hook that had to be ended.
    pub(crate) interrupted: Option<InterruptedHook>,
}

/// Why a command could not be carried out at all.
#[derive(Debug, Error)]
enum CommandError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("an install that was interrupted could not be put right: {0}")]
    Recover(String),
    #[error(
        "the command is superseded: this host has seen generation {seen} of the group, and this one is {own}"
    )]
    Superseded { seen: u64, own: u64 },
    #[error("{TOLD_TO_END}")]
    ToldToEnd,
}

/// Carries out what was offered, or what an earlier agent began. Returns the hook that had to be interrupted, if any.
pub(crate) async fn execute(host: &Host, offer: Offer) -> Option<InterruptedHook> {
    let claimed = tokio::select! {
        biased;
        _ = host.stop.asked() => return None,
        claimed = lease::claim(&host.client, &offer) => claimed,
    };
    match claimed {
        Ok((claim, until)) => carry_out(host, offer, &claim, until).await.interrupted,
        Err(refusal) => {
            tracing::info!(deployment = %offer.deployment_id, reason = refusal.message, "a command is not to be had any more");
            forget(host, &offer);
            None
        }
    }
}

/// Carries out what was claimed, until home was told of its end.
pub(crate) async fn carry_out(
    host: &Host,
    offer: Offer,
    claim: &ClaimResponse,
    until: Duration,
) -> Done {
    let id = offer.deployment_id.clone();
    let group = Group::new(&host.config.state, &claim.specification.deployment_group_id);
    let logs = group.deployment(&id).join("logs");
    // The journal counts the claims before this one.
    let run = Journal::story(&group.deployment(&id)).map_or(1, |story| story.claims + 1);
    let interval = Duration::from_millis(host.config.limits.report_interval_ms);
    let lease =
        Lease::new(Arc::clone(&host.client), offer.clone(), claim, until, run, logs, interval);
    let mut reporting = pin!(lease.report());
    let mut is_delivered = false;
    let end = {
        let mut working = pin!(work(host, &group, &lease, &offer, claim));
        loop {
            tokio::select! {
                biased;
                end = &mut working => break end,
                () = &mut reporting, if !is_delivered => is_delivered = true,
            }
        }
    };
    let End::Finished(interrupted) = end else {
        return Done { status: None, is_delivered: false, interrupted: None };
    };
    if !is_delivered {
        tokio::select! {
            () = &mut reporting => is_delivered = true,
            () = last_word(&host.stop) => {}
        }
    }
    // Nobody would take up one that was pushed, and another process may write its journal by now.
    if is_delivered
        && !host.client.is_pushed()
        && let Ok(mut journal) = Journal::open(&group.deployment(&id))
    {
        // If this is not written, the last report is made once more after the next start.
        journal.acknowledged().unwrap_or_else(|error| tracing::warn!(%error));
    }
    Done { status: Some(lease.status()), is_delivered, interrupted }
}

/// Does the work; whatever keeps the host from it becomes the command's result.
async fn work(
    host: &Host,
    group: &Group,
    lease: &Lease,
    offer: &Offer,
    claim: &ClaimResponse,
) -> End {
    match try_work(host, group, lease, offer, claim).await {
        Ok(end) => end,
        Err(error) => {
            tracing::error!(%error, deployment = %offer.deployment_id, "a command could not be carried out");
            let mut reports: Vec<_> =
                claim.specification.events.iter().map(|event| pending(*event)).collect();
            crate::events::fail_first(&mut reports, &describe(&error));
            lease.tell(&reports, HostStatus::Failed);
            End::Finished(None)
        }
    }
}

async fn try_work(
    host: &Host,
    group: &Group,
    lease: &Lease,
    offer: &Offer,
    claim: &ClaimResponse,
) -> Result<End, CommandError> {
    let specification = &claim.specification;
    let dir = group.begin(&offer.deployment_id).map_err(RunError::from)?;
    // Seen before the lock is taken: what still runs for the group starts nothing more.
    let seen = group.see_generation(specification.generation).map_err(RunError::from)?;
    let is_pushed = host.client.is_pushed();
    let lock = tokio::select! {
        biased;
        _ = host.stop.asked() => {
            return if is_pushed { Err(CommandError::ToldToEnd) } else { Ok(End::Paused) };
        }
        lock = group.lock() => lock.map_err(RunError::from)?,
    };
    let mut journal = Journal::open(&dir).map_err(RunError::from)?;
    journal.claimed(offer, specification, is_pushed).map_err(RunError::from)?;
    if seen > specification.generation && journal.story.finished.is_none() {
        return Err(CommandError::Superseded { seen, own: specification.generation });
    }
    end_orphaned_hooks(host, group, &offer.deployment_id).await;
    recover(&host.config, group.dir(), &lock).await.map_err(CommandError::Recover)?;
    let reports = specification.events.iter().map(|event| pending(*event)).collect();
    let mut run = Run { host, group, lock, lease, specification, journal, reports };
    let mut end = run.run().await;
    if is_pushed && matches!(end, Ok(End::Paused)) {
        end = run.cut_short().map(|()| End::Finished(None));
    }
    match end {
        Ok(end) => Ok(end),
        Err(error) => {
            tracing::error!(%error, deployment = %offer.deployment_id, "a command broke off");
            run.break_off(&error);
            Ok(End::Finished(None))
        }
    }
}

/// Ends scripts that a process which died has left running for other deployments of the group: nobody else may ever come
/// back to them.
async fn end_orphaned_hooks(host: &Host, group: &Group, own: &DeploymentId) {
    for id in group.deployments().iter().filter(|id| *id != own) {
        let dir = group.deployment(id);
        let open = Journal::story(&dir).ok().and_then(|story| story.open_hook);
        let Some((event, hook)) = open else { continue };
        if let Some(left) = process::left_behind(&dir.join(PID_FILE), &hook.marks) {
            tracing::warn!(deployment = %id, %event, script = hook.script, "ending a script whose runner has died");
            let patience = Duration::from_millis(host.config.limits.kill_after_ms);
            process::end_group(left, patience).await;
        }
    }
}

/// Puts right what an agent that died in the middle of an install has left of a group.
pub(crate) async fn recover(
    config: &AgentConfig,
    group: &Path,
    lock: &GroupLock,
) -> Result<(), String> {
    let (root, group, sync) = (config.root.clone(), group.to_owned(), config.sync);
    match lock.blocking(move || install::recover(&root, &group, &Disk::default(), sync)).await {
        Ok(Ok(Recovery::Nothing)) => Ok(()),
        Ok(Ok(found)) => {
            tracing::warn!(?found, "an install that was interrupted was put right");
            Ok(())
        }
        Ok(Err(error)) => Err(describe(&error)),
        Err(error) => Err(error.to_string()),
    }
}

async fn last_word(stop: &Stop) {
    let asked_at = stop.asked().await;
    tokio::time::sleep_until(asked_at + LAST_WORD).await;
}

/// Notes that home does not want to hear of a command again.
fn forget(host: &Host, offer: &Offer) {
    for (_, dir) in unfinished(&host.config.state) {
        let story = Journal::story(&dir);
        if story.is_ok_and(|story| {
            story.offer.is_some_and(|known| known.deployment_id == offer.deployment_id)
        }) {
            let noted = Journal::open(&dir).and_then(|mut journal| journal.acknowledged());
            noted.unwrap_or_else(|error| tracing::warn!(%error));
        }
    }
}

/// The commands that an earlier agent began and whose result home has not taken, with their directories. One that was
/// pushed is none of them.
pub(crate) fn unfinished(state: &Path) -> Vec<(Offer, std::path::PathBuf)> {
    let mut found = Vec::new();
    for group in Group::all(state).unwrap_or_default() {
        for id in group.deployments() {
            let dir = group.deployment(&id);
            match Journal::story(&dir) {
                Ok(story) if story.is_owed() => {
                    found.extend(story.offer.map(|offer| (offer, dir)));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a deployment cannot be taken up again"),
            }
        }
    }
    found
}

/// An error with its causes.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
