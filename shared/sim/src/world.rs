//! The scheduler: tasks that run the use cases of `control`, interleaved at each of their requests in an order of
//! chance, on a clock that jumps to what happens next.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use control::carriers::Carriers;
use control::ports::{NoMeter, Placed, RequestMessage, Site, Traffic, Uploaded};
use control::{Base, Control, Error, Followed, Gates, KnownShards, Place, Settings};
use engine::deployment::Performer;
use engine::{DeploymentId, Timestamp};
use wire::cutover::Steer;
use wire::host::{Offer, RefusalCode, ReportRequest};

use crate::bundles::SimBundles;
use crate::cloud::instances_of;
use crate::core::{Act, Answer, Core, EPOCH_MS, Event, HostEvent, Question, Shared};
use crate::memory::TableFaults;
use crate::outcome::Outcome;
use crate::ports::Ports;
use crate::random::Random;
use crate::runner::Host;
use crate::stops::AskedAt;
use crate::story::{Group, Pace, Story};
use crate::streams::Streams;
use crate::units::Units;

/// The simulated world.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    pub(crate) servers: Vec<Control>,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) groups: Vec<Group>,
    pub(crate) pace: Pace,
    /// What users have not done yet.
    acts_left: usize,
    /// The uploads that nobody has handled.
    pub(crate) unhandled: BTreeMap<String, Uploaded>,
    pub(crate) uploads: u64,
    healed_at: Option<u64>,
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    work: Work,
    what: String,
    server: usize,
    is_driver: bool,
    /// What happens, and when, if it dies.
    at_death: Option<(u64, Event)>,
}

/// To what on a host an answer goes.
#[derive(Debug, Clone)]
pub(crate) enum ReplyTo {
    Poll,
    Claim { offer: Offer, sent_at: u64 },
    Report { id: DeploymentId, sent_at: u64, sequence: u64, last: bool },
    Leave { id: DeploymentId, asked: AskedAt },
}

impl ReplyTo {
    /// What the host sees if there is no answer.
    fn nothing(self) -> HostEvent {
        match self {
            Self::Poll => HostEvent::Polled(None),
            Self::Claim { offer, sent_at } => {
                HostEvent::Claimed { offer, sent_at, answer: Answer::Nothing }
            }
            Self::Report { id, sent_at, sequence, last } => {
                HostEvent::Reported { id, sent_at, sequence, last, answer: Answer::Nothing }
            }
            Self::Leave { id, asked } => HostEvent::Leave { id, asked, answer: Answer::Nothing },
        }
    }
}

/// More events than any world has that does not run in circles.
const EVENTS_MAX: u64 = 3_000_000;

/// How long a host waits for an answer, in milliseconds.
const ANSWER_MS: u64 = 8_000;

impl World {
    /// A world as the seed wants it.
    pub(crate) fn new(seed: u64, recording: bool) -> Self {
        let (story, random) = Story::of_seed(seed);
        Self::of(&story, random, recording)
    }

    /// The world of a story.
    pub(crate) fn of(story: &Story, random: Random, recording: bool) -> Self {
        Self::made(story, random, recording, None)
    }

    /// The same, with what the table's work costs counted.
    pub(crate) fn counting(story: &Story, random: Random) -> Self {
        Self::made(story, random, false, Some(Units::default()))
    }

