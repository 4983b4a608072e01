//! Processes of a test: found by what their command lines name, ended by their ids.

use std::fs;
use std::path::Path;
#[cfg(feature = "tools")]
use std::path::PathBuf;

use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};

/// The processes whose command lines name `path`.
pub(crate) fn naming(path: &Path) -> Vec<Pid> {
    let wanted = path.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(wanted)
    })
    .filter_map(Pid::from_raw)
    .collect()
}

/// Kills the processes whose command lines name `path`, with the groups that they lead.
pub(crate) fn kill_all_naming(path: &Path) {
    // Twice, because one that is about to be killed may start another.
    for _ in 0..2 {
        for pid in naming(path) {
            if getpgid(Some(pid)).is_ok_and(|group| group == pid) {
                kill_process_group(pid, Signal::KILL).ok();
            }
            signal(pid, Signal::KILL);
        }
    }
}

/// Kills the processes that name a path when a test ends, however it ends.
#[cfg(feature = "tools")]
pub(crate) struct KilledWithTest(pub(crate) PathBuf);

#[cfg(feature = "tools")]
impl Drop for KilledWithTest {
    fn drop(&mut self) {
        kill_all_naming(&self.0);
    }
}

/// Whether a process of this id is there and is not only waiting to be buried.
pub(crate) fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = stat.ok().and_then(|stat| stat.rsplit_once(')')?.1.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Sends a signal to one process, if it is still there.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).ok();
}
