//! The images of containers: a small Debian for EC2 hosts, and the same with Lambda's runtime interface emulator.
//!
//! They are made on this machine from its own Debian mirror, so that nothing has to be fetched from a registry of images.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::docker::{Engine, is_root};
use crate::place::Place;
use crate::run::Command;

/// What EC2 instances of the emulated cloud are started from.
pub(crate) const HOST: &str = "cutover/debian:12";

/// What a host has beside a minimal Debian: what an image for EC2 has, and the command document needs.
const PACKAGES: &str = "ca-certificates,curl";

/// Sees to it that the engine has the image of a host.
pub(crate) fn host(place: &Place, engine: &Engine) -> Result<()> {
    if engine.has_image(place, HOST) {
        return Ok(());
    }
    let files = debian(place)?;
    engine.docker(place).args(["import"]).args([&files]).args([HOST]).run()
}

/// Makes an image for functions: the host's, with Lambda's runtime interface emulator, and `variables` set.
pub(crate) fn function(
    place: &Place,
    engine: &Engine,
    name: &str,
    emulator: &Path,
    variables: &[(&str, String)],
) -> Result<()> {
    host(place, engine)?;
    let context = place.scratch("function-image")?;
    std::fs::copy(emulator, context.join("aws-lambda-rie"))?;
    let entry = context.join("lambda-entrypoint.sh");
    std::fs::write(&entry, "#!/bin/sh\nexec /usr/local/bin/aws-lambda-rie /var/task/bootstrap\n")?;
    std::fs::set_permissions(&entry, Permissions::from_mode(0o755))?;
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| format!("ENV {name}={value}\n")).collect();
    let dockerfile = format!(
        "FROM {HOST}\n\
         COPY aws-lambda-rie /usr/local/bin/\n\
         COPY lambda-entrypoint.sh /\n\
         WORKDIR /var/task\n\
         {}\
         ENTRYPOINT [\"/lambda-entrypoint.sh\"]\n",
        variables.concat()
    );
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    // What was made of it before has other variables, and would be used again.
    let repository = name.split(':').next().unwrap_or(name);
    let old = engine.docker(place).args(["image", "ls", "--quiet", repository]).output()?;
    for image in old.lines() {
        engine.docker(place).args(["image", "rm", "--force", image]).succeeds();
    }
    engine.docker(place).args(["build", "--quiet", "--tag", name]).args([&context]).run()
}

/// The files of a small Debian as an archive, which is kept in the user's cache between runs.
fn debian(place: &Place) -> Result<PathBuf> {
    let cache = cache()?;
    std::fs::create_dir_all(&cache)?;
    let archive = cache.join(format!("debian-12,{PACKAGES}.tar"));
    if archive.is_file() {
        return Ok(archive);
    }
    ensure!(is_root(place)?, "the image of a host is not made yet, and only root can make it");
    let scratch = place.scratch("debian")?;
    let (root, made) = (scratch.join("root"), scratch.join("made.tar"));
    // The mirror that this machine is configured with, if it is a Debian of this version; else debootstrap's own choice.
    let mirror = Command::new(place, "apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
        "Codename: bookworm",
    ]);
    let mirror = mirror.output().unwrap_or_default();
    Command::new(place, "debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"])
        .args([&root])
        .args(mirror.lines().next())
        .run()?;
    let left_out = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*"];
    let tar = Command::new(place, "tar").arg_path("--directory", &root);
    tar.args(left_out).arg_path("--file", &made).args(["--create", "."]).run()?;
    std::fs::remove_dir_all(&root)?;
    // Renamed only when it is whole; the cache may be on another file system.
    let part = archive.with_extension("part");
    std::fs::copy(&made, &part)?;
    std::fs::rename(&part, &archive)?;
    std::fs::remove_file(&made)?;
    Ok(archive)
}

fn cache() -> Result<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = named("XDG_CACHE_HOME")
        .or_else(|| Some(named("HOME")?.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME says where a cache may be")?;
    Ok(base.join("cutover-tests"))
}
