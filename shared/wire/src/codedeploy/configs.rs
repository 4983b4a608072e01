//! Deployment configurations: how many hosts stay healthy (`docs/semantics.md#minimum-healthy-hosts`).

use engine::zonal::BAKE_MS_MAX;

use super::checks;
use super::common::{ComputePlatform, Seconds};
use super::errors::{ApiError, ErrorName};

shape! {
    /// How many hosts stay healthy.
    MinimumHealthyHosts {
        /// A [`MinimumHealthyHostsType`], or `MOST_CONCURRENCY` in CodeDeploy's own `OneAtATime`.
        r#type: String,
        /// The number, or the percentage.
        value: i32,
    }
}

words! {
    /// What a minimum counts.
    MinimumHealthyHostsType {
        /// Hosts.
        HostCount = "HOST_COUNT",
        /// Percent of the fleet.
        FleetPercent = "FLEET_PERCENT",
    }
}

shape! {
    /// How traffic is shifted.
    TrafficRoutingConfig {
        /// `TimeBasedCanary`, `TimeBasedLinear` or `AllAtOnce`.
        r#type: String,
        /// In two steps.
        time_based_canary: TimeBasedCanary,
        /// In equal steps.
        time_based_linear: TimeBasedLinear,
    }
}

shape! {
    /// Traffic is shifted in two steps.
    TimeBasedCanary {
        /// The first step, in percent.
        canary_percentage: i32,
        /// The time to the second, in minutes.
        canary_interval: i32,
    }
}

shape! {
    /// Traffic is shifted in equal steps.
    TimeBasedLinear {
        /// Each step, in percent.
        linear_percentage: i32,
        /// The time between two steps, in minutes.
        linear_interval: i32,
    }
}

shape! {
    /// How availability zones are treated: one after another.
    ZonalConfig {
        /// How long the first zone is watched, in seconds.
        first_zone_monitor_duration_in_seconds: i64,
        /// How long every other zone is watched, in seconds.
        monitor_duration_in_seconds: i64,
        /// How many hosts of a zone stay healthy.
        minimum_healthy_hosts_per_zone: MinimumHealthyHosts,
    }
}

shape! {
    /// A deployment configuration.
    DeploymentConfigInfo {
        /// Its id.
        deployment_config_id: String,
        /// Its name.
        deployment_config_name: String,
        /// How many hosts stay healthy.
        minimum_healthy_hosts: MinimumHealthyHosts,
        /// When it was created.
        create_time: Seconds,
        /// What it is for.
        compute_platform: ComputePlatform,
        /// How traffic is shifted, for Lambda and ECS.
        traffic_routing_config: TrafficRoutingConfig,
        /// How availability zones are treated.
        zonal_config: ZonalConfig,
    }
}

shape! {
    /// Creates a configuration.
    CreateDeploymentConfig {
        /// The configuration.
        deployment_config_name: String,
        /// How many hosts stay healthy.
        minimum_healthy_hosts: MinimumHealthyHosts,
        /// A [`ComputePlatform`].
        compute_platform: String,
        /// How traffic is shifted, for Lambda and ECS.
        traffic_routing_config: TrafficRoutingConfig,
        /// How availability zones are treated.
        zonal_config: ZonalConfig,
    }
}

shape! {
    /// The configuration was created.
    CreateDeploymentConfigOutput {
        /// Its id.
        deployment_config_id: String,
    }
}

shape! {
    /// Asks for a configuration.
    GetDeploymentConfig {
        /// The configuration.
        deployment_config_name: String,
    }
}

shape! {
    /// A configuration.
    GetDeploymentConfigOutput {
        /// The configuration.
        deployment_config_info: DeploymentConfigInfo,
    }
}

shape! {
    /// Asks which configurations there are.
    ListDeploymentConfigs {
        /// Where to go on.
        next_token: String,
    }
}

shape! {
    /// Which configurations there are.
    ListDeploymentConfigsOutput {
        /// Their names.
        deployment_configs_list: Vec<String>,
        /// Where the next page begins, if there is one.
        next_token: String,
    }
}

shape! {
    /// Deletes a configuration.
    DeleteDeploymentConfig {
        /// The configuration.
        deployment_config_name: String,
    }
}

/// What the names of CodeDeploy's own configurations begin with.
pub const PREDEFINED_PREFIX: &str = "CodeDeployDefault.";

fn present(name: &Option<String>) -> Result<&str, ApiError> {
    checks::name(
        name,
        "deploymentConfigName",
        ErrorName::DeploymentConfigNameRequired,
        ErrorName::InvalidDeploymentConfigName,
    )
}

