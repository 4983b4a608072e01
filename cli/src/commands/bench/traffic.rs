//! What a balancer costs: the time that each host of a deployment takes longer than without one, over what the balancer
//! itself needs to drain it and to find it healthy; and from the first bad response of a version to the last one of it.
//! Users come all the while.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use engine::Timestamp;
use wire::codedeploy::{
    Alarm, AlarmConfiguration, AutoRollbackConfiguration, DeploymentInfo, DeploymentStyle,
    GroupSettings, LoadBalancerInfo, TargetGroupInfo,
};
use wire::cutover::{AddBalancer, CreateLadder, ListBalancers};

use super::figure::{Figure, spread};
use super::home::{BenchHome, text, write_bundle};
use crate::commands::load::{Load, Version};
use crate::pack;

const RUNS: u32 = 10;
const HOSTS: u8 = 4;
/// How often the balancer is asked how its hosts stand; what it needs itself is known that precisely.
const LOOK: Duration = Duration::from_millis(4);
/// How long users come before a bad version does, so that there is no start to be seen.
const WARM: Duration = Duration::from_millis(500);
/// The alarm that takes the bad version's traffic back.
const ALARM: &str = "home:web error_rate>5% over 2s of 10";

const APPSPEC: &str = "version: 0.0\nos: linux\nfiles:\n  - source: site\n    destination: /srv/bench\n\
file_exists_behavior: OVERWRITE\nhooks:\n  ApplicationStop:\n    - location: stop.sh\n  ApplicationStart:\n    - location: start.sh\n";
const STOP: &str = "#!/bin/sh\npid=$(cat \"$HOST_ROOT/srv/bench.pid\" 2>/dev/null) || exit 0\nkill \"$pid\" 2>/dev/null\nexit 0\n";
const START: &str = "#!/bin/sh\n'PROGRAM' shop --listen \"$HOST_ADDRESS:PORT\" --version VERSION --errs-each ERRS --home API_ADDRESS \
</dev/null >/dev/null 2>&1 &\necho $! >\"$HOST_ROOT/srv/bench.pid\"\n";

pub(super) async fn take(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let bench = Bench::start(program).await?;
    let [overhead, with, without, own] = bench.overhead().await?;
    let mut figures = Vec::new();
    let [median, p90] = spread("a host with a balancer, over its own time", overhead);
    figures.extend([median.limit(200.0), p90]);
    figures.extend(spread("four hosts, with a balancer", with));
    figures.extend(spread("floor: four hosts, without one", without));
    figures.extend(spread("floor: drain and health of a host", own));
    let back = bench.alarms().await?;
    let [median, p90] = spread("first bad response to traffic back", back);
    figures.extend([median.limit(1_500.0), p90]);
    Ok(figures)
}

/// A home with a balancer, and what runs there.
struct Bench {
    home: BenchHome,
    url: String,
    program: String,
    port: u16,
}

