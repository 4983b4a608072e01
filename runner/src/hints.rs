//! What to do about a script that failed for a reason that many fail for.

use std::io;
use std::io::Read as _;
use std::path::Path;

use rustix::io::Errno;

/// What output tells that the host has no service manager.
const NO_SYSTEMD: [&str; 6] = [
    "System has not been booted with systemd",
    "Failed to connect to bus",
    "systemctl: not found",
    "systemctl: command not found",
    "service: not found",
    "service: command not found",
];
/// What output tells that the host has no package manager, or may not use it.
const NO_PACKAGES: [&str; 8] = [
    "apt-get: not found",
    "apt-get: command not found",
    "apt: command not found",
    "yum: not found",
    "yum: command not found",
    "dnf: command not found",
    "Could not open lock file /var/lib/dpkg",
    "Unable to acquire the dpkg frontend lock",
];

/// What the system says to a process that may not become another user.
const CANNOT_BECOME: [i32; 2] = [Errno::PERM.raw_os_error(), Errno::INVAL.raw_os_error()];

/// A line for a script that has failed, by its exit code and the end of its output.
pub(crate) fn for_output(code: Option<i32>, output: &str) -> Option<&'static str> {
    let says = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if says(&NO_SYSTEMD) {
        Some(
            "\nhint: this host has no systemd or service manager that can be used: start the application in the background \
             instead (`setsid app >/var/log/app.log 2>&1 &`) where `systemctl` is not there",
        )
    } else if says(&NO_PACKAGES) {
        Some(
            "\nhint: this host has no package manager that can be used: put what the application needs into the bundle, or \
             install it on the host beforehand",
        )
    } else if code == Some(127) {
        Some(
            "\nhint: exit code 127 means that a command was not found: its name is in the output; install it on the host, \
             or give its whole path (hooks have a PATH of their own)",
        )
    } else {
        None
    }
}

/// How an end by a signal is told.
pub(crate) fn for_signal(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => "a signal",
    };
    let hint = match signal {
        9 => ": somebody else ended it, perhaps the kernel for want of memory (`dmesg` says so)",
        _ => "",
    };
    format!("was ended by {name} ({signal}){hint}")
}

/// A line for a script that could not be started.
pub(crate) fn for_start(
    script: &Path,
    working_dir: &Path,
    as_other: bool,
    error: &io::Error,
) -> String {
    let first = first_line(script);
    let kind = error.kind();
    let is_missing = kind == io::ErrorKind::NotFound;
    if is_missing && !working_dir.is_dir() {
        format!("\nhint: the host's root `{}` is not there", working_dir.display())
    } else if is_missing && first.ends_with('\r') {
        "\nhint: its first line ends in a carriage return: save it with Unix line ends".to_owned()
    } else if is_missing && first.starts_with("#!") {
        format!("\nhint: the interpreter of its first line, `{first}`, is not on this host")
    } else if as_other && error.raw_os_error().is_some_and(|code| CANNOT_BECOME.contains(&code)) {
        "\nhint: this host may not run scripts as another user: it runs in a user namespace that has only one, or lacks \
         the capability; run the agent as the machine's root, or remove `runas`"
            .to_owned()
    } else if kind == io::ErrorKind::PermissionDenied {
        "\nhint: its user may not pass through the directories that lead to it, or the disk is mounted `noexec`".to_owned()
    } else {
        String::new()
    }
}

fn first_line(script: &Path) -> String {
    let mut head = Vec::new();
    let read = std::fs::File::open(script).and_then(|file| file.take(256).read_to_end(&mut head));
    let line = head.split(|&byte| byte == b'\n').next().filter(|_| read.is_ok());
    line.map(|line| String::from_utf8_lossy(line).into_owned()).unwrap_or_default()
}
