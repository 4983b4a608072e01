//! Enrolment: which hosts belong to a deployment, in which order, and an item for each.

use std::collections::BTreeMap;

use engine::deployment::{Fact, HostState};
use engine::{DeploymentId, GroupId};

use crate::rows::{self, Before, DeploymentRow, Group, HostRow, OnPremises, Stored};
use crate::settings::selects_on_premises;
use crate::table::{Query, TRANSACTION_MAX};
use crate::{Control, Error};

/// A host that shall be enrolled, with what it was before. The order of these is the order of deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: Rank,
    name: String,
}

/// What decides a host's place: unhealthy or new ones first, then those whose revision is not known, then those with
/// another revision than the group's, then the rest (`docs/semantics.md#minimum-healthy-hosts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Unhealthy,
    Unknown,
    Old,
    Current,
}

fn rank(before: &Before, current: Option<&str>) -> Rank {
    match (before.healthy, before.installed.as_deref()) {
        (false, _) => Rank::Unhealthy,
        (true, None) => Rank::Unknown,
        (true, installed) if installed == current => Rank::Current,
        (true, Some(_)) => Rank::Old,
    }
}

impl Control {
    /// Writes an item for each host of the deployment's group. Pages carry a condition on the deployment's row, so that
    /// a page that comes late or twice erases nothing; hosts that an earlier, interrupted enrolment wrote keep their
    /// places. Returns nothing if the group is gone.
    pub(super) async fn enrol(
        &self,
        deployment: &Stored<DeploymentRow>,
    ) -> Result<Option<Fact>, Error> {
        let order = deployment.row.deployment.order();
        let Some(group) =
            rows::load::<Group>(&*self.table, &Group::key_of(&order.group_id)).await?
        else {
            return Ok(Some(Fact::RosterSealed { total: 0, unhealthy: 0 }));
        };
        let (members, before, enrolled) = futures::try_join!(
            self.members(&group.row),
            self.before(&order.group_id, &order.id),
            self.enrolled(&order.id)
        )?;
        let current = group.row.slot.last_successful.as_ref().map(|last| last.pin.sha256.as_str());
        let before_of = |name: &str| before.get(name).cloned().unwrap_or_default();
        let mut candidates: Vec<Candidate> = members
            .into_iter()
            .filter(|name| !enrolled.iter().any(|host| host.name == *name))
            .map(|name| Candidate { rank: rank(&before_of(&name), current), name })
            .collect();
        candidates.sort();
        let unhealthy = enrolled.iter().filter(|host| !host.before.healthy).count()
            + candidates.iter().filter(|candidate| candidate.rank == Rank::Unhealthy).count();
        let total = enrolled.len() + candidates.len();
        let new: Vec<HostRow> = (enrolled.len()..)
            .zip(candidates)
            .map(|(ordinal, candidate)| HostRow {
                deployment_id: order.id.clone(),
                group_id: order.group_id.clone(),
                ordinal: u32::try_from(ordinal).unwrap_or(u32::MAX),
                before: before_of(&candidate.name),
                name: candidate.name,
                enrolled_at: order.created_at,
                attempt: 0,
                heard_at: None,
                token_hash: None,
                sequence: 0,
                status: None,
                events: Vec::new(),
                out_of_reach: None,
                gone: false,
            })
            .collect();
        for page in new.chunks(TRANSACTION_MAX - 1) {
            let mut writes = vec![deployment.unchanged()];
            for host in page {
                writes.push(rows::create(host)?);
            }
            self.table.write(&writes).await?;
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Some(Fact::RosterSealed { total: number(total), unhealthy: number(unhealthy) }))
    }

    /// The names of the registered on-premises instances that the group's tags select.
    async fn members(&self, group: &Group) -> Result<Vec<String>, Error> {
        let query = Query::prefix(OnPremises::ALL, "", 1000);
        let all: Vec<Stored<OnPremises>> = rows::load_all(&*self.table, query).await?;
        let selected = |host: &OnPremises| {
            host.deregistered_at.is_none() && selects_on_premises(&group.settings, &host.tags)
        };
        Ok(all
            .into_iter()
            .map(|stored| stored.row)
            .filter(selected)
            .map(|host| host.name)
            .collect())
    }

    /// What each host of the group was when the group's last deployment before `id` ended.
    async fn before(
        &self,
        group: &GroupId,
        id: &DeploymentId,
    ) -> Result<BTreeMap<String, Before>, Error> {
        let Some(last) = self.deployment_before(group, id).await? else {
            return Ok(BTreeMap::new());
        };
        let deployment = &last.row.deployment;
        let installed = deployment.pin().map(|pin| pin.sha256.clone());
        let hosts = self.enrolled(deployment.id()).await?;
        let after = |host: HostRow| {
            let state = deployment.hosts().get(host.ordinal).map(|known| known.state);
            let now = match state {
                Some(HostState::Succeeded) => {
                    Before { healthy: true, installed: installed.clone() }
                }
                Some(HostState::Failed | HostState::Silent) => {
                    Before { healthy: false, installed: None }
                }
                Some(HostState::NotStarted) => Before { healthy: false, ..host.before },
                _ => host.before,
            };
            (host.name, now)
        };
        Ok(hosts.into_iter().map(after).collect())
    }

    /// The hosts that were enrolled, by ordinal.
    pub(crate) async fn enrolled(&self, id: &DeploymentId) -> Result<Vec<HostRow>, Error> {
        let (partition, prefix) = HostRow::all_of(id);
        let stored: Vec<Stored<HostRow>> =
            rows::load_all(&*self.table, Query::prefix(partition, prefix, 1000)).await?;
        Ok(stored.into_iter().map(|stored| stored.row).collect())
    }
}
