//! Home's S3: an embedded server on a directory, which tells of every upload exactly what S3's notifications tell.
//!
//! Requests are signed with home's key pair and checked, presigned ones too. Every object is durable before its upload is
//! answered; an upload is visible whole or not at all. Every upload gets an identity, a number that rises strictly; it is
//! the object's version id in answers, and a read may ask for it, but only the newest upload of a key is kept: this is not
//! S3's versioning. Access control, tags, lifecycle rules, encryption and website hosting are deliberately absent and
//! answer `NotImplemented`.

mod disk;
mod listing;
mod multipart;
mod outbox;
mod receive;
mod record;
mod service;
mod signed;
#[cfg(test)]
mod tests;
mod uploaded;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use s3s::auth::{S3Auth, SecretKey, SimpleAuth};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Result, s3_error};
use serve::{Handler, Room, stop_requested};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use disk::{Disk, lock};
use outbox::Outbox;
use service::Service;
use signed::Signed;
pub use uploaded::Uploaded;

/// How long [`S3::stop`] waits for requests that are being answered, in milliseconds.
const STOP_GRACE_MS: u64 = 5_000;

/// Why home's S3 could not start, stop or note something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener has no address.
    #[error("cannot read the address of the listener for the buckets")]
    Listener(#[source] std::io::Error),
    /// The directory cannot be used.
    #[error(
        "cannot open the buckets in `{}`: check that the directory is writable and has space",
        path.display()
    )]
    Open {
        /// The directory of all buckets.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// An acknowledgement cannot be written down.
    #[error(
        "cannot note that upload `{identity}` was handled: it will be announced again after the next start"
    )]
    Acknowledge {
        /// The upload's identity.
        identity: u64,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// Uploads that were not handled cannot be read.
    #[error("the uploads that were not handled cannot be read")]
    Unhandled(#[source] std::io::Error),
    /// A background task of the server panicked.
    #[error(
        "the server of the buckets ended by itself: start home again; objects are as of the last answered upload"
    )]
    Died(#[source] tokio::task::JoinError),
}

/// What [`serve`] needs besides a listener.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The directory of all buckets; made if missing. No other process may use it at the same time.
    pub directory: &'a Path,
    /// The access key id that requests are signed with.
    pub access_key_id: &'a str,
    /// The secret access key that requests are signed with.
    pub secret_access_key: &'a str,
    /// The buckets whose uploads are announced. They need not exist yet.
    pub watched: &'a [&'a str],
    /// The buckets that are made if they are missing, and that nobody can delete.
    pub made: &'a [&'a str],
    /// How many connections are taken at once.
    pub connections: usize,
}

/// Uploads to the watched buckets, in the order of their identities.
#[derive(Debug)]
pub struct Uploads {
    announced: mpsc::UnboundedReceiver<Uploaded>,
    outbox: Arc<Mutex<Outbox>>,
    disk: Weak<Disk>,
}

impl Uploads {
    /// The next upload. At first come those that were not acknowledged before the last stop or crash, if their object
    /// still is that upload. `None` after the server has stopped.
    pub async fn next(&mut self) -> Option<Uploaded> {
        self.announced.recv().await
    }

    /// Has all uploads announced again that were not acknowledged, also those that are in hand.
    ///
    /// # Errors
    /// When the file system refuses.
    pub async fn announce_again(&self) -> Result<(), Error> {
        let Some(disk) = self.disk.upgrade() else { return Ok(()) };
        tokio::task::spawn_blocking(move || disk.announce_again())
            .await
            .map_err(Error::Died)?
            .map_err(Error::Unhandled)
    }

    /// Says that the upload was handled, so that it is never announced again. Saying it twice is harmless.
    ///
    /// # Errors
    /// When the file system refuses; the upload will then be announced again after the next start.
    pub async fn acknowledge(&self, identity: u64) -> Result<(), Error> {
        let outbox = Arc::clone(&self.outbox);
        tokio::task::spawn_blocking(move || lock(&outbox).remove(identity))
            .await
            .map_err(Error::Died)?
            .map_err(|source| Error::Acknowledge { identity, source })
    }
}

/// A running S3. Dropping it lets it stop on its own; [`S3::stop`] waits for that.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// Opens the directory and serves it on `listener` until stopped.
///
/// # Errors
/// When the directory cannot be opened.
pub async fn serve(options: Options<'_>, listener: TcpListener) -> Result<(S3, Uploads), Error> {
    let address = listener.local_addr().map_err(Error::Listener)?;
    let path = options.directory.to_owned();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
    let (watched, made) = (names(options.watched), names(options.made));
    let (sender, announced) = mpsc::unbounded_channel();
    let opened = tokio::task::spawn_blocking(move || {
        let opened = Disk::open(&path, watched, made, sender);
        opened.map_err(|source| Error::Open { path, source })
    });
    let disk = opened.await.map_err(Error::Died)??;
    let outbox = disk.outbox();
    let disk = Arc::new(disk);
    let weak = Arc::downgrade(&disk);
    let mut builder = S3ServiceBuilder::new(Service(disk));
    builder
        .set_auth(Keys(SimpleAuth::from_single(options.access_key_id, options.secret_access_key)));
    builder.set_access(Signed);
    let (stop, mut stopped) = watch::channel(false);
    let (room, handler) = (Room::new(options.connections), handler(builder.build()));
    let server = tokio::spawn(async move {
        let stopped = stop_requested(&mut stopped);
        serve::serve(listener, room, handler, stopped, Duration::from_millis(STOP_GRACE_MS)).await;
    });
    let s3 = S3 { address, stop, server };
    Ok((s3, Uploads { announced, outbox, disk: weak }))
}

impl S3 {
    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for an AWS SDK or the AWS CLI. Buckets are addressed by path.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Accepts nothing more and answers what is under way, for at most five seconds. An upload that is cut off leaves
    /// nothing.
    ///
    /// # Errors
    /// When the server had failed before.
    pub async fn stop(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        self.server.await.map_err(Error::Died)
    }
}

/// The one key pair, with an answer for others that says what is wrong.
struct Keys(SimpleAuth);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0.lookup(access_key).cloned().ok_or_else(|| {
            s3_error!(
                InvalidAccessKeyId,
                "the access key `{}` is not the one of this home: use the credentials that home shows",
                access_key
            )
        })
    }
}

/// Lets the library answer.
fn handler(service: S3Service) -> Handler {
    Arc::new(move |request| {
        let mut service = service.clone();
        Box::pin(async move {
            match tower::Service::call(&mut service, request).await {
                Ok(response) => response.map(Body::new),
                Err(error) => {
                    tracing::warn!(?error, "the buckets could not answer a request");
                    let response: Response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
                    response
                }
            }
        })
    })
}