    /// What all of its parts share.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn made(story: &Story, random: Random, recording: bool, units: Option<Units>) -> Self {
        let mut core = Core::new(random, story.faults, recording);
        core.has_queues = story.has_queues;
        core.start_ramp = story.start_ramp;
        core.hosts_of_shard = story.hosts_of_shard;
        core.is_cloud = story.cloud.is_some();
        core.outages.clone_from(&story.outages);
        core.zones.clone_from(&story.zones);
        core.versions.clone_from(&story.versions);
        core.streams = Streams::of(story.streams);
        core.row_units = story.row_units;
        let shared = Shared::new(core, units);
        let servers = (0..3).map(|server| server_of(&shared, server, story.faults.skew_ms));
        let mut world = Self {
            servers: servers.collect(),
            shared,
            tasks: BTreeMap::new(),
            next_task: 1,
            hosts: (0..story.hosts).map(Host::new).collect(),
            groups: Vec::new(),
            pace: story.pace,
            acts_left: story.acts.len(),
            unhandled: BTreeMap::new(),
            uploads: 0,
            healed_at: None,
        };
        world.begin(story);
        world
    }

    /// Lets time pass until everything has ended, or an invariant does not hold.
    pub(crate) fn run(mut self, seed: u64) -> Outcome {
        while let Some(event) = { self.shared.core().next() } {
            self.happens(event);
            self.check_wakes();
            self.check_sending();
            let is_broken = self.shared.core().violation.is_some();
            if is_broken || self.is_over() {
                break;
            }
        }
        // What is dropped with a task must not find the core locked.
        self.tasks.clear();
        let mut core = self.shared.core();
        if core.violation.is_none()
            && let Err(broken) = core.checks.all_members_hold()
        {
            core.violate(broken);
        }
        Outcome {
            seed,
            writes: self.shared.table.writes(),
            violation: core.violation.take(),
            lines: std::mem::take(&mut core.lines),
            deployments: core.checks.ended,
            succeeded: core.checks.succeeded,
            tally: std::mem::take(&mut core.checks.tally),
            events: core.events,
            virtual_ms: core.now - EPOCH_MS,
        }
    }

    fn is_over(&mut self) -> bool {
        let mut core = self.shared.core();
        if core.events > EVENTS_MAX && self.hosts.len() <= 500 {
            core.violate("the world runs in circles".to_owned());
            return true;
        }
        let Some(healed_at) = self.healed_at else { return false };
        let is_idle = self.acts_left == 0
            && self.unhandled.is_empty()
            && core.functions.aliases.are_still()
            && core.services.are_still()
            && core.checks.active.values().all(std::collections::BTreeSet::is_empty);
        let is_cloud = core.is_cloud;
        let (now, has_services) = (core.now, core.services.are_some());
        drop(core);
        let open = if is_idle && is_cloud { self.open_transitions() } else { Vec::new() };
        if is_idle && open.is_empty() {
            return true;
        }
        let mut core = self.shared.core();
        // Every host at its slowest, one after the other, in everything that can still come.
        let hosts = u64::try_from(self.hosts.len()).unwrap_or(u64::MAX);
        let bound = (hosts + 5) * 1_200_000 * 3;
        // Each of five hooks may take an hour, and so may tasks; and one deployment follows another.
        let bound = bound + if has_services { 24 * 3_600_000 } else { 0 };
        if now > healed_at + bound {
            let stuck: Vec<_> = core.checks.active.values().flatten().cloned().collect();
            core.violate(format!("{stuck:?} are stuck, and {:?}, {open:?}", self.unhandled.keys()));
        }
        false
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Resume(task) => self.resume(task),
            Event::Woken { id, facts } => self.advance(id, facts),
            Event::Timer { id, at } => self.wake(id, at),
            Event::Stream(shard) => self.read_stream(shard),
            Event::Request(message) => self.take_request(message),
            Event::Upkeep(upkeep) => self.keep_up(upkeep),
            Event::KeepFleet => self.keep_fleet(),
            Event::Told(told) => self.told(told),
            Event::Change(change) => self.change(change),
            Event::Command { instance, batch, secret } => {
                let core = self.shared.core();
                let host = core.cloud.machines.get(&instance).map(|machine| machine.host);
                let intrudes = batch.number.is_multiple_of(3);
                drop(core);
                let Some(host) = host else { return };
                if intrudes {
                    self.intrude(&batch, &secret, host);
                }
                self.pushed(host, batch, secret);
            }
            Event::Offer { host, offer } => self.offered(&host, offer),
            Event::Host { host, life, what } => {
                if self.hosts.get(host).is_some_and(|host| host.life == life) {
                    self.host_event(host, what);
                }
            }
            Event::Sweep => {
                self.shared.core().push(60_000, Event::Sweep);
                self.sweep();
            }
            Event::Announce(uploaded) => self.announce(uploaded),
            Event::Handled(identity) => drop(self.unhandled.remove(&identity)),
            Event::Act(act) => {
                self.acts_left -= 1;
                self.act(act);
            }
            Event::Function(event) => self.function_event(event),
            Event::Service(change) => self.shared.core().change_service(change),
            Event::ServerDies(server) => self.server_dies(server),
            Event::DriverRestarts => self.driver_restarts(),
            Event::Ask { host, life, question, reply } => self.asked(host, life, question, reply),
            Event::Heal => self.heal(),
            Event::ClockSet { hours } => self.clock_set(hours),
            Event::Settle => self.settle(),
        }
    }

    fn advance(&mut self, id: DeploymentId, facts: Vec<engine::deployment::Fact>) {
        let what = format!("advance {id}");
        self.shared.core().tell(&what, || format!("with {facts:?}"));
        self.spawn(what, true, None, |control, _| async move {
            drop(control.deployment_stepper().advance(&id, facts).await);
        });
    }

    /// The reader of a shard of the table's stream takes what there is.
    fn read_stream(&mut self, shard: usize) {
        let Some(told) = self.shared.core().streams.next(shard) else { return };
        let again = (0, Event::Stream(shard));
        self.spawn(
            format!("shard {shard}"),
            true,
            Some(again),
            move |control, shared| async move {
                for (id, facts) in told {
                    drop(control.deployment_stepper().advance(&id, facts).await);
                }
                shared.core().push(0, Event::Stream(shard));
            },
        );
    }

    fn wake(&mut self, id: DeploymentId, at: Timestamp) {
        self.spawn(format!("wake {id}"), true, None, move |control, _| async move {
            drop(control.deployment_stepper().wake(&id, at).await);
        });
    }

    /// Another function performs a request. One that fails is tried again, as a queue would; in the end, the deployment
    /// asks again by itself.
    fn take_request(&mut self, message: RequestMessage) {
        let what = format!("message of {}", message.deployment_id);
        self.shared.core().tell(&what, || format!("{:?}", message.request));
        let to = {
            let core = self.shared.core();
            let row = core.checks.deployments.get(&message.deployment_id);
            row.map(|row| row.deployment.traits(&message.request, core.time()).performer)
        };
        let Some(to) = to else { return };
        // Who may do all that a step may need goes on with the deployment itself.
        let is_driver = to == Performer::TrafficEvaluator;
        self.spawn(what, is_driver, None, move |control, shared| async move {
            let done = control.take_request(to, &message).await;
            if done.is_err() {
                shared.core().push(5_000, Event::Request(message));
            }
        });
    }

    /// Begins a task on one of the servers, by chance.
    pub(crate) fn spawn<F>(
        &mut self,
        what: impl Into<String>,
        is_driver: bool,
        at_death: Option<(u64, Event)>,
        work: impl FnOnce(Control, Arc<Shared>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let server = self.shared.core().random.between(0, 2);
        let server = usize::try_from(server).unwrap_or(0);
        let Some(control) = self.servers.get(server).cloned() else { return };
        let work = Box::pin(work(control, Arc::clone(&self.shared)));
        let id = self.next_task;
        self.next_task += 1;
        drop(self.tasks.insert(id, Task { work, what: what.into(), server, is_driver, at_death }));
        self.poll_task(id);
    }

    fn resume(&mut self, id: u64) {
        let Some(task) = self.tasks.get(&id) else { return };
        let mut core = self.shared.core();
        let often = core.faults.die;
        if core.random.of_ten_thousand(often) {
            core.tell(&task.what, || "dies".to_owned());
            drop(core);
            self.kill(id);
        } else {
            drop(core);
            self.poll_task(id);
        }
    }

    fn poll_task(&mut self, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        {
            let mut core = self.shared.core();
            core.current = id;
            core.wake_parts(id);
            core.is_driver = task.is_driver;
            core.asks_as_host = task.what.starts_with("host-");
        }
        let mut context = Context::from_waker(Waker::noop());
        let polled =
            std::panic::catch_unwind(AssertUnwindSafe(|| task.work.as_mut().poll(&mut context)));
        match polled {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => drop(self.tasks.remove(&id)),
            Err(panic) => {
                let what = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                self.shared.core().violate(format!("{} panicked: {what}", task.what));
            }
        }
    }

    /// Whether somebody is about to start something.
    pub(crate) fn is_anything_asked(&self) -> bool {
        let is_of_user = |task: &Task| !task.is_driver && !task.what.starts_with("host-");
        !self.unhandled.is_empty() || self.tasks.values().any(is_of_user)
    }

    /// Kills the tasks of the driver.
    pub(crate) fn kill_drivers(&mut self) {
        let doomed = self.tasks.iter().filter(|(_, task)| task.is_driver);
        let doomed: Vec<u64> = doomed.map(|(id, _)| *id).collect();
        for id in doomed {
            self.kill(id);
        }
    }

    fn kill(&mut self, id: u64) {
        self.shared.core().wake_parts(id);
        if let Some(task) = self.tasks.remove(&id)
            && let Some((ms, event)) = task.at_death
        {
            self.shared.core().push(ms, event);
        }
    }

    fn server_dies(&mut self, server: usize) {
        self.shared.core().tell(format_args!("server {server}"), || "dies".to_owned());
        let doomed: Vec<u64> =
            self.tasks.iter().filter(|(_, t)| t.server == server).map(|(id, _)| *id).collect();
        for id in doomed {
            self.kill(id);
        }
    }

    fn offered(&mut self, host: &str, offer: Offer) {
        let mut core = self.shared.core();
        core.offered += 1;
        let number = core.offered;
        core.offers.entry(host.to_owned()).or_default().push((number, offer));
        for task in core.waiters.remove(host).unwrap_or_default() {
            core.push(0, Event::Resume(task));
        }
    }

    /// A host asks a server.
    pub(crate) fn ask(&mut self, host: usize, question: Question, reply: ReplyTo) {
        let Some(life) = self.hosts.get(host).map(|host| host.life) else { return };
        let is_cut = self.hosts.get(host).is_some_and(|h| self.shared.now().0 < h.cut_until);
        let mut core = self.shared.core();
        let faults = core.faults;
        if core.random.of_ten_thousand(faults.question_twice) {
            let ms = core.random.between(0, 100_000);
            core.push(ms, Event::Ask { host, life, question: question.clone(), reply: None });
        }
        if is_cut || core.random.of_ten_thousand(faults.question_lost) {
            core.push(ANSWER_MS, Event::Host { host, life, what: reply.nothing() });
        } else {
            let ms = core.random.between(0, 2);
            core.push(ms, Event::Ask { host, life, question, reply: Some(reply) });
        }
    }

    fn asked(&mut self, host: usize, life: u32, question: Question, reply: Option<ReplyTo>) {
        let Some(key) = self.hosts.get(host).map(|host| host.key.clone()) else { return };
        let nothing = reply
            .clone()
            .map(|reply| (ANSWER_MS, Event::Host { host, life, what: reply.nothing() }));
        self.spawn(format!("host-{host} asks"), false, nothing, |control, shared| async move {
            let Some(what) = answer(&control, &shared, &key, question, reply).await else { return };
            let mut core = shared.core();
            let lost = core.faults.answer_lost;
            let is_lost = core.random.of_ten_thousand(lost);
            let (ms, what) = if is_lost { (ANSWER_MS, what.lost()) } else { (1, what) };
            core.push(ms, Event::Host { host, life, what });
        });
    }

    /// Whether nothing fails any more. Who pauses something from now on has to come back to it.
    pub(crate) fn is_healed(&self) -> bool {
        self.healed_at.is_some()
    }

    /// Has somebody do something in `ms`.
    pub(crate) fn act_later(&mut self, ms: u64, act: Act) {
        self.acts_left += 1;
        self.shared.core().push(ms, Event::Act(act));
    }

    fn heal(&mut self) {
        let mut core = self.shared.core();
        core.tell("world", || "nothing fails any more".to_owned());
        core.faults = crate::faults::Faults::default();
        core.functions.heal();
        core.services.faults.heal();
        let now = core.now;
        // Whoever has paused something comes back to it.
        for group in 0..self.groups.len() {
            for ms in [0, 120_000, 240_000] {
                core.push(ms, Event::Act(Act::Steer { group, wish: Steer::Resume }));
                self.acts_left += 1;
            }
        }
        drop(core);
        self.shared.table.inject(TableFaults::default(), 0);
        self.healed_at = Some(now);
        self.punctual_from(now + 62_000);
    }
}

