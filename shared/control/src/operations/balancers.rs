//! The balancers that an installation has itself (`docs/semantics.md#traffic`).

use std::sync::Arc;

use wire::codedeploy::{Empty, ErrorName};
use wire::cutover::{
    AddBalancer, AddBalancerOutput, ListBalancers, ListBalancersOutput, RemoveBalancer,
};

use super::{refuse, text};
use crate::ports::{BalancerError, BalancerKeeper};
use crate::{Control, Error};

/// What a client is told: a balancer that refuses what it asks for is its own mistake.
fn told(error: BalancerError) -> Error {
    match error {
        error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. }) => {
            refuse(ErrorName::InvalidLoadBalancerInfo, error.to_string())
        }
        error @ BalancerError::Unavailable { .. } => error.into(),
    }
}

impl Control {
    fn keeper(&self) -> Result<&Arc<dyn BalancerKeeper>, Error> {
        self.traffic.keeper.as_ref().ok_or_else(|| {
            let message = "Only a home has balancers of its own. Name a target group of Elastic Load Balancing in loadBalancerInfo.";
            refuse(ErrorName::InvalidOperation, message)
        })
    }

    /// `AddBalancer`.
    pub async fn add_balancer(&self, request: &AddBalancer) -> Result<AddBalancerOutput, Error> {
        let balancer = self.keeper()?.add(request).await.map_err(told)?;
        Ok(AddBalancerOutput { balancer: Some(balancer) })
    }

    /// `ListBalancers`; none where there can be none.
    pub async fn list_balancers(
        &self,
        _request: &ListBalancers,
    ) -> Result<ListBalancersOutput, Error> {
        let balancers = match &self.traffic.keeper {
            Some(keeper) => keeper.list().await,
            None => Vec::new(),
        };
        Ok(ListBalancersOutput { balancers: Some(balancers) })
    }

    /// `RemoveBalancer`.
    pub async fn remove_balancer(&self, request: &RemoveBalancer) -> Result<Empty, Error> {
        self.keeper()?.remove(text(&request.name)).await.map_err(told)?;
        Ok(Empty {})
    }
}
