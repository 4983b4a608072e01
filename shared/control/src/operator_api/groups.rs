//! Deployment groups.

use engine::deployment::Deployment;
use engine::group::Slot;
use engine::{DeploymentId, GroupId};
use wire::codedeploy::{
    AutoRollbackConfiguration, BatchGetDeploymentGroups, BatchGetDeploymentGroupsOutput,
    ComputePlatform, CreateDeploymentGroup, CreateDeploymentGroupOutput, DeleteDeploymentGroup,
    DeleteDeploymentGroupOutput, DeploymentGroupInfo, DeploymentStyle, ErrorName,
    GetDeploymentGroup, GetDeploymentGroupOutput, GroupSettings, LastDeploymentInfo,
    ListDeploymentGroups, ListDeploymentGroupsOutput, UpdateDeploymentGroup,
    UpdateDeploymentGroupOutput,
};

use super::claims::target_groups;
use super::deployment_info::status_of;
use super::paging::PAGE;
use super::{NamedGroup, refuse, text};
use crate::base::start::DEFAULT_CONFIG;
use crate::fleet_watcher::ask_for;
use crate::ports::Upkeep;
use crate::rows::{self, Application, Config, Group, GroupName, Row, Stored, Subscription};
use crate::table::{Condition, Query, Write};
use crate::{Error, OperatorApi};

/// How long a host may be silent unless the group says otherwise, in milliseconds.
const SILENCE_MS: u64 = 60_000;

fn taken(name: &str) -> Error {
    let message = format!("A deployment group of the application is called `{name}` already.");
    refuse(ErrorName::DeploymentGroupAlreadyExists, message)
}

/// The configuration of a group that names none.
fn default_config(platform: ComputePlatform) -> &'static str {
    match platform {
        ComputePlatform::Server => DEFAULT_CONFIG,
        ComputePlatform::Lambda => "CodeDeployDefault.LambdaAllAtOnce",
        ComputePlatform::Ecs => "CodeDeployDefault.ECSAllAtOnce",
    }
}

impl OperatorApi {
    /// `CreateDeploymentGroup`.
    pub async fn create_deployment_group(
        &self,
        request: &CreateDeploymentGroup,
    ) -> Result<CreateDeploymentGroupOutput, Error> {
        let name = text(&request.deployment_group_name).to_owned();
        let id = self.new_uuid();
        loop {
            let application = self.application(text(&request.application_name)).await?;
            let key = GroupName::key_of(&application.row.id, &name);
            if rows::load::<GroupName>(&*self.base.table, &key).await?.is_some() {
                return Err(taken(&name));
            }
            let mut settings = request.settings.clone();
            let config = settings
                .deployment_config_name
                .get_or_insert_with(|| default_config(application.row.compute_platform).to_owned());
            let used = self.use_config(config, application.row.compute_platform).await?;
            let application_id = application.row.id.clone();
            let group = Group {
                id: id.clone(),
                application_id: application_id.clone(),
                name: name.clone(),
                created_at: self.base.now(),
                settings,
                tags: request.tags.clone().unwrap_or_default(),
                silence_ms: SILENCE_MS,
                rerun_interrupted: false,
                slot: Slot::default(),
                place: None,
                // Nothing was deployed to it that they could miss.
                members_since: Some(0),
            };
            self.check_named(&group, &GroupSettings::default()).await?;
            let name = GroupName { application_id, name: name.clone(), id: id.clone() };
            let mut writes =
                vec![application.unchanged(), rows::create(&name)?, rows::create(&group)?];
            writes.extend(used);
            writes.extend(self.claim_traffic(&group, &GroupSettings::default()).await?);
            writes.extend(self.base.note_scaling_groups(&group)?);
            if self.base.write_unless_changed(&writes).await? {
                self.ask_for_hooks(&group).await;
                return Ok(CreateDeploymentGroupOutput {
                    deployment_group_id: Some(id.to_string()),
                });
            }
        }
    }

    /// Refuses settings that name balancers or alarms which this installation could not use, as far as they are new. Only
    /// one that has its own can say so; elsewhere what a group names may be made after it.
    async fn check_named(&self, group: &Group, before: &GroupSettings) -> Result<(), Error> {
        if self.balancer_admin.is_none() {
            return Ok(());
        }
        let known = target_groups(before);
        let new = target_groups(&group.settings).into_iter().filter(|name| !known.contains(name));
        for name in new {
            self.check_balancer(group.place.as_ref(), name).await?;
        }
        if group.settings.alarm_configuration != before.alarm_configuration {
            let alarms = group.settings.alarm_configuration.as_ref();
            self.check_alarms(group.place.as_ref(), alarms).await?;
        }
        Ok(())
    }

