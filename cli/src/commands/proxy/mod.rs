//! `cutover proxy`: lets clients that sign for CodeDeploy talk to a cloud installation, whose API Gateway wants
//! signatures for itself.

mod admission;
mod child;
mod server;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use tokio::net::TcpListener;

use self::admission::{Admission, Secret};
use self::server::Server;
use super::Context;
use super::up::ShutdownSignals;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::find::Origin;
use crate::output::{self, Format};

/// Lets AWS's tools use a cloud installation: a server on this machine that signs their calls anew with your credentials
///
/// With a command, the server lives as long as the command, and only who knows the address that the command is given can
/// use it. The command keeps your own credentials, for S3 and everything else. Without one, the server prints the keys
/// that calls have to be signed with, and lives until Ctrl-C. It listens on 127.0.0.1 only.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  cutover proxy -- aws deploy list-applications\n  cutover proxy -- terraform apply\n  \
                  cutover proxy --port 7071    # and the lines that it prints in another terminal"
)]
pub(crate) struct Args {
    /// The port; any free one by default
    #[arg(long, default_value_t = 0, value_name = "PORT", hide_default_value = true)]
    port: u16,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, Failure> {
    let client = context.connect()?;
    let Origin::Stack { stack, .. } = &client.connection().origin else {
        return Err(Failure::new(Exit::WrongUse, "this Cutover is none in the cloud, and needs no proxy")
            .hint("`cutover env -- CMD` runs a command with a home's keys; `cutover connect STACK` connects to the cloud"));
    };
    let stack = stack.clone();
    // Without credentials nothing will work, which is better heard now than from somebody else's error.
    client.connection().keys.get().await?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await;
    let listener = listener.map_err(|error| unbound(args.port, &error))?;
    let port = listener.local_addr().map_err(|error| unbound(args.port, &error))?.port();
    let Some((program, arguments)) = args.command.split_first() else {
        let mut shutdown =
            ShutdownSignals::new().map_err(|error| broken("signals cannot be heard", &error))?;
        let server = signed(client, port)?;
        print(&server, context.format);
        output::note(&format!(
            "a proxy to the stack `{stack}` listens at http://127.0.0.1:{port} until Ctrl-C; set the variables above for whoever shall use it"
        ));
        server.serve(listener, shutdown.wait()).await;
        return Ok(Exit::Done.into());
    };
    let secret = Secret::random().map_err(|error| broken("no secret can be made", &error))?;
    let variables =
        child::variables(client.connection(), &secret.url(port), &context.environment.of_user());
    let server = Server::new(client, Admission::Path(secret), port);
    let served = server.serve(listener, std::future::pending());
    tokio::select! {
        code = child::run(program, arguments, variables) => Ok(code),
        () = served => Err(Failure::new(Exit::Unreachable, "the proxy cannot serve any more")),
    }
}

/// A server for who signs with keys that it has made.
fn signed(client: Client, port: u16) -> Result<Server, Failure> {
    let admission = Admission::signed().map_err(|error| broken("no keys can be made", &error))?;
    Ok(Server::new(client, admission, port))
}

fn print(server: &Server, format: Format) {
    let variables = server.variables();
    if format == Format::Json {
        output::json(&variables.iter().cloned().collect::<BTreeMap<_, _>>());
        return;
    }
    super::env::print_exports(variables.iter().map(|(name, value)| (*name, value.as_str())));
}

fn unbound(port: u16, error: &std::io::Error) -> Failure {
    Failure::new(Exit::WrongUse, format!("port {port} cannot be listened on: {error}"))
        .hint("end what uses it, or choose another one with --port")
}

fn broken(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::NotSucceeded, format!("{what}: {error}"))
}
