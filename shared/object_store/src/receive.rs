//! Receives the body of an upload into a draft, checking every checksum that the client sent along.

use std::sync::Arc;

use futures::StreamExt;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{ChecksumAlgorithm, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, TrailingHeaders, s3_error};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::disk::{Disk, Draft, storage_error};
use super::record::Checksums;

/// One write to the disk per this many bytes.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// The buffer that tokio keeps besides, which would otherwise grow to 2 MiB per upload.
const FILE_BUFFER_BYTES: usize = 256 * 1024;

/// What the client said about the body.
pub(super) struct Claims<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) trailers: Option<TrailingHeaders>,
    pub(super) algorithm: Option<ChecksumAlgorithm>,
}

/// Receives `body` whole, or leaves nothing. The answer's `checksums` are those that the client asked for.
pub(super) async fn receive(
    disk: &Arc<Disk>,
    body: Option<StreamingBlob>,
    claims: Claims<'_>,
) -> S3Result<Draft> {
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let mut draft = disk.draft()?;
    let mut file = tokio::fs::File::from_std(draft.file.try_clone().map_err(storage_error)?);
    file.set_max_buf_size(FILE_BUFFER_BYTES);
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
    let mut hasher = claims.hasher()?;
    let mut md5 = Md5::new();
    let mut size: u64 = 0;
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(broken_body)?;
        md5.update(&bytes);
        hasher.update(&bytes);
        writer.write_all(&bytes).await.map_err(storage_error)?;
        size = size.saturating_add(u64::try_from(bytes.len()).map_err(S3Error::internal_error)?);
    }
    writer.flush().await.map_err(storage_error)?;
    draft.size = size;
    let md5 = md5.finalize();
    draft.etag = hex::encode(md5);
    draft.checksums = Checksums::of(hasher);
    claims.check(&draft)?;
    Ok(draft)
}

impl Claims<'_> {
    fn hasher(&self) -> S3Result<ChecksumHasher> {
        let announced = self.header("x-amz-trailer").unwrap_or_default();
        let asked = self.algorithm.as_ref().map_or("", ChecksumAlgorithm::as_str);
        let wants = |name: &str| {
            let header = format!("x-amz-checksum-{name}");
            asked.eq_ignore_ascii_case(name)
                || self.headers.contains_key(&header)
                || announced.split(',').any(|trailer| trailer.trim().eq_ignore_ascii_case(&header))
        };
        let known = Checksums::default().named().map(|(name, _)| name);
        if !asked.is_empty() && !known.iter().any(|name| asked.eq_ignore_ascii_case(name)) {
            return Err(s3_error!(
                NotImplemented,
                "the checksum algorithm `{}` is not known",
                asked
            ));
        }
        Ok(ChecksumHasher {
            crc32: wants("crc32").then(Default::default),
            crc32c: wants("crc32c").then(Default::default),
            sha1: wants("sha1").then(Default::default),
            sha256: wants("sha256").then(Default::default),
            crc64nvme: wants("crc64nvme").then(Default::default),
        })
    }

    fn check(&self, draft: &Draft) -> S3Result<()> {
        if let Some(length) = self.header("x-amz-decoded-content-length")
            && length != draft.size.to_string()
        {
            return Err(s3_error!(IncompleteBody));
        }
        if let Some(claimed) = self.header("content-md5") {
            let computed = base64_of_hex(&draft.etag)?;
            differ("md5", claimed, &computed)?;
        }
        let trailers = self.trailers.as_ref().and_then(TrailingHeaders::take);
        for (name, computed) in draft.checksums.named() {
            let Some(computed) = computed else { continue };
            let header = format!("x-amz-checksum-{name}");
            let trailer = trailers.as_ref().and_then(|trailers| trailers.get(&header));
            let claimed = match trailer {
                Some(value) => Some(value.to_str().map_err(|_| s3_error!(InvalidArgument))?),
                None => self.header(&header),
            };
            if let Some(claimed) = claimed {
                differ(name, claimed, computed)?;
            }
        }
        Ok(())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn differ(name: &str, claimed: &str, computed: &str) -> S3Result<()> {
    if claimed.trim() == computed {
        return Ok(());
    }
    Err(s3_error!(
        BadDigest,
        "the {} of the body is `{}`, but the request says `{}`: it changed on its way, upload it again",
        name,
        computed,
        claimed
    ))
}

fn base64_of_hex(digest: &str) -> S3Result<String> {
    use base64::Engine as _;
    let bytes = hex::decode(digest).map_err(S3Error::internal_error)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// The body broke off, or its signature or hash was wrong. The cause says which.
fn broken_body(cause: StdError) -> S3Error {
    let message =
        format!("the body is incomplete or was changed on its way: {cause}; nothing was stored");
    let mut error = S3Error::with_message(S3ErrorCode::IncompleteBody, message);
    error.set_source(cause);
    error
}
