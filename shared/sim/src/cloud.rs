//! The cloud of the simulated world: instances, Auto Scaling groups and Systems Manager, as far as `control` sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use control::ports::{
    CloudError, Command, CopyStanding, Fleet, GroupCopy, Hooks, Instance, InstanceState, Instances,
    LifecycleAction, Push, Reach, Scaling, Selection, SendError,
};
use engine::Timestamp;
use thiserror::Error;

use crate::core::{Core, Event};
use crate::dispatch_checks::Place;
use crate::fleet::{Change, Told};
use crate::ports::Ports;
use crate::quota::Quota;
use crate::shift;

/// The tag that an instance must carry so that it may be sent commands.
pub(crate) const TAG: (&str, &str) = ("cutover", "here");

/// An instance and what the cloud knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) instance: Instance,
    /// The host that runs on it.
    pub(crate) host: usize,
    /// From when on it can be reached.
    pub(crate) reachable_at: u64,
    /// Whether commands to it are refused, though it can be reached.
    pub(crate) is_bad: bool,
}

/// An Auto Scaling group.
#[derive(Debug, Default)]
pub(crate) struct ScalingGroup {
    pub(crate) hooks: BTreeSet<String>,
    pub(crate) suspended: BTreeSet<String>,
    /// What a user suspended before.
    pub(crate) by_user: BTreeSet<String>,
    /// How many instances it was made with, where a deployment has made it.
    pub(crate) copied: Option<u32>,
    /// Whether it is being deleted.
    pub(crate) is_ending: bool,
}

/// An instance that is held, and what was said of it.
#[derive(Debug)]
struct Held {
    action: LifecycleAction,
    is_launch: bool,
    is_void: bool,
    answer: Option<bool>,
}

/// All that is in the cloud.
#[derive(Debug, Default)]
pub(crate) struct Cloud {
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) scaling_groups: BTreeMap<String, ScalingGroup>,
    held: BTreeMap<String, Held>,
    commands: u64,
    /// How many commands Run Command takes in a second, where it is held to that.
    pub(crate) sends: Option<Quota>,
    /// What a test says of it.
    pub(crate) said: SaidOfCloud,
}

/// What a test says of instances, and what it wants to know of them.
#[derive(Debug, Default)]
pub(crate) struct SaidOfCloud {
    /// Instances that must not be terminated, and why.
    pub(crate) protected: BTreeMap<String, String>,
    /// Those to which Systems Manager has lost the connection, and when it last heard of them.
    pub(crate) lost: BTreeMap<String, Timestamp>,
    /// Those that go on for as long as the test wants when they are to be terminated.
    pub(crate) lingering: BTreeSet<String>,
    /// Those that EC2 was asked to terminate, and did.
    pub(crate) ended: Vec<String>,
    /// Those that Auto Scaling was asked to terminate, and did.
    pub(crate) scaled_in: Vec<String>,
}

impl Cloud {
    /// What has not come to an end.
    pub(crate) fn open(&self) -> Vec<String> {
        let actions = self.held.values().filter(|held| held.answer.is_none() && !held.is_void);
        let actions =
            actions.map(|held| format!("{} is held by {}", held.action.instance, held.action.hook));
        let rests = self.scaling_groups.iter().filter(|(_, group)| {
            group.suspended.iter().any(|process| !group.by_user.contains(process))
        });
        let rests =
            rests.map(|(name, group)| format!("{name} has {:?} suspended", group.suspended));
        actions.chain(rests).collect()
    }

    /// Holds an instance by the hooks of its group for arrivals, or for departures.
    pub(crate) fn hold(&mut self, id: &str, is_launch: bool) -> Vec<LifecycleAction> {
        let Some(name) = self.machines.get(id).and_then(|m| m.instance.scaling_group.clone())
        else {
            return Vec::new();
        };
        let Some(group) = self.scaling_groups.get(&name) else { return Vec::new() };
        let kind = if is_launch { "cutover-launch-" } else { "cutover-termination-" };
        let mut actions = Vec::new();
        for hook in group.hooks.iter().filter(|hook| hook.starts_with(kind)) {
            let token = format!("token-{}", self.held.len() + 1);
            let (scaling_group, instance) = (name.clone(), id.to_owned());
            let action = LifecycleAction {
                scaling_group,
                hook: hook.clone(),
                instance,
                token: token.clone(),
            };
            actions.push(action.clone());
            drop(self.held.insert(token, Held { action, is_launch, is_void: false, answer: None }));
        }
        actions
    }

