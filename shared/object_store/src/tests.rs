//! Home's S3 as its clients see it, through the AWS SDK.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Options, S3, Uploaded, Uploads, serve};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const PART_BYTES: usize = 5 * 1024 * 1024;

fn options(directory: &Path) -> Options<'_> {
    Options {
        directory,
        access_key_id: "AKIDHOME",
        secret_access_key: "home-secret",
        watched: &["revisions"],
        made: &[],
        connections: 64,
    }
}

fn client(s3: &S3, secret: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIDHOME", secret, None, None, "test"))
        .endpoint_url(s3.endpoint_url())
        .force_path_style(true)
        .http_client(http)
        .build();
    Client::from_conf(config)
}

async fn start(directory: &Path) -> (S3, Uploads, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (s3, uploads) = serve(options(directory), listener).await.unwrap();
    let client = client(&s3, "home-secret");
    (s3, uploads, client)
}

async fn start_new(directory: &Path) -> (S3, Uploads, Client) {
    let (s3, uploads, client) = start(directory).await;
    for bucket in ["revisions", "pinned"] {
        client.create_bucket().bucket(bucket).send().await.unwrap();
    }
    (s3, uploads, client)
}

/// The object's ETag (without quotes) and version id as the answer to the PUT has them.
async fn put(client: &Client, bucket: &str, key: &str, body: &[u8]) -> (String, u64) {
    let body = ByteStream::from(body.to_vec());
    let put = client.put_object().bucket(bucket).key(key).body(body);
    let answer = put.send().await.unwrap();
    let etag = answer.e_tag().unwrap().trim_matches('"').to_owned();
    (etag, answer.version_id().unwrap().parse().unwrap())
}

async fn get(client: &Client, bucket: &str, key: &str) -> Vec<u8> {
    let answer = client.get_object().bucket(bucket).key(key).send().await;
    answer.unwrap().body.collect().await.unwrap().to_vec()
}

/// Everything announced until the server has stopped.
async fn announced_until_stop(s3: S3, uploads: &mut Uploads) -> Vec<Uploaded> {
    s3.stop().await.unwrap();
    let mut announced = Vec::new();
    while let Some(upload) = uploads.next().await {
        announced.push(upload);
    }
    announced
}

#[tokio::test]
async fn every_put_is_an_upload_of_its_own_and_other_buckets_are_silent() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, mut uploads, client) = start_new(directory.path()).await;
    let (etag, first) = put(&client, "revisions", "app.zip", b"same").await;
    put(&client, "pinned", "app.zip", b"same").await;
    let (_, second) = put(&client, "revisions", "app.zip", b"same").await;
    let copy = client.copy_object().bucket("revisions").key("copy.zip");
    let copy = copy.copy_source("pinned/app.zip").send().await.unwrap();
    let copied: u64 = copy.version_id().unwrap().parse().unwrap();
    assert!(first < second && second < copied);

    let head = client.head_object().bucket("revisions").key("app.zip");
    let head = head.send().await.unwrap();
    assert_eq!(head.e_tag().unwrap(), format!("\"{etag}\""));
    assert_eq!(head.version_id().unwrap(), format!("{second:020}"));
    let upload = |key: &str, identity| Uploaded {
        bucket: "revisions".to_owned(),
        key: key.to_owned(),
        identity,
        etag: etag.clone(),
        size: 4,
    };
    let expected =
        [upload("app.zip", first), upload("app.zip", second), upload("copy.zip", copied)];
    assert_eq!(announced_until_stop(s3, &mut uploads).await, expected);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_announced_again_when_somebody_asks() {
    let directory = tempfile::tempdir().unwrap();
    let (_s3, mut uploads, client) = start_new(directory.path()).await;
    let (_, lost) = put(&client, "revisions", "lost", b"1").await;
    for _ in 0..3 {
        assert_eq!(uploads.next().await.unwrap().identity, lost);
        uploads.announce_again().await.unwrap();
    }
    assert_eq!(uploads.next().await.unwrap().identity, lost);
    uploads.acknowledge(lost).await.unwrap();
    uploads.announce_again().await.unwrap();
    let (_, next) = put(&client, "revisions", "next", b"2").await;
    assert_eq!(uploads.next().await.unwrap().identity, next);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_announced_after_a_restart_and_identities_go_on_rising() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, mut uploads, client) = start_new(directory.path()).await;
    let (_, handled) = put(&client, "revisions", "handled", b"1").await;
    let (_, lost) = put(&client, "revisions", "lost", b"2").await;
    put(&client, "revisions", "deleted", b"3").await;
    put(&client, "revisions", "replaced", b"4").await;
    let (_, newest) = put(&client, "revisions", "replaced", b"5").await;
    let delete = client.delete_object().bucket("revisions").key("deleted");
    delete.send().await.unwrap();
    assert_eq!(uploads.next().await.unwrap().identity, handled);
    uploads.acknowledge(handled).await.unwrap();
    uploads.acknowledge(handled).await.unwrap();
    // As after a crash: nothing else was acknowledged, and nobody says goodbye.
    drop((s3, uploads, client));
    // An upload whose object had not become visible when the crash came.
    std::fs::write(
        directory.path().join("uploads/00000000004294999999"),
        r#"{"bucket":"revisions","key":"never"}"#,
    )
    .unwrap();

    let (s3, mut uploads, client) = start(directory.path()).await;
    let (_, after) = put(&client, "revisions", "after", b"6").await;
    assert!(after > newest);
    let again = announced_until_stop(s3, &mut uploads).await;
    let identities: Vec<u64> = again.iter().map(|upload| upload.identity).collect();
    assert_eq!(identities, [lost, newest, after]);
    for identity in identities {
        uploads.acknowledge(identity).await.unwrap();
    }
    let (s3, mut uploads, _) = start(directory.path()).await;
    assert_eq!(announced_until_stop(s3, &mut uploads).await, []);
}

