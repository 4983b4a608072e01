//! The simulated balancer and alarms, what a seed decides about them, and the invariants of traffic and ladders.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use control::ports::{Alarms, BalancerError, Balancers, Pair, Reading, Standing};
use control::rows::Group;
use engine::deployment::{Creator, Deployment, HostState};
use engine::{DeploymentId, Timestamp};
use wire::codedeploy::{
    Alarm, AlarmConfiguration, AutoRollbackConfiguration, DeploymentStyle, LoadBalancerInfo,
    TargetGroupInfo,
};
use wire::cutover::Steer;

use crate::capacity::{self, Capacity};
use crate::checks::demand;
use crate::core::{Act, Core};
use crate::exchange;
use crate::functions;
use crate::ports::Ports;
use crate::random::Random;
use crate::services;
use crate::shift::{self, ShiftStory, Weights, is_in_from_the_beginning};
use crate::zones;

const ALARM: &str = "home:web error_rate>5%";

/// What a seed decides about traffic.
#[derive(Debug, Clone)]
pub(crate) struct TrafficStory {
    is_balanced: bool,
    /// The steps of the configurations that users make.
    pub(crate) steps: Option<&'static str>,
    is_watched: bool,
    ignores_unreadable: bool,
    takes_back: bool,
    faults: TrafficFaults,
    acts: Vec<(u64, Act)>,
    shift: Option<ShiftStory>,
}

/// How often balancers and alarms err, of ten thousand.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct TrafficFaults {
    away: u32,
    unreadable: u32,
    /// Deployments whose alarm fires at some time.
    fires: u32,
}

impl TrafficFaults {
    /// Of alarms alone.
    pub(crate) fn of_alarms(unreadable: u32, fires: u32) -> Self {
        Self { away: 0, unreadable, fires }
    }
}