    /// What is terminated is not held any more.
    pub(crate) fn terminate(&mut self, id: &str) {
        if let Some(machine) = self.machines.get_mut(id) {
            machine.instance.state = InstanceState::Terminated;
        }
        for held in self.held.values_mut().filter(|held| held.action.instance == id) {
            held.is_void = true;
        }
    }

    /// Whether a command can reach the instance.
    fn is_reachable(&self, id: &str, now: u64) -> bool {
        self.machines.get(id).is_some_and(|machine| {
            machine.reachable_at <= now && machine.instance.state == InstanceState::Running
        })
    }
}

#[derive(Debug, Error)]
#[error("a request too many")]
struct Throttled;

impl Ports {
    /// A request to the cloud, which may be throttled.
    async fn request(&self, operation: &'static str) -> Result<(), CloudError> {
        self.shared.pause().await;
        let mut core = self.shared.core();
        let often = core.faults.throttled;
        if core.random.of_ten_thousand(often) {
            let source = Box::new(Throttled);
            return Err(CloudError::Unavailable { service: "the cloud", operation, source });
        }
        Ok(())
    }
}

#[async_trait]
impl Fleet for Ports {
    fn tag(&self) -> (String, String) {
        (TAG.0.to_owned(), TAG.1.to_owned())
    }

    async fn select(&self, wanted: &Selection) -> Result<Vec<Instance>, CloudError> {
        self.request("select").await?;
        let found: Vec<Instance> = {
            let core = self.shared.core();
            let all = core.cloud.machines.values().map(|machine| &machine.instance);
            let runs = |instance: &&Instance| {
                matches!(instance.state, InstanceState::Pending | InstanceState::Running)
            };
            all.filter(runs).filter(|instance| wanted.selects(instance)).cloned().collect()
        };
        self.shared.pause().await;
        Ok(found)
    }

    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        self.request("describe").await?;
        let core = self.shared.core();
        let found = ids.iter().filter_map(|id| core.cloud.machines.get(id));
        Ok(found.map(|machine| machine.instance.clone()).collect())
    }

    async fn terminate(&self, ids: &[String]) -> Result<BTreeMap<String, String>, CloudError> {
        for id in ids {
            self.shared.core().terminating(id, false);
        }
        self.request("terminate").await?;
        let mut refused = BTreeMap::new();
        for id in ids {
            let mut core = self.shared.core();
            if let Some(why) = core.cloud.said.protected.get(id) {
                refused.insert(id.clone(), why.clone());
                continue;
            }
            core.ends(id, false);
        }
        self.shared.pause().await;
        Ok(refused)
    }
}

#[async_trait]
impl Push for Ports {
    async fn reach(&self, names: &[String]) -> Result<BTreeMap<String, Reach>, CloudError> {
        self.request("reach").await?;
        let core = self.shared.core();
        let reached = names.iter().filter(|name| core.cloud.is_reachable(name, core.now));
        let reach = |name: &String| match core.cloud.said.lost.get(name) {
            Some(since) => Reach::Lost { since: Some(*since) },
            None => Reach::Online,
        };
        Ok(reached.map(|name| (name.clone(), reach(name))).collect())
    }

    async fn send(&self, command: &Command) -> Result<String, SendError> {
        self.request("send").await?;
        let batch = (&command.batch.deployment_id, command.batch.number);
        self.shared.core().refuses(Place::Push, "send", batch)?;
        self.shared.core().takes_command()?;
        let id = self.shared.core().send(command)?;
        self.shared.pause().await;
        Ok(id)
    }

    async fn outcome(&self, command: &str, instance: &str) -> Result<Option<String>, CloudError> {
        self.request("outcome").await?;
        Ok(Some(format!("{command} went wrong on {instance}")))
    }
}