#[tokio::test]
async fn concurrent_puts_to_one_key_end_with_the_content_of_the_highest_identity() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, mut uploads, client) = start_new(directory.path()).await;
    let puts = (0..16_u8).map(|byte| {
        let client = client.clone();
        let body = vec![byte; 100_000];
        tokio::spawn(async move { (put(&client, "revisions", "key", &body).await.1, byte) })
    });
    let mut done = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        done.push(put.await.unwrap());
    }
    let (highest, byte) = *done.iter().max().unwrap();
    assert_eq!(get(&client, "revisions", "key").await, vec![byte; 100_000]);
    let announced = announced_until_stop(s3, &mut uploads).await;
    let identities: Vec<u64> = announced.iter().map(|upload| upload.identity).collect();
    assert!(identities.is_sorted() && identities.len() == 16);
    assert_eq!(identities.last(), Some(&highest));
}

#[tokio::test]
async fn an_interrupted_put_leaves_the_old_object_and_is_not_announced() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, mut uploads, client) = start_new(directory.path()).await;
    let (_, whole) = put(&client, "revisions", "key", b"whole").await;
    let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let presigned = client.put_object().bucket("revisions").key("key");
    let presigned = presigned.presigned(config).await.unwrap();
    let path = presigned.uri().split_once(&s3.address().to_string()).unwrap().1;
    let mut socket = TcpStream::connect(s3.address()).await.unwrap();
    let head =
        format!("PUT {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\r\n", s3.address());
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&vec![1; 500_000]).await.unwrap();
    socket.shutdown().await.unwrap();
    // The server says so or hangs up; either way it is done with the request.
    let mut answer = Vec::new();
    let _ended = socket.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));

    assert_eq!(get(&client, "revisions", "key").await, b"whole");
    let announced = announced_until_stop(s3, &mut uploads).await;
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].identity, whole);
    let drafts = directory.path().join("drafts");
    assert_eq!(std::fs::read_dir(drafts).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_in_parts_is_one_upload_and_streams_back() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, mut uploads, client) = start_new(directory.path()).await;
    let body: Vec<u8> = (0..PART_BYTES * 2 + 7).map(|at| at.to_le_bytes()[1]).collect();
    let begin = client.create_multipart_upload().bucket("revisions").key("big");
    let begun = begin.content_type("application/zip").send().await.unwrap();
    let id = begun.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, bytes) in (1..).zip(body.chunks(PART_BYTES)) {
        let part = client.upload_part().bucket("revisions").key("big");
        let part = part.upload_id(id).part_number(number);
        let sent = part.body(ByteStream::from(bytes.to_vec())).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number);
        parts.push(part.e_tag(sent.e_tag().unwrap()).build());
    }
    let complete = |parts: Vec<CompletedPart>| {
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = client.complete_multipart_upload().bucket("revisions").key("big");
        request.upload_id(id).multipart_upload(all).send()
    };
    let wrong = CompletedPart::builder().part_number(1).e_tag("\"no\"").build();
    let refused = complete(vec![wrong]).await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidPart"));
    let listed = client.list_parts().bucket("revisions").key("big").upload_id(id);
    assert_eq!(listed.send().await.unwrap().parts().len(), 3);
    let completed = complete(parts.clone()).await.unwrap();
    assert!(completed.e_tag().unwrap().ends_with("-3\""));
    assert_eq!(complete(parts).await.unwrap_err().code(), Some("NoSuchUpload"));

    let ranged = client.get_object().bucket("revisions").key("big");
    let ranged = ranged.range("bytes=5242878-5242883").send().await.unwrap();
    assert_eq!(ranged.content_type(), Some("application/zip"));
    assert_eq!(ranged.e_tag(), completed.e_tag());
    let bytes = ranged.body.collect().await.unwrap().to_vec();
    assert_eq!(bytes, body[5_242_878..=5_242_883]);
    assert!(get(&client, "revisions", "big").await == body);
    let announced = announced_until_stop(s3, &mut uploads).await;
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].etag, completed.e_tag().unwrap().trim_matches('"'));
}

