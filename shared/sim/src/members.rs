//! What is stored of members, for the invariants.

use std::collections::BTreeSet;

use control::table::Key;

/// Whether the record of a member is under `key`.
pub(crate) fn is_at(key: &Key) -> bool {
    key.partition.contains("#MEMBERS#")
}

/// How the members of a group were written out of its history.
#[derive(Debug)]
pub(crate) struct TakenOver {
    /// The fencing number of the deployment that did so.
    pub(crate) by: u64,
    /// Since which one its history was known.
    pub(crate) oldest: u64,
    /// Whose members were there then.
    pub(crate) names: BTreeSet<String>,
}
