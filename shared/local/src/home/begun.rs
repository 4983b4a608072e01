//! A start that is under way, and how nothing is left of one that fails.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use control::Control;
use tracing::warn;

use super::{HOSTS_GRACE, Home, HomeError, SERVERS_GRACE, roster};
use crate::dir::{self, Dir};
use crate::hosts::layout::{Connection, HostFiles, HostNumber};
use crate::hosts::process::{self, ProcessError};

/// What there is of a home that starts.
#[derive(Default)]
pub(super) struct Begun {
    dir: Option<Arc<Dir>>,
    pub(super) home: Option<Home>,
}

/// What a start has added to the hosts that there were.
#[derive(Default)]
pub(super) struct Added {
    /// Those that did not belong to the home.
    hosts: Vec<HostFiles>,
    /// Those of them that had no directory either.
    made: Vec<PathBuf>,
    /// Those whose process was there before.
    found: BTreeSet<HostNumber>,
}

impl Added {
    /// Takes note of a host before anything is done with it.
    pub(super) fn note(&mut self, files: &HostFiles) -> Result<(), HomeError> {
        if process::find(files)?.is_some() {
            self.found.insert(files.number());
        }
        if Connection::read(files)?.is_none() {
            self.hosts.push(files.clone());
            if !files.dir().exists() {
                self.made.push(files.dir().to_owned());
            }
        }
        Ok(())
    }

    /// Takes the hosts out of the home again.
    async fn undo(&self, control: &Control) -> Result<(), HomeError> {
        for files in &self.hosts {
            roster::deregister(control, files.number().to_string()).await?;
            Connection::remove(files)?;
        }
        for path in &self.made {
            let removed = std::fs::remove_dir_all(path);
            if let Err(source) = removed.or_else(dir::unless_missing) {
                return Err(ProcessError::File { path: path.clone(), source }.into());
            }
        }
        Ok(())
    }
}

impl Begun {
    /// Opens the directory.
    pub(super) async fn open(&mut self, path: PathBuf) -> Result<Arc<Dir>, HomeError> {
        let opening = tokio::task::spawn_blocking(move || Dir::open(&path));
        let dir = Arc::new(opening.await.map_err(HomeError::Died)??);
        self.dir = Some(Arc::clone(&dir));
        Ok(dir)
    }

    /// Ends what was started and removes what was made. What cannot be is named in the log; the next start copes with it.
    pub(super) async fn undo(self) {
        if let Some(home) = self.home
            && let Err(error) = home.undo().await
        {
            let error = &error as &dyn std::error::Error;
            warn!(error, "not everything is undone of what was started");
        }
        if let Some(dir) = self.dir {
            dir.undo();
        }
    }
}

impl Home {
    async fn undo(self) -> Result<(), HomeError> {
        self.stop_hosts.send_replace(true);
        let mut running = Vec::new();
        for supervisor in self.supervisors {
            running.extend(supervisor.await.map_err(HomeError::Died)?);
        }
        // What ran before was to outlive its home, and does.
        running.retain(|host| !self.added.found.contains(&host.host()));
        let ended = tokio::task::spawn_blocking(move || process::stop(&running, HOSTS_GRACE));
        ended.await.map_err(HomeError::Died)??;
        let undone = self.added.undo(&self.control).await;
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        let servers = async {
            drop(self.api.await);
            drop(self.s3.stop().await);
        };
        drop(tokio::time::timeout(SERVERS_GRACE, servers).await);
        // A request that a thread still answers would make files that were removed. It ends by itself, and is waited for.
        drop(self.dynamodb.stop().await);
        undone
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::Poll;
    use std::time::Duration;

    use balancer::Outside;
    use tokio::sync::Notify;

    use super::super::Options;

    use super::*;

    /// Is ready when it is asked for the so-manieth time: there is no moment of a start that a test would have to hit.
    async fn asked(times: usize) {
        let mut left = times;
        std::future::poll_fn(|_| {
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn a_start_that_is_told_to_end_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("home");
        for times in 1.. {
            let has_host = Arc::new(Notify::new());
            let host = Arc::clone(&has_host);
            let options = Options {
                dir: dir.clone(),
                hosts: 1,
                port: 0,
                table_port: None,
                keep: Duration::from_secs(3_600),
                host_command: Box::new(move |_, _| {
                    host.notify_one();
                    std::process::Command::new("/bin/false")
                }),
                outside: Outside::default(),
            };
            // The host never connects: the start waits for it until it is told to end.
            let is_asked = async {
                tokio::select! { () = asked(times) => true, () = has_host.notified() => false }
            };
            let was_asked = std::sync::atomic::AtomicBool::new(true);
            let stop = async { was_asked.store(is_asked.await, Relaxed) };
            assert!(Home::start(options, stop).await.unwrap().is_none(), "it cannot have started");
            let left: Vec<_> = std::fs::read_dir(&dir).into_iter().flatten().flatten().collect();
            assert!(!dir.exists(), "told to end when asked {times} times: {left:?}");
            if !was_asked.load(Relaxed) {
                assert!(times > 3, "a start is told to end at {times} moments only");
                break;
            }
        }
    }
}
