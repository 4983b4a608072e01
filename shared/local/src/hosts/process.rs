//! Starting, finding and ending the processes of home hosts. A host's process outlives the `up` that started it: it has a
//! session of its own, and is known by its lock file, which it holds while it lives. A pid alone proves nothing, so a
//! process is signalled only through a descriptor that was compared with what the lock file says. What a host does is not
//! decided here.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::kernel;
use super::layout::{self, HostFiles, HostNumber, LayoutError};
use super::view;
use crate::descriptors;

/// Why a host's process could not be started, found or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Another process is this host already.
    #[error("{host} runs already, as process {pid}: end that one first")]
    AlreadyRunning {
        /// The host.
        host: HostNumber,
        /// Its process.
        pid: u32,
    },
    /// The lock is held by something that does not say who it is.
    #[error("`{}` is held by a process that is not a host: find it with `fuser` and end it", path.display())]
    Stranger {
        /// The lock file.
        path: PathBuf,
    },
    /// A file of the host could not be used.
    #[error("`{}` could not be used: check the disk, and that it belongs to this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The program did not start.
    #[error("{host} could not be started with `{}`: check that the program is there and the limit on processes", program.display())]
    Start {
        /// The host.
        host: HostNumber,
        /// The program.
        program: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The kernel refused to signal or to watch the process.
    #[error("{host}, process {pid}, could not be ended: check that it belongs to this user")]
    Signal {
        /// The host.
        host: HostNumber,
        /// Its process.
        pid: u32,
        /// The kernel's answer.
        source: Errno,
    },
    /// The process is still there after it was killed.
    #[error(
        "{host}, process {pid}, does not end although it was killed: it waits for a disk or a network file system"
    )]
    Unkillable {
        /// The host.
        host: HostNumber,
        /// Its process.
        pid: u32,
    },
    /// The host's directories cannot be made or read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A host's process that was alive when it was found. It is held by a descriptor, never mistaken for a later process of
/// the same pid. Dropping it does nothing to the process.
#[derive(Debug)]
pub struct RunningHost {
    host: HostNumber,
    pid: Pid,
    descriptor: OwnedFd,
}

impl RunningHost {
    /// Which host it is.
    #[must_use]
    pub fn host(&self) -> HostNumber {
        self.host
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Whether the process has ended. If this process started it, nothing is left of it afterwards.
    ///
    /// # Errors
    /// [`ProcessError::Signal`] when the kernel does not say.
    pub fn has_ended(&self) -> Result<bool, ProcessError> {
        self.wait(Duration::ZERO)
    }

    fn wait(&self, time: Duration) -> Result<bool, ProcessError> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
            match rustix::event::poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Ok(false),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(source) => return Err(self.refused(source)),
            }
        }
        // Only its parent can take leave of it; for everybody else there is nothing to do.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let waited = rustix::process::waitid(WaitId::PidFd(self.descriptor.as_fd()), ended);
        waited.map(|_| true).or(Ok(true))
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        match rustix::process::pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(source) => Err(self.refused(source)),
        }
    }

    fn refused(&self, source: Errno) -> ProcessError {
        ProcessError::Signal { host: self.host, pid: self.pid(), source }
    }
}

