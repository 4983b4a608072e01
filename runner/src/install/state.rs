//! What a group has installed on the host, and what is kept of what it had before: two small files in the group's
//! directory, each replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use durable::Disk;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::InstallError;
use super::host::{Meta, Stamp};

/// What one deployment installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Counts the installs of the group; names the directories of each.
    pub(super) sequence: u64,
    /// SHA-256 of the bundle.
    pub(super) revision: String,
    /// Files and links by their path on the host.
    pub(super) files: BTreeMap<String, Installed>,
    /// Directories that an install of this group created.
    pub(super) dirs: BTreeSet<String>,
    /// The directories of the runner, one on each mount that it installed to.
    pub(super) stores: BTreeSet<String>,
}

/// One file as it was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Installed {
    /// Its path in the bundle.
    pub(super) source: String,
    pub(super) stamp: Stamp,
    pub(super) meta: Meta,
    /// Whether its time is that of the install instead of the bundle's, because the file before it had the same time and
    /// size, and another content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) retimed: bool,
}

/// What was installed before, and where its files are kept: those that were replaced or removed since.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Previous {
    pub(super) manifest: Manifest,
    /// The path of the kept file by that on the host.
    pub(super) kept: BTreeMap<String, String>,
}

pub(super) const INSTALLED: &str = "install-current.json";
pub(super) const PREVIOUS: &str = "install-previous.json";
pub(super) const JOURNAL: &str = "install-journal.json";

/// Reads a file of the group's directory; none if it is not there.
pub(super) fn load<T: DeserializeOwned>(
    dir: &Path,
    name: &'static str,
) -> Result<Option<T>, InstallError> {
    let path = dir.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(InstallError::io("reading", path)(error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| {
        let remedy = remedy(name);
        InstallError::Record { path, remedy, source }
    })
}

/// What helps if a file of the group's directory is no longer understood.
fn remedy(name: &str) -> &'static str {
    match name {
        JOURNAL => {
            "move the file away, look through the files of the install that was interrupted, and deploy with \
             `file_exists_behavior: OVERWRITE`, because the group may not know all of them"
        }
        INSTALLED => {
            "move the file away, and deploy with `file_exists_behavior: OVERWRITE`, because the group then does not know \
             any of its files"
        }
        _ => "move the file away: it only saves copies when the group goes back",
    }
}

/// Replaces a file of the group's directory, durably.
pub(super) fn store<T: Serialize>(
    disk: &Disk,
    dir: &Path,
    name: &str,
    value: &T,
) -> io::Result<()> {
    disk.replace(&dir.join(name), &serde_json::to_vec(value)?, 0o600)
}

/// Removes a file of the group's directory, durably.
pub(super) fn remove(disk: &Disk, dir: &Path, name: &str) -> io::Result<()> {
    disk.remove(&dir.join(name))
}
