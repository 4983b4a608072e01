//! The host's file system below its root. Every path here is relative to the root; directories are opened with
//! `openat2` and `RESOLVE_IN_ROOT`, so that a symbolic link of the host, absolute or not, leads to a place below the
//! root at most, and the last name of a path is never followed. Paths are text as in [`bundle::names`]: names may be any
//! bytes.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bundle::names;
use durable::{Call, Disk};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, StatxFlags, Timespec, Timestamps,
    Uid, XattrFlags,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::root::HostRoot;

/// How much is read at a time of files that are compared.
const COMPARED_BYTES: usize = 64 << 10;

/// Who owns something, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What stands at a path, links not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: FileType,
    pub(super) meta: Meta,
    pub(super) stamp: Stamp,
}

/// By what an edit shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) bytes: i64,
    pub(super) mtime_s: i64,
    pub(super) mtime_ns: i64,
    /// The target, of a symbolic link.
    pub(super) link: Option<String>,
}

/// The host's root, opened.
#[derive(Debug)]
pub(super) struct Host {
    root: OwnedFd,
    path: PathBuf,
    disk: Disk,
    /// How links are followed.
    links: ResolveFlags,
}

impl Host {
    /// Opens a host's root. What a link calls absolute begins there.
    pub(super) fn open(root: &HostRoot, disk: &Disk) -> io::Result<Self> {
        let path = match root {
            HostRoot::Whole => Path::new("/"),
            HostRoot::Prefix(prefix) => prefix.as_path(),
        };
        let path = path.canonicalize()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty())?;
        Ok(Self { root, path, disk: disk.clone(), links: ResolveFlags::IN_ROOT })
    }

    /// Opens an unpacked bundle. Links that lead out of it lead nowhere here.
    pub(super) fn open_bundle(archive: &Path, disk: &Disk) -> io::Result<Self> {
        let bundle = Self::open(&HostRoot::Prefix(archive.to_owned()), disk)?;
        Ok(Self { links: ResolveFlags::BENEATH, ..bundle })
    }

    /// What everything is written through.
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The path for other programs. Only for what lies in directories that only the runner can change.
    pub(super) fn outside(&self, path: &str) -> PathBuf {
        self.path.join(names::to_os(path))
    }

    /// Opens a directory, links followed below the root.
    pub(super) fn dir(&self, path: &str) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { OsString::from(".") } else { names::to_os(path) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        loop {
            match rustix::fs::openat2(&self.root, &path, flags, Mode::empty(), self.links) {
                // A rename elsewhere on the host made the kernel unsure about a `..`; it asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A link that leads out of a bundle.
                Err(Errno::XDEV) => return Err(io::ErrorKind::NotFound.into()),
                outcome => return Ok(outcome?),
            }
        }
    }

    fn parent(&self, path: &str) -> io::Result<(OwnedFd, OsString)> {
        let (parent, name) = split(path);
        Ok((self.dir(parent)?, names::to_os(name)))
    }

    /// What stands at `path`; none if nothing does, or if one of its parents is no directory.
    pub(super) fn find(&self, path: &str) -> io::Result<Option<Found>> {
        let (parent, name) = match self.parent(path) {
            Ok(it) => it,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = if name.is_empty() { OsStr::new(".") } else { name.as_os_str() };
        let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let link = if kind == FileType::Symlink { Some(read_link(&parent, name)?) } else { None };
        Ok(Some(Found { kind, meta: meta_of(&stat), stamp: stamp_of(&stat, link) }))
    }

    /// Whether `path` is a directory, or a link to one.
    pub(super) fn is_dir(&self, path: &str) -> io::Result<bool> {
        match self.dir(path) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The path with its existing directories' links resolved, so that one place has one name. What is no directory,
    /// and what would lie below it, keep the names as written.
    pub(super) fn canonical(&self, path: &str) -> io::Result<String> {
        let mut existing = path;
        let fd = loop {
            match self.dir(existing) {
                Ok(fd) => break fd,
                Err(error) if is_absent(&error) && !existing.is_empty() => {
                    existing = split(existing).0;
                }
                Err(error) => return Err(error),
            }
        };
        let rest = path.get(existing.len()..).unwrap_or_default().trim_start_matches('/');
        let named = resolved(&fd).zip(resolved(&self.root)).and_then(|(dir, root)| {
            Some(names::to_text(dir.strip_prefix(root).ok()?.as_os_str().as_bytes()))
        });
        // Without `/proc`, the name as written has to do.
        Ok(join(named.as_deref().unwrap_or(existing), rest))
    }

    /// An identity of the mount that a directory lies on; between two of them, nothing can be renamed.
    pub(super) fn mount(&self, path: &str) -> io::Result<(u64, u64)> {
        let fd = self.dir(path)?;
        let statx = rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
        Ok((statx.stx_mnt_id, rustix::fs::fstat(&fd)?.st_dev))
    }

    /// Whether the runner may make entries in a directory.
    pub(super) fn is_writable(&self, path: &str) -> io::Result<bool> {
        let fd = self.dir(path)?;
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        Ok(rustix::fs::accessat(&fd, ".", access, AtFlags::EACCESS).is_ok())
    }

    /// The bytes that are free where a directory lies.
    pub(super) fn free_bytes(&self, path: &str) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(self.dir(path)?)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Creates a new file for writing, and what it is not to be followed to.
    pub(super) fn create(&self, path: &str) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600));
        let call = Call::Create { dir: parent.as_fd(), name: name.as_ref() };
        self.disk.call(call, || Ok(File::from(create()?)))
    }

    /// Copies what a file contains into one that was created.
    pub(super) fn copy(&self, mut from: File, mut to: &File) -> io::Result<()> {
        let call = Call::Write { file: to.as_fd() };
        self.disk.call(call, || io::copy(&mut from, &mut to).map(drop))
    }

    pub(super) fn read(&self, path: &str) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&parent, name, flags, Mode::empty())?))
    }

    /// An extended attribute, if there is one of that name; of a link itself.
    pub(super) fn attribute(&self, path: &str, attribute: &str) -> io::Result<Option<Vec<u8>>> {
        let (parent, name) = self.parent(path)?;
        let name = if name.is_empty() { OsStr::new(".") } else { name.as_os_str() };
        attribute_at(&opened(&parent).join(name), attribute)
    }

    /// An extended attribute of a directory, or of that which a link leads to.
    pub(super) fn attribute_of_dir(
        &self,
        path: &str,
        attribute: &str,
    ) -> io::Result<Option<Vec<u8>>> {
        attribute_at(&opened(&self.dir(path)?).join("."), attribute)
    }

    pub(super) fn set_attribute(
        &self,
        path: &str,
        attribute: &str,
        value: &[u8],
    ) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let call = Call::Change { dir: parent.as_fd(), name: name.as_ref() };
        let at = opened(&parent).join(name);
        let flags = XattrFlags::empty();
        self.disk.call(call, || Ok(rustix::fs::lsetxattr(&at, attribute, value, flags)?))
    }

    /// Whether two files contain the same.
    pub(super) fn is_equal(&self, path: &str, other: &Self, its: &str) -> io::Result<bool> {
        let mut one = BufReader::with_capacity(COMPARED_BYTES, self.read(path)?);
        let mut two = BufReader::with_capacity(COMPARED_BYTES, other.read(its)?);
        loop {
            let (left, right) = (one.fill_buf()?, two.fill_buf()?);
            let bytes = left.len().min(right.len());
            if bytes == 0 {
                return Ok(left.len() == right.len());
            }
            if left.get(..bytes) != right.get(..bytes) {
                return Ok(false);
            }
            one.consume(bytes);
            two.consume(bytes);
        }
    }

    /// Sets owner and mode, in this order, because a change of the owner takes setuid bits away.
    pub(super) fn set_meta(&self, path: &str, meta: Meta) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let call = Call::Change { dir: parent.as_fd(), name: name.as_ref() };
        self.disk.call(call, || set_meta(&parent, name, meta))
    }

    pub(super) fn set_mtime(&self, path: &str, seconds: i64, nanoseconds: i64) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        let call = Call::Change { dir: parent.as_fd(), name: name.as_ref() };
        self.disk.call(call, || {
            Ok(rustix::fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
        })
    }

    pub(super) fn mkdir(&self, path: &str, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let call = Call::Create { dir: parent.as_fd(), name: name.as_ref() };
        self.disk.call(call, || Ok(rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode))?))
    }

    /// Makes a directory and its parents, where they are not there yet.
    pub(super) fn mkdir_all(&self, path: &str, mode: u32) -> io::Result<()> {
        // Another group may take an empty parent away between two of our steps.
        for _ in 0..16 {
            match self.try_mkdir_all(path, mode) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => return outcome,
            }
        }
        self.try_mkdir_all(path, mode)
    }

    fn try_mkdir_all(&self, path: &str, mode: u32) -> io::Result<()> {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for part in ends.filter_map(|end| path.get(..end)) {
            match self.mkdir(part, mode) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn symlink(&self, target: &str, path: &str) -> io::Result<()> {
        let target = names::to_os(target);
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let call = Call::Create { dir: parent.as_fd(), name: name.as_ref() };
        self.disk.call(call, || Ok(rustix::fs::symlinkat(&target, &parent, name)?))
    }

    /// Gives a file a second name; a link's own, not its target's.
    pub(super) fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        let (from, to) = (from.as_os_str(), to.as_os_str());
        let call = Call::Link { dir: to_dir.as_fd(), name: to.as_ref() };
        self.disk
            .call(call, || Ok(rustix::fs::linkat(&from_dir, from, &to_dir, to, AtFlags::empty())?))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let ((from_dir, from), (to_dir, to)) = (self.parent(from)?, self.parent(to)?);
        let (from, to) = (from.as_os_str(), to.as_os_str());
        self.disk.rename_at((from_dir, from.as_ref()), (to_dir, to.as_ref()))
    }

    pub(super) fn unlink(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        self.disk.remove_at(parent, name.as_ref())
    }

    pub(super) fn rmdir(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let name = name.as_os_str();
        let call = Call::Remove { dir: parent.as_fd(), name: name.as_ref() };
        self.disk.call(call, || Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?))
    }

    /// The names in a directory; none if it is not there.
    pub(super) fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let dir = match self.dir(path) {
            Ok(dir) => dir,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let name = names::to_text(entry?.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes a directory of the runner's own with everything in it; nothing if it is not there.
    pub(super) fn remove_all(&self, path: &str) -> io::Result<()> {
        for name in self.names(path)? {
            let child = join(path, &name);
            match self.find(&child)? {
                Some(found) if found.kind == FileType::Directory => self.remove_all(&child)?,
                Some(_) => self.unlink(&child)?,
                None => {}
            }
        }
        match self.rmdir(path) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the names in a directory last; one that is gone has none.
    pub(super) fn sync_dir(&self, path: &str) -> io::Result<()> {
        match self.dir(path) {
            Ok(dir) => self.disk.sync_dir(dir),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes everything last that was written on a directory's file system.
    pub(super) fn sync_all(&self, path: &str) -> io::Result<()> {
        self.disk.sync_all(self.dir(path)?)
    }
}

/// Whether the error says that nothing is there: also, because what should be a directory is a file, or a link that
/// leads to itself.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// The directory and the name of a path; the root is the empty path.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// `path` below `dir`; either may be empty.
pub(super) fn join(dir: &str, path: &str) -> String {
    match (dir.is_empty(), path.is_empty()) {
        (true, _) => path.to_owned(),
        (_, true) => dir.to_owned(),
        (false, false) => format!("{dir}/{path}"),
    }
}

fn set_meta(parent: &OwnedFd, name: &OsStr, meta: Meta) -> io::Result<()> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if (stat.st_uid, stat.st_gid) != (meta.uid, meta.gid) {
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(meta.mode);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(rustix::fs::fchmod(fd, mode)?),
        // Only root may open what it cannot read; who owns it may still change it.
        Err(Errno::ACCESS) => Ok(rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?),
        Err(error) => Err(error.into()),
    }
}

fn resolved(fd: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(opened(fd)).ok()
}

/// A path that leads to what was opened.
fn opened(fd: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string())
}

fn attribute_at(path: &Path, attribute: &str) -> io::Result<Option<Vec<u8>>> {
    // The most that Linux allows.
    let mut value = vec![0; 64 << 10];
    match rustix::fs::lgetxattr(path, attribute, &mut value[..]) {
        Ok(bytes) => {
            value.truncate(bytes);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_link(parent: &OwnedFd, name: &OsStr) -> io::Result<String> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
    Ok(names::to_text(target.as_bytes()))
}

fn meta_of(stat: &Stat) -> Meta {
    Meta { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid }
}

fn stamp_of(stat: &Stat, link: Option<String>) -> Stamp {
    // A link has no content but its target.
    let is_link = link.is_some();
    let (mtime_s, nanoseconds) = if is_link { (0, 0) } else { (stat.st_mtime, stat.st_mtime_nsec) };
    Stamp { bytes: stat.st_size, mtime_s, mtime_ns: i64::try_from(nanoseconds).unwrap_or(0), link }
}
