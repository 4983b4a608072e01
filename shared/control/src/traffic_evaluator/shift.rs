//! Traffic moves all together (`docs/semantics.md#blue-green`): what stands before every carrier. Whether a request is still
//! wanted is asked here, what a refusal means is said here, and a share of the traffic counts only when it was read back.

use engine::deployment::{Deployment, Fact, Failure, FailureCode, Ordinals, Request, Side};
use tracing::{info, warn};

use super::here::Here;
use crate::Error;
use crate::carriers::{Acting, Carrier, sides_of};
use crate::ports::{BalancerError, FunctionError, ServiceError, Standing};
use crate::rows::{DeploymentRow, Stored};

/// Why what carries the traffic cannot do what was asked of it; none where it may do so later.
fn refusal_of(error: &Error) -> Option<Failure> {
    let code = if let Error::Balancer(error) = error {
        let is_final =
            matches!(error, BalancerError::Unknown { .. } | BalancerError::Refused { .. });
        is_final.then_some(FailureCode::InvalidBalancer)
    } else if let Error::Function(error) = error {
        let is_final = matches!(error, FunctionError::Refused { .. });
        is_final.then_some(FailureCode::InvalidFunction)
    } else if let Error::Service(error) = error {
        match error {
            ServiceError::Refused { .. } => Some(FailureCode::InvalidService),
            ServiceError::Failing { .. } => Some(FailureCode::TasksFailed),
            ServiceError::Unavailable { .. } => None,
        }
    } else {
        None
    };
    code.map(|code| Failure { code, message: error.to_string() })
}

/// Whether an error may end a request. A side that cannot be ended is asked for again, and so are tasks that wait for their
/// listener: the log says why they could not, and somebody may mend it.
fn is_final(request: &Request, error: &Error) -> bool {
    let is_of_listener = *request == Request::BringUp && matches!(error, Error::Balancer(_));
    !is_of_listener && !matches!(request, Request::Retire { .. })
}

impl Here {
    /// Performs a request on what carries the traffic of a deployment, if that still wants it, and tells what came of it.
    pub(super) async fn shift(
        &self,
        carrier: &dyn Carrier,
        stored: &Stored<DeploymentRow>,
        request: &Request,
    ) -> Result<Vec<Fact>, Error> {
        let Some(stored) = self.wanting(&stored.row.deployment, request).await? else {
            return Ok(Vec::new());
        };
        let acting =
            Acting { here: self, deployment: &stored.row.deployment, request: Some(request) };
        let done = self.ask(carrier, &acting, request).await;
        match done {
            Err(error) if is_final(request, &error) => {
                let why = refusal_of(&error).ok_or(error)?;
                Ok(vec![Fact::ShiftRefused { request: request.clone(), why }])
            }
            done => Ok(done?.into_iter().collect()),
        }
    }

    async fn ask(
        &self,
        carrier: &dyn Carrier,
        acting: &Acting<'_>,
        request: &Request,
    ) -> Result<Option<Fact>, Error> {
        if let Request::MoveTraffic { percent } = request {
            return self.move_traffic(carrier, acting, *percent).await;
        }
        if let Request::Retire { side } = request {
            return self.retire(carrier, acting, *side).await;
        }
        if *request == Request::FindSides {
            let percent_of_second = carrier.second_side(acting).await?;
            return Ok(Some(Fact::SidesFound { percent_of_second }));
        }
        if *request == Request::BringUp {
            return Ok(carrier.bring_up(acting).await?.map(Fact::TasksSeen));
        }
        if *request == Request::MoveTestTraffic {
            let is_so = carrier.move_test_traffic(acting).await?;
            return Ok(is_so.then_some(Fact::TestTrafficMoved));
        }
        Err(Error::misdirected(request))
    }

    /// Gives the new side of a shift its share of the traffic, and tells so when that is read back.
    async fn move_traffic(
        &self,
        carrier: &dyn Carrier,
        acting: &Acting<'_>,
        percent: u8,
    ) -> Result<Option<Fact>, Error> {
        let deployment = acting.deployment();
        let rises = deployment.percent().is_some_and(|known| percent > known);
        if rises && !self.can_carry(carrier, deployment).await? {
            return Ok(None);
        }
        let revision = carrier.revision(acting).await?;
        // Asked again as late as can be: what nobody wants any more is not done, above all not after an alarm.
        if !acting.still_wanted().await? {
            return Ok(None);
        }
        carrier.give(acting, percent, &revision).await?;
        let read = carrier.share(acting).await?;
        info!(deployment = %deployment.id(), percent, read, "the traffic moves");
        Ok((read == Some(percent)).then_some(Fact::TrafficMoved { percent }))
    }

    /// Ends one side of a shift, unless it has traffic, and tells so when it is so.
    async fn retire(
        &self,
        carrier: &dyn Carrier,
        acting: &Acting<'_>,
        side: Side,
    ) -> Result<Option<Fact>, Error> {
        // Nothing is ended that was read to have traffic, whatever is believed.
        let without = if side == Side::Old { 100 } else { 0 };
        let read = carrier.share(acting).await?;
        if read != Some(without) || !acting.still_wanted().await? {
            let id = acting.deployment().id();
            warn!(deployment = %id, ?side, read, "a side that has traffic, or may get some, is not ended");
            return Ok(None);
        }
        Ok(carrier.retire(acting, side).await?.then_some(Fact::Retired { side }))
    }

    /// The deployment as it stands, if it wants the request.
    async fn wanting(
        &self,
        deployment: &Deployment,
        request: &Request,
    ) -> Result<Option<Stored<DeploymentRow>>, Error> {
        let stored = self.base.deployment(deployment.id()).await?;
        Ok(stored.filter(|stored| stored.row.deployment.wants(request)))
    }

    /// How much of the traffic the new side of a deployment has, in percent, as what carries it says.
    pub(super) async fn share(
        &self,
        carrier: &dyn Carrier,
        deployment: &Deployment,
    ) -> Result<Option<u8>, Error> {
        carrier.share(&Acting { here: self, deployment, request: None }).await
    }

    /// Whether as many hosts of the new side get traffic as have to be healthy.
    async fn can_carry(
        &self,
        carrier: &dyn Carrier,
        deployment: &Deployment,
    ) -> Result<bool, Error> {
        let sides = sides_of(carrier.groups(), deployment.new_side());
        let (Some((_, group)), true) = (sides, deployment.order().has_hosts()) else {
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

    /// The hosts that are ready for traffic and wait for it.
    pub(crate) async fn poised_names(&self, deployment: &Deployment) -> Result<Vec<String>, Error> {
        let id = deployment.id();
        let hosts: Ordinals = deployment.poised().iter().collect();
        let hosts = self.base.hosts_at(id, hosts.iter()).await?;
        Ok(hosts.into_iter().map(|host| host.row.name).collect())
    }
}
