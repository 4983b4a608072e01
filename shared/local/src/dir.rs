//! The directory of a home: its lock, its version, its keys, the ports of its last run, and where it is found.
//!
//! ```text
//! DIR/version          the version of the directory's layout
//! DIR/lock             held by the home that runs
//! DIR/keys.json        the key pair of this home (mode 0600)
//! DIR/ports.json       the ports of the last run
//! DIR/endpoints.json   while the home runs (mode 0600)
//! DIR/state.sqlite     the table
//! DIR/s3/              the buckets
//! DIR/hosts/           the hosts
//! DIR/spool/           bundles that are being checked
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use durable::Disk;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;

/// The layout that this version of Cutover writes.
const VERSION: u32 = 1;

/// How long a start waits for the home that runs in the same directory to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// What is wrong with a home's directory.
#[derive(Debug, Error)]
pub enum DirError {
    /// A file cannot be read or written.
    #[error("`{}` cannot be used: check the disk, and that it belongs to this user", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file has another content than this version writes.
    #[error("`{}` is damaged: remove it, and start again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The directory is of a newer version.
    #[error("`{}` was last used by a newer version of Cutover (layout {found}, this version knows {VERSION}): use that version, or another directory", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Another home runs in the directory.
    #[error("another `cutover up` runs in `{}`: end it, or choose another directory with --dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// A home's directory that this process holds.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    /// What a home makes and was not there before; nothing where a home has lived here.
    missing: Vec<PathBuf>,
    /// Whether the directory itself was not there either.
    is_made: bool,
    _lock: File,
}

/// The key pair of a home.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
}

/// The ports of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Of the API.
    pub api: u16,
    /// Of S3.
    pub s3: u16,
}

/// Where a running home is found: the content of `endpoints.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The URL of the API.
    pub api: String,
    /// The URL of S3.
    pub s3: String,
    /// The URL of the table, if this run was asked to have it on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamodb: Option<String>,
    /// The region to sign for.
    pub region: String,
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The bucket that revisions are uploaded to.
    pub bucket: String,
}

impl Endpoints {
    /// Reads `endpoints.json` of the home in `dir`; none if no home runs there.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(dir: &Path) -> Result<Option<Self>, DirError> {
        read(&dir.join(ENDPOINTS))
    }
}

const ENDPOINTS: &str = "endpoints.json";

/// Whether a home has ever lived in `dir`.
pub fn is_home(dir: &Path) -> bool {
    dir.join("version").exists()
}

impl Dir {
    /// Makes the directory if it is missing, and takes its lock; waits up to five seconds for who holds it.
    ///
    /// # Errors
    /// See [`DirError`].
    pub fn open(path: &Path) -> Result<Self, DirError> {
        let failed = |source| DirError::File { path: path.to_owned(), source };
        let is_made = !path.exists();
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let lock = take_lock(&path)?;
        let missing = if is_home(&path) { Vec::new() } else { missing_in(&path) };
        let dir = Self { path, missing, is_made, _lock: lock };
        match read::<u32>(&dir.file("version"))? {
            Some(found) if found > VERSION => {
                return Err(DirError::Newer { path: dir.path, found });
            }
            Some(_) => {}
            None => dir.write("version", &VERSION)?,
        }
        // Left by a home that was killed: nobody answers there.
        dir.remove_endpoints()?;
        // Left by a home that was killed: what it read is read again.
        let spool = dir.file("spool");
        match fs::remove_dir_all(&spool) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(DirError::File { path: spool, source });
            }
            Ok(()) | Err(_) => {}
        }
        for name in ["spool", "hosts"] {
            let path = dir.file(name);
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&path)
                .map_err(|source| DirError::File { path, source })?;
        }
        Ok(dir)
    }

    /// Removes what a home has made here since it was opened, if none has lived here before. What cannot be removed stays.
    pub fn undo(&self) {
        for path in &self.missing {
            let removed =
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            if let Err(error) = removed.or_else(unless_missing) {
                warn!(%error, path = %path.display(), "cannot be removed");
            }
        }
        if self.is_made && !self.missing.is_empty() {
            // Not if somebody has put something there meanwhile.
            drop(fs::remove_dir(&self.path));
        }
    }

    /// The directory itself, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or directory in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The key pair, which `make` makes the first time.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn keys(&self, make: impl FnOnce() -> KeyPair) -> Result<KeyPair, DirError> {
        if let Some(keys) = read(&self.file("keys.json"))? {
            return Ok(keys);
        }
        let keys = make();
        self.write("keys.json", &keys)?;
        Ok(keys)
    }

    /// The ports of the last run, or zeros.
    pub fn last_ports(&self) -> Ports {
        // What is damaged here costs no more than other ports.
        read(&self.file("ports.json")).ok().flatten().unwrap_or_default()
    }

    /// Keeps the ports of this run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_ports(&self, ports: Ports) -> Result<(), DirError> {
        self.write("ports.json", &ports)
    }

    /// Says where the home is found.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_endpoints(&self, endpoints: &Endpoints) -> Result<(), DirError> {
        self.write(ENDPOINTS, endpoints)
    }

    /// Says that no home runs here any more.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove_endpoints(&self) -> Result<(), DirError> {
        let path = self.file(ENDPOINTS);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(DirError::File { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a file whole or not at all, readable by this user alone.
    fn write<T: Serialize>(&self, name: &str, content: &T) -> Result<(), DirError> {
        let path = self.file(name);
        let text = serde_json::to_vec_pretty(content).map_err(io::Error::other);
        let written = text.and_then(|text| Disk::default().replace(&path, &text, 0o600));
        written.map_err(|source| DirError::File { path, source })
    }
}

/// Everything that a home makes in its directory. The lock is the last to go.
const MADE: [&str; 13] = [
    "balancers.json",
    "endpoints.json",
    "hosts",
    "keys.json",
    "ports.json",
    "s3",
    "spool",
    "state.sqlite",
    "state.sqlite-shm",
    "state.sqlite-wal",
    "state.sqlite-journal",
    "version",
    "lock",
];

/// What of that is not there. The lock is held by now, and is this home's own.
fn missing_in(dir: &Path) -> Vec<PathBuf> {
    let all = MADE.iter().map(|name| dir.join(name));
    all.filter(|path| path.ends_with("lock") || !path.exists()).collect()
}

/// Success where what was to be removed is not there.
pub(crate) fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DirError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| DirError::Damaged { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DirError::File { path: path.to_owned(), source }),
    }
}

