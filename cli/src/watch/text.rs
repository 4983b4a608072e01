//! How a deployment and its hosts read: pure functions from what is known to text, for the live display and for lines alike.

use engine::Timestamp;
use wire::codedeploy::{
    DeploymentInfo, DeploymentStatus, InstanceTarget, LifecycleErrorCode, LifecycleEvent,
    LifecycleEventStatus, Seconds, TargetStatus,
};
use wire::log::without_stamps;

use super::mark::Mark;
use super::snapshot::{Counts, Snapshot};
use crate::output::{one_line, printable, span, span_between};

/// How many lines of a hook's output a failure shows.
const TAIL_LINES: usize = 20;

/// What a host's status says at a glance.
pub(crate) fn mark(target: &InstanceTarget) -> Mark {
    match target.status.unwrap_or(TargetStatus::Pending) {
        TargetStatus::Pending | TargetStatus::Skipped | TargetStatus::Unknown => Mark::Waiting,
        TargetStatus::InProgress => Mark::Working,
        TargetStatus::Succeeded | TargetStatus::Ready => Mark::Good,
        TargetStatus::Failed => Mark::Bad,
    }
}

/// For how long a host has been at what it is doing, or how long it took in all.
pub(crate) fn time(target: &InstanceTarget, now: Timestamp) -> Option<String> {
    match target.status.unwrap_or(TargetStatus::Pending) {
        TargetStatus::InProgress => {
            let start = current_event(target)?.start_time?;
            Some(span(now.since_ms(start.into())))
        }
        TargetStatus::Succeeded | TargetStatus::Failed | TargetStatus::Ready => took(target),
        TargetStatus::Pending | TargetStatus::Skipped | TargetStatus::Unknown => None,
    }
}

