//! Packs a directory into a zip archive: the same tree, with the same times, gives the same bytes, whenever and wherever
//! it is packed.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zip::write::{ExtendedFileOptions, FileOptions};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::git::{GitError, GitTree};

/// Where the times of an archive come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mtime {
    /// The files' own modification times
    #[default]
    File,
    /// The last commit of git that changed each file, so that archives are equal on every machine
    Commit,
}

/// A packed directory.
pub(crate) struct Packed {
    /// The archive, at its beginning; it has no name and goes away by itself.
    pub(crate) file: File,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its SHA-256, hex.
    pub(crate) sha256: String,
    /// Files whose time git does not know, so that they have that of the directory's last commit.
    pub(crate) unknown: Vec<String>,
}

/// Why a directory cannot be packed.
#[derive(Debug, Error)]
pub(crate) enum PackError {
    /// Something in it cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that is not UTF-8.
    #[error("`{}` has a name that is not UTF-8; rename it", .0.display())]
    Name(PathBuf),
    /// A device, a pipe or a socket.
    #[error("`{}` is neither a file nor a directory nor a symbolic link; remove it", .0.display())]
    Special(PathBuf),
    /// Git does not say when files changed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The archive cannot be written.
    #[error("the archive cannot be written to the directory for temporary files: {0}")]
    Write(#[source] io::Error),
}

/// Packs everything in `dir` but what is at `except`, a directory that is in use.
pub(crate) fn pack(dir: &Path, except: Option<&Path>) -> Result<Packed, PackError> {
    pack_with(dir, except, Mtime::File)
}

/// The same, with times from where it is said.
pub(crate) fn pack_with(
    dir: &Path,
    except: Option<&Path>,
    mtime: Mtime,
) -> Result<Packed, PackError> {
    let git = match mtime {
        Mtime::File => None,
        Mtime::Commit => Some(GitTree::read(dir)?),
    };
    let mut zip =
        ZipWriter::new(tempfile::tempfile().map_err(PackError::Write)?).set_auto_large_file();
    let mut unknown = Vec::new();
    let mut open = entries(dir, "", except)?;
    while let Some(mut entry) = open.pop() {
        if let Some(git) = &git {
            if entry.path.file_name().is_some_and(|name| name == ".git") {
                continue;
            }
            if !entry.take_from(git) && !entry.kind.is_dir() {
                unknown.push(entry.name.clone());
            }
        }
        if entry.kind.is_dir() {
            zip.add_directory(&entry.name, entry.options()?).map_err(unwritten)?;
            open.extend(entries(&entry.path, &entry.name, except)?);
        } else if entry.kind.is_symlink() {
            let target =
                fs::read_link(&entry.path).map_err(|source| unread(&entry.path, source))?;
            let target = target.to_str().ok_or_else(|| PackError::Name(entry.path.clone()))?;
            zip.add_symlink(&entry.name, target, entry.options()?).map_err(unwritten)?;
        } else if entry.kind.is_file() {
            let mut file = File::open(&entry.path).map_err(|source| unread(&entry.path, source))?;
            zip.start_file(&entry.name, entry.options()?).map_err(unwritten)?;
            io::copy(&mut file, &mut zip).map_err(|source| unread(&entry.path, source))?;
        } else {
            return Err(PackError::Special(entry.path));
        }
    }
    let mut file = zip.finish().map_err(unwritten)?;
    let (size, sha256) = measure(&mut file).map_err(PackError::Write)?;
    Ok(Packed { file, size, sha256, unknown })
}

struct Entry {
    path: PathBuf,
    /// The name in the archive.
    name: String,
    kind: fs::FileType,
    mode: u32,
    /// When it was modified, in seconds since 1970.
    modified: i64,
}

impl Entry {
    /// Takes time and mode from git. False if git does not have the file as it is: then it gets the time of the
    /// directory's last commit, which is the same on every machine, too.
    fn take_from(&mut self, git: &GitTree) -> bool {
        let known = git.file(&self.name);
        self.modified = known.map_or_else(|| git.last(), |tracked| tracked.modified);
        if let Some(tracked) = known {
            self.mode = tracked.mode;
        } else if self.kind.is_dir() && git.has_below(&self.name) {
            self.mode = 0o755;
        }
        known.is_some()
    }