impl TrafficStory {
    /// Every second world has traffic. Its chance is its own, so that other worlds stay what they are.
    pub(crate) fn by_chance(seed: u64, groups: usize, lasts_ms: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x7261_6666_6963);
        if random.of_ten_thousand(5_000) {
            return None;
        }
        let steps = [
            None,
            Some("1 host@1m,100%"),
            Some("1 host@10s,50%@1m,100%@20s"),
            Some("10%,25%@5s,100%"),
        ];
        let mut often = |most: u64| {
            let often = if random.of_ten_thousand(5_000) { random.between(1, most) } else { 0 };
            u32::try_from(often).unwrap_or(0)
        };
        let faults =
            TrafficFaults { away: often(3_000), unreadable: often(5_000), fires: often(6_000) };
        let steering = random.between(0, 4);
        let acts = (0..steering)
            .map(|_| {
                let last = u64::try_from(groups).unwrap_or(1).saturating_sub(1);
                let group = usize::try_from(random.between(0, last)).unwrap_or(0);
                let all = [Steer::Pause, Steer::Resume, Steer::Promote, Steer::SkipBake];
                let wish = *random.pick(&all).unwrap_or(&Steer::Resume);
                (random.between(0, lasts_ms), Act::Steer { group, wish })
            })
            .collect();
        let is_balanced = random.of_ten_thousand(7_000);
        let steps = *random.pick(&steps).unwrap_or(&None);
        let shift = ShiftStory::by_chance(seed).filter(|_| is_balanced);
        let mut acts: Vec<(u64, Act)> = acts;
        if shift.is_some() {
            // Somebody looks after what waits.
            let each = |ms| (0..groups).map(move |group| (ms, Act::Continue { group }));
            acts.extend([lasts_ms / 4, lasts_ms / 2, lasts_ms].into_iter().flat_map(each));
        }
        Some(Self {
            is_balanced,
            steps: shift.as_ref().map_or(steps, |shift| shift.steps),
            shift,
            is_watched: random.of_ten_thousand(6_000),
            ignores_unreadable: random.of_ten_thousand(3_000),
            takes_back: random.of_ten_thousand(7_000),
            faults,
            acts,
        })
    }

    /// What people want of deployments, and when.
    pub(crate) fn acts(&self) -> impl Iterator<Item = (u64, Act)> + '_ {
        self.acts.iter().cloned()
    }

    /// Gives a group its balancer and its alarms.
    pub(crate) fn set(&self, group: &mut Group) {
        if let Some(shift) = &self.shift {
            shift.set(group);
        }
        let settings = &mut group.settings;
        if self.is_balanced && self.shift.is_none() {
            settings.deployment_style = Some(DeploymentStyle {
                deployment_type: Some("IN_PLACE".to_owned()),
                deployment_option: Some("WITH_TRAFFIC_CONTROL".to_owned()),
            });
            settings.load_balancer_info = Some(LoadBalancerInfo {
                target_group_info_list: Some(vec![TargetGroupInfo {
                    // Each has its own: what two deployments did to one would be nobody's fault.
                    name: Some(format!("home:{}", group.name)),
                }]),
                ..LoadBalancerInfo::default()
            });
        }
        if self.is_watched {
            settings.alarm_configuration = Some(AlarmConfiguration {
                enabled: Some(true),
                ignore_poll_alarm_failure: Some(self.ignores_unreadable),
                alarms: Some(vec![Alarm { name: Some(ALARM.to_owned()) }]),
            });
        }
        if self.takes_back {
            let events = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"].map(str::to_owned);
            settings.auto_rollback_configuration = Some(AutoRollbackConfiguration {
                enabled: Some(true),
                events: Some(events.into()),
            });
        }
    }

    /// Has groups copy their Auto Scaling group, where they are deployed to by blue/green and the seed wants it.
    pub(crate) fn copy_groups(&mut self, seed: u64) {
        if let Some(shift) = &mut self.shift {
            shift.copy_groups(seed);
        }
    }

    /// Whether traffic moves all together.
    pub(crate) fn is_shifted(&self) -> bool {
        self.shift.is_some()
    }

    pub(crate) fn faults(&self) -> TrafficFaults {
        self.faults
    }
}

/// The balancer, and which alarms fire.
#[derive(Debug, Default)]
pub(crate) struct TrafficWorld {
    pub(crate) faults: TrafficFaults,
    /// By target group and host.
    targets: BTreeMap<(String, String), Target>,
    /// Whom somebody asked about, by target group and host.
    known: BTreeSet<(String, String)>,
    /// Hosts that were not there at the beginning, and are in no target group unless they are let in.
    pub(crate) late: BTreeSet<String>,
    /// Hosts that nobody takes out for who they are: launched while others were there, or gone.
    pub(crate) strangers: BTreeSet<String>,
    /// How much of its listener's traffic each target group has.
    pub(crate) weights: Weights,
    /// What was told of who has no traffic.
    pub(crate) capacity: Capacity,
    /// From when on the alarm of a deployment fires.
    fires_at: BTreeMap<DeploymentId, Option<u64>>,
    /// What a test says of it.
    pub(crate) said: SaidOfTraffic,
}

/// What a test says of balancers and alarms.
#[derive(Debug, Default)]
pub(crate) struct SaidOfTraffic {
    /// Whether no host is anywhere unless it was let in.
    pub(crate) begins_empty: bool,
    /// Whether hosts that are taken out keep the traffic that they have.
    pub(crate) keeps: bool,
    /// Hosts that are let in and not found healthy.
    pub(crate) unhealthy: BTreeSet<String>,
    /// Hosts that no target group takes.
    pub(crate) refused: BTreeSet<String>,
    /// Whether every alarm fires.
    pub(crate) fires: bool,
    /// What alarms have to say to people, by name.
    pub(crate) notes: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Target {
    is_wanted: bool,
    /// When what was asked for is so.
    settled_at: u64,
}

impl TrafficWorld {
    pub(crate) fn standing(&self, group: &str, host: &str, now: u64) -> Standing {
        match self.targets.get(&(group.to_owned(), host.to_owned())) {
            None if self.begins_in(group, host) => Standing::In,
            None => Standing::Out,
            Some(target) => match (target.is_wanted, now >= target.settled_at) {
                (true, _) if self.said.unhealthy.contains(host) => Standing::Starting(None),
                (true, true) => Standing::In,
                (true, false) => Standing::Starting(None),
                (false, true) if !self.said.keeps => Standing::Out,
                (false, _) => Standing::Draining,
            },
        }
    }

