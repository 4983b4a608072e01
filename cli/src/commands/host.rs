//! `cutover host`: the process of one home host. Started by `up`, never by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use local::hosts::layout::{HostFiles, HostNumber, loopback_address};
use local::hosts::namespace;
use local::hosts::process::HostLock;
use runner::root::HostRoot;
use runner::{AgentConfig, DAY_MS, Ended, InterruptedHook};
use tokio::signal::unix::{SignalKind, signal};

/// How many days what nobody needs any more is kept, unless said.
pub(crate) const KEEP_DAYS: u32 = 30;

/// What a host is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of its home.
    #[arg(long)]
    home: PathBuf,
    /// Its number.
    #[arg(long)]
    number: u8,
    /// Put destinations under the host's root instead of giving the host a view of its own.
    #[arg(long)]
    prefix: bool,
    /// For how many days what is kept of a deleted group is still kept.
    #[arg(long, default_value_t = KEEP_DAYS)]
    keep_days: u32,
}

impl Args {
    /// The arguments that make a process the host of `files`.
    pub(crate) fn of(
        home: &std::path::Path,
        files: &HostFiles,
        has_view: bool,
        keep_days: u32,
    ) -> Vec<std::ffi::OsString> {
        let mut args: Vec<std::ffi::OsString> = vec![
            "host".into(),
            "--home".into(),
            home.into(),
            "--number".into(),
            files.number().get().to_string().into(),
            "--keep-days".into(),
            keep_days.to_string().into(),
        ];
        if !has_view {
            args.push("--prefix".into());
        }
        args
    }
}

/// Becomes the host, until it is told to end or nobody wants it any more. Must be called while the process has a single
/// thread.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let number =
        HostNumber::new(args.number).context("a home's hosts have numbers from 1 to 250")?;
    let files = HostFiles::new(&args.home, number);
    let _lock = HostLock::acquire(&files)?;
    let mut hook_env = BTreeMap::new();
    hook_env.insert("HOST_ADDRESS".to_owned(), loopback_address(&args.home, number).to_string());
    let root = if args.prefix {
        hook_env.insert("HOST_ROOT".to_owned(), files.root().display().to_string());
        HostRoot::Prefix(files.root())
    } else {
        namespace::enter(files.dir(), &files.root())?;
        HostRoot::Whole
    };
    let mut config = AgentConfig { hook_env, ..AgentConfig::new(files.state(), root) };
    config.limits.kept_groups_ms = u64::from(args.keep_days) * DAY_MS;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = async move {
            terminate.recv().await;
        };
        anyhow::Ok(runner::serve(config, shutdown).await?)
    });
    // A file operation that still runs is journaled; the next start puts it right.
    runtime.shutdown_background();
    if let Ended::Shutdown { interrupted } = ended?
        && !interrupted.is_empty()
    {
        let line = |hook: &InterruptedHook| {
            format!("{} of {} for {}\n", hook.script, hook.deployment_id, hook.event)
        };
        let lines: String = interrupted.iter().map(line).collect();
        fs::write(files.interrupted(), lines)?;
    }
    Ok(ExitCode::SUCCESS)
}
