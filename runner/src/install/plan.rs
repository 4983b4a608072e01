//! Working out an install, down to the last step, before anything is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use durable::Disk;
use engine::appspec::{AppSpec, FileExistsBehavior};
use rustix::fs::FileType;

use super::error::InstallError;
use super::host::{Found, Host, Meta, join, split};
use super::inherit::inherit;
use super::journal::{OldDir, Step};
use super::labels::{DefaultAcl, SeLinux};
use super::perform::recover;
use super::permissions::{Grant, Labels, grants};
use super::planned::{InstallPlan, Staged};
use super::state::{INSTALLED, Installed, Manifest, PREVIOUS, Previous, load};
use super::tree::{Tree, Want, wanted};
use crate::root::HostRoot;

/// The directory of the runner on each mount, hidden, and only for the runner.
const STORE: &str = ".cutover";

/// What is to be installed, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The root that all destinations lie below.
    pub root: &'a HostRoot,
    /// The directory of the group's state, of its own, which exists and is named by the group's id.
    pub group_dir: &'a Path,
    /// The unpacked bundle.
    pub archive: &'a Path,
    /// SHA-256 of the bundle. Files of an equal revision that the host still has are not copied again.
    pub revision: &'a str,
    /// The bundle's AppSpec.
    pub appspec: &'a AppSpec,
    /// What to do with files that are there already, unless the AppSpec says.
    pub behavior: FileExistsBehavior,
    /// What everything is written through.
    pub disk: &'a Disk,
    /// SELinux, if the host has it.
    pub selinux: Option<&'a SeLinux>,
    /// Whether installed files are forced to the disk, so that the install is all or nothing also when the power goes.
    pub sync: bool,
}

/// Works out an install. Nothing is changed, except that an interrupted install is brought to its end first.
///
/// # Errors
/// [`InstallError`], with everything that can be known before.
pub fn plan(request: &Request<'_>) -> Result<InstallPlan, InstallError> {
    let host = Host::open(request.root, request.disk)
        .map_err(InstallError::io("opening", "the host's root"))?;
    recover(&host, request.group_dir, request.sync)?;
    let bundle = Host::open_bundle(request.archive, request.disk)
        .map_err(InstallError::io("opening", request.archive))?;
    let installed: Manifest = load(request.group_dir, INSTALLED)?.unwrap_or_default();
    let previous: Previous = load(request.group_dir, PREVIOUS)?.unwrap_or_default();
    let tree = wanted(&host, &bundle, &installed, request.appspec)?;
    let grants = grants(&host, &installed, &tree, &request.appspec.permissions)?;
    let mut draft = Draft {
        host: &host,
        bundle: &bundle,
        now: now(),
        installed: &installed,
        before: &previous,
        revision: request.revision,
        group: request.group_dir.file_name().and_then(|name| name.to_str()).unwrap_or("group"),
        behavior: request.appspec.file_exists_behavior.unwrap_or(request.behavior),
        stores: BTreeMap::new(),
        acls: BTreeMap::new(),
        out: Output::default(),
    };
    draft.manifest_of(&tree, &grants)?;
    draft.removals(&tree)?;
    let mut out = draft.out;
    if !out.conflicts.is_empty() {
        return Err(InstallError::FileExists { paths: out.conflicts });
    }
    if let Some(selinux) = request.selinux {
        inherit(&host, selinux, &mut out.staged, &mut out.mkdirs)?;
    }
    let again = installed.sequence > 0 && installed.revision == request.revision;
    let manifest = Manifest {
        sequence: installed.sequence + 1,
        revision: request.revision.to_owned(),
        files: out.files,
        dirs: out.dirs,
        stores: out.stores,
    };
    let obsolete = installed.dirs.iter().filter(|dir| is_obsolete(&tree, dir)).cloned().collect();
    let steps = [out.removes, out.rmdirs, out.mkdirs, out.places].into_iter().flatten().collect();
    let kept = out.kept;
    let old_stores = installed.stores.union(&previous.manifest.stores).cloned().collect();
    Ok(InstallPlan {
        bundle,
        group_dir: request.group_dir.to_owned(),
        steps,
        staged: out.staged,
        obsolete,
        manifest,
        previous: Previous { manifest: installed, kept },
        again,
        sync: request.sync,
        old_stores,
        edited: out.edited,
        retained: out.retained,
        ungranted: out.ungranted,
        host,
    })
}

/// What the plan is made from, and as far as it is made.
struct Draft<'a> {
    host: &'a Host,
    bundle: &'a Host,
    /// The time of this install, in seconds.
    now: i64,
    installed: &'a Manifest,
    before: &'a Previous,
    revision: &'a str,
    group: &'a str,
    behavior: FileExistsBehavior,
    /// The store by directory, and by mount.
    stores: BTreeMap<StoreKey, String>,
    /// The default ACL by directory.
    acls: BTreeMap<String, Option<DefaultAcl>>,
    out: Output,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum StoreKey {
    Directory(String),
    Mount(u64, u64),
}

