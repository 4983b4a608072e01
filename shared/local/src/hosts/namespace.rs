//! Gives a host process its own view of the machine: `/` shows the machine's files below and the host's root above, so
//! that what is written to `/srv/x` is the file `srv/x` of the host's root, and nothing of the machine changes. Other
//! file systems of the machine get an overlay of their own; `/dev`, `/proc`, `/run` and `/sys` are the machine's; a file
//! system that no overlay can be laid over can only be read. Processes, users and the network are the machine's: this
//! keeps hosts apart so that one machine can play several, it is no sandbox. See `docs/semantics.md#hosts`.
//!
//! Without root, a user namespace is needed, in which the user is root and nobody else exists. Files of other users keep
//! their owner there and cannot be changed in place. Their directories could not be written to either, so the host's
//! root begins as a copy of the machine's upper directories, without the files.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CString, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::LinkNameSpaceType;

use super::kernel::{self, Answer, MAX_ERRNO};
use super::mounts::{self, Layer, LayerKind};

/// Why a host cannot have its own view of the machine.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The kernel, or what guards it, does not allow it.
    #[error("{step} was refused: {advice}")]
    Refused {
        /// What was tried.
        step: Step,
        /// What the user can do about it.
        advice: String,
        /// The kernel's answer.
        source: Errno,
    },
    /// The host's own files could not be prepared.
    #[error("`{}` could not be prepared for a host: check that this user may write to it", path.display())]
    Files {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// No child process could be started for the question.
    #[error(
        "no process could be started to try a mount namespace: check the limit on processes (`ulimit -u`)"
    )]
    Child(#[source] io::Error),
}

/// The steps to a view of its own, each of which a machine can refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Making the mount namespace, without root within a user namespace.
    Namespace,
    /// Making this user root in the user namespace.
    UserMap,
    /// Mounting in the new namespace.
    Mount,
    /// Mounting an overlay with its upper layer in the host's directory.
    Overlay,
    /// Joining the namespace of the host's processes that outlived its last start.
    Join,
}

impl Step {
    const ALL: [Self; 5] = [Self::Namespace, Self::UserMap, Self::Mount, Self::Overlay, Self::Join];
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Namespace => "a mount namespace",
            Self::UserMap => "a user namespace's map of users",
            Self::Mount => "a mount in a mount namespace",
            Self::Overlay => "an overlay over the machine's files",
            Self::Join => "the mount namespace of the host's last start",
        })
    }
}

/// A step with the kernel's answer. Made without allocation, since it is used between fork and exec.
type Refusal = (Step, Errno);

/// Puts this process into the view of the host whose files are in `host_dir` and whose root is `root`, below it. The
/// process must have a single thread. Its working directory becomes `/`, open files stay what they are. `host_dir` is at
/// the same path in the view, and there is the machine's own. When processes of the host have outlived its last start
/// (an application that a hook has started), this process joins them.
///
/// # Errors
/// [`NamespaceError`] when the machine refuses it, or the directories cannot be written. The process is then of no more
/// use for a host with a view of its own.
pub fn enter(host_dir: &Path, root: &Path) -> Result<(), NamespaceError> {
    let view = View::prepare(host_dir, root)?;
    if view.join_survivors()? {
        return Ok(());
    }
    let identity = Identity::of_this_process();
    if !identity.is_root {
        view.copy_upper_directories().map_err(files(&view.root))?;
    }
    isolate(&identity).map_err(refused)?;
    let mount_points = mounts::mount_points(&view.host_dir).map_err(files(Path::new("/proc")))?;
    let layers = if identity.is_root {
        mounts::whole_layers(&mount_points)
    } else {
        mounts::split_layers(&mount_points)
    };
    view.mount(&layers, identity.is_root)?;
    view.become_root()
}

