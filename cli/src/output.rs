//! Where output goes: data to stdout, everything else to stderr. A reader that went away is no error; a disk that is full
//! is one. Whatever is written, it steers no terminal.

use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// What could not be written to stdout.
static LOST: OnceLock<String> = OnceLock::new();
/// Whether whoever read stdout went away.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes a line of data.
pub(crate) fn line(text: &str) {
    raw(&format!("{}\n", printable(text)));
}

/// Writes data as it is, at once.
pub(crate) fn raw(text: &str) {
    let mut stdout = io::stdout().lock();
    note_result(&stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Takes note of what became of a write to stdout. The first error is what the command ends with.
pub(crate) fn note_result(written: &io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            IS_CLOSED.store(true, Ordering::Relaxed);
        }
        Err(error) => drop(LOST.set(error.to_string())),
    }
}

/// Why data could not be written, if it could not. A reader that went away has read what it wanted.
pub(crate) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Whether nothing that is written can be read any more.
pub(crate) fn is_unread() -> bool {
    IS_CLOSED.load(Ordering::Relaxed) || lost().is_some()
}

/// Writes a line that is no data.
pub(crate) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{}", printable(text)));
}

/// Writes a question, to be answered on the same line.
pub(crate) fn ask(question: &str) {
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{}", printable(question)).and_then(|()| stderr.flush()));
}

/// Writes a JSON object as data.
pub(crate) fn json(value: &impl Serialize) {
    // The shapes have no maps with other keys than text, so they always can be written.
    let text = serde_json::to_string(value).unwrap_or_default();
    // JSON leaves control characters of the upper half as they are. All stand in strings, where they can be escaped.
    let escaped = text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        if is_printable(c) {
            escaped.push(c);
        } else {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
        escaped
    });
    line(&escaped);
}

/// The text without what would steer a terminal, or change the direction in which text is read.
pub(crate) fn printable(text: &str) -> String {
    console::strip_ansi_codes(text).chars().filter(|c| is_printable(*c)).collect()
}

/// The same in one line, for names and reasons that others have chosen.
pub(crate) fn one_line(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in printable(text).split(['\n', '\t']).map(str::trim).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words
}

fn is_printable(c: char) -> bool {
    let turns_text = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !turns_text && (!c.is_control() || matches!(c, '\n' | '\t'))
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
    Some(one_line(&format!("s3://{}/{}", s3.bucket.as_deref()?, s3.key.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_chose_steers_a_terminal_or_turns_text() {
        let colours =
            "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}\u{1b}(B\u{9b}2J\u{7f}\u{8}a\r\n\tb";
        assert_eq!(printable(colours), "red a\n\tb");
        let turned = "x\u{202e}gpj.\u{2066}exe\u{2069}\u{200f}\u{61c}\u{200e}\u{202a}y";
        assert_eq!(printable(turned), "xgpj.exey");
        // What has no end begins nothing.
        assert!(printable("\u{1b}]0;never ends").chars().all(|c| !c.is_control()));
        assert_eq!(printable("عربي, עברית, 日本語 — é"), "عربي, עברית, 日本語 — é");
        assert_eq!(one_line(" web\n\nhost-9  Succeeded\tx\r\n"), "web host-9  Succeeded x");
    }
}
