//! The invariants of what is stored, checked after each transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::rows::{
    self, BatchRow, DeploymentRow, Direction, Group, HostRow, Layout, MemberRow, TransitionRow,
    UploadRow, UploadState, Verdict,
};
use control::table::{Condition, Key, Record, Write};
use engine::deployment::{Carrier, Creator, Deployment, HostState, Status};
use engine::{DeploymentId, GroupId, Timestamp};
use wire::host::BatchKey;

use crate::core::{Core, Shared};
use crate::members::TakenOver;
use crate::{
    capacity, copies, dispatch_checks, exchange, function_checks, gates, members, rollback_checks,
    rule, service_checks, shift, stops, traffic, zones,
};

/// Most bytes of a deployment's row.
const ROW_BYTES_MAX: usize = 64 * 1024;

/// What is stored, as the invariants see it.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) deployments: BTreeMap<DeploymentId, DeploymentRow>,
    /// Hosts that arrived and are let go, with when they were told of.
    let_go: BTreeSet<(String, Timestamp)>,
    /// When the row of each was first written, whatever the clocks said.
    pub(crate) created: BTreeMap<DeploymentId, u64>,
    /// When the row of each was last written.
    pub(crate) written: BTreeMap<DeploymentId, u64>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// What groups know of their hosts.
    pub(crate) members: BTreeMap<(GroupId, String), MemberRow>,
    /// Since when that was last complete, whether it is now or not.
    pub(crate) members_since: BTreeMap<GroupId, u64>,
    /// How members were last written out of a group's history.
    pub(crate) taken_over: BTreeMap<GroupId, TakenOver>,
    pub(crate) hosts: BTreeMap<DeploymentId, BTreeMap<u32, HostRow>>,
    /// The deployments that have not ended.
    pub(crate) active: BTreeMap<GroupId, BTreeSet<DeploymentId>>,
    versions: BTreeMap<DeploymentId, u64>,
    newest_succeeded: BTreeMap<GroupId, (u64, DeploymentId)>,
    uploads: BTreeMap<(GroupId, String), DeploymentId>,
    /// Uploads that could not be deployed.
    refused: BTreeSet<String>,
    /// The hooks that were started: host, deployment, number of the event.
    hooks: BTreeSet<(usize, DeploymentId, usize)>,
    generations: BTreeMap<(usize, GroupId), u64>,
    /// When hosts of a deployment were sent their first command, and how many.
    starts: BTreeMap<DeploymentId, Vec<(Timestamp, u32)>>,
    /// The hosts of each batch that was pushed.
    batches: BTreeMap<String, BTreeSet<String>>,
    pub(crate) dispatches: dispatch_checks::Dispatches,
    pub(crate) gates: gates::Gates,
    /// What is installed on a host by a group, by what its runner did.
    pub(crate) installed: BTreeMap<(String, GroupId), String>,
    /// The instances of which it is noted that they leave.
    leaving: BTreeSet<String>,
    /// Deployments that were created when that was noted already.
    forbidden: BTreeMap<DeploymentId, BTreeSet<String>>,
    pub(crate) terminated: BTreeSet<String>,
    /// The requests to stop: whether they want the deployment rolled back.
    pub(crate) stops: BTreeMap<DeploymentId, Option<bool>>,
    /// After which event they were first answered.
    pub(crate) answered_stops: BTreeMap<DeploymentId, u64>,
    pub(crate) ended: u64,
    pub(crate) succeeded: u64,
    /// How many deployments of each kind ended how.
    pub(crate) tally: BTreeMap<String, u64>,
}

impl Checks {
    /// When an alarm stopped a deployment.
    pub(crate) fn alarm_of(&self, id: &DeploymentId) -> Option<Timestamp> {
        Some(self.deployments.get(id)?.deployment.alarm()?.at)
    }
}

