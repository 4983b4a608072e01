//! Deployments: creating, listing, stopping and deleting them.

use std::collections::BTreeSet;

use engine::appspec::FileExistsBehavior;
use engine::deployment::{Deployment, Ended, Fact};
use engine::{DeploymentId, GroupId, Pin, Revision, Timestamp};
use wire::codedeploy::{
    AlarmConfiguration, BatchGetDeployments, BatchGetDeploymentsOutput, ComputePlatform,
    CreateDeployment, CreateDeploymentOutput, DeploymentMode, DeploymentStatus, ErrorName,
    GetDeployment, GetDeploymentOutput, GroupSettings, ListDeployments, ListDeploymentsOutput,
    StopDeployment, StopDeploymentOutput, StopStatus,
};

use super::deployment_info::status_of;
use super::paging::{Listing, PAGE};
use super::{refuse, text, word};
use crate::base::start::Request;
use crate::carriers;
use crate::ports::{BalancerError, Object, PinError, Place};
use crate::rows::{
    self, Application, DeploymentRow, GateRow, Group, RegisteredRevision, Row, SpecificationRow,
    StopRow, digits,
};
use crate::table::{Condition, Index, Key, Query, SortRange, Write};
use crate::{Error, OperatorApi, settings};

impl OperatorApi {
    /// `CreateDeployment`. A revision that is not in its bucket is refused; whether it is any good is found out by the
    /// deployment.
    pub async fn create_deployment(
        &self,
        request: &CreateDeployment,
    ) -> Result<CreateDeploymentOutput, Error> {
        let application = self.application(text(&request.application_name)).await?.row;
        let group = self.group(&application, request.required_group_name()?).await?.group.row;
        let revision = request.required_revision()?;
        let platform = application.compute_platform;
        if platform != ComputePlatform::Server {
            return self.deploy_content(request, platform, &group, revision).await;
        }
        check_supported(request, &group.settings)?;
        self.check_balancers(&group).await?;
        let alarms = request.override_alarm_configuration.as_ref();
        let alarms = alarms.or(group.settings.alarm_configuration.as_ref());
        self.check_alarms(group.place.as_ref(), alarms).await?;
        let revision: Revision = match revision {
            Some(location) => location.try_into()?,
            None => {
                return Err(refuse(
                    ErrorName::RevisionRequired,
                    "RevisionLocation must be specified",
                ));
            }
        };
        if !revision.bundle_type.is_archive() {
            let message = "Hosts are deployed archives, and the revision is an AppSpec by itself. Use the `bundleType` tar, tgz or zip.";
            return Err(refuse(ErrorName::InvalidRevision, message));
        }
        let auto_rollback = request.auto_rollback_configuration.as_ref();
        let pin = self.known_pin(&application, &revision).await?;
        if pin.is_none() {
            self.check_revision(&revision).await?;
        }
        let request = Request {
            pin,
            config: request.deployment_config_name.clone(),
            description: request.description.clone(),
            ignore_application_stop_failures: request
                .ignore_application_stop_failures
                .unwrap_or(false),
            file_exists_behavior: match request.file_exists_behavior.as_deref() {
                Some("OVERWRITE") => FileExistsBehavior::Overwrite,
                Some("RETAIN") => FileExistsBehavior::Retain,
                _ => FileExistsBehavior::Disallow,
            },
            auto_rollback: auto_rollback.map(|given| settings::auto_rollback(Some(given))),
            alarms: request.override_alarm_configuration.clone(),
            targets: request.target_instances.clone(),
            ..Request::new(revision, None)
        };
        let id = self.base.start(&group.id, &request).await?;
        Ok(CreateDeploymentOutput { deployment_id: Some(id.to_string()) })
    }

    /// Refuses a revision that is not in its bucket. Where that cannot be seen now, the deployment finds out.
    async fn check_revision(&self, revision: &Revision) -> Result<(), Error> {
        let Revision { bucket, key, version, e_tag, .. } = revision.clone();
        match self.bundles.find(&Object { bucket, key, version, e_tag }).await {
            Err(error @ PinError::Missing { .. }) => {
                let message = format!("The revision cannot be deployed: {error}. Upload it first.");
                Err(refuse(ErrorName::RevisionDoesNotExist, message))
            }
            Ok(()) | Err(PinError::Refused(_) | PinError::Unavailable(_)) => Ok(()),
        }
    }

