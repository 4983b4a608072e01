//! Walking a tar archive, compressed or not. The headers are read with the `tar` crate, one block at a time; names and
//! extension headers are bounded, which its own iterator does not do.

mod blocks;
mod pax;
mod sparse;
mod values;

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek};
use std::rc::Rc;

pub(crate) use blocks::is_header;
use blocks::{next_header, skip, skip_padding};
use pax::Extensions;
use sparse::{Expanded, Said};
use tar::{EntryType, Header};
use values::time;

use crate::error::{BundleError, Problem, damaged};
use crate::gzip::Members;
use crate::limits::{Counted, Meter, Metered, length};
use crate::tree::printable;
use crate::walk::{Raw, Walk};

/// How long an extension header may be: long names, extended attributes.
const EXTENSION_BYTES: u64 = 1 << 20;

/// Types of GNU tar that the crate does not name: the label of a volume, which is no entry, and a directory in an
/// incremental archive, whose data are the names of what was in it.
const VOLUME_LABEL: u8 = b'V';
const LISTED_DIRECTORY: u8 = b'D';

/// Reads a plain tar archive.
pub(crate) fn read(mut file: impl Read + Seek, walk: &mut Walk<'_>) -> Result<(), BundleError> {
    let packed = Rc::new(Cell::new(length(&mut file).map_err(BundleError::Read)?));
    let meter = Meter::new(&walk.limits, packed);
    read_blocks(Metered { inner: BufReader::new(file), meter: &meter }, &meter, walk)
}

/// Reads a tar archive through gzip, to its end, so that the last checksum is compared too.
pub(crate) fn read_gzip(file: impl Read, walk: &mut Walk<'_>) -> Result<(), BundleError> {
    let packed = Rc::new(Cell::new(0));
    let counted = Counted { inner: file, count: Rc::clone(&packed) };
    let decoder = Members::new(BufReader::with_capacity(64 << 10, counted));
    let meter = Meter::new(&walk.limits, packed);
    let content = Metered { inner: decoder, meter: &meter };
    read_blocks(BufReader::with_capacity(64 << 10, content), &meter, walk)
}

fn read_blocks(
    mut stream: impl Read,
    meter: &Meter,
    walk: &mut Walk<'_>,
) -> Result<(), BundleError> {
    let kind = walk.kind;
    let damaged = |error| BundleError::from_read(kind, None, error);
    let mut extensions = Extensions::default();
    while let Some(header) = next_header(&mut stream).map_err(damaged)? {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the crate's list is open; everything else is an entry"
        )]
        match header.entry_type() {
            EntryType::GNULongName => {
                extensions.path = Some(read_name(&mut stream, &header).map_err(damaged)?);
            }
            EntryType::GNULongLink => {
                extensions.link = Some(read_name(&mut stream, &header).map_err(damaged)?);
            }
            EntryType::XHeader => {
                let data = read_extension(&mut stream, &header).map_err(damaged)?;
                extensions.read(&data).map_err(damaged)?;
            }
            EntryType::XGlobalHeader => {
                read_extension(&mut stream, &header).map_err(damaged)?;
            }
            other if other.as_byte() == VOLUME_LABEL => {
                let size = std::mem::take(&mut extensions).size;
                let size = size.map_or_else(|| stored_bytes(&header), Ok).map_err(damaged)?;
                skip(&mut stream, size).map_err(damaged)?;
            }
            _ => {
                let extensions = std::mem::take(&mut extensions);
                read_entry(&mut stream, &header, extensions, meter, walk)?;
            }
        }
    }
    Ok(())
}

