//! The blocks of 512 bytes that a tar archive is made of: headers, content that fills whole blocks, and zeros at the end.

use std::io::{self, Read};

use tar::Header;

use crate::error::damaged;

pub(super) const BLOCK: usize = 512;

/// Whether `block` begins with a tar header, by its checksum.
pub(crate) fn is_header(block: &[u8]) -> bool {
    block.get(..BLOCK).is_some_and(|block| {
        let stored = Header::from_byte_slice(block).cksum();
        let sum: u32 = block
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

/// The next header; none at the end marker, a block of zeros, behind which nothing but zeros may follow. An archive that
/// ends without one is cut off.
pub(super) fn next_header(stream: &mut impl Read) -> io::Result<Option<Header>> {
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

/// Skips the content of an entry, and what fills its last block.
pub(super) fn skip(stream: &mut impl Read, size: u64) -> io::Result<()> {
    if io::copy(&mut stream.take(size), &mut io::sink())? != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    skip_padding(stream, size)
}

pub(super) fn skip_padding(stream: &mut impl Read, size: u64) -> io::Result<()> {
    let padding = size.wrapping_neg() % BLOCK as u64;
    if io::copy(&mut stream.take(padding), &mut io::sink())? != padding {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