/// Whether a home holds the lock of `dir`: it starts, runs or ends.
pub fn is_held(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join("lock")) else { return false };
    let tried = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
    matches!(tried, Err(Errno::WOULDBLOCK))
}

fn take_lock(dir: &Path) -> Result<File, DirError> {
    let path = dir.join("lock");
    let failed = |source| DirError::File { path: path.clone(), source };
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)
    };
    let mut file = open()?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(&file, &path) => return Ok(file),
            // A start that failed has removed it.
            Ok(()) => file = open()?,
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(Errno::WOULDBLOCK) => return Err(DirError::Locked { path: dir.to_owned() }),
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}

/// Whether a file is the one that is found at `path` now.
fn is_at(file: &File, path: &Path) -> bool {
    let same = |found: &fs::Metadata| {
        file.metadata().is_ok_and(|held| held.ino() == found.ino() && held.dev() == found.dev())
    };
    fs::metadata(path).is_ok_and(|found| same(&found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_home_that_never_was_nothing_is_left_but_what_was_there_before() {
        let place = tempfile::tempdir().unwrap();
        let new = place.path().join("new");
        for _ in 0..2 {
            let dir = Dir::open(&new).unwrap();
            dir.keys(|| KeyPair { access_key_id: "i".into(), secret_access_key: "s".into() })
                .unwrap();
            dir.undo();
            drop(dir);
            assert!(!new.exists());
        }
        let theirs = place.path().join("hosts/theirs");
        fs::create_dir_all(&theirs).unwrap();
        Dir::open(place.path()).unwrap().undo();
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().flatten().collect();
        assert!(theirs.exists() && left.len() == 1, "{left:?}");
        drop(Dir::open(place.path()).unwrap());
        Dir::open(place.path()).unwrap().undo();
        assert!(is_home(place.path()), "where a home has lived, nothing is undone");
    }

    #[test]
    fn a_directory_is_held_by_its_home_and_by_nobody_who_looks() {
        let place = tempfile::tempdir().unwrap();
        assert!(!is_held(&place.path().join("home")));
        for _ in 0..2 {
            let dir = Dir::open(place.path()).unwrap();
            assert!(is_held(place.path()) && is_held(place.path()));
            drop(dir);
            assert!(!is_held(place.path()));
        }
    }

    #[test]
    fn keys_are_made_once() {
        let place = tempfile::tempdir().unwrap();
        let make = |id: &str| KeyPair { access_key_id: id.into(), secret_access_key: "s".into() };
        let dir = Dir::open(place.path()).unwrap();
        assert_eq!(dir.keys(|| make("first")).unwrap().access_key_id, "first");
        drop(dir);
        let dir = Dir::open(place.path()).unwrap();
        assert_eq!(dir.keys(|| make("second")).unwrap().access_key_id, "first");
    }

    #[test]
    fn a_directory_of_a_newer_version_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("version"), "2").unwrap();
        let error = Dir::open(place.path()).unwrap_err();
        assert!(matches!(error, DirError::Newer { found: 2, .. }), "{error}");
    }

    #[test]
    fn what_a_home_that_was_killed_had_spooled_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let spooled = place.path().join("spool/.tmp-bundle");
        fs::create_dir_all(spooled.parent().unwrap()).unwrap();
        fs::write(&spooled, "half a bundle").unwrap();
        let dir = Dir::open(place.path()).unwrap();
        assert!(!spooled.exists() && dir.file("spool").is_dir());
    }

    #[test]
    fn endpoints_of_a_home_that_was_killed_are_removed() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(ENDPOINTS), "{}").unwrap();
        let dir = Dir::open(place.path()).unwrap();
        assert!(Endpoints::read(dir.path()).unwrap().is_none());
    }
}
