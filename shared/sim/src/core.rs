//! What the ports and the scheduler share: the virtual clock, the queue of what will happen, chance, the transcript and
//! the invariants.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use control::ports::{RequestMessage, Upkeep, Uploaded};
use control::table::Write;
use engine::deployment::Fact;
use engine::{DeploymentId, Timestamp};
use wire::cutover::Steer;
use wire::host::{
    BatchClaimRequest, BatchKey, ClaimRequest, ClaimResponse, Offer, PollResponse, ReportRequest,
    ReportResponse,
};

use crate::bundles::Bundle;
use crate::checks::Checks;
use crate::clock::Clocks;
use crate::cloud::Cloud;
use crate::dispatch_checks::Outage;
use crate::faults::Faults;
use crate::fleet::{Change, Told};
use crate::functions::{FunctionAct, FunctionEvent, FunctionsWorld};
use crate::memory::MemoryTable;
use crate::outcome::Line;
use crate::random::Random;
use crate::script::{Moment, Script};
use crate::services::ServiceAct;
use crate::stops::AskedAt;
use crate::streams::{POLL_MS, Streams};
use crate::task_sets::{Change as ServiceChange, ServicesWorld};
use crate::traffic::TrafficWorld;
use crate::units::Units;
use crate::versions::Versions;
use crate::world::ReplyTo;
use crate::zones::ZoneStory;

/// When a simulation begins, in milliseconds.
pub(crate) const EPOCH_MS: u64 = 1_800_000_000_000;

/// Something that will happen.
#[expect(clippy::large_enum_variant, reason = "few wait at a time, and none is copied")]
#[derive(Debug)]
pub(crate) enum Event {
    /// A task that waited goes on.
    Resume(u64),
    /// Somebody woke a deployment.
    Woken { id: DeploymentId, facts: Vec<Fact> },
    /// A timer of a deployment is due.
    Timer { id: DeploymentId, at: Timestamp },
    /// Hosts hear of commands.
    Offer { host: String, offer: Offer },
    /// Something happens on a host, unless it has died since.
    Host { host: usize, life: u32, what: HostEvent },
    /// A host's question arrives. Nobody waits for the answer without `reply`.
    Ask { host: usize, life: u32, question: Question, reply: Option<ReplyTo> },
    /// The reader of a shard of the table's stream looks for records.
    Stream(usize),
    /// The minute's sweep.
    Sweep,
    /// A request that was handed over comes to whoever performs it.
    Request(RequestMessage),
    /// Upkeep of the fleet that was asked for is due.
    Upkeep(Upkeep),
    /// The minute's upkeep.
    KeepFleet,
    /// Something is told of an instance.
    Told(Told),
    /// Something happens to an instance.
    Change(Change),
    /// A command comes to an instance.
    Command { instance: String, batch: BatchKey, secret: String },
    /// An upload is announced.
    Announce(Uploaded),
    /// An upload was handled.
    Handled(String),
    /// Somebody does something.
    Act(Act),
    /// Something comes about of functions.
    Function(FunctionEvent),
    /// A change of a service reaches ECS.
    Service(ServiceChange),
    /// A process of the control plane dies, and is there again at once.
    ServerDies(usize),
    /// What wakes deployments is started anew, and knows of no wake that was armed before.
    DriverRestarts,
    /// From now on nothing fails any more.
    Heal,
    /// Somebody sets the machine's clock to so many hours more than it is.
    ClockSet { hours: i8 },
    /// The home takes over the machine's time, if nothing is under way.
    Settle,
}

/// What users and machines do.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Asks for a deployment of a group.
    Deploy { group: usize },
    /// Asks for a deployment of a good bundle with a configuration.
    DeployWith { group: usize, config: String },
    /// Uploads a bundle for a group.
    Upload { group: usize },
    /// Asks the active deployment of a group to stop.
    Stop { group: usize, roll_back: Option<bool> },
    /// Rolls the newest deployment of a group back that has ended.
    RollBack { group: usize },
    /// Deletes a configuration, whoever uses it.
    DeleteConfig(String),
    /// Says what is wanted of the active deployment of a group.
    Steer { group: usize, wish: Steer },
    /// Continues the active deployment of a group, if it waits for that.
    Continue { group: usize },
    /// Removes a host for good.
    Deregister { host: usize },
    /// Something happens to an instance.
    Change(Change),
    /// Something is done with aliases.
    Function(FunctionAct),
    /// Something is done with services.
    Service(ServiceAct),
}

