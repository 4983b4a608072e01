//! The end of a zip archive: where its central directory lies, and how many entries that is said to have.

use std::io::{self, Read, Seek};

use super::source::{Fields, Source};
use crate::error::damaged;
use crate::limits::length;

const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const END_64: &[u8] = b"PK\x06\x06";
const END_64_BYTES: usize = 56;
const LOCATOR: &[u8] = b"PK\x06\x07";
const LOCATOR_BYTES: u64 = 20;
/// Where the end record is looked for: the longest comment, and as many zeros behind it.
const TAIL_BYTES: u64 = END_BYTES as u64 + 2 * (1 << 16);

/// What the end of an archive says about its central directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Where the directory begins.
    pub(super) start: u64,
    /// Where it ends: right before the records of the end.
    pub(super) end: u64,
    count: Count,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Exact(u64),
    /// Tools that know no zip64 write the last 16 bits of a larger number.
    Modulo(u16),
}

impl End {
    /// Holds the number of entries in the directory against the one in the end record.
    pub(super) fn check_count(&self, found: u64) -> io::Result<()> {
        let (agrees, stated) = match self.count {
            Count::Exact(count) => (count == found, count),
            Count::Modulo(count) => (found % (1 << 16) == u64::from(count), u64::from(count)),
        };
        if agrees {
            return Ok(());
        }
        Err(damaged(format!(
            "its central directory has {found} entries, and its end record says {stated}"
        )))
    }
}

/// Whether the file ends as a zip archive does, wherever that begins.
pub(crate) fn has_end(mut file: impl Read + Seek) -> io::Result<bool> {
    let length = length(&mut file)?;
    let (_, tail) = tail(&mut Source::new(file), length)?;
    let content = without_zeros(&tail);
    Ok((0..content).any(|at| matches!(record_at(&tail, at, content), Ok(Some(Some(_))))))
}

/// The end of a file, and where it begins.
fn tail<R: Read + Seek>(source: &mut Source<R>, length: u64) -> io::Result<(u64, Vec<u8>)> {
    let at = length.saturating_sub(TAIL_BYTES);
    source.seek_to(at)?;
    let bytes = source.bytes(usize::try_from(length - at).unwrap_or(usize::MAX))?;
    Ok((at, bytes))
}

