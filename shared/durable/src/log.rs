//! A file of lines that only grows.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::disk::{Call, Disk};
use crate::file::open_dir;

/// A file of lines that only grows. A line is in it whole, or is the last one and torn: the machine stopped while it was
/// written.
#[derive(Debug)]
pub struct Log {
    disk: Disk,
    file: File,
    /// Where the last whole line ends.
    end: u64,
    /// Whether something may stand after that.
    is_torn: bool,
}

impl Log {
    /// Opens the log `name` in a directory for more, and makes it if it is missing; its name lasts then. What comes after
    /// `end`, where its reader found the last whole line to end, is cut off.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(disk: &Disk, dir: &Path, name: &str, end: u64) -> io::Result<Self> {
        let path = dir.join(name);
        let (dir, name) = (open_dir(dir)?, Path::new(name));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let open =
            || Ok(File::from(rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o600))?));
        let file = if path.exists() {
            open()?
        } else {
            disk.call(Call::Create { dir: dir.as_fd(), name }, open)?
        };
        let log = Self { disk: disk.clone(), file, end, is_torn: false };
        log.cut()?;
        // A log with lines in it was made to last when it was empty.
        if end == 0 {
            disk.sync_dir(&dir)?;
        }
        Ok(log)
    }

    /// Adds a line, which ends with a newline; if `lasting`, it and all before it last when this returns.
    ///
    /// # Errors
    /// Those of the system. The log is as it was then, or has the line, if only making it last has failed.
    pub fn add(&mut self, line: &[u8], lasting: bool) -> io::Result<()> {
        // A part of a line that could not be written must not stand before the next one.
        if std::mem::replace(&mut self.is_torn, true) {
            self.cut()?;
        }
        let file = &self.file;
        self.disk.call(Call::Write { file: file.as_fd() }, || (&*file).write_all(line))?;
        self.is_torn = false;
        self.end += u64::try_from(line.len()).unwrap_or(0);
        if lasting { self.disk.sync_file(&self.file) } else { Ok(()) }
    }

    fn cut(&self) -> io::Result<()> {
        let mut file = &self.file;
        self.disk.call(Call::Write { file: self.file.as_fd() }, || {
            file.set_len(self.end)?;
            file.seek(SeekFrom::Start(self.end)).map(drop)
        })
    }
}
