//! `cutover up`: a home for real use.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use clap::Args;
use local::home::{Home, Options};
use tokio::signal::unix::{SignalKind, signal};

use super::host::HostArgs;

/// Start a home: Cutover on this machine, with an API, a bucket and hosts of its own
///
/// State lives in DIR and survives restarts and kills. `cutover env -- aws s3 cp app.zip s3://revisions/shop/app.zip`
/// uploads to it.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many hosts to run, 0 to 250
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=250))]
    hosts: u8,
    /// The API's port on loopback; 0 takes that of the last run, or a free one
    #[arg(long, default_value_t = 7070)]
    port: u16,
}

/// Runs a home until SIGTERM or SIGINT.
pub(crate) async fn run(dir: &Path, args: &UpArgs) -> anyhow::Result<ExitCode> {
    let mut asked = Asked::new()?;
    let home = tokio::select! {
        home = start(dir, args.hosts, args.port) => home?,
        () = asked.to_end() => return Ok(ExitCode::SUCCESS),
    };
    tell(&home);
    asked.to_end().await;
    end(home).await
}

/// Starts a home in `dir` whose hosts run this very program.
pub(crate) async fn start(dir: &Path, hosts: u8, port: u16) -> anyhow::Result<Home> {
    let program =
        std::env::current_exe().context("this program cannot be found, to start hosts with")?;
    let home: PathBuf = std::path::absolute(dir)?;
    let host_command = move |files: &local::hosts::layout::HostFiles, has_view: bool| {
        let home = home.canonicalize().unwrap_or_else(|_| home.clone());
        let mut command = Command::new(&program);
        command.args(HostArgs::of(&home, files, has_view));
        // A hook's environment is its own, and so is the host's.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    let options =
        Options { dir: dir.to_owned(), hosts, port, host_command: Box::new(host_command) };
    Ok(Home::start(options).await?)
}

/// Ends a home, and says which hooks were interrupted by it.
pub(crate) async fn end(home: Home) -> anyhow::Result<ExitCode> {
    let interrupted = home.stop().await?;
    let mut out = std::io::stderr();
    for hook in interrupted {
        writeln!(out, "interrupted on {}: {}", hook.host, hook.what)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says on standard error why hosts have no view of their own, if they have none.
pub(crate) fn warn_of_refused_view(home: &Home) {
    if let Some(refused) = home.refused_view() {
        let mut out = std::io::stderr();
        // Nothing is lost if nobody reads it.
        drop(writeln!(
            out,
            "warning: {refused}\n\nhint: until then destinations lie under DIR/hosts/host-N/root, which hooks find in HOST_ROOT"
        ));
    }
}

fn tell(home: &Home) {
    warn_of_refused_view(home);
    let endpoints = home.endpoints();
    let mut out = std::io::stderr();
    let quit = if std::io::stdin().is_terminal() { "  (Ctrl-C ends it)" } else { "" };
    drop(writeln!(
        out,
        "home is up in {}{quit}\n  API       {}\n  bucket    s3://{} at {}\n  DynamoDB  {}\n  next      cutover init shop/web && cutover subscribe shop/web s3://{}/shop/",
        home.dir().display(),
        endpoints.api,
        endpoints.bucket,
        endpoints.s3,
        endpoints.dynamodb,
        endpoints.bucket,
    ));
}

/// The signals that ask a program to end.
pub(crate) struct Asked {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Asked {
    /// Listens from now on.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ready when one came.
    pub(crate) async fn to_end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
