//! The command line's grammar. Each command's own arguments stand in its file.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{
    balancer, bench, completions, config, connect, demo, deploy, env, host, init, lint, logs,
    proxy, push, rollback, shop, status, steer, stop, subscribe, up, watch,
};
use crate::output::Format;

/// Deploys software to fleets of hosts, a few at a time, and rolls back what fails.
#[derive(Debug, Parser)]
#[command(
    name = "cutover",
    version,
    max_term_width = 100,
    after_help = "A command talks to the Cutover of --dir, else to that of AWS_ENDPOINT_URL_CODEDEPLOY, else to that in `.cutover`.\n\n\
                  Exit codes: 0 done, 1 the deployment did not succeed or lint rejects, 2 wrong use, 3 not reachable, 4 time over, 5 stdout cannot be written to.\n\n\
                  Start here:\n  cutover up\n  cutover init shop/web --auto-rollback\n  cutover push ./app shop\n  cutover deploy shop/web --watch\n\n\
                  In the cloud:\n  cutover connect STACK"
)]
pub(crate) struct Cli {
    /// The directory of the Cutover to talk to
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// How to write the result
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Args),
    Demo(demo::Args),
    Env(env::Args),
    Connect(connect::Args),
    Proxy(proxy::Args),
    #[command(hide = true)]
    Bench(bench::Args),
    #[command(hide = true)]
    Host(host::Args),
    #[command(hide = true)]
    Shop(shop::Args),
    Init(init::Args),
    Push(push::Args),
    Subscribe(subscribe::Args),
    Deploy(deploy::Args),
    Status(status::Args),
    Watch(watch::Args),
    Logs(logs::Args),
    Stop(stop::Args),
    Rollback(rollback::Args),
    Pause(steer::Pause),
    Resume(steer::Resume),
    Promote(steer::Promote),
    SkipBake(steer::SkipBake),
    Continue(steer::Continue),
    Abort(steer::Abort),
    Config(config::Args),
    Balancer(balancer::Args),
    Lint(lint::Args),
    Completions(completions::Args),
}