    /// Whether a host is in a target group before anybody has let it in.
    fn begins_in(&self, group: &str, host: &str) -> bool {
        let is_known = !self.late.contains(host) && !self.said.begins_empty;
        is_known && is_in_from_the_beginning(group, host)
    }

    /// The hosts that are wanted in a target group.
    pub(crate) fn wanted_in<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a String> {
        let of_group = self.targets.iter().filter(move |((of, _), _)| of == group);
        of_group.filter(|(_, target)| target.is_wanted).map(|((_, host), _)| host)
    }

    /// Whoever was asked about in a target group, but for some hosts.
    fn others<'a>(
        &'a self,
        group: &'a str,
        hosts: &'a BTreeSet<&str>,
    ) -> impl Iterator<Item = &'a String> {
        let of_group = self.known.iter().filter(move |(of, _)| of == group).map(|(_, host)| host);
        of_group.filter(|host| !hosts.contains(host.as_str()))
    }

    /// The target groups that a host was let into or taken out of.
    pub(crate) fn groups_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a String> {
        self.targets.keys().filter(move |(_, of)| of == host).map(|(group, _)| group)
    }

    /// How many hosts of a target group have traffic, but for some of them.
    pub(crate) fn others_in(&self, group: &str, hosts: &BTreeSet<&str>, now: u64) -> usize {
        let is_in = |host: &&String| self.standing(group, host, now) == Standing::In;
        self.others(group, hosts).filter(is_in).count()
    }

    /// Whether hosts ever had traffic of a target group but for some of them.
    pub(crate) fn had_others(&self, group: &str, hosts: &BTreeSet<&str>) -> bool {
        let had = |host: &String| {
            let place = (group.to_owned(), host.clone());
            let is_first = !self.said.begins_empty && is_in_from_the_beginning(group, host);
            self.targets.contains_key(&place) || is_first
        };
        self.others(group, hosts).any(had)
    }

    /// Somebody asks for a host to have traffic, or none.
    pub(crate) fn ask(&mut self, group: &str, host: &str, is_wanted: bool, settled_at: u64) {
        let place = (group.to_owned(), host.to_owned());
        let known = match self.targets.get(&place) {
            Some(target) => target.is_wanted == is_wanted,
            None => is_wanted && self.begins_in(group, host),
        };
        if !known {
            self.targets.insert(place, Target { is_wanted, settled_at });
        }
    }
}

impl Ports {
    /// Whether the balancer answers; the time that a request takes goes by.
    async fn balancer(&self, group: &str) -> Result<(), BalancerError> {
        self.shared.pause().await;
        let mut core = self.shared.core();
        let away = core.traffic.faults.away;
        if core.random.of_ten_thousand(away) {
            let (name, source) = (group.to_owned(), "no answer".into());
            return Err(BalancerError::Unavailable { name, source });
        }
        Ok(())
    }
}

#[async_trait]
impl Balancers for Ports {
    async fn check(&self, _: &str) -> Result<(), BalancerError> {
        Ok(())
    }