    /// Checks that a group may have the configuration. What is written for it makes a deletion of the configuration
    /// that goes on at the same time look again.
    async fn use_config(
        &self,
        name: &str,
        platform: ComputePlatform,
    ) -> Result<Option<Write>, Error> {
        let known = match super::configs::predefined_platform(name) {
            Some(known) => known,
            None => {
                let config = rows::load::<Config>(&*self.base.table, &Config::key_of(name)).await?;
                let Some(config) = config else {
                    // Tells that there is none.
                    self.base.pace(name).await?;
                    return Ok(None);
                };
                // A ladder is for whatever its steps can be counted in, which each deployment looks at.
                let is_ladder = !config.row.ladder.is_empty() && config.row.routing.is_none();
                let known = config.row.routing.as_ref().map(|(platform, _)| *platform);
                let known = known.unwrap_or(ComputePlatform::Server);
                if is_ladder || known == platform {
                    return config.replace().map(Some);
                }
                known
            }
        };
        if known == platform {
            return Ok(None);
        }
        let message = format!(
            "The deployment configuration `{name}` is for {known}, and the application runs on {platform}. Name another one."
        );
        Err(refuse(ErrorName::InvalidDeploymentConfigName, message))
    }

    /// `GetDeploymentGroup`.
    pub async fn get_deployment_group(
        &self,
        request: &GetDeploymentGroup,
    ) -> Result<GetDeploymentGroupOutput, Error> {
        let (application, found) = self
            .application_and_group(&request.application_name, &request.deployment_group_name)
            .await?;
        let info = self.group_info(&application, found.group.row).await?;
        Ok(GetDeploymentGroupOutput { deployment_group_info: Some(info) })
    }

    /// `BatchGetDeploymentGroups`: names the groups that there are not.
    pub async fn batch_get_deployment_groups(
        &self,
        request: &BatchGetDeploymentGroups,
    ) -> Result<BatchGetDeploymentGroupsOutput, Error> {
        let application = self.application(text(&request.application_name)).await?.row;
        let mut infos = Vec::new();
        let mut missing = Vec::new();
        for name in request.deployment_group_names.iter().flatten() {
            match self.find_group(&application, name).await? {
                Some(found) => infos.push(self.group_info(&application, found.group.row).await?),
                None => missing.push(name.as_str()),
            }
        }
        let error_message = match missing.as_slice() {
            [] => String::new(),
            names => format!("No Deployment Group found for name: {}", names.join(", ")),
        };
        Ok(BatchGetDeploymentGroupsOutput {
            deployment_groups_info: Some(infos),
            error_message: Some(error_message),
        })
    }

    /// `ListDeploymentGroups`, by name.
    pub async fn list_deployment_groups(
        &self,
        request: &ListDeploymentGroups,
    ) -> Result<ListDeploymentGroupsOutput, Error> {
        let application = self.application(text(&request.application_name)).await?.row;
        let query = Query::prefix(GroupName::all_of(&application.id), "", PAGE);
        let (rows, next_token) = self
            .page::<GroupName>("ListDeploymentGroups", query, request.next_token.as_deref())
            .await?;
        Ok(ListDeploymentGroupsOutput {
            application_name: Some(application.name),
            deployment_groups: Some(rows.into_iter().map(|row| row.name).collect()),
            next_token,
        })
    }

    /// `UpdateDeploymentGroup`: what is absent stays, an empty list clears.
    pub async fn update_deployment_group(
        &self,
        request: &UpdateDeploymentGroup,
    ) -> Result<UpdateDeploymentGroupOutput, Error> {
        loop {
            let application = self.application(text(&request.application_name)).await?.row;
            let NamedGroup { name, mut group } =
                self.group(&application, text(&request.current_deployment_group_name)).await?;
            let change = request.settings.clone();
            let config = change.deployment_config_name.clone();
            let before = group.row.settings.clone();
            group.row.settings = group.row.settings.changed_by(change);
            group.row.settings.validate()?;
            self.check_named(&group.row, &before).await?;
            let mut writes = Vec::new();
            if let Some(config) = &config {
                writes.extend(self.use_config(config, application.compute_platform).await?);
            }
            let new = request.new_deployment_group_name.as_deref();
            if let Some(new) = new.filter(|new| *new != group.row.name) {
                let key = GroupName::key_of(&application.id, new);
                if rows::load::<GroupName>(&*self.base.table, &key).await?.is_some() {
                    return Err(taken(new));
                }
                let renamed = GroupName { name: new.to_owned(), ..name.row.clone() };
                writes.extend([name.remove(), rows::create(&renamed)?]);
                group.row.name = new.to_owned();
            }
            writes.push(group.replace()?);
            writes.extend(self.claim_traffic(&group.row, &before).await?);
            writes.extend(self.base.note_scaling_groups(&group.row)?);
            if self.base.write_unless_changed(&writes).await? {
                self.ask_for_hooks(&group.row).await;
                return Ok(UpdateDeploymentGroupOutput { hooks_not_cleaned_up: Some(Vec::new()) });
            }
        }
    }

