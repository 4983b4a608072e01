//! Running other programs: shown before they run, without input, and with the Python environment first in the path.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{self, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::place::{Place, cargo};

/// How long a program that was asked to end may take.
const FAREWELL: Duration = Duration::from_secs(20);

/// A program to run in the working tree.
pub(crate) struct Command {
    inner: process::Command,
    is_shown: bool,
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
        Self { inner, is_shown: true }
    }

    /// Cargo.
    pub(crate) fn cargo(place: &Place) -> Self {
        Self::new(place, cargo())
    }

    /// Has clippy compile what is ours, which also builds it, and fail on what it warns of. Cargo takes what was compiled
    /// in another way for something else, so whatever uses what was built has to ask for this too.
    pub(crate) fn linted(mut self) -> Self {
        self.inner.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
        // This is how `cargo clippy` hands on what follows its `--`.
        self.inner.env("CLIPPY_ARGS", "--deny__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
        self
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inner.args(args);
        self
    }

    /// Adds an option and a path that belongs to it.
    pub(crate) fn arg_path(mut self, option: &str, path: &Path) -> Self {
        self.inner.arg(option).arg(path);
        self
    }

    /// Adds a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Adds a variable as it is for us, also to an environment that was left bare.
    pub(crate) fn passed_on(mut self, name: &str) -> Self {
        if let Some(value) = std::env::var_os(name) {
            self.inner.env(name, value);
        }
        self
    }

    /// Leaves out of its environment all that it does not need to find programs.
    pub(crate) fn bare(mut self, place: &Place) -> Self {
        self.inner.env_clear().env("PATH", path_with(&place.venv().join("bin")));
        self
    }

    /// Does not show it; for what is asked again and again.
    pub(crate) fn unshown(mut self) -> Self {
        self.is_shown = false;
        self
    }

    /// Whether it succeeds. Nothing that it prints is passed on.
    pub(crate) fn succeeds(mut self) -> bool {
        let quiet = self.inner.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
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

    /// Runs it and gives back what it printed, which the error tells as well.
    pub(crate) fn output(mut self) -> Result<String> {
        let shown = self.show();
        let told = self.inner.stderr(Stdio::inherit()).output();
        let told = told.with_context(|| format!("`{shown}` cannot be run"))?;
        let said = String::from_utf8_lossy(&told.stdout).into_owned();
        ensure!(told.status.success(), "`{shown}` failed ({}): {said}", told.status);
        Ok(said)
    }

    /// Starts it; it is killed when what is returned is dropped. Its output goes to `log`.
    pub(crate) fn start(mut self, log: &Path) -> Result<Running> {
        let shown = self.show();
        let file = std::fs::File::create(log)?;
        let child = self.inner.stdout(file.try_clone()?).stderr(file).spawn();
        let child = child.with_context(|| format!("`{shown}` cannot be run"))?;
        Ok(Running { child, is_asked_first: false })
    }

    fn show(&self) -> String {
        let words: Vec<_> = std::iter::once(self.inner.get_program())
            .chain(self.inner.get_args())
            .map(OsStr::to_string_lossy)
            .collect();
        let shown = words.join(" ");
        if self.is_shown {
            println!("$ {shown}");
        }
        shown
    }
}

/// A program that runs.
pub(crate) struct Running {
    child: process::Child,
    is_asked_first: bool,
}

impl Running {
    /// Asks it to end before it is killed, since it has something to clean up.
    pub(crate) fn gently(mut self) -> Self {
        self.is_asked_first = true;
        self
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self, place: &Place) -> Result<()> {
        Command::new(place, "sh").args(["-c", "kill -TERM \"$0\"", &self.id()]).run()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "it did not end as it should ({status})");
        Ok(())
    }
}

impl Running {
    fn id(&self) -> String {
        self.child.id().to_string()
    }

    /// Asks it to end, and gives it time to.
    fn ask_to_end(&mut self) {
        let asked =
            process::Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.id()]).status();
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < FAREWELL && matches!(self.has_ended(), Ok(false)) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_asked_first {
            self.ask_to_end();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clippy_warns_of_does_not_build() {
        let tree = tempfile::tempdir().unwrap();
        let target = tree.path().join("target");
        let place = Place { tree: tree.path().to_owned(), target, profile: "debug" };
        let manifest = "[package]\nname = \"linted\"\nedition = \"2024\"\n[workspace]\n";
        std::fs::write(tree.path().join("Cargo.toml"), manifest).unwrap();
        std::fs::create_dir(tree.path().join("src")).unwrap();
        let builds = |text: &str| {
            std::fs::write(tree.path().join("src/lib.rs"), text).unwrap();
            Command::cargo(&place).args(["build", "--offline"]).linted().run().is_ok()
        };
        assert!(builds("pub fn is_not(is: bool) -> bool { !is }"));
        assert!(!builds("pub fn is_not(is: bool) -> bool { is == false }"));
    }
}
