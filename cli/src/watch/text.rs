//! How a deployment reads: pure functions from snapshots to lines.

use engine::Timestamp;
use wire::codedeploy::{
    DeploymentStatus, InstanceTarget, LifecycleErrorCode, LifecycleEvent, LifecycleEventStatus,
    Seconds, TargetStatus,
};

use super::poll::{Counts, Snapshot};
use super::progress::{self, Line};
use crate::output::{clock, printable, revision_url, span, span_between};

/// How many lines of a hook's output a failure shows.
const TAIL_LINES: usize = 20;

/// A line of the live display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it says at a glance.
    pub(crate) mark: Mark,
    /// The host; empty for a line about several.
    pub(crate) host: String,
    /// What it is doing, or did.
    pub(crate) what: String,
    /// For how long.
    pub(crate) time: String,
}

/// What a line says at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not yet.
    Waiting,
    /// Under way.
    Working,
    /// Done well.
    Good,
    /// Done badly.
    Bad,
}

/// All lines of the live display: how far it is, and its hosts.
pub(crate) fn all_rows(snapshot: &Snapshot, now: Timestamp) -> Vec<Row> {
    let row = |line: Line| {
        let (mark, what) = (line.mark, line.whole());
        Row { mark, host: String::new(), what, time: String::new() }
    };
    let known = snapshot.progress.iter();
    let lines = known.flat_map(|progress| progress::lines(progress, snapshot.of(), now));
    lines.map(row).chain(rows(snapshot, now)).collect()
}

/// The lines of the live display about hosts: each host, or of a large fleet those that failed, those at work, and counts.
pub(crate) fn rows(snapshot: &Snapshot, now: Timestamp) -> Vec<Row> {
    let mut rows: Vec<Row> = snapshot.targets.iter().map(|target| row(target, now)).collect();
    if snapshot.partial {
        let Counts { total, done, active, failed, skipped } = snapshot.counts();
        let left_out = if skipped > 0 { format!(", {skipped} left out") } else { String::new() };
        let what =
            format!("{done} of {total} hosts done, {active} at work, {failed} failed{left_out}");
        rows.push(Row { mark: Mark::Waiting, host: String::new(), what, time: String::new() });
    }
    rows
}

fn row(target: &InstanceTarget, now: Timestamp) -> Row {
    let status = target.status.unwrap_or(TargetStatus::Pending);
    let mark = match status {
        TargetStatus::Pending | TargetStatus::Skipped => Mark::Waiting,
        TargetStatus::InProgress | TargetStatus::Unknown => Mark::Working,
        TargetStatus::Succeeded | TargetStatus::Ready => Mark::Good,
        TargetStatus::Failed => Mark::Bad,
    };
    let time = match status {
        TargetStatus::InProgress | TargetStatus::Unknown => current_event(target)
            .and_then(|event| event.start_time)
            .map(|start| span(now.since_ms(start.into()))),
        TargetStatus::Pending
        | TargetStatus::Succeeded
        | TargetStatus::Failed
        | TargetStatus::Skipped
        | TargetStatus::Ready => total_time(target),
    };
    Row { mark, host: name(target), what: what(target), time: time.unwrap_or_default() }
}

/// What changed between two snapshots, one line for each change, with its time.
pub(crate) fn changes(before: Option<&Snapshot>, now: &Snapshot, at: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if before.is_none() {
        lines.push(begin(now, at));
    }
    for target in &now.targets {
        let earlier = before.and_then(|before| {
            before.targets.iter().find(|each| each.target_id == target.target_id)
        });
        let failed = target.status == Some(TargetStatus::Failed);
        let untouched = target.status == Some(TargetStatus::Pending);
        if earlier.map(what).as_ref() != Some(&what(target))
            && !untouched
            && (!now.partial || failed)
        {
            lines.push(host_line(target, at));
        }
    }
    if now.partial && before.is_none_or(|before| step(before.counts()) != step(now.counts())) {
        let Counts { total, done, active, failed, .. } = now.counts();
        lines.push(format!(
            "{}  {done} of {total} hosts done, {active} at work, {failed} failed",
            clock(at)
        ));
    }
    let progress = progress_changes(before, now);
    lines.extend(progress.iter().map(|line| format!("{}  {line}", clock(at))));
    let status = now.info.status;
    if status != before.and_then(|before| before.info.status) && now.has_ended() {
        lines.push(end(now, at));
    }
    lines
}

/// What is new about how far it is.
fn progress_changes(before: Option<&Snapshot>, now: &Snapshot) -> Vec<String> {
    let news = |snapshot: &Snapshot| -> Vec<Line> {
        let known = snapshot.progress.iter();
        known.flat_map(|progress| progress::news(progress, snapshot.of())).collect()
    };
    let (known, news) = (before.map(news).unwrap_or_default(), news(now));
    let is_paused = |lines: &[Line]| lines.iter().any(|line| line.name == "paused");
    let goes_on = is_paused(&known) && !is_paused(&news) && !now.has_ended();
    let fresh = news.iter().filter(|line| !known.contains(line)).map(Line::whole);
    fresh.chain(goes_on.then(|| "goes on".to_owned())).collect()
}

/// The twentieth of the way that a large fleet is on: counts are told each time that it changes.
fn step(counts: Counts) -> u64 {
    counts.done.saturating_mul(20).checked_div(counts.total).unwrap_or_default()
}

