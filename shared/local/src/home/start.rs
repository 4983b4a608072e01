//! How a home starts: it is put together from servers, use cases, the loop that drives deployments, and the hosts.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use balancer::{Balancers, HomeTraffic, Outside, Resolver};
use control::carriers::Carriers;
use control::ports::{
    BalancerAdmin, Instances, NoCloud, NoFunctions, NoMeter, NoServices, Placed, Site, Traffic,
};
use control::{Base, Control, Followed, Gates, KnownShards, Place, Settings};
use futures::future::BoxFuture;
use serve::{Room, sigv4, stop_requested};
use store::{DynamoTable, S3Bundles, Scope};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::codedeploy::{ApiError, ErrorName};

use super::added::Added;
use super::begun::Begun;
use super::error::HomeError;
use super::names::{ACCOUNT, KEPT, REGION, REVISIONS, TABLE};
use super::patience::{HOSTS_PATIENCE, SERVERS_GRACE};
use super::running::Home;
use super::{roster, uploads};
use crate::descriptors::Shares;
use crate::dir::{Dir, Endpoints, KeyPair, Ports};
use crate::dispatcher::Mailboxes;
use crate::hosts::layout::{HostFiles, HostNumber, loopback_address};
use crate::hosts::namespace;
use crate::hosts::supervisor::{self, Program};
use crate::machine::{HomeClock, SystemEntropy, new_keys};
use crate::waker::{self, waker};
use crate::{dynamodb, tidy};

/// How often alarms are read while a deployment is under way.
const ALARM_EVERY_MS: u64 = 200;
/// How soon a host asks again that waits for its balancer.
const TRAFFIC_CHECK_MS: u64 = 50;

/// Makes the command that becomes a host, given its files and whether it has a view of its own.
pub type HostCommand = Box<dyn Fn(&HostFiles, bool) -> Command + Send + Sync>;

/// What a home is started with.
pub struct Options {
    /// Its directory.
    pub dir: PathBuf,
    /// The number of its hosts.
    pub hosts: u8,
    /// The port of the API; 0 for that of the last run or any free one.
    pub port: u16,
    /// The port of the table, 0 for any free one. Without it the table is on no network.
    pub table_port: Option<u16>,
    /// The command that becomes a host.
    pub host_command: HostCommand,
    /// Balancers and sources of alarms that are not its own.
    pub outside: Outside,
    /// How long logs and what else nobody needs any more are kept.
    pub keep: Duration,
}

