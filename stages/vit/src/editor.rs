//! Changes tokens while a model runs: removal of artifacts, test-time registers.
//!
//! An editor is asked before every block: may I see the tokens, and with their attention? It then writes into the
//! residual stream and says whether the block is executed on what it wrote. It may also write into the hidden layer of
//! a block, between the activation and the second projection, where single neurons can be moved from token to token.
//!
//! Sources: the study's `remove_artifacts_manually.ipynb` (edits, then leaves the block out), and
//! `test-time-registers` of Jiang et al. (`hook_fn.py`: moves the activation of register neurons).

use crate::trace::Layout;

/// What an editor needs to know before it edits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// The attention that CLS would pay in this block: costs the projection to queries, keys and values once more.
    pub attention: bool,
}

/// What becomes of the block after an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It runs on the edited tokens.
    Execute,
    /// It is left out: the edited tokens are its output, and a trace has none of its inner sites.
    Skip,
}

/// Changes the tokens of a pass. One editor serves all threads, and every image of a call, each on its own: it is not
/// told which image it sees, so one that depends on the image is given calls of one image.
pub trait Editor: Send + Sync {
    /// What [`edit`](Editor::edit) needs before `block`; `None` where it changes nothing, which costs nothing.
    fn before(&self, block: u16) -> Option<Before>;

    /// Changes the residual stream that `block` is about to read, `[N, D]` in the order of `layout`. `attention` is
    /// there if it was asked for: `[N]`, the row of CLS in this block's softmax, mean over heads, of the stream as it is
    /// before the edit; it sums to 1 over all tokens, CLS included.
    fn edit(&self, block: u16, layout: Layout, stream: &mut [f32], attention: Option<&[f32]>) -> Then;

    /// Whether [`hidden`](Editor::hidden) changes anything in `block`.
    fn wants_hidden(&self, _block: u16) -> bool {
        false
    }

    /// Changes the hidden layer of `block`, `[N, H]`: after the activation (after gating, for `SwiGLU`), before the
    /// second projection. Not called for a block that is skipped.
    fn hidden(&self, _block: u16, _layout: Layout, _hidden: &mut [f32]) {}
}
