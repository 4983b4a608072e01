//! Gives a host process its own view of the machine: `/` shows the machine's files below and the host's root above, so
//! that what is written to `/srv/x` is the file `srv/x` of the host's root, and nothing of the machine changes. Other
//! file systems of the machine get an overlay of their own; `/dev`, `/proc` and `/sys` are the machine's; a file
//! system that no overlay can be laid over can only be read. Processes, users and the network are the machine's: this
//! keeps hosts apart so that one machine can play several, it is no sandbox. See `docs/semantics.md#hosts`.
//!
//! Without root, a user namespace is needed, in which the user is root and nobody else exists. Files of other users keep
//! their owner there and cannot be changed in place. Their directories could not be written to either, so the host's
//! root begins as a copy of the machine's upper directories, without the files.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::identity::Identity;
use super::kernel::{self, Answer, MAX_ERRNO};
use super::mounts;
pub use super::refusal::{NamespaceError, Step};
use super::refusal::{Refusal, files, refused};
use super::view::View;

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
    remove_left_probes(dir);
    let place = dir.join(format!("{PROBE}{}", std::process::id()));
    for name in ["upper", "work", "stage"] {
        let path = place.join(name);
        std::fs::create_dir_all(&path).map_err(files(&path))?;
    }
    let answer = CString::new(place.clone().into_os_string().into_vec()).map(|place| {
        let identity = Identity::of_this_process();
        kernel::ask_a_child(move || match try_overlay(&place, &identity) {
            Ok(()) => PROBE_PASSED,
            Err((step, errno)) => PROBE_PASSED + ((step as i32 + 1) << 12) + errno.raw_os_error(),
        })
    });
    remove_probe(&place).map_err(files(&place))?;
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

fn remove_probe(place: &Path) -> io::Result<()> {
    // The kernel leaves this directory without permissions, which only removal by name gets over.
    drop(std::fs::remove_dir(place.join("work/work")));
    std::fs::remove_dir_all(place)
}

/// Removes what probes of processes have left that were killed.
fn remove_left_probes(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PROBE)?.parse::<u32>().ok());
        let is_left = process.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists());
        if is_left && let Err(error) = remove_probe(&entry.path()) {
            tracing::warn!(%error, path = %entry.path().display(), "left a directory of an old probe");
        }
    }
}

/// What the directory of a probe is called, before the number of its process.
const PROBE: &str = ".namespace-probe-";

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