/// Gives new deployments the time that they have in this world, in place of the eight hours that `control` gives them.
pub(crate) fn shorten(shared: &Shared, writes: &[Write]) -> Option<Vec<Write>> {
    let total_ms = shared.core().total_ms;
    let (of_alias, of_service) = {
        let core = shared.core();
        (core.functions.total_ms, core.services.total_ms)
    };
    let is_new = |write: &Write| matches!(write, Write::Put(record, Condition::Absent) if record.key.sort == "META");
    if (total_ms == 8 * 3_600_000 && of_alias.is_none() && of_service.is_none())
        || !writes.iter().any(is_new)
    {
        return None;
    }
    let mut writes = writes.to_vec();
    for write in &mut writes {
        if let Write::Put(record, _) = write {
            let ours = format!("\"totalMs\":{total_ms}");
            record.body = record.body.replace("\"totalMs\":28800000", &ours);
            for (carrier, total_ms) in [("alias", of_alias), ("service", of_service)] {
                if let Some(total_ms) = total_ms {
                    function_checks::shorten(&mut record.body, carrier, total_ms);
                }
            }
        }
    }
    gates::shorten(&mut writes);
    Some(writes)
}

/// Checks a transaction that has happened.
pub(crate) fn written(shared: &Arc<Shared>, writes: &[Write]) {
    let mut core = shared.core();
    let queued = writes.iter().find_map(|write| queue_before(&core, write));
    let mut ended = None;
    for write in writes {
        if let Write::Delete(key, _) = write {
            deleted(&mut core, key);
        }
        let Write::Put(record, _) = write else { continue };
        let outcome = match record.key.sort.as_str() {
            _ if members::is_at(&record.key) => core.note_member(record),
            "META" => {
                deployment_written(&mut core, record).map(|id| ended = id.or_else(|| ended.take()))
            }
            "GROUP" => group_written(&mut core, record),
            sort if sort.starts_with("HOST#") => host_written(&mut core, record),
            sort if sort.starts_with("BATCH#") => batch_written(&mut core, record),
            sort if sort == "STOP" || sort.starts_with("HOOK#") => {
                function_checks::said(&mut core, record)
            }
            _ if record.key.partition == TransitionRow::ALL => {
                transition_written(&mut core, record)
            }
            _ if record.key.partition.starts_with("UPLOAD#") => upload_written(&mut core, record),
            _ => Ok(()),
        };
        if let Err(broken) = outcome.and_then(|()| core.note_gate(record)) {
            core.violate(broken);
        }
    }
    core.check_gates(writes);
    let touched: Vec<GroupId> = writes.iter().filter_map(|write| group_of(&core, write)).collect();
    for group in touched {
        if let Err(broken) = group_holds(&core.checks, &group) {
            core.violate(broken);
        }
    }
    if let Some(id) = ended {
        let follows = follows(&core.checks, &id, queued.flatten().as_deref());
        let group = core.checks.deployments.get(&id).map(|row| &row.deployment.order().group_id);
        let known = group.map_or(Ok(()), |group| core.checks.members_hold(group));
        if let Err(broken) = follows.and(known) {
            core.violate(broken);
        }
    }
}

/// Forgets what is there no more.
fn deleted(core: &mut Core, key: &Key) {
    if key.partition == TransitionRow::ALL {
        core.checks.leaving.remove(&key.sort);
    }
    let group = key.partition.strip_prefix("GROUP#").filter(|_| key.sort == "GROUP");
    if let Some(id) = group.and_then(|id| id.parse::<GroupId>().ok()) {
        drop(core.checks.groups.remove(&id));
    }
}

pub(crate) fn read<T: rows::Row>(record: &Record) -> Result<T, String> {
    rows::read(record)
        .map(|stored| stored.row)
        .map_err(|error| format!("a row cannot be read: {error}"))
}

fn group_of(core: &Core, write: &Write) -> Option<GroupId> {
    let key = write.key();
    match key.sort.as_str() {
        "GROUP" => key.partition.strip_prefix("GROUP#")?.parse().ok(),
        "META" => {
            let id = DeploymentRow::id_in(key)?;
            Some(core.checks.deployments.get(&id)?.deployment.order().group_id.clone())
        }
        _ => None,
    }
}

/// The upload that waits in a group before the group is written.
fn queue_before(core: &Core, write: &Write) -> Option<Option<String>> {
    let id = write.key().partition.strip_prefix("GROUP#")?.parse().ok()?;
    let slot = &core.checks.groups.get(&id)?.slot;
    Some(slot.queued.as_ref().map(|upload| upload.identity.clone()))
}

macro_rules! demand {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}
pub(crate) use demand;

