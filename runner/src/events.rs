//! The lifecycle events of one command, in order, each at most once (`docs/semantics.md#lifecycle`).

use std::time::Duration;

use durable::Disk;
use engine::lifecycle::Event;
use wire::host::{ErrorCode, EventDiagnostics, EventReport, EventStatus, HostStatus};

use crate::archive;
use crate::clock::now_ms;
use crate::event_reports::{fail_first, pending, skip_open};
use crate::failure::{Failure, describe};
use crate::group::LastSuccessful;
use crate::orders::{Orders, Start};
use crate::output::{EventLog, log_path};
use crate::process;
use crate::revision;
use crate::run::{InterruptedHook, Run, RunError};
use crate::steps::Outcome;

/// What is reported of a pushed command whose process was told to end between two scripts.
pub(crate) const TOLD_TO_END: &str = "interrupted: the runner on this host was told to end before the command was done. \
                                      What it began is put right by the group's next deployment here; deploy again";

/// How far a command came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// To its end, for better or worse.
    Finished(Option<InterruptedHook>),
    /// The agent has to end; the next one goes on here.
    Paused,
}

impl<O: Orders> Run<'_, O> {
    /// Carries the command from where the journal stands to its end.
    pub(crate) async fn run(&mut self) -> Result<End, RunError> {
        self.restore();
        if let Some(status) = self.journal.story.finished {
            skip_open(&mut self.reports);
            self.orders.report(&self.reports, status);
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
                permit = self.orders.permit(Start::Event) => permit,
            };
            if let Err(reason) = permit.and_then(|()| self.is_newest()) {
                return self.give_up(event, &reason, String::new()).map(|()| End::Finished(None));
            }
            let begun = now_ms();
            self.journal.started(event, begun)?;
            self.change(event, |report| {
                report.status = EventStatus::InProgress;
                report.started_at.get_or_insert(begun);
            });
            self.orders.report(&self.reports, HostStatus::InProgress);
            match self.event(event).await? {
                (Outcome::Paused, _) => return Ok(End::Paused),
                (Outcome::Withdrawn(reason), tail) => {
                    return self.give_up(event, &reason, tail).map(|()| End::Finished(None));
                }
                (Outcome::Succeeded(message), tail) => self.end(event, Ok(message), tail)?,
                (Outcome::Failed(failure), tail) => self.end(event, Err(failure), tail)?,
                (Outcome::Interrupted(script), tail) => {
                    self.end(event, Err(interrupted_by_shutdown(&script)), tail)?;
                    self.finish().await?;
                    let deployment_id = self.specification().deployment_id.clone();
                    return Ok(End::Finished(Some(InterruptedHook {
                        deployment_id,
                        event,
                        script,
                    })));
                }
            }
        }
        self.finish().await?;
        Ok(End::Finished(None))
    }

    /// Ends the command where it stands, because the host itself cannot go on.
    pub(crate) fn break_off(&mut self, error: &RunError) {
        fail_first(&mut self.reports, &describe(error));
        self.orders.report(&self.reports, HostStatus::Failed);
    }

    /// Ends a command that nobody will go on with, because its process has to end.
    pub(crate) fn cut_short(&mut self) -> Result<(), RunError> {
        fail_first(&mut self.reports, TOLD_TO_END);
        for report in self.reports.iter().filter(|it| it.status == EventStatus::Failed) {
            self.journal.ended(report.clone())?;
        }
        self.conclude(HostStatus::Failed)
    }

    /// Takes over what the journal knows.
    fn restore(&mut self) {
        let story = &self.journal.story;
        let has_archive =
            archive::usable(self.group, &self.specification().deployment_id).is_some();
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
        if let Some(group) = process::left_behind(&self.dir().join(process::PID_FILE), &hook.marks)
        {
            tracing::warn!(%event, script = hook.script, "ending a script that an earlier agent had started");
            process::end_group(group, Duration::from_millis(self.host.config.limits.kill_after_ms))
                .await;
        }
        if self.specification().rerun_interrupted {
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

    fn has_failed(&self) -> bool {
        let ignores_stop = self.specification().ignore_application_stop_failures;
        self.reports.iter().any(|report| {
            report.status == EventStatus::Failed
                && !(ignores_stop && report.event.uses_last_successful())
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
            Err(failure) => failure.diagnostics(tail),
        });
        self.journal.ended(report.clone())?;
        self.change(event, |old| *old = report);
        self.orders.report(&self.reports, HostStatus::InProgress);
        Ok(())
    }

    /// Home does not want the rest: of all events, and of the scripts of this one. The event that carries the reason shows
    /// that nothing failed.
    fn give_up(&mut self, event: Event, reason: &str, tail: String) -> Result<(), RunError> {
        let ended = self.journal.story.hooks_ended.get(&event).copied().unwrap_or(0);
        let waits = event.is_of_balancer() || self.specification().held_before == Some(event);
        self.change(event, |report| {
            let waited = waits && report.started_at.is_some();
            let message = match ended {
                0 if waited => format!("no longer waited for: {reason}"),
                0 => format!("not begun: {reason}"),
                1 => format!("1 script has run, and the next one was not begun: {reason}"),
                _ => format!("{ended} scripts have run, and the next one was not begun: {reason}"),
            };
            let has_begun = waited || ended > 0;
            report.status = EventStatus::Skipped;
            report.started_at = report.started_at.filter(|_| has_begun);
            report.ended_at = has_begun.then(now_ms);
            report.diagnostics = Some(Failure::other(message).diagnostics(tail));
        });
        let report = self.reports.iter().find(|report| report.event == event).cloned();
        if let Some(report) = report {
            self.journal.ended(report)?;
        }
        skip_open(&mut self.reports);
        self.conclude(HostStatus::Failed)
    }

    /// All that will be is; says so.
    async fn finish(&mut self) -> Result<(), RunError> {
        if self.has_failed() {
            skip_open(&mut self.reports);
            return self.conclude(HostStatus::Failed);
        }
        let id = self.specification().deployment_id.clone();
        let archive_of =
            revision::read(&self.dir()).map_or_else(|| id.clone(), |revision| revision.archive_of);
        let last = LastSuccessful { deployment_id: id, archive_of };
        self.keep_archive(&last).await;
        self.group.set_last_successful(&last)?;
        self.conclude(HostStatus::Succeeded)
    }

    /// Forces the archive to the disk whose hooks will run when its revision goes, perhaps after a loss of power.
    async fn keep_archive(&self, last: &LastSuccessful) {
        let is_kept =
            self.group.last_successful().is_some_and(|before| before.archive_of == last.archive_of);
        if is_kept || !self.host.config.sync {
            return;
        }
        let dir = self.group.deployment(&last.archive_of);
        let sync = move || {
            let disk = Disk::default();
            disk.sync_tree(&dir.join(archive::ARCHIVE)).and_then(|()| disk.sync_names(&dir))
        };
        let synced = self.lock.blocking(sync).await;
        if let Err(error) = synced.map_err(std::io::Error::other).flatten() {
            tracing::warn!(%error, "the archive may not last if the power goes now");
        }
    }

    fn conclude(&mut self, status: HostStatus) -> Result<(), RunError> {
        self.journal.finished(status)?;
        self.orders.report(&self.reports, status);
        Ok(())
    }
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
