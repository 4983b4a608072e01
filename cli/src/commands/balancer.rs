//! `cutover balancer`: the balancers of a home.

use wire::cutover::{AddBalancer, BalancerInfo, ListBalancers, RemoveBalancer};

use super::Context;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// Balancers of a home, which spread requests over its hosts
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Adds a balancer
///
/// A deployment to a group that names it lets each host in when it is healthy, and out before it is changed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cutover balancer add web --target-port 8080\n  cutover init shop/web --balancer home:web"
)]
struct Add {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
    /// The port that the application listens on, on each host
    #[arg(long, value_name = "PORT")]
    target_port: u16,
    /// The port to listen on; any free one by default, which is then kept
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// What to ask of a host to see whether it is healthy; `/` by default
    #[arg(long, value_name = "PATH")]
    health_path: Option<String>,
    /// The statuses that a healthy host answers this with, as 200-299 or 200,204; 200-399 by default
    #[arg(long, value_name = "STATUSES")]
    health_status: Option<String>,
    /// How long requests may take to end on a host that is let out, 30 by default
    #[arg(long, value_name = "SECONDS")]
    drain: Option<u64>,
    /// Two target groups that share its traffic
    #[arg(long = "target-group", value_name = "NAME")]
    target_groups: Vec<String>,
    /// The port on which that of two target groups answers that has less of the traffic, to try it before it gets any
    #[arg(long, value_name = "PORT")]
    test_port: Option<u16>,
    /// Requests with this header always get the new one of two target groups
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "cohort_cookie")]
    cohort_header: Option<String>,
    /// Requests with this cookie do
    #[arg(long, value_name = "NAME=VALUE")]
    cohort_cookie: Option<String>,
}

/// Lists the balancers, their hosts, and what they have done
#[derive(Debug, clap::Args)]
struct List {}

/// Removes a balancer
#[derive(Debug, clap::Args)]
struct Remove {
    /// The name
    #[arg(value_name = "NAME")]
    name: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    match args.command {
        Command::Add(args) => add(args, context).await,
        Command::List(List {}) => list(context).await,
        Command::Remove(Remove { name }) => {
            context.connect()?.call(&RemoveBalancer { name: Some(name.clone()) }).await?;
            match context.format {
                Format::Json => output::json(&serde_json::json!({ "name": name })),
                Format::Text => output::line(&format!("balancer {name} removed")),
            }
            Ok(Exit::Done)
        }
    }
}

async fn add(args: Add, context: &Context) -> Result<Exit, Failure> {
    let name = args.name.clone();
    let request = AddBalancer {
        name: Some(args.name),
        port: args.port,
        target_port: Some(args.target_port),
        health_path: args.health_path,
        health_status: args.health_status,
        target_groups: Some(args.target_groups).filter(|groups| !groups.is_empty()),
        drain_seconds: args.drain,
        test_port: args.test_port,
        cohort_header: args.cohort_header,
        cohort_cookie: args.cohort_cookie,
    };
    let added = context.connect()?.call(&request).await?;
    match context.format {
        Format::Json => output::json(&added),
        Format::Text => {
            let balancer = added.balancer.unwrap_or_default();
            let (url, test_url) = (balancer.url.unwrap_or_default(), balancer.test_url);
            output::line(&format!("balancer {name} listens on {url}"));
            if let Some(url) = test_url {
                output::line(&format!("what has less of its traffic can be tried on {url}"));
            }
            output::note(&format!("next: cutover init APP/GROUP --balancer home:{name}"));
        }
    }
    Ok(Exit::Done)
}

async fn list(context: &Context) -> Result<Exit, Failure> {
    let listed = context.connect()?.call(&ListBalancers {}).await?;
    match context.format {
        Format::Json => output::json(&listed),
        Format::Text => {
            let balancers = listed.balancers.unwrap_or_default();
            if balancers.is_empty() {
                output::note(
                    "no balancers; `cutover balancer add NAME --target-port PORT` adds one",
                );
            }
            balancers.iter().for_each(show);
        }
    }
    Ok(Exit::Done)
}

fn show(balancer: &BalancerInfo) {
    let count = |count: Option<u64>| count.unwrap_or_default();
    output::line(&format!(
        "{}  {}  {} requests, {} errors of the application, {} of the balancer",
        balancer.name.as_deref().unwrap_or_default(),
        balancer.url.as_deref().unwrap_or_default(),
        count(balancer.requests),
        count(balancer.app_errors),
        count(balancer.own_errors),
    ));
    for group in balancer.target_groups.iter().flatten() {
        let name = group.name.as_deref().unwrap_or_default();
        output::line(&format!("  {name}  {}%", group.percent.unwrap_or_default()));
        for target in group.targets.iter().flatten() {
            output::line(&format!(
                "    {:<12} {}",
                target.host.as_deref().unwrap_or_default(),
                target.standing.as_deref().unwrap_or_default(),
            ));
        }
    }
}
