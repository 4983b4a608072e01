//! The runner as a small executable of its own, for hosts without the whole command line.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use runner::identity::{self, Sources};
use runner::root::HostRoot;
use runner::{
    AgentConfig, DAY_MS, Ended, InterruptedHook, PushedCommand, PushedEnd, run_once, serve,
};
use tokio::signal::unix::{SignalKind, signal};
use wire::host::{BatchKey, HostStatus};

/// Where the secret of a batch stands.
const SECRET: &str = "CUTOVER_BATCH_SECRET";
/// The exit code of a command that could not be worked on at all.
const CANNOT: u8 = 2;

/// Carries out deployments on this host.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wait for deployments until SIGTERM or SIGINT.
    Serve {
        #[command(flatten)]
        place: Place,
    },
    /// Carry out one command that was pushed to this host; CUTOVER_BATCH_SECRET is the batch's secret.
    ///
    /// Ends with 0 if the host's deployment succeeded or there is nothing to do, 1 if it failed, 2 if nothing could be
    /// done at all.
    Run {
        /// The base URL of the API.
        #[arg(long, value_name = "URL")]
        api: String,
        /// The batch that the command belongs to, such as d-A1B2C3D4E/12.
        #[arg(long, value_name = "KEY")]
        batch: BatchKey,
        /// The host's name; unless given, its instance id.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The directory of the runner's state; `connection.json` in it is for `serve`.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cutover")]
    state: PathBuf,
    /// Put what an AppSpec installs below this directory instead of `/`.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Give hooks this variable; may be repeated.
    #[arg(long = "hook-env", value_name = "NAME=VALUE", value_parser = variable)]
    hook_env: Vec<(String, String)>,
    /// Do not force installed files to the disk. Installs of many files are faster; after a loss of power in the middle of
    /// one, files may be damaged.
    #[arg(long)]
    no_sync: bool,
    /// Keep the output of hooks for so many days.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    keep_logs: u32,
    /// Keep what belongs to a deployment group, but for what was installed, for so many days after the group was deleted.
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    keep_groups: u32,
}

impl Place {
    fn config(self) -> AgentConfig {
        let root = self.root.map_or(HostRoot::Whole, HostRoot::Prefix);
        let mut config = AgentConfig::new(self.state, root);
        config.hook_env = self.hook_env.into_iter().collect();
        config.sync = !self.no_sync;
        config.limits.kept_logs_ms = u64::from(self.keep_logs) * DAY_MS;
        config.limits.kept_groups_ms = u64::from(self.keep_groups) * DAY_MS;
        config
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))
}

fn main() -> ExitCode {
    let command = Args::parse().command;
    tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be made");
            return ExitCode::from(CANNOT);
        }
    };
    let code = runtime.block_on(async {
        match command {
            Command::Serve { place } => wait(place.config()).await,
            Command::Run { api, batch, host, place } => {
                push(api, batch, host, place.config()).await
            }
        }
    });
    // A file operation that outlasts the runner is put right at the next start.
    runtime.shutdown_background();
    code
}

/// Is ready when the process is told to end.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn wait(config: AgentConfig) -> ExitCode {
    let shutdown = match shutdown() {
        Ok(shutdown) => shutdown,
        Err(error) => {
            tracing::error!(%error, "signals cannot be received");
            return ExitCode::FAILURE;
        }
    };
    match serve(config, shutdown).await {
        Ok(Ended::Shutdown { interrupted }) => {
            interrupted.iter().for_each(tell_interrupted);
            ExitCode::SUCCESS
        }
        Ok(Ended::Orphaned) => {
            tracing::info!("nobody wants this agent any more");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{}", error);
            ExitCode::FAILURE
        }
    }
}

async fn push(api: String, batch: BatchKey, host: Option<String>, config: AgentConfig) -> ExitCode {
    let Some(secret) = variable_of(SECRET) else {
        return cannot(&format!(
            "{SECRET} is not set: it is the secret that was pushed with the batch"
        ));
    };
    let shutdown = match shutdown() {
        Ok(shutdown) => shutdown,
        Err(error) => return cannot(&format!("signals cannot be received: {error}")),
    };
    let sources = Sources {
        said: host,
        ssm: variable_of("AWS_SSM_INSTANCE_ID"),
        file: identity::INSTANCE_ID_FILE.into(),
        metadata_service: variable_of("AWS_EC2_METADATA_SERVICE_ENDPOINT")
            .unwrap_or_else(|| identity::METADATA_SERVICE.to_owned()),
    };
    let host = match identity::host_name(&sources).await {
        Ok(host) => host,
        Err(error) => return cannot(&error.to_string()),
    };
    let subject = format!("deployment {} on {host}", batch.deployment_id);
    let end = run_once(config, PushedCommand { api, host, batch, secret }, shutdown).await;
    let (status, rest) = match end {
        Err(error) => return cannot(&format!("{subject}: {}", with_causes(&error))),
        Ok(PushedEnd::NotWanted { reason }) => {
            say(&format!("{subject}: nothing to do: {reason}"));
            return ExitCode::SUCCESS;
        }
        Ok(PushedEnd::Copy { status }) => (status, ", by another copy of this command"),
        Ok(PushedEnd::Ended { status, is_delivered, interrupted }) => {
            interrupted.iter().for_each(tell_interrupted);
            let rest = if is_delivered { "" } else { ", but the API was not told" };
            // What the API was not told counts as silence there.
            (if is_delivered { status } else { HostStatus::Failed }, rest)
        }
    };
    say(&format!("{subject}: {status:?}{rest}"));
    if status == HostStatus::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(
    clippy::disallowed_methods,
    reason = "configuration is read here, where the binary starts"
)]
fn variable_of(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn tell_interrupted(hook: &InterruptedHook) {
    tracing::warn!(deployment = %hook.deployment_id, event = %hook.event, script = hook.script, "a hook was interrupted");
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn cannot(message: &str) -> ExitCode {
    say(message);
    ExitCode::from(CANNOT)
}

/// The line that whoever pushed the command reads in its output.
#[expect(clippy::print_stderr, reason = "this is the executable")]
fn say(line: &str) {
    eprintln!("cutover-runner: {line}");
}
