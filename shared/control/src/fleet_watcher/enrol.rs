//! Enrolment: which hosts belong to a deployment, in which order, and an item for each.

use std::collections::{BTreeMap, BTreeSet};

use engine::deployment::{Creator, Deployment, Fact, Order};
use engine::health::LeftAlone;
use engine::zonal;
use futures::future::try_join_all;
use tracing::warn;
use wire::codedeploy::GroupSettings;

use super::here::Here;
use super::{Member, members};
use crate::Error;
use crate::base::FEW;
use crate::ports::Standing;
use crate::rows::{
    self, Before, DeploymentRow, Direction, Group, HostRow, LaterRow, RosterRow, Stored,
    TransitionRow,
};
use crate::settings;
use crate::table::{Query, TRANSACTION_MAX, Write};

/// A host that shall be enrolled, with what it was before. The order of these is the order of deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// The place of its zone, where hosts go zone by zone.
    zone: Option<(bool, String)>,
    rank: Rank,
    member: Member,
}

/// What a zone is sorted by.
fn place(zone: Option<&str>) -> (bool, String) {
    let (is_last, name) = zonal::place(zone);
    (is_last, name.to_owned())
}

/// What is known when hosts are enrolled, in their order. A rollback may leave others of the group alone.
fn sealed(hosts: &[HostRow], by_zone: bool, left_alone: Option<LeftAlone>) -> Fact {
    if by_zone {
        let hosts = hosts.iter().map(|host| (host.zone.as_deref(), !host.before.healthy));
        return Fact::ZonesSealed(zonal::zones_of(hosts));
    }
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let out = hosts.iter().take_while(|host| host.out).count();
    let unhealthy = hosts.iter().skip(out).filter(|host| !host.before.healthy).count();
    let (total, unhealthy, out) = (number(hosts.len()), number(out + unhealthy), number(out));
    match left_alone {
        Some(left_alone) => Fact::PartSealed { total, unhealthy, out, left_alone },
        None => Fact::RosterSealed { total, unhealthy, out },
    }
}

/// What decides a host's place: in a rollback those without traffic first, then unhealthy or new ones, then those whose
/// revision is not known, then those with another revision than the group's, then the rest
/// (`docs/semantics.md#minimum-healthy-hosts`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Out,
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

/// Takes the hosts out that a rollback leaves alone, and counts them.
fn leave_alone(
    members: &mut Vec<Member>,
    reached: &BTreeSet<String>,
    before: &BTreeMap<String, Before>,
) -> LeftAlone {
    let mut left_alone = LeftAlone::default();
    members.retain(|member| {
        let is_reached = reached.contains(&member.name);
        if !is_reached {
            let is_healthy = before.get(&member.name).is_some_and(|before| before.healthy);
            *if is_healthy { &mut left_alone.healthy } else { &mut left_alone.unhealthy } += 1;
        }
        is_reached
    });
    left_alone
}

/// The write by which a host that is deployed to alone is found after the deployment of its group that was before.
pub(crate) fn later_of(row: &DeploymentRow, host: &HostRow) -> Result<Option<Write>, Error> {
    let is_alone = row.deployment.order().creator == Creator::Arrival;
    let after = row.previous.as_ref().filter(|_| is_alone);
    after.map(|after| rows::put(&LaterRow::of(after, host))).transpose()
}

