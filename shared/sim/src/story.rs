//! What is there when a simulation begins, and what users do in it.

use std::collections::BTreeMap;

use control::ports::Uploaded;
use control::rows::{self, Application, Config, OnPremises, Row, ScalingGroupRow, Subscription};
use control::start::Request;
use control::table::{Condition, Table as _, Write};
use engine::deployment::AutoRollback;
use engine::group::Slot;
use engine::health::{Minimum, Rule};
use engine::ladder::Ladder;
use engine::zonal::Zonal;
use engine::{BundleType, GroupId, Revision, Timestamp};
use futures::FutureExt as _;
use wire::codedeploy::{
    ContinueDeployment, DeregisterOnPremisesInstance, GroupSettings, StopDeployment, TagFilter,
};
use wire::cutover::{RollBackDeployment, Steer, SteerDeployment};

use crate::bundles::Bundle;
use crate::clock::ClockStory;
use crate::core::{Act, EPOCH_MS, Event, HostEvent};
use crate::dispatch_checks::Outage;
use crate::faults::Faults;
use crate::fleet::CloudStory;
use crate::functions::FunctionsStory;
use crate::random::Random;
use crate::runner::Host;
use crate::services::ServicesStory;
use crate::stops;
use crate::traffic::TrafficStory;
use crate::versions::Versions;
use crate::world::World;
use crate::zones::ZoneStory;

/// Hosts that start within a second in [`crate::scale`]: the default of an installation.
pub const START_RAMP: u32 = 500;

/// How long hooks take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    Fast,
    Mixed,
    Slow,
}

impl Pace {
    pub(crate) fn of_hook(self, random: &mut Random) -> u64 {
        let most = match self {
            Self::Fast => 60,
            Self::Mixed if random.of_ten_thousand(1_500) => 25_000,
            Self::Mixed => 500,
            Self::Slow => 90_000,
        };
        random.between(0, most)
    }
}

/// A group as users see it.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) tag: String,
}

/// What a seed decides before time begins.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) faults: Faults,
    pub(crate) pace: Pace,
    pub(crate) hosts: usize,
    pub(crate) groups: usize,
    /// What is done, and when.
    pub(crate) acts: Vec<(u64, Act)>,
    pub(crate) lasts_ms: u64,
    pub(crate) total_ms: u64,
    pub(crate) has_queues: bool,
    pub(crate) start_ramp: u32,
    /// Most hosts that a deployment keeps in one partition.
    pub(crate) hosts_of_shard: usize,
    pub(crate) cloud: Option<CloudStory>,
    pub(crate) traffic: Option<TrafficStory>,
    pub(crate) zones: Option<ZoneStory>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) functions: Option<FunctionsStory>,
    pub(crate) services: Option<ServicesStory>,
    pub(crate) clock: Option<ClockStory>,
    pub(crate) versions: Option<Versions>,
    /// How many shards the stream has that wakes deployments; none, where they are woken in the process.
    pub(crate) streams: usize,
    pub(crate) row_units: Option<u32>,
}

impl Story {
    /// What a seed wants, and the chance of its world.
    pub(crate) fn of_seed(seed: u64) -> (Self, Random) {
        let mut random = Random::new(seed);
        let mut story = Self::by_chance(&mut random);
        story.add_cloud(seed);
        story.add_traffic(seed);
        story.add_zones(seed);
        story.add_functions(seed);
        story.add_services(seed);
        story.add_rollbacks(seed);
        story.add_clock(seed);
        story.versions = Versions::by_chance(seed, story.lasts_ms);
        // Fleets are small here, and are divided all the same: into some twenty partitions at most, as one of 5,000 hosts is.
        // Each is a request, and where any of a thousand may be the last one, nothing would ever be enrolled.
        let mut shards = Random::new(seed ^ 0x0000_7368_6172_6473);
        let least = *shards.pick(&[1, 2, 3, 10, 256]).unwrap_or(&256);
        story.hosts_of_shard = least.max(story.hosts / 20);
        story.outages = Outage::by_chance(seed, story.lasts_ms);
        story.add_pace(seed);
        (story, random)
    }

