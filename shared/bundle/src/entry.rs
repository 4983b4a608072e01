//! An entry of a bundle, as whoever unpacks it gets it.

use std::io::Read;
use std::time::SystemTime;

/// A validated entry of an archive: it cannot lead out of the place where it is unpacked, nor below a link. Paths and
/// targets are text as in [`crate::names`].
pub struct Entry<'a> {
    /// The path, relative, without `.` and `..`; a single top-level folder that will be stripped is still part of it,
    /// because only the end of the archive shows that it is single.
    pub path: &'a str,
    /// When it was modified.
    pub modified: SystemTime,
    /// Whether an earlier entry that is no directory stands there, which this one takes the place of.
    pub replaces: bool,
    /// What it is.
    pub kind: EntryKind<'a>,
}

/// What an entry is.
pub enum EntryKind<'a> {
    /// A regular file.
    File {
        /// The permission bits, up to 0o777.
        mode: u32,
        /// The size in bytes.
        size: u64,
        /// Its content. What is not read is skipped.
        reader: &'a mut dyn Read,
    },
    /// Another name for a file that came earlier.
    HardLink {
        /// The path of that file.
        target: &'a str,
    },
    /// A directory. It may come again, with another mode, and after what lies in it; directories may be implied.
    Dir {
        /// The permission bits, up to 0o777.
        mode: u32,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, which may be anywhere: nothing may be written through it.
        target: &'a str,
    },
}
