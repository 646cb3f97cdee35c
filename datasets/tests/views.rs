//! Views: where they lie, that they are the same everywhere, and that truth goes where pixels go. The arithmetic of OpenCV
//! is held in `src/views/tests.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use datasets::{
    Crops, DenseTruth, DepthCrops, Filter, LoadError, Raw, Resize, Rgb8, TruthOf, View, ViewError, ViewSpec, Views,
    ViewsOf,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// The whole way of a test photo against mmcv's and mmseg's steps in Python (`golden/make_cv2.py`): decoding, scaling, and
/// where windows lie.
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn windows_of_photos_equal_those_of_mmseg() {
    let Some(real) = std::env::var_os("VITALS_REAL") else {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
        return;
    };
    let windows = Views::Windows { short_side_px: 512, window_px: 512, stride_px: 341 };
    let spec = spec(windows, Filter::Cv2Bilinear, 14, TruthOf::None);
    let lines = include_str!("golden/cv2_photos.tsv");
    assert_eq!(lines.lines().count(), 9);
    for line in lines.lines() {
        let [name, height, width, count, expected] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let file = std::fs::read(std::path::Path::new(&real).join(name)).unwrap();
        let views = spec.views(&Raw::Encoded(file), None, 0).unwrap().views;
        let place = views[0].place;
        assert_eq!([place.scaled_h, place.scaled_w].map(|side| side.to_string()), [height, width], "{name}");
        assert_eq!(views.len().to_string(), count, "{name}");
        let mut hash = Sha256::new();
        for view in &views {
            let planes = [0, 1, 2].map(|channel| inside(view, channel));
            let bytes = (0..planes[0].len()).flat_map(|at| [0, 1, 2].map(|channel| planes[channel][at].round() as u8));
            hash.update(bytes.collect::<Vec<_>>());
        }
        let digest: [u8; 32] = hash.finalize().into();
        assert_eq!(digest.map(|byte| format!("{byte:02x}")).concat(), expected, "{name}");
    }
}

/// Bytes as they are, 0..255 as floats.
fn spec(views: Views, filter: Filter, patch_px: usize, truth: TruthOf) -> ViewSpec {
    ViewSpec { views, filter, mean: [0.0; 3], std: [1.0 / 255.0; 3], patch_px, truth }.check().unwrap()
}

/// Rectangles of one label each, `block` px wide, and a photo in which each pixel is its label.
fn painted(height: usize, width: usize, block: usize) -> (Raw, DenseTruth) {
    let label = |at: usize| {
        let (y, x) = (at / width / block, at % width / block);
        20 + ((y * 7 + x * 3) % 11 * 20) as u8
    };
    let labels: Vec<u8> = (0..height * width).map(label).collect();
    let data = labels.iter().flat_map(|&label| [label, 255 - label, 100]).collect();
    let depth_m = labels.iter().map(|&label| f32::from(label) / 25.0).collect();
    let truth = DenseTruth { height, width, segments: Some(labels), depth_m: Some(depth_m) };
    (Raw::Rgb(Rgb8 { width, height, data }), truth)
}

/// A channel of the view without the padding to whole patches.
fn inside(view: &View, channel: usize) -> Vec<f32> {
    let place = view.place;
    let plane = &view.pixels.data[channel * view.pixels.height * view.pixels.width..];
    let rows = plane.chunks(view.pixels.width).skip(usize::from(place.pad_top)).take(place.view_h as usize);
    rows.flat_map(|row| row[usize::from(place.pad_left)..][..place.view_w as usize].to_vec()).collect()
}

/// Wherever the truth is one label for `radius` px around, the pixel has its colour and the depth its depth. Returns how
/// many pixels could be compared.
fn alike(view: &View, radius: usize) -> usize {
    let truth = view.truth.as_ref().unwrap();
    let (height, width) = (view.place.view_h as usize, view.place.view_w as usize);
    assert_eq!((truth.height, truth.width), (height, width));
    let labels = truth.segments.as_ref().unwrap();
    let pixels = inside(view, 0);
    let mut compared = 0;
    for y in 0..height {
        for x in 0..width {
            let label = labels[y * width + x];
            let depth = truth.depth_m.as_ref().unwrap()[y * width + x];
            assert_eq!(depth, if label == 255 { 0.0 } else { f32::from(label) / 25.0 });
            // What lies beyond the edge of the view is not known here, but has been looked at.
            if y < radius || x < radius || y + radius >= height || x + radius >= width {
                continue;
            }
            let mut around = (y - radius..=y + radius).flat_map(|y| (x - radius..=x + radius).map(move |x| (y, x)));
            if around.all(|(y, x)| labels[y * width + x] == label) {
                let colour = if label == 255 { 0.0 } else { f32::from(label) };
                assert!(
                    (pixels[y * width + x] - colour).abs() < 1e-3,
                    "{y} {x}: {} for {label}",
                    pixels[y * width + x]
                );
                compared += 1;
            }
        }
    }
    compared
}