    pub(crate) fn by_chance(random: &mut Random) -> Self {
        let faults = Faults::by_chance(random);
        let hosts = match random.between(0, 999) {
            0..700 => random.between(1, 8),
            700..960 => random.between(9, 25),
            960..997 => random.between(26, 60),
            _ => 500,
        };
        let is_large = hosts == 500;
        let groups = if is_large || random.of_ten_thousand(7_500) { 1 } else { 2 };
        let pace =
            *random.pick(&[Pace::Fast, Pace::Fast, Pace::Mixed, Pace::Slow]).unwrap_or(&Pace::Fast);
        let pace = if is_large { Pace::Fast } else { pace };
        let lasts_ms = random.between(5_000, 400_000);
        let acts = if is_large { random.between(1, 2) } else { random.between(1, 7) };
        let acts =
            (0..acts).map(|_| (random.between(0, lasts_ms), act(random, groups, hosts))).collect();
        let total_ms = if random.of_ten_thousand(1_000) {
            random.between(5_000, 300_000)
        } else {
            8 * 3_600_000
        };
        let number = |count: u64| usize::try_from(count).unwrap_or(1);
        Self {
            faults,
            pace,
            hosts: number(hosts),
            groups: number(groups),
            acts,
            lasts_ms,
            total_ms,
            has_queues: random.of_ten_thousand(5_000),
            hosts_of_shard: 256,
            start_ramp: *random.pick(&[1, 3, 500, 500]).unwrap_or(&500),
            cloud: None,
            traffic: None,
            zones: None,
            outages: Vec::new(),
            functions: None,
            services: None,
            clock: None,
            versions: None,
            streams: 0,
            row_units: None,
        }
    }

    /// Adds balancers, alarms and ladders, where the seed wants them.
    pub(crate) fn add_traffic(&mut self, seed: u64) {
        self.traffic = TrafficStory::by_chance(seed, self.groups, self.lasts_ms);
        let is_scaled = self.cloud.as_ref().is_some_and(CloudStory::is_scaled);
        if let Some(traffic) = self.traffic.as_mut().filter(|_| is_scaled) {
            traffic.copy_groups(seed);
        }
        if let Some(traffic) = &self.traffic {
            self.acts.extend(traffic.acts());
        }
    }

    /// Adds rollbacks by hand, in every fourth world.
    pub(crate) fn add_rollbacks(&mut self, seed: u64) {
        let mut random = Random::new(seed ^ 0x0bac_c0de);
        if self.hosts >= 500 || !random.of_ten_thousand(2_500) {
            return;
        }
        let last = u64::try_from(self.groups).unwrap_or(1).saturating_sub(1);
        for _ in 0..random.between(1, 3) {
            let group = usize::try_from(random.between(0, last)).unwrap_or(0);
            self.acts.push((random.between(0, self.lasts_ms), Act::RollBack { group }));
        }
    }

    /// Adds availability zones, where the seed wants some and traffic does not move for all of them together.
    pub(crate) fn add_zones(&mut self, seed: u64) {
        let is_shifted = self.traffic.as_ref().is_some_and(TrafficStory::is_shifted);
        self.zones = ZoneStory::by_chance(seed).filter(|_| !is_shifted);
    }

    /// Lets the machine's clock jump, where the seed wants it and the world is a home.
    fn add_clock(&mut self, seed: u64) {
        let is_home = self.cloud.is_none()
            && self.functions.is_none()
            && self.services.is_none()
            && !self.has_queues;
        self.clock = ClockStory::by_chance(seed, self.lasts_ms).filter(|_| is_home);
    }

    /// Paces the commits of deployments' rows in one of seven worlds in which functions decide, also as slowly as no table
    /// makes it necessary, and has a stream wake deployments in some of them. Its chance is its own, and leaves the worlds of
    /// `regressions.txt` what they were.
    fn add_pace(&mut self, seed: u64) {
        let mut random = Random::new(seed ^ 0x7061_6365_0000_004b);
        if random.of_ten_thousand(1_500) && self.has_queues {
            self.row_units = random.pick(&[10, 50, control::ROW_UNITS]).copied();
            self.streams = random.pick(&[0, 1, 4]).copied().unwrap_or_default();
        }
    }

    /// What the configuration `number` of users has: steps or zones, if it has any of them.
    fn pacing(&self, number: u32) -> (Ladder, Option<Zonal>) {
        let steps = self.traffic.as_ref().and_then(|traffic| traffic.steps);
        match &self.zones {
            Some(zones) if steps.is_none() || number == 1 => (Ladder::default(), Some(zones.zonal)),
            Some(_) | None => (steps.and_then(|s| s.parse().ok()).unwrap_or_default(), None),
        }
    }

