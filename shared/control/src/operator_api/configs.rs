//! Deployment configurations: CodeDeploy's own and those that users make.

use engine::Timestamp;
use engine::health::{Minimum, Rule};
use engine::ladder::{Ladder, Rung, Share};
use engine::zonal::Zonal;
use wire::codedeploy::{
    ComputePlatform, CreateDeploymentConfig, CreateDeploymentConfigOutput, DeleteDeploymentConfig,
    DeploymentConfigInfo, Empty, ErrorName, GetDeploymentConfig, GetDeploymentConfigOutput,
    GroupSettings, ListDeploymentConfigs, ListDeploymentConfigsOutput, MinimumHealthyHosts,
    PREDEFINED_PREFIX, TimeBasedCanary, TimeBasedLinear, TrafficRoutingConfig, ZonalConfig,
};

use super::paging::PAGE;
use super::{refuse, text, word};
use crate::base::rules::{NO_HOSTS, predefined};
use crate::rows::{self, Config};
use crate::table::Query;
use crate::{Error, OperatorApi};

/// What one of CodeDeploy's own configurations does.
#[derive(Debug, Clone, Copy)]
enum Setting {
    Hosts,
    AllAtOnce,
    Canary { minutes: i32 },
    Linear { minutes: i32 },
}

/// CodeDeploy's own configurations. Canaries and steps are of ten percent.
const PREDEFINED: [(&str, ComputePlatform, Setting); 17] = {
    use ComputePlatform::{Ecs, Lambda, Server};
    use Setting::{AllAtOnce, Canary, Hosts, Linear};
    [
        ("OneAtATime", Server, Hosts),
        ("HalfAtATime", Server, Hosts),
        ("AllAtOnce", Server, Hosts),
        ("LambdaAllAtOnce", Lambda, AllAtOnce),
        ("LambdaCanary10Percent5Minutes", Lambda, Canary { minutes: 5 }),
        ("LambdaCanary10Percent10Minutes", Lambda, Canary { minutes: 10 }),
        ("LambdaCanary10Percent15Minutes", Lambda, Canary { minutes: 15 }),
        ("LambdaCanary10Percent30Minutes", Lambda, Canary { minutes: 30 }),
        ("LambdaLinear10PercentEvery1Minute", Lambda, Linear { minutes: 1 }),
        ("LambdaLinear10PercentEvery2Minutes", Lambda, Linear { minutes: 2 }),
        ("LambdaLinear10PercentEvery3Minutes", Lambda, Linear { minutes: 3 }),
        ("LambdaLinear10PercentEvery10Minutes", Lambda, Linear { minutes: 10 }),
        ("ECSAllAtOnce", Ecs, AllAtOnce),
        ("ECSCanary10Percent5Minutes", Ecs, Canary { minutes: 5 }),
        ("ECSCanary10Percent15Minutes", Ecs, Canary { minutes: 15 }),
        ("ECSLinear10PercentEvery1Minutes", Ecs, Linear { minutes: 1 }),
        ("ECSLinear10PercentEvery3Minutes", Ecs, Linear { minutes: 3 }),
    ]
};

fn find(name: &str) -> Option<(usize, ComputePlatform, Setting)> {
    let short = name.strip_prefix(PREDEFINED_PREFIX)?;
    let found = PREDEFINED.iter().enumerate().find(|(_, (known, ..))| *known == short)?;
    let (place, (_, platform, setting)) = found;
    Some((place + 1, *platform, *setting))
}

/// The platform of one of CodeDeploy's own configurations.
pub(super) fn predefined_platform(name: &str) -> Option<ComputePlatform> {
    find(name).map(|(_, platform, _)| platform)
}

/// The ladder of one of CodeDeploy's own configurations for what is no fleet.
pub(crate) fn predefined_ladder(name: &str) -> Option<Ladder> {
    let (_, _, setting) = find(name)?;
    match setting {
        Setting::Hosts => None,
        Setting::AllAtOnce => Some(Ladder::default()),
        Setting::Canary { minutes } => Some(canary(10, minutes)),
        Setting::Linear { minutes } => Some(linear(10, minutes)),
    }
}

fn rung(percent: i32, minutes: i32) -> Rung {
    let share = Share::Percent(u8::try_from(percent.clamp(1, 100)).unwrap_or(100));
    Rung { share, bake_ms: u64::try_from(minutes).unwrap_or(0) * 60_000 }
}

/// Two steps.
fn canary(percent: i32, minutes: i32) -> Ladder {
    Ladder::new(vec![rung(percent, minutes), rung(100, 0)]).unwrap_or_default()
}

