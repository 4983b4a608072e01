//! What a host keeps for a deployment group: the highest generation it has seen, which deployment was the last
//! successful one, and a directory for each deployment (`docs/semantics.md#hosts`).
//!
//! ```text
//! <state>/<group id>/lock                        held while a command of the group runs, whichever process runs it
//!                    generation                  the fencing number
//!                    generation.lock             held while that is read and replaced
//!                    last_successful             which deployment passed its last event
//!                    deleted                     since when the group is known to be no more
//!                    <deployment id>/journal.jsonl
//!                                    logs/<Event>.log
//!                                    archive/    the unpacked bundle
//!                                    revision    which bundle that is, or whose archive is used
//! ```

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use durable::Disk;
use engine::{DeploymentId, GroupId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::journal::{JOURNAL_FILE, Journal};
use crate::revision;

/// How often a lock that another process holds is tried again.
const LOCK_GLANCE: Duration = Duration::from_millis(100);

/// Something that the group keeps could not be read or written.
#[derive(Debug, Error)]
#[error("`{}` could not be {what}: check the disk and the permissions of the agent's state directory", path.display())]
pub(crate) struct GroupError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The directory of a group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    dir: PathBuf,
}

/// Holds the lock of a group until the last clone is dropped: work in a thread of its own has one too, so that nobody
/// else begins while it goes on.
#[derive(Debug, Clone)]
pub(crate) struct GroupLock {
    _file: Arc<File>,
}

impl GroupLock {
    /// Does something in a thread of its own that holds the lock to its end, also when nobody waits for it any more.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let held = self.clone();
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(held);
            done
        })
        .await
    }
}

/// Which deployment was the last to pass its last event on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LastSuccessful {
    pub(crate) deployment_id: DeploymentId,
    /// The deployment in whose directory the archive lies.
    pub(crate) archive_of: DeploymentId,
}

impl Group {
    pub(crate) fn new(state: &Path, id: &GroupId) -> Self {
        Self { dir: state.join(id.as_str()) }
    }

