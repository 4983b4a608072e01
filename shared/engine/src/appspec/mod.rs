//! The AppSpec file of an EC2/on-premises bundle: what may stand in it, parsed into types, each error with its place
//! (`docs/semantics.md#appspec`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An AppSpec file that was read and found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// The system that it is written for.
    pub os: Os,
    /// What goes where, in the order of the file.
    pub files: Vec<FileMapping>,
    /// What to do with a file that is already there; beats the deployment's own option.
    pub file_exists_behavior: Option<FileExistsBehavior>,
    /// Owners and modes for what is installed.
    pub permissions: Vec<Permission>,
    /// The scripts of each event, by the event's name as written. A name may be unknown: that is decided by the caller,
    /// who knows which events exist.
    pub hooks: BTreeMap<String, Vec<Script>>,
}

/// The operating system of an AppSpec file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Os {
    /// `os: linux`.
    Linux,
    /// `os: windows`.
    Windows,
}

/// One entry of `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMapping {
    /// A path in the bundle; a leading `/` means the bundle's root. Empty means the whole bundle.
    pub source: String,
    /// The directory on the host.
    pub destination: String,
}

/// What to do with a file that no earlier deployment of the group put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileExistsBehavior {
    /// Fail.
    Disallow,
    /// Replace it.
    Overwrite,
    /// Keep it, and do not install ours.
    Retain,
}

/// One script of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// A path in the bundle.
    pub location: String,
    /// Seconds until it is ended; 3600 unless the file says otherwise.
    pub timeout_s: u64,
    /// The user that it runs as, if not the runner's own.
    pub runas: Option<String>,
    /// Whether it runs through sudo.
    pub sudo: bool,
}

/// One entry of `permissions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The file or directory.
    pub object: String,
    /// Which direct children; `**` for everything below.
    pub pattern: String,
    /// Direct children that are left out, as patterns.
    pub except: Vec<String>,
    /// Whether it applies to files.
    pub files: bool,
    /// Whether it applies to directories.
    pub directories: bool,
    /// The owner's name.
    pub owner: Option<String>,
    /// The group's name.
    pub group: Option<String>,
    /// The mode bits, up to 0o7777.
    pub mode: Option<u32>,
    /// Access control entries as written.
    pub acls: Vec<String>,
    /// The SELinux context.
    pub context: Option<Context>,
}

/// An SELinux context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The SELinux user.
    pub user: Option<String>,
    /// The type.
    pub kind: String,
    /// The range.
    pub range: Option<String>,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}