#[derive(Default)]
struct Output {
    removes: Vec<Step>,
    rmdirs: Vec<Step>,
    mkdirs: Vec<Step>,
    places: Vec<Step>,
    staged: Vec<Staged>,
    files: BTreeMap<String, Installed>,
    dirs: BTreeSet<String>,
    /// Directories that will be made.
    fresh: BTreeSet<String>,
    stores: BTreeSet<String>,
    kept: BTreeMap<String, String>,
    conflicts: Vec<String>,
    edited: Vec<String>,
    retained: Vec<String>,
    ungranted: Vec<String>,
    numbered: u64,
}

impl Draft<'_> {
    fn find(&self, path: &str) -> Result<Option<Found>, InstallError> {
        // What a link of an earlier install leads to is not what will be there.
        if self.out.fresh.contains(split(path).0) {
            return Ok(None);
        }
        self.host.find(path).map_err(InstallError::io("reading", self.host.outside(path)))
    }

    /// What has to be made: directories first, because the tree is in order.
    fn manifest_of(
        &mut self,
        tree: &Tree,
        grants: &BTreeMap<String, Grant>,
    ) -> Result<(), InstallError> {
        let default = Grant::default();
        for (path, want) in tree {
            let grant = grants.get(path).unwrap_or(&default);
            match want {
                Want::Dir { mode } => self.directory(path, mode.unwrap_or(0o755), grant)?,
                Want::File { .. } | Want::Symlink { .. } => self.file(tree, path, want, grant)?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, path: &str, mode: u32, grant: &Grant) -> Result<(), InstallError> {
        let found = self.find(path)?;
        let clash = |is| InstallError::Clash { path: path.to_owned(), is, must: "a directory" };
        let is_ours = self.installed.files.contains_key(path);
        // Where a link of ours leads does not matter: it goes.
        let stays = match &found {
            Some(found) if found.kind == FileType::Directory => true,
            Some(_) if !is_ours => self
                .host
                .is_dir(path)
                .map_err(InstallError::io("reading", self.host.outside(path)))?,
            Some(_) | None => false,
        };
        match found {
            Some(found) if stays => {
                if self.installed.dirs.contains(path) {
                    self.out.dirs.insert(path.to_owned());
                }
                // Owner and mode of a directory are whoever's came after it was made: a hook's, an operator's.
                let is_as_granted = granted(found.meta.mode, grant, found.meta) == found.meta;
                if found.kind == FileType::Directory
                    && !(is_as_granted && grant.labels == Labels::default())
                {
                    self.out.ungranted.push(path.to_owned());
                }
            }
            Some(_) if !is_ours => return Err(clash("a file")),
            // Our own file goes first.
            Some(_) | None => {
                self.out.dirs.insert(path.to_owned());
                self.out.fresh.insert(path.to_owned());
                self.out.mkdirs.push(Step::Mkdir {
                    path: path.to_owned(),
                    meta: granted(mode, grant, own()),
                    labels: grant.labels.clone(),
                });
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        tree: &Tree,
        path: &str,
        want: &Want,
        grant: &Grant,
    ) -> Result<(), InstallError> {
        let found = self.find(path)?;
        let recorded = self.installed.files.get(path);
        let mut old = None;
        match &found {
            None => {}
            Some(found) if found.kind == FileType::Directory => {
                self.clear_directory(tree, path)?;
            }
            Some(found) => {
                match (recorded, self.behavior) {
                    (Some(recorded), _) if recorded.stamp != found.stamp => {
                        self.out.edited.push(path.to_owned());
                    }
                    (Some(_), _) | (None, FileExistsBehavior::Overwrite) => {}
                    (None, FileExistsBehavior::Disallow) => {
                        self.out.conflicts.push(path.to_owned());
                        return Ok(());
                    }
                    (None, FileExistsBehavior::Retain) => {
                        self.out.retained.push(path.to_owned());
                        return Ok(());
                    }
                }
                old = Some(self.keep(path)?);
            }
        }
        let mode = if let Want::File { mode, .. } = want { *mode } else { 0o777 };
        let acl = self.default_acl(split(path).0)?.filter(|_| matches!(want, Want::File { .. }));
        let meta = granted(mode & acl.as_ref().map_or(0o777, DefaultAcl::mode), grant, own());
        let new = self.numbered(path, "new")?;
        let (same, retimed) = self.same(path, want, meta, grant)?.unzip();
        let retimed = retimed.unwrap_or(false);
        let mut chosen = Chosen { want: want.clone(), same, retimed };
        if let (None, Some(found)) = (&chosen.same, &found) {
            self.compare(path, found, meta, grant, &mut chosen)?;
        }
        let Chosen { want, same, retimed } = chosen;
        let replaces = old.is_some();
        self.out.places.push(Step::Place { path: path.to_owned(), new: new.clone(), old });
        let labels = grant.labels.clone();
        self.out.staged.push(Staged {
            path: path.to_owned(),
            new,
            want,
            meta,
            labels,
            same,
            retimed,
            replaces,
            acl,
        });
        Ok(())
    }

    /// The same file of an equal revision, where the host still has it unchanged: kept from before, or in its place. With it
    /// comes whether its time is that of an install.
    fn same(
        &self,
        path: &str,
        want: &Want,
        meta: Meta,
        grant: &Grant,
    ) -> Result<Option<(String, bool)>, InstallError> {
        let Want::File { source, .. } = want else { return Ok(None) };
        let kept = self.before.kept.get(path).map(|kept| (&self.before.manifest, kept.as_str()));
        for (manifest, place) in kept.into_iter().chain([(self.installed, path)]) {
            let Some(recorded) =
                manifest.files.get(path).filter(|it| it.source == *source && it.meta == meta)
            else {
                continue;
            };
            let is_same = manifest.revision == self.revision && grant.labels == Labels::default();
            // A kept file that differs from the one in its place in nothing but its content needs another time.
            let is_unseen = place != path
                && self.find(path)?.is_some_and(|now| {
                    (now.stamp.bytes, now.stamp.mtime_s)
                        == (recorded.stamp.bytes, recorded.stamp.mtime_s)
                });
            if is_same
                && !is_unseen
                && self.find(place)?.is_some_and(|it| it.stamp == recorded.stamp && it.meta == meta)
            {
                return Ok(Some((place.to_owned(), recorded.retimed)));
            }
        }
        Ok(None)
    }

    /// Looks at the file that is replaced. If it has the same content, it need not be copied. If it has another one, of the
    /// same size and time, whoever looks at these only (a web server, an interpreter with a cache) would not see the change:
    /// then the time is the install's, and stays so as long as the content does.
    fn compare(
        &self,
        path: &str,
        found: &Found,
        meta: Meta,
        grant: &Grant,
        chosen: &mut Chosen,
    ) -> Result<(), InstallError> {
        let Want::File { source, bytes, mtime, .. } = &mut chosen.want else { return Ok(()) };
        let was_retimed = self.installed.files.get(path).is_some_and(|it| it.retimed);
        let looks_same = found.kind == FileType::RegularFile
            && u64::try_from(found.stamp.bytes).ok() == Some(*bytes)
            && (found.stamp.mtime_s == mtime.0 || was_retimed);
        if !looks_same {
            return Ok(());
        }
        let is_equal = match self.host.is_equal(path, self.bundle, source) {
            // The runner may own what it may not read. Then nobody knows, and it is taken for another one.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
            compared => compared.map_err(InstallError::io("comparing", self.host.outside(path)))?,
        };
        let its_time = (found.stamp.mtime_s, found.stamp.mtime_ns);
        if is_equal {
            if was_retimed {
                (*mtime, chosen.retimed) = (its_time, true);
            }
            let is_whole = found.meta == meta && grant.labels == Labels::default();
            if is_whole && its_time == *mtime {
                chosen.same = Some(path.to_owned());
            }
        } else if found.stamp.mtime_s == mtime.0 {
            (*mtime, chosen.retimed) = ((self.now.max(mtime.0 + 1), 0), true);
        }
        Ok(())
    }

    /// What an earlier install put there and this one does not.
    fn removals(&mut self, tree: &Tree) -> Result<(), InstallError> {
        for (path, recorded) in &self.installed.files {
            if tree.get(path).is_some_and(|want| !matches!(want, Want::Dir { .. })) {
                continue;
            }
            match self.find(path)? {
                Some(found) if found.kind != FileType::Directory => {
                    if found.stamp != recorded.stamp {
                        self.out.edited.push(path.clone());
                    }
                    let old = self.keep(path)?;
                    self.out.removes.push(Step::Remove { path: path.clone(), old });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What new files in a directory get: its default ACL, or that which it will inherit itself.
    fn default_acl(&mut self, dir: &str) -> Result<Option<DefaultAcl>, InstallError> {
        if let Some(known) = self.acls.get(dir) {
            return Ok(known.clone());
        }
        let is_there = !self.out.fresh.contains(dir)
            && self
                .host
                .is_dir(dir)
                .map_err(InstallError::io("reading", self.host.outside(dir)))?;
        let acl = if is_there {
            DefaultAcl::of(self.host, dir)
                .map_err(InstallError::io("reading the ACL of", self.host.outside(dir)))?
        } else {
            self.default_acl(split(dir).0)?
        };
        self.acls.insert(dir.to_owned(), acl.clone());
        Ok(acl)
    }

    /// Plans to take a directory away for a file; it must be ours, with nothing of others in it.
    fn clear_directory(&mut self, tree: &Tree, path: &str) -> Result<(), InstallError> {
        let clash = |path: &str| InstallError::Clash {
            path: path.to_owned(),
            is: "a directory that does not belong to this group alone",
            must: "a file",
        };
        let mut left = vec![path.to_owned()];
        let mut rmdirs = Vec::new();
        while let Some(dir) = left.pop() {
            if !self.installed.dirs.contains(&dir) {
                return Err(clash(&dir));
            }
            for name in self
                .host
                .names(&dir)
                .map_err(InstallError::io("reading", self.host.outside(&dir)))?
            {
                let child = join(&dir, &name);
                match self.find(&child)? {
                    Some(found) if found.kind == FileType::Directory => left.push(child),
                    _ if self.installed.files.contains_key(&child)
                        && !tree.contains_key(&child) => {}
                    _ => return Err(clash(&child)),
                }
            }
            let old = self.numbered(&dir, "old")?;
            rmdirs.push(Step::Rmdir { path: dir, old: OldDir::Moved(old) });
        }
        self.out.rmdirs.extend(rmdirs.into_iter().rev());
        Ok(())
    }

    /// Notes that the file at `path` is kept, and where.
    fn keep(&mut self, path: &str) -> Result<String, InstallError> {
        let old = self.numbered(path, "old")?;
        self.out.kept.insert(path.to_owned(), old.clone());
        Ok(old)
    }

    /// A fresh name in the store on the mount of `path`.
    fn numbered(&mut self, path: &str, kind: &str) -> Result<String, InstallError> {
        let store = self.store(path)?;
        self.out.numbered += 1;
        let sequence = self.installed.sequence + 1;
        let name = format!("{store}/{sequence}/{kind}/{}", self.out.numbered);
        self.out.stores.insert(store);
        Ok(name)
    }

    /// The runner's directory on the mount of `path`: as high up as the runner may write.
    fn store(&mut self, path: &str) -> Result<String, InstallError> {
        let parent = split(path).0;
        if let Some(store) = self.stores.get(&StoreKey::Directory(parent.to_owned())) {
            return Ok(store.clone());
        }
        let failed = |dir: &str| InstallError::io("reading", self.host.outside(dir));
        let mut dir = parent;
        while !dir.is_empty()
            && (self.out.fresh.contains(dir) || !self.host.is_dir(dir).map_err(failed(dir))?)
        {
            dir = split(dir).0;
        }
        let mount = self.host.mount(dir).map_err(failed(dir))?;
        if !self.host.is_writable(dir).map_err(failed(dir))? {
            return Err(InstallError::NotWritable { path: dir.to_owned() });
        }
        let key = StoreKey::Mount(mount.0, mount.1);
        if !self.stores.contains_key(&key) {
            while !dir.is_empty() {
                let above = split(dir).0;
                if self.host.mount(above).map_err(failed(above))? != mount
                    || !self.host.is_writable(above).map_err(failed(above))?
                {
                    break;
                }
                dir = above;
            }
            let store = join(dir, &format!("{STORE}/{}", self.group));
            self.stores.insert(StoreKey::Mount(mount.0, mount.1), store);
        }
        let store = self.stores.get(&key).cloned().unwrap_or_default();
        self.stores.insert(StoreKey::Directory(parent.to_owned()), store.clone());
        Ok(store)
    }
}

/// Whether a directory that an install made is needed no more. What lies below a file or link of the new tree is gone with
/// the directory that was there; through such a link, its path would lead to another one.
fn is_obsolete(tree: &Tree, dir: &str) -> bool {
    let above = dir.match_indices('/').filter_map(|(end, _)| tree.get(dir.get(..end)?));
    !tree.contains_key(dir) && above.into_iter().all(|want| matches!(want, Want::Dir { .. }))
}

/// How a file comes to its place.
struct Chosen {
    want: Want,
    same: Option<String>,
    retimed: bool,
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

/// Owner and mode as granted, else `mode` and the owner of `other`.
fn granted(mode: u32, grant: &Grant, other: Meta) -> Meta {
    Meta {
        mode: grant.mode.unwrap_or(mode),
        uid: grant.uid.unwrap_or(other.uid),
        gid: grant.gid.unwrap_or(other.gid),
    }
}

/// What the runner makes belongs to whom it runs as.
fn own() -> Meta {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    Meta { mode: 0, uid: uid.as_raw(), gid: gid.as_raw() }
}
