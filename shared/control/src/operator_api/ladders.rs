//! Ladders, and what people say while one is climbed (`docs/semantics.md#ladders`).

use std::collections::BTreeMap;

use engine::deployment::{Deployment, Fact, Stage, Steering};
use engine::health::{Minimum, Rule};
use engine::ladder::Ladder;
use wire::codedeploy::{CreateDeploymentConfig, Empty, ErrorName, Request as _};
use wire::cutover::{
    AlarmNote, CreateLadder, CreateLadderOutput, GetProgress, GetProgressOutput, ShiftStage, Steer,
    SteerDeployment,
};

use super::configs::{minimum_of, rule_of};
use super::{refuse, text};
use crate::rows::{self, Config, DeploymentRow, SteeringRow, Stored};
use crate::traffic_evaluator::notes_of;
use crate::{Error, OperatorApi};

/// What stays healthy where nothing else is said: half of the fleet.
const DEFAULT_RULE: Rule = Rule { minimum: Minimum::FleetPercent(50), predefined: true };

fn stage_of(deployment: &Deployment) -> Option<ShiftStage> {
    // Hosts have no hook before: what is waited for is that they come up.
    let has_hosts = deployment.order().has_hosts();
    Some(match deployment.stage()? {
        Stage::BeforeInstall if has_hosts => ShiftStage::Install,
        Stage::BeforeInstall => ShiftStage::BeforeInstall,
        Stage::Install => ShiftStage::Install,
        Stage::AfterInstall => ShiftStage::AfterInstall,
        Stage::Test => ShiftStage::AllowTestTraffic,
        Stage::AfterTest => ShiftStage::AfterAllowTestTraffic,
        Stage::Ready => ShiftStage::Ready,
        Stage::Before => ShiftStage::BeforeAllowTraffic,
        Stage::Move => ShiftStage::AllowTraffic,
        Stage::After => ShiftStage::AfterAllowTraffic,
        Stage::Keep => ShiftStage::TerminationWait,
        Stage::Retire => ShiftStage::Termination,
        Stage::Over => ShiftStage::Done,
    })
}

/// The zones of a deployment that goes from one to the next, as far as they are known, and how many are done.
fn zones_of(deployment: &Deployment) -> Option<(Vec<String>, u32)> {
    deployment.order().zonal?;
    let names = deployment.hosts().zones().map(|zone| zone.name.clone().unwrap_or_default());
    Some((names.collect(), deployment.climb().rung))
}

/// Whether a deployment goes by steps, goes from zone to zone, or waits for a person.
fn has_steps(deployment: &Deployment) -> bool {
    let order = deployment.order();
    let waits = order.shift.as_ref().is_some_and(|shift| shift.ready_wait_ms.is_some());
    waits || !order.ladder.is_empty() || order.zonal.is_some()
}

impl OperatorApi {
    /// `CreateLadder`.
    pub async fn create_ladder(&self, request: &CreateLadder) -> Result<CreateLadderOutput, Error> {
        let minimum = request.minimum_healthy_hosts.clone();
        let named = CreateDeploymentConfig {
            deployment_config_name: request.deployment_config_name.clone(),
            minimum_healthy_hosts: minimum.clone().or_else(|| Some(minimum_of(&DEFAULT_RULE))),
            ..CreateDeploymentConfig::default()
        };
        named.validate()?;
        let ladder: Ladder = text(&request.steps).parse().map_err(|error| {
            let message = format!("The steps `{}` are no ladder: {error}.", text(&request.steps));
            refuse(ErrorName::InvalidTrafficRoutingConfiguration, message)
        })?;
        let rule = if minimum.is_some() { rule_of(&named)? } else { DEFAULT_RULE };
        let name = text(&named.deployment_config_name);
        let id = self.create_config(Config { ladder, ..self.new_config(name, rule) }).await?;
        Ok(CreateLadderOutput { deployment_config_id: Some(id) })
    }

    /// A configuration of the rule alone, to be created.
    pub(super) fn new_config(&self, name: &str, rule: Rule) -> Config {
        Config {
            id: self.new_uuid().to_string(),
            name: name.to_owned(),
            created_at: self.base.now(),
            rule,
            ladder: Ladder::default(),
            routing: None,
            zonal: None,
        }
    }

    /// Creates a configuration; gives its id.
    pub(super) async fn create_config(&self, config: Config) -> Result<String, Error> {
        if self.base.write_unless_changed(&[rows::create(&config)?]).await? {
            return Ok(config.id);
        }
        let name = config.name;
        let message = format!("A deployment configuration is called `{name}` already.");
        Err(refuse(ErrorName::DeploymentConfigAlreadyExists, message))
    }

