//! What can be wrong with an AppSpec file, each with its place.

use super::Position;
use crate::lifecycle::Event;

/// Why an AppSpec file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppSpecError {
    /// What is wrong and what to do about it, as a lower-case fragment.
    pub message: String,
    /// Where, if it has a place.
    pub position: Option<Position>,
}

impl AppSpecError {
    pub(super) fn new(problem: &Problem, position: Option<Position>) -> Self {
        Self { message: problem.to_string(), position }
    }

    /// The error as `appspec.yml:LINE:COLUMN: message`, with the given file name.
    pub fn in_file(&self, file: &str) -> String {
        located(file, self.position, &self.message)
    }
}

/// `FILE:LINE:COLUMN: message`, without what is not known of the place.
pub(super) fn located(file: &str, position: Option<Position>, message: &str) -> String {
    match position {
        Some(position) => format!("{file}:{position}: {message}"),
        None => format!("{file}: {message}"),
    }
}

/// The errors of one reading, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) errors: Vec<AppSpecError>,
}

impl Report {
    pub(super) fn add(&mut self, problem: &Problem, position: Position) {
        self.errors.push(AppSpecError::new(problem, Some(position)));
    }
}

/// Everything that is refused. What stands in the file is given in backticks.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    // The file.
    #[error("the file has {bytes} bytes; an AppSpec file may have 1 MiB at most")]
    TooLarge { bytes: usize },
    #[error("the file is not UTF-8 here; save it as UTF-8")]
    NotUtf8,
    #[error("the character U+{code:04X} may not stand in YAML; remove it")]
    Character { code: u32 },
    #[error("this is not valid YAML: {info}")]
    Syntax { info: String },
    #[error("a line in brackets or quotes begins left of what surrounds them; indent it")]
    Indentation,
    #[error("the tab here is not allowed as indentation; use spaces")]
    Tab,
    #[error("an entry has no name before its `:`; add it")]
    NoKey,
    #[error("the alias is not allowed in an AppSpec file; write the value out")]
    Alias,
    #[error("`{text}` begins with `*`, which names an alias in YAML; quote it: \"{text}\"")]
    Star { text: String },
    #[error("the tag `{tag}` is not allowed in an AppSpec file; remove it")]
    Tag { tag: String },
    #[error("`{text}` is a date in YAML, which may not stand in an AppSpec file; put it in quotes")]
    Timestamp { text: String },
    #[error("lists and mappings are nested over {limit} levels deep; an AppSpec file needs 5")]
    TooDeep { limit: usize },
    #[error("the file has over {limit} entries; deploy directories instead of single files")]
    TooManyEntries { limit: usize },

    // The top level.
    #[error("the AppSpec file is empty; it needs `version: 0.0` and `os: linux` at least")]
    Empty,
    #[error(
        "the AppSpec file must be a mapping of `version`, `os`, `files`, `permissions` and `hooks`, not {found}"
    )]
    NotMapping { found: String },
    #[error("`version` is missing; add `version: 0.0`")]
    NoVersion,
    #[error(
        "`version` is {found}, but only the number 0.0 is known; write `version: 0.0`, without quotes"
    )]
    Version { found: String },
    #[error("`os` is missing; add `os: linux`")]
    NoOs,
    #[error(
        "this is an AppSpec file for Lambda or ECS, with `Resources` and no `os`; a bundle for hosts needs `os: linux` and `files`"
    )]
    NotForHosts,
    #[error("`os` is {found}; it must be `linux` or `windows`, in lower case")]
    Os { found: String },
    #[error(
        "the AppSpec file is written for {written}, but this host runs {host}; deploy it to a {written} host or write `os: {host}`"
    )]
    OtherOs { written: &'static str, host: &'static str },
    #[error(
        "`file_exists_behavior` is {found}; it must be DISALLOW, OVERWRITE or RETAIN, in capitals"
    )]
    FileExistsBehavior { found: String },

    // Shapes.
    #[error("{what} must be a list, not {found}; start each entry with `- `")]
    ExpectedList { what: &'static str, found: String },
    #[error("{what} must be a mapping of `key: value` lines, not {found}")]
    ExpectedMapping { what: &'static str, found: String },
    #[error("{what} must be text, not {found}; write one value, in quotes if need be")]
    ExpectedText { what: &'static str, found: String },

    // files, hooks.
    #[error(
        "an entry of `files` has no `source`; add the path in the bundle that is to be installed"
    )]
    NoSource,
    #[error(
        "an entry of `files` has no `destination`; add the directory on the host that it goes to"
    )]
    NoDestination,
    #[error(
        "`destination` is {found}; it must be an absolute path without `..`, such as `/srv/shop`"
    )]
    Destination { found: String },
    #[error("a script has no `location`; add the path of the script in the bundle")]
    NoLocation,
    #[error("`timeout` is {found}; it must be a number of seconds above 0")]
    Timeout { found: String },
    #[error(
        "`{name}` is not a lifecycle event, so its scripts would never run; did you mean `{event}`?"
    )]
    MisspeltEvent { name: String, event: Event },

    // permissions.
    #[error("`permissions` are for Linux only; remove them or write `os: linux`")]
    PermissionsOnWindows,
    #[error(
        "an entry of `permissions` has no `object`; add the path of a file or directory on the host"
    )]
    NoObject,
    #[error("`type` has {found}; it may have `file` and `directory`")]
    ObjectType { found: String },
    #[error(
        "`mode` is {found}, which is not one to four octal digits; write the mode in quotes, such as \"0644\""
    )]
    Mode { found: String },
    #[error(
        "`mode` is written {written} without quotes, which YAML reads as the octal number {value}, and {value} is no mode; put it in quotes: \"{written}\""
    )]
    OctalMode { written: String, value: i128 },
    #[error(
        "the ACL entry `{entry}` is wrong: {why}; write it as `[default:]user|group|mask|other:name:rwx`"
    )]
    Acl { entry: String, why: &'static str },
    #[error("`context` has no `type`; add the SELinux type")]
    NoContextType,
    #[error(
        "the SELinux range `{range}` is wrong: {why}; write it as `s0`, `s0-s3` or `s0:c0,c2.c5`"
    )]
    Range { range: String, why: &'static str },
}

/// The end of a message about a name that is not known.
pub(super) fn suggestion(name: &Option<String>, lead: &str, otherwise: &str) -> String {
    match name {
        Some(name) => format!("{lead} `{name}`?"),
        None => otherwise.to_owned(),
    }
}