    /// `DeleteDeploymentGroup`. There need not be one. Its deployments stay readable; an active one ends.
    pub async fn delete_deployment_group(
        &self,
        request: &DeleteDeploymentGroup,
    ) -> Result<DeleteDeploymentGroupOutput, Error> {
        if let Some(application) = self.find_application(text(&request.application_name)).await? {
            self.delete_group(&application.row, text(&request.deployment_group_name)).await?;
        }
        Ok(DeleteDeploymentGroupOutput { hooks_not_cleaned_up: Some(Vec::new()) })
    }

    pub(super) async fn delete_group(
        &self,
        application: &Application,
        name: &str,
    ) -> Result<(), Error> {
        while let Some(found) = self.find_group(application, name).await? {
            let id = &found.group.row.id;
            if found.group.row.members_since.is_some() {
                // Should this be interrupted, the group's history tells what its members did.
                let mut group = found.group;
                group.row.members_since = None;
                self.base.write_unless_changed(&[group.replace()?]).await?;
                continue;
            }
            self.base.delete_members(id).await?;
            for stored in self.subscriptions_of(id).await? {
                self.base.table.write(&[Write::Delete(stored.row.key(), Condition::None)]).await?;
            }
            let mut writes = vec![found.name.remove(), found.group.remove()];
            writes.extend(self.release_traffic(&found.group.row).await?);
            if self.base.write_unless_changed(&writes).await? {
                self.ask_for_hooks(&found.group.row).await;
                if let Some(active) = found.group.row.slot.active {
                    self.base.waker.wake(&active, Vec::new());
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has the hooks on the group's Auto Scaling groups made as its settings want them.
    async fn ask_for_hooks(&self, group: &Group) {
        // Also where it names none any more.
        if group.settings.auto_scaling_groups.is_some() {
            ask_for(&*self.messages, Upkeep::Hooks { group_id: group.id.clone() }, 0).await;
        }
    }

    /// The subscriptions of a group.
    pub(super) async fn subscriptions_of(
        &self,
        group: &GroupId,
    ) -> Result<Vec<Stored<Subscription>>, Error> {
        let query = Query::prefix(Subscription::list_of(group), "", PAGE);
        rows::load_listed(&*self.base.table, query).await
    }

    async fn group_info(
        &self,
        application: &Application,
        group: Group,
    ) -> Result<DeploymentGroupInfo, Error> {
        let last_successful = group.slot.last_successful.as_ref().map(|last| &last.deployment);
        let (successful, attempted) = futures::try_join!(
            self.last_deployment(last_successful),
            self.last_deployment(group.slot.last_attempted.as_ref())
        )?;
        let target = attempted.as_ref().map(|deployment| &deployment.order().revision);
        let set = group.settings;
        let mut info = DeploymentGroupInfo {
            application_name: Some(application.name.clone()),
            deployment_group_id: Some(group.id.to_string()),
            deployment_group_name: Some(group.name),
            target_revision: target.map(Into::into),
            last_successful_deployment: successful.as_ref().map(last_info),
            last_attempted_deployment: attempted.as_ref().map(last_info),
            compute_platform: Some(application.compute_platform),
            ..set.into()
        };
        info.trigger_configurations.get_or_insert_default();
        info.auto_scaling_groups.get_or_insert_default();
        info.auto_rollback_configuration.get_or_insert_with(|| AutoRollbackConfiguration {
            enabled: Some(false),
            ..Default::default()
        });
        info.deployment_style.get_or_insert_with(|| default_style(application.compute_platform));
        info.outdated_instances_strategy.get_or_insert_with(|| "UPDATE".to_owned());
        info.ec2_tag_set.get_or_insert_default().ec2_tag_set_list.get_or_insert_default();
        let set = info.on_premises_tag_set.get_or_insert_default();
        set.on_premises_tag_set_list.get_or_insert_default();
        info.termination_hook_enabled.get_or_insert(false);
        Ok(info)
    }

    async fn last_deployment(
        &self,
        id: Option<&DeploymentId>,
    ) -> Result<Option<Deployment>, Error> {
        let Some(id) = id else { return Ok(None) };
        Ok(self.base.deployment(id).await?.map(|stored| stored.row.deployment))
    }
}

/// How a group without a style is deployed to.
pub(super) fn default_style(platform: ComputePlatform) -> DeploymentStyle {
    let (kind, option) = match platform {
        ComputePlatform::Server => ("IN_PLACE", "WITHOUT_TRAFFIC_CONTROL"),
        ComputePlatform::Lambda | ComputePlatform::Ecs => ("BLUE_GREEN", "WITH_TRAFFIC_CONTROL"),
    };
    DeploymentStyle {
        deployment_type: Some(kind.to_owned()),
        deployment_option: Some(option.to_owned()),
    }
}

fn last_info(deployment: &Deployment) -> LastDeploymentInfo {
    LastDeploymentInfo {
        deployment_id: Some(deployment.id().to_string()),
        status: Some(status_of(deployment)),
        end_time: deployment.ended().map(|ended| ended.at.into()),
        create_time: Some(deployment.order().created_at.into()),
    }
}
