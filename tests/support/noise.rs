//! Bytes for files that have to be long.

#![allow(clippy::allow_attributes, unreachable_pub, reason = "a part of several test files")]

/// Bytes that do not repeat, and that no compression makes fewer.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
