//! What extension headers say about the next entry: those of GNU tar, and those of pax.

use std::io;
use std::time::{Duration, SystemTime};

use super::sparse::Said;
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

/// What stands in a record as text.
pub(super) fn text<T: std::str::FromStr>(value: &[u8]) -> io::Result<T> {
    let text = str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged("an extension header has an unreadable value"))
}

/// A time in decimal seconds, such as `-1.5`.
fn decimal(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    let seconds: i64 = whole.parse().ok()?;
    match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => Some(time(seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some(time(seconds, nanoseconds)),
    }
}

/// A time by seconds since 1970, as far as file systems know it.
pub(super) fn time(seconds: i64, nanoseconds: u32) -> SystemTime {
    const FAR_S: i64 = 1 << 34;
    let seconds = seconds.clamp(-FAR_S, FAR_S);
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = match seconds {
        0.. => SystemTime::UNIX_EPOCH + whole,
        _ => SystemTime::UNIX_EPOCH - whole,
    };
    base + Duration::from_nanos(u64::from(nanoseconds))
}
