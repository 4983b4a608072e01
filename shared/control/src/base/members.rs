//! What a group knows of its hosts: written with a host's end, and read when hosts are enrolled. What is read is as much as
//! there are hosts in the fleet, however many deployments there were.

use std::collections::{BTreeMap, BTreeSet};

use engine::GroupId;
use engine::deployment::Deployment;
use futures::future::try_join_all;

use crate::fleet_watcher::Member;
use crate::rows::{self, Before, DeploymentRow, HostRow, MemberRow, Row as _, Stored};
use crate::table::{Condition, Query, TRANSACTION_MAX, Write};
use crate::{Base, Error};

impl Base {
    /// The writes that store a changed host if nobody changed it meanwhile, with what its group then knows of it, if it has
    /// ended by this.
    pub(crate) async fn host_and_member(
        &self,
        host: &Stored<HostRow>,
    ) -> Result<Vec<Write>, Error> {
        let mut writes = vec![host.replace()?];
        if let Some(new) = MemberRow::left_by(&host.row) {
            let known = rows::load::<MemberRow>(&*self.table, &new.key()).await?;
            writes.extend(self.newer_member(known, new)?);
        }
        Ok(writes)
    }

    /// The write by which a group learns something of a host, if nobody changed that meanwhile. Nothing where as new a
    /// deployment has told already: one that is heard of late tells less than the one after it.
    pub(super) fn newer_member(
        &self,
        known: Option<Stored<MemberRow>>,
        new: MemberRow,
    ) -> Result<Option<Write>, Error> {
        match known {
            Some(known) if known.row.generation >= new.generation => Ok(None),
            Some(known) => Stored { row: new, version: known.version }.replace().map(Some),
            None => rows::create_anew(&new, self.now()).map(Some),
        }
    }

    /// What a group knows of some hosts, by their names, out of its members since the fencing number `since`.
    pub(super) async fn known_of(
        &self,
        group: &GroupId,
        since: u64,
        hosts: &[Member],
    ) -> Result<BTreeMap<String, Before>, Error> {
        let keys: Vec<_> = hosts.iter().map(|host| MemberRow::key_of(group, &host.name)).collect();
        let mut members: Vec<Stored<MemberRow>> = rows::load_many(&*self.table, &keys).await?;
        members.retain(|member| member.row.generation >= since);
        let doubtful = members.iter().filter(|member| member.row.unless_counted.is_some());
        let ids: BTreeSet<_> = doubtful.map(|member| &member.row.deployment_id).collect();
        let keys: Vec<_> = ids.into_iter().map(DeploymentRow::key_of).collect();
        let found: Vec<Stored<DeploymentRow>> = rows::load_many(&*self.table, &keys).await?;
        let last: BTreeMap<_, &Deployment> =
            found.iter().map(|stored| &stored.row.deployment).map(|it| (it.id(), it)).collect();
        let settled = |member: Stored<MemberRow>| {
            let deployment = last.get(&member.row.deployment_id).copied();
            (member.row.name.clone(), member.row.settled(deployment))
        };
        Ok(members.into_iter().map(settled).collect())
    }

    /// Deletes all that a group knows of its hosts.
    pub(crate) async fn delete_members(&self, group: &GroupId) -> Result<(), Error> {
        let parts = MemberRow::partitions_of(group).map(|part| self.delete_members_in(part));
        try_join_all(parts).await.map(drop)
    }

    async fn delete_members_in(&self, partition: String) -> Result<(), Error> {
        let query = Query::prefix(partition, "", TRANSACTION_MAX);
        loop {
            let page = self.table.query(&query).await?.items;
            if page.is_empty() {
                return Ok(());
            }
            let keys = page.into_iter().map(|record| record.key);
            let deletes: Vec<_> = keys.map(|key| Write::Delete(key, Condition::None)).collect();
            // A host may tell of its end at this moment: then its member is deleted by the next turn.
            self.write_unless_changed(&deletes).await?;
        }
    }
}
