//! Buckets and objects on the disk.
//!
//! A bucket is a directory, an object one file (see `record`) named by the SHA-256 of its key, so no key can escape the
//! directory, collide with another (`a` and `a/b`) or be too long for a file name. An upload is received into a draft
//! and becomes visible by one rename. Commits happen one after the other: identities, contents and announcements have
//! the same order.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use durable::Disk as Layer;
use s3s::crypto::{Checksum as _, Md5, Sha256};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use tokio::sync::mpsc::UnboundedSender;

use super::outbox::{Entry, Outbox};
use super::record::{Attributes, Checksums, Record};
use super::uploaded::Uploaded;

const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// All of the store's state. Every method blocks.
#[derive(Debug)]
pub(super) struct Disk {
    buckets: PathBuf,
    drafts: PathBuf,
    pub(super) multipart: PathBuf,
    watched: Vec<String>,
    /// The buckets that always are there.
    made: Vec<String>,
    next_draft: AtomicU64,
    outbox: Arc<Mutex<Outbox>>,
    uploads: UnboundedSender<Uploaded>,
}

/// Bytes that were received but are not visible. Dropping it removes them.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) checksums: Checksums,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a commit the file has moved; otherwise the next start removes what cannot be removed now.
        let _gone = fs::remove_file(&self.path).is_ok();
    }
}

/// Where a draft is to become visible, and under which conditions.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) attributes: Attributes,
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    /// The file that says that the multipart upload is open; it ends with the commit.
    pub(super) multipart: Option<PathBuf>,
}

