//! Puts together what a host sees: the layers that `mounts` has found, with the host's root as the upper layer of each.
//! Also finds processes that are in such a view already. Which namespaces the process is in is not decided here.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CString, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::thread::LinkNameSpaceType;

use super::identity::is_machines_root;
use super::mounts::{self, Layer, LayerKind};
use super::refusal::{NamespaceError, Step, files, refused};

/// The directories that a host's view is made of.
pub(super) struct View {
    /// The host's directory; its real path.
    pub(super) host_dir: PathBuf,
    /// The upper layer of everything; its real path.
    pub(super) root: PathBuf,
    /// Where overlays keep what they are about to put into `root`.
    work: PathBuf,
    /// Where the view is put together, before it becomes `/`.
    stage: PathBuf,
    /// The source of the mount at `/` in this host's view: how its processes are recognised.
    mark: OsString,
}

impl View {
    pub(super) fn prepare(host_dir: &Path, root: &Path) -> Result<Self, NamespaceError> {
        for path in [host_dir, root] {
            std::fs::create_dir_all(path).map_err(files(path))?;
        }
        let host_dir = host_dir.canonicalize().map_err(files(host_dir))?;
        let root = root.canonicalize().map_err(files(root))?;
        let metadata = root.metadata().map_err(files(&root))?;
        let work = host_dir.join("work");
        let stage = work.join("stage");
        std::fs::create_dir_all(&stage).map_err(files(&stage))?;
        let mark = mark(&metadata);
        Ok(Self { host_dir, root, work, stage, mark })
    }

    /// Joins a process that is in this host's view, if there is one.
    pub(super) fn join_survivors(&self) -> Result<bool, NamespaceError> {
        let own = std::fs::read_link("/proc/self/ns/mnt").map_err(files(Path::new("/proc")))?;
        let mut seen = HashSet::from([own]);
        for entry in std::fs::read_dir("/proc").map_err(files(Path::new("/proc")))?.flatten() {
            let Ok(namespace) = std::fs::read_link(entry.path().join("ns/mnt")) else { continue };
            if seen.insert(namespace)
                && let Ok(survivor) = Survivor::open(&entry.path(), &self.mark)
            {
                return survivor
                    .join()
                    .map(|()| true)
                    .map_err(|errno| refused((Step::Join, errno)));
            }
        }
        Ok(false)
    }

