//! Hands the tokens of a pass to an [`Editor`]: to the host and back, one image at a time.

use candle_core::{DType, Tensor};

use super::block::Block;
use crate::editor::{Editor, Then};
use crate::error::VitError;
use crate::trace::Layout;

/// `[1, N, D]` as block `i` is about to read it → as the editor leaves it.
pub(super) fn stream(
    editor: &dyn Editor,
    (block, i): (&Block, u16),
    layout: Layout,
    x: Tensor,
) -> Result<(Tensor, Then), VitError> {
    let Some(before) = editor.before(i) else { return Ok((x, Then::Execute)) };
    let attention = if before.attention { Some(block.cls_row(&x)?) } else { None };
    let mut then = Then::Execute;
    let x = on_host(&x, |values| then = editor.edit(i, layout, values, attention.as_deref()))?;
    Ok((x, then))
}

/// `[1, N, H]` after the activation of block `i` → as the editor leaves it.
pub(super) fn hidden(editor: &dyn Editor, i: u16, layout: Layout, hidden: &Tensor) -> Result<Tensor, VitError> {
    on_host(hidden, |values| editor.hidden(i, layout, values))
}

fn on_host(x: &Tensor, change: impl FnOnce(&mut [f32])) -> Result<Tensor, VitError> {
    let mut values: Vec<f32> = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    change(&mut values);
    Ok(Tensor::from_vec(values, x.shape(), x.device())?.to_dtype(x.dtype())?)
}
