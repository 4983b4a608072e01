//! The simulated host: a runner that polls, claims, runs events under a lease, and reports. What it writes to its disk
//! survives its crashes.

use std::collections::BTreeMap;

use engine::lifecycle::Event as Lifecycle;
use engine::{DeploymentId, GroupId};
use wire::host::{
    BatchClaimRequest, BatchKey, ClaimRequest, ClaimResponse, EventReport, EventStatus, HostStatus,
    Offer, PollRequest, PollResponse, ReportRequest, ReportResponse,
};

use crate::bundles::Bundle;
use crate::core::{Answer, Event, HostEvent, Question};
use crate::stops::{self, AskedAt, Leave};
use crate::world::{ReplyTo, World};

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) key: String,
    /// Rises with each crash: what was under way before it concerns nobody any more.
    pub(crate) life: u32,
    pub(crate) is_up: bool,
    pub(crate) is_registered: bool,
    /// Whether commands are pushed to it: it does not ask for work by itself.
    pub(crate) is_pushed: bool,
    pub(crate) cut_until: u64,
    fences: BTreeMap<GroupId, u64>,
    pub(crate) journals: BTreeMap<DeploymentId, Journal>,
    pub(crate) commands: BTreeMap<DeploymentId, Command>,
    asked_at: u64,
}

/// What a host keeps of a command on its disk.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) offer: Offer,
    group: GroupId,
    generation: u64,
    bundle: String,
    claims: u64,
    started: usize,
    ended: Vec<EventStatus>,
    finished: Option<HostStatus>,
    events: Vec<Lifecycle>,
    /// The event that it begins only when it is told to, until it was.
    held_before: Option<Lifecycle>,
    is_acknowledged: bool,
}

/// What a host knows of a command while it is up.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) token: Option<String>,
    sequence: u64,
    pub(crate) lease_until: u64,
    lease_ms: u64,
    has_lock: bool,
    is_in_hook: bool,
    waits_for_balancer: bool,
    pub(crate) is_withdrawn: bool,
    /// The server wants no report any more.
    is_unwanted: bool,
    has_news: bool,
    is_asking: bool,
    asked_at: u64,
    /// The question whether the next script may start that has no answer yet, and what came of one that had.
    pub(crate) asks_leave: Option<AskedAt>,
    pub(crate) leave: Option<Leave>,
    /// What it claims with, where it was pushed.
    push: Option<(BatchKey, String)>,
    /// Copies of it that wait for the first one's end.
    copies: Vec<(BatchKey, String)>,
}

impl Host {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            name: format!("host-{number}"),
            key: format!("key-{number}"),
            life: 0,
            is_up: true,
            is_registered: true,
            is_pushed: false,
            cut_until: 0,
            fences: BTreeMap::new(),
            journals: BTreeMap::new(),
            commands: BTreeMap::new(),
            asked_at: 0,
        }
    }

    fn is_locked(&self, group: &GroupId) -> bool {
        let holds = |id: &DeploymentId| self.journals.get(id).is_some_and(|j| j.group == *group);
        self.commands.iter().any(|(id, command)| command.has_lock && holds(id))
    }
}

impl World {
    /// Something happens on a host.
    pub(crate) fn host_event(&mut self, at: usize, what: HostEvent) {
        let (now, faults) = {
            let core = self.shared.core();
            (core.now, core.faults)
        };
        let Some(host) = self.hosts.get_mut(at) else { return };
        if !host.is_up {
            if matches!(what, HostEvent::Boot) {
                self.boot(at);
            }
            return;
        }
        let is_cut = now < host.cut_until;
        let busy = !host.commands.is_empty();
        {
            let mut core = self.shared.core();
            if busy && core.random.of_ten_thousand(faults.crash) {
                let stays = core.random.of_ten_thousand(faults.stays_down);
                let down = (!stays).then(|| core.random.between(50, 100_000));
                drop(core);
                return self.crash(at, down);
            }
            if busy && core.random.of_ten_thousand(faults.cut) {
                let ms = core.random.between(1_000, 150_000);
                host.cut_until = core.now + ms;
                core.tell(&host.name, || format!("is cut off for {ms} ms"));
            }
        }
        match what {
            HostEvent::Poll => self.poll(at),
            HostEvent::Polled(answer) => self.polled(at, answer.filter(|_| !is_cut)),
            HostEvent::Claim(offer) => self.claim(at, offer),
            HostEvent::Claimed { offer, sent_at, answer } => {
                self.claimed(at, offer, sent_at, if is_cut { Answer::Nothing } else { answer });
            }
            HostEvent::Work(id) => self.work(at, &id),
            HostEvent::HookEnded { id, failed } => self.hook_ended(at, &id, failed),
            HostEvent::Report(id) => self.report(at, &id),
            HostEvent::Reported { id, sent_at, sequence, last, answer } => {
                let answer = if is_cut { Answer::Nothing } else { answer };
                self.reported(at, &id, (sent_at, sequence, last), answer);
            }
            HostEvent::Leave { id, asked, answer } => {
                self.has_leave(at, &id, asked, if is_cut { Answer::Nothing } else { answer });
            }
            HostEvent::NoLeave { id, asked } => self.has_no_leave(at, &id, asked),
            HostEvent::Boot => {}
        }
    }