/// What happens on a host.
#[expect(clippy::large_enum_variant, reason = "few wait at a time, and none is copied")]
#[derive(Debug)]
pub(crate) enum HostEvent {
    /// It asks for work.
    Poll,
    /// It has its answer.
    Polled(Option<PollResponse>),
    /// It claims a command.
    Claim(Offer),
    /// It has its answer.
    Claimed { offer: Offer, sent_at: u64, answer: Answer<ClaimResponse> },
    /// A command goes on, if it can.
    Work(DeploymentId),
    /// A hook has ended.
    HookEnded { id: DeploymentId, failed: bool },
    /// A report is due, if there is anything to say.
    Report(DeploymentId),
    /// It has its answer.
    Reported {
        id: DeploymentId,
        sent_at: u64,
        sequence: u64,
        last: bool,
        answer: Answer<ReportResponse>,
    },
    /// It hears whether its next script may start.
    Leave { id: DeploymentId, asked: AskedAt, answer: Answer<ReportResponse> },
    /// It has waited for that for long enough.
    NoLeave { id: DeploymentId, asked: AskedAt },
    /// It is up again.
    Boot,
}

impl HostEvent {
    /// What the host sees where the answer is lost.
    pub(crate) fn lost(self) -> Self {
        match self {
            Self::Polled(_) => Self::Polled(None),
            Self::Claimed { offer, sent_at, .. } => {
                Self::Claimed { offer, sent_at, answer: Answer::Nothing }
            }
            Self::Reported { id, sent_at, sequence, last, .. } => {
                Self::Reported { id, sent_at, sequence, last, answer: Answer::Nothing }
            }
            Self::Leave { id, asked, .. } => Self::Leave { id, asked, answer: Answer::Nothing },
            Self::Poll
            | Self::Claim(_)
            | Self::Work(_)
            | Self::HookEnded { .. }
            | Self::Report(_)
            | Self::NoLeave { .. }
            | Self::Boot => self,
        }
    }
}

/// What a host asks.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// For work.
    Poll(wire::host::PollRequest),
    /// For a command.
    Claim(ClaimRequest),
    /// For a command that was pushed, with the secret of its batch.
    ClaimBatch(String, BatchClaimRequest),
    /// Whether it may go on.
    Report(String, ReportRequest),
}

/// What comes of a question.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// What was asked for.
    Good(T),
    /// The token is void.
    Unauthorized,
    /// The command is not to be had any more.
    Refused,
    /// None, or an error.
    Nothing,
}

