//! Closed forms of resizing, cropping, padding and normalising. Equality with Pillow is in `pillow.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use datasets::resize::resize;
use datasets::{Crop, Filter, Planar, Preprocess, PreprocessError, Resize, Rgb8};
use proptest::prelude::*;

/// Red counts rows, green counts columns, blue is constant.
fn ramp(height: usize, width: usize) -> Rgb8 {
    let data = (0..height * width).flat_map(|at| [(at / width) as u8, (at % width) as u8, 200]).collect();
    Rgb8 { width, height, data }
}

fn plain(resize: Resize, crop: Crop) -> Preprocess {
    Preprocess::new(resize, crop, Filter::Bicubic)
}

/// A value times 255, as the byte it was.
fn byte(planar: &Planar, channel: usize, y: usize, x: usize) -> u8 {
    (planar.data[(channel * planar.height + y) * planar.width + x] * 255.0).round() as u8
}

#[test]
fn a_centre_crop_starts_at_half_rounded_to_even() {
    // (length − side) / 2: 0.5 → 0, 1.5 → 2, 2.5 → 2, 3 → 3.
    for (length, side, start) in [(11, 10, 0), (13, 10, 2), (15, 10, 2), (16, 10, 3)] {
        let planar = plain(Resize::None, Crop::Centre(side)).apply(&ramp(length, length)).unwrap();
        assert_eq!((planar.height, planar.width), (side, side));
        assert_eq!((byte(&planar, 0, 0, 0), byte(&planar, 1, 0, 0)), (start, start), "{length}");
    }
}

#[test]
fn an_image_smaller_than_its_crop_is_padded_with_black() {
    let preprocess = plain(Resize::None, Crop::Centre(7)).normalised([0.5; 3], [0.25; 3]);
    let planar = preprocess.apply(&ramp(4, 9)).unwrap();
    assert_eq!((planar.height, planar.width), (7, 7));
    // One row above, two below; columns 1..8 of nine.
    let at = |channel: usize, y: usize, x: usize| planar.data[(channel * 7 + y) * 7 + x];
    for y in [0, 5, 6] {
        assert_eq!(at(2, y, 3), (0.0 - 0.5) / 0.25);
    }
    assert_eq!(at(2, 1, 0), (200.0 / 255.0 - 0.5) / 0.25);
    assert_eq!(at(1, 1, 0), (1.0 / 255.0 - 0.5) / 0.25);
    assert_eq!(at(0, 4, 6), (3.0 / 255.0 - 0.5) / 0.25);
}

#[test]
fn a_grid_crop_keeps_the_top_left() {
    let preprocess = plain(Resize::None, Crop::Grid { patch_px: 14 });
    assert_eq!(preprocess.output_size(41, 60), (28, 56));
    let planar = preprocess.apply(&ramp(41, 60)).unwrap();
    assert_eq!((byte(&planar, 0, 27, 55), byte(&planar, 1, 27, 55)), (27, 55));
    let small = preprocess.apply(&ramp(13, 60)).unwrap_err();
    assert_eq!(small, PreprocessError::SmallerThanPatch { height: 13, width: 60, patch_px: 14 });
}

#[test]
fn lost_pads_with_zeros_after_normalising() {
    let preprocess = plain(Resize::None, Crop::PadTo { patch_px: 16 }).normalised([0.4; 3], [0.2; 3]);
    assert_eq!(preprocess.output_size(17, 32), (32, 32));
    let planar = preprocess.apply(&ramp(17, 32)).unwrap();
    assert_eq!(planar.data[2 * 32 * 32 + 16 * 32 + 31], (200.0 / 255.0 - 0.4) / 0.2);
    assert!(planar.data[2 * 32 * 32 + 17 * 32..].iter().all(|&value| value == 0.0));
}

#[test]
fn a_short_side_resize_truncates_the_long_side() {
    let preprocess = plain(Resize::ShortSide(256), Crop::None);
    // 256 · 500 / 375 = 341.33; 256 · 334 / 333 = 256.77.
    assert_eq!(preprocess.output_size(375, 500), (256, 341));
    assert_eq!(preprocess.output_size(500, 375), (341, 256));
    assert_eq!(preprocess.output_size(334, 333), (256, 256));
    let exact = plain(Resize::Exact { height: 30, width: 20 }, Crop::None);
    assert_eq!(exact.output_size(375, 500), (30, 20));
    assert_eq!(exact.apply(&ramp(10, 10)).unwrap().data.len(), 3 * 600);
}

