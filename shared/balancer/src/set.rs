//! The balancers of a home: set up, removed, measured, and found again after a restart.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use control::ports::Standing;
use engine::DeploymentId;
use serve::Room;
use tokio::task::JoinHandle;
use tracing::warn;

use super::measure::{Comparison, Totals};
use super::pool::Pool;
use super::probe;
use super::proxy::{self, HostClient, Running};
use super::saved::{Saved, SavedBalancer, SavedWanted};
use super::set_up_error::{BALANCERS_MAX, SetUpError};
use super::settings::Settings;
use super::trials::Compared;

/// Finds the address of a host by its name; none for a name that no host has.
pub type Resolver = Arc<dyn Fn(&str) -> Option<IpAddr> + Send + Sync>;

/// A balancer as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its settings, with the port that it has.
    pub settings: Settings,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the group answers that has less of the traffic.
    pub test_address: Option<SocketAddr>,
    /// Its target groups.
    pub groups: Vec<DescribedGroup>,
    /// What passed since it was started.
    pub totals: Totals,
}

/// A target group as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its name, without a scheme.
    pub name: String,
    /// Its share of the traffic, in percent.
    pub percent: u8,
    /// The hosts that are to get traffic, and how they stand.
    pub hosts: BTreeMap<String, Standing>,
}

/// The balancers of a home. Clones are the same ones; when the last one is dropped, they end at once.
#[derive(Clone)]
pub struct Balancers(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) resolve: Resolver,
    /// Held over a change, from reading what is wanted until it acts.
    pub(super) saved: tokio::sync::Mutex<Saved>,
    pub(super) running: RwLock<BTreeMap<String, Server>>,
    probes: HostClient,
    /// For the users of all of them.
    room: Arc<Room>,
}

pub(super) struct Server {
    pub(super) running: Arc<Running>,
    task: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        for server in running.values() {
            server.running.stop.cancel();
            server.task.abort();
        }
    }
}

impl Balancers {
    /// The balancers that the home in `dir` had, listening on the same ports, their hosts being probed anew. All of them
    /// together take that many connections at once.
    ///
    /// # Errors
    /// See [`SetUpError`].
    pub async fn open(
        dir: &Path,
        resolve: Resolver,
        connections: usize,
    ) -> Result<Self, SetUpError> {
        let saved = Saved::read(dir)?;
        let (dir, balancers) = (dir.to_owned(), saved.balancers.clone());
        let inner = Inner {
            dir,
            resolve,
            saved: tokio::sync::Mutex::new(saved),
            running: RwLock::default(),
            probes: proxy::client(0),
            room: Room::new(connections),
        };
        let this = Self(Arc::new(inner));
        for balancer in balancers {
            this.start(&balancer).await?;
        }
        Ok(this)
    }

    /// Sets up a balancer. One that is there with the same settings is left as it is.
    ///
    /// # Errors
    /// See [`SetUpError`]; nothing is changed then.
    pub async fn add(&self, settings: Settings) -> Result<Described, SetUpError> {
        settings.check()?;
        let mut saved = self.0.saved.lock().await;
        if let Some(known) = saved.balancers.iter().find(|b| b.settings.name == settings.name) {
            let port = if settings.port == 0 { known.settings.port } else { settings.port };
            let test_port = match settings.test_port {
                Some(0) => known.settings.test_port,
                given => given,
            };
            let is_same = known.settings == Settings { port, test_port, ..settings.clone() };
            let described = self.described(&settings.name).filter(|_| is_same);
            return described.ok_or(SetUpError::Taken { name: settings.name });
        }
        let mut names = saved.balancers.iter().flat_map(|b| &b.groups).map(|group| &group.name);
        let taken = names.find(|name| settings.groups().contains(name)).cloned();
        if let Some(name) = taken {
            return Err(SetUpError::Taken { name });
        }
        if saved.balancers.len() >= BALANCERS_MAX {
            return Err(SetUpError::TooMany);
        }
        let name = settings.name.clone();
        let mut balancer = SavedBalancer::new(settings);
        balancer.settings.port = self.start(&balancer).await?.port();
        balancer.settings.test_port = self.running(&name).and_then(|it| it.settings.test_port);
        let mut wanted = saved.clone();
        wanted.balancers.push(balancer);
        if let Err(error) = wanted.write(&self.0.dir).await {
            self.end(&name, Duration::ZERO).await;
            return Err(error);
        }
        *saved = wanted;
        self.described(&name).ok_or(SetUpError::Unknown { name })
    }