/// Returns the deployment if it has ended just now.
fn deployment_written(core: &mut Core, record: &Record) -> Result<Option<DeploymentId>, String> {
    let row: DeploymentRow = read(record)?;
    let id = row.deployment.id().clone();
    let new = &row.deployment;
    demand!(record.body.len() <= ROW_BYTES_MAX, "the row of {id} has {} bytes", record.body.len());
    let old = core.checks.deployments.remove(&id);
    let described = describe(old.as_ref().map(|row| &row.deployment), &row);
    core.tell(format_args!("{id}"), || format!("v{} {described}", record.version));
    let before = core.checks.versions.insert(id.clone(), record.version).unwrap_or(0);
    demand!(record.version == before + 1, "{id} goes from version {before} to {}", record.version);
    match &old {
        None => {
            if let Some(upload) = &row.upload {
                let key = (new.order().group_id.clone(), upload.clone());
                let twice = core.checks.uploads.insert(key, id.clone());
                demand!(
                    twice.is_none(),
                    "the upload `{upload}` was started twice: {twice:?}, {id}"
                );
            }
            rollback_checks::order_holds(&core.checks, new)?;
            core.checks.active.entry(new.order().group_id.clone()).or_default().insert(id.clone());
            if new.order().creator != Creator::Departure {
                let leaving = core.checks.leaving.clone();
                core.checks.forbidden.insert(id.clone(), leaving);
            }
        }
        Some(old) => {
            demand!(core.is_driver, "somebody else than the driver changed {id}");
            let started = deployment_changed(&old.deployment, new)?;
            core.checks.ramp_holds(new, started)?;
            shift::step_holds(&old.deployment, new)?;
            dispatch_checks::start_holds(&old.deployment, new, started)?;
            dispatch_checks::step_holds(core, &old.deployment, new)?;
            function_checks::step_holds(core, new)?;
            service_checks::step_holds(core, &old.deployment, new)?;
            traffic::ladder_holds(&old.deployment, new, started, new.latest())?;
            arrivals_have_rows(&core.checks, &old.deployment, new)?;
            if new.is_sealed() && !old.deployment.is_sealed() {
                roster_is_whole(&core.checks, new)?;
                capacity::roster_holds(core, new)?;
            }
        }
    }
    let has_ended = new.ended().is_some();
    if has_ended {
        end_written(core, &row)?;
    } else if old.is_some() {
        let plan = new.plan(Timestamp(0));
        demand!(
            plan.requests.is_empty(),
            "{id} was stored with something left to decide: {:?}",
            plan.requests
        );
        demand!(plan.wake_at.is_some(), "{id} waits for nothing");
        let in_time = row.wake_at.is_some() && row.wake_at <= plan.wake_at;
        demand!(in_time, "{id} is woken at {:?} and wants {:?}", row.wake_at, plan.wake_at);
    }
    core.checks.written.insert(id.clone(), core.now);
    let now = core.now;
    core.checks.created.entry(id.clone()).or_insert(now);
    core.checks.deployments.insert(id.clone(), row);
    Ok(has_ended.then_some(id))
}

/// Checks a deployment that has ended, and notes what it leaves.
fn end_written(core: &mut Core, row: &DeploymentRow) -> Result<(), String> {
    let new = &row.deployment;
    let id = new.id().clone();
    demand!(row.wake_at.is_none(), "{id} has ended and wants to be woken");
    demand!(new.hosts().fleet().in_flight == 0, "{id} has ended with hosts in flight");
    rule::verdict_holds(new)?;
    stops::end_holds(core, new)?;
    dispatch_checks::end_holds(core, new)?;
    hosts_agree(&core.checks, new)?;
    if new.order().shift.is_some() {
        shift::end_holds(core, new)?;
    }
    exchange::end_holds(core, new)?;
    copies::end_holds(core, new)?;
    traffic::end_holds(core, new)?;
    function_checks::end_holds(core, new)?;
    service_checks::end_holds(core, new)?;
    core.checks.count(row);
    core.checks.ended += 1;
    let group = &new.order().group_id;
    core.checks.active.entry(group.clone()).or_default().remove(&id);
    if new.status() == Status::Succeeded {
        core.checks.succeeded += 1;
    }
    // What only took the traffic back, to what nobody here had deployed, is nothing to go back to.
    let order = new.order();
    let only_went_back = order.shift.as_ref().is_some_and(|shift| shift.back_to.is_some())
        && order.fallback.is_none();
    let is_kept = order.creator.is_of_group() && !only_went_back;
    if new.status() == Status::Succeeded && is_kept {
        let newest = (new.order().generation, id.clone());
        core.checks.newest_succeeded.insert(group.clone(), newest);
    }
    Ok(())
}

