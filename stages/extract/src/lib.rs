//! Images to tables in one forward pass.
//!
//! A shard streams: decode ∥ forward ∥ write, over bounded queues, so that memory does not grow with the number of
//! images. Many [`taps`] read one [`vit::Trace`]; each fills its own table. The outlier cut-off, where the policy needs
//! one, comes from an earlier, small [`Calibrate`] stage.

pub mod calibrate;
mod change;
mod cost;
pub mod densify;
pub mod discover;
pub mod edit;
pub mod embed_classes;
pub mod model;
pub mod neurons;
pub mod params;
pub mod pipeline;
pub mod pool_views;
pub mod portray;
pub mod prepare;
pub mod random;
pub mod stage;
pub mod taps;
pub mod test_time;
pub mod views;

pub use calibrate::Calibrate;
pub use densify::{Densify, DensifyParams, TruthKind};
pub use discover::{Discover, DiscoverParams};
pub use edit::{After, Edit, Replace, Select};
pub use embed_classes::{EmbedClasses, EmbedClassesParams};
pub use model::{EncoderSlot, Model};
pub use neurons::{FindNeurons, FindNeuronsParams};
pub use params::{ExtractParams, ParamsError, PoolSite, Tuning};
pub use pool_views::{PoolViews, PoolViewsParams};
pub use portray::{Portray, PortrayParams};
pub use stage::Extract;
pub use test_time::{TestTimeRegisters, with_zero_registers};
