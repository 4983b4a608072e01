//! Blue/green in the simulated world: two target groups that share the traffic, what a seed decides about them, and the
//! invariants of traffic that moves all together.

use std::collections::BTreeMap;

use control::ports::{Pair, Standing};
use control::rows::Group;
use engine::deployment::{Deployment, Stage, Status};
use wire::codedeploy::{
    BlueGreenDeploymentConfiguration, BlueInstanceTerminationOption, DeploymentReadyOption,
    DeploymentStyle, GreenFleetProvisioningOption, LoadBalancerInfo, TargetGroupInfo,
};

use crate::carried::{group_in_use, service_of, sides_of};
use crate::checks::demand;
use crate::core::Core;
use crate::random::Random;
use crate::task_sets::place;

/// The steps that configurations have in worlds with blue/green groups: traffic is not counted in hosts.
const STEPS: [Option<&str>; 3] = [None, Some("10%@20s,100%"), Some("1%,5%@10s,50%@1m,100%@10s")];

/// What a seed decides about blue/green.
#[derive(Debug, Clone)]
pub(crate) struct ShiftStory {
    ready_minutes: Option<i32>,
    keep_minutes: i32,
    /// Whether the old hosts are ended.
    terminates: bool,
    /// Whether there is one target group, whose hosts are exchanged.
    is_exchange: bool,
    /// Whether an Auto Scaling group is copied for the new hosts.
    copies: bool,
    /// The steps of the configurations that users make.
    pub(crate) steps: Option<&'static str>,
}

impl ShiftStory {
    /// Two of five worlds with traffic has its groups deployed to by blue/green.
    pub(crate) fn by_chance(seed: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x0067_7265_656e);
        let is_exchange = Random::new(seed ^ 0x6578_6368_616e).of_ten_thousand(4_000);
        random.of_ten_thousand(4_000).then(|| Self {
            ready_minutes: random.of_ten_thousand(5_000).then_some(2),
            keep_minutes: if random.of_ten_thousand(5_000) { 1 } else { 0 },
            steps: random.pick(&STEPS).copied().flatten().filter(|_| !is_exchange),
            terminates: random.of_ten_thousand(5_000),
            is_exchange,
            copies: false,
        })
    }

    /// Has groups copy their Auto Scaling group, in every second world in which hosts are exchanged.
    pub(crate) fn copy_groups(&mut self, seed: u64) {
        self.copies = self.is_exchange && Random::new(seed ^ 0x636f_7079).of_ten_thousand(5_000);
    }

    /// Gives a group its target groups.
    pub(crate) fn set(&self, group: &mut Group) {
        let name =
            |side: &str| TargetGroupInfo { name: Some(format!("home:{}{side}", group.name)) };
        let mut groups = vec![name(ONE)];
        groups.extend((!self.is_exchange).then(|| name(TWO)));
        let settings = &mut group.settings;
        settings.deployment_style = Some(DeploymentStyle {
            deployment_type: Some("BLUE_GREEN".to_owned()),
            deployment_option: Some("WITH_TRAFFIC_CONTROL".to_owned()),
        });
        settings.load_balancer_info = Some(LoadBalancerInfo {
            target_group_info_list: Some(groups),
            ..LoadBalancerInfo::default()
        });
        settings.blue_green_deployment_configuration = Some(BlueGreenDeploymentConfiguration {
            terminate_blue_instances_on_deployment_success: Some(BlueInstanceTerminationOption {
                action: Some(if self.terminates { "TERMINATE" } else { "KEEP_ALIVE" }.to_owned()),
                termination_wait_time_in_minutes: Some(self.keep_minutes),
            }),
            deployment_ready_option: self.ready_minutes.map(|minutes| DeploymentReadyOption {
                action_on_timeout: Some("STOP_DEPLOYMENT".to_owned()),
                wait_time_in_minutes: Some(minutes),
            }),
            green_fleet_provisioning_option: self.copies.then(|| GreenFleetProvisioningOption {
                action: Some("COPY_AUTO_SCALING_GROUP".to_owned()),
            }),
        });
    }
}

pub(crate) const ONE: &str = "-one";
pub(crate) const TWO: &str = "-two";

/// Whether a host is in a target group from the beginning: half of them are where the traffic is.
pub(crate) fn is_in_from_the_beginning(group: &str, host: &str) -> bool {
    group.ends_with(ONE) && host.bytes().last().is_some_and(|digit| digit % 2 == 0)
}

/// How much of its listener's traffic each target group has.
#[derive(Debug, Default)]
pub(crate) struct Weights(BTreeMap<String, Weight>);

#[derive(Debug, Clone, Copy)]
struct Weight {
    was: u8,
    is: u8,
    /// When it is so.
    settled_at: u64,
}

impl Weights {
    pub(crate) fn of(&self, group: &str, now: u64) -> u8 {
        match self.0.get(group) {
            Some(weight) if now >= weight.settled_at => weight.is,
            Some(weight) => weight.was,
            None => 100 * u8::from(group.ends_with(ONE)),
        }
    }

