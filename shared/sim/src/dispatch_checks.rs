//! Commands that are not accepted for a while, and the invariants of that: no host fails for it, what is denied ends after a
//! quarter of an hour and touches nobody, and nobody waits for somebody else's command.

use std::collections::BTreeMap;

use control::ports::CloudError;
use control::rows::{BatchRow, HostRow};
use engine::deployment::{DENIED_MS, Deployment, FailureCode, HostState, Ordinals, Request};
use engine::{DeploymentId, Timestamp};
use thiserror::Error;
use wire::host::BatchKey;

use crate::checks::{Checks, demand};
use crate::core::{Core, EPOCH_MS};
use crate::random::Random;
use crate::world::World;

/// How long it may take until a command is accepted once nothing keeps it from that, in milliseconds: those of which nothing is
/// heard are sent again after half a minute, and the word of what came of it comes with the minute's sweep at the latest.
const ACCEPTED_WITHIN_MS: u64 = 130_000;

/// How much later than a deployment decided something a server's clock may say that it was, in milliseconds.
const SKEW_MS: u64 = 5_000;

/// Where commands are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where they are handed over to whoever sends them.
    Queue,
    /// Where they are sent to hosts.
    Push,
}

/// A time in which commands are refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    since: u64,
    until: u64,
    place: Place,
    denies: bool,
    /// Of three batches the one that is refused; none for all of them.
    third: Option<u32>,
}

impl Outage {
    /// Outages as the seed wants them, in every third world.
    pub(crate) fn by_chance(seed: u64, lasts_ms: u64) -> Vec<Self> {
        let mut random = Random::new(seed ^ 0x7e_4d1e_55ed);
        if !random.of_ten_thousand(3_333) {
            return Vec::new();
        }
        let one = |random: &mut Random| {
            let since = EPOCH_MS + random.between(0, lasts_ms);
            let denies = random.of_ten_thousand(4_000);
            let most = if denies { 1_500_000 } else { 120_000 };
            let place = *random.pick(&[Place::Queue, Place::Push]).unwrap_or(&Place::Push);
            let third = random.of_ten_thousand(5_000).then(|| random.between(0, 2));
            let third = third.and_then(|third| u32::try_from(third).ok());
            Self { since, until: since + random.between(1_000, most), place, denies, third }
        };
        (0..random.between(1, 3)).map(|_| one(&mut random)).collect()
    }

    fn holds(&self, now: u64, batch: u32) -> bool {
        (self.since..self.until).contains(&now) && self.third.is_none_or(|third| batch % 3 == third)
    }
}

#[derive(Debug, Error)]
#[error("too many requests")]
struct Throttled;

/// What is known of how batches are sent.
#[derive(Debug, Default)]
pub(crate) struct Dispatches {
    /// The attempt and the hosts of each batch that was decided.
    decided: BTreeMap<(DeploymentId, u32), (u8, Ordinals)>,
    /// When the command of each attempt of a host was accepted.
    accepted: BTreeMap<(DeploymentId, u32, u8), Timestamp>,
    /// When a command of a deployment was first denied.
    denied: BTreeMap<DeploymentId, Timestamp>,
    /// Since when batches are being sent.
    sending: BTreeMap<(DeploymentId, u32), u64>,
}

impl Core {
    /// Refuses a batch, if it is to be.
    pub(crate) fn refuses(
        &mut self,
        place: Place,
        operation: &'static str,
        (id, batch): (&DeploymentId, u32),
    ) -> Result<(), CloudError> {
        let now = self.now;
        let holds = |outage: &&Outage| outage.place == place && outage.holds(now, batch);
        let Some(Outage { denies, .. }) = self.outages.iter().find(holds).copied() else {
            return Ok(());
        };
        self.tell("cloud", || format!("refuses batch {batch} of {id}, denied: {denies}"));
        let service = "the cloud";
        if denies {
            self.checks.dispatches.denied.entry(id.clone()).or_insert(Timestamp(now));
            let message = "not authorized".to_owned();
            return Err(CloudError::Refused { service, operation, message });
        }
        Err(CloudError::Unavailable { service, operation, source: Box::new(Throttled) })
    }

    /// Notes the hosts of a batch that was decided.
    pub(crate) fn note_dispatch(&mut self, id: &DeploymentId, request: &Request) {
        if let Request::Dispatch { batch, attempt, hosts } = request {
            let key = (id.clone(), *batch);
            let decided = &mut self.checks.dispatches.decided;
            decided.entry(key).or_insert_with(|| (*attempt, hosts.clone()));
        }
    }
}

