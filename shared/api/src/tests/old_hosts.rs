//! Blue/green with TERMINATE: which of the old hosts are ended, when, and which are not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use control::ports::{
    BalancerError, Balancers, CloudError, Command, CopyStanding, Fleet, GroupCopy, Hooks, Instance,
    InstanceState, Instances, LifecycleAction, Pair, Push, Reach, Scaling, Selection, SendError,
    Standing, Traffic,
};
use engine::{DeploymentId, Timestamp};
use serde_json::{Value, json};

use super::world::{World, group};

/// What there is: instances and their states, who is in which target group, and the weights.
#[derive(Default)]
pub(super) struct State {
    pub(super) instances: BTreeMap<String, Instance>,
    /// Who is registered, by target group. Who was taken out drains until a test says that it is out.
    pub(super) registered: BTreeMap<String, BTreeSet<String>>,
    pub(super) draining: BTreeSet<String>,
    drains_at_once: bool,
    /// Who is not found healthy.
    pub(super) unhealthy: BTreeSet<String>,
    /// Whom target groups do not take.
    pub(super) gone: BTreeSet<String>,
    /// How much of the traffic `home:two` has.
    second: u8,
    /// What cannot be terminated, and why.
    protected: BTreeMap<String, String>,
    /// Whether EC2 does not answer.
    is_away: bool,
    pub(super) ended: Vec<String>,
    scaled_in: Vec<String>,
    /// Instances that Systems Manager does not reach.
    pub(super) unreached: BTreeSet<String>,
    /// Those to which it has lost the connection, and when it last heard of them.
    pub(super) lost: BTreeMap<String, Timestamp>,
    /// The commands that were sent.
    pub(super) commands: Vec<Command>,
    /// Auto Scaling groups that deployments have made, and which.
    pub(super) copies: BTreeMap<String, DeploymentId>,
}

#[derive(Default)]
pub(super) struct Fake(Mutex<State>);

impl Fake {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What has the traffic, in percent of `home:two`, and what was terminated.
    fn seen(&self) -> (u8, Vec<String>) {
        let state = self.state();
        (state.second, state.ended.clone())
    }

    pub(super) fn add(&self, id: &str, scaling_group: Option<&str>, tag: bool) {
        let mut tags = BTreeMap::from([("role".to_owned(), "web".to_owned())]);
        if tag {
            tags.insert("cutover".to_owned(), String::new());
        }
        let instance = Instance {
            id: id.to_owned(),
            tags,
            state: InstanceState::Running,
            zone: None,
            scaling_group: scaling_group.map(str::to_owned),
        };
        self.state().instances.insert(id.to_owned(), instance);
        self.register("home:one", id);
    }

    pub(super) fn register(&self, group: &str, host: &str) {
        self.state().registered.entry(group.to_owned()).or_default().insert(host.to_owned());
    }
}

fn unavailable(operation: &'static str) -> CloudError {
    CloudError::Unavailable { service: "EC2", operation, source: "no answer".into() }
}

#[async_trait]
impl Fleet for Fake {
    fn tag(&self) -> (String, String) {
        ("cutover".to_owned(), String::new())
    }

    async fn select(&self, wanted: &Selection) -> Result<Vec<Instance>, CloudError> {
        let state = self.state();
        let runs = |instance: &&Instance| instance.state == InstanceState::Running;
        let all = state.instances.values().filter(runs);
        Ok(all.filter(|instance| wanted.selects(instance)).cloned().collect())
    }

    async fn describe(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        let state = self.state();
        Ok(ids.iter().filter_map(|id| state.instances.get(id)).cloned().collect())
    }

    async fn terminate(&self, ids: &[String]) -> Result<BTreeMap<String, String>, CloudError> {
        let mut state = self.state();
        if state.is_away {
            return Err(unavailable("TerminateInstances"));
        }
        let mut refused = BTreeMap::new();
        for id in ids {
            if let Some(why) = state.protected.get(id) {
                refused.insert(id.clone(), why.clone());
                continue;
            }
            state.ended.push(id.clone());
            if let Some(instance) = state.instances.get_mut(id) {
                instance.state = InstanceState::Terminated;
            }
        }
        Ok(refused)
    }
}

