//! What aliases and services have in common: an application whose deployments are AppSpecs, with configurations and groups of
//! its own, and what people choose when they ask for a deployment of it.

use control::rows::{self, Application, Config, GroupName};
use engine::group::Slot;
use engine::health::{Minimum, Rule};
use engine::{GroupId, Timestamp};
use wire::codedeploy::{
    Alarm, AlarmConfiguration, AppSpecContent, AutoRollbackConfiguration, ComputePlatform,
    CreateDeployment, GroupSettings, RevisionLocation,
};

use crate::core::EPOCH_MS;
use crate::random::Random;
use crate::story::{Group, Rows};
use crate::world::World;

const ROLLBACKS: [&str; 3] =
    ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"];

/// An application whose deployments are AppSpecs.
pub(crate) struct Content {
    /// Its name, and its id.
    pub(crate) application: &'static str,
    pub(crate) platform: ComputePlatform,
    /// The alarm that watches its groups.
    pub(crate) alarm: &'static str,
    /// The configurations that its groups and deployments have.
    pub(crate) configs: &'static [&'static str],
    /// Those of them that people have made, with their steps.
    pub(crate) steps: &'static [(&'static str, &'static str)],
}

/// What watches the groups of such an application, and what is done when it fires.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    is_watched: bool,
    ignores_unreadable: bool,
    takes_back: bool,
}

impl Guard {
    pub(crate) fn by_chance(random: &mut Random) -> Self {
        Self {
            is_watched: random.of_ten_thousand(5_000),
            ignores_unreadable: random.of_ten_thousand(3_000),
            takes_back: random.of_ten_thousand(7_000),
        }
    }
}

impl Content {
    /// Puts the application and its configurations in place.
    pub(crate) fn begin(&self, rows: &mut Rows) {
        rows.add(&Application {
            id: self.application.to_owned(),
            name: self.application.to_owned(),
            created_at: Timestamp(EPOCH_MS),
            compute_platform: self.platform,
            tags: Vec::new(),
            deleting: false,
        });
        for (name, steps) in self.steps {
            rows.add(&Config {
                id: (*name).to_owned(),
                name: (*name).to_owned(),
                created_at: Timestamp(EPOCH_MS),
                rule: Rule { minimum: Minimum::FleetPercent(0), predefined: true },
                ladder: steps.parse().unwrap_or_default(),
                routing: None,
                zonal: None,
            });
        }
    }

    /// A group of it. What else its settings say is the kind's own.
    pub(crate) fn group(&self, guard: Guard, name: String, random: &mut Random) -> rows::Group {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&[random.next().to_le_bytes(), random.next().to_le_bytes()].concat());
        let alarms = AlarmConfiguration {
            enabled: Some(true),
            ignore_poll_alarm_failure: Some(guard.ignores_unreadable),
            alarms: Some(vec![Alarm { name: Some(self.alarm.to_owned()) }]),
        };
        rows::Group {
            id: GroupId::from_random(bytes),
            application_id: self.application.to_owned(),
            name,
            created_at: Timestamp(EPOCH_MS),
            settings: GroupSettings {
                deployment_config_name: random.pick(self.configs).map(|name| (*name).to_owned()),
                alarm_configuration: guard.is_watched.then_some(alarms),
                auto_rollback_configuration: guard.takes_back.then(|| AutoRollbackConfiguration {
                    enabled: Some(true),
                    events: Some(ROLLBACKS.map(str::to_owned).into()),
                }),
                ..GroupSettings::default()
            },
            silence_ms: 60_000,
            rerun_interrupted: false,
            tags: Vec::new(),
            slot: Slot::default(),
            place: None,
            members_since: Some(0),
        }
    }

    /// What somebody asks for with a deployment of an AppSpec: sometimes another configuration than the group's, and
    /// sometimes another way back.
    pub(crate) fn request(
        &self,
        group: String,
        content: String,
        random: &mut Random,
    ) -> CreateDeployment {
        let config = random.pick(self.configs).map(|name| (*name).to_owned());
        let config = config.filter(|_| random.of_ten_thousand(8_000));
        let rollback = random.of_ten_thousand(6_000).then(|| rollback(random));
        let content = AppSpecContent { content: Some(content), sha256: None };
        CreateDeployment {
            application_name: Some(self.application.to_owned()),
            deployment_group_name: Some(group),
            revision: Some(RevisionLocation {
                revision_type: Some("AppSpecContent".to_owned()),
                app_spec_content: Some(content),
                ..RevisionLocation::default()
            }),
            deployment_config_name: config,
            auto_rollback_configuration: rollback,
            ..CreateDeployment::default()
        }
    }
}

impl World {
    /// Puts a group in place, behind those that there are.
    pub(crate) fn add_group(&mut self, group: &rows::Group, rows: &mut Rows) {
        self.groups.push(Group { id: group.id.clone(), tag: group.name.clone() });
        rows.add(&GroupName {
            application_id: group.application_id.clone(),
            name: group.name.clone(),
            id: group.id.clone(),
        });
        rows.add(group);
    }

    /// Somebody asks for a deployment.
    pub(crate) fn deploy_content(&mut self, request: CreateDeployment) {
        self.spawn("start", false, None, |control, _| async move {
            drop(control.operator_api().create_deployment(&request).await);
        });
    }
}

/// When a deployment is taken back by itself, in place of what the group says.
fn rollback(random: &mut Random) -> AutoRollbackConfiguration {
    let events = ROLLBACKS.iter().filter(|_| random.of_ten_thousand(6_000));
    let events: Vec<String> = events.map(|event| (*event).to_owned()).collect();
    AutoRollbackConfiguration { enabled: Some(!events.is_empty()), events: Some(events) }
}