/// Equal steps, of which the last one may be smaller.
fn linear(percent: i32, minutes: i32) -> Ladder {
    let percent = percent.clamp(1, 100);
    let steps = (1..).map(|step| step * percent).take_while(|sum| *sum < 100);
    let steps = steps.map(|sum| rung(sum, minutes)).chain([rung(100, 0)]);
    Ladder::new(steps.collect()).unwrap_or_default()
}

/// The ladder that a user's configuration is.
fn ladder_of(routing: &TrafficRoutingConfig) -> Ladder {
    match (&routing.time_based_canary, &routing.time_based_linear) {
        (Some(step), _) => {
            canary(step.canary_percentage.unwrap_or(100), step.canary_interval.unwrap_or(0))
        }
        (None, Some(step)) => {
            linear(step.linear_percentage.unwrap_or(100), step.linear_interval.unwrap_or(0))
        }
        (None, None) => Ladder::default(),
    }
}

/// One of CodeDeploy's own configurations.
fn predefined_info(name: &str) -> Option<DeploymentConfigInfo> {
    let (number, platform, setting) = find(name)?;
    let routing =
        |kind: &str| TrafficRoutingConfig { r#type: Some(kind.to_owned()), ..Default::default() };
    let traffic = match setting {
        Setting::Hosts => None,
        Setting::AllAtOnce => Some(routing("AllAtOnce")),
        Setting::Canary { minutes } => Some(TrafficRoutingConfig {
            time_based_canary: Some(TimeBasedCanary {
                canary_percentage: Some(10),
                canary_interval: Some(minutes),
            }),
            ..routing("TimeBasedCanary")
        }),
        Setting::Linear { minutes } => Some(TrafficRoutingConfig {
            time_based_linear: Some(TimeBasedLinear {
                linear_percentage: Some(10),
                linear_interval: Some(minutes),
            }),
            ..routing("TimeBasedLinear")
        }),
    };
    Some(DeploymentConfigInfo {
        deployment_config_id: Some(format!("00000000-0000-0000-0000-{number:012}")),
        deployment_config_name: Some(name.to_owned()),
        minimum_healthy_hosts: predefined(name).map(|rule| minimum_of(&rule)),
        create_time: Some(Timestamp(0).into()),
        compute_platform: Some(platform),
        traffic_routing_config: traffic,
        zonal_config: None,
    })
}

pub(super) fn minimum_of(rule: &Rule) -> MinimumHealthyHosts {
    told(rule.minimum)
}

fn told(minimum: Minimum) -> MinimumHealthyHosts {
    let (kind, value) = match minimum {
        Minimum::OneAtATime => ("MOST_CONCURRENCY", 1),
        Minimum::HostCount(count) => ("HOST_COUNT", i32::try_from(count).unwrap_or(i32::MAX)),
        Minimum::FleetPercent(percent) => ("FLEET_PERCENT", i32::from(percent)),
    };
    MinimumHealthyHosts { r#type: Some(kind.to_owned()), value: Some(value) }
}

pub(super) fn rule_of(request: &CreateDeploymentConfig) -> Result<Rule, Error> {
    let invalid = || {
        let message =
            "`minimumHealthyHosts` takes HOST_COUNT with 0 or more, or FLEET_PERCENT with 0 to 99.";
        refuse(ErrorName::InvalidMinimumHealthyHostValue, message)
    };
    let given = request.minimum_healthy_hosts.as_ref();
    let minimum = given.and_then(minimum_in).ok_or_else(invalid)?;
    Ok(Rule { minimum, predefined: false })
}

/// A minimum that is not one of CodeDeploy's own.
fn minimum_in(given: &MinimumHealthyHosts) -> Option<Minimum> {
    match (given.r#type.as_deref()?, given.value?) {
        ("HOST_COUNT", value) => u32::try_from(value).ok().map(Minimum::HostCount),
        ("FLEET_PERCENT", value) => u8::try_from(value).ok().map(Minimum::FleetPercent),
        _ => None,
    }
}

/// How a configuration of CodeDeploy's form goes from zone to zone.
fn zonal_in(given: &ZonalConfig) -> Zonal {
    let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000);
    Zonal {
        first_bake_ms: given.first_zone_monitor_duration_in_seconds.map(ms),
        bake_ms: given.monitor_duration_in_seconds.map(ms),
        minimum: given.minimum_healthy_hosts_per_zone.as_ref().and_then(minimum_in),
    }
}

/// The same in CodeDeploy's form: what was not said is left out again.
fn zonal_told(zonal: &Zonal) -> ZonalConfig {
    let seconds = |ms: u64| i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    ZonalConfig {
        first_zone_monitor_duration_in_seconds: zonal.first_bake_ms.map(seconds),
        monitor_duration_in_seconds: zonal.bake_ms.map(seconds),
        minimum_healthy_hosts_per_zone: zonal.minimum.map(told),
    }
}

impl OperatorApi {
    /// `CreateDeploymentConfig`.
    pub async fn create_deployment_config(
        &self,
        request: &CreateDeploymentConfig,
    ) -> Result<CreateDeploymentConfigOutput, Error> {
        let name = text(&request.deployment_config_name);
        let platform: Option<ComputePlatform> =
            word(request.compute_platform.as_deref(), ErrorName::InvalidComputePlatform)?;
        if let Some(platform @ (ComputePlatform::Lambda | ComputePlatform::Ecs)) = platform {
            let routing = request.traffic_routing_config.clone().unwrap_or_default();
            let (ladder, routing) = (ladder_of(&routing), Some((platform, routing)));
            let config = Config { ladder, routing, ..self.new_config(name, NO_HOSTS) };
            let id = self.create_config(config).await?;
            return Ok(CreateDeploymentConfigOutput { deployment_config_id: Some(id) });
        }
        let zonal = request.zonal_config.as_ref().map(zonal_in);
        let config = Config { zonal, ..self.new_config(name, rule_of(request)?) };
        let id = self.create_config(config).await?;
        Ok(CreateDeploymentConfigOutput { deployment_config_id: Some(id) })
    }

    /// `GetDeploymentConfig`.
    pub async fn get_deployment_config(
        &self,
        request: &GetDeploymentConfig,
    ) -> Result<GetDeploymentConfigOutput, Error> {
        let name = text(&request.deployment_config_name);
        if let Some(info) = predefined_info(name) {
            return Ok(GetDeploymentConfigOutput { deployment_config_info: Some(info) });
        }
        let found = rows::load::<Config>(&*self.base.table, &Config::key_of(name)).await?;
        let Some(Config { id, name, created_at, rule, routing, zonal, .. }) =
            found.map(|stored| stored.row)
        else {
            let message = format!("No deployment configuration is called `{name}`. List them.");
            return Err(refuse(ErrorName::DeploymentConfigDoesNotExist, message));
        };
        let info = DeploymentConfigInfo {
            deployment_config_id: Some(id),
            deployment_config_name: Some(name),
            minimum_healthy_hosts: routing.is_none().then(|| minimum_of(&rule)),
            create_time: Some(created_at.into()),
            compute_platform: Some(
                routing.as_ref().map_or(ComputePlatform::Server, |(platform, _)| *platform),
            ),
            traffic_routing_config: routing.map(|(_, routing)| routing),
            zonal_config: zonal.as_ref().map(zonal_told),
        };
        Ok(GetDeploymentConfigOutput { deployment_config_info: Some(info) })
    }

    /// `ListDeploymentConfigs`: CodeDeploy's own, then those of users by name.
    pub async fn list_deployment_configs(
        &self,
        request: &ListDeploymentConfigs,
    ) -> Result<ListDeploymentConfigsOutput, Error> {
        let token = request.next_token.as_deref().filter(|token| !token.is_empty());
        let query = Query::prefix(Config::ALL, "", PAGE);
        let (rows, next_token) = self.page::<Config>("ListDeploymentConfigs", query, token).await?;
        let own = PREDEFINED.iter().filter(|_| token.is_none());
        let own = own.map(|(name, ..)| [PREDEFINED_PREFIX, name].concat());
        let names = own.chain(rows.into_iter().map(|row| row.name)).collect();
        Ok(ListDeploymentConfigsOutput { deployment_configs_list: Some(names), next_token })
    }

    /// `DeleteDeploymentConfig`. There need not be one.
    pub async fn delete_deployment_config(
        &self,
        request: &DeleteDeploymentConfig,
    ) -> Result<Empty, Error> {
        let name = text(&request.deployment_config_name);
        if name.starts_with(PREDEFINED_PREFIX) {
            let message =
                format!("`{name}` is one of CodeDeploy's own configurations, which stay.");
            return Err(refuse(ErrorName::InvalidOperation, message));
        }
        while let Some(known) =
            rows::load::<Config>(&*self.base.table, &Config::key_of(name)).await?
        {
            // A group that takes the configuration meanwhile changes its version.
            self.check_unused(name).await?;
            if self.base.write_unless_changed(&[known.remove()]).await? {
                break;
            }
        }
        Ok(Empty {})
    }

    async fn check_unused(&self, name: &str) -> Result<(), Error> {
        let names = |set: &GroupSettings| set.deployment_config_name.as_deref() == Some(name);
        let Some(users) = self.users(names).await? else { return Ok(()) };
        let message = format!(
            "The {} use the configuration `{name}`. Set another one there first, as by `cutover init {} --config NAME`.",
            users.told(),
            users.first()
        );
        Err(refuse(ErrorName::DeploymentConfigInUse, message))
    }
}
