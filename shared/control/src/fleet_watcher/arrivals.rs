//! Hosts that arrive: each group that wants one brings it its revision, in the deployment that runs or in one of its own
//! (`docs/semantics.md#fleets`).

use engine::deployment::{Creator, Deployment, Sighting};
use engine::{DeploymentId, GroupId};
use tracing::info;

use super::Member;
use super::enrol::later_of;
use super::here::Here;
use super::transitions::{NEWEST, Progress};
use crate::Error;
use crate::base::arrival_of;
use crate::ports::{Instance, Reach};
use crate::rows::{
    self, ArrivedRow, Before, DeploymentRow, Group, HostRow, RosterRow, Row as _, ScalingGroupRow,
    Stored, TransitionRow,
};
use crate::settings::{replacements, selection};
use crate::table::{Condition, Index, Query, TableError, Write};

/// How many deployments that are active are read at once for an instance that arrives; there are rarely more than a few.
const ACTIVE: usize = 100;

/// Whether a deployment of a group goes to an instance, if it has that already or not: it may go to others than those that
/// the group selects.
fn is_target(row: &DeploymentRow, group: &Group, instance: &Instance) -> bool {
    let Some(targets) = &row.targets else { return true };
    selection(&replacements(&group.settings, targets)).selects(instance)
}

