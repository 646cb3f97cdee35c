//! The recipes of the papers by name, and two that are quick. What each paper leaves open:
//! `docs/protocols/segmentation.md`, `docs/protocols/depth.md`.

use super::super::confusion::MeanIou;
use super::super::depth_error::DepthScore;
use super::super::labels::LabelMap;
use super::super::optimiser::Optimiser;
use super::super::resize::Padding;
use super::super::schedule::{Schedule, Shape};
use super::{Depth, DepthLoss, Init, Joining, Length, LossAt, MeanOver, Recipe, SegmentHead, Segments, Task};

impl Recipe {
    /// One softmax layer at the middles of cells: the fixed recipe for small sets. 100 epochs of Adam, 4 images a step.
    pub fn cells(labels: LabelMap) -> Self {
        Self {
            task: Task::Segments(Segments {
                head: SegmentHead::Linear { batch_norm: false },
                labels,
                at: LossAt::Cells,
                mean: MeanOver::Labelled,
                miou: MeanIou::present(),
            }),
            init: Init::Zero,
            optimiser: Optimiser::adam(0.0),
            schedule: Schedule::new(1e-3, Shape::Cosine { min_ratio: 0.0 }),
            length: Length::Epochs(100),
            views_per_step: 4,
            clip_norm: None,
            padding: Padding::Cut,
            joining: Joining::Direct,
            standardise: false,
        }
    }

    /// `DINOv2`'s linear segmentation: batch normalisation and a 1×1 convolution on crops of 512, 40,000 steps of 16.
    pub fn dinov2_segmentation(labels: LabelMap) -> Self {
        Self {
            task: Task::Segments(Segments {
                head: SegmentHead::Linear { batch_norm: true },
                labels,
                at: LossAt::Pixels,
                mean: MeanOver::All,
                miou: MeanIou::present(),
            }),
            init: Init::Normal(0.01),
            optimiser: Optimiser::adam(1e-4),
            schedule: Schedule::new(1e-3, Shape::Poly { power: 1.0 }).warmed_up((1500, 40_000), 1e-6),
            length: Length::Steps(40_000),
            views_per_step: 16,
            clip_norm: None,
            padding: Padding::Stretch,
            joining: Joining::ThroughViews,
            standardise: false,
        }
    }

    /// The study's segmentation with `DINOv2`: a 1×1 convolution on squashed squares, all of 151 labels.
    pub fn study_segmentation() -> Self {
        Self {
            task: Task::Segments(Segments {
                head: SegmentHead::Linear { batch_norm: false },
                labels: LabelMap::plain(151),
                at: LossAt::Pixels,
                mean: MeanOver::Labelled,
                miou: MeanIou::all(1e-6),
            }),
            init: Init::Uniform,
            optimiser: Optimiser::Sgd { momentum: 0.9, weight_decay: 0.0 },
            schedule: Schedule::new(0.3, Shape::Step { epochs: 5, factor: 0.1 }),
            length: Length::Epochs(20),
            views_per_step: 32,
            clip_norm: None,
            padding: Padding::Cut,
            joining: Joining::Direct,
            standardise: false,
        }
    }

    /// The study's segmentation with `DeiT`-III: the transposed convolution, judged on labels 0 to 149 only.
    pub fn deit3_segmentation() -> Self {
        let base = Self::study_segmentation();
        let rate = 5e-4 * 32.0 / 512.0;
        Self {
            task: Task::Segments(Segments {
                head: SegmentHead::Transposed,
                labels: LabelMap::plain(151),
                at: LossAt::Pixels,
                mean: MeanOver::Labelled,
                miou: MeanIou { judged_classes: Some(150), ..MeanIou::present() },
            }),
            optimiser: Optimiser::Adam {
                beta1: 0.9,
                beta2: 0.999,
                weight_decay: 0.05,
                decay_biases: false,
                cycle_beta1: false,
            },
            schedule: Schedule::new(rate, Shape::LateCosine { min: 1e-5, warm_up_epochs: 5, warm_up_start: 1e-6 }),
            length: Length::Epochs(50),
            ..base
        }
    }

