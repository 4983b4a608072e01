//! Unpacking a bundle into a fresh directory (`docs/semantics.md#revisions`). Whether it is the right bundle, by its
//! SHA-256, was checked before. What is unpacked is not forced to the disk: it can be fetched again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bundle::{BundleError, Entry, EntryKind, Limits, names};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use engine::appspec::AppSpec;
use rustix::fs::{AtFlags, Timespec, Timestamps};

/// A bundle on the disk.
#[derive(Debug)]
pub struct Unpacked {
    /// What was taken, but most likely not meant, in sentences.
    pub warnings: Vec<String>,
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
    let there = "it was there when the bundle was unpacked; deploy again".to_owned();
    Err(UnpackError::Bundle(BundleError::NoAppSpec { there }))
}

fn unpack_file(file: File, into: &Path, limits: &Limits) -> Result<Unpacked, UnpackError> {
    let failed = |source| to_error(into, source);
    let dir = Dir::open_ambient_dir(into, ambient_authority()).map_err(failed)?;
    let mut dirs = Dirs::new();
    let found = bundle::visit(file, limits, &mut |entry| write(&dir, entry, &mut dirs)).map_err(
        |error| {
            if let BundleError::Sink { source, .. } = error {
                failed(source)
            } else {
                UnpackError::Bundle(error)
            }
        },
    )?;
    // Deepest first, and only now: a directory may have a mode that nothing could be written with, and what is written in
    // it changes its time.
    for (path, (mode, modified)) in dirs.into_iter().rev() {
        let path = names::to_os(&path);
        let mode = cap_std::fs::Permissions::from_std(Permissions::from_mode(mode | 0o700));
        dir.set_permissions(&path, mode).map_err(failed)?;
        set_modified(&dir, &path, modified).map_err(failed)?;
    }
    if let Some(prefix) = &found.strip_prefix {
        strip(into, &names::to_os(prefix)).map_err(failed)?;
    }
    let skipped = found.strip_prefix.as_ref().map_or(0, |prefix| prefix.len() + 1);
    let appspec_file = found.appspec_file.get(skipped..).unwrap_or_default().to_owned();
    let (appspec, warnings) = (found.appspec, found.warnings);
    Ok(Unpacked { warnings, dir: into.to_owned(), appspec, appspec_file })
}

/// The modes and times of directories, which come in any order, and may come again.
type Dirs = BTreeMap<String, (u32, SystemTime)>;

fn write(dir: &Dir, entry: Entry<'_>, dirs: &mut Dirs) -> io::Result<()> {
    let path = names::to_os(entry.path);
    if let Some((parent, _)) = entry.path.rsplit_once('/') {
        dir.create_dir_all(names::to_os(parent))?;
    }
    if entry.replaces {
        // Whatever it is, a link too: nothing is written through it.
        dir.remove_file(&path)?;
    }
    match entry.kind {
        EntryKind::File { mode, reader, .. } => {
            let mut options = OpenOptions::new();
            // The runner itself must be able to read what it installs.
            options.write(true).create_new(true).mode(mode | 0o600);
            let mut file = dir.open_with(&path, &options)?.into_std();
            io::copy(reader, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode | 0o400))?;
            file.set_modified(entry.modified)
        }
        EntryKind::HardLink { target } => dir.hard_link(names::to_os(target), dir, &path),
        EntryKind::Dir { mode } => {
            dirs.insert(entry.path.to_owned(), (mode, entry.modified));
            dir.create_dir_all(&path)
        }
        EntryKind::Symlink { target } => {
            // It may lead anywhere: it is installed as it is.
            dir.symlink_contents(names::to_os(target), &path)?;
            set_modified(dir, &path, entry.modified)
        }
    }
}

