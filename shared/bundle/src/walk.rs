//! What is done with each entry, whatever the archive's type: its name and type are checked, it is handed on, and an
//! AppSpec file is kept.

use std::io::{self, Cursor, Read};
use std::time::SystemTime;

use crate::appspec;
use crate::entry::{Entry, EntryKind};
use crate::error::{BundleError, Problem, damaged};
use crate::inspection::{Fault, Inspection};
use crate::kind::Kind;
use crate::limits::Limits;
use crate::names::to_text;
use crate::tree::{Node, Tree, normalise, printable, shown};

/// How many paths are named that came more than once.
const AGAIN_SHOWN: usize = 5;

/// An entry as the archive has it.
pub(crate) enum Raw<'a> {
    /// A regular file with its mode, size and content.
    File { mode: u32, size: u64, reader: &'a mut dyn Read },
    /// A directory with its mode.
    Dir { mode: u32 },
    /// A symbolic link with its target.
    Symlink { target: &'a [u8] },
    /// A hard link with the name it links to.
    HardLink { target: &'a [u8] },
}

/// The state of a walk over an archive.
pub(crate) struct Walk<'s> {
    pub(crate) kind: Kind,
    pub(crate) limits: Limits,
    tree: Tree,
    /// Files that may be the AppSpec file, with their content.
    candidates: Vec<(String, Vec<u8>)>,
    unpacked_bytes: u64,
    /// Paths that came again, and how many these were.
    again: Vec<String>,
    again_count: u64,
    /// What else is doubtful about the archive, in sentences.
    doubts: Vec<String>,
    sink: &'s mut dyn FnMut(Entry<'_>) -> io::Result<()>,
}

