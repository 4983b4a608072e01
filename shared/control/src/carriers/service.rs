//! A service of ECS: new tasks beside those that have the traffic, their test traffic, and the end of one of the two sides
//! (`docs/semantics.md#ecs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use engine::appspec::Tasks;
use engine::deployment::{CarrierTraits, Deployment, Shift, Side, Stage, TaskSet};
use engine::lifecycle::Event;
use tracing::{info, warn};
use wire::codedeploy::{
    ApiError, ComputePlatform, DeploymentTarget, DeploymentTargetType, EcsTarget, EcsTaskSet,
    ErrorName, GroupSettings, LifecycleEvent, TargetGroupInfo, TargetLabel, TrafficRoute,
};

use super::carrier::{Acting, Carrier, give_to, share_of, sides_of, unwritable};
use crate::Error;
use crate::content::target_status;
use crate::ports::{Pair, Place, Service};
use crate::settings;

pub(super) const KIND: &str = "service";

/// The events of an ECS deployment, in order, and the stage of each.
const EVENTS: [(Event, Stage); 8] = [
    (Event::BeforeInstall, Stage::BeforeInstall),
    (Event::Install, Stage::Install),
    (Event::AfterInstall, Stage::AfterInstall),
    (Event::AllowTestTraffic, Stage::Test),
    (Event::AfterAllowTestTraffic, Stage::AfterTest),
    (Event::BeforeAllowTraffic, Stage::Before),
    (Event::AllowTraffic, Stage::Move),
    (Event::AfterAllowTraffic, Stage::After),
];

pub(super) fn read(
    stored: &engine::deployment::Carrier,
) -> Result<Arc<dyn Carrier>, serde_json::Error> {
    Ok(Arc::new(stored.settings::<Service>()?))
}

fn shift(service: &Service) -> Result<Shift, serde_json::Error> {
    let traits = CarrierTraits {
        tasks: true,
        test_traffic: service.test_listener.is_some(),
        hooks: Some(service.hooks.keys().copied().collect()),
        steps: true,
        ..CarrierTraits::default()
    };
    // Its old tasks are always ended: the next deployment needs their target group.
    let retires = true;
    Ok(Shift { retires, ..Shift::of(engine::deployment::Carrier::new(KIND, service)?, traits) })
}

/// How the traffic of a service moves for a group with these settings.
///
/// # Errors
/// Where the group asks for the old tasks to be kept.
pub(super) fn shift_of_group(service: &Service, group: &GroupSettings) -> Result<Shift, ApiError> {
    let blue_green = group.blue_green_deployment_configuration.clone().unwrap_or_default();
    let old = blue_green.terminate_blue_instances_on_deployment_success.clone().unwrap_or_default();
    if old.action.as_deref() == Some("KEEP_ALIVE") {
        let message = "The group asks for the old tasks to be kept, and the next deployment needs their target group. Set terminateBlueInstancesOnDeploymentSuccess to TERMINATE, with a terminationWaitTimeInMinutes for as long as the traffic may have to go back.";
        return Err(ErrorName::InvalidBlueGreenDeploymentConfiguration.because(message));
    }
    Ok(Shift {
        ready_wait_ms: settings::ready_wait_ms(&blue_green),
        keep_ms: settings::milliseconds(old.termination_wait_time_in_minutes.unwrap_or(0)),
        ..shift(service).map_err(|error| unwritable(&error))?
    })
}

