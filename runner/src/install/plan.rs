//! Working out an install, down to the last step, before anything is touched.

use std::collections::{BTreeMap, BTreeSet};

use engine::appspec::FileExistsBehavior;
use rustix::fs::FileType;

use super::Request;
use super::error::InstallError;
use super::host::{Found, Host, Meta, join, split};
use super::journal::Step;
use super::perform::recover;
use super::permissions::{Grant, Labels, grants};
use super::state::{INSTALLED, Installed, Manifest, PREVIOUS, Previous, load};
use super::tree::{Tree, Want, wanted};
use crate::root::HostRoot;

/// The directory of the runner on each mount, hidden, and only for the runner.
const STORE: &str = ".cutover";

/// An install that was found possible, with everything that it will do.
#[derive(Debug)]
pub struct InstallPlan {
    pub(super) host: Host,
    pub(super) bundle: Host,
    pub(super) group_dir: std::path::PathBuf,
    pub(super) steps: Vec<Step>,
    pub(super) staged: Vec<Staged>,
    /// Directories that are not needed any more, if nothing else is in them.
    pub(super) obsolete: BTreeSet<String>,
    /// What will be installed; the stamps are those of the staged files, once they are there.
    pub(super) manifest: Manifest,
    /// What will be kept.
    pub(super) previous: Previous,
    /// The directories of the runner that the install before used.
    pub(super) old_stores: BTreeSet<String>,
    /// Installed files that were changed on the host since, as paths without the leading `/`; they are
    /// replaced or removed, and kept with the previous files.
    pub edited: Vec<String>,
    /// Files that stay as they are, because of `RETAIN`; without the leading `/` too.
    pub retained: Vec<String>,
}

/// A file that waits for the switch.
#[derive(Debug)]
pub(super) struct Staged {
    /// Where it will stand.
    pub(super) path: String,
    /// Where it waits.
    pub(super) new: String,
    pub(super) want: Want,
    pub(super) meta: Meta,
    pub(super) labels: Labels,
    /// The same file, where it is already on the host.
    pub(super) same: Option<String>,
}

/// Plans an install.
pub(super) fn plan(request: &Request<'_>) -> Result<InstallPlan, InstallError> {
    let host = Host::open(request.root).map_err(InstallError::io("opening", "the host's root"))?;
    recover(&host, request.group_dir, &mut || {})?;
    let archive = HostRoot::Prefix(request.archive.to_owned());
    let bundle = Host::open(&archive).map_err(InstallError::io("opening", request.archive))?;
    let read = || InstallError::io("reading", request.group_dir);
    let installed: Manifest =
        load(request.group_dir, INSTALLED).map_err(read())?.unwrap_or_default();
    let previous: Previous = load(request.group_dir, PREVIOUS).map_err(read())?.unwrap_or_default();
    let tree = wanted(&host, &bundle, request.appspec)?;
    let grants = grants(&host, &tree, &request.appspec.permissions)?;
    let mut draft = Draft {
        host: &host,
        installed: &installed,
        before: &previous,
        revision: request.revision,
        group: request.group_dir.file_name().and_then(|name| name.to_str()).unwrap_or("group"),
        behavior: request.appspec.file_exists_behavior.unwrap_or(request.behavior),
        stores: BTreeMap::new(),
        out: Output::default(),
    };
    draft.manifest_of(&tree, &grants)?;
    draft.removals(&tree)?;
    let out = draft.out;
    if !out.conflicts.is_empty() {
        return Err(InstallError::FileExists { paths: out.conflicts });
    }
    let manifest = Manifest {
        sequence: installed.sequence + 1,
        revision: request.revision.to_owned(),
        files: out.files,
        dirs: out.dirs,
        stores: out.stores,
    };
    let obsolete = installed.dirs.iter().filter(|dir| !tree.contains_key(*dir)).cloned().collect();
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
        old_stores,
        edited: out.edited,
        retained: out.retained,
        host,
    })
}

