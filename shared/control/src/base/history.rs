//! What hosts of a group that has no members were before a deployment, out of what came before it: the deployment of their
//! group, and those of single hosts that arrived after it. The first deployment of the group reads it and writes the members.
//!
//! Goes with the next version: only a version before this one leaves groups without members, and the rows that are found
//! by [`LaterRow`] go with it.

use std::collections::{BTreeMap, BTreeSet};

use engine::deployment::{Creator, Deployment, HostState};
use engine::{DeploymentId, GroupId};

use super::FEW;
use crate::fleet_watcher::Member;
use crate::rows::{
    self, Before, DeploymentRow, Group, HostRow, HostShards, LaterRow, MemberRow, Row as _, Stored,
};
use crate::table::{Index, Query, TRANSACTION_MAX, TableError};
use crate::{Base, Error};

/// How many of a group's deployments are looked at in one query.
const PAGE: usize = 25;

/// What hosts were, by their names, with the deployment that left them so.
type Known = BTreeMap<String, MemberRow>;

/// What a host of a deployment that has ended was after it.
fn after(deployment: &Deployment, host: HostRow) -> MemberRow {
    let state = deployment.hosts().get(host.ordinal).map(|known| known.state);
    let known = match state {
        Some(HostState::Succeeded) => {
            let installed = deployment.pin().map(|pin| pin.sha256.clone());
            Before { healthy: true, installed }
        }
        Some(HostState::Failed | HostState::Silent) => Before { healthy: false, installed: None },
        Some(HostState::NotStarted) => Before { healthy: false, ..host.before },
        _ => host.before,
    };
    MemberRow {
        group_id: host.group_id,
        name: host.name,
        known,
        deployment_id: host.deployment_id,
        ordinal: host.ordinal,
        generation: deployment.order().generation,
        unless_counted: None,
    }
}

fn told_by(history: Known) -> BTreeMap<String, Before> {
    history.into_iter().map(|(name, member)| (name, member.known)).collect()
}

impl Base {
    /// What each of these hosts was when the deployment `row` began.
    pub(crate) async fn before(
        &self,
        row: &DeploymentRow,
        group: &Group,
        hosts: &[Member],
    ) -> Result<BTreeMap<String, Before>, Error> {
        match group.members_since {
            Some(since) => self.known_of(&group.id, since, hosts).await,
            None => Ok(told_by(self.history(row, hosts).await?)),
        }
    }

    /// What each host of the group was when a deployment began that goes to all of them. If the group has no members, its
    /// history tells, and they are written. May be interrupted anywhere and begun again.
    pub(crate) async fn before_of_all(
        &self,
        deployment: &Stored<DeploymentRow>,
        group: &Group,
        hosts: &[Member],
    ) -> Result<BTreeMap<String, Before>, Error> {
        let row = &deployment.row;
        // A version before may enrol and end the hosts of its own deployment, and tells no member of them.
        let makes = row.keeps_members() && row.deployment.order().creator.is_of_group();
        if group.members_since.is_some() || !makes {
            return self.before(row, group, hosts).await;
        }
        let mut history = self.history(row, hosts).await?;
        // Whoever is not in the fleet now is new to the group when it comes back, as it was to a version before.
        let fleet: BTreeSet<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        history.retain(|name, _| fleet.contains(name.as_str()));
        // All that came before this deployment is told, whichever of them it was that left a host so.
        let told = row.deployment.order().generation.saturating_sub(1);
        history.values_mut().for_each(|member| member.generation = told);
        let members: Vec<&MemberRow> = history.values().collect();
        for page in members.chunks(TRANSACTION_MAX - 1) {
            self.write_members(deployment, page).await?;
        }
        self.note_members(deployment, told).await?;
        Ok(told_by(history))
    }

    /// Writes members where nothing newer is known. The condition on the deployment's row keeps a page that comes late
    /// from being written when that deployment is over.
    async fn write_members(
        &self,
        deployment: &Stored<DeploymentRow>,
        members: &[&MemberRow],
    ) -> Result<(), Error> {
        let keys: Vec<_> = members.iter().map(|member| member.key()).collect();
        loop {
            let known: Vec<Stored<MemberRow>> = rows::load_many(&*self.table, &keys).await?;
            let mut known: BTreeMap<_, _> =
                known.into_iter().map(|stored| (stored.row.name.clone(), stored)).collect();
            let mut writes = vec![deployment.unchanged()];
            for &new in members {
                writes.extend(self.newer_member(known.remove(&new.name), new.clone())?);
            }
            match self.table.write(&writes).await {
                // A host of an earlier deployment, that was thought to be gone, has ended just now.
                Err(TableError::Conflict(key)) if key != deployment.row.key() => {}
                written => return Ok(written?),
            }
        }
    }