/// How many hosts are done, and how the others stand.
pub(crate) fn counts(counts: Counts) -> String {
    let parts = [
        (counts.active, "at work"),
        (counts.ready, "ready"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: String = parts.map(|(count, what)| format!(", {count} {what}")).collect();
    format!("{} of {} done{parts}", counts.done(), hosts(counts.total()))
}

/// `d-… APP/GROUP`, and what it rolls back.
pub(crate) fn headline(snapshot: &Snapshot) -> String {
    let info = &snapshot.info;
    let part = |name: &Option<String>| one_line(name.as_deref().unwrap_or("?"));
    let rolled_back = info
        .rollback_info
        .as_ref()
        .and_then(|info| info.rollback_triggering_deployment_id.as_deref());
    let rolled_back = rolled_back.map(|id| format!(", rolls back {id}")).unwrap_or_default();
    format!(
        "{}  {}/{}{rolled_back}",
        snapshot.id(),
        part(&info.application_name),
        part(&info.deployment_group_name)
    )
}

/// `1 host`, `2 hosts`.
pub(crate) fn hosts(count: u64) -> String {
    if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") }
}

/// How it ended, and how long it took.
pub(crate) fn outcome(snapshot: &Snapshot) -> String {
    let info = &snapshot.info;
    let status = info.status.map_or("?", DeploymentStatus::name);
    let time = span_between(info.create_time, info.complete_time).map(|time| format!(" in {time}"));
    format!("{status}{}", time.unwrap_or_default())
}

/// Why it did not succeed: the code and the message.
pub(crate) fn reason(info: &DeploymentInfo) -> Option<String> {
    let error = info.error_information.as_ref()?;
    let parts =
        [error.code.map(|code| code.name().to_owned()), error.message.as_deref().map(one_line)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

/// What the service says of it beside its status: why it is held, or what is left to do.
pub(crate) fn messages(info: &DeploymentInfo) -> Vec<String> {
    info.deployment_status_messages.iter().flatten().map(|message| one_line(message)).collect()
}

/// What a host is doing, or what became of it.
pub(crate) fn what(target: &InstanceTarget) -> String {
    let status = target.status.unwrap_or(TargetStatus::Pending);
    match status {
        TargetStatus::InProgress => {
            current_event(target).map_or_else(|| status.name().to_owned(), event_name)
        }
        TargetStatus::Failed => failed(target),
        TargetStatus::Skipped => last_begun(target).map_or_else(
            || status.name().to_owned(),
            |event| format!("Stopped after {}", event_name(event)),
        ),
        TargetStatus::Unknown => match last_begun(target) {
            Some(event) => format!("Gone since {}", event_name(event)),
            None => "Gone".to_owned(),
        },
        TargetStatus::Pending | TargetStatus::Succeeded | TargetStatus::Ready => {
            status.name().to_owned()
        }
    }
}

/// How a host failed: in an event, or by saying nothing.
fn failed(target: &InstanceTarget) -> String {
    let with = |status| events(target).iter().find(|event| event.status == Some(status));
    if let Some(event) = with(LifecycleEventStatus::Failed) {
        return format!("Failed at {}", event_name(event));
    }
    match (with(LifecycleEventStatus::Unknown), last_begun(target)) {
        (None, _) => "Failed".to_owned(),
        (Some(_), Some(event)) => format!("Failed: silent since {}", event_name(event)),
        (Some(_), None) => "Failed: did not start".to_owned(),
    }
}

/// The host's name.
pub(crate) fn name(target: &InstanceTarget) -> String {
    one_line(target.target_id.as_deref().unwrap_or("?"))
}

/// An event's name.
pub(crate) fn event_name(event: &LifecycleEvent) -> String {
    one_line(event.lifecycle_event_name.as_deref().unwrap_or("?"))
}

/// When a host began.
pub(crate) fn begun(target: &InstanceTarget) -> Option<Timestamp> {
    events(target).iter().filter_map(|event| event.start_time).min().map(Into::into)
}

/// A host's events, in their order.
pub(crate) fn events(target: &InstanceTarget) -> &[LifecycleEvent] {
    target.lifecycle_events.as_deref().unwrap_or_default()
}

/// The event under way, else the last one that began.
fn current_event(target: &InstanceTarget) -> Option<&LifecycleEvent> {
    let is_under_way =
        |event: &&LifecycleEvent| event.status == Some(LifecycleEventStatus::InProgress);
    events(target).iter().find(is_under_way).or_else(|| last_begun(target))
}

fn last_begun(target: &InstanceTarget) -> Option<&LifecycleEvent> {
    events(target).iter().rev().find(|event| event.start_time.is_some())
}

/// When the last of a host's events ended, or when it was last heard of.
pub(crate) fn last_end(target: &InstanceTarget) -> Option<Seconds> {
    events(target).iter().filter_map(|event| event.end_time).max().or(target.last_updated_at)
}

/// How long a host took in all; unknown of one that fell silent.
pub(crate) fn took(target: &InstanceTarget) -> Option<String> {
    let is_silent = |event: &LifecycleEvent| event.status == Some(LifecycleEventStatus::Unknown);
    if events(target).iter().any(is_silent) {
        return None;
    }
    span_between(
        events(target).iter().filter_map(|event| event.start_time).min(),
        events(target).iter().filter_map(|event| event.end_time).max(),
    )
}

/// A host that failed, and what its hook said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    /// The host.
    pub(crate) host: String,
    /// The event that failed, if one did.
    pub(crate) event: Option<String>,
    /// What happened.
    pub(crate) message: String,
    /// The end of the output that came with the report.
    pub(crate) log_tail: String,
}

/// The hosts that failed.
pub(crate) fn failures(snapshot: &Snapshot) -> Vec<Failed> {
    let failed =
        snapshot.targets.iter().filter(|target| target.status == Some(TargetStatus::Failed));
    failed.map(failure).collect()
}

fn failure(target: &InstanceTarget) -> Failed {
    let with = |status| events(target).iter().find(|event| event.status == Some(status));
    let event = with(LifecycleEventStatus::Failed);
    let told = event.or_else(|| with(LifecycleEventStatus::Unknown));
    let diagnostics = told.and_then(|event| event.diagnostics.clone()).unwrap_or_default();
    let script = diagnostics.script_name.filter(|name| !name.is_empty());
    let code = diagnostics.error_code.filter(|_| event.is_some()).map(LifecycleErrorCode::name);
    let parts = [
        code.map(str::to_owned),
        script.map(|name| format!("`{}`", one_line(&name))),
        diagnostics.message.map(|message| one_line(&message)).filter(|message| !message.is_empty()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Failed {
        host: name(target),
        event: event.map(event_name),
        message: parts.join(": "),
        log_tail: diagnostics.log_tail.unwrap_or_default(),
    }
}

/// What a host's failure looks like, with the end of its hook's output and where the rest is.
pub(crate) fn failure_lines(id: &str, failed: &Failed, output: &str) -> Vec<String> {
    let Failed { host, event, message, .. } = failed;
    let at = event.as_deref().map(|event| format!(" at {event}")).unwrap_or_default();
    let message = if message.is_empty() { String::new() } else { format!(": {message}") };
    let mut lines = vec![format!("{host} failed{at}{message}")];
    let text = printable(&without_stamps(output));
    let all: Vec<&str> = text.lines().collect();
    let tail = all.get(all.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
    lines.extend(tail.iter().map(|line| format!("  | {line}")));
    if !tail.is_empty() {
        lines.push(format!("  whole output: {}", logs_command(id, failed)));
    }
    lines
}

/// The command that shows the output of the hook that failed.
pub(crate) fn logs_command(id: &str, failed: &Failed) -> String {
    let event =
        failed.event.as_deref().map(|event| format!(" --event {event}")).unwrap_or_default();
    format!("cutover logs {id} --host {}{event}", failed.host)
}
