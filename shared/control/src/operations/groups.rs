//! Deployment groups.

use engine::deployment::Deployment;
use engine::group::Slot;
use engine::{DeploymentId, GroupId};
use wire::codedeploy::{
    AutoRollbackConfiguration, BatchGetDeploymentGroups, BatchGetDeploymentGroupsOutput,
    ComputePlatform, CreateDeploymentGroup, CreateDeploymentGroupOutput, DeleteDeploymentGroup,
    DeleteDeploymentGroupOutput, DeploymentGroupInfo, DeploymentStyle, Ec2TagSet, ErrorName,
    GetDeploymentGroup, GetDeploymentGroupOutput, LastDeploymentInfo, ListDeploymentGroups,
    ListDeploymentGroupsOutput, OnPremisesTagSet, Request, UpdateDeploymentGroup,
    UpdateDeploymentGroupOutput,
};

use super::deployment_info::status_of;
use super::paging::PAGE;
use super::revisions::location_of;
use super::{NamedGroup, refuse, text};
use crate::rows::{self, Application, Config, Group, GroupName, Row, Stored, Subscription};
use crate::start::DEFAULT_CONFIG;
use crate::table::{Condition, Index, Query, Write};
use crate::{Control, Error};

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

impl Control {
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
            if rows::load::<GroupName>(&*self.table, &key).await?.is_some() {
                return Err(taken(&name));
            }
            let mut settings = request.clone();
            // The names are kept in the records of names only.
            settings.application_name = None;
            settings.deployment_group_name = None;
            let config = settings
                .deployment_config_name
                .get_or_insert_with(|| default_config(application.row.compute_platform).to_owned());
            let used = self.use_config(config, application.row.compute_platform).await?;
            let application_id = application.row.id.clone();
            let group = Group {
                id: id.clone(),
                application_id: application_id.clone(),
                name: name.clone(),
                created_at: self.now(),
                settings,
                silence_ms: SILENCE_MS,
                rerun_interrupted: false,
                slot: Slot::default(),
            };
            let name = GroupName { application_id, name: name.clone(), id: id.clone() };
            let mut writes =
                vec![application.unchanged(), rows::create(&name)?, rows::create(&group)?];
            writes.extend(used);
            if self.write_unless_changed(&writes).await? {
                return Ok(CreateDeploymentGroupOutput {
                    deployment_group_id: Some(id.to_string()),
                });
            }
        }
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
                let config = rows::load::<Config>(&*self.table, &Config::key_of(name)).await?;
                let Some(config) = config else {
                    // Tells that there is none.
                    self.rule(name).await?;
                    return Ok(None);
                };
                if platform == ComputePlatform::Server {
                    return config.replace().map(Some);
                }
                ComputePlatform::Server
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
            patch(&mut group.row.settings, request);
            let mut whole = group.row.settings.clone();
            whole.application_name = Some(application.name.clone());
            whole.deployment_group_name = Some(group.row.name.clone());
            whole.validate()?;
            let mut writes = Vec::new();
            if let Some(config) = &request.deployment_config_name {
                writes.extend(self.use_config(config, application.compute_platform).await?);
            }
            let new = request.new_deployment_group_name.as_deref();
            if let Some(new) = new.filter(|new| *new != group.row.name) {
                let key = GroupName::key_of(&application.id, new);
                if rows::load::<GroupName>(&*self.table, &key).await?.is_some() {
                    return Err(taken(new));
                }
                let renamed = GroupName { name: new.to_owned(), ..name.row.clone() };
                writes.extend([name.remove(), rows::create(&renamed)?]);
                group.row.name = new.to_owned();
            }
            writes.push(group.replace()?);
            if self.write_unless_changed(&writes).await? {
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
            for stored in self.subscriptions_of(id).await? {
                self.table.write(&[Write::Delete(stored.row.key(), Condition::None)]).await?;
            }
            if self.write_unless_changed(&[found.name.remove(), found.group.remove()]).await? {
                if let Some(active) = found.group.row.slot.active {
                    self.bell.ring(&active, Vec::new());
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// The subscriptions of a group.
    pub(super) async fn subscriptions_of(
        &self,
        group: &GroupId,
    ) -> Result<Vec<Stored<Subscription>>, Error> {
        let mut query = Query::prefix(Subscription::list_of(group), "", PAGE);
        let mut keys = Vec::new();
        loop {
            let page = self.table.query_index(Index::Listed, &query).await?;
            keys.extend(page.items);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return rows::load_many(&*self.table, &keys).await,
            }
        }
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
        let not_rolled_back =
            AutoRollbackConfiguration { enabled: Some(false), ..Default::default() };
        Ok(DeploymentGroupInfo {
            application_name: Some(application.name.clone()),
            deployment_group_id: Some(group.id.to_string()),
            deployment_group_name: Some(group.name),
            deployment_config_name: set.deployment_config_name,
            ec2_tag_filters: set.ec2_tag_filters,
            on_premises_instance_tag_filters: set.on_premises_instance_tag_filters,
            auto_scaling_groups: Some(
                set.auto_scaling_groups
                    .into_iter()
                    .flatten()
                    .map(|name| wire::codedeploy::AutoScalingGroup {
                        name: Some(name),
                        ..Default::default()
                    })
                    .collect(),
            ),
            service_role_arn: set.service_role_arn,
            target_revision: target.map(location_of),
            trigger_configurations: Some(set.trigger_configurations.unwrap_or_default()),
            alarm_configuration: set.alarm_configuration,
            auto_rollback_configuration: set.auto_rollback_configuration.or(Some(not_rolled_back)),
            deployment_style: Some(set.deployment_style.unwrap_or_else(|| {
                default_style(application.compute_platform)
            })),
            outdated_instances_strategy: Some(
                set.outdated_instances_strategy.unwrap_or_else(|| "UPDATE".to_owned()),
            ),
            blue_green_deployment_configuration: set.blue_green_deployment_configuration,
            load_balancer_info: set.load_balancer_info,
            last_successful_deployment: successful.as_ref().map(last_info),
            last_attempted_deployment: attempted.as_ref().map(last_info),
            ec2_tag_set: Some(
                set.ec2_tag_set.unwrap_or_else(|| Ec2TagSet { ec2_tag_set_list: Some(Vec::new()) }),
            ),
            on_premises_tag_set: Some(set.on_premises_tag_set.unwrap_or_else(|| {
                OnPremisesTagSet { on_premises_tag_set_list: Some(Vec::new()) }
            })),
            compute_platform: Some(application.compute_platform),
            ecs_services: set.ecs_services,
            ec2_deployment_options: set.ec2_deployment_options,
            termination_hook_enabled: Some(set.termination_hook_enabled.unwrap_or(false)),
        })
    }

    async fn last_deployment(
        &self,
        id: Option<&DeploymentId>,
    ) -> Result<Option<Deployment>, Error> {
        let Some(id) = id else { return Ok(None) };
        Ok(self.deployment(id).await?.map(|stored| stored.row.deployment))
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

/// Sets what a request brings. Filters and sets of the same tags exclude each other: the newer form stays.
fn patch(settings: &mut CreateDeploymentGroup, request: &UpdateDeploymentGroup) {
    macro_rules! take {
        ($($member:ident,)*) => {
            $(if request.$member.is_some() {
                settings.$member.clone_from(&request.$member);
            })*
        };
    }
    let given = |list: Option<bool>| list == Some(false);
    if given(request.ec2_tag_filters.as_ref().map(Vec::is_empty)) {
        settings.ec2_tag_set = None;
    }
    if given(request.on_premises_instance_tag_filters.as_ref().map(Vec::is_empty)) {
        settings.on_premises_tag_set = None;
    }
    let set = request.ec2_tag_set.as_ref().and_then(|set| set.ec2_tag_set_list.as_ref());
    if given(set.map(Vec::is_empty)) {
        settings.ec2_tag_filters = None;
    }
    let set = request.on_premises_tag_set.as_ref();
    if given(set.and_then(|set| set.on_premises_tag_set_list.as_ref()).map(Vec::is_empty)) {
        settings.on_premises_instance_tag_filters = None;
    }
    take! {
        deployment_config_name, ec2_tag_filters, on_premises_instance_tag_filters,
        auto_scaling_groups, service_role_arn, trigger_configurations, alarm_configuration,
        auto_rollback_configuration, outdated_instances_strategy, deployment_style,
        blue_green_deployment_configuration, load_balancer_info, ec2_tag_set, ecs_services,
        on_premises_tag_set, ec2_deployment_options, termination_hook_enabled,
    }
}
