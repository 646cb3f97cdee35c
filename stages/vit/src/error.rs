//! What can go wrong between a model's name and its sites. Every message says what, where and how to fix it.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::site::Site;

/// Error of this crate.
#[derive(Debug, Error)]
pub enum VitError {
    /// The text names no site.
    #[error(
        "unknown site `{0}`; sites are patch_embed, with_position, final, and block_N, query_N, key_N, value_N, \
         attention_N, cls_attention_N, attention_rows_N with N from 0"
    )]
    UnknownSite(String),
    /// The site exists, but not in a model of this depth.
    #[error("site `{site}` does not exist in a model of {depth} blocks; the last block is {}", depth.saturating_sub(1))]
    NoSuchBlock {
        /// What was asked for.
        site: Site,
        /// Blocks of the model.
        depth: usize,
    },
    /// Attention rows are wanted of no token.
    #[error(
        "site `{0}` holds the rows of the tokens that a request names, and this one names none; ask for attention_N"
    )]
    NoQueries(Site),
    /// Attention rows are wanted of a token that an image of this size has not.
    #[error(
        "no attention row of token {token}: an image of this size has {tokens} tokens (CLS, registers, patches); name \
         one from 0 to {}", tokens.saturating_sub(1)
    )]
    NoSuchToken {
        /// What was asked for.
        token: usize,
        /// Tokens N of the image.
        tokens: usize,
    },
    /// The executor keeps its tokens where an editor cannot write.
    #[error("this executor cannot edit tokens while it runs; use precision f32")]
    NotEditable,
    /// The name is in no family of the zoo.
    #[error("unknown model `{name}`; nearest: {}; `models ls` lists all", nearest.join(", "))]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// Names of the zoo, best first.
        nearest: Vec<String>,
    },
    /// The description is not a `ViT` that can run.
    #[error("model description is not valid: {0}")]
    Config(String),
    /// The patches do not tile the image.
    #[error("image of {height}x{width} px is not made of whole {patch_px} px patches; resize or crop it to a multiple")]
    ImageSize {
        /// Height, px.
        height: usize,
        /// Width, px.
        width: usize,
        /// Patch side, px.
        patch_px: usize,
    },
    /// The number of pixel values is not `3·height·width`, or the images of a batch differ in size.
    #[error("pixels are not [3, height, width]: {0}")]
    Pixels(String),
    /// The file system refused.
    #[error("cannot read weights {}: {source}", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not a weight file that can be read.
    #[error("cannot read weights {}: {problem}", path.display())]
    Weights {
        /// File.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The file can be read, but its tensors are not those of the model.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
    /// A weight is NaN or infinite.
    #[error("weights {}: tensor `{tensor}` has {value} at index {index}; fetch the file again", path.display())]
    NonFinite {
        /// File.
        path: PathBuf,
        /// Name in the file.
        tensor: String,
        /// First bad element, row-major.
        index: usize,
        /// NaN, inf or -inf.
        value: f32,
    },
    /// A tensor that an executor needs is missing from the parameters, or has another shape.
    #[error("parameter `{name}`: {problem}")]
    Parameter {
        /// Canonical name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file has no text tower.
    #[error(
        "weights {} have no text encoder (no tensor is called {marks}); zero-shot classification needs a CLIP model with \
         its text tower", path.display()
    )]
    NoText {
        /// File.
        path: PathBuf,
        /// Names that a text tower would have.
        marks: String,
    },
    /// Texts that a text encoder cannot take.
    #[error("text encoder: {0}")]
    Text(String),
    /// The tokenizer's own data, or a word, could not be read.
    #[error("CLIP's tokenizer: {0}")]
    Tokenizer(String),
    /// The device does not exist or this build cannot use it.
    #[error("device `{device}`: {problem}")]
    Device {
        /// As asked for.
        device: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The Hugging Face hub gave no file.
    #[error("hf:{repo}: {problem}")]
    Hub {
        /// `owner/name`
        repo: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Parameters of a planted model that do not describe one.
    #[error("planted model: {0}")]
    Planted(String),
    /// The tensor library refused an operation.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// The tensors of a file and those of a model, compared by name and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// File.
    pub path: PathBuf,
    /// Model that was asked for.
    pub model: String,
    /// Naming that was recognised in the file.
    pub naming: &'static str,
    /// Canonical names that the model needs and the file lacks.
    pub missing: Vec<String>,
    /// Names in the file that no part of the model takes.
    pub unused: Vec<String>,
    /// `name: file [..], model [..]`
    pub misshaped: Vec<String>,
    /// Models of the zoo that the file would fit.
    pub fits: Vec<String>,
}

/// Names shown of each list; whole lists are in the fields.
const SHOWN: usize = 3;

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "weights {} ({} names) do not fit model `{}`", self.path.display(), self.naming, self.model)?;
        for (what, names) in [("missing", &self.missing), ("unused", &self.unused), ("misshaped", &self.misshaped)] {
            if names.is_empty() {
                continue;
            }
            write!(f, "; {} {what}: {}", names.len(), names[..names.len().min(SHOWN)].join(", "))?;
            if names.len() > SHOWN {
                write!(f, ", and {} more", names.len() - SHOWN)?;
            }
        }
        if !self.fits.is_empty() {
            write!(f, "; the file fits model {}", self.fits.join(" or "))?;
        }
        Ok(())
    }
}

impl VitError {
    /// A [`VitError::Weights`] about `path`.
    pub(crate) fn weights(path: &Path, problem: impl Into<String>) -> Self {
        VitError::Weights { path: path.to_owned(), problem: problem.into() }
    }

    /// A [`VitError::Read`] about `path`.
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        VitError::Read { path: path.to_owned(), source }
    }
}
