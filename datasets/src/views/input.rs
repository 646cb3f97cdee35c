//! From the bytes of a view to a model's input: perhaps mirrored, normalised, with zeros around it up to whole patches.
//!
//! ```text
//! p = ⌈length / patch⌉ · patch − length        ⌊p / 2⌋ zeros before, the rest after
//! ```
//!
//! A view larger than its bytes has zeros below and right of them as well, which mirroring leaves there.

use super::{Place, View, ViewSpec};
use crate::pixels::Planar;
use crate::preprocess::tables;
use crate::resize::Planes8;
use crate::source::DenseTruth;

/// A view before it is an input.
pub(super) struct Cut {
    /// Its pixels, not mirrored yet.
    pub bytes: Planes8,
    /// Where it lies; the padding to whole patches is filled in here.
    pub place: Place,
    /// Its truth, mirrored as the place says.
    pub truth: Option<DenseTruth>,
}

impl ViewSpec {
    /// The model's input, under the spec's own mean and deviation.
    pub(super) fn view(&self, cut: Cut) -> View {
        self.view_through(cut, &tables(self.mean, self.std))
    }

    /// The model's input where byte b of channel c becomes `tables[c][b]`.
    pub(super) fn view_through(&self, cut: Cut, tables: &[[f32; 256]; 3]) -> View {
        let Cut { bytes, mut place, truth } = cut;
        let (view_h, view_w) = (place.view_h as usize, place.view_w as usize);
        let (height, width) = (view_h.next_multiple_of(self.patch_px), view_w.next_multiple_of(self.patch_px));
        let (top, left) = ((height - view_h) / 2, (width - view_w) / 2);
        (place.pad_top, place.pad_left) = (top as u16, left as u16);
        let mut data = vec![0.0; 3 * height * width];
        let planes = data.chunks_exact_mut(height * width).zip(bytes.data.chunks_exact(bytes.height * bytes.width));
        for ((target, source), table) in planes.zip(tables) {
            let rows = target.chunks_exact_mut(width).skip(top);
            for (target, source) in rows.zip(source.chunks_exact(bytes.width)) {
                let target = &mut target[left..left + bytes.width];
                if place.mirrored {
                    target
                        .iter_mut()
                        .zip(source.iter().rev())
                        .for_each(|(value, &byte)| *value = table[usize::from(byte)]);
                } else {
                    target.iter_mut().zip(source).for_each(|(value, &byte)| *value = table[usize::from(byte)]);
                }
            }
        }
        View { pixels: Planar { height, width, data }, place, truth }
    }
}
