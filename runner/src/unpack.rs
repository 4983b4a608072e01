//! Unpacking a bundle into a fresh directory (`docs/semantics.md#revisions`). Whether it is the right bundle, by its
//! SHA-256, was checked before. What is unpacked is not forced to the disk: it can be fetched again.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bundle::{BundleError, Entry, EntryKind, Limits};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use engine::appspec::AppSpec;

/// A bundle on the disk.
#[derive(Debug)]
pub struct Unpacked {
    /// The directory that is the bundle's root.
    pub dir: PathBuf,
    /// Its AppSpec.
    pub appspec: AppSpec,
    /// The AppSpec file's path in `dir`.
    pub appspec_file: String,
}

/// Why a bundle could not be unpacked. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bundle itself is wrong.
    #[error(transparent)]
    Bundle(BundleError),
    /// The disk is full.
    #[error("the disk is full at `{}`, where the bundle is unpacked; free some space there", dir.display())]
    DiskFull {
        /// The directory that was written to.
        dir: PathBuf,
    },
    /// Reading or writing failed.
    #[error("unpacking into `{}` failed: {source}; check the disk and the directory's permissions", dir.display())]
    Io {
        /// The directory that was written to.
        dir: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Unpacks the archive at `archive` into `into`, which must not exist yet, with the single top-level folder stripped.
/// Nothing is written outside of it, whatever the archive says.
///
/// # Errors
/// [`UnpackError`]; `into` is gone then.
pub fn unpack(archive: &Path, into: &Path, limits: &Limits) -> Result<Unpacked, UnpackError> {
    let failed = |source| to_error(into, source);
    let file = File::open(archive).map_err(failed)?;
    DirBuilder::new().mode(0o755).create(into).map_err(failed)?;
    let outcome = unpack_file(file, into, limits);
    if outcome.is_err() {
        // What is already wrong is reported; a directory that stays is removed by the next try.
        fs::remove_dir_all(into).ok();
    }
    outcome
}

/// Reads the AppSpec of a bundle that was unpacked before.
///
/// # Errors
/// [`UnpackError::Bundle`] if it is not there any more, or was changed into something wrong.
pub fn read_appspec(dir: &Path) -> Result<AppSpec, UnpackError> {
    for name in ["appspec.yml", "appspec.yaml"] {
        let text = match fs::read(dir.join(name)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(to_error(dir, error)),
        };
        return engine::appspec::parse(&text).map_err(|error| {
            let (position, message) = (error.position, error.message);
            UnpackError::Bundle(BundleError::AppSpec { file: name.to_owned(), position, message })
        });
    }
    Err(UnpackError::Bundle(BundleError::NoAppSpec))
}

fn unpack_file(file: File, into: &Path, limits: &Limits) -> Result<Unpacked, UnpackError> {
    let failed = |source| to_error(into, source);
    let dir = Dir::open_ambient_dir(into, ambient_authority()).map_err(failed)?;
    let mut modes = Vec::new();
    let found = bundle::visit(file, limits, &mut |entry| write(&dir, entry, &mut modes)).map_err(
        |error| {
            if let BundleError::Sink { source, .. } = error {
                failed(source)
            } else {
                UnpackError::Bundle(error)
            }
        },
    )?;
    // Deepest first, and only now: a directory may have a mode that nothing could be written with.
    modes.sort_by(|(a, _), (b, _): &(String, u32)| b.cmp(a));
    for (path, mode) in modes {
        let mode = cap_std::fs::Permissions::from_std(Permissions::from_mode(mode | 0o700));
        dir.set_permissions(path, mode).map_err(failed)?;
    }
    if let Some(prefix) = &found.strip_prefix {
        strip(into, prefix).map_err(failed)?;
    }
    let skipped = found.strip_prefix.as_ref().map_or(0, |prefix| prefix.len() + 1);
    let appspec_file = found.appspec_file.get(skipped..).unwrap_or_default().to_owned();
    Ok(Unpacked { dir: into.to_owned(), appspec: found.appspec, appspec_file })
}

fn write(dir: &Dir, entry: Entry<'_>, modes: &mut Vec<(String, u32)>) -> io::Result<()> {
    if let Some((parent, _)) = entry.path.rsplit_once('/') {
        dir.create_dir_all(parent)?;
    }
    match entry.kind {
        EntryKind::File { mode, reader, .. } => {
            let mut options = OpenOptions::new();
            // The runner itself must be able to read what it installs.
            options.write(true).create_new(true).mode(mode | 0o600);
            let mut file = dir.open_with(entry.path, &options)?.into_std();
            io::copy(reader, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode | 0o400))?;
            file.set_modified(entry.modified)
        }
        EntryKind::HardLink { target } => dir.hard_link(target, dir, entry.path),
        EntryKind::Dir { mode } => {
            modes.push((entry.path.to_owned(), mode));
            dir.create_dir_all(entry.path)
        }
        EntryKind::Symlink { target } => dir.symlink(target, entry.path),
    }
}

