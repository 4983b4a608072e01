//! The lines of a hook's output, as hosts keep and report them: each begins with the time at which the host read it.

use engine::Timestamp;

/// How many bytes of a line are its time, with the space after it.
const STAMP: usize = "2026-11-23T09:00:00.000Z ".len();

/// What stands before a line that was read at `at`.
pub fn stamp(at: Timestamp) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    format!("{time:.3} ")
}

/// A line's time, and the line without it. A line of a host that notes no times, or one whose beginning is cut off, has
/// none.
pub fn unstamped(line: &str) -> (Option<Timestamp>, &str) {
    let Some((time, rest)) = line.split_at_checked(STAMP) else { return (None, line) };
    let time = time.strip_suffix(' ').and_then(|time| time.parse::<jiff::Timestamp>().ok());
    match time.and_then(|time| u64::try_from(time.as_millisecond()).ok()) {
        Some(ms) => (Some(Timestamp(ms)), rest),
        None => (None, line),
    }
}

/// A text without the times of its lines, as CodeDeploy's own tools know it.
pub fn without_stamps(text: &str) -> String {
    text.split_inclusive('\n').map(|line| unstamped(line).1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_with_its_time_and_without_it() {
        let at = Timestamp(1_795_424_401_350);
        let line = format!("{}[stdout]one\n", stamp(at));
        assert_eq!(line, "2026-11-23T09:00:01.350Z [stdout]one\n");
        assert_eq!(unstamped(&line), (Some(at), "[stdout]one\n"));
        assert_eq!(stamp(Timestamp(0)), "1970-01-01T00:00:00.000Z ");
        let cut = "09:00:00.999Z [stdout]the rest of a longer line";
        for plain in ["", "[stdout]one", "é", cut, "2026-11-23T09:00:01.350Z"] {
            assert_eq!(unstamped(plain), (None, plain));
        }
        assert_eq!(
            without_stamps(&format!("{cut}\n{line}{line}x")),
            format!("{cut}\n[stdout]one\n[stdout]one\nx")
        );
    }
}
