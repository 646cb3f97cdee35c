//! Images to tables in one forward pass.
//!
//! A shard streams: decode ∥ forward ∥ write, over bounded queues, so that memory does not grow with the number of
//! images. Many [`taps`] read one [`vit::Trace`]; each fills its own table. The outlier cut-off, where the policy needs
//! one, comes from an earlier, small [`Calibrate`] stage.

pub mod calibrate;
pub mod model;
pub mod params;
pub mod pipeline;
pub mod prepare;
pub mod random;
pub mod stage;
pub mod taps;

pub use calibrate::Calibrate;
pub use model::{EncoderSlot, Model};
pub use params::{ExtractParams, ParamsError, PoolSite, Tuning};
pub use stage::Extract;
