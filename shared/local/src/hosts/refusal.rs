//! Why a machine does not let a host have its own view, and what its user can do about it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::identity::is_machines_root;

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
    pub(super) const ALL: [Self; 5] =
        [Self::Namespace, Self::UserMap, Self::Mount, Self::Overlay, Self::Join];
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
pub(super) type Refusal = (Step, Errno);

pub(super) fn files(path: &Path) -> impl FnOnce(io::Error) -> NamespaceError {
    let path = path.to_path_buf();
    move |source| NamespaceError::Files { path, source }
}

pub(super) fn refused((step, source): Refusal) -> NamespaceError {
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
