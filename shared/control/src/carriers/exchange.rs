//! Blue/green through one target group: the hosts of the new version come, and when enough of them have traffic the others
//! go (`docs/semantics.md#blue-green`).
//!
//! Who had the traffic is found out once and written down before anybody is asked to go, as when old hosts are to be
//! ended: afterwards the target group does not tell any more. Each move is one look, and what it did not bring about the
//! next one does.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use engine::DeploymentId;
use engine::deployment::{CarrierTraits, Deployment, Request, Shift, Side};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::carrier::{Acting, Carrier, unknown};
use crate::ports::{BalancerError, Standing};
use crate::rows::{self, Group, OldHostsRow};
use crate::{Base, Error};

pub(super) const KIND: &str = "exchange";

/// Most hosts that are let in before it is asked again whether anybody wants it.
const AT_ONCE: usize = 50;

/// What runs on hosts that no deployment is known to have brought anything to, for alarms that tell versions apart.
const UNKNOWN_VERSION: &str = "d-000000000";

/// One target group, whose hosts are exchanged: those of the new version come, and then the others go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// The target group.
    pub group: String,
    /// The deployment whose exchange is taken back, where the traffic only goes back: its hosts go, and those come that had
    /// the traffic before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_of: Option<DeploymentId>,
}

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

pub(super) fn read(
    stored: &engine::deployment::Carrier,
) -> Result<Arc<dyn Carrier>, serde_json::Error> {
    Ok(Arc::new(stored.settings::<Exchange>()?))
}

impl Exchange {
    /// How the traffic of one target group moves.
    pub(super) fn shift(&self) -> Result<Shift, serde_json::Error> {
        let traits = CarrierTraits { hosts: true, second_is_new: true, ..CarrierTraits::default() };
        Ok(Shift::of(engine::deployment::Carrier::new(KIND, self)?, traits))
    }
}

#[async_trait]
impl Carrier for Exchange {
    fn checked_groups(&self) -> Vec<&str> {
        vec![&self.group]
    }

    fn group_in_use(&self, _: Option<u8>) -> Option<&str> {
        Some(&self.group)
    }

    fn enters_with_traffic(&self) -> bool {
        true
    }

    fn way_back(&self, deployment: &Deployment) -> Result<Option<Shift>, serde_json::Error> {
        let back = Self { group: self.group.clone(), back_of: Some(deployment.id().clone()) };
        Ok(Some(Shift { back_to: Some(1), ..back.shift()? }))
    }

    async fn second_side(&self, acting: &Acting<'_>) -> Result<u8, Error> {
        if self.back_of.is_some() {
            return self.exchanged(acting).await;
        }
        // Those of a new version are not known yet, and only hosts without traffic will be among them.
        acting.here.traffic.balancers.check(&self.group).await?;
        Ok(0)
    }

    async fn share(&self, acting: &Acting<'_>) -> Result<Option<u8>, Error> {
        self.exchanged(acting).await.map(Some)
    }

    async fn give(&self, acting: &Acting<'_>, percent: u8, _: &str) -> Result<(), Error> {
        self.exchange(acting, percent).await
    }

    async fn retire(&self, acting: &Acting<'_>, side: Side) -> Result<bool, Error> {
        match side {
            Side::Old => acting.here.retire_hosts(self, acting, &self.group, None).await,
            Side::New => acting.here.retire_copy(acting.deployment).await,
        }
    }
}

