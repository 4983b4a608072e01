//! Which deployment group a target group or listener belongs to: one alone, because two would take each other's hosts out
//! of their traffic, and count each other's errors (`docs/semantics.md#traffic`). Each claim is a record, written in the
//! transaction that writes the group.

use std::collections::BTreeSet;

use tracing::warn;
use wire::codedeploy::{EcsService, ErrorName, GroupSettings, TargetGroupInfo, TrafficRoute};

use super::refuse;
use crate::rows::{self, Group, Row as _, Stored, TrafficClaim};
use crate::table::{Query, Write};
use crate::{Error, OperatorApi};

/// The names of the target groups that settings name, as they stand there.
pub(super) fn target_groups(settings: &GroupSettings) -> Vec<&str> {
    let Some(balancers) = &settings.load_balancer_info else { return Vec::new() };
    let pairs = balancers.target_group_pair_info_list.iter().flatten();
    let paired = pairs.flat_map(|pair| pair.target_groups.iter().flatten());
    let all = balancers.target_group_info_list.iter().flatten().chain(paired);
    all.filter_map(|TargetGroupInfo { name }| name.as_deref()).collect()
}

/// What a group with these settings has for itself: target groups, and the listeners that lead to them.
fn claimed(settings: &GroupSettings) -> BTreeSet<String> {
    let groups = target_groups(settings).into_iter().map(claim_of);
    let pairs = settings.load_balancer_info.iter();
    let pairs = pairs.flat_map(|info| info.target_group_pair_info_list.iter().flatten());
    let routes = pairs.flat_map(|pair| [&pair.prod_traffic_route, &pair.test_traffic_route]);
    let listeners = routes.flatten().flat_map(|TrafficRoute { listener_arns }| listener_arns);
    let listeners = listeners.flatten().cloned();
    let services = settings.ecs_services.iter().flatten().filter_map(claim_of_service);
    groups.map(str::to_owned).chain(listeners).chain(services).collect()
}

/// What stands for an ECS service among what groups have for themselves.
const SERVICE: &str = "ecs:";

fn claim_of_service(service: &EcsService) -> Option<String> {
    let EcsService { service_name, cluster_name } = service;
    Some(format!("{SERVICE}{}:{}", cluster_name.as_ref()?, service_name.as_ref()?))
}

/// What has to be one group's alone for a target group to be. Servers of one backend of HAProxy can be named by many
/// prefixes, and their weights are one whole, so that is the backend.
fn claim_of(target_group: &str) -> &str {
    let is_haproxy = target_group.starts_with("haproxy:");
    let backend = target_group.split_once('/').filter(|_| is_haproxy);
    backend.map_or(target_group, |(backend, _)| backend)
}

/// Refuses settings that name a target group twice.
fn check(settings: &GroupSettings) -> Result<(), Error> {
    let mut known = BTreeSet::new();
    match target_groups(settings).into_iter().find(|name| !known.insert(*name)) {
        None => Ok(()),
        Some(twice) => {
            let message =
                format!("`loadBalancerInfo` names the target group `{twice}` twice. Name it once.");
            Err(refuse(ErrorName::InvalidLoadBalancerInfo, message))
        }
    }
}

impl OperatorApi {
    /// The writes that claim what a group names, and release what it named before and does not any more.
    ///
    /// # Errors
    /// `InvalidLoadBalancerInfo` where another group has claimed some of it, or it is named twice.
    pub(super) async fn claim_traffic(
        &self,
        group: &Group,
        before: &GroupSettings,
    ) -> Result<Vec<Write>, Error> {
        check(&group.settings)?;
        let (wanted, had) = (claimed(&group.settings), claimed(before));
        let mut writes = Vec::new();
        for name in &wanted {
            writes.extend(self.claim_one(name, group).await?);
        }
        for name in had.difference(&wanted) {
            writes.extend(self.claim_by(name, group).await?.map(|claim| claim.remove()));
        }
        Ok(writes)
    }