/// The service that a group deploys to, and the listeners and target groups of its traffic. What it is to run is the
/// AppSpec's, and left empty.
///
/// # Errors
/// What is missing.
pub(crate) fn of_settings(settings: &GroupSettings) -> Result<Service, ApiError> {
    let named = settings.ecs_services.iter().flatten().next().cloned().unwrap_or_default();
    let (Some(name), Some(cluster)) = (named.service_name, named.cluster_name) else {
        let message = "The group names no ECS service. Name one in its ecsServices, by serviceName and clusterName.";
        return Err(ErrorName::InvalidEcsService.because(message));
    };
    let balancers = settings.load_balancer_info.clone().unwrap_or_default();
    let pair = balancers.target_group_pair_info_list.unwrap_or_default().into_iter().next();
    let pair = pair.unwrap_or_default();
    let names = pair.target_groups.unwrap_or_default().into_iter().filter_map(|group| group.name);
    let listener = |route: Option<TrafficRoute>| route?.listener_arns?.into_iter().next();
    let groups = <[String; 2]>::try_from(names.collect::<Vec<_>>());
    let (Ok(groups), Some(listener_arn)) = (groups, listener(pair.prod_traffic_route)) else {
        let message = "The traffic of an ECS service moves between two target groups behind a listener. Name both in loadBalancerInfo.targetGroupPairInfoList, with the prodTrafficRoute, and with a testTrafficRoute if there is one.";
        return Err(ErrorName::InvalidTargetGroupPair.because(message));
    };
    Ok(Service {
        cluster,
        name,
        groups,
        listener: listener_arn,
        test_listener: listener(pair.test_traffic_route),
        tasks: Tasks::default(),
        hooks: BTreeMap::new(),
    })
}

impl Service {
    /// The two target groups behind one of its listeners.
    fn pair_behind(&self, listener: &str, new_side: Option<u8>) -> Option<Pair> {
        let (old, new) = sides_of(self.groups(), new_side)?;
        let listener = Some(listener.to_owned());
        Some(Pair { old: old.to_owned(), new: new.to_owned(), listener })
    }

    fn pair(&self, new_side: Option<u8>) -> Option<Pair> {
        self.pair_behind(&self.listener, new_side)
    }

    fn test_pair(&self, new_side: Option<u8>) -> Option<Pair> {
        self.pair_behind(self.test_listener.as_ref()?, new_side)
    }

    /// A task set as CodeDeploy shows it. What had the traffic is the primary one until it is ended.
    fn shown(&self, deployment: &Deployment, set: &TaskSet) -> EcsTaskSet {
        let is_new = deployment.new_side() == Some(set.side);
        let percent = deployment.percent().unwrap_or(0);
        let weight = if is_new { percent } else { 100 - percent.min(100) };
        let is_primary = is_new == deployment.retired().is_some();
        let group = self.groups.get(usize::from(set.side)).cloned();
        EcsTaskSet {
            identifer: Some(set.id.clone()),
            desired_count: Some(set.desired),
            pending_count: Some(set.pending),
            running_count: Some(set.running),
            status: Some(if is_primary { "PRIMARY" } else { "ACTIVE" }.to_owned()),
            traffic_weight: Some(u32::from(weight)),
            target_group: Some(TargetGroupInfo { name: group }),
            task_set_label: Some(if is_new { TargetLabel::Green } else { TargetLabel::Blue }),
        }
    }

    /// Whether nothing sends traffic to the side that is to be ended, also what no deployment has to do with: another rule
    /// of its listener, or another listener.
    async fn is_without_senders(&self, acting: &Acting<'_>, side: Side) -> Result<bool, Error> {
        let sides = sides_of(self.groups(), acting.deployment.new_side());
        let Some((old, new)) = sides else { return Ok(false) };
        let group = if side == Side::Old { old } else { new };
        let senders = acting.here.traffic.balancers.senders(group).await?;
        if !senders.is_empty() {
            warn!(deployment = %acting.deployment.id(), group, ?senders, "the tasks of this target group are not ended: these send it traffic");
        }
        Ok(senders.is_empty())
    }
}

/// Has a listener give `percent` to the new side as long as that is wanted, and tells whether it is so.
async fn lead(acting: &Acting<'_>, pair: &Pair, percent: u8) -> Result<bool, Error> {
    let balancers = &acting.here.traffic.balancers;
    balancers.split_while(pair, percent, acting).await?;
    Ok(balancers.percent(pair).await? == percent)
}

#[async_trait]
impl Carrier for Service {
    fn platform(&self) -> ComputePlatform {
        ComputePlatform::Ecs
    }

    fn groups(&self) -> Option<[&str; 2]> {
        Some(self.groups.each_ref().map(String::as_str))
    }

