//! The content of a zip archive's entry, held against all that the archive says about it: in the central directory, in
//! the local header, and in the descriptor behind the content.

use std::io::{self, BufRead as _, Read, Seek, Take};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::central::{Large, Record, Sizes};
use super::source::{Fields, Source};
use crate::error::damaged;

/// The header before an entry's content.
pub(super) const SIGNATURE: &[u8] = b"PK\x03\x04";
pub(super) const HEADER_BYTES: usize = 30;
const DESCRIPTOR: &[u8] = b"PK\x07\x08";

/// In an entry's flags: encrypted, or what is said about the content stands behind it.
pub(super) const ENCRYPTED: u16 = 1;
const DESCRIBED: u16 = 1 << 3;

/// The compression methods.
pub(super) const STORED: u16 = 0;
pub(super) const DEFLATED: u16 = 8;

/// Whether a descriptor follows the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Descriptor {
    /// None does.
    Absent,
    /// The header says all, and that one follows, which some tools then leave out.
    Optional,
    /// One has to.
    Needed,
}

/// Goes to the content of an entry, and holds its local header against the central one.
pub(super) fn open<R: Read + Seek>(
    source: &mut Source<R>,
    record: &Record,
) -> io::Result<Descriptor> {
    source.seek_to(record.header_at)?;
    let header = source.bytes(HEADER_BYTES)?;
    let mut fields = Fields(&header);
    if fields.bytes(SIGNATURE.len())? != SIGNATURE {
        return Err(damaged("its header is not where the central directory says"));
    }
    fields.u16()?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.u32()?;
    let crc = fields.u32()?;
    let (packed, unpacked) = (fields.u32()?, fields.u32()?);
    let (name_bytes, extra_bytes) = (fields.u16()?, fields.u16()?);
    let name = source.bytes(usize::from(name_bytes))?;
    let extra = source.bytes(usize::from(extra_bytes))?;
    if name != record.name {
        return Err(damaged("its header has another name than the central directory"));
    }
    if method != record.method || (flags ^ record.flags) & ENCRYPTED != 0 {
        return Err(damaged("its header and the central directory contradict each other"));
    }
    let large = Large::of(&extra)?;
    let mut large = large.fields();
    let unpacked = large.instead_of(unpacked)?;
    let packed = large.instead_of(packed)?;
    if (Sizes { crc, packed, unpacked }) == record.sizes {
        return Ok(match flags & DESCRIBED {
            0 => Descriptor::Absent,
            _ => Descriptor::Optional,
        });
    }
    // What was not known yet when the header was written is 0, or full.
    let is_open = |said: u64, known: u64| said == 0 || said == u64::from(u32::MAX) || said == known;
    let is_described = flags & DESCRIBED != 0
        && is_open(u64::from(crc), u64::from(record.sizes.crc))
        && is_open(packed, record.sizes.packed)
        && is_open(unpacked, record.sizes.unpacked);
    if !is_described {
        return Err(damaged("its header and the central directory contradict each other"));
    }
    Ok(Descriptor::Needed)
}

/// How long the descriptor is that begins here: with or without a signature, with sizes of 32 or of 64 bits.
pub(super) fn descriptor_bytes<R: Read + Seek>(
    source: &mut Source<R>,
    descriptor: Descriptor,
    sizes: Sizes,
    end: u64,
) -> io::Result<u64> {
    if descriptor == Descriptor::Absent {
        return Ok(0);
    }
    let left = end.saturating_sub(source.at()).min(24);
    let bytes = source.bytes(usize::try_from(left).unwrap_or(usize::MAX))?;
    let says = |bytes: &[u8], large: bool| {
        let mut fields = Fields(bytes);
        let crc = fields.u32().ok()?;
        let mut size = || if large { fields.u64() } else { fields.u32().map(u64::from) };
        Some(Sizes { crc, packed: size().ok()?, unpacked: size().ok()? })
    };
    let signed = bytes.strip_prefix(DESCRIPTOR).unwrap_or_default();
    let forms = [
        (signed, false, 16),
        (signed, true, 24),
        (bytes.as_slice(), false, 12),
        (bytes.as_slice(), true, 20),
    ];
    match forms.into_iter().find(|(bytes, large, _)| says(bytes, *large) == Some(sizes)) {
        Some((_, _, length)) => Ok(length),
        None if descriptor == Descriptor::Optional => Ok(0),
        None => Err(damaged("what stands behind its content does not fit the central directory")),
    }
}

/// The content of an entry, which is whole when its end was read.
pub(super) struct Content<'a, R> {
    packed: Packed<'a, R>,
    crc: Crc,
    expected: u32,
}

enum Packed<'a, R> {
    Stored(Take<&'a mut Source<R>>),
    Deflated(DeflateDecoder<Take<&'a mut Source<R>>>),
}

impl<'a, R: Read> Content<'a, R> {
    /// The content that begins here.
    pub(super) fn new(source: &'a mut Source<R>, record: &Record) -> Self {
        let sizes = record.sizes;
        let bytes = source.take(sizes.packed);
        // Some tools write no content at all where an empty one was to be compressed.
        let packed = if record.method == STORED || sizes.packed == 0 {
            Packed::Stored(bytes)
        } else {
            Packed::Deflated(DeflateDecoder::new(bytes))
        };
        Self { packed, crc: Crc::new(), expected: sizes.crc }
    }

    fn rest(&mut self) -> &mut Take<&'a mut Source<R>> {
        match &mut self.packed {
            Packed::Stored(bytes) => bytes,
            Packed::Deflated(decoder) => decoder.get_mut(),
        }
    }

    /// Checks that what was read is all, and right.
    fn check(&mut self) -> io::Result<()> {
        let rest = self.rest();
        if rest.limit() != 0 {
            // A file that ends within the content is cut off.
            return Err(match rest.fill_buf()?.is_empty() {
                true => io::ErrorKind::UnexpectedEof.into(),
                false => damaged("its content ends before the size that the archive states"),
            });
        }
        if self.crc.sum() != self.expected {
            return Err(damaged("its checksum does not fit"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.packed {
            Packed::Stored(bytes) => bytes.read(buffer)?,
            Packed::Deflated(decoder) => decoder.read(buffer)?,
        };
        if count == 0 && !buffer.is_empty() {
            self.check()?;
        }
        self.crc.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
