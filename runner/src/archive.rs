//! The bundle of a deployment on the host: brought, unpacked, and used again by later deployments of equal bytes, so that
//! a rollback downloads nothing.
//!
//! An archive is used again only as long as it is what was unpacked (names, sizes, times), since hooks may write into
//! theirs, and only until the machine restarts, since it is not forced to the disk.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use engine::DeploymentId;
use engine::appspec::{AppSpec, Os};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use wire::host::Bundle;

use crate::group::{Group, GroupLock};
use crate::orders::{NoBundle, Orders};
use crate::revision::{self, Revision, read};
use crate::unpack::{UnpackError, unpack};

/// The directory of an unpacked bundle, in that of its deployment.
pub(crate) const ARCHIVE: &str = "archive";

/// Why there is no archive.
#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    #[error(transparent)]
    NoBundle(NoBundle),
    #[error("`{}` could not be written: {source}; check the free space of the disk", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("unpacking the bundle broke off: {0}; deploy again")]
    BrokeOff(tokio::task::JoinError),
}

/// Where the archive of a deployment lies, if it has one that is still there as a whole.
pub(crate) fn usable(group: &Group, id: &DeploymentId) -> Option<PathBuf> {
    let revision = read(&group.deployment(id))?;
    let path = group.deployment(&revision.archive_of).join(ARCHIVE);
    (revision.is_of_this_boot() && path.is_dir()).then_some(path)
}

/// Makes the bundle lie unpacked for a deployment. Returns a sentence for the event's log.
pub(crate) async fn obtain(
    (group, lock): (&Group, &GroupLock),
    id: &DeploymentId,
    bundle: &Bundle,
    orders: &impl Orders,
) -> Result<String, ArchiveError> {
    let (search, own, sha256) = (group.clone(), id.clone(), bundle.sha256.clone());
    let found = blocking(lock, move || find(&search, &own, &sha256)).await?;
    if let Some((archive_of, revision)) = found {
        note(&group.deployment(id), &revision)?;
        return Ok(format!(
            "the bundle lies unpacked on this host already, since {archive_of}: nothing was fetched"
        ));
    }
    let dir = group.deployment(id);
    let file = dir.join("bundle");
    orders.bundle(bundle, &file).await.map_err(ArchiveError::NoBundle)?;
    let (unpacked, from) = (dir.join("archive.new"), file.clone());
    let target = dir.join(ARCHIVE);
    let (fingerprint, warnings) = blocking(lock, move || -> Result<_, ArchiveError> {
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| ArchiveError::Write { path, source }
        };
        for old in [&unpacked, &target] {
            if old.exists() {
                std::fs::remove_dir_all(old).map_err(write(old))?;
            }
        }
        let warnings = unpack(&from, &unpacked, &bundle::Limits::default())?.warnings;
        std::fs::rename(&unpacked, &target).map_err(write(&target))?;
        std::fs::remove_file(&from).map_err(write(&from))?;
        Ok((fingerprint(&target).map_err(write(&target))?, warnings))
    })
    .await??;
    note(&dir, &Revision::unpacked(bundle.sha256.clone(), id.clone(), fingerprint))?;
    let fetched = format!("fetched {} bytes, SHA-256 {}", bundle.size, bundle.sha256);
    Ok(std::iter::once(fetched).chain(warnings).collect::<Vec<_>>().join("; "))
}

fn note(deployment: &Path, revision: &Revision) -> Result<(), ArchiveError> {
    let noted = revision::note(deployment, revision);
    noted.map_err(|(path, source)| ArchiveError::Write { path, source })
}

/// An archive of equal bytes, the deployment's own first.
fn find(group: &Group, own: &DeploymentId, sha256: &str) -> Option<(DeploymentId, Revision)> {
    let others = group.deployments();
    let candidates = std::iter::once(own).chain(others.iter());
    candidates.map(|id| (id, read(&group.deployment(id)))).find_map(|(id, revision)| {
        let revision = revision.filter(|it| it.sha256 == sha256 && it.is_of_this_boot())?;
        let archive = group.deployment(&revision.archive_of).join(ARCHIVE);
        let is_same = fingerprint(&archive).is_ok_and(|now| now == revision.fingerprint);
        is_same.then(|| (id.clone(), revision))
    })
}

/// Names, sizes and times of everything in a tree, as one digest.
fn fingerprint(archive: &Path) -> io::Result<String> {
    let mut found = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(archive.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            let meta = entry.metadata()?;
            if meta.is_dir() {
                left.push(path.clone());
                found.insert(path, (0, 0, 0));
            } else {
                found.insert(path, (meta.len(), meta.mtime(), meta.mtime_nsec()));
            }
        }
    }
    let mut digest = Sha256::new();
    for (path, facts) in found {
        digest.update(format!("{path:?} {facts:?}\n"));
    }
    Ok(hex::encode(digest.finalize()))
}

async fn blocking<T: Send + 'static>(
    lock: &GroupLock,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ArchiveError> {
    lock.blocking(work).await.map_err(ArchiveError::BrokeOff)
}

/// The AppSpec of an archive. Which of the two names it has, and that it has one only, was checked when it was unpacked.
pub(crate) fn read_appspec(archive: &Path) -> Result<AppSpec, String> {
    let yml = archive.join("appspec.yml");
    let path = if yml.exists() { yml } else { archive.join("appspec.yaml") };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = std::fs::read(&path).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    let spec = engine::appspec::parse(&text).map_err(|error| error.in_file(&name))?;
    spec.check_os(Os::Linux).map_err(|error| error.in_file(&name))?;
    Ok(spec)
}
