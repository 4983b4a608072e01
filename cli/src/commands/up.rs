//! `cutover up`: a home for real use.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use balancer::{Haproxy, Outside, Prometheus, Socket};
use local::dir::is_home;
use local::home::{Home, Options};
use local::hosts::layout;
use tokio::signal::unix::{SignalKind, signal};

use super::host::KEEP_DAYS;
use super::{Context, host};
use crate::client;
use crate::failure::{Exit, Failure};
use crate::find::{self, DEFAULT_DIR};
use crate::output;

/// Start a home: Cutover on this machine, with an API, a bucket and hosts of its own
///
/// State lives in DIR and survives restarts and kills. `cutover env -- aws s3 cp app.zip s3://revisions/shop/app.zip`
/// uploads to it.
///
/// The balancers that it brings itself (`cutover balancer add`) need no option here. HAProxy and Prometheus run beside it
/// and are tried when it starts.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  cutover up --haproxy web=/run/haproxy/admin.sock --prometheus http://127.0.0.1:9090\n  cutover init shop/web --balancer haproxy:web --alarm 'prometheus:rate(errors_total[10s]) > 1'"
)]
pub(crate) struct Args {
    /// How many hosts to run, 0 to 250; without it as many as there are, and 4 in a new home
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=250))]
    hosts: Option<u8>,
    /// Remove hosts without asking, where --hosts is less than there are
    #[arg(long)]
    yes: bool,
    /// The API's port on loopback; 0 takes that of the last run, or a free one
    #[arg(long, default_value_t = 7070)]
    port: u16,
    /// A backend of a HAProxy and the runtime socket of that (`stats socket … level admin` in haproxy.cfg), a path or
    /// ADDRESS:PORT; groups name it `haproxy:NAME`, or `haproxy:NAME/PREFIX` for some of its servers. Once for each backend
    #[arg(long, value_name = "NAME=SOCKET", value_parser = backend)]
    haproxy: Vec<(String, Socket)>,
    /// How long connections may take to end on a server that HAProxy drains; a deployment goes on after that, with a
    /// warning, and may break them off
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(..=86_400))]
    haproxy_drain: u64,
    /// The Prometheus that alarms like `prometheus:EXPRESSION` are asked of
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// How many days to keep the logs of hosts, uploads in parts that nobody has gone on with, what hosts keep of deleted
    /// groups, and bundles that nothing needs any more. Deployments and revisions are kept for ever
    #[arg(long, value_name = "DAYS", default_value_t = KEEP_DAYS, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    keep_days: u32,
    /// Also serve the table, on this port on loopback or any free one (0), to requests signed for DynamoDB with the keys
    /// of `cutover env`: for tests, and for functions that run beside the home
    #[arg(long, value_name = "PORT", hide = true)]
    table_port: Option<u16>,
}

fn backend(text: &str) -> Result<(String, Socket), String> {
    match text.split_once('=') {
        Some((name, socket)) if !name.is_empty() && !socket.is_empty() => {
            let address = socket.parse().map(Socket::Tcp);
            Ok((name.to_owned(), address.unwrap_or_else(|_| Socket::Unix(socket.into()))))
        }
        Some(_) | None => {
            let hint = "write the backend and the runtime socket of its HAProxy as NAME=SOCKET";
            Err(format!("{hint}, such as web=/run/haproxy/admin.sock"))
        }
    }
}

/// How many hosts a new home has if nobody says otherwise.
const HOSTS: u8 = 4;

/// How many hosts to run. To remove some that there are has to be meant.
fn hosts(dir: &Path, wanted: Option<u8>, is_meant: bool) -> anyhow::Result<u8> {
    let known = match is_home(dir) {
        true => Some(layout::count_hosts(&std::path::absolute(dir)?)?),
        false => None,
    };
    let (wanted, known) = match (wanted, known) {
        (Some(wanted), Some(known)) => (wanted, known),
        (wanted, known) => return Ok(wanted.or(known).unwrap_or(HOSTS)),
    };
    if wanted >= known || is_meant {
        return Ok(wanted);
    }
    let removed = match known - wanted {
        1 => format!("host-{known}"),
        2 => format!("host-{} and host-{known}", wanted + 1),
        _ => format!("host-{} to host-{known}", wanted + 1),
    };
    let message = format!("--hosts {wanted} removes {removed} of the home in {}", dir.display());
    let consequence = "Removed hosts are deregistered and lose their traffic, and their processes end; their files stay.";
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        output::ask(&format!("{message}. {consequence} Go on? [y/N] "));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).context("your answer cannot be read")?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(wanted);
        }
        return Err(Failure::new(Exit::WrongUse, "nothing was changed").into());
    }
    let hint = format!(
        "add --yes if you mean it, or leave --hosts out to keep all {known} hosts. {consequence}"
    );
    Err(Failure::new(Exit::WrongUse, message).hint(hint).into())
}

