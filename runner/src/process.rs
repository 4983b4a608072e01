//! One process group: starting it with a known identity, ending it, and finding it again after the agent died.
//!
//! The only file of this crate with `unsafe`: between fork and exec a child has to become the leader of a session and
//! take on another user, which the standard library does not offer as a whole.
#![expect(unsafe_code, reason = "`pre_exec` is the only way to run code between fork and exec")]

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, setsid, test_kill_process_group};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use crate::accounts::Account;
use crate::config::Limits;
use crate::output::{EventLog, copy_lines};
use crate::stop::Stop;

/// In the directory of a deployment: the process id of the script that runs for it.
pub(crate) const PID_FILE: &str = "hook.pid";

/// How often a process group is looked at while it is being ended.
const GLANCE: Duration = Duration::from_millis(20);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By itself.
    Ended(ExitStatus),
    /// It was ended, because its time was over.
    TimedOut,
    /// It was ended, because the agent had to end.
    Interrupted,
}

/// Makes the command a session and process group of its own that writes its process id (4 bytes, little endian) into
/// `pid_file` before it runs anything, and that belongs to `account` if there is one.
fn prepare(command: &mut Command, pid_file: File, account: Option<&Account>) {
    let account = account.map(|account| (account.uid, account.gid, account.groups.clone()));
    let before_exec = move || {
        let pid = setsid()?;
        rustix::io::write(&pid_file, &pid.as_raw_nonzero().get().to_le_bytes())?;
        if let Some((uid, gid, groups)) = &account {
            set_thread_groups(groups)?;
            set_thread_gid(*gid)?;
            set_thread_uid(*uid)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only, each of which is allowed between fork and exec; it takes no lock and
    // allocates nothing (its captures were made before). The child has one thread, so its ids are the process's.
    unsafe { command.pre_exec(before_exec) };
}

/// Starts the command with its output on pipes. A file that is still open for writing in a sibling that has been forked
/// but not yet executed cannot run for that moment, which is waited out.
async fn spawn(
    build: &(dyn Fn() -> Command + Sync),
    pid_path: &Path,
    account: Option<&Account>,
) -> io::Result<Child> {
    let mut left = 50;
    loop {
        let mut command = build();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        prepare(&mut command, File::create(pid_path)?, account);
        match tokio::process::Command::from(command).spawn() {
            Err(error)
                if error.raw_os_error() == Some(Errno::TXTBSY.raw_os_error()) && left > 0 =>
            {
                left -= 1;
                sleep(GLANCE).await;
            }
            other => return other,
        }
    }
}

/// Runs a command to its end, or ends it with its whole group when `time_limit` is over or the agent stops.
///
/// The process id stands in `pid_path` while it runs.
///
/// # Errors
/// The command could not be started; then nothing of it has run.
pub(crate) async fn run(
    build: &(dyn Fn() -> Command + Sync),
    account: Option<&Account>,
    pid_path: &Path,
    time_limit: Duration,
    log: &Arc<EventLog>,
    limits: &Limits,
    stop: &Stop,
) -> io::Result<Outcome> {
    let mut child = spawn(build, pid_path, account).await?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let open = Arc::new(AtomicBool::new(true));
    let out = child
        .stdout
        .take()
        .map(|from| tokio::spawn(copy_lines(from, "[stdout]", Arc::clone(log), Arc::clone(&open))));
    let err = child
        .stderr
        .take()
        .map(|from| tokio::spawn(copy_lines(from, "[stderr]", Arc::clone(log), Arc::clone(&open))));
    let outcome = tokio::select! {
        biased;
        status = child.wait() => Outcome::Ended(status?),
        () = sleep(time_limit) => {
            end_child(&mut child, group, Duration::from_millis(limits.kill_after_ms)).await;
            Outcome::TimedOut
        }
        () = stop.grace_is_over() => {
            end_child(&mut child, group, Duration::from_millis(limits.kill_after_ms.min(500))).await;
            Outcome::Interrupted
        }
    };
    let streams = async {
        for stream in [out, err].into_iter().flatten() {
            // A reader ends with its stream; it has no result.
            stream.await.unwrap_or_default();
        }
    };
    let patience = match outcome {
        Outcome::Ended(_) | Outcome::TimedOut => limits.open_output_ms,
        Outcome::Interrupted => 100,
    };
    if timeout(Duration::from_millis(patience), streams).await.is_err() {
        open.store(false, Ordering::Release);
        log.warn(&format!(
            "the script has ended, but a process that it left in the background still holds its output after \
             {patience} ms; what that prints is not kept (redirect its output, for example `>/var/log/app.log 2>&1 &`)"
        ));
    }
    // One that stays names a process that is gone, which is checked before anything is done to it.
    std::fs::remove_file(pid_path).unwrap_or_else(|error| tracing::debug!(%error));
    Ok(outcome)
}

async fn end_child(child: &mut Child, group: Option<Pid>, patience: Duration) {
    let Some(group) = group else { return };
    signal(group, Signal::TERM);
    let deadline = Instant::now() + patience;
    // The leader is waited for first, so that the group is empty once its last member is gone.
    let ended = timeout(patience, child.wait()).await.is_ok();
    while ended && is_there(group) && Instant::now() < deadline {
        sleep(GLANCE).await;
    }
    if !ended || is_there(group) {
        signal(group, Signal::KILL);
    }
    if !ended && let Err(error) = child.wait().await {
        tracing::warn!(%error, "a process that was killed could not be waited for");
    }
}

/// Ends a process group that is no child of this process: TERM, and KILL when `patience` is over.
pub(crate) async fn end_group(group: Pid, patience: Duration) {
    signal(group, Signal::TERM);
    let deadline = Instant::now() + patience;
    while is_there(group) && Instant::now() < deadline {
        sleep(GLANCE).await;
    }
    if is_there(group) {
        signal(group, Signal::KILL);
    }
}

fn is_there(group: Pid) -> bool {
    test_kill_process_group(group).is_ok()
}

fn signal(group: Pid, signal: Signal) {
    match kill_process_group(group, signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::warn!(%error, ?group, "a process group could not be signalled"),
    }
}

/// The process group that an earlier run of the agent left behind: its leader's id stands in `pid_path`, it still leads
/// its group, and its environment has all of `marks`. The environment tells it from a stranger that got the same number.
pub(crate) fn left_behind(pid_path: &Path, marks: &[(String, String)]) -> Option<Pid> {
    let bytes: [u8; 4] = std::fs::read(pid_path).ok()?.try_into().ok()?;
    let pid = Pid::from_raw(i32::from_le_bytes(bytes))?;
    if rustix::process::getpgid(Some(pid)).ok()? != pid {
        return None;
    }
    let environ = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let has = |(name, value): &(String, String)| {
        let wanted = format!("{name}={value}");
        environ.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    marks.iter().all(has).then_some(pid)
}
