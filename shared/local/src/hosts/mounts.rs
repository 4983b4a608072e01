//! Which parts of the machine a host's root must be laid over, and how. Only reads; `namespace` does the mounting.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;

/// Directories that a host shares with the machine as they are: the kernel's own file systems and devices.
pub(super) const SHARED: [&str; 3] = ["/dev", "/proc", "/sys"];

/// One thing to mount in the host's view, at `path`. Parents come before what is below them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// Where it is, on the machine and in the host's view.
    pub(super) path: PathBuf,
    /// What to mount there.
    pub(super) kind: LayerKind,
}

/// What a layer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerKind {
    /// The machine's directory with everything below it, under the host's own.
    Overlay,
    /// Only the names in the machine's directory, under the host's own; layers of their own show what the names mean. A
    /// user namespace may not use a directory as an overlay's lower layer while other file systems, which it has
    /// inherited, are mounted below it.
    Names,
    /// The machine's file, which cannot be written.
    File,
}

/// The mount points of this process that a path really leads to, without those in [`SHARED`] and at or below `except`.
pub(super) fn mount_points(except: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = parse_mountinfo(&table)
        .filter(|mount| mount.point != Path::new("/"))
        .filter(|mount| !is_shared(&mount.point) && !mount.point.starts_with(except))
        .filter(is_on_top)
        .map(|mount| mount.point)
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// One line of `/proc/PID/mountinfo`, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The kernel's number of this mount.
    pub(super) id: u64,
    /// Where it is mounted, seen from the process's root.
    pub(super) point: PathBuf,
    /// The source given when it was mounted.
    pub(super) source: OsString,
}

/// The mounts in the text of `/proc/PID/mountinfo`; a line of another shape is passed over.
pub(super) fn parse_mountinfo(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let point = PathBuf::from(unescaped(fields.nth(3)?));
        fields.find(|field| *field == b"-")?;
        Some(Mount { id, point, source: unescaped(fields.nth(1)?) })
    })
}

/// Undoes the octal escapes of white space and backslashes in the kernel's tables.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let escaped = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    OsString::from_vec(bytes)
}

/// Whether the mount's path leads to it, and not to another mount that covers it. Automatic mounts are not triggered, and
/// a file system that does not answer is not asked. Where this user may not go, the kernel minds what is mounted all the
/// same.
fn is_on_top(mount: &Mount) -> bool {
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    match rustix::fs::statx(CWD, &mount.point, flags, StatxFlags::MNT_ID) {
        Ok(found) => found.stx_mnt_id == mount.id,
        Err(errno) => errno == Errno::ACCESS,
    }
}

fn is_shared(path: &Path) -> bool {
    SHARED.iter().any(|shared| path.starts_with(shared))
}

/// The layers of a host that may lay an overlay over the machine's root itself: one for it, one for each file system
/// that is mounted below.
pub(super) fn whole_layers(mount_points: &[PathBuf]) -> Vec<Layer> {
    let mut layers = vec![Layer { path: PathBuf::from("/"), kind: LayerKind::Overlay }];
    layers.extend(mount_points.iter().map(|path| {
        let kind = if path.is_dir() { LayerKind::Overlay } else { LayerKind::File };
        Layer { path: path.clone(), kind }
    }));
    layers
}

/// The layers of a host in a user namespace: an overlay for each directory without mount points below it, the names
/// alone for the directories above those.
pub(super) fn split_layers(mount_points: &[PathBuf]) -> Vec<Layer> {
    let mut layers = Vec::new();
    split_below(Path::new("/"), mount_points, &mut layers);
    layers
}

fn split_below(path: &Path, mount_points: &[PathBuf], layers: &mut Vec<Layer>) {
    // The shared directories are mount points in all but name, and always directly below the root.
    let has_mounts_below =
        path == Path::new("/") || mount_points.iter().any(|p| p != path && p.starts_with(path));
    let kind = if has_mounts_below { LayerKind::Names } else { LayerKind::Overlay };
    layers.push(Layer { path: path.to_path_buf(), kind });
    if !has_mounts_below {
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let child = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_shared(&child) => {
                split_below(&child, mount_points, layers);
            }
            Ok(kind) if kind.is_file() => {
                layers.push(Layer { path: child, kind: LayerKind::File });
            }
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_table_is_read_with_its_escapes() {
        let table = b"36 25 8:1 / / rw - ext4 /dev/sda1 rw\n\
            40 36 0:9 / /mnt/a\\040b\\134c rw,nosuid shared:7 master:1 - tmpfs my\\011tmp rw\nnonsense\n";
        let mounts: Vec<Mount> = parse_mountinfo(table).collect();
        let expected = [(36, "/", "/dev/sda1"), (40, "/mnt/a b\\c", "my\ttmp")]
            .map(|(id, point, source)| Mount { id, point: point.into(), source: source.into() });
        assert_eq!(mounts, expected);
    }

    #[test]
    fn a_user_namespace_gets_an_overlay_for_each_directory_without_mounts_below() {
        let base = tempfile::tempdir().unwrap();
        let deep = base.path().join("outer/inner");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::create_dir(base.path().join("plain")).unwrap();
        std::fs::write(base.path().join("file"), "").unwrap();
        let mut layers = Vec::new();
        split_below(base.path(), std::slice::from_ref(&deep), &mut layers);
        layers.sort_by(|a, b| a.path.cmp(&b.path));
        let seen: Vec<(PathBuf, LayerKind)> = layers
            .into_iter()
            .map(|layer| (layer.path.strip_prefix(base.path()).unwrap().into(), layer.kind))
            .collect();
        let expected = [
            ("", LayerKind::Names),
            ("file", LayerKind::File),
            ("outer", LayerKind::Names),
            ("outer/inner", LayerKind::Overlay),
            ("plain", LayerKind::Overlay),
        ];
        assert_eq!(seen, expected.map(|(path, kind)| (PathBuf::from(path), kind)));
    }
}
