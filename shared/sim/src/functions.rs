//! Lambda applications of the simulated world: what a seed decides about them, and what people do with their aliases.
//!
//! A kind of target that is no host has a story of its own, as this one, with chance of its own; groups that go behind
//! those of hosts, so that the same people stop, steer and continue them; and a port. Hook functions
//! ([`crate::hook_functions`]) are the same for all kinds that have some.

use engine::{DeploymentId, GroupId};
use serde_json::json;
use wire::codedeploy::ComputePlatform;
use wire::cutover::{RollBackDeployment, Steer};

use crate::aliases::{AliasFaults, Aliases, Meddling, Update};
use crate::contents::{Content, Guard};
use crate::core::{Act, Event};
use crate::hook_functions::{Answer, Habits, HookFunctions, NOT_THERE};
use crate::random::Random;
use crate::story::Rows;
use crate::traffic::TrafficFaults;
use crate::world::World;

/// What gives the kind its chance. It is one that leaves the worlds of `regressions.txt` what they were.
const SALT: u64 = 0x6c61_6d62_6461_0ac0;

/// The alarm that watches aliases.
pub(crate) const ALARM: &str = "orders-errors";

const ORDERS: Content = Content {
    application: "orders",
    platform: ComputePlatform::Lambda,
    alarm: ALARM,
    configs: &[
        "CodeDeployDefault.LambdaAllAtOnce",
        "CodeDeployDefault.LambdaCanary10Percent5Minutes",
        "CodeDeployDefault.LambdaLinear10PercentEvery1Minute",
        "short-canary",
        "short-linear",
        // Of hosts: it may count them, and it may be deleted.
        "custom-0",
    ],
    steps: &[("short-canary", "10%@20s,100%"), ("short-linear", "1%,30%@5s,60%@40s,100%@10s")],
};

/// What a seed decides about Lambda applications.
#[derive(Debug, Clone)]
pub(crate) struct FunctionsStory {
    groups: usize,
    guard: Guard,
    alarms: TrafficFaults,
    faults: AliasFaults,
    habits: Habits,
    /// How long a deployment of an alias may take, where that is less than `control` says.
    total_ms: Option<u64>,
    acts: Vec<(u64, Act)>,
    random: Random,
}

impl FunctionsStory {
    /// Two of five worlds have aliases, behind so many groups of hosts. Their chance is their own, so that other worlds
    /// stay what they are.
    pub(crate) fn by_chance(seed: u64, before: usize, hosts: usize, lasts_ms: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ SALT);
        if !random.of_ten_thousand(4_000) || hosts > 60 {
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
        let faults = AliasFaults::by_chance(&mut often);
        let habits = Habits::by_chance(&mut often);
        Some(Self {
            groups,
            guard: Guard::by_chance(&mut random),
            alarms,
            faults: if fails_at_all { faults } else { AliasFaults::default() },
            habits,
            total_ms: random.of_ten_thousand(700).then(|| random.between(60_000, 900_000)),
            acts,
            random,
        })
    }

    /// How many groups there are of them.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// What people want of aliases, and when.
    pub(crate) fn acts(&self) -> impl Iterator<Item = (u64, Act)> + '_ {
        self.acts.iter().cloned()
    }
}

/// What is done to one group.
fn acts_on(group: usize, lasts_ms: u64, random: &mut Random) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    for _ in 0..random.between(1, 4) {
        let ms = random.between(0, lasts_ms);
        acts.push((ms, Act::Function(FunctionAct::Deploy { group })));
    }
    for _ in 0..random.between(0, 6) {
        let act = match random.between(0, 99) {
            0..20 => {
                let roll_back = *random.pick(&[None, Some(true), Some(false)]).unwrap_or(&None);
                Act::Stop { group, roll_back }
            }
            20..55 => {
                let all = [Steer::Pause, Steer::Resume, Steer::Promote, Steer::SkipBake];
                let wish = *random.pick(&all).unwrap_or(&Steer::Resume);
                Act::Steer { group, wish }
            }
            55..60 => Act::Continue { group },
            60..85 => Act::Function(FunctionAct::RollBack { group, waits: false }),
            85..93 => Act::Function(FunctionAct::Meddle { group, how: Meddling::Share }),
            _ => Act::Function(FunctionAct::Meddle { group, how: Meddling::Version }),
        };
        acts.push((random.between(0, lasts_ms), act));
    }
    if random.of_ten_thousand(3_000) {
        let ms = random.between(0, 2 * lasts_ms);
        acts.push((ms, Act::Function(FunctionAct::RollBack { group, waits: true })));
    }
    // Long after everything else, so that also the end of a silent hook is followed by something.
    if random.of_ten_thousand(1_500) {
        let ms = lasts_ms + random.between(60_000, 3_600_000);
        acts.push((ms, Act::Function(FunctionAct::Deploy { group })));
    }
    acts
}

/// What people do with aliases.
#[derive(Debug, Clone)]
pub(crate) enum FunctionAct {
    /// Asks for a deployment of a group's alias.
    Deploy { group: usize },
    /// Takes back the newest deployment of a group that has ended; waits for the end of the one that is active.
    RollBack { group: usize, waits: bool },
    /// Somebody else changes the alias of a group.
    Meddle { group: usize, how: Meddling },
}

