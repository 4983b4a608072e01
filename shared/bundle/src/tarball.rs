//! Walking a tar archive, compressed or not. The headers are read with the `tar` crate, one block at a time; names and
//! extension headers are bounded, which its own iterator does not do.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use tar::{EntryType, Header, PaxExtensions};

use crate::error::{BundleError, Problem};
use crate::gzip::Members;
use crate::limits::{Counted, Meter, Metered, length};
use crate::tree::printable;
use crate::walk::{Raw, Walk};

const BLOCK: usize = 512;

/// How long an extension header may be: long names, extended attributes.
const EXTENSION_BYTES: u64 = 1 << 20;

/// Whether `block` begins with a tar header, by its checksum.
pub(crate) fn is_header(block: &[u8]) -> bool {
    block.get(..BLOCK).is_some_and(|block| {
        let stored = Header::from_byte_slice(block).cksum();
        let sum = block
            .iter()
            .enumerate()
            .map(
                |(at, byte)| {
                    if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) }
                },
            )
            .sum();
        stored.is_ok_and(|stored| stored == sum && stored != 256)
    })
}

/// Reads a plain tar archive.
pub(crate) fn read(mut file: impl Read + Seek, walk: &mut Walk<'_>) -> Result<(), BundleError> {
    let packed = Rc::new(Cell::new(length(&mut file).map_err(BundleError::Read)?));
    let mut meter = Meter::new(&walk.limits, packed);
    read_blocks(Metered { inner: BufReader::new(file), meter: &mut meter }, walk)
}

/// Reads a tar archive through gzip, to its end, so that the last checksum is compared too.
pub(crate) fn read_gzip(file: impl Read, walk: &mut Walk<'_>) -> Result<(), BundleError> {
    let packed = Rc::new(Cell::new(0));
    let counted = Counted { inner: file, count: Rc::clone(&packed) };
    let decoder = Members::new(BufReader::with_capacity(64 << 10, counted));
    let mut meter = Meter::new(&walk.limits, packed);
    read_blocks(
        BufReader::with_capacity(64 << 10, Metered { inner: decoder, meter: &mut meter }),
        walk,
    )
}

/// What extension headers say about the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<SystemTime>,
}

fn read_blocks(mut stream: impl Read, walk: &mut Walk<'_>) -> Result<(), BundleError> {
    let kind = walk.kind;
    let damaged = |entry: Option<&[u8]>, error| {
        BundleError::from_read(kind, entry.map(printable).as_deref(), error)
    };
    let mut extensions = Extensions::default();
    while let Some(header) = next_header(&mut stream).map_err(|error| damaged(None, error))? {
        let size = header.entry_size().map_err(|error| damaged(None, error))?;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the crate's list is open; everything else is an entry"
        )]
        match header.entry_type() {
            EntryType::GNULongName => {
                extensions.path =
                    Some(read_name(&mut stream, size).map_err(|error| damaged(None, error))?);
            }
            EntryType::GNULongLink => {
                extensions.link =
                    Some(read_name(&mut stream, size).map_err(|error| damaged(None, error))?);
            }
            EntryType::XHeader => {
                let data =
                    read_extension(&mut stream, size).map_err(|error| damaged(None, error))?;
                read_pax(&data, &mut extensions).map_err(|error| damaged(None, error))?;
            }
            EntryType::XGlobalHeader => {
                read_extension(&mut stream, size).map_err(|error| damaged(None, error))?;
            }
            _ => read_entry(&mut stream, &header, std::mem::take(&mut extensions), walk)?,
        }
    }
    Ok(())
}

