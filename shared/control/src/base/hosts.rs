//! The hosts of deployments, as they were enrolled, and those that are gone.

use engine::DeploymentId;
use engine::deployment::{Deployment, Fact, Order, Status};
use futures::future::try_join_all;

use super::Base;
use crate::Error;
use crate::rows::{self, DeploymentRow, HostRow, Stored};
use crate::table::{Index, Key, Query};

/// Of so many hosts each is looked for by its name, rather than all that there are.
pub(crate) const FEW: usize = 10;

/// How many of a host's newest deployments are looked at. A host is in few groups; what lies further back has ended.
pub(crate) const NEWEST: usize = 20;

/// Ordinals are dense, so that the last one tells how many there are.
pub(crate) fn arrival_of(host: &HostRow) -> Fact {
    Fact::HostsArrived { total: host.ordinal.saturating_add(1) }
}

impl Base {
    /// The deployment whose hosts alone a rollback goes to: one that did not succeed and that it follows at once. After a
    /// later one the whole group is brought back, because that changed other hosts. None for all other deployments.
    pub(crate) async fn undone_by(&self, order: &Order) -> Result<Option<Deployment>, Error> {
        let Some(id) = order.rolls_back.as_ref().filter(|_| order.shift.is_none()) else {
            return Ok(None);
        };
        let undone = self.deployment(id).await?.map(|stored| stored.row.deployment);
        Ok(undone.filter(|undone| {
            let follows = undone.order().generation + 1 == order.generation;
            follows && undone.status() != Status::Succeeded && undone.order().shift.is_none()
        }))
    }

    /// The hosts that were enrolled, by ordinal.
    pub(crate) async fn enrolled(&self, id: &DeploymentId) -> Result<Vec<HostRow>, Error> {
        let places = self.shards(id).await?;
        let parts = places.all().map(|(partition, prefix)| {
            rows::load_all::<HostRow>(&*self.table, Query::prefix(partition, prefix, 1000))
        });
        let stored = try_join_all(parts).await?.into_iter().flatten();
        let mut hosts: Vec<HostRow> = stored.map(|stored| stored.row).collect();
        hosts.iter().take(1).for_each(|host| self.keep_shards(host));
        hosts.sort_unstable_by_key(|host| host.ordinal);
        Ok(hosts)
    }

    /// The items of some hosts of a deployment.
    pub(crate) async fn hosts_at(
        &self,
        id: &DeploymentId,
        ordinals: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<Stored<HostRow>>, Error> {
        let places = self.shards(id).await?;
        let keys: Vec<_> = ordinals.into_iter().map(|ordinal| places.key_of(ordinal)).collect();
        let hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.table, &keys).await?;
        hosts.iter().take(1).for_each(|host| self.keep_shards(&host.row));
        Ok(hosts)
    }

    /// What a deployment may have missed of hosts that arrived.
    pub(crate) async fn late_arrivals(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<Fact>, Error> {
        let last = self.last_host(deployment.id(), deployment.hosts().len()).await?;
        Ok(last.as_ref().map(arrival_of))
    }

    /// The last of a deployment's hosts, of those from `ordinal` on. Ordinals are dense, so that it is looked for in steps
    /// that double, and then by halves: hosts that arrive together do not read each other.
    pub(crate) async fn last_host(
        &self,
        id: &DeploymentId,
        ordinal: u32,
    ) -> Result<Option<HostRow>, Error> {
        let (mut last, mut low, mut step) = (None, ordinal, 1_u32);
        let mut high = loop {
            let probed = low.saturating_add(step - 1);
            let Some(host) = self.host_at(id, probed).await? else { break probed };
            (last, low, step) = (Some(host), probed + 1, step.saturating_mul(2));
        };
        while low < high {
            let middle = low + (high - low) / 2;
            match self.host_at(id, middle).await? {
                Some(host) => (last, low) = (Some(host), middle + 1),
                None => high = middle,
            }
        }
        Ok(last)
    }

    async fn host_at(&self, id: &DeploymentId, ordinal: u32) -> Result<Option<HostRow>, Error> {
        Ok(self.hosts_at(id, [ordinal]).await?.pop().map(|stored| stored.row))
    }

    /// Notes in the active deployments of a host that it is gone. Only to be called on explicit evidence
    /// (`docs/semantics.md#hosts`).
    ///
    /// # Errors
    /// Those of the table. Calling again goes on from there.
    pub async fn host_gone(&self, name: &str) -> Result<(), Error> {
        let mut query = Query::prefix(HostRow::list_of(name), "", NEWEST);
        query.descending = true;
        for key in self.table.query_index(Index::Listed, &query).await?.items {
            let Some(id) = DeploymentRow::id_in(&key) else { continue };
            let deployment = self.deployment(&id).await?;
            if deployment.is_some_and(|stored| stored.row.deployment.ended().is_none()) {
                self.lose_in(&id, &key).await?;
            }
        }
        Ok(())
    }

    async fn lose_in(&self, id: &DeploymentId, key: &Key) -> Result<(), Error> {
        while let Some(mut host) = rows::load::<HostRow>(&*self.table, key).await? {
            host.row.gone = true;
            if self.write_unless_changed(&[host.replace()?]).await? {
                self.waker.wake(id, vec![Fact::HostsSeen(vec![host.row.seen()])]);
                break;
            }
        }
        Ok(())
    }
}