fn mirrored(plane: &[f32], width: u32) -> Vec<f32> {
    plane.chunks(width as usize).flat_map(|row| row.iter().rev().copied()).collect()
}

/// DINOv2's `CenterPadding`: of an odd number of rows or columns the extra one is below or right; zeros, not black.
#[test]
fn the_whole_image_is_padded_around_its_middle() {
    let views = Views::Whole { resize: Resize::None, mirror: true };
    let spec = ViewSpec { mean: [0.5; 3], ..spec(views, Filter::Cv2Bilinear, 14, TruthOf::View) };
    let (raw, truth) = painted(480, 645, 16);
    let ViewsOf { height, width, views, truth: of_image } = spec.views(&raw, Some(&truth), 0).unwrap();
    assert_eq!((height, width, of_image, spec.count(480, 645)), (480, 645, None, 2));
    let place = views[0].place;
    assert_eq!((place.scaled_h, place.scaled_w, place.view_h, place.view_w), (480, 645, 480, 645));
    // 490 − 480 = 10, 658 − 645 = 13.
    assert_eq!((views[0].pixels.height, views[0].pixels.width), (490, 658));
    assert_eq!((place.pad_top, place.pad_left, place.mirrored), (5, 6, false));
    let row = |y: usize| &views[0].pixels.data[y * 658..(y + 1) * 658];
    assert!(row(4).iter().chain(row(485)).all(|&value| value == 0.0));
    assert!(row(5)[..6].iter().chain(&row(5)[651..]).all(|&value| value == 0.0));
    assert!((row(5)[6] - (20.0 - 127.5)).abs() < 1e-2, "{}", row(5)[6]);
    assert_eq!(views[0].truth.as_ref(), Some(&truth));
    // The flipped one is padded after flipping, and flipped again it is the first.
    assert_eq!((views[1].place.pad_left, views[1].place.mirrored), (6, true));
    for channel in 0..3 {
        assert_eq!(mirrored(&inside(&views[1], channel), 645), inside(&views[0], channel));
    }
    let depths = [0, 1].map(|view: usize| views[view].truth.as_ref().unwrap().depth_m.clone().unwrap());
    assert_eq!(mirrored(&depths[1], 645), depths[0]);
}

#[test]
fn truth_of_the_image_is_handed_on_once_and_untouched() {
    let (raw, truth) = painted(30, 40, 4);
    let views = Views::Whole { resize: Resize::Exact { height: 28, width: 28 }, mirror: true };
    let of_image = spec(views.clone(), Filter::Bilinear, 14, TruthOf::Image).views(&raw, Some(&truth), 0).unwrap();
    assert_eq!(of_image.truth.as_ref(), Some(&truth));
    assert!(of_image.views.iter().all(|view| view.truth.is_none()));
    let none = spec(views, Filter::Bilinear, 14, TruthOf::None).views(&raw, None, 0).unwrap();
    assert_eq!((none.truth, &none.views), (None, &of_image.views));
}

