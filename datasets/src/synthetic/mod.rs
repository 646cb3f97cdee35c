//! placeholder
pub mod random;
