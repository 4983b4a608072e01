//! S3's operations on the disk. Operations that are not here answer `NotImplemented`.

use std::sync::Arc;

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::disk::{Disk, Target, format_identity, matches_etag, storage_error};
use super::listing::{Page, Query, page};
use super::multipart::Upload;
use super::receive::{Claims, receive};
use super::record::{Attributes, Checksums, Record};

const READ_BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Service(pub(super) Arc<Disk>);

impl Service {
    /// Runs work on the disk off the async threads, to its end even if the client goes away.
    async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let disk = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&disk)).await.map_err(S3Error::internal_error)?
    }

    async fn list(&self, bucket: String, query: Query) -> S3Result<(Query, Page)> {
        self.disk(move |disk| {
            let page = page(&disk.records(&bucket, &query.prefix)?, &query)?;
            Ok((query, page))
        })
        .await
    }
}

type Answer<T> = S3Result<S3Response<T>>;

#[async_trait]
impl S3 for Service {
    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
        let buckets = self.disk(Disk::buckets).await?;
        let buckets = buckets.into_iter().map(|(name, modified)| Bucket {
            name: Some(name),
            creation_date: Some(Timestamp::from(modified)),
            ..Bucket::default()
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            ..ListBucketsOutput::default()
        }))
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
        let bucket = req.input.bucket;
        let location = format!("/{bucket}");
        self.disk(move |disk| disk.create_bucket(&bucket)).await?;
        Ok(S3Response::new(CreateBucketOutput { location: Some(location) }))
    }

    async fn delete_bucket(&self, req: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
        self.disk(move |disk| disk.delete_bucket(&req.input.bucket)).await?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.0.bucket(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.0.bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        // Never enabled: only the newest upload of a key is kept.
        self.0.bucket(&req.input.bucket)?;
        Ok(S3Response::new(GetBucketVersioningOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> Answer<ListObjectsV2Output> {
        let input = req.input;
        let after = match &input.continuation_token {
            Some(token) => token_name(token)?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let query = Query {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter,
            after,
            max_keys: input.max_keys,
            url_encoded: input.encoding_type.is_some(),
        };
        let (query, page) = self.list(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(query.encode(&query.prefix)),
            delimiter: query.delimiter.as_deref().map(|name| query.encode(name)),
            start_after: input.start_after.map(|name| query.encode(&name)),
            continuation_token: input.continuation_token,
            max_keys: Some(page.max_keys),
            key_count: Some(page.count()),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(hex::encode),
            contents: Some(page.objects),
            common_prefixes: Some(page.common_prefixes),
            encoding_type: query.encoding(),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_objects(&self, req: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        let input = req.input;
        let query = Query {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter,
            after: input.marker.clone().unwrap_or_default(),
            max_keys: input.max_keys,
            url_encoded: input.encoding_type.is_some(),
        };
        let (query, page) = self.list(input.bucket.clone(), query).await?;
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(query.encode(&query.prefix)),
            delimiter: query.delimiter.as_deref().map(|name| query.encode(name)),
            marker: Some(query.encode(&query.after)),
            max_keys: Some(page.max_keys),
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next.map(|name| query.encode(&name)),
            contents: Some(page.objects),
            common_prefixes: Some(page.common_prefixes),
            encoding_type: query.encoding(),
            ..ListObjectsOutput::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let input = req.input;
        // An upload to a bucket that is not there is refused before its body is read.
        self.0.bucket(&input.bucket)?;
        let claims = Claims {
            headers: &req.headers,
            trailers: req.trailing_headers,
            algorithm: input.checksum_algorithm,
        };
        let draft = receive(&self.0, input.body, claims).await?;
        let target = Target {
            bucket: input.bucket,
            key: input.key,
            attributes: Attributes {
                metadata: input.metadata,
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: stored_encoding(input.content_encoding),
                content_language: input.content_language,
                content_type: input.content_type,
                expires: input.expires,
            },
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            multipart: None,
        };
        let record = self.disk(move |disk| disk.commit(draft, target)).await?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(record.etag)),
            version_id: Some(format_identity(record.identity)),
            checksum_crc32: record.checksums.crc32,
            checksum_crc32c: record.checksums.crc32c,
            checksum_crc64nvme: record.checksums.crc64nvme,
            checksum_sha1: record.checksums.sha1,
            checksum_sha256: record.checksums.sha256,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let input = req.input;
        let (bucket, key, version) = (input.bucket, input.key, input.version_id);
        let (file, record) =
            self.disk(move |disk| disk.version(&bucket, &key, version.as_deref())).await?;
        check_read(&record, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let whole = 0..record.size;
        let range = match input.range {
            Some(range) => range.check(record.size)?,
            None => whole.clone(),
        };
        let length = range.end.saturating_sub(range.start);
        let content_range = input.range.map(|_| {
            let last = range.end.saturating_sub(1);
            format!("bytes {}-{last}/{}", range.start, record.size)
        });
        let mut file = tokio::fs::File::from_std(file);
        tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(range.start))
            .await
            .map_err(storage_error)?;
        let body = ReaderStream::with_capacity(file.take(length), READ_BUFFER_BYTES);
        let wants_checksum = input.checksum_mode.is_some() && range == whole;
        let sums = if wants_checksum { record.checksums } else { Checksums::default() };
        let attributes = record.attributes;
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(body)),
            content_length: Some(i64::try_from(length).map_err(S3Error::internal_error)?),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(record.etag)),
            last_modified: Some(record.modified),
            version_id: Some(format_identity(record.identity)),
            metadata: attributes.metadata,
            cache_control: input.response_cache_control.or(attributes.cache_control),
            content_disposition: input
                .response_content_disposition
                .or(attributes.content_disposition),
            content_encoding: input.response_content_encoding.or(attributes.content_encoding),
            content_language: input.response_content_language.or(attributes.content_language),
            content_type: input.response_content_type.or(attributes.content_type),
            expires: input.response_expires.or(attributes.expires),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let input = req.input;
        let (bucket, key, version) = (input.bucket, input.key, input.version_id);
        let (_, record) =
            self.disk(move |disk| disk.version(&bucket, &key, version.as_deref())).await?;
        check_read(&record, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let sums = input.checksum_mode.map(|_| record.checksums).unwrap_or_default();
        let attributes = record.attributes;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(i64::try_from(record.size).map_err(S3Error::internal_error)?),
            accept_ranges: Some("bytes".to_owned()),
            e_tag: Some(ETag::Strong(record.etag)),
            last_modified: Some(record.modified),
            version_id: Some(format_identity(record.identity)),
            metadata: attributes.metadata,
            cache_control: attributes.cache_control,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            content_type: attributes.content_type,
            expires: attributes.expires,
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..HeadObjectOutput::default()
        }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        let input = req.input;
        let (bucket, key, version) = source_of(&input.copy_source)?;
        let replaces = input
            .metadata_directive
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        let attributes = replaces.then_some(Attributes {
            metadata: input.metadata,
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_type: input.content_type,
            expires: input.expires,
        });
        let (if_match, if_none_match) =
            (input.copy_source_if_match, input.copy_source_if_none_match);
        let record = self
            .disk(move |disk| {
                let (file, source) = disk.version(&bucket, &key, version.as_deref())?;
                check_read(&source, if_match.as_ref(), if_none_match.as_ref())
                    .map_err(|_| s3_error!(PreconditionFailed))?;
                let mut draft = disk.draft()?;
                draft.fill(&file, 0, source.size)?;
                draft.checksums = source.checksums;
                let target = Target {
                    bucket: input.bucket,
                    key: input.key,
                    attributes: attributes.unwrap_or(source.attributes),
                    if_match: None,
                    if_none_match: None,
                    multipart: None,
                };
                disk.commit(draft, target)
            })
            .await?;
        Ok(S3Response::new(CopyObjectOutput {
            version_id: Some(format_identity(record.identity)),
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(ETag::Strong(record.etag)),
                last_modified: Some(record.modified),
                ..CopyObjectResult::default()
            }),
            ..CopyObjectOutput::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        let input = req.input;
        self.disk(move |disk| disk.delete(&input.bucket, &input.key, input.version_id.as_deref()))
            .await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> Answer<DeleteObjectsOutput> {
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        let quiet = delete.quiet.unwrap_or_default();
        let (deleted, errors) = self
            .disk(move |disk| {
                disk.bucket(&bucket)?;
                let (mut deleted, mut errors) = (Vec::new(), Vec::new());
                for object in delete.objects {
                    match disk.delete(&bucket, &object.key, object.version_id.as_deref()) {
                        Ok(()) => deleted.push(DeletedObject {
                            key: Some(object.key),
                            version_id: object.version_id,
                            ..DeletedObject::default()
                        }),
                        Err(error) => errors.push(Error {
                            code: Some(error.code().as_str().to_owned()),
                            message: error.message().map(str::to_owned),
                            key: Some(object.key),
                            version_id: object.version_id,
                        }),
                    }
                }
                Ok((deleted, errors))
            })
            .await?;
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let input = req.input;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let upload = Upload {
            bucket: input.bucket,
            key: input.key,
            attributes: Attributes {
                metadata: input.metadata,
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                content_type: input.content_type,
                expires: input.expires,
            },
        };
        let id = self.disk(move |disk| disk.begin(&upload)).await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let input = req.input;
        let (bucket, key, id, number) =
            (input.bucket, input.key, input.upload_id, input.part_number);
        let path = self.disk(move |disk| disk.part(&bucket, &key, &id, number)).await?;
        let claims = Claims {
            headers: &req.headers,
            trailers: req.trailing_headers,
            algorithm: input.checksum_algorithm,
        };
        let draft = receive(&self.0, input.body, claims).await?;
        let record = self.disk(move |_| draft.keep_at(&path)).await?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(record.etag)),
            checksum_crc32: record.checksums.crc32,
            checksum_crc32c: record.checksums.crc32c,
            checksum_crc64nvme: record.checksums.crc64nvme,
            checksum_sha1: record.checksums.sha1,
            checksum_sha256: record.checksums.sha256,
            ..UploadPartOutput::default()
        }))
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        let input = req.input;
        let (bucket, key, version) = source_of(&input.copy_source)?;
        let record = self
            .disk(move |disk| {
                let path =
                    disk.part(&input.bucket, &input.key, &input.upload_id, input.part_number)?;
                let (file, source) = disk.version(&bucket, &key, version.as_deref())?;
                let range = match input.copy_source_range {
                    Some(range) => Range::parse(&range)
                        .map_err(|_| s3_error!(InvalidArgument))?
                        .check(source.size)?,
                    None => 0..source.size,
                };
                let mut draft = disk.draft()?;
                draft.fill(&file, range.start, range.end.saturating_sub(range.start))?;
                draft.keep_at(&path)
            })
            .await?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(ETag::Strong(record.etag)),
                last_modified: Some(record.modified),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        }))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        let input = req.input;
        let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
        let mut answer = ListPartsOutput {
            bucket: Some(bucket.clone()),
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            is_truncated: Some(false),
            ..ListPartsOutput::default()
        };
        let parts = self.disk(move |disk| disk.parts(&bucket, &key, &id)).await?;
        let after = input.part_number_marker.unwrap_or_default();
        let parts = parts.into_iter().filter(|(number, _)| *number > after);
        answer.parts = Some(
            parts
                .map(|(number, record)| Part {
                    part_number: Some(number),
                    e_tag: Some(ETag::Strong(record.etag)),
                    last_modified: Some(record.modified),
                    size: i64::try_from(record.size).ok(),
                    ..Part::default()
                })
                .collect(),
        );
        Ok(S3Response::new(answer))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let bucket = req.input.bucket.clone();
        let prefix = req.input.prefix.unwrap_or_default();
        let uploads = self.disk(move |disk| disk.open_uploads(&bucket, &prefix)).await?;
        let uploads = uploads.into_iter().map(|(id, upload, begun)| MultipartUpload {
            upload_id: Some(id),
            key: Some(upload.key),
            initiated: Some(Timestamp::from(begun)),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(req.input.bucket),
            is_truncated: Some(false),
            uploads: Some(uploads.collect()),
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let input = req.input;
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let record = self.disk(move |disk| disk.complete(input)).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(ETag::Strong(record.etag)),
            version_id: Some(format_identity(record.identity)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let input = req.input;
        self.disk(move |disk| disk.abort(&input.bucket, &input.key, &input.upload_id)).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

/// `aws-chunked` says how the body travelled; it is no property of the object.
fn stored_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// The conditions of a read.
fn check_read(
    record: &Record,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|wanted| !matches_etag(wanted, &record.etag)) {
        return Err(s3_error!(PreconditionFailed));
    }
    if if_none_match.is_some_and(|known| matches_etag(known, &record.etag)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

fn source_of(source: &CopySource) -> S3Result<(String, String, Option<String>)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            Ok((bucket.to_string(), key.to_string(), version_id.as_deref().map(str::to_owned)))
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(s3_error!(NotImplemented, "copy from a bucket; access points do not exist here"))
        }
    }
}

/// The name in a continuation token of ours.
fn token_name(token: &str) -> S3Result<String> {
    hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        s3_error!(InvalidArgument, "the continuation token is not one of this store")
    })
}
