//! Home's DynamoDB: a library on one SQLite file, which is asked in this process.
//!
//! Nothing of it is on the network, since the library checks no signatures and answers any web page. For tests and for
//! functions that run beside a home, [`serve`] listens on loopback and answers whoever has signed with the home's keys.
//! A slow timer removes expired items, so one goes away within about [`TTL_SWEEP_MS`] of its time. There is no stream of changes: nobody at home would read it, and each write would
//! look through all that was never read.

mod calls;
mod expiry;
mod network;
mod streams;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dynoxide::Database;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use network::{Network, serve};

/// How often expired items are removed, in milliseconds. DynamoDB itself promises days, so nothing may depend on it.
pub const TTL_SWEEP_MS: u64 = 60_000;

/// How long [`DynamoDb::stop`] waits for requests that are being answered, in milliseconds.
const STOP_GRACE_MS: u64 = 5_000;

/// Why home's DynamoDB could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener is reachable from other machines.
    #[error("refuse to serve tables on `{0}`: listen on a loopback address such as 127.0.0.1")]
    NotLoopback(std::net::SocketAddr),
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
    /// A background task panicked.
    #[error(
        "a task of the tables ended by itself: start home again; the tables are as of the last answered request"
    )]
    Died(#[source] tokio::task::JoinError),
}

/// The tables of a home. Clones are of the same tables.
#[derive(Clone)]
pub struct Tables {
    database: Database,
    /// Who has the permit is at the database. The library takes one request at a time, and requests that wait here hold
    /// no thread meanwhile.
    turn: Arc<Semaphore>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    /// Lets somebody at the database, alone; nothing comes of it once the tables have stopped.
    async fn run<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Option<T> {
        let permit = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let database = self.database.clone();
        // The permit goes along: who asked may have gone away, and the next one has to wait all the same.
        let asked = tokio::task::spawn_blocking(move || {
            let answer = ask(&database);
            drop(permit);
            answer
        });
        match asked.await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::error!(%error, "a request to the tables was not answered");
                None
            }
        }
    }
}

#[async_trait::async_trait]
impl store::InProcess for Tables {
    async fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        let (operation, body) = (operation.to_owned(), body.to_owned());
        let answer = self.run(move |database| calls::answer(database, &operation, &body)).await;
        answer.unwrap_or_else(|| calls::unavailable("this home ends; or see its log"))
    }
}

/// Running tables. Dropping it lets them stop on their own; [`DynamoDb::stop`] waits for that.
#[derive(Debug)]
pub struct DynamoDb {
    tables: Tables,
    stop: watch::Sender<bool>,
    sweeper: JoinHandle<()>,
}

/// Opens `file`, which is made if it is missing, with SQLite's journal files beside it.
///
/// # Errors
/// When the file cannot be opened as a database.
pub async fn open(file: &Path) -> Result<DynamoDb, Error> {
    let path = file.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_now(path));
    let database = opened.await.map_err(Error::Died)??;
    let tables = Tables { database, turn: Arc::new(Semaphore::new(1)) };
    let (stop, mut stopped) = watch::channel(false);
    let (swept, file) = (tables.clone(), file.to_owned());
    let sweeper = tokio::spawn(async move {
        let pause = Duration::from_millis(TTL_SWEEP_MS);
        while tokio::time::timeout(pause, serve::stop_requested(&mut stopped)).await.is_err() {
            sweep(&swept, &file).await;
        }
    });
    Ok(DynamoDb { tables, stop, sweeper })
}

impl DynamoDb {
    /// What answers requests.
    #[must_use]
    pub fn tables(&self) -> Tables {
        self.tables.clone()
    }

    /// Waits for what is being answered, for at most five seconds, and answers nothing after that.
    ///
    /// # Errors
    /// When a task had died before.
    pub async fn stop(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        let grace = Duration::from_millis(STOP_GRACE_MS);
        // It is there, or it is somebody's who takes long.
        drop(tokio::time::timeout(grace, self.tables.turn.acquire()).await);
        self.tables.turn.close();
        self.sweeper.await.map_err(Error::Died)
    }
}

fn open_now(path: PathBuf) -> Result<Database, Error> {
    let name = path.to_str().ok_or_else(|| Error::Path(path.clone()))?;
    make_private(&path);
    let failed = |source| Error::Open { path: path.clone(), source };
    let database = Database::new(name).map_err(failed)?;
    streams::end(&database).map_err(failed)?;
    // What is left costs room, and nothing else.
    if let Err(error) = streams::forget(&path) {
        tracing::warn!(%error, "old stream records cannot be removed; they only take up room");
    }
    Ok(database)
}

/// Makes the file for this user alone; SQLite gives the files beside it the same permissions. Where that cannot be
/// done, opening the file says why.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    drop(std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path));
}

/// Removes what has expired, page by page, so that others have their turns between.
async fn sweep(tables: &Tables, file: &Path) {
    loop {
        let file = file.to_owned();
        match tables.run(move |database| expiry::page(database, &file)).await {
            Some(Ok(expiry::PAGE)) => {}
            Some(Ok(_)) | None => return,
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot remove expired items, will try again");
                return;
            }
        }
    }
}