impl Bench {
    async fn start(program: &Path) -> anyhow::Result<Self> {
        let home = BenchHome::start(program, HOSTS).await?;
        // A port that is free here is most likely free on the hosts, which have addresses of their own.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let balancer = AddBalancer {
            name: text("web"),
            target_port: Some(port),
            health_path: text("/health"),
            ..AddBalancer::default()
        };
        let balancer = home.client.call(&balancer).await?.balancer.unwrap_or_default();
        let url = balancer.url.context("the balancer has no URL")?;
        let program = program.canonicalize()?.to_string_lossy().replace('\'', "'\\''");
        Ok(Self { home, url, program, port })
    }

    /// Puts a version of the shop that errs at each so many requests, or never; its key.
    async fn put(&self, version: u32, errs_each: u32) -> anyhow::Result<String> {
        let place = self.home.scratch(&format!("bundle-{version}"))?;
        let api = self.home.client.connection().api.trim_start_matches("http://").to_owned();
        let start = START
            .replace("PROGRAM", &self.program)
            .replace("PORT", &self.port.to_string())
            .replace("VERSION", &version.to_string())
            .replace("ERRS", &errs_each.to_string())
            .replace("API_ADDRESS", &api);
        let page = format!("page {version}\n");
        let files = [
            ("appspec.yml", APPSPEC),
            ("site/index.html", &page),
            ("stop.sh", STOP),
            ("start.sh", &start),
        ];
        write_bundle(&place, &files)?;
        // Not under the prefix that is subscribed to: these deployments are asked for.
        let key = format!("asked/{version}.zip");
        self.home.put(&key, pack::pack(&place, None)?).await?;
        Ok(key)
    }

    /// Four hosts one after the other, with and without the balancer: the difference for a host without what the balancer
    /// needs itself; both times; and what it needs. In milliseconds.
    async fn overhead(&self) -> anyhow::Result<[Vec<f64>; 4]> {
        let [mut overhead, mut with, mut without, mut own] = [const { Vec::new() }; 4];
        let mut load = None;
        for run in 0..=RUNS {
            self.balance(false).await?;
            let key = self.put(2 * run, 0).await?;
            let bare = took_ms(&self.home.deploy(&key, "zip").await?);
            self.balance(true).await?;
            let key = self.put(2 * run + 1, 0).await?;
            let (info, needed) = self.watched(&key).await?;
            let balanced = took_ms(&info);
            // The first one warms everything up, and brings the hosts in.
            if run > 0 {
                let hosts = f64::from(HOSTS);
                overhead.push((balanced - bare - needed) / hosts);
                own.push(needed / hosts);
                with.push(balanced);
                without.push(bare);
            } else {
                load = Some(Load::begin(&self.url)?);
            }
        }
        if let Some(load) = load {
            drop(load.end().await);
        }
        Ok([overhead, with, without, own])
    }

    /// Whether the group's hosts are taken out of their traffic and let in.
    async fn balance(&self, is_balanced: bool) -> anyhow::Result<()> {
        let option = if is_balanced { "WITH_TRAFFIC_CONTROL" } else { "WITHOUT_TRAFFIC_CONTROL" };
        let settings = GroupSettings {
            deployment_style: Some(DeploymentStyle {
                deployment_type: text("IN_PLACE"),
                deployment_option: text(option),
            }),
            load_balancer_info: Some(LoadBalancerInfo {
                target_group_info_list: Some(vec![TargetGroupInfo { name: text("home:web") }]),
                ..LoadBalancerInfo::default()
            }),
            ..GroupSettings::default()
        };
        self.home.change(settings).await
    }

    /// Deploys what lies under `key`; how that ended, and for how long the balancer drained hosts or had not found them
    /// healthy, all of them together, in milliseconds.
    async fn watched(&self, key: &str) -> anyhow::Result<(DeploymentInfo, f64)> {
        let deploy = self.home.deploy(key, "zip");
        tokio::pin!(deploy);
        let mut last: BTreeMap<String, String> = BTreeMap::new();
        let (mut needed, mut looked) = (Duration::ZERO, Instant::now());
        loop {
            tokio::select! {
                info = &mut deploy => return Ok((info?, needed.as_secs_f64() * 1_000.0)),
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = self.standings().await?;
            let passed = looked.elapsed();
            looked = Instant::now();
            for (host, standing) in &now {
                let is_busy =
                    |standing: &String| ["draining", "starting"].contains(&standing.as_str());
                if is_busy(standing) && last.get(host).is_some_and(is_busy) {
                    needed += passed;
                }
            }
            last = now;
        }
    }

    async fn standings(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let listed = self.home.client.call(&ListBalancers {}).await?;
        let groups = listed.balancers.into_iter().flatten();
        let groups = groups.flat_map(|balancer| balancer.target_groups.unwrap_or_default());
        let targets = groups.flat_map(|group| group.targets.unwrap_or_default());
        Ok(targets.filter_map(|target| Some((target.host?, target.standing?))).collect())
    }

    /// A bad version goes to one host first; how long users saw it, from its first error to its last answer, in
    /// milliseconds.
    async fn alarms(&self) -> anyhow::Result<Vec<f64>> {
        let ladder = CreateLadder {
            deployment_config_name: text("canary"),
            steps: text("1 host@5s,100%"),
            minimum_healthy_hosts: None,
        };
        self.home.client.call(&ladder).await?;
        let settings = GroupSettings {
            deployment_config_name: text("canary"),
            alarm_configuration: Some(AlarmConfiguration {
                enabled: Some(true),
                alarms: Some(vec![Alarm { name: text(ALARM) }]),
                ..AlarmConfiguration::default()
            }),
            auto_rollback_configuration: Some(AutoRollbackConfiguration {
                enabled: Some(true),
                events: Some(vec!["DEPLOYMENT_STOP_ON_ALARM".to_owned()]),
            }),
            ..GroupSettings::default()
        };
        self.home.change(settings).await?;
        let load = Load::begin(&self.url)?;
        let mut times = Vec::new();
        for run in 0..=RUNS {
            tokio::time::sleep(WARM).await;
            let version = 1_000 + run;
            let key = self.put(version, 3).await?;
            let id = self.home.begin(&key, "zip").await?;
            let info = self.home.ended(&id).await?;
            let counts = load.counts();
            let seen = counts.versions.get(&version.to_string());
            let seconds = seen.and_then(Version::seconds_exposed);
            let seconds = seconds.with_context(|| {
                format!("deployment {id} was to be stopped by its alarm: {:?}", info.status)
            })?;
            ensure!(counts.failed_by_us == 0, "requests failed: {:?}", counts.last_failure);
            if run > 0 {
                times.push(seconds * 1_000.0);
            }
        }
        drop(load.end().await);
        Ok(times)
    }
}

/// From its creation to its end, in milliseconds.
fn took_ms(info: &DeploymentInfo) -> f64 {
    let moment = |time: Option<wire::codedeploy::Seconds>| time.map(Timestamp::from);
    let (began, ended) = (moment(info.create_time), moment(info.complete_time));
    let took = ended.unwrap_or_default().since_ms(began.unwrap_or_default());
    f64::from(u32::try_from(took).unwrap_or(u32::MAX))
}
