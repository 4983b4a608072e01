//! Fetching a bundle over HTTP into a file, and checking that it is the one that was registered.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use wire::host::Bundle;

use crate::client::without_secrets;

/// How often a download is tried.
pub(super) const TRIES: u32 = 6;

/// Why there is no bundle.
#[derive(Debug, Error)]
pub(super) enum DownloadError {
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
}

/// Writes the body to the file. The inner error is one of the connection, that may be tried again.
pub(super) async fn stream(
    mut response: reqwest::Response,
    path: &Path,
    bundle: &Bundle,
) -> Result<Result<(), String>, DownloadError> {
    let failed = |source| DownloadError::Write { path: path.to_owned(), source };
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
    let other = |found: String, expected: String| DownloadError::Other { found, expected };
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
