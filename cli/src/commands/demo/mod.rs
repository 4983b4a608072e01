//! `cutover demo`: the main job, told as a story under load. Two good revisions, a bad one and the way back, a canary, and
//! a bad one that only its users notice.

mod bundles;
mod story;

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use self::story::{Ending, Story, Told};
use super::Context;
use super::up::{self, ShutdownSignals};
use crate::failure::Exit;
use crate::output::{self, Format};

/// How many hosts the story has.
const HOSTS: u8 = 4;

/// See it work: a home with four hosts under load, good revisions and bad ones, a canary, and the ways back
///
/// Everything runs on this machine, and without an account. It stays up afterwards, so that you can look around.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End when the story is told; the exit code says whether all went as it should
    #[arg(long)]
    exit: bool,
}

/// What a script is told with `--format json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    deployments: &'a [Told],
    /// Requests that users made meanwhile.
    requests: u64,
    /// Those without an answer, or with an error that no version of the application made.
    failed_by_us: u64,
    seconds: f64,
    api: &'a str,
}

/// Tells the story in `--dir`, or in a temporary directory.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    let temporary = tempfile::Builder::new().prefix("cutover-demo-").tempdir()?;
    let dir = context.dir.as_deref().unwrap_or_else(|| temporary.path());
    up::log_to_stderr();
    let began = Instant::now();
    let mut shutdown = ShutdownSignals::new()?;
    let wanted = up::Wanted { hosts: HOSTS, ..up::Wanted::default() };
    let Some(home) = up::start(dir, wanted, shutdown.wait()).await? else {
        return Ok(Exit::Interrupted);
    };
    up::warn_of_refused_view(&home);
    let told = tokio::select! {
        told = Story::tell(home.endpoints(), home.dir()) => told,
        () = shutdown.wait() => {
            up::end(home).await?;
            return Ok(Exit::Interrupted);
        }
    };
    let exit = match &told {
        Ok(told) => {
            report(told, &home.endpoints().api, context.format, began);
            say_how_it_went(told, began);
            if args.exit {
                say_how_to_begin(context.dir.as_deref());
            } else {
                say_what_next(&home, told);
                shutdown.wait().await;
            }
            if as_it_should(told) { Exit::Done } else { Exit::NotSucceeded }
        }
        Err(_) => Exit::NotSucceeded,
    };
    up::end(home).await?;
    told.map(|_| exit)
}

fn report(told: &Ending, api: &str, format: Format, began: Instant) {
    let Ending { deployments, counts, .. } = told;
    match format {
        Format::Json => output::json(&Report {
            deployments,
            requests: counts.requests,
            failed_by_us: counts.failed_by_us,
            seconds: began.elapsed().as_secs_f64(),
            api,
        }),
        Format::Text => {
            output::note(&format!(
                "\n{} requests came meanwhile, and {} of them failed by our doing{}.",
                counts.requests,
                counts.failed_by_us,
                counts.last_failure.as_ref().map(|why| format!(" ({why})")).unwrap_or_default(),
            ));
            for (version, seen) in &counts.versions {
                output::note(&format!(
                    "  version {version}: {} answers, {} of them errors",
                    seen.answers, seen.errors
                ));
            }
            let back = |told: &Told| told.seconds_from_first_bad_response_to_traffic_back;
            for seconds in deployments.iter().filter_map(back) {
                output::note(&format!(
                    "  from the first bad response to the last one of its version: {seconds:.2} s"
                ));
            }
        }
    }
}

fn say_how_it_went(told: &Ending, began: Instant) {
    let went_well = as_it_should(told);
    let verdict = if went_well { "All went as it should" } else { "Not all went as it should" };
    output::note(&format!("\n{verdict}, in {:.1} s.", began.elapsed().as_secs_f64()));
}

/// Says what to type where the home ends with the story: one that was told in a directory of the user's can go on.
fn say_how_to_begin(dir: Option<&Path>) {
    let cutover = this_program();
    let up = match dir {
        Some(dir) => format!("  {cutover} --dir {} up  # starts this home again", for_shell(dir)),
        None => format!("  {cutover} up  # starts a home of your own, in .cutover"),
    };
    output::note(&format!(
        "\nTry next:\n  {cutover} demo  # tells it again, and the home stays up to look around\n{up}"
    ));
}

/// Says where everything is, and what to try.
fn say_what_next(home: &local::home::Home, told: &Ending) {
    let local::dir::Endpoints { api, s3, bucket, .. } = home.endpoints();
    let dir = home.dir().display();
    output::note(&format!(
        "\n  API     {api}\n  bucket  s3://{bucket} at {s3}\n  hosts   {dir}/hosts/host-1/root\n\n\
         Try next, in another terminal:"
    ));
    let cutover = format!("{} --dir {}", this_program(), for_shell(home.dir()));
    let (app, archive) = (for_shell(&told.next.app), for_shell(&told.next.archive));
    output::note(&format!(
        "  {cutover} status\n  {cutover} push {app} shop\n  \
         {cutover} env -- aws s3 cp {archive} s3://{bucket}/shop/app.zip\n  \
         {cutover} env -- aws deploy list-deployments"
    ));
}

/// How this program was called, which works in another terminal in the same directory as well.
fn this_program() -> String {
    let called = std::env::args_os().next().filter(|name| !name.is_empty());
    called.map_or_else(|| "cutover".to_owned(), |name| for_shell(Path::new(&name)))
}

/// A path as a word of a shell.
fn for_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Two successes, a failure and its rollback; a canary, a bad one that is withdrawn, and its rollback; and no request
/// failed by our doing.
fn as_it_should(told: &Ending) -> bool {
    let statuses: Vec<&str> =
        told.deployments.iter().map(|deployment| deployment.status.as_str()).collect();
    let goes_back = |bad: &Told, rollback: &Told, good: &Told| {
        bad.rolled_back_by.as_ref() == Some(&rollback.id) && rollback.revision == good.revision
    };
    let linked = matches!(told.deployments.as_slice(), [_, second, failed, rollback, canary, bad, back]
        if goes_back(failed, rollback, second) && goes_back(bad, back, canary));
    let expected =
        ["Succeeded", "Succeeded", "Failed", "Succeeded", "Succeeded", "Stopped", "Succeeded"];
    statuses == expected && linked && told.counts.failed_by_us == 0
}
