//! `cutover config create`: makes a deployment configuration that is a ladder, or that goes zone by zone.

use engine::ladder;
use wire::codedeploy::{
    CreateDeploymentConfig, CreateDeploymentConfigOutput, MinimumHealthyHosts, ZonalConfig,
};
use wire::cutover::CreateLadder;

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Makes deployment configurations
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Create(Create),
}

/// Makes a configuration that deploys step by step, or one availability zone after another, and watches each before it
/// goes on
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("way").required(true).multiple(true).args(["steps", "zone_bake", "first_zone_bake", "min_per_zone"]),
    after_help = "Examples:\n  cutover config create careful --steps '1 host@1m,10%@5m,100%'\n  cutover config create by-zone --zone-bake 5m --first-zone-bake 15m --min-per-zone 50%\n  cutover init shop/web --config careful"
)]
struct Create {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    /// The steps: how much has the new version after each, and for how long that is watched
    #[arg(long, value_name = "STEPS", conflicts_with_all = ["zone_bake", "first_zone_bake", "min_per_zone"])]
    steps: Option<String>,
    /// Go zone by zone, and watch each for this long before the next: 30s, 5m or 2h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    zone_bake: Option<i64>,
    /// Go zone by zone, and watch the first one for this long; by default as long as the others
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    first_zone_bake: Option<i64>,
    /// Go zone by zone, and keep this many hosts of each healthy, as a number or a share; none by default
    #[arg(long, value_name = "N|N%", value_parser = minimum)]
    min_per_zone: Option<MinimumHealthyHosts>,
    /// How many hosts of the fleet stay healthy, as a number or a share; half by default
    #[arg(long, value_name = "N|N%", value_parser = minimum)]
    minimum_healthy: Option<MinimumHealthyHosts>,
}

/// The seconds that `30s`, `5m` or `2h` say.
fn seconds(text: &str) -> Result<i64, String> {
    let ms = ladder::milliseconds(text).filter(|ms| ms.is_multiple_of(1_000));
    let seconds = ms.and_then(|ms| i64::try_from(ms / 1_000).ok());
    seconds.ok_or_else(|| "write whole seconds, minutes or hours, such as 30s, 5m or 2h".to_owned())
}

fn minimum(text: &str) -> Result<MinimumHealthyHosts, String> {
    let (kind, number) = match text.strip_suffix('%') {
        Some(percent) => ("FLEET_PERCENT", percent),
        None => ("HOST_COUNT", text),
    };
    let value =
        number.trim().parse().map_err(|_| "write a number of hosts, or a share such as 75%")?;
    Ok(MinimumHealthyHosts { r#type: Some(kind.to_owned()), value: Some(value) })
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let Command::Create(create) = args.command;
    let name = create.name.clone();
    let client = context.connect()?;
    let made = if create.steps.is_some() {
        client.call(&create.ladder()).await?.deployment_config_id
    } else {
        client.call(&create.zones()).await?.deployment_config_id
    };
    let made = CreateDeploymentConfigOutput { deployment_config_id: made };
    match context.format {
        Format::Json => output::json(&made),
        Format::Text => {
            output::line(&format!("configuration {name} created"));
            output::note(&format!("next: cutover init APP/GROUP --config {name}"));
        }
    }
    Ok(Exit::Done)
}

impl Create {
    /// A configuration that is a ladder, which is Cutover's own.
    fn ladder(self) -> CreateLadder {
        CreateLadder {
            deployment_config_name: Some(self.name),
            steps: self.steps,
            minimum_healthy_hosts: self.minimum_healthy,
        }
    }

    /// A configuration that goes zone by zone, which CodeDeploy has as well.
    fn zones(self) -> CreateDeploymentConfig {
        CreateDeploymentConfig {
            deployment_config_name: Some(self.name),
            minimum_healthy_hosts: Some(self.minimum_healthy.unwrap_or_else(half)),
            zonal_config: Some(ZonalConfig {
                first_zone_monitor_duration_in_seconds: self.first_zone_bake,
                monitor_duration_in_seconds: self.zone_bake,
                minimum_healthy_hosts_per_zone: self.min_per_zone,
            }),
            ..CreateDeploymentConfig::default()
        }
    }
}

/// What a ladder has unless it is said.
fn half() -> MinimumHealthyHosts {
    MinimumHealthyHosts { r#type: Some("FLEET_PERCENT".to_owned()), value: Some(50) }
}
