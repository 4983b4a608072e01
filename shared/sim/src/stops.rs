//! Stops: a host asks before each of its scripts, and the invariants that no script starts after a stop that was
//! answered, and that the stop counts.

use engine::DeploymentId;
use engine::deployment::{Deployment, Status};
use engine::lifecycle::Event as Lifecycle;
use wire::host::{HostStatus, ReportRequest, ReportResponse};

use crate::checks::demand;
use crate::core::{Answer, Core, HostEvent, Question};
use crate::world::{ReplyTo, World};

/// How long a host waits for leave to start a script, in milliseconds.
const LEAVE_MS: u64 = 2_000;

/// When a host asked: after so many events, and at which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedAt {
    events: u64,
    at: u64,
}

/// Why a script may start.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leave {
    /// The server said so.
    Given(AskedAt),
    /// The server has said nothing, and the lease is still good.
    Leased(AskedAt),
}

impl World {
    /// A host asks whether its next script may start.
    pub(crate) fn ask_leave(&mut self, at: usize, id: &DeploymentId) {
        let asked = {
            let core = self.shared.core();
            AskedAt { events: core.events, at: core.now }
        };
        let Some(host) = self.hosts.get_mut(at) else { return };
        let (Some(command), Some(journal)) = (host.commands.get_mut(id), host.journals.get(id))
        else {
            return;
        };
        if command.asks_leave.is_some() {
            return;
        }
        command.asks_leave = Some(asked);
        let token = command.token.clone();
        let question = ReportRequest {
            deployment_id: id.clone(),
            ordinal: journal.offer.ordinal,
            attempt: journal.offer.attempt,
            sequence: ReportRequest::QUESTION,
            status: HostStatus::InProgress,
            events: Vec::new(),
            output: Vec::new(),
        };
        self.in_ms(at, LEAVE_MS, HostEvent::NoLeave { id: id.clone(), asked });
        if let Some(token) = token {
            let reply = ReplyTo::Leave { id: id.clone(), asked };
            self.ask(at, Question::Report(token, question), reply);
        }
    }

    /// A host hears whether its next script may start.
    pub(crate) fn has_leave(
        &mut self,
        at: usize,
        id: &DeploymentId,
        asked: AskedAt,
        answer: Answer<ReportResponse>,
    ) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let Some(command) = host.commands.get_mut(id).filter(|c| c.asks_leave == Some(asked))
        else {
            return;
        };
        match answer {
            Answer::Good(answer) => {
                command.asks_leave = None;
                command.is_withdrawn |= !answer.proceed;
                let leave = Some(Leave::Given(asked)).filter(|_| answer.proceed);
                self.use_leave(at, id, leave);
            }
            Answer::Unauthorized => {
                command.token = None;
                let offer = host.journals.get(id).map(|journal| journal.offer.clone());
                if let Some(offer) = offer {
                    self.in_ms(at, 0, HostEvent::Claim(offer));
                }
            }
            Answer::Refused => self.forget(at, id),
            // It would ask again until it has waited for long enough.
            Answer::Nothing => {}
        }
    }

    /// A host has waited for leave for long enough: its lease decides.
    pub(crate) fn has_no_leave(&mut self, at: usize, id: &DeploymentId, asked: AskedAt) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        let Some(command) = host.commands.get_mut(id).filter(|c| c.asks_leave == Some(asked))
        else {
            return;
        };
        command.asks_leave = None;
        self.use_leave(at, id, Some(Leave::Leased(asked)));
    }

    /// Goes on with a command. Leave that is not used at once, because the lease has run out meanwhile, is used up.
    fn use_leave(&mut self, at: usize, id: &DeploymentId, leave: Option<Leave>) {
        let command = self.hosts.get_mut(at).and_then(|host| host.commands.get_mut(id));
        if let Some(command) = command {
            command.leave = leave;
        }
        self.work(at, id);
        let command = self.hosts.get_mut(at).and_then(|host| host.commands.get_mut(id));
        if let Some(command) = command {
            command.leave = None;
        }
    }
}

/// What must hold when a script starts.
pub(crate) fn script_starts(
    core: &Core,
    id: &DeploymentId,
    event: Lifecycle,
    leave: Option<Leave>,
) -> Result<(), String> {
    if !event.has_hooks() {
        return Ok(());
    }
    match leave {
        None => Err(format!("{event} of {id} starts, and nobody was asked")),
        Some(Leave::Given(asked)) => {
            let answered = core.checks.answered_stops.get(id);
            let is_before = answered.is_none_or(|answered| asked.events <= *answered);
            demand!(is_before, "{event} of {id} was let start after a stop had been answered");
            Ok(())
        }
        Some(Leave::Leased(asked)) => {
            let has_waited = core.now >= asked.at + LEAVE_MS;
            demand!(has_waited, "{event} of {id} starts on its lease, and waited for no answer");
            Ok(())
        }
    }
}

/// Somebody was told that a deployment stops.
pub(crate) fn answered(core: &mut Core, id: &DeploymentId, roll_back: Option<bool>) {
    let events = core.events;
    core.checks.answered_stops.entry(id.clone()).or_insert(events);
    let row = core.checks.deployments.get(id);
    let ended = row.map(|row| &row.deployment).filter(|deployment| deployment.ended().is_some());
    if ended.is_some_and(|deployment| !deployment.has_heard_stop(roll_back)) {
        core.violate(format!("{id} had ended when a stop of it was answered"));
    }
}

/// What must hold of a deployment that has ended.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let id = deployment.id();
    let (Some(wish), Some(ended)) = (core.checks.stops.get(id), deployment.ended()) else {
        return Ok(());
    };
    demand!(deployment.has_heard_stop(*wish), "{id} ended before it heard that it stops");
    let ending = &ended.ending;
    demand!(ending.status != Status::Succeeded, "{id} succeeded although it was stopped");
    let is_followed = ending.roll_back || ending.rollback_refused.is_some();
    demand!(*wish != Some(true) || is_followed, "{id} was to be rolled back, and is not");
    Ok(())
}