impl Here {
    /// Writes an item for each host of the deployment's group. Pages carry a condition on the deployment's row, so that
    /// a page that comes late or twice erases nothing; hosts that an earlier, interrupted enrolment wrote keep their
    /// places. Returns nothing if the group is gone.
    pub(super) async fn enrol(
        &self,
        deployment: &Stored<DeploymentRow>,
    ) -> Result<Option<Fact>, Error> {
        let order = deployment.row.deployment.order();
        let Some(group) =
            rows::load::<Group>(&*self.base.table, &Group::key_of(&order.group_id)).await?
        else {
            return Ok(Some(Fact::RosterSealed { total: 0, unhealthy: 0, out: 0 }));
        };
        self.suspend_scaling(&group.row, &order.id).await?;
        let selects = match &deployment.row.targets {
            Some(targets) => settings::replacements(&group.row.settings, targets),
            None => group.row.settings.clone(),
        };
        let only = deployment.row.only.as_deref();
        // Before EC2 is asked, which knows by then of an instance that has vanished and is forgotten here; and after it, for
        // those that begin to leave meanwhile.
        let mut leaving = self.leaving_hosts(&selects, only, order.creator).await?;
        let (members, enrolled, reached) = futures::try_join!(
            members(&self.base, &self.instances, &selects, only),
            self.base.enrolled(&order.id),
            self.reached_by_undone(order)
        )?;
        let mut members = self.without_traffic(&deployment.row.deployment, members).await?;
        leaving.extend(self.leaving_hosts(&selects, only, order.creator).await?);
        members.retain(|member| !leaving.contains(&member.name));
        let before = self.base.before_of_all(deployment, &group.row, &members).await?;
        let left_alone = reached.map(|reached| leave_alone(&mut members, &reached, &before));
        let out = self.out_at_rollback(&deployment.row.deployment, &members).await;
        let current = group.row.slot.last_successful.as_ref().map(|last| last.pin.sha256.as_str());
        let by_zone = order.zonal.is_some();
        let before_of = |name: &str| before.get(name).cloned().unwrap_or_default();
        let known: BTreeSet<&str> = enrolled.iter().map(|host| host.name.as_str()).collect();
        let mut candidates: Vec<Candidate> = members
            .into_iter()
            .filter(|member| !known.contains(member.name.as_str()))
            .map(|member| Candidate {
                zone: by_zone.then(|| place(member.zone.as_deref())),
                rank: match out.contains(&member.name) {
                    true => Rank::Out,
                    false => rank(&before_of(&member.name), current),
                },
                member,
            })
            .collect();
        candidates.sort();
        let hosts = enrolled.len() + candidates.len();
        let (places, undivided) = self.base.decide_shards(deployment, hosts).await?;
        let new: Vec<HostRow> = (enrolled.len()..)
            .zip(candidates)
            .map(|(ordinal, Candidate { member, rank, .. })| {
                let before = before_of(&member.name);
                let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
                let row = member.enrolled(&deployment.row, ordinal, before);
                HostRow { out: rank == Rank::Out, shards: places.shards, ..row }
            })
            .collect();
        self.write_hosts(deployment, undivided, &new).await?;
        let hosts: Vec<HostRow> = enrolled.into_iter().chain(new).collect();
        if !settings::selection(&group.row.settings).is_empty() {
            self.write_roster(deployment, &hosts).await?;
        }
        Ok(Some(sealed(&hosts, by_zone, left_alone)))
    }

    /// Writes the items of hosts, page by page. `undivided` is the condition on which they lie where they do.
    async fn write_hosts(
        &self,
        deployment: &Stored<DeploymentRow>,
        undivided: Option<Write>,
        hosts: &[HostRow],
    ) -> Result<(), Error> {
        // Each may have one that is found by its name as well, if it is deployed to alone.
        let is_alone = deployment.row.deployment.order().creator == Creator::Arrival;
        let most = (TRANSACTION_MAX - 2) / if is_alone { 2 } else { 1 };
        for page in hosts.chunks(most) {
            let mut writes = vec![deployment.unchanged()];
            writes.extend(undivided.clone());
            for host in page {
                writes.push(rows::create(host)?);
                writes.extend(later_of(&deployment.row, host)?);
            }
            self.base.table.write(&writes).await?;
        }
        hosts.iter().take(1).for_each(|host| self.base.keep_shards(host));
        Ok(())
    }

