//! Where output goes: data to stdout, everything else to stderr. A reader that went away is no error.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use engine::Timestamp;
use serde::Serialize;
use wire::codedeploy::{RevisionLocation, Seconds};

/// How a command writes what it has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object on stdout, with CodeDeploy's member names.
    Json,
}

/// Writes a line of data.
pub(crate) fn line(text: &str) {
    drop(writeln!(io::stdout().lock(), "{text}"));
}

/// Writes data as it is, at once.
pub(crate) fn raw(text: &str) {
    let mut stdout = io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes a line that is no data.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Writes a question, to be answered on the same line.
pub(crate) fn ask(question: &str) {
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{question}").and_then(|()| stderr.flush()));
}

/// Writes a JSON object as data.
pub(crate) fn json(value: &impl Serialize) {
    // The shapes have no maps with other keys than text, so they always can be written.
    line(&serde_json::to_string(value).unwrap_or_default());
}

/// The text without what would steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    console::strip_ansi_codes(text)
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// Now.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A moment as date and time in UTC.
pub(crate) fn moment(at: impl Into<Timestamp>) -> String {
    format_time(at.into(), "%Y-%m-%d %H:%M:%SZ")
}

/// A moment as time of the day in UTC.
pub(crate) fn clock(at: impl Into<Timestamp>) -> String {
    format_time(at.into(), "%H:%M:%S%.3fZ")
}

/// A moment by a pattern of `strftime`, in UTC.
pub(crate) fn format_time(at: Timestamp, pattern: &str) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.strftime(pattern).to_string())
        .unwrap_or_default()
}

/// A span of time, as precise as one wants to read it.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// The span between two moments, if both are known.
pub(crate) fn span_between(from: Option<Seconds>, to: Option<Seconds>) -> Option<String> {
    let (from, to) = (Timestamp::from(from?), Timestamp::from(to?));
    Some(span(to.since_ms(from)))
}

/// A revision as a URL, as far as it has one.
pub(crate) fn revision_url(revision: Option<&RevisionLocation>) -> Option<String> {
    let s3 = revision?.s3_location.as_ref()?;
    Some(format!("s3://{}/{}", s3.bucket.as_deref()?, s3.key.as_deref()?))
}
