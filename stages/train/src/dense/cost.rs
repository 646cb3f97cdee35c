//! What a head costs in time, for the plan: right within a factor of two.
//!
//! ```text
//! view of a step    read features (+ normalise) + 2 products + what happens at each cell or pixel
//! view judged       read features + 1 product + answers of every pixel
//! ```
//!
//! The constants are of a release build on two cores with AVX-512, fitted to the steps a second that the recipes had
//! there; the tests hold what was measured. A machine without AVX-512 is perhaps twice as slow.

use super::recipe::{DepthLoss, Joining, LossAt, Recipe, SegmentHead, Task};
use super::stage::HeadSizes;

/// Multiplications and additions of a matrix product, a second and thread.
const PRODUCTS_PER_SEC: f64 = 25e9;
/// Seconds of one thread, for each …
/// … feature that is read (f16 to f32), and for its mean, deviation and normalisation.
const READ: f64 = 2.5e-9;
const NORMALISED: f64 = 6e-9;
/// … pixel of a truth that is read.
const TRUTH: f64 = 2e-9;
/// … logit that is resized, exponentiated and brought back, and for the pixel or cell that it belongs to.
const LOGIT: f64 = 2.1e-9;
const LOGITS: f64 = 75e-9;
/// … bin of a cell: its weight, the mean and the way back.
const BIN: f64 = 3e-9;
/// … pixel of depth: resized, logarithms, the way back.
const DEPTH: f64 = 22e-9;
/// … answer of a pixel when it is judged, and for the pixel.
const ANSWER: f64 = 1.2e-9;
const ANSWERS: f64 = 25e-9;
/// … step, whatever is in it: waking threads, the optimiser.
const STEP_SECS: f64 = 2e-4;

/// A head with the sizes of what it learns from.
pub(crate) struct Cost<'a> {
    pub recipe: &'a Recipe,
    /// Sites of the features.
    pub sites: u64,
    pub sizes: &'a HeadSizes,
}

