//! The targets of a deployment: each host, and how far it got.

use engine::deployment::{Deployment, HostState};
use engine::lifecycle::Event;
use wire::codedeploy::{
    BatchGetDeploymentTargets, BatchGetDeploymentTargetsOutput, DeploymentTarget,
    DeploymentTargetType, Diagnostics, ErrorName, GetDeploymentTarget, GetDeploymentTargetOutput,
    InstanceTarget, LifecycleErrorCode, LifecycleEvent, LifecycleEventStatus,
    ListDeploymentTargets, ListDeploymentTargetsOutput, TargetFilterName, TargetLabel,
    TargetStatus,
};
use wire::host::{ErrorCode, EventReport, EventStatus, HostStatus};

use super::{refuse, text};
use crate::rows::{self, HostRow, OutOfReach, Transport};
use crate::table::{Index, Query};
use crate::{Error, OperatorApi};

impl OperatorApi {
    /// The deployment, once its hosts are known.
    async fn started_deployment(&self, id: &Option<String>) -> Result<Deployment, Error> {
        let deployment = self.known_deployment(id).await?.row.deployment;
        if deployment.is_sealed() {
            return Ok(deployment);
        }
        let message = format!(
            "The deployment `{}` has no targets yet. Ask again in a moment.",
            deployment.id()
        );
        Err(refuse(ErrorName::DeploymentNotStarted, message))
    }

    /// `ListDeploymentTargets`, in deployment order.
    pub async fn list_deployment_targets(
        &self,
        request: &ListDeploymentTargets,
    ) -> Result<ListDeploymentTargetsOutput, Error> {
        let deployment = self.started_deployment(&request.deployment_id).await?;
        if let Some(target) = self.content_target(&deployment).await? {
            return Ok(ListDeploymentTargetsOutput {
                target_ids: Some(target.names().take(1).map(str::to_owned).collect()),
                next_token: None,
            });
        }
        let filters = request.target_filters.clone().unwrap_or_default();
        let is_blue_green = deployment.order().shift.is_some();
        let label = filters.get(TargetFilterName::ServerInstanceLabel.name());
        if label.is_some() && !is_blue_green {
            let message =
                "Only blue/green deployments have labels. Leave the filter ServerTargetLabel out.";
            return Err(refuse(ErrorName::InvalidDeploymentInstanceType, message));
        }
        let statuses = filters.get(TargetFilterName::TargetStatus.name());
        let wanted = |host: &HostRow| {
            let status = status_of(&deployment, host).name();
            // Hosts that have the traffic are not touched, and are no targets.
            label.is_none_or(|labels| labels.iter().any(|l| l == TargetLabel::Green.name()))
                && statuses.is_none_or(|statuses| statuses.iter().any(|wanted| wanted == status))
        };
        let mut token = request.next_token.clone();
        loop {
            let (mut hosts, next) = self.page_of_hosts(deployment.id(), token.as_deref()).await?;
            hosts.retain(&wanted);
            // Pages of which nothing is left are passed over.
            if !hosts.is_empty() || next.is_none() {
                return Ok(ListDeploymentTargetsOutput {
                    target_ids: Some(hosts.into_iter().map(|host| host.name).collect()),
                    next_token: next,
                });
            }
            token = next;
        }
    }

    /// `GetDeploymentTarget`.
    pub async fn get_deployment_target(
        &self,
        request: &GetDeploymentTarget,
    ) -> Result<GetDeploymentTargetOutput, Error> {
        let deployment = self.started_deployment(&request.deployment_id).await?;
        let name = text(&request.target_id);
        if let Some(target) = self.content_target_named(&deployment, name).await? {
            return Ok(GetDeploymentTargetOutput { deployment_target: Some(target) });
        }
        let host = self.target(&deployment, name).await?;
        let host = host
            .ok_or_else(|| missing(ErrorName::DeploymentTargetDoesNotExist, &deployment, name))?;
        let target = self.shown(&deployment, host);
        Ok(GetDeploymentTargetOutput { deployment_target: Some(target) })
    }

