//! One command of a server from its claim to the answer to its last report.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use wire::host::{HostStatus, Offer};

use crate::client::Client;
use crate::events::End;
use crate::group::Group;
use crate::host::Host;
use crate::journal::Journal;
use crate::orders::Command;
use crate::remote::{Claimed, Following, Remote, claim};
use crate::run::InterruptedHook;
use crate::stop::Stop;
use crate::work::work;

/// How long after the wish to end a last report is still tried.
const LAST_WORD: Duration = Duration::from_millis(3_600);

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

/// Carries out what was offered, or what an earlier agent began. Returns the hook that had to be interrupted, if any.
pub(crate) async fn execute(
    host: &Host,
    client: &Arc<Client>,
    offer: Offer,
) -> Option<InterruptedHook> {
    let claimed = tokio::select! {
        biased;
        _ = host.stop.asked() => return None,
        claimed = claim(client, &offer) => claimed,
    };
    match claimed {
        Ok(claimed) => carry_out(host, client, offer, &claimed).await.interrupted,
        Err(refusal) => {
            tracing::info!(deployment = %offer.deployment_id, reason = refusal.message, "a command is not to be had any more");
            forget(&host.config.state, &offer);
            None
        }
    }
}

/// Carries out what was claimed, until home was told of its end.
pub(crate) async fn carry_out(
    host: &Host,
    client: &Arc<Client>,
    offer: Offer,
    claimed: &Claimed,
) -> Done {
    let specification = &claimed.claim.specification;
    let group = Group::new(&host.config.state, &specification.deployment_group_id);
    let dir = group.deployment(&offer.deployment_id);
    let following = Following {
        // The journal counts the claims before this one.
        claims: Journal::story(&dir).map_or(1, |story| story.claims + 1),
        logs: dir.join("logs"),
        interval: Duration::from_millis(host.config.limits.report_interval_ms),
    };
    let remote = Remote::new(Arc::clone(client), offer.clone(), claimed, following);
    let (host_name, is_pushed) = (client.host_name(), client.is_pushed());
    let command =
        Command { offer: &offer, specification, host_name: host_name.as_deref(), is_pushed };
    let mut delivering = pin!(remote.deliver());
    let mut is_delivered = false;
    let end = {
        let mut working = pin!(work(host, &remote, &command));
        loop {
            tokio::select! {
                biased;
                end = &mut working => break end,
                () = &mut delivering, if !is_delivered => is_delivered = true,
            }
        }
    };
    let End::Finished(interrupted) = end else {
        return Done { status: None, is_delivered: false, interrupted: None };
    };
    if !is_delivered {
        tokio::select! {
            () = &mut delivering => is_delivered = true,
            () = last_word(&host.stop) => {}
        }
    }
    // Nobody would take up one that was pushed, and another process may write its journal by now.
    if is_delivered
        && !is_pushed
        && let Ok(mut journal) = Journal::open(&dir)
    {
        // If this is not written, the last report is made once more after the next start.
        journal.acknowledged().unwrap_or_else(|error| tracing::warn!(%error));
    }
    Done { status: Some(remote.status()), is_delivered, interrupted }
}

async fn last_word(stop: &Stop) {
    let asked_at = stop.asked().await;
    tokio::time::sleep_until(asked_at + LAST_WORD).await;
}

/// Notes that home does not want to hear of a command again.
fn forget(state: &Path, offer: &Offer) {
    for (_, dir) in unfinished(state) {
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
pub(crate) fn unfinished(state: &Path) -> Vec<(Offer, PathBuf)> {
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