/// Whether this machine allows hosts in `dir` their own view, tried in a child process. Leaves nothing behind.
///
/// # Errors
/// [`NamespaceError::Refused`] with the way to allow it; the others when `dir` cannot be written or no child started.
pub fn probe(dir: &Path) -> Result<(), NamespaceError> {
    let place = dir.join(format!(".namespace-probe-{}", std::process::id()));
    for name in ["upper", "work", "stage"] {
        let path = place.join(name);
        std::fs::create_dir_all(&path).map_err(files(&path))?;
    }
    let answer =
        CString::new(std::os::unix::ffi::OsStringExt::into_vec(place.clone().into_os_string()))
            .map(|place| {
                let identity = Identity::of_this_process();
                kernel::ask_a_child(move || match try_overlay(&place, &identity) {
                    Ok(()) => PROBE_PASSED,
                    Err((step, errno)) => {
                        PROBE_PASSED + ((step as i32 + 1) << 12) + errno.raw_os_error()
                    }
                })
            });
    // The kernel leaves this directory without permissions, which only removal by name gets over.
    drop(std::fs::remove_dir(place.join("work/work")));
    std::fs::remove_dir_all(&place).map_err(files(&place))?;
    match answer.map_err(|error| files(&place)(error.into()))? {
        Answer::Said(PROBE_PASSED) => Ok(()),
        Answer::Said(number) => {
            let refusal = number - PROBE_PASSED;
            let step = usize::try_from((refusal >> 12) - 1).ok().and_then(|i| Step::ALL.get(i));
            let errno = Errno::from_raw_os_error(refusal & 0xfff);
            Err(refused((step.copied().unwrap_or(Step::Namespace), errno)))
        }
        Answer::NoChild(error) => Err(NamespaceError::Child(error)),
    }
}

const PROBE_PASSED: i32 = MAX_ERRNO + 1;

/// What `enter` needs, on a small scale. Runs between fork and exec: no allocation.
fn try_overlay(place: &CString, identity: &Identity) -> Result<(), Refusal> {
    isolate(identity)?;
    let mount = |errno| (Step::Mount, errno);
    rustix::process::chdir(place).map_err(mount)?;
    rustix::mount::mount(c"cutover", c"stage", c"tmpfs", MountFlags::empty(), None)
        .map_err(mount)?;
    rustix::fs::mkdir(c"stage/lower", Mode::RWXU).map_err(mount)?;
    let options = if identity.is_root {
        c"lowerdir=stage/lower,upperdir=upper,workdir=work,index=off,metacopy=off"
    } else {
        c"lowerdir=stage/lower,upperdir=upper,workdir=work,index=off,metacopy=off,userxattr"
    };
    rustix::mount::mount(c"cutover", c"stage", c"overlay", MountFlags::empty(), options)
        .map_err(|errno| (Step::Overlay, errno))
}

/// Who this process is, with the texts that make it root in a user namespace.
struct Identity {
    /// Root of this or any user namespace: may make mount namespaces.
    may_mount: bool,
    /// Root of the machine.
    is_root: bool,
    user_map: Vec<u8>,
    group_map: Vec<u8>,
}

impl Identity {
    fn of_this_process() -> Self {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        Self {
            may_mount: user.is_root(),
            is_root: is_machines_root(),
            user_map: format!("0 {user} 1").into_bytes(),
            group_map: format!("0 {group} 1").into_bytes(),
        }
    }
}