fn describe(old: Option<&Deployment>, row: &DeploymentRow) -> String {
    let new = &row.deployment;
    let hosts = new.hosts();
    let fleet = hosts.fleet();
    let mut text = format!(
        "{} {} untouched, {} in flight, {} good, {} bad",
        new.status().name(),
        fleet.untouched(),
        fleet.in_flight,
        fleet.succeeded,
        fleet.failed
    );
    for ordinal in 0..hosts.len().min(60) {
        let now = hosts.get(ordinal);
        if now != old.and_then(|old| old.hosts().get(ordinal))
            && let Some(now) = now
        {
            text.push_str(&format!("; {ordinal} {:?}/{}", now.state, now.attempt));
        }
    }
    if let Some(ended) = new.ended() {
        text.push_str(&format!("; {:?} rolled back by {:?}", ended.ending, ended.rolled_back_by));
    }
    text
}

/// Returns how many hosts are sent their first command.
fn deployment_changed(old: &Deployment, new: &Deployment) -> Result<u32, String> {
    let id = new.id();
    demand!(old.ended().is_none(), "{id} was changed after its end");
    demand!(old.order() == new.order(), "the order of {id} was changed");
    demand!(!old.is_sealed() || new.is_sealed(), "{id} was unsealed");
    let (before, after) = (old.hosts(), new.hosts());
    demand!(!old.is_sealed() || before.len() <= after.len(), "{id} has fewer hosts than before");
    let enrolled = (before.enrolled(), before.unhealthy());
    let kept = enrolled == (after.enrolled(), after.unhealthy());
    demand!(!old.is_sealed() || kept, "{id} forgets who arrived");
    let zones_kept = before.zones().eq(after.zones());
    demand!(!old.is_sealed() || zones_kept, "{id} has other zones than before");
    let mut started = Vec::new();
    for ordinal in 0..after.len() {
        let (Some(now), was) = (after.get(ordinal), before.get(ordinal)) else { continue };
        let was_state = was.map_or(HostState::Untouched, |was| was.state);
        let is_over = was_state != HostState::Untouched && !was_state.in_flight();
        demand!(
            !is_over || now.state == was_state || now.state == HostState::Gone,
            "host {ordinal} of {id} went from {was_state:?} to {:?}",
            now.state
        );
        if now.attempt > was.map_or(0, |was| was.attempt) {
            started.push((ordinal, now.attempt));
        }
    }
    if started.is_empty() {
        return Ok(0);
    }
    demand!(!new.stop_requested(), "{id} was stopped and sends commands: {started:?}");
    demand!(new.is_sealed() && new.pin().is_some(), "{id} sends commands before it is ready");
    let first: Vec<u32> =
        started.iter().filter(|(_, attempt)| *attempt == 1).map(|(ordinal, _)| *ordinal).collect();
    rule::allows(new, &first)?;
    Ok(u32::try_from(first.len()).unwrap_or(u32::MAX))
}

/// Each host that arrived has its row: one that arrived, or one that a second enrolment found too late to be counted.
fn arrivals_have_rows(checks: &Checks, old: &Deployment, new: &Deployment) -> Result<(), String> {
    if !old.is_sealed() {
        return Ok(());
    }
    let rows = checks.hosts.get(new.id());
    for ordinal in old.hosts().len()..new.hosts().len() {
        let has_row = rows.is_some_and(|rows| rows.contains_key(&ordinal));
        demand!(has_row, "host {ordinal} of {} is said to have arrived and has no row", new.id());
    }
    Ok(())
}

