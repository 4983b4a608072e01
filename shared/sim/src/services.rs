//! ECS applications of the simulated world: what a seed decides about them, and what people do with their services. They
//! are added as Lambda applications are ([`crate::functions`]), and share the hook functions with them.

use control::rows::{self, Application, Config, GroupName};
use engine::group::Slot;
use engine::{GroupId, Timestamp};
use serde_json::json;
use wire::codedeploy::{
    Alarm, AlarmConfiguration, AppSpecContent, AutoRollbackConfiguration,
    BlueGreenDeploymentConfiguration, BlueInstanceTerminationOption, ComputePlatform,
    CreateDeployment, DeploymentReadyOption, EcsService, GroupSettings, LoadBalancerInfo,
    RevisionLocation, TargetGroupInfo, TargetGroupPairInfo, TrafficRoute,
};
use wire::cutover::Wish;

use crate::core::{Act, EPOCH_MS, Event};
use crate::functions::{FunctionAct, rollback};
use crate::hook_functions::{Habits, NOT_THERE};
use crate::random::Random;
use crate::shift::{ONE, TWO};
use crate::story::{Group, Rows};
use crate::task_sets::{Change, ServiceFaults, ServicesWorld};
use crate::traffic::TrafficFaults;
use crate::world::World;

/// What gives the kind its chance. It is one that leaves the worlds of `regressions.txt` what they were.
const SALT: u64 = 0x6563_7300_0000_34ed;

const APPLICATION: &str = "store";

pub(crate) const CLUSTER: &str = "main";

/// The alarm that watches services.
pub(crate) const ALARM: &str = "store-errors";

const CONFIGS: [&str; 5] = [
    "CodeDeployDefault.ECSAllAtOnce",
    "CodeDeployDefault.ECSCanary10Percent5Minutes",
    "CodeDeployDefault.ECSLinear10PercentEvery1Minutes",
    "quick-canary",
    "quick-linear",
];

const STEPS: [(&str, &str); 2] =
    [("quick-canary", "10%@20s,100%"), ("quick-linear", "1%,30%@5s,60%@40s,100%@10s")];

const EVENTS: [&str; 5] = [
    "BeforeInstall",
    "AfterInstall",
    "AfterAllowTestTraffic",
    "BeforeAllowTraffic",
    "AfterAllowTraffic",
];

/// What a seed decides about ECS applications.
#[derive(Debug, Clone)]
pub(crate) struct ServicesStory {
    groups: usize,
    is_watched: bool,
    ignores_unreadable: bool,
    takes_back: bool,
    alarms: TrafficFaults,
    faults: ServiceFaults,
    habits: Habits,
    /// How long a deployment of a service may take, where that is less than `control` says.
    total_ms: Option<u64>,
    acts: Vec<(u64, Act)>,
    random: Random,
}

impl ServicesStory {
    /// A third of the worlds has services, behind so many other groups. Their chance is their own, so that other worlds
    /// stay what they are.
    pub(crate) fn by_chance(seed: u64, before: usize, hosts: usize, lasts_ms: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ SALT);
        if !random.of_ten_thousand(3_500) || hosts > 60 {
            return None;
        }
        let groups = if random.of_ten_thousand(7_000) { 1 } else { 2 };
        let mut acts = Vec::new();
        for group in before..before + groups {
            acts.extend(acts_on(group, lasts_ms, &mut random));
        }
        let fails_at_all = random.of_ten_thousand(8_000);
        let mut often = |most: u64| {
            let often = if random.of_ten_thousand(5_000) { random.between(1, most) } else { 0 };
            u32::try_from(often).unwrap_or(0)
        };
        let alarms = TrafficFaults::of_alarms(often(4_000), often(6_000));
        let mut faults = ServiceFaults::by_chance(&mut often);
        if !fails_at_all {
            faults.heal();
        }
        let habits = Habits::by_chance(&mut often);
        Some(Self {
            groups,
            is_watched: random.of_ten_thousand(5_000),
            ignores_unreadable: random.of_ten_thousand(3_000),
            takes_back: random.of_ten_thousand(7_000),
            alarms,
            faults,
            habits,
            total_ms: random.of_ten_thousand(700).then(|| random.between(60_000, 900_000)),
            acts,
            random,
        })
    }

    /// What people want of services, and when.
    pub(crate) fn acts(&self) -> impl Iterator<Item = (u64, Act)> + '_ {
        self.acts.iter().cloned()
    }
}