/// Whether this process has root's rights on the machine, and not only within a user namespace.
fn is_machines_root() -> bool {
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && users.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Leaves the machine's mount namespace for one from which no mount gets out. Runs between fork and exec, too.
fn isolate(identity: &Identity) -> Result<(), Refusal> {
    kernel::new_namespaces(!identity.may_mount).map_err(|errno| (Step::Namespace, errno))?;
    if !identity.may_mount {
        let write = |path, text: &[u8]| {
            rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .and_then(|file| rustix::io::write(&file, text))
                .map_err(|errno| (Step::UserMap, errno))
        };
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", &identity.user_map)?;
        write(c"/proc/self/gid_map", &identity.group_map)?;
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", private).map_err(|errno| (Step::Mount, errno))
}

/// The directories that a host's view is made of.
struct View {
    /// The host's directory; its real path.
    host_dir: PathBuf,
    /// The upper layer of everything; its real path.
    root: PathBuf,
    /// Where overlays keep what they are about to put into `root`.
    work: PathBuf,
    /// Where the view is put together, before it becomes `/`.
    stage: PathBuf,
    /// The source of the mount at `/` in this host's view: how its processes are recognised.
    mark: OsString,
}

impl View {
    fn prepare(host_dir: &Path, root: &Path) -> Result<Self, NamespaceError> {
        for path in [host_dir, root] {
            std::fs::create_dir_all(path).map_err(files(path))?;
        }
        let host_dir = host_dir.canonicalize().map_err(files(host_dir))?;
        let root = root.canonicalize().map_err(files(root))?;
        let metadata = root.metadata().map_err(files(&root))?;
        let work = host_dir.join("work");
        let stage = work.join("stage");
        std::fs::create_dir_all(&stage).map_err(files(&stage))?;
        let mark = format!("cutover-host-{:x}-{:x}", metadata.dev(), metadata.ino()).into();
        Ok(Self { host_dir, root, work, stage, mark })
    }

    /// Joins a process that is in this host's view, if there is one.
    fn join_survivors(&self) -> Result<bool, NamespaceError> {
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
    fn copy_upper_directories(&self) -> io::Result<()> {
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
    fn mount(&self, layers: &[Layer], is_root: bool) -> Result<(), NamespaceError> {
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
        for (index, layer) in layers.iter().enumerate() {
            let target = self.in_view(&layer.path);
            let mounted = match layer.kind {
                LayerKind::File => Err(Errno::NOTDIR),
                LayerKind::Overlay | LayerKind::Names => {
                    self.mount_overlay(layer, index, &target, is_root)
                }
            };
            match mounted {
                Err(errno) if layer.path == Path::new("/") => {
                    return Err(refused((Step::Overlay, errno)));
                }
                Err(_) => mount_read_only(&layer.path, &target),
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

    fn mount_overlay(
        &self,
        layer: &Layer,
        index: usize,
        target: &Path,
        is_root: bool,
    ) -> Result<(), Errno> {
        let work = self.work.join(index.to_string());
        std::fs::create_dir_all(&work).map_err(errno_of)?;
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
            overlay.mount(&open_path(&names)?, target)?;
        } else if rustix::fs::fstat(&machine)?.st_dev == rustix::fs::fstat(&upper)?.st_dev {
            overlay.mount(&self.lifted(&machine, index)?, target)?;
        } else {
            match overlay.mount(&machine, target) {
                Err(Errno::LOOP) => overlay.mount(&self.lifted(&machine, index)?, target)?,
                other => other?,
            }
        }
        // The kernel makes it without permissions, and nobody but root could remove the host's directory again.
        let hidden = work.join("work");
        std::fs::set_permissions(&hidden, Permissions::from_mode(0o700)).map_err(errno_of)
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
    fn become_root(&self) -> Result<(), NamespaceError> {
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

fn files(path: &Path) -> impl FnOnce(io::Error) -> NamespaceError {
    let path = path.to_path_buf();
    move |source| NamespaceError::Files { path, source }
}

fn refused((step, source): Refusal) -> NamespaceError {
    NamespaceError::Refused { step, advice: advice(step, source), source }
}

/// What makes the step possible, from what the machine says about itself.
fn advice(step: Step, errno: Errno) -> String {
    let is =
        |path: &str, value: &str| std::fs::read_to_string(path).is_ok_and(|t| t.trim() == value);
    let sysctl = |setting: &str| format!("allow it with `sudo sysctl {setting}`, or run as root");
    if !is_machines_root() {
        if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
            return sysctl("kernel.unprivileged_userns_clone=1");
        }
        if is("/proc/sys/user/max_user_namespaces", "0") {
            return sysctl("user.max_user_namespaces=15000");
        }
        if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
            return sysctl("kernel.apparmor_restrict_unprivileged_userns=0");
        }
    }
    if is("/proc/sys/user/max_mnt_namespaces", "0") {
        return sysctl("user.max_mnt_namespaces=15000");
    }
    match (step, errno) {
        (Step::Overlay, Errno::NODEV) => {
            "the kernel has no overlay file system; load it with `sudo modprobe overlay`".into()
        }
        (Step::Overlay, Errno::PERM) => {
            "an overlay without root needs Linux 5.11 or later; run as root on an older one".into()
        }
        (Step::Overlay, _) => "the host's directory must be on ext4, XFS, Btrfs or tmpfs, and not \
            itself on an overlay, as in a container; choose another with `--dir`"
            .into(),
        (Step::Namespace | Step::UserMap | Step::Mount | Step::Join, _) => {
            "in a container, give it the capability SYS_ADMIN and lift its seccomp and AppArmor \
            profiles (`docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt \
            apparmor=unconfined`), or run outside of it"
                .into()
        }
    }
}
