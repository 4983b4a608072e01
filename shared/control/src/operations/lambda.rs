//! Deployments of Lambda functions: what is asked of one, and its target (`docs/semantics.md#lambda`).

use engine::appspec::parse_lambda;
use engine::deployment::{Alias, Carrier, Deployment, Stage, Status};
use engine::lifecycle::Event;
use engine::{GroupId, Revision};
use wire::codedeploy::{
    CreateDeployment, CreateDeploymentOutput, DeploymentTarget, DeploymentTargetType, ErrorName,
    LambdaFunctionInfo, LambdaTarget, LifecycleEvent, LifecycleEventStatus, RevisionLocation,
    TargetStatus,
};

use super::refuse;
use crate::rows::{self, HookRow, HookStatus};
use crate::start::Request;
use crate::{Control, Error, settings};

/// The events of a Lambda deployment, in order, and the stage of each.
const EVENTS: [(Event, Stage); 3] = [
    (Event::BeforeAllowTraffic, Stage::Before),
    (Event::AllowTraffic, Stage::Move),
    (Event::AfterAllowTraffic, Stage::After),
];

impl Control {
    /// Starts a deployment of an alias.
    pub(super) async fn deploy_alias(
        &self,
        request: &CreateDeployment,
        group: &GroupId,
        revision: Option<&RevisionLocation>,
    ) -> Result<CreateDeploymentOutput, Error> {
        let Some(revision) = revision else {
            return Err(refuse(ErrorName::RevisionRequired, "RevisionLocation must be specified"));
        };
        if request.target_instances.is_some() {
            let message =
                "`targetInstances` is for hosts, and the application runs on Lambda. Leave it out.";
            return Err(refuse(ErrorName::InvalidTargetInstances, message));
        }
        let content = revision.required_content()?;
        let alias = parse_lambda(content.as_bytes()).map_err(|error| {
            let message = format!("The AppSpec of the Lambda deployment is not valid. {error}.");
            refuse(ErrorName::InvalidRevision, message)
        })?;
        let auto_rollback = request.auto_rollback_configuration.as_ref();
        let start = Request {
            config: request.deployment_config_name.clone(),
            description: request.description.clone(),
            auto_rollback: auto_rollback.map(|given| settings::auto_rollback(Some(given))),
            alarms: request.override_alarm_configuration.clone(),
            carrier: Some(Carrier::Alias(alias)),
            ..Request::new(Revision::of_content(content.to_owned()), None)
        };
        let id = self.start(group, &start).await?;
        Ok(CreateDeploymentOutput { deployment_id: Some(id.to_string()) })
    }

    /// The alias of a deployment, if that is what it deploys to, called `name` or with such an ARN.
    pub(super) async fn lambda_target_named(
        &self,
        deployment: &Deployment,
        name: &str,
    ) -> Result<Option<DeploymentTarget>, Error> {
        let Some(target) = self.lambda_target(deployment).await? else { return Ok(None) };
        let names = [&target.target_id, &target.target_arn];
        if !names.into_iter().flatten().any(|known| known == name) {
            let message = format!(
                "The deployment `{}` has no target `{name}`. List its targets.",
                deployment.id()
            );
            return Err(refuse(ErrorName::DeploymentTargetDoesNotExist, message));
        }
        Ok(Some(DeploymentTarget {
            deployment_target_type: Some(DeploymentTargetType::LambdaTarget),
            instance_target: None,
            lambda_target: Some(target),
        }))
    }

    /// The alias of a deployment, if that is what it deploys to.
    pub(super) async fn lambda_target(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<LambdaTarget>, Error> {
        let Some(Carrier::Alias(alias)) =
            deployment.order().shift.as_ref().map(|shift| &shift.carrier)
        else {
            return Ok(None);
        };
        let crate::Place { account, region } = &self.place;
        let id = format!("{}:{}", alias.function, alias.alias);
        let mut events = Vec::new();
        for (event, stage) in EVENTS {
            events.push(self.lambda_event(deployment, alias, event, stage).await?);
        }
        let status = match deployment.status() {
            Status::Created => TargetStatus::Pending,
            Status::InProgress | Status::Ready => TargetStatus::InProgress,
            Status::Succeeded => TargetStatus::Succeeded,
            Status::Failed | Status::Stopped => TargetStatus::Failed,
        };
        Ok(Some(LambdaTarget {
            deployment_id: Some(deployment.id().to_string()),
            target_arn: Some(format!("arn:aws:lambda:{region}:{account}:function:{id}")),
            target_id: Some(id),
            status: Some(status),
            last_updated_at: Some(deployment.latest().into()),
            lifecycle_events: Some(events),
            lambda_function_info: Some(LambdaFunctionInfo {
                function_name: Some(alias.function.clone()),
                function_alias: Some(alias.alias.clone()),
                current_version: Some(alias.old.clone()),
                target_version: Some(alias.new.clone()),
                target_version_weight: deployment.percent().map(u32::from),
            }),
        }))
    }

    async fn lambda_event(
        &self,
        deployment: &Deployment,
        alias: &Alias,
        event: Event,
        stage: Stage,
    ) -> Result<LifecycleEvent, Error> {
        let now = deployment.stage().unwrap_or_default();
        let said = match alias.hooks.contains_key(&event) {
            true => {
                let key = HookRow::key_of(deployment.id(), event);
                rows::load::<HookRow>(&*self.table, &key).await?.map(|hook| hook.row)
            }
            false => None,
        };
        let has_ended = deployment.ended().is_some();
        let status = match (now.cmp(&stage), said.as_ref().and_then(|hook| hook.status)) {
            (_, Some(HookStatus::Failed)) => LifecycleEventStatus::Failed,
            (std::cmp::Ordering::Greater, _) => LifecycleEventStatus::Succeeded,
            (std::cmp::Ordering::Equal, _) if has_ended => LifecycleEventStatus::Failed,
            (std::cmp::Ordering::Equal, _) => LifecycleEventStatus::InProgress,
            (std::cmp::Ordering::Less, _) if has_ended => LifecycleEventStatus::Skipped,
            (std::cmp::Ordering::Less, _) => LifecycleEventStatus::Pending,
        };
        Ok(LifecycleEvent {
            lifecycle_event_name: Some(event.name().to_owned()),
            status: Some(status),
            start_time: said.map(|hook| hook.at.into()),
            ..LifecycleEvent::default()
        })
    }
}
