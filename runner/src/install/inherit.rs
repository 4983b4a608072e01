//! Which SELinux label a file or directory gets from where it will stand.

use std::collections::BTreeMap;

use super::error::InstallError;
use super::host::{Host, split};
use super::journal::Step;
use super::labels::{SeLinux, read};
use super::planned::Staged;

/// Gives what an install makes the labels that it would have had if it had been made in its place: that of the file which
/// it replaces, else that of the policy, else that of the directory.
pub(super) fn inherit(
    host: &Host,
    selinux: &SeLinux,
    staged: &mut [Staged],
    mkdirs: &mut [Step],
) -> Result<(), InstallError> {
    let fresh = label_dirs(host, selinux, mkdirs);
    let mut unknown = Vec::new();
    for file in staged.iter_mut().filter(|file| file.same.is_none()) {
        if file.replaces {
            file.labels.label = read(host, &file.path)?;
        }
        if file.labels.label.is_none() {
            unknown.push(file);
        }
    }
    let paths: Vec<_> = unknown.iter().map(|file| host.outside(&file.path)).collect();
    for (file, label) in unknown.into_iter().zip(selinux.of_policy(&paths)) {
        file.labels.label = match label {
            Some(label) => Some(label),
            None => of_directory(host, &fresh, split(&file.path).0)?,
        };
    }
    Ok(())
}

/// Gives the directories that an install makes the labels that the policy has for them. Without a word of the policy, the
/// kernel gives each that of the directory above it.
fn label_dirs(
    host: &Host,
    selinux: &SeLinux,
    mkdirs: &mut [Step],
) -> BTreeMap<String, Option<String>> {
    let mut dirs: Vec<_> = mkdirs
        .iter_mut()
        .filter_map(|step| match step {
            Step::Mkdir { path, labels, .. } => Some((path.clone(), &mut labels.label)),
            Step::Remove { .. } | Step::Rmdir { .. } | Step::Change { .. } | Step::Place { .. } => {
                None
            }
        })
        .collect();
    let paths: Vec<_> = dirs.iter().map(|(path, _)| host.outside(path)).collect();
    for ((_, place), label) in dirs.iter_mut().zip(selinux.of_policy(&paths)) {
        **place = label;
    }
    dirs.into_iter().map(|(path, label)| (path, label.clone())).collect()
}

/// The label that something new gets from its directory, which may be one of those that will be made (`fresh`): what is
/// at such a path now, if anything, is not what will be there.
fn of_directory(
    host: &Host,
    fresh: &BTreeMap<String, Option<String>>,
    mut dir: &str,
) -> Result<Option<String>, InstallError> {
    loop {
        let label = match fresh.get(dir) {
            Some(label) => label.clone(),
            None => read(host, dir)?,
        };
        if label.is_some() || dir.is_empty() {
            return Ok(label);
        }
        dir = split(dir).0;
    }
}