fn server_of(shared: &Arc<Shared>, server: u64, skew_ms: u64) -> Control {
    let number = usize::try_from(server).unwrap_or(0);
    let skew_ms = skew_ms * server / 2;
    let ports = Arc::new(Ports { shared: Arc::clone(shared), skew_ms, server: number });
    let (start_ramp, hosts_of_shard, row_units) = {
        let core = shared.core();
        (core.start_ramp, core.hosts_of_shard, core.row_units)
    };
    let base = Base {
        table: ports.clone(),
        waker: ports.clone(),
        clock: ports.clone(),
        entropy: ports.clone(),
        meter: Arc::new(NoMeter),
        settings: Settings {
            start_ramp,
            hosts_of_shard,
            row_units,
            alarm_every_ms: 60_000,
            traffic_check_ms: 2_000,
            traffic_check_max_ms: 10_000,
            ..Settings::default()
        },
        shards: KnownShards::default(),
    };
    Control {
        base,
        carriers: Carriers::default(),
        bundles: Arc::new(SimBundles { shared: Arc::clone(shared) }),
        dispatcher: ports.clone(),
        messages: ports.clone(),
        balancer_admin: None,
        sites: Placed::own(Site {
            instances: instances_of(&ports),
            traffic: Traffic {
                balancers: ports.clone(),
                alarms: ports.clone(),
                functions: ports.clone(),
                services: ports.clone(),
            },
        }),
        place: Place { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() },
        followed: Followed::default(),
        gates: Gates::default(),
    }
}