/// Checks a minimum: its type, and a number that can be met.
fn minimum(minimum: &MinimumHealthyHosts, name: ErrorName) -> Result<(), ApiError> {
    let kind = checks::word::<MinimumHealthyHostsType>(&minimum.r#type, "type", name)?;
    let fits = match (kind, minimum.value) {
        (Some(MinimumHealthyHostsType::HostCount), Some(count)) => count >= 0,
        (Some(MinimumHealthyHostsType::FleetPercent), Some(percent)) => (0..=99).contains(&percent),
        (None, _) | (_, None) => false,
    };
    checks::ensure(fits, name, || {
        "a minimum of healthy hosts needs `type` HOST_COUNT with a `value` of 0 or more, or FLEET_PERCENT with 0 to 99"
            .to_owned()
    })
}

impl CreateDeploymentConfig {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        let name = present(&self.deployment_config_name)?;
        let reserved = name.starts_with(PREDEFINED_PREFIX);
        checks::ensure(!reserved, ErrorName::InvalidDeploymentConfigName, || {
            format!("names that begin with `{PREDEFINED_PREFIX}` are reserved; use another")
        })?;
        let platform = checks::word::<ComputePlatform>(
            &self.compute_platform,
            "computePlatform",
            ErrorName::InvalidComputePlatform,
        )?;
        match platform.unwrap_or(ComputePlatform::Server) {
            ComputePlatform::Server => self.check_server(),
            ComputePlatform::Lambda | ComputePlatform::Ecs => self.check_traffic(),
        }
    }

    fn check_server(&self) -> Result<(), ApiError> {
        let invalid = ErrorName::InvalidMinimumHealthyHostValue;
        let Some(hosts) = &self.minimum_healthy_hosts else {
            return Err(
                invalid.because("`minimumHealthyHosts` is missing; give `type` and `value`")
            );
        };
        minimum(hosts, invalid)?;
        let routing = ErrorName::InvalidTrafficRoutingConfiguration;
        checks::ensure(self.traffic_routing_config.is_none(), routing, || {
            "`trafficRoutingConfig` is for Lambda and ECS; leave it out".to_owned()
        })?;
        self.zonal_config.as_ref().map_or(Ok(()), zones)
    }

    fn check_traffic(&self) -> Result<(), ApiError> {
        let minimum = ErrorName::InvalidMinimumHealthyHostValue;
        checks::ensure(self.minimum_healthy_hosts.is_none(), minimum, || {
            "`minimumHealthyHosts` is for servers; leave it out".to_owned()
        })?;
        let zonal = ErrorName::InvalidZonalDeploymentConfiguration;
        checks::ensure(self.zonal_config.is_none(), zonal, || {
            "`zonalConfig` is for servers; leave it out".to_owned()
        })?;
        let fits =
            self.traffic_routing_config.as_ref().is_some_and(TrafficRoutingConfig::is_possible);
        checks::ensure(fits, ErrorName::InvalidTrafficRoutingConfiguration, || {
            "`trafficRoutingConfig` needs a `type` (TimeBasedCanary, TimeBasedLinear or AllAtOnce) and exactly the \
             steps of that type: 1 to 99 percent, and at most 2880 minutes to the last"
                .to_owned()
        })
    }
}

/// The longest shift of traffic, in minutes.
const SHIFT_LIMIT: i64 = 2880;

impl TrafficRoutingConfig {
    fn is_possible(&self) -> bool {
        let step = |percentage: Option<i32>, interval: Option<i32>| match (percentage, interval) {
            (Some(percentage @ 1..=99), Some(interval @ 1..)) => {
                Some((i64::from(percentage), i64::from(interval)))
            }
            (_, _) => None,
        };
        match (self.r#type.as_deref(), &self.time_based_canary, &self.time_based_linear) {
            (Some("AllAtOnce"), None, None) => true,
            (Some("TimeBasedCanary"), Some(canary), None) => {
                step(canary.canary_percentage, canary.canary_interval)
                    .is_some_and(|(_, interval)| interval <= SHIFT_LIMIT)
            }
            (Some("TimeBasedLinear"), None, Some(linear)) => {
                step(linear.linear_percentage, linear.linear_interval)
                    .is_some_and(|(percent, interval)| 99 / percent * interval <= SHIFT_LIMIT)
            }
            (_, _, _) => false,
        }
    }
}

fn zones(zonal: &ZonalConfig) -> Result<(), ApiError> {
    let invalid = ErrorName::InvalidZonalDeploymentConfiguration;
    let durations =
        [zonal.first_zone_monitor_duration_in_seconds, zonal.monitor_duration_in_seconds];
    let most = i64::try_from(BAKE_MS_MAX / 1_000).unwrap_or(i64::MAX);
    let fits = |seconds: &i64| (0..=most).contains(seconds);
    checks::ensure(durations.iter().flatten().all(fits), invalid, || {
        format!("a zone's monitor duration is negative or too long; give 0 to {most} seconds")
    })?;
    zonal.minimum_healthy_hosts_per_zone.as_ref().map_or(Ok(()), |hosts| minimum(hosts, invalid))
}

impl GetDeploymentConfig {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        present(&self.deployment_config_name).map(drop)
    }
}

impl ListDeploymentConfigs {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        Ok(())
    }
}

impl DeleteDeploymentConfig {
    pub(super) fn check(&self) -> Result<(), ApiError> {
        present(&self.deployment_config_name).map(drop)
    }
}
