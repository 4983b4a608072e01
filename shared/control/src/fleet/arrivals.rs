//! Hosts that arrive: each group that wants one brings it its revision, in the deployment that runs or in one of its own
//! (`docs/semantics.md#fleets`).

use engine::GroupId;
use engine::deployment::{Creator, Deployment, Fact, Sighting};
use tracing::info;

use super::Member;
use super::passages::{Look, NEWEST};
use crate::driver::arrival_of;
use crate::ports::{Instance, Reach};
use crate::rows::{
    self, Before, DeploymentRow, Group, HostRow, PassageRow, Row as _, ScalingGroupRow, Stored,
};
use crate::settings::{replacements, selection};
use crate::table::{Condition, Index, Query, SortRange, TableError, Write};
use crate::{Control, Error};

/// How many deployments that are active are looked at for an instance that arrives; there are rarely more than a few.
const ACTIVE: usize = 100;

/// Whether a deployment of a group goes to an instance, if it has that already or not: it may go to others than those that
/// the group selects.
fn is_target(row: &DeploymentRow, group: &Group, instance: &Instance) -> bool {
    let Some(targets) = &row.targets else { return true };
    selection(&replacements(&group.settings, targets)).selects(instance)
}

impl Control {
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
        let query = Query::prefix(DeploymentRow::WAKING, "", ACTIVE);
        let active = self.table.query_index(Index::Waking, &query).await?.items;
        for id in active.iter().filter_map(DeploymentRow::id_in) {
            if let Some(stored) = self.deployment(&id).await? {
                ids.push(stored.row.deployment.order().group_id.clone());
            }
        }
        ids.sort();
        ids.dedup();
        let keys: Vec<_> = ids.iter().map(Group::key_of).collect();
        let groups: Vec<Stored<Group>> = rows::load_many(&*self.table, &keys).await?;
        let wants = |group: &Stored<Group>| selection(&group.row.settings).selects(instance);
        Ok(groups.into_iter().filter(wants).collect())
    }

    /// The deployment groups that name an Auto Scaling group, or did until a moment ago.
    pub(super) async fn groups_scaled_by(
        &self,
        scaling_group: &str,
    ) -> Result<Vec<GroupId>, Error> {
        let query = Query::prefix(ScalingGroupRow::all_of(scaling_group), "", 100);
        let found: Vec<Stored<ScalingGroupRow>> = rows::load_all(&*self.table, query).await?;
        Ok(found.into_iter().map(|stored| stored.row.group_id).collect())
    }

    /// Brings an instance what its groups want, as far as that goes now. What is found holds as long as the conditions
    /// that come with it: that none of these groups was changed.
    pub(super) async fn look_at_arrival(
        &self,
        passage: &mut Stored<PassageRow>,
        instance: &Instance,
    ) -> Result<(Look, Vec<Write>), Error> {
        let mut look = Look::Done;
        let mut conditions = Vec::new();
        for group in self.groups_for(instance).await? {
            look = look.max(self.bring(passage, &group.row, instance).await?);
            conditions.push(group.unchanged());
        }
        Ok((look, conditions))
    }

    async fn bring(
        &self,
        passage: &mut Stored<PassageRow>,
        group: &Group,
        instance: &Instance,
    ) -> Result<Look, Error> {
        let active = match &group.slot.active {
            Some(active) => self.deployment(active).await?,
            None => None,
        };
        if let Some(active) = active.filter(|active| active.row.deployment.ended().is_none()) {
            if is_target(&active.row, group, instance) {
                return self.bring_by(passage, &active, instance).await;
            }
            // It goes to others, and what comes after it is not known yet.
            return Ok(if instance.scaling_group.is_none() { Look::Done } else { Look::Waits });
        }
        // Hosts of tags alone are deployed to with their group. Those of Auto Scaling must not wait for the next time.
        if instance.scaling_group.is_none() {
            return Ok(Look::Done);
        }
        // What counts is the group's last successful revision, whatever became of another one on this host.
        match self.last_on(passage, group, instance).await? {
            Some(Sighting::Succeeded) => return Ok(Look::Done),
            Some(
                Sighting::Failed
                | Sighting::Halted
                | Sighting::GivenUp
                | Sighting::ShutOut
                | Sighting::Gone,
            ) => return Ok(Look::Failed),
            Some(Sighting::Unclaimed | Sighting::Claimed { .. } | Sighting::Leaving) => {}
            None if group.slot.last_successful.is_none() => return Ok(Look::Done),
            None => {}
        }
        if !self.can_be_reached(instance).await? {
            return Ok(Look::Waits);
        }
        let started = self.start_alone(&group.id, Creator::Arrival, &instance.id).await?;
        if let Some(id) = started {
            info!(deployment = %id, group = %group.id, host = instance.id, "brings a host that arrived its revision");
            self.note_deployment(passage, id).await?;
        }
        Ok(Look::Waits)
    }

    /// What became of the group's last successful revision on the instance, if that is what was last deployed to it. A
    /// failure from before this passage is forgotten: it is tried again.
    async fn last_on(
        &self,
        passage: &Stored<PassageRow>,
        group: &Group,
        instance: &Instance,
    ) -> Result<Option<Sighting>, Error> {
        let Some(last) = &group.slot.last_successful else { return Ok(None) };
        let Some(newest) = self.newest_in(&instance.id, &group.id).await? else { return Ok(None) };
        let Some(stored) = self.deployment(&newest.deployment_id).await? else { return Ok(None) };
        let deployment = &stored.row.deployment;
        let is_last = deployment.pin().is_some_and(|pin| pin.sha256 == last.pin.sha256)
            && deployment.order().creator != Creator::Departure;
        let sighting = newest.seen().sighting;
        let counts = sighting == Sighting::Succeeded
            || passage.row.deployments.contains(&newest.deployment_id);
        Ok(Some(sighting).filter(|_| is_last && counts))
    }

    /// Lets a deployment that runs bring the instance its revision.
    async fn bring_by(
        &self,
        passage: &mut Stored<PassageRow>,
        stored: &Stored<DeploymentRow>,
        instance: &Instance,
    ) -> Result<Look, Error> {
        let deployment = &stored.row.deployment;
        let takes_more = deployment.is_sealed()
            && deployment.order().creator != Creator::Departure
            && !deployment.stop_requested()
            && deployment.alarm().is_none();
        if !takes_more || self.newest_is_in(instance, deployment).await? {
            return Ok(Look::Waits);
        }
        if !self.can_be_reached(instance).await? {
            return Ok(Look::Waits);
        }
        let id = deployment.id().clone();
        let is_new = !passage.row.deployments.contains(&id);
        if self.append(passage, deployment, instance).await? && is_new {
            self.note_deployment(passage, id).await?;
        }
        Ok(Look::Waits)
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
        let reach = self.cloud.push.reach(std::slice::from_ref(&instance.id)).await?;
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
        let keys = self.table.query_index(Index::Listed, &query).await?.items;
        let hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.table, &keys).await?;
        Ok(hosts.into_iter().map(|stored| stored.row).find(|host| host.group_id == *group))
    }

    /// Appends a host to a deployment that runs; false if it has it already.
    async fn append(
        &self,
        passage: &Stored<PassageRow>,
        deployment: &Deployment,
        instance: &Instance,
    ) -> Result<bool, Error> {
        let order = deployment.order();
        // The index may be late, so that all hosts are looked at before one is added twice.
        let mut hosts = self.enrolled(&order.id).await?;
        let before = self.before(&order.group_id, &order.id).await?;
        let before: Before = before.get(&instance.id).cloned().unwrap_or_default();
        loop {
            if hosts.iter().any(|host| host.name == instance.id) {
                return Ok(false);
            }
            let ordinal = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            let member = Member::pushed(instance.clone(), &self.cloud.push.tag());
            let mut row = member.enrolled(order, ordinal, before.clone());
            row.arrived = true;
            let goes_on = Write::Check(DeploymentRow::key_of(&order.id), Condition::Exists);
            // If it is about to leave by now, it is not added any more.
            match self.table.write(&[goes_on, passage.unchanged(), rows::create(&row)?]).await {
                Ok(()) => {
                    info!(deployment = %order.id, group = %order.group_id, host = instance.id, ordinal, "a host arrived");
                    self.bell.ring(&order.id, vec![arrival_of(&row)]);
                    return Ok(true);
                }
                Err(TableError::Conflict(key)) if key == passage.row.key() => return Ok(false),
                // Another one arrived at the same time.
                Err(TableError::Conflict(_)) => hosts = self.enrolled(&order.id).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What a deployment may have missed of hosts that arrived.
    pub(crate) async fn late_arrivals(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<Fact>, Error> {
        let (partition, from, to) =
            HostRow::from_ordinal(deployment.id(), deployment.hosts().len());
        let range = SortRange::Between(from, to);
        let query = Query { partition, range, limit: 1, descending: true, after: None };
        let last: Vec<Stored<HostRow>> = rows::load_page(&*self.table, &query).await?.items;
        Ok(last.first().map(|last| arrival_of(&last.row)))
    }
}
