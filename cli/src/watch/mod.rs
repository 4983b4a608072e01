//! Watches a deployment until it ended, and after a failure its rollback, too.

mod display;
mod frame;
mod history;
mod mark;
mod poll;
pub(crate) mod progress;
mod screen;
mod snapshot;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::pin::pin;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use wire::codedeploy::{DeploymentInfo, DeploymentStatus, DeploymentTarget, DeploymentTargetType};
use wire::cutover::GetDeploymentLog;

use crate::client::{CallError, Client};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use display::Display;
use poll::Poller;
use snapshot::Snapshot;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a service that answered before may fail to: the time of a restart, and some.
const OUTAGE_MAX: Duration = Duration::from_secs(20);
/// Hosts whose failure is shown with the output of their hooks.
const FAILURES_SHOWN: usize = 3;

/// The deployment, and the rollbacks that it led to, each as it was last seen.
#[derive(Default)]
struct Story {
    deployments: Vec<Snapshot>,
}

/// Watches deployment `id` until it and its rollback ended, at most for `timeout`. With JSON, writes one object to
/// stdout at the end.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    format: Format,
    timeout: Option<Duration>,
) -> Result<Exit, Failure> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut story = Story::default();
    let mut display = Display::choose(format);
    let told = tokio::select! {
        told = tell(client, id, &mut story, &mut display) => told,
        () = interrupted() => {
            display.finish();
            output::note(&goes_on(story.present(id)));
            Ok(Exit::Interrupted)
        }
        () = until(deadline) => Err(over(story.present(id), timeout)),
    };
    display.finish();
    if format == Format::Json && !story.deployments.is_empty() {
        // Whoever pressed Ctrl-C waits for nothing more.
        let told = match told {
            Ok(Exit::Interrupted) => told,
            told => story.complete(client).await.map_or_else(|error| Err(error.into()), |()| told),
        };
        output::json(&story.json());
        return told.map_err(|failure| Failure { data_written: true, ..failure });
    }
    told
}

/// Watches deployment `id` and what it led to until all ended, with the progress beside the data. Returns how each of
/// them ended, in the order of their start.
pub(crate) async fn witness(client: &Client, id: &str) -> Result<Vec<DeploymentInfo>, Failure> {
    let mut story = Story::default();
    let mut display = Display::choose(Format::Json);
    let told = tell(client, id, &mut story, &mut display).await;
    display.finish();
    let all_ended =
        !story.deployments.is_empty() && story.deployments.iter().all(Snapshot::has_ended);
    match told {
        Err(failure) if !all_ended => Err(failure),
        Ok(_) | Err(_) => Ok(story.deployments.into_iter().map(|snapshot| snapshot.info).collect()),
    }
}

fn over(id: &str, timeout: Option<Duration>) -> Failure {
    let seconds = timeout.unwrap_or_default().as_secs();
    let message = format!("deployment `{id}` has not ended after {seconds} s");
    Failure::new(Exit::TimeOver, message).hint(goes_on(id))
}

/// What becomes of a deployment that is not watched any more.
fn goes_on(id: &str) -> String {
    format!(
        "the deployment goes on: `cutover watch {id}` shows it again, `cutover stop {id}` stops it"
    )
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler, Ctrl-C ends the process as it always does.
        std::future::pending::<()>().await;
    }
}

/// Shows the deployment until it ended, then its rollback.
async fn tell(
    client: &Client,
    id: &str,
    story: &mut Story,
    display: &mut Display,
) -> Result<Exit, Failure> {
    let mut next = Some(id.to_owned());
    let mut told = Ok(Exit::Done);
    while let Some(id) = next.take() {
        let ended = to_end(client, &id, story, display).await?;
        display.finish();
        // Hosts may have failed also where enough of them succeeded.
        let failed = show_failures(client, &ended, display).await;
        if ended.info.status == Some(DeploymentStatus::Succeeded) {
            continue;
        }
        let rollback =
            ended.info.rollback_info.as_ref().and_then(|info| info.rollback_deployment_id.clone());
        if let Some(rollback) = &rollback {
            display.say(&format!("{rollback} rolls {id} back"));
        }
        // The exit code and the last word are about the deployment that was asked for.
        if told.is_ok() {
            told = Err(not_succeeded(&ended, failed, rollback.as_deref()));
        }
        // A rollback that is in the story already would be watched for ever.
        next = rollback.filter(|id| story.deployments.iter().all(|told| told.id() != id));
    }
    told
}

