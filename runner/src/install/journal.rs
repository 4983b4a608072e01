//! The journal of an install that is under way, and the steps of its switch, each of which can be done and undone, from
//! any point and more than once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::error::InstallError;
use super::host::{Host, Meta, is_absent, split};
use super::labels::set_label;
use super::permissions::{Labels, label};
use super::state::{Manifest, Previous};

/// How far an install is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Only the runner's own directories were written to: recovery empties them.
    Staging,
    /// The switch began: recovery completes it.
    Switching,
    /// The switch failed: recovery goes back.
    Undoing,
}

/// Everything that recovery needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) phase: Phase,
    /// The steps of the switch, in order.
    pub(super) steps: Vec<Step>,
    /// What will be installed.
    pub(super) manifest: Manifest,
    /// What will be kept.
    pub(super) previous: Previous,
    /// Whether what was kept before stays kept instead, because the same revision is installed again.
    #[serde(default)]
    pub(super) again: bool,
    /// Directories that are needed no longer, if they are empty.
    pub(super) obsolete: BTreeSet<String>,
    /// All directories of the runner that the group has on the host.
    pub(super) stores: BTreeSet<String>,
}

/// One step of the switch. `old` is where what goes is kept, `new` where a staged file waits. Steps that the first runners
/// have written are still carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Step {
    /// Takes a file away.
    Remove { path: String, old: String },
    /// Takes an empty directory away, because a file comes in its place.
    Rmdir {
        path: String,
        #[serde(alias = "meta")]
        old: OldDir,
    },
    /// Makes a directory.
    Mkdir { path: String, meta: Meta, labels: Labels },
    /// Changes a directory that is there. Only the first runners did so.
    Change { path: String, from: Meta, to: Meta, labels: Labels },
    /// Puts a staged file to its place.
    Place { path: String, new: String, old: Option<String> },
}

/// What is kept of a directory that is taken away.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum OldDir {
    /// Itself, moved, so that it comes back with all that it had: owner, mode, ACLs, labels.
    Moved(String),
    /// Owner and mode: the first runners made another one to go back.
    Removed(Meta),
}

impl Step {
    fn path(&self) -> &str {
        match self {
            Self::Remove { path, .. }
            | Self::Rmdir { path, .. }
            | Self::Mkdir { path, .. }
            | Self::Change { path, .. }
            | Self::Place { path, .. } => path,
        }
    }

    /// The directories in which it changes names, and that which it makes.
    pub(super) fn changes(&self) -> impl Iterator<Item = &str> {
        let other = match self {
            Self::Remove { old, .. } | Self::Rmdir { old: OldDir::Moved(old), .. } => {
                Some(split(old).0)
            }
            Self::Rmdir { old: OldDir::Removed(_), .. } => None,
            Self::Mkdir { path, .. } | Self::Change { path, .. } => Some(path.as_str()),
            Self::Place { new, .. } => Some(split(new).0),
        };
        std::iter::once(split(self.path()).0).chain(other)
    }

    /// Does the step; nothing, if it is done already.
    pub(super) fn redo(&self, host: &Host) -> Result<(), InstallError> {
        let failed = InstallError::io("changing", host.outside(self.path()));
        self.try_redo(host).map_err(failed)
    }

    fn try_redo(&self, host: &Host) -> io::Result<()> {
        match self {
            Self::Remove { path, old } => match host.find(path)? {
                Some(found) if found.kind != FileType::Directory => {
                    host.rename(path, old)?;
                    // The first runners gave it that name before: between two names of a file, a rename does nothing.
                    if host.find(path)? == Some(found) { host.unlink(path) } else { Ok(()) }
                }
                _ => Ok(()),
            },
            Self::Rmdir { path, old } => redo_rmdir(host, path, old),
            Self::Mkdir { path, meta, labels } => {
                match host.mkdir(path, 0o700) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => host.set_meta(path, *meta)?,
                }
                label_dir(host, path, labels)
            }
            Self::Change { path, to, labels, .. } => {
                host.set_meta(path, *to)?;
                label_dir(host, path, labels)
            }
            Self::Place { path, new, old } => {
                if host.find(new)?.is_none() {
                    return Ok(());
                }
                if let Some(old) = old
                    && host.find(old)?.is_none()
                {
                    // It went back to its place when this was undone, or could not be kept before.
                    keep_or_move(host, path, old)?;
                }
                host.rename(new, path)
            }
        }
    }

    /// Undoes the step, so that it can be done again; nothing, if it was not done or is undone already.
    pub(super) fn undo(&self, host: &Host) -> Result<(), InstallError> {
        let failed = InstallError::io("restoring", host.outside(self.path()));
        self.try_undo(host).map_err(failed)
    }

    fn try_undo(&self, host: &Host) -> io::Result<()> {
        match self {
            Self::Remove { path, old } | Self::Rmdir { path, old: OldDir::Moved(old) } => {
                match (host.find(old)?, host.find(path)?) {
                    (Some(_), None) => host.rename(old, path),
                    (Some(_) | None, _) => Ok(()),
                }
            }
            Self::Rmdir { path, old: OldDir::Removed(meta) } => match host.mkdir(path, 0o700) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => host.set_meta(path, *meta),
            },
            Self::Change { path, from, .. } => host.set_meta(path, *from),
            Self::Mkdir { path, .. } => match host.rmdir(path) {
                // What somebody else put there meanwhile is not ours to take.
                Err(error)
                    if !is_absent(&error) && error.kind() != io::ErrorKind::DirectoryNotEmpty =>
                {
                    Err(error)
                }
                _ => Ok(()),
            },
            Self::Place { path, new, old } => {
                if host.find(new)?.is_none() {
                    // Back to where it waited, so that it shows that this step is undone.
                    match host.rename(path, new) {
                        Err(error) if !is_absent(&error) => return Err(error),
                        _ => {}
                    }
                }
                match (host.find(path)?, old) {
                    (None, Some(old)) => restore(host, old, path),
                    (None, None) | (Some(_), _) => Ok(()),
                }
            }
        }
    }

    /// Whether this is a file that was put to its place already.
    fn is_placed(&self, host: &Host) -> Result<bool, InstallError> {
        let Self::Place { new, .. } = self else { return Ok(false) };
        let found = host.find(new).map_err(InstallError::io("reading", host.outside(new)))?;
        Ok(found.is_none())
    }
}