/// What the home is told of.
fn outside(
    haproxy: Vec<(String, Socket)>,
    drain: Duration,
    prometheus: Option<&str>,
) -> anyhow::Result<Outside> {
    let mut outside = Outside::default();
    for (name, socket) in haproxy {
        let haproxy = Haproxy::new(socket).with_drain(drain);
        if outside.haproxy.insert(name.clone(), haproxy).is_some() {
            let message = format!("--haproxy names the backend `{name}` twice");
            let hint = "give each backend once; two HAProxys for one backend cannot be kept alike";
            return Err(Failure::new(Exit::WrongUse, message).hint(hint).into());
        }
    }
    if let Some(url) = prometheus {
        let unusable = |reason: &dyn std::fmt::Display| {
            Failure::new(Exit::WrongUse, format!("--prometheus {url} cannot be used: {reason}"))
        };
        let http = client::http_client(url, !client::is_loopback(url))
            .map_err(|error| unusable(&client::root_cause(&*error)))?;
        outside.prometheus = Some(Prometheus::new(http, url).map_err(|error| unusable(&error))?);
    }
    Ok(outside)
}

/// What a home is started with, besides its directory and its program.
pub(crate) struct Wanted {
    /// The number of its hosts.
    pub(crate) hosts: u8,
    /// The port of the API; 0 for that of the last run or any free one.
    pub(crate) port: u16,
    /// The port of the table, if it is to be on the network.
    pub(crate) table_port: Option<u16>,
    /// Balancers and sources of alarms that are not its own.
    pub(crate) outside: Outside,
    /// How many days what nobody needs any more is kept.
    pub(crate) keep_days: u32,
}

impl Default for Wanted {
    fn default() -> Self {
        let outside = Outside::default();
        Self { hosts: 0, port: 0, table_port: None, outside, keep_days: KEEP_DAYS }
    }
}

/// Runs a home until SIGTERM or SIGINT.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let dir = context.dir.as_deref().unwrap_or_else(|| Path::new(DEFAULT_DIR));
    let wanted = Wanted {
        outside: outside(
            args.haproxy,
            Duration::from_secs(args.haproxy_drain),
            args.prometheus.as_deref(),
        )?,
        hosts: hosts(dir, args.hosts, args.yes)?,
        port: args.port,
        table_port: args.table_port,
        keep_days: args.keep_days,
    };
    log_to_stderr();
    let mut shutdown = ShutdownSignals::new()?;
    let Some(home) = start(dir, wanted, shutdown.wait()).await? else {
        return Ok(Exit::Done);
    };
    tell(&home);
    shutdown.wait().await;
    end(home).await?;
    Ok(Exit::Done)
}

/// Logs what goes wrong in a home, or what CUTOVER_LOG asks for.
pub(crate) fn log_to_stderr() {
    #[expect(clippy::disallowed_methods, reason = "this is where the binary starts")]
    let wanted = std::env::var("CUTOVER_LOG")
        .unwrap_or_else(|_| "warn,dynoxide=off,axum_reverse_proxy=off".to_owned());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    log.with_env_filter(wanted).with_ansi(std::io::stderr().is_terminal()).init();
}

/// Starts a home in `dir` whose hosts run this very program; none if `shutdown` comes before it has started.
pub(crate) async fn start(
    dir: &Path,
    wanted: Wanted,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<Option<Home>> {
    find::refuse_connected(dir)?;
    local::descriptors::raise();
    let program =
        std::env::current_exe().context("this program cannot be found, to start hosts with")?;
    let home: PathBuf = std::path::absolute(dir)?;
    let Wanted { hosts, port, table_port, outside, keep_days } = wanted;
    let host_command = move |files: &layout::HostFiles, has_view: bool| {
        let home = home.canonicalize().unwrap_or_else(|_| home.clone());
        let mut command = Command::new(&program);
        command.args(host::Args::of(&home, files, has_view, keep_days));
        // A hook's environment is its own, and so is the host's.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    };
    let host_command = Box::new(host_command);
    let keep = Duration::from_secs(u64::from(keep_days) * 24 * 3_600);
    let options =
        Options { dir: dir.to_owned(), hosts, port, table_port, host_command, outside, keep };
    Ok(Home::start(options, shutdown).await?)
}

/// Ends a home, and says which hooks were interrupted by it.
pub(crate) async fn end(home: Home) -> anyhow::Result<()> {
    for hook in home.stop().await? {
        output::note(&format!("interrupted on {}: {}", hook.host, hook.what));
    }
    Ok(())
}

/// Says on standard error why hosts have no view of their own, if they have none.
pub(crate) fn warn_of_refused_view(home: &Home) {
    if let Some(refused) = home.refused_view() {
        output::note(&format!(
            "warning: {refused}\n\nhint: until then destinations lie under DIR/hosts/host-N/root, which hooks find in HOST_ROOT"
        ));
    }
}

fn tell(home: &Home) {
    warn_of_refused_view(home);
    let endpoints = home.endpoints();
    let quit = if std::io::stdin().is_terminal() { "  (Ctrl-C ends it)" } else { "" };
    output::note(&format!(
        "home is up in {}{quit}\n  API       {}\n  bucket    s3://{} at {}\n  \
         next      cutover init shop/web && cutover subscribe shop/web s3://{}/shop/",
        home.dir().display(),
        endpoints.api,
        endpoints.bucket,
        endpoints.s3,
        endpoints.bucket,
    ));
}

/// The signals that ask a program to end.
pub(crate) struct ShutdownSignals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl ShutdownSignals {
    /// Listens from now on.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Ready when one came.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