    fn options(&self) -> Result<FileOptions<'static, 'static, ExtendedFileOptions>, PackError> {
        // The mode of a symbolic link means nothing and differs between systems.
        let mode = if self.kind.is_symlink() { 0o777 } else { self.mode };
        // 32 bits hold the time until 2106, and none before 1970.
        let seconds = u32::try_from(self.modified.max(0)).unwrap_or(u32::MAX);
        FileOptions::<ExtendedFileOptions>::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(dos_time(seconds))
            .unix_permissions(mode)
            .with_extended_timestamp(Some(seconds), None, None)
            .map_err(unwritten)
    }
}

/// The time in UTC for tools that read no other one; it begins in 1980.
fn dos_time(seconds: u32) -> DateTime {
    let time = jiff::Timestamp::from_second(i64::from(seconds)).unwrap_or_default();
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    let small = |number: i8| u8::try_from(number).unwrap_or_default();
    let year = u16::try_from(time.year()).unwrap_or_default();
    let (month, day) = (small(time.month()), small(time.day()));
    let (hour, minute, second) = (small(time.hour()), small(time.minute()), small(time.second()));
    DateTime::from_date_and_time(year, month, day, hour, minute, second).unwrap_or_default()
}

/// What is in a directory, the last name first, so that a stack gives the first one.
fn entries(dir: &Path, prefix: &str, except: Option<&Path>) -> Result<Vec<Entry>, PackError> {
    let failed = |source| unread(dir, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if except.is_some() && path.canonicalize().ok().as_deref() == except {
            continue;
        }
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| PackError::Name(path.clone()))?;
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let metadata = fs::symlink_metadata(&path).map_err(|source| unread(&path, source))?;
        found.push(Entry {
            name,
            kind: metadata.file_type(),
            mode: metadata.mode() & 0o7777,
            modified: metadata.mtime(),
            path,
        });
    }
    found.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(found)
}

/// The size in bytes and the SHA-256 of a file; it is at its beginning again afterwards.
pub(crate) fn measure(file: &mut File) -> io::Result<(u64, String)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
        size += u64::try_from(count).unwrap_or_default();
    }
    file.seek(SeekFrom::Start(0))?;
    Ok((size, hex::encode(hash.finalize())))
}

fn unread(path: &Path, source: io::Error) -> PackError {
    PackError::Read { path: path.to_owned(), source }
}

