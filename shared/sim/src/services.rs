//! ECS applications of the simulated world: what a seed decides about them, and what people do with their services. They
//! are added as Lambda applications are ([`crate::functions`]), and share the hook functions with them.

use serde_json::json;
use wire::codedeploy::{
    BlueGreenDeploymentConfiguration, BlueInstanceTerminationOption, ComputePlatform,
    DeploymentReadyOption, EcsService, LoadBalancerInfo, TargetGroupInfo, TargetGroupPairInfo,
    TrafficRoute,
};
use wire::cutover::Steer;

use crate::contents::{Content, Guard};
use crate::core::{Act, Event};
use crate::functions::FunctionAct;
use crate::hook_functions::{Habits, NOT_THERE};
use crate::random::Random;
use crate::shift::{ONE, TWO};
use crate::story::Rows;
use crate::task_sets::{Change, ServiceFaults, ServicesWorld};
use crate::traffic::TrafficFaults;
use crate::world::World;

/// What gives the kind its chance. It is one that leaves the worlds of `regressions.txt` what they were.
const SALT: u64 = 0x6563_7300_0000_34ed;

pub(crate) const CLUSTER: &str = "main";

/// The alarm that watches services.
pub(crate) const ALARM: &str = "store-errors";

const STORE: Content = Content {
    application: "store",
    platform: ComputePlatform::Ecs,
    alarm: ALARM,
    configs: &[
        "CodeDeployDefault.ECSAllAtOnce",
        "CodeDeployDefault.ECSCanary10Percent5Minutes",
        "CodeDeployDefault.ECSLinear10PercentEvery1Minutes",
        "quick-canary",
        "quick-linear",
    ],
    steps: &[("quick-canary", "10%@20s,100%"), ("quick-linear", "1%,30%@5s,60%@40s,100%@10s")],
};

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
    guard: Guard,
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
            guard: Guard::by_chance(&mut random),
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
                let all = [Steer::Pause, Steer::Resume, Steer::Promote, Steer::SkipBake];
                let wish = *random.pick(&all).unwrap_or(&Steer::Resume);
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
        STORE.begin(rows);
        let mut world = ServicesWorld::default();
        (world.alarms, world.faults, world.total_ms) = (story.alarms, story.faults, story.total_ms);
        for number in 0..story.groups {
            let name = format!("store-{number}");
            let mut group = STORE.group(story.guard, name.clone(), &mut random);
            let settings = &mut group.settings;
            settings.ecs_services = Some(vec![EcsService {
                service_name: Some(name.clone()),
                cluster_name: Some(CLUSTER.to_owned()),
            }]);
            settings.load_balancer_info = Some(balancers(&mut random, &name));
            settings.blue_green_deployment_configuration = Some(waits(&mut random));
            world.create(&name);
            self.add_group(&group, rows);
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
        let said = content.clone();
        let request = STORE.request(name.clone(), content, random);
        core.tell("user", || format!("deploys {said} to {name}"));
        drop(core);
        self.deploy_content(request);
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
