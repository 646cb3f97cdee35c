//! What one forward pass gives: the requested sites of one image, on the host, in f32.

use std::collections::{BTreeMap, BTreeSet};

use crate::editor::Editor;
use crate::error::VitError;
use crate::site::Site;

/// One preprocessed image, `[3, height, width]`, planar, already normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Height, px; a multiple of the patch side.
    pub height: usize,
    /// Width, px; a multiple of the patch side.
    pub width: usize,
    /// `[3, height, width]`
    pub data: Vec<f32>,
}

/// Which sites a pass must keep whole, and of which it must keep token norms only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Sites whose values are kept.
    pub full: BTreeSet<Site>,
    /// Token-valued sites whose L2 norms are kept; cheap on every device.
    pub norms: BTreeSet<Site>,
    /// Tokens whose rows [`Site::AttentionRows`] holds, in this order: indices over CLS, registers and patches.
    pub queries: Vec<usize>,
}

impl Request {
    /// Whether anything of a site is kept.
    pub fn wants(&self, site: Site) -> bool {
        self.full.contains(&site) || self.norms.contains(&site)
    }
}

/// Kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKind {
    /// The class token.
    Cls,
    /// A register token.
    Register,
    /// A patch token.
    Patch,
}

/// How the tokens of an image lie: CLS, registers, patches (row-major).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Registers R.
    pub registers: usize,
    /// Patch rows.
    pub grid_h: usize,
    /// Patch columns.
    pub grid_w: usize,
}

impl Layout {
    /// Patches, gh·gw.
    pub fn patches(&self) -> usize {
        self.grid_h * self.grid_w
    }

    /// CLS and registers.
    pub fn prefix(&self) -> usize {
        1 + self.registers
    }

    /// All tokens N.
    pub fn tokens(&self) -> usize {
        self.prefix() + self.patches()
    }

    /// Kind of token `n` of a site that holds all tokens, and its index within the kind.
    pub fn kind(&self, n: usize) -> (TokenKind, usize) {
        match n {
            0 => (TokenKind::Cls, 0),
            n if n < self.prefix() => (TokenKind::Register, n - 1),
            n => (TokenKind::Patch, n - self.prefix()),
        }
    }
}

/// A dense row-major array.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteData {
    /// Shape, as documented at [`Site`].
    pub shape: Vec<usize>,
    /// Values.
    pub data: Vec<f32>,
}

impl SiteData {
    /// Row `n` of a `[.., D]` array seen as rows of its last axis.
    pub fn row(&self, n: usize) -> &[f32] {
        let d = *self.shape.last().unwrap_or(&0);
        &self.data[n * d..(n + 1) * d]
    }
}

/// The requested values of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// How the tokens lie.
    pub layout: Layout,
    /// Sites asked for whole.
    pub full: BTreeMap<Site, SiteData>,
    /// Token norms; `PatchEmbed` has patches only, every other site has all tokens.
    pub norms: BTreeMap<Site, Vec<f32>>,
}

impl Trace {
    /// Of an image that has been seen nothing of yet.
    pub(crate) fn empty(layout: Layout) -> Self {
        Trace { layout, full: BTreeMap::new(), norms: BTreeMap::new() }
    }
}

/// Something that runs a model. One call may be given several images of one size; a CPU encoder takes them one by
/// one and expects its caller to run one thread per core, a GPU encoder wants [`Encoder::batch`] at once.
pub trait Encoder: Send + Sync {
    /// The description that it runs.
    fn config(&self) -> &crate::VitConfig;

    /// How the tokens of an image of this size would lie, or why it cannot be encoded.
    fn layout(&self, height: usize, width: usize) -> Result<Layout, VitError>;

    /// Encodes images of one size.
    fn encode(&self, images: &[&Pixels], want: &Request) -> Result<Vec<Trace>, VitError>;

    /// Encodes images of one size, each while `editor` changes its tokens. Every site is what it is after the edits;
    /// an executor that cannot do it says which can.
    fn encode_edited(
        &self,
        _images: &[&Pixels],
        _want: &Request,
        _editor: &dyn Editor,
    ) -> Result<Vec<Trace>, VitError> {
        Err(VitError::NotEditable)
    }

    /// The final `LayerNorm`, for tokens of other sites than `final`.
    fn final_norm(&self) -> &crate::FinalNorm;

    /// How many images a call should hold for speed.
    fn batch(&self) -> usize {
        1
    }
}
