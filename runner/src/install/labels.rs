//! What a file gets from where it will stand, besides owner and mode: its SELinux label, and the default ACL of its
//! directory. It is staged elsewhere, where the kernel gives it others.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::InstallError;
use super::host::Host;

const LABEL: &str = "security.selinux";
const DEFAULT_ACL: &str = "system.posix_acl_default";
const ACCESS_ACL: &str = "system.posix_acl_access";
/// How many labels are asked for at once.
const ASKED: usize = 200;

/// SELinux of a host.
#[derive(Debug, Clone)]
pub struct SeLinux {
    /// The program that knows which label the policy has for a path, where it is installed.
    pub matchpathcon: Option<PathBuf>,
}

impl SeLinux {
    /// That of this host, if it has it.
    pub fn of_this_host() -> Option<Self> {
        let programs = ["/usr/sbin/matchpathcon", "/sbin/matchpathcon"].map(Path::new);
        let program = programs.into_iter().find(|program| program.is_file());
        Path::new("/sys/fs/selinux/enforce")
            .exists()
            .then(|| Self { matchpathcon: program.map(Path::to_owned) })
    }

    /// Which labels the policy has for these paths; none where it has none, or cannot be asked.
    pub(super) fn of_policy(&self, paths: &[PathBuf]) -> Vec<Option<String>> {
        let ask = |paths: &[PathBuf]| {
            let mut command = Command::new(self.matchpathcon.as_ref()?);
            let output = command.arg("-n").args(paths).stdin(Stdio::null()).output().ok()?;
            let said = String::from_utf8(output.stdout).ok()?;
            let labels: Vec<_> =
                said.lines().map(|line| line.contains(':').then(|| line.to_owned())).collect();
            (labels.len() == paths.len()).then_some(labels)
        };
        paths
            .chunks(ASKED)
            .flat_map(|paths| ask(paths).unwrap_or_else(|| vec![None; paths.len()]))
            .collect()
    }
}

/// The label of what is at a path.
pub(super) fn read(host: &Host, path: &str) -> Result<Option<String>, InstallError> {
    let label = host
        .attribute(path, LABEL)
        .map_err(InstallError::io("reading the label of", host.outside(path)))?;
    Ok(label.and_then(|label| String::from_utf8(label).ok()).map(|label| label.replace('\0', "")))
}

/// Sets a label, where the file system and the runner's rights allow it.
pub(super) fn set_label(host: &Host, path: &str, label: Option<&String>) {
    if let Some(label) = label
        && let Err(error) = host.set_attribute(path, LABEL, format!("{label}\0").as_bytes())
    {
        tracing::warn!(%error, path, label, "the SELinux label could not be set");
    }
}

/// The default ACL of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DefaultAcl(Vec<u8>);

impl DefaultAcl {
    pub(super) fn of(host: &Host, dir: &str) -> io::Result<Option<Self>> {
        Ok(host.attribute_of_dir(dir, DEFAULT_ACL)?.map(Self))
    }

    /// The permissions that a new file has at most.
    pub(super) fn mode(&self) -> u32 {
        // After four bytes of a version, entries of a tag (2), permissions (2) and a user or group (4), little endian.
        let (entries, _) = self.0.get(4..).unwrap_or_default().as_chunks::<8>();
        let of = |wanted: u16| {
            let entry = entries.iter().find(|[a, b, ..]| u16::from_le_bytes([*a, *b]) == wanted)?;
            let [_, _, a, b, ..] = *entry;
            Some(u32::from(u16::from_le_bytes([a, b])) & 0o7)
        };
        let (user, group, mask, other) = (of(0x01), of(0x04), of(0x10), of(0x20));
        let bits = |entry: Option<u32>| entry.unwrap_or(0o7);
        bits(user) << 6 | bits(mask.or(group)) << 3 | bits(other)
    }

    /// Makes it the ACL of a file, whose mode has to be set after it.
    pub(super) fn apply(&self, host: &Host, path: &str) -> io::Result<()> {
        host.set_attribute(path, ACCESS_ACL, &self.0)
    }
}
