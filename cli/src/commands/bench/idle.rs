//! What `cutover up` with four hosts costs while nothing happens: processor time and memory, of all its processes.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::figure::Figure;
use super::home::BenchHome;

const HOSTS: u8 = 4;
/// How long it is left alone before, so that the threads of its start have ended.
const SETTLE: Duration = Duration::from_secs(15);
/// How long it is watched.
const WATCH: Duration = Duration::from_secs(60);

pub(super) async fn take(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let home = BenchHome::start(program, HOSTS).await?;
    tokio::time::sleep(SETTLE).await;
    let processes = processes(&home)?;
    ensure!(processes.len() == usize::from(HOSTS) + 1, "found {} processes", processes.len());
    let (before, began) = (total(&processes, run_time_ns)?, Instant::now());
    tokio::time::sleep(WATCH).await;
    let used = total(&processes, run_time_ns)? - before;
    let share = used / 1e9 / began.elapsed().as_secs_f64() * 100.0;
    let pss_mib = total(&processes, pss_kib)? / 1024.0;
    let up = processes.first().map_or(Ok(0.0), |id| pss_kib(*id))? / 1024.0;
    Ok(vec![
        Figure::new("processor time over a minute", share, "% of a core").limit(1.0),
        Figure::new("PSS of all processes", pss_mib, "MiB").limit(80.0),
        Figure::new("PSS of `cutover up` alone", up, "MiB"),
    ])
}

/// `cutover up`, and then its hosts, which are known by the directory in their arguments.
fn processes(home: &BenchHome) -> anyhow::Result<Vec<u32>> {
    let dir = home.dir()?.display().to_string();
    let mut found = vec![home.process_id()];
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        if words.any(|word| word == b"host") && words.any(|word| word == dir.as_bytes()) {
            found.push(id);
        }
    }
    Ok(found)
}

fn total(processes: &[u32], of: fn(u32) -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    processes.iter().map(|id| of(*id)).sum()
}

/// The nanoseconds that a process has run. `/proc/PID/stat` counts in hundredths of a second, which is too coarse for
/// processes that do nothing; a thread that ended meanwhile is missing here, but an idle home ends none.
fn run_time_ns(process: u32) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let times = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = times.split_whitespace().next().context("schedstat is empty")?;
        sum += first.parse::<f64>()?;
    }
    Ok(sum)
}

/// The memory of a process, shared pages divided among those that share them.
fn pss_kib(process: u32) -> anyhow::Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("/proc/PID/smaps_rollup has no Pss")?.parse()?)
}