impl Core {
    /// Refuses a command that is one too many in a second.
    fn takes_command(&mut self) -> Result<(), CloudError> {
        let now = self.now;
        if self.cloud.sends.as_mut().is_none_or(|quota| quota.takes(now)) {
            return Ok(());
        }
        let source = Box::new(Throttled);
        Err(CloudError::Unavailable { service: "the cloud", operation: "send", source })
    }

    /// Sends a command on its way: it may come late, twice, or never, and what is told of it may be wrong.
    fn send(&mut self, command: &Command) -> Result<String, SendError> {
        let mut refused = None;
        for name in &command.instances {
            let Some(machine) = self.cloud.machines.get(name) else { continue };
            let is_tagged = machine.instance.tags.get(TAG.0).is_some_and(|value| value == TAG.1);
            let is_bad = machine.is_bad;
            if !is_tagged {
                self.violate(format!("a command is sent to {name}, which lacks the tag"));
            }
            if is_bad || !self.cloud.is_reachable(name, self.now) {
                refused = Some(format!("{name} is not in a valid state"));
            }
        }
        let size = command.instances.len();
        if size > 50 || size == 0 {
            self.violate(format!("a command is sent to {size} instances"));
        }
        if let Some(refused) = refused {
            return Err(SendError::Instances(refused));
        }
        self.cloud.commands += 1;
        let id = format!("command-{}", self.cloud.commands);
        self.tell(&id, || format!("of {} to {:?}", command.batch, command.instances));
        for instance in &command.instances {
            let event = || Event::Command {
                instance: instance.clone(),
                batch: command.batch.clone(),
                secret: command.secret.clone(),
            };
            let faults = self.faults;
            if self.random.of_ten_thousand(faults.offer_late) {
                let ms = self.random.between(1_000, 200_000);
                self.push(ms, event());
            }
            if !self.random.of_ten_thousand(faults.offer_lost) {
                let ms = self.random.between(0, 3_000);
                self.push(ms, event());
            }
            if self.random.of_ten_thousand(faults.hints) {
                let said = ["Failed", "Success", "Delivery Timed Out", "Cancelled"];
                let status = self.random.pick(&said).copied().unwrap_or("Failed").to_owned();
                let ms = self.random.between(0, 100_000);
                let (command, instance) = (id.clone(), instance.clone());
                self.push(ms, Event::Told(Told::Command { command, instance, status }));
            }
        }
        Ok(id)
    }
}

#[async_trait]
impl Scaling for Ports {
    async fn keep_hooks(&self, hooks: &Hooks) -> Result<(), CloudError> {
        self.request("keep_hooks").await?;
        let mut core = self.shared.core();
        let group = core.cloud.scaling_groups.entry(hooks.scaling_group.clone()).or_default();
        let wanted = [
            (&hooks.launch, hooks.is_launch_wanted),
            (&hooks.termination, hooks.is_termination_wanted),
        ];
        for (hook, is_wanted) in wanted {
            if is_wanted {
                group.hooks.insert(hook.clone());
            } else {
                group.hooks.remove(hook);
            }
        }
        Ok(())
    }

    async fn heartbeat(&self, action: &LifecycleAction) -> Result<(), CloudError> {
        self.request("heartbeat").await?;
        let mut core = self.shared.core();
        if !core.cloud.held.contains_key(&action.token) {
            core.violate(format!("a heartbeat for {action:?}, which nobody knows"));
        }
        Ok(())
    }

    async fn release(&self, action: &LifecycleAction, abandon: bool) -> Result<(), CloudError> {
        self.request("release").await?;
        {
            let mut core = self.shared.core();
            core.tell(&action.instance, || {
                format!("{} is answered, abandon: {abandon}", action.hook)
            });
            let now = core.now;
            let (is_new, is_launch, before) = match core.cloud.held.get_mut(&action.token) {
                Some(held) => {
                    let before = held.answer.replace(abandon);
                    (before.is_none() && !held.is_void, held.is_launch, before)
                }
                None => {
                    core.violate(format!("{action:?} is released, and nobody knows it"));
                    return Ok(());
                }
            };
            if before.is_some_and(|before| before != abandon) {
                core.violate(format!("{} was told both: {action:?} at {now}", action.instance));
            }
            if is_new && (abandon || !is_launch) {
                let ms = core.random.between(10, 5_000);
                core.push(ms, Event::Change(Change::Dies(action.instance.clone())));
            }
        }
        self.shared.pause().await;
        Ok(())
    }

