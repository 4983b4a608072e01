//! What happens to instances in a world with a cloud, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use control::ports::{Instance, InstanceState, LifecycleAction, Upkeep};
use control::rows::{self, Row as _, SuspensionRow, TransitionRow};
use control::table::{Query, Table as _};
use futures::FutureExt as _;
use wire::codedeploy::{Ec2DeploymentOptions, TagFilter};
use wire::host::{BatchClaimRequest, BatchKey};

use crate::cloud::{Machine, ScalingGroup, TAG};
use crate::core::{Act, Event};
use crate::random::Random;
use crate::runner::Host;
use crate::world::World;

/// What is told of instances. It may come late or twice, and comes again until it was heard.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// The state of an instance changed.
    Changed(String),
    /// An instance is launched.
    Arrives(String, Option<LifecycleAction>),
    /// An instance is about to vanish.
    Leaves(String, Option<LifecycleAction>),
    /// A command ended.
    Command { command: String, instance: String, status: String },
}

/// What becomes of an instance.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// One is launched in the copy of a group.
    LaunchIn(String),
    /// A new one is launched, by the Auto Scaling group or by somebody with tags.
    Launch { is_scaled: bool, is_hooked: bool },
    /// It runs from now on.
    Runs(String),
    /// One of them will be taken away in two minutes.
    Spot(u64),
    /// Auto Scaling takes one of them away.
    ScaleIn(u64),
    /// One of them vanishes.
    Killed(u64),
    /// Commands to one of them are refused from now on, or not any more.
    Turns(u64),
    /// It is there no more.
    Dies(String),
}

/// What a seed decides about the cloud.
#[derive(Debug)]
pub(crate) struct CloudStory {
    /// How many hosts are instances from the beginning.
    instances: usize,
    changes: Vec<(u64, Change)>,
    is_tagged_only: bool,
    /// Whether commands reach every instance.
    is_calm: bool,
    has_termination_hook: bool,
    suspends: Vec<String>,
    by_user: BTreeSet<String>,
}

/// The only Auto Scaling group: one is enough for what several deployment groups have to share.
const SCALING: &str = "asg";

impl CloudStory {
    /// Whether and how there is a cloud in the world of `seed`. Draws from a stream of its own, so that the worlds
    /// without one stay what they were.
    pub(crate) fn by_chance(seed: u64, hosts: usize, lasts_ms: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x00c1_00d5);
        if hosts > 60 || !random.of_ten_thousand(4_000) {
            return None;
        }
        let hosts = u64::try_from(hosts).unwrap_or(1);
        let instances =
            if random.of_ten_thousand(7_000) { hosts } else { random.between(1, hosts) };
        let changes = random.between(0, 6);
        let changes = (0..changes).map(|_| (random.between(0, lasts_ms), change(&mut random)));
        let changes = changes.collect();
        let mut some = |processes: &[&str]| -> Vec<String> {
            let chosen = processes.iter().filter(|_| random.of_ten_thousand(5_000));
            chosen.map(|process| (*process).to_owned()).collect()
        };
        let suspends = some(&["Launch", "AZRebalance", "AlarmNotification"]);
        let by_user = some(&["AZRebalance", "ScheduledActions"]).into_iter().collect();
        let suspends = if random.of_ten_thousand(5_000) { suspends } else { Vec::new() };
        Some(Self {
            instances: usize::try_from(instances).unwrap_or(1),
            changes,
            is_tagged_only: random.of_ten_thousand(2_000),
            is_calm: false,
            has_termination_hook: random.of_ten_thousand(5_000),
            suspends,
            by_user,
        })
    }

    /// So many instances that have the tags of their group, stay, and can be reached.
    pub(crate) fn calm(instances: usize) -> Self {
        Self {
            instances,
            changes: Vec::new(),
            is_tagged_only: true,
            is_calm: true,
            has_termination_hook: false,
            suspends: Vec::new(),
            by_user: BTreeSet::new(),
        }
    }

    /// Whether there is an Auto Scaling group.
    pub(crate) fn is_scaled(&self) -> bool {
        !self.is_tagged_only
    }

    pub(crate) fn acts(&self) -> Vec<(u64, Act)> {
        self.changes.iter().map(|(ms, change)| (*ms, Act::Change(change.clone()))).collect()
    }

    /// Makes a deployment group want instances.
    pub(crate) fn set(&self, group: &mut rows::Group) {
        let tag = TagFilter {
            key: Some(group.name.clone()),
            value: None,
            r#type: Some("KEY_ONLY".to_owned()),
        };
        let settings = &mut group.settings;
        settings.ec2_tag_filters = Some(vec![tag]);
        if !self.is_tagged_only {
            settings.auto_scaling_groups = Some(vec![SCALING.to_owned()]);
            settings.termination_hook_enabled = Some(self.has_termination_hook);
            settings.ec2_deployment_options = Some(Ec2DeploymentOptions {
                auto_scaling_group_processes_to_suspend: Some(self.suspends.clone()),
            });
        }
    }
}

