//! placeholder
/// Error.
#[derive(Debug, thiserror::Error)]
#[error("placeholder")]
pub struct ForeignError;
