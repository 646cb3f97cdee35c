//! Dense heads: segmentation and depth on stored patch features.
//!
//! The backbone ran once; its features of whole views lie in `dense` in f16, the annotations in `truth_maps`. A head is one
//! to three small layers, so its derivatives are written out by hand, a view at a time, and nothing of the size of a
//! picture times the number of classes is ever held. A recipe ([`Recipe`]) says everything that can change a number; the
//! named ones are those of the two papers. Layers: `net`; losses: `cross_entropy`, `bins`; order and steps: `fit`;
//! judging: `joining`, `confusion`, `depth_error`, `evaluate`; time: `cost`; the stage: `stage`.

mod bins;
mod confusion;
mod cost;
mod cross_entropy;
mod depth_error;
mod error;
mod evaluate;
mod features;
mod fit;
mod groups;
mod joining;
mod labels;
mod net;
mod optimiser;
mod place;
mod recipe;
mod resize;
mod samples;
mod schedule;
mod stage;
mod state;
mod tensor;
mod truths;

pub use confusion::MeanIou;
pub use depth_error::DepthScore;
pub use error::{DenseError, Emptiness};
pub use labels::{LabelMap, labels_in_words};
pub use optimiser::Optimiser;
pub use recipe::{Depth, DepthLoss, Init, Joining, Length, LossAt, MeanOver, Recipe, SegmentHead, Segments, Task};
pub use resize::Padding;
pub use schedule::{Schedule, Shape, WarmUp};
pub use stage::{HeadParams, HeadSizes, TrainHead};
