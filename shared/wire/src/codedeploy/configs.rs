//! Deployment configurations: how many hosts stay healthy (`docs/semantics.md#minimum-healthy-hosts`).

use super::common::{ComputePlatform, Seconds};

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