impl Home {
    /// Starts a home: everything serves, and all hosts are registered and connected, when this returns. If `stop` is ready
    /// before that, there is none.
    ///
    /// # Errors
    /// See [`HomeError`]. Then, and without a home, nothing is left of what was started or made.
    pub async fn start(
        options: Options,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>, HomeError> {
        let mut stop = std::pin::pin!(stop);
        // What it was told of has to be there before anything is started.
        tokio::select! {
            checked = options.outside.check() => checked?,
            () = &mut stop => return Ok(None),
        }
        let mut begun = Begun::default();
        let started = Self::begin(options, &mut begun, stop).await;
        if !matches!(started, Ok(true)) {
            begun.undo().await;
            return started.map(|_| None);
        }
        Ok(begun.home)
    }

    /// Starts a home bit by bit; what there is of it is in `begun`. Only its hosts are not waited for once `asked` is ready:
    /// what threads have begun for the rest could come about after it was undone. Returns whether it has started.
    async fn begin(
        options: Options,
        begun: &mut Begun,
        asked: impl Future<Output = ()>,
    ) -> Result<bool, HomeError> {
        let dir = begun.open(options.dir.clone()).await?;
        let keys = dir.keys(new_keys)?;
        let last = dir.last_ports();
        let shares = Shares::now(options.hosts);
        let api_listener = listen_api(options.port, last.api).await?;
        let s3_listener = listen(last.s3).await?;
        let dynamodb = dynamodb::open(&dir.file("state.sqlite")).await?;
        let s3_options = object_store::Options {
            directory: &dir.file("s3"),
            access_key_id: &keys.access_key_id,
            secret_access_key: &keys.secret_access_key,
            watched: &[REVISIONS],
            made: &[REVISIONS, KEPT],
            connections: shares.bucket,
        };
        let (s3, uploads) = object_store::serve(s3_options, s3_listener).await?;
        let api_port = port_of(&api_listener)?;
        dir.keep_ports(Ports { api: api_port, s3: s3.address().port() })?;
        let signed_by = signed_by(&keys);
        let network = serve_table(options.table_port, &dynamodb, &signed_by).await?;
        let endpoints = endpoints(api_port, &s3, network.as_ref(), keys);
        let mailboxes = Arc::new(Mailboxes::new());
        let (waker, wakes) = waker();
        let balancers = open_balancers(&dir, shares.balancers).await?;
        let traffic = traffic_of(balancers.clone(), options.outside.clone());
        let balancer_admin = Arc::new(balancers.clone());
        let clock = Arc::new(HomeClock::new());
        let ports = (Arc::clone(&mailboxes), waker, Arc::clone(&clock));
        let mut control =
            assemble(&dir, &endpoints, dynamodb.tables(), ports, (balancer_admin, traffic)).await?;
        control.base.settings.kept_bundles_ms =
            u64::try_from(options.keep.as_millis()).unwrap_or(u64::MAX);
        clock.go_on_from(control.base.latest().await.map_err(HomeError::Begun)?);
        let (stop, stopped) = watch::channel(false);
        let router = api::router(control.operator_api(), control.host_api(), SignedBy(signed_by));
        let api = tokio::spawn(serve_api(api_listener, shares.api, router, stopped));
        let tasks = vec![
            tokio::spawn(waker::work(control.clone(), clock, wakes)),
            tokio::spawn(uploads::take(control.clone(), uploads)),
            tokio::spawn(tidy::work(dir.path().to_owned(), control.clone(), options.keep)),
        ];
        let home = Self {
            dir,
            endpoints,
            control,
            hosts: Vec::new(),
            supervisors: Vec::new(),
            added: Added::default(),
            refused_view: None,
            stop_hosts: watch::Sender::new(false),
            stop,
            api,
            tasks,
            dynamodb,
            network,
            s3,
            balancers,
        };
        let home = begun.home.insert(home);
        let place = home.dir.path().to_owned();
        let probed = tokio::task::spawn_blocking(move || namespace::probe(&place));
        home.refused_view = probed.await.map_err(HomeError::Died)?.err();
        tokio::select! {
            started = home.start_hosts(options, &mailboxes) => started?,
            () = asked => return Ok(false),
        }
        home.dir.write_endpoints(&home.endpoints)?;
        Ok(true)
    }

    /// Registers the hosts, tells them where home is, starts those that do not run, and waits until all have asked for
    /// work. Only then are hosts removed that are too many.
    async fn start_hosts(
        &mut self,
        options: Options,
        mailboxes: &Mailboxes,
    ) -> Result<(), HomeError> {
        let home = self.dir.path().to_owned();
        self.hosts =
            HostNumber::first(options.hosts).map(|number| HostFiles::new(&home, number)).collect();
        let (host_command, has_view) = (options.host_command, self.refused_view.is_none());
        let command: Arc<Program> = Arc::new(move |files| host_command(files, has_view));
        let mut names = Vec::new();
        for files in &self.hosts {
            self.added.note(files)?;
            files.create()?;
            let name = files.number().to_string();
            roster::register(&self.control, files, &name, &self.endpoints.api).await?;
            let running = supervisor::find_or_start(files, &*command)?;
            let stopped = self.stop_hosts.subscribe();
            let kept = supervisor::keep(files.clone(), Arc::clone(&command), running, stopped);
            self.supervisors.push(tokio::spawn(kept));
            names.push(name);
        }
        if tokio::time::timeout(HOSTS_PATIENCE, mailboxes.all_polled(&names)).await.is_err() {
            let missing = mailboxes.missing(&names);
            let log = self.hosts.iter().find(|files| missing.contains(&files.number().to_string()));
            let log = log.map(HostFiles::log).unwrap_or_default();
            return Err(HomeError::HostsMissing { names: missing, log });
        }
        roster::remove_surplus(&self.control, &home, options.hosts).await
    }
}

/// The balancers that this home has, which find its hosts by their names.
async fn open_balancers(dir: &Dir, connections: usize) -> Result<Balancers, HomeError> {
    let home = dir.path().to_owned();
    let resolve: Resolver = Arc::new(move |name| {
        let number = HostNumber::from_name(name)?;
        Some(loopback_address(&home, number).into())
    });
    Ok(Balancers::open(dir.path(), resolve, connections).await?)
}

fn traffic_of(home: Balancers, outside: Outside) -> Traffic {
    let traffic = Arc::new(HomeTraffic { home, outside });
    Traffic {
        balancers: traffic.clone(),
        alarms: traffic,
        functions: Arc::new(NoFunctions),
        services: Arc::new(NoServices),
    }
}

/// Where a home is found, and with which keys.
fn endpoints(
    api_port: u16,
    s3: &object_store::S3,
    network: Option<&dynamodb::Network>,
    keys: KeyPair,
) -> Endpoints {
    Endpoints {
        api: format!("http://127.0.0.1:{api_port}"),
        s3: s3.endpoint_url(),
        dynamodb: network.map(dynamodb::Network::endpoint_url),
        region: REGION.to_owned(),
        access_key_id: keys.access_key_id,
        secret_access_key: keys.secret_access_key,
        bucket: REVISIONS.to_owned(),
    }
}

/// The keys that whoever asks this home has to have signed with.
fn signed_by(keys: &KeyPair) -> sigv4::Keys {
    sigv4::Keys {
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: keys.secret_access_key.clone(),
    }
}

/// Puts the table on the network, if that is wanted.
async fn serve_table(
    port: Option<u16>,
    dynamodb: &dynamodb::DynamoDb,
    keys: &sigv4::Keys,
) -> Result<Option<dynamodb::Network>, HomeError> {
    let Some(port) = port else { return Ok(None) };
    let listener = bind(port).await?;
    Ok(Some(dynamodb::serve(dynamodb.tables(), keys.clone(), listener)?))
}

/// The use cases on this home's servers. Makes the table and the buckets if they are missing.
async fn assemble(
    dir: &Dir,
    endpoints: &Endpoints,
    tables: dynamodb::Tables,
    (dispatcher, waker, clock): (Arc<Mailboxes>, waker::HomeWaker, Arc<HomeClock>),
    (balancer_admin, traffic): (Arc<dyn BalancerAdmin>, Traffic),
) -> Result<Control, HomeError> {
    let at = store::Endpoints { dynamodb: Arc::new(tables), s3: endpoints.s3.clone() };
    let keys = store::Keys {
        id: endpoints.access_key_id.clone(),
        secret: endpoints.secret_access_key.clone(),
    };
    let clients = store::home_clients(&at, &keys, REGION);
    store::create_table(&clients.dynamodb, TABLE).await?;
    let scope = Scope::new(ACCOUNT, REGION)?;
    let bundles = S3Bundles::new(clients.s3, KEPT, dir.file("spool")).announcing(REVISIONS);
    let base = Base {
        table: Arc::new(DynamoTable::new(clients.dynamodb, TABLE, scope)),
        waker: Arc::new(waker),
        clock,
        entropy: Arc::new(SystemEntropy),
        meter: Arc::new(NoMeter),
        settings: Settings {
            alarm_every_ms: ALARM_EVERY_MS,
            traffic_check_ms: TRAFFIC_CHECK_MS,
            traffic_check_max_ms: TRAFFIC_CHECK_MS,
            ..Settings::default()
        },
        shards: KnownShards::default(),
    };
    Ok(Control {
        base,
        carriers: Carriers::default(),
        bundles: Arc::new(bundles),
        dispatcher,
        messages: Arc::new(NoCloud),
        balancer_admin: Some(balancer_admin),
        sites: Placed::own(Site { instances: Instances::none(), traffic }),
        place: Place { account: ACCOUNT.to_owned(), region: REGION.to_owned() },
        followed: Followed::default(),
        gates: Gates::default(),
    })
}

async fn listen_api(wanted: u16, last: u16) -> Result<TcpListener, HomeError> {
    if wanted == 0 {
        return listen(last).await;
    }
    bind(wanted).await
}

async fn bind(port: u16) -> Result<TcpListener, HomeError> {
    let bound = TcpListener::bind(("127.0.0.1", port)).await;
    bound.map_err(|source| HomeError::Port { port, source })
}

/// Listens on the port of the last run, or on any free one if that is taken. A port that the last run has just left may
/// need a moment.
async fn listen(last: u16) -> Result<TcpListener, HomeError> {
    if last != 0
        && let Ok(listener) = TcpListener::bind(("127.0.0.1", last)).await
    {
        return Ok(listener);
    }
    bind(0).await
}

fn port_of(listener: &TcpListener) -> Result<u16, HomeError> {
    let address = listener.local_addr().map_err(|source| HomeError::Port { port: 0, source })?;
    Ok(address.port())
}

async fn serve_api(
    listener: TcpListener,
    connections: usize,
    router: axum::Router,
    mut stopped: watch::Receiver<bool>,
) {
    let (room, router) = (Room::new(connections), serve::router(router));
    let stopped = stop_requested(&mut stopped);
    serve::serve(listener, room, router, stopped, SERVERS_GRACE / 2).await;
}

/// Lets requests in that are signed with the home's keys.
struct SignedBy(sigv4::Keys);

impl api::Guard for SignedBy {
    fn check<'a>(
        &'a self,
        parts: &'a http::request::Parts,
        body: &'a [u8],
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let checked = sigv4::verify(parts, body, &self.0, sigv4::SERVICE, SystemTime::now());
        let checked = checked.map(drop).map_err(|error| refused(&error));
        Box::pin(std::future::ready(checked))
    }
}