impl Exchange {
    /// How much of the traffic the new hosts of an exchange have, in percent, if each host has as much as any other.
    async fn exchanged(&self, acting: &Acting<'_>) -> Result<u8, Error> {
        let Parties { new, old } = self.parties(acting).await?;
        let balancers = &acting.here.traffic.balancers;
        let (new, old) = futures::try_join!(
            balancers.standing(&self.group, &new.hosts),
            balancers.standing(&self.group, &old.hosts)
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
    async fn exchange(&self, acting: &Acting<'_>, percent: u8) -> Result<(), Error> {
        let Parties { new, old } = self.parties(acting).await?;
        let (come, go) = match percent {
            0 => (old, new),
            _ if self.back_of.is_some() => (new, old),
            // Hosts that failed are not among those that come.
            _ => (Party { hosts: acting.here.poised_names(acting.deployment).await?, ..new }, old),
        };
        if !self.let_in_together(acting, percent, &come).await? {
            return Ok(());
        }
        let balancers = &acting.here.traffic.balancers;
        let standings = balancers.standing(&self.group, &go.hosts).await?;
        let is_left = |(host, standing): (String, Standing)| is_active(&standing).then_some(host);
        let left: Vec<String> = standings.into_iter().filter_map(is_left).collect();
        // Asked as late as can be: those who had the traffic keep it once nobody wants the others to have it.
        if left.is_empty() || !acting.still_wanted().await? {
            return Ok(());
        }
        balancers.drain(&self.group, &left).await?;
        info!(deployment = %acting.deployment.id(), group = self.group, percent, hosts = ?left, "lose their traffic to the others");
        Ok(())
    }

    async fn parties(&self, acting: &Acting<'_>) -> Result<Parties, Error> {
        let (here, deployment) = (acting.here, acting.deployment);
        let base = &here.base;
        let unknown = || UNKNOWN_VERSION.parse().unwrap_or_else(|_| deployment.id().clone());
        let brought_before = |deployment: &Deployment| {
            let fallback = deployment.order().fallback.as_ref();
            fallback.map_or_else(unknown, |fallback| fallback.deployment.clone())
        };
        let Some(earlier) = &self.back_of else {
            let old = here.old_hosts(deployment, &self.group, None).await?.row.with_traffic();
            let new = roster(base, deployment).await?;
            return Ok(Parties {
                new: Party { hosts: new, version: deployment.id().clone() },
                old: Party { hosts: old, version: brought_before(deployment) },
            });
        };
        let key = OldHostsRow::key_of(earlier);
        let had_it = rows::load::<OldHostsRow>(&*base.table, &key).await?;
        let had_it = had_it.map(|known| known.row.with_traffic()).unwrap_or_default();
        let known = base.deployment(earlier).await?.map(|known| known.row.deployment);
        let version = known.as_ref().map_or_else(unknown, brought_before);
        let brought = match &known {
            Some(known) => roster(base, known).await?,
            None => Vec::new(),
        };
        Ok(Parties {
            new: Party { hosts: had_it, version },
            old: Party { hosts: brought, version: earlier.clone() },
        })
    }

    /// Lets hosts into their target group, and tells whether enough of them have traffic.
    async fn let_in_together(
        &self,
        acting: &Acting<'_>,
        percent: u8,
        come: &Party,
    ) -> Result<bool, Error> {
        let (id, group) = (acting.deployment.id(), &self.group);
        let balancers = &acting.here.traffic.balancers;
        let is_way_back = percent == 0 || self.back_of.is_some();
        let standings = balancers.standing(group, &come.hosts).await?;
        let is_out =
            |(host, standing): (&String, &Standing)| (!is_active(standing)).then(|| host.clone());
        let out: Vec<String> = standings.iter().filter_map(is_out).collect();
        let mut missing = 0;
        for hosts in out.chunks(AT_ONCE) {
            if !acting.still_wanted().await? {
                return Ok(false);
            }
            for host in hosts {
                let admitted = balancers.admit(group, host, &come.version).await;
                missing +=
                    u32::from(!is_let_in(admitted, host, is_way_back && come.hosts.len() > 1)?);
            }
        }
        if !out.is_empty() && !is_right(&acting.here.base, id, percent).await? {
            warn!(deployment = %id, group, hosts = ?out, "are taken out again: nobody wants them in any more");
            balancers.drain(group, &out).await?;
            return Ok(false);
        }
        let standings = match out.as_slice() {
            [] => standings,
            _ => balancers.standing(group, &come.hosts).await?,
        };
        Ok(has_enough(acting.deployment, &standings, is_way_back, missing))
    }
}

/// The hosts that a deployment brings its version to. One that arrived since is brought it later, and stays as it is.
async fn roster(base: &Base, deployment: &Deployment) -> Result<Vec<String>, Error> {
    let enrolled = base.enrolled(deployment.id()).await?.into_iter();
    let roster = enrolled.filter(|host| host.ordinal < deployment.hosts().len());
    Ok(roster.map(|host| host.name).collect())
}

/// Whether hosts that were let in belong there: also if another look has done it all meanwhile.
async fn is_right(base: &Base, id: &DeploymentId, percent: u8) -> Result<bool, Error> {
    let Some(stored) = base.deployment(id).await? else { return Ok(false) };
    let deployment = &stored.row.deployment;
    let other = Request::MoveTraffic { percent: 100 - percent };
    let is_so = deployment.percent() == Some(percent) && !deployment.wants(&other);
    Ok(is_so || deployment.wants(&Request::MoveTraffic { percent }))
}

/// The hosts that have the traffic since a group's last successful deployment: its targets, which the group itself need not
/// select.
pub(crate) async fn brought_last(base: &Base, group: &Group) -> Result<Vec<String>, Error> {
    let Some(last) = &group.slot.last_successful else { return Ok(Vec::new()) };
    let last = &last.deployment;
    let stored = base.deployment(last).await?;
    let carrier = stored.as_ref().and_then(|stored| stored.row.deployment.carrier());
    let exchange = carrier.filter(|carrier| carrier.kind() == KIND);
    let exchange = exchange.map(engine::deployment::Carrier::settings::<Exchange>).transpose();
    let exchange = exchange.map_err(|error| unknown(KIND, &error))?;
    if let Some(earlier) = exchange.and_then(|exchange| exchange.back_of) {
        let key = OldHostsRow::key_of(&earlier);
        let known = rows::load::<OldHostsRow>(&*base.table, &key).await?;
        return Ok(known.map(|known| known.row.with_traffic()).unwrap_or_default());
    }
    Ok(base.enrolled(last).await?.into_iter().map(|host| host.name).collect())
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
