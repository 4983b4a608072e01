//! A home that speaks the host protocol on a loopback port, and does as each test wants.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use engine::lifecycle::Event;
use engine::{DeploymentId, GroupId};
use runner::root::HostRoot;
use runner::{AgentConfig, AgentError, Ended, serve};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use wire::host::*;
use wire::log::without_stamps;

/// What home knows and how it behaves.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) commands: BTreeMap<DeploymentId, Command>,
    pub(crate) polls: usize,
    pub(crate) downloads: usize,
    /// Answered instead of anything else.
    pub(crate) broken: Option<StatusCode>,
    pub(crate) lease_ms: u64,
    pub(crate) follow: bool,
    /// Offers are made again and again, claimed or not.
    pub(crate) repeats_offers: bool,
    /// Said to whoever polls.
    pub(crate) again_after_ms: Option<u64>,
    /// Groups that there are no more.
    pub(crate) deleted_groups: Vec<GroupId>,
    /// How often somebody asked about groups.
    pub(crate) asked_about_groups: usize,
    /// Where hosts are told to fetch bundles, if not from home itself.
    pub(crate) bundles: Option<String>,
}

pub(crate) struct Command {
    pub(crate) attempt: u8,
    pub(crate) specification: Specification,
    pub(crate) bundle: Vec<u8>,
    /// Offered to whoever is not busy with it, until its last report.
    pub(crate) is_offered: bool,
    pub(crate) claims: usize,
    /// Refused from now on.
    pub(crate) refusal: Option<Refusal>,
    /// Permission is withheld once this event has ended.
    pub(crate) withhold_after: Option<Event>,
    /// Somebody was told that it stops.
    pub(crate) is_stopped: bool,
    /// How often it was asked whether a script may start.
    pub(crate) questions: usize,
    /// How long such a question is left without an answer.
    pub(crate) silent_ms: u64,
    /// How many such questions are refused, because there are too many.
    pub(crate) throttled: usize,
    /// How often the balancer was looked at; it is done at each third look.
    pub(crate) looks: usize,
    /// What the balancer refuses with.
    pub(crate) balancer_refuses: Option<String>,
    pub(crate) reports: Vec<ReportRequest>,
}

impl Command {
    pub(crate) fn last(&self) -> Option<&ReportRequest> {
        self.reports.iter().max_by_key(|report| (report.attempt, report.sequence))
    }
}

#[derive(Clone)]
pub(crate) struct Home {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
    pub(crate) dir: Arc<tempfile::TempDir>,
}

