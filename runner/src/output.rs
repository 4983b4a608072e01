//! The output of one lifecycle event: a log file with a limit, and its end for the report (`docs/semantics.md#hooks`).
//!
//! Both streams go into one file, line by line with the time and `[stdout]` or `[stderr]` before them, as CodeDeploy's own
//! agent does it. What is in the file is always valid UTF-8. Beyond the limit the output is still read, so that the script does not
//! notice, and only its end is kept.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine::Timestamp;
use engine::lifecycle::Event;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use wire::log::stamp;

use crate::clock::now_ms;

/// How much of an event's end is reported, in bytes.
pub(crate) const TAIL_BYTES: usize = 64 << 10;

/// Longer lines are broken, so that a script without line ends needs no memory.
const LINE_BYTES: usize = 8 << 10;

/// Where the log of an event lies.
pub(crate) fn log_path(logs: &Path, event: Event) -> PathBuf {
    logs.join(format!("{event}.log"))
}

/// The log of one event.
#[derive(Debug)]
pub(crate) struct EventLog(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    file: Option<File>,
    written: u64,
    limit: u64,
    tail: String,
}

impl EventLog {
    /// Opens the log file at its end: an event that goes on after a restart keeps what it had.
    pub(crate) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let written = file.metadata()?.len();
        let inner = Inner { file: Some(file), written, limit, tail: String::new() };
        Ok(Self(Mutex::new(inner)))
    }

    /// Adds whole lines, with the time before each.
    pub(crate) fn write(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(&stamped(text));
    }

    /// Adds a line of the agent's own.
    pub(crate) fn warn(&self, text: &str) {
        tracing::warn!("{text}");
        self.write(&format!("[cutover]{text}\n"));
    }

    /// The end of the output, at most [`TAIL_BYTES`].
    pub(crate) fn tail(&self) -> String {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last_bytes(&inner.tail, TAIL_BYTES).to_owned()
    }
}

impl EventLog {
    /// The end of a log file that an earlier agent has written.
    pub(crate) fn tail_of(path: &Path) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(path)?;
            let most = u64::try_from(TAIL_BYTES).unwrap_or(0);
            file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(most)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        // Without a log there is no end of one.
        let bytes = read().unwrap_or_default();
        last_bytes(&String::from_utf8_lossy(&bytes), TAIL_BYTES).to_owned()
    }
}

impl Inner {
    fn write(&mut self, text: &str) {
        self.tail.push_str(last_bytes(text, TAIL_BYTES));
        if self.tail.len() > 4 * TAIL_BYTES {
            self.tail = last_bytes(&self.tail, TAIL_BYTES).to_owned();
        }
        let Some(file) = &mut self.file else { return };
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let fits = self.written.saturating_add(size) <= self.limit;
        let room = usize::try_from(self.limit.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let cut = first_bytes(text, room);
        let mut end = file.write_all(if fits { text } else { cut }.as_bytes());
        if !fits && end.is_ok() {
            let mark = format!(
                "\n{}[cutover]the output was cut here: it is longer than {} bytes; the script goes on\n",
                stamp(Timestamp(now_ms())),
                self.limit
            );
            end = file.write_all(mark.as_bytes());
        }
        self.written = self.written.saturating_add(size);
        if let Err(error) = &end {
            tracing::warn!(%error, "an event's log cannot be written any more; only its end is kept");
        }
        if !fits || end.is_err() {
            self.file = None;
        }
    }
}

/// Lines with the time before each.
pub(crate) fn stamped(text: &str) -> String {
    let stamp = stamp(Timestamp(now_ms()));
    text.split_inclusive('\n').flat_map(|line| [stamp.as_str(), line]).collect()
}

/// The last bytes of a text, at most `most`, from the beginning of a character.
pub(crate) fn last_bytes(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    let from = (from..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    text.get(from..).unwrap_or("")
}

/// The first bytes of a text, at most `most`, to the end of a character.
pub(crate) fn first_bytes(text: &str, most: usize) -> &str {
    let to = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text.get(..to).unwrap_or("")
}

/// Copies a stream of a script into the log until it ends. Once `open` is false it is read all the same, and dropped: a
/// child that was left behind shall not die of a closed pipe.
pub(crate) async fn copy_lines(
    mut from: impl AsyncRead + Unpin,
    prefix: &str,
    log: Arc<EventLog>,
    open: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 2 * LINE_BYTES];
    let mut line = Vec::new();
    let mut text = String::new();
    loop {
        // A stream that cannot be read has ended.
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if open.load(Ordering::Acquire) {
            let mut rest = buffer.get(..count).unwrap_or_default();
            while !rest.is_empty() {
                let room = LINE_BYTES - line.len();
                let end = rest.iter().take(room).position(|&byte| byte == b'\n');
                let (taken, after) = rest.split_at(end.unwrap_or_else(|| room.min(rest.len())));
                line.extend_from_slice(taken);
                rest = after.get(usize::from(end.is_some())..).unwrap_or_default();
                if end.is_some() || line.len() == LINE_BYTES {
                    push_line(&mut text, prefix, &line);
                    line.clear();
                }
            }
            if count == 0 && !line.is_empty() {
                push_line(&mut text, prefix, &line);
            }
            log.write(&text);
            text.clear();
        }
        if count == 0 {
            return;
        }
    }
}

fn push_line(text: &mut String, prefix: &str, line: &[u8]) {
    text.push_str(prefix);
    text.push_str(&String::from_utf8_lossy(line));
    text.push('\n');
}