#[test]
fn a_flat_image_stays_flat_and_a_doubled_ramp_keeps_its_ends() {
    for filter in [Filter::Bicubic, Filter::Bilinear] {
        let resized = resize(&ramp(40, 50), 93, 17, filter);
        assert!(resized.data.chunks_exact(3).all(|pixel| pixel[2] == 200));
        let doubled = resize(&ramp(40, 50), 40, 100, filter);
        let green = |x: usize| doubled.data[x * 3 + 1];
        // Bilinear by hand: ¼ and ¾ between neighbours, rounded; a linear ramp gives the same under the cubic.
        assert_eq!([green(0), green(21), green(22), green(99)], [0, 10, 11, 49]);
    }
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let fine = Preprocess::imagenet(256, 224);
    assert_eq!(fine.check(), Ok(fine));
    for bad in [
        Preprocess { resize: Resize::ShortSide(0), ..fine },
        Preprocess { resize: Resize::Exact { height: 0, width: 4 }, ..fine },
        Preprocess { crop: Crop::Centre(0), ..fine },
        Preprocess { crop: Crop::Grid { patch_px: 0 }, ..fine },
        Preprocess { crop: Crop::PadTo { patch_px: 0 }, ..fine },
        Preprocess { std: [0.2, 0.0, 0.2], ..fine },
        Preprocess { mean: [f32::NAN; 3], ..fine },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
        assert!(bad.apply(&ramp(20, 20)).is_err(), "{bad:?}");
    }
    let lying = Rgb8 { width: 5, height: 5, data: vec![0; 7] };
    assert!(matches!(fine.apply(&lying), Err(PreprocessError::BadLength { len: 7, .. })));
}

/// Decoding such a file is allowed, but resampling it took fifteen gigabytes of weights and blocks of rows.
#[test]
fn an_image_with_a_side_beyond_a_million_is_too_elongated() {
    let strip = |length: usize| Rgb8 { width: length, height: 1, data: vec![7; length * 3] };
    let preprocess = plain(Resize::Exact { height: 4, width: 4 }, Crop::None);
    assert!(preprocess.apply(&strip(1 << 20)).is_ok());
    let error = preprocess.apply(&strip((1 << 20) + 1)).unwrap_err();
    assert_eq!(error, PreprocessError::TooLong { height: 1, width: (1 << 20) + 1 });
    assert_eq!(error.reason(), "too elongated");
}

/// One pass, both or neither is left out: every way must give what the passes with weights 0, 0, 1, 0, 0 gave.
#[test]
fn a_side_that_keeps_its_length_keeps_its_samples() {
    let image = ramp(40, 50);
    for filter in [Filter::Bicubic, Filter::Bilinear] {
        assert_eq!(resize(&image, 40, 50, filter), image);
        let taller = resize(&image, 80, 50, filter);
        assert!((0..80 * 50).all(|at| taller.data[at * 3 + 1] == (at % 50) as u8));
        let wider = resize(&image, 40, 100, filter);
        assert!((0..40 * 100).all(|at| wider.data[at * 3] == (at / 100) as u8));
    }
    let cut = plain(Resize::None, Crop::Centre(20)).apply(&image).unwrap();
    assert_eq!((byte(&cut, 0, 0, 0), byte(&cut, 1, 0, 0)), (10, 15));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A window of a resized image is the same as resizing everything and cutting: only needed rows are computed.
    #[test]
    fn crops_equal_cuts_of_the_whole(height in 1..70_usize, width in 1..70_usize, short in 1..50_usize, side in 1..50_usize) {
        let data = (0..height * width * 3).map(|at| ((at * 2654435761) >> 7) as u8).collect();
        let image = Rgb8 { width, height, data };
        let crop = plain(Resize::ShortSide(short), Crop::Centre(side));
        let whole = plain(Resize::ShortSide(short), Crop::None).apply(&image).unwrap();
        let cropped = crop.apply(&image).unwrap();
        prop_assert_eq!(cropped.data.len(), 3 * side * side);
        if side <= whole.height.min(whole.width) {
            let start = |length: usize| ((length - side) as f64 / 2.0).round_ties_even() as usize;
            let (top, left) = (start(whole.height), start(whole.width));
            for at in 0..side * side {
                let (y, x) = (at / side, at % side);
                prop_assert_eq!(byte(&cropped, 1, y, x), byte(&whole, 1, top + y, left + x));
            }
        }
    }
}