    async fn running(&self, name: &str, wanted: &[String]) -> Result<Vec<String>, CloudError> {
        self.request("running").await?;
        let core = self.shared.core();
        let group = core.cloud.scaling_groups.get(name);
        let rests = |process: &String| group.is_some_and(|group| group.suspended.contains(process));
        Ok(wanted.iter().filter(|process| !rests(process)).cloned().collect())
    }

    async fn set_suspended(
        &self,
        name: &str,
        processes: &[String],
        suspended: bool,
    ) -> Result<(), CloudError> {
        self.request("set_suspended").await?;
        {
            let mut core = self.shared.core();
            core.tell(name, || format!("{processes:?} suspended: {suspended}"));
            let group = core.cloud.scaling_groups.entry(name.to_owned()).or_default();
            let taken = processes.iter().find(|process| group.by_user.contains(*process)).cloned();
            for process in processes {
                if suspended {
                    group.suspended.insert(process.clone());
                } else {
                    group.suspended.remove(process);
                }
            }
            if let Some(taken) = taken {
                core.violate(format!(
                    "{taken} of {name} was suspended by a user, and is not left alone"
                ));
            }
        }
        self.shared.pause().await;
        Ok(())
    }

    async fn terminate(&self, id: &str) -> Result<(), CloudError> {
        self.shared.core().terminating(id, true);
        self.request("terminate").await?;
        {
            let mut core = self.shared.core();
            if let Some(message) = core.cloud.said.protected.get(id).cloned() {
                let (service, operation) = ("Auto Scaling", "TerminateInstanceInAutoScalingGroup");
                return Err(CloudError::Refused { service, operation, message });
            }
            core.ends(id, true);
        }
        self.shared.pause().await;
        Ok(())
    }

    async fn copy(&self, copy: &GroupCopy) -> Result<CopyStanding, CloudError> {
        self.request("copy").await?;
        let standing = self.shared.core().copy(copy);
        self.shared.pause().await;
        standing
    }

    async fn delete_copy(&self, name: &str) -> Result<bool, CloudError> {
        self.request("delete_copy").await?;
        let is_gone = self.shared.core().delete_copy(name);
        self.shared.pause().await;
        Ok(is_gone)
    }
}

impl Core {
    /// Somebody begins to have an instance terminated, by its Auto Scaling group or not.
    fn terminating(&mut self, id: &str, is_scaled: bool) {
        if let Err(broken) = shift::termination_begins(self, id) {
            self.violate(broken);
        }
        let known = self.cloud.machines.get(id);
        let instance = known.map(|machine| machine.instance.clone());
        let is_tagged = instance.as_ref().is_some_and(|of| of.tags.contains_key(TAG.0));
        if !is_tagged || instance.is_some_and(|of| of.scaling_group.is_some() != is_scaled) {
            self.violate(format!("{id} is terminated, scaled: {is_scaled}, tagged: {is_tagged}"));
        }
    }

    /// An instance shuts down.
    fn ends(&mut self, id: &str, is_scaled: bool) {
        self.tell(id, || "is to be terminated".to_owned());
        if self.script.is_some() {
            let said = &mut self.cloud.said;
            let asked = if is_scaled { &mut said.scaled_in } else { &mut said.ended };
            asked.push(id.to_owned());
        }
        let ms = self.random.between(10, 20_000);
        self.push(ms, Event::Change(Change::Dies(id.to_owned())));
    }
}

impl ScalingGroup {
    /// A group in which a user has suspended processes.
    pub(crate) fn with(by_user: BTreeSet<String>) -> Self {
        Self { suspended: by_user.clone(), by_user, ..Self::default() }
    }
}

/// The instances of a world with a cloud, or of one without.
pub(crate) fn instances_of(ports: &Arc<Ports>) -> Instances {
    if !ports.shared.core().is_cloud {
        return Instances::none();
    }
    Instances {
        fleet: Arc::<Ports>::clone(ports),
        push: Arc::<Ports>::clone(ports),
        scaling: Arc::<Ports>::clone(ports),
    }
}
