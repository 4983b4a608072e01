//! Keeping the bytes of revisions: from the bucket where they were uploaded into our own, under their SHA-256.
//!
//! An object is read once, in one stream, into a spool file; what is validated is what is hashed, kept and handed out.
//! Objects up to a megabyte are put without asking whether they are already there, so that pinning a small bundle is
//! two requests. Spool files are removed when a pin ends; a process that was killed leaves its own behind, so the
//! spool directory should be emptied where it starts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bundle::{BundleError, Kind, Limits};
use control::ports::{Bundles, CloudError, Object, PinError, Pinned, Refused};
use engine::{BundleType, Pin, Timestamp};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::limits::{
    KEPT_UNTOUCHED_MAX, OBJECT_BYTES_MAX, PUT_UNASKED_BYTES_MAX, S3_ANSWER_TIMEOUT,
    UPLOAD_BYTES_PER_SECOND_MIN, URL_LIFETIME,
};

/// How much is gathered before the spool file is written to.
const SPOOL_BUFFER_BYTES: usize = 256 << 10;

/// What the keys of kept bundles begin with.
const KEPT: &str = "bundles/";

/// Bundles in a bucket of S3.
#[derive(Debug, Clone)]
pub struct S3Bundles {
    client: Client,
    bucket: String,
    spool: PathBuf,
    announced: Option<String>,
}

impl S3Bundles {
    /// Keeps bundles in `bucket`; `spool` is the directory for what is being read, with room for the largest object.
    pub fn new(client: Client, bucket: impl Into<String>, spool: impl Into<PathBuf>) -> Self {
        Self { client, bucket: bucket.into(), spool: spool.into(), announced: None }
    }

    /// Says that only uploads to `bucket` are heard of.
    #[must_use]
    pub fn announcing(self, bucket: &str) -> Self {
        Self { announced: Some(bucket.to_owned()), ..self }
    }

    /// Asks for the object, and holds what the answer says about it against what is wanted.
    async fn open(&self, wanted: &Object) -> Result<GetObjectOutput, PinError> {
        let request = self
            .client
            .get_object()
            .bucket(&wanted.bucket)
            .key(&wanted.key)
            .set_version_id(wanted.version.clone())
            .customize()
            .config_override(within(S3_ANSWER_TIMEOUT));
        let found = request.send().await.map_err(|error| read_fault(error, wanted))?;
        check_size(
            found.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
        )?;
        let e_tag = unquoted(found.e_tag().unwrap_or_default());
        if let Some(registered) = wanted.e_tag.as_deref().map(unquoted).filter(|tag| *tag != e_tag)
        {
            return Err(refused(format!(
                "the object changed since it was registered: its ETag is `{e_tag}`, not `{registered}`; register it again"
            )));
        }
        let version = found.version_id().unwrap_or("null");
        if let Some(registered) = wanted.version.as_deref().filter(|other| *other != version) {
            return Err(refused(format!(
                "the bucket `{}` gave the version `{version}` of the object, not `{registered}`; turn on its versioning, or register the revision without a version",
                wanted.bucket
            )));
        }
        Ok(found)
    }

    /// Writes the object's bytes into a spool file, and counts and hashes them on the way.
    async fn spool(&self, mut body: ByteStream) -> Result<Spooled, PinError> {
        let full = |source| spool_fault(&self.spool, source);
        let directory = self.spool.clone();
        let file = blocking(move || {
            std::fs::create_dir_all(&directory)?;
            NamedTempFile::with_prefix_in("bundle-", &directory)
        })
        .await?
        .map_err(full)?;
        let writer = tokio::fs::File::from_std(file.reopen().map_err(full)?);
        let mut writer = BufWriter::with_capacity(SPOOL_BUFFER_BYTES, writer);
        let mut hash = Sha256::new();
        let mut size = 0_u64;
        while let Some(bytes) = body.try_next().await.map_err(unavailable)? {
            size = size.saturating_add(bytes.len() as u64);
            check_size(size)?;
            hash.update(&bytes);
            writer.write_all(&bytes).await.map_err(full)?;
        }
        writer.flush().await.map_err(full)?;
        Ok(Spooled { file, digest: hash.finalize().into(), size })
    }

