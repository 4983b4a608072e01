//! Running other programs: shown before they run, without input, and with the Python environment first in the path.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{self, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::place::{Place, cargo};

/// A program to run in the working tree.
pub(crate) struct Command {
    inner: process::Command,
}

impl Command {
    /// The program at `path`, or so called.
    pub(crate) fn new(place: &Place, program: impl AsRef<OsStr>) -> Self {
        let mut inner = process::Command::new(program);
        inner.current_dir(&place.tree).stdin(Stdio::null());
        inner.env("PATH", path_with(&place.venv().join("bin")));
        // One target directory for everything, also for what the tests start in other directories.
        inner.env("CARGO_TARGET_DIR", &place.target);
        inner.env("SAM_CLI_TELEMETRY", "0").env("AWS_PAGER", "");
        Self { inner }
    }

    /// Cargo.
    pub(crate) fn cargo(place: &Place) -> Self {
        Self::new(place, cargo())
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inner.args(args);
        self
    }

    /// Adds a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Runs it, and demands that it succeeds.
    pub(crate) fn run(mut self) -> Result<()> {
        let shown = self.show();
        let status = self.inner.status().with_context(|| format!("`{shown}` cannot be run"))?;
        ensure!(status.success(), "`{shown}` failed ({status})");
        Ok(())
    }

    /// Runs it, passes each line of its output on and to `line`, and demands that it succeeds.
    pub(crate) fn each_line(mut self, mut line: impl FnMut(&str)) -> Result<()> {
        let shown = self.show();
        let mut child = self
            .inner
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{shown}` cannot be run"))?;
        let stdout = child.stdout.take().context("the output is not piped")?;
        for read in BufReader::new(stdout).split(b'\n') {
            let text = String::from_utf8_lossy(&read?).into_owned();
            println!("{text}");
            line(&text);
        }
        let status = child.wait()?;
        ensure!(status.success(), "`{shown}` failed ({status})");
        Ok(())
    }

    /// Runs it and gives back what it printed.
    pub(crate) fn output(mut self) -> Result<String> {
        let shown = self.show();
        let told = self.inner.stderr(Stdio::inherit()).output();
        let told = told.with_context(|| format!("`{shown}` cannot be run"))?;
        ensure!(told.status.success(), "`{shown}` failed ({})", told.status);
        Ok(String::from_utf8_lossy(&told.stdout).into_owned())
    }

    /// Starts it; it is killed when what is returned is dropped. Its output goes to `log`.
    pub(crate) fn start(mut self, log: &Path) -> Result<Running> {
        let shown = self.show();
        let file = std::fs::File::create(log)?;
        let child = self.inner.stdout(file.try_clone()?).stderr(file).spawn();
        Ok(Running { child: child.with_context(|| format!("`{shown}` cannot be run"))? })
    }

    fn show(&self) -> String {
        let words: Vec<_> = std::iter::once(self.inner.get_program())
            .chain(self.inner.get_args())
            .map(OsStr::to_string_lossy)
            .collect();
        let shown = words.join(" ");
        println!("$ {shown}");
        shown
    }
}

/// A program that runs.
pub(crate) struct Running {
    child: process::Child,
}

impl Running {
    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self, place: &Place) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new(place, "sh").args(["-c", "kill -TERM \"$0\"", &id]).run()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "it did not end as it should ({status})");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn path_with(first: &Path) -> std::ffi::OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first.to_owned()).chain(std::env::split_paths(&rest));
    // A path with a colon in it cannot be joined; then the programs are not found, which is said where one is run.
    std::env::join_paths(all).unwrap_or(rest)
}