    /// Writes by which names the hosts of a deployment are known, so that one that arrives is found among them without
    /// reading all.
    async fn write_roster(
        &self,
        deployment: &Stored<DeploymentRow>,
        hosts: &[HostRow],
    ) -> Result<(), Error> {
        let order = deployment.row.deployment.order();
        let names = hosts.iter().map(|host| host.name.as_str());
        let roster = RosterRow::of(&order.id, order.created_at, names);
        if roster.is_empty() {
            return Ok(());
        }
        let mut writes = vec![deployment.unchanged()];
        for part in &roster {
            writes.push(rows::put(part)?);
        }
        Ok(self.base.table.write(&writes).await?)
    }

    /// The names of the hosts that a rollback goes to, where these are not all of the group.
    async fn reached_by_undone(&self, order: &Order) -> Result<Option<BTreeSet<String>>, Error> {
        let Some(undone) = self.base.undone_by(order).await? else { return Ok(None) };
        let reached = |host: &HostRow| {
            undone.hosts().get(host.ordinal).is_some_and(|known| undone.has_reached_host(known))
        };
        let hosts = self.base.enrolled(undone.id()).await?.into_iter().filter(reached);
        Ok(Some(hosts.map(|host| host.name).collect()))
    }

    /// Those of some hosts that may be changed: in a shift, who has the traffic stays as it is.
    async fn without_traffic(
        &self,
        deployment: &Deployment,
        mut members: Vec<Member>,
    ) -> Result<Vec<Member>, Error> {
        let Some(carrier) = self.carriers.of(deployment)? else { return Ok(members) };
        let Some(old) = carrier.group_in_use(deployment.new_side()) else { return Ok(members) };
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        let standings = self.balancers.standing(old, &names).await?;
        members.retain(|member| {
            standings.get(&member.name).is_none_or(|standing| *standing == Standing::Out)
        });
        Ok(members)
    }

    /// The hosts that a rollback finds without traffic: starting them takes nothing out of service.
    async fn out_at_rollback(
        &self,
        deployment: &Deployment,
        members: &[Member],
    ) -> BTreeSet<String> {
        let order = deployment.order();
        let traffic = order.traffic.as_ref().filter(|_| order.rolls_back.is_some());
        let Some(traffic) = traffic else { return BTreeSet::new() };
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        self.out_of_traffic(&traffic.groups, &names).await
    }

    /// The instances that are about to vanish: nothing is started on them, except for their leave.
    async fn leaving_hosts(
        &self,
        group: &GroupSettings,
        only: Option<&[String]>,
        creator: Creator,
    ) -> Result<BTreeSet<String>, Error> {
        if creator == Creator::Departure || settings::selection(group).is_empty() {
            return Ok(BTreeSet::new());
        }
        let transitions: Vec<Stored<TransitionRow>> = match only.filter(|only| only.len() <= FEW) {
            Some(only) => {
                let keys: Vec<_> = only.iter().map(|name| TransitionRow::key_of(name)).collect();
                rows::load_many(&*self.base.table, &keys).await?
            }
            None => {
                rows::load_all(&*self.base.table, Query::prefix(TransitionRow::ALL, "", 100))
                    .await?
            }
        };
        let leaving = transitions.into_iter().filter(|p| p.row.direction == Direction::Leaving);
        Ok(leaving.map(|transition| transition.row.instance).collect())
    }

    /// Those of some hosts that have no traffic of any of these target groups. Where a balancer does not say, nobody counts
    /// as one of them.
    async fn out_of_traffic(&self, groups: &[String], hosts: &[String]) -> BTreeSet<String> {
        let looks = groups.iter().map(|group| self.balancers.standing(group, hosts));
        let found = match try_join_all(looks).await {
            Ok(found) if !found.is_empty() => found,
            Ok(_) => return BTreeSet::new(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(
                    error,
                    "who has traffic cannot be read; hosts are started as the rule allows"
                );
                return BTreeSet::new();
            }
        };
        let is_out = |host: &&String| {
            let mut standings = found.iter().map(|of| of.get(*host).unwrap_or(&Standing::Out));
            standings.all(|standing| matches!(standing, Standing::Out | Standing::Draining))
        };
        hosts.iter().filter(is_out).cloned().collect()
    }
}