/// 640 px, windows of 512 every 341: 0 and 128, for the last one is moved back (mmseg's `slide_inference`).
#[test]
fn the_last_window_is_moved_back_inside() {
    let windows = Views::Windows { short_side_px: 512, window_px: 512, stride_px: 341 };
    let spec = spec(windows, Filter::Cv2Bilinear, 14, TruthOf::Image);
    let (raw, truth) = painted(400, 500, 16);
    let views = spec.views(&raw, Some(&truth), 0).unwrap().views;
    let places: Vec<_> = views.iter().map(|view| (view.place.y0, view.place.x0)).collect();
    assert_eq!((places, spec.count(400, 500)), (vec![(0, 0), (0, 128)], 2));
    assert_eq!((views[1].place.scaled_h, views[1].place.scaled_w, views[1].place.view_h), (512, 640, 512));
    assert_eq!((views[1].pixels.height, views[1].place.pad_top), (518, 3));
    // mmcv rounds to the nearest: 683 · 512/513 = 681.67.
    let (raw, truth) = painted(513, 683, 16);
    assert_eq!(spec.views(&raw, Some(&truth), 0).unwrap().views[0].place.scaled_w, 682);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (raw, truth) = painted(40, 50, 4);
    let whole = Views::Whole { resize: Resize::None, mirror: false };
    let spec_of = |views: &Views| spec(views.clone(), Filter::Cv2Bilinear, 14, TruthOf::View);
    let refused = |views: &Views, raw: &Raw, truth: Option<&DenseTruth>| match spec_of(views).views(raw, truth, 0) {
        Err(LoadError::View(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&whole, &raw, None).reason(), "no annotation");
    let other = painted(50, 40, 4).1;
    let error = refused(&whole, &raw, Some(&other));
    assert_eq!(error.to_string(), "its annotation has 50×40 px (2000 values), the photo 40×50");
    let short = DenseTruth { depth_m: Some(vec![0.0; 7]), ..truth.clone() };
    assert!(matches!(refused(&whole, &raw, Some(&short)), ViewError::TruthSize { values: 7, .. }));
    let depth = Views::DepthCrops(DepthCrops::dinov2(1, 0));
    assert_eq!(refused(&depth, &raw, Some(&truth)).reason(), "smaller than its views");
    // A strip whose windows would take gigabytes, and one that would be longer than any image.
    let strip = |width: usize| {
        let data = vec![0; width * 3];
        let segments = Some(vec![0; width]);
        (Raw::Rgb(Rgb8 { height: 1, width, data }), DenseTruth { height: 1, width, segments, depth_m: None })
    };
    let windows = Views::Windows { short_side_px: 512, window_px: 512, stride_px: 341 };
    for (views, width) in [(&windows, 500), (&windows, 1 << 20), (&Views::Crops(Crops::dinov2(2, 0, vec![])), 5000)] {
        let (raw, truth) = strip(width);
        assert_eq!(refused(views, &raw, Some(&truth)).reason(), "too many pixels in views");
    }
    // 267 · 335 windows, which have few pixels and no numbers.
    let tiny = Views::Windows { short_side_px: 270, window_px: 4, stride_px: 1 };
    assert_eq!(refused(&tiny, &raw, Some(&truth)).reason(), "too many pixels in views");
    let lying = Raw::Rgb(Rgb8 { height: 5, width: 5, data: vec![0; 7] });
    assert!(matches!(spec_of(&whole).views(&lying, Some(&truth), 0), Err(LoadError::Preprocess(_))));
    let text = Raw::Encoded(b"no image".to_vec());
    assert!(matches!(spec_of(&whole).views(&text, Some(&truth), 0), Err(LoadError::Decode(_))));
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let whole = Views::Whole { resize: Resize::None, mirror: false };
    let fine = ViewSpec {
        views: whole.clone(),
        filter: Filter::Bicubic,
        mean: [0.0; 3],
        std: [1.0; 3],
        patch_px: 14,
        truth: TruthOf::View,
    };
    assert!(fine.clone().check().is_ok());
    let crops = Crops::dinov2(1, 0, vec![]);
    let depth = DepthCrops::dinov2(1, 0);
    let views = [
        Views::Whole { resize: Resize::ShortSide(0), mirror: false },
        Views::Whole { resize: Resize::Exact { height: 4, width: 0 }, mirror: false },
        Views::Whole { resize: Resize::ShortSide(1 << 21), mirror: false },
        Views::Windows { short_side_px: 512, window_px: 0, stride_px: 341 },
        Views::Windows { short_side_px: 512, window_px: 300, stride_px: 341 },
        Views::Windows { short_side_px: 512, window_px: 300, stride_px: 0 },
        Views::ResizedCrops { count: 0, seed: 0, size_px: 224 },
        Views::ResizedCrops { count: 1, seed: 0, size_px: 0 },
        Views::Crops(Crops { count: 0, ..crops.clone() }),
        Views::Crops(Crops { crop_px: 0, ..crops.clone() }),
        Views::Crops(Crops { short_side_px: 1, ..crops.clone() }),
        Views::Crops(Crops { ratio: [2.0, 0.5], ..crops.clone() }),
        Views::Crops(Crops { ratio: [f64::NAN, 0.5], ..crops.clone() }),
        Views::Crops(Crops { ratio: [0.5, 1e9], ..crops.clone() }),
        Views::Crops(Crops { max_class_frac: 0.0, ..crops.clone() }),
        Views::Crops(Crops { count: 65, ..crops.clone() }),
        Views::ResizedCrops { count: 335, seed: 0, size_px: 224 },
        Views::DepthCrops(DepthCrops { count: 0, ..depth.clone() }),
        Views::DepthCrops(DepthCrops { rows: [472, 45], ..depth.clone() }),
        Views::DepthCrops(DepthCrops { height_px: 0, ..depth.clone() }),
        Views::DepthCrops(DepthCrops { max_degrees: f64::NAN, ..depth.clone() }),
    ];
    for views in views {
        let bad = ViewSpec { views, ..fine.clone() };
        assert!(bad.clone().check().is_err(), "{bad:?}");
    }
    for truth in [TruthOf::Image, TruthOf::None] {
        assert!(ViewSpec { views: Views::Crops(crops.clone()), truth, ..fine.clone() }.check().is_err());
    }
    for bad in [ViewSpec { patch_px: 0, ..fine.clone() }, ViewSpec { std: [0.0; 3], ..fine.clone() }] {
        assert!(bad.check().is_err());
    }
    // 64 · 512² = 2²⁴, the most of one image.
    let many = ViewSpec { views: Views::Crops(Crops { count: 64, ..crops.clone() }), ..fine.clone() };
    assert!(many.check().is_ok());
    let resized = Views::ResizedCrops { count: 334, seed: 0, size_px: 224 };
    assert!(ViewSpec { views: resized, truth: TruthOf::None, ..fine }.check().is_ok());
}

/// As a study and a fingerprint write it; an unknown key is an error.
#[test]
fn a_spec_is_read_as_it_is_written() {
    for views in [
        Views::Whole { resize: Resize::ShortSide(518), mirror: true },
        Views::Crops(Crops::dinov2(3, 7, vec![0, 255])),
        Views::DepthCrops(DepthCrops::dinov2(1, 7)),
        Views::ResizedCrops { count: 2, seed: 1, size_px: 224 },
    ] {
        let spec = spec(views, Filter::Cv2Bilinear, 14, TruthOf::View);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ViewSpec>(&text).unwrap(), spec);
        assert!(text.contains("\"cv2_bilinear\""), "{text}");
        assert!(serde_json::from_str::<ViewSpec>(&text.replace("mirror", "mirorr").replace("seed", "sed")).is_err());
    }
}

