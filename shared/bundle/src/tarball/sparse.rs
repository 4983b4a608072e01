//! Sparse files in a tar archive: only what is not a hole is stored, with a map of where it goes. GNU tar has written
//! such maps in four ways, of which all are read.

use std::io::{self, Read};

use tar::Header;

use super::blocks::BLOCK;
use super::values::text;
use crate::error::damaged;

/// How many pieces a map may have: what fits into an extension header.
const PIECES: usize = 100_000;

/// Where the stored content goes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Map {
    /// Place and length of each piece.
    pieces: Vec<(u64, u64)>,
    /// The whole size.
    pub(super) size: u64,
}

impl Map {
    /// A map, if its pieces follow each other and are what is stored.
    fn new(pieces: Vec<(u64, u64)>, size: u64, stored: u64) -> io::Result<Self> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for (at, bytes) in &pieces {
            let next = at.checked_add(*bytes).filter(|next| *at >= end && *next <= size);
            end = next.ok_or_else(|| damaged("the map of a sparse file contradicts itself"))?;
            sum += bytes;
        }
        if sum != stored {
            return Err(damaged("the map of a sparse file has another size than its content"));
        }
        Ok(Self { pieces, size })
    }
}

/// What the extension header of pax says about a sparse file.
#[derive(Debug, Default)]
pub(super) struct Said {
    major: Option<u64>,
    size: Option<u64>,
    numbers: Vec<u64>,
    /// The file's name; the entry itself is called otherwise.
    pub(super) name: Option<Vec<u8>>,
}

impl Said {
    /// Takes a record whose key begins with `GNU.sparse.`.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.major = Some(text(value)?),
            b"size" | b"realsize" => self.size = Some(text(value)?),
            b"offset" | b"numbytes" => self.push(text(value)?)?,
            b"map" => {
                for value in value.split(|byte| *byte == b',').filter(|value| !value.is_empty()) {
                    self.push(text(value)?)?;
                }
            }
            // How many pieces there are, and the rest of the version.
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, number: u64) -> io::Result<()> {
        if self.numbers.len() >= 2 * PIECES {
            return Err(damaged("the map of a sparse file is too long"));
        }
        self.numbers.push(number);
        Ok(())
    }

    /// The map of the entry whose content begins here, and what is left of its stored size behind the map.
    pub(super) fn map(mut self, stream: &mut impl Read, stored: u64) -> io::Result<(Map, u64)> {
        let size = self.size.ok_or_else(|| damaged("a sparse file does not say its size"))?;
        let mut left = stored;
        if self.major == Some(1) {
            let mut lines = Lines { stream, left, block: Vec::new() };
            let pieces = lines.number()?;
            for _ in 0..pieces.saturating_mul(2) {
                let number = lines.number()?;
                self.push(number)?;
            }
            left = lines.left;
        }
        let (pairs, rest) = self.numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(damaged("the map of a sparse file is cut off"));
        }
        let pieces = pairs.iter().map(|[at, bytes]| (*at, *bytes)).collect();
        Ok((Map::new(pieces, size, left)?, left))
    }
}

/// The numbers, one a line, in the blocks before the content.
struct Lines<'s, R> {
    stream: &'s mut R,
    left: u64,
    /// What was read and not used, the last byte first.
    block: Vec<u8>,
}

impl<R: Read> Lines<'_, R> {
    fn byte(&mut self) -> io::Result<u8> {
        if self.block.is_empty() {
            let mut block = [0; BLOCK];
            self.left = (self.left.checked_sub(BLOCK as u64))
                .ok_or_else(|| damaged("the map of a sparse file is cut off"))?;
            self.stream.read_exact(&mut block)?;
            self.block = block.iter().rev().copied().collect();
        }
        self.block.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut digits = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return text(&digits),
                byte if digits.len() < 20 => digits.push(byte),
                _ => {
                    return Err(damaged(
                        "the map of a sparse file has something else than numbers",
                    ));
                }
            }
        }
    }
}

/// The map in the header itself, as GNU tar has always written it, and in the blocks that may follow.
pub(super) fn old_map(stream: &mut impl Read, header: &Header, stored: u64) -> io::Result<Map> {
    let gnu =
        header.as_gnu().ok_or_else(|| damaged("a sparse file has the header of another tar"))?;
    let size = gnu.real_size()?;
    let mut pieces = Vec::new();
    let mut add = |entries: &[tar::GnuSparseHeader]| -> io::Result<()> {
        for entry in entries.iter().filter(|entry| !entry.is_empty()) {
            if pieces.len() >= PIECES {
                return Err(damaged("the map of a sparse file is too long"));
            }
            pieces.push((entry.offset()?, entry.length()?));
        }
        Ok(())
    };
    add(&gnu.sparse)?;
    let mut more = gnu.is_extended();
    while more {
        let mut block = tar::GnuExtSparseHeader::new();
        stream.read_exact(block.as_mut_bytes())?;
        add(block.sparse())?;
        more = block.is_extended();
    }
    Map::new(pieces, size, stored)
}

/// The content of a sparse file with its holes, which are zeros.
pub(super) struct Expanded<'s, R> {
    stored: &'s mut R,
    map: std::vec::IntoIter<(u64, u64)>,
    /// The piece that comes next, as far as it was not read.
    piece: Option<(u64, u64)>,
    at: u64,
    size: u64,
}

impl<'s, R: Read> Expanded<'s, R> {
    pub(super) fn new(stored: &'s mut R, map: Map) -> Self {
        let mut pieces = map.pieces.into_iter();
        let piece = pieces.next();
        Self { stored, map: pieces, piece, at: 0, size: map.size }
    }
}

impl<R: Read> Read for Expanded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((_, 0)) = self.piece {
            self.piece = self.map.next();
        }
        let (begins, bytes) = self.piece.unwrap_or((self.size, 0));
        let is_hole = self.at < begins;
        let most = if is_hole { begins - self.at } else { bytes };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..most).unwrap_or_default();
        let count = if is_hole {
            buffer.fill(0);
            most
        } else {
            let count = self.stored.read(buffer)?;
            self.piece = Some((begins + count as u64, bytes - count as u64));
            count
        };
        self.at += count as u64;
        Ok(count)
    }
}
