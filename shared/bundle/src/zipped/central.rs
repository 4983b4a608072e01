//! The central directory of a zip archive: what it says about each entry.

use std::io::{self, Read, Seek};
use std::time::{Duration, SystemTime};

use flate2::Crc;

use super::source::{Fields, Source};
use crate::error::damaged;

const SIGNATURE: &[u8] = b"PK\x01\x02";
const HEADER_BYTES: usize = 46;

/// The numbers of extra fields.
const ZIP64: u16 = 0x0001;
const EXTENDED_TIMESTAMP: u16 = 0x5455;
const UNICODE_PATH: u16 = 0x7075;

/// What the central directory says about an entry.
#[derive(Debug)]
pub(super) struct Record {
    /// The name as it stands in the headers.
    pub(super) name: Vec<u8>,
    /// The same in Unicode, where the tool has added that.
    pub(super) unicode_name: Option<Vec<u8>>,
    /// The system that the tool ran on.
    pub(super) made_on: u8,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) modified: SystemTime,
    pub(super) sizes: Sizes,
    pub(super) attributes: u32,
    /// Where its local header begins.
    pub(super) header_at: u64,
}

/// What is said about an entry's content, in either header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) crc: u32,
    pub(super) packed: u64,
    pub(super) unpacked: u64,
}

/// Reads the next entry of the directory, which ends at `end`.
pub(super) fn read<R: Read + Seek>(source: &mut Source<R>, end: u64) -> io::Result<Record> {
    let header = source.bytes(HEADER_BYTES)?;
    let mut fields = Fields(&header);
    if fields.bytes(SIGNATURE.len())? != SIGNATURE {
        return Err(damaged("its central directory has something else between two entries"));
    }
    fields.u8()?;
    let made_on = fields.u8()?;
    fields.u16()?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    let (time, date) = (fields.u16()?, fields.u16()?);
    let crc = fields.u32()?;
    let (packed, unpacked) = (fields.u32()?, fields.u32()?);
    let (name_bytes, extra_bytes, comment_bytes) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let disk = fields.u16()?;
    fields.u16()?;
    let attributes = fields.u32()?;
    let header_at = fields.u32()?;
    let name = source.bytes(usize::from(name_bytes))?;
    let extra = source.bytes(usize::from(extra_bytes))?;
    source.bytes(usize::from(comment_bytes))?;
    if source.at() > end {
        return Err(damaged(
            "an entry of its central directory reaches beyond the directory's end",
        ));
    }
    let large = Large::of(&extra)?;
    let mut large = large.fields();
    let unpacked = large.instead_of(unpacked)?;
    let packed = large.instead_of(packed)?;
    let header_at = large.instead_of(header_at)?;
    if disk != 0 && disk != u16::MAX {
        return Err(damaged("it is one part of several; pack it as one file"));
    }
    let modified = match field(&extra, EXTENDED_TIMESTAMP)? {
        Some(data) => unix_time(data, date),
        None => None,
    };
    let unicode_name = field(&extra, UNICODE_PATH)?.and_then(|data| unicode_path(data, &name));
    Ok(Record {
        name,
        unicode_name,
        made_on,
        flags,
        method,
        modified: modified.unwrap_or_else(|| dos_time(date, time)),
        sizes: Sizes { crc, packed, unpacked },
        attributes,
        header_at,
    })
}

/// The extra field of zip64, with what does not fit into 32 bits.
pub(super) struct Large<'a>(Option<&'a [u8]>);

/// What is left of it; fields come in a fixed order, and only those that are needed.
pub(super) struct LargeFields<'a>(Option<Fields<'a>>);

impl<'a> Large<'a> {
    pub(super) fn of(extra: &'a [u8]) -> io::Result<Self> {
        Ok(Self(field(extra, ZIP64)?))
    }

    pub(super) fn fields(&self) -> LargeFields<'a> {
        LargeFields(self.0.map(Fields))
    }
}

impl LargeFields<'_> {
    /// The value of a field of which the header has `small`.
    pub(super) fn instead_of(&mut self, small: u32) -> io::Result<u64> {
        match &mut self.0 {
            Some(fields) if small == u32::MAX => fields.u64(),
            Some(_) | None => Ok(u64::from(small)),
        }
    }
}

/// The content of the extra field with a number.
pub(super) fn field(extra: &[u8], wanted: u16) -> io::Result<Option<&[u8]>> {
    let mut fields = Fields(extra);
    // Tools that align the content fill the rest with zeros.
    while fields.0.iter().any(|byte| *byte != 0) {
        let (number, bytes) = (fields.u16()?, fields.u16()?);
        let data = fields.bytes(usize::from(bytes))?;
        if number == wanted {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The name in Unicode, if it was made for this very name: a tool that renames an entry may leave it as it was.
fn unicode_path(data: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Fields(data);
    let mut crc = Crc::new();
    crc.update(name);
    let fits = fields.u8().ok()? == 1 && fields.u32().ok()? == crc.sum();
    (fits && str::from_utf8(fields.0).is_ok()).then(|| fields.0.to_vec())
}

/// The time in an extended timestamp, if there is one. Seconds are 32 bits with a sign at some tools, and without one
/// at others: the year in the header, which ends in 2107, tells which.
fn unix_time(data: &[u8], date: u16) -> Option<SystemTime> {
    let mut fields = Fields(data);
    let seconds = (fields.u8().ok()? & 1 != 0).then(|| fields.u32().ok()).flatten()?;
    let is_past = seconds > i32::MAX.unsigned_abs() && year(date) < 2038;
    Some(if is_past {
        SystemTime::UNIX_EPOCH - Duration::from_secs(u64::from(seconds.wrapping_neg()))
    } else {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(seconds))
    })
}

fn year(date: u16) -> u64 {
    1980 + u64::from(date >> 9)
}

/// DOS' time, in steps of two seconds; it is local to nobody knows where, so it is taken for UTC.
fn dos_time(date: u16, time: u16) -> SystemTime {
    let (month, day) = (u64::from(date >> 5 & 0xf), u64::from(date & 0x1f));
    let days = days_from_civil(year(date), month.clamp(1, 12), day.max(1));
    let (hour, minute, second) =
        (u64::from(time >> 11), u64::from(time >> 5 & 0x3f), u64::from(time & 0x1f) * 2);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The days from 1970 to a date of 1980 or later (Howard Hinnant's algorithm, years counted from March).
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).saturating_sub(719_468)
}
