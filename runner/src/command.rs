//! One command from its claim to the answer to its last report.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use wire::host::{ClaimResponse, HostStatus, Offer};

use crate::client::Client;
use crate::config::AgentConfig;
use crate::events::{End, InterruptedHook, Run, RunError, pending};
use crate::group::Group;
use crate::install::{self, Recovery};
use crate::journal::Journal;
use crate::lease::{self, Lease};
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
}

/// Carries out what was offered, or what an earlier agent began. Returns the hook that had to be interrupted, if any.
pub(crate) async fn execute(host: &Host, offer: Offer) -> Option<InterruptedHook> {
    let claimed = tokio::select! {
        biased;
        _ = host.stop.asked() => return None,
        claimed = lease::claim(&host.client, &offer) => claimed,
    };
    match claimed {
        Ok((claim, until)) => carry_out(host, offer, &claim, until).await,
        Err(refusal) => {
            tracing::info!(deployment = %offer.deployment_id, reason = refusal.message, "a command is not to be had any more");
            forget(host, &offer);
            None
        }
    }
}

async fn carry_out(
    host: &Host,
    offer: Offer,
    claim: &ClaimResponse,
    until: Duration,
) -> Option<InterruptedHook> {
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
    if end == End::Paused {
        return None;
    }
    if !is_delivered {
        tokio::select! {
            () = &mut reporting => is_delivered = true,
            () = last_word(&host.stop) => {}
        }
    }
    if is_delivered && let Ok(mut journal) = Journal::open(&group.deployment(&id)) {
        // If this is not written, the last report is made once more after the next start.
        journal.acknowledged().unwrap_or_else(|error| tracing::warn!(%error));
    }
    match end {
        End::Finished(interrupted) => interrupted,
        End::Paused => None,
    }
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
    let _lock = tokio::select! {
        biased;
        _ = host.stop.asked() => return Ok(End::Paused),
        lock = group.lock() => lock.map_err(RunError::from)?,
    };
    let mut journal = Journal::open(&dir).map_err(RunError::from)?;
    journal.claimed(offer, specification).map_err(RunError::from)?;
    if seen > specification.generation && journal.story.finished.is_none() {
        return Err(CommandError::Superseded { seen, own: specification.generation });
    }
    recover(&host.config, group.dir()).await.map_err(CommandError::Recover)?;
    let reports = specification.events.iter().map(|event| pending(*event)).collect();
    let mut run = Run { host, group, lease, specification, journal, reports };
    match run.run().await {
        Ok(end) => Ok(end),
        Err(error) => {
            tracing::error!(%error, deployment = %offer.deployment_id, "a command broke off");
            run.break_off(&error);
            Ok(End::Finished(None))
        }
    }
}

/// Puts right what an agent that died in the middle of an install has left of a group.
pub(crate) async fn recover(config: &AgentConfig, group: &Path) -> Result<(), String> {
    let (root, group) = (config.root.clone(), group.to_owned());
    let work = tokio::task::spawn_blocking(move || install::recover(&root, &group));
    match work.await {
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

/// The commands that an earlier agent began and whose result home has not taken, with their directories.
pub(crate) fn unfinished(state: &Path) -> Vec<(Offer, std::path::PathBuf)> {
    let mut found = Vec::new();
    for group in Group::all(state).unwrap_or_default() {
        for id in group.deployments() {
            let dir = group.deployment(&id);
            match Journal::story(&dir) {
                Ok(story) if !story.acknowledged => {
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