/// Sets the time of a directory, or of a link itself. What it lies in are directories, and no links to any.
fn set_modified(dir: &Dir, path: &OsStr, modified: SystemTime) -> io::Result<()> {
    let (seconds, nanoseconds) = match modified.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => (i128::from(since.as_secs()), since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (-i128::from(before.as_secs()), 0),
                nanoseconds => (-i128::from(before.as_secs()) - 1, 1_000_000_000 - nanoseconds),
            }
        }
    };
    let time = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or_default(),
        tv_nsec: i64::from(nanoseconds),
    };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(dir, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Moves what lies in the folder `prefix` up into `into`, by making the folder take its place.
fn strip(into: &Path, prefix: &OsStr) -> io::Result<()> {
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
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::process::Command;
    use std::time::Duration;

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

    /// Unpacks what a shell has packed as `$OUT`, in a directory with an AppSpec file.
    fn unpacked(script: &str) -> (tempfile::TempDir, Unpacked) {
        let home = tempfile::tempdir().unwrap();
        let (from, archive) = (home.path().join("from"), home.path().join("bundle"));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("appspec.yml"), APPSPEC).unwrap();
        let status = Command::new("sh")
            .args(["-ec", script])
            .current_dir(&from)
            .env("OUT", &archive)
            .status()
            .unwrap();
        assert!(status.success());
        let unpacked = unpack(&archive, &home.path().join("archive"), &Limits::default()).unwrap();
        (home, unpacked)
    }

    #[test]
    fn times_of_files_links_and_directories_are_those_of_the_archive() {
        let (home, unpacked) = unpacked(
            "mkdir -p d/e; echo >d/e/f; ln -s f d/e/l; touch -d @1600000001.5 appspec.yml d/e/f
             touch -hd @1600000002 d/e/l; touch -d @1600000003 d/e; touch -d @-1600000004.25 d
             tar --format=posix -cf $OUT *",
        );
        for name in ["appspec.yml", "d", "d/e", "d/e/f", "d/e/l"] {
            let times = |dir: &Path| {
                let meta = dir.join(name).symlink_metadata().unwrap();
                (meta.mtime(), meta.mtime_nsec())
            };
            assert_eq!(times(&unpacked.dir), times(&home.path().join("from")), "{name}");
        }
    }

    #[test]
    fn links_that_lead_out_are_unpacked_as_they_are_and_nothing_is_written_through_them() {
        let (home, unpacked) = unpacked(
            "mkdir ../outside; echo old >../outside/f; mkdir -p venv/bin
             ln -s /usr/bin/python3 venv/bin/python; ln -s ../../outside storage
             ln -s ../outside/f f; tar -cf $OUT *; rm f; echo new >f; tar -rf $OUT f
             ln f g; tar -rf $OUT f g",
        );
        let link = |name: &str| fs::read_link(unpacked.dir.join(name)).unwrap();
        assert_eq!(link("venv/bin/python"), Path::new("/usr/bin/python3"));
        assert_eq!(link("storage"), Path::new("../../outside"));
        assert_eq!(fs::read_to_string(unpacked.dir.join("f")).unwrap(), "new\n");
        assert_eq!(fs::read_to_string(unpacked.dir.join("g")).unwrap(), "new\n");
        let outside = home.path().join("outside/f");
        assert_eq!(fs::read_to_string(outside).unwrap(), "old\n");
        let said = "`f` is in the archive more than once; the last one counts";
        assert_eq!(unpacked.warnings, [said, said]);
    }

    #[test]
    fn names_that_are_no_text_are_unpacked_as_they_are() {
        let (_home, unpacked) = unpacked(
            "d=$(printf 'gr\\374n'); mkdir $d; echo one >$d/$d; ln -s $d/$d link; ln $d/$d hard
             tar -cf $OUT *",
        );
        let name = OsStr::from_bytes(b"gr\xfcn");
        let path = unpacked.dir.join(name).join(name);
        assert_eq!(fs::read_to_string(path).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(unpacked.dir.join("link")).unwrap(), "one\n");
        assert_eq!(fs::read_to_string(unpacked.dir.join("hard")).unwrap(), "one\n");
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
