//! `cutover logs`: shows the output of hooks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use wire::cutover::{GetDeploymentLog, GetDeploymentLogOutput, LogEntry};
use wire::log::unstamped;

use super::Context;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// How often new output is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Shows what a deployment's hooks printed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cutover logs d-A1B2C3D4E --host host-2 --event AfterInstall")]
pub(crate) struct Args {
    /// The deployment
    #[arg(value_name = "ID")]
    id: String,
    /// Only the output of this host
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only the output of this lifecycle event
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Print new output as it comes until the deployment ends; with JSON, one object for each piece
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    let follow = args.follow;
    let request = GetDeploymentLog {
        deployment_id: Some(args.id),
        target_id: args.host,
        event: args.event,
        after: None,
        follow: Some(follow),
    };
    let mut writer = Writer::new(context.format, follow);
    let read = tokio::select! {
        read = read(&client, request, follow, &mut writer) => read.map(|()| Exit::Done),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    };
    writer.finish(&read);
    read
}

async fn read(
    client: &Client,
    mut request: GetDeploymentLog,
    follow: bool,
    writer: &mut Writer,
) -> Result<(), Failure> {
    loop {
        let GetDeploymentLogOutput { entries, next } = client.call(&request).await?;
        let entries = entries.unwrap_or_default();
        let empty = entries.is_empty();
        entries.into_iter().for_each(|entry| writer.write(entry));
        if next.is_none() || (empty && !follow) || output::is_unread() {
            return Ok(());
        }
        request.after = next;
        if empty {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Writes pieces of output: each line with its time and the hook that printed it.
struct Writer {
    format: Format,
    follow: bool,
    entries: Vec<LogEntry>,
    /// The beginning of a line of which the end has not come yet, by hook.
    begun: BTreeMap<Hook, String>,
    is_empty: bool,
}

/// The host and the event that a hook ran for.
type Hook = (String, String);

impl Writer {
    fn new(format: Format, follow: bool) -> Self {
        Self { format, follow, entries: Vec::new(), begun: BTreeMap::new(), is_empty: true }
    }

    fn write(&mut self, entry: LogEntry) {
        match self.format {
            Format::Json if self.follow => output::json(&entry),
            Format::Json => self.entries.push(entry),
            Format::Text => self.write_text(&entry),
        }
    }

    fn write_text(&mut self, entry: &LogEntry) {
        self.is_empty = false;
        let part = |name: &Option<String>| output::one_line(name.as_deref().unwrap_or("?"));
        let hook = (part(&entry.target_id), part(&entry.lifecycle_event_name));
        let mut text = self.begun.remove(&hook).unwrap_or_default();
        if entry.truncated == Some(true) {
            if !text.is_empty() {
                write_line(&hook, entry, &text);
                text.clear();
            }
            write_line(&hook, entry, "[cutover]output is missing here");
        }
        text.push_str(entry.text.as_deref().unwrap_or_default());
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => write_line(&hook, entry, line),
                None => drop(self.begun.insert(hook.clone(), line.to_owned())),
            }
        }
    }

    fn finish(&mut self, read: &Result<Exit, Failure>) {
        for (hook, line) in std::mem::take(&mut self.begun) {
            write_line(&hook, &LogEntry::default(), &line);
        }
        match self.format {
            Format::Json if self.follow => {}
            Format::Json if read.is_err() => {}
            Format::Json => output::json(&json!({ "entries": self.entries })),
            Format::Text if self.is_empty && read.is_ok() => output::note("there is no output"),
            Format::Text => {}
        }
    }
}

/// Writes a line with its time, or else with that of the entry that it came in.
fn write_line((host, event): &Hook, entry: &LogEntry, line: &str) {
    let (time, line) = unstamped(line);
    let time = time.or_else(|| entry.time.map(Into::into));
    let time = time.map(|at| format!("{}  ", output::clock(at)));
    let before = format!("{}{host}  {event}", time.unwrap_or_default());
    // What is said on stdout is most of it. Whoever begins a line anew without ending it draws a picture of progress.
    for line in line.strip_prefix("[stdout]").unwrap_or(line).trim_end_matches('\r').split('\r') {
        let is_of_runner = line.strip_prefix("LifecycleEvent - ") == Some(event.as_str());
        if !is_of_runner {
            output::line(format!("{before}  {line}").trim_end());
        }
    }
}
