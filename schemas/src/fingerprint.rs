//! Fingerprints: what a table means, in sixteen hexadecimal digits.
//!
//! `Fingerprint = H(name, version, meaning, inputs)` with H = SHA-256 over canonical JSON (keys sorted, no spaces).
//! Only a type that says `impl Meaning` can enter; tuning (batch size, threads, device, paths) is of types that do not,
//! so that a change of speed can never look like a change of numbers, nor the reverse.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Marks parameters that can change a number.
pub trait Meaning: Serialize {}

/// Parameters in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Canonical(String);

impl Canonical {
    /// The canonical form of some parameters.
    ///
    /// # Panics
    /// When the type cannot be written as JSON (a map with keys that are not strings): a bug in the type.
    pub fn of<M: Meaning>(meaning: &M) -> Self {
        // `serde_json::Value` keeps its objects in a sorted map.
        let value = serde_json::to_value(meaning).unwrap_or_else(|e| panic!("meaning is not JSON: {e}"));
        Self(value.to_string())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The identity of one step's results.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a stage `name` at `version` with these parameters and these inputs.
    pub fn of(name: &str, version: u32, meaning: &Canonical, inputs: &[Fingerprint]) -> Self {
        let mut h = Sha256::new();
        // Lengths first, so that no two different lists of parts read as the same bytes.
        for part in [name, &version.to_string(), meaning.as_str()].into_iter().chain(inputs.iter().map(Self::as_str)) {
            h.update((part.len() as u64).to_le_bytes());
            h.update(part.as_bytes());
        }
        let first: [u8; 8] = std::array::from_fn({
            let digest = h.finalize();
            move |i| digest[i]
        });
        Self(format!("{:016x}", u64::from_be_bytes(first)))
    }

    /// Sixteen hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct M {
        b: u32,
        a: &'static str,
    }
    impl Meaning for M {}

    #[test]
    fn canonical_form_sorts_keys() {
        assert_eq!(Canonical::of(&M { b: 1, a: "x" }).as_str(), r#"{"a":"x","b":1}"#);
    }

    #[test]
    fn every_part_changes_the_fingerprint() {
        let m = Canonical::of(&M { b: 1, a: "x" });
        let n = Canonical::of(&M { b: 2, a: "x" });
        let one = Fingerprint::of("extract", 1, &m, &[]);
        assert_eq!(one, Fingerprint::of("extract", 1, &m, &[]));
        assert_ne!(one, Fingerprint::of("extracts", 1, &m, &[]));
        assert_ne!(one, Fingerprint::of("extract", 2, &m, &[]));
        assert_ne!(one, Fingerprint::of("extract", 1, &n, &[]));
        assert_ne!(one, Fingerprint::of("extract", 1, &m, std::slice::from_ref(&one)));
        assert_eq!(one.as_str().len(), 16);
    }
}