/// One path decodes and cuts lazily, the other is given pixels.
#[test]
fn a_file_gives_the_views_of_its_pixels() {
    let bytes = include_bytes!("golden/rgb420.jpg");
    let image = datasets::decode(bytes).unwrap();
    let (height, width) = (image.height, image.width);
    let segments = Some((0..height * width).map(|at| (at % 5) as u8).collect());
    let truth = DenseTruth { height, width, segments, depth_m: None };
    let depth = DepthCrops { rows: [2, 40], columns: [3, 50], height_px: 20, width_px: 28, ..DepthCrops::dinov2(2, 1) };
    for views in [
        Views::Whole { resize: Resize::ShortSide(60), mirror: true },
        Views::Crops(Crops { short_side_px: 64, crop_px: 64, ..Crops::dinov2(3, 7, vec![]) }),
        Views::DepthCrops(depth),
        Views::ResizedCrops { count: 4, seed: 1, size_px: 48 },
        Views::Windows { short_side_px: 64, window_px: 32, stride_px: 21 },
    ] {
        for filter in [Filter::Cv2Bilinear, Filter::Bicubic] {
            let spec = spec(views.clone(), filter, 14, TruthOf::View);
            let of_file = spec.views(&Raw::Encoded(bytes.to_vec()), Some(&truth), 5).unwrap();
            assert_eq!(of_file, spec.views(&Raw::Rgb(image.clone()), Some(&truth), 5).unwrap());
            assert_eq!(of_file.views.len(), spec.count(height, width));
        }
    }
}

