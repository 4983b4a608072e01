//! The end of the hosts that had the traffic before a blue/green deployment (`docs/semantics.md#blue-green`).
//!
//! They are found out once, and written down. Each look then takes the next step: out of the old target group, and when the
//! balancer says that they are out, to EC2. What a look has not seen is seen by the next one.

use std::collections::{BTreeMap, BTreeSet};

use engine::deployment::Deployment;
use tracing::{info, warn};

use super::here::Here;
use crate::Error;
use crate::carriers::{Acting, Carrier, brought_last};
use crate::fleet_watcher::members;
use crate::fleet_watcher::{Member, copies};
use crate::ports::{CloudError, Instance, InstanceState, Standing};
use crate::rows::{self, Group, OldHostsRow, Stored};

/// Most instances that Auto Scaling is asked to terminate in one look: it takes one at a time.
const ASKED_AT_ONCE: usize = 50;

/// Why an instance is left alone that the new side has as well.
const IS_NEW: &str = "it is registered with the target group that has the traffic now.";

/// Why an instance is left alone that the deployment went to after all.
const IS_TARGET: &str = "the deployment has brought the new version to it.";

/// Instances that may not be terminated, each with the reason.
type Refused = BTreeMap<String, String>;

/// Those of some hosts that a target group has something to do with.
fn registered(standings: BTreeMap<String, Standing>) -> BTreeSet<String> {
    let is_there = |(host, standing)| (standing != Standing::Out).then_some(host);
    standings.into_iter().filter_map(is_there).collect()
}

impl Here {
    /// Takes the next step to the end of the hosts that had the traffic before, and tells when they have come to it. To be
    /// called when the new side was read to have all of the traffic.
    pub(crate) async fn retire_hosts(
        &self,
        carrier: &dyn Carrier,
        acting: &Acting<'_>,
        old: &str,
        new: Option<&str>,
    ) -> Result<bool, Error> {
        let deployment = acting.deployment();
        let mut hosts = self.old_hosts(deployment, old, new).await?;
        if !self.have_left(old, &hosts.row).await? {
            return Ok(false);
        }
        // Asked and read again as late as can be: connections may have taken their time to end.
        let is_wanted = acting.still_wanted().await?;
        let read = carrier.share(acting).await?;
        if !is_wanted || read != Some(100) {
            warn!(deployment = %deployment.id(), is_wanted, read, "no host is terminated");
            return Ok(false);
        }
        // A group that an earlier deployment has made goes as a whole.
        if let Some(copy) = copies::copy_of(deployment)
            && !self.instances.scaling.delete_copy(&copy.from).await?
        {
            return Ok(false);
        }
        self.terminate(&mut hosts, new.unwrap_or(old)).await
    }

    /// Deletes the copy of an Auto Scaling group that was made for new hosts which are not to have the traffic, and tells when
    /// it is gone.
    pub(crate) async fn retire_copy(&self, deployment: &Deployment) -> Result<bool, Error> {
        let Some(copy) = copies::copy_of(deployment) else { return Ok(false) };
        let is_gone = self.instances.scaling.delete_copy(&copy.to).await?;
        info!(deployment = %deployment.id(), scaling_group = copy.to, is_gone, "the copy is not needed");
        Ok(is_gone)
    }

    /// The hosts that had the traffic before: what was written of them, or else what is so now.
    pub(crate) async fn old_hosts(
        &self,
        deployment: &Deployment,
        old: &str,
        new: Option<&str>,
    ) -> Result<Stored<OldHostsRow>, Error> {
        let key = OldHostsRow::key_of(deployment.id());
        if let Some(known) = rows::load::<OldHostsRow>(&*self.base.table, &key).await? {
            return Ok(known);
        }
        let row = self.find_old_hosts(deployment, old, new).await?;
        for message in row.messages() {
            warn!(deployment = %deployment.id(), "{message}");
        }
        self.base.table.write(&[rows::create(&row)?]).await?;
        Ok(Stored { row, version: 1 })
    }

    /// The hosts that are registered with the old target group, other than those that the deployment brought the new version
    /// to: the group's own, and where hosts are exchanged those of its last deployment, too. Whatever else is registered
    /// there is not ours.
    async fn find_old_hosts(
        &self,
        deployment: &Deployment,
        old: &str,
        new: Option<&str>,
    ) -> Result<OldHostsRow, Error> {
        let (id, group) = (deployment.id(), &deployment.order().group_id);
        let mut row = OldHostsRow::none(id.clone(), self.base.now());
        let Some(group) = rows::load::<Group>(&*self.base.table, &Group::key_of(group)).await?
        else {
            warn!(deployment = %id, "the group was deleted: nobody knows which hosts were its own");
            return Ok(row);
        };
        let (members, enrolled) = futures::try_join!(
            members(&self.base, &self.instances, &group.row.settings, None),
            self.base.enrolled(id)
        )?;
        let targets: BTreeSet<String> = enrolled.into_iter().map(|host| host.name).collect();
        let members: Vec<Member> =
            members.into_iter().filter(|member| !targets.contains(&member.name)).collect();
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        let brought = match new {
            None => brought_last(&self.base, &group.row).await?,
            Some(_) => Vec::new(),
        };
        let brought: Vec<String> = brought
            .into_iter()
            .filter(|name| !targets.contains(name) && !names.contains(name))
            .collect();
        let known: Vec<String> =
            targets.into_iter().chain(names).chain(brought.iter().cloned()).collect();
        let balancers = &self.traffic.balancers;
        let was_in = registered(balancers.standing(old, &known).await?);
        let is_in = match new {
            Some(new) => registered(balancers.standing(new, &known).await?),
            None => BTreeSet::new(),
        };
        let others = balancers.others(old, &known).await?;
        if !others.is_empty() {
            warn!(deployment = %id, group = old, ?others, "are not hosts of the group, and are left alone");
        }
        for member in members.into_iter().filter(|member| was_in.contains(&member.name)) {
            self.sort(member, &is_in, new.is_none(), &mut row);
        }
        row.spared.extend(brought.into_iter().filter(|name| was_in.contains(name)));
        Ok(row)
    }