    async fn admit(
        &self,
        group: &str,
        host: &str,
        version: &DeploymentId,
    ) -> Result<(), BalancerError> {
        {
            let mut core = self.shared.core();
            if let Some(alarm) = core.checks.alarm_of(version) {
                core.violate(format!(
                    "{host} is let in for {version} after its alarm at {alarm:?}"
                ));
            }
        }
        self.balancer(group).await?;
        let mut core = self.shared.core();
        if core.traffic.said.refused.contains(host) {
            let (name, message) = (group.to_owned(), format!("{host} is gone"));
            return Err(BalancerError::Refused { name, message });
        }
        let settled_at = core.now + core.random.between(0, 20_000);
        core.tell(host, || {
            format!("is to get traffic of {group} from {settled_at} on, of {version}")
        });
        core.traffic.ask(group, host, true, settled_at);
        Ok(())
    }

    async fn drain(&self, group: &str, hosts: &[String]) -> Result<(), BalancerError> {
        {
            let mut core = self.shared.core();
            if let Err(broken) = capacity::drain_holds(&core, group, hosts) {
                core.violate(broken);
            }
        }
        self.balancer(group).await?;
        let mut core = self.shared.core();
        if let Err(broken) = capacity::drain_holds(&core, group, hosts) {
            core.violate(broken);
        }
        if let Err(broken) = exchange::drain_begins(&core, group, hosts) {
            core.violate(broken);
        }
        let settled_at = core.now + core.random.between(0, 20_000);
        for host in hosts {
            core.tell(host, || "is to get no traffic".to_owned());
            core.traffic.ask(group, host, false, settled_at);
        }
        Ok(())
    }

    async fn standing(
        &self,
        group: &str,
        hosts: &[String],
    ) -> Result<BTreeMap<String, Standing>, BalancerError> {
        self.balancer(group).await?;
        let mut core = self.shared.core();
        core.traffic.known.extend(hosts.iter().map(|host| (group.to_owned(), host.clone())));
        let standing = |host: &String| (host.clone(), core.traffic.standing(group, host, core.now));
        let standings = hosts.iter().map(standing).collect();
        let now = core.now;
        core.traffic.capacity.told(group, &standings, now);
        Ok(standings)
    }

    async fn split(&self, pair: &Pair, percent: u8) -> Result<(), BalancerError> {
        if let Some(listener) = &pair.listener {
            return self.split_listener(listener, pair, percent).await;
        }
        {
            let mut core = self.shared.core();
            if let Err(broken) = shift::split_begins(&core, pair, percent) {
                core.violate(broken);
            }
        }
        self.balancer(&pair.new).await?;
        let mut core = self.shared.core();
        let now = core.now;
        let settled_at = now + core.random.between(0, 3_000);
        core.tell("balancer", || {
            format!("{} is to have {percent}% from {settled_at} on", pair.new)
        });
        core.traffic.weights.split(pair, percent, now, settled_at);
        Ok(())
    }

    async fn senders(&self, group: &str) -> Result<Vec<String>, BalancerError> {
        self.balancer(group).await?;
        let core = self.shared.core();
        Ok(core.services.weights.senders(group, core.now))
    }

    async fn percent(&self, pair: &Pair) -> Result<u8, BalancerError> {
        if let Some(listener) = &pair.listener {
            return self.percent_of_listener(listener, pair).await;
        }
        self.balancer(&pair.new).await?;
        let core = self.shared.core();
        Ok(core.traffic.weights.of(&pair.new, core.now))
    }
}