#[async_trait]
impl Push for Fake {
    async fn reach(&self, names: &[String]) -> Result<BTreeMap<String, Reach>, CloudError> {
        let state = self.state();
        let reached = names.iter().filter(|name| !state.unreached.contains(*name));
        let reach = |name: &String| match state.lost.get(name) {
            Some(since) => Reach::Lost { since: Some(*since) },
            None => Reach::Online,
        };
        Ok(reached.map(|name| (name.clone(), reach(name))).collect())
    }

    async fn send(&self, command: &Command) -> Result<String, SendError> {
        self.state().commands.push(command.clone());
        Ok("command".to_owned())
    }

    async fn outcome(&self, _: &str, _: &str) -> Result<Option<String>, CloudError> {
        Ok(None)
    }
}

#[async_trait]
impl Scaling for Fake {
    async fn keep_hooks(&self, _: &Hooks) -> Result<(), CloudError> {
        Ok(())
    }

    async fn heartbeat(&self, _: &LifecycleAction) -> Result<(), CloudError> {
        Ok(())
    }

    async fn release(&self, _: &LifecycleAction, _: bool) -> Result<(), CloudError> {
        Ok(())
    }

    async fn running(&self, _: &str, _: &[String]) -> Result<Vec<String>, CloudError> {
        Ok(Vec::new())
    }

    async fn set_suspended(&self, _: &str, _: &[String], _: bool) -> Result<(), CloudError> {
        Ok(())
    }

    async fn terminate(&self, instance: &str) -> Result<(), CloudError> {
        let mut state = self.state();
        let (service, operation) = ("Auto Scaling", "TerminateInstanceInAutoScalingGroup");
        match state.protected.get(instance).cloned() {
            Some(message) => Err(CloudError::Refused { service, operation, message }),
            None => {
                state.scaled_in.push(instance.to_owned());
                Ok(())
            }
        }
    }

    async fn copy(&self, copy: &GroupCopy) -> Result<CopyStanding, CloudError> {
        let mut state = self.state();
        if state.copies.contains_key(&copy.from) || copy.from == "blue" {
            let made_by = copy.made_by.clone();
            state.copies.insert(copy.to.clone(), made_by);
        } else {
            let (service, operation) = ("Auto Scaling", "CreateAutoScalingGroup");
            let message = format!("there is no Auto Scaling group `{}`", copy.from);
            return Err(CloudError::Refused { service, operation, message });
        }
        let is_in = |instance: &&Instance| {
            instance.scaling_group.as_ref() == Some(&copy.to)
                && instance.state == InstanceState::Running
        };
        let in_service = state.instances.values().filter(is_in).count();
        let in_service = u32::try_from(in_service).unwrap();
        Ok(CopyStanding { wanted: 1, in_service, trouble: None })
    }

    async fn delete_copy(&self, name: &str) -> Result<bool, CloudError> {
        let mut state = self.state();
        if state.copies.remove(name).is_none() {
            return Ok(true);
        }
        let all = state.instances.values_mut();
        for instance in all.filter(|instance| instance.scaling_group.as_deref() == Some(name)) {
            instance.state = InstanceState::Terminated;
        }
        Ok(false)
    }
}

#[async_trait]
impl Balancers for Fake {
    async fn check(&self, _: &str) -> Result<(), BalancerError> {
        Ok(())
    }

    async fn admit(&self, group: &str, host: &str, _: &DeploymentId) -> Result<(), BalancerError> {
        if self.state().gone.contains(host) {
            let (name, message) = (group.to_owned(), format!("{host} is gone"));
            return Err(BalancerError::Refused { name, message });
        }
        self.register(group, host);
        Ok(())
    }

    async fn drain(&self, group: &str, hosts: &[String]) -> Result<(), BalancerError> {
        let mut state = self.state();
        for host in hosts {
            state.registered.entry(group.to_owned()).or_default().remove(host);
            if !state.drains_at_once {
                state.draining.insert(host.clone());
            }
        }
        Ok(())
    }

    async fn standing(
        &self,
        group: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        let state = self.state();
        let standing = |host: &String| {
            let is_in = state.registered.get(group).is_some_and(|hosts| hosts.contains(host));
            let drains = group == "home:one" && state.draining.contains(host);
            let standing = match (is_in, drains) {
                (true, _) if state.unhealthy.contains(host) => Standing::Starting(None),
                (true, _) => Standing::In,
                (false, true) => Standing::Draining,
                (false, false) => Standing::Out,
            };
            (host.clone(), standing)
        };
        Ok(hosts.iter().map(standing).collect())
    }