    /// Puts the spooled bytes under their digest, unless they are already there.
    async fn keep(&self, spooled: &Spooled) -> Result<Pin, PinError> {
        let pin = Pin::of_bytes(hex::encode(spooled.digest), spooled.size);
        if pin.size > PUT_UNASKED_BYTES_MAX && self.is_kept(&pin).await? {
            return Ok(pin);
        }
        let path = spooled.file.path();
        let body = ByteStream::from_path(path).await.map_err(unavailable)?;
        let longest = Duration::from_secs(pin.size / UPLOAD_BYTES_PER_SECOND_MIN);
        // The checksum makes S3 refuse other bytes than those that the key promises.
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key_of(&pin))
            .checksum_sha256(STANDARD.encode(spooled.digest))
            .body(body)
            .customize()
            .config_override(within(S3_ANSWER_TIMEOUT + longest))
            .send()
            .await
            .map_err(unavailable)?;
        Ok(pin)
    }

    /// Keeps the runner whose SHA-256 is `digest` where hosts can fetch it, unless it is there already.
    ///
    /// # Errors
    /// `Unavailable`, when the bucket does not answer or refuses.
    pub async fn keep_runner(&self, digest: &str, bytes: Vec<u8>) -> Result<(), CloudError> {
        let key = runner_key(digest);
        let asked = self.client.head_object().bucket(&self.bucket).key(&key);
        if asked.send().await.is_ok() {
            return Ok(());
        }
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(bytes.into());
        put.send().await.map(drop).map_err(|error| {
            let (service, operation) = ("S3", "PutObject of the runner");
            if let SdkError::ServiceError(context) = &error
                && context.err().code() == Some("AccessDenied")
            {
                let message = context.err().message().unwrap_or("no reason given").to_owned();
                return CloudError::Refused { service, operation, message };
            }
            CloudError::Unavailable { service, operation, source: Box::new(error) }
        })
    }

    /// Whether the bytes are kept, and were put not so long ago that somebody may be about to remove them.
    async fn is_kept(&self, pin: &Pin) -> Result<bool, PinError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key_of(pin));
        let request = request.customize().config_override(within(S3_ANSWER_TIMEOUT));
        match request.send().await {
            Ok(there) => {
                let put = there.last_modified().and_then(|at| SystemTime::try_from(*at).ok());
                let age = put.and_then(|put| put.elapsed().ok()).unwrap_or_default();
                let is_whole = there.content_length().and_then(|n| u64::try_from(n).ok());
                Ok(is_whole == Some(pin.size) && age < KEPT_UNTOUCHED_MAX)
            }
            // Without the right to list the bucket, S3 answers 403 for what is not there.
            Err(SdkError::ServiceError(error)) if error.raw().status().is_client_error() => {
                Ok(false)
            }
            Err(error) => Err(unavailable(error)),
        }
    }
}

#[async_trait]
impl Bundles for S3Bundles {
    async fn pin(&self, object: &Object) -> Result<Pinned, PinError> {
        let found = self.open(object).await?;
        let e_tag = found.e_tag().map(|tag| unquoted(tag).to_owned());
        let version = found.version_id().map(str::to_owned);
        let spooled = self.spool(found.body).await?;
        let file = spooled.file.reopen().map_err(|source| spool_fault(&self.spool, source))?;
        let Inspected { bundle_type, hooks_s } = blocking(move || inspect(file)).await??;
        let kept = self.keep(&spooled).await?;
        let pin = Pin { hooks_s: Some(hooks_s), e_tag, version, ..kept };
        Ok(Pinned { pin, bundle_type })
    }

