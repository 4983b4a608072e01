//! The agent: finds its home, asks what is to be done, and carries it out.
//!
//! It holds one poll and otherwise sleeps. It decides nothing: what a deployment is to do next is home's business.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, TryLockError};
use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use engine::{DeploymentId, GroupId};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use wire::host::{Offer, PollResponse};

use crate::client::{BackOff, CallError, Client};
use crate::command;
use crate::config::AgentConfig;
use crate::deleted;
use crate::failure::describe;
use crate::group::Group;
use crate::host::Host;
use crate::http::HttpError;
use crate::run::InterruptedHook;
use crate::stop::{END_WITHIN, Stop};
use crate::work::recover;

/// How long an agent that ends on the same state directory is waited for.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
/// A server that answers sooner than this, and says nothing new, is not asked again at once.
const SOON: Duration = Duration::from_secs(1);
/// A server may ask for no longer pause between two polls.
const PAUSE: Duration = Duration::from_secs(300);

/// Why an agent cannot start.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Its state directory cannot be read.
    #[error("the state directory `{}` cannot be read: make it, with a `connection.json` in it", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent works on the same state directory.
    #[error("another agent works with the state directory `{}`: end it first, or use another directory", path.display())]
    Running {
        /// The directory.
        path: PathBuf,
    },
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// Why an agent has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Shutdown {
        /// The hooks that ran and had to be ended; each is journaled and is reported as failed.
        interrupted: Vec<InterruptedHook>,
    },
    /// Its state directory is gone, or it found no home for too long ([`crate::config::Limits::orphaned_after_ms`]).
    Orphaned,
}

