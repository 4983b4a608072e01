//! An install that was worked out to its last step, and has yet to be done.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::error::list;
use super::host::{Host, Meta};
use super::journal::Step;
use super::labels::DefaultAcl;
use super::permissions::Labels;
use super::state::{Manifest, Previous};
use super::tree::Want;

/// An install that was found possible, with everything that it will do.
#[derive(Debug)]
pub struct InstallPlan {
    pub(super) host: Host,
    pub(super) bundle: Host,
    pub(super) group_dir: PathBuf,
    pub(super) steps: Vec<Step>,
    pub(super) staged: Vec<Staged>,
    /// Directories that are not needed any more, if nothing else is in them.
    pub(super) obsolete: BTreeSet<String>,
    /// What will be installed; the stamps are those of the staged files, once they are there.
    pub(super) manifest: Manifest,
    /// What will be kept.
    pub(super) previous: Previous,
    /// Whether the same revision is installed again, so that what it replaced at first stays kept instead.
    pub(super) again: bool,
    /// Whether installed files are forced to the disk.
    pub(super) sync: bool,
    /// The directories of the runner that the install before used.
    pub(super) old_stores: BTreeSet<String>,
    /// Installed files that were changed on the host since, as paths without the leading `/`; they are
    /// replaced or removed, and kept with the previous files.
    pub edited: Vec<String>,
    /// Files that stay as they are, because of `RETAIN`; without the leading `/` too.
    pub retained: Vec<String>,
    /// Directories that exist, and so keep an owner, a mode or ACLs that `permissions` would have otherwise; without the
    /// leading `/` too.
    pub ungranted: Vec<String>,
}

impl InstallPlan {
    /// What the event's log has to say of what was found on the host, a line each.
    pub fn notes(&self) -> Vec<String> {
        let of = |what: &str, paths: &[String]| {
            (!paths.is_empty()).then(|| format!("{what}: {}", list(paths)))
        };
        let notes = [
            of(
                "changed on this host since they were installed, and now replaced or removed",
                &self.edited,
            ),
            of("left as they are, because of RETAIN", &self.retained),
            of(
                "`permissions` does not apply to directories that exist already; change them in a hook",
                &self.ungranted,
            ),
        ];
        notes.into_iter().flatten().collect()
    }
}

/// A file that waits for the switch.
#[derive(Debug)]
pub(super) struct Staged {
    /// Where it will stand.
    pub(super) path: String,
    /// Where it waits.
    pub(super) new: String,
    pub(super) want: Want,
    pub(super) meta: Meta,
    pub(super) labels: Labels,
    /// The same file, where it is already on the host.
    pub(super) same: Option<String>,
    /// Whether its time is that of the install.
    pub(super) retimed: bool,
    /// Whether another file stands in its place.
    pub(super) replaces: bool,
    /// What the directory demands of new files.
    pub(super) acl: Option<DefaultAcl>,
}