/// The 75 % rule: half of this photo is one class, and crops of a quarter of it would often show nothing else.
#[test]
fn crops_are_redrawn_until_they_show_two_classes() {
    let (height, width) = (64, 256);
    let label = |at: usize| if at % width < 128 { 1 } else { 2 + (at / width / 4 % 2) as u8 };
    let segments: Vec<u8> = (0..height * width).map(label).collect();
    let data = segments.iter().flat_map(|&label| [label; 3]).collect();
    let truth = DenseTruth { height, width, segments: Some(segments), depth_m: None };
    let raw = Raw::Rgb(Rgb8 { height, width, data });
    let alone = |max_class_frac: f64| {
        let crops =
            Crops { short_side_px: 64, crop_px: 64, ratio: [1.0; 2], max_class_frac, ..Crops::dinov2(200, 3, vec![]) };
        let views = spec(Views::Crops(crops), Filter::Cv2Bilinear, 16, TruthOf::View);
        let views = views.views(&raw, Some(&truth), 0).unwrap().views;
        views
            .iter()
            .filter(|view| view.truth.as_ref().unwrap().segments.as_ref().unwrap().iter().all(|&l| l == 1))
            .count()
    };
    // 65 of 193 places show the left half alone; eleven draws in a row do with probability 6e-6.
    assert!((45..90).contains(&alone(1.0)), "{}", alone(1.0));
    assert_eq!(alone(0.75), 0);
}

