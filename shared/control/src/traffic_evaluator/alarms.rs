//! Alarms are read, and hosts with a version that is bad lose their traffic at once (`docs/semantics.md#alarms`).

use std::collections::BTreeMap;

use engine::DeploymentId;
use engine::deployment::{Deployment, Fact, Ordinals, Request};
use tracing::{info, warn};

use super::here::Here;
use crate::Error;
use crate::ports::{Alarms, Reading, Standing};
use crate::rows::HostRow;

/// That the alarms of a deployment cannot be read at all.
pub(super) fn unreadable(why: &Error) -> Fact {
    let (firing, notes) = (Vec::new(), BTreeMap::new());
    Fact::AlarmsRead { firing, unreadable: Some(why.to_string()), notes }
}

impl Here {
    /// Reads the alarms that watch a deployment.
    pub(crate) async fn read_alarms(&self, deployment: &Deployment) -> Fact {
        let alarms = deployment.order().watch.as_ref().map(|watch| watch.alarms.as_slice());
        let alarms = alarms.unwrap_or_default();
        let readings = self.traffic.alarms.read(alarms, deployment.id()).await;
        let mut firing = Vec::new();
        let mut unreadable = None;
        for (alarm, reading) in alarms.iter().zip(readings) {
            match reading {
                Reading::Quiet => {}
                Reading::Firing => firing.push(alarm.clone()),
                Reading::Unreadable(why) => unreadable = Some(why),
            }
        }
        if !firing.is_empty() || unreadable.is_some() {
            info!(deployment = %deployment.id(), ?firing, ?unreadable, "alarms");
        }
        let notes = match firing.as_slice() {
            [] => BTreeMap::new(),
            firing => notes_of(&*self.traffic.alarms, firing, deployment.id()).await,
        };
        Fact::AlarmsRead { firing, unreadable, notes }
    }

    /// Takes the traffic from the hosts that have the new version, as far as they can be spared. Tells when that is done, as
    /// the balancers say.
    pub(crate) async fn withdraw(&self, deployment: &Deployment) -> Result<Vec<Fact>, Error> {
        let hosts = self.base.enrolled(deployment.id()).await?;
        let groups = deployment.order().traffic.as_ref().map(|traffic| traffic.groups.as_slice());
        let mut kept = 0;
        for group in groups.unwrap_or_default() {
            match self.withdraw_from(deployment.id(), group, &hosts).await? {
                Some(left) => kept = left.max(kept),
                None => return Ok(Vec::new()),
            }
        }
        Ok(vec![Fact::Withdrawn { kept }])
    }

    /// Takes hosts with the new version out of a target group. Gives how many keep their traffic there; none while others
    /// have some that are to lose it, or where nobody wants that any more.
    async fn withdraw_from(
        &self,
        id: &DeploymentId,
        group: &str,
        hosts: &[HostRow],
    ) -> Result<Option<u32>, Error> {
        let Some((leaving, serving)) = self.leaving(id, group, hosts).await? else {
            return Ok(None);
        };
        let kept = serving - leaving.iter().filter(|(_, is_in)| *is_in).count();
        let leaving: Vec<String> = leaving.into_iter().map(|(host, _)| host).collect();
        if kept > 0 {
            warn!(deployment = %id, group, kept, "hosts with the new version keep their traffic: too few others would have any");
        }
        if !leaving.is_empty() {
            self.traffic.balancers.drain(group, &leaving).await?;
            let left = self.traffic.balancers.standing(group, &leaving).await?;
            let is_gone =
                |standing: &Standing| matches!(standing, Standing::Out | Standing::Draining);
            let is_done = left.values().all(is_gone);
            info!(deployment = %id, group, hosts = ?leaving, is_done, "the new version loses its traffic");
            if !is_done {
                return Ok(None);
            }
        }
        Ok(Some(u32::try_from(kept).unwrap_or(u32::MAX)))
    }

    /// The hosts that are to leave a target group after an alarm, each with whether it has traffic there, and how many with
    /// the new version have. None where nobody wants that any more: what is late must not take out what a rollback has let
    /// in.
    async fn leaving(
        &self,
        id: &DeploymentId,
        group: &str,
        hosts: &[HostRow],
    ) -> Result<Option<(Vec<(String, bool)>, usize)>, Error> {
        let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
        let standings = self.traffic.balancers.standing(group, &names).await?;
        let stands = |wanted: fn(&Standing) -> bool| -> Ordinals {
            let is_so = |host: &&HostRow| standings.get(&host.name).is_some_and(wanted);
            hosts.iter().filter(is_so).map(|host| host.ordinal).collect()
        };
        let serving = stands(|standing| *standing == Standing::In);
        let starting = stands(|standing| matches!(standing, Standing::Starting(_)));
        // Read as late as can be, and what it says of its hosts is newer than what their balancer does.
        let Some(stored) = self.base.deployment(id).await? else { return Ok(None) };
        let deployment = &stored.row.deployment;
        if !deployment.wants(&Request::Withdraw) {
            return Ok(None);
        }
        let leaving = deployment.to_withdraw(&serving, &starting);
        let is_leaving = |host: &&HostRow| leaving.contains(host.ordinal);
        let named = hosts.iter().filter(is_leaving);
        let named = named.map(|host| (host.name.clone(), serving.contains(host.ordinal)));
        let is_new = |at: &u32| deployment.hosts().get(*at).is_some_and(|host| host.attempt > 0);
        Ok(Some((named.collect(), serving.iter().filter(is_new).count())))
    }
}

/// What alarms have to say beyond whether they fire, of those that have something.
pub(crate) async fn notes_of(
    source: &dyn Alarms,
    alarms: &[String],
    id: &DeploymentId,
) -> BTreeMap<String, String> {
    let notes = source.notes(alarms, id).await;
    alarms.iter().zip(notes).filter_map(|(alarm, note)| Some((alarm.clone(), note?))).collect()
}
