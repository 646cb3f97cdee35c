//! What can go wrong with a dense head.

use engine::{ErrorKind, StageError};
use thiserror::Error;

use super::labels::{LabelMap, labels_in_words};

/// A dense head that cannot be trained or judged.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DenseError {
    /// A number of the recipe is out of range.
    #[error("head: `{name}` = {value} is out of range")]
    Range {
        /// Which.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// Standardised features and layers that do not take them.
    #[error("head: `standardise` is for a 1x1 convolution without batch normalisation")]
    Standardised,
    /// A list of the parameters is empty.
    #[error("head: `{0}` names nothing")]
    Nothing(&'static str),
    /// An input lacks a table.
    #[error("head: the {run} run has no table `{table}`")]
    Table {
        /// `training` or `test`.
        run: &'static str,
        /// Table.
        table: &'static str,
    },
    /// A view lacks a site.
    #[error("view {view} of image {image} has no features at `{site}`")]
    Site {
        /// Image.
        image: u32,
        /// View.
        view: u16,
        /// Site asked for.
        site: String,
    },
    /// The head reads CLS.
    #[error("the head reads CLS, and the features have none")]
    Cls,
    /// A row's numbers do not fit its bytes or each other.
    #[error("{what} of image {image} is damaged: {why}")]
    Shape {
        /// Image.
        image: u32,
        /// Features or truth.
        what: &'static str,
        /// What does not fit.
        why: String,
    },
    /// Features of two models.
    #[error(
        "features of {found} channels at image {image} where others have {wanted}; the runs are of different models"
    )]
    Width {
        /// Image.
        image: u32,
        /// Channels found.
        found: usize,
        /// Channels of the first.
        wanted: usize,
    },
    /// A feature is not a number.
    #[error("features of view {view} of image {image} hold a value that is not finite")]
    NotFinite {
        /// Image.
        image: u32,
        /// View.
        view: u16,
    },
    /// A raw label beyond the classes.
    #[error("image {image} has the label {label}, which is none of the {classes} classes")]
    Label {
        /// Image.
        image: u32,
        /// Raw label.
        label: u8,
        /// Classes of the recipe.
        classes: u16,
    },
    /// All raw labels of a run that are beyond the classes.
    #[error(
        "image {image} of the {run} run has the label {}, which is none of the {} classes; labels that occur in this run: {}",
        strange.first().copied().unwrap_or_default(), labels.classes, labels_in_words(occurring)
    )]
    Labels {
        /// `training` or `test`.
        run: &'static str,
        /// First image that has the first of them.
        image: u32,
        /// What is none of the classes, in rising order.
        strange: Vec<u8>,
        /// All raw labels, in rising order.
        occurring: Vec<u8>,
        /// Classes of the recipe.
        labels: LabelMap,
    },
    /// Nothing to train on or to judge by.
    #[error("no {run} view has both features and a truth of kind `{kind}` in which something is labelled: {cause}")]
    Empty {
        /// `training` or `test`.
        run: &'static str,
        /// `segments` or `depth`.
        kind: &'static str,
        /// Why.
        cause: Emptiness,
    },
    /// The same head twice.
    #[error("head: `seeds` has {0} twice, and the second head would be the first one again")]
    Twice(u64),
    /// Nobody to exchange truths with.
    #[error("`permute_labels` exchanges truths among training images, and there is only one")]
    Alone,
    /// A truth without features.
    #[error("image {image} has a truth but no features; the tables are of different runs")]
    Features {
        /// Image.
        image: u32,
    },
    /// A truth of an image, and a view of a part of it.
    #[error("view {view} of image {image} is a part of it, but the truth is of the whole image")]
    Part {
        /// Image.
        image: u32,
        /// View.
        view: u16,
    },
    /// Views that leave a hole.
    #[error("no view of image {image} covers row {row} everywhere")]
    Hole {
        /// Image.
        image: u32,
        /// Row of the resized image.
        row: usize,
    },
    /// Views of two sizes of one image.
    #[error("views of image {image} are of images of different sizes")]
    Sizes {
        /// Image.
        image: u32,
    },
    /// The loss left the numbers.
    #[error("the loss at step {step} of `{head}` is not finite")]
    Diverged {
        /// Head.
        head: String,
        /// Step.
        step: u64,
    },
}

