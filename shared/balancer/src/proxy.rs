//! A balancer that runs: it listens, passes each request to a host of its pool, and counts what comes of it. What hosts
//! there are and which one is next is the pool's to say.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum_reverse_proxy::{HostBehaviour, ProxyError, ProxyPolicy, ReverseProxy, TunnelGuard};
use engine::DeploymentId;
use http::{Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serve::Room;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::body::{Watched, Whole};
use super::measure::Measures;
use super::pool::{Chosen, Pool};
use super::settings::Settings;
use super::trials::Trials;

/// How long a host may take to accept a connection; all of them are on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a host may take for the first byte of its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// After this time no further host is tried.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many idle connections to a host are kept.
const IDLE_MAX: usize = 64;
/// Shorter than any server keeps its own (gunicorn's two seconds are the shortest known), so that a host does not end a
/// connection just when a request is sent on it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A client for hosts.
pub(super) type HostClient = Client<HttpConnector, Body>;

/// A balancer that runs.
pub(super) struct Running {
    /// What it was set up with, and the port that it has.
    pub(super) settings: Settings,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Where the group answers that has less of the traffic.
    pub(super) test_address: Option<SocketAddr>,
    /// Ends its server and its probes.
    pub(super) stop: CancellationToken,
    pool: Mutex<Pool>,
    measures: Mutex<Measures>,
    trials: Mutex<Trials>,
    clock: Ticks,
    client: HostClient,
}

/// Milliseconds since the Unix epoch that never go back.
struct Ticks {
    began: Instant,
    began_ms: u64,
}

impl Ticks {
    fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), began_ms: millis(since) }
    }

    fn now_ms(&self) -> u64 {
        self.began_ms.saturating_add(millis(self.began.elapsed()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A client that keeps up to `idle_max` connections to a host.
pub(super) fn client(idle_max: usize) -> HostClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle_max)
        .build(connector)
}

/// Where requests come in.
#[derive(Clone)]
struct Entrance {
    running: Arc<Running>,
    /// Whether they are for the group that has less of the traffic.
    is_test: bool,
}

/// Begins to listen on a port of the loopback address; 0 for any free one.
pub(super) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

impl Running {
    /// Starts to answer on a listener, and on one for tests. The task ends when the balancer was stopped and has answered
    /// what it had.
    pub(super) fn start(
        mut settings: Settings,
        pool: Pool,
        listener: TcpListener,
        test: Option<TcpListener>,
        room: &Arc<Room>,
    ) -> io::Result<(Arc<Self>, JoinHandle<()>)> {
        let address = listener.local_addr()?;
        let test_address = test.as_ref().map(TcpListener::local_addr).transpose()?;
        settings.port = address.port();
        settings.test_port = test_address.map(|address| address.port());
        let running = Arc::new(Self {
            settings,
            address,
            test_address,
            stop: CancellationToken::new(),
            pool: Mutex::new(pool),
            measures: Mutex::default(),
            trials: Mutex::default(),
            clock: Ticks::start(),
            client: client(IDLE_MAX),
        });
        let listeners = [Some(listener), test].into_iter().flatten().zip([false, true]);
        let serve = |(listener, is_test)| running.clone().serve(listener, is_test, room.clone());
        let servers: Vec<_> = listeners.map(serve).collect();
        let task = tokio::spawn(async move { drop(futures::future::join_all(servers).await) });
        Ok((running, task))
    }

    async fn serve(self: Arc<Self>, listener: TcpListener, is_test: bool, room: Arc<Room>) {
        let stopped = self.stop.clone().cancelled_owned();
        let router =
            Router::new().fallback(forward).with_state(Entrance { running: self, is_test });
        // Whoever ends it says how long that may take.
        serve::serve(listener, room, serve::router(router), stopped, Duration::MAX).await;
    }

    /// The pool, locked: not to be held across an await.
    pub(super) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The measurements, locked, and the time.
    pub(super) fn measures(&self) -> (MutexGuard<'_, Measures>, u64) {
        let measures = self.measures.lock().unwrap_or_else(PoisonError::into_inner);
        (measures, self.clock.now_ms())
    }

    /// The comparisons under way, locked: not to be held across an await, and taken after the measurements.
    pub(super) fn trials(&self) -> MutexGuard<'_, Trials> {
        self.trials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, chosen: &Chosen, request: Request) -> Response {
        let target = format!("http://{}", chosen.address);
        let policy = ProxyPolicy::new()
            .with_host_behaviour(HostBehaviour::Preserve)
            .with_public_scheme("http")
            .with_upstream_timeout(ANSWER_TIMEOUT);
        let proxy =
            ReverseProxy::new_with_client("/", target, self.client.clone()).with_policy(policy);
        match proxy.proxy_request(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Passes a request on.
async fn forward(State(entrance): State<Entrance>, request: Request) -> Response {
    let Entrance { running, is_test } = entrance;
    // The library builds an address from it, and cannot from `*` or from what CONNECT names.
    if request.method() == Method::CONNECT || !request.uri().path().starts_with('/') {
        let text = "this balancer passes on requests for a path only\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let body = Whole::new(body);
    let is_cohort = running.settings.cohort.as_ref().is_some_and(|c| c.holds(&parts.headers));
    let group = match is_test {
        true => running.pool().lesser_group(),
        false => running.pool().next_group(is_cohort),
    };
    let mut tried = Vec::new();
    while began.elapsed() < PATIENCE {
        let chosen = match is_test {
            true => running.pool().choose_of(group, &tried),
            false => running.pool().choose(group, &tried),
        };
        let Some(chosen) = chosen else { break };
        let mut attempt = Request::from_parts(parts.clone(), body.offer());
        attempt.extensions_mut().insert(TunnelGuard::new(chosen.ticket.clone()));
        let waiting = Waiting { running: &running, version: &chosen.version, began };
        let response = running.ask(&chosen, attempt).await;
        waiting.end();
        match response.extensions().get::<ProxyError>() {
            None => return answered(&running, chosen, began.elapsed(), response, body),
            Some(error) if error.is_connect() && body.is_whole() => {
                running.pool().unreached(chosen.epoch, error.message().to_owned());
                tried.push(chosen.epoch);
            }
            // The host is not to blame, nor is what runs there.
            Some(_) if body.broke() => {
                let text = "the body of the request broke off or is none\n";
                return (StatusCode::BAD_REQUEST, text).into_response();
            }
            Some(_) => return unanswered(&running, &chosen, response.status()),
        }
    }
    unavailable(&running)
}

/// A request that a host has. Where the client gives up before the host answers, it is counted with the time that it
/// took so far: otherwise a version that is too slow for everybody would never be seen.
struct Waiting<'a> {
    running: &'a Running,
    version: &'a DeploymentId,
    began: Instant,
}

impl Waiting<'_> {
    /// There is an answer, which is counted as what it is.
    fn end(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let (mut measures, now_ms) = self.running.measures();
        measures.answered(self.version, self.began.elapsed(), false, now_ms);
    }
}

fn answered(
    running: &Arc<Running>,
    chosen: Chosen,
    latency: Duration,
    response: Response,
    asked: Whole,
) -> Response {
    running.pool().reached(chosen.epoch);
    let (mut measures, now_ms) = running.measures();
    let is_bad = response.status().is_server_error();
    measures.answered(&chosen.version, latency, is_bad, now_ms);
    drop(measures);
    if is_bad {
        return response;
    }
    let running = Arc::clone(running);
    let version: DeploymentId = chosen.version;
    let broke = move || {
        // What a host makes of a request that broke off is no fault of its own.
        if asked.broke() {
            return;
        }
        let (mut measures, now_ms) = running.measures();
        measures.bad(&version, now_ms);
    };
    response.map(|body| Watched::watch(body, broke))
}

fn unanswered(running: &Running, chosen: &Chosen, status: StatusCode) -> Response {
    let (mut measures, now_ms) = running.measures();
    measures.unanswered(&chosen.version, now_ms);
    drop(measures);
    let name = &running.settings.name;
    let text = format!("the balancer `{name}` sent this to a host, which did not answer\n");
    (status, text).into_response()
}

fn unavailable(running: &Running) -> Response {
    let (mut measures, now_ms) = running.measures();
    measures.own_error(now_ms);
    drop(measures);
    let name = &running.settings.name;
    let text = format!("the balancer `{name}` has no host that can be reached\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