/// The next header; none at the end marker, a block of zeros, behind which nothing but zeros may follow. An archive that
/// ends without one is cut off.
fn next_header(stream: &mut impl Read) -> io::Result<Option<Header>> {
    let mut block = [0; BLOCK];
    stream.read_exact(&mut block)?;
    if is_zero(&block) {
        if are_zeros(stream)? {
            return Ok(None);
        }
        return Err(damaged(
            "there is something else after its end; if it is two archives in one, pack their content as one",
        ));
    }
    if !is_header(&block) {
        return Err(damaged("a header's checksum does not fit"));
    }
    Ok(Some(Header::from_byte_slice(&block).clone()))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Reads to the end; false if there is more than zeros.
fn are_zeros(stream: &mut impl Read) -> io::Result<bool> {
    let mut buffer = [0; 8 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(count) if is_zero(buffer.get(..count).unwrap_or_default()) => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_entry(
    stream: &mut impl Read,
    header: &Header,
    extensions: Extensions,
    walk: &mut Walk<'_>,
) -> Result<(), BundleError> {
    let kind = walk.kind;
    let name = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let link =
        extensions.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    let damaged = |error| BundleError::from_read(kind, Some(&printable(&name)), error);
    let refuse = |problem| BundleError::Entry { entry: printable(&name), problem };
    let size = match extensions.size {
        Some(size) => size,
        None => header.entry_size().map_err(damaged)?,
    };
    let mode = header.mode().map_err(damaged)?;
    let modified = match extensions.modified {
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
        EntryType::Regular | EntryType::Continuous if !name.ends_with(b"/") => {
            let mut content = stream.take(size);
            walk.entry(&name, modified, Raw::File { mode, size, reader: &mut content })?;
            return skip_padding(stream, size).map_err(damaged);
        }
        EntryType::Regular | EntryType::Continuous | EntryType::Directory => Raw::Dir { mode },
        EntryType::Symlink => Raw::Symlink { target: &target },
        EntryType::Link => Raw::HardLink { target: &target },
        EntryType::Char | EntryType::Block => return special("a device node"),
        EntryType::Fifo => return special("a FIFO"),
        EntryType::GNUSparse => return Err(refuse(Problem::Header { what: "a sparse file" })),
        _ => return special("of an unknown type"),
    };
    if size != 0 {
        return Err(refuse(Problem::Header { what: "content where there cannot be any" }));
    }
    walk.entry(&name, modified, raw)
}

/// Reads a GNU long name, which ends with a NUL.
fn read_name(stream: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut name = read_extension(stream, size)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    Ok(name)
}

fn read_extension(stream: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > EXTENSION_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "an extension header is longer than 1 MiB",
        ));
    }
    let mut data = Vec::new();
    if stream.by_ref().take(size).read_to_end(&mut data)? as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    skip_padding(stream, size)?;
    Ok(data)
}

fn read_pax(data: &[u8], extensions: &mut Extensions) -> io::Result<()> {
    let invalid = || {
        io::Error::new(io::ErrorKind::InvalidData, "an extension header has an unreadable value")
    };
    for record in PaxExtensions::new(data) {
        let record = record?;
        let text = || record.value().map_err(|_| invalid());
        match record.key_bytes() {
            b"path" => extensions.path = Some(record.value_bytes().to_vec()),
            b"linkpath" => extensions.link = Some(record.value_bytes().to_vec()),
            b"size" => extensions.size = Some(text()?.parse().map_err(|_| invalid())?),
            b"mtime" => extensions.modified = Some(pax_time(text()?).ok_or_else(invalid)?),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "sparse files are not supported",
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A time in decimal seconds, such as `-1.5`.
fn pax_time(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    let seconds: i64 = whole.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some(time(seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some(time(seconds, nanoseconds)),
    }
}

/// A time by seconds since 1970, as far as file systems know it.
fn time(seconds: i64, nanoseconds: u32) -> SystemTime {
    const FAR_S: i64 = 1 << 34;
    let seconds = seconds.clamp(-FAR_S, FAR_S);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = match seconds {
        0.. => SystemTime::UNIX_EPOCH + whole,
        _ => SystemTime::UNIX_EPOCH - whole,
    };
    base + Duration::from_nanos(u64::from(nanoseconds))
}

fn skip_padding(stream: &mut impl Read, size: u64) -> io::Result<()> {
    let padding = size.wrapping_neg() % BLOCK as u64;
    if io::copy(&mut stream.take(padding), &mut io::sink())? != padding {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