    fn announced(&self) -> Option<&str> {
        self.announced.as_deref()
    }

    async fn find(&self, object: &Object) -> Result<(), PinError> {
        self.open(object).await.map(drop)
    }

    async fn read(&self, object: &Object, limit: usize) -> Result<String, PinError> {
        let mut body = self.open(object).await?.body;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.try_next().await.map_err(unavailable)? {
            if bytes.len() + chunk.len() > limit {
                return Err(refused(format!("the AppSpec is longer than {limit} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| refused("the AppSpec is no text in UTF-8".to_owned()))
    }

    async fn kept_before(&self, before: Timestamp) -> Result<BTreeSet<String>, PinError> {
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(KEPT);
        let mut pages = list.into_paginator().send();
        let mut found = BTreeSet::new();
        while let Some(page) = pages.next().await {
            for object in page.map_err(unavailable)?.contents() {
                let is_old = is_put_before(object.last_modified(), before);
                let digest = object.key().and_then(|key| key.strip_prefix(KEPT));
                found.extend(digest.filter(|_| is_old).map(str::to_owned));
            }
        }
        Ok(found)
    }

    async fn remove(&self, digest: &str, before: Timestamp) -> Result<(), PinError> {
        let key = format!("{KEPT}{digest}");
        let asked = self.client.head_object().bucket(&self.bucket).key(&key).send().await;
        let found = match asked {
            // As below, 403 also stands for what is not there any more.
            Err(SdkError::ServiceError(error)) if error.raw().status().is_client_error() => {
                return Ok(());
            }
            asked => asked.map_err(unavailable)?,
        };
        if !is_put_before(found.last_modified(), before) {
            return Ok(());
        }
        // Of this version alone, where there are versions: what somebody puts meanwhile stays.
        let delete = self.client.delete_object().bucket(&self.bucket).key(key);
        let delete = delete.set_version_id(found.version_id().map(str::to_owned));
        delete.send().await.map(drop).map_err(unavailable)
    }

    async fn url(&self, pin: &Pin) -> Result<String, PinError> {
        let expiry = PresigningConfig::expires_in(URL_LIFETIME).map_err(unavailable)?;
        let request = self.client.get_object().bucket(&self.bucket).key(key_of(pin));
        let signed = request.presigned(expiry).await.map_err(unavailable)?;
        Ok(signed.uri().to_owned())
    }

    async fn runner_url(&self, digest: &str) -> Result<String, PinError> {
        let expiry = PresigningConfig::expires_in(URL_LIFETIME).map_err(unavailable)?;
        let request = self.client.get_object().bucket(&self.bucket).key(runner_key(digest));
        let signed = request.presigned(expiry).await.map_err(unavailable)?;
        Ok(signed.uri().to_owned())
    }
}

/// The key of a runner in the bucket of bundles.
pub fn runner_key(digest: &str) -> String {
    format!("runners/{digest}")
}

/// A whole object on disk.
struct Spooled {
    /// Removed when dropped.
    file: NamedTempFile,
    digest: [u8; 32],
    size: u64,
}

/// What went wrong on this side of the bucket.
#[derive(Debug, Error)]
enum SpoolError {
    #[error("the spool directory `{}` cannot be written to; make room there: {source}", .directory.display())]
    Write { directory: PathBuf, source: io::Error },
    #[error("the spooled bundle cannot be read")]
    Read(#[source] BundleError),
    #[error("reading the bundle was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// What is kept of a look at an archive.
struct Inspected {
    bundle_type: BundleType,
    /// The time-outs of all hooks together, in seconds.
    hooks_s: u32,
}

/// Checks the whole archive.
fn inspect(file: File) -> Result<Inspected, PinError> {
    match bundle::inspect(file, &Limits::default()) {
        Ok(inspection) => Ok(Inspected {
            bundle_type: type_of(inspection.kind),
            hooks_s: inspection.appspec.hooks_s(),
        }),
        Err(error @ (BundleError::Read(_) | BundleError::Sink { .. })) => {
            Err(unavailable(SpoolError::Read(error)))
        }
        Err(error) => Err(PinError::Refused(Refused {
            message: error.to_string(),
            file: error.file().map(str::to_owned),
            position: error.position(),
        })),
    }
}

fn type_of(kind: Kind) -> BundleType {
    match kind {
        Kind::Tar => BundleType::Tar,
        Kind::Tgz => BundleType::Tgz,
        Kind::Zip => BundleType::Zip,
    }
}

fn key_of(pin: &Pin) -> String {
    format!("{KEPT}{}", pin.sha256)
}

/// Whether an object was put before `before`; one of which that is not known was not.
fn is_put_before(put: Option<&DateTime>, before: Timestamp) -> bool {
    let put = put.and_then(|at| u64::try_from(at.to_millis().ok()?).ok());
    put.is_some_and(|ms| ms < before.0)
}

fn check_size(bytes: u64) -> Result<(), PinError> {
    if bytes <= OBJECT_BYTES_MAX {
        return Ok(());
    }
    Err(refused(format!(
        "the object is larger than {} GiB; leave out what the hosts do not need",
        OBJECT_BYTES_MAX >> 30
    )))
}

/// The meaning of an error of reading the object that is wanted.
fn read_fault<E>(error: SdkError<E>, wanted: &Object) -> PinError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Object { bucket, key, .. } = wanted;
    let SdkError::ServiceError(context) = &error else { return unavailable(error) };
    let reason = context.err().message().unwrap_or("no reason given");
    match context.err().code() {
        Some("NoSuchKey" | "NoSuchBucket") => {
            PinError::Missing { bucket: bucket.clone(), key: key.clone() }
        }
        // What S3 says of a version that is only a mark of deletion is MethodNotAllowed.
        Some("NoSuchVersion" | "MethodNotAllowed") => refused(format!(
            "the object `{key}` in bucket `{bucket}` has no version `{}`; register another one",
            wanted.version.as_deref().unwrap_or_default()
        )),
        Some("AccessDenied") => refused(format!(
            "reading the object `{key}` in bucket `{bucket}` is not allowed; allow `s3:GetObject` and `s3:GetObjectVersion`, and `s3:ListBucket` to see whether it exists"
        )),
        Some("InvalidObjectState") => refused(format!(
            "the object `{key}` in bucket `{bucket}` is archived; restore it first"
        )),
        Some(
            "AuthorizationHeaderMalformed"
            | "InvalidArgument"
            | "InvalidBucketName"
            | "KeyTooLongError"
            | "PermanentRedirect",
        ) => refused(format!(
            "the object `{key}` in bucket `{bucket}` cannot be asked for ({reason}); check its bucket, region, key and version"
        )),
        Some(_) | None => unavailable(error),
    }
}

/// The client's configuration with a time limit for each attempt, up to the beginning of the answer.
fn within(limit: Duration) -> aws_sdk_s3::config::Builder {
    let timeout = TimeoutConfig::builder().operation_attempt_timeout(limit).build();
    aws_sdk_s3::Config::builder().timeout_config(timeout)
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PinError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|interrupted| unavailable(SpoolError::Interrupted(interrupted)))
}

fn spool_fault(directory: &Path, source: io::Error) -> PinError {
    unavailable(SpoolError::Write { directory: directory.to_owned(), source })
}

fn unavailable(cause: impl std::error::Error + Send + Sync + 'static) -> PinError {
    PinError::Unavailable(Box::new(cause))
}

fn refused(message: String) -> PinError {
    PinError::Refused(Refused { message, file: None, position: None })
}

fn unquoted(e_tag: &str) -> &str {
    e_tag.trim_matches('"')
}

#[cfg(test)]
mod tests;