/// The process of a host, if it runs: the one that holds the host's lock and started when the lock file says.
///
/// # Errors
/// [`ProcessError`] when the lock file cannot be read, or is held by a process that does not give its name there.
pub fn find(files: &HostFiles) -> Result<Option<RunningHost>, ProcessError> {
    let path = files.lock();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ProcessError::File { path, source }),
    };
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            // Nobody holds it. The file is closed, and this lock with it, at once.
            Ok(()) => return Ok(None),
            Err(Errno::WOULDBLOCK) => {}
            Err(errno) => return Err(ProcessError::File { path, source: errno.into() }),
        }
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        read.map_err(|source| ProcessError::File { path: path.clone(), source })?;
        if let Some(process) = Stamp::parse(&text).and_then(|stamp| stamp.open(files.number())) {
            return Ok(Some(process));
        }
        // It has the lock and is about to write its stamp, or it has just ended.
        if Instant::now() > deadline {
            return Err(ProcessError::Stranger { path });
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// How long a lock may be held without a stamp, or by somebody who only looks whether it is held.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Starts `command` as the process of a host, in a session of its own, with `/` as its working directory (so its paths
/// must be absolute) and the host's log as its output. Whether it becomes a host is seen by [`find`]; whether it failed at once, by
/// [`RunningHost::has_ended`] and in the log. A second process of one host ends by itself, see [`HostLock`].
///
/// # Errors
/// [`ProcessError`] when the host's directory cannot be written, or the program does not start.
pub fn start(files: &HostFiles, mut command: Command) -> Result<RunningHost, ProcessError> {
    files.create()?;
    let log = files.log();
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .and_then(|file| Ok((file.try_clone()?, file)));
    let (output, errors) = output.map_err(|source| ProcessError::File { path: log, source })?;
    command.current_dir("/").stdin(Stdio::null()).stdout(output).stderr(errors);
    kernel::start_in_new_session(&mut command, descriptors::for_children());
    let started = command.spawn().and_then(|child| {
        // A child that nobody has waited for keeps its pid, so this is it.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(RunningHost { host: files.number(), pid, descriptor })
    });
    started.map_err(|source| ProcessError::Start {
        host: files.number(),
        program: command.get_program().into(),
        source,
    })
}

/// Ends hosts: all are asked to (SIGTERM), and those that are still there after `grace` are killed. Blocks for as long.
/// What a host's hooks have started in the background is not ended.
///
/// # Errors
/// [`ProcessError`] of the first that could not be ended, after all the others were.
pub fn stop(hosts: &[RunningHost], grace: Duration) -> Result<(), ProcessError> {
    let deadline = Instant::now() + grace;
    let mut result = Ok(());
    for host in hosts {
        let asked = host.signal(Signal::TERM);
        result = result.and(asked);
    }
    for host in hosts {
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = host.wait(left).and_then(|ended| {
            if ended {
                return Ok(());
            }
            host.signal(Signal::KILL)?;
            match host.wait(KILL_PATIENCE)? {
                true => Ok(()),
                false => Err(ProcessError::Unkillable { host: host.host, pid: host.pid() }),
            }
        });
        result = result.and(ended);
    }
    result
}

/// How long a killed process may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Ends the processes of the hosts with a number above `count`, as after a start with fewer hosts, and what their hooks
/// have left running. Their directories stay. Returns the hosts that ran.
///
/// # Errors
/// As of [`find`] and [`stop`].
pub fn stop_surplus(
    home: &Path,
    count: u8,
    grace: Duration,
) -> Result<Vec<HostNumber>, ProcessError> {
    let known = layout::known_hosts(home)?.into_iter().filter(|number| number.get() > count);
    let surplus: Vec<HostFiles> = known.map(|number| HostFiles::new(home, number)).collect();
    let mut running = Vec::new();
    for files in &surplus {
        running.extend(find(files)?);
    }
    stop(&running, grace)?;
    // What was removed before has nothing left.
    let removed: Vec<&HostFiles> =
        surplus.iter().filter(|files| files.connection().exists()).collect();
    stop(&left_by(&removed)?, grace)?;
    Ok(running.iter().map(RunningHost::host).collect())
}

/// What the hooks of hosts have started and left running: processes in a host's view, or, where it has none, those that
/// were told its root.
fn left_by(hosts: &[&HostFiles]) -> Result<Vec<RunningHost>, ProcessError> {
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let mut by_view = BTreeMap::new();
    let mut by_root = BTreeMap::new();
    for files in hosts {
        let root = files.root();
        by_root.insert(
            [b"HOST_ROOT=".as_slice(), root.as_os_str().as_bytes()].concat(),
            files.number(),
        );
        if let Ok(metadata) = root.metadata() {
            by_view.insert(view::mark(&metadata), files.number());
        }
    }
    let path = Path::new("/proc");
    let failed = |source| ProcessError::File { path: path.to_owned(), source };
    let mut left = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else { continue };
        // Opened before it is looked at, so that no later process of the same pid is meant.
        let Ok(descriptor) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let told = environment.split(|byte| *byte == 0).find_map(|told| by_root.get(told));
        let host = told.copied().or_else(|| by_view.get(&view::mark_of(&entry.path())?).copied());
        left.extend(host.map(|host| RunningHost { host, pid, descriptor }));
    }
    Ok(left)
}

/// Held by a host's process for as long as it lives: who holds it is the host.
#[derive(Debug)]
pub struct HostLock {
    /// The lock goes with the open file, and so with the process. Programs that it starts do not inherit it.
    _file: File,
}

impl HostLock {
    /// Makes this process the host of `files`.
    ///
    /// # Errors
    /// [`ProcessError::AlreadyRunning`] when another process is; the others when the lock file cannot be used.
    pub fn acquire(files: &HostFiles) -> Result<Self, ProcessError> {
        let path = files.lock();
        let failed = |source| ProcessError::File { path: path.clone(), source };
        files.create()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        while let Err(errno) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if errno != Errno::WOULDBLOCK {
                return Err(failed(errno.into()));
            }
            if let Some(other) = find(files)? {
                return Err(ProcessError::AlreadyRunning {
                    host: files.number(),
                    pid: other.pid(),
                });
            }
            // Somebody was only looking whether it is held.
            if Instant::now() > deadline {
                return Err(ProcessError::Stranger { path });
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        let stamp = Stamp::of(rustix::process::getpid()).map_err(failed)?;
        let text = format!("{} {}\n", stamp.pid.as_raw_pid(), stamp.started);
        let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// A process, told from earlier and later ones of the same pid by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    pid: Pid,
    /// In the kernel's ticks since the machine's start.
    started: u64,
}

impl Stamp {
    fn of(pid: Pid) -> io::Result<Self> {
        let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_pid()))?;
        let shape = || io::Error::new(io::ErrorKind::InvalidData, "unknown form of a stat file");
        // The second field is a name in parentheses that may hold anything, the start is the 22nd.
        let name_end = stat.iter().rposition(|byte| *byte == b')').ok_or_else(shape)?;
        let fields = stat.get(name_end..).and_then(|rest| std::str::from_utf8(rest).ok());
        let started = fields.and_then(|fields| fields.split_whitespace().nth(20)?.parse().ok());
        Ok(Self { pid, started: started.ok_or_else(shape)? })
    }

    fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { pid: Pid::from_raw(pid.parse().ok()?)?, started: started.parse().ok()? })
    }

    /// The process, if it is still the one that was stamped.
    fn open(self, host: HostNumber) -> Option<RunningHost> {
        let descriptor = rustix::process::pidfd_open(self.pid, PidfdFlags::empty()).ok()?;
        (Self::of(self.pid).ok()? == self).then_some(RunningHost {
            host,
            pid: self.pid,
            descriptor,
        })
    }
}