fn refused(error: &sigv4::SignatureError) -> ApiError {
    let code = error.code();
    let name = code
        .parse()
        .or_else(|_| format!("{code}Exception").parse())
        .unwrap_or(ErrorName::InvalidSignature);
    name.because(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::Poll;

    use tokio::sync::Notify;

    use super::*;

    /// Is ready when it is asked for the so-manieth time: there is no moment of a start that a test would have to hit.
    async fn asked(times: usize) {
        let mut left = times;
        std::future::poll_fn(|_| {
            left = left.saturating_sub(1);
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn a_start_that_is_told_to_end_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("home");
        for times in 1.. {
            let has_host = Arc::new(Notify::new());
            let host = Arc::clone(&has_host);
            let options = Options {
                dir: dir.clone(),
                hosts: 1,
                port: 0,
                table_port: None,
                keep: Duration::from_secs(3_600),
                host_command: Box::new(move |_, _| {
                    host.notify_one();
                    Command::new("/bin/false")
                }),
                outside: Outside::default(),
            };
            // The host never connects: the start waits for it until it is told to end.
            let is_asked = async {
                tokio::select! { () = asked(times) => true, () = has_host.notified() => false }
            };
            let was_asked = std::sync::atomic::AtomicBool::new(true);
            let stop = async { was_asked.store(is_asked.await, Relaxed) };
            assert!(Home::start(options, stop).await.unwrap().is_none(), "it cannot have started");
            let left: Vec<_> = std::fs::read_dir(&dir).into_iter().flatten().flatten().collect();
            assert!(!dir.exists(), "told to end when asked {times} times: {left:?}");
            if !was_asked.load(Relaxed) {
                assert!(times > 3, "a start is told to end at {times} moments only");
                break;
            }
        }
    }
}
