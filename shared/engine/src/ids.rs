//! Identifiers as distinct types.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is no identifier of the kind it was given as.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no {kind}")]
pub struct IdError {
    /// What it should have been.
    pub kind: &'static str,
    /// What was given.
    pub text: String,
}

/// A deployment's id: `d-` and nine upper-case letters or digits (`docs/semantics.md#identifiers`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId(String);

impl DeploymentId {
    const ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    /// An id out of nine random bytes, which the caller draws: the engine has no source of them.
    pub fn from_random(bytes: [u8; 9]) -> Self {
        let letter =
            |byte: u8| char::from(*Self::ALPHABET.get(usize::from(byte) % 36).unwrap_or(&b'A'));
        Self(["d-".to_owned(), bytes.into_iter().map(letter).collect()].concat())
    }

    /// The id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeploymentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let rest = text.strip_prefix("d-").unwrap_or("");
        let fits = rest.len() == 9 && rest.bytes().all(|b| Self::ALPHABET.contains(&b));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError { kind: "deployment id", text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A deployment group's id: a lower-case UUID. Hosts key what they keep by it, so a group that is created again under
/// its old name is a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupId(String);

impl GroupId {
    /// An id (UUID version 4) out of sixteen random bytes, which the caller draws.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("");
        Self([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
    }

    /// The id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
            });
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError { kind: "deployment group id", text: text.to_owned() })
        }
    }
}

impl TryFrom<String> for GroupId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<GroupId> for String {
    fn from(id: GroupId) -> Self {
        id.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_as_they_are_written() {
        let id = DeploymentId::from_random([0, 1, 35, 36, 255, 7, 8, 9, 10]);
        assert_eq!(id.as_str().parse::<DeploymentId>().unwrap(), id);
        let group = GroupId::from_random([0xff; 16]);
        assert_eq!(group.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(group.as_str().parse::<GroupId>().unwrap(), group);
    }

    #[test]
    fn what_only_looks_like_an_id_is_refused() {
        for text in
            ["", "d-", "d-abcdefghi", "d-ABCDEFGH", "d-ABCDEFGHIJ", "x-ABCDEFGHI", "d-ABCDEFGH/"]
        {
            assert!(text.parse::<DeploymentId>().is_err(), "{text}");
        }
        assert!("../../etc".parse::<GroupId>().is_err());
    }
}