    /// Refuses a deployment whose hosts could not be let in again.
    async fn check_balancers(&self, group: &Group) -> Result<(), Error> {
        let traffic = settings::traffic(&group.settings);
        let mut groups = traffic.map(|traffic| traffic.groups).unwrap_or_default();
        if let Some(shift) = carriers::of_group(&group.settings)? {
            let carrier = self.carriers.read(&shift.carrier)?;
            groups.extend(carrier.checked_groups().into_iter().map(str::to_owned));
        }
        for name in &groups {
            self.check_balancer(group.place.as_ref(), name).await?;
        }
        Ok(())
    }

    /// Refuses a target group that there is not.
    pub(super) async fn check_balancer(
        &self,
        place: Option<&Place>,
        group: &str,
    ) -> Result<(), Error> {
        match self.ports_at(place).await?.balancers.check(group).await {
            Ok(()) => Ok(()),
            Err(error @ (BalancerError::Unknown { .. } | BalancerError::Refused { .. })) => {
                Err(refuse(ErrorName::InvalidLoadBalancerInfo, error.to_string()))
            }
            Err(error @ BalancerError::Unavailable { .. }) => Err(error.into()),
        }
    }

    /// Refuses alarms that could never be read, unless that is to be passed over.
    pub(super) async fn check_alarms(
        &self,
        place: Option<&Place>,
        alarms: Option<&AlarmConfiguration>,
    ) -> Result<(), Error> {
        let watch = settings::watch(alarms, 0).filter(|watch| !watch.ignores_unreadable);
        let alarms = watch.map(|watch| watch.alarms).unwrap_or_default();
        let source = self.ports_at(place).await?.alarms;
        match alarms.iter().find_map(|alarm| source.refusal(alarm)) {
            None => Ok(()),
            Some(why) => Err(refuse(ErrorName::InvalidAlarmConfig, why)),
        }
    }

    /// The bytes of a revision that were kept before, if the revision can have no other ones: an object without a
    /// version or an ETag may have been overwritten since.
    async fn known_pin(
        &self,
        application: &Application,
        revision: &Revision,
    ) -> Result<Option<Pin>, Error> {
        if revision.version.is_none() && revision.e_tag.is_none() {
            return Ok(None);
        }
        let key = RegisteredRevision::key_of(&application.id, revision);
        let known = rows::load::<RegisteredRevision>(&*self.base.table, &key).await?;
        Ok(known.and_then(|known| known.row.pin))
    }

    /// `GetDeployment`.
    pub async fn get_deployment(
        &self,
        request: &GetDeployment,
    ) -> Result<GetDeploymentOutput, Error> {
        let found = self.known_deployment(&request.deployment_id).await?;
        let info = self.deployment_info(&found.row).await?;
        Ok(GetDeploymentOutput { deployment_info: Some(info) })
    }

    /// `BatchGetDeployments`: those that there are.
    pub async fn batch_get_deployments(
        &self,
        request: &BatchGetDeployments,
    ) -> Result<BatchGetDeploymentsOutput, Error> {
        let ids = request.deployment_ids.iter().flatten().filter_map(|id| id.parse().ok());
        let mut keys: Vec<Key> = ids.map(|id| DeploymentRow::key_of(&id)).collect();
        let mut known = BTreeSet::new();
        keys.retain(|key| known.insert(key.clone()));
        let found = rows::load_many::<DeploymentRow>(&*self.base.table, &keys).await?;
        let mut infos = Vec::new();
        for stored in &found {
            infos.push(self.deployment_info(&stored.row).await?);
        }
        Ok(BatchGetDeploymentsOutput { deployments_info: Some(infos) })
    }

