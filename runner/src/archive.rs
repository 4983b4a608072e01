//! The bundle of a deployment on the host: fetched, checked, unpacked, and used again by later deployments of equal bytes,
//! so that a rollback downloads nothing.
//!
//! An archive is used again only as long as it is what was unpacked (names, sizes, times), since hooks may write into
//! theirs, and only until the machine restarts, since it is not forced to the disk.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::Disk;
use engine::DeploymentId;
use engine::appspec::{AppSpec, Os};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use wire::host::Bundle;

use crate::client::{BackOff, CallError, without_secrets};
use crate::group::{Group, GroupLock};
use crate::lease::Lease;
use crate::unpack::{UnpackError, unpack};

/// The directory of an unpacked bundle, in that of its deployment.
pub(crate) const ARCHIVE: &str = "archive";
/// The note in a deployment's directory that says which bundle its archive is.
const REVISION: &str = "revision";
/// How often a download is tried.
const TRIES: u32 = 6;

/// Which archive a deployment uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revision {
    sha256: String,
    /// The deployment that the archive was unpacked for.
    pub(crate) archive_of: DeploymentId,
    fingerprint: String,
    boot: String,
}

/// Why there is no archive.
#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    #[error(
        "the bundle could not be fetched in {TRIES} tries: {0}; check that this host reaches the API's address"
    )]
    Fetch(String),
    #[error(
        "the bundle that was fetched is not the one that was registered: {found}, expected {expected}; upload the \
         revision again"
    )]
    Other { found: String, expected: String },
    #[error("`{}` could not be written: {source}; check the free space of the disk", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("unpacking the bundle broke off: {0}; deploy again")]
    BrokeOff(tokio::task::JoinError),
}

/// The note of a deployment's archive, if there is one.
pub(crate) fn read(deployment: &Path) -> Option<Revision> {
    serde_json::from_slice(&std::fs::read(deployment.join(REVISION)).ok()?).ok()
}

/// Where the archive of a deployment lies, if it has one that is still there as a whole.
pub(crate) fn usable(group: &Group, id: &DeploymentId) -> Option<PathBuf> {
    let revision = read(&group.deployment(id))?;
    let path = group.deployment(&revision.archive_of).join(ARCHIVE);
    (revision.boot == boot() && path.is_dir()).then_some(path)
}

/// Makes the bundle lie unpacked for a deployment. Returns a sentence for the event's log.
pub(crate) async fn obtain(
    (group, lock): (&Group, &GroupLock),
    id: &DeploymentId,
    bundle: &Bundle,
    lease: &Lease,
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
    fetch(&file, bundle, lease).await?;
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
    note(
        &dir,
        &Revision {
            sha256: bundle.sha256.clone(),
            archive_of: id.clone(),
            fingerprint,
            boot: boot(),
        },
    )?;
    let fetched = format!("fetched {} bytes, SHA-256 {}", bundle.size, bundle.sha256);
    Ok(std::iter::once(fetched).chain(warnings).collect::<Vec<_>>().join("; "))
}

fn note(deployment: &Path, revision: &Revision) -> Result<(), ArchiveError> {
    let path = deployment.join(REVISION);
    let bytes = serde_json::to_vec(revision).unwrap_or_default();
    let written = Disk::default().replace(&path, &bytes, 0o600);
    written.map_err(|source| ArchiveError::Write { path, source })
}

/// An archive of equal bytes, the deployment's own first.
fn find(group: &Group, own: &DeploymentId, sha256: &str) -> Option<(DeploymentId, Revision)> {
    let others = group.deployments();
    let candidates = std::iter::once(own).chain(others.iter());
    candidates.map(|id| (id, read(&group.deployment(id)))).find_map(|(id, revision)| {
        let revision = revision.filter(|it| it.sha256 == sha256 && it.boot == boot())?;
        let archive = group.deployment(&revision.archive_of).join(ARCHIVE);
        let is_same = fingerprint(&archive).is_ok_and(|now| now == revision.fingerprint);
        is_same.then(|| (id.clone(), revision))
    })
}

/// Fetches the bundle into a file and checks that it is the right one.
async fn fetch(file: &Path, bundle: &Bundle, lease: &Lease) -> Result<(), ArchiveError> {
    let mut back_off = BackOff::default();
    let mut last = String::new();
    for _ in 0..TRIES {
        let url = lease.bundle_url().await;
        match lease.client().fetch(&url).await {
            Ok(response) => match stream(response, file, bundle).await? {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            },
            // Its URL is short-lived.
            Err(CallError::Status(400..=499)) => {
                "the bundle's URL is not valid any more".clone_into(&mut last);
                lease.claim_again().await;
            }
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(back_off.next(Duration::from_millis(200), Duration::from_secs(5))).await;
    }
    Err(ArchiveError::Fetch(last))
}

/// Writes the body to the file. The inner error is one of the connection, that may be tried again.
async fn stream(
    mut response: reqwest::Response,
    path: &Path,
    bundle: &Bundle,
) -> Result<Result<(), String>, ArchiveError> {
    let failed = |source| ArchiveError::Write { path: path.to_owned(), source };
    // A file of its own: what a process that has just ended still writes goes into the old one.
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).await.map_err(failed)?;
    let mut digest = Sha256::new();
    let mut size = 0_u64;
    let other = |found: String, expected: String| ArchiveError::Other { found, expected };
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => {
                let why = without_secrets(error);
                return Ok(Err(format!("the connection broke off after {size} bytes: {why}")));
            }
        };
        size += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if size > bundle.size {
            return Err(other(
                format!("more than {} bytes", bundle.size),
                format!("{} bytes", bundle.size),
            ));
        }
        digest.update(&chunk);
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    if size < bundle.size {
        return Err(other(format!("{size} bytes"), format!("{} bytes", bundle.size)));
    }
    let found = hex::encode(digest.finalize());
    if found != bundle.sha256 {
        return Err(other(format!("SHA-256 {found}"), bundle.sha256.clone()));
    }
    Ok(Ok(()))
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

/// Which start of the machine this is.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
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
