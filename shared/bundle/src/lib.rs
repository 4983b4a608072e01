//! Reading bundles: revisions packed as zip, tar or tar.gz (`docs/semantics.md#revisions`).
//!
//! One walk over the archive decompresses everything, holds it against [`Limits`], refuses what could lead out of the
//! place where it is unpacked, and finds and checks the AppSpec file. [`inspect`] does only that; [`visit`] hands out
//! the entries on the way. Nothing here writes to a disk, and nothing is decided about hosts.

mod appspec;
mod error;
mod foreign;
mod gzip;
mod limits;
pub mod names;
mod tarball;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod zipped;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::SystemTime;

use engine::appspec::{AppSpec, Position};

pub use error::{BundleError, Problem};
pub use foreign::foreign;
pub use limits::Limits;

/// The type of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A zip archive.
    Zip,
    /// A tar archive, not compressed.
    Tar,
    /// A tar archive compressed with gzip.
    Tgz,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::Tgz => "tar.gz",
        })
    }
}

/// How many bytes of a file [`sniff`] needs.
pub const HEAD_BYTES: usize = 512;

/// The type of an archive by its first [`HEAD_BYTES`] bytes; none if it is no archive that we read.
#[must_use]
pub fn sniff(head: &[u8]) -> Option<Kind> {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        Some(Kind::Zip)
    } else if head.starts_with(b"\x1f\x8b") {
        Some(Kind::Tgz)
    } else if head.get(257..262) == Some(b"ustar") || tarball::is_header(head) {
        Some(Kind::Tar)
    } else {
        None
    }
}

/// What a whole and valid bundle was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The archive's type.
    pub kind: Kind,
    /// The single top-level folder that holds everything and is no part of the bundle's paths.
    pub strip_prefix: Option<String>,
    /// The AppSpec file's path in the archive, the stripped folder included.
    pub appspec_file: String,
    /// What it says.
    pub appspec: AppSpec,
    /// Files, directories and links, directories that are only implied included.
    pub entries: u64,
    /// The bytes of all files.
    pub unpacked_bytes: u64,
    /// What is taken, but most likely not meant, in sentences.
    pub warnings: Vec<String>,
}

/// What is wrong with the AppSpec file of an archive that is good by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the file, if it has a place.
    pub position: Option<Position>,
    /// What is wrong, and what to do about it.
    pub message: String,
}

/// A validated entry of an archive: it cannot lead out of the place where it is unpacked, nor below a link. Paths and
/// targets are text as in [`names`].
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

/// Walks the whole of `file`, and says what it is. A bundle that is new is looked at this way: names under `hooks` that are
/// nearly those of events are refused here, and not where one is unpacked that was taken before.
///
/// # Errors
/// [`BundleError`], when it is no valid bundle, or could not be read.
pub fn inspect(file: impl Read + Seek, limits: &Limits) -> Result<Inspection, BundleError> {
    let (found, mut faults) = survey(file, limits, &mut |_| Ok(()))?;
    faults.extend(misspelt(&found.appspec));
    unless(faults, found)
}

/// The names under `hooks` that are nearly those of events, which are refused in whatever is new.
pub fn misspelt(appspec: &AppSpec) -> impl Iterator<Item = Fault> {
    let errors = appspec.misspelt_events().into_iter();
    errors.map(|error| Fault { position: error.position, message: error.message })
}

/// What was found, unless there is a fault.
fn unless(faults: Vec<Fault>, found: Inspection) -> Result<Inspection, BundleError> {
    match faults.into_iter().next() {
        None => Ok(found),
        Some(Fault { position, message }) => {
            Err(BundleError::AppSpec { file: found.appspec_file, position, message })
        }
    }
}

/// Walks the whole of `file`, and hands each entry to `sink` in the archive's order, before the whole is known to be
/// valid: after an error, what was made of the entries must be thrown away.
///
/// # Errors
/// [`BundleError`], when it is no valid bundle, could not be read, or when `sink` fails ([`BundleError::Sink`]).
pub fn visit(
    file: impl Read + Seek,
    limits: &Limits,
    sink: &mut dyn FnMut(Entry<'_>) -> io::Result<()>,
) -> Result<Inspection, BundleError> {
    let (found, faults) = survey(file, limits, sink)?;
    unless(faults, found)
}

/// The same for who wants to hear of everything at once: what the AppSpec file names and is not in the bundle is told, and
/// not refused.
///
/// # Errors
/// As those of [`visit`]; an AppSpec file that cannot be read is one.
pub fn survey(
    mut file: impl Read + Seek,
    limits: &Limits,
    sink: &mut dyn FnMut(Entry<'_>) -> io::Result<()>,
) -> Result<(Inspection, Vec<Fault>), BundleError> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    file.seek(SeekFrom::Start(0)).map_err(BundleError::Read)?;
    (&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(BundleError::Read)?;
    file.seek(SeekFrom::Start(0)).map_err(BundleError::Read)?;
    let Some(kind) = sniff(&head) else {
        return Err(match foreign(&mut file).map_err(BundleError::Read)? {
            Some(what) => BundleError::OtherType { what },
            None => BundleError::UnknownType,
        });
    };
    let mut walk = walk::Walk::new(kind, limits, sink);
    match kind {
        Kind::Zip => zipped::read(file, &mut walk)?,
        Kind::Tar => tarball::read(file, &mut walk)?,
        Kind::Tgz => tarball::read_gzip(file, &mut walk)?,
    }
    walk.finish()
}
