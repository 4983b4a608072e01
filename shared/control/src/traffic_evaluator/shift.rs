//! Blue/green: the traffic moves all together (`docs/semantics.md#blue-green`). What moves it is a request of the deployment,
//! and counts only when it was read back.

use async_trait::async_trait;
use engine::DeploymentId;
use engine::deployment::{Carrier, Deployment, Exchange, Fact, Failure, FailureCode, Request};
use tracing::{info, warn};

use super::Here;
use crate::ports::{BalancerError, FunctionError, Pair, Standing, Wanted};
use crate::rows::{DeploymentRow, Stored};
use crate::{Base, Error};

/// A request of a deployment, which may come not to be wanted any more while it is performed.
pub(crate) struct Performed<'a> {
    pub(crate) base: &'a Base,
    pub(crate) id: &'a DeploymentId,
    pub(crate) request: Request,
}

#[async_trait]
impl Wanted for Performed<'_> {
    async fn is_wanted(&self) -> bool {
        match self.base.deployment(self.id).await {
            Ok(stored) => stored.is_some_and(|stored| stored.row.deployment.wants(&self.request)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(deployment = %self.id, error, "cannot be read; nothing is changed for it");
                false
            }
        }
    }
}

impl Here {
    /// Asks what carries the traffic of a shift which side has it.
    pub(crate) async fn find_sides(&self, deployment: &Deployment) -> Result<Vec<Fact>, Error> {
        let listener = match deployment.carrier() {
            None => return Ok(Vec::new()),
            Some(Carrier::Alias(alias)) => return self.find_alias(alias).await,
            Some(Carrier::Exchange(exchange)) => {
                return self.find_exchange(deployment, exchange).await;
            }
            Some(Carrier::Service(service)) => {
                let refused = self.check_service(service).await?;
                if !refused.is_empty() {
                    return Ok(refused);
                }
                Some(service.listener.clone())
            }
            Some(Carrier::Groups(_)) => None,
        };
        let Some([first, second]) = deployment.carrier().and_then(Carrier::groups) else {
            return Ok(Vec::new());
        };
        let pair = Pair { old: first.clone(), new: second.clone(), listener };
        sides_found(self.traffic.balancers.percent(&pair).await.map_err(Error::Balancer))
    }

    /// How much of the traffic the new hosts of an exchange have before it. Those of a new version are not known yet, and
    /// only hosts without traffic will be among them.
    async fn find_exchange(
        &self,
        deployment: &Deployment,
        exchange: &Exchange,
    ) -> Result<Vec<Fact>, Error> {
        if exchange.back_of.is_some() {
            return sides_found(self.exchanged(deployment, exchange).await);
        }
        let group = self.traffic.balancers.check(&exchange.group).await;
        sides_found(group.map(|()| 0).map_err(Error::Balancer))
    }

    /// Gives the new side of a shift its share of the traffic, and tells so when that is read back, or why it cannot have it.
    pub(crate) async fn move_traffic(
        &self,
        id: &DeploymentId,
        percent: u8,
    ) -> Result<Vec<Fact>, Error> {
        let request = Request::MoveTraffic { percent };
        let refused = |code, message| {
            Ok(vec![Fact::ShiftRefused { request, why: Failure { code, message } }])
        };
        match self.try_to_move(id, percent).await {
            Err(Error::Function(error @ FunctionError::Refused { .. })) => {
                refused(FailureCode::InvalidFunction, error.to_string())
            }
            Err(Error::Balancer(
                error @ (BalancerError::Refused { .. } | BalancerError::Unknown { .. }),
            )) => refused(FailureCode::InvalidBalancer, error.to_string()),
            moved => moved,
        }
    }

    async fn try_to_move(&self, id: &DeploymentId, percent: u8) -> Result<Vec<Fact>, Error> {
        let Some(stored) = self.wanting(id, percent).await? else { return Ok(Vec::new()) };
        let deployment = &stored.row.deployment;
        let rises = deployment.percent().is_some_and(|known| percent > known);
        if rises && !self.can_carry(deployment).await? {
            return Ok(Vec::new());
        }
        let revision = self.revision(deployment).await?;
        // Asked again as late as can be: what nobody wants any more is not done, above all not after an alarm. Also what is
        // so already is asked for, because something else that was asked for before may not have come about yet. An alias is
        // changed only as it was read before this: so what is late finds it changed by whatever is wanted since.
        if self.wanting(id, percent).await?.is_none() {
            return Ok(Vec::new());
        }
        self.give(deployment, percent, &revision).await?;
        let read = self.share(deployment).await?;
        info!(deployment = %id, percent, read, "the traffic moves");
        let is_so = read == Some(percent);
        Ok(is_so.then_some(Fact::TrafficMoved { percent }).into_iter().collect())
    }