impl Home {
    /// A home with the directories of one host, which is not reachable yet.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("state")).unwrap();
        std::fs::create_dir_all(dir.path().join("root")).unwrap();
        let world = World { lease_ms: 30_000, ..World::default() };
        // Hooks run as other users in some tests.
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            world: Arc::new(Mutex::new(world)),
            changed: Arc::new(Notify::new()),
            dir: Arc::new(dir),
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Changes something, so that held polls and waiting tests look again.
    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world());
        self.changed.notify_waiters();
    }

    /// Serves on a free port until the handle is aborted, and writes it where the host looks.
    pub(crate) async fn open(&self) -> JoinHandle<()> {
        self.serve().await.1
    }

    /// Serves on a free port until the handle is aborted, and says where.
    pub(crate) async fn serve(&self) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new()
            .route("/cutover/v1/host/poll", post(poll))
            .route("/cutover/v1/host/claim", post(claim))
            .route("/cutover/v1/host/batch/claim", post(claim_batch))
            .route("/cutover/v1/host/report", post(report))
            .route("/bundles/{id}", get(bundle))
            .with_state((self.clone(), api.clone()));
        let connection = serde_json::json!({"api": api, "host": "host-1", "key": "secret"});
        std::fs::write(self.state().join("connection.json"), connection.to_string()).unwrap();
        // Its own runtime task set: aborting it closes every connection, as a killed process does.
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let http = hyper::server::conn::http1::Builder::new();
                    http.serve_connection(io, service).await.unwrap_or(());
                });
            }
        });
        (api, server)
    }

    pub(crate) fn config(&self) -> AgentConfig {
        let mut config = AgentConfig::new(self.state(), HostRoot::Prefix(self.root()));
        config.hook_env.insert("HOST_ROOT".to_owned(), self.root().to_str().unwrap().to_owned());
        config
    }

    /// Offers a deployment to the host when it polls.
    pub(crate) fn offer(&self, deployment: Deployment) -> DeploymentId {
        let id = self.dispatch(deployment);
        self.command(&id, |command| command.is_offered = true);
        id
    }

    /// Has a command for the host that is pushed to it.
    pub(crate) fn dispatch(&self, deployment: Deployment) -> DeploymentId {
        let id = deployment.specification.deployment_id.clone();
        let command = Command {
            attempt: 1,
            specification: deployment.specification,
            bundle: deployment.bundle,
            is_offered: false,
            claims: 0,
            refusal: None,
            withhold_after: None,
            is_stopped: false,
            questions: 0,
            silent_ms: 0,
            throttled: 0,
            looks: 0,
            balancer_refuses: None,
            reports: Vec::new(),
        };
        self.change(|world| {
            world.commands.insert(id.clone(), command);
        });
        id
    }

    pub(crate) fn command(&self, id: &DeploymentId, change: impl FnOnce(&mut Command)) {
        self.change(|world| change(world.commands.get_mut(id).unwrap()));
    }

    /// Waits until something is true of home.
    pub(crate) async fn until<T>(&self, what: &str, look: impl Fn(&World) -> Option<T>) -> T {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = look(&self.world()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .unwrap_or_else(|_| panic!("waited for {what}"))
    }

    /// Waits for the last report of a deployment.
    pub(crate) async fn result(&self, id: &DeploymentId) -> ReportRequest {
        self.until("the result", |world| {
            world.commands[id]
                .last()
                .filter(|report| report.status != HostStatus::InProgress)
                .cloned()
        })
        .await
    }

    /// Waits until a file that a hook writes is there.
    pub(crate) async fn file(&self, name: &str) -> String {
        let path = self.root().join(name);
        for _ in 0..6_000 {
            if let Ok(text) = std::fs::read_to_string(&path)
                && text.ends_with('\n')
            {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} never came", path.display());
    }
}

/// An agent in this process.
pub(crate) struct Agent {
    stop: oneshot::Sender<()>,
    pub(crate) end: Pin<Box<dyn Future<Output = Result<Ended, AgentError>> + Send>>,
}

impl Agent {
    pub(crate) fn start(config: AgentConfig) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(config, async {
            stopped.await.unwrap_or(());
        }));
        Self { stop, end: Box::pin(async { task.await.unwrap() }) }
    }

    pub(crate) async fn stop(self) -> Ended {
        self.stop.send(()).unwrap();
        self.end.await.unwrap()
    }
}

/// A deployment to be offered.
#[derive(Clone)]
pub(crate) struct Deployment {
    pub(crate) specification: Specification,
    pub(crate) bundle: Vec<u8>,
}

impl Deployment {
    /// A deployment to a group of its own, made of the AppSpec's hooks (or its `files` and what follows) and the scripts with their modes.
    pub(crate) fn new(number: u8, hooks: &str, scripts: &[(&str, u32, &str)]) -> Self {
        let hooks =
            if hooks.starts_with("files:") { hooks.to_owned() } else { format!("hooks:\n{hooks}") };
        let spec = format!("version: 0.0\nos: linux\n{hooks}");
        let mut archive = tar::Builder::new(Vec::new());
        for (name, mode, content) in [("appspec.yml", 0o644, spec.as_str())].iter().chain(scripts) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_mtime(1_700_000_000);
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        let bundle = archive.into_inner().unwrap();
        let specification = Specification {
            deployment_id: DeploymentId::from_random([number; 9]),
            application_name: "shop".to_owned(),
            deployment_group_name: "web tier".to_owned(),
            deployment_group_id: GroupId::from_random([number; 16]),
            generation: u64::from(number),
            creator: "user".to_owned(),
            bundle: Bundle {
                bucket: "revisions".to_owned(),
                key: "shop/app.tar".to_owned(),
                version: Some("v7".to_owned()),
                e_tag: Some("e1".to_owned()),
                sha256: hex::encode(Sha256::digest(&bundle)),
                size: bundle.len() as u64,
            },
            file_exists_behavior: engine::appspec::FileExistsBehavior::Disallow,
            ignore_application_stop_failures: false,
            events: Event::IN_PLACE.to_vec(),
            held_before: None,
            rerun_interrupted: false,
        };
        Self { specification, bundle }
    }

