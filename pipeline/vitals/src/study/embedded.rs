//! The study inside the binary.

/// `studies/embedded.toml`.
pub const TEXT: &str = include_str!("../../../../studies/embedded.toml");

/// How errors name it.
pub const ORIGIN: &str = "the embedded study";
