//! The three calls that need `unsafe`: new namespaces, a new session for a process that is started, and a question that
//! only a forked child can answer. Everything else about hosts is written with safe calls.
#![expect(unsafe_code, reason = "unshare(2) and code between fork and exec have no safe form")]

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::UnshareFlags;

/// Gives this process a mount namespace, and with `user` a user namespace that owns it.
pub(super) fn new_namespaces(user: bool) -> Result<(), Errno> {
    let flags =
        if user { UnshareFlags::NEWUSER | UnshareFlags::NEWNS } else { UnshareFlags::NEWNS };
    // SAFETY: the call is unsafe because CLONE_FILES and CLONE_FS separate what threads share; neither is asked for, and
    // the kernel itself refuses a user namespace to a process of several threads.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Lets `command` start in a session of its own, out of reach of the terminal's signals, with that limit on descriptors.
pub(super) fn start_in_new_session(command: &mut Command, descriptors: Option<Rlimit>) {
    let prepare = move || {
        if let Some(limit) = &descriptors {
            rustix::process::setrlimit(Resource::Nofile, *limit)?;
        }
        rustix::process::setsid().map(drop).map_err(Into::into)
    };
    // SAFETY: setrlimit(2) and setsid(2) are async-signal-safe, and nothing is allocated between fork and exec.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// What a forked child answered.
pub(super) enum Answer {
    /// The number that the question returned.
    Said(i32),
    /// There was no child: fork failed, or the child could not be understood.
    NoChild(std::io::Error),
}

/// Runs `question` in a forked child that ends right after it. It must return more than [`MAX_ERRNO`] and must not allocate,
/// take locks or touch anything but the kernel. The child never runs a program: `Command` reports a failed preparation
/// by its error number, and that is how the answer travels.
pub(super) fn ask_a_child(question: impl Fn() -> i32 + Send + Sync + 'static) -> Answer {
    let mut command = Command::new("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: by the contract above `question` is async-signal-safe, and making an error of a number allocates nothing.
    unsafe {
        command.pre_exec(move || Err(std::io::Error::from_raw_os_error(question())));
    }
    match command.spawn() {
        Err(error) => match error.raw_os_error() {
            Some(number) if number > MAX_ERRNO => Answer::Said(number),
            Some(_) | None => Answer::NoChild(error),
        },
        Ok(_) => Answer::NoChild(std::io::Error::other("the child ran a program")),
    }
}

/// Answers are larger than this, so that they differ from the error numbers of fork itself.
pub(super) const MAX_ERRNO: i32 = 0xffff;
