//! The journal of an install that is under way, and the steps of its switch, each of which can be done and undone, from
//! any point and more than once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::error::InstallError;
use super::host::{Host, Meta, is_absent};
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
    pub(super) again: bool,
    /// Directories that are needed no longer, if they are empty.
    pub(super) obsolete: BTreeSet<String>,
    /// All directories of the runner that the group has on the host.
    pub(super) stores: BTreeSet<String>,
}

/// One step of the switch. `old` is where the replaced file is kept, `new` where the staged one waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Step {
    /// Takes a file away.
    Remove { path: String, old: String },
    /// Takes an empty directory away, because a file comes in its place.
    Rmdir { path: String, meta: Meta },
    /// Makes a directory.
    Mkdir { path: String, meta: Meta, labels: Labels },
    /// Puts a staged file to its place.
    Place { path: String, new: String, old: Option<String> },
}

impl Step {
    fn path(&self) -> &str {
        match self {
            Self::Remove { path, .. }
            | Self::Rmdir { path, .. }
            | Self::Mkdir { path, .. }
            | Self::Place { path, .. } => path,
        }
    }

    /// Does the step; nothing, if it is done already.
    pub(super) fn redo(&self, host: &Host) -> Result<(), InstallError> {
        let failed = InstallError::io("changing", host.outside(self.path()));
        self.try_redo(host).map_err(failed)
    }

    fn try_redo(&self, host: &Host) -> io::Result<()> {
        match self {
            Self::Remove { path, .. } => match host.find(path)? {
                Some(found) if found.kind != FileType::Directory => host.unlink(path),
                _ => Ok(()),
            },
            Self::Rmdir { path, .. } => match host.find(path)? {
                Some(found) if found.kind == FileType::Directory => host.rmdir(path),
                _ => Ok(()),
            },
            Self::Mkdir { path, meta, labels } => {
                match host.mkdir(path, 0o700) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(error);
                    }
                    _ => host.set_meta(path, *meta)?,
                }
                label_dir(host, path, labels)
            }
            Self::Place { path, new, .. } => match host.find(new)? {
                Some(_) => host.rename(new, path),
                None => Ok(()),
            },
        }
    }

    /// Undoes the step; nothing, if it was not done or is undone already.
    pub(super) fn undo(&self, host: &Host) -> Result<(), InstallError> {
        let failed = InstallError::io("restoring", host.outside(self.path()));
        self.try_undo(host).map_err(failed)
    }

    fn try_undo(&self, host: &Host) -> io::Result<()> {
        match self {
            Self::Remove { path, old } => restore(host, old, path),
            Self::Rmdir { path, meta } => match host.mkdir(path, 0o700) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => host.set_meta(path, *meta),
            },
            Self::Mkdir { path, .. } => match host.rmdir(path) {
                // What somebody else put there meanwhile is not ours to take.
                Err(error)
                    if !is_absent(&error) && error.kind() != io::ErrorKind::DirectoryNotEmpty =>
                {
                    Err(error)
                }
                _ => Ok(()),
            },
            Self::Place { path, new, old } => match (host.find(new)?, old) {
                (Some(_), _) => Ok(()),
                (None, Some(old)) => restore(host, old, path),
                // Back to where it waited, so that it shows that this step is undone.
                (None, None) => match host.rename(path, new) {
                    Err(error) if !is_absent(&error) => Err(error),
                    _ => Ok(()),
                },
            },
        }
    }

    /// Whether this is a file that was put to its place already.
    fn is_placed(&self, host: &Host) -> Result<bool, InstallError> {
        let Self::Place { new, .. } = self else { return Ok(false) };
        let found = host.find(new).map_err(InstallError::io("reading", host.outside(new)))?;
        Ok(found.is_none())
    }
}

/// The steps that are not done yet, and perhaps some that are, but none before the last file that is in its place: a
/// link among the placed ones could lead an earlier step, done again, to a file that it does not mean.
pub(super) fn to_do<'s>(host: &Host, steps: &'s [Step]) -> Result<&'s [Step], InstallError> {
    let mut left = steps;
    for (number, step) in steps.iter().enumerate() {
        if step.is_placed(host)? {
            left = steps.get(number + 1..).unwrap_or_default();
        }
    }
    Ok(left)
}

/// The steps that may have to be undone, the last one first. What lies below a file or link that is back already is
/// undone; through that link, undoing it again would hit something else.
pub(super) fn to_undo<'s>(host: &Host, steps: &'s [Step]) -> Result<Vec<&'s Step>, InstallError> {
    let mut back = BTreeSet::new();
    for step in steps {
        if let Step::Remove { path, .. } = step {
            let found = host.find(path).map_err(InstallError::io("reading", host.outside(path)))?;
            if found.is_some_and(|found| found.kind != FileType::Directory) {
                back.insert(path.as_str());
            }
        }
    }
    let is_below = |path: &str| {
        path.match_indices('/').any(|(end, _)| path.get(..end).is_some_and(|it| back.contains(it)))
    };
    Ok(steps.iter().rev().filter(|step| !is_below(step.path())).collect())
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
    if *labels == Labels::default() { Ok(()) } else { label(&File::from(host.dir(path)?), labels) }
}
