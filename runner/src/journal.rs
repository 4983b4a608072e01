//! What an agent has begun and ended for one deployment, on disk: so that a hook runs at most once, whatever dies.
//!
//! A journal is a file of JSON lines that only grows. Its last line may be torn, if the machine died while it was
//! written; then it never was. It goes with its deployment's directory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use durable::{Disk, Log};
use engine::lifecycle::Event;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use wire::host::{EventReport, HostStatus, Offer, Specification};

/// A journal's name in the directory of its deployment.
pub(crate) const JOURNAL_FILE: &str = "journal.jsonl";

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "record")]
enum Record {
    /// The command was claimed, for the first time or again. One that was pushed is nobody's to take up later.
    Claimed {
        offer: Offer,
        specification: Box<Specification>,
        #[serde(default)]
        pushed: bool,
    },
    /// An event has begun.
    Started { event: Event, at: u64 },
    /// A script is about to run; `marks` are variables that its process can be known by.
    HookStarted { event: Event, index: usize, script: String, marks: Vec<(String, String)> },
    /// A script has ended well.
    HookEnded { event: Event, index: usize },
    /// An event has ended or was passed over.
    Ended { report: EventReport },
    /// Nothing is left to do.
    Finished { status: HostStatus },
    /// The server has taken the last report, or does not want it.
    Acknowledged,
}

/// A script that was started and never ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenHook {
    pub(crate) index: usize,
    pub(crate) script: String,
    pub(crate) marks: Vec<(String, String)>,
}

/// What a journal says, taken together.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) offer: Option<Offer>,
    /// How often the command was claimed.
    pub(crate) claims: u64,
    /// Whether it was pushed, by its last claim.
    pub(crate) pushed: bool,
    pub(crate) started_at: BTreeMap<Event, u64>,
    /// How many scripts of an event have ended.
    pub(crate) hooks_ended: BTreeMap<Event, usize>,
    pub(crate) open_hook: Option<(Event, OpenHook)>,
    pub(crate) ended: BTreeMap<Event, EventReport>,
    pub(crate) finished: Option<HostStatus>,
    pub(crate) acknowledged: bool,
}

/// A journal that could not be read or written.
#[derive(Debug, Error)]
#[error("the journal `{}` could not be {what}; the deployment cannot go on without it: free space on the disk, or repair it", path.display())]
pub(crate) struct JournalError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A journal that is open for more.
#[derive(Debug)]
pub(crate) struct Journal {
    log: Log,
    path: PathBuf,
    pub(crate) story: Story,
}

impl Journal {
    /// Opens the journal of a deployment, and begins it if there is none.
    pub(crate) fn open(deployment: &Path) -> Result<Self, JournalError> {
        let path = deployment.join(JOURNAL_FILE);
        let fail = |what, source| JournalError { what, path: path.clone(), source };
        let (story, whole) = read(&path).map_err(|error| fail("read", error))?;
        let log = Log::open(&Disk::default(), deployment, JOURNAL_FILE, whole)
            .map_err(|error| fail("opened", error))?;
        Ok(Self { log, path, story })
    }

    /// What the journal of a deployment says; nothing, if there is none.
    pub(crate) fn story(deployment: &Path) -> Result<Story, JournalError> {
        let path = deployment.join(JOURNAL_FILE);
        let read = read(&path);
        read.map(|(story, _)| story).map_err(|source| JournalError { what: "read", path, source })
    }

    pub(crate) fn claimed(
        &mut self,
        offer: &Offer,
        specification: &Specification,
        pushed: bool,
    ) -> Result<(), JournalError> {
        let specification = Box::new(specification.clone());
        self.add(Record::Claimed { offer: offer.clone(), specification, pushed }, true)
    }

    /// Not made durable: an event that has no script may begin again, and a script makes its own beginning durable.
    pub(crate) fn started(&mut self, event: Event, at: u64) -> Result<(), JournalError> {
        self.add(Record::Started { event, at }, false)
    }

    /// Durable when it returns: only then the script may run.
    pub(crate) fn hook_started(
        &mut self,
        event: Event,
        hook: OpenHook,
    ) -> Result<(), JournalError> {
        let OpenHook { index, script, marks } = hook;
        self.add(Record::HookStarted { event, index, script, marks }, true)
    }

