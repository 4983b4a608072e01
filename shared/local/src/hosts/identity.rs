//! Who a process is to the kernel.

/// Who this process is, with the texts that make it root in a user namespace.
pub(super) struct Identity {
    /// Root of this or any user namespace: may make mount namespaces.
    pub(super) may_mount: bool,
    /// Root of the machine.
    pub(super) is_root: bool,
    pub(super) user_map: Vec<u8>,
    pub(super) group_map: Vec<u8>,
}

impl Identity {
    pub(super) fn of_this_process() -> Self {
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
pub(super) fn is_machines_root() -> bool {
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && users.split_whitespace().eq(["0", "0", "4294967295"])
}
