//! Whole files by their path.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::disk::{Call, Disk};

impl Disk {
    /// Replaces a file as a whole, or makes it: whoever reads it, and whoever comes after a crash, finds the old one or
    /// this one. It lasts when this returns. Only one process may replace the same file at a time.
    ///
    /// # Errors
    /// Those of the system. The file is the old one then, or this one, if only making it last has failed.
    pub fn replace(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let (dir, name) = place(path)?;
        let mut part = name.to_owned();
        part.push(".new");
        let (name, part) = (Path::new(name), PathBuf::from(part));
        // What a crash has left may have another mode, or another name.
        absent_is_fine(self.remove_at(&dir, &part))?;
        let written = self
            .write_new(&dir, &part, content, mode)
            .and_then(|()| self.rename_at((&dir, &part), (&dir, name)));
        if let Err(error) = written {
            // The first error is the one that helps.
            self.remove_at(&dir, &part).ok();
            return Err(error);
        }
        self.sync_dir(&dir)
    }

    fn write_new(&self, dir: &OwnedFd, name: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.call(Call::Create { dir: dir.as_fd(), name }, || {
            Ok(File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode))?))
        })?;
        self.call(Call::Write { file: file.as_fd() }, || (&file).write_all(content))?;
        self.sync_file(&file)
    }

    /// Gives a file that was written and synced before another name, over whatever file has it. It lasts when this
    /// returns.
    ///
    /// # Errors
    /// Those of the system. If only making it last has failed, the file has its new name.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_dir, from), (dir, name)) = (place(from)?, place(to)?);
        self.rename_at((&from_dir, Path::new(from)), (&dir, Path::new(name)))?;
        self.sync_dir(&dir)
    }

    /// Removes a file or link, if it is there. It is gone for good when this returns.
    ///
    /// # Errors
    /// Those of the system. If only making it last has failed, the file is gone.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = place(path)?;
        absent_is_fine(self.remove_at(&dir, Path::new(name)))?;
        self.sync_dir(&dir)
    }

    /// Makes the names in a directory last.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.sync_dir(open_dir(dir)?)
    }

    /// Makes a directory last with everything in it, but not its own name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
        let mut next = 0;
        while let Some(dir) = dirs.get(next).cloned() {
            next += 1;
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    dirs.push(entry.path());
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
            if files.len() > self.sync_each() {
                return self.sync_all(open_dir(&dir)?);
            }
        }
        for file in files {
            match File::open(file) {
                // Whoever owns it may still be barred from it by its mode.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return self.sync_all(open_dir(dir)?);
                }
                opened => self.sync_file(opened?)?,
            }
        }
        dirs.iter().rev().try_for_each(|dir| self.sync_names(dir))
    }
}

/// The opened directory of a path, and the name in it.
fn place(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
    let name = path.file_name().ok_or_else(no_name)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    Ok((open_dir(dir.unwrap_or_else(|| Path::new(".")))?, name))
}

pub(crate) fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::empty())?)
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
