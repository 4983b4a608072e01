//! Identities of uploads, and which uploads nobody has handled yet.
//!
//! An identity is the number of this start of the store (counted in a file) in the upper half and a counter in the lower
//! half, so it rises strictly for ever at the cost of one small write per start. The file of an upload is written and
//! synced before the object becomes visible, and removed when the receiver has acknowledged the upload.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use durable::Disk;
use serde::{Deserialize, Serialize};

/// An upload that was about to become visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) bucket: String,
    pub(super) key: String,
}

#[derive(Debug)]
pub(super) struct Outbox {
    directory: PathBuf,
    last: u64,
}

impl Outbox {
    /// Opens the outbox in `directory` (which exists) and begins a new range of identities, counted in `starts`.
    pub(super) fn open(directory: PathBuf, starts: &Path) -> io::Result<Self> {
        let before: u32 = match fs::read_to_string(starts) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let what = format!("the file `{}` does not hold a number", starts.display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let now = before
            .checked_add(1)
            .ok_or_else(|| io::Error::other("the count of starts is used up"))?;
        Disk::default().replace(starts, format!("{now}\n").as_bytes(), 0o600)?;
        Ok(Self { directory, last: u64::from(now) << 32 })
    }

    /// The next identity. It is remembered only by what is written under it.
    pub(super) fn next(&mut self) -> io::Result<u64> {
        self.last = self
            .last
            .checked_add(1)
            .ok_or_else(|| io::Error::other("the identities of uploads are used up"))?;
        Ok(self.last)
    }

    /// Makes the entry durable.
    pub(super) fn add(&self, identity: u64, entry: &Entry) -> io::Result<()> {
        let path = self.path(identity);
        let written = serde_json::to_vec(entry)
            .map_err(io::Error::from)
            .and_then(|bytes| Disk::default().replace(&path, &bytes, 0o600));
        if written.is_err() {
            self.remove(identity)?;
        }
        written
    }

    /// Forgets the entry. Removing what is not there is success: an acknowledgement may come twice.
    pub(super) fn remove(&self, identity: u64) -> io::Result<()> {
        match fs::remove_file(self.path(identity)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// All entries, in the order of their identities. What a crash left half-written is dropped: its object was not
    /// visible yet.
    pub(super) fn entries(&self) -> io::Result<Vec<(u64, Entry)>> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.ends_with(".new")) {
                // Of an entry that a crash kept from being one.
                fs::remove_file(&path)?;
            }
            let Some(identity) = name.and_then(|name| name.parse().ok()) else {
                continue;
            };
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(entry) => entries.push((identity, entry)),
                Err(_) => fs::remove_file(&path)?,
            }
        }
        entries.sort_by_key(|(identity, _)| *identity);
        Ok(entries)
    }

    fn path(&self, identity: u64) -> PathBuf {
        self.directory.join(format!("{identity:020}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_half_written_is_dropped() {
        let place = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(place.path().to_owned(), &place.path().join("starts")).unwrap();
        let entry = Entry { bucket: "revisions".to_owned(), key: "shop.zip".to_owned() };
        outbox.add(7, &entry).unwrap();
        let path = |number: u64| outbox.path(number);
        fs::write(path(8), "{\"buck").unwrap();
        let unfinished = path(9).with_extension("new");
        fs::write(&unfinished, "{").unwrap();
        assert_eq!(outbox.entries().unwrap(), [(7, entry)]);
        assert!(!path(8).exists() && !unfinished.exists() && path(7).exists());
    }
}