/// Moves what lies in the folder `prefix` up into `into`, by making the folder take its place.
fn strip(into: &Path, prefix: &str) -> io::Result<()> {
    let mut aside = into.as_os_str().to_owned();
    aside.push(".strip");
    fs::rename(into.join(prefix), &aside)?;
    fs::remove_dir(into)?;
    fs::rename(&aside, into)
}

fn to_error(dir: &Path, source: io::Error) -> UnpackError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return UnpackError::DiskFull { dir: dir.to_owned() };
    }
    UnpackError::Io { dir: dir.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, SystemTime};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn tgz(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.set_mtime(1_700_000_000);
            if kind.is_file() {
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, name, text.as_bytes()).unwrap();
            } else {
                header.set_size(0);
                tar.append_link(&mut header, name, text).unwrap();
            }
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    const APPSPEC: &str = "version: 0.0\nos: linux\nfiles:\n  - source: /\n    destination: /srv\n";

    #[test]
    fn a_bundle_is_unpacked_without_its_single_folder() {
        let home = tempfile::tempdir().unwrap();
        let archive = home.path().join("bundle");
        let regular = tar::EntryType::Regular;
        let bytes = tgz(&[
            ("top/appspec.yml", regular, APPSPEC),
            ("top/bin/run", regular, "#!/bin/sh\n"),
            ("top/bin/link", tar::EntryType::Symlink, "run"),
            ("top/hard", tar::EntryType::Link, "top/bin/run"),
        ]);
        fs::write(&archive, bytes).unwrap();
        let into = home.path().join("archive");
        let unpacked = unpack(&archive, &into, &Limits::default()).unwrap();
        assert_eq!(
            (unpacked.dir.as_path(), unpacked.appspec_file.as_str()),
            (into.as_path(), "appspec.yml")
        );
        let run = fs::metadata(into.join("bin/run")).unwrap();
        assert_eq!(run.permissions().mode() & 0o7777, 0o755);
        assert_eq!(
            run.modified().unwrap(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
        );
        assert_eq!(fs::read_link(into.join("bin/link")).unwrap(), Path::new("run"));
        assert_eq!(read_appspec(&into).unwrap(), unpacked.appspec);
        assert_eq!(fs::read_to_string(into.join("hard")).unwrap(), "#!/bin/sh\n");
        let mut names: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["archive", "bundle"]);
    }

    #[test]
    fn a_bad_bundle_leaves_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let archive = home.path().join("bundle");
        let into = home.path().join("archive");
        let whole = tgz(&[
            ("appspec.yml", tar::EntryType::Regular, APPSPEC),
            ("x", tar::EntryType::Regular, "x"),
        ]);
        for end in (0..whole.len()).step_by(7) {
            let mut file = File::create(&archive).unwrap();
            file.write_all(&whole[..end]).unwrap();
            assert!(matches!(
                unpack(&archive, &into, &Limits::default()),
                Err(UnpackError::Bundle(_))
            ));
            assert!(!into.exists());
        }
    }

    #[test]
    fn a_full_disk_is_said_and_leaves_nothing_behind() {
        // `/dev/full` answers every write as a full disk does.
        let error =
            io::copy(&mut &b"x"[..], &mut File::options().write(true).open("/dev/full").unwrap())
                .unwrap_err();
        assert!(matches!(to_error(Path::new("/x"), error), UnpackError::DiskFull { .. }));
    }
}