    /// Adds Lambda applications, where the seed wants some.
    pub(crate) fn add_functions(&mut self, seed: u64) {
        self.functions = FunctionsStory::by_chance(seed, self.groups, self.hosts, self.lasts_ms);
        if let Some(functions) = &self.functions {
            self.acts.extend(functions.acts());
        }
    }

    /// Adds ECS applications, where the seed wants some.
    pub(crate) fn add_services(&mut self, seed: u64) {
        let before = self.groups + self.functions.as_ref().map_or(0, FunctionsStory::groups);
        self.services = ServicesStory::by_chance(seed, before, self.hosts, self.lasts_ms);
        if let Some(services) = &self.services {
            self.acts.extend(services.acts());
        }
    }

    /// Adds a cloud, where the seed wants one.
    pub(crate) fn add_cloud(&mut self, seed: u64) {
        let Some(cloud) = CloudStory::by_chance(seed, self.hosts, self.lasts_ms) else { return };
        self.faults = self.faults.with_cloud(&mut Random::new(!seed));
        self.acts.extend(cloud.acts());
        self.cloud = Some(cloud);
    }
}

fn act(random: &mut Random, groups: u64, hosts: u64) -> Act {
    let number = |count: u64| usize::try_from(count).unwrap_or(0);
    let group = number(random.between(0, groups - 1));
    match random.between(0, 99) {
        0..40 => Act::Deploy { group },
        40..75 => Act::Upload { group },
        75..90 => {
            let roll_back = *random.pick(&[None, Some(true), Some(false)]).unwrap_or(&None);
            Act::Stop { group, roll_back }
        }
        90..92 => Act::DeleteConfig("custom-0".to_owned()),
        _ => Act::Deregister { host: number(random.between(0, hosts - 1)) },
    }
}

fn rule(random: &mut Random) -> Rule {
    let minimum = if random.of_ten_thousand(5_000) {
        Minimum::HostCount(u32::try_from(random.between(0, 12)).unwrap_or(0))
    } else {
        Minimum::FleetPercent(u8::try_from(random.between(0, 99)).unwrap_or(0))
    };
    Rule { minimum, predefined: false }
}

const CONFIGS: [&str; 5] = [
    "CodeDeployDefault.OneAtATime",
    "CodeDeployDefault.HalfAtATime",
    "CodeDeployDefault.AllAtOnce",
    "custom-0",
    "custom-1",
];

/// The bucket of the simulated world.
const BUCKET: &str = "revisions";

fn revision(key: &str) -> Revision {
    Revision {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        bundle_type: BundleType::Zip,
        version: None,
        e_tag: None,
        content: None,
    }
}

