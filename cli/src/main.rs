//! The command `cutover`.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(commands::up::UpArgs),
    Env(commands::env::EnvArgs),
    #[command(hide = true)]
    Host(commands::host::HostArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let dir = arguments.dir.unwrap_or_else(|| ".cutover".into());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(std::env::var("CUTOVER_LOG").unwrap_or_else(|_| "warn".into()))
        .init();
    match arguments.command {
        Command::Up(args) => {
            tokio::runtime::Runtime::new()?.block_on(commands::up::run(&dir, &args))
        }
        Command::Env(args) => {
            commands::env::run(&local::dir::Endpoints::read(&dir)?.unwrap(), &args)
        }
        Command::Host(args) => commands::host::run(&args),
    }
}