/// Why nothing can be learned or judged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Emptiness {
    /// No truth, and no image that was skipped.
    #[error("the dataset has none")]
    Unannotated,
    /// No truth, because of what was wrong with the images.
    #[error("{images} images were skipped and no other has one; the first is `{name}`: {why}")]
    Skipped {
        /// Images.
        images: usize,
        /// Name of the first.
        name: String,
        /// What was wrong with it.
        why: String,
    },
    /// Truths that say nothing.
    #[error(
        "every pixel of its {maps} truths is ignored or without a class; labels that occur: {}",
        labels_in_words(occurring)
    )]
    Ignored {
        /// Truths.
        maps: usize,
        /// Raw labels, in rising order.
        occurring: Vec<u8>,
    },
    /// Depths that are not known.
    #[error("the depth of every pixel of its {maps} truths is unknown (0)")]
    Unknown {
        /// Truths.
        maps: usize,
    },
    /// Truths of other images.
    #[error("its {maps} truths and {views} views are of different images")]
    Apart {
        /// Truths.
        maps: usize,
        /// Views.
        views: usize,
    },
    /// Truths that are not where the recipe looks.
    #[error("no known pixel lies where the recipe judges")]
    Unjudged,
}

impl Emptiness {
    fn fix(&self, kind: &str) -> &'static str {
        match self {
            Self::Unannotated => {
                "choose a dataset with annotations of this kind; `vitals datasets check` tells what one has"
            }
            Self::Skipped { .. } if kind == "depth" => {
                "mend the annotations, or take a recipe for such depths: `depth_cells` takes 0 to 1, `nyu_lin1` and `nyu_lin4` take metres"
            }
            Self::Skipped { .. } => "mend the annotations; `vitals datasets check` tells what is wrong with which",
            Self::Ignored { .. } => "correct `ignore` and `reduce_zero` of [[dense]], or choose annotated images",
            Self::Unknown { .. } => "choose images whose depth is known",
            Self::Apart { .. } => "train and judge on features and truths of one run each",
            Self::Unjudged => "choose images whose depth lies in the recipe's range and crop",
        }
    }
}

/// What lets strange labels pass.
fn fix_of_labels(strange: &[u8], labels: &LabelMap) -> String {
    let mut ignore: Vec<u8> = labels.ignore.iter().chain(strange).copied().collect();
    ignore.sort_unstable();
    let ignore: Vec<String> = ignore.iter().map(u8::to_string).collect();
    let mut fix = format!("write `ignore = [{}]` in [[dense]]", ignore.join(", "));
    let classes = u16::from(strange.iter().copied().max().unwrap_or(0)) + u16::from(!labels.reduce_zero);
    fix += &format!(", or `classes = {classes}` if they are classes");
    fix
}

impl From<DenseError> for StageError {
    fn from(e: DenseError) -> Self {
        let (kind, fix) = match &e {
            DenseError::Labels { strange, labels, .. } => {
                return Self::new(ErrorKind::Config, &e, "", fix_of_labels(strange, labels));
            }
            DenseError::Range { .. } | DenseError::Nothing(_) | DenseError::Standardised | DenseError::Twice(_) => {
                (ErrorKind::Config, "correct the study file")
            }
            DenseError::Table { .. } => (ErrorKind::Bug, "please report this"),
            DenseError::Cls => (ErrorKind::Config, "let `densify` keep CLS too"),
            DenseError::Site { .. } => (ErrorKind::Config, "ask for sites that `densify` writes"),
            DenseError::Label { .. } => {
                (ErrorKind::Config, "give the number of classes, or name the label among those to ignore")
            }
            DenseError::Empty { kind, cause, .. } => (ErrorKind::Config, cause.fix(kind)),
            DenseError::Alone => (ErrorKind::Config, "take more training images, or drop the control"),
            DenseError::Part { .. } => (ErrorKind::Config, "let the training views carry truths of their own"),
            DenseError::Hole { .. } => (ErrorKind::Config, "make the stride of the windows no longer than their side"),
            DenseError::Sizes { .. } => (ErrorKind::Config, "judge views of one size of each image"),
            DenseError::Width { .. } => (ErrorKind::Config, "train and judge on features of one model"),
            DenseError::Diverged { .. } => (ErrorKind::Config, "lower the learning rate"),
            DenseError::NotFinite { .. } => {
                (ErrorKind::Missing, "look at the model: a feature beyond the range of f16 (65504) becomes infinite")
            }
            DenseError::Shape { .. } | DenseError::Features { .. } => {
                (ErrorKind::Missing, "delete the run's folder to have it made again")
            }
        };
        Self::new(kind, &e, "", fix)
    }
}