    /// Gives the host's root the directories of other users, so that this one may put files into them: those nearest to
    /// the root, once in a host's life.
    pub(super) fn copy_upper_directories(&self) -> io::Result<()> {
        let done = self.work.join("directories-copied");
        if done.exists() {
            return Ok(());
        }
        let user = rustix::process::geteuid().as_raw();
        let mut copied = 0;
        let mut ahead = VecDeque::from([PathBuf::from("/")]);
        while let Some(path) = ahead.pop_front().filter(|_| copied < MAX_COPIED_DIRECTORIES) {
            let Ok(entries) = std::fs::read_dir(&path) else { continue };
            let Ok(metadata) = path.symlink_metadata() else { continue };
            if metadata.uid() == user
                || mounts::SHARED.iter().any(|shared| path == Path::new(shared))
            {
                continue;
            }
            self.copy_directory(&path)?;
            copied += 1;
            ahead.extend(
                entries
                    .flatten()
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        File::create(done).map(drop)
    }

    /// Makes the host's counterpart of the machine's directory `path`, with its permissions and owner as far as this
    /// user can. One that exists stays as it is.
    fn copy_directory(&self, path: &Path) -> io::Result<PathBuf> {
        let upper = self.root.join(path.strip_prefix("/").unwrap_or(path));
        if upper != self.root {
            if upper.symlink_metadata().is_ok() {
                return Ok(upper);
            }
            if let Some(parent) = path.parent() {
                self.copy_directory(parent)?;
            }
            std::fs::create_dir(&upper)?;
        }
        let machine = path.metadata()?;
        if is_machines_root() {
            std::os::unix::fs::chown(&upper, Some(machine.uid()), Some(machine.gid()))?;
        }
        std::fs::set_permissions(&upper, Permissions::from_mode(machine.mode() & 0o7777 | 0o700))?;
        Ok(upper)
    }

    /// Puts the view together below `stage`.
    pub(super) fn mount(&self, layers: &[Layer], is_root: bool) -> Result<(), NamespaceError> {
        let mount = |errno| refused((Step::Mount, errno));
        rustix::mount::mount("cutover", &self.stage, "tmpfs", MountFlags::empty(), c"mode=755")
            .map_err(mount)?;
        for name in ["new", "empty"] {
            let path = self.stage.join(name);
            std::fs::create_dir(&path).map_err(files(&path))?;
        }
        for layer in layers.iter().filter(|layer| layer.kind != LayerKind::File) {
            let copied = self.copy_directory(&layer.path);
            if layer.path == Path::new("/") {
                copied.map_err(files(&self.root))?;
            }
        }
        // Children before parents: the kernel complains of an upper layer within one that is in use.
        let mut overlays = Vec::new();
        for (index, layer) in layers.iter().enumerate().rev() {
            overlays.push((&layer.path, self.mount_overlay(layer, index, is_root)));
        }
        for (path, overlay) in overlays.into_iter().rev() {
            let target = self.in_view(path);
            match overlay.and_then(|place| rustix::mount::mount_move(place, &target)) {
                Err(errno) if path == Path::new("/") => {
                    return Err(refused((Step::Overlay, errno)));
                }
                Err(_) => mount_read_only(path, &target),
                Ok(()) => {}
            }
        }
        for path in mounts::SHARED.map(Path::new).iter().filter(|path| path.is_dir()) {
            rustix::mount::mount_bind_recursive(*path, self.in_view(path)).map_err(mount)?;
        }
        rustix::mount::mount_bind(&self.host_dir, self.in_view(&self.host_dir)).map_err(mount)
    }

    fn in_view(&self, path: &Path) -> PathBuf {
        self.stage.join("new").join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Mounts a layer on a place of its own below `stage`, and returns that.
    fn mount_overlay(&self, layer: &Layer, index: usize, is_root: bool) -> Result<PathBuf, Errno> {
        if layer.kind == LayerKind::File {
            return Err(Errno::NOTDIR);
        }
        let work = self.work.join(index.to_string());
        let target = self.stage.join(format!("overlay-{index}"));
        for path in [&work, &target] {
            std::fs::create_dir_all(path).map_err(errno_of)?;
        }
        let upper =
            open_path(&self.root.join(layer.path.strip_prefix("/").unwrap_or(&layer.path)))?;
        let machine = open_path(&layer.path)?;
        let overlay = Overlay {
            source: if layer.path == Path::new("/") { self.mark.clone() } else { "cutover".into() },
            upper: &upper,
            work: &open_path(&work)?,
            flags: restrictions(&machine)?,
            is_root,
        };
        if layer.kind == LayerKind::Names {
            let names = self.stage.join(format!("names-{index}"));
            copy_names(&layer.path, &names).map_err(errno_of)?;
            overlay.mount(&open_path(&names)?, &target)?;
        } else if rustix::fs::fstat(&machine)?.st_dev == rustix::fs::fstat(&upper)?.st_dev {
            overlay.mount(&self.lifted(&machine, index)?, &target)?;
        } else {
            match overlay.mount(&machine, &target) {
                Err(Errno::LOOP) => overlay.mount(&self.lifted(&machine, index)?, &target)?,
                other => other?,
            }
        }
        // The kernel makes it without permissions, and nobody but root could remove the host's directory again.
        let hidden = work.join("work");
        std::fs::set_permissions(&hidden, Permissions::from_mode(0o700)).map_err(errno_of)?;
        Ok(target)
    }

    /// The machine's directory as a file system of its own, that can only be read. An overlay refuses an upper layer that
    /// lies below its lower one, and what it compares are directories of one file system.
    fn lifted(&self, machine: &OwnedFd, index: usize) -> Result<OwnedFd, Errno> {
        let target = self.stage.join(format!("lifted-{index}"));
        std::fs::create_dir(&target).map_err(errno_of)?;
        let empty = open_path(&self.stage.join("empty"))?;
        let options = format!("lowerdir={}:{}", link(machine), link(&empty));
        mount_with("cutover", &target, MountFlags::RDONLY, options)?;
        open_path(&target)
    }

    /// Makes the view this process's `/`, and lets go of the machine's.
    pub(super) fn become_root(&self) -> Result<(), NamespaceError> {
        let mount = |errno| refused((Step::Mount, errno));
        rustix::process::chdir(self.stage.join("new")).map_err(mount)?;
        match rustix::process::pivot_root(".", ".") {
            Ok(()) => rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(mount)?,
            // The machine runs from its initial file system, or this is a chroot: neither can be detached.
            Err(Errno::INVAL) => rustix::process::chroot(".").map_err(mount)?,
            Err(errno) => return Err(mount(errno)),
        }
        rustix::process::chdir("/").map_err(mount)
    }
}

/// The source of the mount at `/` in the view of a host with this root.
pub(super) fn mark(root: &Metadata) -> OsString {
    format!("cutover-host-{:x}-{:x}", root.dev(), root.ino()).into()
}

/// The source of the mount at `/` that the process of `proc` sees; none where that cannot be read.
pub(super) fn mark_of(proc: &Path) -> Option<OsString> {
    let table = std::fs::read(proc.join("mountinfo")).ok()?;
    let root = mounts::parse_mountinfo(&table).find(|mount| mount.point == Path::new("/"));
    root.map(|mount| mount.source)
}

/// How many directories of other users are copied into a host's root; a deployment's destinations are near `/`.
const MAX_COPIED_DIRECTORIES: u32 = 4096;

/// A process that is in a host's view, held by its files so that its pid cannot become another's.
struct Survivor {
    user: OwnedFd,
    namespace: OwnedFd,
    root: OwnedFd,
}

impl Survivor {
    /// The process of `proc`, if the mount at its `/` has the source `mark`.
    fn open(proc: &Path, mark: &OsString) -> io::Result<Self> {
        let process = open_path(proc)?;
        let open = |name: &str, flags| {
            rustix::fs::openat(&process, name, flags | OFlags::CLOEXEC, Mode::empty())
        };
        let mut table = Vec::new();
        io::Read::read_to_end(&mut File::from(open("mountinfo", OFlags::RDONLY)?), &mut table)?;
        let root = mounts::parse_mountinfo(&table).find(|mount| mount.point == Path::new("/"));
        if root.is_none_or(|mount| mount.source != *mark) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Self {
            user: open("ns/user", OFlags::RDONLY)?,
            namespace: open("ns/mnt", OFlags::RDONLY)?,
            root: open("root", OFlags::PATH | OFlags::DIRECTORY)?,
        })
    }

    fn join(&self) -> Result<(), Errno> {
        if !rustix::process::geteuid().is_root() {
            let user = Some(LinkNameSpaceType::User);
            rustix::thread::move_into_link_name_space(self.user.as_fd(), user)?;
        }
        let mount = Some(LinkNameSpaceType::Mount);
        rustix::thread::move_into_link_name_space(self.namespace.as_fd(), mount)?;
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    }
}

/// An overlay, but for its lower layer.
struct Overlay<'a> {
    source: OsString,
    upper: &'a OwnedFd,
    work: &'a OwnedFd,
    flags: MountFlags,
    is_root: bool,
}

impl Overlay<'_> {
    /// Layers are named by their descriptors: a path would have to be escaped, differently from kernel to kernel.
    fn mount(&self, lower: &OwnedFd, target: &Path) -> Result<(), Errno> {
        // Only root's overlays can rename the machine's directories; a host's root has to hold whole files.
        let extra = if self.is_root { "redirect_dir=on" } else { "userxattr" };
        let options = format!(
            "lowerdir={},upperdir={},workdir={},index=off,metacopy=off,{extra}",
            link(lower),
            link(self.upper),
            link(self.work),
        );
        mount_with(&self.source, target, self.flags, options)
    }
}