/// Half are mirrored and places are uniform, over views of one image and over images alike: breaks if streams of neighbours
/// are related. 4000 draws; the widest deviations allowed are five standard deviations.
#[test]
fn draws_are_uniform_over_views_and_over_images() {
    let (raw, truth) = painted(20, 20, 4);
    let of = |count: u16, index: usize| {
        let crops =
            DepthCrops { rows: [4, 16], columns: [3, 18], height_px: 8, width_px: 8, ..DepthCrops::dinov2(count, 1) };
        spec(Views::DepthCrops(crops), Filter::Cv2Bilinear, 8, TruthOf::View)
            .views(&raw, Some(&truth), index)
            .unwrap()
            .views
    };
    let of_one_image = of(4000, 7);
    let of_many: Vec<View> = (0..4000).flat_map(|index| of(1, index)).collect();
    for views in [of_one_image, of_many] {
        let share = |holds: &dyn Fn(&View) -> bool| views.iter().filter(|view| holds(view)).count() as f64 / 4000.0;
        assert!((share(&|view| view.place.mirrored) - 0.5).abs() < 0.04);
        for y0 in 4..=8 {
            assert!((share(&|view| view.place.y0 == y0) - 0.2).abs() < 0.032, "{y0}");
        }
        for x0 in 3..=10 {
            assert!((share(&|view| view.place.x0 == x0) - 0.125).abs() < 0.026, "{x0}");
        }
        assert!((share(&|view| view.place.mirrored && view.place.y0 < 6) - 0.2).abs() < 0.032);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn windows_cover_every_pixel(
        height in 1..90_usize, width in 1..90_usize, short in 1..60_usize, window in 1..50_usize, share in 0.01..1.0_f64,
    ) {
        let stride_px = ((window as f64 * share) as usize).max(1);
        let windows = Views::Windows { short_side_px: short, window_px: window, stride_px };
        let spec = spec(windows, Filter::Cv2Bilinear, 7, TruthOf::View);
        let (raw, truth) = painted(height, width, 8);
        prop_assume!(spec.count(height, width) < 3000);
        let Ok(ViewsOf { views, .. }) = spec.views(&raw, Some(&truth), 0) else { return Ok(()) };
        prop_assert_eq!(views.len(), spec.count(height, width));
        let (rows, columns) = (views[0].place.scaled_h as usize, views[0].place.scaled_w as usize);
        let mut seen = vec![false; rows * columns];
        for view in &views {
            let place = view.place;
            prop_assert!(place.y0 + place.view_h <= place.scaled_h && place.x0 + place.view_w <= place.scaled_w);
            prop_assert_eq!((place.view_h as usize, place.view_w as usize), (window.min(rows), window.min(columns)));
            prop_assert!(view.pixels.height % 7 == 0 && view.pixels.height < place.view_h as usize + 7);
            for y in place.y0..place.y0 + place.view_h {
                for x in place.x0..place.x0 + place.view_w {
                    seen[y as usize * columns + x as usize] = true;
                }
            }
        }
        prop_assert!(seen.into_iter().all(|seen| seen));
    }

    /// Any image, any ratio: crops of the asked size, inside the scaled image or at its top left, the same for the same
    /// seed, image and view, and others otherwise.
    #[test]
    fn crops_lie_inside_and_repeat(height in 20..120_usize, width in 20..120_usize, seed: u64, index in 0..1000_usize) {
        let crops = |count: u16, seed: u64| {
            let crops = Crops { short_side_px: 64, crop_px: 64, photometric: false, ..Crops::dinov2(count, seed, vec![]) };
            spec(Views::Crops(crops), Filter::Cv2Bilinear, 14, TruthOf::View)
        };
        let (raw, truth) = painted(height, width, 16);
        let of = |spec: &ViewSpec, index: usize| spec.views(&raw, Some(&truth), index).unwrap().views;
        let views = of(&crops(4, seed), index);
        prop_assert_eq!(&views, &of(&crops(4, seed), index));
        // Fewer views are the first of them.
        prop_assert_eq!(&views[..2], &of(&crops(2, seed), index)[..]);
        let places = |views: &[View]| views.iter().map(|view| view.place).collect::<Vec<_>>();
        prop_assert_ne!(places(&views), places(&of(&crops(4, seed), index + 1)));
        prop_assert_ne!(places(&views), places(&of(&crops(4, seed ^ 1), index)));
        for view in &views {
            let place = view.place;
            prop_assert_eq!((place.view_h, place.view_w, place.pad_top, place.pad_left), (64, 64, 3, 3));
            prop_assert!((32..=128).contains(&place.scaled_h.min(place.scaled_w)), "{place:?}");
            prop_assert!(place.y0 == 0 || place.y0 + 64 <= place.scaled_h, "{place:?}");
            prop_assert!(place.x0 == 0 || place.x0 + 64 <= place.scaled_w, "{place:?}");
        }
    }

    /// The mask's colour is painted into the picture: both must be cut, scaled, mirrored, turned and padded alike.
    #[test]
    fn truth_and_pixels_move_alike(height in 120..260_usize, width in 120..260_usize, seed: u64, degrees in 0.0..20.0_f64) {
        let (raw, truth) = painted(height, width, 30);
        let of = |views: Views, filter| spec(views, filter, 14, TruthOf::View).views(&raw, Some(&truth), 3).unwrap().views;
        let crops = Crops { short_side_px: 96, crop_px: 96, photometric: false, ..Crops::dinov2(6, seed, vec![]) };
        for view in of(Views::Crops(crops), Filter::Cv2Bilinear) {
            prop_assert!(alike(&view, 3) > 500, "{:?}", view.place);
        }
        let depth = DepthCrops {
            rows: [10, 110], columns: [5, 115], height_px: 80, width_px: 70, colour: false, max_degrees: degrees,
            ..DepthCrops::dinov2(6, seed)
        };
        for view in of(Views::DepthCrops(depth), Filter::Cv2Bilinear) {
            prop_assert!(alike(&view, 2) > 500, "{:?}", view.place);
        }
        for view in of(Views::ResizedCrops { count: 6, seed, size_px: 100 }, Filter::Bilinear) {
            prop_assert!(alike(&view, 5) > 100, "{:?}", view.place);
        }
        for (filter, resize) in [
            (Filter::Cv2Bilinear, Resize::ShortSide(150)),
            (Filter::Bilinear, Resize::Exact { height: 70, width: 180 }),
            (Filter::Cv2Bilinear, Resize::None),
        ] {
            let radius = if resize == Resize::None { 0 } else { 3 };
            for view in of(Views::Whole { resize, mirror: true }, filter) {
                prop_assert!(alike(&view, radius) > 500, "{:?}", view.place);
            }
        }
        for view in of(Views::Windows { short_side_px: 200, window_px: 120, stride_px: 80 }, Filter::Cv2Bilinear) {
            prop_assert!(alike(&view, 3) > 500, "{:?}", view.place);
        }
    }
}
