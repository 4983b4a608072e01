//! Reading the fields of a zip archive at known places.

use std::io::{self, BufRead, BufReader, Read, Seek};

use crate::error::damaged;

/// How much is read ahead: most archives are read from one end to the other.
const AHEAD_BYTES: usize = 64 << 10;

/// A file that knows where it is.
#[derive(Debug)]
pub(super) struct Source<R> {
    reader: BufReader<R>,
    at: u64,
}

impl<R: Read + Seek> Source<R> {
    /// Takes a file that is at its beginning.
    pub(super) fn new(file: R) -> Self {
        Self { reader: BufReader::with_capacity(AHEAD_BYTES, file), at: 0 }
    }

    /// The place of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Goes to a place, without forgetting what was read ahead.
    pub(super) fn seek_to(&mut self, place: u64) -> io::Result<()> {
        let step = i64::try_from(i128::from(place) - i128::from(self.at))
            .map_err(|_| damaged("a place lies outside of the file"))?;
        self.reader.seek_relative(step)?;
        self.at = place;
        Ok(())
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(count.min(AHEAD_BYTES));
        self.by_ref().take(count as u64).read_to_end(&mut bytes)?;
        if bytes.len() == count { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.at += count as u64;
    }
}

/// Fields, one after the other, in little-endian order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (taken, left) = self.0.split_first_chunk::<N>().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = left;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> io::Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> io::Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}