impl Here {
    /// The groups that want an instance: those that name its Auto Scaling group, and those that select it by tags and
    /// are being deployed to just now.
    pub(super) async fn groups_for(
        &self,
        instance: &Instance,
    ) -> Result<Vec<Stored<Group>>, Error> {
        let mut ids = match &instance.scaling_group {
            Some(scaling_group) => self.groups_scaled_by(scaling_group).await?,
            None => Vec::new(),
        };
        let mut query = Query::prefix(DeploymentRow::WAKING, "", ACTIVE);
        loop {
            let page = self.base.table.query_index(Index::Waking, &query).await?;
            let active: Vec<Stored<DeploymentRow>> =
                rows::load_many(&*self.base.table, &page.items).await?;
            let active = active.iter().map(|stored| stored.row.deployment.order());
            ids.extend(active.map(|order| order.group_id.clone()));
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        ids.sort();
        ids.dedup();
        let keys: Vec<_> = ids.iter().map(Group::key_of).collect();
        let groups: Vec<Stored<Group>> = rows::load_many(&*self.base.table, &keys).await?;
        let wants = |group: &Stored<Group>| {
            group.row.place == self.place && selection(&group.row.settings).selects(instance)
        };
        Ok(groups.into_iter().filter(wants).collect())
    }

    /// The deployment groups that name an Auto Scaling group, or did until a moment ago.
    pub(super) async fn groups_scaled_by(
        &self,
        scaling_group: &str,
    ) -> Result<Vec<GroupId>, Error> {
        let query = Query::prefix(ScalingGroupRow::all_of(scaling_group), "", 100);
        let found: Vec<Stored<ScalingGroupRow>> = rows::load_all(&*self.base.table, query).await?;
        let found =
            found.into_iter().map(|stored| stored.row).filter(|row| row.place == self.place);
        Ok(found.map(|row| row.group_id).collect())
    }

    /// Brings an instance what its groups want, as far as that goes now. What is found holds as long as the conditions
    /// that come with it: that none of these groups was changed.
    pub(super) async fn check_arrival(
        &self,
        transition: &mut Stored<TransitionRow>,
        instance: &Instance,
    ) -> Result<(Progress, Vec<Write>), Error> {
        let mut progress = Progress::Done;
        let mut conditions = Vec::new();
        for group in self.groups_for(instance).await? {
            progress = progress.max(self.bring(transition, &group.row, instance).await?);
            conditions.push(group.unchanged());
        }
        Ok((progress, conditions))
    }

    async fn bring(
        &self,
        transition: &mut Stored<TransitionRow>,
        group: &Group,
        instance: &Instance,
    ) -> Result<Progress, Error> {
        let active = match &group.slot.active {
            Some(active) => self.base.deployment(active).await?,
            None => None,
        };
        if let Some(active) = active.filter(|active| active.row.deployment.ended().is_none()) {
            if is_target(&active.row, group, instance) {
                return self.bring_by(transition, &active, group, instance).await;
            }
            // It goes to others, and what comes after it is not known yet.
            return Ok(if instance.scaling_group.is_none() {
                Progress::Done
            } else {
                Progress::Waits
            });
        }
        // Hosts of tags alone are deployed to with their group. Those of Auto Scaling must not wait for the next time.
        if instance.scaling_group.is_none() {
            return Ok(Progress::Done);
        }
        // What counts is the group's last successful revision, whatever became of another one on this host.
        match self.last_on(transition, group, instance).await? {
            Some(Sighting::Succeeded) => return Ok(Progress::Done),
            Some(
                Sighting::Failed
                | Sighting::Halted
                | Sighting::GivenUp
                | Sighting::ShutOut
                | Sighting::Gone,
            ) => return Ok(Progress::Failed),
            Some(Sighting::Unclaimed | Sighting::Claimed { .. } | Sighting::Leaving) => {}
            None if group.slot.last_successful.is_none() => return Ok(Progress::Done),
            None => {}
        }
        if !self.can_be_reached(instance).await? {
            return Ok(Progress::Waits);
        }
        let started = self.base.start_alone(&group.id, Creator::Arrival, &instance.id).await?;
        if let Some(id) = started {
            info!(deployment = %id, group = %group.id, host = instance.id, "brings a host that arrived its revision");
            self.note_deployment(transition, id).await?;
        }
        Ok(Progress::Waits)
    }

    /// What became of the group's last successful revision on the instance, if that is what was last deployed to it. A
    /// failure from before this transition is forgotten: it is tried again.
    async fn last_on(
        &self,
        transition: &Stored<TransitionRow>,
        group: &Group,
        instance: &Instance,
    ) -> Result<Option<Sighting>, Error> {
        let Some(last) = &group.slot.last_successful else { return Ok(None) };
        let Some(newest) = self.newest_in(&instance.id, &group.id).await? else { return Ok(None) };
        let Some(stored) = self.base.deployment(&newest.deployment_id).await? else {
            return Ok(None);
        };
        let deployment = &stored.row.deployment;
        let is_last = deployment.pin().is_some_and(|pin| pin.sha256 == last.pin.sha256)
            && deployment.order().creator != Creator::Departure;
        let sighting = newest.seen().sighting;
        let counts = sighting == Sighting::Succeeded
            || transition.row.deployments.contains(&newest.deployment_id);
        Ok(Some(sighting).filter(|_| is_last && counts))
    }

    /// Lets a deployment that runs bring the instance its revision.
    async fn bring_by(
        &self,
        transition: &mut Stored<TransitionRow>,
        stored: &Stored<DeploymentRow>,
        group: &Group,
        instance: &Instance,
    ) -> Result<Progress, Error> {
        let deployment = &stored.row.deployment;
        let takes_more = deployment.is_sealed()
            && deployment.order().creator != Creator::Departure
            && !deployment.stop_requested()
            && deployment.alarm().is_none();
        if !takes_more || self.newest_is_in(instance, deployment).await? {
            return Ok(Progress::Waits);
        }
        if !self.can_be_reached(instance).await? {
            return Ok(Progress::Waits);
        }
        let id = deployment.id().clone();
        let is_new = !transition.row.deployments.contains(&id);
        if self.append(transition, &stored.row, group, instance).await? && is_new {
            self.note_deployment(transition, id).await?;
        }
        Ok(Progress::Waits)
    }

    async fn newest_is_in(
        &self,
        instance: &Instance,
        deployment: &Deployment,
    ) -> Result<bool, Error> {
        let newest = self.newest_in(&instance.id, &deployment.order().group_id).await?;
        Ok(newest.is_some_and(|host| host.deployment_id == *deployment.id()))
    }

    async fn can_be_reached(&self, instance: &Instance) -> Result<bool, Error> {
        let reach = self.instances.push.reach(std::slice::from_ref(&instance.id)).await?;
        Ok(reach.get(&instance.id) == Some(&Reach::Online))
    }

    /// The newest row of a host in a group.
    pub(super) async fn newest_in(
        &self,
        name: &str,
        group: &GroupId,
    ) -> Result<Option<HostRow>, Error> {
        let mut query = Query::prefix(HostRow::list_of(name), "", NEWEST);
        query.descending = true;
        let keys = self.base.table.query_index(Index::Listed, &query).await?.items;
        let hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.base.table, &keys).await?;
        Ok(hosts.into_iter().map(|stored| stored.row).find(|host| host.group_id == *group))
    }

