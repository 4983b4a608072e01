//! How an object lies on the disk: its bytes, then a record about it as JSON, the record's length (four bytes, big
//! endian) and a mark of eight bytes. One file per object, so that one rename changes bytes, ETag, metadata and identity
//! together and a crash can never leave the ETag of one upload with the bytes of another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use s3s::checksum::ChecksumHasher;
use s3s::dto::Timestamp;
use serde::{Deserialize, Serialize};

const MARK: &[u8; 8] = b"CUTOBJ01";
const TAIL_BYTES: u64 = 12;
/// A record holds a key (1 KiB), metadata (2 KiB in S3) and little else.
const RECORD_MAX_BYTES: u64 = 1024 * 1024;

/// What is known of an object or a part besides its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) key: String,
    pub(super) identity: u64,
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
    pub(super) modified: Timestamp,
    pub(super) attributes: Attributes,
    pub(super) checksums: Checksums,
}

/// What the uploader said about the object, given back as it was.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Attributes {
    pub(super) metadata: Option<HashMap<String, String>>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<Timestamp>,
}

/// Checksums of the whole body, as base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Checksums {
    pub(super) fn of(hasher: ChecksumHasher) -> Self {
        let sums = hasher.finalize();
        Self {
            crc32: sums.checksum_crc32,
            crc32c: sums.checksum_crc32c,
            crc64nvme: sums.checksum_crc64nvme,
            sha1: sums.checksum_sha1,
            sha256: sums.checksum_sha256,
        }
    }

    /// Each algorithm's name in headers, with its value.
    pub(super) fn named(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("crc32", self.crc32.as_deref()),
            ("crc32c", self.crc32c.as_deref()),
            ("crc64nvme", self.crc64nvme.as_deref()),
            ("sha1", self.sha1.as_deref()),
            ("sha256", self.sha256.as_deref()),
        ]
    }
}

impl Record {
    /// Appends the record to `file`, which holds exactly the object's bytes and is positioned at their end.
    pub(super) fn append(&self, mut file: &File) -> io::Result<()> {
        let mut tail = serde_json::to_vec(self)?;
        let length = u32::try_from(tail.len()).map_err(io::Error::other)?;
        tail.extend_from_slice(&length.to_be_bytes());
        tail.extend_from_slice(MARK);
        file.write_all(&tail)
    }

    /// Reads the record at the end of `file`. A file without a whole one is [`io::ErrorKind::InvalidData`].
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let length = file.metadata()?.len();
        let tail_at = length
            .checked_sub(TAIL_BYTES)
            .ok_or_else(|| invalid("the file is too short for an object"))?;
        let mut record_length = [0; 4];
        let mut mark = [0; 8];
        file.read_exact_at(&mut record_length, tail_at)?;
        file.read_exact_at(&mut mark, tail_at.saturating_add(4))?;
        let record_length = u64::from(u32::from_be_bytes(record_length));
        if &mark != MARK || record_length > RECORD_MAX_BYTES {
            return Err(invalid("the file does not end like an object"));
        }
        let size = tail_at
            .checked_sub(record_length)
            .ok_or_else(|| invalid("the file is shorter than its record"))?;
        let mut bytes = vec![0; usize::try_from(record_length).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, size)?;
        let record: Self = serde_json::from_slice(&bytes)?;
        if record.size != size {
            return Err(invalid("the file's length differs from its record"));
        }
        Ok(record)
    }
}
