//! Values in the headers of a tar archive.

use std::io;
use std::time::{Duration, SystemTime};

use crate::error::damaged;

/// What stands in a record as text.
pub(super) fn text<T: std::str::FromStr>(value: &[u8]) -> io::Result<T> {
    let text = str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged("an extension header has an unreadable value"))
}

/// A time in decimal seconds, such as `-1.5`.
pub(super) fn decimal(text: &str) -> Option<SystemTime> {
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