    /// The writes that release all that a group names.
    pub(super) async fn release_traffic(&self, group: &Group) -> Result<Vec<Write>, Error> {
        let mut writes = Vec::new();
        for name in claimed(&group.settings) {
            writes.extend(self.claim_by(&name, group).await?.map(|claim| claim.remove()));
        }
        Ok(writes)
    }

    /// Asks for hosts that are about to be removed to get no more traffic, in every target group that a deployment group
    /// names or that this installation has itself. A balancer that does not do so is named in the log.
    ///
    /// # Errors
    /// Those of the table.
    pub async fn take_out_of_traffic(&self, hosts: &[String]) -> Result<(), Error> {
        let query = Query::prefix(TrafficClaim::ALL, "", 100);
        let claims: Vec<Stored<TrafficClaim>> = rows::load_all(&*self.base.table, query).await?;
        let ids: BTreeSet<_> = claims.into_iter().map(|claim| claim.row.group_id).collect();
        let keys: Vec<_> = ids.iter().map(Group::key_of).collect();
        let groups: Vec<Stored<Group>> = rows::load_many(&*self.base.table, &keys).await?;
        let named = groups.iter().flat_map(|group| target_groups(&group.row.settings));
        let mut names: BTreeSet<String> = named.map(str::to_owned).collect();
        let balancers = self.ports.in_own().balancers;
        if let Some(balancer_admin) = &self.balancer_admin {
            let own = balancer_admin.list().await;
            let own =
                own.into_iter().flat_map(|balancer| balancer.target_groups.unwrap_or_default());
            names.extend(own.filter_map(|group| group.name));
        }
        for name in names {
            if let Err(error) = balancers.drain(&name, hosts).await {
                let error = &error as &dyn std::error::Error;
                warn!(balancer = name, ?hosts, error, "the hosts may still get traffic");
            }
        }
        Ok(())
    }

    /// The claim to `name`, if it is this group's.
    async fn claim_by(
        &self,
        name: &str,
        group: &Group,
    ) -> Result<Option<Stored<TrafficClaim>>, Error> {
        let claim =
            rows::load::<TrafficClaim>(&*self.base.table, &TrafficClaim::key_of(name)).await?;
        Ok(claim.filter(|claim| claim.row.group_id == group.id))
    }

    /// The write that claims `name` for a group; nothing if it has done so.
    async fn claim_one(&self, name: &str, group: &Group) -> Result<Option<Write>, Error> {
        let row = TrafficClaim { name: name.to_owned(), group_id: group.id.clone() };
        let Some(known) = rows::load::<TrafficClaim>(&*self.base.table, &row.key()).await? else {
            // Claims come and go: an older one must not be taken for it.
            return rows::create_anew(&row, self.base.now()).map(Some);
        };
        if known.row.group_id == group.id {
            return Ok(None);
        }
        let key = Group::key_of(&known.row.group_id);
        let Some(other) = rows::load::<Group>(&*self.base.table, &key).await? else {
            // Its group was deleted just now; if the claim was not, it is nobody's.
            return Stored { row, version: known.version }.replace().map(Some);
        };
        let other = other.row;
        let application = self.base.application_by_id(&other.application_id).await?;
        let application = application.unwrap_or(other.application_id);
        if let Some(service) = name.strip_prefix(SERVICE) {
            let message = format!(
                "The ECS service `{service}` belongs to the deployment group `{}` of the application `{application}`. Name \
                 another one, or delete that group.",
                other.name
            );
            return Err(refuse(ErrorName::EcsServiceMappingLimitExceeded, message));
        }
        let message = format!(
            "`{name}` belongs to the deployment group `{}` of the application `{application}`: two groups would take each \
             other's hosts out of their traffic. Name another one, or take it out of the `loadBalancerInfo` of that group, \
             or delete that group.",
            other.name
        );
        Err(refuse(ErrorName::InvalidLoadBalancerInfo, message))
    }
}
