//! Secrets, of which only hashes are stored.

use sha2::{Digest, Sha256};

/// SHA-256 of a secret in hex: what is stored of it.
pub fn hash_of(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}
