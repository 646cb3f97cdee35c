//! From the answers of an image's views to one answer of the size of its truth, row by row.
//!
//! Direct: each view is the whole image, and its answer is resized to the truth. Through views (mmsegmentation's
//! `slide_inference`): each answer is resized to its view, views are added on the resized image and divided by how many
//! cover a pixel, and that is resized to the truth. The resized image is never made: its rows are, two at a time.
//!
//! Answers of mirrored views are turned back. Where an image has both kinds, classes are averaged as probabilities, each
//! kind after its own softmax (mmsegmentation's `aug_test`), and depths as they are.

use super::cross_entropy::softmax;
use super::error::DenseError;
use super::place::Place;
use super::recipe::Joining;
use super::resize::{Axis, Field, Padding};

/// The answer of one view.
pub(crate) struct Answer {
    pub field: Field,
    pub place: Place,
}

/// How to join.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub joining: Joining,
    pub padding: Padding,
    /// Whether channels are logits, of which mirrored ones are averaged after softmax.
    pub logits: bool,
}

/// Views of one kind over a rectangle.
struct Canvas<'a> {
    h: usize,
    w: usize,
    k: usize,
    views: Vec<Laid<'a>>,
}

/// A view's answer on the rectangle.
struct Laid<'a> {
    field: &'a Field,
    rows: Axis,
    columns: Axis,
    y0: usize,
    x0: usize,
}

impl Canvas<'_> {
    /// Row `y`, the mean over the views that cover each pixel. `false` where none covers one.
    fn row(&self, y: usize, out: &mut [f32]) -> bool {
        let k = self.k;
        out.fill(0.0);
        let mut counts = vec![0_u32; self.w];
        for view in self.views.iter().filter(|v| (v.y0..v.y0 + v.rows.len()).contains(&y)) {
            let mut line = vec![0.0; view.field.w * k];
            view.field.blend_rows(&view.rows, y - view.y0, &mut line);
            for x in 0..view.columns.len() {
                let at = view.x0 + x;
                counts[at] += 1;
                let pixel = &mut out[at * k..(at + 1) * k];
                add_mixed(pixel, &line, view.columns.at(x));
            }
        }
        for (pixel, &n) in out.chunks_exact_mut(k).zip(&counts) {
            if n > 1 {
                for v in pixel {
                    *v /= n as f32;
                }
            }
        }
        counts.iter().all(|&n| n > 0)
    }
}

fn add_mixed(pixel: &mut [f32], line: &[f32], (lo, hi, f): (usize, usize, f32)) {
    let k = pixel.len();
    for ((o, a), b) in pixel.iter_mut().zip(&line[lo * k..(lo + 1) * k]).zip(&line[hi * k..(hi + 1) * k]) {
        *o += (1.0 - f) * a + f * b;
    }
}

/// Hands over each row of the joined answer, `[width, k]`.
pub(crate) fn join(
    image: u32,
    answers: &[Answer],
    (height, width): (usize, usize),
    rule: Rule,
    mut row: impl FnMut(usize, &[f32]),
) -> Result<(), DenseError> {
    let Some(first) = answers.first() else { return Err(DenseError::Features { image }) };
    let (k, scaled) = (first.field.k, (first.place.scaled_h, first.place.scaled_w));
    if answers.iter().any(|a| (a.place.scaled_h, a.place.scaled_w) != scaled) {
        return Err(DenseError::Sizes { image });
    }
    let direct = rule.joining == Joining::Direct;
    let misplaced = |place: &Place| if direct { !place.is_whole() } else { place.is_filled_up() };
    if let Some(part) = answers.iter().position(|a| misplaced(&a.place)) {
        return Err(DenseError::Part { image, view: part as u16 });
    }
    let (h, w) = if direct { (height, width) } else { scaled };
    let canvas = |mirrored: bool| -> Canvas<'_> {
        let own = answers.iter().filter(|a| a.place.mirrored == mirrored);
        let views = own.map(|answer| {
            let place = &answer.place;
            let size = if direct { (h, w) } else { (place.view_h as usize, place.view_w as usize) };
            let (rows, columns) = Axis::of_view((answer.field.h, answer.field.w), place, rule.padding, size);
            let columns = if mirrored { columns.reversed() } else { columns };
            let (y0, x0) = if direct { (0, 0) } else { (place.y0, place.x0) };
            Laid { field: &answer.field, rows, columns, y0, x0 }
        });
        Canvas { h, w, k, views: views.collect() }
    };
    let kinds: Vec<Canvas<'_>> = [false, true].map(canvas).into_iter().filter(|c| !c.views.is_empty()).collect();
    let mut readers: Vec<Reader<'_>> = kinds.iter().map(|c| Reader::new(c, (height, width))).collect();
    let share = 1.0 / readers.len() as f32;
    let (mut joined, mut own) = (vec![0.0; width * k], vec![0.0; width * k]);
    for y in 0..height {
        if let [only] = &mut readers[..] {
            only.row(y, &mut joined).map_err(|row| DenseError::Hole { image, row })?;
        } else {
            joined.fill(0.0);
            for reader in &mut readers {
                reader.row(y, &mut own).map_err(|row| DenseError::Hole { image, row })?;
                if rule.logits {
                    own.chunks_exact_mut(k).for_each(softmax);
                }
                joined.iter_mut().zip(&own).for_each(|(a, v)| *a += share * v);
            }
        }
        row(y, &joined);
    }
    Ok(())
}