    /// `ListDeployments`, the newest first: of a group, or of all groups that there are.
    pub async fn list_deployments(
        &self,
        request: &ListDeployments,
    ) -> Result<ListDeploymentsOutput, Error> {
        let groups = self.listed_groups(request).await?;
        let statuses: Vec<DeploymentStatus> = request
            .include_only_statuses
            .iter()
            .flatten()
            .filter_map(|status| status.parse().ok())
            .collect();
        let what = format!("{:?}{:?}", request.application_name, request.deployment_group_name);
        let listing = Listing::new("ListDeployments", &what);
        let mut before = listing.place(request.next_token.as_deref())?;
        if request.external_id.as_deref().is_some_and(|id| !id.is_empty()) {
            // Only CloudFormation gives such ids, and it creates no deployments here.
            return Ok(ListDeploymentsOutput { deployments: Some(Vec::new()), next_token: None });
        }
        let mut ids = Vec::new();
        loop {
            let mut page = self.places(&groups, request, before.as_deref()).await?;
            let more = page.len() > PAGE;
            page.truncate(PAGE);
            before = page.last().map(|(place, _)| place.clone());
            let wanted = |deployment: &Deployment| {
                statuses.is_empty() || statuses.contains(&status_of(deployment))
            };
            page.retain(|(_, deployment)| wanted(deployment));
            ids.extend(page.iter().map(|(_, deployment)| deployment.id().to_string()));
            if !more || !ids.is_empty() {
                let next = before.filter(|_| more).map(|place| listing.token(&place));
                return Ok(ListDeploymentsOutput { deployments: Some(ids), next_token: next });
            }
        }
    }

    async fn listed_groups(&self, request: &ListDeployments) -> Result<Vec<GroupId>, Error> {
        if request.application_name.is_some() {
            let (_, found) = self
                .application_and_group(&request.application_name, &request.deployment_group_name)
                .await?;
            return Ok(vec![found.group.row.id]);
        }
        let query = Query::prefix(Application::ALL, "", 1000);
        let mut groups = Vec::new();
        for application in rows::load_all::<Application>(&*self.base.table, query).await? {
            let found = self.groups_of(&application.row.id).await?;
            groups.extend(found.into_iter().map(|group| group.id));
        }
        Ok(groups)
    }

    /// The newest deployments of some groups that come before a place in the order of creation, one more than are on a
    /// page, with their places.
    async fn places(
        &self,
        groups: &[GroupId],
        request: &ListDeployments,
        before: Option<&str>,
    ) -> Result<Vec<(String, Deployment)>, Error> {
        let range = request.create_time_range.clone().unwrap_or_default();
        let from = range.start.map_or(Timestamp(0), Timestamp::from);
        let to = range.end.map_or(Timestamp(u64::MAX), Timestamp::from);
        let last = before.map_or_else(|| format!("{}$", digits(to.0)), str::to_owned);
        let mut places = Vec::new();
        for group in groups {
            // A page may hold the one at `before` as well, which was listed already.
            let mut query = Query::prefix(DeploymentRow::list_of(group), "", PAGE + 2);
            query.range = SortRange::Between(digits(from.0), last.clone());
            query.descending = true;
            let keys = self.base.table.query_index(Index::Listed, &query).await?.items;
            let rows = rows::load_many::<DeploymentRow>(&*self.base.table, &keys).await?;
            places.extend(rows.into_iter().filter_map(|stored| {
                let place = stored.row.listed()?.sort;
                (Some(place.as_str()) != before).then_some((place, stored.row.deployment))
            }));
        }
        places.sort_by(|a, b| b.0.cmp(&a.0));
        places.truncate(PAGE + 1);
        Ok(places)
    }

