//! `cutover config create`: makes a deployment configuration that is a ladder.

use wire::codedeploy::MinimumHealthyHosts;
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

/// Makes a configuration that goes a few hosts at a time, and watches each step before the next
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cutover config create careful --steps '1 host@1m,10%@5m,100%'\n  cutover init shop/web --config careful"
)]
struct Create {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    /// The steps: how much gets the new version by then, and how long that is watched
    #[arg(long, value_name = "STEPS")]
    steps: String,
    /// How many hosts stay healthy besides, as a number or a share; half of the fleet by default
    #[arg(long, value_name = "N|N%", value_parser = minimum)]
    minimum_healthy: Option<MinimumHealthyHosts>,
}

fn minimum(text: &str) -> Result<MinimumHealthyHosts, String> {
    let (kind, number) = match text.strip_suffix('%') {
        Some(percent) => ("FLEET_PERCENT", percent),
        None => ("HOST_COUNT", text),
    };
    let value = number.trim().parse().map_err(|_| "write a number of hosts, or a share as 75%")?;
    Ok(MinimumHealthyHosts { r#type: Some(kind.to_owned()), value: Some(value) })
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let Command::Create(Create { name, steps, minimum_healthy }) = args.command;
    let request = CreateLadder {
        deployment_config_name: Some(name.clone()),
        steps: Some(steps),
        minimum_healthy_hosts: minimum_healthy,
    };
    let made = context.connect()?.call(&request).await?;
    match context.format {
        Format::Json => output::json(&made),
        Format::Text => {
            output::line(&format!("configuration {name} created"));
            output::note(&format!("next: cutover init APP/GROUP --config {name}"));
        }
    }
    Ok(Exit::Done)
}
