//! The balancers that an installation has itself (`docs/semantics.md#traffic`).

use std::collections::BTreeSet;
use std::sync::Arc;

use wire::codedeploy::{Empty, ErrorName, GroupSettings};
use wire::cutover::{
    AddBalancer, AddBalancerOutput, BalancerInfo, ListBalancers, ListBalancersOutput,
    RemoveBalancer,
};

use super::claims::target_groups;
use super::{refuse, text};
use crate::ports::{BalancerError, BalancerKeeper};
use crate::{Error, OperatorApi};

/// What a client is told: a balancer that refuses what it asks for is its own mistake.
fn told(error: BalancerError) -> Error {
    match error {
        error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. }) => {
            refuse(ErrorName::InvalidLoadBalancerInfo, error.to_string())
        }
        error @ BalancerError::Unavailable { .. } => error.into(),
    }
}

impl OperatorApi {
    fn keeper(&self) -> Result<&Arc<dyn BalancerKeeper>, Error> {
        self.keeper.as_ref().ok_or_else(|| {
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
        let balancers = match &self.keeper {
            Some(keeper) => keeper.list().await,
            None => Vec::new(),
        };
        Ok(ListBalancersOutput { balancers: Some(balancers) })
    }

    /// `RemoveBalancer`: one that no group names.
    pub async fn remove_balancer(&self, request: &RemoveBalancer) -> Result<Empty, Error> {
        let (keeper, name) = (self.keeper()?, text(&request.name));
        let all = keeper.list().await.into_iter();
        if let Some(balancer) = all.into_iter().find(|known| known.name.as_deref() == Some(name)) {
            self.check_unnamed(&**keeper, &balancer).await?;
        }
        keeper.remove(name).await.map_err(told)?;
        Ok(Empty {})
    }

    /// Refuses to remove a balancer whose target groups, or whose measurements, a group names.
    async fn check_unnamed(
        &self,
        keeper: &dyn BalancerKeeper,
        balancer: &BalancerInfo,
    ) -> Result<(), Error> {
        let name = balancer.name.as_deref().unwrap_or_default();
        let own = balancer.target_groups.iter().flatten();
        let own: BTreeSet<&str> = own.filter_map(|group| group.name.as_deref()).collect();
        let sends =
            |set: &GroupSettings| target_groups(set).into_iter().any(|group| own.contains(group));
        if let Some(users) = self.users(sends).await? {
            let message = format!(
                "The {} get their traffic from the balancer `{name}`. Take it out of there first, as by `cutover init {} --no-balancer`.",
                users.told(),
                users.first()
            );
            return Err(refuse(ErrorName::InvalidOperation, message));
        }
        let reads = |set: &GroupSettings| {
            let alarms = set.alarm_configuration.iter();
            let mut alarms = alarms.flat_map(|alarms| alarms.alarms.iter().flatten());
            alarms.any(|alarm| {
                alarm.name.as_deref().and_then(|alarm| keeper.read_by(alarm)).as_deref()
                    == Some(name)
            })
        };
        let Some(users) = self.users(reads).await? else { return Ok(()) };
        let message = format!(
            "The {} have alarms on what the balancer `{name}` measures. Take them out of there first, as by `cutover init {} --no-alarm`.",
            users.told(),
            users.first()
        );
        Err(refuse(ErrorName::InvalidOperation, message))
    }
}
