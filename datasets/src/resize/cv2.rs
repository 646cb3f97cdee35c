//! OpenCV's `resize(…, INTER_LINEAR)` on bytes, bit for bit.
//!
//! ```text
//! f = f32((o + ½) · in/out − ½)      s = ⌊f⌋      f −= s      weights  a₀ = rint(2¹¹ (1 − f)), a₁ = rint(2¹¹ f)
//! across  S = a₀ p[s] + a₁ p[s+1]
//! down    out = (((b₀ · (S₀ >> 4)) >> 16) + ((b₁ · (S₁ >> 4)) >> 16) + 2) >> 2
//! ```
//!
//! Across, positions outside the image get weight 1 on the last sample; down, rows are repeated and keep their weights,
//! whose products are then cut off one by one. Nothing is averaged when an image shrinks. Source: OpenCV 4
//! `modules/imgproc/src/resize.cpp` (`HResizeLinear`, `VResizeLinear<uchar, int, short, FixedPtCast<…>>`).

use std::ops::Range;

use super::{PlanarRows, Planes8, gather};

/// One output: the first of its two samples, which may be −1 before clamping, and both weights.
#[derive(Clone, Copy)]
struct Tap {
    sample: isize,
    weights: [i32; 2],
}

fn tap(output: usize, from: usize, to: usize) -> Tap {
    let scale = 1.0 / (to as f64 / from as f64);
    let at = ((output as f64 + 0.5) * scale - 0.5) as f32;
    let sample = at.floor();
    let share = at - sample;
    let weight = |share: f32| (share * 2048.0).round_ties_even() as i32;
    Tap { sample: sample as isize, weights: [weight(1.0 - share), weight(share)] }
}

/// The rows `ys` and columns `xs` of an image resized to `out` = (rows, columns).
pub(super) fn window<P: PlanarRows + ?Sized>(
    image: &P,
    out: (usize, usize),
    ys: &Range<usize>,
    xs: &Range<usize>,
) -> Planes8 {
    let (in_height, in_width) = image.size();
    let clamp = |sample: isize, length: usize| sample.clamp(0, length as isize - 1) as usize;
    let down: Vec<Tap> = ys.clone().map(|output| tap(output, in_height, out.0)).collect();
    let across: Vec<Tap> = xs.clone().map(|output| tap(output, in_width, out.1)).collect();
    let reach = |taps: &[Tap], length: usize| match taps {
        [first, .., last] => clamp(first.sample, length)..clamp(last.sample + 1, length) + 1,
        [only] => clamp(only.sample, length)..clamp(only.sample + 1, length) + 1,
        [] => 0..0,
    };
    let (rows, columns) = (reach(&down, in_height), reach(&across, in_width));
    let across: Vec<([usize; 2], [i32; 2])> = across
        .into_iter()
        .map(|Tap { sample, weights }| {
            let inside = sample >= 0 && sample < in_width as isize - 1;
            let [near, far] = [sample, sample + 1].map(|sample| clamp(sample, in_width) - columns.start);
            ([near, far], if inside { weights } else { [2048, 0] })
        })
        .collect();
    let source = gather(image, rows.clone(), columns);
    let mut resized = Planes8::zeros(ys.len(), xs.len());
    let planes = resized.data.chunks_exact_mut((ys.len() * xs.len()).max(1));
    for (plane, samples) in planes.zip(source.data.chunks_exact((source.height * source.width).max(1))) {
        let narrowed = |sample: isize, sums: &mut Vec<i32>| {
            let row = &samples[(clamp(sample, in_height) - rows.start) * source.width..][..source.width];
            sums.clear();
            sums.extend(
                across.iter().map(|&([near, far], [a, b])| (a * i32::from(row[near]) + b * i32::from(row[far])) >> 4),
            );
        };
        // The rows that the last output read, and which they are.
        let mut held = [(isize::MIN, Vec::new()), (isize::MIN, Vec::new())];
        for (target, tap) in plane.chunks_exact_mut(xs.len()).zip(&down) {
            if held[1].0 == tap.sample {
                held.swap(0, 1);
            }
            for (wanted, (sample, sums)) in [tap.sample, tap.sample + 1].into_iter().zip(&mut held) {
                if *sample != wanted {
                    narrowed(wanted, sums);
                    *sample = wanted;
                }
            }
            let [upper, lower] = tap.weights;
            for ((byte, &above), &below) in target.iter_mut().zip(&held[0].1).zip(&held[1].1) {
                let sum = ((upper * above) >> 16) + ((lower * below) >> 16);
                *byte = ((sum + 2) >> 2).clamp(0, 255) as u8;
            }
        }
    }
    resized
}
