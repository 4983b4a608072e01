//! A disk for tests: it counts calls, stops before one, fails, fills up, and loses power.
//!
//! A loss of power is worked out by a model of what the calls did below one directory. What was synced is there; of what
//! was not, any part may be: a file may have its old content, the new one, or a part of it, and each change of a name
//! survives or not, a rename as a whole, and no earlier than what was done before to the same name. That is less than
//! what any file system with a journal promises, so what lasts here lasts on all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::disk::{Call, Disk, Watch};

/// What a test does to a disk.
#[derive(Debug)]
pub struct Faults {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    stop_at: Option<u64>,
    fail_at: Option<(u64, Errno)>,
    full_from: Option<u64>,
    unsynced: Option<Errno>,
    model: Model,
}

impl Faults {
    /// Watches what happens below `root`; what is there now lasts.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn watch(root: &Path) -> io::Result<Arc<Self>> {
        let mut state = State::default();
        state.model.scan(root)?;
        Ok(Arc::new(Self { root: root.to_owned(), state: Mutex::new(state) }))
    }

    /// The disk that does as told here.
    pub fn disk(self: &Arc<Self>) -> Disk {
        Disk::watched(Arc::<Self>::clone(self))
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Ends the work by a panic before the call of that number, counted from 0, and before all later ones.
    pub fn stop_at(&self, call: u64) {
        self.state().stop_at = Some(call);
    }

    /// The call of that number fails, and no other one.
    pub fn fail_at(&self, call: u64, with: Errno) {
        self.state().fail_at = Some((call, with));
    }

    /// From the call of that number on the disk is full: nothing new can be made or written.
    pub fn fill_up_at(&self, call: u64) {
        self.state().full_from = Some(call);
    }

    /// From now on no file or directory can be synced by itself, as on some file systems.
    pub fn sync_nothing_alone(&self, with: Errno) {
        self.state().unsynced = Some(with);
    }

    /// No call fails any more, but for those that the file system does not have.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.stop_at, state.fail_at, state.full_from) = (None, None, None);
    }

    /// Lays out in `into`, a new directory, what a loss of power at this moment would leave. Of what was not synced, `luck`
    /// decides: with 0 nothing of it is left, with 1 everything, with other numbers a part.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lose_power(&self, into: &Path, luck: u64) -> io::Result<()> {
        fs::create_dir(into)?;
        self.state().model.leave(into, Luck(luck))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Faults {
    fn before(&self, call: &Call<'_>) -> io::Result<()> {
        let mut state = self.state();
        let number = state.calls;
        if state.stop_at.is_some_and(|stop| stop <= number) {
            drop(state);
            std::panic::resume_unwind(Box::new(()));
        }
        state.calls += 1;
        let needs_space =
            matches!(call, Call::Create { .. } | Call::Link { .. } | Call::Write { .. });
        if needs_space && state.full_from.is_some_and(|from| from <= number) {
            return Err(Errno::NOSPC.into());
        }
        if let (Some(with), Call::SyncFile { .. } | Call::SyncDir { .. }) = (state.unsynced, call) {
            return Err(with.into());
        }
        match state.fail_at {
            Some((at, with)) if at == number => Err(with.into()),
            _ => Ok(()),
        }
    }

    fn after(&self, call: &Call<'_>) {
        let seen = self.state().model.see(call);
        assert!(
            seen.is_ok(),
            "{call:?} below {} cannot be followed: {seen:?}",
            self.root.display()
        );
    }
}

/// A file, directory or link, whatever its names are.
type Id = usize;

/// A change of names that survives as a whole or not at all.
type Names = Vec<((Id, OsString), Option<Id>)>;

/// What is on the disk, and what is yet to come there.
#[derive(Debug, Default)]
struct Model {
    nodes: Vec<Node>,
    by_inode: BTreeMap<u64, Id>,
    /// Names that last.
    names: BTreeMap<(Id, OsString), Id>,
    /// Changes of names that do not last yet, in order.
    pending: Vec<Names>,
}

#[derive(Debug)]
struct Node {
    now: Content,
    /// As it would be found.
    lasting: Option<Content>,
}

#[derive(Debug, Clone)]
struct Content {
    kind: Kind,
    mode: u32,
    modified: SystemTime,
}

