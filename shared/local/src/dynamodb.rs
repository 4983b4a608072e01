//! Home's DynamoDB: an embedded server on one SQLite file.
//!
//! The server checks no signatures: whoever reaches the listener may read and write every table. The listener must
//! therefore be a loopback one, and [`serve`] refuses any other. DynamoDB's expiry of items is not run by the embedded
//! library; a slow timer here does it, so an expired item goes away within about [`TTL_SWEEP_MS`] of its time.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dynoxide::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often expired items are removed, in milliseconds. DynamoDB itself promises days, so nothing may depend on it.
pub const TTL_SWEEP_MS: u64 = 60_000;

/// How long [`DynamoDb::stop`] waits for requests that are being answered, in milliseconds.
const STOP_GRACE_MS: u64 = 5_000;

/// Why home's DynamoDB could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener is reachable from other machines.
    #[error(
        "refuse to serve tables on `{0}`: signatures are not checked, so listen on a loopback address such as 127.0.0.1"
    )]
    NotLoopback(SocketAddr),
    /// The listener has no address.
    #[error("cannot read the address of the listener for the tables")]
    Listener(#[source] std::io::Error),
    /// The path cannot be given to SQLite.
    #[error("the path of the database, `{}`, is not UTF-8: choose a data directory whose name is", .0.display())]
    Path(PathBuf),
    /// The file cannot be opened as a database.
    #[error(
        "cannot open the database `{}`: check that the directory exists, is writable and has space, and that no other \
         process uses the file",
        path.display()
    )]
    Open {
        /// The database's file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: dynoxide::DynoxideError,
    },
    /// A background task of the server panicked.
    #[error(
        "the server of the tables ended by itself: start home again; the tables are as of the last answered request"
    )]
    Died(#[source] tokio::task::JoinError),
    /// The server failed while it ran.
    #[error("the server of the tables failed: {0}")]
    Serve(String),
}

/// A running DynamoDB. Dropping it lets it stop on its own; [`DynamoDb::stop`] waits for that.
#[derive(Debug)]
pub struct DynamoDb {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<Result<(), String>>,
    sweeper: JoinHandle<()>,
}

/// Opens `file` (made if missing, with SQLite's journal files beside it) and serves it on `listener` until stopped.
///
/// # Errors
/// When the listener is not a loopback one, or the file cannot be opened as a database.
pub async fn serve(file: &Path, listener: TcpListener) -> Result<DynamoDb, Error> {
    let address = listener.local_addr().map_err(Error::Listener)?;
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let database = open(file.to_owned()).await?;
    let (stop, mut stopped) = watch::channel(false);
    let mut sweep_stopped = stop.subscribe();
    let served = database.clone();
    let server =
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, served, async move {
            crate::stop_requested(&mut stopped).await;
        }));
    let sweeper = tokio::spawn(async move {
        let pause = Duration::from_millis(TTL_SWEEP_MS);
        while tokio::time::timeout(pause, crate::stop_requested(&mut sweep_stopped)).await.is_err()
        {
            sweep(database.clone()).await;
        }
    });
    Ok(DynamoDb { address, stop, server, sweeper })
}

impl DynamoDb {
    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint for an AWS SDK.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Accepts nothing more, answers what is under way (for at most five seconds), and closes the file.
    ///
    /// # Errors
    /// When the server had failed before.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        let grace = Duration::from_millis(STOP_GRACE_MS);
        let served = match tokio::time::timeout(grace, &mut self.server).await {
            Ok(ended) => ended.map_err(Error::Died)?,
            // A client that never finishes its request must not keep home from stopping.
            Err(_) => {
                self.server.abort();
                Ok(())
            }
        };
        self.sweeper.await.map_err(Error::Died)?;
        served.map_err(Error::Serve)
    }
}

async fn open(path: PathBuf) -> Result<Database, Error> {
    let opened = tokio::task::spawn_blocking(move || {
        let name = path.to_str().ok_or_else(|| Error::Path(path.clone()))?;
        make_private(&path);
        Database::new(name).map_err(|source| Error::Open { path: path.clone(), source })
    });
    opened.await.map_err(Error::Died)?
}

/// Makes the file for this user alone; SQLite gives the files beside it the same permissions. Where that cannot be
/// done, opening the file says why.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    drop(std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path));
}

async fn sweep(database: Database) {
    match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
        Ok(Ok(removed)) => tracing::debug!(removed, "swept expired items"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot sweep expired items, will try again"),
        Err(error) => tracing::warn!(%error, "the sweep of expired items died, will try again"),
    }
}
