//! The target of a deployment of an ECS service: the service, and its task sets (`docs/semantics.md#ecs`).

use engine::deployment::{Deployment, Service, Stage, TaskSet};
use engine::lifecycle::Event;
use wire::codedeploy::{
    DeploymentTarget, DeploymentTargetType, EcsTarget, EcsTaskSet, TargetGroupInfo, TargetLabel,
};

use super::content::target_status;
use crate::{Error, OperatorApi};

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

impl OperatorApi {
    pub(super) async fn ecs_target(
        &self,
        deployment: &Deployment,
        service: &Service,
    ) -> Result<DeploymentTarget, Error> {
        let Service { cluster, name, .. } = service;
        let has_test = service.test_listener.is_some();
        let is_shown = |stage: Stage| has_test || !matches!(stage, Stage::Test | Stage::AfterTest);
        let events: Vec<_> = EVENTS.into_iter().filter(|(_, stage)| is_shown(*stage)).collect();
        let sets = deployment.task_sets().iter().map(|set| shown(deployment, service, set));
        let target = EcsTarget {
            deployment_id: Some(deployment.id().to_string()),
            target_id: Some(format!("{cluster}:{name}")),
            target_arn: Some(self.place.arn("ecs", &format!("service/{cluster}/{name}"))),
            status: Some(target_status(deployment)),
            last_updated_at: Some(deployment.latest().into()),
            lifecycle_events: Some(self.events_of(deployment, &events).await?),
            task_sets_info: Some(sets.collect()),
        };
        Ok(DeploymentTarget {
            deployment_target_type: Some(DeploymentTargetType::EcsTarget),
            ecs_target: Some(target),
            ..DeploymentTarget::default()
        })
    }
}

/// A task set as CodeDeploy shows it. What had the traffic is the primary one until it is ended.
fn shown(deployment: &Deployment, service: &Service, set: &TaskSet) -> EcsTaskSet {
    let is_new = deployment.new_side() == Some(set.side);
    let percent = deployment.percent().unwrap_or(0);
    let weight = if is_new { percent } else { 100 - percent.min(100) };
    let is_primary = is_new == deployment.retired().is_some();
    let group = service.groups.get(usize::from(set.side)).cloned();
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