#[derive(Debug, Clone)]
enum Kind {
    File(Vec<u8>),
    Link(PathBuf),
    Dir,
}

impl Model {
    fn scan(&mut self, dir: &Path) -> io::Result<Id> {
        let id = self.add(dir, true)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, inode) = (entry.path(), entry.metadata()?.ino());
            let child = match self.by_inode.get(&inode) {
                Some(known) => *known,
                None if entry.file_type()?.is_dir() => self.scan(&path)?,
                None => self.add(&path, true)?,
            };
            self.names.insert((id, entry.file_name()), child);
        }
        Ok(id)
    }

    /// A node that was not there before. A directory or link is there as soon as its name is.
    fn add(&mut self, path: &Path, lasts: bool) -> io::Result<Id> {
        let (inode, now) = read(path)?;
        let lasts = lasts || !matches!(now.kind, Kind::File(_));
        let id = self.nodes.len();
        self.nodes.push(Node { lasting: lasts.then(|| now.clone()), now });
        self.by_inode.insert(inode, id);
        Ok(id)
    }

    fn see(&mut self, call: &Call<'_>) -> io::Result<()> {
        match *call {
            Call::Create { dir, name } => {
                let id = self.add(&path_of(dir, name), false)?;
                let key = self.key(dir, name)?;
                self.pending.push(vec![(key, Some(id))]);
            }
            Call::Link { dir, name } => {
                let id = self.known(&path_of(dir, name))?;
                let key = self.key(dir, name)?;
                self.pending.push(vec![(key, Some(id))]);
            }
            Call::Rename { from_dir, from, dir, name } => {
                // Between two names of one file, the system does nothing.
                if rustix::fs::statat(from_dir, from, AtFlags::SYMLINK_NOFOLLOW).is_err() {
                    let id = self.known(&path_of(dir, name))?;
                    let (old, new) = (self.key(from_dir, from)?, self.key(dir, name)?);
                    self.pending.push(vec![(old, None), (new, Some(id))]);
                }
            }
            Call::Remove { dir, name } => {
                let key = self.key(dir, name)?;
                self.pending.push(vec![(key, None)]);
            }
            Call::Change { dir, name } => self.reread(&path_of(dir, name))?,
            Call::Write { file } => self.reread(&opened(file))?,
            Call::SyncFile { file } => self.keep(&opened(file))?,
            Call::SyncDir { dir } => {
                self.keep(&opened(dir))?;
                let id = self.known(&opened(dir))?;
                self.settle(|key| key.0 == id);
            }
            Call::SyncAll { dir: _ } => {
                self.settle(|_| true);
                for node in &mut self.nodes {
                    node.lasting = Some(node.now.clone());
                }
            }
        }
        Ok(())
    }

    fn key(&self, dir: BorrowedFd<'_>, name: &Path) -> io::Result<(Id, OsString)> {
        Ok((self.known(&opened(dir))?, name.as_os_str().to_owned()))
    }

    fn known(&self, path: &Path) -> io::Result<Id> {
        let (inode, _) = stat(path)?;
        let unknown = || io::Error::other(format!("{} is not below the root", path.display()));
        self.by_inode.get(&inode).copied().ok_or_else(unknown)
    }

    fn reread(&mut self, path: &Path) -> io::Result<()> {
        let (id, (_, now)) = (self.known(path)?, read(path)?);
        if let Some(node) = self.nodes.get_mut(id) {
            node.now = now;
        }
        Ok(())
    }

    fn keep(&mut self, path: &Path) -> io::Result<()> {
        let id = self.known(path)?;
        if let Some(node) = self.nodes.get_mut(id) {
            node.lasting = Some(node.now.clone());
        }
        Ok(())
    }

    /// Makes the changes of those names last, with all that was done to the same names before.
    fn settle(&mut self, lasts: impl Fn(&(Id, OsString)) -> bool) {
        let chosen = with_earlier(&self.pending, |change| change.iter().any(|(key, _)| lasts(key)));
        let pending = std::mem::take(&mut self.pending);
        for (change, lasts) in pending.into_iter().zip(chosen) {
            if lasts {
                apply(&mut self.names, change);
            } else {
                self.pending.push(change);
            }
        }
    }

    fn leave(&self, into: &Path, mut luck: Luck) -> io::Result<()> {
        let chosen = with_earlier(&self.pending, |_| luck.decides());
        let mut names = self.names.clone();
        for (change, _) in self.pending.iter().cloned().zip(chosen).filter(|(_, is_left)| *is_left)
        {
            apply(&mut names, change);
        }
        let mut written = BTreeMap::new();
        self.write(&names, 0, into, &mut luck, &mut written)
    }

    fn write(
        &self,
        names: &BTreeMap<(Id, OsString), Id>,
        dir: Id,
        into: &Path,
        luck: &mut Luck,
        written: &mut BTreeMap<Id, PathBuf>,
    ) -> io::Result<()> {
        for ((_, name), id) in names.range((dir, OsString::new())..(dir + 1, OsString::new())) {
            let (path, Some(node)) = (into.join(name), self.nodes.get(*id)) else { continue };
            if let Some(other) = written.get(id) {
                fs::hard_link(other, &path)?;
                continue;
            }
            let left = node.after_power_loss(luck);
            match &left.kind {
                Kind::Dir => {
                    fs::create_dir(&path)?;
                    self.write(names, *id, &path, luck, written)?;
                    fs::set_permissions(&path, Permissions::from_mode(left.mode))?;
                }
                Kind::Link(target) => symlink(target, &path)?,
                Kind::File(content) => {
                    let mut file = File::create(&path)?;
                    file.write_all(content)?;
                    file.set_permissions(Permissions::from_mode(left.mode))?;
                    file.set_modified(left.modified)?;
                    written.insert(*id, path);
                }
            }
        }
        Ok(())
    }
}

