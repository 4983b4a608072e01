//! A Docker engine: the one that answers, or one of our own, which ends with what needed it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::place::Place;
use crate::run::{Command, Running};

/// How long an engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bridges of ours are called so, and by the process that they belong to.
const BRIDGE: &str = "ctvr";

/// A Docker engine that answers.
pub(crate) struct Engine {
    /// What `DOCKER_HOST` says to its clients, if it is not where they look anyway.
    host: Option<String>,
    /// The address of this machine on the engine's default bridge: what containers reach us by.
    pub(crate) gateway: IpAddr,
    // Dropped in this order.
    _dockerd: Option<Running>,
    _bridge: Option<Bridge>,
    _exec_root: Option<ExecRoot>,
}

impl Engine {
    /// The engine that answers; else, for root, one of our own.
    pub(crate) fn find(place: &Place) -> Result<Self> {
        if Command::new(place, "docker").args(["version"]).succeeds() {
            let gateway = gateway(docker(place, None))?;
            return Ok(Self {
                host: None,
                gateway,
                _dockerd: None,
                _bridge: None,
                _exec_root: None,
            });
        }
        ensure!(is_root(place)?, "no Docker engine answers, and only root can start one");
        Self::start(place)
    }

    /// Starts one, with a bridge of its own. It changes nothing in the machine's firewall, so its containers reach this
    /// machine and each other, and nothing else.
    fn start(place: &Place) -> Result<Self> {
        let bridge = Bridge::make(place)?;
        // What it keeps stays, so that images are not imported again; short paths are for its sockets.
        let data = place.target.join("docker");
        fs::create_dir_all(&data)?;
        let exec_root = ExecRoot::make()?;
        let host = format!("unix://{}", exec_root.0.join("docker.sock").display());
        let log = place.target.join("xtask/dockerd.log");
        fs::create_dir_all(place.target.join("xtask"))?;
        let mut dockerd = Command::new(place, "dockerd")
            .args(["--iptables=false", "--ip6tables=false", "--bridge", &bridge.name])
            .args(["--host", &host, "--data-root"])
            .args([&data])
            .arg_path("--exec-root", &exec_root.0.join("exec"))
            .arg_path("--pidfile", &exec_root.0.join("pid"))
            .start(&log)?
            .gently();
        let began = Instant::now();
        while !docker(place, Some(&host)).unshown().args(["version"]).succeeds() {
            let see = || format!("see `{}`", log.display());
            ensure!(!dockerd.has_ended()?, "dockerd ended; {}", see());
            ensure!(began.elapsed() < PATIENCE, "dockerd does not answer; {}", see());
            std::thread::sleep(Duration::from_millis(100));
        }
        let engine = Self {
            gateway: gateway(docker(place, Some(&host)))?,
            host: Some(host),
            _dockerd: Some(dockerd),
            _bridge: Some(bridge),
            _exec_root: Some(exec_root),
        };
        // It is ours alone: what a run left behind that was killed is of no use to anybody.
        for container in engine.docker(place).args(["ps", "--all", "--quiet"]).output()?.lines() {
            engine.docker(place).args(["rm", "--force", container]).run()?;
        }
        Ok(engine)
    }

    /// Docker's client, for this engine.
    pub(crate) fn docker(&self, place: &Place) -> Command {
        docker(place, self.host.as_deref())
    }

    /// Lets a program that talks to an engine talk to this one.
    pub(crate) fn for_client(&self, command: Command) -> Command {
        match &self.host {
            Some(host) => command.env("DOCKER_HOST", host),
            None => command.passed_on("DOCKER_HOST"),
        }
    }

    /// Where programs find it that talk to it, if not where they look anyway.
    pub(crate) fn host(&self) -> Option<String> {
        self.host.clone().or_else(|| std::env::var_os("DOCKER_HOST")?.into_string().ok())
    }

    /// Whether it has an image.
    pub(crate) fn has_image(&self, place: &Place, name: &str) -> bool {
        self.docker(place).args(["image", "inspect", name]).succeeds()
    }
}

