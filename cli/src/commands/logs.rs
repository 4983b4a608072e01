//! `cutover logs`: shows the output of hooks.

use std::time::Duration;

use serde_json::json;
use wire::cutover::{GetDeploymentLog, GetDeploymentLogOutput, LogEntry};

use super::Context;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// How often new output is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Shows the output of a deployment's hooks
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
    /// Go on until the deployment ended; with JSON, one object for each piece of output
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
    tokio::select! {
        read = read(&client, request, follow, &mut writer) => read?,
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    }
    writer.finish();
    Ok(Exit::Done)
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
        if next.is_none() || (empty && !follow) {
            return Ok(());
        }
        request.after = next;
        if empty {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Writes pieces of output, under a heading whenever the hook is another one.
struct Writer {
    format: Format,
    follow: bool,
    /// Whether what would steer the terminal is left out.
    tame: bool,
    entries: Vec<LogEntry>,
    heading: Option<String>,
    line_open: bool,
}

impl Writer {
    fn new(format: Format, follow: bool) -> Self {
        let tame = console::Term::stdout().is_term();
        Self { format, follow, tame, entries: Vec::new(), heading: None, line_open: false }
    }

    fn write(&mut self, entry: LogEntry) {
        match self.format {
            Format::Json if self.follow => output::json(&entry),
            Format::Json => self.entries.push(entry),
            Format::Text => self.write_text(&entry),
        }
    }

    fn write_text(&mut self, entry: &LogEntry) {
        let part = |name: &Option<String>| output::printable(name.as_deref().unwrap_or("?"));
        let heading =
            format!("==> {} {} <==", part(&entry.target_id), part(&entry.lifecycle_event_name));
        if self.heading.as_ref() != Some(&heading) {
            self.close_line();
            output::line(&heading);
            self.heading = Some(heading);
        }
        if entry.truncated == Some(true) {
            self.close_line();
            output::line("[output is missing here]");
        }
        let text = entry.text.as_deref().unwrap_or_default();
        output::raw(&if self.tame { output::printable(text) } else { text.to_owned() });
        self.line_open = !text.is_empty() && !text.ends_with('\n');
    }

    fn close_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            output::raw("\n");
        }
    }

    fn finish(&mut self) {
        self.close_line();
        match self.format {
            Format::Json if self.follow => {}
            Format::Json => output::json(&json!({ "entries": self.entries })),
            Format::Text if self.heading.is_none() => output::note("there is no output"),
            Format::Text => {}
        }
    }
}
