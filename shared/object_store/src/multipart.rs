//! Uploads in parts: a directory per upload with a file that says what it will become, and a file per part. Parts stay
//! until the object is visible, so a completion that failed (a full disk) can be tried again.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{ChecksumType, CompleteMultipartUploadInput, CompletedPart};
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, Draft, Target, storage_error};
use super::record::{Attributes, Checksums, Record};

/// S3's least size of every part but the last.
const PART_MIN_BYTES: u64 = 5 * 1024 * 1024;
const PART_NUMBER_MAX: i32 = 10_000;

/// What the upload will become.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) attributes: Attributes,
}

/// An open upload's id, and since when it is open.
pub(super) type OpenUpload = (String, Upload, SystemTime);

impl Disk {
    /// Opens an upload; the answer is its id.
    pub(super) fn begin(&self, upload: &Upload) -> S3Result<String> {
        self.bucket(&upload.bucket)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| storage_error(io::Error::other(error)))?;
        let id = hex::encode(id);
        let directory = self.multipart.join(&id);
        let bytes = serde_json::to_vec(upload).map_err(S3Error::internal_error)?;
        fs::create_dir(&directory)
            .and_then(|()| fs::write(directory.join("upload"), bytes))
            .map_err(storage_error)?;
        Ok(id)
    }

    /// The directory of an open upload to that bucket and key, and what it will become.
    pub(super) fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<(PathBuf, Upload)> {
        let absent = || s3_error!(NoSuchUpload, "there is no open upload `{}` of `{}`", id, key);
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(absent());
        }
        let directory = self.multipart.join(id);
        let upload = match fs::read(directory.join("upload")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(absent()),
            read => read.map_err(storage_error)?,
        };
        let upload: Upload = serde_json::from_slice(&upload).map_err(S3Error::internal_error)?;
        if upload.bucket != bucket || upload.key != key {
            return Err(absent());
        }
        Ok((directory, upload))
    }

    /// Where a part of an open upload belongs.
    pub(super) fn part(&self, bucket: &str, key: &str, id: &str, number: i32) -> S3Result<PathBuf> {
        let (directory, _) = self.upload(bucket, key, id)?;
        if !(1..=PART_NUMBER_MAX).contains(&number) {
            return Err(s3_error!(InvalidArgument, "part numbers go from 1 to 10000"));
        }
        Ok(directory.join(part_name(number)))
    }

    /// The parts received so far, in order.
    pub(super) fn parts(&self, bucket: &str, key: &str, id: &str) -> S3Result<Vec<(i32, Record)>> {
        let (directory, _) = self.upload(bucket, key, id)?;
        let mut parts = Vec::new();
        for entry in fs::read_dir(directory).map_err(storage_error)? {
            let entry = entry.map_err(storage_error)?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("part-"));
            let Some(number) = number.and_then(|number| number.parse().ok()) else {
                continue;
            };
            let file = File::open(entry.path()).map_err(storage_error)?;
            parts.push((number, Record::read(&file).map_err(storage_error)?));
        }
        parts.sort_by_key(|(number, _)| *number);
        Ok(parts)
    }

    /// All open uploads to the bucket whose key begins with `prefix`, in the order of their keys.
    pub(super) fn open_uploads(&self, bucket: &str, prefix: &str) -> S3Result<Vec<OpenUpload>> {
        self.bucket(bucket)?;
        let mut uploads = Vec::new();
        for entry in fs::read_dir(&self.multipart).map_err(storage_error)? {
            let entry = entry.map_err(storage_error)?;
            let path = entry.path().join("upload");
            // An upload may end while we read the directory.
            let (Ok(bytes), Ok(id)) = (fs::read(&path), entry.file_name().into_string()) else {
                continue;
            };
            let upload: Upload = serde_json::from_slice(&bytes).map_err(S3Error::internal_error)?;
            if upload.bucket == bucket && upload.key.starts_with(prefix) {
                let begun = fs::metadata(&path).and_then(|metadata| metadata.modified());
                uploads.push((id, upload, begun.unwrap_or(SystemTime::UNIX_EPOCH)));
            }
        }
        uploads.sort_by(|(_, one, _), (_, other, _)| one.key.cmp(&other.key));
        Ok(uploads)
    }

    /// Ends an upload without an object.
    pub(super) fn abort(&self, bucket: &str, key: &str, id: &str) -> S3Result<()> {
        let (directory, _) = self.upload(bucket, key, id)?;
        fs::remove_dir_all(directory).map_err(storage_error)
    }

    /// Makes the object out of the parts that the request names.
    pub(super) fn complete(&self, input: CompleteMultipartUploadInput) -> S3Result<Record> {
        let (directory, upload) = self.upload(&input.bucket, &input.key, &input.upload_id)?;
        let mut draft = self.draft()?;
        let checksums = claimed_checksums(&input);
        let mut hasher = hasher_for(&checksums);
        let parts = input.multipart_upload.and_then(|upload| upload.parts);
        let parts = parts.unwrap_or_default();
        if parts.is_empty() {
            return Err(s3_error!(InvalidPart, "name at least one part"));
        }
        let mut digests = Md5::new();
        let (mut before, last) = (0, parts.len().saturating_sub(1));
        for (index, part) in parts.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            if number <= before {
                return Err(s3_error!(InvalidPartOrder, "part {} follows part {}", number, before));
            }
            before = number;
            let path = directory.join(part_name(number));
            let size = append_part(&mut draft, part, path, &mut hasher, &mut digests)?;
            if index < last && size < PART_MIN_BYTES {
                return Err(s3_error!(EntityTooSmall, "part {} has less than 5 MiB", number));
            }
        }
        draft.etag = format!("{}-{}", hex::encode(digests.finalize()), parts.len());
        draft.checksums = Checksums::of(hasher);
        if draft.checksums != checksums {
            return Err(s3_error!(
                BadDigest,
                "the parts together do not have the checksum of the request"
            ));
        }
        let target = Target {
            bucket: upload.bucket,
            key: upload.key,
            attributes: upload.attributes,
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            multipart: Some(directory.join("upload")),
        };
        let record = self.commit(draft, target)?;
        if let Err(error) = fs::remove_dir_all(&directory) {
            tracing::warn!(%error, path = %directory.display(), "cannot remove the parts of a completed upload");
        }
        Ok(record)
    }
}