fn unwritten(error: zip::result::ZipError) -> PackError {
    PackError::Write(error.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;

    use super::*;

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for name in names {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        }
        symlink("b/file", place.path().join("link")).unwrap();
        place
    }

    /// Gives everything in a tree one time.
    fn touch(place: &Path, seconds: i64) {
        let script = "find \"$0\" -exec touch -h -d \"@$1\" {} +";
        let seconds = seconds.to_string();
        let place = place.as_os_str();
        let status =
            Command::new("sh").args(["-c", script]).arg(place).arg(seconds).status().unwrap();
        assert!(status.success());
    }

    fn git(place: &Path, args: &[&str], seconds: i64) {
        let time = format!("@{seconds} +0000");
        let output = Command::new("git")
            .args(["-c", "user.name=one", "-c", "user.email=one@example.com"])
            .args(["-c", "protocol.file.allow=always"])
            .args(args)
            .current_dir(place)
            .env("GIT_COMMITTER_DATE", &time)
            .env("GIT_AUTHOR_DATE", &time)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Names, times, and the same by the extra field, as Python reads them.
    fn listed(packed: &mut Packed) -> Vec<(String, String)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::copy(&mut packed.file, &mut file).unwrap();
        let program = "import struct, sys, zipfile
for info in zipfile.ZipFile(sys.argv[1]).infolist():
    number, size, flags, seconds = struct.unpack('<HHBI', info.extra[:9])
    assert (number, size, flags) == (0x5455, 5, 1), info.extra
    print(info.filename, '%d-%02d-%02d %02d:%02d:%02d' % info.date_time, seconds, sep='|')";
        let output = Command::new("python3").args(["-c", program]).arg(file.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| line.split_once('|').unwrap());
        lines.map(|(name, times)| (name.to_owned(), times.to_owned())).collect()
    }

    #[test]
    fn equal_trees_make_equal_archives_whatever_the_order_they_were_made_in() {
        let (one, other) =
            (tree(&["a.txt", "b/file", "b/x/y"]), tree(&["b/x/y", "b/file", "a.txt"]));
        touch(one.path(), 1_700_000_000);
        touch(other.path(), 1_700_000_000);
        let pack = |place: &tempfile::TempDir| pack(place.path(), None).unwrap().sha256;
        assert_eq!(pack(&one), pack(&other));
        touch(other.path(), 1_700_000_001);
        assert_ne!(pack(&one), pack(&other));
    }

    #[test]
    fn modification_times_are_kept_to_the_second() {
        let place = tree(&["a.txt", "b/file"]);
        for (seconds, dos) in [
            (1_700_000_001, "2023-11-14 22:13:20|1700000001"),
            (86_400, "1980-01-01 00:00:00|86400"),
            (4_102_444_799, "2099-12-31 23:59:58|4102444799"),
        ] {
            touch(place.path(), seconds);
            let mut packed = pack(place.path(), None).unwrap();
            let mut seen = Vec::new();
            bundle::visit(&mut packed.file, &bundle::Limits::default(), &mut |entry| {
                let since = entry.modified.duration_since(std::time::UNIX_EPOCH).unwrap();
                seen.push((entry.path.to_owned(), since.as_secs()));
                Ok(())
            })
            .unwrap_err();
            let names = ["a.txt", "b", "b/file", "link"];
            let seconds = u64::try_from(seconds).unwrap();
            assert_eq!(seen, names.map(|name| (name.to_owned(), seconds)));
            packed.file.seek(SeekFrom::Start(0)).unwrap();
            let names = ["a.txt", "b/", "b/file", "link"];
            let expected = names.map(|name| (name.to_owned(), dos.to_owned()));
            assert_eq!(listed(&mut packed), expected);
        }
    }

    #[test]
    fn with_the_times_of_commits_archives_are_equal_on_every_machine() {
        let place = tree(&["app/a.txt", "app/b/file", "other"]);
        git(place.path(), &["init", "-q", "-b", "main"], 0);
        git(place.path(), &["add", "app"], 0);
        git(place.path(), &["commit", "-qm", "one"], 1_600_000_000);
        fs::write(place.path().join("app/a.txt"), "new").unwrap();
        git(place.path(), &["commit", "-qam", "two"], 1_600_000_100);
        git(place.path(), &["add", "other"], 0);
        git(place.path(), &["commit", "-qm", "elsewhere"], 1_600_000_200);
        let clone = tempfile::tempdir().unwrap();
        let from = format!("file://{}", place.path().display());
        git(clone.path(), &["clone", "-q", &from, "full"], 0);
        let full = clone.path().join("full/app");
        // A checkout with another umask, at another time.
        fs::set_permissions(full.join("b"), fs::Permissions::from_mode(0o775)).unwrap();
        fs::set_permissions(full.join("a.txt"), fs::Permissions::from_mode(0o775)).unwrap();
        touch(&full, 1_700_000_000);
        let pack = |dir: &Path| pack_with(dir, None, Mtime::Commit);
        let here = place.path().join("app");
        let mut one = pack(&here).unwrap();
        let other = pack(&full).unwrap();
        assert_eq!(one.sha256, other.sha256);
        assert!(one.unknown.is_empty() && other.unknown.is_empty());
        let times = listed(&mut one)
            .into_iter()
            .map(|(name, times)| format!("{name} {}", times.rsplit_once('|').unwrap().1));
        let expected = ["a.txt 1600000100", "b/ 1600000100", "b/file 1600000000"];
        assert_eq!(times.collect::<Vec<_>>(), expected);

        // What git does not have as it is.
        fs::write(here.join("a.txt"), "edited").unwrap();
        fs::write(here.join("built"), "built").unwrap();
        let mut packed = pack(&here).unwrap();
        assert_eq!(packed.unknown, ["a.txt", "built"]);
        assert!(listed(&mut packed).iter().all(|(name, times)| {
            times.ends_with("1600000100") || (name == "b/file" && times.ends_with("1600000000"))
        }));

        // The whole repository, without what git keeps there.
        let packed = pack(place.path()).unwrap();
        let archive = zip::ZipArchive::new(packed.file).unwrap();
        assert!(archive.file_names_raw().all(|name| !name.starts_with(b".git/")));

        git(clone.path(), &["clone", "-q", "--depth", "1", &from, "shallow"], 0);
        let error = pack(&clone.path().join("shallow/app")).err().unwrap();
        assert!(error.to_string().contains("git fetch --unshallow"), "{error}");
        let bare = tempfile::tempdir().unwrap();
        let error = pack(bare.path()).err().unwrap();
        assert!(error.to_string().contains("not a git repository"), "{error}");
        git(bare.path(), &["init", "-q"], 0);
        let error = pack(bare.path()).err().unwrap();
        assert!(error.to_string().contains("needs a directory with a commit"), "{error}");
    }

    #[test]
    fn a_merge_counts_for_the_files_that_it_changes_itself() {
        let place = tree(&["a"]);
        git(place.path(), &["init", "-q", "-b", "main"], 0);
        git(place.path(), &["add", "."], 0);
        git(place.path(), &["commit", "-qm", "one"], 1_600_000_000);
        git(place.path(), &["checkout", "-qb", "side"], 0);
        fs::write(place.path().join("a"), "side").unwrap();
        git(place.path(), &["commit", "-qam", "side"], 1_600_000_010);
        git(place.path(), &["checkout", "-q", "main"], 0);
        fs::write(place.path().join("a"), "main").unwrap();
        git(place.path(), &["commit", "-qam", "main"], 1_600_000_020);
        git(place.path(), &["merge", "-q", "--no-commit", "-s", "ours", "side"], 0);
        fs::write(place.path().join("a"), "both").unwrap();
        git(place.path(), &["commit", "-qam", "merge"], 1_600_000_030);
        let mut packed = pack_with(place.path(), None, Mtime::Commit).unwrap();
        let times = listed(&mut packed);
        assert!(times[0].1.ends_with("|1600000030"), "{times:?}");
        assert!(times[1].1.ends_with("|1600000000"), "{times:?}");
    }

    #[test]
    fn modes_and_links_are_kept_and_the_exception_is_left_out() {
        let place = tree(&["a.txt", "b/file", ".cutover/lock"]);
        let except = place.path().join(".cutover").canonicalize().unwrap();
        let packed = pack(place.path(), Some(&except)).unwrap();
        let mut archive = zip::ZipArchive::new(packed.file).unwrap();
        let entries: Vec<(String, u32)> = (0..archive.len())
            .map(|index| {
                let entry = archive.by_index(index).unwrap();
                (entry.name().unwrap().into_owned(), entry.unix_mode().unwrap())
            })
            .map(|(name, mode)| {
                (name, if mode & 0o170_000 == 0o040_000 { 0o040_000 } else { mode })
            })
            .collect();
        let expected =
            [("a.txt", 0o100_750), ("b/", 0o040_000), ("b/file", 0o100_750), ("link", 0o120_777)];
        assert_eq!(entries, expected.map(|(name, mode)| (name.to_owned(), mode)));
    }

    #[test]
    fn a_socket_is_refused_by_its_name() {
        let place = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(place.path().join("s")).unwrap();
        assert!(
            matches!(pack(place.path(), None).err().unwrap(), PackError::Special(path) if path.ends_with("s"))
        );
    }
}
