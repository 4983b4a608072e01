//! A deployment as CodeDeploy shows it.

use engine::Timestamp;
use engine::appspec::FileExistsBehavior;
use engine::deployment::{
    Creator, DENIED_MS, Deployment, Failure, FailureCode, HostState, Refusal, Stage, Status,
};
use wire::codedeploy::{
    AutoRollbackConfiguration, ComputePlatform, DeploymentCreator, DeploymentInfo,
    DeploymentOverview, DeploymentStatus, DeploymentStyle, ErrorCode, ErrorInformation,
    RollbackInfo,
};

use crate::rows::{self, DeploymentRow, Group, OldHostsRow};
use crate::{Error, OperatorApi};

/// The status, in CodeDeploy's words.
pub(super) fn status_of(deployment: &Deployment) -> DeploymentStatus {
    match deployment.status() {
        Status::Created => DeploymentStatus::Created,
        Status::InProgress => DeploymentStatus::InProgress,
        Status::Ready => DeploymentStatus::Ready,
        Status::Succeeded => DeploymentStatus::Succeeded,
        Status::Failed => DeploymentStatus::Failed,
        Status::Stopped => DeploymentStatus::Stopped,
    }
}

fn error_of(failure: &Failure) -> ErrorInformation {
    let code = match failure.code {
        FailureCode::HealthConstraints => ErrorCode::HealthConstraints,
        FailureCode::HealthConstraintsInvalid => ErrorCode::HealthConstraintsInvalid,
        FailureCode::NoInstances => ErrorCode::NoInstances,
        FailureCode::RevisionMissing => ErrorCode::RevisionMissing,
        FailureCode::InvalidRevision => ErrorCode::InvalidRevision,
        FailureCode::AlarmActive => ErrorCode::AlarmActive,
        FailureCode::ManualStop => ErrorCode::ManualStop,
        FailureCode::Timeout => ErrorCode::Timeout,
        FailureCode::HookFailed => ErrorCode::HookExecutionFailure,
        FailureCode::InvalidFunction => ErrorCode::InvalidLambdaFunction,
        FailureCode::InvalidService => ErrorCode::InvalidEcsService,
        FailureCode::TasksFailed => ErrorCode::EcsUpdateError,
        FailureCode::InvalidBalancer => ErrorCode::ElasticLoadBalancingInvalid,
        FailureCode::AutoScalingConfiguration => ErrorCode::AutoScalingConfiguration,
        FailureCode::IamRolePermissions => ErrorCode::IamRolePermissions,
    };
    ErrorInformation { code: Some(code), message: Some(failure.message.clone()) }
}

/// Hosts whose command is out count as in progress, whether they have claimed it or not; those that vanished do not
/// count.
fn overview(deployment: &Deployment) -> DeploymentOverview {
    let hosts = deployment.hosts();
    let ready = u64::from(deployment.waiting().len());
    let halted = u64::from(deployment.halted());
    let count = |states: &[HostState]| -> Option<u64> {
        Some(states.iter().map(|state| u64::from(hosts.count(*state))).sum())
    };
    DeploymentOverview {
        pending: count(&[HostState::Untouched]),
        in_progress: count(&[HostState::Sent, HostState::Unclaimed, HostState::Running])
            .map(|in_flight| in_flight.saturating_sub(ready)),
        succeeded: count(&[HostState::Succeeded]),
        failed: count(&[HostState::Failed, HostState::Silent, HostState::NotStarted])
            .map(|failed| failed.saturating_sub(halted)),
        skipped: count(&[HostState::Skipped]).map(|skipped| skipped + halted),
        ready: Some(ready),
    }
}

/// How a deployment goes.
fn style_of(deployment: &Deployment) -> DeploymentStyle {
    let style = |kind: &str, option: &str| DeploymentStyle {
        deployment_type: Some(kind.to_owned()),
        deployment_option: Some(option.to_owned()),
    };
    match deployment.order() {
        order if order.shift.is_some() => style("BLUE_GREEN", "WITH_TRAFFIC_CONTROL"),
        order if order.traffic.is_some() => style("IN_PLACE", "WITH_TRAFFIC_CONTROL"),
        _ => style("IN_PLACE", "WITHOUT_TRAFFIC_CONTROL"),
    }
}

fn rollback_info(deployment: &Deployment) -> Option<RollbackInfo> {
    let id = deployment.id();
    if let Some(old) = &deployment.order().rolls_back {
        let refused = deployment.ended().and_then(|ended| ended.ending.rollback_refused.clone());
        let message = format!("Deployment {id} is triggered to roll back deployment {old}.");
        return Some(RollbackInfo {
            rollback_deployment_id: None,
            rollback_triggering_deployment_id: Some(old.to_string()),
            rollback_message: Some(
                [Some(message), refused].into_iter().flatten().collect::<Vec<_>>().join(" "),
            ),
        });
    }
    let ended = deployment.ended()?;
    let message = match &ended.rolled_back_by {
        Some(new) => format!(
            "Deployment {id} terminated. Automatic rollback is triggered with a DeploymentId {new}."
        ),
        None => ended.ending.rollback_refused.clone()?,
    };
    Some(RollbackInfo {
        rollback_deployment_id: ended.rolled_back_by.as_ref().map(ToString::to_string),
        rollback_triggering_deployment_id: None,
        rollback_message: Some(message),
    })
}