    /// Not made durable: whatever follows in this journal is, and makes this durable too.
    pub(crate) fn hook_ended(&mut self, event: Event, index: usize) -> Result<(), JournalError> {
        self.add(Record::HookEnded { event, index }, false)
    }

    /// Durable when it returns, if what the event did must not be done again. Another event may begin again; its end
    /// becomes durable with whatever is durable next in this journal.
    pub(crate) fn ended(&mut self, report: EventReport) -> Result<(), JournalError> {
        let ran_a_script =
            self.story.open_hook.is_some() || self.story.hooks_ended.contains_key(&report.event);
        let durable = ran_a_script || report.event == Event::Install;
        self.add(Record::Ended { report }, durable)
    }

    pub(crate) fn finished(&mut self, status: HostStatus) -> Result<(), JournalError> {
        self.add(Record::Finished { status }, true)
    }

    /// Not made durable: without it the last report is only made once more.
    pub(crate) fn acknowledged(&mut self) -> Result<(), JournalError> {
        self.add(Record::Acknowledged, false)
    }

    fn add(&mut self, record: Record, durable: bool) -> Result<(), JournalError> {
        let mut write = || {
            let mut line = serde_json::to_vec(&record)?;
            line.push(b'\n');
            self.log.add(&line, durable)
        };
        write().map_err(|source| JournalError {
            what: "written",
            path: self.path.clone(),
            source,
        })?;
        self.story.take(record);
        Ok(())
    }
}

impl Story {
    /// Whether the command's result is still to be told, by a later process if this one dies.
    pub(crate) fn is_owed(&self) -> bool {
        self.claims > 0 && !self.acknowledged && !self.pushed
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Claimed { offer, specification: _, pushed } => {
                self.offer = Some(offer);
                self.claims += 1;
                self.pushed = pushed;
                self.acknowledged = false;
            }
            Record::Started { event, at } => {
                self.started_at.entry(event).or_insert(at);
            }
            Record::HookStarted { event, index, script, marks } => {
                self.open_hook = Some((event, OpenHook { index, script, marks }));
            }
            Record::HookEnded { event, index } => {
                self.open_hook = None;
                self.hooks_ended.insert(event, index + 1);
            }
            Record::Ended { report } => {
                self.open_hook = None;
                self.ended.insert(report.event, report);
            }
            Record::Finished { status } => self.finished = Some(status),
            Record::Acknowledged => self.acknowledged = true,
        }
    }
}

/// Reads whole lines, and says where they end.
fn read(path: &Path) -> io::Result<(Story, u64)> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut story = Story::default();
    let mut whole = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let is_last = whole + line.len() == bytes.len();
        match serde_json::from_slice(line) {
            Ok(record) if line.ends_with(b"\n") => story.take(record),
            // Torn: the machine died before it was durable, so that nothing was built on it.
            Ok(_) | Err(_) if is_last => break,
            Ok(_) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        whole += line.len();
    }
    Ok((story, u64::try_from(whole).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_torn_last_line_never_was_and_the_next_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let hook = OpenHook { index: 0, script: "a.sh".to_owned(), marks: Vec::new() };
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.started(Event::BeforeInstall, 7).unwrap();
        journal.hook_started(Event::BeforeInstall, hook.clone()).unwrap();
        let path = dir.path().join(JOURNAL_FILE);
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"record\":\"hookEnded\",\"event\":\"BeforeIns").unwrap();

        let mut journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.story.open_hook, Some((Event::BeforeInstall, hook)));
        journal.hook_ended(Event::BeforeInstall, 0).unwrap();
        let story = Journal::story(dir.path()).unwrap();
        assert_eq!((story.open_hook, story.hooks_ended[&Event::BeforeInstall]), (None, 1));
        assert_eq!(story.started_at[&Event::BeforeInstall], 7);
    }

    #[test]
    fn a_journal_that_is_broken_in_the_middle_is_not_guessed_at() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(JOURNAL_FILE), "nonsense\n{\"record\":\"acknowledged\"}\n")
            .unwrap();
        assert!(Journal::open(dir.path()).is_err());
    }
}