fn docker(place: &Place, host: Option<&str>) -> Command {
    let command = Command::new(place, "docker");
    match host {
        Some(host) => command.env("DOCKER_HOST", host),
        None => command,
    }
}

pub(crate) fn is_root(place: &Place) -> Result<bool> {
    Ok(Command::new(place, "id").args(["-u"]).output()?.trim() == "0")
}

/// This machine's address on the default bridge of an engine, if it is this machine's.
fn gateway(docker: Command) -> Result<IpAddr> {
    let format = "{{(index .IPAM.Config 0).Gateway}}";
    let told = docker.args(["network", "inspect", "bridge", "--format", format]).output()?;
    let gateway: IpAddr = told
        .trim()
        .parse()
        .with_context(|| format!("the engine's default bridge has no gateway: `{told}`"))?;
    TcpListener::bind((gateway, 0)).with_context(|| {
        format!("the Docker engine does not run on this machine: {gateway} is not an address of it")
    })?;
    Ok(gateway)
}

/// A network bridge, which is gone when this is dropped.
struct Bridge {
    name: String,
}

impl Bridge {
    fn make(place: &Place) -> Result<Self> {
        remove_orphans(place)?;
        let address = free_network(&fs::read_to_string("/proc/net/route")?)
            .context("every network in 10.213.0.0/16 is routed somewhere already")?;
        let bridge = Self { name: format!("{BRIDGE}{}", process::id()) };
        let ip = |args: &[&str]| Command::new(place, "ip").args(args).run();
        ip(&["link", "add", &bridge.name, "type", "bridge"])?;
        ip(&["address", "add", &format!("{address}/24"), "dev", &bridge.name])?;
        ip(&["link", "set", &bridge.name, "up"])?;
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let mut ip = process::Command::new("ip");
        drop(ip.args(["link", "delete", &self.name]).stderr(process::Stdio::null()).status());
    }
}

/// Removes the bridges of processes that were killed.
fn remove_orphans(place: &Place) -> Result<()> {
    for entry in fs::read_dir("/sys/class/net")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(BRIDGE).and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !PathBuf::from(format!("/proc/{id}")).exists()) {
            Command::new(place, "ip").args(["link", "delete", &name]).run()?;
        }
    }
    Ok(())
}

/// The first address of a network within 10.213.0.0/16 that no route of `routes`, as the kernel prints them, leads to.
fn free_network(routes: &str) -> Option<Ipv4Addr> {
    let field = |line: &str, index| {
        let field = line.split_whitespace().nth(index)?;
        Some(u32::from_str_radix(field, 16).ok()?.swap_bytes())
    };
    // The default route leads everywhere, and says nothing.
    let routes: Vec<(u32, u32)> = routes
        .lines()
        .filter_map(|line| Some((field(line, 1)?, field(line, 7)?)))
        .filter(|(_, mask)| *mask != 0)
        .collect();
    (0..=u8::MAX).map(|third| Ipv4Addr::new(10, 213, third, 1)).find(|address| {
        let bits = u32::from(*address);
        routes.iter().all(|(to, mask)| {
            let mask = mask & u32::from(Ipv4Addr::new(255, 255, 255, 0));
            bits & mask != to & mask
        })
    })
}

/// A directory for sockets, which is gone when this is dropped.
struct ExecRoot(PathBuf);

impl ExecRoot {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{BRIDGE}{}", process::id()));
        if path.exists() {
            bail!("`{}` is there already", path.display());
        }
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for ExecRoot {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::free_network;

    #[test]
    fn a_bridge_gets_a_network_that_leads_nowhere_yet() {
        let head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        let default = "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n";
        let near = "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        let first = "b 0000D50A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n";
        let all = "v 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n";
        let of = |lines: &[&str]| free_network(&[&[head], lines].concat().concat());
        assert_eq!(of(&[default, near]), Some(Ipv4Addr::new(10, 213, 0, 1)));
        assert_eq!(of(&[default, first]), Some(Ipv4Addr::new(10, 213, 1, 1)));
        assert_eq!(of(&[default, all]), None);
    }
}
