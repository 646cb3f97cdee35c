//! Recipes: a head, what it learns, how, and how it is judged. The named ones are those of the papers; every number of
//! one is a field, so that another value is another meaning. What each paper leaves open: `docs/protocols/segmentation.md`,
//! `docs/protocols/depth.md`.

use serde::{Deserialize, Serialize};

use super::confusion::MeanIou;
use super::depth_error::DepthScore;
use super::error::DenseError;
use super::labels::LabelMap;
use super::optimiser::Optimiser;
use super::resize::Padding;
use super::schedule::Schedule;

mod named;

/// A way to train and to judge a dense head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is learned.
    pub task: Task,
    /// First weights of the last layer.
    pub init: Init,
    /// How parameters move.
    pub optimiser: Optimiser,
    /// How far.
    pub schedule: Schedule,
    /// How long.
    pub length: Length,
    /// Views in a step.
    pub views_per_step: usize,
    /// Gradients longer than this, over all parameters together, are shortened to it.
    pub clip_norm: Option<f64>,
    /// What becomes of the padding of a view.
    pub padding: Padding,
    /// How the answers of an image's views become one.
    pub joining: Joining,
    /// Whether each channel of the patches has its mean over the training views taken off and is divided by its standard
    /// deviation, before anything is learned; written into the weights in the end. It changes how fast a head is learned.
    pub standardise: bool,
}

/// What a head is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A class for each pixel.
    Segments(Segments),
    /// A distance for each pixel.
    Depth(Depth),
}

/// Segmentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    /// Layers.
    pub head: SegmentHead,
    /// Classes of the raw labels.
    pub labels: LabelMap,
    /// Where answer and truth meet while training.
    pub at: LossAt,
    /// What the loss of a step is divided by.
    pub mean: MeanOver,
    /// How intersections and unions become one number.
    pub miou: MeanIou,
}

/// Layers from patch features to logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentHead {
    /// A 1×1 convolution, with or without batch normalisation before it.
    Linear {
        /// Whether channels are normalised over all tokens of a step (eps 1e-5, momentum 0.1) and scaled.
        batch_norm: bool,
    },
    /// A transposed convolution d → d of kernel 2 and stride 2, GELU, and a 1×1 convolution.
    Transposed,
}

/// Where the loss is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossAt {
    /// At each cell of the answer, against what is annotated under its middle.
    Cells,
    /// At each pixel of the truth, answers resized to it.
    Pixels,
}

/// What the summed loss is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeanOver {
    /// All pixels, those without a class included (mmsegmentation's `avg_non_ignore=False`).
    All,
    /// Pixels with a class (PyTorch's `ignore_index`).
    Labelled,
}

/// Depth by bins: `depth = Σ p·bin`, `p ∝ ReLU(logit) + 0.1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Depth {
    /// Bins, evenly spaced.
    pub bins: usize,
    /// First bin; smaller answers are raised to it when judged.
    pub min_m: f64,
    /// Last bin; larger answers are lowered to it when judged.
    pub max_m: f64,
    /// Whether the CLS of each site stands beside its patches.
    pub cls: bool,
    /// Features are resized by this factor before the head.
    pub upsample: usize,
    /// Where answer and truth meet while training.
    pub at: LossAt,
    /// What is made small.
    pub loss: DepthLoss,
    /// Which pixels are judged.
    pub score: DepthScore,
}

/// Losses of depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DepthLoss {
    /// √(variance + 0.15·mean²) of differences of logarithms.
    Logarithmic {
        /// Views whose pixels share one loss; the step's loss is the mean of these. `DINOv2`: the two images of one GPU.
        views_per_loss: usize,
        /// The first steps leave the variance out.
        warm_up_steps: u64,
    },
    /// The mean of squared differences, m².
    Squared,
}

/// First weights of the last layer; biases as PyTorch's default where the rule is PyTorch's, else 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// All 0.
    Zero,
    /// Normal with this standard deviation.
    Normal(f64),
    /// Weights and biases uniform in ±1/√(inputs): the default of PyTorch's convolutions.
    Uniform,
}

/// How long a head is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Times through the views. The last step of an epoch may have fewer.
    Epochs(u64),
    /// Steps; a step may reach from one epoch into the next.
    Steps(u64),
}

/// How the answers of an image's views become one of the size of its truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joining {
    /// Each view is the whole image, and its answer is resized to the truth at once.
    Direct,
    /// Answers are resized to their views, added and divided by their number on the resized image, and that is resized
    /// to the truth (mmsegmentation's sliding windows).
    ThroughViews,
}

impl Recipe {
    /// Whether the numbers can be used.
    pub fn check(&self) -> Result<(), DenseError> {
        let bad = |name: &'static str, value: f64| Err(DenseError::Range { name, value });
        if self.views_per_step == 0 {
            return bad("views_per_step", 0.0);
        }
        match self.length {
            Length::Epochs(0) => return bad("epochs", 0.0),
            Length::Steps(0) => return bad("steps", 0.0),
            Length::Epochs(_) | Length::Steps(_) => {}
        }
        if let Some(clip) = self.clip_norm
            && !(clip > 0.0 && clip.is_finite())
        {
            return bad("clip_norm", clip);
        }
        if let Init::Normal(std) = self.init
            && !(std >= 0.0 && std.is_finite())
        {
            return bad("init", std);
        }
        let other =
            |task: &Task| matches!(task, Task::Segments(s) if s.head != SegmentHead::Linear { batch_norm: false });
        if self.standardise && other(&self.task) {
            return Err(DenseError::Standardised);
        }
        self.optimiser.check()?;
        self.schedule.check()?;
        match &self.task {
            Task::Segments(task) => {
                task.labels.check()?;
                task.miou.check(task.labels.classes)
            }
            Task::Depth(task) => {
                if task.bins < 2 {
                    return bad("bins", task.bins as f64);
                }
                if !(task.min_m > 0.0 && task.min_m < task.max_m && task.max_m.is_finite()) {
                    return bad("max_m", task.max_m);
                }
                if !(1..=16).contains(&task.upsample) {
                    return bad("upsample", task.upsample as f64);
                }
                if matches!(task.loss, DepthLoss::Logarithmic { views_per_loss: 0, .. }) {
                    return bad("views_per_loss", 0.0);
                }
                task.score.check()
            }
        }
    }

    /// Whether it needs CLS.
    pub(crate) fn reads_cls(&self) -> bool {
        matches!(&self.task, Task::Depth(task) if task.cls)
    }

    /// What the truths must be: `segments` or `depth`.
    pub fn kind(&self) -> &'static str {
        match self.task {
            Task::Segments(_) => "segments",
            Task::Depth(_) => "depth",
        }
    }
}