/// What is done to one group.
fn acts_on(group: usize, lasts_ms: u64, random: &mut Random) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    // Tasks take their time: what people do comes over a longer one.
    let lasts_ms = lasts_ms + random.between(0, 600_000);
    for _ in 0..random.between(1, 5) {
        acts.push((random.between(0, lasts_ms), Act::Service(ServiceAct::Deploy { group })));
    }
    for _ in 0..random.between(0, 8) {
        let act = match random.between(0, 99) {
            0..25 => {
                let roll_back = *random.pick(&[None, Some(true), Some(false)]).unwrap_or(&None);
                Act::Stop { group, roll_back }
            }
            25..50 => {
                let all = [Wish::Pause, Wish::Resume, Wish::Promote, Wish::SkipBake];
                let wish = *random.pick(&all).unwrap_or(&Wish::Resume);
                Act::Steer { group, wish }
            }
            50..75 => Act::Continue { group },
            _ => Act::Function(FunctionAct::RollBack { group, waits: false }),
        };
        acts.push((random.between(0, lasts_ms), act));
    }
    if random.of_ten_thousand(4_000) {
        let ms = random.between(0, 2 * lasts_ms);
        acts.push((ms, Act::Function(FunctionAct::RollBack { group, waits: true })));
    }
    // Somebody is in a hurry: right after one has ended comes the next.
    if random.of_ten_thousand(4_000) {
        let ms = random.between(0, lasts_ms);
        acts.push((ms, Act::Service(ServiceAct::DeployNext { group, times: 3 })));
    }
    acts
}

/// What people do with services.
#[derive(Debug, Clone)]
pub(crate) enum ServiceAct {
    /// Asks for a deployment of a group's service.
    Deploy { group: usize },
    /// Asks for one as soon as none is active, so many times.
    DeployNext { group: usize, times: u32 },
}

/// An event of services.
impl From<Change> for Event {
    fn from(change: Change) -> Self {
        Self::Service(change)
    }
}

impl World {
    /// Puts the ECS application in place. Its groups come behind those that there are.
    pub(crate) fn begin_services(
        &mut self,
        story: &ServicesStory,
        has_functions: bool,
        rows: &mut Rows,
    ) {
        let mut random = story.random.clone();
        rows.add(&Application {
            id: APPLICATION.to_owned(),
            name: APPLICATION.to_owned(),
            created_at: Timestamp(EPOCH_MS),
            compute_platform: ComputePlatform::Ecs,
            tags: Vec::new(),
            deleting: false,
        });
        for (name, steps) in STEPS {
            rows.add(&Config {
                id: name.to_owned(),
                name: name.to_owned(),
                created_at: Timestamp(EPOCH_MS),
                rule: engine::health::Rule {
                    minimum: engine::health::Minimum::FleetPercent(0),
                    predefined: true,
                },
                ladder: steps.parse().unwrap_or_default(),
                routing: None,
                zonal: None,
            });
        }
        let mut world = ServicesWorld::default();
        (world.alarms, world.faults, world.total_ms) = (story.alarms, story.faults, story.total_ms);
        for number in 0..story.groups {
            let group = story.group(&mut random, format!("store-{number}"));
            self.groups.push(Group { id: group.id.clone(), tag: group.name.clone() });
            rows.add(&GroupName {
                application_id: APPLICATION.to_owned(),
                name: group.name.clone(),
                id: group.id.clone(),
            });
            world.create(&group.name);
            rows.add(&group);
        }
        let mut core = self.shared.core();
        if !has_functions {
            core.functions.random = Random::new(random.next());
            core.functions.hooks.habits = story.habits;
        }
        world.random = random;
        core.services = world;
    }

    /// Does what people do with services.
    pub(crate) fn service_act(&mut self, act: ServiceAct) {
        match act {
            ServiceAct::Deploy { group } => self.deploy_service(group),
            ServiceAct::DeployNext { group, times } => {
                let Some(id) = self.groups.get(group).map(|group| group.id.clone()) else { return };
                let active = self.shared.core().checks.active.get(&id).cloned();
                let is_busy = active.is_some_and(|active| !active.is_empty());
                if !is_busy {
                    self.deploy_service(group);
                }
                let times = if is_busy { times } else { times - 1 };
                if times > 0 {
                    let again = Act::Service(ServiceAct::DeployNext { group, times });
                    self.act_later(if is_busy { 500 } else { 5_000 }, again);
                }
            }
        }
    }

