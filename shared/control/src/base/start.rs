//! Starting deployments: the deployment's row and the group's, in one transaction.

use engine::appspec::FileExistsBehavior;
use engine::deployment::{
    AutoRollback, COPY_MS, Creator, Deployment, HOOK_MS, Order, ScalingCopy, Shift, TASKS_MS,
};
use engine::group::Upload;
use engine::health::Rule;
use engine::ladder::{Ladder, Share};
use engine::zonal::Zonal;
use engine::{DeploymentId, GroupId, Pin, Revision, Timestamp};
use wire::codedeploy::{AlarmConfiguration, ErrorName, REGISTERED_BY_DEPLOYMENT, TargetInstances};

use super::rules::{NO_HOSTS, predefined};
use crate::carriers;
use crate::fleet_watcher::copies;
use crate::rows::{self, Config, DeploymentRow, Group, Layout, RegisteredRevision, Stored};
use crate::table::Write;
use crate::{Base, Error, settings};

/// How long an in-place deployment may take, in milliseconds: 8 hours (`docs/semantics.md#lifecycle`).
const TOTAL_MS: u64 = 8 * 3_600_000;

/// The configuration of a group that names none.
pub const DEFAULT_CONFIG: &str = "CodeDeployDefault.OneAtATime";

/// What is asked of a new deployment beyond the group's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to deploy.
    pub revision: Revision,
    /// Its bytes, where they are kept already.
    pub pin: Option<Pin>,
    /// The configuration's name, in place of the group's.
    pub config: Option<String>,
    /// The user's words.
    pub description: Option<String>,
    /// Whether a failed ApplicationStop is passed over.
    pub ignore_application_stop_failures: bool,
    /// What to do with files that are already there.
    pub file_exists_behavior: FileExistsBehavior,
    /// When to roll back, in place of the group's setting.
    pub auto_rollback: Option<AutoRollback>,
    /// What watches it, in place of the group's alarms.
    pub alarms: Option<AlarmConfiguration>,
    /// The upload that it deploys.
    pub upload: Option<String>,
    /// Who asks for it.
    pub creator: Creator,
    /// The deployment that it rolls back, because somebody asks for it.
    pub rolls_back: Option<DeploymentId>,
    /// Whether it goes back to what worked before: then it climbs no ladder, and no alarm stops it.
    pub is_way_back: bool,
    /// How the traffic moves, where that is not what the group's settings say.
    pub shift: Option<Shift>,
    /// The hosts that it is for, where that is not the whole group.
    pub only: Option<Vec<String>>,
    /// What selects its hosts in place of the group's own settings.
    pub targets: Option<TargetInstances>,
}

impl Request {
    /// A request for `revision` with the group's settings.
    pub fn new(revision: Revision, pin: Option<Pin>) -> Self {
        Self {
            revision,
            pin,
            config: None,
            description: None,
            ignore_application_stop_failures: false,
            file_exists_behavior: FileExistsBehavior::Disallow,
            auto_rollback: None,
            alarms: None,
            upload: None,
            creator: Creator::User,
            rolls_back: None,
            is_way_back: false,
            shift: None,
            only: None,
            targets: None,
        }
    }
}

/// How a configuration paces a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pace {
    rule: Rule,
    ladder: Ladder,
    zonal: Option<Zonal>,
}

/// The Auto Scaling group that a deployment copies for its new hosts, and the copy's name, which is CodeDeploy's.
fn copied(
    group: &Group,
    request: &Request,
    id: &DeploymentId,
) -> Result<Option<ScalingCopy>, Error> {
    if request.shift.is_some() {
        return Ok(None);
    }
    let Some(from) = settings::copied(&group.settings)? else { return Ok(None) };
    if request.targets.is_some() {
        let message = "The group asks for a copy of its Auto Scaling group, so the new instances are those of the copy. Leave `targetInstances` out, or set greenFleetProvisioningOption to DISCOVER_EXISTING.";
        return Err(ErrorName::InvalidTargetInstances.because(message).into());
    }
    let to = format!("CodeDeploy_{}_{id}", group.name);
    Ok(Some(ScalingCopy { from, to }))
}

