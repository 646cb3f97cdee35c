//! The linear evaluation of `DINOv2` on stored whole-image vectors: 52 linear heads trained at once.
//!
//! ```text
//! input   CLS of the last n ∈ {1, 4} blocks through the final norm, oldest first, without or with the mean patch of the last
//! head    logits = W·x + b,  W ~ N(0, 0.01²), b = 0,  cross-entropy
//! SGD     V ← 0.9·V + G,  W ← W − r·(batch/256)·(1 + cos(π·t/T))/2·V,   thirteen rates r from 1e-5 to 0.1
//! ```
//!
//! All heads see the same batches. Heads of one input lie side by side, so that one product serves them; a group of
//! whole heads is worked on by one thread from product to update, and nothing depends on how many threads there are.
//! `DINOv2` reports the head that is best on the test images themselves; beside it stands the head that a held-out part of
//! the training images chooses. Source: facebookresearch/dinov2 `eval/linear.py`; the whole of it in
//! `docs/protocols/linear_eval.md`.

mod classes;
mod error;
mod heads;
mod outcome;
mod params;
mod sampler;
mod stage;
mod state;
mod stored;
mod trainer;

pub use error::LinearEvalError;
pub use params::{Length, LinearEvalParams, Training};
pub use stage::LinearEval;

#[cfg(test)]
mod tests;
