//! Pinning against an S3 server that checks signatures and checksums.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Endpoints, InProcess, Keys, S3Bundles, home_clients};
use aws_sdk_s3::Client;
use control::ports::{Bundles, Object, PinError, Refused};
use engine::{BundleType, Timestamp};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const APPSPEC: &[u8] =
    b"version: 0.0\nos: linux\nfiles:\n  - source: /\n    destination: /srv/web\n";

struct World {
    client: Client,
    bundles: S3Bundles,
    root: TempDir,
    spool: TempDir,
    server: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Bundles need none.
#[derive(Debug)]
struct NoTables;

#[async_trait::async_trait]
impl InProcess for NoTables {
    async fn answer(&self, operation: &str, _body: &[u8]) -> (u16, String) {
        panic!("the table is asked for {operation}")
    }
}

fn client(endpoint: String) -> Client {
    let endpoints = Endpoints { dynamodb: Arc::new(NoTables), s3: endpoint };
    let keys = Keys { id: "key".to_owned(), secret: "secret".to_owned() };
    home_clients(&endpoints, &keys, "eu-west-1").s3
}

async fn world() -> World {
    let (root, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
    builder.set_auth(SimpleAuth::from_single("key", "secret"));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(format!("http://{}", listener.local_addr().unwrap()));
    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            socket.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(socket), service).await.ok();
            });
        }
    });
    for bucket in ["uploads", "kept"] {
        client.create_bucket().bucket(bucket).send().await.unwrap();
    }
    let bundles = S3Bundles::new(client.clone(), "kept", spool.path());
    World { client, bundles, root, spool, server }
}

impl World {
    async fn upload(&self, key: &str, bytes: Vec<u8>) -> String {
        let put = self.client.put_object().bucket("uploads").key(key).body(bytes.into());
        put.send().await.unwrap().e_tag.unwrap()
    }

