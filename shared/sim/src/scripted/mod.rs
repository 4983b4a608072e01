//! A world in which a test says itself what happens, with the same ports that the seeds have. There is no chance, and
//! nothing fails that the test has not said: a request to a port lets others go first and takes no time, what it asks for
//! comes about at once, and time passes only when the test says so or somebody sleeps. Nobody is woken: the test advances
//! deployments. The invariants are checked as in every other world.

mod balancers;

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use balancers::OwnBalancers;
use control::carriers::Carriers;
use control::ports::{
    Instance, InstanceState, Instances, LifecycleAction, NoMeter, Pair, Placed, Site, Standing,
    Traffic, Unheard,
};
use control::{Base, Control, Followed, Gates, KnownShards, Place, Settings};
use engine::appspec::Alias;
use engine::{DeploymentId, GroupId, Timestamp};
use futures::future::BoxFuture;
use wire::host::BatchKey;

use crate::bundles::{Bundle, SimBundles, pin_of};
use crate::cloud::{Machine, ScalingGroup, TAG};
use crate::core::{Core, Shared};
use crate::faults::Faults;
use crate::hook_functions::Habits;
use crate::memory::MemoryTable;
use crate::ports::Ports;
use crate::random::Random;
use crate::script::{Moment, Script};
use crate::shift::{ONE, TWO};
use crate::task_sets::{NewTasks, place};

/// A scripted world.
pub struct Scripted {
    /// All roles, with everything that there is plugged in. A test may exchange what it wants.
    pub control: Control,
    shared: Arc<Shared>,
    ports: Arc<Ports>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self::new()
    }
}

/// Time, the bucket, and who is woken.
impl Scripted {
    /// An empty world.
    pub fn new() -> Self {
        let mut core = Core::new(Random::still(), Faults::default(), false);
        core.script = Some(Script::default());
        core.is_driver = true;
        core.traffic.said.begins_empty = true;
        core.functions.random = Random::still();
        core.functions.hooks.habits = Habits::silent();
        core.services.random = Random::still();
        core.services.said.tasks = Some(NewTasks::Run);
        let shared = Shared::new(core, None);
        let ports = Arc::new(Ports { shared: Arc::clone(&shared), skew_ms: 0, server: 0 });
        let control = Control {
            base: Base {
                table: ports.clone(),
                waker: ports.clone(),
                clock: ports.clone(),
                entropy: ports.clone(),
                meter: Arc::new(NoMeter),
                settings: Settings::default(),
                shards: KnownShards::default(),
            },
            carriers: Carriers::default(),
            bundles: Arc::new(SimBundles { shared: Arc::clone(&shared) }),
            dispatcher: ports.clone(),
            messages: ports.clone(),
            balancer_admin: None,
            sites: Placed::own(site_of(&ports)),
            place: Place { account: "123456789012".to_owned(), region: "eu-central-1".to_owned() },
            followed: Followed::default(),
            gates: Gates::default(),
        };
        Self { control, shared, ports }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core()
    }

    fn script<T>(&self, read: impl FnOnce(&mut Script) -> T) -> T {
        read(self.core().script.get_or_insert_default())
    }

    /// The first invariant that does not hold.
    pub fn violation(&self) -> Option<String> {
        self.core().violation.clone()
    }

    /// The table, past the invariants.
    pub fn table(&self) -> &MemoryTable {
        &self.shared.table
    }

    /// What deployments act on here; for another world, in which this is another place.
    pub fn site(&self) -> Site {
        site_of(&self.ports)
    }

    /// Now, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.core().now
    }

    /// Lets time pass.
    pub fn pass_ms(&self, ms: u64) {
        self.core().now += ms;
    }

    /// The deployments that wanted to be woken since this was asked last.
    pub fn take_wakes(&self) -> Vec<DeploymentId> {
        self.script(|script| std::mem::take(&mut script.wakes))
    }

    /// Says that no host was heard of for so long while this process listened; none where only the table can tell.
    pub fn was_unheard(&self, unheard: Option<Unheard>) {
        self.script(|script| script.unheard = unheard);
    }

    /// Has something happen at the next such moment.
    pub fn meanwhile(&self, moment: Moment, happens: BoxFuture<'static, ()>) {
        drop(self.script(|script| script.meanwhile.insert(moment, happens)));
    }

    /// Puts an AppSpec into the bucket, where every key has a bundle.
    pub fn put_spec(&self, key: &str, content: &str) {
        self.script(|script| script.specs.insert(key.to_owned(), content.to_owned()));
    }

    /// Takes a bundle out of the bucket.
    pub fn lose(&self, key: &str) {
        self.core().bundles.insert(key.to_owned(), Bundle::Missing);
    }

    /// What stands for the digest of the bundle under a key.
    pub fn digest_of(key: &str) -> String {
        pin_of(key).sha256
    }

    /// The digests of the bundles whose bytes are kept.
    pub fn kept(&self) -> Vec<String> {
        self.script(|script| script.kept.keys().cloned().collect())
    }
}

