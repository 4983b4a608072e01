//! When git says that files changed, and what modes it has for them: the same on every machine, where those of a working
//! tree are when and how it was checked out.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// Why git does not say when files changed.
#[derive(Debug, Error)]
pub(crate) enum GitError {
    /// There is no git.
    #[error("git cannot be run: {0}; install it, or push without `--mtime commit`")]
    Missing(#[source] std::io::Error),
    /// It has nothing to say about the directory.
    #[error("git says of `{}`: {said}; `--mtime commit` needs a directory with a commit", dir.display())]
    Refused {
        /// The directory.
        dir: PathBuf,
        /// What it said.
        said: String,
    },
    /// The history is not there.
    #[error(
        "the clone that `{}` is in is shallow, so git does not know when files changed; fetch the rest with `git fetch --unshallow` (in GitHub Actions: `fetch-depth: 0`)",
        .0.display()
    )]
    Shallow(PathBuf),
}

/// What git knows about the files of a directory.
#[derive(Debug)]
pub(crate) struct GitTree {
    /// What is as in the last commit, by its path in the directory.
    files: BTreeMap<String, Tracked>,
    /// When something in the directory changed the last time, in seconds since 1970.
    last: i64,
}

/// A file as git has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tracked {
    /// The time of the last commit that changed it, in seconds since 1970.
    pub(crate) modified: i64,
    /// The permission bits.
    pub(crate) mode: u32,
}

impl GitTree {
    /// Asks git about a directory.
    pub(crate) fn read(dir: &Path) -> Result<Self, GitError> {
        if ask(dir, &["rev-parse", "--is-shallow-repository"])?.trim_ascii() == b"true" {
            return Err(GitError::Shallow(dir.to_owned()));
        }
        let last = ask(dir, &["log", "-1", "--format=%ct", "HEAD", "--", "."])?;
        let last = text(&last).trim().parse().map_err(|_| GitError::Refused {
            dir: dir.to_owned(),
            said: "no commit has anything in it".to_owned(),
        })?;
        let mut modes = BTreeMap::new();
        for entry in names(&ask(dir, &["ls-files", "-z", "--stage"])?) {
            let Some((facts, name)) = entry.split_once('\t') else { continue };
            modes.insert(name.to_owned(), if facts.starts_with("100755") { 0o755 } else { 0o644 });
        }
        for changed in
            names(&ask(dir, &["diff", "-z", "--name-only", "--relative", "HEAD", "--", "."])?)
        {
            modes.remove(&changed);
        }
        Ok(Self { files: times(dir, modes)?, last })
    }

    /// What git has for the file at a path in the directory, if it is as in the last commit.
    pub(crate) fn file(&self, name: &str) -> Option<Tracked> {
        self.files.get(name).copied()
    }

    /// Whether git has files below a path in the directory.
    pub(crate) fn has_below(&self, name: &str) -> bool {
        let prefix = format!("{name}/");
        let next = self.files.range(prefix.clone()..).next();
        next.is_some_and(|(path, _)| path.starts_with(&prefix))
    }

    /// When something in the directory changed the last time, in seconds since 1970.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }
}

fn git(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args).stdin(Stdio::null()).env("GIT_OPTIONAL_LOCKS", "0");
    command
}

fn ask(dir: &Path, args: &[&str]) -> Result<Vec<u8>, GitError> {
    let output = git(dir, args).output().map_err(GitError::Missing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = text(&output.stderr);
    let said = said.lines().next().unwrap_or_default().trim_start_matches("fatal: ").to_owned();
    Err(GitError::Refused { dir: dir.to_owned(), said })
}

/// Finds the newest commit of each file. Goes back in the history only until all are found.
fn times(
    dir: &Path,
    mut modes: BTreeMap<String, u32>,
) -> Result<BTreeMap<String, Tracked>, GitError> {
    // A merge is shown with the files that are as on no side of it.
    let args = [
        "log",
        "--format=tformat:%x01%ct",
        "-z",
        "--name-only",
        "--relative",
        "-c",
        "--no-renames",
    ];
    let mut command = git(dir, &args);
    command.args(["HEAD", "--", "."]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(GitError::Missing)?;
    let mut found = BTreeMap::new();
    let mut modified = 0;
    let output = child.stdout.take().map(BufReader::new).into_iter();
    for entry in output.flat_map(|output| output.split(0)) {
        let entry = entry.map_err(GitError::Missing)?;
        let entry = text(entry.strip_prefix(b"\n").unwrap_or(&entry));
        if let Some(time) = entry.strip_prefix('\u{1}') {
            modified = time.trim().parse().unwrap_or(modified);
        } else if let Some(mode) = modes.remove(&entry) {
            found.insert(entry, Tracked { modified, mode });
        }
        if modes.is_empty() {
            break;
        }
    }
    // It may have ended by itself, or has more to say that nobody needs.
    child.kill().ok();
    child.wait().map_err(GitError::Missing)?;
    Ok(found)
}

fn names(list: &[u8]) -> Vec<String> {
    list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(text).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