    async fn refusal(&self, object: &Object) -> Refused {
        match self.bundles.pin(object).await {
            Err(PinError::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }

    fn kept(&self) -> usize {
        entries(&self.root.path().join("kept").join("bundles"))
    }
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

fn object(key: &str) -> Object {
    Object { bucket: "uploads".to_owned(), key: key.to_owned(), version: None, e_tag: None }
}

fn tar(appspec: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [("appspec.yml", appspec), ("payload", payload)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The status and the body of a plain GET, as a host sends it.
async fn get(url: &str) -> (u16, Vec<u8>) {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let body = http_body_util::Empty::<bytes::Bytes>::new();
    let request = http::Request::get(url).body(body).unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    (parts.status.as_u16(), body.collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn a_bundle_is_kept_under_its_digest_and_fetched_with_a_plain_get() {
    let world = world().await;
    let bytes = gzip(&tar(APPSPEC, b"hello"));
    let e_tag = world.upload("web.tgz", bytes.clone()).await;
    let mut wanted = object("web.tgz");
    wanted.e_tag = Some(e_tag.trim_matches('"').to_owned());
    let pinned = world.bundles.pin(&wanted).await.unwrap();
    assert_eq!(pinned.pin.sha256, hex::encode(Sha256::digest(&bytes)));
    assert_eq!(pinned.pin.size, bytes.len() as u64);
    assert_eq!((pinned.bundle_type, &pinned.pin.e_tag), (BundleType::Tgz, &wanted.e_tag));
    assert_eq!(pinned.pin.version, None, "the bucket has no versions");
    let unnamed = world.bundles.pin(&object("web.tgz")).await.unwrap();
    assert_eq!(unnamed, pinned, "what was read is known, whatever was asked for");
    assert_eq!(entries(world.spool.path()), 0, "nothing stays in the spool directory");

    // The upload is overwritten; what was pinned is still there.
    world.upload("web.tgz", tar(APPSPEC, b"other")).await;
    let url = world.bundles.url(&pinned.pin).await.unwrap();
    assert_eq!(get(&url).await, (200, bytes));
    let forged = url.replace(&pinned.pin.sha256, &"0".repeat(64));
    assert_eq!(get(&forged).await.0, 403);
    assert!(world.refusal(&wanted).await.message.starts_with("the object changed since it was"));
}

#[tokio::test]
async fn pinning_the_same_bytes_again_changes_nothing() {
    let world = world().await;
    let large = tar(APPSPEC, &vec![7; 3 << 20]);
    world.upload("small.tar", tar(APPSPEC, b"small")).await;
    world.upload("large.tar", large).await;
    for key in ["small.tar", "large.tar"] {
        let first = world.bundles.pin(&object(key)).await.unwrap();
        assert_eq!(first.bundle_type, BundleType::Tar);
        assert_eq!(world.bundles.pin(&object(key)).await.unwrap(), first);
    }
    // Two at once do not harm each other either.
    let (small, large) = (object("small.tar"), object("large.tar"));
    let pins = tokio::join!(world.bundles.pin(&small), world.bundles.pin(&small));
    assert_eq!(pins.0.unwrap(), pins.1.unwrap());
    let pin = world.bundles.pin(&large).await.unwrap().pin;
    let head = world.client.head_object().bucket("kept").key(format!("bundles/{}", pin.sha256));
    assert_eq!(head.send().await.unwrap().content_length, i64::try_from(pin.size).ok());
}

#[tokio::test]
async fn what_is_no_bundle_is_refused_with_its_place_and_nothing_is_kept() {
    let world = world().await;
    world.upload("text", b"version: 0.0".to_vec()).await;
    world.upload("empty", Vec::new()).await;
    let whole = gzip(&tar(APPSPEC, &vec![7; 100_000]));
    world.upload("cut", whole[..whole.len() / 2].to_vec()).await;
    for key in ["text", "empty", "cut"] {
        let refused = world.refusal(&object(key)).await;
        assert_eq!((refused.file, refused.position), (None, None), "{key}");
    }
    world.upload("wrong", tar(b"version: 0.0\nos: plan9\n", b"")).await;
    let refused = world.refusal(&object("wrong")).await;
    assert_eq!(refused.file.as_deref(), Some("appspec.yml"), "{refused:?}");
    assert_eq!(refused.position.map(|position| position.line), Some(2), "{refused:?}");

    world.upload("good", tar(APPSPEC, b"")).await;
    let mut versioned = object("good");
    versioned.version = Some("7".to_owned());
    let message = world.refusal(&versioned).await.message;
    assert!(message.contains("not `7`"), "{message}");
    assert_eq!((world.kept(), entries(world.spool.path())), (0, 0));
}

#[tokio::test]
async fn what_is_not_there_is_missing() {
    let world = world().await;
    let nowhere = Object { bucket: "nowhere".to_owned(), ..object("any") };
    for missing in [object("absent"), nowhere] {
        match world.bundles.pin(&missing).await {
            Err(PinError::Missing { bucket, key }) => {
                assert_eq!((bucket, key), (missing.bucket, missing.key));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_bucket_or_a_spool_directory_that_does_not_work_is_unavailable() {
    let world = world().await;
    world.upload("good", tar(APPSPEC, b"")).await;
    let file = world.spool.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let spoolless = S3Bundles::new(world.client.clone(), "kept", &file);
    let Err(PinError::Unavailable(cause)) = spoolless.pin(&object("good")).await else { panic!() };
    assert!(cause.to_string().contains("spool directory"), "{cause}");

    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let unreachable = client(format!("http://{closed}"));
    let unreachable = S3Bundles::new(unreachable, "kept", world.spool.path());
    let outcome = unreachable.pin(&object("good")).await;
    assert!(matches!(outcome, Err(PinError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn kept_bytes_are_known_by_when_they_were_put_and_removed_unless_they_were_put_again() {
    let world = world().await;
    let now = || {
        Timestamp(
            u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis())
                .unwrap(),
        )
    };
    world.upload("one", tar(APPSPEC, b"one")).await;
    world.upload("two", tar(APPSPEC, b"two")).await;
    let one = world.bundles.pin(&object("one")).await.unwrap().pin.sha256;
    let two = world.bundles.pin(&object("two")).await.unwrap().pin.sha256;
    world.bundles.keep_runner("d1", b"a runner".to_vec()).await.unwrap();
    let both: BTreeSet<String> = [one.clone(), two.clone()].into();
    let later = Timestamp(now().0 + 60_000);
    assert_eq!(world.bundles.kept_before(later).await.unwrap(), both, "and no runner");
    let long_ago = Timestamp(now().0 - 60_000);
    assert_eq!(world.bundles.kept_before(long_ago).await.unwrap(), BTreeSet::new());

    world.bundles.remove(&one, long_ago).await.unwrap();
    assert_eq!(world.kept(), 2, "they were put since");
    world.bundles.remove(&one, later).await.unwrap();
    assert_eq!(world.bundles.kept_before(later).await.unwrap(), [two].into());
    world.bundles.remove(&one, later).await.unwrap();
    let again = world.bundles.pin(&object("one")).await.unwrap();
    assert_eq!((again.pin.sha256, world.kept()), (one, 2));
}

#[test]
fn an_object_beyond_the_limit_is_refused() {
    use crate::limits::OBJECT_BYTES_MAX;
    assert!(super::check_size(OBJECT_BYTES_MAX).is_ok());
    let Err(PinError::Refused(refused)) = super::check_size(OBJECT_BYTES_MAX + 1) else { panic!() };
    assert_eq!(
        refused.message,
        "the object is larger than 5 GiB; leave out what the hosts do not need"
    );
}