/// Balancers and alarms.
impl Scripted {
    /// Plugs in balancers of the installation's own.
    pub fn add_own_balancers(&mut self) {
        self.control.balancer_admin = Some(Arc::new(OwnBalancers::default()));
    }

    /// Registers a host with a target group, by somebody else's hand.
    pub fn let_in(&self, group: &str, host: &str) {
        let mut core = self.core();
        let now = core.now;
        core.traffic.ask(group, host, true, now);
    }

    /// How a host stands with a target group.
    pub fn standing(&self, group: &str, host: &str) -> Standing {
        let core = self.core();
        core.traffic.standing(group, host, core.now)
    }

    /// The hosts that are registered with a target group.
    pub fn hosts_in(&self, group: &str) -> Vec<String> {
        self.core().traffic.wanted_in(group).cloned().collect()
    }

    /// Whether hosts that are taken out keep the traffic that they have.
    pub fn keep_traffic(&self, keeps: bool) {
        self.core().traffic.said.keeps = keeps;
    }

    /// Whether a host that is let in is found healthy.
    pub fn find_healthy(&self, host: &str, is_healthy: bool) {
        let unhealthy = &mut self.core().traffic.said.unhealthy;
        if is_healthy {
            unhealthy.remove(host);
        } else {
            unhealthy.insert(host.to_owned());
        }
    }

    /// Has target groups refuse a host from now on.
    pub fn refuse_host(&self, host: &str) {
        self.core().traffic.said.refused.insert(host.to_owned());
    }

    /// Whether every alarm fires.
    pub fn fire_alarms(&self, fires: bool) {
        self.core().traffic.said.fires = fires;
    }

    /// What an alarm has to say to people.
    pub fn note_alarm(&self, alarm: &str, note: &str) {
        self.core().traffic.said.notes.insert(alarm.to_owned(), note.to_owned());
    }

    /// How much of its listener's traffic a target group has, in percent. At first, those whose names end with `-one` have
    /// all of it.
    pub fn percent_of(&self, group: &str) -> u8 {
        let core = self.core();
        core.traffic.weights.of(group, core.now)
    }

    /// Shares the traffic of two target groups by somebody else's hand.
    pub fn split(&self, old: &str, new: &str, percent: u8) {
        let mut core = self.core();
        let pair = Pair { old: old.to_owned(), new: new.to_owned(), listener: None };
        let now = core.now;
        core.traffic.weights.split(&pair, percent, now, now);
    }
}

/// Instances and Auto Scaling groups.
impl Scripted {
    /// Adds an instance that runs and can be reached. One that carries no tag of Cutover's may not be sent commands.
    pub fn launch(&self, id: &str, scaling_group: Option<&str>, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let instance = Instance {
            id: id.to_owned(),
            tags: tags.collect(),
            state: InstanceState::Running,
            zone: None,
            scaling_group: scaling_group.map(str::to_owned),
        };
        let machine = Machine { instance, host: 0, reachable_at: 0, is_bad: false };
        let cloud = &mut self.core().cloud;
        drop(cloud.machines.insert(id.to_owned(), machine));
        if let Some(name) = scaling_group {
            cloud.scaling_groups.entry(name.to_owned()).or_default();
        }
    }

    /// The tag that an instance must carry so that it may be sent commands.
    pub fn tag() -> (&'static str, &'static str) {
        TAG
    }

    /// Gives an instance another value of a tag; takes the tag away without one.
    pub fn retag(&self, id: &str, key: &str, value: Option<&str>) {
        let mut core = self.core();
        let Some(machine) = core.cloud.machines.get_mut(id) else { return };
        let tags = &mut machine.instance.tags;
        match value {
            Some(value) => drop(tags.insert(key.to_owned(), value.to_owned())),
            None => drop(tags.remove(key)),
        }
    }

    /// Takes an instance away, as if it had never been.
    pub fn forget(&self, id: &str) {
        drop(self.core().cloud.machines.remove(id));
    }

    /// An instance is terminated.
    pub fn terminate(&self, id: &str) {
        self.core().cloud.terminate(id);
    }

    /// Auto Scaling holds an instance back that is launched.
    pub fn hold(&self, id: &str, hook: &str) -> Option<LifecycleAction> {
        let mut core = self.core();
        let group = core.cloud.machines.get(id)?.instance.scaling_group.clone()?;
        let hooks = &mut core.cloud.scaling_groups.entry(group).or_default().hooks;
        hooks.insert(format!("cutover-launch-{hook}"));
        core.cloud.hold(id, true).pop()
    }

    /// Whether commands can be sent to an instance.
    pub fn reach(&self, id: &str, is_reached: bool) {
        if let Some(machine) = self.core().cloud.machines.get_mut(id) {
            machine.reachable_at = if is_reached { 0 } else { u64::MAX };
        }
    }

    /// Systems Manager has lost the connection to an instance, of which it last heard then.
    pub fn lose_connection(&self, id: &str, since: Timestamp) {
        self.core().cloud.said.lost.insert(id.to_owned(), since);
    }

    /// An instance must not be terminated.
    pub fn protect(&self, id: &str, why: &str) {
        self.core().cloud.said.protected.insert(id.to_owned(), why.to_owned());
    }