    /// One hook of one script.
    pub(crate) fn of(number: u8, event: &str, options: &str, script: &str) -> Self {
        let hooks = format!("  {event}:\n    - location: run.sh\n{options}");
        Self::new(number, &hooks, &[("run.sh", 0o755, script)])
    }

    /// The same to the group of another deployment.
    pub(crate) fn in_group(mut self, group: u8) -> Self {
        self.specification.deployment_group_id = GroupId::from_random([group; 16]);
        self
    }
}

pub(crate) fn event(report: &ReportRequest, event: Event) -> &EventReport {
    report.events.iter().find(|it| it.event == event).unwrap()
}

/// How an event ended, with its output without times.
pub(crate) fn diagnostics(report: &ReportRequest, wanted: Event) -> EventDiagnostics {
    let found = event(report, wanted).diagnostics.clone().unwrap();
    EventDiagnostics { log_tail: without_stamps(&found.log_tail), ..found }
}

/// The directory of a deployment on the host.
pub(crate) fn kept(home: &Home, deployment: &Specification) -> PathBuf {
    let group: &Path = &home.state().join(deployment.deployment_group_id.as_str());
    group.join(deployment.deployment_id.as_str())
}

type App = State<(Home, String)>;

fn refuse(status: StatusCode, code: RefusalCode, message: &str) -> Response {
    (status, Json(Refusal { code, message: message.to_owned() })).into_response()
}

fn bearer(headers: &HeaderMap) -> &str {
    headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap()
}

