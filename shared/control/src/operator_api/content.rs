//! Deployments that go to no hosts: what is asked of one, its target, and the lifecycle events of that
//! (`docs/semantics.md#lambda`, `docs/semantics.md#ecs`).

use std::cmp::Ordering;

use engine::Revision;
use engine::deployment::{Deployment, Shift, Stage, Status};
use engine::lifecycle::Event;
use wire::codedeploy::{
    CONTENT_LIMIT, ComputePlatform, CreateDeployment, CreateDeploymentOutput, DeploymentTarget,
    ErrorName, GroupSettings, LifecycleEvent, LifecycleEventStatus, RevisionLocation,
};

use super::refuse;
use crate::base::start::Request;
use crate::carriers;
use crate::content::pin_of;
use crate::ports::{Object, PinError};
use crate::rows::{self, Group, HookRow, HookStatus};
use crate::{Error, OperatorApi, settings};

/// Refuses what only a deployment to hosts can be asked for.
fn check_request(request: &CreateDeployment, platform: ComputePlatform) -> Result<(), Error> {
    let given = [
        (request.target_instances.is_some(), ErrorName::InvalidTargetInstances, "targetInstances"),
        (
            request.file_exists_behavior.is_some(),
            ErrorName::InvalidFileExistsBehavior,
            "fileExistsBehavior",
        ),
        (
            request.ignore_application_stop_failures == Some(true),
            ErrorName::InvalidIgnoreApplicationStopFailuresValue,
            "ignoreApplicationStopFailures",
        ),
        (
            request.update_outdated_instances_only == Some(true),
            ErrorName::InvalidUpdateOutdatedInstancesOnlyValue,
            "updateOutdatedInstancesOnly",
        ),
    ];
    match given.into_iter().find(|(is_given, ..)| *is_given) {
        None => Ok(()),
        Some((_, error, what)) => {
            let message = format!(
                "`{what}` is for hosts, and the application runs on {platform}. Leave it out."
            );
            Err(refuse(error, message))
        }
    }
}

impl OperatorApi {
    /// How the traffic moves of a deployment that deploys `revision` again, to where `deployment` deployed; none where that
    /// is what the group's settings say.
    pub(super) fn shift_again(
        &self,
        deployment: &Deployment,
        group: &GroupSettings,
        revision: &Revision,
    ) -> Result<Option<Shift>, Error> {
        let platform = self.platform_of(deployment)?;
        let content = revision.content.as_deref();
        let content = content.filter(|_| platform != ComputePlatform::Server);
        Ok(content.map(|content| carriers::of_content(platform, group, content)).transpose()?)
    }

    /// Starts a deployment of an AppSpec.
    pub(super) async fn deploy_content(
        &self,
        request: &CreateDeployment,
        platform: ComputePlatform,
        group: &Group,
        revision: Option<&RevisionLocation>,
    ) -> Result<CreateDeploymentOutput, Error> {
        let Some(revision) = revision else {
            return Err(refuse(ErrorName::RevisionRequired, "RevisionLocation must be specified"));
        };
        check_request(request, platform)?;
        let revision = match &revision.s3_location {
            Some(_) => self.read_revision(revision.try_into()?).await?,
            None => Revision::of_content(revision.required_content()?.to_owned()),
        };
        let content = revision.content.as_deref().unwrap_or_default();
        let shift = carriers::of_content(platform, &group.settings, content)?;
        let pin = pin_of(content);
        let auto_rollback = request.auto_rollback_configuration.as_ref();
        let start = Request {
            config: request.deployment_config_name.clone(),
            description: request.description.clone(),
            auto_rollback: auto_rollback.map(|given| settings::auto_rollback(Some(given))),
            alarms: request.override_alarm_configuration.clone(),
            shift: Some(shift),
            ..Request::new(revision, Some(pin))
        };
        let id = self.base.start(&group.id, &start).await?;
        Ok(CreateDeploymentOutput { deployment_id: Some(id.to_string()) })
    }