    pub(crate) fn in_ms(&mut self, at: usize, ms: u64, what: HostEvent) {
        let Some(host) = self.hosts.get(at) else { return };
        self.shared.core().push(ms, Event::Host { host: at, life: host.life, what });
    }

    fn crash(&mut self, at: usize, down: Option<u64>) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        self.shared.core().tell(&host.name, || format!("crashes, for {down:?} ms"));
        host.life += 1;
        let commands = std::mem::take(&mut host.commands);
        let is_process = host.is_pushed && down.is_some_and(|ms| ms.is_multiple_of(2));
        if is_process {
            // Only the runner's process has died. Nobody starts it again; a copy that waits takes its place.
            for (batch, secret) in commands.into_values().flat_map(|command| command.copies) {
                self.pushed(at, batch, secret);
            }
            return;
        }
        host.is_up = false;
        if let Some(ms) = down {
            self.in_ms(at, ms, HostEvent::Boot);
        }
    }

    /// A host is no more.
    pub(crate) fn dies_for_good(&mut self, at: usize) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        host.life += 1;
        host.is_up = false;
        host.is_registered = false;
        host.commands.clear();
    }

    /// A command that was pushed comes to a host, and a process of the runner begins.
    pub(crate) fn pushed(&mut self, at: usize, batch: BatchKey, secret: String) {
        let Some(host) = self.hosts.get_mut(at).filter(|host| host.is_up) else { return };
        let id = batch.deployment_id.clone();
        self.shared.core().tell(&host.name, || format!("is sent {batch}"));
        if let Some(first) = host.commands.get_mut(&id) {
            first.copies.push((batch, secret));
            return;
        }
        if host.journals.get(&id).is_some_and(|journal| journal.is_acknowledged) {
            // It tells what the first one came to.
            return;
        }
        let offer = Offer { deployment_id: id.clone(), ordinal: 0, attempt: 0 };
        let command = Command { push: Some((batch, secret)), ..Command::default() };
        drop(host.commands.insert(id, command));
        self.in_ms(at, 0, HostEvent::Claim(offer));
    }

    fn boot(&mut self, at: usize) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        self.shared.core().tell(&host.name, || "is up again".to_owned());
        host.is_up = true;
        if host.is_pushed {
            return;
        }
        let unfinished: Vec<Offer> = host
            .journals
            .values()
            .filter(|journal| !journal.is_acknowledged)
            .map(|journal| journal.offer.clone())
            .collect();
        for offer in unfinished {
            self.take(at, offer);
        }
        self.in_ms(at, 1, HostEvent::Poll);
    }

    fn poll(&mut self, at: usize) {
        let mut core = self.shared.core();
        let Some(host) = self.hosts.get_mut(at) else { return };
        if !host.is_registered || host.is_pushed {
            return;
        }
        host.asked_at = core.now;
        let request = PollRequest {
            host: host.name.clone(),
            busy: host.commands.keys().cloned().collect(),
            wait_ms: core.random.between(20_000, 50_000),
            runner_version: "0".to_owned(),
            kept_groups: Vec::new(),
        };
        drop(core);
        self.ask(at, Question::Poll(request), ReplyTo::Poll);
    }

    fn polled(&mut self, at: usize, answer: Option<PollResponse>) {
        let now = self.shared.now().0;
        let offers = answer.as_ref().map(|answer| answer.offers.clone()).unwrap_or_default();
        let mut is_new = false;
        for offer in offers {
            is_new |= self.take(at, offer);
        }
        let asked_at = self.hosts.get(at).map_or(0, |host| host.asked_at);
        let is_soon = now < asked_at + 1_000;
        let ms = match answer {
            None => self.shared.core().random.between(200, 3_000),
            Some(_) if is_new || !is_soon => 0,
            Some(_) => self.shared.core().random.between(50, 1_000),
        };
        self.in_ms(at, ms, HostEvent::Poll);
    }

    /// Takes an offer on; false if it is known.
    fn take(&mut self, at: usize, offer: Offer) -> bool {
        let Some(host) = self.hosts.get_mut(at) else { return false };
        if host.commands.contains_key(&offer.deployment_id) {
            return false;
        }
        drop(host.commands.insert(offer.deployment_id.clone(), Command::default()));
        self.in_ms(at, 0, HostEvent::Claim(offer));
        true
    }

    fn claim(&mut self, at: usize, offer: Offer) {
        let Some(host) = self.hosts.get(at) else { return };
        let sent_at = self.shared.now().0;
        let Some(command) = host.commands.get(&offer.deployment_id) else { return };
        if let Some((batch, secret)) = command.push.clone() {
            let request =
                BatchClaimRequest { host: host.name.clone(), batch, kept_groups: Vec::new() };
            let question = Question::ClaimBatch(secret, request);
            return self.ask(at, question, ReplyTo::Claim { offer, sent_at });
        }
        let request = ClaimRequest { host: host.name.clone(), offer: offer.clone() };
        self.ask(at, Question::Claim(request), ReplyTo::Claim { offer, sent_at });
    }

    fn claimed(&mut self, at: usize, offer: Offer, sent_at: u64, answer: Answer<ClaimResponse>) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let id = offer.deployment_id.clone();
        let Some(command) = host.commands.get_mut(&id) else { return };
        match answer {
            Answer::Good(claim) => {
                let specification = claim.specification;
                let (group, generation) =
                    (specification.deployment_group_id, specification.generation);
                let fence = host.fences.entry(group.clone()).or_default();
                *fence = generation.max(*fence);
                let journal = host.journals.entry(id.clone()).or_insert_with(|| Journal {
                    offer: offer.clone(),
                    group,
                    generation,
                    bundle: specification.bundle.sha256,
                    claims: 0,
                    events: specification.events,
                    held_before: specification.held_before,
                    started: 0,
                    ended: Vec::new(),
                    finished: None,
                    is_acknowledged: false,
                });
                journal.offer = offer;
                journal.is_acknowledged = false;
                if command.token.is_none() && command.sequence == 0 {
                    journal.claims += 1;
                    command.sequence = journal.claims << 32;
                }
                command.token = Some(claim.token);
                command.is_withdrawn |= !claim.proceed;
                command.lease_until = command.lease_until.max(sent_at + claim.lease_ms);
                // Where there is none, it reports all the same.
                command.lease_ms = claim.lease_ms.max(3_000);
                command.asked_at = sent_at;
                command.asks_leave = None;
                let beat = command.lease_ms / 3;
                self.in_ms(at, beat, HostEvent::Report(id.clone()));
                self.in_ms(at, 0, HostEvent::Work(id));
            }
            Answer::Refused => self.forget(at, &id),
            Answer::Unauthorized if !host.is_registered || host.is_pushed => self.forget(at, &id),
            Answer::Unauthorized | Answer::Nothing => {
                let ms = self.shared.core().random.between(200, 2_000);
                self.in_ms(at, ms, HostEvent::Claim(offer));
            }
        }
    }

    /// The server does not want to hear of a command again.
    pub(crate) fn forget(&mut self, at: usize, id: &DeploymentId) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        if let Some(command) = host.commands.get_mut(id) {
            command.is_unwanted = true;
            command.is_withdrawn = true;
            command.is_in_hook &= !command.waits_for_balancer;
            if !command.is_in_hook {
                drop(host.commands.remove(id));
                if let Some(journal) = host.journals.get_mut(id) {
                    journal.is_acknowledged = true;
                    journal.finished.get_or_insert(HostStatus::Failed);
                }
                self.wake_others(at);
            }
        }
    }

    fn wake_others(&mut self, at: usize) {
        let Some(host) = self.hosts.get(at) else { return };
        let ids: Vec<DeploymentId> = host.commands.keys().cloned().collect();
        for id in ids {
            self.in_ms(at, 0, HostEvent::Work(id));
        }
    }

    pub(crate) fn work(&mut self, at: usize, id: &DeploymentId) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let Some(group) = host.journals.get(id).map(|journal| journal.group.clone()) else {
            return;
        };
        let is_locked = host.is_locked(&group);
        let fence = host.fences.get(&group).copied().unwrap_or_default();
        let (Some(command), Some(journal)) = (host.commands.get_mut(id), host.journals.get_mut(id))
        else {
            return;
        };
        if command.sequence == 0 || command.is_in_hook || (is_locked && !command.has_lock) {
            return;
        }
        command.has_lock = true;
        if journal.finished.is_none() {
            let open = journal.events.get(journal.ended.len()).copied();
            let is_open = journal.started > journal.ended.len();
            let is_held = open.is_some() && open == journal.held_before;
            if is_open && (is_held || open.is_some_and(Lifecycle::is_of_balancer)) {
                // The balancer is asked again.
                journal.started = journal.ended.len();
            }
            if journal.started > journal.ended.len() {
                // It was started before a crash: nobody knows how far it came, and it is not run again.
                journal.ended.push(EventStatus::Failed);
                journal.finished = Some(HostStatus::Failed);
            } else if journal.ended.len() == journal.events.len() {
                journal.finished = Some(HostStatus::Succeeded);
                if journal.events.contains(&Lifecycle::Install) {
                    let place = (host.name.clone(), journal.group.clone());
                    let bundle = journal.bundle.clone();
                    self.shared.core().checks.installed.insert(place, bundle);
                }
            } else if command.is_withdrawn || fence > journal.generation {
                journal.finished = Some(HostStatus::Failed);
            } else if self.shared.now().0 < command.lease_until {
                let has_script = open.is_some_and(Lifecycle::has_hooks);
                let leave = command.leave.take();
                if has_script && leave.is_none() {
                    return self.ask_leave(at, id);
                }
                return self.start_hook(at, id, leave);
            } else {
                return self.in_ms(at, 0, HostEvent::Report(id.clone()));
            }
        }
        command.has_news = true;
        if command.is_unwanted {
            return self.forget(at, id);
        }
        self.in_ms(at, 0, HostEvent::Report(id.clone()));
    }

    fn start_hook(&mut self, at: usize, id: &DeploymentId, leave: Option<Leave>) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let (Some(command), Some(journal)) = (host.commands.get_mut(id), host.journals.get_mut(id))
        else {
            return;
        };
        let mut core = self.shared.core();
        let number = journal.started;
        let Some(event) = journal.events.get(number).copied() else { return };
        core.tell(&host.name, || format!("starts {event} of {id}"));
        if event.is_of_balancer() || journal.held_before == Some(event) {
            journal.started += 1;
            command.is_in_hook = true;
            command.waits_for_balancer = true;
            command.has_news = true;
            core.push(
                0,
                Event::Host { host: at, life: host.life, what: HostEvent::Report(id.clone()) },
            );
            return;
        }
        let place = (id, journal.offer.ordinal);
        let fence = (&journal.group, journal.generation);
        if let Err(broken) = core.checks.hook_starts(at, place, fence, number) {
            core.violate(broken);
        }
        if let Err(broken) = stops::script_starts(&core, id, event, leave) {
            core.violate(broken);
        }
        if event == Lifecycle::Install {
            core.checks.installed.remove(&(host.name.clone(), journal.group.clone()));
        }
        journal.started += 1;
        command.is_in_hook = true;
        let fails = match core.bundles.get(&journal.bundle) {
            Some(Bundle::Good { fails }) => *fails,
            Some(Bundle::Invalid | Bundle::Missing) | None => 0,
        };
        // Only the last event decides whether the host fails, or an early one, as often.
        let decides = matches!(event, Lifecycle::BeforeInstall | Lifecycle::ApplicationStart);
        let failed = decides && core.random.of_ten_thousand(fails / 2);
        let ms = self.pace.of_hook(&mut core.random);
        let what = HostEvent::HookEnded { id: id.clone(), failed };
        core.push(ms, Event::Host { host: at, life: host.life, what });
    }

    fn hook_ended(&mut self, at: usize, id: &DeploymentId, failed: bool) {
        let now = self.shared.now().0;
        let Some(host) = self.hosts.get_mut(at) else { return };
        let (Some(command), Some(journal)) = (host.commands.get_mut(id), host.journals.get_mut(id))
        else {
            return;
        };
        if !command.is_in_hook {
            return;
        }
        command.is_in_hook = false;
        command.waits_for_balancer = false;
        command.has_news = true;
        journal.ended.push(if failed { EventStatus::Failed } else { EventStatus::Succeeded });
        if failed {
            journal.finished = Some(HostStatus::Failed);
        }
        // Events that end fast are reported together.
        let ms = (command.asked_at + 1_000).saturating_sub(now);
        self.in_ms(at, ms, HostEvent::Report(id.clone()));
        self.in_ms(at, 0, HostEvent::Work(id.clone()));
    }

    fn report(&mut self, at: usize, id: &DeploymentId) {
        let now = self.shared.now().0;
        let Some(host) = self.hosts.get_mut(at) else { return };
        let (Some(command), Some(journal)) = (host.commands.get_mut(id), host.journals.get(id))
        else {
            return;
        };
        let beat = command.lease_ms / 3;
        let is_due = command.has_news || now >= command.asked_at + beat;
        let Some(token) = command.token.clone().filter(|_| !command.is_asking) else { return };
        if !is_due {
            let ms = (command.asked_at + beat).saturating_sub(now);
            return self.in_ms(at, ms, HostEvent::Report(id.clone()));
        }
        let last = journal.finished.is_some();
        command.sequence += 1;
        command.has_news = false;
        command.is_asking = true;
        command.asked_at = now;
        let request = ReportRequest {
            deployment_id: id.clone(),
            ordinal: journal.offer.ordinal,
            attempt: journal.offer.attempt,
            sequence: command.sequence,
            status: journal.finished.unwrap_or(HostStatus::InProgress),
            events: event_reports(journal),
            output: Vec::new(),
        };
        let sequence = command.sequence;
        let reply = ReplyTo::Report { id: id.clone(), sent_at: now, sequence, last };
        self.ask(at, Question::Report(token, request), reply);
    }

    fn reported(
        &mut self,
        at: usize,
        id: &DeploymentId,
        (sent_at, sequence, last): (u64, u64, bool),
        answer: Answer<ReportResponse>,
    ) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let (Some(command), Some(journal)) = (host.commands.get_mut(id), host.journals.get_mut(id))
        else {
            return;
        };
        if sequence != command.sequence {
            return;
        }
        command.is_asking = false;
        match answer {
            Answer::Good(_) if last => {
                journal.is_acknowledged = true;
                drop(host.commands.remove(id));
                self.wake_others(at);
            }
            Answer::Good(response) => {
                if response.proceed && !command.is_withdrawn {
                    let until = sent_at + response.lease_ms;
                    command.lease_until = command.lease_until.max(until);
                } else {
                    command.is_withdrawn = true;
                }
                let mut ms = if command.has_news { 1_000 } else { command.lease_ms / 3 };
                if command.waits_for_balancer {
                    let open = journal.events.get(journal.ended.len()).copied();
                    // What is said late of the event before is no answer.
                    let told = response.traffic.as_ref().filter(|told| Some(told.event) == open);
                    let is_over = command.is_withdrawn
                        || told.is_some_and(|told| told.done || told.failed.is_some());
                    if is_over {
                        let failed = !told.is_some_and(|told| told.done);
                        if !failed && journal.held_before.is_some() && open == journal.held_before {
                            // It was told to begin.
                            journal.held_before = None;
                            journal.started = journal.ended.len();
                            (command.is_in_hook, command.waits_for_balancer) = (false, false);
                            return self.in_ms(at, 0, HostEvent::Work(id.clone()));
                        }
                        let what = HostEvent::HookEnded { id: id.clone(), failed };
                        return self.in_ms(at, 0, what);
                    }
                    command.has_news = true;
                    ms = told.map_or(1_000, |told| told.again_after_ms);
                }
                self.in_ms(at, ms, HostEvent::Report(id.clone()));
                self.in_ms(at, 0, HostEvent::Work(id.clone()));
            }
            Answer::Unauthorized => {
                command.token = None;
                command.has_news = true;
                let offer = journal.offer.clone();
                self.in_ms(at, 0, HostEvent::Claim(offer));
            }
            Answer::Refused => self.forget(at, id),
            Answer::Nothing => {
                command.has_news = true;
                let ms = self.shared.core().random.between(200, 2_000);
                self.in_ms(at, ms, HostEvent::Report(id.clone()));
            }
        }
    }
}

fn event_reports(journal: &Journal) -> Vec<EventReport> {
    let status = |at: usize| match journal.ended.get(at) {
        Some(status) => *status,
        None if at < journal.started => EventStatus::InProgress,
        None if journal.finished.is_some() => EventStatus::Skipped,
        None => EventStatus::Pending,
    };
    let report = |(at, event)| EventReport {
        event,
        status: status(at),
        started_at: None,
        ended_at: None,
        diagnostics: None,
    };
    journal.events.iter().copied().enumerate().map(report).collect()
}