impl World {
    /// Puts everything in place, and sets the clock going.
    pub(crate) fn begin(&mut self, story: &Story) {
        let mut core = self.shared.core();
        core.total_ms = story.total_ms;
        core.traffic.faults = story.traffic.as_ref().map(TrafficStory::faults).unwrap_or_default();
        let mut random = Random::new(core.random.next());
        core.tell("world", || format!("{story:?}"));
        for (ms, act) in &story.acts {
            core.push(*ms, Event::Act(act.clone()));
        }
        core.push(60_000, Event::Sweep);
        let calm = core.random.between(0, 60_000);
        core.push(story.lasts_ms + calm, Event::Heal);
        if core.faults.die > 50 {
            for server in 0..3 {
                let ms = core.random.between(0, story.lasts_ms);
                core.push(ms, Event::ServerDies(server));
            }
        }
        if story.faults == Faults::default() && story.versions.is_none() {
            core.punctual_since = Some(core.now);
        }
        for _ in 0..core.random.between(0, 3) {
            let ms = core.random.between(0, story.lasts_ms + 200_000);
            core.push(ms, Event::DriverRestarts);
        }
        for host in 0..story.hosts {
            let ms = core.random.between(0, 5_000);
            core.push(ms, Event::Host { host, life: 0, what: HostEvent::Poll });
        }
        drop(core);
        let mut rows = Rows::default();
        rows.add(&Application {
            id: "shop".to_owned(),
            name: "shop".to_owned(),
            created_at: Timestamp(EPOCH_MS),
            compute_platform: wire::codedeploy::ComputePlatform::Server,
            tags: Vec::new(),
            deleting: false,
        });
        for number in 0..2 {
            let name = format!("custom-{number}");
            let created_at = Timestamp(EPOCH_MS);
            let (ladder, zonal) = story.pacing(number);
            rows.add(&Config {
                id: name.clone(),
                name,
                created_at,
                rule: rule(&mut random),
                ladder,
                routing: None,
                zonal,
            });
        }
        for number in 0..story.groups {
            let mut group = group_row(&mut random, number, story.hosts);
            if story.versions.as_ref().is_some_and(|versions| versions.has_old_groups) {
                group.members_since = None;
            }
            if let Some(cloud) = &story.cloud {
                cloud.set(&mut group);
            }
            if let Some(traffic) = &story.traffic {
                traffic.set(&mut group);
            }
            for name in group.settings.auto_scaling_groups.iter().flatten() {
                let (scaling_group, group_id) = (name.clone(), group.id.clone());
                rows.add(&ScalingGroupRow { scaling_group, group_id, place: None });
            }
            let tag = format!("group-{number}");
            rows.add(&Subscription {
                bucket: BUCKET.to_owned(),
                prefix: tag.clone(),
                group_id: group.id.clone(),
                since: 0,
            });
            self.groups.push(Group { id: group.id.clone(), tag });
            rows.add(&group);
        }
        if let Some(cloud) = &story.cloud {
            self.begin_cloud(cloud);
        }
        for host in self.hosts.iter().filter(|host| !host.is_pushed) {
            let member = |group: &Group| (group.tag.clone(), "yes".to_owned());
            let mut tags: BTreeMap<String, String> = self.groups.iter().map(member).collect();
            if story.groups > 1 && random.of_ten_thousand(3_000) {
                drop(tags.pop_last());
            }
            tags.extend(self.zone_tag(host));
            rows.add(&OnPremises {
                name: host.name.clone(),
                arn: host.name.clone(),
                iam_user_arn: None,
                iam_session_arn: None,
                registered_at: Timestamp(EPOCH_MS),
                deregistered_at: None,
                tags,
                key_hash: Some(control::hash_of(&host.key)),
                seen_at: None,
            });
        }
        if let Some(functions) = &story.functions {
            self.begin_functions(functions, &mut rows);
        }
        if let Some(services) = &story.services {
            self.begin_services(services, story.functions.is_some(), &mut rows);
        }
        if let Some(clock) = &story.clock {
            self.begin_clock(clock);
        }
        rows.write(self);
        self.shared.table.count_anew();
        self.shared.table.inject(story.faults.table, random.next());
    }

    /// The tag that names the zone of a host on premises, if it is in one.
    fn zone_tag(&self, host: &Host) -> Option<(String, String)> {
        let at = self.hosts.iter().position(|other| other.name == host.name)?;
        let zone = self.shared.core().zones.as_ref()?.zone_of(at)?;
        Some(("zone".to_owned(), zone))
    }

    /// Does what a user does.
    pub(crate) fn act(&mut self, act: Act) {
        self.shared.core().tell("user", || format!("{act:?}"));
        match act {
            Act::Deploy { group } => {
                let key = self.new_bundle("manual");
                let config =
                    self.shared.core().random.pick(&CONFIGS).map(|name| (*name).to_owned());
                self.deploy(group, &key, config);
            }
            Act::DeployWith { group, config } => {
                let key = "good.zip".to_owned();
                let good = Bundle::Good { fails: 0 };
                self.shared.core().bundles.insert(key.clone(), good);
                self.deploy(group, &key, Some(config));
            }
            Act::Upload { group } => self.upload(group),
            Act::Stop { group, roll_back } => self.stop(group, roll_back),
            Act::RollBack { group } => self.roll_back(group),
            Act::DeleteConfig(name) => {
                self.spawn(format!("delete {name}"), false, None, |control, _| async move {
                    let delete = Write::Delete(Config::key_of(&name), Condition::None);
                    drop(control.base.table.write(&[delete]).await);
                });
            }
            Act::Steer { group, wish } => self.steer(group, wish),
            Act::Continue { group } => self.go_on(group),
            Act::Deregister { host } => self.deregister(host),
            Act::Change(change) => self.change(change),
            Act::Function(act) => self.function_act(act),
            Act::Service(act) => self.service_act(act),
        }
    }

