//! From the end of a PUT, when its answer has arrived, to the first line of the first hook.
//!
//! The hook's first line writes a byte into a pipe, with a builtin of the shell; this process takes the time when it
//! wakes up with the byte. So the figure holds one wake-up too much, and nothing is rounded to the kernel's ticks.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::figure::{Figure, spread};
use super::home::{BenchHome, ms, write_bundle};
use crate::pack;

/// How many uploads are measured for each number of hosts.
const RUNS: usize = 30;
/// The most hosts that a home of this benchmark has.
const HOSTS_MAX: u8 = 4;

const APPSPEC: &str = "version: 0.0\nos: linux\nfiles:\n  - source: site\n    destination: /srv/bench\n\
file_exists_behavior: OVERWRITE\nhooks:\n  BeforeInstall:\n    - location: hook.sh\n      timeout: 30\n";

pub(super) async fn take(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for hosts in 1..=HOSTS_MAX {
        let home = BenchHome::start(program, hosts).await?;
        let (times, floor) = measure(&home, hosts).await?;
        let mut taken = spread(&format!("{hosts} hosts"), times);
        if let Some(median) = taken.first_mut() {
            median.limit = Some(50.0);
        }
        figures.extend(taken);
        figures.extend(spread(&format!("{hosts} hosts, floor: PUT, spawn the hook"), floor));
    }
    Ok(figures)
}

async fn measure(home: &BenchHome, hosts: u8) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let dir = home.dir()?;
    let (sender, first_lines) = channel();
    for host in 1..=hosts {
        let pipe = dir.join(format!("hosts/host-{host}/first"));
        ensure!(Command::new("mkfifo").arg(&pipe).status()?.success(), "mkfifo failed");
        // Open for writing too, so that no hook waits and the end of one is no end of the pipe.
        let mut pipe = File::options().read(true).write(true).open(&pipe)?;
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut byte = [0];
            while pipe.read_exact(&mut byte).is_ok() && sender.send(Instant::now()).is_ok() {}
        });
    }
    let hook = format!(
        "#!/bin/sh\necho >'{}'/hosts/host-\"${{HOST_ADDRESS##*.}}\"/first\n",
        dir.display()
    );
    let (mut times, mut floor) = (Vec::new(), Vec::new());
    let mut last = None;
    for run in 0..=RUNS {
        let place = home.scratch(&format!("bundle-{run}"))?;
        let page = format!("page {run}\n");
        let files = [("appspec.yml", APPSPEC), ("site/index.html", &page), ("hook.sh", &hook)];
        write_bundle(&place, &files)?;
        let put = home.put("elsewhere/app.zip", pack::pack(&place, None)?).await?;
        let mut spawned =
            Command::new(place.join("hook.sh")).env("HOST_ADDRESS", "127.0.0.1").spawn()?;
        let bare = first_line(&first_lines, put)?;
        spawned.wait()?;
        let put = home.put(&format!("app/{run}.zip"), pack::pack(&place, None)?).await?;
        let time = first_line(&first_lines, put)?;
        last = home.settled(last.as_deref()).await?.deployment_id;
        // The other hosts' hooks.
        while first_lines.try_recv().is_ok() {}
        // The first one warms everything up.
        if run > 0 {
            times.push(time);
            floor.push(bare);
        }
    }
    Ok((times, floor))
}

fn first_line(first_lines: &Receiver<Instant>, since: Instant) -> anyhow::Result<f64> {
    let at = first_lines.recv_timeout(Duration::from_secs(30)).context("no hook has run")?;
    Ok(ms(at.saturating_duration_since(since)))
}
