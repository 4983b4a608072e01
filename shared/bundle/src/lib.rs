//! Reading bundles: revisions packed as zip, tar or tar.gz (`docs/semantics.md#revisions`).
//!
//! One walk over the archive decompresses everything, holds it against [`Limits`], refuses what could lead out of the
//! place where it is unpacked, and finds and checks the AppSpec file. [`inspect`] does only that; [`visit`] hands out
//! the entries on the way. Nothing here writes to a disk, and nothing is decided about hosts.

mod appspec;
mod entry;
mod error;
mod foreign;
mod gzip;
mod inspection;
mod kind;
mod limits;
pub mod names;
mod sniff;
mod tarball;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod zipped;

use std::io::{self, Read, Seek, SeekFrom};

pub use appspec::misspelt;
pub use entry::{Entry, EntryKind};
pub use error::{BundleError, Problem};
pub use foreign::foreign;
pub use inspection::{Fault, Inspection};
pub use kind::Kind;
pub use limits::Limits;
pub use sniff::{HEAD_BYTES, sniff};

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