/// A deployment is sealed when each of its hosts has its row, and no other one has.
fn roster_is_whole(checks: &Checks, deployment: &Deployment) -> Result<(), String> {
    let id = deployment.id();
    let rows = checks.hosts.get(id);
    let total = deployment.hosts().len();
    let is_whole = (0..total).all(|ordinal| rows.is_some_and(|rows| rows.contains_key(&ordinal)));
    demand!(is_whole, "{id} was sealed before all of its {total} hosts were enrolled");
    rollback_checks::roster_holds(checks, deployment)?;
    zones::roster_holds(checks, deployment)
}

/// At the end, the deployment says of each host what the host's own row says.
fn hosts_agree(checks: &Checks, deployment: &Deployment) -> Result<(), String> {
    use control::rows::OutOfReach::{GivenUp, ShutOut};
    use wire::host::HostStatus::{Failed, Succeeded};
    let id = deployment.id();
    let rows = checks.hosts.get(id);
    for ordinal in 0..deployment.hosts().len() {
        let Some(host) = deployment.hosts().get(ordinal) else { continue };
        let Some(row) = rows.and_then(|rows| rows.get(&ordinal)) else {
            return Err(format!("host {ordinal} of {id} has no row"));
        };
        let fits = match host.state {
            HostState::Succeeded => row.status == Some(Succeeded),
            HostState::Failed => row.status == Some(Failed),
            HostState::Silent => row.out_of_reach == Some(GivenUp),
            HostState::NotStarted => row.out_of_reach == Some(ShutOut),
            HostState::Skipped => row.heard_at.is_none(),
            HostState::Gone => row.gone || row.leaving,
            HostState::Untouched | HostState::Sent | HostState::Unclaimed | HostState::Running => {
                false
            }
        };
        demand!(
            fits,
            "host {ordinal} of {id} is {:?}, and its row says {:?}, {:?}",
            host.state,
            row.status,
            row.out_of_reach
        );
    }
    Ok(())
}

fn group_written(core: &mut Core, record: &Record) -> Result<(), String> {
    let row: Group = read(record)?;
    core.checks.note_members_of(&row);
    let old = core.checks.groups.insert(row.id.clone(), row);
    let (Some(old), Some(new)) =
        (&old, old.as_ref().and_then(|old| core.checks.groups.get(&old.id)))
    else {
        return Ok(());
    };
    let rises = new.slot.generation >= old.slot.generation
        && new.slot.newest_upload >= old.slot.newest_upload;
    demand!(rises, "a number of group {} fell", new.id);
    Ok(())
}

/// What holds of a group between transactions.
fn group_holds(checks: &Checks, id: &GroupId) -> Result<(), String> {
    let Some(Group { slot, .. }) = checks.groups.get(id) else { return Ok(()) };
    let active: Vec<&DeploymentId> = checks.active.get(id).into_iter().flatten().collect();
    let expected: Vec<&DeploymentId> = slot.active.iter().collect();
    demand!(active == expected, "the group says that {expected:?} is active, and {active:?} is");
    if let Some(row) = slot.active.as_ref().and_then(|id| checks.deployments.get(id)) {
        let generation = row.deployment.order().generation;
        demand!(generation == slot.generation, "the active deployment has generation {generation}");
    }
    demand!(slot.queued.is_none() || slot.active.is_some(), "an upload waits for nothing");
    let last = slot.last_successful.as_ref().map(|last| &last.deployment);
    let newest = checks.newest_succeeded.get(id).map(|(_, id)| id);
    demand!(last == newest, "the last successful deployment is {newest:?}, not {last:?}");
    Ok(())
}

/// What must have come in the same transaction as the end of a deployment.
fn follows(checks: &Checks, id: &DeploymentId, queued: Option<&str>) -> Result<(), String> {
    let Some(row) = checks.deployments.get(id) else { return Ok(()) };
    let order = row.deployment.order();
    let Some(Group { slot, .. }) = checks.groups.get(&order.group_id) else { return Ok(()) };
    let Some(ended) = row.deployment.ended() else { return Ok(()) };
    let next = slot.active.as_ref().and_then(|id| checks.deployments.get(id));
    let waits = slot.queued.as_ref().map(|upload| upload.identity.as_str());
    demand!(
        ended.ending.roll_back == ended.rolled_back_by.is_some(),
        "{id} shall be rolled back: {}, and is by {:?}",
        ended.ending.roll_back,
        ended.rolled_back_by
    );
    if let Some(by) = &ended.rolled_back_by {
        let names_it = next.is_some_and(|next| {
            next.deployment.id() == by && next.deployment.order().rolls_back.as_ref() == Some(id)
        });
        demand!(names_it, "{by} does not roll {id} back");
        demand!(waits == queued, "an upload that waited was lost to a rollback");
    } else {
        let queued = queued.filter(|upload| !checks.refused.contains(*upload));
        let started = next.and_then(|next| next.upload.as_deref());
        demand!(
            started == queued && waits.is_none(),
            "`{queued:?}` waited, `{started:?}` was started"
        );
    }
    Ok(())
}