impl<'s> Walk<'s> {
    pub(crate) fn new(
        kind: Kind,
        limits: &Limits,
        sink: &'s mut dyn FnMut(Entry<'_>) -> io::Result<()>,
    ) -> Self {
        Self {
            kind,
            limits: *limits,
            tree: Tree::new(limits),
            candidates: Vec::new(),
            unpacked_bytes: 0,
            again: Vec::new(),
            again_count: 0,
            doubts: Vec::new(),
            sink,
        }
    }

    /// Takes the next entry.
    pub(crate) fn entry(
        &mut self,
        name: &[u8],
        modified: SystemTime,
        raw: Raw<'_>,
    ) -> Result<(), BundleError> {
        let path = normalise(name, &self.limits)?;
        let refuse = |problem| BundleError::Entry { entry: printable(name), problem };
        if path.is_empty() {
            return match raw {
                Raw::Dir { .. } => Ok(()),
                Raw::File { .. } | Raw::Symlink { .. } | Raw::HardLink { .. } => {
                    Err(refuse(Problem::Nameless))
                }
            };
        }
        match raw {
            Raw::File { mode, size, reader } => {
                if mode & 0o6000 != 0 {
                    return Err(refuse(Problem::SetId));
                }
                let replaces = self.add(&path, Node::File)?;
                self.file(&path, modified, replaces, mode & 0o777, size, reader)
            }
            Raw::Dir { mode } => {
                self.add(&path, Node::Dir)?;
                let kind = EntryKind::Dir { mode: mode & 0o777 };
                self.pass(Entry { path: &path, modified, replaces: false, kind })
            }
            Raw::Symlink { target } => {
                let limit = self.limits.symlink_bytes;
                if target.is_empty() || target.len() > limit || target.contains(&0) {
                    return Err(refuse(Problem::LinkTarget { limit }));
                }
                self.symlink(&path, modified, &to_text(target))
            }
            Raw::HardLink { target } => {
                let unknown = || refuse(Problem::HardLink { target: printable(target) });
                let known = normalise(target, &self.limits).map_err(|_| unknown())?;
                match self.tree.get(&known).cloned() {
                    // It is that file already.
                    Some(Node::File) if known == path => Ok(()),
                    Some(Node::File) => {
                        let replaces = self.add(&path, Node::File)?;
                        let kind = EntryKind::HardLink { target: &known };
                        self.pass(Entry { path: &path, modified, replaces, kind })
                    }
                    // A link has no content but its target, so another one is as good.
                    Some(Node::Symlink(target)) => self.symlink(&path, modified, &target),
                    Some(Node::Dir) | None => Err(unknown()),
                }
            }
        }
    }

    /// Takes down what is doubtful about the archive.
    pub(crate) fn warn(&mut self, doubt: String) {
        self.doubts.push(doubt);
    }

    fn symlink(
        &mut self,
        path: &str,
        modified: SystemTime,
        target: &str,
    ) -> Result<(), BundleError> {
        let replaces = self.add(path, Node::Symlink(target.to_owned()))?;
        self.pass(Entry { path, modified, replaces, kind: EntryKind::Symlink { target } })
    }

    /// Adds a node to the tree; true if it takes the place of an earlier entry, of which then nothing counts.
    fn add(&mut self, path: &str, node: Node) -> Result<bool, BundleError> {
        let replaces = self.tree.add(path, node)?;
        if replaces {
            self.candidates.retain(|(candidate, _)| candidate != path);
            self.again_count += 1;
            if self.again.len() < AGAIN_SHOWN {
                self.again.push(shown(path));
            }
        }
        Ok(replaces)
    }

    fn file(
        &mut self,
        path: &str,
        modified: SystemTime,
        replaces: bool,
        mode: u32,
        size: u64,
        reader: &mut dyn Read,
    ) -> Result<(), BundleError> {
        self.unpacked_bytes = self.unpacked_bytes.saturating_add(size);
        let mut content = Content { inner: reader, left: size, error: None };
        let kept = if appspec::may_be(path, self.tree.single_folder()) {
            Some(self.keep(path, &mut content)?)
        } else {
            None
        };
        let mut bytes;
        let reader: &mut dyn Read = match &kept {
            Some(kept) => {
                bytes = Cursor::new(kept);
                &mut bytes
            }
            None => &mut content,
        };
        let kind = EntryKind::File { mode, size, reader };
        let written = (self.sink)(Entry { path, modified, replaces, kind });
        if let Some(error) = content.error.take() {
            return Err(BundleError::from_read(self.kind, Some(&shown(path)), error));
        }
        written.map_err(|source| BundleError::Sink { entry: shown(path), source })?;
        let finished = content.finish();
        finished.map_err(|error| BundleError::from_read(self.kind, Some(&shown(path)), error))?;
        self.candidates.extend(kept.map(|bytes| (path.to_owned(), bytes)));
        Ok(())
    }

    /// Reads a file that may be the AppSpec file.
    fn keep(&self, path: &str, content: &mut Content<'_>) -> Result<Vec<u8>, BundleError> {
        let limit = self.limits.appspec_bytes;
        if content.left > limit {
            return Err(BundleError::AppSpec {
                file: path.to_owned(),
                position: None,
                message: format!(
                    "the file is larger than {limit} bytes; an AppSpec file is a few lines"
                ),
            });
        }
        let mut bytes = Vec::new();
        let outcome = content.read_to_end(&mut bytes);
        let outcome = content.error.take().map_or(outcome, Err);
        outcome.map_err(|error| BundleError::from_read(self.kind, Some(path), error))?;
        Ok(bytes)
    }

    fn pass(&mut self, entry: Entry<'_>) -> Result<(), BundleError> {
        let path = entry.path;
        (self.sink)(entry).map_err(|source| BundleError::Sink { entry: shown(path), source })
    }

    /// Says what the archive is, after its last entry, and what its AppSpec file names and it does not have.
    pub(crate) fn finish(self) -> Result<(Inspection, Vec<Fault>), BundleError> {
        let (strip_prefix, file, text) = appspec::find(&self.tree, &self.candidates)?;
        let appspec = appspec::read(&file, text)?;
        let root = strip_prefix.as_deref().unwrap_or_default();
        let faults = appspec::faults(&self.tree, root, &appspec);
        let inspection = Inspection {
            kind: self.kind,
            strip_prefix,
            appspec_file: file,
            appspec,
            entries: self.tree.len(),
            unpacked_bytes: self.unpacked_bytes,
            warnings: self.warnings(),
        };
        Ok((inspection, faults))
    }

    /// What is taken, but most likely not meant.
    fn warnings(&self) -> Vec<String> {
        let said = |path: &String| {
            format!("`{path}` is in the archive more than once; the last one counts")
        };
        let mut warnings: Vec<String> = self.again.iter().map(said).collect();
        let rest = self.again_count.saturating_sub(self.again.len() as u64);
        if rest > 0 {
            warnings.push(format!("so it is with {rest} more"));
        }
        warnings.extend(self.doubts.iter().cloned());
        warnings
    }
}

/// The content of one file, exactly as long as its header says. It remembers the first error of the archive, so that
/// it is not taken for one of whoever reads it.
struct Content<'a> {
    inner: &'a mut dyn Read,
    left: u64,
    error: Option<io::Error>,
}

impl Content<'_> {
    /// Skips what was not read, and checks that this was all.
    fn finish(&mut self) -> io::Result<()> {
        let outcome = io::copy(self, &mut io::sink());
        self.error.take().map_or(outcome, Err)?;
        // Only this read makes a zip reader compare the checksum.
        if self.inner.read(&mut [0])? != 0 {
            return Err(damaged("the file is longer than its header says"));
        }
        Ok(())
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let outcome = match self.inner.read(buffer) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            outcome => outcome,
        };
        match outcome {
            Ok(count) => {
                self.left = self.left.saturating_sub(count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let shown = io::Error::new(error.kind(), error.to_string());
                self.error = Some(error);
                Err(shown)
            }
        }
    }
}
