//! What the tests need beside Rust: a few Debian packages, and Python environments with pinned tools.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

use crate::place::Place;
use crate::run::Command;

/// What is needed, how to see that it is there (a line of shell), and the Debian package that brings it.
type Need = (&'static str, &'static str, &'static str);

const NEEDED: [Need; 9] = [
    ("a C compiler", "command -v cc", "gcc libc6-dev"),
    ("curl", "command -v curl", "curl"),
    ("GNU Wget", "wget --version | grep '^GNU Wget 1'", "wget"),
    ("busybox", "command -v busybox", "busybox"),
    ("make", "command -v make", "make"),
    // Debian keeps it where only root looks.
    ("HAProxy", "PATH=$PATH:/usr/sbin; command -v haproxy", "haproxy"),
    ("Prometheus", "command -v prometheus", "prometheus"),
    ("Python", "command -v python3", "python3"),
    ("Python's venv", "python3 -c 'import ensurepip, venv'", "python3-venv"),
];

/// What is needed for containers and for the emulated cloud.
const NEEDED_FOR_DOCKER: [Need; 6] = [
    ("Docker", "command -v docker && (docker version || command -v dockerd)", "docker.io"),
    ("debootstrap", "command -v debootstrap", "debootstrap"),
    ("curl", "command -v curl", "curl"),
    ("openssl", "command -v openssl", "openssl"),
    ("ip", "command -v ip", "iproute2"),
    ("socat", "command -v socat", "socat"),
];

/// Sees to it that everything is there that all tests need.
pub(crate) fn set_up(place: &Place) -> Result<()> {
    set_up_packages(place)?;
    set_up_python(place)
}

/// Sees to it that all programs are there that building and testing need.
pub(crate) fn set_up_packages(place: &Place) -> Result<()> {
    packages(place, &NEEDED)
}

/// Sees to it that all Python environments are there that tests need. They are mostly waited for.
pub(crate) fn set_up_python(place: &Place) -> Result<()> {
    venv(place, &place.venv(), "tests/requirements.txt", &["aws", "sam", "moto_server"])?;
    venv(place, &place.checkov_venv(), "tests/requirements-checkov.txt", &["checkov"])
}

/// Sees to it that everything is there that containers and the emulated cloud need.
pub(crate) fn set_up_for_docker(place: &Place) -> Result<()> {
    packages(place, &NEEDED_FOR_DOCKER)?;
    venv(place, &place.cloud_venv(), "tests/requirements-cloud.txt", &["ministack"])
}

fn packages(place: &Place, needed: &[Need]) -> Result<()> {
    let missing = missing(place, needed);
    if missing.is_empty() { Ok(()) } else { install(place, &missing) }
}

fn missing(place: &Place, needed: &[Need]) -> Vec<(&'static str, &'static str)> {
    let is_there = |test: &str| {
        let quiet = format!("({test}) >/dev/null 2>&1");
        Command::new(place, "sh").args(["-c", &quiet]).run().is_ok()
    };
    let missing = needed.iter().filter(|(_, test, _)| !is_there(test));
    missing.map(|(what, _, package)| (*what, *package)).collect()
}

fn install(place: &Place, missing: &[(&str, &str)]) -> Result<()> {
    let names: Vec<&str> = missing.iter().map(|(what, _)| *what).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|(_, package)| package.split(' ')).collect();
    let command = format!("apt-get install --yes --no-install-recommends {}", packages.join(" "));
    let is_root = Command::new(place, "id").args(["-u"]).output()?.trim() == "0";
    if !is_root {
        bail!("{} missing; run this once and try again: sudo {command}", names.join(", "));
    }
    let update = "apt-get update --quiet && DEBIAN_FRONTEND=noninteractive ";
    Command::new(place, "sh")
        .args(["-c", &format!("{update}{command}")])
        .run()
        .with_context(|| format!("{} missing, and apt-get does not bring it", names.join(", ")))
}

/// Makes a Python environment, or leaves it alone if it was made from these requirements.
fn venv(place: &Place, venv: &Path, requirements: &str, tools: &[&str]) -> Result<()> {
    let file = place.tree.join(requirements);
    let wanted = fs::read_to_string(&file)?;
    let made_from = venv.join("made-from.txt");
    if fs::read_to_string(&made_from).is_ok_and(|made_from| made_from == wanted) {
        return Ok(());
    }
    Command::new(place, "python3").args(["-m", "venv", "--clear"]).args([venv]).run()?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    Command::new(place, venv.join("bin/python")).args(pip).args([&file]).run()?;
    for tool in tools {
        ensure!(venv.join("bin").join(tool).is_file(), "{requirements} does not bring `{tool}`");
    }
    fs::write(&made_from, wanted)?;
    Ok(())
}
