//! Fingerprints: what a table means, in sixteen hexadecimal digits.
//!
//! `Fingerprint = H(name, version, meaning, inputs)` with H = SHA-256 over canonical JSON (keys sorted, no spaces).
//! Only a type that says `impl Meaning` can enter; tuning (batch size, threads, device, paths) is of types that do not,
//! so that a change of speed can never look like a change of numbers, nor the reverse.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;
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
        let value = serde_json::to_value(meaning).unwrap_or_else(|e| panic!("meaning is not JSON: {e}"));
        let mut text = String::new();
        write_sorted(&value, &mut text);
        Self(text)
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// JSON with sorted keys. Whether `serde_json`'s own map sorts depends on a feature that any crate of a build can switch.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            text.push('{');
            for (i, (key, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_sorted(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write_sorted(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
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
        let nested = serde_json::json!({"z": [{"b": null, "a": 1.5}, []], "a\"b": {"y": true, "x": {}}});
        let mut text = String::new();
        write_sorted(&nested, &mut text);
        assert_eq!(text, r#"{"a\"b":{"x":{},"y":true},"z":[{"a":1.5,"b":null},[]]}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(nested));
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