    /// The deployment, if its new side is still to get such a share.
    async fn wanting(
        &self,
        id: &DeploymentId,
        percent: u8,
    ) -> Result<Option<Stored<DeploymentRow>>, Error> {
        let wants = |stored: &Stored<DeploymentRow>| {
            stored.row.deployment.wants(&Request::MoveTraffic { percent })
        };
        Ok(self.base.deployment(id).await?.filter(wants))
    }

    /// How much of the traffic the new side has, in percent, as what carries it says.
    pub(crate) async fn share(&self, deployment: &Deployment) -> Result<Option<u8>, Error> {
        Ok(match (deployment.carrier(), pair_of(deployment)) {
            (Some(Carrier::Alias(alias)), _) => {
                Some(self.traffic.functions.standing(alias).await?.percent)
            }
            (Some(Carrier::Exchange(exchange)), _) => {
                Some(self.exchanged(deployment, exchange).await?)
            }
            (_, Some(pair)) => Some(self.traffic.balancers.percent(&pair).await?),
            (_, None) => None,
        })
    }

    /// The revision of what carries the traffic, where it has one under which it is changed.
    async fn revision(&self, deployment: &Deployment) -> Result<String, Error> {
        match deployment.carrier() {
            Some(Carrier::Alias(alias)) => {
                Ok(self.traffic.functions.standing(alias).await?.revision)
            }
            Some(Carrier::Groups(_) | Carrier::Exchange(_) | Carrier::Service(_)) | None => {
                Ok(String::new())
            }
        }
    }

    /// Asks what carries the traffic to give the new side its share.
    async fn give(
        &self,
        deployment: &Deployment,
        percent: u8,
        revision: &str,
    ) -> Result<(), Error> {
        match (deployment.carrier(), pair_of(deployment)) {
            (Some(Carrier::Alias(alias)), _) => {
                self.traffic.functions.split(alias, percent, revision).await?;
            }
            (Some(Carrier::Exchange(exchange)), _) => {
                self.exchange(deployment, exchange, percent).await?;
            }
            (_, Some(pair)) => {
                let (id, request) = (deployment.id(), Request::MoveTraffic { percent });
                let wanted = Performed { base: &self.base, id, request };
                self.traffic.balancers.split_while(&pair, percent, &wanted).await?;
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// Whether as many hosts of the new side get traffic as have to be healthy.
    async fn can_carry(&self, deployment: &Deployment) -> Result<bool, Error> {
        let (Some((_, group)), true) = (deployment.sides(), deployment.order().has_hosts()) else {
            return Ok(true);
        };
        let id = deployment.id();
        let names = self.poised_names(deployment).await?;
        let standings = self.traffic.balancers.standing(group, &names).await?;
        let healthy = standings.values().filter(|standing| **standing == Standing::In).count();
        let total = deployment.hosts().fleet().total();
        let required = deployment.order().rule.required(total).clamp(1, total.max(1));
        let is_enough = u32::try_from(healthy).unwrap_or(u32::MAX) >= required;
        if !is_enough {
            warn!(deployment = %id, group, healthy, required, "too few hosts of the new side are healthy; no traffic moves");
        }
        Ok(is_enough)
    }
}

/// What is known of the sides of a shift, from what was read of what carries its traffic.
fn sides_found(read: Result<u8, Error>) -> Result<Vec<Fact>, Error> {
    match read {
        Ok(percent_of_second) => Ok(vec![Fact::SidesFound { percent_of_second }]),
        Err(Error::Balancer(
            error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. }),
        )) => {
            let why = Failure { code: FailureCode::InvalidBalancer, message: error.to_string() };
            Ok(vec![Fact::ShiftRefused { request: Request::FindSides, why }])
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn pair_of(deployment: &Deployment) -> Option<Pair> {
    let (old, new) = deployment.sides()?;
    let listener = match deployment.carrier()? {
        Carrier::Service(service) => Some(service.listener.clone()),
        Carrier::Groups(_) | Carrier::Exchange(_) | Carrier::Alias(_) => None,
    };
    Some(Pair { old: old.to_owned(), new: new.to_owned(), listener })
}
