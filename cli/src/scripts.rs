//! What keeps a script from running as it was meant: nothing that hosts refuse, but what people find out on a host.

use engine::appspec::Position;

/// How much of a script is looked at.
pub(crate) const LOOK_BYTES: u64 = 1 << 20;

/// What begins a program that needs no interpreter.
const ELF: &[u8] = b"\x7fELF";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is doubtful about a script, with its place.
pub(crate) fn doubts(script: &[u8]) -> Vec<(Position, String)> {
    let mut found = Vec::new();
    let start = Position { line: 1, column: 1 };
    if script.starts_with(ELF) {
        return found;
    }
    if let Some(rest) = script.strip_prefix(BYTE_ORDER_MARK) {
        let message = if rest.starts_with(b"#!") {
            "the script begins with a byte order mark, which hides its `#!` line; save it as UTF-8 without one"
        } else {
            "the script begins with a byte order mark, which `/bin/sh` takes for a command; save it as UTF-8 without one"
        };
        found.push((start, message.to_owned()));
    } else if !script.starts_with(b"#!") {
        let message = "the script has no `#!` line, so `/bin/sh` runs it; begin it with `#!/bin/sh`, or with the program that it is written for";
        found.push((start, message.to_owned()));
    }
    let ends = script.split(|byte| *byte == b'\n').position(|line| line.ends_with(b"\r"));
    if let Some(line) = ends {
        let position =
            Position { line: u32::try_from(line).unwrap_or(u32::MAX).saturating_add(1), column: 1 };
        let message = if line == 0 && script.starts_with(b"#!") {
            "the line ends with CR LF, as on Windows, so the host looks for an interpreter with a CR in its name and does not find it; save the script with LF, or run `sed -i 's/\\r$//'` on it"
        } else {
            "the line ends with CR LF, as on Windows, and the CR becomes part of the command; save the script with LF, or run `sed -i 's/\\r$//'` on it"
        };
        found.push((position, message.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(script: &[u8]) -> Vec<(u32, String)> {
        doubts(script).into_iter().map(|(at, message)| (at.line, message)).collect()
    }

    #[test]
    fn a_good_script_and_a_program_have_none() {
        assert_eq!(lines(b"#!/bin/sh\necho a\rb\n"), []);
        assert_eq!(lines(b"\x7fELF\x02\r\n"), []);
    }

    #[test]
    fn lines_of_windows_a_mark_and_a_missing_interpreter_are_told() {
        for (script, expected) in [
            (&b"#!/bin/sh\r\necho\r\n"[..], &[(1, "interpreter with a CR")][..]),
            (b"#!/bin/sh\necho\r\n", &[(2, "part of the command")]),
            (b"echo\n", &[(1, "no `#!` line")]),
            (b"", &[(1, "no `#!` line")]),
            (b"echo\r\n", &[(1, "no `#!` line"), (1, "part of the command")]),
            (b"\xef\xbb\xbf#!/bin/sh\n", &[(1, "hides its `#!` line")]),
            (b"\xef\xbb\xbfecho\n", &[(1, "takes for a command")]),
        ] {
            let found = lines(script);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for ((line, message), (expected_line, part)) in found.iter().zip(expected) {
                assert!(line == expected_line && message.contains(part), "{found:?}");
            }
        }
    }
}