/// What the ports and the scheduler share.
pub(crate) struct Core {
    /// Milliseconds since 1970, by a clock that nobody sets.
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    queue: BTreeMap<(u64, u64, u64), Event>,
    pushed: u64,
    /// The task that is polled.
    pub(crate) current: u64,
    /// Whether that one may change deployments that there are.
    pub(crate) is_driver: bool,
    /// Whether that one answers a host.
    pub(crate) asks_as_host: bool,
    pub(crate) checks: Checks,
    pub(crate) zones: Option<ZoneStory>,
    /// From when on every deployment is woken in time.
    pub(crate) punctual_since: Option<u64>,
    /// What each host was offered, with the place in its stream.
    pub(crate) offers: BTreeMap<String, Vec<(u64, Offer)>>,
    pub(crate) offered: u64,
    pub(crate) waiters: BTreeMap<String, Vec<u64>>,
    /// The parts of tasks that wait each for its own.
    sleepers: BTreeMap<u64, Vec<Waker>>,
    /// When each host asked for work last, or its question was answered, and how many of its questions are held.
    pub(crate) heard: BTreeMap<String, (u64, u32)>,
    pub(crate) bundles: BTreeMap<String, Bundle>,
    pub(crate) violation: Option<String>,
    recording: bool,
    pub(crate) lines: Vec<Line>,
    pub(crate) events: u64,
    /// How long a deployment may take in all.
    pub(crate) total_ms: u64,
    /// Whether requests are performed elsewhere than they are decided, as functions do it.
    pub(crate) has_queues: bool,
    /// Whether there are instances.
    pub(crate) is_cloud: bool,
    pub(crate) cloud: Cloud,
    /// When commands are refused.
    pub(crate) outages: Vec<Outage>,
    /// Most hosts that a deployment starts within a second.
    pub(crate) start_ramp: u32,
    pub(crate) hosts_of_shard: usize,
    pub(crate) traffic: TrafficWorld,
    pub(crate) functions: FunctionsWorld,
    pub(crate) services: ServicesWorld,
    pub(crate) clocks: Clocks,
    pub(crate) versions: Option<Versions>,
    pub(crate) streams: Streams,
    /// Most units that commits of a deployment's row may take in a second.
    pub(crate) row_units: Option<u32>,
    /// What is kept for the test, where a test says what happens.
    pub(crate) script: Option<Script>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(random: Random, faults: Faults, recording: bool) -> Self {
        Self {
            now: EPOCH_MS,
            random,
            faults,
            queue: BTreeMap::new(),
            pushed: 0,
            current: 0,
            is_driver: false,
            asks_as_host: false,
            checks: Checks::default(),
            zones: None,
            punctual_since: None,
            offers: BTreeMap::new(),
            offered: 0,
            waiters: BTreeMap::new(),
            sleepers: BTreeMap::new(),
            heard: BTreeMap::new(),
            bundles: BTreeMap::new(),
            violation: None,
            recording,
            lines: Vec::new(),
            events: 0,
            total_ms: 8 * 3_600_000,
            has_queues: false,
            start_ramp: 500,
            hosts_of_shard: 256,
            traffic: TrafficWorld::default(),
            functions: FunctionsWorld::default(),
            services: ServicesWorld::default(),
            clocks: Clocks::default(),
            versions: None,
            streams: Streams::default(),
            row_units: None,
            is_cloud: false,
            cloud: Cloud::default(),
            outages: Vec::new(),
            script: None,
        }
    }

    /// Has `event` happen in `ms`. What happens at the same moment happens in an order of chance.
    pub(crate) fn push(&mut self, ms: u64, event: Event) {
        if self.script.is_some() {
            return self.comes_about(event);
        }
        let tie = self.random.next();
        self.pushed += 1;
        self.queue.insert((self.now + ms, tie, self.pushed), event);
    }

    /// Where a test says what happens, a change that somebody asked a service for comes about at once, and what others would
    /// hear of is kept for the test. All else is left to it.
    fn comes_about(&mut self, event: Event) {
        if let Event::Function(FunctionEvent::Update(update)) = event {
            self.update_alias(update);
        } else if let Event::Service(change) = event {
            self.change_service(change);
        } else if let Event::Change(Change::Dies(id)) = event {
            if !self.cloud.said.lingering.contains(&id) {
                self.cloud.terminate(&id);
            }
        } else if let Some(script) = &mut self.script {
            if let Event::Timer { id, .. } = event {
                script.wakes.push(id);
            } else if let Event::Command { instance, batch, secret } = event {
                script.commands.push((instance, batch, secret));
            }
        }
    }

    /// The same for what happens before all else at its moment, without drawing chance.
    pub(crate) fn push_first(&mut self, ms: u64, event: Event) {
        self.pushed += 1;
        self.queue.insert((self.now + ms, 0, self.pushed), event);
    }

