//! Names that are not UTF-8, as text.
//!
//! File systems and archives know bytes; an AppSpec, a manifest and a message know text. A byte that is no part of a
//! character is written as one out of U+EF80..U+EFFF, which Unicode leaves to private use. Where such a character stands
//! in a name itself, its own bytes are written this way, so that different names stay different.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// What stands for the byte 0x80.
const FIRST: u32 = 0xef80;
const LAST: u32 = FIRST + 0x7f;

/// The text of a name.
#[must_use]
pub fn to_text(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_byte(character) {
                push_bytes(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(character);
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

/// The name that a text was made of.
#[must_use]
pub fn to_bytes(text: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(u32::from(character).wrapping_sub(FIRST)) {
            Ok(byte @ ..0x80) => name.push(0x80 | byte),
            _ => name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    name
}

/// The name that a text was made of, for a file system.
#[must_use]
pub fn to_os(text: &str) -> OsString {
    OsString::from_vec(to_bytes(text))
}

fn is_byte(character: char) -> bool {
    (FIRST..=LAST).contains(&u32::from(character))
}

/// Writes bytes that are no characters of their own; all of them have their highest bit set.
fn push_bytes(text: &mut String, bytes: &[u8]) {
    let character = |byte: &u8| char::from_u32(FIRST + u32::from(byte & 0x7f));
    text.extend(bytes.iter().filter_map(character));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        let names: [&[u8]; 8] = [
            b"",
            b"plain/name",
            "gr\u{fc}n/\u{1f600}".as_bytes(),
            b"gr\xfcn",
            b"\xff\xfe\x80",
            b"\xe2\x82",
            "\u{ef80}\u{efff}\u{ef7f}\u{f000}".as_bytes(),
            b"\xe9/\xc3\xa9",
        ];
        let mut texts: Vec<String> = names.iter().map(|name| to_text(name)).collect();
        for (name, text) in names.iter().zip(&texts) {
            assert_eq!(to_bytes(text), *name);
            assert_eq!(to_text(&to_bytes(text)), *text);
        }
        assert_eq!(texts[1], "plain/name");
        assert_eq!(texts[3], "gr\u{effc}n");
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), names.len());
    }
}