fn upload_written(core: &mut Core, record: &Record) -> Result<(), String> {
    let row: UploadRow = read(record)?;
    core.tell(&row.identity, || format!("{:?}", row.state));
    if matches!(row.state, UploadState::Refused { .. }) {
        core.checks.refused.insert(row.identity);
    }
    Ok(())
}

fn host_written(core: &mut Core, record: &Record) -> Result<(), String> {
    let new: HostRow = read(record)?;
    if record.version == 1 {
        core.checks.member_is_enrolled_as_it_was(&new)?;
    }
    let (id, ordinal) = (new.deployment_id.clone(), new.ordinal);
    core.tell(format_args!("{id}/{ordinal}"), || {
        format!(
            "v{} {} heard {:?} report {} {:?} {:?}",
            record.version, new.name, new.heard_at, new.sequence, new.status, new.out_of_reach
        )
    });
    let hosts = core.checks.hosts.entry(id.clone()).or_default();
    let taken = hosts.values().find(|other| other.name == new.name && other.ordinal != ordinal);
    demand!(record.version > 1 || taken.is_none(), "{} is twice in {id}", new.name);
    let is_next = ordinal == 0 || hosts.contains_key(&(ordinal - 1));
    demand!(!new.arrived || is_next, "host {ordinal} of {id} arrived before the one before it");
    let is_forbidden =
        core.checks.forbidden.get(&id).is_some_and(|leaving| leaving.contains(&new.name));
    demand!(!is_forbidden, "{} was about to vanish before {id} began, and is in it", new.name);
    let old = hosts.insert(ordinal, new);
    let (Some(old), Some(new)) = (old, hosts.get(&ordinal)) else { return Ok(()) };
    let claims = old.heard_at.is_none() && new.heard_at.is_some();
    demand!(!claims || !old.leaving, "{} is about to vanish, and claims in {id}", new.name);
    let kept = old.name == new.name
        && old.leaving <= new.leaving
        && old.gone <= new.gone
        && old.heard_at <= new.heard_at
        && old.sequence <= new.sequence
        && (old.out_of_reach.is_none()
            || (&old.out_of_reach, old.heard_at, old.status)
                == (&new.out_of_reach, new.heard_at, new.status))
        && (!old.has_ended() || old.status == new.status);
    demand!(kept, "the row of host {ordinal} of {id} forgets: {old:?} became {new:?}");
    Ok(())
}

fn batch_written(core: &mut Core, record: &Record) -> Result<(), String> {
    let row: BatchRow = read(record)?;
    dispatch_checks::batch_written(&mut core.checks, &row);
    core.tell(row.batch.to_string(), || {
        format!("v{} accepted {:?} {:?}", record.version, row.accepted_at, row.refused)
    });
    let names = row.hosts.into_iter().map(|host| host.name);
    core.checks.batches.entry(row.batch.to_string()).or_default().extend(names);
    Ok(())
}

/// A transition was changed. One that arrived may only be let go with what its groups have.
fn transition_written(core: &mut Core, record: &Record) -> Result<(), String> {
    let row: TransitionRow = read(record)?;
    let name = row.instance.clone();
    core.tell(&name, || format!("v{} {row:?}", record.version));
    if row.direction == Direction::Leaving {
        core.checks.leaving.insert(name);
        return Ok(());
    }
    demand!(!core.checks.leaving.contains(&name), "{name} was leaving, and arrives");
    if row.verdict != Some(Verdict::Continue) || core.checks.terminated.contains(&name) {
        return Ok(());
    }
    // What was decided is told later, where a server died in between: its groups may have another revision by then.
    if !core.checks.let_go.insert((name.clone(), row.since)) {
        return Ok(());
    }
    let scaled_by = |group: &&Group| {
        let named = group.settings.auto_scaling_groups.iter().flatten();
        row.actions.iter().any(|action| named.clone().any(|name| *name == action.scaling_group))
    };
    for group in core.checks.groups.values().filter(scaled_by) {
        let Some(last) = &group.slot.last_successful else { continue };
        let installed = core.checks.installed.get(&(name.clone(), group.id.clone()));
        demand!(
            installed == Some(&last.pin.sha256),
            "{name} is let go with {installed:?}, and {} has {}",
            group.name,
            last.pin.sha256
        );
    }
    Ok(())
}