#[tokio::test]
async fn every_key_is_an_object_of_its_own_and_none_leaves_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("s3");
    let (_s3, _uploads, client) = start_new(&root).await;
    let long = "k".repeat(1024);
    let keys = ["../../out", "a", "a/b", "a/b/", "a//b", "sp ace/ü+%41&?#", &long];
    for key in keys {
        put(&client, "revisions", key, key.as_bytes()).await;
    }
    for key in keys {
        assert_eq!(get(&client, "revisions", key).await, key.as_bytes());
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let pages = client.list_objects_v2().bucket("revisions").max_keys(2);
    let mut pages = pages.into_paginator().send();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        listed.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    assert_eq!(listed, sorted);
    let grouped = client.list_objects_v2().bucket("revisions").prefix("a").delimiter("/");
    let grouped = grouped.send().await.unwrap();
    assert_eq!(grouped.contents()[0].key(), Some("a"));
    assert_eq!(grouped.common_prefixes()[0].prefix(), Some("a/"));
    assert_eq!(grouped.key_count(), Some(2));
}

#[tokio::test]
async fn only_requests_signed_with_the_keys_are_served_presigned_ones_too() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, _uploads, good) = start_new(directory.path()).await;
    put(&good, "revisions", "key", b"bytes").await;
    let bad = client(&s3, "wrong");
    let refused = bad.get_object().bucket("revisions").key("key").send().await;
    assert_eq!(refused.unwrap_err().code(), Some("SignatureDoesNotMatch"));

    let mut answers = Vec::new();
    for client in [&good, &bad] {
        let config = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
        let presigned = client.get_object().bucket("revisions").key("key");
        let presigned = presigned.presigned(config).await.unwrap();
        let path = presigned.uri().split_once(&s3.address().to_string()).unwrap().1;
        let mut socket = TcpStream::connect(s3.address()).await.unwrap();
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", s3.address());
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answers.push(answer);
    }
    assert!(answers[0].starts_with("HTTP/1.1 200") && answers[0].ends_with("bytes"));
    assert!(answers[1].starts_with("HTTP/1.1 403"));
}

