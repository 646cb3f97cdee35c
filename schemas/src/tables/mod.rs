//! One file per table. A table's doc comment is its column dictionary; `docs/formats.md` repeats it, held equal by test.

mod boxes;
mod class_vectors;
mod curves;
mod cutoffs;
mod dense;
mod grids;
mod heads;
mod images;
mod losses;
mod maps;
mod norm_histograms;
mod objects;
mod pictures;
mod pooled;
mod pooled_views;
mod predictions;
mod register_neurons;
mod replicates;
mod scores;
mod skipped;
mod token_pixels;
mod token_stats;
mod token_vectors;
mod truth_maps;

pub use boxes::Boxes;
pub use class_vectors::ClassVectors;
pub use curves::Curves;
pub use cutoffs::Cutoffs;
pub use dense::Dense;
pub use grids::Grids;
pub use heads::Heads;
pub use images::Images;
pub use losses::Losses;
pub use maps::Maps;
pub use norm_histograms::NormHistograms;
pub use objects::Objects;
pub use pictures::Pictures;
pub use pooled::Pooled;
pub use pooled_views::PooledViews;
pub use predictions::Predictions;
pub use register_neurons::RegisterNeurons;
pub use replicates::Replicates;
pub use scores::Scores;
pub use skipped::Skipped;
pub use token_pixels::TokenPixels;
pub use token_stats::TokenStats;
pub use token_vectors::TokenVectors;
pub use truth_maps::TruthMaps;

use crate::table::Table;

/// Name, version and columns of a table, for documentation.
pub type Description = (&'static str, u32, &'static [(&'static str, &'static str)]);

/// Every table of a store.
pub const ALL: &[Description] = &[
    describe::<Images>(),
    describe::<TokenStats>(),
    describe::<NormHistograms>(),
    describe::<TokenVectors>(),
    describe::<TokenPixels>(),
    describe::<Pooled>(),
    describe::<Pictures>(),
    describe::<Skipped>(),
    describe::<Cutoffs>(),
    describe::<Scores>(),
    describe::<RegisterNeurons>(),
    describe::<Curves>(),
    describe::<Grids>(),
    describe::<Maps>(),
    describe::<Objects>(),
    describe::<Boxes>(),
    describe::<PooledViews>(),
    describe::<ClassVectors>(),
    describe::<Dense>(),
    describe::<TruthMaps>(),
    describe::<Heads>(),
    describe::<Losses>(),
    describe::<Predictions>(),
    describe::<Replicates>(),
];

const fn describe<T: Table>() -> Description {
    (T::NAME, T::VERSION, T::COLUMNS)
}