    /// The AppSpec that a revision in a bucket is, with it.
    async fn read_revision(&self, revision: Revision) -> Result<Revision, Error> {
        if revision.bundle_type.is_archive() {
            let message = "The revision is an archive, as hosts are deployed. Give the AppSpec by itself, with the `bundleType` YAML or JSON.";
            return Err(refuse(ErrorName::InvalidRevision, message));
        }
        let Revision { bucket, key, version, e_tag, .. } = revision.clone();
        match self.bundles.read(&Object { bucket, key, version, e_tag }, CONTENT_LIMIT).await {
            Ok(content) => Ok(Revision { content: Some(content), ..revision }),
            Err(error @ PinError::Missing { .. }) => {
                Err(refuse(ErrorName::RevisionDoesNotExist, format!("{error}.")))
            }
            Err(PinError::Refused(why)) => {
                let message = format!("The AppSpec cannot be read: {why}.");
                Err(refuse(ErrorName::InvalidRevision, message))
            }
            Err(error @ PinError::Unavailable(_)) => Err(error.into()),
        }
    }

    /// The one target of a deployment that goes to no hosts; none where it goes to hosts.
    pub(super) async fn content_target(
        &self,
        deployment: &Deployment,
    ) -> Result<Option<DeploymentTarget>, Error> {
        let Some(carrier) = self.carriers.of(deployment)? else { return Ok(None) };
        let events = self.events_of(deployment, &carrier.target_events()).await?;
        Ok(carrier.target(deployment, &self.place, events))
    }

    /// The same, called `name` or with such an ARN.
    pub(super) async fn content_target_named(
        &self,
        deployment: &Deployment,
        name: &str,
    ) -> Result<Option<DeploymentTarget>, Error> {
        let Some(target) = self.content_target(deployment).await? else { return Ok(None) };
        if target.names().any(|known| known == name) {
            return Ok(Some(target));
        }
        let message = format!(
            "The deployment `{}` has no target `{name}`. List its targets.",
            deployment.id()
        );
        Err(refuse(ErrorName::DeploymentTargetDoesNotExist, message))
    }

    /// How lifecycle events stand that are the stages of a shift.
    pub(super) async fn events_of(
        &self,
        deployment: &Deployment,
        events: &[(Event, Stage)],
    ) -> Result<Vec<LifecycleEvent>, Error> {
        let mut shown = Vec::new();
        for (event, stage) in events {
            shown.push(self.event_of(deployment, *event, *stage).await?);
        }
        Ok(shown)
    }

    async fn event_of(
        &self,
        deployment: &Deployment,
        event: Event,
        stage: Stage,
    ) -> Result<LifecycleEvent, Error> {
        let said = match deployment.hook_events().is_some_and(|hooks| hooks.contains(&event)) {
            true => {
                let key = HookRow::key_of(deployment.id(), event);
                rows::load::<HookRow>(&*self.base.table, &key).await?.map(|hook| hook.row)
            }
            false => None,
        };
        let now = deployment.stage().unwrap_or_default();
        let has_ended = deployment.ended().is_some();
        let was_stopped = deployment.status() == Status::Stopped;
        let status = match (now.cmp(&stage), said.as_ref().and_then(|hook| hook.status)) {
            (_, Some(HookStatus::Failed)) => LifecycleEventStatus::Failed,
            (Ordering::Greater, _) => LifecycleEventStatus::Succeeded,
            (Ordering::Equal, _) if was_stopped => LifecycleEventStatus::Skipped,
            (Ordering::Equal, _) if has_ended => LifecycleEventStatus::Failed,
            (Ordering::Equal, _) => LifecycleEventStatus::InProgress,
            (Ordering::Less, _) if has_ended => LifecycleEventStatus::Skipped,
            (Ordering::Less, _) => LifecycleEventStatus::Pending,
        };
        Ok(LifecycleEvent {
            lifecycle_event_name: Some(event.name().to_owned()),
            status: Some(status),
            start_time: said.map(|hook| hook.at.into()),
            ..LifecycleEvent::default()
        })
    }
}