#[async_trait]
impl Alarms for Ports {
    async fn read(&self, alarms: &[String], version: &DeploymentId) -> Vec<Reading> {
        self.shared.pause().await;
        let mut core = self.shared.core();
        let is_called = |name: &str| alarms.iter().any(|alarm| alarm == name);
        let TrafficFaults { unreadable, fires, .. } = if is_called(functions::ALARM) {
            core.functions.alarms
        } else if is_called(services::ALARM) {
            core.services.alarms
        } else {
            core.traffic.faults
        };
        if !core.traffic.fires_at.contains_key(version) {
            let fires = core.random.of_ten_thousand(fires);
            let at = core.now + core.random.between(0, 120_000);
            core.traffic.fires_at.insert(version.clone(), fires.then_some(at));
        }
        let fires_at = core.traffic.fires_at.get(version).copied().flatten();
        let reading = if core.random.of_ten_thousand(unreadable) {
            Reading::Unreadable("no answer".to_owned())
        } else if core.traffic.said.fires || fires_at.is_some_and(|at| core.now >= at) {
            Reading::Firing
        } else {
            Reading::Quiet
        };
        alarms.iter().map(|_| reading.clone()).collect()
    }

    async fn notes(&self, alarms: &[String], _: &DeploymentId) -> Vec<Option<String>> {
        let core = self.shared.core();
        alarms.iter().map(|alarm| core.traffic.said.notes.get(alarm).cloned()).collect()
    }
}

/// What a step of a deployment may do to its ladder; `started` hosts are sent their first command in it.
pub(crate) fn ladder_holds(
    old: &Deployment,
    new: &Deployment,
    started: u32,
    now: Timestamp,
) -> Result<(), String> {
    let (id, ladder) = (new.id(), &new.order().ladder);
    let (was, is, steering) = (old.climb(), new.climb(), new.steering());
    zones::turns_hold(old, new)?;
    demand!(is.rung >= was.rung, "{id} goes down its ladder from {was:?} to {is:?}");
    demand!(is.rung <= zones::top(new), "{id} climbs above its ladder: {is:?}");
    if let (Some(rung), Some(since)) = (ladder.get(was.rung), was.baking_since) {
        let has_baked = now >= since.plus_ms(rung.bake_ms);
        let is_excused = steering.promoted || was.rung < steering.baked_below;
        let waits = is.rung == was.rung;
        demand!(has_baked || is_excused || waits, "{id} does not wait for {rung} of {was:?}");
    }
    if started == 0 {
        return Ok(());
    }
    demand!(!steering.paused, "{id} is paused and starts {started} hosts");
    demand!(new.alarm().is_none(), "{id} starts {started} hosts after an alarm");
    let counts_hosts = new.order().shift.is_none() && !steering.promoted;
    if let Some(rung) = ladder.get(is.rung).filter(|_| counts_hosts) {
        let fleet = new.hosts().fleet();
        let (most, all) = (rung.share.of_hosts(fleet.total()), fleet.total() - fleet.untouched());
        demand!(all <= most, "{id} has started {all} hosts, and its step allows {most}");
    }
    Ok(())
}

/// What must hold of a deployment that has ended.
pub(crate) fn end_holds(core: &Core, deployment: &Deployment) -> Result<(), String> {
    let (id, order) = (deployment.id(), deployment.order());
    let succeeded = deployment.status() == engine::deployment::Status::Succeeded;
    demand!(
        !succeeded || deployment.climb().rung == zones::top(deployment),
        "{id} succeeded below the top of its ladder: {:?}",
        deployment.climb()
    );
    demand!(!succeeded || deployment.alarm().is_none(), "{id} succeeded in spite of an alarm");
    let is_unwatched = order.creator != Creator::User;
    demand!(!is_unwatched || order.watch.is_none(), "{id} goes back and is watched");
    let has_traffic = order.creator != Creator::Departure;
    for group in order.traffic.iter().flat_map(|traffic| &traffic.groups) {
        for host in core.checks.hosts.get(id).into_iter().flat_map(BTreeMap::values) {
            let known = deployment.hosts().get(host.ordinal);
            let is_good = known.is_some_and(|known| known.state == HostState::Succeeded);
            let standing = core.traffic.standing(group, &host.name, core.now);
            let is_in = standing == Standing::In;
            let must = succeeded && is_good && has_traffic;
            demand!(!must || is_in, "{} succeeded in {id} and is {standing:?}", host.name);
        }
    }
    Ok(())
}
