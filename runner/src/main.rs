//! The agent as a small executable of its own, for hosts without the whole command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use runner::root::HostRoot;
use runner::{AgentConfig, Ended, serve};
use tokio::signal::unix::{SignalKind, signal};

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
        /// The directory of the agent's state, with `connection.json` in it.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Put what an AppSpec installs below this directory instead of `/`.
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        /// Give hooks this variable; may be repeated.
        #[arg(long = "hook-env", value_name = "NAME=VALUE", value_parser = variable)]
        hook_env: Vec<(String, String)>,
    },
}

fn variable(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not NAME=VALUE"))
}

fn main() -> ExitCode {
    let Command::Serve { state, root, hook_env } = Args::parse().command;
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut config = AgentConfig::new(state, root.map_or(HostRoot::Whole, HostRoot::Prefix));
    config.hook_env = hook_env.into_iter().collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be made");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(config));
    // A file operation that outlasts the agent is put right at the next start.
    runtime.shutdown_background();
    code
}

async fn run(config: AgentConfig) -> ExitCode {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("signals cannot be received");
        return ExitCode::FAILURE;
    };
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    match serve(config, shutdown).await {
        Ok(Ended::Shutdown { interrupted }) => {
            for hook in interrupted {
                tracing::warn!(deployment = %hook.deployment_id, event = %hook.event, script = hook.script, "a hook was interrupted");
            }
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
