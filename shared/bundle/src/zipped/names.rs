//! What an entry of a zip archive is called: which bytes its name means, and which of them separate.

use super::central::Record;

/// In an entry's flags: the name is UTF-8.
const UTF8: u16 = 1 << 11;

/// Systems that a tool may run on.
const FAT: u8 = 0;
const HPFS: u8 = 6;
const NTFS: u8 = 10;
/// The number that Info-ZIP has for NTFS.
const INFO_ZIP_NTFS: u8 = 11;
const VFAT: u8 = 14;

/// The characters of code page 437 from 0x80 on, which is what names are in without being said to be anything else.
const CP437: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', 'É', 'æ', 'Æ',
    'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', 'á', 'í', 'ó', 'ú', 'ñ', 'Ñ',
    'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕',
    '╣', '║', '╗', '╝', '╜', '╛', '┐', '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦',
    '╠', '═', '╬', '╧', '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐',
    '▀', 'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', '≡', '±',
    '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];

/// The path of an entry, with `/` between the names.
pub(super) fn path(record: &Record) -> Vec<u8> {
    let is_utf8 = record.flags & UTF8 != 0;
    let name = match &record.unicode_name {
        Some(name) if !is_utf8 => name.clone(),
        None if !is_utf8 && matches!(record.made_on, FAT | VFAT) => {
            record.name.iter().flat_map(|byte| cp437(*byte)).collect()
        }
        Some(_) | None => record.name.clone(),
    };
    // Unix allows backslashes in names; there they separate.
    if !matches!(record.made_on, FAT | HPFS | NTFS | INFO_ZIP_NTFS | VFAT) {
        return name;
    }
    name.into_iter().map(|byte| if byte == b'\\' { b'/' } else { byte }).collect()
}

/// A character as UTF-8.
fn cp437(byte: u8) -> Vec<u8> {
    let high = byte.checked_sub(0x80).and_then(|high| CP437.get(usize::from(high)));
    match high {
        Some(character) => character.encode_utf8(&mut [0; 4]).as_bytes().to_vec(),
        None => vec![byte],
    }
}