fn mount_with(
    source: impl rustix::path::Arg,
    target: &Path,
    flags: MountFlags,
    options: String,
) -> Result<(), Errno> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(source, target, "overlay", flags, options.as_c_str())
}

fn link(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

/// What the machine forbids on a file system, which an overlay over it has to forbid as well.
fn restrictions(machine: &OwnedFd) -> Result<MountFlags, Errno> {
    let found = rustix::fs::fstatvfs(machine)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    let here = pairs.into_iter().filter(|(seen, _)| found.contains(*seen));
    Ok(here.fold(MountFlags::empty(), |flags, (_, flag)| flags | flag))
}

/// Lets the view show the machine's file or directory, but not change it. What the machine itself does not let this user
/// see stays unseen.
fn mount_read_only(machine: &Path, target: &Path) {
    let shown = rustix::mount::mount_bind_recursive(machine, target).and_then(|()| {
        let found = rustix::fs::statvfs(machine)?.f_flag;
        let pairs = [
            (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
            (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
            (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        ];
        let kept = pairs.into_iter().filter(|(seen, _)| found.contains(*seen));
        let flags = kept.fold(MountFlags::BIND | MountFlags::RDONLY, |flags, (_, f)| flags | f);
        rustix::mount::mount_remount(target, flags, c"")
            .or_else(|errno| rustix::mount::unmount(target, UnmountFlags::DETACH).and(Err(errno)))
    });
    if let Err(errno) = shown {
        tracing::debug!(path = %machine.display(), %errno, "not visible to this host");
    }
}

/// Makes `names` a directory of empty counterparts of what is in the machine's directory.
fn copy_names(machine: &Path, names: &Path) -> io::Result<()> {
    std::fs::create_dir(names)?;
    for entry in std::fs::read_dir(machine).into_iter().flatten().flatten() {
        let (kind, counterpart) = (entry.file_type()?, names.join(entry.file_name()));
        if kind.is_dir() {
            std::fs::create_dir(counterpart)?;
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path())?, counterpart)?;
        } else if kind.is_file() {
            File::create(counterpart)?;
        }
    }
    Ok(())
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
