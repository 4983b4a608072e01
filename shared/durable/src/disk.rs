//! The layer: what changes a file system, and what makes a change last.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

/// A call that changes a file system, or makes changes last. Names are those in an opened directory.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// A new file, directory or symbolic link.
    Create {
        /// Where.
        dir: BorrowedFd<'a>,
        /// Its name.
        name: &'a Path,
    },
    /// A further name of a file.
    Link {
        /// Where.
        dir: BorrowedFd<'a>,
        /// The further name.
        name: &'a Path,
    },
    /// Another name in place of the one it had. On every file system this happens as a whole or not at all.
    Rename {
        /// Where it was.
        from_dir: BorrowedFd<'a>,
        /// Its old name.
        from: &'a Path,
        /// Where it is then.
        dir: BorrowedFd<'a>,
        /// Its new name.
        name: &'a Path,
    },
    /// A name that goes: of a file, a link or an empty directory.
    Remove {
        /// Where.
        dir: BorrowedFd<'a>,
        /// The name.
        name: &'a Path,
    },
    /// Another owner, mode, time or label.
    Change {
        /// Where.
        dir: BorrowedFd<'a>,
        /// The name.
        name: &'a Path,
    },
    /// Other content.
    Write {
        /// The file.
        file: BorrowedFd<'a>,
    },
    /// Makes what a file contains last, with its owner, mode and times; not its name.
    SyncFile {
        /// The file.
        file: BorrowedFd<'a>,
    },
    /// Makes the names in a directory last.
    SyncDir {
        /// The directory.
        dir: BorrowedFd<'a>,
    },
    /// Makes everything on a file system last.
    SyncAll {
        /// A directory of it.
        dir: BorrowedFd<'a>,
    },
}

/// Who sees each call, in tests.
pub trait Watch: Debug + Send + Sync {
    /// Before the call is made; an error is the call's.
    ///
    /// # Errors
    /// What the call shall fail with.
    fn before(&self, call: &Call<'_>) -> io::Result<()>;
    /// After it was made, if it did not fail.
    fn after(&self, call: &Call<'_>);
}

/// Up to so many files are forced to the disk one by one; beyond, their whole file system is.
const SYNC_EACH: usize = 500;

/// The disk: the real one, unless a test watches it.
#[derive(Debug, Clone)]
pub struct Disk {
    watch: Option<Arc<dyn Watch>>,
    sync_each: usize,
}

impl Default for Disk {
    fn default() -> Self {
        Self { watch: None, sync_each: SYNC_EACH }
    }
}

impl Disk {
    /// A disk that tells `watch` of each call.
    pub fn watched(watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch), ..Self::default() }
    }

    /// The same disk, on which no more than `files` files are forced to the disk one by one.
    #[must_use]
    pub fn with_sync_each(self, files: usize) -> Self {
        Self { sync_each: files, ..self }
    }

    /// How many files, or directories, are forced to the disk one by one; of more, the whole file system is. 500, unless
    /// set otherwise.
    pub fn sync_each(&self) -> usize {
        self.sync_each
    }

    /// Makes a call by `act`, which has to do what the call says and nothing else.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn call<T>(&self, call: Call<'_>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(watch) = &self.watch else { return act() };
        watch.before(&call)?;
        let done = act()?;
        watch.after(&call);
        Ok(done)
    }

    /// Moves a file, link or directory, over whatever file has that name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn rename_at(
        &self,
        (from_dir, from): (impl AsFd, &Path),
        (dir, name): (impl AsFd, &Path),
    ) -> io::Result<()> {
        let (from_dir, dir) = (from_dir.as_fd(), dir.as_fd());
        self.call(Call::Rename { from_dir, from, dir, name }, || {
            Ok(rustix::fs::renameat(from_dir, from, dir, name)?)
        })
    }

    /// Removes a file or link.
    ///
    /// # Errors
    /// Those of the system.
    pub fn remove_at(&self, dir: impl AsFd, name: &Path) -> io::Result<()> {
        let dir = dir.as_fd();
        self.call(Call::Remove { dir, name }, || {
            Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
        })
    }

    /// Makes the content of a file last. Where the file system can do that for all files only, it does so.
    ///
    /// # Errors
    /// Those of the system; what the file contains after a crash is then unknown.
    pub fn sync_file(&self, file: impl AsFd) -> io::Result<()> {
        let file = file.as_fd();
        let synced = self.call(Call::SyncFile { file }, || Ok(rustix::fs::fsync(file)?));
        self.or_all(synced, file)
    }

    /// Makes the names in a directory last. Where the file system cannot do that for one directory, as some on a network
    /// cannot, it does so for all.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync_dir(&self, dir: impl AsFd) -> io::Result<()> {
        let dir = dir.as_fd();
        let synced = self.call(Call::SyncDir { dir }, || Ok(rustix::fs::fsync(dir)?));
        self.or_all(synced, dir)
    }

    /// Makes everything last on the file system of a directory, as far as that can make anything last.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync_all(&self, dir: impl AsFd) -> io::Result<()> {
        let dir = dir.as_fd();
        let synced = self.call(Call::SyncAll { dir }, || Ok(rustix::fs::syncfs(dir)?));
        match synced {
            Err(error) if is_unsupported(&error) => Ok(()),
            synced => synced,
        }
    }

    fn or_all(&self, synced: io::Result<()>, fd: BorrowedFd<'_>) -> io::Result<()> {
        match synced {
            Err(error) if is_unsupported(&error) => self.sync_all(fd),
            synced => synced,
        }
    }
}

/// Whether the error says that the file system has no such call.
fn is_unsupported(error: &io::Error) -> bool {
    let errors = [Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS];
    errors.iter().any(|unsupported| error.raw_os_error() == Some(unsupported.raw_os_error()))
}