/// Reads a canvas at another size, from the top down.
struct Reader<'a> {
    canvas: &'a Canvas<'a>,
    rows: Axis,
    columns: Axis,
    /// The last two rows made.
    made: [(usize, Vec<f32>); 2],
}

impl<'a> Reader<'a> {
    fn new(canvas: &'a Canvas<'a>, (height, width): (usize, usize)) -> Self {
        let none = || (usize::MAX, vec![0.0; canvas.w * canvas.k]);
        let (rows, columns) = (Axis::stretch(canvas.h, height), Axis::stretch(canvas.w, width));
        Self { canvas, rows, columns, made: [none(), none()] }
    }

    /// Row `y`; an error is a row of the canvas with a hole.
    fn row(&mut self, y: usize, out: &mut [f32]) -> Result<(), usize> {
        let (lo, hi, f) = self.rows.at(y);
        for wanted in [lo, hi] {
            if self.made.iter().all(|(at, _)| *at != wanted) {
                // The smaller one is not needed again: rows are read from the top down.
                let old = usize::from(self.made[1].0 == usize::MAX || self.made[1].0 < self.made[0].0);
                let old = if self.made[0].0 == usize::MAX { 0 } else { old };
                if !self.canvas.row(wanted, &mut self.made[old].1) {
                    return Err(wanted);
                }
                self.made[old].0 = wanted;
            }
        }
        let find = |wanted: usize| &self.made[usize::from(self.made[0].0 != wanted)].1;
        let line: Vec<f32> = find(lo).iter().zip(find(hi)).map(|(a, b)| (1.0 - f) * a + f * b).collect();
        out.fill(0.0);
        for (x, pixel) in out.chunks_exact_mut(self.canvas.k).enumerate() {
            add_mixed(pixel, &line, self.columns.at(x));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::random::SplitMix64;

    fn place(scaled: (usize, usize), at: (usize, usize), view: (u32, u32), mirrored: bool) -> Place {
        let patches = |v: u32| (v as usize).div_ceil(2) * 2;
        Place {
            scaled_h: scaled.0,
            scaled_w: scaled.1,
            y0: at.0,
            x0: at.1,
            view_h: view.0,
            view_w: view.1,
            mirrored,
            pad_top: 0,
            pad_left: 0,
            input_h: patches(view.0),
            input_w: patches(view.1),
        }
    }

    fn field(h: usize, w: usize, k: usize, seed: u64) -> Field {
        let mut random = SplitMix64::new(seed, 0);
        Field { h, w, k, values: (0..h * w * k).map(|_| random.normal() as f32).collect() }
    }

    fn joined(answers: &[Answer], size: (usize, usize), rule: Rule) -> Vec<f32> {
        let mut all = Vec::new();
        join(0, answers, size, rule, |_, row| all.extend_from_slice(row)).unwrap();
        all
    }

    const THROUGH: Rule = Rule { joining: Joining::ThroughViews, padding: Padding::Stretch, logits: true };
    const DIRECT: Rule = Rule { joining: Joining::Direct, ..THROUGH };

    fn resized(values: &[f32], (h, w, k): (usize, usize, usize), (height, width): (usize, usize)) -> Vec<f32> {
        let field = Field { h, w, k, values: values.to_vec() };
        let mut out = Vec::new();
        field.resized(&Axis::stretch(h, height), &Axis::stretch(w, width), |_, _, v| out.extend_from_slice(v));
        out
    }

    /// `slide_inference` written out on whole maps: two windows of 6x8 over 6x12 at 0 and 4, summed, divided by the count,
    /// resized to 9x7. Breaks when a row is reused for another or the count is that of another pixel.
    #[test]
    fn windows_are_summed_and_divided_on_the_resized_image() {
        let answers = [0, 4]
            .map(|x0| Answer { field: field(3, 4, 2, x0), place: place((6, 12), (0, x0 as usize), (6, 8), false) });
        let (mut sum, mut count) = (vec![0.0; 6 * 12 * 2], vec![0.0; 6 * 12 * 2]);
        for answer in &answers {
            let window = resized(&answer.field.values, (3, 4, 2), (6, 8));
            for y in 0..6 {
                for i in 0..16 {
                    sum[y * 24 + answer.place.x0 * 2 + i] += window[y * 16 + i];
                    count[y * 24 + answer.place.x0 * 2 + i] += 1.0;
                }
            }
        }
        let canvas: Vec<f32> = sum.iter().zip(&count).map(|(s, n)| s / n).collect();
        for size in [(9, 7), (3, 5), (6, 12), (40, 30)] {
            let (want, got) = (resized(&canvas, (6, 12, 2), size), joined(&answers, size, THROUGH));
            assert_eq!(want.len(), got.len());
            assert!(want.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5), "{size:?}");
        }
    }

    /// A mirrored view that answers the mirror image changes nothing: logits become probabilities of the same order, depths
    /// stay. Breaks when columns are not turned back.
    #[test]
    fn a_mirrored_view_is_turned_back() {
        let plain = field(3, 4, 2, 1);
        let mut mirrored = plain.clone();
        for y in 0..3 {
            for x in 0..4 {
                mirrored.values[(y * 4 + x) * 2..][..2].copy_from_slice(&plain.values[(y * 4 + 3 - x) * 2..][..2]);
            }
        }
        for rule in [DIRECT, THROUGH] {
            let one = |field: &Field, mirrored| Answer {
                field: field.clone(),
                place: place((6, 8), (0, 0), (6, 8), mirrored),
            };
            let alone = joined(&[one(&plain, false)], (11, 10), rule);
            let turned = joined(&[one(&mirrored, true)], (11, 10), rule);
            let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close(&alone, &turned));
            let pair = [one(&plain, false), one(&mirrored, true)];
            assert!(close(&joined(&pair, (11, 10), Rule { logits: false, ..rule }), &alone));
            let mut probabilities = alone;
            probabilities.chunks_exact_mut(2).for_each(softmax);
            assert!(close(&joined(&pair, (11, 10), rule), &probabilities));
        }
    }

    #[test]
    fn holes_parts_and_strangers_are_refused() {
        let answer = |at, view| Answer { field: field(3, 4, 2, 1), place: place((6, 12), at, view, false) };
        let refused = |answers: &[Answer], rule| join(5, answers, (6, 12), rule, |_, _| {}).err();
        assert_eq!(refused(&[answer((0, 0), (6, 8))], THROUGH), Some(DenseError::Hole { image: 5, row: 0 }));
        assert_eq!(refused(&[answer((0, 0), (5, 12))], THROUGH), Some(DenseError::Hole { image: 5, row: 5 }));
        assert_eq!(refused(&[answer((0, 4), (6, 8))], DIRECT), Some(DenseError::Part { image: 5, view: 0 }));
        assert_eq!(refused(&[answer((0, 0), (8, 12))], THROUGH), Some(DenseError::Part { image: 5, view: 0 }));
        assert_eq!(refused(&[], DIRECT), Some(DenseError::Features { image: 5 }));
        let other = Answer { field: field(3, 4, 2, 1), place: place((6, 8), (0, 0), (6, 8), false) };
        assert_eq!(refused(&[answer((0, 0), (6, 12)), other], THROUGH), Some(DenseError::Sizes { image: 5 }));
    }
}