impl Cost<'_> {
    /// Seconds of a training of so many steps in all, of so many heads.
    pub(crate) fn secs(&self, steps: u64, heads: u64) -> f64 {
        let s = self.sizes;
        let learned = (steps * self.recipe.views_per_step as u64) as f64 * self.learning();
        let judged = s.test_views as f64 * (self.reading() + heads as f64 * self.judging());
        let looked_at = (s.train_views + s.test_views) as f64 * 2.0 * TRUTH * s.truth_pixels as f64;
        let scaled = if self.recipe.standardise { s.train_views as f64 * self.reading() } else { 0.0 };
        steps as f64 * STEP_SECS + (learned + judged + looked_at + scaled) / s.threads.max(1) as f64
    }

    fn features(&self) -> f64 {
        (self.sizes.patches * self.sizes.width * self.sites) as f64
    }

    fn pixels(&self) -> f64 {
        self.sizes.truth_pixels as f64
    }

    /// Reads a view.
    fn reading(&self) -> f64 {
        let normalised = match &self.recipe.task {
            Task::Segments(task) => task.head == SegmentHead::Linear { batch_norm: true },
            Task::Depth(_) => false,
        };
        self.features() * (READ + if normalised || self.recipe.standardise { NORMALISED } else { 0.0 })
    }

    /// The head's products, one way.
    fn products(&self) -> f64 {
        let channels = (self.sizes.width * self.sites) as f64;
        let each = match &self.recipe.task {
            Task::Segments(task) if task.head == SegmentHead::Transposed => 4.0 * (channels + self.outputs()),
            _ => self.outputs(),
        };
        self.features() * each / PRODUCTS_PER_SEC
    }

    fn outputs(&self) -> f64 {
        match &self.recipe.task {
            Task::Segments(task) => f64::from(task.labels.classes),
            Task::Depth(task) => task.bins as f64,
        }
    }

    /// Cells of an answer.
    fn cells(&self) -> f64 {
        let finer = match &self.recipe.task {
            Task::Segments(task) => {
                if task.head == SegmentHead::Transposed {
                    2
                } else {
                    1
                }
            }
            Task::Depth(task) => task.upsample,
        };
        self.sizes.patches as f64 * (finer * finer) as f64
    }

    /// A view of a step.
    fn learning(&self) -> f64 {
        // Of a 1×1 convolution only the weights' derivative is needed; before a transposed one there is another layer.
        let (ways, loss) = match &self.recipe.task {
            Task::Segments(task) => {
                let places = if task.at == LossAt::Pixels { self.pixels() } else { self.cells() };
                let ways = if task.head == SegmentHead::Transposed { 3.0 } else { 2.0 };
                (ways, places * (LOGITS + LOGIT * self.outputs()))
            }
            Task::Depth(task) => {
                let places = if task.at == LossAt::Pixels { self.pixels() } else { self.cells() };
                let logarithms = matches!(task.loss, DepthLoss::Logarithmic { .. });
                (2.0, self.cells() * BIN * self.outputs() + places * if logarithms { DEPTH } else { DEPTH / 2.0 })
            }
        };
        self.reading() + ways * self.products() + loss + TRUTH * self.pixels()
    }

    /// A view that is judged.
    fn judging(&self) -> f64 {
        let answers = match &self.recipe.task {
            // Windows are resized twice: to their own pixels and, joined, to those of the truth.
            Task::Segments(_) => {
                let times = if self.recipe.joining == Joining::ThroughViews { 2.0 } else { 1.0 };
                times * self.pixels() * (ANSWERS + ANSWER * self.outputs())
            }
            Task::Depth(_) => self.cells() * BIN / 2.0 * self.outputs() + self.pixels() * ANSWERS,
        };
        self.products() + answers + TRUTH * self.pixels()
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::LabelMap;
    use super::*;

    /// Steps a second of a ViT-S/14's features, two threads of a machine with AVX-512, and the sizes that a plan has of
    /// them. Breaks when a plan is wrong by more than a factor of two, as it was by 5 to 14.
    #[test]
    fn plans_are_right_within_a_factor_of_two() {
        let segments = |classes| Recipe::dinov2_segmentation(LabelMap::plain(classes));
        let cells = || Recipe::cells(LabelMap::plain(11));
        for (name, recipe, sites, patches, steps_per_sec) in [
            ("dinov2_segmentation, 11 classes", segments(11), 1, 37 * 37, 4.0),
            ("dinov2_segmentation, 150 classes", segments(150), 1, 37 * 37, 1.1),
            // Other work ran beside it.
            ("study_segmentation", Recipe::study_segmentation(), 1, 37 * 37, 0.3),
            ("nyu_lin1, alone", Recipe::nyu_linear(), 1, 30 * 39, 6.0),
            ("nyu_lin1, beside other work", Recipe::nyu_linear(), 1, 30 * 39, 2.9),
            ("nyu_lin4", Recipe::nyu_linear(), 4, 30 * 39, 1.7),
            ("cells", cells(), 1, 25 * 34, 320.0),
            // 12,000 steps in 30 to 50 s.
            ("cells, long", cells(), 1, 26 * 34, 300.0),
        ] {
            let sizes = HeadSizes {
                train_views: 0,
                test_views: 0,
                patches,
                truth_pixels: patches * 196,
                ..HeadSizes::default()
            };
            let planned = Cost { recipe: &recipe, sites, sizes: &sizes }.secs(1000, 1) / 1000.0;
            let wrong = planned * steps_per_sec;
            assert!((0.5..2.0).contains(&wrong), "{name}: {planned} s a step, {wrong} of what was measured");
        }
    }

    /// `cells` on 48 photos of 350×476, judged on 24: 5.4 s. Breaks when what surrounds the steps is planned wrongly.
    #[test]
    fn a_whole_head_is_planned_within_a_factor_of_two() {
        let (train_views, test_views, patches) = (48, 24, 25 * 34);
        let sizes = HeadSizes { train_views, test_views, patches, truth_pixels: patches * 196, ..HeadSizes::default() };
        let recipe = Recipe::cells(LabelMap::plain(11));
        let secs = Cost { recipe: &recipe, sites: 1, sizes: &sizes }.secs(1200, 1);
        assert!((2.7..10.8).contains(&secs), "{secs}");
    }
}
