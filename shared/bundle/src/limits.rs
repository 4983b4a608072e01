//! How large a bundle may be, and the meter that holds what is read against it.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use crate::error::Violation;

/// How large a bundle may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files, directories and links, directories that are only implied included.
    pub entries: u64,
    /// Bytes when unpacked.
    pub unpacked_bytes: u64,
    /// How many times the packed bytes the unpacked ones may be, once they are more than [`Self::ratio_free_bytes`].
    pub ratio: u64,
    /// Unpacked bytes for which no ratio is asked.
    pub ratio_free_bytes: u64,
    /// Bytes of an entry's path.
    pub path_bytes: usize,
    /// Bytes of a symbolic link's target.
    pub symlink_bytes: usize,
    /// Bytes of the AppSpec file.
    pub appspec_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 100_000,
            unpacked_bytes: 10 << 30,
            // Deflate reaches 1030; real software, logs and empty images apart, stays below 20.
            ratio: 200,
            ratio_free_bytes: 64 << 20,
            path_bytes: 1024,
            symlink_bytes: 1024,
            appspec_bytes: 1 << 20,
        }
    }
}

/// Counts unpacked bytes against packed ones.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    unpacked: Cell<u64>,
    packed: Rc<Cell<u64>>,
}

impl Meter {
    /// A meter that sees the packed bytes read so far in `packed`.
    pub(crate) fn new(limits: &Limits, packed: Rc<Cell<u64>>) -> Self {
        Self { limits: *limits, unpacked: Cell::new(0), packed }
    }

    /// Counts `bytes` more unpacked ones.
    pub(crate) fn add(&self, bytes: u64) -> Result<(), Violation> {
        self.unpacked.set(self.unpacked.get().saturating_add(bytes));
        self.check(self.unpacked.get())
    }

    /// Whether `unpacked` bytes in all would be too many for what was packed.
    pub(crate) fn check(&self, unpacked: u64) -> Result<(), Violation> {
        let Limits { unpacked_bytes, ratio, ratio_free_bytes, .. } = self.limits;
        if unpacked > unpacked_bytes {
            return Err(Violation::TooLarge { limit: unpacked_bytes });
        }
        let packed = self.packed.get();
        if unpacked > ratio_free_bytes.saturating_add(packed.saturating_mul(ratio)) {
            return Err(Violation::Bomb { ratio });
        }
        Ok(())
    }
}

/// Reads through, and counts what was read into a meter.
#[derive(Debug)]
pub(crate) struct Metered<'m, R> {
    pub(crate) inner: R,
    pub(crate) meter: &'m Meter,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.add(count as u64).map_err(io::Error::other)?;
        Ok(count)
    }
}

/// Reads through, and counts into a cell that others see.
#[derive(Debug)]
pub(crate) struct Counted<R> {
    pub(crate) inner: R,
    pub(crate) count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.set(self.count.get().saturating_add(count as u64));
        Ok(count)
    }
}

/// The length of `file`, leaving it at its beginning.
pub(crate) fn length(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(length)
}