/// The steps that may have to be done. What lies below a file or link that is in its place is done; through that link,
/// doing it again would hit something else.
pub(super) fn to_do<'s>(host: &Host, steps: &'s [Step]) -> Result<Vec<&'s Step>, InstallError> {
    let placed = placed(host, steps)?;
    Ok(steps.iter().filter(|step| !is_below(step.path(), &placed)).collect())
}

/// The steps that may have to be undone, the last one first. What lies below a file or link that is back already is
/// undone; through that link, undoing it again would hit something else.
pub(super) fn to_undo<'s>(host: &Host, steps: &'s [Step]) -> Result<Vec<&'s Step>, InstallError> {
    let back = restored(host, steps)?;
    Ok(steps.iter().rev().filter(|step| !is_below(step.path(), &back)).collect())
}

/// The directories in which the steps have changed names, but for those whose place a file or link has taken: each was
/// made last before it went, and through the link, its path would lead to another one.
pub(super) fn changed<'s>(steps: &'s [Step], taken: &BTreeSet<&str>) -> BTreeSet<&'s str> {
    let changes = steps.iter().flat_map(Step::changes);
    changes.filter(|dir| !taken.contains(dir) && !is_below(dir, taken)).collect()
}

/// The files and links that are in their places.
pub(super) fn placed<'s>(
    host: &Host,
    steps: &'s [Step],
) -> Result<BTreeSet<&'s str>, InstallError> {
    let mut placed = BTreeSet::new();
    for step in steps {
        if step.is_placed(host)? {
            placed.insert(step.path());
        }
    }
    Ok(placed)
}

/// The files and links that were taken away, and are back.
pub(super) fn restored<'s>(
    host: &Host,
    steps: &'s [Step],
) -> Result<BTreeSet<&'s str>, InstallError> {
    let placed = placed(host, steps)?;
    let mut back = BTreeSet::new();
    for step in steps {
        if let Step::Remove { path, .. } = step
            && !is_below(path, &placed)
        {
            let found = host.find(path).map_err(InstallError::io("reading", host.outside(path)))?;
            if found.is_some_and(|found| found.kind != FileType::Directory) {
                back.insert(path.as_str());
            }
        }
    }
    Ok(back)
}

fn is_below(path: &str, dirs: &BTreeSet<&str>) -> bool {
    path.match_indices('/').any(|(end, _)| path.get(..end).is_some_and(|it| dirs.contains(it)))
}

fn redo_rmdir(host: &Host, path: &str, old: &OldDir) -> io::Result<()> {
    let is_there = host.find(path)?.is_some_and(|found| found.kind == FileType::Directory);
    match old {
        OldDir::Moved(old) => {
            if is_there {
                host.rename(path, old)?;
            }
            if host.names(old)?.is_empty() {
                return Ok(());
            }
            // Somebody has put something into it since the install was planned.
            host.rename(old, path)?;
            Err(io::ErrorKind::DirectoryNotEmpty.into())
        }
        OldDir::Removed(_) if is_there => host.rmdir(path),
        OldDir::Removed(_) => Ok(()),
    }
}

/// Keeps the file that is to go, by moving it where the runner may neither link nor read it; then it is gone from its place
/// for a moment.
fn keep_or_move(host: &Host, path: &str, old: &str) -> io::Result<()> {
    match keep(host, path, old) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => host.rename(path, old),
        kept => kept,
    }
}

/// Gives the file that will go a second name, or copies it where it cannot have one. Its mode may have become 0.
pub(super) fn keep(host: &Host, path: &str, old: &str) -> io::Result<()> {
    match host.hard_link(path, old) {
        Ok(()) => return Ok(()),
        Err(error) if is_absent(&error) => return Ok(()),
        Err(_) => {}
    }
    let Some(found) = host.find(path)? else { return Ok(()) };
    if let Some(target) = &found.stamp.link {
        host.symlink(target, old)?;
        return host.set_meta(old, found.meta);
    }
    let from = host.read(path)?;
    let to = host.create(old)?;
    host.copy(from, &to)?;
    host.set_meta(old, found.meta)?;
    host.set_mtime(old, found.stamp.mtime_s, found.stamp.mtime_ns)?;
    host.disk().sync_file(&to)
}

/// Puts a kept file back to its place, and keeps it as well until the end, where the file system has hard links.
fn restore(host: &Host, old: &str, path: &str) -> io::Result<()> {
    if host.find(old)?.is_none() {
        return Ok(());
    }
    let second = format!("{old}.back");
    match host.unlink(&second) {
        Err(error) if !is_absent(&error) => return Err(error),
        _ => {}
    }
    match host.hard_link(old, &second) {
        Ok(()) => host.rename(&second, path),
        Err(_) => host.rename(old, path),
    }
}

fn label_dir(host: &Host, path: &str, labels: &Labels) -> io::Result<()> {
    if *labels == Labels::default() {
        return Ok(());
    }
    set_label(host, path, labels.label.as_ref());
    label(&File::from(host.dir(path)?), labels)
}
