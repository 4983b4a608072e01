//! Walking a zip archive, by its central directory, which is read to its end whatever the end record counts.
//!
//! Everything that an archive says twice is compared: numbers, names, places, sizes and checksums. One that says
//! something different about itself in two places is taken by one tool as this and by another one as that, and so is
//! refused.

mod central;
mod content;
mod end;
mod gaps;
mod names;
mod source;

use std::cell::Cell;
use std::io::{self, Read, Seek};
use std::rc::Rc;

use central::Record;
pub(crate) use end::has_end;

use content::{Content, DEFLATED, ENCRYPTED, STORED};
use source::Source;

use crate::error::{BundleError, Problem, damaged};
use crate::kind::Kind;
use crate::limits::{Meter, Metered, length};
use crate::tree::printable;
use crate::walk::{Raw, Walk};

const TYPE: u32 = 0o170_000;

/// Reads a zip archive.
pub(crate) fn read(mut file: impl Read + Seek, walk: &mut Walk<'_>) -> Result<(), BundleError> {
    let whole = |error| BundleError::from_read(Kind::Zip, None, error);
    let packed = length(&mut file).map_err(BundleError::Read)?;
    let mut source = Source::new(file);
    let end = end::find(&mut source, packed).map_err(whole)?;
    source.seek_to(end.start).map_err(whole)?;
    let mut records = Vec::new();
    let mut declared = 0_u64;
    while source.at() < end.end {
        let record = central::read(&mut source, end.end).map_err(whole)?;
        check(&record)?;
        declared = declared.saturating_add(record.sizes.unpacked);
        if records.len() as u64 >= walk.limits.entries {
            return Err(BundleError::TooManyEntries { limit: walk.limits.entries });
        }
        records.push(record);
    }
    end.check_count(records.len() as u64).map_err(whole)?;
    let meter = Meter::new(&walk.limits, Rc::new(Cell::new(packed)));
    meter.check(declared).map_err(|violation| whole(io::Error::other(violation)))?;
    let mut places = Vec::with_capacity(records.len());
    for record in &records {
        read_entry(&mut source, record, end.start, &meter, walk)?;
        places.push((record.header_at, source.at()));
    }
    places.sort_unstable();
    if places.windows(2).any(|two| matches!(two, [(_, end), (start, _)] if end > start)) {
        return Err(whole(damaged("two of its entries share their bytes")));
    }
    gaps::warn(&mut source, &places, end.start, walk).map_err(whole)
}

/// Refuses what cannot be read.
fn check(record: &Record) -> Result<(), BundleError> {
    let refuse = |problem| BundleError::Entry { entry: printable(&record.name), problem };
    if record.flags & ENCRYPTED != 0 {
        return Err(refuse(Problem::Encrypted));
    }
    match record.method {
        STORED | DEFLATED => Ok(()),
        method => Err(refuse(Problem::Compression { method: method_name(method) })),
    }
}

fn method_name(method: u16) -> String {
    match method {
        9 => "Deflate64".to_owned(),
        12 => "bzip2".to_owned(),
        14 => "LZMA".to_owned(),
        93 => "Zstandard".to_owned(),
        95 => "xz".to_owned(),
        other => format!("number {other}"),
    }
}

fn read_entry<R: Read + Seek>(
    source: &mut Source<R>,
    record: &Record,
    directory_at: u64,
    meter: &Meter,
    walk: &mut Walk<'_>,
) -> Result<(), BundleError> {
    let shown = printable(&record.name);
    let failed = |error| BundleError::from_read(Kind::Zip, Some(&shown), error);
    let descriptor = content::open(source, record).map_err(failed)?;
    let end = source.at().checked_add(record.sizes.packed);
    let Some(end) = end.filter(|end| *end <= directory_at) else {
        return Err(failed(damaged("its content reaches into the central directory")));
    };
    let mut content = Metered { inner: Content::new(source, record), meter };
    hand_over(record, &mut content, walk)?;
    // Whatever it was taken for, its content is there as it is said to be.
    io::copy(&mut content, &mut io::sink()).map_err(failed)?;
    source.seek_to(end).map_err(failed)?;
    let more = content::descriptor_bytes(source, descriptor, record.sizes, directory_at);
    source.seek_to(end + more.map_err(failed)?).map_err(failed)
}

fn hand_over(
    record: &Record,
    content: &mut impl Read,
    walk: &mut Walk<'_>,
) -> Result<(), BundleError> {
    let refuse = |problem| BundleError::Entry { entry: printable(&record.name), problem };
    let failed = |error| BundleError::from_read(Kind::Zip, Some(&printable(&record.name)), error);
    let name = names::path(record);
    let unix_mode = Some(record.attributes >> 16).filter(|mode| *mode != 0);
    let is_dir = name.ends_with(b"/") || unix_mode.is_some_and(|mode| mode & TYPE == 0o040_000);
    let mode = unix_mode.unwrap_or(if is_dir { 0o755 } else { 0o644 });
    let (modified, size) = (record.modified, record.sizes.unpacked);
    match mode & TYPE {
        _ if is_dir && size != 0 => {
            Err(refuse(Problem::Header { what: "content where there cannot be any" }))
        }
        _ if is_dir => walk.entry(&name, modified, Raw::Dir { mode }),
        0 | 0o100_000 => walk.entry(&name, modified, Raw::File { mode, size, reader: content }),
        0o120_000 => {
            let mut target = Vec::new();
            let limit = walk.limits.symlink_bytes as u64 + 1;
            content.by_ref().take(limit).read_to_end(&mut target).map_err(failed)?;
            walk.entry(&name, modified, Raw::Symlink { target: &target })
        }
        0o010_000 => Err(refuse(Problem::Special { what: "a FIFO" })),
        0o020_000 | 0o060_000 => Err(refuse(Problem::Special { what: "a device node" })),
        0o140_000 => Err(refuse(Problem::Special { what: "a socket" })),
        _ => Err(refuse(Problem::Special { what: "of an unknown type" })),
    }
}
