//! The note of which archive a deployment uses, in the deployment's directory.

use std::io;
use std::path::{Path, PathBuf};

use durable::Disk;
use engine::DeploymentId;
use serde::{Deserialize, Serialize};

/// The note's file.
const REVISION: &str = "revision";

/// Which archive a deployment uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revision {
    /// SHA-256 of the bundle.
    pub(crate) sha256: String,
    /// The deployment that the archive was unpacked for.
    pub(crate) archive_of: DeploymentId,
    /// What the archive was like when it was unpacked.
    pub(crate) fingerprint: String,
    boot: String,
}

impl Revision {
    /// The note of an archive that was just unpacked.
    pub(crate) fn unpacked(sha256: String, archive_of: DeploymentId, fingerprint: String) -> Self {
        Self { sha256, archive_of, fingerprint, boot: boot() }
    }

    /// Whether the machine has not been started anew since the archive was unpacked.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        self.boot == boot()
    }
}

/// The note of a deployment's archive, if there is one.
pub(crate) fn read(deployment: &Path) -> Option<Revision> {
    serde_json::from_slice(&std::fs::read(deployment.join(REVISION)).ok()?).ok()
}

/// Notes which archive a deployment uses; an error names the file.
pub(crate) fn note(deployment: &Path, revision: &Revision) -> Result<(), (PathBuf, io::Error)> {
    let path = deployment.join(REVISION);
    let bytes = serde_json::to_vec(revision).unwrap_or_default();
    let written = Disk::default().replace(&path, &bytes, 0o600);
    written.map_err(|source| (path, source))
}

/// Which start of the machine this is.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