impl Node {
    fn after_power_loss(&self, luck: &mut Luck) -> Content {
        if luck.decides() {
            return self.now.clone();
        }
        if let Some(lasting) = &self.lasting {
            return lasting.clone();
        }
        let mut torn = self.now.clone();
        if let Kind::File(content) = &mut torn.kind {
            let half = if luck.decides() { content.len() / 2 } else { 0 };
            content.truncate(half);
        }
        torn
    }
}

/// Which changes are chosen; with a change, all earlier ones of the same names are.
fn with_earlier(changes: &[Names], mut is_chosen: impl FnMut(&Names) -> bool) -> Vec<bool> {
    let mut names = BTreeSet::new();
    let mut chosen: Vec<bool> = changes
        .iter()
        .rev()
        .map(|change| {
            let is_chosen = is_chosen(change) || change.iter().any(|(key, _)| names.contains(key));
            if is_chosen {
                names.extend(change.iter().map(|(key, _)| key));
            }
            is_chosen
        })
        .collect();
    chosen.reverse();
    chosen
}

fn apply(names: &mut BTreeMap<(Id, OsString), Id>, change: Names) {
    for (key, id) in change {
        match id {
            Some(id) => names.insert(key, id),
            None => names.remove(&key),
        };
    }
}

const OPENED: &str = "/proc/self/fd";

/// A path that leads to what was opened.
fn opened(fd: BorrowedFd<'_>) -> PathBuf {
    Path::new(OPENED).join(fd.as_raw_fd().to_string())
}

fn path_of(dir: BorrowedFd<'_>, name: &Path) -> PathBuf {
    opened(dir).join(name)
}

/// The inode behind a path: of a link itself, unless it leads to what was opened.
fn stat(path: &Path) -> io::Result<(u64, fs::Metadata)> {
    let meta = if path.parent() == Some(Path::new(OPENED)) {
        fs::metadata(path)?
    } else {
        fs::symlink_metadata(path)?
    };
    Ok((meta.ino(), meta))
}

fn read(path: &Path) -> io::Result<(u64, Content)> {
    let (inode, meta) = stat(path)?;
    let kind = if meta.is_dir() {
        Kind::Dir
    } else if meta.is_symlink() {
        Kind::Link(fs::read_link(path)?)
    } else {
        Kind::File(fs::read(path)?)
    };
    Ok((inode, Content { kind, mode: meta.mode() & 0o7777, modified: meta.modified()? }))
}

/// What becomes of what was not synced.
#[derive(Debug)]
struct Luck(u64);

impl Luck {
    /// Whether it is left. Numbers from 2 on begin a sequence (splitmix64).
    fn decides(&mut self) -> bool {
        if self.0 < 2 {
            return self.0 == 1;
        }
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15).max(2);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) & 1 == 1
    }
}
