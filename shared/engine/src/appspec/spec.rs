//! What an AppSpec file says, as types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::{AppSpecError, Problem};
use super::events::EventName;
use super::position::Position;
use super::yaml::excerpt;

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
    /// The scripts of each event, by the event's name as written, which may be unknown.
    pub hooks: BTreeMap<String, Vec<Script>>,
    /// Where its parts stand in the file.
    pub places: Places,
}

/// Where the parts of an AppSpec stand in its file. A list here runs parallel to that of the AppSpec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The value of `os`.
    pub os: Option<Position>,
    /// The `source` of each of `files`.
    pub sources: Vec<Position>,
    /// The name of each event of `hooks`.
    pub events: BTreeMap<String, Position>,
    /// The `location` of each script of each event.
    pub scripts: BTreeMap<String, Vec<Position>>,
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

impl AppSpec {
    /// The time-outs of all hooks together, in seconds; at most [`u32::MAX`].
    pub fn hooks_s(&self) -> u32 {
        let all = self.hooks.values().flatten().map(|script| script.timeout_s);
        u32::try_from(all.fold(0, u64::saturating_add)).unwrap_or(u32::MAX)
    }

    /// Checks that the file is for hosts of this system.
    ///
    /// # Errors
    /// When it is for another, at the place of `os`.
    pub fn check_os(&self, host: Os) -> Result<(), AppSpecError> {
        if self.os == host {
            return Ok(());
        }
        let problem = Problem::OtherOs { written: self.os.name(), host: host.name() };
        Err(AppSpecError::new(&problem, self.places.os))
    }

    /// One error for each name under `hooks` that is nearly that of an event, in the order of the file.
    pub fn misspelt_events(&self) -> Vec<AppSpecError> {
        let mut errors: Vec<AppSpecError> = (self.hooks.keys())
            .filter_map(|name| match EventName::of(name) {
                EventName::Misspelt(event) => Some((name, event)),
                EventName::Known(_) | EventName::WithoutScripts(_) | EventName::Unknown => None,
            })
            .map(|(name, event)| {
                let problem = Problem::MisspeltEvent { name: excerpt(name), event };
                AppSpecError::new(&problem, self.places.events.get(name).copied())
            })
            .collect();
        errors.sort_by_key(|error| error.position);
        errors
    }
}

impl Os {
    /// The name as written in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
        }
    }
}