fn auto_rollback(deployment: &Deployment) -> AutoRollbackConfiguration {
    let set = deployment.order().auto_rollback;
    let events = [
        set.on_failure.then_some("DEPLOYMENT_FAILURE"),
        set.on_stop.then_some("DEPLOYMENT_STOP_ON_REQUEST"),
        set.on_alarm.then_some("DEPLOYMENT_STOP_ON_ALARM"),
    ];
    let events: Vec<String> = events.into_iter().flatten().map(str::to_owned).collect();
    AutoRollbackConfiguration {
        enabled: Some(!events.is_empty()),
        events: (!events.is_empty()).then_some(events),
    }
}

/// Why commands are not accepted, while they are not.
fn sending_message(deployment: &Deployment, now: Timestamp) -> Option<String> {
    let (Refusal { message, .. }, denied_since) = deployment.refusal()?;
    Some(match denied_since {
        Some(since) => format!(
            "Commands to hosts are denied: {message}. They are tried again for {} more minutes; then the deployment fails, and \
             hosts that got none stay as they are. Allow what is denied, as `template.yaml` does.",
            since.plus_ms(DENIED_MS).since_ms(now).div_ceil(60_000)
        ),
        None => {
            format!(
                "Commands could not be sent to some hosts: {message}. They are tried again every few seconds."
            )
        }
    })
}

impl OperatorApi {
    /// The deployment as CodeDeploy shows it, under the names that its application and its group have now.
    pub(super) async fn deployment_info(
        &self,
        row: &DeploymentRow,
    ) -> Result<DeploymentInfo, Error> {
        let deployment = &row.deployment;
        let order = deployment.order();
        let group = rows::load::<Group>(&*self.base.table, &Group::key_of(&order.group_id)).await?;
        let group = group.map_or_else(|| order.group.clone(), |group| group.row.name);
        let application = match self.find_application(&order.application).await? {
            Some(same) if same.row.id == row.application_id => same.row.name,
            _ => {
                let found = self.base.application_by_id(&row.application_id).await?;
                found.unwrap_or_else(|| order.application.clone())
            }
        };
        let behavior = match order.file_exists_behavior {
            FileExistsBehavior::Disallow => "DISALLOW",
            FileExistsBehavior::Overwrite => "OVERWRITE",
            FileExistsBehavior::Retain => "RETAIN",
        };
        let ended = deployment.ended();
        Ok(DeploymentInfo {
            application_name: Some(application),
            deployment_group_name: Some(group),
            deployment_config_name: Some(order.config.clone()),
            deployment_id: Some(order.id.to_string()),
            previous_revision: order.fallback.as_ref().map(|last| (&last.revision).into()),
            revision: Some((&order.revision).into()),
            status: Some(status_of(deployment)),
            error_information: ended.and_then(|e| e.ending.failure.as_ref()).map(error_of),
            create_time: Some(order.created_at.into()),
            start_time: deployment.started_at().map(Into::into),
            complete_time: ended.map(|ended| ended.at.into()),
            deployment_overview: Some(overview(deployment)),
            description: order.description.clone(),
            creator: Some(match order.creator {
                Creator::User => DeploymentCreator::User,
                Creator::Rollback => DeploymentCreator::CodeDeployRollback,
                Creator::Arrival => DeploymentCreator::AutoScaling,
                Creator::Departure => DeploymentCreator::AutoScalingTermination,
            }),
            ignore_application_stop_failures: Some(order.ignore_application_stop_failures),
            auto_rollback_configuration: Some(auto_rollback(deployment)),
            update_outdated_instances_only: Some(false),
            rollback_info: rollback_info(deployment),
            deployment_style: Some(style_of(deployment)),
            instance_termination_wait_time_started: Some(
                deployment.stage().is_some_and(|stage| stage >= Stage::Keep),
            ),
            target_instances: row.targets.clone(),
            file_exists_behavior: Some(behavior.to_owned()),
            deployment_status_messages: Some(self.messages_of(deployment).await?),
            compute_platform: Some(self.platform_of(deployment)?),
            ..Default::default()
        })
    }

    /// What a deployment deploys to.
    pub(super) fn platform_of(&self, deployment: &Deployment) -> Result<ComputePlatform, Error> {
        let carrier = self.carriers.of(deployment)?;
        Ok(carrier.map_or(ComputePlatform::Server, |carrier| carrier.platform()))
    }

    /// What is said of a deployment beside its status: why commands are not accepted, which of the hosts that had the traffic
    /// before go on running, and that traffic has moved after its end.
    async fn messages_of(&self, deployment: &Deployment) -> Result<Vec<String>, Error> {
        let order = deployment.order();
        let has_moved = deployment.stage().is_some_and(|stage| stage >= Stage::Move);
        let is_bad = matches!(deployment.status(), Status::Failed | Status::Stopped);
        let mut messages: Vec<String> =
            sending_message(deployment, self.base.now()).into_iter().collect();
        if has_moved && is_bad {
            messages.extend(self.base.found_later(deployment.id()).await?);
        }
        let retires = order.shift.as_ref().is_some_and(|shift| shift.retires && shift.has_hosts());
        if !retires || deployment.stage() < Some(Stage::Retire) {
            return Ok(messages);
        }
        let key = OldHostsRow::key_of(deployment.id());
        let known = rows::load::<OldHostsRow>(&*self.base.table, &key).await?;
        messages.extend(known.into_iter().flat_map(|known| known.row.messages()));
        Ok(messages)
    }
}