    fn deploy_service(&mut self, group: usize) {
        let Some(name) = self.groups.get(group).map(|group| group.tag.clone()) else { return };
        let mut core = self.shared.core();
        core.services.defined += 1;
        let definition = core.services.defined;
        let random = &mut core.services.random;
        let content = app_spec(random, definition);
        let config = random.pick(&CONFIGS).map(|name| (*name).to_owned());
        let config = config.filter(|_| random.of_ten_thousand(8_000));
        let rollback = random.of_ten_thousand(6_000).then(|| rollback(random));
        core.tell("user", || format!("deploys {content} to {name}"));
        drop(core);
        let content = AppSpecContent { content: Some(content), sha256: None };
        let request = CreateDeployment {
            application_name: Some(APPLICATION.to_owned()),
            deployment_group_name: Some(name),
            revision: Some(RevisionLocation {
                revision_type: Some("AppSpecContent".to_owned()),
                app_spec_content: Some(content),
                ..RevisionLocation::default()
            }),
            deployment_config_name: config,
            auto_rollback_configuration: rollback,
            ..CreateDeployment::default()
        };
        self.spawn("start", false, None, |control, _| async move {
            drop(control.create_deployment(&request).await);
        });
    }
}

impl ServicesStory {
    fn group(&self, random: &mut Random, name: String) -> rows::Group {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&[random.next().to_le_bytes(), random.next().to_le_bytes()].concat());
        let alarms = AlarmConfiguration {
            enabled: Some(true),
            ignore_poll_alarm_failure: Some(self.ignores_unreadable),
            alarms: Some(vec![Alarm { name: Some(ALARM.to_owned()) }]),
        };
        let events =
            ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"];
        let settings = GroupSettings {
            deployment_config_name: random.pick(&CONFIGS).map(|config| (*config).to_owned()),
            alarm_configuration: self.is_watched.then_some(alarms),
            auto_rollback_configuration: self.takes_back.then(|| AutoRollbackConfiguration {
                enabled: Some(true),
                events: Some(events.map(str::to_owned).into()),
            }),
            ecs_services: Some(vec![EcsService {
                service_name: Some(name.clone()),
                cluster_name: Some(CLUSTER.to_owned()),
            }]),
            load_balancer_info: Some(balancers(random, &name)),
            blue_green_deployment_configuration: Some(waits(random)),
            ..GroupSettings::default()
        };
        rows::Group {
            id: GroupId::from_random(bytes),
            application_id: APPLICATION.to_owned(),
            name,
            created_at: Timestamp(EPOCH_MS),
            settings,
            silence_ms: 60_000,
            rerun_interrupted: false,
            tags: Vec::new(),
            slot: Slot::default(),
        }
    }
}

/// Two target groups behind a listener, and every second time behind one for test traffic.
fn balancers(random: &mut Random, name: &str) -> LoadBalancerInfo {
    let group = |side: &str| TargetGroupInfo { name: Some(format!("{name}{side}")) };
    let route =
        |listener: &str| TrafficRoute { listener_arns: Some(vec![format!("{name}:{listener}")]) };
    let has_test = random.of_ten_thousand(5_000);
    LoadBalancerInfo {
        target_group_pair_info_list: Some(vec![TargetGroupPairInfo {
            target_groups: Some(vec![group(ONE), group(TWO)]),
            prod_traffic_route: Some(route("front")),
            test_traffic_route: has_test.then(|| route("test")),
        }]),
        ..LoadBalancerInfo::default()
    }
}

fn waits(random: &mut Random) -> BlueGreenDeploymentConfiguration {
    let keep_minutes = if random.of_ten_thousand(5_000) { 1 } else { 0 };
    let ready = random.of_ten_thousand(3_000).then(|| DeploymentReadyOption {
        action_on_timeout: Some("STOP_DEPLOYMENT".to_owned()),
        wait_time_in_minutes: Some(2),
    });
    BlueGreenDeploymentConfiguration {
        terminate_blue_instances_on_deployment_success: Some(BlueInstanceTerminationOption {
            action: Some("TERMINATE".to_owned()),
            termination_wait_time_in_minutes: Some(keep_minutes),
        }),
        deployment_ready_option: ready,
        green_fleet_provisioning_option: None,
    }
}

fn app_spec(random: &mut Random, definition: u64) -> String {
    let often = if random.of_ten_thousand(4_000) { 5_000 } else { 0 };
    let mut hooks = Vec::new();
    for event in EVENTS {
        if random.of_ten_thousand(often) {
            let function = if random.of_ten_thousand(200) { NOT_THERE } else { "check" };
            hooks.push(json!({ event: function }));
        }
    }
    let balancer = json!({ "ContainerName": "store", "ContainerPort": 80 });
    json!({
        "version": "0.0",
        "Resources": [{ "TargetService": {
            "Type": "AWS::ECS::Service",
            "Properties": {
                "TaskDefinition": format!("store:{definition}"), "LoadBalancerInfo": balancer,
            },
        }}],
        "Hooks": hooks,
    })
    .to_string()
}