    /// The places in which a target group was given weights, and has some.
    pub(crate) fn senders(&self, group: &str, now: u64) -> Vec<String> {
        let end = format!("/{group}");
        let mut places = self.0.keys().filter(|place| place.ends_with(&end));
        let senders = places.by_ref().filter(|place| self.of(place, now) > 0);
        senders.cloned().collect()
    }

    pub(crate) fn split(&mut self, pair: &Pair, percent: u8, now: u64, settled_at: u64) {
        for (group, is) in [(&pair.new, percent), (&pair.old, 100 - percent)] {
            let was = self.of(group, now);
            self.0.insert(group.clone(), Weight { was, is, settled_at });
        }
    }
}

/// What must hold when somebody begins to set weights.
pub(crate) fn split_begins(core: &Core, pair: &Pair, percent: u8) -> Result<(), String> {
    for row in core.checks.deployments.values().filter(|row| row.deployment.ended().is_none()) {
        let deployment = &row.deployment;
        let is_its_own = sides_of(deployment) == Some((pair.old.clone(), pair.new.clone()));
        let rises = deployment.percent().is_some_and(|known| percent > known);
        if is_its_own && rises {
            let id = deployment.id();
            demand!(
                deployment.alarm().is_none(),
                "{id} gives the new side {percent}% after its alarm"
            );
            demand!(
                !deployment.stop_requested(),
                "{id} gives the new side {percent}% after its stop"
            );
        }
    }
    Ok(())
}

/// What must hold when somebody begins to have an instance terminated: for some deployment there is no way back to it any
/// more, and it has no traffic of the two target groups of that.
pub(crate) fn termination_begins(core: &Core, host: &str) -> Result<(), String> {
    let is_without_traffic = |group: &str| {
        let weight = core.traffic.weights.of(group, core.now);
        weight == 0 || core.traffic.standing(group, host, core.now) == Standing::Out
    };
    let is_reason = |deployment: &Deployment| {
        let retires = deployment.order().shift.as_ref().is_some_and(|shift| shift.retires);
        let is_last = deployment.stage() >= Some(Stage::Retire);
        let hosts = core.checks.hosts.get(deployment.id()).into_iter().flat_map(BTreeMap::values);
        let is_new = hosts.into_iter().any(|known| known.name == host);
        let sides = sides_of(deployment).into_iter().flat_map(|(old, new)| [old, new]);
        let mut groups = sides.chain(group_in_use(deployment));
        retires && is_last && !is_new && groups.all(|group| is_without_traffic(&group))
    };
    let has_reason = core.checks.deployments.values().any(|row| is_reason(&row.deployment));
    demand!(has_reason, "{host} is terminated, has traffic, or may have to have it back");
    Ok(())
}

/// What a step of a shift may do.
pub(crate) fn step_holds(old: &Deployment, new: &Deployment) -> Result<(), String> {
    let id = new.id();
    let (Some(was), Some(is)) = (old.stage(), new.stage()) else { return Ok(()) };
    demand!(is >= was, "{id} goes back from {was:?} to {is:?}");
    let has_hosts = new.order().has_hosts();
    if was < Stage::Move && is >= Stage::Move && has_hosts {
        let all = new.hosts().fleet().in_flight;
        demand!(new.poised().len() == all, "{id} moves traffic while hosts are not ready");
    }
    let (before, after) = (old.percent().unwrap_or(0), new.percent().unwrap_or(0));
    let may_rise = was >= Stage::Move || old.new_side().is_none();
    demand!(after <= before || may_rise, "{id} has {after}% of the traffic in {was:?}");
    Ok(())
}

/// What must hold of a shift that has ended.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let Some(ended) = deployment.ended() else { return Ok(()) };
    let (id, order) = (deployment.id(), deployment.order());
    let (status, percent) = (ended.ending.status, deployment.percent().unwrap_or(0));
    demand!(!ended.ending.roll_back, "{id} deploys to what was not changed");
    if status == Status::Succeeded {
        let is_undisturbed = deployment.alarm().is_none() && !deployment.stop_requested();
        demand!(is_undisturbed, "{id} succeeded in spite of an alarm or a stop");
        demand!(percent == 100, "{id} succeeded with {percent}% of the traffic");
    } else {
        let is_over_time = ended.at.since_ms(order.created_at) >= order.total_ms;
        let has_reason = ended.ending.failure.is_some();
        demand!(has_reason || is_over_time, "{id} ended as {status:?} without a reason");
    }
    let Some((old, new)) = sides_of(deployment) else { return Ok(()) };
    let service = service_of(deployment);
    let weight = |group: &str| match &service {
        Some(service) => core.services.weights.of(&place(&service.listener, group), core.now),
        None => core.traffic.weights.of(group, core.now),
    };
    let real = weight(&new);
    demand!(real + weight(&old) == 100, "the weights of {old} and {new} do not add up");
    let is_told = ended.ending.rollback_refused.as_deref().unwrap_or_default();
    if is_told.contains("where it was before") || status == Status::Succeeded {
        demand!(real == percent, "{id} says {percent}%, and {new} has {real}%");
    }
    Ok(())
}
