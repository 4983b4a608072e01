//! What is done with each entry, whatever the archive's type: its name and type are checked, it is handed on, and an
//! AppSpec file is kept.

use std::io::{self, Cursor, Read};
use std::time::SystemTime;

use crate::appspec;
use crate::error::{BundleError, Problem};
use crate::limits::Limits;
use crate::tree::{Node, Tree, normalise, printable};
use crate::{Entry, EntryKind, Inspection, Kind};

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
    sink: &'s mut dyn FnMut(Entry<'_>) -> io::Result<()>,
}

impl<'s> Walk<'s> {
    pub(crate) fn new(
        kind: Kind,
        limits: &Limits,
        sink: &'s mut dyn FnMut(Entry<'_>) -> io::Result<()>,
    ) -> Self {
        let tree = Tree::new(limits);
        Self { kind, limits: *limits, tree, candidates: Vec::new(), unpacked_bytes: 0, sink }
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
                self.tree.add(&path, Node::File)?;
                self.file(&path, modified, mode & 0o777, size, reader)
            }
            Raw::Dir { mode } => {
                self.tree.add(&path, Node::Dir)?;
                self.pass(Entry {
                    path: &path,
                    modified,
                    kind: EntryKind::Dir { mode: mode & 0o777 },
                })
            }
            Raw::Symlink { target } => {
                let limit = self.limits.symlink_bytes;
                let target = std::str::from_utf8(target)
                    .ok()
                    .filter(|target| {
                        !target.is_empty() && target.len() <= limit && !target.contains('\0')
                    })
                    .ok_or_else(|| refuse(Problem::LinkTarget { limit }))?;
                self.tree.add(&path, Node::Symlink(target.to_owned()))?;
                self.pass(Entry { path: &path, modified, kind: EntryKind::Symlink { target } })
            }
            Raw::HardLink { target } => {
                let known = normalise(target, &self.limits)
                    .ok()
                    .filter(|target| self.tree.get(target) == Some(&Node::File))
                    .ok_or_else(|| refuse(Problem::HardLink { target: printable(target) }))?;
                self.tree.add(&path, Node::File)?;
                self.pass(Entry {
                    path: &path,
                    modified,
                    kind: EntryKind::HardLink { target: &known },
                })
            }
        }
    }

    fn file(
        &mut self,
        path: &str,
        modified: SystemTime,
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
        let written = match &kept {
            Some(bytes) => {
                let reader = &mut Cursor::new(bytes);
                (self.sink)(Entry { path, modified, kind: EntryKind::File { mode, size, reader } })
            }
            None => {
                let reader = &mut content;
                (self.sink)(Entry { path, modified, kind: EntryKind::File { mode, size, reader } })
            }
        };
        if let Some(error) = content.error.take() {
            return Err(BundleError::from_read(self.kind, Some(path), error));
        }
        written.map_err(|source| BundleError::Sink { entry: path.to_owned(), source })?;
        content.finish().map_err(|error| BundleError::from_read(self.kind, Some(path), error))?;
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
        let path = entry.path.to_owned();
        (self.sink)(entry).map_err(|source| BundleError::Sink { entry: path, source })
    }

    /// Says what the archive is, after its last entry.
    pub(crate) fn finish(self) -> Result<Inspection, BundleError> {
        let (strip_prefix, file, text) = appspec::find(&self.tree, &self.candidates)?;
        if let Some(prefix) = &strip_prefix {
            self.tree.check_links_below(prefix)?;
        }
        let appspec =
            appspec::read(&self.tree, strip_prefix.as_deref().unwrap_or_default(), &file, text)?;
        Ok(Inspection {
            kind: self.kind,
            strip_prefix,
            appspec_file: file,
            appspec,
            entries: self.tree.len(),
            unpacked_bytes: self.unpacked_bytes,
        })
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
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is longer than its header says",
            ));
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
