//! What lies in a zip archive and is no part of an entry that its central directory lists. It is not unpacked, by us as by
//! `unzip`; whoever reads an archive from the front unpacks an entry that lies there. So it is told, and taken.

use std::io::{self, Read, Seek};

use super::content::{HEADER_BYTES, SIGNATURE};
use super::source::{Fields, Source};
use crate::tree::printable;
use crate::walk::Walk;

/// How many gaps are told one by one.
const SHOWN: usize = 5;
/// What a block of signatures before the central directory ends with, as Android's tools write it.
const SIGNED: &[u8] = b"APK Sig Block 42";

/// Warns of each gap between `places`, which are in order, and before the directory at `directory_at`.
pub(super) fn warn<R: Read + Seek>(
    source: &mut Source<R>,
    places: &[(u64, u64)],
    directory_at: u64,
    walk: &mut Walk<'_>,
) -> io::Result<()> {
    let (mut from, mut count) = (0, 0_usize);
    for (start, end) in places.iter().copied().chain([(directory_at, directory_at)]) {
        if from < start
            && let Some(said) = told(source, from, start)?
        {
            count += 1;
            if count <= SHOWN {
                walk.warn(said);
            }
        }
        from = end;
    }
    if count > SHOWN {
        walk.warn(format!("so it is in {} more places of the archive", count - SHOWN));
    }
    Ok(())
}

/// What there is to say about a gap; nothing about what common tools leave.
fn told<R: Read + Seek>(source: &mut Source<R>, from: u64, to: u64) -> io::Result<Option<String>> {
    if is_zero(source, from, to)? || is_signature(source, from, to)? {
        return Ok(None);
    }
    Ok(Some(match unlisted(source, from, to)? {
        Some(name) => format!(
            "`{}` is in the archive, but not in its central directory, so it is not unpacked; pack the archive anew",
            printable(&name)
        ),
        None => format!(
            "{} bytes of the archive, from byte {from} on, belong to no entry, so they are not unpacked; pack the archive anew",
            to - from
        ),
    }))
}

/// Whether all is zeros, with which tools align what follows.
fn is_zero<R: Read + Seek>(source: &mut Source<R>, from: u64, to: u64) -> io::Result<bool> {
    source.seek_to(from)?;
    let mut buffer = [0; 8 << 10];
    let mut rest = source.take(to - from);
    loop {
        let count = rest.read(&mut buffer)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if count == 0 || bytes.iter().any(|byte| *byte != 0) {
            return Ok(count == 0);
        }
    }
}

fn is_signature<R: Read + Seek>(source: &mut Source<R>, from: u64, to: u64) -> io::Result<bool> {
    let Some(at) = to.checked_sub(SIGNED.len() as u64).filter(|at| *at >= from) else {
        return Ok(false);
    };
    source.seek_to(at)?;
    Ok(source.bytes(SIGNED.len())? == SIGNED)
}

/// The name in the header of an entry that begins here, if one does.
fn unlisted<R: Read + Seek>(
    source: &mut Source<R>,
    from: u64,
    to: u64,
) -> io::Result<Option<Vec<u8>>> {
    if to - from < HEADER_BYTES as u64 {
        return Ok(None);
    }
    source.seek_to(from)?;
    let header = source.bytes(HEADER_BYTES)?;
    let Some(name_bytes) = header.get(26..28).filter(|_| header.starts_with(SIGNATURE)) else {
        return Ok(None);
    };
    let name_bytes = Fields(name_bytes).u16()?;
    if to - source.at() < u64::from(name_bytes) {
        return Ok(None);
    }
    source.bytes(usize::from(name_bytes)).map(Some)
}
