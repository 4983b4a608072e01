//! The tree that the entries of an archive make: checked as it grows, so that nothing is ever written below a link or
//! over another entry, and asked afterwards whether a path of the AppSpec exists.

use std::collections::BTreeMap;

use crate::error::{BundleError, Problem};
use crate::limits::Limits;

/// How many links are followed before a path counts as a loop, as in Linux.
const LINKS: usize = 40;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A regular file.
    File,
    /// A directory, from an entry of its own or implied by one below it.
    Dir,
    /// A symbolic link with its target.
    Symlink(String),
}

/// All entries so far, by normalised path.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
    /// The first name at the root.
    first_top: String,
    /// How many names there are at the root.
    tops: usize,
    limits: Limits,
}

impl Tree {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { nodes: BTreeMap::new(), first_top: String::new(), tops: 0, limits: *limits }
    }

    /// How many files, directories and links there are.
    pub(crate) fn len(&self) -> u64 {
        self.nodes.len() as u64
    }

    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Takes one entry with its normalised path. A directory may come again, nothing else may.
    pub(crate) fn add(&mut self, path: &str, node: Node) -> Result<(), BundleError> {
        let refuse = |problem| BundleError::Entry { entry: path.to_owned(), problem };
        for (end, _) in path.match_indices('/') {
            let parent = path.get(..end).unwrap_or_default();
            match self.nodes.get(parent) {
                Some(Node::Dir) => {}
                Some(Node::File | Node::Symlink(_)) => {
                    return Err(refuse(Problem::BelowNonDirectory { parent: parent.to_owned() }));
                }
                None => self.insert(parent, Node::Dir)?,
            }
        }
        if let Node::Symlink(target) = &node {
            check_link(parent_depth(path), target).map_err(refuse)?;
        }
        match self.nodes.get(path) {
            None => self.insert(path, node),
            Some(Node::Dir) if node == Node::Dir => Ok(()),
            Some(Node::Dir | Node::File | Node::Symlink(_)) => Err(refuse(Problem::Collides)),
        }
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<(), BundleError> {
        if self.len() >= self.limits.entries {
            return Err(BundleError::TooManyEntries { limit: self.limits.entries });
        }
        if !path.contains('/') {
            self.tops += 1;
            if self.tops == 1 {
                path.clone_into(&mut self.first_top);
            }
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// The single top-level folder, if there is nothing else at the root.
    pub(crate) fn single_folder(&self) -> Option<&str> {
        let only = self.tops == 1 && self.nodes.get(&self.first_top) == Some(&Node::Dir);
        only.then_some(self.first_top.as_str())
    }

    /// Checks again that no link leaves the bundle, now that its root is known to be the folder `prefix`.
    pub(crate) fn check_links_below(&self, prefix: &str) -> Result<(), BundleError> {
        let root_depth = prefix.split('/').count();
        for (path, node) in &self.nodes {
            if let Node::Symlink(target) = node {
                check_link(parent_depth(path).saturating_sub(root_depth), target)
                    .map_err(|problem| BundleError::Entry { entry: path.clone(), problem })?;
            }
        }
        Ok(())
    }

    /// What stands at `path` below `root` (empty for the archive's own root), links followed.
    pub(crate) fn resolve(&self, root: &str, path: &str) -> Option<&Node> {
        let mut todo: Vec<String> = components(path).rev().map(str::to_owned).collect();
        let mut here = components(root).map(str::to_owned).collect::<Vec<_>>();
        let mut links = 0;
        let mut node = &Node::Dir;
        while let Some(name) = todo.pop() {
            if name == ".." {
                here.pop();
                node = &Node::Dir;
                continue;
            }
            here.push(name);
            node = self.nodes.get(&here.join("/"))?;
            if let Node::Symlink(target) = node {
                links += 1;
                if links > LINKS {
                    return None;
                }
                here.pop();
                node = &Node::Dir;
                todo.extend(components(target).rev().map(str::to_owned));
            } else if *node == Node::File && !todo.is_empty() {
                return None;
            }
        }
        Some(node)
    }
}

/// The names in `path`, without empty ones and `.`.
pub(crate) fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// How many directories an entry lies in.
fn parent_depth(path: &str) -> usize {
    components(path).count().saturating_sub(1)
}

/// Checks that a link in a directory `depth` below the root cannot leave the root.
///
/// `..` may only come first: an entry's parents are real directories, so these steps count exactly. After a name, `..`
/// would lead from wherever that name, perhaps a link itself, points to.
fn check_link(depth: usize, target: &str) -> Result<(), Problem> {
    let upwards = components(target).take_while(|name| *name == "..").count();
    if target.starts_with('/') || upwards > depth {
        return Err(Problem::LinkEscapes { target: target.to_owned() });
    }
    if components(target).skip(upwards).any(|name| name == "..") {
        return Err(Problem::LinkWinds { target: target.to_owned() });
    }
    Ok(())
}

/// Checks an entry's name, and returns it without `.`, empty names and slashes at its ends.
pub(crate) fn normalise(raw: &[u8], limits: &Limits) -> Result<String, BundleError> {
    let refuse = |problem| BundleError::Entry { entry: printable(raw), problem };
    let name = std::str::from_utf8(raw).map_err(|_| refuse(Problem::NotUtf8))?;
    if name.len() > limits.path_bytes || name.split('/').any(|part| part.len() > 255) {
        return Err(refuse(Problem::PathTooLong { limit: limits.path_bytes }));
    }
    if name.is_empty() || name.contains('\0') {
        return Err(refuse(Problem::Nameless));
    }
    if name.starts_with('/') {
        return Err(refuse(Problem::Absolute));
    }
    if components(name).any(|part| part == "..") {
        return Err(refuse(Problem::Upwards));
    }
    Ok(components(name).collect::<Vec<_>>().join("/"))
}

/// A name from an archive as it may stand in a message: short, without control characters.
pub(crate) fn printable(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).chars().take(200).flat_map(char::escape_debug).collect()
}