/// What comes about of functions.
#[derive(Debug)]
pub(crate) enum FunctionEvent {
    /// A change of an alias reaches the service.
    Update(Update),
    /// A hook function says how it went.
    Answer(Answer),
}

/// The functions of the world.
#[derive(Debug, Default)]
pub(crate) struct FunctionsWorld {
    pub(crate) random: Random,
    /// How often alarms of aliases err and fire.
    pub(crate) alarms: TrafficFaults,
    pub(crate) aliases: Aliases,
    pub(crate) hooks: HookFunctions,
    pub(crate) total_ms: Option<u64>,
}

impl FunctionsWorld {
    /// Nothing fails any more that is not in the nature of functions.
    pub(crate) fn heal(&mut self) {
        self.aliases.faults = AliasFaults::default();
        self.hooks.habits.heal();
    }
}

impl World {
    /// Puts the Lambda application in place. Its groups come behind those that there are.
    pub(crate) fn begin_functions(&mut self, story: &FunctionsStory, rows: &mut Rows) {
        let mut random = story.random.clone();
        ORDERS.begin(rows);
        for number in 0..story.groups {
            let group = ORDERS.group(story.guard, format!("live-{number}"), &mut random);
            self.shared.core().functions.aliases.publish(ORDERS.application, &group.name);
            self.add_group(&group, rows);
        }
        let functions = &mut self.shared.core().functions;
        functions.random = random;
        functions.alarms = story.alarms;
        functions.aliases.faults = story.faults;
        functions.hooks.habits = story.habits;
        functions.total_ms = story.total_ms;
    }

    /// Does what people do with aliases.
    pub(crate) fn function_act(&mut self, act: FunctionAct) {
        match act {
            FunctionAct::Deploy { group } => self.deploy_alias(group),
            FunctionAct::RollBack { group, waits } => self.take_back(group, waits),
            FunctionAct::Meddle { group, how } => {
                let Some(group) = self.groups.get(group) else { return };
                self.shared.core().meddle(&format!("{}:{}", ORDERS.application, group.tag), how);
            }
        }
    }

    /// Something comes about of functions.
    pub(crate) fn function_event(&mut self, event: FunctionEvent) {
        match event {
            FunctionEvent::Update(update) => self.shared.core().update_alias(update),
            FunctionEvent::Answer(answer) => self.hook_answers(answer),
        }
    }

    fn deploy_alias(&mut self, group: usize) {
        let Some(alias) = self.groups.get(group).map(|group| group.tag.clone()) else { return };
        let mut core = self.shared.core();
        let (old, new) = core.version_to_deploy(&format!("{}:{alias}", ORDERS.application));
        let random = &mut core.functions.random;
        let content = app_spec(random, &alias, (&old, &new));
        let said = content.clone();
        let request = ORDERS.request(alias, content, random);
        core.tell("user", || format!("deploys {said}"));
        drop(core);
        self.deploy_content(request);
    }

    fn take_back(&mut self, group: usize, waits: bool) {
        let Some(id) = self.groups.get(group).map(|group| group.id.clone()) else { return };
        let is_active =
            self.shared.core().checks.active.get(&id).is_some_and(|active| !active.is_empty());
        if is_active && waits {
            let again = Act::Function(FunctionAct::RollBack { group, waits });
            return self.act_later(60_000, again);
        }
        let Some(ended) = self.newest_ended(&id) else { return };
        let request = RollBackDeployment { deployment_id: Some(ended.to_string()) };
        self.spawn(format!("roll back {ended}"), false, None, |control, _| async move {
            drop(control.operator_api().roll_back_deployment(&request).await);
        });
    }

    fn newest_ended(&self, group: &GroupId) -> Option<DeploymentId> {
        let core = self.shared.core();
        let all = core.checks.deployments.values().map(|row| &row.deployment);
        let ended = all
            .filter(|deployment| deployment.order().group_id == *group)
            .filter(|deployment| deployment.ended().is_some());
        ended
            .max_by_key(|deployment| deployment.order().generation)
            .map(|deployment| deployment.id().clone())
    }
}

fn app_spec(random: &mut Random, alias: &str, (old, new): (&str, &str)) -> String {
    let mut hooks = Vec::new();
    for event in ["BeforeAllowTraffic", "AfterAllowTraffic"] {
        if random.of_ten_thousand(6_000) {
            let function = if random.of_ten_thousand(300) { NOT_THERE } else { "check" };
            hooks.push(json!({ event: function }));
        }
    }
    json!({
        "version": "0.0",
        "Resources": [{ ORDERS.application: {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Name": ORDERS.application, "Alias": alias, "CurrentVersion": old, "TargetVersion": new,
            },
        }}],
        "Hooks": hooks,
    })
    .to_string()
}

/// An event of functions.
impl From<FunctionEvent> for Event {
    fn from(event: FunctionEvent) -> Self {
        Self::Function(event)
    }
}
