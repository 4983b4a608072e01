//! What this host keeps of deployment groups that were deleted. The API is asked about the groups once a day; what is kept of
//! one goes a while after the host has heard that it is no more (`docs/semantics.md#hosts`). What was installed stays, as
//! after any deletion of a group.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use durable::Disk;
use engine::GroupId;

use crate::config::AgentConfig;
use crate::group::Group;
use crate::install;
use crate::work::recover;

/// The file whose time says when the API was last asked.
const ASKED: &str = "groups-asked";
/// The file in a group's directory whose time says since when the group is known to be deleted.
const DELETED: &str = "deleted";
/// What the names of directories begin with that are being removed.
const REMOVED: &str = "removed-";
/// Most groups that are asked about at once, as the API has it.
const GROUPS_MAX: usize = 100;

/// The groups to ask the API about: none, if that was done not long ago. Of many, those in which nothing has changed for
/// longest.
pub(crate) fn to_ask(config: &AgentConfig) -> Vec<GroupId> {
    let every = Duration::from_millis(config.limits.ask_groups_every_ms);
    if is_younger(&config.state.join(ASKED), every) {
        return Vec::new();
    }
    let groups = Group::all(&config.state).unwrap_or_default().into_iter();
    let mut found: Vec<(SystemTime, GroupId)> = groups
        .filter_map(|group| {
            let changed = group.dir().metadata().and_then(|meta| meta.modified()).ok()?;
            Some((changed, group.id()?))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, id)| id).take(GROUPS_MAX).collect()
}

/// Takes note of what the API says of the groups that it was asked about.
pub(crate) fn heard(state: &Path, asked: &[GroupId], deleted: &[GroupId]) {
    if asked.is_empty() {
        return;
    }
    let note = || -> io::Result<()> {
        for id in asked {
            let mark = Group::new(state, id).dir().join(DELETED);
            if !deleted.contains(id) {
                gone(fs::remove_file(&mark))?;
            } else if !mark.exists() {
                File::create(&mark)?;
            }
        }
        File::create(state.join(ASKED))?.set_modified(SystemTime::now())
    };
    if let Err(error) = note() {
        tracing::warn!(%error, "what is known of deleted groups could not be noted; it is asked again");
    }
}

/// Removes what is kept of groups that were known to be deleted long enough ago.
pub(crate) async fn tidy(config: &AgentConfig) {
    for left in fs::read_dir(&config.state).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().starts_with(REMOVED) {
            told(&left.path(), fs::remove_dir_all(left.path()));
        }
    }
    let kept = Duration::from_millis(config.limits.kept_groups_ms);
    for group in Group::all(&config.state).unwrap_or_default() {
        let mark = group.dir().join(DELETED);
        if !mark.exists() || is_younger(&mark, kept) {
            continue;
        }
        // One whose command still runs is looked at another day.
        if let Ok(Some(lock)) = group.try_lock() {
            let brought_to_an_end = recover(config, group.dir(), &lock).await;
            if let Err(error) = brought_to_an_end {
                tracing::warn!(error, group = %group.dir().display(), "a deleted group is kept");
                continue;
            }
            let (config, dir) = (config.clone(), group.dir().to_owned());
            let removed = lock.blocking(move || remove(&config, &dir)).await;
            told(group.dir(), removed.unwrap_or_else(|error| Err(io::Error::other(error))));
        }
    }
}

/// Removes a group's directory and, beside its files, what the group had before. The directory gets another name first, so
/// that a part of it is never taken for a group.
fn remove(config: &AgentConfig, dir: &Path) -> io::Result<()> {
    install::forget(&config.root, dir, &Disk::default()).map_err(io::Error::other)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let removed: PathBuf = config.state.join(format!("{REMOVED}{name}"));
    fs::rename(dir, &removed)?;
    tracing::info!(group = name, "removed what was kept of a deleted group");
    fs::remove_dir_all(removed)
}

fn told(path: &Path, outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, path = %path.display(), "what is kept of a deleted group could not be removed");
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Whether a file is there and was written to less than `age` ago.
fn is_younger(path: &Path, age: Duration) -> bool {
    let written = path.metadata().and_then(|meta| meta.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|old| old < age))
}
