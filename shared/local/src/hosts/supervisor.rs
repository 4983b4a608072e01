//! Keeps a host running, as a service manager would: one whose process has ended is started again. What a host does, and
//! when all of them end, is not decided here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, warn};

use super::layout::{Connection, HostFiles};
use super::process::{self, ProcessError, RunningHost};

/// The command that becomes a host.
pub(crate) type Program = dyn Fn(&HostFiles) -> std::process::Command + Send + Sync;

/// The pause before a host that did not live long is started again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A host that lived this long is started again at once.
const LONG: Duration = Duration::from_secs(10);

/// How often is looked whether a host has ended.
const LOOK: Duration = Duration::from_millis(500);

/// The process of the host, which is started if there is none.
pub(crate) fn find_or_start(
    files: &HostFiles,
    command: &Program,
) -> Result<RunningHost, ProcessError> {
    match process::find(files)? {
        Some(running) => Ok(running),
        None => process::start(files, command(files)),
    }
}

/// Starts the host again whenever its process has ended, until `stopped` or until its directory is gone. Returns the
/// process that runs then, if one does.
pub(crate) async fn keep(
    files: HostFiles,
    command: Arc<Program>,
    mut running: RunningHost,
    mut stopped: watch::Receiver<bool>,
) -> Option<RunningHost> {
    let mut pause = Duration::ZERO;
    loop {
        let since = Instant::now();
        while !has_ended(&running) {
            tokio::select! {
                () = serve::stop_requested(&mut stopped) => return Some(running),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if since.elapsed() >= LONG {
            pause = Duration::ZERO;
        }
        running = loop {
            tokio::select! {
                () = serve::stop_requested(&mut stopped) => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).clamp(PAUSE.0, PAUSE.1);
            // The directory that a host was made with may be gone, and is not made again.
            if !matches!(Connection::read(&files), Ok(Some(_))) {
                return None;
            }
            warn!(host = %files.number(), log = %files.log().display(), "the host's process has ended, and is started again");
            match find_or_start(&files, &*command) {
                Ok(running) => break running,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    error!(error, host = %files.number(), "the host cannot be started now, will try again");
                }
            }
        };
    }
}

fn has_ended(running: &RunningHost) -> bool {
    running.has_ended().unwrap_or_else(|error| {
        error!(%error, "whether a host runs cannot be seen");
        false
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::layout::HostNumber;
    use super::*;

    fn files(home: &std::path::Path) -> HostFiles {
        let files = HostFiles::new(home, HostNumber::new(1).unwrap());
        files.create().unwrap();
        let connection = Connection { api: "a".into(), host: "host-1".into(), key: "k".into() };
        connection.write(&files).unwrap();
        files
    }

    /// Ends once, then stays; each start is a line of `started`.
    fn command(home: &std::path::Path) -> Arc<Program> {
        let started = home.join("started");
        Arc::new(move |_| {
            let mut command = Command::new("/bin/sh");
            let script = "echo x >> \"$0\"; [ $(wc -l < \"$0\") -lt 3 ] || exec sleep 1000";
            command.args(["-c", script]).arg(&started);
            command
        })
    }

    #[tokio::test]
    async fn a_host_that_ends_is_started_again_until_home_stops() {
        let home = tempfile::tempdir().unwrap();
        let (files, command) = (files(home.path()), command(home.path()));
        let running = find_or_start(&files, &*command).unwrap();
        let (stop, stopped) = watch::channel(false);
        let kept = tokio::spawn(keep(files, command, running, stopped));
        let started = home.path().join("started");
        while std::fs::read_to_string(&started).unwrap_or_default().lines().count() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send_replace(true);
        let running = kept.await.unwrap().unwrap();
        assert!(!running.has_ended().unwrap());
        process::stop(&[running], Duration::from_secs(5)).unwrap();
    }

    #[tokio::test]
    async fn a_host_whose_directory_is_gone_is_not_started_again() {
        let home = tempfile::tempdir().unwrap();
        let (files, command) = (files(home.path()), command(home.path()));
        let running = find_or_start(&files, &*command).unwrap();
        std::fs::remove_dir_all(files.dir()).unwrap();
        let (_stop, stopped) = watch::channel(false);
        assert!(keep(files.clone(), command, running, stopped).await.is_none());
        assert!(!files.dir().exists());
    }
}