    /// `DINOv2`'s linear depth on NYU: 256 bins. One site is lin.1, four are lin.4; the sites are the features'.
    pub fn nyu_linear() -> Self {
        Self {
            task: Task::Depth(Depth {
                bins: 256,
                min_m: 0.001,
                max_m: 10.0,
                cls: true,
                upsample: 4,
                at: LossAt::Pixels,
                loss: DepthLoss::Logarithmic { views_per_loss: 2, warm_up_steps: 100 },
                score: DepthScore { above_m: 0.001, below_m: 10.0, crop: Some([45, 471, 41, 601]) },
            }),
            init: Init::Uniform,
            optimiser: Optimiser::Adam {
                beta1: 0.9,
                beta2: 0.999,
                weight_decay: 0.01,
                decay_biases: true,
                cycle_beta1: true,
            },
            schedule: Schedule::new(1e-4, Shape::Cosine { min_ratio: 1e-8 }).warmed_up((12_800, 38_400), 1e-3),
            length: Length::Steps(38_400),
            views_per_step: 16,
            clip_norm: Some(35.0),
            padding: Padding::Stretch,
            joining: Joining::Direct,
            standardise: false,
        }
    }

    /// [`Recipe::cells`] for sets on which it must be quick: channels of one size, thirty times the rate, 5 epochs.
    pub fn quick_cells(labels: LabelMap) -> Self {
        let cells = Self::cells(labels);
        let schedule = Schedule { learning_rate: 3e-2, ..cells.schedule };
        Self { schedule, length: Length::Epochs(5), standardise: true, ..cells }
    }

    /// Depth of small sets: 32 bins on patches alone, channels of one size, the mean of squares, 5 epochs of Adam, 4 views a
    /// step. Every pixel whose depth is known is judged.
    pub fn depth_cells(max_m: f64) -> Self {
        Self {
            task: Task::Depth(Depth {
                bins: 32,
                min_m: max_m * 1e-3,
                max_m,
                cls: false,
                upsample: 1,
                at: LossAt::Cells,
                loss: DepthLoss::Squared,
                score: DepthScore { above_m: 0.0, below_m: 1e6, crop: None },
            }),
            init: Init::Uniform,
            optimiser: Optimiser::adam(0.0),
            schedule: Schedule::new(3e-2, Shape::Cosine { min_ratio: 0.0 }),
            length: Length::Epochs(5),
            views_per_step: 4,
            clip_norm: None,
            padding: Padding::Cut,
            joining: Joining::Direct,
            standardise: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::DenseError;
    use super::*;

    fn recipes() -> [Recipe; 7] {
        [
            Recipe::cells(LabelMap { reduce_zero: false, classes: 11, ignore: vec![11] }),
            Recipe::dinov2_segmentation(LabelMap { reduce_zero: true, classes: 150, ignore: vec![] }),
            Recipe::study_segmentation(),
            Recipe::deit3_segmentation(),
            Recipe::quick_cells(LabelMap::plain(4)),
            Recipe::depth_cells(1.0),
            Recipe::nyu_linear(),
        ]
    }

    /// Breaks when a recipe of a paper cannot be asked for, or does not come back from its written form.
    #[test]
    fn named_recipes_are_sound_and_are_read_back_as_written() {
        for recipe in recipes() {
            recipe.check().unwrap_or_else(|e| panic!("{e}"));
            let json = serde_json::to_string(&recipe).unwrap_or_default();
            assert_eq!(serde_json::from_str::<Recipe>(&json).ok(), Some(recipe));
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |recipe: Recipe| recipe.check().err().map(|e| e.to_string()).unwrap_or_default();
        let [cells, .., depth] = recipes();
        assert!(refused(Recipe { views_per_step: 0, ..cells.clone() }).contains("views_per_step"));
        assert!(refused(Recipe { length: Length::Epochs(0), ..cells.clone() }).contains("epochs"));
        assert!(refused(Recipe { clip_norm: Some(f64::NAN), ..cells }).contains("clip_norm"));
        let standardised = Recipe { standardise: true, ..Recipe::deit3_segmentation() };
        assert_eq!(standardised.check(), Err(DenseError::Standardised));
        let Task::Depth(task) = depth.task.clone() else { panic!("a depth recipe") };
        let with = |task| Recipe { task: Task::Depth(task), ..depth.clone() };
        assert!(refused(with(Depth { bins: 1, ..task.clone() })).contains("bins"));
        assert!(refused(with(Depth { max_m: 0.0, ..task.clone() })).contains("max_m"));
        assert!(
            refused(with(Depth { loss: DepthLoss::Logarithmic { views_per_loss: 0, warm_up_steps: 0 }, ..task }))
                .contains("views_per_loss")
        );
    }
}
