//! Services of ECS: new tasks beside those that have the traffic, their test traffic, and the end of one of the two sides
//! (`docs/semantics.md#ecs`).

use engine::DeploymentId;
use engine::deployment::{Carrier, Deployment, Fact, Failure, FailureCode, Request, Service, Side};
use tracing::{info, warn};

use super::Here;
use crate::Error;
use crate::ports::{BalancerError, Pair, ServiceError};
use crate::traffic_evaluator::shift::{Performed, pair_of};

/// The code of what a service says when it does not do as asked; none where it may do so later.
fn code_of(error: &ServiceError) -> Option<FailureCode> {
    match error {
        ServiceError::Refused { .. } => Some(FailureCode::InvalidService),
        ServiceError::Failing { .. } => Some(FailureCode::TasksFailed),
        ServiceError::Unavailable { .. } => None,
    }
}

fn refused(request: Request, error: ServiceError) -> Result<Vec<Fact>, Error> {
    let Some(code) = code_of(&error) else { return Err(error.into()) };
    let why = Failure { code, message: error.to_string() };
    Ok(vec![Fact::ShiftRefused { request, why }])
}

/// The service that a deployment is of, and the number of its new side, once that is known.
fn service_of(deployment: &Deployment) -> Option<(&Service, u8)> {
    let Carrier::Service(service) = deployment.carrier()? else { return None };
    Some((service, deployment.new_side()?))
}

/// The two target groups of a service behind its listener for test traffic.
fn test_pair(deployment: &Deployment, service: &Service) -> Option<Pair> {
    let (old, new) = deployment.sides()?;
    let listener = Some(service.test_listener.clone()?);
    Some(Pair { old: old.to_owned(), new: new.to_owned(), listener })
}

impl Here {
    /// Checks a service before its balancer is asked; nothing if it can be deployed to.
    pub(crate) async fn check_service(&self, service: &Service) -> Result<Vec<Fact>, Error> {
        match self.traffic.services.check(service).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) => refused(Request::FindSides, error),
        }
    }

    /// Has the new tasks run, and tells how all of them stand.
    pub(crate) async fn bring_up(&self, deployment: &Deployment) -> Result<Vec<Fact>, Error> {
        let Some((service, side)) = service_of(deployment) else { return Ok(Vec::new()) };
        // A target group that no listener forwards to finds nobody healthy: with none of the traffic it is named there.
        let Some(pair) = pair_of(deployment) else { return Ok(Vec::new()) };
        let (id, request) = (deployment.id(), Request::BringUp);
        let is_led =
            self.is_wanted(id, &request).await? && self.lead(id, &request, &pair, 0).await?;
        if !is_led || !self.is_wanted(id, &request).await? {
            return Ok(Vec::new());
        }
        match self.traffic.services.bring_up(service, side, deployment.id()).await {
            Ok(sets) => Ok(vec![Fact::TasksSeen(sets)]),
            Err(error) => refused(Request::BringUp, error),
        }
    }

    /// Gives the new side the test traffic, and tells so when that is read back.
    pub(crate) async fn move_test_traffic(
        &self,
        deployment: &Deployment,
    ) -> Result<Vec<Fact>, Error> {
        let pair = service_of(deployment).and_then(|(service, _)| test_pair(deployment, service));
        let Some(pair) = pair else { return Ok(Vec::new()) };
        if !self.is_wanted(deployment.id(), &Request::MoveTestTraffic).await? {
            return Ok(Vec::new());
        }
        match self.lead(deployment.id(), &Request::MoveTestTraffic, &pair, 100).await {
            Ok(is_so) => Ok(is_so.then_some(Fact::TestTrafficMoved).into_iter().collect()),
            Err(Error::Balancer(
                error @ (BalancerError::Refused { .. } | BalancerError::Unknown { .. }),
            )) => {
                let (code, message) = (FailureCode::InvalidBalancer, error.to_string());
                let (request, why) = (Request::MoveTestTraffic, Failure { code, message });
                Ok(vec![Fact::ShiftRefused { request, why }])
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a deployment wants a request, asked as late as can be: a listener and ECS know nothing of what a request was
    /// meant for, and one that comes late would move the traffic, or end the tasks, of a later deployment.
    async fn is_wanted(&self, id: &DeploymentId, request: &Request) -> Result<bool, Error> {
        let stored = self.base.deployment(id).await?;
        Ok(stored.is_some_and(|stored| stored.row.deployment.wants(request)))
    }

    /// Has a listener give `percent` to the new side as long as a request is wanted, and tells whether that is so.
    async fn lead(
        &self,
        id: &DeploymentId,
        request: &Request,
        pair: &Pair,
        percent: u8,
    ) -> Result<bool, Error> {
        let balancers = &self.traffic.balancers;
        let wanted = Performed { base: &self.base, id, request: request.clone() };
        balancers.split_while(pair, percent, &wanted).await?;
        Ok(balancers.percent(pair).await? == percent)
    }

    /// Whether nothing sends traffic to the side of a service that is to be ended, also what no deployment has to do with:
    /// another rule of its listener, or another listener.
    async fn is_without_senders(&self, deployment: &Deployment, side: Side) -> Result<bool, Error> {
        let Some((old, new)) = deployment.sides() else { return Ok(false) };
        let group = if side == Side::Old { old } else { new };
        let senders = self.traffic.balancers.senders(group).await?;
        if !senders.is_empty() {
            warn!(deployment = %deployment.id(), group, ?senders, "the tasks of this target group are not ended: these send it traffic");
        }
        Ok(senders.is_empty())
    }

    /// Ends one side of a shift, unless it has traffic, and tells so when it is so.
    pub(crate) async fn retire(&self, id: &DeploymentId, side: Side) -> Result<Vec<Fact>, Error> {
        let Some(stored) = self.base.deployment(id).await? else { return Ok(Vec::new()) };
        let deployment = &stored.row.deployment;
        // Nothing is ended that was read to have traffic, whatever is believed.
        let without = if side == Side::Old { 100 } else { 0 };
        let read = self.share(deployment).await?;
        let request = Request::Retire { side };
        if read != Some(without) || !self.is_wanted(id, &request).await? {
            warn!(deployment = %id, ?side, read, "a side that has traffic, or may get some, is not ended");
            return Ok(Vec::new());
        }
        let Some((service, new)) = service_of(deployment) else {
            return match side {
                Side::Old => self.retire_hosts(deployment).await,
                Side::New => self.retire_copy(deployment).await,
            };
        };
        if let Some(pair) = test_pair(deployment, service)
            && !self.lead(id, &request, &pair, without).await?
        {
            return Ok(Vec::new());
        }
        let is_idle = self.is_without_senders(deployment, side).await?;
        if !is_idle || !self.is_wanted(id, &request).await? {
            return Ok(Vec::new());
        }
        let kept = if side == Side::Old { new } else { 1 - new.min(1) };
        let is_so = self.traffic.services.keep_only(service, kept).await?;
        if is_so {
            info!(deployment = %id, ?side, "a side of the service was ended");
        }
        Ok(is_so.then_some(Fact::Retired { side }).into_iter().collect())
    }
}