    fn new_bundle(&mut self, prefix: &str) -> String {
        self.uploads += 1;
        let key = format!("{prefix}/{}.zip", self.uploads);
        let mut core = self.shared.core();
        let bundle = match core.random.between(0, 99) {
            0..55 => Bundle::Good { fails: 0 },
            55..70 => Bundle::Good { fails: 1_500 },
            70..90 => Bundle::Good { fails: 20_000 },
            90..95 => Bundle::Invalid,
            _ => Bundle::Missing,
        };
        core.tell("bucket", || format!("{key} is {bundle:?}"));
        core.bundles.insert(key.clone(), bundle);
        key
    }

    fn deploy(&mut self, group: usize, key: &str, config: Option<String>) {
        let Some(group) = self.groups.get(group).map(|group| group.id.clone()) else { return };
        let mut request = Request::new(revision(key), None);
        let mut core = self.shared.core();
        request.config = config;
        let on = |chance: u64| !chance.is_multiple_of(3);
        let rollback = AutoRollback {
            on_failure: on(core.random.next()),
            on_stop: on(core.random.next()),
            on_alarm: on(core.checks.ended),
        };
        request.auto_rollback = Some(rollback);
        drop(core);
        self.spawn("start", false, None, |control, _| async move {
            drop(control.base.start(&group, &request).await);
        });
    }

    fn upload(&mut self, group: usize) {
        let Some(tag) = self.groups.get(group).map(|group| group.tag.clone()) else { return };
        let key = self.new_bundle(&tag);
        let identity = format!("put-{}", self.uploads);
        let uploaded = Uploaded {
            bucket: BUCKET.to_owned(),
            key,
            identity: identity.clone(),
            order: self.uploads,
            rank: String::new(),
            version: None,
            e_tag: None,
            size: None,
        };
        drop(self.unhandled.insert(identity, uploaded.clone()));
        let mut core = self.shared.core();
        let late = core.random.between(0, 3_000);
        core.push(late, Event::Announce(uploaded.clone()));
        let twice = core.faults.announced_twice;
        if core.random.of_ten_thousand(twice) {
            let ms = core.random.between(0, 60_000);
            core.push(ms, Event::Announce(uploaded));
        }
    }

    /// Has an upload handled. It is announced again until somebody has.
    pub(crate) fn announce(&mut self, uploaded: Uploaded) {
        self.shared.core().tell("upload", || format!("{} is announced", uploaded.key));
        let again = Some((10_000, Event::Announce(uploaded.clone())));
        self.spawn(format!("take {}", uploaded.key), false, again, |control, shared| async move {
            let outcome = control.revision_intake().take_upload(&uploaded).await;
            let mut core = shared.core();
            match outcome {
                Ok(()) => core.push(0, Event::Handled(uploaded.identity)),
                Err(_) => core.push(10_000, Event::Announce(uploaded)),
            }
        });
    }

    fn stop(&mut self, number: usize, roll_back: Option<bool>) {
        let Some(group) = self.groups.get(number).map(|group| group.id.clone()) else { return };
        let active =
            self.shared.core().checks.active.get(&group).and_then(|ids| ids.first().cloned());
        let Some(id) = active else { return };
        let request = StopDeployment {
            deployment_id: Some(id.to_string()),
            auto_rollback_enabled: roll_back,
        };
        let is_asked_again =
            roll_back.is_none() && self.shared.core().random.of_ten_thousand(3_000);
        if is_asked_again {
            let ms = self.shared.core().random.between(0, 10_000);
            self.act_later(ms, Act::Stop { group: number, roll_back: Some(true) });
        }
        self.spawn(format!("stop {id}"), false, None, |control, shared| async move {
            if control.operator_api().stop_deployment(&request).await.is_ok() {
                stops::answered(&mut shared.core(), &id, roll_back);
            }
        });
    }