    /// `BatchGetDeploymentTargets`: all or none.
    pub async fn batch_get_deployment_targets(
        &self,
        request: &BatchGetDeploymentTargets,
    ) -> Result<BatchGetDeploymentTargetsOutput, Error> {
        let deployment = self.started_deployment(&request.deployment_id).await?;
        let names = request.target_ids.as_deref().unwrap_or_default();
        if let [name] = names
            && let Some(target) = self.content_target_named(&deployment, name).await?
        {
            return Ok(BatchGetDeploymentTargetsOutput { deployment_targets: Some(vec![target]) });
        }
        let found =
            futures::future::try_join_all(names.iter().map(|name| self.target(&deployment, name)));
        let mut targets = Vec::new();
        for (name, host) in names.iter().zip(found.await?) {
            let host =
                host.ok_or_else(|| missing(ErrorName::InstanceDoesNotExist, &deployment, name))?;
            targets.push(self.shown(&deployment, host));
        }
        Ok(BatchGetDeploymentTargetsOutput { deployment_targets: Some(targets) })
    }

    /// The host of a deployment that is called `name`, or has such an ARN.
    pub(super) async fn target(
        &self,
        deployment: &Deployment,
        name: &str,
    ) -> Result<Option<HostRow>, Error> {
        let name = name.rsplit_once(":instance/").map_or(name, |(_, name)| name);
        let id = deployment.id();
        let place = HostRow::place_in_list(deployment.order().created_at, id);
        let query = Query::prefix(HostRow::list_of(name), place, 1);
        if let Some(key) = self.base.table.query_index(Index::Listed, &query).await?.items.first()
            && let Some(host) = rows::load::<HostRow>(&*self.base.table, key).await?
        {
            return Ok(Some(host.row));
        }
        // The index may be late; what is in the deployment's partition is not.
        Ok(self.base.enrolled(id).await?.into_iter().find(|host| host.name == name))
    }

    fn shown(&self, deployment: &Deployment, host: HostRow) -> DeploymentTarget {
        let ended = deployment.ended().map(|ended| ended.at);
        let updated = host.heard_at.or(ended).unwrap_or(host.enrolled_at);
        let target = InstanceTarget {
            deployment_id: Some(host.deployment_id.to_string()),
            target_arn: Some(self.place.arn("codedeploy", &format!("instance/{}", host.name))),
            status: Some(status_of(deployment, &host)),
            last_updated_at: Some(updated.into()),
            lifecycle_events: Some(events_of(deployment, &host)),
            target_id: Some(host.name),
            instance_label: deployment.order().shift.as_ref().map(|_| TargetLabel::Green),
        };
        DeploymentTarget {
            deployment_target_type: Some(DeploymentTargetType::InstanceTarget),
            instance_target: Some(target),
            ..DeploymentTarget::default()
        }
    }
}

fn missing(error: ErrorName, deployment: &Deployment, name: &str) -> Error {
    let message =
        format!("The deployment `{}` has no target `{name}`. List its targets.", deployment.id());
    refuse(error, message)
}

fn state_of(deployment: &Deployment, host: &HostRow) -> HostState {
    deployment.hosts().get(host.ordinal).map_or(HostState::Untouched, |known| known.state)
}

/// How a target stands: as the deployment has taken note of it, and, while the deployment waits for the host, as the
/// host itself has said.
fn status_of(deployment: &Deployment, host: &HostRow) -> TargetStatus {
    match state_of(deployment, host) {
        HostState::Untouched => TargetStatus::Pending,
        _ if deployment.is_waiting(host.ordinal) => TargetStatus::Ready,
        HostState::Sent | HostState::Unclaimed | HostState::Running => {
            match (host.status, host.out_of_reach, host.heard_at) {
                (Some(HostStatus::Succeeded), ..) => TargetStatus::Succeeded,
                (Some(HostStatus::Failed), ..) if host.was_halted() => TargetStatus::Skipped,
                (Some(HostStatus::Failed), ..) | (_, Some(_), _) => TargetStatus::Failed,
                (_, None, Some(_)) => TargetStatus::InProgress,
                (_, None, None) => TargetStatus::Pending,
            }
        }
        HostState::Succeeded => TargetStatus::Succeeded,
        HostState::Failed if deployment.was_halted(host.ordinal) => TargetStatus::Skipped,
        HostState::Failed | HostState::Silent | HostState::NotStarted => TargetStatus::Failed,
        HostState::Skipped => TargetStatus::Skipped,
        HostState::Gone => TargetStatus::Unknown,
    }
}

