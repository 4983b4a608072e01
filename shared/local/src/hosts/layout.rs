//! Names and places: what host 7 is called, where its files are below DIR, which address it has, and the file through
//! which a host finds its home again after a restart. Nothing here starts or watches anything.

use std::fmt;
use std::fs::DirBuilder;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use durable::Disk;
use serde::{Deserialize, Serialize};

/// The number of a home host, from 1 to [`HostNumber::MAX`]. It is displayed as the host's name, `host-7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostNumber(u8);

impl HostNumber {
    /// The most hosts that one home can have; each needs a last byte of its own in its address.
    pub const MAX: u8 = 250;

    /// The number, if a home can have a host of that number.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// The number in a name like `host-7`, in exactly that form.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let number = Self::new(name.strip_prefix("host-")?.parse().ok()?)?;
        (number.to_string() == name).then_some(number)
    }

    /// The numbers of a home's `count` hosts; at most [`HostNumber::MAX`].
    pub fn first(count: u8) -> impl Iterator<Item = Self> {
        (1..=count.min(Self::MAX)).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for HostNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host-{}", self.0)
    }
}

/// The files of one home host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFiles {
    dir: PathBuf,
    number: HostNumber,
}

impl HostFiles {
    /// The files of the host `number` of the home in `home`, an absolute path; nothing is created.
    #[must_use]
    pub fn new(home: &Path, number: HostNumber) -> Self {
        Self { dir: hosts_dir(home).join(number.to_string()), number }
    }

    /// Which host these files belong to.
    #[must_use]
    pub fn number(&self) -> HostNumber {
        self.number
    }

    /// The directory of all the others.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the host has changed of the machine's files: its `/srv/x` is `srv/x` here.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The runner's own state: its journal, bundles, earlier trees.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Held and described by the host's process while it lives.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir.join("host.lock")
    }

    /// What the host's process writes to its standard output and error.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("host.log")
    }

    /// The hooks that the host had to end when it ended, one in a line, until home has told of them.
    #[must_use]
    pub fn interrupted(&self) -> PathBuf {
        self.dir.join("interrupted")
    }

    /// Where the host finds its home; see [`Connection`].
    #[must_use]
    pub fn connection(&self) -> PathBuf {
        self.state().join("connection.json")
    }

    /// Creates the directories of the host that are missing. What a host has deployed is for all its users to reach; in
    /// its state they may pass through to the scripts that run as them.
    ///
    /// # Errors
    /// [`LayoutError::Write`] when a directory cannot be created.
    pub fn create(&self) -> Result<(), LayoutError> {
        for (path, mode) in [(self.dir.clone(), 0o711), (self.root(), 0o755), (self.state(), 0o711)]
        {
            let created = DirBuilder::new().recursive(true).mode(mode).create(&path);
            created.map_err(|source| LayoutError::Write { path, source })?;
        }
        Ok(())
    }
}

/// The directory of a home's hosts.
fn hosts_dir(home: &Path) -> PathBuf {
    home.join("hosts")
}

/// The hosts that have a directory in `home`, in order; also those that a later start with fewer hosts left behind.
///
/// # Errors
/// [`LayoutError::Read`] when the directory of hosts exists and cannot be read.
pub fn known_hosts(home: &Path) -> Result<Vec<HostNumber>, LayoutError> {
    let path = hosts_dir(home);
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(LayoutError::Read { path, source }),
    };
    let mut hosts = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| LayoutError::Read { path: path.clone(), source })?;
        if entry.path().is_dir() {
            hosts.extend(entry.file_name().to_str().and_then(HostNumber::from_name));
        }
    }
    hosts.sort();
    Ok(hosts)
}

/// How many hosts the home in `home` has: those that find it, whether they run or not. A host that was removed keeps its
/// directory, and finds it no more.
///
/// # Errors
/// As of [`known_hosts`] and [`Connection::read`].
pub fn count_hosts(home: &Path) -> Result<u8, LayoutError> {
    let mut count = 0;
    for number in known_hosts(home)? {
        if Connection::read(&HostFiles::new(home, number))?.is_some() {
            count = number.get();
        }
    }
    Ok(count)
}

/// The loopback address of the host `number` of the home whose real path is `home`: `127.A.B.number`, where A and B come
/// from the path, so that two homes on one machine seldom share one. Never in 127.0.0.0/12, where other software lives.
#[must_use]
pub fn loopback_address(home: &Path, number: HostNumber) -> Ipv4Addr {
    // FNV-1a: the same in every version of Cutover and of Rust.
    let hash = home.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [third, ..] = hash.to_le_bytes();
    let second = u8::try_from(16 + (hash >> 8) % 235).unwrap_or(16);
    Ipv4Addr::new(127, second, third, number.get())
}

