//! Why an install is refused or failed.

use std::io;
use std::path::PathBuf;

/// Why an install is refused or failed. The host has what it had before, unless [`InstallError::HalfWay`].
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A destination that is not absolute, or leads upwards.
    #[error(
        "the destination `{destination}` of `files` must be an absolute path without `..`; write it as `/…`"
    )]
    Destination {
        /// As the AppSpec has it.
        destination: String,
    },
    /// A source that is not in the bundle.
    #[error(
        "the source `{source_path}` of `files` is not in the bundle; pack it, or take the entry out"
    )]
    MissingSource {
        /// As the AppSpec has it.
        source_path: String,
    },
    /// A file of the bundle that is no file, directory or link.
    #[error("`{path}` in the bundle cannot be installed: {reason}")]
    Source {
        /// Its path in the bundle.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// Two sources for one file.
    #[error(
        "both `{first}` and `{second}` of the bundle would become `/{path}`; take one of them out of `files`"
    )]
    TwoSources {
        /// The file on the host.
        path: String,
        /// One source.
        first: String,
        /// The other.
        second: String,
    },
    /// A file where a directory must be, or the other way round.
    #[error(
        "`/{path}` is {is} on this host or in the bundle, but must be {must}; move one of them away"
    )]
    Clash {
        /// The path on the host.
        path: String,
        /// What it is.
        is: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// Files that are there already, and that this group did not install.
    #[error(
        "{} that this group did not install {} already there: {}; remove them, or deploy with `file_exists_behavior: \
         OVERWRITE` or `RETAIN`", count(paths.len()), if paths.len() == 1 { "is" } else { "are" }, list(paths)
    )]
    FileExists {
        /// Their paths on the host.
        paths: Vec<String>,
    },
    /// Something in `permissions` that cannot be done.
    #[error("the `permissions` of `{object}` cannot be applied: {reason}")]
    Permissions {
        /// The object.
        object: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The runner must not write there.
    #[error("the runner may not write to `/{path}`; run it as root, or choose another destination")]
    NotWritable {
        /// The directory on the host.
        path: String,
    },
    /// The disk is full.
    #[error(
        "the disk of `/{path}` is full: the install needs {needed} bytes more, {free} are free; free some space"
    )]
    DiskFull {
        /// A directory on that disk.
        path: String,
        /// How many bytes the install needs there.
        needed: u64,
        /// How many are free.
        free: u64,
    },
    /// A file in which the runner notes what it installs makes no sense.
    #[error(
        "the runner's own record `{}` cannot be understood ({source}): if a newer runner wrote it, run that one again; else \
         {remedy}", path.display()
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// What to do if no other runner understands it.
        remedy: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The system refused something.
    #[error("{action} `{}` failed: {source}; check the disk and the permissions", path.display())]
    Io {
        /// What was done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Neither the new tree nor the old one could be completed. The journal is kept: recovery tries again.
    #[error(
        "the install failed ({cause}), and so did going back ({source}); mend that and start the runner again"
    )]
    HalfWay {
        /// Why the install failed.
        cause: String,
        /// Why going back failed.
        #[source]
        source: Box<Self>,
    },
}

impl InstallError {
    /// Wraps an error of the system.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

fn count(files: usize) -> String {
    if files == 1 { "a file".to_owned() } else { format!("{files} files") }
}

/// The first ten paths.
pub(super) fn list(paths: &[String]) -> String {
    let mut text =
        paths.iter().take(10).map(|path| format!("`/{path}`")).collect::<Vec<_>>().join(", ");
    if paths.len() > 10 {
        text.push_str(" …");
    }
    text
}