    /// Moves the clock to what happens next.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let ((at, ..), event) = self.queue.pop_first()?;
        self.now = at;
        self.events += 1;
        Some(event)
    }

    /// Notes whom to wake before the task that runs is polled again: the parts of one that does many things at once are
    /// polled only when they were woken.
    fn wait(&mut self, context: &Context<'_>) {
        if !context.waker().will_wake(Waker::noop()) {
            let waker = context.waker().clone();
            self.sleepers.entry(self.current).or_default().push(waker);
        }
    }

    /// Wakes what waits in a task.
    pub(crate) fn wake_parts(&mut self, task: u64) {
        for waker in self.sleepers.remove(&task).unwrap_or_default() {
            waker.wake();
        }
    }

    /// What was written comes into the table's stream, if there is one.
    pub(crate) fn stream(&mut self, writes: &[Write]) {
        for write in writes {
            let Write::Put(record, _) = write else { continue };
            if let Some(shard) = self.streams.put(record) {
                let ms = self.random.between(0, POLL_MS);
                self.push(ms, Event::Stream(shard));
            }
        }
    }

    /// Forgets every wake that was told and every timer that was armed.
    pub(crate) fn forget_wakes(&mut self) {
        self.queue.retain(|_, event| !event.is_wake());
    }

    /// Notes in the transcript what `actor` does. The text is only made where there is a transcript.
    pub(crate) fn tell(&mut self, actor: impl fmt::Display, what: impl FnOnce() -> String) {
        if self.recording {
            let at_ms = self.now - EPOCH_MS;
            self.lines.push(Line { at_ms, actor: actor.to_string(), what: what() });
        }
    }

    /// Notes that an invariant does not hold. The first one counts.
    pub(crate) fn violate(&mut self, what: String) {
        self.tell("INVARIANT", || what.clone());
        self.violation.get_or_insert(what);
    }

    /// How long the next request to a port takes.
    pub(crate) fn latency(&mut self) -> u64 {
        let Faults { stall, slow, .. } = self.faults;
        if self.random.of_ten_thousand(stall) {
            let ms = self.random.between(1_000, 90_000);
            let task = self.current;
            self.tell(format_args!("task {task}"), || format!("stands still for {ms} ms"));
            ms
        } else if self.random.of_ten_thousand(slow) {
            self.random.between(10, 400)
        } else {
            self.random.between(0, 2)
        }
    }
}

/// The core, for everybody.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    pub(crate) table: MemoryTable,
    /// What the table's work costs, where that is counted.
    units: Option<Mutex<Units>>,
}

impl Shared {
    /// What all share, with what the table's work costs counted into `units`.
    pub(crate) fn new(core: Core, units: Option<Units>) -> Arc<Self> {
        let (core, units) = (Mutex::new(core), units.map(Mutex::new));
        Arc::new(Self { core, table: MemoryTable::new(), units })
    }

    /// Counts some work of the table, where that is counted.
    pub(crate) fn count(&self, work: impl FnOnce(&mut Units)) {
        let Some(units) = &self.units else { return };
        let now = self.core().now;
        let mut units = units.lock().unwrap_or_else(PoisonError::into_inner);
        units.at(now);
        work(&mut units);
    }

    /// What was counted.
    pub(crate) fn counted(&self) -> Option<Units> {
        let mut units = self.units.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        units.close();
        Some(units.clone())
    }

    /// Whether the table's work is counted.
    pub(crate) fn counts(&self) -> bool {
        self.units.is_some()
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.core().now)
    }

    /// Lets happen what a test has happen at a moment.
    pub(crate) async fn meanwhile(&self, moment: Moment) {
        let happens = self.core().script.as_mut().and_then(|of| of.meanwhile.remove(&moment));
        if let Some(happens) = happens {
            happens.await;
        }
    }

    /// Lets others go first, for as long as a request takes. The task may die here.
    pub(crate) fn pause(self: &Arc<Self>) -> Pause {
        Pause { shared: Arc::clone(self), ms: None, until: None }
    }

    /// The same for so many milliseconds.
    pub(crate) fn pause_for(self: &Arc<Self>, ms: u64) -> Pause {
        Pause { shared: Arc::clone(self), ms: Some(ms), until: None }
    }
}

/// A point at which others may go on, or at which a process may die.
#[derive(Debug)]
pub(crate) struct Pause {
    shared: Arc<Shared>,
    /// How long it takes, where that is not left to chance.
    ms: Option<u64>,
    until: Option<u64>,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let mut core = self.shared.core();
        if core.script.is_some() {
            // Others get their turn, and no time passes.
            if until.is_some() {
                return Poll::Ready(());
            }
            let now = core.now;
            drop(core);
            self.until = Some(now);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match until {
            Some(until) if core.now >= until => Poll::Ready(()),
            Some(_) => {
                core.wait(context);
                Poll::Pending
            }
            None => {
                let ms = self.ms.unwrap_or_else(|| core.latency());
                let until = core.now + ms;
                let task = core.current;
                core.push(ms, Event::Resume(task));
                core.wait(context);
                drop(core);
                self.until = Some(until);
                Poll::Pending
            }
        }
    }
}