    fn roll_back(&mut self, group: usize) {
        let Some(group) = self.groups.get(group).map(|group| group.id.clone()) else { return };
        let newest = {
            let core = self.shared.core();
            let all = core.checks.deployments.values().map(|row| &row.deployment);
            let of_group = all.filter(|of| of.order().group_id == group && of.ended().is_some());
            of_group.max_by_key(|of| of.order().generation).map(|of| of.id().clone())
        };
        let Some(id) = newest else { return };
        let request = RollBackDeployment { deployment_id: Some(id.to_string()) };
        self.spawn(format!("roll {id} back"), false, None, |control, _| async move {
            drop(control.operator_api().roll_back_deployment(&request).await);
        });
    }

    fn steer(&mut self, group: usize, wish: Steer) {
        // A pause stops the time that a deployment may take, so that only a person ends it.
        if wish == Steer::Pause && self.is_healed() {
            self.act_later(240_000, Act::Steer { group, wish: Steer::Resume });
        }
        let Some(group) = self.groups.get(group).map(|group| group.id.clone()) else { return };
        let active =
            self.shared.core().checks.active.get(&group).and_then(|ids| ids.first().cloned());
        let Some(id) = active else { return };
        let request = SteerDeployment {
            deployment_id: Some(id.to_string()),
            wish: Some(wish.name().to_owned()),
        };
        self.spawn(format!("{} {id}", wish.name()), false, None, |control, _| async move {
            drop(control.operator_api().steer_deployment(&request).await);
        });
    }

    fn go_on(&mut self, group: usize) {
        let Some(group) = self.groups.get(group).map(|group| group.id.clone()) else { return };
        let active =
            self.shared.core().checks.active.get(&group).and_then(|ids| ids.first().cloned());
        let Some(id) = active else { return };
        for wait in ["READY_WAIT", "TERMINATION_WAIT"] {
            let request = ContinueDeployment {
                deployment_id: Some(id.to_string()),
                deployment_wait_type: Some(wait.to_owned()),
            };
            self.spawn(format!("continue {id}"), false, None, |control, _| async move {
                drop(control.operator_api().continue_deployment(&request).await);
            });
        }
    }

    fn deregister(&mut self, host: usize) {
        let is_there = |host: &&mut Host| host.is_registered && !host.is_pushed;
        let Some(host) = self.hosts.get_mut(host).filter(is_there) else { return };
        host.is_registered = false;
        let name = host.name.clone();
        self.shared.core().traffic.strangers.insert(name.clone());
        let request = DeregisterOnPremisesInstance { instance_name: Some(name.clone()) };
        self.spawn(format!("deregister {name}"), false, None, |control, _| async move {
            drop(control.operator_api().deregister_on_premises_instance(&request).await);
        });
    }
}

fn group_row(random: &mut Random, number: usize, hosts: usize) -> rows::Group {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&[random.next().to_le_bytes(), random.next().to_le_bytes()].concat());
    let settings = GroupSettings {
        deployment_config_name: random.pick(&CONFIGS).map(|config| (*config).to_owned()),
        on_premises_instance_tag_filters: Some(vec![TagFilter {
            key: Some(format!("group-{number}")),
            value: Some("yes".to_owned()),
            r#type: Some("KEY_AND_VALUE".to_owned()),
        }]),
        auto_rollback_configuration: Some(wire::codedeploy::AutoRollbackConfiguration {
            enabled: Some(random.of_ten_thousand(7_000)),
            events: Some(vec!["DEPLOYMENT_FAILURE".to_owned()]),
        }),
        ..GroupSettings::default()
    };
    let large = hosts >= 500;
    rows::Group {
        id: GroupId::from_random(bytes),
        application_id: "shop".to_owned(),
        name: format!("group-{number}"),
        created_at: Timestamp(EPOCH_MS),
        settings,
        silence_ms: if large {
            60_000
        } else {
            *random.pick(&[10_000, 20_000, 60_000]).unwrap_or(&60_000)
        },
        rerun_interrupted: false,
        tags: Vec::new(),
        slot: Slot::default(),
        place: None,
        members_since: Some(0),
    }
}

/// Rows that are there from the beginning.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Write>);

impl Rows {
    pub(crate) fn add<T: Row>(&mut self, row: &T) {
        self.0.extend(rows::create(row));
    }

    fn write(self, world: &World) {
        for page in self.0.chunks(control::table::TRANSACTION_MAX) {
            drop(world.shared.table.write(page).now_or_never());
            crate::checks::written(&world.shared, page);
        }
    }
}
