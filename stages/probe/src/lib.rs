//! Probes: what a linear model can read from frozen vectors.
//!
//! Vectors and labels in, `scores` out. [`logistic`] is the classifier of the papers' tables, [`classify`] their
//! protocol, [`token_class`], `multi_label`, [`position`] and [`pixels`] the experiments, [`ProbeStage`] the door to the engine. This
//! crate owns linfa. Every experiment is one stage instance per model and dataset, so each resumes on its own.

pub mod average_precision;
mod cholesky;
mod class_cost;
mod class_tables;
pub mod classify;
mod curve;
pub mod error;
mod knn;
mod lbfgs;
pub mod least_squares;
mod line_search;
mod linfa_fit;
pub mod logistic;
mod multi_label;
mod neighbours;
pub mod numpy_random;
pub mod pixels;
pub mod position;
mod products;
mod samples;
mod score;
mod settings;
mod softmax;
pub mod split;
mod stage;
mod streamed;
pub mod token_class;
pub mod zero_shot;

pub use classify::{Average, Protocol, Regularisation};
pub use curve::{Curve, Knobs, ProbeCurve};
pub use error::ProbeError;
pub use knn::Knn;
pub use logistic::{Design, Fit, LogisticParams, Model, Solver, Standardise};
pub use pixels::Pixels;
pub use position::{Position, PositionModel};
pub use split::Split;
pub use stage::{Experiment, ProbeStage};
pub use token_class::VectorClass;
pub use zero_shot::{ZeroShot, ZeroShotParams};