fn change(random: &mut Random) -> Change {
    let which = random.next();
    match random.between(0, 99) {
        0..45 => Change::Launch {
            is_scaled: random.of_ten_thousand(8_000),
            is_hooked: random.of_ten_thousand(8_500),
        },
        45..60 => Change::Spot(which),
        60..80 => Change::ScaleIn(which),
        80..92 => Change::Killed(which),
        _ => Change::Turns(which),
    }
}

impl World {
    /// Puts the cloud in place.
    pub(crate) fn begin_cloud(&mut self, story: &CloudStory) {
        let group = ScalingGroup::with(story.by_user.clone());
        drop(self.shared.core().cloud.scaling_groups.insert(SCALING.to_owned(), group));
        for at in 0..story.instances.min(self.hosts.len()) {
            let group = (!story.is_tagged_only).then_some(SCALING);
            self.add_machine(at, group, InstanceState::Running);
        }
        if story.is_calm {
            for machine in self.shared.core().cloud.machines.values_mut() {
                machine.instance.tags.insert(TAG.0.to_owned(), TAG.1.to_owned());
                (machine.reachable_at, machine.is_bad) = (0, false);
            }
        }
        for group in &self.groups {
            let group_id = group.id.clone();
            self.shared.core().push(0, Event::Upkeep(Upkeep::Hooks { group_id }));
        }
        self.shared.core().push(60_000, Event::KeepFleet);
    }

    fn add_machine(&mut self, at: usize, group: Option<&str>, state: InstanceState) {
        let Some(host) = self.hosts.get_mut(at) else { return };
        host.is_pushed = true;
        let mut core = self.shared.core();
        let mut tags = BTreeMap::from([("group-0".to_owned(), String::new())]);
        if !core.random.of_ten_thousand(300) {
            tags.insert(TAG.0.to_owned(), TAG.1.to_owned());
        }
        let reachable_at = match state {
            InstanceState::Running if core.random.of_ten_thousand(300) => u64::MAX,
            InstanceState::Running => 0,
            _ if core.random.of_ten_thousand(500) => u64::MAX,
            InstanceState::Pending
            | InstanceState::Stopped
            | InstanceState::Terminated
            | InstanceState::Unknown => core.now + core.random.between(100, 120_000),
        };
        let is_bad = core.random.of_ten_thousand(300);
        let scaling_group = group.map(str::to_owned);
        let id = host.name.clone();
        let zone = core.zones.as_ref().and_then(|zones| zones.zone_of(at));
        let instance = Instance { id: id.clone(), tags, state, zone, scaling_group };
        let machine = Machine { instance, host: at, reachable_at, is_bad };
        drop(core.cloud.machines.insert(id, machine));
    }