/// What the plan is made from, and as far as it is made.
struct Draft<'a> {
    host: &'a Host,
    installed: &'a Manifest,
    before: &'a Previous,
    revision: &'a str,
    group: &'a str,
    behavior: FileExistsBehavior,
    /// The store by directory, and by mount.
    stores: BTreeMap<StoreKey, String>,
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
        let to = granted(mode, grant);
        let labels = grant.labels.clone();
        let found = self.find(path)?;
        let is_dir =
            self.host.is_dir(path).map_err(InstallError::io("reading", self.host.outside(path)))?;
        let clash = |is| InstallError::Clash { path: path.to_owned(), is, must: "a directory" };
        let is_ours = self.installed.files.contains_key(path);
        match found {
            Some(found) if is_dir && !(is_ours && found.kind != FileType::Directory) => {
                if self.installed.dirs.contains(path) {
                    self.out.dirs.insert(path.to_owned());
                    if found.kind == FileType::Directory
                        && (found.meta != to || labels != Labels::default())
                    {
                        let path = path.to_owned();
                        self.out.mkdirs.push(Step::Change { path, from: found.meta, to, labels });
                    }
                }
            }
            Some(_) if !is_ours => return Err(clash("a file")),
            // Our own file goes first.
            Some(_) | None => {
                self.out.dirs.insert(path.to_owned());
                self.out.fresh.insert(path.to_owned());
                self.out.mkdirs.push(Step::Mkdir { path: path.to_owned(), meta: to, labels });
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
                self.clear_directory(tree, path, found)?;
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
        let meta = granted(mode, grant);
        let new = self.numbered(path, "new")?;
        let same = self.same(path, want, meta, grant)?;
        self.out.places.push(Step::Place { path: path.to_owned(), new: new.clone(), old });
        let labels = grant.labels.clone();
        self.out.staged.push(Staged {
            path: path.to_owned(),
            new,
            want: want.clone(),
            meta,
            labels,
            same,
        });
        Ok(())
    }

    /// The same file of an equal revision, where the host still has it unchanged: kept from before, or in its place.
    fn same(
        &self,
        path: &str,
        want: &Want,
        meta: Meta,
        grant: &Grant,
    ) -> Result<Option<String>, InstallError> {
        let Want::File { source, .. } = want else { return Ok(None) };
        let kept = self.before.kept.get(path).map(|kept| (&self.before.manifest, kept.as_str()));
        for (manifest, place) in kept.into_iter().chain([(self.installed, path)]) {
            let Some(recorded) =
                manifest.files.get(path).filter(|it| it.source == *source && it.meta == meta)
            else {
                continue;
            };
            let is_same = manifest.revision == self.revision && grant.labels == Labels::default();
            if is_same
                && self.find(place)?.is_some_and(|it| it.stamp == recorded.stamp && it.meta == meta)
            {
                return Ok(Some(place.to_owned()));
            }
        }
        Ok(None)
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

    /// Plans to take a directory away for a file; it must be ours, with nothing of others in it.
    fn clear_directory(
        &mut self,
        tree: &Tree,
        path: &str,
        found: &Found,
    ) -> Result<(), InstallError> {
        let clash = |path: &str| InstallError::Clash {
            path: path.to_owned(),
            is: "a directory that does not belong to this group alone",
            must: "a file",
        };
        let mut left = vec![(path.to_owned(), found.meta)];
        let mut rmdirs = Vec::new();
        while let Some((dir, meta)) = left.pop() {
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
                    Some(found) if found.kind == FileType::Directory => {
                        left.push((child, found.meta));
                    }
                    _ if self.installed.files.contains_key(&child)
                        && !tree.contains_key(&child) => {}
                    _ => return Err(clash(&child)),
                }
            }
            rmdirs.push(Step::Rmdir { path: dir, meta });
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

/// Owner and mode as granted, else the runner's own and that of the bundle.
fn granted(mode: u32, grant: &Grant) -> Meta {
    Meta {
        mode: grant.mode.unwrap_or(mode),
        uid: grant.uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        gid: grant.gid.unwrap_or_else(|| rustix::process::getegid().as_raw()),
    }
}