/// What a request of one line and some headers is answered, whole.
async fn answer_to(s3: &S3, path: &str, headers: &[(String, String)]) -> String {
    let mut head =
        format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", s3.address());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut socket = TcpStream::connect(s3.address()).await.unwrap();
    socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The path and the headers of a GET that is signed as of `ago`, in its query if that is to expire.
fn signed_get(
    s3: &S3,
    ago: Duration,
    expires: Option<Duration>,
) -> (String, Vec<(String, String)>) {
    let identity = Credentials::new("AKIDHOME", "home-secret", None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if expires.is_some() {
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = expires;
    }
    let params = SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("s3")
        .time(SystemTime::now() - ago)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("{}/revisions/key", s3.endpoint_url());
    let body = match expires {
        Some(_) => SignableBody::UnsignedPayload,
        None => SignableBody::Bytes(b""),
    };
    let host = s3.address().to_string();
    let headers = [("host", host.as_str())];
    let signable = SignableRequest::new("GET", &uri, headers.into_iter(), body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = http::Request::get(&uri).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    let headers = request.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (request.uri().path_and_query().unwrap().to_string(), headers.collect())
}

#[tokio::test]
async fn old_and_far_signatures_and_those_of_version_2_are_refused_though_they_are_right() {
    let directory = tempfile::tempdir().unwrap();
    let (s3, _uploads, client) = start_new(directory.path()).await;
    put(&client, "revisions", "key", b"bytes").await;
    let (minute, week) = (Duration::from_secs(60), Duration::from_secs(7 * 24 * 3_600));
    for (ago, expires, code) in [
        (minute, None, ""),
        (14 * minute, None, ""),
        (16 * minute, None, "RequestTimeTooSkewed"),
        (2 * week, None, "RequestTimeTooSkewed"),
        (minute, Some(week), ""),
        (minute, Some(week + minute), "AuthorizationQueryParametersError"),
        (2 * minute, Some(minute), "AccessDenied"),
    ] {
        let (path, headers) = signed_get(&s3, ago, expires);
        let answer = answer_to(&s3, &path, &headers).await;
        let is_right = match code {
            "" => answer.starts_with("HTTP/1.1 200") && answer.ends_with("bytes"),
            code => answer.contains(&format!("<Code>{code}</Code>")),
        };
        assert!(is_right, "{ago:?} {expires:?}: {answer}");
    }

    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let signed = |text: &str| {
        let mut mac = Hmac::<Sha1>::new_from_slice(b"home-secret").unwrap();
        mac.update(text.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
    };
    let signature = signed(&format!("GET\n\n\n{date}\n/revisions/key"));
    let authorization = format!("AWS AKIDHOME:{signature}");
    let headers = [("date".to_owned(), date), ("authorization".to_owned(), authorization)];
    let answer = answer_to(&s3, "/revisions/key", &headers).await;
    assert!(answer.contains("<Code>InvalidRequest</Code>"), "{answer}");
    let expires = jiff::Timestamp::now().as_second() + 60;
    let signature = signed(&format!("GET\n\n\n{expires}\n/revisions/key"));
    let encoded =
        percent_encoding::utf8_percent_encode(&signature, percent_encoding::NON_ALPHANUMERIC);
    let query = format!("AWSAccessKeyId=AKIDHOME&Expires={expires}&Signature={encoded}");
    let answer = answer_to(&s3, &format!("/revisions/key?{query}"), &[]).await;
    assert!(answer.contains("<Code>InvalidRequest</Code>"), "{answer}");
}

#[tokio::test]
async fn a_condition_or_a_version_that_does_not_hold_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_s3, _uploads, client) = start_new(directory.path()).await;
    let (_, old) = put(&client, "revisions", "key", b"old").await;
    let create = client.put_object().bucket("revisions").key("key");
    let create = create.if_none_match("*").send().await;
    assert_eq!(create.unwrap_err().code(), Some("PreconditionFailed"));
    put(&client, "revisions", "key", b"new").await;
    let overwritten = client.get_object().bucket("revisions").key("key");
    let overwritten = overwritten.version_id(format!("{old:020}")).send().await;
    assert_eq!(overwritten.unwrap_err().code(), Some("NoSuchVersion"));
    let corrupt = client.put_object().bucket("revisions").key("key");
    let corrupt = corrupt.checksum_crc32("AAAAAA==").body(ByteStream::from_static(b"x"));
    assert_eq!(corrupt.send().await.unwrap_err().code(), Some("BadDigest"));
    assert_eq!(get(&client, "revisions", "key").await, b"new");
    let full = client.delete_bucket().bucket("revisions").send().await;
    assert_eq!(full.unwrap_err().code(), Some("BucketNotEmpty"));
    let options = Options { made: &["own"], ..options(directory.path()) };
    let (s3, _) = serve(options, TcpListener::bind("127.0.0.1:0").await.unwrap()).await.unwrap();
    let own = super::tests::client(&s3, "home-secret").delete_bucket().bucket("own").send().await;
    assert_eq!(own.unwrap_err().code(), Some("AccessDenied"), "it is empty, and a home's own");
    let absent = client.list_objects_v2().bucket("absent").send().await;
    assert_eq!(absent.unwrap_err().code(), Some("NoSuchBucket"));
}

#[tokio::test]
async fn objects_are_for_their_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    fn walk(path: &Path, found: &mut Vec<u32>) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path.metadata().unwrap().permissions().mode() & 0o777),
            }
        }
    }
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("s3");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (s3, _uploads, client) = start_new(&directory).await;
    for key in ["a", "a"] {
        put(&client, "revisions", key, b"secret").await;
    }
    let begun = client.create_multipart_upload().bucket("pinned").key("b").send().await.unwrap();
    let part = client.upload_part().bucket("pinned").key("b").part_number(1);
    let part = part.upload_id(begun.upload_id().unwrap()).body(ByteStream::from_static(b"part"));
    part.send().await.unwrap();
    let mode = directory.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "nobody else gets to what earlier versions left");
    let mut found = Vec::new();
    walk(&directory.join("buckets"), &mut found);
    let (mut parts, uploads) = (Vec::new(), directory.join("multipart"));
    walk(&uploads, &mut parts);
    assert_eq!(found, [0o600]);
    assert!(parts.contains(&0o600) && parts.len() == 2, "{parts:?}");
    s3.stop().await.unwrap();
}