fn begin(snapshot: &Snapshot, at: Timestamp) -> String {
    let info = &snapshot.info;
    let at = info.create_time.map_or(at, Timestamp::from);
    let parts = [
        Some(headline(snapshot)),
        revision_url(info.revision.as_ref()),
        info.deployment_config_name.clone(),
        // Right after its creation the hosts are not counted yet.
        Some(snapshot.counts().total).filter(|total| *total > 0).map(hosts),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{}  {}", clock(at), parts.join(", "))
}

/// `d-… APP/GROUP`, and what it rolls back.
pub(crate) fn headline(snapshot: &Snapshot) -> String {
    let info = &snapshot.info;
    let part = |name: &Option<String>| name.clone().unwrap_or_else(|| "?".to_owned());
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

fn hosts(count: u64) -> String {
    if count == 1 { "1 host".to_owned() } else { format!("{count} hosts") }
}

fn end(snapshot: &Snapshot, at: Timestamp) -> String {
    let at = snapshot.info.complete_time.map_or(at, Timestamp::from);
    let reason = reason(snapshot).map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}  {}  {}{reason}", clock(at), snapshot.id(), outcome(snapshot))
}

/// How it ended, and how long it took.
pub(crate) fn outcome(snapshot: &Snapshot) -> String {
    let info = &snapshot.info;
    let status = info.status.map_or("?", DeploymentStatus::name);
    let time = span_between(info.create_time, info.complete_time).map(|time| format!(" in {time}"));
    format!("{status}{}", time.unwrap_or_default())
}

/// Why it did not succeed: the code and the message.
pub(crate) fn reason(snapshot: &Snapshot) -> Option<String> {
    let error = snapshot.info.error_information.as_ref()?;
    let parts =
        [error.code.map(|code| code.name().to_owned()), error.message.as_deref().map(printable)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

fn host_line(target: &InstanceTarget, at: Timestamp) -> String {
    let event = current_event(target);
    let at = match target.status {
        Some(TargetStatus::InProgress | TargetStatus::Unknown) => {
            event.and_then(|event| event.start_time).or(target.last_updated_at)
        }
        Some(
            TargetStatus::Pending
            | TargetStatus::Succeeded
            | TargetStatus::Failed
            | TargetStatus::Skipped
            | TargetStatus::Ready,
        )
        | None => last_end(target),
    }
    .map_or(at, Timestamp::from);
    let time = match target.status {
        Some(TargetStatus::Succeeded | TargetStatus::Failed) => total_time(target),
        Some(
            TargetStatus::Pending
            | TargetStatus::InProgress
            | TargetStatus::Skipped
            | TargetStatus::Unknown
            | TargetStatus::Ready,
        )
        | None => None,
    };
    let time = time.map(|time| format!(" in {time}")).unwrap_or_default();
    format!("{}  {}  {}{time}", clock(at), name(target), what(target))
}

/// What a host is doing, or what became of it.
fn what(target: &InstanceTarget) -> String {
    let event = current_event(target).and_then(|event| event.lifecycle_event_name.as_deref());
    match (target.status.unwrap_or(TargetStatus::Pending), event) {
        (TargetStatus::InProgress, Some(event)) => printable(event),
        (TargetStatus::Unknown, Some(event)) => format!("silent since {}", printable(event)),
        (TargetStatus::Failed, Some(event)) => format!("Failed at {}", printable(event)),
        (
            status @ (TargetStatus::Pending
            | TargetStatus::InProgress
            | TargetStatus::Succeeded
            | TargetStatus::Failed
            | TargetStatus::Skipped
            | TargetStatus::Unknown
            | TargetStatus::Ready),
            _,
        ) => status.name().to_owned(),
    }
}

fn name(target: &InstanceTarget) -> String {
    printable(target.target_id.as_deref().unwrap_or("?"))
}

/// The event that failed, else the one that the host fell silent in, else the one under way, else the last one that began.
fn current_event(target: &InstanceTarget) -> Option<&LifecycleEvent> {
    let events = target.lifecycle_events.as_deref().unwrap_or_default();
    let with = |status| events.iter().find(|event| event.status == Some(status));
    with(LifecycleEventStatus::Failed)
        .or_else(|| with(LifecycleEventStatus::Unknown))
        .or_else(|| with(LifecycleEventStatus::InProgress))
        .or_else(|| events.iter().rev().find(|event| event.start_time.is_some()))
}

fn last_end(target: &InstanceTarget) -> Option<Seconds> {
    let events = target.lifecycle_events.as_deref().unwrap_or_default();
    events.iter().filter_map(|event| event.end_time).max().or(target.last_updated_at)
}

fn total_time(target: &InstanceTarget) -> Option<String> {
    let events = target.lifecycle_events.as_deref().unwrap_or_default();
    span_between(
        events.iter().filter_map(|event| event.start_time).min(),
        events.iter().filter_map(|event| event.end_time).max(),
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
    let event = current_event(target);
    let diagnostics = event.and_then(|event| event.diagnostics.clone()).unwrap_or_default();
    let parts = [
        diagnostics.error_code.map(LifecycleErrorCode::name).map(str::to_owned),
        diagnostics
            .script_name
            .filter(|name| !name.is_empty())
            .map(|name| format!("`{}`", printable(&name))),
        diagnostics
            .message
            .filter(|message| !message.is_empty())
            .map(|message| printable(&message)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Failed {
        host: name(target),
        event: event.and_then(|event| event.lifecycle_event_name.as_deref()).map(printable),
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
    let text = printable(output);
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
