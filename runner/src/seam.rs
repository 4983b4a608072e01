//! Where the agent hands over to what deals with files.

use std::path::Path;

use engine::DeploymentId;
use engine::appspec::FileExistsBehavior;

use crate::root::HostRoot;

pub(crate) fn install(
    root: &HostRoot,
    _group: &Path,
    _deployment: &DeploymentId,
    archive: &Path,
    _behavior: FileExistsBehavior,
) -> Result<String, String> {
    let HostRoot::Prefix(root) = root else { return Err("TEMP".to_owned()) };
    for file in crate::archive::read_appspec(archive)?.files {
        let to = root.join(file.destination.trim_start_matches('/'));
        std::fs::create_dir_all(&to).map_err(|error| error.to_string())?;
        let from = archive.join(file.source.trim_start_matches('/'));
        std::fs::copy(&from, to.join(from.file_name().unwrap_or_default()))
            .map_err(|error| error.to_string())?;
    }
    Ok(String::new())
}

pub(crate) fn recover(_root: &HostRoot, _group: &Path) -> Result<(), String> {
    Ok(())
}
