//! What a group knows of its hosts, compared with what their deployments say when all of them are looked at in turn.

use std::collections::{BTreeMap, BTreeSet};

use control::rows::{Before, DeploymentRow, Group, HostRow, MemberRow};
use control::table::Record;
use engine::deployment::{Creator, Deployment, HostState, Status};
use engine::{DeploymentId, GroupId};

use crate::checks::{Checks, demand, read};
use crate::core::Core;
use crate::members::TakenOver;

impl Core {
    /// A member was written: never by an older deployment than the one that was known.
    pub(crate) fn note_member(&mut self, record: &Record) -> Result<(), String> {
        let core = self;
        let new: MemberRow = read(record)?;
        let place = (new.group_id.clone(), new.name.clone());
        core.tell(&new.name, || format!("is a member by {}: {:?}", new.deployment_id, new.known));
        let (name, generation) = (new.name.clone(), new.generation);
        let old = core.checks.members.insert(place, new);
        let known = old.map(|old| old.generation);
        demand!(
            known < Some(generation),
            "the member {name} of {known:?} became one of {generation}"
        );
        Ok(())
    }
}

impl Checks {
    /// A group was written. When its members are complete for the first time, whoever has none is forgotten.
    pub(crate) fn note_members_of(&mut self, new: &Group) {
        let checks = self;
        let Some(since) = new.members_since else { return };
        checks.members_since.insert(new.id.clone(), since);
        let was_complete = checks.groups.get(&new.id).is_none_or(|old| old.members_since.is_some());
        let by = new.slot.active.as_ref().and_then(|id| checks.deployments.get(id));
        let Some(by) = by.filter(|_| !was_complete) else { return };
        let members = checks.members.iter();
        let known = members.filter(|((group, _), row)| *group == new.id && row.generation >= since);
        let names = known.map(|((_, name), _)| name.clone()).collect();
        let oldest = oldest_known(checks, by);
        let by = by.deployment.order().generation;
        checks.taken_over.insert(new.id.clone(), TakenOver { by, oldest, names });
    }
}

/// Since which deployment a host is known whose group has its members since `since`.
fn known_since(checks: &Checks, group: &GroupId, name: &str, since: u64) -> u64 {
    match checks.taken_over.get(group) {
        Some(taken) if taken.names.contains(name) => taken.oldest,
        Some(taken) => taken.by,
        None => since,
    }
}

/// What is known of a host after the deployments of its group from the fencing number `since` on, and below `end`.
fn truth(checks: &Checks, group: &GroupId, name: &str, (since, end): (u64, u64)) -> Before {
    let is_meant = |deployment: &&Deployment| {
        let order = deployment.order();
        let is_in = (since..end).contains(&order.generation);
        order.group_id == *group && is_in && order.creator != Creator::Departure
    };
    let all = checks.deployments.values().map(|row| &row.deployment).filter(is_meant);
    let by_turn: BTreeMap<u64, &Deployment> =
        all.map(|deployment| (deployment.order().generation, deployment)).collect();
    let mut known: Option<Before> = None;
    for deployment in by_turn.into_values() {
        let hosts = checks.hosts.get(deployment.id()).into_iter().flat_map(BTreeMap::values);
        for host in hosts.filter(|host| host.name == name) {
            known = Some(step(deployment, host, known.unwrap_or_else(|| host.before.clone())));
        }
    }
    known.unwrap_or_default()
}

/// What a host is after one more deployment.
fn step(deployment: &Deployment, host: &HostRow, was: Before) -> Before {
    match deployment.hosts().get(host.ordinal).map(|host| host.state) {
        Some(HostState::Succeeded) => {
            let installed = deployment.pin().map(|pin| pin.sha256.clone());
            Before { healthy: true, installed }
        }
        Some(HostState::Failed | HostState::Silent) => Before::default(),
        Some(HostState::NotStarted) => Before { healthy: false, ..was },
        _ => was,
    }
}

/// Since which deployment the hosts of a group are known that has no members: its last one of the whole group that does
/// not only undo the one before it.
fn oldest_known(checks: &Checks, row: &DeploymentRow) -> u64 {
    let mut at = row.previous.clone();
    while let Some(row) = at.as_ref().and_then(|id| checks.deployments.get(id)) {
        let order = row.deployment.order();
        let undone = order.rolls_back.as_ref().and_then(|id| checks.deployments.get(id));
        let undoes = undone.map(|row| &row.deployment).is_some_and(|undone| {
            let follows = undone.order().generation + 1 == order.generation;
            let is_shift = order.shift.is_some() || undone.order().shift.is_some();
            follows && !is_shift && undone.status() != Status::Succeeded
        });
        if !undoes {
            return order.generation;
        }
        at = row.previous.clone();
    }
    0
}

impl Checks {
    /// A host was enrolled: as what the deployments before say that it was.
    pub(crate) fn member_is_enrolled_as_it_was(&self, host: &HostRow) -> Result<(), String> {
        let checks = self;
        let Some(row) = checks.deployments.get(&host.deployment_id) else { return Ok(()) };
        let group = &host.group_id;
        let end = row.deployment.order().generation;
        let oldest = oldest_known(checks, row);
        let stored = checks.groups.get(group).and_then(|group| group.members_since);
        let of_members = |since: u64| known_since(checks, group, &host.name, since);
        let since = stored.map_or(oldest, of_members);
        // A server of the version before may have removed the number while another server enrols by it.
        let last = checks.members_since.get(group).copied().map_or(since, of_members);
        let holds = [since, last]
            .iter()
            .any(|since| truth(checks, group, &host.name, (*since, end)) == host.before);
        demand!(
            holds,
            "{} is enrolled in {} as {:?}, and was {:?}",
            host.name,
            host.deployment_id,
            host.before,
            truth(checks, group, &host.name, (since, end))
        );
        Ok(())
    }
}

impl Checks {
    /// Once none of its hosts is in flight, a group knows of each what its deployments say.
    pub(crate) fn members_hold(&self, group: &GroupId) -> Result<(), String> {
        let checks = self;
        let since = checks.groups.get(group).and_then(|group| group.members_since);
        let Some(since) = since else { return Ok(()) };
        let hosts = checks.hosts.values().flat_map(BTreeMap::values);
        let names: BTreeSet<&str> =
            hosts.filter(|host| host.group_id == *group).map(|host| host.name.as_str()).collect();
        for name in names {
            let from = known_since(checks, group, name, since);
            let truth = truth(checks, group, name, (from, u64::MAX));
            let member = checks.members.get(&(group.clone(), name.to_owned()));
            let member = member.filter(|member| member.generation >= since).cloned();
            let last = |id: &DeploymentId| checks.deployments.get(id).map(|row| &row.deployment);
            let known = member.clone().map(|member| {
                let last = last(&member.deployment_id);
                member.settled(last)
            });
            let known = known.unwrap_or_default();
            demand!(
                known == truth,
                "{name} is {truth:?}, and its group knows {known:?}: {member:?}"
            );
        }
        Ok(())
    }
}

impl Checks {
    /// The same of all groups.
    pub(crate) fn all_members_hold(&self) -> Result<(), String> {
        let checks = self;
        checks.groups.keys().try_for_each(|group| checks.members_hold(group))
    }
}
