//! The layer: what changes a file system, and what makes a change last.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::AtFlags;

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

/// The disk: the real one, unless a test watches it.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    watch: Option<Arc<dyn Watch>>,
}

impl Disk {
    /// A disk that tells `watch` of each call.
    pub fn watched(watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch) }
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

    /// Makes the content of a file last.
    ///
    /// # Errors
    /// Those of the system; what the file contains after a crash is then unknown.
    pub fn sync_file(&self, file: impl AsFd) -> io::Result<()> {
        let file = file.as_fd();
        self.call(Call::SyncFile { file }, || Ok(rustix::fs::fsync(file)?))
    }

    /// Makes the names in a directory last.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync_dir(&self, dir: impl AsFd) -> io::Result<()> {
        let dir = dir.as_fd();
        self.call(Call::SyncDir { dir }, || Ok(rustix::fs::fsync(dir)?))
    }

    /// Makes everything last on the file system of a directory.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync_all(&self, dir: impl AsFd) -> io::Result<()> {
        let dir = dir.as_fd();
        self.call(Call::SyncAll { dir }, || Ok(rustix::fs::syncfs(dir)?))
    }
}