/// Shows one deployment until it ended.
async fn to_end(
    client: &Client,
    id: &str,
    story: &mut Story,
    display: &mut Display,
) -> Result<Snapshot, Failure> {
    let mut poller = Poller::new(client, id);
    let mut was_there = false;
    let mut outage: Option<Instant> = None;
    loop {
        let polled = poll(&mut poller, display).await;
        if let Some(now) = survive(polled, was_there, &mut outage, display)? {
            display.show(&now);
            story.put(!was_there, now.clone());
            if now.has_ended() {
                return Ok(now);
            }
            was_there = true;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// How it stands now. What is shown does not stand still for as long as the service takes to answer.
async fn poll(poller: &mut Poller<'_>, display: &mut Display) -> Result<Snapshot, CallError> {
    let mut answer = pin!(poller.poll());
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(POLL_INTERVAL) => display.refresh(),
        }
    }
}

/// The snapshot, if there is one; an error of a service that was there before is borne for a while.
fn survive(
    polled: Result<Snapshot, CallError>,
    was_there: bool,
    outage: &mut Option<Instant>,
    display: &mut Display,
) -> Result<Option<Snapshot>, Failure> {
    match polled {
        Ok(snapshot) => {
            *outage = None;
            Ok(Some(snapshot))
        }
        Err(error) if error.may_pass() && was_there => {
            let now = Instant::now();
            if outage.is_none() {
                display.say(&format!("{error}; trying again for {} s", OUTAGE_MAX.as_secs()));
            }
            let began = *outage.get_or_insert(now);
            if now.duration_since(began) < OUTAGE_MAX { Ok(None) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows the first hosts that failed with the last output of their hooks, and returns the first.
async fn show_failures(
    client: &Client,
    ended: &Snapshot,
    display: &mut Display,
) -> Option<text::Failed> {
    let failures = text::failures(ended);
    for failed in failures.iter().take(FAILURES_SHOWN) {
        let output = log_tail(client, ended.id(), failed).await.unwrap_or_default();
        let output = if output.is_empty() { &failed.log_tail } else { &output };
        for line in text::failure_lines(ended.id(), failed, output) {
            display.say(&line);
        }
    }
    let all = ended.counts().failed;
    let more = all.saturating_sub(u64::try_from(FAILURES_SHOWN).unwrap_or_default());
    if more > 0 {
        display.say(&format!("and {more} more failed"));
    }
    failures.into_iter().next()
}

/// What is stored of the output of the hook that failed; its absence only makes the story shorter.
async fn log_tail(client: &Client, id: &str, failed: &text::Failed) -> Option<String> {
    let mut request = GetDeploymentLog {
        deployment_id: Some(id.to_owned()),
        target_id: Some(failed.host.clone()),
        event: Some(failed.event.clone()?),
        after: None,
        follow: None,
    };
    let mut text = String::new();
    loop {
        let page = client.call(&request).await.ok()?;
        let entries = page.entries.unwrap_or_default();
        let end = entries.is_empty() || page.next.is_none();
        text.extend(entries.into_iter().filter_map(|entry| entry.text));
        if end {
            return Some(text);
        }
        request.after = page.next;
    }
}

fn not_succeeded(
    ended: &Snapshot,
    failed: Option<text::Failed>,
    rollback: Option<&str>,
) -> Failure {
    let id = ended.id();
    let status = ended.info.status.map_or("?", DeploymentStatus::name);
    let reason = text::reason(&ended.info).map(|reason| format!(": {reason}")).unwrap_or_default();
    let failure =
        Failure::new(Exit::NotSucceeded, format!("deployment `{id}` ended as {status}{reason}"));
    let look = failed
        .map(|failed| format!("`{}` shows the hook's output", text::logs_command(id, &failed)));
    let can_go_back = ended.info.previous_revision.is_some();
    let back = match rollback {
        Some(rollback) => Some(format!("`cutover watch {rollback}` shows the rollback")),
        None => can_go_back.then(|| {
            format!("`cutover rollback {id}` goes back to the last revision that succeeded")
        }),
    };
    let hints: Vec<String> = look.into_iter().chain(back).collect();
    if hints.is_empty() { failure } else { failure.hint(hints.join("; ")) }
}

impl Story {
    /// The deployment that is being told: the one that was asked for, or what it led to.
    fn present<'a>(&'a self, asked: &'a str) -> &'a str {
        self.deployments.last().map_or(asked, Snapshot::id)
    }

    /// Keeps the newest snapshot of the deployment that is told.
    fn put(&mut self, first: bool, snapshot: Snapshot) {
        match self.deployments.last_mut() {
            Some(last) if !first => *last = snapshot,
            Some(_) | None => self.deployments.push(snapshot),
        }
    }

    /// Asks for the hosts that were not shown.
    async fn complete(&mut self, client: &Client) -> Result<(), CallError> {
        for snapshot in self.deployments.iter_mut().filter(|snapshot| snapshot.partial) {
            snapshot.targets = Poller::new(client, snapshot.id()).all_targets().await?;
            snapshot.partial = false;
        }
        Ok(())
    }

    /// The deployment, and what it led to, with CodeDeploy's member names.
    fn json(&self) -> Value {
        let one = |snapshot: &Snapshot| {
            let targets = snapshot.targets.iter().map(|target| DeploymentTarget {
                deployment_target_type: Some(DeploymentTargetType::InstanceTarget),
                instance_target: Some(target.clone()),
                ..DeploymentTarget::default()
            });
            let targets: Vec<DeploymentTarget> = targets.collect();
            let mut one = json!({ "deploymentInfo": snapshot.info, "deploymentTargets": targets });
            if let (Some(fields), Some(progress)) = (one.as_object_mut(), &snapshot.progress) {
                fields.insert("progress".to_owned(), json!(progress));
            }
            one
        };
        let mut all = self.deployments.iter().map(one);
        let mut told = all.next().unwrap_or_default();
        if let (Some(fields), Some(rollback)) = (told.as_object_mut(), all.next()) {
            fields.insert("rollback".to_owned(), rollback);
        }
        told
    }
}
