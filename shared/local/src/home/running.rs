//! A home that runs, and how it ends.

use std::sync::Arc;

use balancer::Balancers;
use control::Control;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::added::Added;
use super::error::HomeError;
use super::patience::{HOSTS_GRACE, SERVERS_GRACE};
use crate::dir::{Dir, Endpoints};
use crate::dynamodb;
use crate::hosts::layout::HostFiles;
use crate::hosts::namespace::NamespaceError;
use crate::hosts::process::{self, RunningHost};

/// A running home.
pub struct Home {
    pub(super) dir: Arc<Dir>,
    pub(super) endpoints: Endpoints,
    pub(super) control: Control,
    pub(super) hosts: Vec<HostFiles>,
    pub(super) supervisors: Vec<JoinHandle<Option<RunningHost>>>,
    /// What this start has added to the hosts that there were.
    pub(super) added: Added,
    pub(super) refused_view: Option<NamespaceError>,
    pub(super) stop_hosts: watch::Sender<bool>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) api: JoinHandle<()>,
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) dynamodb: dynamodb::DynamoDb,
    /// The table on the network, for tests and functions beside the home.
    pub(super) network: Option<dynamodb::Network>,
    pub(super) s3: object_store::S3,
    pub(super) balancers: Balancers,
}

/// A hook that was ended because its home ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// The host's name.
    pub host: String,
    /// What was interrupted, as the host wrote it down.
    pub what: String,
}

impl Home {
    /// Where it is found.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Its directory.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Why its hosts have no view of their own, if they have none.
    pub fn refused_view(&self) -> Option<&NamespaceError> {
        self.refused_view.as_ref()
    }

    /// Ends the hosts and the servers within five seconds. A hook that still runs then is ended; which ones these were
    /// is returned.
    ///
    /// # Errors
    /// When a host cannot be ended; everything else is, all the same.
    pub async fn stop(self) -> Result<Vec<Interrupted>, HomeError> {
        let removed = self.dir.remove_endpoints();
        self.stop_hosts.send_replace(true);
        let mut running = Vec::new();
        for supervisor in self.supervisors {
            running.extend(supervisor.await.map_err(HomeError::Died)?);
        }
        let hosts = self.hosts;
        let ended = tokio::task::spawn_blocking(move || end_hosts(&hosts, &running))
            .await
            .map_err(HomeError::Died)?;
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        drop(self.network);
        let servers = async {
            self.balancers.close(SERVERS_GRACE / 2).await;
            drop(self.api.await);
            drop(self.s3.stop().await);
            drop(self.dynamodb.stop().await);
        };
        // What is cut off here was never answered.
        drop(tokio::time::timeout(SERVERS_GRACE, servers).await);
        removed?;
        ended
    }

    /// Ends what a start has begun, and takes out of the home what it has added.
    pub(super) async fn undo(self) -> Result<(), HomeError> {
        self.stop_hosts.send_replace(true);
        let mut running = Vec::new();
        for supervisor in self.supervisors {
            running.extend(supervisor.await.map_err(HomeError::Died)?);
        }
        // What ran before was to outlive its home, and does.
        running.retain(|host| !self.added.has_found(host.host()));
        let ended = tokio::task::spawn_blocking(move || process::stop(&running, HOSTS_GRACE));
        ended.await.map_err(HomeError::Died)??;
        let undone = self.added.undo(&self.control).await;
        self.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
        let servers = async {
            drop(self.api.await);
            drop(self.s3.stop().await);
        };
        drop(tokio::time::timeout(SERVERS_GRACE, servers).await);
        // A request that a thread still answers would make files that were removed. It ends by itself, and is waited for.
        drop(self.dynamodb.stop().await);
        undone
    }
}

fn end_hosts(hosts: &[HostFiles], running: &[RunningHost]) -> Result<Vec<Interrupted>, HomeError> {
    let ended = process::stop(running, HOSTS_GRACE);
    let mut interrupted = Vec::new();
    for files in hosts {
        let path = files.interrupted();
        if let Ok(text) = std::fs::read_to_string(&path) {
            let host = files.number().to_string();
            interrupted.extend(
                text.lines().map(|what| Interrupted { host: host.clone(), what: what.to_owned() }),
            );
            drop(std::fs::remove_file(&path));
        }
    }
    ended?;
    Ok(interrupted)
}
