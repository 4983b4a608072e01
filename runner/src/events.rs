//! The lifecycle events of one command, in order, each at most once (`docs/semantics.md#lifecycle`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::DeploymentId;
use engine::appspec::AppSpec;
use engine::lifecycle::Event;
use thiserror::Error;
use wire::host::{
    ErrorCode, EventDiagnostics, EventReport, EventStatus, HostStatus, Specification,
};

use crate::archive;
use crate::command::{Host, describe};
use crate::group::{Group, GroupError, LastSuccessful};
use crate::hooks::{Failure, Prepared};
use crate::journal::{Journal, JournalError, OpenHook};
use crate::lease::{Lease, log_path};
use crate::output::EventLog;
use crate::process;
use crate::seam;

/// A hook that was ended because the agent had to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterruptedHook {
    /// The deployment that it belonged to.
    pub deployment_id: DeploymentId,
    /// The event that it ran for.
    pub event: Event,
    /// The script, as the AppSpec file names it.
    pub script: String,
}

/// How far a command came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// To its end, for better or worse.
    Finished(Option<InterruptedHook>),
    /// The agent has to end; the next one goes on here.
    Paused,
}

/// What the host cannot do without.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Group(#[from] GroupError),
}

/// One command being carried out.
pub(crate) struct Run<'a> {
    pub(crate) host: &'a Host,
    pub(crate) group: &'a Group,
    pub(crate) lease: &'a Lease,
    pub(crate) specification: &'a Specification,
    pub(crate) journal: Journal,
    pub(crate) reports: Vec<EventReport>,
}

/// How an event came out.
enum Outcome {
    Succeeded(String),
    Failed(Failure),
    /// The agent had to end while the script ran.
    Interrupted(String),
    /// The agent has to end, and nothing is lost.
    Paused,
}