    /// Puts a host of the group that had the traffic where it belongs.
    fn sort(
        &self,
        member: Member,
        is_in: &BTreeSet<String>,
        is_exchanged: bool,
        row: &mut OldHostsRow,
    ) {
        let (key, value) = self.instances.fleet.tag();
        let untagged = format!("it does not carry the tag `{key}` with the value `{value}`.");
        match (is_in.contains(&member.name), member.is_instance(), member.is_fit()) {
            (false, false, _) => row.on_premises.push(member.name),
            (false, true, true) => row.instances.push(member.name),
            (false, true, false) => {
                row.keep(&member.name, &untagged);
                if is_exchanged {
                    row.spared.push(member.name);
                }
            }
            (true, ..) => row.keep(&member.name, IS_NEW),
        }
    }

    /// Takes hosts out of their target group, and tells whether they have no traffic left there.
    async fn have_left(&self, group: &str, hosts: &OldHostsRow) -> Result<bool, Error> {
        let names = [hosts.instances.as_slice(), hosts.on_premises.as_slice()].concat();
        let balancers = &self.traffic.balancers;
        let is_out = |standing: &Standing| *standing == Standing::Out;
        let standings = balancers.standing(group, &names).await?;
        if standings.values().all(is_out) {
            return Ok(true);
        }
        let is_left = |(host, standing)| {
            matches!(standing, Standing::In | Standing::Starting(_)).then_some(host)
        };
        let left: Vec<String> = standings.into_iter().filter_map(is_left).collect();
        if left.is_empty() {
            return Ok(false);
        }
        balancers.drain(group, &left).await?;
        info!(group, hosts = ?left, "are taken out: the new version has the traffic");
        Ok(balancers.standing(group, &names).await?.values().all(is_out))
    }

    /// Has the instances terminated, and tells whether they are.
    async fn terminate(&self, hosts: &mut Stored<OldHostsRow>, new: &str) -> Result<bool, Error> {
        let ids = hosts.row.instances.clone();
        if ids.is_empty() {
            return Ok(true);
        }
        let described = self.instances.fleet.describe(&ids).await?;
        let known: BTreeMap<&str, &Instance> =
            described.iter().map(|instance| (instance.id.as_str(), instance)).collect();
        let is_left = |id: &String| {
            known.get(id.as_str()).is_none_or(|found| found.state != InstanceState::Terminated)
        };
        let left: Vec<String> = ids.into_iter().filter(is_left).collect();
        if left.is_empty() {
            info!(deployment = %hosts.row.deployment_id, "the old instances are terminated");
            return Ok(true);
        }
        let mut refused = self.in_use(&hosts.row, &left, new).await?;
        // Auto Scaling would replace what EC2 is asked to terminate.
        let is_scaled =
            |id: &String| known.get(id.as_str()).is_some_and(|found| found.scaling_group.is_some());
        let free = left.iter().filter(|id| !refused.contains_key(*id)).cloned();
        let (scaled, plain): (Vec<String>, Vec<String>) = free.partition(is_scaled);
        let asked = self.ask_for_the_end(&scaled, &plain, &mut hosts.row, &mut refused).await;
        for (instance, why) in &refused {
            warn!(instance, why, "had the traffic before, and goes on running");
            hosts.row.keep(instance, why);
        }
        self.base.table.write(&[hosts.replace()?]).await?;
        asked?;
        // EC2 was asked for each by its name: there is nothing left of one that it does not know.
        let is_over = |id: &String| refused.contains_key(id) || !known.contains_key(id.as_str());
        Ok(left.iter().all(is_over))
    }

    /// Those of the old instances that have got a use since they were found out.
    async fn in_use(
        &self,
        row: &OldHostsRow,
        left: &[String],
        new: &str,
    ) -> Result<Refused, Error> {
        let busy = registered(self.traffic.balancers.standing(new, left).await?);
        let mut in_use: Refused =
            busy.into_iter().map(|instance| (instance, IS_NEW.to_owned())).collect();
        // One that had just been launched may have been appended to the deployment.
        let enrolled = self.base.enrolled(&row.deployment_id).await?;
        let targets = enrolled.into_iter().map(|host| host.name).filter(|name| left.contains(name));
        in_use.extend(targets.map(|name| (name, IS_TARGET.to_owned())));
        Ok(in_use)
    }

    /// Asks Auto Scaling and EC2 to terminate instances. What they say is in the row and in `refused`, also where it breaks
    /// off.
    async fn ask_for_the_end(
        &self,
        scaled: &[String],
        plain: &[String],
        row: &mut OldHostsRow,
        refused: &mut Refused,
    ) -> Result<(), CloudError> {
        if !plain.is_empty() {
            refused.extend(self.instances.fleet.terminate(plain).await?);
        }
        let new: Vec<&String> = scaled.iter().filter(|id| !row.taken_on.contains(id)).collect();
        for id in new.into_iter().take(ASKED_AT_ONCE) {
            match self.instances.scaling.terminate(id).await {
                Ok(()) => row.taken_on.push(id.clone()),
                Err(CloudError::Refused { message, .. }) => {
                    let why = format!("Auto Scaling does not terminate it: {message}");
                    refused.insert(id.clone(), why);
                }
                Err(error @ CloudError::Unavailable { .. }) => return Err(error),
            }
        }
        Ok(())
    }
}