/// How long a shift may wait for people, hook functions, tasks and instances, in milliseconds.
fn longest_wait_ms(shift: &Shift) -> u64 {
    let hooks = shift.traits.hooks.as_ref();
    let hooks = hooks.map_or(2, |hooks| u64::try_from(hooks.len()).unwrap_or(0));
    let tasks = if shift.has_tasks() { TASKS_MS } else { 0 };
    let copy = if shift.copies.is_some() { COPY_MS } else { 0 };
    shift.ready_wait_ms.unwrap_or(0) + shift.keep_ms + hooks * HOOK_MS + tasks + copy
}

impl Base {
    /// Starts a deployment of a group that has none active.
    ///
    /// # Errors
    /// `DeploymentLimitExceeded` if one is active, `DeploymentConfigDoesNotExist`, and those of the table.
    pub async fn start(&self, group: &GroupId, request: &Request) -> Result<DeploymentId, Error> {
        loop {
            let id = self.new_deployment_id();
            let now = self.now();
            let Some(mut group) = rows::load::<Group>(&*self.table, &Group::key_of(group)).await?
            else {
                let message = "The deployment group was deleted meanwhile.";
                return Err(ErrorName::DeploymentGroupDoesNotExist.because(message).into());
            };
            let row = self.take_slot(&mut group, request, id.clone(), now).await?;
            let mut writes = row.begin()?;
            writes.push(group.replace()?);
            writes.extend(self.register_use(&row, &group.row.name, now).await?);
            match self.table.write(&writes).await.map_err(Error::from) {
                Ok(()) => {
                    self.waker.wake(&id, Vec::new());
                    return Ok(id);
                }
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts a deployment of the group's last successful revision to one host, because the host arrives or leaves.
    /// Nothing if the group has no such revision, is gone, or is being deployed to.
    pub(crate) async fn start_alone(
        &self,
        group: &GroupId,
        creator: Creator,
        host: &str,
    ) -> Result<Option<DeploymentId>, Error> {
        let id = self.new_deployment_id();
        let now = self.now();
        let key = Group::key_of(group);
        let Some(mut group) = rows::load::<Group>(&*self.table, &key).await? else {
            return Ok(None);
        };
        let Some(last) = group.row.slot.last_successful.clone() else { return Ok(None) };
        if group.row.slot.active.is_some() {
            return Ok(None);
        }
        let what = if creator == Creator::Departure { "leaves" } else { "arrived" };
        let request = Request {
            // One host: the group's configuration might not let it be deployed to.
            config: Some("CodeDeployDefault.AllAtOnce".to_owned()),
            description: Some(format!("The host {host} {what}")),
            file_exists_behavior: last.file_exists_behavior,
            auto_rollback: Some(AutoRollback::default()),
            creator,
            only: Some(vec![host.to_owned()]),
            ..Request::new(last.revision, Some(last.pin))
        };
        let row = self.take_slot(&mut group, &request, id.clone(), now).await?;
        let mut writes = row.begin()?;
        writes.push(group.replace()?);
        match self.table.write(&writes).await.map_err(Error::from) {
            Ok(()) => {
                self.waker.wake(&id, Vec::new());
                Ok(Some(id))
            }
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The deployment's row for a group whose slot it takes.
    pub(crate) async fn take_slot(
        &self,
        group: &mut Stored<Group>,
        request: &Request,
        id: DeploymentId,
        now: Timestamp,
    ) -> Result<DeploymentRow, Error> {
        let group = &mut group.row;
        let application = self.application_by_id(&group.application_id).await?;
        let application = application.unwrap_or_else(|| group.application_id.clone());
        let config =
            request.config.clone().or_else(|| group.settings.deployment_config_name.clone());
        let config = config.unwrap_or_else(|| DEFAULT_CONFIG.to_owned());
        let mut pace = self.pace(&config).await?;
        if request.is_way_back {
            (pace.ladder, pace.zonal) = (Ladder::default(), None);
        }
        let mut shift = self.shift_of(group, request, &config, &pace)?;
        if let Some(shift) = &mut shift {
            shift.copies = copied(group, request, &id)?;
        }
        let copies = shift.as_ref().and_then(|shift| shift.copies.as_ref());
        let targets = copies.map(copies::targets_of).or_else(|| request.targets.clone());
        let Pace { rule, ladder, zonal } = pace;
        let waits = shift.as_ref().map_or(0, longest_wait_ms);
        let bakes: u64 = ladder.rungs().iter().map(|rung| rung.bake_ms).sum();
        let alarms = request.alarms.as_ref().or(group.settings.alarm_configuration.as_ref());
        let watch = settings::watch(alarms, self.settings.alarm_every_ms);
        let previous = group.slot.newest_of_group.clone();
        let generation = group.slot.start(&id, request.creator).map_err(|active| {
            let message = format!(
                "The Deployment Group '{}' already has an active Deployment '{active}'",
                group.name
            );
            ErrorName::DeploymentLimitExceeded.because(message)
        })?;
        let order = Order {
            id,
            application,
            group: group.name.clone(),
            group_id: group.id.clone(),
            generation,
            creator: request.creator,
            created_at: now,
            revision: request.revision.clone(),
            fallback: group.slot.last_successful.clone(),
            rolls_back: request.rolls_back.clone(),
            description: request.description.clone(),
            config,
            rule,
            ignore_application_stop_failures: request.ignore_application_stop_failures,
            file_exists_behavior: request.file_exists_behavior,
            auto_rollback: request.auto_rollback.unwrap_or_else(|| {
                settings::auto_rollback(group.settings.auto_rollback_configuration.as_ref())
            }),
            silence_ms: group.silence_ms,
            total_ms: TOTAL_MS + bakes + waits,
            rerun_interrupted: group.rerun_interrupted,
            start_ramp: Some(self.settings.start_ramp),
            ladder,
            zonal,
            traffic: settings::traffic(&group.settings).filter(|_| shift.is_none()),
            shift,
            // A host that comes or goes alone says nothing about the revision.
            watch: watch.filter(|_| request.creator == Creator::User && !request.is_way_back),
        };
        Ok(DeploymentRow {
            deployment: Deployment::new(order, request.pin.clone()),
            application_id: group.application_id.clone(),
            wake_at: Some(now),
            upload: request.upload.clone(),
            only: request.only.clone(),
            targets,
            previous,
            place: group.place.clone(),
            layout: Layout::Gate,
        })
    }

    /// How the traffic of a deployment moves all together, if it does.
    fn shift_of(
        &self,
        group: &Group,
        request: &Request,
        config: &str,
        pace: &Pace,
    ) -> Result<Option<Shift>, Error> {
        // A host that comes or goes alone moves no traffic but its own.
        let is_of_group = request.creator.is_of_group();
        let shift = match &request.shift {
            Some(shift) => Some(shift.clone()),
            None => carriers::of_group(&group.settings)?.filter(|_| is_of_group),
        };
        let Some(mut shift) = shift else {
            if request.targets.is_none() {
                return Ok(None);
            }
            let message = "`targetInstances` is for blue/green deployments, and the group is deployed to in place. Leave it out.";
            return Err(ErrorName::InvalidTargetInstances.because(message).into());
        };
        if pace.zonal.is_some() {
            let message = format!(
                "The configuration `{config}` goes from one availability zone to the next, and here the traffic moves \
                 for all of them together. Choose one without `zonalConfig`."
            );
            return Err(ErrorName::InvalidDeploymentConfigName.because(message).into());
        }
        if pace.ladder.rungs().iter().any(|rung| matches!(rung.share, Share::Hosts(_))) {
            let message = format!(
                "The configuration `{config}` counts hosts, and here it is the traffic that goes by steps. \
                 Choose one whose steps are percentages."
            );
            return Err(ErrorName::InvalidDeploymentConfigName.because(message).into());
        }
        if !shift.traits.steps && !pace.ladder.is_empty() {
            let message = format!(
                "The configuration `{config}` moves the traffic by steps, which takes two target groups that share it. Name \
                 both in loadBalancerInfo.targetGroupInfoList, or choose a configuration without steps."
            );
            return Err(ErrorName::InvalidDeploymentConfigName.because(message).into());
        }
        if request.is_way_back {
            (shift.ready_wait_ms, shift.keep_ms) = (None, 0);
        }
        Ok(Some(shift))
    }

    /// The row of a deployment of an upload, for a group whose slot is free.
    pub(crate) async fn start_upload(
        &self,
        group: &mut Stored<Group>,
        upload: &Upload,
        id: DeploymentId,
        now: Timestamp,
    ) -> Result<DeploymentRow, Error> {
        let mut request = Request::new(upload.revision.clone(), Some(upload.pin.clone()));
        request.upload = Some(upload.identity.clone());
        request.description =
            Some(format!("Upload of s3://{}/{}", upload.revision.bucket, upload.revision.key));
        if let Some(content) = &upload.revision.content {
            let platform = self.platform_of(&group.row.application_id).await?;
            request.shift = Some(carriers::of_content(platform, &group.row.settings, content)?);
        }
        self.take_slot(group, &request, id, now).await
    }

    /// How the configuration called `name` paces a deployment.
    pub(crate) async fn pace(&self, name: &str) -> Result<Pace, Error> {
        if let Some(rule) = predefined(name) {
            return Ok(Pace { rule, ladder: Ladder::default(), zonal: None });
        }
        if let Some(ladder) = crate::operator_api::predefined_ladder(name) {
            return Ok(Pace { rule: NO_HOSTS, ladder, zonal: None });
        }
        let config = rows::load::<Config>(&*self.table, &Config::key_of(name)).await?;
        let config = config.ok_or_else(|| {
            let message = format!(
                "No deployment configuration is called `{name}`. Create it, or name another one."
            );
            ErrorName::DeploymentConfigDoesNotExist.because(message)
        })?;
        let Config { rule, ladder, zonal, .. } = config.row;
        Ok(Pace { rule, ladder, zonal })
    }

    /// The write that registers the deployment's revision, or notes that it was used once more.
    async fn register_use(
        &self,
        row: &DeploymentRow,
        group: &str,
        now: Timestamp,
    ) -> Result<Option<Write>, Error> {
        let order = row.deployment.order();
        if order.revision.bucket.is_empty() {
            // It came with the request, and is found again with the deployment.
            return Ok(None);
        }
        let key = RegisteredRevision::key_of(&row.application_id, &order.revision);
        let Some(mut known) = rows::load::<RegisteredRevision>(&*self.table, &key).await? else {
            let description = format!("{REGISTERED_BY_DEPLOYMENT}{}", order.id);
            return rows::create(&RegisteredRevision {
                application_id: row.application_id.clone(),
                revision: order.revision.clone(),
                description: Some(description),
                registered_at: now,
                first_used_at: Some(now),
                last_used_at: Some(now),
                pin: row.deployment.pin().cloned(),
                groups: vec![group.to_owned()],
            })
            .map(Some);
        };
        known.row.first_used_at.get_or_insert(now);
        known.row.last_used_at = Some(now);
        if !known.row.groups.iter().any(|known| known == group) {
            known.row.groups.push(group.to_owned());
        }
        known.replace().map(Some)
    }
}