    /// `StopDeployment`: notes the request, and lets the deployment know. Hosts that are at work end their event first.
    pub async fn stop_deployment(
        &self,
        request: &StopDeployment,
    ) -> Result<StopDeploymentOutput, Error> {
        let found = self.known_deployment(&request.deployment_id).await?;
        let deployment = &found.row.deployment;
        let id = deployment.id().clone();
        if let Some(ended) = deployment.ended() {
            return Err(has_ended(&id, ended));
        }
        let StopRow { at, roll_back, .. } =
            self.request_stop(&found.row, request.auto_rollback_enabled).await?;
        // It may have ended between the two; then the request came too late, and nobody is told otherwise.
        let found = self.known_deployment(&request.deployment_id).await?;
        let deployment = &found.row.deployment;
        if let Some(ended) = deployment.ended()
            && !deployment.has_heard_stop(roll_back)
        {
            return Err(has_ended(&id, ended));
        }
        self.base.waker.wake(&id, vec![Fact::StopRequested { at, roll_back }]);
        let (status, message) = if deployment.hosts().fleet().in_flight > 0 {
            (StopStatus::Pending, "Hosts at work finish the script that is running")
        } else {
            let message =
                "No more commands will be scheduled for execution in the deployment instances";
            (StopStatus::Succeeded, message)
        };
        Ok(StopDeploymentOutput { status: Some(status), status_message: Some(message.to_owned()) })
    }

    /// Deletes the deployments of a group, which is being deleted itself.
    pub(super) async fn delete_deployments(&self, group: &GroupId) -> Result<(), Error> {
        let mut query = Query::prefix(DeploymentRow::list_of(group), "", PAGE);
        loop {
            let page = self.base.table.query_index(Index::Listed, &query).await?;
            for key in &page.items {
                let Some(id) = DeploymentRow::id_in(key) else { continue };
                // The deployment's own row goes first: without it, nobody adds anything to it any more.
                let keys = GateRow::keys_of(&id).into_iter();
                let keys = keys.chain([SpecificationRow::key_of(&id), key.clone()]);
                let deletes: Vec<_> = keys.map(|key| Write::Delete(key, Condition::None)).collect();
                self.base.table.write(&deletes).await?;
                // Nor does anybody divide its hosts.
                for (partition, _) in self.base.shards(&id).await?.all() {
                    self.delete_partition(&partition).await?;
                }
                self.delete_partition(&key.partition).await?;
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn delete_partition(&self, partition: &str) -> Result<(), Error> {
        loop {
            let page = self.base.table.query(&Query::prefix(partition, "", PAGE)).await?;
            let deletes: Vec<Write> = page
                .items
                .into_iter()
                .map(|record| Write::Delete(record.key, Condition::None))
                .collect();
            if deletes.is_empty() {
                return Ok(());
            }
            self.base.table.write(&deletes).await?;
        }
    }
}

fn has_ended(id: &DeploymentId, ended: &Ended) -> Error {
    let status = ended.ending.status.name();
    refuse(
        ErrorName::DeploymentAlreadyCompleted,
        format!("The deployment `{id}` has ended already: {status}."),
    )
}

/// Refuses what a deployment to hosts in place cannot do here, so that nothing that was asked for is passed over.
fn check_supported(request: &CreateDeployment, group: &GroupSettings) -> Result<(), Error> {
    let mode = word(request.deployment_mode.as_deref(), ErrorName::InvalidInput)?;
    if mode == Some(DeploymentMode::Restart) {
        let message = "The deployment mode RESTART is not supported. Deploy the last successful revision again instead.";
        return Err(refuse(ErrorName::InvalidInput, message));
    }
    if request.update_outdated_instances_only == Some(true) {
        let message = "`updateOutdatedInstancesOnly` is not supported. Leave it out: all instances of the group are deployed to.";
        return Err(refuse(ErrorName::InvalidUpdateOutdatedInstancesOnlyValue, message));
    }
    let style = group.deployment_style.clone().unwrap_or_default();
    if carriers::of_group(group)?.is_some() {
        return Ok(());
    }
    let is_balanced = style.deployment_option.as_deref() == Some("WITH_TRAFFIC_CONTROL");
    if is_balanced && settings::traffic(group).is_none() {
        let message = "The group is set to traffic control and names no target group. Name one in loadBalancerInfo.targetGroupInfoList, or set its deploymentStyle to WITHOUT_TRAFFIC_CONTROL. Classic load balancers are not supported.";
        return Err(refuse(ErrorName::InvalidLoadBalancerInfo, message));
    }
    Ok(())
}
