//! What hosts were before a deployment, out of what came before it: the deployment of their group, and those of single
//! hosts that arrived after it. What is read is as much as there are hosts, however many deployments there were.

use std::collections::{BTreeMap, BTreeSet};

use engine::deployment::{Creator, Deployment, HostState};
use engine::{DeploymentId, GroupId};

use super::FEW;
use crate::fleet_watcher::Member;
use crate::rows::{self, Before, DeploymentRow, HostRow, LaterRow, Stored};
use crate::table::{Index, Query};
use crate::{Base, Error};

/// How many of a group's deployments are looked at in one query.
const PAGE: usize = 25;

/// What a host of a deployment was after it.
fn after(deployment: &Deployment, host: HostRow) -> Before {
    let known = deployment.hosts().get(host.ordinal);
    match known.map(|known| known.state) {
        Some(HostState::Succeeded) => {
            let installed = deployment.pin().map(|pin| pin.sha256.clone());
            Before { healthy: true, installed }
        }
        Some(HostState::Failed | HostState::Silent) => Before { healthy: false, installed: None },
        Some(HostState::NotStarted) => Before { healthy: false, ..host.before },
        _ => host.before,
    }
}

impl Base {
    /// What each of these hosts was when the group's last deployment before this one ended: as the last deployment of the
    /// whole group left it, or one after that which went to some of its hosts.
    pub(crate) async fn before(
        &self,
        row: &DeploymentRow,
        hosts: &[Member],
    ) -> Result<BTreeMap<String, Before>, Error> {
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
        before: &mut BTreeMap<String, Before>,
    ) -> Result<(), Error> {
        let instances = hosts.iter().filter(|host| host.is_instance());
        let wanted = instances.filter(|host| !before.contains_key(&host.name));
        let keys: Vec<_> = wanted.map(|host| LaterRow::key_of(id, &host.name)).collect();
        let later: Vec<Stored<LaterRow>> = rows::load_many(&*self.table, &keys).await?;
        let own = |later: &LaterRow| HostRow::key_of(&later.deployment_id, later.ordinal);
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
        before: &mut BTreeMap<String, Before>,
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
