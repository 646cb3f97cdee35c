//! Hands the tokens of a pass to an [`Editor`], between the kernels of the f32 blocks.

use super::attention::cls_row;
use super::bf16::Multiplier;
use super::model::Block;
use super::{CpuVit, Scratch, rows};
use crate::editor::{Editor, Then};
use crate::trace::Layout;

impl CpuVit {
    /// Lets the editor change the stream that block `i` is about to read.
    pub(super) fn edit(
        &self,
        editor: &dyn Editor,
        (block, i): (&Block, u16),
        layout: Layout,
        multiplier: Option<&Multiplier>,
        scratch: &mut Scratch,
    ) -> Then {
        let Some(before) = editor.before(i) else { return Then::Execute };
        let Scratch { stream, branch, qkv, packed, .. } = scratch;
        let attention = before.attention.then(|| {
            let (d, tokens) = (self.config.width, layout.tokens());
            block.norm1.apply(stream, branch);
            qkv.resize(tokens * 3 * d, 0.0);
            rows::fill_rows(qkv, &block.qkv.bias);
            block.qkv.apply((branch, d), tokens, qkv, true, (multiplier, packed));
            cls_row(qkv, tokens, self.config.heads)
        });
        editor.edit(i, layout, stream, attention.as_deref())
    }

    /// Lets the editor change the hidden layer of block `i`, whose rows are `stride` apart; returns how far apart the
    /// rows are then. What gates left behind the values is dropped first, for an editor sees `[N, H]`.
    pub(super) fn edit_hidden(
        &self,
        editor: Option<&dyn Editor>,
        i: u16,
        layout: Layout,
        hidden: &mut [f32],
        stride: usize,
    ) -> usize {
        let Some(editor) = editor.filter(|editor| editor.wants_hidden(i)) else { return stride };
        let (width, tokens) = (self.config.mlp.hidden, layout.tokens());
        for token in 1..tokens {
            hidden.copy_within(token * stride..token * stride + width, token * width);
        }
        editor.hidden(i, layout, &mut hidden[..tokens * width]);
        width
    }
}