impl Disk {
    /// Opens the store and announces what was not acknowledged before. `root` is made if missing.
    pub(super) fn open(
        root: &Path,
        watched: Vec<String>,
        made: Vec<String>,
        uploads: UnboundedSender<Uploaded>,
    ) -> io::Result<Self> {
        let directory = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).map(|()| path)
        };
        // Whoever may read an object has a key; that goes for what earlier versions left open to all, too.
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        fs::set_permissions(root, Permissions::from_mode(0o700))?;
        let drafts = directory("drafts")?;
        for draft in fs::read_dir(&drafts)? {
            fs::remove_file(draft?.path())?;
        }
        let outbox = Outbox::open(directory("uploads")?, &root.join("starts"))?;
        let disk = Self {
            buckets: directory("buckets")?,
            drafts,
            multipart: directory("multipart")?,
            watched,
            made,
            next_draft: AtomicU64::new(0),
            outbox: Arc::new(Mutex::new(outbox)),
            uploads,
        };
        disk.made.iter().try_for_each(|bucket| disk.ensure_bucket(bucket))?;
        disk.announce_again()?;
        Ok(disk)
    }

    /// Announces what was uploaded and not handled.
    pub(super) fn announce_again(&self) -> io::Result<()> {
        let outbox = lock(&self.outbox);
        for (identity, entry) in outbox.entries()? {
            let path = self.object_path(&entry.bucket, &entry.key);
            let current = match File::open(&path).and_then(|file| Record::read(&file)) {
                Ok(record) => Some(record),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            match current {
                Some(record) if record.identity == identity => {
                    self.announce(&entry.bucket, &record);
                }
                // The crash came before the object was visible, or it was deleted or overwritten since: its bytes are
                // gone, and an upload that took its place is announced by itself.
                Some(_) | None => outbox.remove(identity)?,
            }
        }
        Ok(())
    }

    fn announce(&self, bucket: &str, record: &Record) {
        let uploaded = Uploaded {
            bucket: bucket.to_owned(),
            key: record.key.clone(),
            identity: record.identity,
            etag: record.etag.clone(),
            size: record.size,
        };
        if self.uploads.send(uploaded).is_err() {
            tracing::debug!("nobody listens for uploads; the next start announces this one");
        }
    }

    /// What acknowledgements go to. It does not keep the rest of the store alive.
    pub(super) fn outbox(&self) -> Arc<Mutex<Outbox>> {
        Arc::clone(&self.outbox)
    }

    /// The directory of a bucket that exists.
    pub(super) fn bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let path = self.buckets.join(bucket);
        if path.is_dir() {
            return Ok(path);
        }
        Err(s3_error!(NoSuchBucket, "there is no bucket `{}` here: create it first", bucket))
    }

    /// Makes a bucket if it is missing.
    fn ensure_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.buckets.join(bucket))?;
        Layer::default().sync_names(&self.buckets)
    }

    pub(super) fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        match fs::create_dir(self.buckets.join(bucket)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(s3_error!(BucketAlreadyOwnedByYou, "the bucket `{}` exists already", bucket))
            }
            made => made
                .and_then(|()| Layer::default().sync_names(&self.buckets))
                .map_err(storage_error),
        }
    }

    pub(super) fn delete_bucket(&self, bucket: &str) -> S3Result<()> {
        if self.made.iter().any(|made| made == bucket) {
            return Err(s3_error!(
                AccessDenied,
                "the bucket `{}` is the home's own and stays: delete what is in it",
                bucket
            ));
        }
        let _commits_wait = lock(&self.outbox);
        match fs::remove_dir(self.bucket(bucket)?) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Err(s3_error!(
                BucketNotEmpty,
                "the bucket `{}` still has objects: delete them first",
                bucket
            )),
            removed => removed.map_err(storage_error),
        }
    }

    /// Names of all buckets with the time of their last change, in order.
    pub(super) fn buckets(&self) -> S3Result<Vec<(String, SystemTime)>> {
        let mut buckets = Vec::new();
        for entry in fs::read_dir(&self.buckets).map_err(storage_error)? {
            let entry = entry.map_err(storage_error)?;
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if let Ok(name) = entry.file_name().into_string() {
                buckets.push((name, modified.map_err(storage_error)?));
            }
        }
        buckets.sort();
        Ok(buckets)
    }

    /// The object's file, positioned at its first byte, and its record. The file stays what it is while it is open.
    pub(super) fn object(&self, bucket: &str, key: &str) -> S3Result<(File, Record)> {
        self.bucket(bucket)?;
        let path = self.object_path(bucket, key);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(s3_error!(NoSuchKey, "there is no object `{}` in `{}`", key, bucket));
            }
            opened => opened.map_err(storage_error)?,
        };
        let record = Record::read(&file).map_err(storage_error)?;
        Ok((file, record))
    }

    /// As [`Disk::object`], and the object must still be the upload `version`, if that is given.
    pub(super) fn version(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> S3Result<(File, Record)> {
        let (file, record) = self.object(bucket, key)?;
        match version {
            Some(version) if version != format_identity(record.identity) => Err(s3_error!(
                NoSuchVersion,
                "the upload `{}` of `{}` was overwritten; only the newest is kept",
                version,
                key
            )),
            Some(_) | None => Ok((file, record)),
        }
    }

    /// Records of all objects whose key begins with `prefix`, in the order of their keys.
    pub(super) fn records(&self, bucket: &str, prefix: &str) -> S3Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(self.bucket(bucket)?).map_err(storage_error)? {
            let path = entry.map_err(storage_error)?.path();
            match File::open(&path).and_then(|file| Record::read(&file)) {
                Ok(record) if record.key.starts_with(prefix) => records.push(record),
                Ok(_) => {}
                // Deleted while we were reading the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "left a damaged object out of a list");
                }
            }
        }
        records.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(records)
    }

    /// Removes the object, if it is there and still is the upload `version`.
    pub(super) fn delete(&self, bucket: &str, key: &str, version: Option<&str>) -> S3Result<()> {
        let _commits_wait = lock(&self.outbox);
        let directory = self.bucket(bucket)?;
        if version.is_some() {
            match self.version(bucket, key, version) {
                Err(error) if is_absence(&error) => return Ok(()),
                found => drop(found?),
            }
        }
        match fs::remove_file(self.object_path(bucket, key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| Layer::default().sync_names(&directory))
                .map_err(storage_error),
        }
    }

    /// An empty draft.
    pub(super) fn draft(&self) -> S3Result<Draft> {
        let number = self.next_draft.fetch_add(1, Ordering::Relaxed);
        let path = self.drafts.join(number.to_string());
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(storage_error)?;
        Ok(Draft { path, file, size: 0, etag: String::new(), checksums: Checksums::default() })
    }

    /// Makes a draft the object `target`: durable, visible at once or not at all, and announced if its bucket is watched.
    pub(super) fn commit(&self, draft: Draft, target: Target) -> S3Result<Record> {
        // The long sync happens before others have to wait.
        draft.file.sync_all().map_err(storage_error)?;
        let mut outbox = lock(&self.outbox);
        let directory = self.bucket(&target.bucket)?;
        if let Some(open) = &target.multipart
            && !open.exists()
        {
            return Err(s3_error!(NoSuchUpload));
        }
        self.check_conditions(&target)?;
        let identity = outbox.next().map_err(storage_error)?;
        let record = draft.record(target.key.clone(), identity, target.attributes);
        record.append(&draft.file).map_err(storage_error)?;
        draft.file.sync_all().map_err(storage_error)?;
        let watched = self.watched.contains(&target.bucket);
        if watched {
            let (bucket, key) = (target.bucket.clone(), target.key.clone());
            let entry = Entry { bucket, key };
            outbox.add(identity, &entry).map_err(storage_error)?;
        }
        let path = self.object_path(&target.bucket, &target.key);
        if let Err(error) = fs::rename(&draft.path, path) {
            if watched {
                outbox.remove(identity).map_err(storage_error)?;
            }
            return Err(storage_error(error));
        }
        // From here on the object is visible, so it is announced whatever else fails.
        if watched {
            self.announce(&target.bucket, &record);
        }
        if let Some(open) = &target.multipart
            && let Err(error) = fs::remove_file(open)
        {
            tracing::warn!(%error, path = %open.display(), "cannot close a completed upload");
        }
        Layer::default().sync_names(&directory).map_err(storage_error)?;
        Ok(record)
    }

    fn check_conditions(&self, target: &Target) -> S3Result<()> {
        if target.if_match.is_none() && target.if_none_match.is_none() {
            return Ok(());
        }
        let etag = match self.object(&target.bucket, &target.key) {
            Ok((_, record)) => Some(record.etag),
            Err(error) if is_absence(&error) => None,
            Err(error) => return Err(error),
        };
        let (if_match, if_none_match) = (target.if_match.as_ref(), target.if_none_match.as_ref());
        match etag {
            None if target.if_match.is_some() => Err(s3_error!(NoSuchKey)),
            None => Ok(()),
            Some(etag) if if_match.is_some_and(|wanted| !matches_etag(wanted, &etag)) => {
                Err(s3_error!(PreconditionFailed))
            }
            Some(etag) if if_none_match.is_some_and(|barred| matches_etag(barred, &etag)) => {
                Err(s3_error!(PreconditionFailed))
            }
            Some(_) => Ok(()),
        }
    }

    fn object_path(&self, bucket: &str, key: &str) -> PathBuf {
        let name = hex::encode(Sha256::checksum(key.as_bytes()));
        self.buckets.join(bucket).join(name)
    }
}