impl Run<'_> {
    /// Carries the command from where the journal stands to its end.
    pub(crate) async fn run(&mut self) -> Result<End, RunError> {
        self.restore();
        if let Some(status) = self.journal.story.finished {
            self.lease.tell(&self.reports, status);
            return Ok(End::Finished(None));
        }
        self.settle_open_hook().await?;
        for at in 0..self.reports.len() {
            let Some(EventReport { event, status, .. }) = self.reports.get(at).cloned() else {
                break;
            };
            if matches!(status, EventStatus::Succeeded | EventStatus::Failed) || self.has_failed() {
                continue;
            }
            let permit = tokio::select! {
                biased;
                _ = self.host.stop.asked() => return Ok(End::Paused),
                permit = self.lease.permit() => permit,
            };
            if let Err(reason) = permit.and_then(|()| self.is_newest()) {
                return self.give_up(event, &reason).map(|()| End::Finished(None));
            }
            let begun = now_ms();
            self.journal.started(event, begun)?;
            self.change(event, |report| {
                report.status = EventStatus::InProgress;
                report.started_at.get_or_insert(begun);
            });
            self.lease.tell(&self.reports, HostStatus::InProgress);
            match self.event(event).await? {
                (Outcome::Paused, _) => return Ok(End::Paused),
                (Outcome::Succeeded(message), tail) => self.end(event, Ok(message), tail)?,
                (Outcome::Failed(failure), tail) => self.end(event, Err(failure), tail)?,
                (Outcome::Interrupted(script), tail) => {
                    self.end(event, Err(interrupted_by_shutdown(&script)), tail)?;
                    self.finish()?;
                    let deployment_id = self.specification.deployment_id.clone();
                    return Ok(End::Finished(Some(InterruptedHook {
                        deployment_id,
                        event,
                        script,
                    })));
                }
            }
        }
        self.finish()?;
        Ok(End::Finished(None))
    }

    /// Ends the command where it stands, because the host itself cannot go on.
    pub(crate) fn break_off(&mut self, error: &RunError) {
        fail_first(&mut self.reports, &describe(error));
        self.lease.tell(&self.reports, HostStatus::Failed);
    }

    fn dir(&self) -> PathBuf {
        self.group.deployment(&self.specification.deployment_id)
    }

    /// Takes over what the journal knows.
    fn restore(&mut self) {
        let story = &self.journal.story;
        let has_archive = archive::usable(self.group, &self.specification.deployment_id).is_some();
        for report in &mut self.reports {
            report.started_at = story.started_at.get(&report.event).copied();
            let Some(ended) = story.ended.get(&report.event) else { continue };
            // The machine was started anew in between: the archive is fetched again.
            let is_lost = report.event == Event::DownloadBundle
                && ended.status == EventStatus::Succeeded
                && !has_archive
                && story.finished.is_none();
            if !is_lost {
                *report = ended.clone();
            }
        }
    }

    /// Deals with a script that was started by an agent that died: what is left of it is ended, and it is not run again
    /// unless the group wants that.
    async fn settle_open_hook(&mut self) -> Result<(), RunError> {
        let Some((event, hook)) = self.journal.story.open_hook.clone() else { return Ok(()) };
        if let Some(group) = process::left_behind(&self.dir().join("hook.pid"), &hook.marks) {
            tracing::warn!(%event, script = hook.script, "ending a script that an earlier agent had started");
            process::end_group(group, Duration::from_millis(self.host.config.limits.kill_after_ms))
                .await;
        }
        if self.specification.rerun_interrupted {
            return Ok(());
        }
        let failure = Failure {
            code: ErrorCode::UnknownError,
            message: format!(
                "script `{}` was interrupted: the agent on this host ended while it ran. It was ended too, and is not run a \
                 second time. Look at what it has done, then deploy again; if it may safely run twice, let the group rerun \
                 interrupted hooks",
                hook.script
            ),
            script: hook.script,
        };
        let tail = EventLog::tail_of(&log_path(&self.dir().join("logs"), event));
        self.end(event, Err(failure), tail)
    }

    async fn event(&mut self, event: Event) -> Result<(Outcome, String), RunError> {
        match event {
            Event::DownloadBundle => Ok(self.download().await),
            Event::Install => Ok(self.install().await),
            Event::ApplicationStop
            | Event::BeforeInstall
            | Event::AfterInstall
            | Event::ApplicationStart
            | Event::ValidateService => self.hooks(event).await,
        }
    }

    async fn download(&self) -> (Outcome, String) {
        let id = &self.specification.deployment_id;
        let obtain = archive::obtain(self.group, id, &self.specification.bundle, self.lease);
        let end = tokio::select! {
            end = obtain => end,
            () = self.host.stop.grace_is_over() => return (Outcome::Paused, String::new()),
        };
        self.group.prune(id, self.host.config.limits.kept_deployments);
        match end {
            Ok(line) => (Outcome::Succeeded(line.clone()), format!("{line}\n")),
            Err(error) => (Outcome::Failed(Failure::other(error.to_string())), String::new()),
        }
    }

    async fn install(&self) -> (Outcome, String) {
        let archive = match self.archive() {
            Ok(archive) => archive,
            Err(failure) => return (Outcome::Failed(failure), String::new()),
        };
        let (root, group) = (self.host.config.root.clone(), self.group.dir().to_owned());
        let id = self.specification.deployment_id.clone();
        let behavior = self.specification.file_exists_behavior;
        let work = tokio::task::spawn_blocking(move || {
            seam::install(&root, &group, &id, &archive, behavior)
        });
        let end = tokio::select! {
            end = work => end,
            // It goes on in its thread, and whatever becomes of it is put right at the next start.
            () = self.host.stop.grace_is_over() => return (Outcome::Paused, String::new()),
        };
        match end {
            Ok(Ok(lines)) => (Outcome::Succeeded("Succeeded".to_owned()), lines),
            Ok(Err(message)) => (Outcome::Failed(Failure::other(message)), String::new()),
            Err(error) => (
                Outcome::Failed(Failure::other(format!("the install broke off: {error}"))),
                String::new(),
            ),
        }
    }

    /// Runs the scripts of an event that have not run yet.
    async fn hooks(&mut self, event: Event) -> Result<(Outcome, String), RunError> {
        let open_log = || {
            EventLog::open(
                &log_path(&self.dir().join("logs"), event),
                self.host.config.limits.log_bytes,
            )
        };
        let found = if event.uses_last_successful() {
            self.last_archive()
        } else {
            self.own_archive().map(Some)
        };
        let (archive, spec) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok((Outcome::Succeeded("Succeeded".to_owned()), String::new())),
            Err(failure) if event.uses_last_successful() => {
                let line = format!("{event} is passed over: {}", failure.message);
                return Ok((Outcome::Succeeded(line.clone()), format!("[cutover]{line}\n")));
            }
            Err(failure) => return Ok((Outcome::Failed(failure), String::new())),
        };
        let scripts = spec.hooks.get(event.name()).map(Vec::as_slice).unwrap_or_default();
        let first = self.journal.story.hooks_ended.get(&event).copied().unwrap_or(0);
        if scripts.len() <= first {
            return Ok((Outcome::Succeeded("Succeeded".to_owned()), String::new()));
        }
        let log = match open_log() {
            Ok(log) => Arc::new(log),
            Err(error) => {
                let failure = Failure::other(format!(
                    "the log of {event} cannot be written: {error}; free space on the disk"
                ));
                return Ok((Outcome::Failed(failure), String::new()));
            }
        };
        log.write(&format!("LifecycleEvent - {event}\n"));
        let pid_path = self.dir().join("hook.pid");
        for (index, script) in scripts.iter().enumerate().skip(first) {
            if self.host.stop.is_asked() {
                return Ok((Outcome::Paused, log.tail()));
            }
            log.write(&format!("Script - {}\n", script.location));
            let prepared =
                Prepared::new(&self.host.config, self.specification, event, &archive, script, &log);
            let prepared = match prepared {
                Ok(prepared) => prepared,
                Err(failure)
                    if event.uses_last_successful() && failure.code == ErrorCode::ScriptMissing =>
                {
                    log.warn(&format!(
                        "{}; it is passed over, since its revision is the one that goes",
                        failure.message
                    ));
                    continue;
                }
                Err(failure) => return Ok((Outcome::Failed(failure), log.tail())),
            };
            let marks = prepared.marks(&self.host.config);
            self.journal
                .hook_started(event, OpenHook { index, script: script.location.clone(), marks })?;
            self.host.hooks.fetch_add(1, Ordering::AcqRel);
            let end =
                prepared.run(&self.host.config, script, &pid_path, &log, &self.host.stop).await;
            self.host.hooks.fetch_sub(1, Ordering::AcqRel);
            match end {
                Ok(Some(())) => self.journal.hook_ended(event, index)?,
                Ok(None) => return Ok((Outcome::Interrupted(script.location.clone()), log.tail())),
                Err(failure) => return Ok((Outcome::Failed(failure), log.tail())),
            }
        }
        Ok((Outcome::Succeeded("Succeeded".to_owned()), log.tail()))
    }

    /// The archive of this deployment.
    fn archive(&self) -> Result<PathBuf, Failure> {
        let found = archive::usable(self.group, &self.specification.deployment_id);
        found.ok_or_else(|| {
            Failure::other("the unpacked bundle is not on this host any more: deploy again")
        })
    }

    fn own_archive(&self) -> Result<(PathBuf, AppSpec), Failure> {
        let archive = self.archive()?;
        let spec = archive::read_appspec(&archive).map_err(Failure::other)?;
        Ok((archive, spec))
    }

    /// The archive of the last successful deployment, if there was one.
    fn last_archive(&self) -> Result<Option<(PathBuf, AppSpec)>, Failure> {
        let Some(last) = self.group.last_successful() else { return Ok(None) };
        let archive = self.group.deployment(&last.archive_of).join(archive::ARCHIVE);
        if !archive.is_dir() {
            let gone = format!(
                "the archive of the last successful deployment {} is gone",
                last.deployment_id
            );
            return Err(Failure::other(gone));
        }
        let spec = archive::read_appspec(&archive).map_err(Failure::other)?;
        Ok(Some((archive, spec)))
    }

    /// Fencing on the host's own side: a command of a newer deployment has been seen.
    fn is_newest(&self) -> Result<(), String> {
        let seen = self.group.generation().map_err(|error| error.to_string())?;
        let own = self.specification.generation;
        if seen <= own {
            return Ok(());
        }
        Err(format!(
            "a newer deployment of the group has begun on this host (generation {seen}, this one is {own})"
        ))
    }

    fn has_failed(&self) -> bool {
        let ignores_stop = self.specification.ignore_application_stop_failures;
        self.reports.iter().any(|report| {
            report.status == EventStatus::Failed
                && !(ignores_stop && report.event == Event::ApplicationStop)
        })
    }

    fn change(&mut self, event: Event, change: impl FnOnce(&mut EventReport)) {
        if let Some(report) = self.reports.iter_mut().find(|report| report.event == event) {
            change(report);
        }
    }

    /// Journals the end of an event, then tells it.
    fn end(
        &mut self,
        event: Event,
        result: Result<String, Failure>,
        tail: String,
    ) -> Result<(), RunError> {
        let mut report = self
            .reports
            .iter()
            .find(|report| report.event == event)
            .cloned()
            .unwrap_or_else(|| pending(event));
        report.ended_at = Some(now_ms());
        report.status = if result.is_ok() { EventStatus::Succeeded } else { EventStatus::Failed };
        report.diagnostics = Some(match result {
            Ok(message) => EventDiagnostics {
                error_code: ErrorCode::Success,
                script_name: String::new(),
                message,
                log_tail: tail,
            },
            Err(failure) => diagnostics(failure, tail),
        });
        self.journal.ended(report.clone())?;
        self.change(event, |old| *old = report);
        self.lease.tell(&self.reports, HostStatus::InProgress);
        Ok(())
    }

    /// Home does not want the rest.
    fn give_up(&mut self, event: Event, reason: &str) -> Result<(), RunError> {
        let message = format!("not begun: {reason}");
        self.change(event, |report| {
            report.status = EventStatus::Skipped;
            report.diagnostics = Some(diagnostics(Failure::other(message), String::new()));
        });
        let report = self.reports.iter().find(|report| report.event == event).cloned();
        if let Some(report) = report {
            self.journal.ended(report)?;
        }
        self.skip_the_rest();
        self.conclude(HostStatus::Failed)
    }

    /// All that will be is; says so.
    fn finish(&mut self) -> Result<(), RunError> {
        if self.has_failed() {
            self.skip_the_rest();
            return self.conclude(HostStatus::Failed);
        }
        let id = self.specification.deployment_id.clone();
        let archive_of =
            archive::read(&self.dir()).map_or_else(|| id.clone(), |revision| revision.archive_of);
        self.group.set_last_successful(&LastSuccessful { deployment_id: id, archive_of })?;
        self.conclude(HostStatus::Succeeded)
    }

    fn conclude(&mut self, status: HostStatus) -> Result<(), RunError> {
        self.journal.finished(status)?;
        self.lease.tell(&self.reports, status);
        Ok(())
    }

    fn skip_the_rest(&mut self) {
        skip_open(&mut self.reports);
    }
}

