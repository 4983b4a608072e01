//! The commands, one file each.

pub(crate) mod balancer;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod connect;
mod context;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod env;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod lint;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod proxy;
pub(crate) mod push;
pub(crate) mod rollback;
pub(crate) mod shop;
pub(crate) mod status;
pub(crate) mod steer;
pub(crate) mod stop;
pub(crate) mod subscribe;
pub(crate) mod up;
pub(crate) mod watch;

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;

pub(crate) use self::context::Context;
use crate::args::{Cli, Command};
use crate::failure::{Exit, Failure};

/// Runs the command. The runtime with its threads is made only for those that need it: a host's process must still have
/// a single thread when it enters its namespaces.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let context = &Context::new(cli.dir, cli.format);
    match cli.command {
        Command::Up(args) => block_on_home(up::run(args, context)),
        Command::Demo(args) => block_on_home(demo::run(args, context)),
        Command::Bench(args) => block_on_home(bench::run(args, context)),
        Command::Env(args) => env::run(&args, context),
        Command::Host(args) => host::run(&args),
        Command::Shop(args) => Ok(runtime()?.block_on(shop::run(args))?.into()),
        Command::Completions(args) => Ok(completions::run(&args, &mut Cli::command()).into()),
        Command::Lint(args) => Ok(lint::run(&args, context)?.into()),
        Command::Connect(args) => block_on(connect::run(args, context)),
        Command::Proxy(args) => Ok(runtime()?.block_on(proxy::run(args, context))?),
        Command::Init(args) => block_on(init::run(args, context)),
        Command::Push(args) => block_on(push::run(args, context)),
        Command::Subscribe(args) => block_on(subscribe::run(args, context)),
        Command::Deploy(args) => block_on(deploy::run(args, context)),
        Command::Status(args) => block_on(status::run(args, context)),
        Command::Watch(args) => block_on(watch::run(args, context)),
        Command::Logs(args) => block_on(logs::run(args, context)),
        Command::Stop(args) => block_on(stop::run(args, context)),
        Command::Rollback(args) => block_on(rollback::run(args, context)),
        Command::Pause(args) => block_on(steer::run(args, context)),
        Command::Resume(args) => block_on(steer::run(args, context)),
        Command::Promote(args) => block_on(steer::run(args, context)),
        Command::SkipBake(args) => block_on(steer::run(args, context)),
        Command::Continue(args) => block_on(steer::go_on(args, context)),
        Command::Abort(args) => block_on(steer::abort(args, context)),
        Command::Config(args) => block_on(config::run(args, context)),
        Command::Balancer(args) => block_on(balancer::run(args, context)),
    }
}

/// A home serves on all cores.
fn block_on_home(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    Ok(runtime.block_on(command)?.into())
}

fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> anyhow::Result<ExitCode> {
    Ok(runtime()?.block_on(command)?.into())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")
}