impl Draft {
    /// The record for this draft.
    pub(super) fn record(&self, key: String, identity: u64, attributes: Attributes) -> Record {
        Record {
            key,
            identity,
            size: self.size,
            etag: self.etag.clone(),
            modified: Timestamp::from(SystemTime::now()),
            attributes,
            checksums: self.checksums.clone(),
        }
    }

    /// Ends a part of a multipart upload: its record, then its place. It is checked again when the upload is completed.
    pub(super) fn keep_at(self, path: &Path) -> S3Result<Record> {
        let record = self.record(String::new(), 0, Attributes::default());
        record
            .append(&self.file)
            .and_then(|()| fs::rename(&self.path, path))
            .map_err(storage_error)?;
        Ok(record)
    }

    /// Appends `length` bytes of `source` from `start` on; `see` is shown all of them.
    pub(super) fn append(
        &mut self,
        mut source: &File,
        start: u64,
        length: u64,
        mut see: impl FnMut(&[u8]),
    ) -> S3Result<()> {
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        source.seek(SeekFrom::Start(start)).map_err(storage_error)?;
        let mut source = source.take(length);
        loop {
            let count = source.read(&mut buffer).map_err(storage_error)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            see(bytes);
            self.file.write_all(bytes).map_err(storage_error)?;
        }
        if source.limit() > 0 {
            let short = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(storage_error(short));
        }
        self.size = self.size.saturating_add(length);
        Ok(())
    }

    /// As [`Draft::append`] for a whole draft, and sets its ETag to the MD5.
    pub(super) fn fill(&mut self, source: &File, start: u64, length: u64) -> S3Result<()> {
        let mut md5 = Md5::new();
        self.append(source, start, length, |bytes| md5.update(bytes))?;
        self.etag = hex::encode(md5.finalize());
        Ok(())
    }
}

/// Whoever holds this commits alone.
pub(super) fn lock(outbox: &Mutex<Outbox>) -> MutexGuard<'_, Outbox> {
    // The counter is right at every moment, so a panic elsewhere does not spoil it.
    outbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The identity as it is written: twenty digits, so that the order of the texts is the order of the numbers.
pub(super) fn format_identity(identity: u64) -> String {
    format!("{identity:020}")
}

pub(super) fn matches_etag(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(ETag::Strong(value) | ETag::Weak(value)) => value == etag,
    }
}

fn is_absence(error: &S3Error) -> bool {
    matches!(error.code(), S3ErrorCode::NoSuchKey | S3ErrorCode::NoSuchVersion)
}

/// The answer to a request that the disk could not serve.
pub(super) fn storage_error(error: io::Error) -> S3Error {
    tracing::warn!(%error, "the disk could not serve a request to the bucket");
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        let mut full = S3Error::with_message(
            S3ErrorCode::Custom("InsufficientStorage".into()),
            "the disk that holds the bucket is full: nothing was stored or replaced; free some space and upload again",
        );
        // Not 503: tools would repeat the whole upload several times before they tell.
        full.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
        full.set_source(Box::new(error));
        return full;
    }
    let message = format!("the bucket's disk failed: {error}; nothing was stored or replaced");
    let mut failed = S3Error::with_message(S3ErrorCode::InternalError, message);
    failed.set_source(Box::new(error));
    failed
}