/// Notes that a batch was accepted.
pub(crate) fn batch_written(checks: &mut Checks, row: &BatchRow) {
    let BatchKey { deployment_id, number } = row.batch.clone();
    let Some(at) = row.accepted_at else { return };
    let Dispatches { decided, accepted, .. } = &mut checks.dispatches;
    let Some((attempt, hosts)) = decided.get(&(deployment_id.clone(), number)) else { return };
    for ordinal in hosts.iter() {
        accepted.entry((deployment_id.clone(), ordinal, *attempt)).or_insert(at);
    }
}

/// Whether a host that is shut out is so for a reason of its own.
fn has_reason(row: Option<&HostRow>) -> bool {
    row.is_some_and(|row| row.reason.is_some() || row.down_until.is_some() || row.leaving)
}

/// What must hold when a deployment goes on: nobody is late before the command was accepted and half of the silence time-out
/// has gone by since.
pub(crate) fn step_holds(
    core: &mut Core,
    old: &Deployment,
    new: &Deployment,
) -> Result<(), String> {
    note_sending(core, new);
    if !core.has_queues && !core.is_cloud {
        return Ok(());
    }
    let (id, checks) = (new.id(), &core.checks);
    let is_over = new.latest().since_ms(new.order().created_at) >= new.limit_ms();
    for ordinal in 0..new.hosts().len() {
        let hosts = (old.hosts().get(ordinal), new.hosts().get(ordinal));
        let (Some(was), Some(is)) = hosts else { continue };
        let row = checks.hosts.get(id).and_then(|hosts| hosts.get(&ordinal));
        let is_late = if is.state == HostState::NotStarted {
            !has_reason(row) && !is_over
        } else {
            is.state == HostState::Unclaimed || is.attempt > was.attempt
        };
        if is == was || was.attempt == 0 || !is_late {
            continue;
        }
        let accepted = checks.dispatches.accepted.get(&(id.clone(), ordinal, was.attempt));
        let Some(at) = accepted else {
            return Err(format!(
                "host {ordinal} of {id} is late, and its command was not accepted"
            ));
        };
        let waited = new.latest().plus_ms(SKEW_MS).since_ms(*at);
        let silence_ms = new.order().silence_ms;
        // Batches that are looked at together may be so a twentieth sooner.
        demand!(
            waited >= silence_ms / 2 - silence_ms / 20,
            "host {ordinal} of {id} is late {waited} ms after its command was accepted"
        );
    }
    Ok(())
}

/// What must hold when a deployment sends first commands.
pub(crate) fn start_holds(old: &Deployment, new: &Deployment, started: u32) -> Result<(), String> {
    let denied = old.refusal().and_then(|(_, since)| since);
    let is_over = denied.is_some_and(|since| new.latest() >= since.plus_ms(DENIED_MS));
    demand!(started == 0 || !is_over, "{} goes on after a command was denied for long", new.id());
    Ok(())
}

/// What must hold of a deployment that has ended.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let Some(ended) = deployment.ended() else { return Ok(()) };
    let code = ended.ending.failure.as_ref().map(|failure| failure.code);
    if code != Some(FailureCode::IamRolePermissions) {
        return Ok(());
    }
    let id = deployment.id();
    let denied = core.checks.dispatches.denied.get(id);
    let lasted = denied.map(|since| ended.at.plus_ms(SKEW_MS).since_ms(*since));
    let is_long = lasted.is_some_and(|ms| ms >= DENIED_MS);
    demand!(is_long, "{id} ended because a command was denied for {lasted:?} ms");
    let left_out = deployment.hosts().count(HostState::Skipped);
    demand!(left_out > 0, "{id} was denied its commands, and all hosts had theirs");
    Ok(())
}

/// Notes which batches are being sent, and since when.
fn note_sending(core: &mut Core, deployment: &Deployment) {
    let (id, now) = (deployment.id(), core.now);
    let sending: Vec<u32> = deployment.sending().collect();
    let known = &mut core.checks.dispatches.sending;
    known.retain(|(of, batch), _| of != id || sending.contains(batch));
    for batch in sending {
        known.entry((id.clone(), batch)).or_insert(now);
    }
}

impl World {
    /// Checks that whatever is being sent is accepted soon once nothing keeps it from that.
    pub(crate) fn check_sending(&self) {
        let mut core = self.shared.core();
        let Some(since) = core.punctual_since else { return };
        let calm = core.outages.iter().map(|outage| outage.until).fold(since, u64::max);
        let now = core.now;
        let is_stuck = |since: u64| now > since.max(calm) + ACCEPTED_WITHIN_MS;
        let sending = core.checks.dispatches.sending.iter();
        let stuck = sending.filter(|(_, since)| is_stuck(**since)).map(|(batch, _)| batch).next();
        if let Some((id, batch)) = stuck.cloned() {
            core.violate(format!("batch {batch} of {id} is being sent for too long"));
        }
    }
}