    /// Notes that all members of a group are written, of which those below `since` are left of a time before a version
    /// before took over. Only while the deployment is the group's active one: no version before can have deployed to the
    /// group since its history was read, without the members being told.
    async fn note_members(
        &self,
        deployment: &Stored<DeploymentRow>,
        since: u64,
    ) -> Result<(), Error> {
        let order = deployment.row.deployment.order();
        let key = Group::key_of(&order.group_id);
        while let Some(mut group) = rows::load::<Group>(&*self.table, &key).await? {
            if group.row.slot.active.as_ref() != Some(&order.id) {
                break;
            }
            group.row.members_since = Some(since);
            match self.table.write(&[deployment.unchanged(), group.replace()?]).await {
                Err(TableError::Conflict(key)) if key != deployment.row.key() => {}
                written => return Ok(written?),
            }
        }
        Ok(())
    }

    /// What each of these hosts was when the group's last deployment before this one ended: as the last deployment of the
    /// whole group left it, or one after that which went to some of its hosts.
    async fn history(&self, row: &DeploymentRow, hosts: &[Member]) -> Result<Known, Error> {
        let mut before = BTreeMap::new();
        let mut previous = row.previous.clone();
        while let Some(id) = previous {
            let Some(stored) = self.deployment(&id).await? else { return Ok(before) };
            self.add_later(&id, hosts, &mut before).await?;
            let deployment = &stored.row.deployment;
            for host in self.some_hosts(deployment, hosts).await? {
                let name = host.name.clone();
                before.entry(name).or_insert_with(|| after(deployment, host));
            }
            if self.undone_by(deployment.order()).await?.is_none() {
                return Ok(before);
            }
            previous = stored.row.previous;
        }
        // It is the first one, or an earlier version has noted none.
        let order = row.deployment.order();
        self.add_history(&order.group_id, &order.id, &mut before).await?;
        Ok(before)
    }

    /// Adds what became of those of some hosts that were deployed to alone after the deployment `id` of their group.
    async fn add_later(
        &self,
        id: &DeploymentId,
        hosts: &[Member],
        before: &mut Known,
    ) -> Result<(), Error> {
        let instances = hosts.iter().filter(|host| host.is_instance());
        let wanted = instances.filter(|host| !before.contains_key(&host.name));
        let keys: Vec<_> = wanted.map(|host| LaterRow::key_of(id, &host.name)).collect();
        let later: Vec<Stored<LaterRow>> = rows::load_many(&*self.table, &keys).await?;
        // A deployment of single hosts is undivided.
        let own =
            |later: &LaterRow| HostShards::undivided(&later.deployment_id).key_of(later.ordinal);
        let keys: Vec<_> = later.iter().map(|later| own(&later.row)).collect();
        let found: Vec<Stored<HostRow>> = rows::load_many(&*self.table, &keys).await?;
        let ids: BTreeSet<_> = later.iter().map(|later| &later.row.deployment_id).collect();
        let keys: Vec<_> = ids.into_iter().map(DeploymentRow::key_of).collect();
        let rows: Vec<Stored<DeploymentRow>> = rows::load_many(&*self.table, &keys).await?;
        let deployments: BTreeMap<&DeploymentId, &Deployment> =
            rows.iter().map(|stored| &stored.row.deployment).map(|it| (it.id(), it)).collect();
        for host in found.into_iter().map(|stored| stored.row) {
            if let Some(deployment) = deployments.get(&host.deployment_id) {
                let name = host.name.clone();
                before.entry(name).or_insert_with(|| after(deployment, host));
            }
        }
        Ok(())
    }

    /// The hosts of a deployment: of few, those that are called as these are, of more, all.
    async fn some_hosts(
        &self,
        deployment: &Deployment,
        hosts: &[Member],
    ) -> Result<Vec<HostRow>, Error> {
        if hosts.len() > FEW {
            return self.enrolled(deployment.id()).await;
        }
        let mut keys = Vec::new();
        for host in hosts {
            let place = HostRow::place_in_list(deployment.order().created_at, deployment.id());
            let query = Query::prefix(HostRow::list_of(&host.name), place, 1);
            keys.extend(self.table.query_index(Index::Listed, &query).await?.items);
        }
        let found: Vec<Stored<HostRow>> = rows::load_many(&*self.table, &keys).await?;
        Ok(found.into_iter().map(|stored| stored.row).collect())
    }

    /// Adds what all hosts of the group were before the deployment `id`, out of the list of the group's deployments: as many
    /// as there were since the last one of the whole group.
    async fn add_history(
        &self,
        group: &GroupId,
        id: &DeploymentId,
        before: &mut Known,
    ) -> Result<(), Error> {
        let mut query = Query::prefix(DeploymentRow::list_of(group), "", PAGE);
        query.descending = true;
        loop {
            let page = self.table.query_index(Index::Listed, &query).await?;
            for earlier in page.items.iter().filter_map(DeploymentRow::id_in) {
                if earlier == *id {
                    continue;
                }
                let Some(stored) = self.deployment(&earlier).await? else { continue };
                let deployment = &stored.row.deployment;
                let order = deployment.order();
                if order.creator == Creator::Departure {
                    continue;
                }
                for host in self.enrolled(deployment.id()).await? {
                    let name = host.name.clone();
                    before.entry(name).or_insert_with(|| after(deployment, host));
                }
                if order.creator.is_of_group() && self.undone_by(order).await?.is_none() {
                    return Ok(());
                }
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }
}