    /// The balancers, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Described> {
        let running = self.0.running.read().unwrap_or_else(PoisonError::into_inner);
        running.values().map(|server| describe(&server.running)).collect()
    }

    /// Removes a balancer. It stops listening at once; requests that it has may end within its drain time-out.
    ///
    /// # Errors
    /// [`SetUpError::Unknown`], [`SetUpError::File`].
    pub async fn remove(&self, name: &str) -> Result<(), SetUpError> {
        let mut saved = self.0.saved.lock().await;
        let mut wanted = saved.clone();
        wanted.balancers.retain(|balancer| balancer.settings.name != name);
        let Some(running) = self.running(name) else {
            return Err(SetUpError::Unknown { name: name.to_owned() });
        };
        wanted.write(&self.0.dir).await?;
        *saved = wanted;
        drop(saved);
        self.end(name, running.settings.drain_timeout()).await;
        Ok(())
    }

    /// Stops all balancers, which stay set up; requests that they have may end within `grace`.
    pub async fn close(&self, grace: Duration) {
        let names: Vec<String> = self.list().into_iter().map(|b| b.settings.name).collect();
        futures::future::join_all(names.iter().map(|name| self.end(name, grace))).await;
    }

    /// What passed through a balancer within the `last` time, of at most a minute: a version beside the others. None if
    /// there is no such balancer.
    #[must_use]
    pub fn measured(
        &self,
        balancer: &str,
        version: &DeploymentId,
        last: Duration,
    ) -> Option<Comparison> {
        let running = self.running(balancer)?;
        let (measures, now_ms) = running.measures();
        Some(measures.compare(version, last, now_ms))
    }

    /// What passed through a balancer since it was started. None if there is no such balancer.
    #[must_use]
    pub fn totals(&self, balancer: &str) -> Option<Totals> {
        let running = self.running(balancer)?;
        let (measures, _) = running.measures();
        Some(measures.totals())
    }

    /// When a version first gave a bad answer through a balancer, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn first_bad_ms(&self, balancer: &str, version: &DeploymentId) -> Option<u64> {
        let running = self.running(balancer)?;
        let (measures, _) = running.measures();
        measures.first_bad_ms(version)
    }

    /// Looks how a version does beside the others, which counts as a look of the judge; whether it is worse. None if there
    /// is no such balancer.
    pub(super) fn is_worse(
        &self,
        balancer: &str,
        version: &DeploymentId,
        compared: Compared,
    ) -> Option<bool> {
        let running = self.running(balancer)?;
        let (measures, now_ms) = running.measures();
        Some(running.trials().look(version, compared, &measures, now_ms))
    }

    /// What the judge has to say of a version by now, for people.
    pub(super) fn verdict(
        &self,
        balancer: &str,
        version: &DeploymentId,
        compared: Compared,
    ) -> Option<String> {
        let running = self.running(balancer)?;
        let trials = running.trials();
        Some(trials.note(version, compared))
    }

    /// Starts a balancer as it is wanted; where it listens.
    async fn start(&self, wanted: &SavedBalancer) -> Result<SocketAddr, SetUpError> {
        let (name, port) = (wanted.settings.name.clone(), wanted.settings.port);
        let failed = |source| SetUpError::Port { name: name.clone(), port, source };
        let listener = proxy::listen(port).await.map_err(failed)?;
        let test = match wanted.settings.test_port {
            Some(port) => {
                let failed = |source| SetUpError::Port { name: name.clone(), port, source };
                Some(proxy::listen(port).await.map_err(failed)?)
            }
            None => None,
        };
        let groups = wanted.groups.iter().map(|group| (group.name.clone(), group.percent));
        let new = wanted.groups.iter().position(|group| wanted.new.as_ref() == Some(&group.name));
        let pool = Pool::new(groups.collect(), new);
        let (running, task) =
            Running::start(wanted.settings.clone(), pool, listener, test, &self.0.room)
                .map_err(failed)?;
        for (place, group) in wanted.groups.iter().enumerate() {
            for host in group.hosts.iter().filter(|host| host.wanted == SavedWanted::In) {
                match self.address_of(&running, &host.name) {
                    Some(at) => self.take_in(&running, place, &host.name, at, &host.version),
                    None => warn!(host = host.name, "a balancer's host is no host of this home"),
                }
            }
        }
        let address = running.address;
        let mut all = self.0.running.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(name, Server { running, task });
        Ok(address)
    }

    async fn end(&self, name: &str, grace: Duration) {
        let server = {
            let mut all = self.0.running.write().unwrap_or_else(PoisonError::into_inner);
            all.remove(name)
        };
        if let Some(Server { running, mut task }) = server {
            running.stop.cancel();
            if tokio::time::timeout(grace, &mut task).await.is_err() {
                task.abort();
            }
        }
    }

    pub(super) fn address_of(&self, running: &Running, host: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new((self.0.resolve)(host)?, running.settings.target_port))
    }

    pub(super) fn take_in(
        &self,
        running: &Arc<Running>,
        place: usize,
        host: &str,
        address: SocketAddr,
        version: &DeploymentId,
    ) {
        let admitted = running.pool().admit(place, host, address, version);
        if let Some(epoch) = admitted {
            let (running, client) = (Arc::clone(running), self.0.probes.clone());
            // It ends with the admission or with the balancer.
            drop(tokio::spawn(probe::watch(running, client, epoch, address)));
        }
    }

    fn running(&self, name: &str) -> Option<Arc<Running>> {
        let running = self.0.running.read().unwrap_or_else(PoisonError::into_inner);
        running.get(name).map(|server| Arc::clone(&server.running))
    }

    fn described(&self, name: &str) -> Option<Described> {
        self.running(name).map(|running| describe(&running))
    }
}

fn describe(running: &Running) -> Described {
    let (pool, now) = (running.pool(), Instant::now());
    let group = |(place, (name, percent, hosts)): (usize, (String, u8, Vec<String>))| {
        let standing = |host: String| {
            let standing = pool.standing(place, &host, now);
            (host, standing)
        };
        DescribedGroup { name, percent, hosts: hosts.into_iter().map(standing).collect() }
    };
    let groups = pool.describe().into_iter().enumerate().map(group).collect();
    let (measures, _) = running.measures();
    let totals = measures.totals();
    Described {
        settings: running.settings.clone(),
        address: running.address,
        test_address: running.test_address,
        groups,
        totals,
    }
}
