//! Archives that are not taken, by their first bytes: whoever has packed one is told what it is, and not that it is a bad
//! AppSpec file.

use std::io::{self, Read, Seek, SeekFrom};

use crate::sniff::HEAD_BYTES;
use crate::zipped;

/// What a file begins with, and what it is then.
const BEGINNINGS: [(&[u8], &str); 12] = [
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x04\x22\x4d\x18", "an lz4 archive"),
    (b"LZIP\x01", "an lzip archive"),
    (b"\x5d\0\0", "an LZMA archive"),
    (b"\x1f\x9d", "an archive of `compress`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"!<arch>\n", "an ar archive, as Debian packages are"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"PK\x07\x08", "the first part of a zip archive that is split"),
    (b"PK00PK\x03\x04", "a zip archive that was meant to be split"),
];

/// What an archive is that is not taken, with its article; none if it is not known either, or no archive. A file that
/// [`crate::sniff`] knows is none of these.
///
/// # Errors
/// When the file cannot be read.
pub fn foreign(mut file: impl Read + Seek) -> io::Result<Option<&'static str>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    file.seek(SeekFrom::Start(0))?;
    (&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    if let Some((_, what)) = BEGINNINGS.iter().find(|(bytes, _)| head.starts_with(bytes)) {
        return Ok(Some(what));
    }
    let is_bzip2 = head.starts_with(b"BZh")
        && matches!(head.get(4..10), Some(b"1AY&SY" | b"\x17\x72\x45\x38\x50\x90"));
    if is_bzip2 {
        return Ok(Some("a bzip2 archive"));
    }
    let ends_as_zip = zipped::has_end(&mut file)?;
    Ok(ends_as_zip.then_some("a zip archive behind something else, as self-extracting ones are"))
}
