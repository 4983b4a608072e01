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
use crate::ports::{BalancerAdmin, BalancerError};
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
    fn balancer_admin(&self) -> Result<&Arc<dyn BalancerAdmin>, Error> {
        self.balancer_admin.as_ref().ok_or_else(|| {
            let message = "Only a home has balancers of its own. Name a target group of Elastic Load Balancing in loadBalancerInfo.";
            refuse(ErrorName::InvalidOperation, message)
        })
    }

    /// `AddBalancer`.
    pub async fn add_balancer(&self, request: &AddBalancer) -> Result<AddBalancerOutput, Error> {
        let balancer = self.balancer_admin()?.add(request).await.map_err(told)?;
        Ok(AddBalancerOutput { balancer: Some(balancer) })
    }

    /// `ListBalancers`; none where there can be none.
    pub async fn list_balancers(
        &self,
        _request: &ListBalancers,
    ) -> Result<ListBalancersOutput, Error> {
        let balancers = match &self.balancer_admin {
            Some(balancer_admin) => balancer_admin.list().await,
            None => Vec::new(),
        };
        Ok(ListBalancersOutput { balancers: Some(balancers) })
    }

    /// `RemoveBalancer`: one that no group names.
    pub async fn remove_balancer(&self, request: &RemoveBalancer) -> Result<Empty, Error> {
        let (balancer_admin, name) = (self.balancer_admin()?, text(&request.name));
        let all = balancer_admin.list().await.into_iter();
        if let Some(balancer) = all.into_iter().find(|known| known.name.as_deref() == Some(name)) {
            self.check_unnamed(&**balancer_admin, &balancer).await?;
        }
        balancer_admin.remove(name).await.map_err(told)?;
        Ok(Empty {})
    }

    /// Refuses to remove a balancer whose target groups, or whose measurements, a group names.
    async fn check_unnamed(
        &self,
        balancer_admin: &dyn BalancerAdmin,
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
                alarm.name.as_deref().and_then(|alarm| balancer_admin.read_by(alarm)).as_deref()
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