/// Why a host will not say how its events ended.
fn silence_of(deployment: &Deployment, host: &HostRow) -> Option<String> {
    let seconds = deployment.order().silence_ms / 1000;
    let known = host.reason.clone();
    match (state_of(deployment, host), host.out_of_reach) {
        (HostState::Gone, _) => Some(
            "The instance was deregistered or terminated during the deployment. Its last state is not known."
                .to_owned(),
        ),
        (HostState::Silent, _) | (HostState::Running, Some(OutOfReach::GivenUp)) => Some(with_hint(known, format!(
            "The instance was not heard of for {seconds} s. Check that it is up, that it can reach the server, and that its runner runs: `systemctl status cutover-runner`, and the runner's log."
        ))),
        (HostState::NotStarted, _) if host.transport == Transport::Push => Some(known.unwrap_or_else(|| format!(
            "The instance did not take the deployment within {seconds} s. Systems Manager took the command; see what became of it with `aws ssm list-command-invocations --details --instance-id {}`.", host.name
        ))),
        (HostState::NotStarted, _) => {
            let what = known.unwrap_or_else(|| {
                format!("The instance did not take the deployment within {seconds} s.")
            });
            Some(format!(
                "{what} Check that it is up, that it can reach the server, that its runner runs, and that it is registered with the key that the runner uses."
            ))
        }
        (
            HostState::Untouched
            | HostState::Sent
            | HostState::Unclaimed
            | HostState::Running
            | HostState::Succeeded
            | HostState::Failed
            | HostState::Skipped,
            _,
        ) => None,
    }
}

/// A sentence, and what is known beside it.
fn with_hint(hint: Option<String>, sentence: String) -> String {
    hint.map_or_else(|| sentence.clone(), |hint| format!("{sentence} {hint}"))
}

fn events_of(deployment: &Deployment, host: &HostRow) -> Vec<LifecycleEvent> {
    let ended = status_of(deployment, host);
    let ended =
        !matches!(ended, TargetStatus::Pending | TargetStatus::InProgress | TargetStatus::Ready);
    let mut silence = silence_of(deployment, host);
    let event = |event: Event| {
        let report = host.events.iter().find(|report| report.event == event);
        let status = report.map_or(EventStatus::Pending, |report| report.status);
        let mut shown = shown_event(event, report);
        // The first event that has not ended is the one that was lost; what would follow never began.
        if matches!(status, EventStatus::Pending | EventStatus::InProgress) && ended {
            shown.status = Some(LifecycleEventStatus::Skipped);
            if let Some(message) = silence.take() {
                shown.status = Some(LifecycleEventStatus::Unknown);
                shown.diagnostics = Some(Diagnostics {
                    error_code: Some(LifecycleErrorCode::UnknownError),
                    script_name: Some(String::new()),
                    message: Some(message),
                    log_tail: Some(String::new()),
                });
            }
        }
        shown
    };
    deployment.events().iter().copied().map(event).collect()
}

fn shown_event(event: Event, report: Option<&EventReport>) -> LifecycleEvent {
    let at = |ms: Option<u64>| ms.map(|ms| engine::Timestamp(ms).into());
    LifecycleEvent {
        lifecycle_event_name: Some(event.name().to_owned()),
        diagnostics: report.and_then(|report| report.diagnostics.as_ref()).map(|given| {
            Diagnostics {
                error_code: Some(error_code(given.error_code)),
                script_name: Some(given.script_name.clone()),
                message: Some(given.message.clone()),
                log_tail: Some(given.log_tail.clone()),
            }
        }),
        start_time: at(report.and_then(|report| report.started_at)),
        end_time: at(report.and_then(|report| report.ended_at)),
        status: Some(match report.map_or(EventStatus::Pending, |report| report.status) {
            EventStatus::Pending => LifecycleEventStatus::Pending,
            EventStatus::InProgress => LifecycleEventStatus::InProgress,
            EventStatus::Succeeded => LifecycleEventStatus::Succeeded,
            EventStatus::Failed => LifecycleEventStatus::Failed,
            EventStatus::Skipped => LifecycleEventStatus::Skipped,
            EventStatus::Unknown => LifecycleEventStatus::Unknown,
        }),
    }
}

fn error_code(code: ErrorCode) -> LifecycleErrorCode {
    match code {
        ErrorCode::Success => LifecycleErrorCode::Success,
        ErrorCode::ScriptMissing => LifecycleErrorCode::ScriptMissing,
        ErrorCode::ScriptNotExecutable => LifecycleErrorCode::ScriptNotExecutable,
        ErrorCode::ScriptTimedOut => LifecycleErrorCode::ScriptTimedOut,
        ErrorCode::ScriptFailed => LifecycleErrorCode::ScriptFailed,
        ErrorCode::UnknownError => LifecycleErrorCode::UnknownError,
    }
}