fn skip_open(reports: &mut [EventReport]) {
    for report in reports.iter_mut().filter(|report| is_open(report)) {
        report.status = EventStatus::Skipped;
    }
}

fn is_open(report: &EventReport) -> bool {
    match report.status {
        EventStatus::Pending | EventStatus::InProgress | EventStatus::Unknown => true,
        EventStatus::Succeeded | EventStatus::Failed | EventStatus::Skipped => false,
    }
}

/// Lets the first event that has not ended fail, and skips the rest.
pub(crate) fn fail_first(reports: &mut [EventReport], message: &str) {
    if let Some(report) = reports.iter_mut().find(|report| is_open(report)) {
        report.status = EventStatus::Failed;
        report.ended_at = Some(now_ms());
        report.diagnostics = Some(diagnostics(Failure::other(message), String::new()));
    }
    skip_open(reports);
}

fn interrupted_by_shutdown(script: &str) -> Failure {
    Failure {
        code: ErrorCode::UnknownError,
        script: script.to_owned(),
        message: format!(
            "script `{script}` was interrupted: the agent on this host was told to end while it ran, and ended it. It is not \
             run a second time. Look at what it has done, then deploy again"
        ),
    }
}

fn diagnostics(failure: Failure, log_tail: String) -> EventDiagnostics {
    let Failure { code, script, message } = failure;
    EventDiagnostics { error_code: code, script_name: script, message, log_tail }
}

/// An event that has not begun.
pub(crate) fn pending(event: Event) -> EventReport {
    EventReport {
        event,
        status: EventStatus::Pending,
        started_at: None,
        ended_at: None,
        diagnostics: None,
    }
}

/// The host's clock, in UTC milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