    async fn split(&self, pair: &Pair, percent: u8) -> Result<(), BalancerError> {
        self.state().second = if pair.new == "home:two" { percent } else { 100 - percent };
        Ok(())
    }

    async fn percent(&self, pair: &Pair) -> Result<u8, BalancerError> {
        let second = self.state().second;
        Ok(if pair.new == "home:two" { second } else { 100 - second })
    }
}

/// A world whose group `web` has one new host on premises, and old ones in the target group with the traffic.
async fn world() -> (World, Arc<Fake>) {
    world_of(&["home:one", "home:two"]).await
}

/// One whose group has these target groups.
pub(super) async fn world_of(groups: &[&str]) -> (World, Arc<Fake>) {
    let groups: Vec<Value> = groups.iter().map(|name| json!({ "name": name })).collect();
    let fake = Arc::new(Fake(Mutex::new(State { drains_at_once: true, ..State::default() })));
    let mut world = World::new();
    world.instances(Instances { fleet: fake.clone(), scaling: fake.clone(), push: fake.clone() });
    world.traffic(Traffic { balancers: fake.clone(), ..Traffic::none() });
    world.ok("CreateApplication", json!({ "applicationName": "shop" })).await;
    let mut body = group("web");
    let more = json!({
        "ec2TagFilters": [{ "Key": "role", "Value": "web", "Type": "KEY_AND_VALUE" }],
        "deploymentStyle": {
            "deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL",
        },
        "loadBalancerInfo": { "targetGroupInfoList": groups },
        "blueGreenDeploymentConfiguration": {
            "terminateBlueInstancesOnDeploymentSuccess": {
                "action": "TERMINATE", "terminationWaitTimeInMinutes": 5,
            },
        },
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.ok("CreateDeploymentGroup", body).await;
    world.register("new").await;
    (world, fake)
}

/// Deploys to the new host, until the traffic has moved and the old hosts are kept.
async fn moved(world: &World) -> String {
    let (id, done) = poised(world).await;
    done.report(world, &id).await;
    let progress = world.ok("Cutover_v1.GetProgress", json!({ "deploymentId": id })).await;
    assert_eq!(progress["stage"], "TerminationWait", "{progress:#}");
    id
}

/// What the new host reports when it has its traffic.
pub(super) struct Done(String, Value);

impl Done {
    pub(super) async fn report(self, world: &World, id: &str) {
        let Self(token, mut report) = self;
        report["sequence"] = 1_000_000.into();
        report["status"] = "Succeeded".into();
        let (code, answer) = world.host("report", &token, report).await;
        assert_eq!(code, 200, "{answer}");
        world.advance(id).await;
    }
}

/// Deploys to the new host, until it is ready to get traffic, and gets it where nothing is in its way.
pub(super) async fn poised(world: &World) -> (String, Done) {
    let id = world.deploy("v1").await;
    let (token, mut report) = world.claim("new").await;
    for (sequence, event) in [(1, "BeforeAllowTraffic"), (2, "AllowTraffic"), (3, "AllowTraffic")] {
        report["sequence"] = sequence.into();
        let done = if event == "AllowTraffic" {
            json!([{ "event": "BeforeAllowTraffic", "status": "Succeeded" }])
        } else {
            json!([])
        };
        let mut events = done.as_array().unwrap().clone();
        events.push(json!({ "event": event, "status": "InProgress", "startedAt": 1 }));
        report["events"] = events.into();
        for _ in 0..2 {
            let (code, answer) = world.host("report", &token, report.clone()).await;
            assert_eq!(code, 200, "{answer}");
            world.advance(&id).await;
            report["sequence"] = (report["sequence"].as_u64().unwrap() * 10).into();
        }
    }
    (id, Done(token, report))
}

pub(super) async fn later(world: &World, id: &str, ms: u64) -> Value {
    world.pass_ms(ms);
    world.advance(id).await;
    world.info(id).await
}

#[tokio::test]
async fn old_instances_are_terminated_when_they_are_out_and_the_wait_is_over() {
    let (world, fake) = world().await;
    fake.state().drains_at_once = false;
    for id in ["i-1", "i-2"] {
        fake.add(id, None, true);
    }
    let id = moved(&world).await;
    assert_eq!(fake.seen(), (100, Vec::new()));
    let info = later(&world, &id, 299_000).await;
    assert!(fake.state().draining.is_empty(), "it is not over yet: {info:#}");
    later(&world, &id, 1_000).await;
    assert_eq!(fake.state().draining.len(), 2);
    let info = later(&world, &id, 10_000).await;
    assert_eq!((fake.seen().1.len(), &info["status"]), (0, &json!("InProgress")));

    fake.state().draining.clear();
    fake.state().is_away = true;
    later(&world, &id, 10_000).await;
    assert_eq!(world.info(&id).await["status"], "InProgress");
    fake.state().is_away = false;
    // Somebody gives the old target group traffic by hand: nothing of it is ended.
    fake.state().second = 99;
    later(&world, &id, 10_000).await;
    assert!(fake.state().ended.is_empty());
    fake.state().second = 100;
    later(&world, &id, 10_000).await;
    assert_eq!(fake.state().ended, ["i-1", "i-2"]);
    let info = later(&world, &id, 10_000).await;
    assert_eq!(
        (&info["status"], &info["deploymentStatusMessages"]),
        (&json!("Succeeded"), &json!([]))
    );
    assert_eq!(fake.state().ended.len(), 2, "once");
    let back = json!({ "deploymentId": id });
    assert_eq!(world.refused("Cutover_v1.RollBackDeployment", back).await, "RevisionDoesNotExist");
}

#[tokio::test]
async fn what_is_not_ours_or_cannot_be_terminated_goes_on_running_and_is_named() {
    let (world, fake) = world().await;
    fake.add("i-plain", None, true);
    fake.add("i-untagged", None, false);
    fake.add("i-protected", None, true);
    fake.add("i-scaled", Some("blue"), true);
    fake.add("i-needed", Some("blue"), true);
    fake.add("i-both", None, true);
    fake.add("i-stranger", None, true);
    world.register("old").await;
    fake.register("home:one", "old");
    let id = moved(&world).await;
    {
        let mut state = fake.state();
        let stranger = state.instances.get_mut("i-stranger").unwrap();
        stranger.tags.insert("role".to_owned(), "other".to_owned());
        for id in ["i-protected", "i-needed"] {
            state.protected.insert(id.to_owned(), format!("{id} may not go"));
        }
    }
    fake.register("home:two", "i-both");
    later(&world, &id, 300_000).await;
    let info = later(&world, &id, 10_000).await;
    assert_eq!(info["status"], "InProgress", "Auto Scaling has not terminated it yet: {info:#}");
    fake.state().instances.get_mut("i-scaled").unwrap().state = InstanceState::Terminated;
    let info = later(&world, &id, 10_000).await;
    assert_eq!(info["status"], "Succeeded", "{info:#}");
    assert_eq!(fake.state().ended, ["i-plain"]);
    assert_eq!(fake.state().scaled_in, ["i-scaled"], "once, and nothing else");
    let messages = info["deploymentStatusMessages"].as_array().unwrap();
    let told: Vec<&str> = messages.iter().map(|message| message.as_str().unwrap()).collect();
    let told = told.join("\n");
    for named in ["old", "i-untagged", "i-protected may not go", "i-needed may not go", "i-both"] {
        assert!(told.contains(named), "{named}: {told}");
    }
    assert!(!told.contains("i-stranger") && !told.contains("i-plain"), "{told}");
    let left: Vec<String> = fake.state().registered["home:one"].iter().cloned().collect();
    assert_eq!(left, ["i-both", "i-stranger", "i-untagged"], "{told}");
}

#[tokio::test]
async fn a_stop_terminates_nothing_and_a_way_back_keeps_both_sides() {
    let (world, fake) = world().await;
    fake.add("i-1", None, true);
    let id = moved(&world).await;
    world.ok("StopDeployment", json!({ "deploymentId": id, "autoRollbackEnabled": false })).await;
    later(&world, &id, 1_000).await;
    assert_eq!(world.info(&id).await["status"], "Stopped");
    let back = world.ok("Cutover_v1.RollBackDeployment", json!({ "deploymentId": id })).await;
    let back = back["deploymentId"].as_str().unwrap().to_owned();
    world.advance(&back).await;
    later(&world, &back, 1_000).await;
    assert_eq!(world.info(&back).await["status"], "Succeeded");
    let state = fake.state();
    assert_eq!((state.second, state.ended.len()), (0, 0));
    assert!(state.registered["home:one"].contains("i-1"));
}