    /// Something happens to an instance.
    pub(crate) fn change(&mut self, change: Change) {
        match change {
            Change::Launch { is_scaled, is_hooked } => {
                self.launch(is_scaled.then_some(SCALING), is_hooked);
            }
            Change::LaunchIn(group) => self.launch_in(&group),
            Change::Runs(id) => {
                let mut core = self.shared.core();
                if let Some(machine) = core.cloud.machines.get_mut(&id)
                    && machine.instance.state == InstanceState::Pending
                {
                    machine.instance.state = InstanceState::Running;
                }
                drop(core);
                self.tell_of(Told::Changed(id));
            }
            Change::Spot(which) => {
                let Some(id) = self.one_of_them(which) else { return };
                self.shared.core().push(120_000, Event::Change(Change::Dies(id.clone())));
                self.tell_of(Told::Leaves(id, None));
            }
            Change::ScaleIn(which) => {
                let Some(id) = self.one_of_them(which) else { return };
                let actions = self.shared.core().cloud.hold(&id, false);
                if actions.is_empty() {
                    self.shared.core().push(100, Event::Change(Change::Dies(id)));
                }
                for action in actions {
                    self.tell_of(Told::Leaves(action.instance.clone(), Some(action)));
                }
            }
            Change::Killed(which) => {
                let Some(id) = self.one_of_them(which) else { return };
                self.shared.core().push(0, Event::Change(Change::Dies(id)));
            }
            Change::Turns(which) => {
                let Some(id) = self.one_of_them(which) else { return };
                if let Some(machine) = self.shared.core().cloud.machines.get_mut(&id) {
                    machine.is_bad = !machine.is_bad;
                }
            }
            Change::Dies(id) => self.dies(&id),
        }
    }

    fn one_of_them(&self, which: u64) -> Option<String> {
        let core = self.shared.core();
        let alive = core.cloud.machines.values().filter(|machine| {
            matches!(machine.instance.state, InstanceState::Pending | InstanceState::Running)
        });
        let alive: Vec<&String> = alive.map(|machine| &machine.instance.id).collect();
        Random::new(which).pick(&alive).map(|id| (*id).clone())
    }

    /// An instance of a copy comes up, unless that is deleted by now.
    fn launch_in(&mut self, group: &str) {
        let is_there = |group: &ScalingGroup| !group.is_ending;
        if !self.shared.core().cloud.scaling_groups.get(group).is_some_and(is_there) {
            return;
        }
        let id = Host::new(self.hosts.len()).name;
        self.shared.core().traffic.late.insert(id);
        self.launch(Some(group), false);
    }

    fn launch(&mut self, group: Option<&str>, is_hooked: bool) {
        let at = self.hosts.len();
        let host = Host::new(at);
        let id = host.name.clone();
        self.hosts.push(host);
        let is_scaled = group.is_some();
        self.add_machine(at, group, InstanceState::Pending);
        let mut core = self.shared.core();
        core.tell(&id, || format!("is launched, scaled {is_scaled}, hooked {is_hooked}"));
        if !core.traffic.late.contains(&id) {
            core.traffic.strangers.insert(id.clone());
        }
        let actions = if is_hooked { core.cloud.hold(&id, true) } else { Vec::new() };
        let ms = core.random.between(100, 40_000);
        core.push(ms, Event::Change(Change::Runs(id.clone())));
        drop(core);
        if actions.is_empty() && is_scaled {
            self.tell_of(Told::Arrives(id, None));
        }
        for action in actions {
            self.tell_of(Told::Arrives(action.instance.clone(), Some(action)));
        }
    }

    fn dies(&mut self, id: &str) {
        self.shared.core().traffic.strangers.insert(id.to_owned());
        let mut core = self.shared.core();
        core.tell(id, || "is terminated".to_owned());
        core.cloud.terminate(id);
        core.checks.terminated.insert(id.to_owned());
        let host = core.cloud.machines.get(id).map(|machine| machine.host);
        drop(core);
        if let Some(host) = host {
            self.dies_for_good(host);
        }
        self.tell_of(Told::Changed(id.to_owned()));
    }

    /// Has something told, late and twice as it may be.
    fn tell_of(&mut self, told: Told) {
        let mut core = self.shared.core();
        let faults = core.faults;
        if core.random.of_ten_thousand(faults.announced_twice) {
            let ms = core.random.between(0, 60_000);
            core.push(ms, Event::Told(told.clone()));
        }
        let late = core.random.of_ten_thousand(faults.message_late);
        let ms = core.random.between(0, if late { 120_000 } else { 2_000 });
        core.push(ms, Event::Told(told));
    }

