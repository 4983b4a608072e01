//! Walking a zip archive, by its central directory.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek};
use std::rc::Rc;

use zip::extra_fields::ExtraField;
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, System, ZipArchive};

use crate::Kind;
use crate::error::{BundleError, Problem};
use crate::limits::{Meter, Metered, length};
use crate::tree::printable;
use crate::walk::{Raw, Walk};

const TYPE: u32 = 0o170_000;

/// Reads a zip archive.
pub(crate) fn read(mut file: impl Read + Seek, walk: &mut Walk<'_>) -> Result<(), BundleError> {
    let packed = length(&mut file).map_err(BundleError::Read)?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| from_zip(None, error))?;
    if archive.has_duplicate_names() {
        return Err(from_zip(None, ZipError::InvalidArchive("a name is there twice".into())));
    }
    if archive.len() as u64 > walk.limits.entries {
        return Err(BundleError::TooManyEntries { limit: walk.limits.entries });
    }
    let mut meter = Meter::new(&walk.limits, Rc::new(Cell::new(packed)));
    let mut declared = 0_u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(|error| from_zip(None, error))?;
        declared = declared.saturating_add(entry.size());
        let refuse = |problem| BundleError::Entry { entry: printable(entry.name_raw()), problem };
        if entry.encrypted() {
            return Err(refuse(Problem::Encrypted));
        }
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(refuse(Problem::Compression {
                method: format!("{:?}", entry.compression()),
            }));
        }
    }
    meter.check(declared).map_err(|violation| {
        BundleError::from_read(Kind::Zip, None, io::Error::other(violation))
    })?;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| from_zip(None, error))?;
        read_entry(entry, &mut meter, walk)?;
    }
    Ok(())
}

fn read_entry(
    mut entry: ZipFile<'_, impl Read>,
    meter: &mut Meter,
    walk: &mut Walk<'_>,
) -> Result<(), BundleError> {
    let raw_name = entry.name_raw().to_vec();
    let refuse = |problem| BundleError::Entry { entry: printable(&raw_name), problem };
    let damaged = |error| BundleError::from_read(Kind::Zip, Some(&printable(&raw_name)), error);
    let name = entry.name().map_err(|error| from_zip(Some(&raw_name), error))?.into_owned();
    // Unix allows backslashes in names; elsewhere they separate.
    if entry.system() != System::Unix && name.contains('\\') {
        return Err(refuse(Problem::Backslash));
    }
    let unix_mode = Some(entry.external_attributes() >> 16).filter(|mode| *mode != 0);
    let is_dir = name.ends_with('/') || unix_mode.is_some_and(|mode| mode & TYPE == 0o040_000);
    let mode = unix_mode.unwrap_or(if is_dir { 0o755 } else { 0o644 });
    let (mtime_s, size) = (mtime_s(&entry), entry.size());
    let mut content = Metered { inner: &mut entry, meter };
    match mode & TYPE {
        _ if is_dir => walk.entry(name.as_bytes(), mtime_s, Raw::Dir { mode }),
        0 | 0o100_000 => {
            walk.entry(name.as_bytes(), mtime_s, Raw::File { mode, size, reader: &mut content })
        }
        0o120_000 => {
            let mut target = Vec::new();
            let limit = walk.limits.symlink_bytes as u64 + 1;
            content.by_ref().take(limit).read_to_end(&mut target).map_err(damaged)?;
            walk.entry(name.as_bytes(), mtime_s, Raw::Symlink { target: &target })
        }
        0o010_000 => Err(refuse(Problem::Special { what: "a FIFO" })),
        0o020_000 | 0o060_000 => Err(refuse(Problem::Special { what: "a device node" })),
        0o140_000 => Err(refuse(Problem::Special { what: "a socket" })),
        _ => Err(refuse(Problem::Special { what: "of an unknown type" })),
    }
}

/// When the entry was modified: the Unix time if it is there, else DOS' local time, taken for UTC.
fn mtime_s(entry: &ZipFile<'_, impl Read>) -> u64 {
    let unix = entry.extra_data_fields().find_map(|field| {
        if let ExtraField::ExtendedTimestamp(times) = field { times.mod_time() } else { None }
    });
    if let Some(seconds) = unix {
        return u64::from(seconds);
    }
    entry.last_modified().map_or(0, |time| {
        let days =
            days_from_civil(u64::from(time.year()), u64::from(time.month()), u64::from(time.day()));
        let minutes = u64::from(time.hour()) * 60 + u64::from(time.minute());
        days * 86_400 + minutes * 60 + u64::from(time.second())
    })
}

/// The days from 1970 to a date of 1980 or later (Howard Hinnant's algorithm, years counted from March).
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).saturating_sub(719_468)
}

fn from_zip(entry: Option<&[u8]>, error: ZipError) -> BundleError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the crate's list is open; all else is about the content"
    )]
    let source = match error {
        ZipError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    };
    BundleError::from_read(Kind::Zip, entry.map(printable).as_deref(), source)
}