    /// All groups that this host has kept something for.
    pub(crate) fn all(state: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(state)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.parse::<GroupId>().is_ok()) {
                found.push(Self { dir: entry.path() });
            }
        }
        Ok(found)
    }

    /// Its id.
    pub(crate) fn id(&self) -> Option<GroupId> {
        self.dir.file_name()?.to_str()?.parse().ok()
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directory of a deployment, whose logs are for the agent alone. It is durable once the deployment's
    /// generation was seen ([`Self::see_generation`]), since that makes the group's directory durable.
    pub(crate) fn begin(&self, deployment: &DeploymentId) -> Result<PathBuf, GroupError> {
        let dir = self.deployment(deployment);
        let logs = dir.join("logs");
        let make = || {
            std::fs::create_dir_all(&dir)?;
            // Users that hooks run as pass through here to their scripts.
            for dir in [&self.dir, &dir] {
                std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
            }
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&logs)
        };
        make().map_err(|source| GroupError { what: "made", path: dir.clone(), source })?;
        Ok(dir)
    }

    pub(crate) fn deployment(&self, id: &DeploymentId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    /// The deployments that something is kept for, the newest first.
    pub(crate) fn deployments(&self) -> Vec<DeploymentId> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let id = entry.file_name().to_str()?.parse::<DeploymentId>().ok()?;
                let journal =
                    entry.path().join(JOURNAL_FILE).metadata().or_else(|_| entry.metadata());
                let time =
                    journal.and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                Some((time, id))
            })
            .collect();
        found.sort_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Waits until no other command of the group runs on this host, in this process or another.
    pub(crate) async fn lock(&self) -> Result<GroupLock, GroupError> {
        loop {
            match self.try_lock()? {
                Some(lock) => return Ok(lock),
                None => tokio::time::sleep(LOCK_GLANCE).await,
            }
        }
    }

    /// The lock of the group, unless a command of it runs.
    pub(crate) fn try_lock(&self) -> Result<Option<GroupLock>, GroupError> {
        let path = self.dir.join("lock");
        let lock = || {
            let file = File::options().create(true).append(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(GroupLock { _file: Arc::new(file) })),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        lock().map_err(|source| GroupError { what: "locked", path: path.clone(), source })
    }

    /// The highest generation that this host has seen for the group; 0, if none.
    pub(crate) fn generation(&self) -> Result<u64, GroupError> {
        let path = self.dir.join("generation");
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let source =
                    io::Error::new(io::ErrorKind::InvalidData, format!("`{text}` is no number"));
                GroupError { what: "read", path, source }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(GroupError { what: "read", path, source }),
        }
    }

    /// Keeps a generation, if it is the highest yet; says which is the highest now. Durable when it returns, with what was
    /// made in the group's directory before.
    pub(crate) fn see_generation(&self, generation: u64) -> Result<u64, GroupError> {
        let path = self.dir.join("generation.lock");
        let lock = || {
            let file = File::options().create(true).append(true).open(&path)?;
            // Held for a moment only. Two processes that write at once could let the number fall.
            file.lock().map(|()| file)
        };
        let _lock =
            lock().map_err(|source| GroupError { what: "locked", path: path.clone(), source })?;
        let highest = self.generation()?;
        if generation > highest {
            self.replace("generation", generation.to_string().as_bytes())?;
        } else {
            let path = self.dir.clone();
            Disk::default().sync_names(&self.dir).map_err(|source| GroupError {
                what: "written",
                path,
                source,
            })?;
        }
        Ok(highest.max(generation))
    }

    /// The last successful deployment; an unreadable note counts as none.
    pub(crate) fn last_successful(&self) -> Option<LastSuccessful> {
        let bytes = std::fs::read(self.dir.join("last_successful")).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::warn!(%error, "the note of the last successful deployment is unreadable"))
            .ok()
    }

    pub(crate) fn set_last_successful(&self, last: &LastSuccessful) -> Result<(), GroupError> {
        let bytes = serde_json::to_vec(last).unwrap_or_default();
        self.replace("last_successful", &bytes)
    }

    /// Removes what is kept for old deployments: all but the current one, the last successful one, the newest `keep`
    /// others, those whose archives they use, and those whose result the server has yet to take from a later process.
    pub(crate) fn prune(&self, current: &DeploymentId, keep: usize) {
        let last = self.last_successful();
        let mut kept: BTreeSet<DeploymentId> = [current.clone()].into();
        kept.extend(last.into_iter().flat_map(|last| [last.deployment_id, last.archive_of]));
        let all = self.deployments();
        let others: Vec<_> =
            all.iter().filter(|id| !kept.contains(*id)).take(keep).cloned().collect();
        kept.extend(others);
        let used: Vec<_> = kept
            .iter()
            .filter_map(|id| revision::read(&self.deployment(id)))
            .map(|it| it.archive_of)
            .collect();
        kept.extend(used);
        for id in all.iter().filter(|id| !kept.contains(*id)) {
            let dir = self.deployment(id);
            if Journal::story(&dir).is_ok_and(|story| story.is_owed()) {
                continue;
            }
            if let Err(error) = std::fs::remove_dir_all(&dir) {
                tracing::warn!(%error, dir = %dir.display(), "an old deployment could not be removed");
            }
        }
    }

    /// Removes the logs of events that were written to last before `kept` ago, but of no deployment whose result is still to
    /// be told.
    pub(crate) fn prune_logs(&self, kept: Duration) {
        let now = SystemTime::now();
        for id in self.deployments() {
            let dir = self.deployment(&id);
            if Journal::story(&dir).is_ok_and(|story| story.is_owed()) {
                continue;
            }
            for log in std::fs::read_dir(dir.join("logs")).into_iter().flatten().flatten() {
                let written = log.metadata().and_then(|meta| meta.modified());
                let age = written.ok().and_then(|written| now.duration_since(written).ok());
                if age.is_some_and(|age| age > kept)
                    && let Err(error) = std::fs::remove_file(log.path())
                {
                    tracing::warn!(%error, log = %log.path().display(), "an old log could not be removed");
                }
            }
        }
    }

    /// Puts a small file in place, whole and durable.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), GroupError> {
        let path = self.dir.join(name);
        Disk::default().replace(&path, content, 0o600).map_err(|source| GroupError {
            what: "written",
            path,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(state: &Path) -> Group {
        let group = Group::new(state, &GroupId::from_random([3; 16]));
        std::fs::create_dir_all(group.dir()).unwrap();
        group
    }

    fn id(letter: char) -> DeploymentId {
        format!("d-{}", letter.to_string().repeat(9)).parse().unwrap()
    }

    #[test]
    fn a_generation_only_rises() {
        let state = tempfile::tempdir().unwrap();
        let group = group(state.path());
        assert_eq!(group.see_generation(4).unwrap(), 4);
        assert_eq!(group.see_generation(3).unwrap(), 4);
        assert_eq!(Group::all(state.path()).unwrap()[0].generation().unwrap(), 4);
        std::fs::write(group.dir().join("generation"), "").unwrap();
        assert!(group.see_generation(5).is_err(), "an unreadable generation is not taken for none");
    }

    #[test]
    fn a_generation_does_not_fall_when_processes_see_theirs_at_once() {
        let state = tempfile::tempdir().unwrap();
        let seen_by = group(state.path());
        std::thread::scope(|scope| {
            for first in 0..4_u64 {
                let seen_by = &seen_by;
                scope.spawn(move || {
                    for generation in 1..=25 {
                        let own = generation * 4 + first;
                        assert!(seen_by.see_generation(own).unwrap() >= own);
                    }
                });
            }
        });
        assert_eq!(seen_by.generation().unwrap(), 103);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_keeps_the_group_locked_to_its_end() {
        let state = tempfile::tempdir().unwrap();
        let group = group(state.path());
        let (begun, wait) = (Arc::new(tokio::sync::Notify::new()), std::sync::mpsc::channel());
        let lock = group.lock().await.unwrap();
        let tell = Arc::clone(&begun);
        let work = lock.blocking(move || {
            tell.notify_one();
            wait.1.recv().unwrap();
        });
        // As when the command is told to end.
        tokio::select! {
            _ = work => panic!("it has ended"),
            () = begun.notified() => {}
        }
        drop(lock);
        assert!(group.try_lock().unwrap().is_none());
        wait.0.send(()).unwrap();
        group.lock().await.unwrap();
    }

    #[test]
    fn old_logs_go_and_young_ones_and_their_deployments_stay() {
        let state = tempfile::tempdir().unwrap();
        let group = group(state.path());
        let now = SystemTime::now();
        let log = |letter, name: &str, days: u64| {
            let path = group.begin(&id(letter)).unwrap().join("logs").join(name);
            let written = now - Duration::from_secs(days * 24 * 3600);
            File::create(&path).unwrap().set_modified(written).unwrap();
            path
        };
        let (old, young) = (log('A', "BeforeInstall.log", 91), log('A', "AfterInstall.log", 89));
        group.prune_logs(Duration::from_secs(90 * 24 * 3600));
        assert!(!old.exists() && young.exists());
        group.prune_logs(Duration::from_secs(80 * 24 * 3600));
        assert!(!young.exists() && group.deployment(&id('A')).exists());
    }

    #[test]
    fn pruning_keeps_the_last_successful_the_current_and_the_newest_others() {
        let state = tempfile::tempdir().unwrap();
        let group = group(state.path());
        for (age, letter) in ('A'..='H').enumerate() {
            let dir = group.begin(&id(letter)).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(age).unwrap());
            let journal = File::create(dir.join(JOURNAL_FILE)).unwrap();
            journal.set_modified(time).unwrap();
        }
        let last = LastSuccessful { deployment_id: id('C'), archive_of: id('B') };
        group.set_last_successful(&last).unwrap();
        group.prune(&id('A'), 3);
        let mut kept = group.deployments();
        kept.sort();
        assert_eq!(kept, ['A', 'B', 'C', 'F', 'G', 'H'].map(id));
    }
}