    /// Appends a host to a deployment that runs; false if it has it already, or the host leaves by now.
    async fn append(
        &self,
        transition: &Stored<TransitionRow>,
        deployment: &DeploymentRow,
        group: &Group,
        instance: &Instance,
    ) -> Result<bool, Error> {
        let order = deployment.deployment.order();
        // The index may be late, and nobody is added twice.
        if self.is_on_roster(&order.id, &instance.id).await? {
            return Ok(false);
        }
        let member = Member::pushed(instance.clone(), &self.instances.fleet.tag());
        let before = self.base.before(deployment, group, std::slice::from_ref(&member)).await?;
        let before: Before = before.get(&instance.id).cloned().unwrap_or_default();
        let goes_on = Write::Check(DeploymentRow::key_of(&order.id), Condition::Exists);
        let known = deployment.deployment.hosts().len();
        let shards = self.base.shards(&order.id).await?.shards;
        loop {
            let last = self.base.last_host(&order.id, known.saturating_sub(1)).await?;
            let ordinal = last.map_or(known, |last| last.ordinal + 1);
            let mut row = member.clone().enrolled(deployment, ordinal, before.clone());
            row.arrived = true;
            row.shards = shards;
            let arrived = ArrivedRow::of(&row);
            let mut writes = vec![
                goes_on.clone(),
                transition.unchanged(),
                rows::create(&row)?,
                rows::create(&arrived)?,
            ];
            writes.extend(later_of(deployment, &row)?);
            match self.base.table.write(&writes).await {
                Ok(()) => {
                    info!(deployment = %order.id, group = %order.group_id, host = instance.id, ordinal, "a host arrived");
                    self.base.waker.wake(&order.id, vec![arrival_of(&row)]);
                    return Ok(true);
                }
                // Another look has added it, or it is about to leave by now.
                Err(TableError::Conflict(key))
                    if key == arrived.key() || key == transition.row.key() =>
                {
                    return Ok(false);
                }
                Err(TableError::Conflict(key)) if key == *goes_on.key() => {
                    if self.base.deployment(&order.id).await?.is_none() {
                        return Ok(false);
                    }
                }
                // Another one arrived at the same time.
                Err(TableError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a deployment has enrolled a host before its roster was sealed.
    async fn is_on_roster(&self, id: &DeploymentId, name: &str) -> Result<bool, Error> {
        let part = rows::load::<RosterRow>(&*self.base.table, &RosterRow::key_of(id, name)).await?;
        if let Some(part) = part {
            return Ok(part.row.names.iter().any(|known| known == name));
        }
        let (partition, prefix) = RosterRow::all_of(id);
        let others = self.base.table.query(&Query::prefix(partition, prefix, 1)).await?;
        if !others.items.is_empty() {
            return Ok(false);
        }
        // It has enrolled nobody, or an earlier version has.
        Ok(self.base.enrolled(id).await?.iter().any(|host| host.name == name))
    }
}