impl Checks {
    /// Checks that no more hosts than the ramp allows are started within any second.
    fn ramp_holds(&mut self, deployment: &Deployment, started: u32) -> Result<(), String> {
        let Some(most) = deployment.order().start_ramp.filter(|_| started > 0) else {
            return Ok(());
        };
        let (id, at) = (deployment.id(), deployment.latest());
        let starts = self.starts.entry(id.clone()).or_default();
        starts.push((at, started));
        starts.retain(|(then, _)| at.since_ms(*then) < 1_000);
        let sum: u32 = starts.iter().map(|(_, started)| started).sum();
        demand!(sum <= most.max(1), "{id} starts {sum} hosts within a second: {starts:?}");
        capacity::are_started_together(deployment, sum)
    }

    /// How long the deployment that lasted longest took from its creation to its end, in milliseconds.
    pub(crate) fn lasted_ms(&self) -> u64 {
        let all = self.deployments.values().map(|row| &row.deployment);
        let lasted = all.filter_map(|deployment| {
            Some(deployment.ended()?.at.since_ms(deployment.order().created_at))
        });
        lasted.max().unwrap_or(0)
    }

    /// Counts a deployment that has ended.
    fn count(&mut self, row: &DeploymentRow) {
        let deployment = &row.deployment;
        let Some(ended) = deployment.ended() else { return };
        let is_copy = deployment.order().shift.as_ref().is_some_and(|shift| shift.copies.is_some());
        let kind = match deployment.carrier().map(Carrier::kind) {
            None => "in place",
            Some("groups") => "blue/green",
            Some("exchange") if is_copy => "exchange of copies",
            Some(other) => other,
        };
        let status = ended.ending.status.name();
        let why = ended.ending.failure.as_ref().map(|failure| failure.code);
        let why = why.map(|code| format!(" {code:?}")).unwrap_or_default();
        let is_old = (row.layout == Layout::Row).then_some("of the version before");
        let kinds = [kind.to_owned(), format!("{kind}: {status}{why}")];
        for what in kinds.into_iter().chain(is_old.map(str::to_owned)) {
            *self.tally.entry(what).or_default() += 1;
        }
    }

    /// Whether a host is in a batch, or was.
    pub(crate) fn is_in_batch(&self, batch: &BatchKey, name: &str) -> bool {
        self.batches.get(&batch.to_string()).is_some_and(|names| names.contains(name))
    }

    /// Checks that a hook may start.
    pub(crate) fn hook_starts(
        &mut self,
        host: usize,
        (id, ordinal): (&DeploymentId, u32),
        (group, generation): (&GroupId, u64),
        event: usize,
    ) -> Result<(), String> {
        let new = self.hooks.insert((host, id.clone(), event));
        demand!(new, "event {event} of {id} started twice on host {host}");
        let highest = self.generations.entry((host, group.clone())).or_default();
        demand!(
            *highest <= generation,
            "generation {generation} starts on host {host} after {highest}"
        );
        *highest = generation;
        let row = self.hosts.get(id).and_then(|hosts| hosts.get(&ordinal));
        let out = row.and_then(|row| row.out_of_reach);
        demand!(out.is_none(), "event {event} of {id} starts on host {host}, which is {out:?}");
        let state = self.deployments.get(id).and_then(|row| row.deployment.hosts().get(ordinal));
        let state = state.map(|host| host.state);
        let is_wanted = state.is_some_and(|state| state.in_flight() || state == HostState::Gone);
        demand!(is_wanted, "event {event} of {id} starts on host {host}, which is {state:?}");
        Ok(())
    }
}