/// Has `control` answer a question. Nothing, if nobody waits for the answer.
async fn answer(
    control: &Control,
    shared: &Arc<Shared>,
    key: &str,
    question: Question,
    reply: Option<ReplyTo>,
) -> Option<HostEvent> {
    match question {
        Question::Poll(request) => {
            let answer = control.host_api().poll(key, &request).await.ok();
            reply.map(|_| HostEvent::Polled(answer))
        }
        Question::Claim(request) => {
            let (id, ordinal) = (&request.offer.deployment_id, request.offer.ordinal);
            let is_barred = shared.core().checks.is_barred(id, ordinal);
            let answer = control.host_api().claim(key, &request).await;
            if is_barred && answer.as_ref().is_ok_and(|claim| claim.proceed) {
                shared.core().violate(format!("host {ordinal} of {id} claimed what it must not"));
            }
            let Some(ReplyTo::Claim { offer, sent_at }) = reply else { return None };
            Some(HostEvent::Claimed { offer, sent_at, answer: answer_of(answer) })
        }
        Question::ClaimBatch(secret, request) => {
            let id = request.batch.deployment_id.clone();
            let is_allowed = shared.core().checks.is_in_batch(&request.batch, &request.host);
            let is_barred = {
                let checks = &shared.core().checks;
                let ordinal = checks.ordinal_of(&id, &request.host);
                ordinal.is_some_and(|ordinal| checks.is_barred(&id, ordinal))
            };
            let answer = control.host_api().claim_batch(&secret, &request).await;
            if is_barred && answer.as_ref().is_ok_and(|answer| answer.claim.proceed) {
                shared.core().violate(format!("{} of {id} claimed what it must not", request.host));
            }
            if !is_allowed && answer.is_ok() {
                shared.core().violate(format!("{} claims in a batch of {id}", request.host));
            }
            let Some(ReplyTo::Claim { offer, sent_at }) = reply else { return None };
            let offer = answer.as_ref().map_or(offer, |answer| answer.offer.clone());
            let answer = answer_of(answer.map(|answer| answer.claim));
            Some(HostEvent::Claimed { offer, sent_at, answer })
        }
        Question::Report(token, request) => {
            let (id, ordinal) = (request.deployment_id.clone(), request.ordinal);
            let is_barred = {
                let core = shared.core();
                match request.sequence {
                    ReportRequest::QUESTION => core.checks.is_barred(&id, ordinal),
                    _ => core.checks.is_barred_for_long(&id, ordinal, core.now),
                }
            };
            let answer = control.host_api().report(&token, request).await;
            if is_barred && answer.as_ref().is_ok_and(|answer| answer.proceed) {
                shared.core().violate(format!("host {ordinal} of {id} may proceed and must not"));
            }
            let answer = answer_of(answer);
            match reply? {
                ReplyTo::Report { id, sent_at, sequence, last } => {
                    Some(HostEvent::Reported { id, sent_at, sequence, last, answer })
                }
                ReplyTo::Leave { id, asked } => Some(HostEvent::Leave { id, asked, answer }),
                ReplyTo::Poll | ReplyTo::Claim { .. } => None,
            }
        }
    }
}

fn answer_of<T>(outcome: Result<T, Error>) -> Answer<T> {
    match outcome {
        Ok(answer) => Answer::Good(answer),
        Err(Error::Host(refusal)) if refusal.code == RefusalCode::Unauthorized => {
            Answer::Unauthorized
        }
        Err(Error::Host(_)) => Answer::Refused,
        Err(_) => Answer::Nothing,
    }
}
