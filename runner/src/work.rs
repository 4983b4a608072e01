//! One command carried out on this host, whoever ordered it: nobody else works on its group meanwhile, what others have
//! left behind is put right first, and whatever keeps the host from it becomes the command's result.

use std::path::Path;
use std::time::Duration;

use durable::Disk;
use engine::DeploymentId;
use thiserror::Error;
use wire::host::HostStatus;

use crate::config::AgentConfig;
use crate::event_reports::{all_pending, fail_first};
use crate::events::{End, TOLD_TO_END};
use crate::failure::describe;
use crate::group::{Group, GroupLock};
use crate::host::Host;
use crate::install::{self, Recovery};
use crate::journal::Journal;
use crate::orders::{Command, Orders};
use crate::process::{self, PID_FILE};
use crate::run::{Run, RunError};

/// Why a command could not be carried out at all.
#[derive(Debug, Error)]
enum WorkError {
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

/// Carries a command out; whatever keeps the host from it becomes the command's result.
pub(crate) async fn work(host: &Host, orders: &impl Orders, command: &Command<'_>) -> End {
    match try_work(host, orders, command).await {
        Ok(end) => end,
        Err(error) => {
            tracing::error!(%error, deployment = %command.offer.deployment_id, "a command could not be carried out");
            let mut reports = all_pending(&command.specification.events);
            fail_first(&mut reports, &describe(&error));
            orders.report(&reports, HostStatus::Failed);
            End::Finished(None)
        }
    }
}

async fn try_work(
    host: &Host,
    orders: &impl Orders,
    command: &Command<'_>,
) -> Result<End, WorkError> {
    let Command { offer, specification, is_pushed, .. } = *command;
    let group = &Group::new(&host.config.state, &specification.deployment_group_id);
    let dir = group.begin(&offer.deployment_id).map_err(RunError::from)?;
    // Seen before the lock is taken: what still runs for the group starts nothing more.
    let seen = group.see_generation(specification.generation).map_err(RunError::from)?;
    let lock = tokio::select! {
        biased;
        _ = host.stop.asked() => {
            return if is_pushed { Err(WorkError::ToldToEnd) } else { Ok(End::Paused) };
        }
        lock = group.lock() => lock.map_err(RunError::from)?,
    };
    let mut journal = Journal::open(&dir).map_err(RunError::from)?;
    journal.claimed(offer, specification, is_pushed).map_err(RunError::from)?;
    if seen > specification.generation && journal.story.finished.is_none() {
        return Err(WorkError::Superseded { seen, own: specification.generation });
    }
    end_orphaned_hooks(host, group, &offer.deployment_id).await;
    recover(&host.config, group.dir(), &lock).await.map_err(WorkError::Recover)?;
    let reports = all_pending(&specification.events);
    let mut run = Run { host, orders, command, group, lock, journal, reports };
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

#[cfg(test)]
mod tests;
