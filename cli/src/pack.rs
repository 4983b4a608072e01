//! Packs a directory into a zip archive: the same tree gives the same bytes, whenever and wherever it is packed.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use thiserror::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// A packed directory.
pub(crate) struct Packed {
    /// The archive, at its beginning; it has no name and goes away by itself.
    pub(crate) file: File,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its SHA-256, hex.
    pub(crate) sha256: String,
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
    /// The archive cannot be written.
    #[error("the archive cannot be written to the directory for temporary files: {0}")]
    Write(#[source] io::Error),
}

/// Packs everything in `dir` but what is at `except`, a directory that is in use.
pub(crate) fn pack(dir: &Path, except: Option<&Path>) -> Result<Packed, PackError> {
    let mut zip =
        ZipWriter::new(tempfile::tempfile().map_err(PackError::Write)?).set_auto_large_file();
    let mut open = entries(dir, "", except)?;
    while let Some(entry) = open.pop() {
        if entry.kind.is_dir() {
            zip.add_directory(&entry.name, options(entry.mode)).map_err(unwritten)?;
            open.extend(entries(&entry.path, &entry.name, except)?);
        } else if entry.kind.is_symlink() {
            let target =
                fs::read_link(&entry.path).map_err(|source| unread(&entry.path, source))?;
            let target = target.to_str().ok_or_else(|| PackError::Name(entry.path.clone()))?;
            // The mode of a symbolic link means nothing and differs between systems.
            zip.add_symlink(&entry.name, target, options(0o777)).map_err(unwritten)?;
        } else if entry.kind.is_file() {
            let mut file = File::open(&entry.path).map_err(|source| unread(&entry.path, source))?;
            zip.start_file(&entry.name, options(entry.mode)).map_err(unwritten)?;
            io::copy(&mut file, &mut zip).map_err(|source| unread(&entry.path, source))?;
        } else {
            return Err(PackError::Special(entry.path));
        }
    }
    let mut file = zip.finish().map_err(unwritten)?;
    let (size, sha256) = measure(&mut file).map_err(PackError::Write)?;
    Ok(Packed { file, size, sha256 })
}

struct Entry {
    path: PathBuf,
    /// The name in the archive.
    name: String,
    kind: fs::FileType,
    mode: u32,
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
            path,
        });
    }
    found.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(found)
}

fn options(mode: u32) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(mode)
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

    #[test]
    fn equal_trees_make_equal_archives_whatever_the_order_and_time_they_were_made_in() {
        let one = pack(tree(&["a.txt", "b/file", "b/x/y"]).path(), None).unwrap();
        let other = pack(tree(&["b/x/y", "b/file", "a.txt"]).path(), None).unwrap();
        assert_eq!((one.size, one.sha256), (other.size, other.sha256));
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