    /// `GetProgress`.
    pub async fn get_progress(&self, request: &GetProgress) -> Result<GetProgressOutput, Error> {
        let DeploymentRow { deployment: found, place, .. } =
            self.known_deployment(&request.deployment_id).await?.row;
        let (order, alarm) = (found.order(), found.alarm());
        let is_over = found.ended().is_some();
        let alarms = order.watch.as_ref().map(|watch| watch.alarms.clone());
        let notes = match (&alarms, alarm) {
            (_, Some(alarm)) => alarm.notes.clone(),
            (Some(alarms), None) if !is_over => {
                let source = self.ports_at(place.as_ref()).await?.alarms;
                notes_of(&*source, alarms, found.id()).await
            }
            (Some(_) | None, None) => BTreeMap::new(),
        };
        let note = |(alarm, note)| AlarmNote { alarm: Some(alarm), note: Some(note) };
        let notes: Vec<AlarmNote> = notes.into_iter().map(note).collect();
        let mut task_sets = found.task_sets().iter();
        let new_tasks = task_sets.find(|set| Some(set.side) == found.new_side());
        let (zones, zones_done) = zones_of(&found).unzip();
        let carrier = self.carriers.of(&found)?;
        let sides = carrier.and_then(|carrier| carrier.side_names(found.new_side()));
        let (new_side, old_side) = sides.unzip();
        Ok(GetProgressOutput {
            steps: Some(order.ladder.rungs().iter().map(ToString::to_string).collect()),
            steps_done: Some(found.climb().rung).filter(|_| zones.is_none()),
            zones,
            zones_done,
            baking_until: found.bakes_until().filter(|_| !is_over).map(Into::into),
            paused: Some(found.steering().paused && !is_over),
            promoted: Some(found.steering().promoted),
            alarms,
            alarm_time: alarm.map(|alarm| alarm.at.into()),
            activated_alarms: alarm.map(|alarm| alarm.names.clone()),
            alarms_unreadable: alarm.and_then(|alarm| alarm.unreadable.clone()),
            traffic_back_time: found.withdrawn_at().map(Into::into),
            traffic_kept_hosts: found.kept_traffic(),
            stage: stage_of(&found),
            traffic_percent: found.percent().map(u32::from),
            new_side,
            old_side,
            waits_until: found.stage_until().filter(|_| !is_over).map(Into::into),
            running_tasks: new_tasks.map(|set| set.running),
            desired_tasks: new_tasks.map(|set| set.desired),
            alarm_notes: Some(notes).filter(|notes| !notes.is_empty()),
        })
    }

    /// `SteerDeployment`.
    pub async fn steer_deployment(&self, request: &SteerDeployment) -> Result<Empty, Error> {
        let steer = request.required_steer()?;
        self.steer_with(&request.deployment_id, |deployment, steering| {
            match steer {
                Steer::Pause => steering.paused = true,
                Steer::Resume => steering.paused = false,
                Steer::Promote if has_steps(deployment) => {
                    (steering.promoted, steering.paused) = (true, false);
                }
                Steer::Promote => {
                    let message = format!(
                        "The deployment `{}` has no steps and no zones, so there is nothing to promote it past. Resume it if it is paused.",
                        deployment.id()
                    );
                    return Err(refuse(ErrorName::InvalidDeploymentStatus, message));
                }
                Steer::SkipBake if deployment.climb().baking_since.is_some() => {
                    steering.baked_below = steering.baked_below.max(deployment.climb().rung + 1);
                }
                Steer::SkipBake => {
                    let message = format!(
                        "No step and no zone of the deployment `{}` bakes just now. Ask for its progress, and try again when one does.",
                        deployment.id()
                    );
                    return Err(refuse(ErrorName::InvalidDeploymentStatus, message));
                }
            }
            Ok(())
        })
        .await
    }

    /// Notes what somebody wants of a deployment that has not ended, and lets it know.
    pub(super) async fn steer_with(
        &self,
        id: &Option<String>,
        change: impl Fn(&Deployment, &mut Steering) -> Result<(), Error>,
    ) -> Result<Empty, Error> {
        loop {
            let found = self.known_deployment(id).await?.row.deployment;
            let id = found.id();
            if let Some(ended) = found.ended() {
                let status = ended.ending.status.name();
                let message = format!("The deployment `{id}` has ended already: {status}.");
                return Err(refuse(ErrorName::DeploymentAlreadyCompleted, message));
            }
            let key = SteeringRow::key_of(id);
            let known = rows::load::<SteeringRow>(&*self.base.table, &key).await?;
            let mut steering =
                known.as_ref().map_or_else(Steering::default, |known| known.row.steering);
            change(&found, &mut steering)?;
            steering.version += 1;
            let row = SteeringRow { deployment_id: id.clone(), at: self.base.now(), steering };
            let write = match known {
                Some(known) => Stored { row, version: known.version }.replace()?,
                None => rows::create(&row)?,
            };
            if self.base.write_unless_changed(&[write]).await? {
                self.base.waker.wake(id, vec![Fact::Steered(steering)]);
                return Ok(Empty {});
            }
        }
    }
}
