//! Blue/green through one target group: the hosts of the new version come, and when enough of them have traffic the others
//! go (`docs/semantics.md#blue-green`).
//!
//! Who had the traffic is found out once and written down before anybody is asked to go, as when old hosts are to be
//! ended: afterwards the target group does not tell any more. Each move is one look, and what it did not bring about the
//! next one does.

use std::collections::BTreeMap;

use engine::DeploymentId;
use engine::deployment::{Deployment, Exchange, Ordinals, Request};
use tracing::{info, warn};

use super::Here;
use crate::Error;
use crate::ports::{BalancerError, Standing};
use crate::rows::{self, HostRow, OldHostsRow, Stored};

/// Most hosts that are let in before it is asked again whether anybody wants it.
const AT_ONCE: usize = 50;

/// What runs on hosts that no deployment is known to have brought anything to, for alarms that tell versions apart.
const UNKNOWN_VERSION: &str = "d-000000000";

/// Hosts, and the deployment that has brought what runs on them.
struct Party {
    hosts: Vec<String>,
    version: DeploymentId,
}

/// The hosts that an exchange is between.
struct Parties {
    new: Party,
    old: Party,
}

/// Whether a host gets traffic, or is about to.
fn is_active(standing: &Standing) -> bool {
    matches!(standing, Standing::In | Standing::Starting(_))
}

fn share_of(new: usize, old: usize) -> u8 {
    match (new, old) {
        (0, _) => 0,
        (_, 0) => 100,
        (new, old) => u8::try_from(new * 100 / (new + old)).unwrap_or(99).clamp(1, 99),
    }
}

impl Here {
    /// How much of the traffic the new hosts of an exchange have, in percent, if each host has as much as any other.
    pub(crate) async fn exchanged(
        &self,
        deployment: &Deployment,
        exchange: &Exchange,
    ) -> Result<u8, Error> {
        let Parties { new, old } = self.parties(deployment, exchange).await?;
        let balancers = &self.traffic.balancers;
        let (new, old) = futures::try_join!(
            balancers.standing(&exchange.group, &new.hosts),
            balancers.standing(&exchange.group, &old.hosts)
        )?;
        let is_in = |standing: &&Standing| **standing == Standing::In;
        let old = old.values().filter(|standing| is_active(standing)).count();
        // Where the old ones have all of it, one that starts would soon have some.
        let new = match old {
            0 => new.values().filter(is_in).count(),
            _ => new.values().filter(|standing| is_active(standing)).count(),
        };
        Ok(share_of(new, old))
    }

    /// Takes the next step to the new hosts of an exchange having all of the traffic, or none of it.
    pub(crate) async fn exchange(
        &self,
        deployment: &Deployment,
        exchange: &Exchange,
        percent: u8,
    ) -> Result<(), Error> {
        let Parties { new, old } = self.parties(deployment, exchange).await?;
        let (come, go) = match percent {
            0 => (old, new),
            _ if exchange.back_of.is_some() => (new, old),
            // Hosts that failed are not among those that come.
            _ => (Party { hosts: self.poised_names(deployment).await?, ..new }, old),
        };
        let let_in = self.let_in_together(deployment, exchange, percent, &come).await?;
        if !let_in {
            return Ok(());
        }
        let standings = self.traffic.balancers.standing(&exchange.group, &go.hosts).await?;
        let is_left = |(host, standing): (String, Standing)| is_active(&standing).then_some(host);
        let left: Vec<String> = standings.into_iter().filter_map(is_left).collect();
        let request = Request::MoveTraffic { percent };
        // Asked as late as can be: those who had the traffic keep it once nobody wants the others to have it.
        if left.is_empty() || !self.still_wants(deployment.id(), &request).await? {
            return Ok(());
        }
        self.traffic.balancers.drain(&exchange.group, &left).await?;
        info!(deployment = %deployment.id(), group = exchange.group, percent, hosts = ?left, "lose their traffic to the others");
        Ok(())
    }

    async fn parties(
        &self,
        deployment: &Deployment,
        exchange: &Exchange,
    ) -> Result<Parties, Error> {
        let unknown = || UNKNOWN_VERSION.parse().unwrap_or_else(|_| deployment.id().clone());
        let brought_before = |deployment: &Deployment| {
            let fallback = deployment.order().fallback.as_ref();
            fallback.map_or_else(unknown, |fallback| fallback.deployment.clone())
        };
        let Some(earlier) = &exchange.back_of else {
            let old = self.old_hosts(deployment).await?.row.with_traffic();
            let new = self.roster(deployment).await?;
            return Ok(Parties {
                new: Party { hosts: new, version: deployment.id().clone() },
                old: Party { hosts: old, version: brought_before(deployment) },
            });
        };
        let key = OldHostsRow::key_of(earlier);
        let had_it = rows::load::<OldHostsRow>(&*self.base.table, &key).await?;
        let had_it = had_it.map(|known| known.row.with_traffic()).unwrap_or_default();
        let known = self.base.deployment(earlier).await?.map(|known| known.row.deployment);
        let version = known.as_ref().map_or_else(unknown, brought_before);
        let brought = match &known {
            Some(known) => self.roster(known).await?,
            None => Vec::new(),
        };
        Ok(Parties {
            new: Party { hosts: had_it, version },
            old: Party { hosts: brought, version: earlier.clone() },
        })
    }

