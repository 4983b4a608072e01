//! The tree that the entries of an archive make: checked as it grows, so that nothing is ever written below a link, and
//! asked afterwards whether a path of the AppSpec exists. Paths are text as in [`crate::names`].

use std::collections::BTreeMap;

use crate::error::{BundleError, Problem};
use crate::limits::Limits;
use crate::names::{to_bytes, to_text};

/// How many links are followed before a path counts as a loop, as in Linux.
const LINKS: usize = 40;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A regular file.
    File,
    /// A directory, from an entry of its own or implied by one below it.
    Dir,
    /// A symbolic link with its target, which may lie outside of the bundle.
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

    /// Takes one entry with its normalised path. True if it takes the place of an earlier one, which directories cannot.
    pub(crate) fn add(&mut self, path: &str, node: Node) -> Result<bool, BundleError> {
        let refuse = |problem| BundleError::Entry { entry: shown(path), problem };
        for (end, _) in path.match_indices('/') {
            let parent = path.get(..end).unwrap_or_default();
            match self.nodes.get(parent) {
                Some(Node::Dir) => {}
                Some(Node::File | Node::Symlink(_)) => {
                    return Err(refuse(Problem::BelowNonDirectory { parent: shown(parent) }));
                }
                None => self.insert(parent, Node::Dir)?,
            }
        }
        match (self.nodes.get_mut(path), node) {
            (None, node) => self.insert(path, node).map(|()| false),
            (Some(Node::Dir), Node::Dir) => Ok(false),
            (Some(Node::Dir), Node::File | Node::Symlink(_))
            | (Some(Node::File | Node::Symlink(_)), Node::Dir) => Err(refuse(Problem::Collides)),
            (Some(there), node) => {
                *there = node;
                Ok(true)
            }
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

    /// What stands at `path` below `root` (empty for the archive's own root), links followed as far as they stay there.
    pub(crate) fn resolve(&self, root: &str, path: &str) -> Option<&Node> {
        self.follow(root, path, true)
    }

    /// What stands at `path` below `root`, which may be a link that leads anywhere.
    pub(crate) fn find(&self, root: &str, path: &str) -> Option<&Node> {
        self.follow(root, path, false)
    }

    fn follow(&self, root: &str, path: &str, also_last: bool) -> Option<&Node> {
        let mut todo: Vec<&str> = components(path).rev().collect();
        let mut here: Vec<&str> = components(root).collect();
        let depth = here.len();
        let mut links = 0;
        let mut node = &Node::Dir;
        while let Some(name) = todo.pop() {
            if name == ".." {
                if here.len() <= depth {
                    return None;
                }
                here.pop();
                node = &Node::Dir;
                continue;
            }
            here.push(name);
            node = self.nodes.get(&here.join("/"))?;
            match node {
                Node::Symlink(_) if todo.is_empty() && !also_last => return Some(node),
                Node::Symlink(target) => {
                    links += 1;
                    if links > LINKS || target.starts_with('/') {
                        return None;
                    }
                    here.pop();
                    node = &Node::Dir;
                    todo.extend(components(target).rev());
                }
                Node::File if !todo.is_empty() => return None,
                Node::File | Node::Dir => {}
            }
        }
        Some(node)
    }

    /// The names at the root.
    pub(crate) fn tops(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str).filter(|path| !path.contains('/'))
    }

    /// All paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }
}

/// The names in `path`, without empty ones and `.`.
pub(crate) fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// Checks an entry's name, and returns it as text without `.`, empty names and slashes at its ends.
pub(crate) fn normalise(raw: &[u8], limits: &Limits) -> Result<String, BundleError> {
    let refuse = |problem| BundleError::Entry { entry: printable(raw), problem };
    if raw.len() > limits.path_bytes || raw.split(|byte| *byte == b'/').any(|part| part.len() > 255)
    {
        return Err(refuse(Problem::PathTooLong { limit: limits.path_bytes }));
    }
    if raw.is_empty() || raw.contains(&0) {
        return Err(refuse(Problem::Nameless));
    }
    if raw.starts_with(b"/") {
        return Err(refuse(Problem::Absolute));
    }
    let name = to_text(raw);
    if components(&name).any(|part| part == "..") {
        return Err(refuse(Problem::Upwards));
    }
    Ok(components(&name).collect::<Vec<_>>().join("/"))
}

/// A name from an archive as it may stand in a message: short, without control characters.
pub(crate) fn printable(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).chars().take(200).flat_map(char::escape_debug).collect()
}

/// The same of a name that is text already.
pub(crate) fn shown(name: &str) -> String {
    printable(&to_bytes(name))
}
