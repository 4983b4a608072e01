//! Traffic: hosts lose it before they are changed and get it back after, alarms are read, and what is bad loses it at
//! once (`docs/semantics.md#traffic`).
//!
//! A host in a traffic event reports again and again, and each report is one look at its balancers: what is missing is
//! asked for, and what they say decides. So nothing has to be remembered, and a look that is lost or doubled changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use engine::DeploymentId;
use engine::deployment::{Deployment, Fact, Ordinals, Request};
use engine::lifecycle::Event;
use futures::future::try_join_all;
use tracing::{info, warn};
use wire::host::{EventStatus, TrafficAnswer};

use crate::ports::{BalancerError, Reading, Standing};
use crate::rows::HostRow;
use crate::{Control, Error};

/// The part of the time that a host has waited after which it is looked at again: a fifth.
const LOOKS: u64 = 5;

/// What a look at a host's balancers found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    Waits,
    Passed,
    Failed(String),
}

/// How all target groups stand that a host is in: as the one that is furthest from what is wanted.
fn all_stand(standings: &[Standing], wanted: fn(&Standing) -> bool) -> bool {
    standings.iter().all(wanted)
}

impl Control {
    /// Looks at the balancers for a host that waits in a traffic event; none if it waits in none.
    pub(crate) async fn traffic_answer(
        &self,
        deployment: &Deployment,
        host: &HostRow,
    ) -> Option<TrafficAnswer> {
        let (event, again_after_ms, look) = if deployment.order().shift.is_some() {
            self.shift_look(deployment, host).await?
        } else {
            let event = host.events.iter().find(|event| {
                event.event.is_of_balancer() && event.status == EventStatus::InProgress
            })?;
            let event = event.event;
            (event, self.look_again_ms(host), self.look(deployment, &host.name, event).await)
        };
        let look = look.unwrap_or_else(|error| match error {
            error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. }) => {
                Look::Failed(error.to_string())
            }
            error @ BalancerError::Unavailable { .. } => {
                warn!(
                    host = host.name,
                    error = &error as &dyn std::error::Error,
                    "will look again"
                );
                Look::Waits
            }
        });
        Some(match look {
            Look::Waits => TrafficAnswer { event, done: false, failed: None, again_after_ms },
            Look::Passed => TrafficAnswer { event, done: true, failed: None, again_after_ms },
            Look::Failed(why) => {
                TrafficAnswer { event, done: false, failed: Some(why), again_after_ms }
            }
        })
    }

    /// After how long a host that waits for its balancers is looked at again: the longer it has waited, the later.
    pub(crate) fn look_again_ms(&self, host: &HostRow) -> u64 {
        let (least, most) = (self.settings.traffic_look_ms, self.settings.traffic_look_max_ms);
        let waited = host.under_way_since.map_or(0, |since| self.now().since_ms(since));
        (waited / LOOKS).clamp(least, most.max(least))
    }

    async fn look(
        &self,
        deployment: &Deployment,
        host: &str,
        event: Event,
    ) -> Result<Look, BalancerError> {
        let groups = deployment.order().traffic.as_ref().map(|traffic| traffic.groups.as_slice());
        let groups = groups.unwrap_or_default();
        if event == Event::BlockTraffic {
            return self.let_out(groups, host).await;
        }
        self.let_in(deployment.id(), groups, host).await
    }

    /// Takes a host out of its target groups; passed when none of them has traffic for it any more.
    async fn let_out(&self, groups: &[String], host: &str) -> Result<Look, BalancerError> {
        let hosts = [host.to_owned()];
        let mut standings = self.standings(groups, host).await?;
        let mut is_changed = false;
        for (group, standing) in groups.iter().zip(&standings) {
            if matches!(standing, Standing::In | Standing::Starting(_)) {
                self.traffic.balancers.drain(group, &hosts).await?;
                is_changed = true;
                info!(host, group, "gets no new traffic");
            }
        }
        if is_changed {
            standings = self.standings(groups, host).await?;
        }
        let is_out = all_stand(&standings, |standing| *standing == Standing::Out);
        Ok(if is_out { Look::Passed } else { Look::Waits })
    }

    /// Lets a host into its target groups; passed when all of them send it traffic.
    async fn let_in(
        &self,
        id: &DeploymentId,
        groups: &[String],
        host: &str,
    ) -> Result<Look, BalancerError> {
        let mut standings = self.standings(groups, host).await?;
        let mut is_changed = false;
        for (group, standing) in groups.iter().zip(&standings) {
            if matches!(standing, Standing::Out | Standing::Draining) {
                // Asked as late as can be: after an alarm is known, nothing lets a host in.
                if let Some(look) = self.refuses_traffic(id).await {
                    return Ok(look);
                }
                self.traffic.balancers.admit(group, host, id).await?;
                is_changed = true;
                info!(host, group, "is to get traffic");
            }
        }
        // An alarm that came meanwhile may not have seen this host: then what was done here is undone. One that has had
        // traffic for longer is left to the withdrawal, which knows how many can be spared.
        if let Some(look) = self.refuses_traffic(id).await {
            if is_changed && matches!(look, Look::Failed(_)) {
                for group in groups {
                    self.traffic.balancers.drain(group, &[host.to_owned()]).await?;
                }
            }
            return Ok(look);
        }
        if is_changed {
            standings = self.standings(groups, host).await?;
        }
        let is_in = all_stand(&standings, |standing| *standing == Standing::In);
        Ok(if is_in { Look::Passed } else { Look::Waits })
    }

    /// What a look comes to because hosts of a deployment may not be given traffic any more; none if they may.
    pub(crate) async fn refuses_traffic(&self, id: &DeploymentId) -> Option<Look> {
        let why = match self.deployment(id).await {
            Ok(Some(stored)) => {
                let alarm = stored.row.deployment.alarm()?;
                let by = if alarm.names.is_empty() { "its alarms" } else { "an alarm" };
                format!("the host gets no traffic: the deployment was stopped by {by}")
            }
            Ok(None) => "the host gets no traffic: the deployment was deleted".to_owned(),
            // What is not known is looked at again; until then nothing is let in.
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(deployment = %id, error, "cannot be read; will look again");
                return Some(Look::Waits);
            }
        };
        Some(Look::Failed(why))
    }

    async fn standings(
        &self,
        groups: &[String],
        host: &str,
    ) -> Result<Vec<Standing>, BalancerError> {
        let hosts = [host.to_owned()];
        let looks = groups.iter().map(|group| self.traffic.balancers.standing(group, &hosts));
        let found = try_join_all(looks).await?;
        Ok(found.into_iter().map(|mut of| of.remove(host).unwrap_or(Standing::Out)).collect())
    }

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
            firing => self.notes_of(firing, deployment.id()).await,
        };
        Fact::AlarmsRead { firing, unreadable, notes }
    }

    /// What alarms have to say beyond whether they fire, of those that have something.
    pub(crate) async fn notes_of(
        &self,
        alarms: &[String],
        id: &DeploymentId,
    ) -> BTreeMap<String, String> {
        let notes = self.traffic.alarms.notes(alarms, id).await;
        alarms.iter().zip(notes).filter_map(|(alarm, note)| Some((alarm.clone(), note?))).collect()
    }

    /// Takes the traffic from the hosts that have the new version, as far as they can be spared. Tells when that is done, as
    /// the balancers say.
    pub(crate) async fn withdraw(&self, deployment: &Deployment) -> Result<Vec<Fact>, Error> {
        let hosts = self.enrolled(deployment.id()).await?;
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
        let Some(stored) = self.deployment(id).await? else { return Ok(None) };
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

    /// Those of some hosts that have no traffic of any of these target groups. Where a balancer does not say, nobody counts
    /// as one of them.
    pub(crate) async fn out_of_traffic(
        &self,
        groups: &[String],
        hosts: &[String],
    ) -> BTreeSet<String> {
        let looks = groups.iter().map(|group| self.traffic.balancers.standing(group, hosts));
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