async fn poll(
    State((home, _)): App,
    headers: HeaderMap,
    Json(poll): Json<PollRequest>,
) -> Response {
    assert_eq!((bearer(&headers), poll.host.as_str()), ("secret", "host-1"));
    let deleted_groups = deleted_among(&home, &poll.kept_groups);
    home.change(|world| world.polls += 1);
    if let Some(status) = home.world().broken {
        return status.into_response();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_millis(poll.wait_ms);
    loop {
        let changed = home.changed.notified();
        let mut changed = std::pin::pin!(changed);
        changed.as_mut().enable();
        let offers: Vec<_> = {
            let world = home.world();
            let open = world.commands.iter().filter(|(id, command)| {
                world.repeats_offers || (command.is_offered && !poll.busy.contains(id))
            });
            let offer = |(id, command): (&DeploymentId, &Command)| {
                let attempt = command.attempt;
                Offer { deployment_id: id.clone(), ordinal: 0, attempt }
            };
            open.map(offer).collect()
        };
        let is_over = tokio::time::timeout_at(deadline, async {
            if offers.is_empty() {
                changed.await;
            }
        });
        let is_over = !poll.kept_groups.is_empty() || !offers.is_empty() || is_over.await.is_err();
        if is_over || !offers.is_empty() {
            let again_after_ms = home.world().again_after_ms;
            let answer = PollResponse { offers, again_after_ms, deleted_groups };
            return Json(answer).into_response();
        }
    }
}

fn deleted_among(home: &Home, asked: &[GroupId]) -> Vec<GroupId> {
    let mut world = home.world();
    world.asked_about_groups += usize::from(!asked.is_empty());
    asked.iter().filter(|group| world.deleted_groups.contains(group)).cloned().collect()
}

async fn claim(State((home, api)): App, Json(claim): Json<ClaimRequest>) -> Response {
    match claimed(&home, &api, &claim.offer.deployment_id) {
        Ok((_, claim)) => Json(claim).into_response(),
        Err(refused) => *refused,
    }
}

/// The secret of every batch.
pub(crate) const SECRET: &str = "5ec2e7";

async fn claim_batch(
    State((home, api)): App,
    headers: HeaderMap,
    Json(claim): Json<BatchClaimRequest>,
) -> Response {
    let asked = claim.kept_groups.clone();
    assert_eq!((claim.host.as_str(), claim.batch.number), ("i-0abc", 12));
    if bearer(&headers) != SECRET {
        return refuse(StatusCode::UNAUTHORIZED, RefusalCode::Unauthorized, "who are you?");
    }
    let id = &claim.batch.deployment_id;
    let has_ended = |report: &ReportRequest| report.status != HostStatus::InProgress;
    if home.world().commands[id].last().is_some_and(has_ended) {
        return refuse(StatusCode::CONFLICT, RefusalCode::Superseded, "the command is finished");
    }
    match claimed(&home, &api, id) {
        Ok((attempt, claim)) => {
            let deployment_id = claim.specification.deployment_id.clone();
            let offer = Offer { deployment_id, ordinal: 0, attempt };
            let deleted_groups = deleted_among(&home, &asked);
            Json(BatchClaimResponse { offer, claim, deleted_groups }).into_response()
        }
        Err(refused) => *refused,
    }
}

fn claimed(
    home: &Home,
    api: &str,
    id: &DeploymentId,
) -> Result<(u8, ClaimResponse), Box<Response>> {
    let mut world = home.world();
    if let Some(status) = world.broken {
        return Err(Box::new(status.into_response()));
    }
    let (lease_ms, bundles) = (world.lease_ms, world.bundles.clone());
    let command = world.commands.get_mut(id).unwrap();
    if let Some(refusal) = &command.refusal {
        command.is_offered = false;
        return Err(Box::new((StatusCode::CONFLICT, Json(refusal.clone())).into_response()));
    }
    command.claims += 1;
    let claim = ClaimResponse {
        token: format!("{id}/{}", command.claims),
        specification: command.specification.clone(),
        bundle_url: format!("{}/bundles/{id}", bundles.as_deref().unwrap_or(api)),
        lease_ms,
        reported: Vec::new(),
        proceed: !command.is_stopped,
        reason: command.is_stopped.then(|| STOPPED.to_owned()),
    };
    let attempt = command.attempt;
    home.changed.notify_waiters();
    Ok((attempt, claim))
}

/// Why a command does not go on.
pub(crate) const STOPPED: &str = "the deployment was stopped";

async fn report(
    State((home, _)): App,
    headers: HeaderMap,
    Json(report): Json<ReportRequest>,
) -> Response {
    let is_question = report.sequence == ReportRequest::QUESTION;
    let silent_ms = home.world().commands[&report.deployment_id].silent_ms;
    if is_question && silent_ms > 0 {
        tokio::time::sleep(Duration::from_millis(silent_ms)).await;
    }
    let response = {
        let mut world = home.world();
        if let Some(status) = world.broken {
            return status.into_response();
        }
        let (lease_ms, follow) = (world.lease_ms, world.follow);
        let command = world.commands.get_mut(&report.deployment_id).unwrap();
        if bearer(&headers) != format!("{}/{}", report.deployment_id, command.claims) {
            return refuse(StatusCode::UNAUTHORIZED, RefusalCode::Unauthorized, "claim again");
        }
        if let Some(refusal) = &command.refusal {
            return (StatusCode::CONFLICT, Json(refusal.clone())).into_response();
        }
        let has_ended = |it: &EventReport| {
            Some(it.event) == command.withhold_after && it.status == EventStatus::Succeeded
        };
        let told = if is_question { command.last() } else { Some(&report) };
        let is_withheld = told.is_some_and(|told| told.events.iter().any(has_ended));
        let proceed = !is_withheld && !command.is_stopped;
        let reason = (!proceed).then(|| STOPPED.to_owned());
        if is_question {
            command.questions += 1;
            if command.questions <= command.throttled {
                return StatusCode::TOO_MANY_REQUESTS.into_response();
            }
            home.changed.notify_waiters();
            let answer = ReportResponse { proceed, reason, lease_ms, follow, traffic: None };
            return Json(answer).into_response();
        }
        command.is_offered &= report.status == HostStatus::InProgress;
        let waits =
            |it: &&EventReport| it.event.is_of_balancer() && it.status == EventStatus::InProgress;
        let waiting = report.events.iter().find(waits).map(|it| it.event);
        let traffic = waiting.map(|event| {
            // The balancer is done at the third look, unless it is to refuse.
            command.looks += 1;
            let (done, failed) = (command.looks % 3 == 0, command.balancer_refuses.clone());
            TrafficAnswer { event, done: done && failed.is_none(), failed, again_after_ms: 20 }
        });
        command.reports.push(report);
        ReportResponse { proceed, reason, lease_ms, follow, traffic }
    };
    home.changed.notify_waiters();
    Json(response).into_response()
}

async fn bundle(State((home, _)): App, UrlPath(id): UrlPath<DeploymentId>) -> Response {
    let mut world = home.world();
    world.downloads += 1;
    world.commands[&id].bundle.clone().into_response()
}
