//! Images in, planar floats out: how bytes lie on disk ([`formats`]), what they mean ([`catalog`]), how they are decoded
//! ([`decode()`]) and made ready for an encoder ([`Preprocess`]).
//!
//! ```text
//! DatasetSpec ── open ──▶ Source ── read(i) ──▶ Raw ── decode ──▶ Rgb8 ── Preprocess ──▶ Planar [3, H, W]
//! ```
//!
//! The order of a dataset is part of its meaning: entries are sorted bytewise, splits and shuffles are permutations of
//! that order, and the manifest digest covers the result. Pixels equal Pillow's bit for bit, before and after resizing.

pub mod catalog;
pub mod decode;
pub mod formats;
pub mod pixels;
pub mod preprocess;
pub mod resize;
pub mod select;
pub mod source;
pub mod spec;
pub mod split;
pub mod synthetic;
pub mod views;

pub use decode::{DecodeError, decode};
pub use pixels::{Planar, Rgb8};
pub use preprocess::{Crop, Filter, LoadError, Loaded, Preprocess, PreprocessError, Resize};
pub use source::{BoxPx, DenseTruth, Entry, Manifest, Object, Raw, ReadError, Source, Truth};
pub use spec::{DatasetError, DatasetSpec, open};
pub use split::{Official, Part, Split};
pub use views::{Crops, DepthCrops, Place, TruthOf, View, ViewError, ViewSpec, Views, ViewsOf};