    fn hooks(&self) -> BTreeMap<Event, String> {
        self.hooks.clone()
    }

    fn target_events(&self) -> Vec<(Event, Stage)> {
        let has_test = self.test_listener.is_some();
        let is_shown = |stage: Stage| has_test || !matches!(stage, Stage::Test | Stage::AfterTest);
        EVENTS.into_iter().filter(|(_, stage)| is_shown(*stage)).collect()
    }

    fn target(
        &self,
        deployment: &Deployment,
        place: &Place,
        events: Vec<LifecycleEvent>,
    ) -> Option<DeploymentTarget> {
        let Self { cluster, name, .. } = self;
        let sets = deployment.task_sets().iter().map(|set| self.shown(deployment, set));
        let target = EcsTarget {
            deployment_id: Some(deployment.id().to_string()),
            target_id: Some(format!("{cluster}:{name}")),
            target_arn: Some(place.arn("ecs", &format!("service/{cluster}/{name}"))),
            status: Some(target_status(deployment)),
            last_updated_at: Some(deployment.latest().into()),
            lifecycle_events: Some(events),
            task_sets_info: Some(sets.collect()),
        };
        Some(DeploymentTarget {
            deployment_target_type: Some(DeploymentTargetType::EcsTarget),
            ecs_target: Some(target),
            ..DeploymentTarget::default()
        })
    }

    fn way_back(&self, deployment: &Deployment) -> Result<Option<Shift>, serde_json::Error> {
        let back = Self { hooks: BTreeMap::new(), ..self.clone() };
        let Some(new) = deployment.new_side() else { return Ok(None) };
        Ok(Some(Shift { back_to: Some(1 - new.min(1)), ..shift(&back)? }))
    }

    async fn second_side(&self, acting: &Acting<'_>) -> Result<u8, Error> {
        acting.here.traffic.services.check(self).await?;
        let [old, new] = self.groups.clone();
        let pair = Pair { old, new, listener: Some(self.listener.clone()) };
        Ok(acting.here.traffic.balancers.percent(&pair).await?)
    }

    async fn share(&self, acting: &Acting<'_>) -> Result<Option<u8>, Error> {
        share_of(self.pair(acting.deployment.new_side()), acting).await
    }

    async fn give(&self, acting: &Acting<'_>, percent: u8, _: &str) -> Result<(), Error> {
        give_to(self.pair(acting.deployment.new_side()), acting, percent).await
    }

    async fn bring_up(&self, acting: &Acting<'_>) -> Result<Option<Vec<TaskSet>>, Error> {
        let deployment = acting.deployment;
        let Some((side, pair)) = deployment.new_side().zip(self.pair(deployment.new_side())) else {
            return Ok(None);
        };
        // A target group that no listener forwards to finds nobody healthy: with none of the traffic it is named there.
        if !lead(acting, &pair, 0).await? || !acting.still_wanted().await? {
            return Ok(None);
        }
        let services = &acting.here.traffic.services;
        Ok(Some(services.bring_up(self, side, deployment.id()).await?))
    }

    async fn move_test_traffic(&self, acting: &Acting<'_>) -> Result<bool, Error> {
        match self.test_pair(acting.deployment.new_side()) {
            Some(pair) => lead(acting, &pair, 100).await,
            None => Ok(false),
        }
    }

    async fn retire(&self, acting: &Acting<'_>, side: Side) -> Result<bool, Error> {
        let Some(new) = acting.deployment.new_side() else { return Ok(false) };
        let without = if side == Side::Old { 100 } else { 0 };
        if let Some(pair) = self.test_pair(Some(new))
            && !lead(acting, &pair, without).await?
        {
            return Ok(false);
        }
        let is_idle = self.is_without_senders(acting, side).await?;
        if !is_idle || !acting.still_wanted().await? {
            return Ok(false);
        }
        let kept = if side == Side::Old { new } else { 1 - new.min(1) };
        let is_so = acting.here.traffic.services.keep_only(self, kept).await?;
        if is_so {
            info!(deployment = %acting.deployment.id(), ?side, "a side of the service was ended");
        }
        Ok(is_so)
    }
}
