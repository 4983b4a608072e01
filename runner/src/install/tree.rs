//! The tree that an AppSpec's `files` ask for (`docs/semantics.md#install`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use engine::appspec::AppSpec;
use rustix::fs::FileType;

use super::error::InstallError;
use super::host::{Host, join, split};
use super::state::Manifest;

/// What shall stand at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Want {
    /// A file with the content of a file of the bundle.
    File { source: String, bytes: u64, mode: u32, mtime: (i64, i64) },
    /// A symbolic link as it is in the bundle.
    Symlink { source: String, target: String },
    /// A directory, with its mode where the bundle has one.
    Dir { mode: Option<u32> },
}

impl Want {
    pub(super) fn source(&self) -> Option<&str> {
        match self {
            Self::File { source, .. } | Self::Symlink { source, .. } => Some(source),
            Self::Dir { .. } => None,
        }
    }
}

/// All files, links and directories by their path on the host, directories before what lies in them.
pub(super) type Tree = BTreeMap<String, Want>;

/// Works out where each entry of the bundle goes.
pub(super) fn wanted(
    host: &Host,
    bundle: &Host,
    installed: &Manifest,
    appspec: &AppSpec,
) -> Result<Tree, InstallError> {
    let mut tree = Tree::new();
    for mapping in &appspec.files {
        let destination = place(host, installed, &mapping.destination)?;
        add(&mut tree, &destination, Want::Dir { mode: None })?;
        let missing = || InstallError::MissingSource { source_path: mapping.source.clone() };
        let source = relative(&mapping.source).ok_or_else(missing)?;
        if bundle.is_dir(&source).map_err(InstallError::io("reading", &source))? {
            add_contents(&mut tree, bundle, &source, &destination)?;
        } else {
            let target = join(&destination, split(&source).1);
            let want = read(bundle, &source)?.ok_or_else(missing)?;
            add(&mut tree, &target, want)?;
        }
    }
    Ok(tree)
}

/// The place on the host that a destination or an object of `permissions` means. Links of the host are followed, those
/// that the group itself installed are not: it means the same before and after an install of its own.
pub(super) fn place(
    host: &Host,
    installed: &Manifest,
    written: &str,
) -> Result<String, InstallError> {
    let refused = || InstallError::Destination { destination: written.to_owned() };
    let path = relative(written).filter(|_| written.starts_with('/')).ok_or_else(refused)?;
    if path.contains('\0') {
        return Err(refused());
    }
    let mut place = String::new();
    let mut names = path.split('/');
    for name in names.by_ref() {
        let next = join(&place, name);
        if installed.files.contains_key(&next) {
            place = next;
            break;
        }
        place = host.canonical(&next).map_err(InstallError::io("reading", format!("/{path}")))?;
    }
    Ok(names.fold(place, |place, name| join(&place, name)))
}

/// A path without `.`, empty names and slashes at its ends; none if it has `..`.
fn relative(path: &str) -> Option<String> {
    let names: Vec<&str> =
        path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    (!names.contains(&"..")).then(|| names.join("/"))
}

/// Everything in a directory of the bundle.
fn add_contents(
    tree: &mut Tree,
    bundle: &Host,
    source: &str,
    to: &str,
) -> Result<(), InstallError> {
    let mut left = vec![(source.to_owned(), to.to_owned())];
    while let Some((source, to)) = left.pop() {
        for name in bundle.names(&source).map_err(InstallError::io("reading", &source))? {
            let (from, path) = (join(&source, &name), join(&to, &name));
            let Some(want) = read(bundle, &from)? else { continue };
            if matches!(want, Want::Dir { .. }) {
                left.push((from, path.clone()));
            }
            add(tree, &path, want)?;
        }
    }
    Ok(())
}

/// What stands at a path of the bundle.
fn read(bundle: &Host, path: &str) -> Result<Option<Want>, InstallError> {
    let Some(found) = bundle.find(path).map_err(InstallError::io("reading", path))? else {
        return Ok(None);
    };
    let (source, mode) = (path.to_owned(), found.meta.mode & 0o777);
    Ok(Some(match (found.kind, found.stamp.link) {
        (FileType::Symlink, Some(target)) => Want::Symlink { source, target },
        (FileType::Directory, _) => Want::Dir { mode: Some(mode) },
        (FileType::RegularFile, _) => {
            let bytes = u64::try_from(found.stamp.bytes).unwrap_or(0);
            Want::File { source, bytes, mode, mtime: (found.stamp.mtime_s, found.stamp.mtime_ns) }
        }
        _ => {
            return Err(InstallError::Source {
                path: source,
                reason: "it is no file, directory or link",
            });
        }
    }))
}

fn add(tree: &mut Tree, path: &str, want: Want) -> Result<(), InstallError> {
    for (end, _) in path.match_indices('/') {
        put(tree, path.get(..end).unwrap_or_default(), Want::Dir { mode: None })?;
    }
    put(tree, path, want)
}

fn put(tree: &mut Tree, path: &str, want: Want) -> Result<(), InstallError> {
    if path.is_empty() {
        return Ok(());
    }
    match tree.entry(path.to_owned()) {
        Entry::Vacant(entry) => {
            entry.insert(want);
        }
        Entry::Occupied(mut entry) => match (entry.get(), &want) {
            (Want::Dir { .. }, Want::Dir { mode: None }) => {}
            (Want::Dir { .. }, Want::Dir { .. }) => {
                entry.insert(want);
            }
            (old, new) => {
                if let (Some(first), Some(second)) = (old.source(), new.source()) {
                    let (first, second) = (first.to_owned(), second.to_owned());
                    return Err(InstallError::TwoSources { path: path.to_owned(), first, second });
                }
                return Err(InstallError::Clash {
                    path: path.to_owned(),
                    is: "a file",
                    must: "a directory",
                });
            }
        },
    }
    Ok(())
}
