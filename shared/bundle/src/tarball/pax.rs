//! What extension headers say about the next entry: those of GNU tar, and those of pax.

use std::io;
use std::time::SystemTime;

use super::sparse::Said;
use super::values::{decimal, text};
use crate::error::damaged;

/// What extension headers say about the next entry.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) modified: Option<SystemTime>,
    /// What is said about a sparse file.
    pub(super) sparse: Option<Said>,
}

impl Extensions {
    /// Takes the records of a pax header: `LENGTH KEY=VALUE` and a line break, in which the value may be any bytes.
    pub(super) fn read(&mut self, mut data: &[u8]) -> io::Result<()> {
        let invalid = || damaged("an extension header has an unreadable value");
        while !data.is_empty() {
            let digits = data.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let length: usize = text(data.get(..digits).unwrap_or_default())?;
            let (record, rest) = data.split_at_checked(length).ok_or_else(invalid)?;
            data = rest;
            let record = record.get(digits..).and_then(|record| record.strip_prefix(b" "));
            let record =
                record.and_then(|record| record.strip_suffix(b"\n")).ok_or_else(invalid)?;
            let at = record.iter().position(|byte| *byte == b'=').ok_or_else(invalid)?;
            let (key, value) = record.split_at_checked(at).ok_or_else(invalid)?;
            self.take(key, value.strip_prefix(b"=").unwrap_or(value))?;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(text(value)?),
            b"mtime" => {
                let time = str::from_utf8(value).ok().and_then(decimal);
                self.modified = Some(
                    time.ok_or_else(|| damaged("an extension header has an unreadable time"))?,
                );
            }
            _ => {
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.get_or_insert_default().take(key, value)?;
                }
            }
        }
        Ok(())
    }
}