    /// The hosts that a deployment brings its version to. One that arrived since is brought it later, and stays as it is.
    async fn roster(&self, deployment: &Deployment) -> Result<Vec<String>, Error> {
        let enrolled = self.base.enrolled(deployment.id()).await?.into_iter();
        let roster = enrolled.filter(|host| host.ordinal < deployment.hosts().len());
        Ok(roster.map(|host| host.name).collect())
    }

    /// The hosts that are ready for traffic and wait for it.
    pub(crate) async fn poised_names(&self, deployment: &Deployment) -> Result<Vec<String>, Error> {
        let id = deployment.id();
        let hosts: Ordinals = deployment.poised().iter().collect();
        let keys: Vec<_> = hosts.iter().map(|ordinal| HostRow::key_of(id, ordinal)).collect();
        let hosts: Vec<Stored<HostRow>> = rows::load_many(&*self.base.table, &keys).await?;
        Ok(hosts.into_iter().map(|host| host.row.name).collect())
    }

    /// Lets hosts into their target group, and tells whether enough of them have traffic.
    async fn let_in_together(
        &self,
        deployment: &Deployment,
        exchange: &Exchange,
        percent: u8,
        come: &Party,
    ) -> Result<bool, Error> {
        let (id, group) = (deployment.id(), &exchange.group);
        let is_way_back = percent == 0 || exchange.back_of.is_some();
        let standings = self.traffic.balancers.standing(group, &come.hosts).await?;
        let is_out =
            |(host, standing): (&String, &Standing)| (!is_active(standing)).then(|| host.clone());
        let out: Vec<String> = standings.iter().filter_map(is_out).collect();
        let mut missing = 0;
        for hosts in out.chunks(AT_ONCE) {
            if !self.still_wants(id, &Request::MoveTraffic { percent }).await? {
                return Ok(false);
            }
            for host in hosts {
                let admitted = self.traffic.balancers.admit(group, host, &come.version).await;
                missing +=
                    u32::from(!is_let_in(admitted, host, is_way_back && come.hosts.len() > 1)?);
            }
        }
        if !out.is_empty() && !self.is_right(id, percent).await? {
            warn!(deployment = %id, group, hosts = ?out, "are taken out again: nobody wants them in any more");
            self.traffic.balancers.drain(group, &out).await?;
            return Ok(false);
        }
        let standings = match out.as_slice() {
            [] => standings,
            _ => self.traffic.balancers.standing(group, &come.hosts).await?,
        };
        Ok(has_enough(deployment, &standings, is_way_back, missing))
    }

    /// Whether hosts that were let in belong there: also if another look has done it all meanwhile.
    async fn is_right(&self, id: &DeploymentId, percent: u8) -> Result<bool, Error> {
        let Some(stored) = self.base.deployment(id).await? else { return Ok(false) };
        let deployment = &stored.row.deployment;
        let other = Request::MoveTraffic { percent: 100 - percent };
        let is_so = deployment.percent() == Some(percent) && !deployment.wants(&other);
        Ok(is_so || deployment.wants(&Request::MoveTraffic { percent }))
    }

    async fn still_wants(&self, id: &DeploymentId, request: &Request) -> Result<bool, Error> {
        let stored = self.base.deployment(id).await?;
        Ok(stored.is_some_and(|stored| stored.row.deployment.wants(request)))
    }
}

/// Whether a host was let in. On the way back one that is gone may be missing: it does not keep the others from having their
/// traffic again.
fn is_let_in(
    admitted: Result<(), BalancerError>,
    host: &str,
    may_be_missing: bool,
) -> Result<bool, BalancerError> {
    match admitted {
        Ok(()) => Ok(true),
        Err(error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. }))
            if may_be_missing =>
        {
            warn!(host, %error, "had the traffic before, and cannot have it again");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether enough of the hosts that come have traffic: all of the new ones, so that they can carry all of it at once. On the
/// way back, of those that are there still, as many as the rule demands.
fn has_enough(
    deployment: &Deployment,
    standings: &BTreeMap<String, Standing>,
    is_way_back: bool,
    missing: u32,
) -> bool {
    let healthy = standings.values().filter(|standing| **standing == Standing::In).count();
    let healthy = u32::try_from(healthy).unwrap_or(u32::MAX);
    let total = u32::try_from(standings.len()).unwrap_or(u32::MAX);
    let left = total.saturating_sub(missing);
    let required = match is_way_back {
        // Nobody had the traffic before: the deployment may lose it to nobody, but a rollback by hand takes it from nobody.
        true if total == 0 => u32::from(!deployment.order().has_hosts()),
        true => deployment.order().rule.required(left).clamp(1, left.max(1)),
        false => total.max(1),
    };
    let is_enough = healthy >= required;
    if !is_enough {
        warn!(deployment = %deployment.id(), healthy, required, "too few of the hosts that are to have the traffic are healthy; nobody loses it");
    }
    is_enough
}