    /// Something is told. It is told again until somebody has heard it.
    pub(crate) fn told(&mut self, told: Told) {
        let what = format!("told {told:?}");
        self.shared.core().tell("events", || what.clone());
        let again = Some((10_000, Event::Told(told.clone())));
        self.spawn(what, false, again, |control, shared| async move {
            let heard = match &told {
                Told::Changed(id) => control.fleet_watcher().host_changed(id).await,
                Told::Arrives(id, action) => {
                    control.fleet_watcher().host_arrives(id, action.clone()).await
                }
                Told::Leaves(id, action) => {
                    control.fleet_watcher().host_leaves(id, action.clone()).await
                }
                Told::Command { command, instance, status } => {
                    control.hook_dispatcher().hear_of_command(command, instance, status).await
                }
            };
            if heard.is_err() {
                shared.core().push(10_000, Event::Told(told));
            }
        });
    }

    /// Upkeep that was asked for comes to whoever does it.
    pub(crate) fn keep_up(&mut self, upkeep: Upkeep) {
        // Nobody goes through the hooks every minute: the settings' upkeep comes again until it was done.
        let is_due = matches!(upkeep, Upkeep::Hooks { .. });
        let again = is_due.then(|| (10_000, Event::Upkeep(upkeep.clone())));
        self.spawn(format!("{upkeep:?}"), false, again, move |control, shared| async move {
            if control.fleet_watcher().keep_up(&upkeep).await.is_err() {
                shared.core().push(10_000, Event::Upkeep(upkeep));
            }
        });
    }

    /// The minute's upkeep.
    pub(crate) fn keep_fleet(&mut self) {
        self.shared.core().push(60_000, Event::KeepFleet);
        self.spawn("keep fleet", false, None, |control, _| async move {
            drop(control.fleet_watcher().keep_fleet().await);
        });
    }

    /// Somebody who is not in a batch, or does not know its secret, asks for what is in it.
    pub(crate) fn intrude(&mut self, batch: &BatchKey, secret: &str, of: usize) {
        let stranger = self.hosts.iter().map(|host| &host.name).rev().find(|name| {
            let core = self.shared.core();
            !core.checks.is_in_batch(batch, name)
        });
        let stranger = stranger.cloned();
        let Some(owner) = self.hosts.get(of).map(|host| host.name.clone()) else { return };
        let wrong = secret.chars().rev().collect::<String>();
        let tries = [
            stranger.map(|name| (name, secret.to_owned())),
            Some((owner, wrong)).filter(|(_, wrong)| wrong != secret),
        ];
        for (host, secret) in tries.into_iter().flatten() {
            let request = BatchClaimRequest {
                host: host.clone(),
                batch: batch.clone(),
                kept_groups: Vec::new(),
            };
            let what = format!("{host} intrudes into {batch}");
            self.spawn(what.clone(), false, None, move |control, shared| async move {
                if control.host_api().claim_batch(&secret, &request).await.is_ok() {
                    shared.core().violate(format!("{what}, and is let in"));
                }
            });
        }
    }

    /// What of the fleet has not come to an end.
    pub(crate) fn open_transitions(&self) -> Vec<String> {
        let table = &self.shared.table;
        let query = Query::prefix(TransitionRow::ALL, "", 1_000);
        let page = table.query(&query).now_or_never();
        let rows = page.and_then(Result::ok).map(|page| page.items).unwrap_or_default();
        let transitions = rows.iter().filter_map(|record| rows::read::<TransitionRow>(record).ok());
        let mut open: Vec<String> =
            transitions.map(|transition| format!("{} passes", transition.row.key().sort)).collect();
        let query = Query::prefix(SuspensionRow::ALL, "", 1_000);
        let page = table.query(&query).now_or_never();
        let rows = page.and_then(Result::ok).map(|page| page.items).unwrap_or_default();
        open.extend(rows.iter().map(|record| format!("{} rests", record.key.sort)));
        open.extend(self.shared.core().cloud.open());
        open
    }
}