/// Appends one part, whose bytes must be those that were received; the answer is its size.
fn append_part(
    draft: &mut Draft,
    part: &CompletedPart,
    path: PathBuf,
    hasher: &mut ChecksumHasher,
    digests: &mut Md5,
) -> S3Result<u64> {
    let number = part.part_number.unwrap_or_default();
    let invalid = || s3_error!(InvalidPart, "part {} was not received with that ETag", number);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(invalid()),
        opened => opened.map_err(storage_error)?,
    };
    let record = Record::read(&file).map_err(|_| invalid())?;
    let mut md5 = Md5::new();
    draft.append(&file, 0, record.size, |bytes| {
        md5.update(bytes);
        hasher.update(bytes);
    })?;
    let digest = md5.finalize();
    let etag = hex::encode(digest);
    let named = part.e_tag.as_ref().is_none_or(|named| named.value() == etag);
    if !named || record.etag != etag {
        return Err(invalid());
    }
    digests.update(&digest);
    Ok(record.size)
}

fn part_name(number: i32) -> String {
    format!("part-{number:05}")
}

/// The checksums of the whole object that the request claims. Those of parts' checksums are left to the parts.
fn claimed_checksums(input: &CompleteMultipartUploadInput) -> Checksums {
    let whole =
        input.checksum_type.as_ref().is_some_and(|kind| kind.as_str() == ChecksumType::FULL_OBJECT);
    if !whole {
        return Checksums::default();
    }
    Checksums {
        crc32: input.checksum_crc32.clone(),
        crc32c: input.checksum_crc32c.clone(),
        crc64nvme: input.checksum_crc64nvme.clone(),
        sha1: input.checksum_sha1.clone(),
        sha256: input.checksum_sha256.clone(),
    }
}

fn hasher_for(checksums: &Checksums) -> ChecksumHasher {
    ChecksumHasher {
        crc32: checksums.crc32.as_ref().map(|_| Default::default()),
        crc32c: checksums.crc32c.as_ref().map(|_| Default::default()),
        crc64nvme: checksums.crc64nvme.as_ref().map(|_| Default::default()),
        sha1: checksums.sha1.as_ref().map(|_| Default::default()),
        sha256: checksums.sha256.as_ref().map(|_| Default::default()),
    }
}