fn read_entry(
    stream: &mut impl Read,
    header: &Header,
    extensions: Extensions,
    meter: &Meter,
    walk: &mut Walk<'_>,
) -> Result<(), BundleError> {
    let kind = walk.kind;
    let Extensions { path, link, size, modified, sparse } = extensions;
    let sparse_name = sparse.as_ref().and_then(|said| said.name.clone());
    let name = sparse_name.or(path).unwrap_or_else(|| header.path_bytes().into_owned());
    let link = link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    let damaged = |error| BundleError::from_read(kind, Some(&printable(&name)), error);
    let refuse = |problem| BundleError::Entry { entry: printable(&name), problem };
    let size = match size {
        Some(size) => size,
        None => stored_bytes(header).map_err(damaged)?,
    };
    let mode = header.mode().map_err(damaged)?;
    let modified = match modified {
        Some(modified) => modified,
        // Numbers that do not fit into octal digits are binary, with a sign.
        None => time(header.mtime().map_err(damaged)?.cast_signed(), 0),
    };
    let special = |what| Err(refuse(Problem::Special { what }));
    let target = link.unwrap_or_default();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the crate's list is open; what is unknown is refused"
    )]
    let raw = match header.entry_type() {
        // The oldest tars mark a directory only by a slash.
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse
            if !name.ends_with(b"/") =>
        {
            let file = StoredFile { header, size, sparse };
            return file.read(stream, meter, damaged, &mut |size, reader| {
                walk.entry(&name, modified, Raw::File { mode, size, reader })
            });
        }
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => Raw::Dir { mode },
        other if other.as_byte() == LISTED_DIRECTORY => {
            walk.entry(&name, modified, Raw::Dir { mode })?;
            return skip(stream, size).map_err(damaged);
        }
        EntryType::Symlink => Raw::Symlink { target: &target },
        EntryType::Link => Raw::HardLink { target: &target },
        EntryType::Char | EntryType::Block => return special("a device node"),
        EntryType::Fifo => return special("a FIFO"),
        _ => return special("of an unknown type"),
    };
    if size != 0 {
        return Err(refuse(Problem::Header { what: "content where there cannot be any" }));
    }
    walk.entry(&name, modified, raw)
}

/// How many bytes follow the header. Where there is no content, some tools leave the field blank.
fn stored_bytes(header: &Header) -> io::Result<u64> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the crate's list is open")]
    match header.entry_type() {
        EntryType::Regular
        | EntryType::Continuous
        | EntryType::GNUSparse
        | EntryType::GNULongName
        | EntryType::GNULongLink
        | EntryType::XHeader
        | EntryType::XGlobalHeader => header.entry_size(),
        _ if header.as_old().size.iter().all(|byte| matches!(byte, 0 | b' ')) => Ok(0),
        _ => header.entry_size(),
    }
}

/// A file as it is stored: whole, or without its holes.
struct StoredFile<'h> {
    header: &'h Header,
    /// What is stored of it, in bytes.
    size: u64,
    sparse: Option<Said>,
}

impl StoredFile<'_> {
    /// Hands the size and the content to `take`.
    fn read(
        self,
        stream: &mut impl Read,
        meter: &Meter,
        damaged: impl Fn(io::Error) -> BundleError,
        take: &mut dyn FnMut(u64, &mut dyn Read) -> Result<(), BundleError>,
    ) -> Result<(), BundleError> {
        let Self { header, size, sparse } = self;
        let (map, left) = match (header.entry_type(), sparse) {
            (EntryType::GNUSparse, _) => {
                (Some(sparse::old_map(stream, header, size).map_err(&damaged)?), size)
            }
            (_, Some(said)) => {
                let (map, left) = said.map(stream, size).map_err(&damaged)?;
                (Some(map), left)
            }
            (_, None) => (None, size),
        };
        let mut stored = stream.take(left);
        match map {
            None => take(size, &mut stored)?,
            Some(map) => {
                // The holes are written, too.
                let holes = meter.add(map.size.saturating_sub(left));
                holes.map_err(io::Error::other).map_err(&damaged)?;
                let whole = map.size;
                take(whole, &mut Expanded::new(&mut stored, map))?;
            }
        }
        skip_padding(stream, size).map_err(damaged)
    }
}

/// Reads a GNU long name, which ends with a NUL.
fn read_name(stream: &mut impl Read, header: &Header) -> io::Result<Vec<u8>> {
    let mut name = read_extension(stream, header)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn read_extension(stream: &mut impl Read, header: &Header) -> io::Result<Vec<u8>> {
    let size = stored_bytes(header)?;
    if size > EXTENSION_BYTES {
        return Err(damaged("an extension header is longer than 1 MiB"));
    }
    let mut data = Vec::new();
    if stream.by_ref().take(size).read_to_end(&mut data)? as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    skip_padding(stream, size)?;
    Ok(data)
}
