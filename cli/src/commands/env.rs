//! `cutover env`: the environment in which AWS's tools find a home.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use local::dir::Endpoints;

use super::Context;
use crate::cloud::Cloud;
use crate::failure::{Exit, Failure};
use crate::find::{self, DEFAULT_DIR, FindError};
use crate::output;

/// Run a command with the environment in which AWS's tools find this home, or print that environment
///
/// Example: `cutover env -- aws s3 cp app.zip s3://revisions/shop/app.zip`, or `eval "$(cutover env)"`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command and its arguments
    #[arg(last = true)]
    command: Vec<std::ffi::OsString>,
}

/// Variables of the user's that would lead the tools to other keys, or past the endpoints that are set. Endpoints of what
/// is not served here are the user's own affair: whoever has one, as for tests, means it.
const REMOVED: [&str; 9] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

fn variables(endpoints: &Endpoints) -> Vec<(&'static str, &str)> {
    let table = endpoints.dynamodb.as_deref().map(|url| ("AWS_ENDPOINT_URL_DYNAMODB", url));
    let always = [
        ("AWS_ENDPOINT_URL_CODEDEPLOY", endpoints.api.as_str()),
        ("AWS_ENDPOINT_URL_S3", &endpoints.s3),
        ("AWS_REGION", &endpoints.region),
        ("AWS_DEFAULT_REGION", &endpoints.region),
        ("AWS_ACCESS_KEY_ID", &endpoints.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &endpoints.secret_access_key),
    ];
    always.into_iter().chain(table).collect()
}

/// Becomes the command, or prints `export` lines for a shell.
pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<ExitCode> {
    let dir = context.dir.as_deref().unwrap_or_else(|| Path::new(DEFAULT_DIR));
    if let Some(cloud) = Cloud::read(dir).map_err(Failure::from)? {
        let message =
            format!("`{}` is connected to the stack `{}`, no home", dir.display(), cloud.stack);
        return Err(Failure::new(Exit::WrongUse, message)
            .hint("`cutover proxy -- CMD` runs a command that talks to it")
            .into());
    }
    let found = find::of_home(dir).map_err(FindError::from).map_err(Failure::from)?;
    let endpoints = found.ok_or_else(|| Failure::from(FindError::NotRunning(dir.to_owned())))?;
    let Some((program, arguments)) = args.command.split_first() else {
        print(&endpoints, context.format);
        return Ok(ExitCode::SUCCESS);
    };
    let mut command = Command::new(program);
    command.args(arguments);
    for name in REMOVED {
        command.env_remove(name);
    }
    command.envs(variables(&endpoints));
    // Comes back only if the command cannot be started.
    let error = command.exec();
    let not_found = error.kind() == std::io::ErrorKind::NotFound;
    output::note(&format!("error: `{}` cannot be run: {error}", program.display()));
    // As shells have it.
    Ok(ExitCode::from(if not_found { 127 } else { 126 }))
}

fn print(endpoints: &Endpoints, format: output::Format) {
    let variables = variables(endpoints);
    if format == output::Format::Json {
        output::json(&variables.into_iter().collect::<std::collections::BTreeMap<_, _>>());
        return;
    }
    print_exports(variables.into_iter());
}

/// Prints lines for a shell: these variables, and none that would lead AWS's tools to other keys or past these endpoints.
pub(super) fn print_exports<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) {
    output::line(&format!("unset {}", REMOVED.join(" ")));
    for (name, value) in variables {
        output::line(&format!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
}