/// Runs an agent until `shutdown` is ready or nobody wants it any more. Once told to end, it has ended after 4 s; what it
/// has begun is taken up by the next agent on the same state directory.
///
/// A file operation may outlast this call in a thread of the runtime: end the runtime with `shutdown_background`.
///
/// # Errors
/// The state directory does not exist, another agent works with it, or the HTTP client cannot be made.
pub async fn serve(
    config: AgentConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<Ended, AgentError> {
    let identity = identity(&config.state)
        .map_err(|source| AgentError::State { path: config.state.clone(), source })?;
    let mut shutdown = pin!(shutdown);
    let _lock = tokio::select! {
        () = &mut shutdown => return Ok(Ended::Shutdown { interrupted: Vec::new() }),
        lock = lock(&config.state) => lock?,
    };
    for group in Group::all(&config.state).unwrap_or_default() {
        put_right(&config, &group).await;
        group.prune_logs(Duration::from_millis(config.limits.kept_logs_ms));
    }
    let client = Arc::new(Client::of_host(&config.state)?);
    let (asked, stop) = Stop::new(config.limits.grace_ms);
    let mut commands = Commands {
        host: Arc::new(Host::new(config, stop)),
        client,
        tasks: JoinSet::new(),
        of: BTreeMap::new(),
        waiting: BTreeMap::new(),
        interrupted: Vec::new(),
        asked_groups: Vec::new(),
    };
    for (offer, _) in command::unfinished(&commands.host.config.state) {
        commands.take(offer);
    }
    let is_orphaned = tokio::select! {
        () = &mut shutdown => false,
        () = commands.work(identity) => true,
    };
    let interrupted = commands.end(&asked).await;
    Ok(if is_orphaned { Ended::Orphaned } else { Ended::Shutdown { interrupted } })
}

/// The commands that are being carried out.
struct Commands {
    host: Arc<Host>,
    client: Arc<Client>,
    tasks: JoinSet<Option<InterruptedHook>>,
    /// Whose task each is.
    of: BTreeMap<Id, DeploymentId>,
    /// Each deployment that has a command, with copies of it that wait for their turn.
    waiting: BTreeMap<DeploymentId, VecDeque<Offer>>,
    interrupted: Vec<InterruptedHook>,
    /// The groups that the poll under way asks about.
    asked_groups: Vec<GroupId>,
}

type Poll = Pin<Box<dyn Future<Output = Result<PollResponse, CallError>> + Send>>;

impl Commands {
    /// Polls and works until the agent is orphaned.
    async fn work(&mut self, identity: (u64, u64)) {
        let limits = self.host.config.limits;
        let mut back_off = BackOff::default();
        let mut asked_at = Instant::now();
        let mut heard_at = Instant::now();
        let mut poll = self.poll(Duration::ZERO);
        loop {
            let answer = tokio::select! {
                biased;
                Some(done) = self.tasks.join_next_with_id() => {
                    self.done(done);
                    continue;
                }
                answer = &mut poll => answer,
            };
            let wait = match &answer {
                Ok(PollResponse { offers, again_after_ms, deleted_groups }) => {
                    heard_at = Instant::now();
                    self.hear_of_groups(deleted_groups);
                    let mut is_new = false;
                    for offer in offers {
                        is_new |= self.take(offer.clone());
                    }
                    if let (true, Some(pause)) = (offers.is_empty(), again_after_ms) {
                        back_off.reset();
                        Duration::from_millis(*pause).min(PAUSE)
                    } else if is_new || asked_at.elapsed() >= SOON {
                        back_off.reset();
                        Duration::ZERO
                    } else {
                        back_off.next(Duration::from_millis(50), Duration::from_secs(5))
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a poll failed");
                    if matches!(error, CallError::Refused(_)) {
                        heard_at = Instant::now();
                    }
                    self.client.wait_for(error, &mut back_off)
                }
            };
            let is_lost = heard_at.elapsed() >= Duration::from_millis(limits.orphaned_after_ms);
            if !self.is_there(identity) || (is_lost && !self.host.runs_hooks()) {
                return;
            }
            asked_at = Instant::now() + wait;
            poll = self.poll(wait);
        }
    }

    fn poll(&mut self, wait: Duration) -> Poll {
        let client = Arc::clone(&self.client);
        let busy: Vec<_> = self.waiting.keys().cloned().collect();
        let wait_ms = self.host.config.limits.poll_wait_ms;
        self.asked_groups = deleted::to_ask(&self.host.config);
        let groups = self.asked_groups.clone();
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            client.poll(busy, wait_ms, groups).await
        })
    }

    /// Notes which of the groups that were asked about are no more, and removes what was kept of them for long enough.
    fn hear_of_groups(&mut self, deleted: &[GroupId]) {
        let asked = std::mem::take(&mut self.asked_groups);
        if asked.is_empty() {
            return;
        }
        deleted::heard(&self.host.config.state, &asked, deleted);
        let host = Arc::clone(&self.host);
        tokio::spawn(async move { deleted::tidy(&host.config).await });
    }

    /// Takes an offer on; false, if it is known already. A copy of a running command waits for its result.
    fn take(&mut self, offer: Offer) -> bool {
        if let Some(copies) = self.waiting.get_mut(&offer.deployment_id) {
            let is_known = copies.contains(&offer);
            if !is_known {
                copies.push_back(offer);
            }
            return !is_known;
        }
        // The running one stands first, so that its own copies are recognised.
        self.waiting.insert(offer.deployment_id.clone(), [offer.clone()].into());
        let (host, client) = (Arc::clone(&self.host), Arc::clone(&self.client));
        let id = offer.deployment_id.clone();
        let task = self.tasks.spawn(async move { command::execute(&host, &client, offer).await });
        self.of.insert(task.id(), id);
        true
    }

    /// A command has ended, or its task has died: then it is taken up when it is offered again.
    fn done(&mut self, done: Result<(Id, Option<InterruptedHook>), JoinError>) {
        let (task, interrupted) = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a command broke off; it is taken up when it is offered again");
                (error.id(), None)
            }
        };
        let Some(id) = self.of.remove(&task) else { return };
        self.interrupted.extend(interrupted);
        let mut copies = self.waiting.remove(&id).unwrap_or_default();
        copies.pop_front();
        for copy in copies {
            self.take(copy);
        }
    }

    /// Whether the state directory is still the one that the agent began with.
    fn is_there(&self, expected: (u64, u64)) -> bool {
        identity(&self.host.config.state).is_ok_and(|found| found == expected)
    }

    /// Ends what runs.
    async fn end(mut self, asked: &watch::Sender<Option<Instant>>) -> Vec<InterruptedHook> {
        let now = Instant::now();
        asked.send_replace(Some(now));
        let all = async {
            while let Some(done) = self.tasks.join_next().await {
                self.interrupted.extend(done.ok().flatten());
            }
        };
        if tokio::time::timeout_at(now + END_WITHIN, pin!(all)).await.is_err() {
            tracing::warn!("not everything has ended in time; the next agent takes it up");
        }
        self.interrupted
    }
}

/// Brings an interrupted install of a group to its end, unless a command that was pushed runs for the group: that has done
/// so before it began. The lock of the state directory keeps off other agents only.
async fn put_right(config: &AgentConfig, group: &Group) {
    let done = match group.try_lock() {
        Ok(None) => Ok(()),
        Ok(Some(lock)) => recover(config, group.dir(), &lock).await,
        Err(error) => Err(describe(&error)),
    };
    if let Err(error) = done {
        // Each command of the group tries again, and reports this if it cannot.
        tracing::error!(error, group = %group.dir().display(), "an interrupted install could not be put right");
    }
}

/// Makes this the only agent of its state directory. One that ends is waited for.
async fn lock(state: &Path) -> Result<File, AgentError> {
    let failed = |source| AgentError::State { path: state.to_owned(), source };
    let file =
        File::options().create(true).append(true).open(state.join("lock")).map_err(failed)?;
    let deadline = Instant::now() + LOCK_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(AgentError::Running { path: state.to_owned() });
            }
        }
    }
}

fn identity(state: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::metadata(state)?;
    Ok((meta.dev(), meta.ino()))
}