/// What a host needs to find its home: written by the home at each start, read by the host whenever it has lost it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The URL of the home's API.
    pub api: String,
    /// The name under which the host is registered.
    pub host: String,
    /// The host's secret key.
    pub key: String,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("api", &self.api)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Writes the file of `files`, readable by this user alone. Who reads at the same time sees the old one or this one.
    ///
    /// # Errors
    /// [`LayoutError::Write`]; the old file is then as it was.
    pub fn write(&self, files: &HostFiles) -> Result<(), LayoutError> {
        let path = files.connection();
        let text = serde_json::to_vec(self).map_err(io::Error::other);
        let written = text.and_then(|text| Disk::default().replace(&path, &text, 0o600));
        written.map_err(|source| LayoutError::Write { path, source })
    }

    /// Removes the file of `files`: the host finds its home no more.
    ///
    /// # Errors
    /// [`LayoutError::Write`].
    pub fn remove(files: &HostFiles) -> Result<(), LayoutError> {
        let path = files.connection();
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(LayoutError::Write { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Reads the file of `files`; none when there is no file, as when the home was removed.
    ///
    /// # Errors
    /// [`LayoutError`] when the file cannot be read, or is no description of a home.
    pub fn read(files: &HostFiles) -> Result<Option<Self>, LayoutError> {
        let path = files.connection();
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| LayoutError::Connection { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LayoutError::Read { path, source }),
        }
    }
}

/// What can be wrong with a host's files.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// Something could not be written.
    #[error("`{}` could not be written: check the disk, and that it belongs to this user", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Something could not be read.
    #[error("`{}` could not be read: check that it belongs to this user", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file with the way to the home has another form.
    #[error("`{}` does not describe a home: remove it, and the next `cutover up` writes it again", path.display())]
    Connection {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_name_is_read_back_and_no_other_spelling_of_it() {
        for number in HostNumber::first(u8::MAX) {
            assert_eq!(HostNumber::from_name(&number.to_string()), Some(number));
        }
        for name in
            ["host-0", "host-251", "host-01", "host-+1", "host-", "1", "host-1 ", "host-1/.."]
        {
            assert_eq!(HostNumber::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn homes_have_addresses_of_their_own_away_from_the_usual_ones() {
        let host = HostNumber::new(7).unwrap();
        let mut seen = HashSet::new();
        for home in 0..200 {
            let address = loopback_address(Path::new(&format!("/home/user/{home}/.cutover")), host);
            let [first, second, _, last] = address.octets();
            assert_eq!((first, last), (127, 7));
            assert!((16..=250).contains(&second), "{address}");
            seen.insert(address);
        }
        assert!(seen.len() >= 197, "only {} addresses for 200 homes", seen.len());
        // Hosts that outlive an upgrade keep theirs.
        assert_eq!(loopback_address(Path::new("/srv/home"), host).to_string(), "127.97.155.7");
    }

    #[test]
    fn a_connection_is_replaced_whole_and_for_its_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let files = HostFiles::new(home.path(), HostNumber::new(1).unwrap());
        files.create().unwrap();
        assert_eq!(Connection::read(&files).unwrap(), None);
        std::fs::write(files.state().join("connection.json.new"), "left by a crash").unwrap();
        for port in [1, 2] {
            let connection = Connection {
                api: format!("http://127.0.0.1:{port}"),
                host: "host-1".into(),
                key: "secret".into(),
            };
            connection.write(&files).unwrap();
            assert_eq!(Connection::read(&files).unwrap(), Some(connection.clone()));
            assert_eq!(count_hosts(home.path()).unwrap(), 1);
            assert!(!format!("{connection:?}").contains("secret"));
        }
        let mode = files.connection().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(files.connection(), "{").unwrap();
        assert!(matches!(Connection::read(&files), Err(LayoutError::Connection { .. })));
        assert_eq!(known_hosts(home.path()).unwrap(), [files.number()]);
        for count in [0, 0] {
            Connection::remove(&files).unwrap();
            assert_eq!(count_hosts(home.path()).unwrap(), count);
            assert_eq!(
                known_hosts(home.path()).unwrap(),
                [files.number()],
                "it keeps its directory"
            );
        }
    }
}
