//! gzip, member by member: some tools compress in pieces, and what comes behind the last one is no content.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use crate::error::damaged;

/// What each member begins with.
const MAGIC: &[u8] = b"\x1f\x8b";

/// The content of all members, one after the other. Each member's checksum and size are compared. Zeros may follow the
/// last one, as tapes leave them, and nothing else.
#[derive(Debug)]
pub(crate) struct Members<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(packed: R) -> Self {
        Self { member: Some(GzDecoder::new(packed)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if !skip_zeros(member.get_mut())? {
                if !begins_member(member.get_mut().fill_buf()?) {
                    return Err(damaged("there is something else after the end of its gzip data"));
                }
                self.member = self.member.take().map(|member| GzDecoder::new(member.into_inner()));
                continue;
            }
            self.member = None;
        }
        Ok(0)
    }
}

/// Whether another member can begin with these bytes, of which there is one at least.
fn begins_member(bytes: &[u8]) -> bool {
    let known = bytes.len().min(MAGIC.len());
    bytes.get(..known) == MAGIC.get(..known)
}

/// Skips zeros; true if they go on to the end.
fn skip_zeros(rest: &mut impl BufRead) -> io::Result<bool> {
    let mut skipped = false;
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match bytes.len() {
            0 => return Ok(true),
            all if zeros == all => {
                rest.consume(zeros);
                skipped = true;
            }
            _ if zeros > 0 || skipped => {
                return Err(damaged("there is something else after the zeros at its end"));
            }
            _ => return Ok(false),
        }
    }
}
