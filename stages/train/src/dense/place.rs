//! Where a view lies in its image, and what of its cells belongs to it.

/// A view of a resized image as the model saw it: cut, perhaps mirrored, padded with zeros to whole patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub scaled_h: usize,
    pub scaled_w: usize,
    pub y0: usize,
    pub x0: usize,
    pub view_h: u32,
    pub view_w: u32,
    pub mirrored: bool,
    pub pad_top: u16,
    pub pad_left: u16,
    /// Rows and columns of the model's input, px, padding included.
    pub input_h: usize,
    pub input_w: usize,
}

impl Place {
    /// Whether it is the image, not a part of it.
    pub(crate) fn is_whole(&self) -> bool {
        (self.y0, self.x0) == (0, 0) && (self.view_h as usize, self.view_w as usize) == (self.scaled_h, self.scaled_w)
    }

    /// Whether the numbers fit each other. A training crop may be larger than the resized image: it begins where the image
    /// does and is filled up behind it (mmsegmentation's `Pad`).
    pub(crate) fn is_sound(&self) -> bool {
        let (h, w) = (self.view_h as usize, self.view_w as usize);
        let along = |from: usize, view: usize, scaled: usize| from == 0 || from.saturating_add(view) <= scaled;
        h > 0
            && w > 0
            && self.scaled_h > 0
            && self.scaled_w > 0
            && along(self.y0, h, self.scaled_h)
            && along(self.x0, w, self.scaled_w)
            && usize::from(self.pad_top) + h <= self.input_h
            && usize::from(self.pad_left) + w <= self.input_w
    }

    /// Whether it reaches beyond the resized image.
    pub(crate) fn is_filled_up(&self) -> bool {
        self.y0 + self.view_h as usize > self.scaled_h || self.x0 + self.view_w as usize > self.scaled_w
    }

    /// The pixel of a map over the view, `(height, width)`, under the middle of each of `(h, w)` cells; `None` where the
    /// middle is in the padding.
    pub(crate) fn centres(
        &self,
        (h, w): (usize, usize),
        (height, width): (usize, usize),
    ) -> impl Iterator<Item = Option<usize>> {
        let axis = |cells: usize, input: usize, pad: u16, view: u32, out: usize| -> Vec<Option<usize>> {
            // (i + ½)·input/cells − pad, in pixels of the view; everything twice, so that it stays whole numbers.
            (0..cells)
                .map(|i| {
                    let twice = (2 * i + 1) * input;
                    let (before, after) = (2 * cells * usize::from(pad), 2 * cells * view as usize);
                    let inside = twice.checked_sub(before).filter(|&v| v < after)?;
                    Some(inside * out / after)
                })
                .collect()
        };
        let rows = axis(h, self.input_h, self.pad_top, self.view_h, height);
        let columns = axis(w, self.input_w, self.pad_left, self.view_w, width);
        rows.into_iter().flat_map(move |y| {
            let columns = columns.clone();
            columns.into_iter().map(move |x| Some(y? * width + x?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            scaled_h: 28,
            scaled_w: 28,
            y0: 0,
            x0: 0,
            view_h: 28,
            view_w: 20,
            mirrored: false,
            pad_top: 0,
            pad_left: 11,
            input_h: 28,
            input_w: 42,
        }
    }

    /// Closed form: patches of 14 have their middles at 7, 21 and 35. Columns 11..31 are the view, so the first and the
    /// last column of cells are padding and the middle one is column 10 of the view.
    #[test]
    fn middles_of_cells_are_where_they_are() {
        let place = place();
        let found: Vec<_> = place.centres((2, 3), (28, 20)).collect();
        assert_eq!(found, [None, Some(7 * 20 + 10), None, None, Some(21 * 20 + 10), None]);
        // The same over a map of half the size.
        let found: Vec<_> = place.centres((2, 3), (14, 10)).collect();
        assert_eq!(found, [None, Some(3 * 10 + 5), None, None, Some(10 * 10 + 5), None]);
    }

    #[test]
    fn numbers_that_do_not_fit_are_seen() {
        assert!(place().is_sound() && !place().is_whole());
        assert!(!Place { x0: 9, ..place() }.is_sound());
        assert!(!Place { pad_left: 23, ..place() }.is_sound());
        assert!(!Place { view_h: 0, ..place() }.is_sound());
        assert!(!Place { y0: usize::MAX, ..place() }.is_sound());
        // Larger than the image: a crop that begins where it does, and no other.
        assert!(Place { scaled_h: 20, ..place() }.is_sound());
        assert!(!Place { scaled_h: 20, y0: 1, ..place() }.is_sound());
        assert!(Place { scaled_h: 20, ..place() }.is_filled_up() && !place().is_filled_up());
    }
}
