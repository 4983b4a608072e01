//! What each lifecycle event does on the host; which of them run, and in what order, is decided elsewhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable::Disk;
use engine::appspec::{AppSpec, Script};
use engine::lifecycle::Event;
use wire::host::ErrorCode;

use crate::archive;
use crate::failure::Failure;
use crate::hooks::{Prepared, check_users};
use crate::install::{self, Request, SeLinux};
use crate::journal::OpenHook;
use crate::orders::{Orders, Start, Unmet};
use crate::output::{EventLog, log_path, stamped};
use crate::process::PID_FILE;
use crate::run::{Run, RunError};

/// How long a host waits for its balancer (`docs/semantics.md#traffic`).
const TRAFFIC_PATIENCE: Duration = Duration::from_secs(3600);

/// How an event came out.
pub(crate) enum Outcome {
    Succeeded(String),
    Failed(Failure),
    /// Home wants nothing more of the host, and why.
    Withdrawn(String),
    /// The agent had to end while the script ran.
    Interrupted(String),
    /// The agent has to end, and nothing is lost.
    Paused,
}

impl<O: Orders> Run<'_, O> {
    /// Carries out one event; with its outcome comes the end of its output.
    pub(crate) async fn event(&mut self, event: Event) -> Result<(Outcome, String), RunError> {
        if self.specification().held_before == Some(event) {
            let held = self.traffic(event).await;
            if !matches!(held, (Outcome::Succeeded(_), _)) {
                return Ok(held);
            }
        }
        match event {
            Event::DownloadBundle => Ok(self.download().await),
            Event::Install => Ok(self.install().await),
            Event::BlockTraffic | Event::AllowTestTraffic | Event::AllowTraffic => {
                Ok(self.traffic(event).await)
            }
            Event::BeforeBlockTraffic
            | Event::AfterBlockTraffic
            | Event::ApplicationStop
            | Event::BeforeInstall
            | Event::AfterInstall
            | Event::ApplicationStart
            | Event::ValidateService
            | Event::AfterAllowTestTraffic
            | Event::BeforeAllowTraffic
            | Event::AfterAllowTraffic => self.hooks(event).await,
        }
    }

    async fn download(&self) -> (Outcome, String) {
        let id = &self.specification().deployment_id;
        let place = (self.group, &self.lock);
        let obtain = archive::obtain(place, id, &self.specification().bundle, self.orders);
        let end = tokio::select! {
            end = obtain => end,
            () = self.host.stop.grace_is_over() => return (Outcome::Paused, String::new()),
        };
        let limits = self.host.config.limits;
        self.group.prune(id, limits.kept_deployments);
        self.group.prune_logs(Duration::from_millis(limits.kept_logs_ms));
        match end {
            Ok(line) => (Outcome::Succeeded(line.clone()), stamped(&format!("{line}\n"))),
            Err(error) => (Outcome::Failed(Failure::other(error.to_string())), String::new()),
        }
    }

    /// Waits for the balancer. An agent that has to end meanwhile asks again when it is back.
    async fn traffic(&self, event: Event) -> (Outcome, String) {
        // Where the traffic moves all together, the deployment decides for how long.
        let patience = match self.specification().held_before {
            Some(_) => Duration::MAX,
            None => TRAFFIC_PATIENCE,
        };
        let wait = tokio::time::timeout(patience, self.orders.wait_for_traffic(event));
        let end = tokio::select! {
            end = wait => end,
            _ = self.host.stop.asked() => return (Outcome::Paused, String::new()),
        };
        let failure = match end {
            Ok(Ok(())) => return (Outcome::Succeeded("Succeeded".to_owned()), String::new()),
            Ok(Err(Unmet::Failed(why))) => why,
            Ok(Err(Unmet::Withdrawn(why))) => return (Outcome::Withdrawn(why), String::new()),
            Err(_) => {
                let what = if event == Event::BlockTraffic {
                    "taken its traffic away"
                } else {
                    "found the host healthy"
                };
                format!(
                    "the load balancer has not {what} within an hour; look at its own account of this host"
                )
            }
        };
        (Outcome::Failed(Failure::other(failure)), String::new())
    }

    async fn install(&self) -> (Outcome, String) {
        let (archive, appspec) = match self.own_archive() {
            Ok(found) => found,
            Err(failure) => return (Outcome::Failed(failure), String::new()),
        };
        let (root, group_dir) = (self.host.config.root.clone(), self.group.dir().to_owned());
        let revision = self.specification().bundle.sha256.clone();
        let behavior = self.specification().file_exists_behavior;
        let sync = self.host.config.sync;
        let checked = tokio::select! {
            checked = check_users(&appspec, &self.specification().events) => checked,
            _ = self.host.stop.asked() => return (Outcome::Paused, String::new()),
        };
        let warnings = match checked {
            Ok(warnings) => warnings,
            Err(failure) => return (Outcome::Failed(failure), String::new()),
        };
        let warned =
            stamped(&warnings.iter().map(|line| format!("[cutover]{line}\n")).collect::<String>());
        let work = self.lock.blocking(move || {
            let (root, group_dir, archive) = (&root, group_dir.as_path(), archive.as_path());
            let (revision, appspec) = (revision.as_str(), &appspec);
            let disk = &Disk::default();
            let selinux = SeLinux::of_this_host();
            let request = Request {
                root,
                group_dir,
                archive,
                revision,
                appspec,
                behavior,
                disk,
                selinux: selinux.as_ref(),
                sync,
            };
            let plan = install::plan(&request)?;
            let notes = plan.notes();
            install::perform(plan).map(|done| (done, notes))
        });
        let end = tokio::select! {
            end = work => end,
            // It goes on in its thread, and whatever becomes of it is put right at the next start.
            () = self.host.stop.grace_is_over() => return (Outcome::Paused, String::new()),
        };
        match end {
            Ok(Ok((done, notes))) => {
                let numbers = format!(
                    "{} files are in place, {} of them were copied",
                    done.files, done.copied_files
                );
                let lines: String =
                    std::iter::once(numbers).chain(notes).map(|line| line + "\n").collect();
                (Outcome::Succeeded("Succeeded".to_owned()), warned + &stamped(&lines))
            }
            Ok(Err(error)) => (Outcome::Failed(Failure::other(error.to_string())), warned),
            Err(error) => {
                (Outcome::Failed(Failure::other(format!("the install broke off: {error}"))), warned)
            }
        }
    }

    /// Runs the scripts of an event that have not run yet.
    async fn hooks(&mut self, event: Event) -> Result<(Outcome, String), RunError> {
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
                let told = stamped(&format!("[cutover]{line}\n"));
                return Ok((Outcome::Succeeded(line), told));
            }
            Err(failure) => return Ok((Outcome::Failed(failure), String::new())),
        };
        let scripts = spec.hooks.get(event.name()).map(Vec::as_slice).unwrap_or_default();
        let first = self.journal.story.hooks_ended.get(&event).copied().unwrap_or(0);
        if scripts.len() <= first {
            return Ok((Outcome::Succeeded("Succeeded".to_owned()), String::new()));
        }
        let log = log_path(&self.dir().join("logs"), event);
        let log = match EventLog::open(&log, self.host.config.limits.log_bytes) {
            Ok(log) => Arc::new(log),
            Err(error) => {
                let message = format!(
                    "the log of {event} cannot be written: {error}; free space on the disk"
                );
                return Ok((Outcome::Failed(Failure::other(message)), String::new()));
            }
        };
        for (index, script) in scripts.iter().enumerate().skip(first) {
            if let Err(outcome) = self.leave().await {
                return Ok((outcome, log.tail()));
            }
            if index == first {
                log.write(&format!("LifecycleEvent - {event}\n"));
            }
            log.write(&format!("Script - {}\n", script.location));
            if let Err(outcome) = self.script(event, index, script, &archive, &log).await? {
                return Ok((outcome, log.tail()));
            }
        }
        Ok((Outcome::Succeeded("Succeeded".to_owned()), log.tail()))
    }

    /// Runs one script; the outcome of its event, if that ends with it.
    async fn script(
        &mut self,
        event: Event,
        index: usize,
        script: &Script,
        archive: &Path,
        log: &Arc<EventLog>,
    ) -> Result<Result<(), Outcome>, RunError> {
        let prepared = Prepared::new(self.host, self.command, event, archive, script, log);
        let prepared = tokio::select! {
            prepared = prepared => prepared,
            // Nothing has begun.
            _ = self.host.stop.asked() => return Ok(Err(Outcome::Paused)),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(failure)
                if event.uses_last_successful() && failure.code == ErrorCode::ScriptMissing =>
            {
                log.warn(&format!(
                    "{}; it is passed over, since its revision is the one that goes",
                    failure.message
                ));
                return Ok(Ok(()));
            }
            Err(failure) => return Ok(Err(Outcome::Failed(failure))),
        };
        let marks = prepared.marks(&self.host.config);
        let hook = OpenHook { index, script: script.location.clone(), marks };
        self.journal.hook_started(event, hook)?;
        let pid_path = self.dir().join(PID_FILE);
        let run = prepared.run(&self.host.config, script, &pid_path, log, &self.host.stop);
        match self.host.counted(run).await {
            Ok(Some(())) => self.journal.hook_ended(event, index)?,
            Ok(None) => return Ok(Err(Outcome::Interrupted(script.location.clone()))),
            Err(failure) => return Ok(Err(Outcome::Failed(failure))),
        }
        Ok(Ok(()))
    }

    /// Waits until a script may start; the outcome of its event, if it may not.
    async fn leave(&self) -> Result<(), Outcome> {
        let leave = tokio::select! {
            biased;
            _ = self.host.stop.asked() => return Err(Outcome::Paused),
            leave = self.orders.permit(Start::Script) => leave,
        };
        leave.and_then(|()| self.is_newest()).map_err(Outcome::Withdrawn)
    }

    /// The archive of this deployment.
    fn archive(&self) -> Result<PathBuf, Failure> {
        let found = archive::usable(self.group, &self.specification().deployment_id);
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
}