/// How long a tail is without the zeros that fill a block up, which are no content.
fn without_zeros(tail: &[u8]) -> usize {
    tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The end record that begins at `at`, if one does; none in it if it is not the last thing of the file.
fn record_at(tail: &[u8], at: usize, content: usize) -> io::Result<Option<Option<Record>>> {
    let Some(bytes) = tail.get(at..).filter(|rest| rest.starts_with(&END)) else { return Ok(None) };
    let Some(bytes) = bytes.get(..END_BYTES) else { return Ok(None) };
    let record = Record::read(bytes)?;
    let end = at + END_BYTES + usize::from(record.comment_bytes);
    Ok(Some(Some(record).filter(|_| end >= content && end <= tail.len())))
}

/// Finds the end of an archive of `length` bytes.
pub(super) fn find<R: Read + Seek>(source: &mut Source<R>, length: u64) -> io::Result<End> {
    let (tail_at, tail) = tail(source, length)?;
    let content = without_zeros(&tail);
    let mut found = false;
    for at in (0..content).rev() {
        match record_at(&tail, at, content)? {
            Some(Some(record)) => return locate(source, tail_at + at as u64, record),
            Some(None) => found = true,
            None => {}
        }
    }
    Err(damaged(if found {
        "there is something else after its end; if it is two archives in one, pack their content as one"
    } else {
        "it has no end record"
    }))
}

/// The end record.
#[derive(Debug, Clone, Copy)]
struct Record {
    disk: u16,
    directory_disk: u16,
    count_here: u16,
    count: u16,
    directory_bytes: u32,
    directory_at: u32,
    comment_bytes: u16,
}

impl Record {
    fn read(bytes: &[u8]) -> io::Result<Self> {
        let mut fields = Fields(bytes);
        fields.bytes(END.len())?;
        Ok(Self {
            disk: fields.u16()?,
            directory_disk: fields.u16()?,
            count_here: fields.u16()?,
            count: fields.u16()?,
            directory_bytes: fields.u32()?,
            directory_at: fields.u32()?,
            comment_bytes: fields.u16()?,
        })
    }
}

/// Follows the end record at `at` to the directory.
fn locate<R: Read + Seek>(source: &mut Source<R>, at: u64, record: Record) -> io::Result<End> {
    let large = match at.checked_sub(LOCATOR_BYTES) {
        Some(locator_at) => large(source, locator_at, record)?,
        None => None,
    };
    if let Some(end) = large {
        return Ok(end);
    }
    if record.disk != 0 || record.directory_disk != 0 || record.count_here != record.count {
        return Err(damaged("it is one part of several; pack it as one file"));
    }
    let start = u64::from(record.directory_at);
    check_place(start, u64::from(record.directory_bytes), at)?;
    Ok(End { start, end: at, count: Count::Modulo(record.count) })
}

/// The end record of zip64, if there is a locator of one.
fn large<R: Read + Seek>(
    source: &mut Source<R>,
    locator_at: u64,
    record: Record,
) -> io::Result<Option<End>> {
    source.seek_to(locator_at)?;
    let locator = source.bytes(usize::try_from(LOCATOR_BYTES).unwrap_or(usize::MAX))?;
    let mut fields = Fields(&locator);
    if fields.bytes(LOCATOR.len())? != LOCATOR {
        return Ok(None);
    }
    let (disk, at, disks) = (fields.u32()?, fields.u64()?, fields.u32()?);
    if at.checked_add(END_64_BYTES as u64).is_none_or(|end| end > locator_at) {
        return Err(damaged("its zip64 end record lies outside of it"));
    }
    source.seek_to(at)?;
    let bytes = source.bytes(END_64_BYTES)?;
    let mut fields = Fields(&bytes);
    if fields.bytes(END_64.len())? != END_64 {
        return Err(damaged("its zip64 end record is not where it is said to be"));
    }
    let record_bytes = fields.u64()?;
    fields.bytes(4)?;
    let (this_disk, directory_disk) = (fields.u32()?, fields.u32()?);
    let (count_here, count) = (fields.u64()?, fields.u64()?);
    let (directory_bytes, start) = (fields.u64()?, fields.u64()?);
    if disk != 0 || disks > 1 || this_disk != 0 || directory_disk != 0 || count_here != count {
        return Err(damaged("it is one part of several; pack it as one file"));
    }
    // The length of the record counts from behind itself.
    if at.checked_add(12).and_then(|from| from.checked_add(record_bytes)) != Some(locator_at) {
        return Err(damaged("its zip64 end record has another length than it says"));
    }
    let agrees = agrees(u64::from(record.count), count, 16)
        && agrees(u64::from(record.directory_bytes), directory_bytes, 32)
        && agrees(u64::from(record.directory_at), start, 32);
    if !agrees {
        return Err(damaged("its two end records contradict each other"));
    }
    check_place(start, directory_bytes, at)?;
    Ok(Some(End { start, end: at, count: Count::Exact(count) }))
}

/// Whether a field of `bits` bits that may be full says the same as the large one.
fn agrees(small: u64, large: u64, bits: u32) -> bool {
    let full = (1_u64 << bits) - 1;
    small == full || small == large & full
}

/// Checks that the directory ends where the records of the end begin.
fn check_place(start: u64, bytes: u64, end: u64) -> io::Result<()> {
    if start.checked_add(bytes) == Some(end) {
        return Ok(());
    }
    Err(damaged(
        "its central directory does not lie where its end record says; if it is two archives in one, pack their content as one",
    ))
}