    /// An instance that is to be terminated runs on until the test says otherwise.
    pub fn let_linger(&self, id: &str) {
        self.core().cloud.said.lingering.insert(id.to_owned());
    }

    /// Whether EC2, Auto Scaling and Systems Manager answer.
    pub fn throttle_cloud(&self, is_throttled: bool) {
        self.core().faults.throttled = if is_throttled { 10_000 } else { 0 };
    }

    /// The instances that EC2 has terminated because it was asked to, as often as it was.
    pub fn ended(&self) -> Vec<String> {
        self.core().cloud.said.ended.clone()
    }

    /// Those that Auto Scaling was asked to terminate.
    pub fn scaled_in(&self) -> Vec<String> {
        self.core().cloud.said.scaled_in.clone()
    }

    /// The names of the Auto Scaling groups that deployments have made and that are not deleted.
    pub fn copies(&self) -> Vec<String> {
        let core = self.core();
        let is_copy = |group: &ScalingGroup| group.copied.is_some() && !group.is_ending;
        let copies = core.cloud.scaling_groups.iter().filter(|(_, group)| is_copy(group));
        copies.map(|(name, _)| name.clone()).collect()
    }

    /// A host has installed the bundle with this digest for a group.
    pub fn install(&self, host: &str, group: &GroupId, digest: &str) {
        let place = (host.to_owned(), group.clone());
        drop(self.core().checks.installed.insert(place, digest.to_owned()));
    }

    /// The instances that were sent a command, each with its batch and the secret of that.
    pub fn commands(&self) -> Vec<(String, BatchKey, String)> {
        self.script(|script| script.commands.clone())
    }
}

/// Functions and services.
impl Scripted {
    /// Has an alias point to a version of a function that has so many.
    pub fn point_alias(&self, function: &str, alias: &str, version: &str, versions: u64) {
        self.core().functions.aliases.point(function, alias, version, versions);
    }

    /// How much of an alias's traffic its new version has, in percent. None, where some other version has any.
    pub fn percent_of_alias(&self, alias: &Alias) -> Option<u8> {
        self.core().functions.aliases.get(alias)?.share(alias).ok()
    }

    /// The functions that were called, each with what it was told.
    pub fn calls(&self) -> Vec<(String, String)> {
        self.script(|script| script.calls.clone())
    }

    /// Says whether calls of functions come to nothing; for within [`Self::meanwhile`].
    pub fn losing_calls(&self) -> impl Fn(bool) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |are_lost| shared.core().functions.hooks.habits.lose_calls(are_lost)
    }

    /// Creates a service, whose tasks are in the first of its target groups: that one has its name and `-one`, the other
    /// one `-two`, and its listeners have its name and then a colon.
    pub fn create_service(&self, name: &str) {
        self.core().services.create(name);
    }

    /// How new tasks begin. Where they are to run, those that do not run yet do so now.
    pub fn begin_tasks(&self, begin: NewTasks) {
        let mut core = self.core();
        core.services.said.tasks = Some(begin);
        if begin == NewTasks::Run {
            let now = core.now;
            core.services.all_run(now);
        }
    }

    /// Why services cannot be deployed to; they can without a reason.
    pub fn refuse_service(&self, why: Option<&str>) {
        self.core().services.said.refused = why.map(str::to_owned);
    }

    /// Never confirms from now on that tasks have ended.
    pub fn never_end_tasks(&self) {
        self.core().services.said.never_ends = true;
    }

    /// Which deployment made the task set in each target group of a service, and which side is the primary one.
    pub fn task_sets(&self, service: &str) -> (BTreeMap<u8, Option<DeploymentId>>, Option<u8>) {
        let core = self.core();
        let sets = core.services.get(service).map(|state| state.sets.clone()).unwrap_or_default();
        let primary = sets.iter().find(|set| set.is_primary).map(|set| set.side);
        (sets.into_iter().map(|set| (set.side, set.of)).collect(), primary)
    }

    /// How much of a listener's traffic the second target group of a service has, in percent.
    pub fn second_side(&self, listener: &str, service: &str) -> u8 {
        let core = self.core();
        core.services.weight(listener, service, 1, core.now)
    }

    /// Shares the traffic of a listener by somebody else's hand: the second target group of a service has so much.
    pub fn split_listener(&self, listener: &str, service: &str, percent: u8) {
        let mut core = self.core();
        let group = |end: &str| place(listener, &format!("{service}{end}"));
        let pair = Pair { old: group(ONE), new: group(TWO), listener: None };
        let now = core.now;
        core.services.weights.split(&pair, percent, now, now);
    }
}

fn site_of(ports: &Arc<Ports>) -> Site {
    Site {
        instances: Instances {
            fleet: Arc::<Ports>::clone(ports),
            push: Arc::<Ports>::clone(ports),
            scaling: Arc::<Ports>::clone(ports),
        },
        traffic: Traffic {
            balancers: Arc::<Ports>::clone(ports),
            alarms: Arc::<Ports>::clone(ports),
            functions: Arc::<Ports>::clone(ports),
            services: Arc::<Ports>::clone(ports),
        },
    }
}
