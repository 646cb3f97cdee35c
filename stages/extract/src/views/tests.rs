//! How many views of which size an estimate expects.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use datasets::{Crops, Entry, Filter, Manifest, ReadError, Rgb8};

use super::*;

/// Grey images of these rows and columns; of those of no size nothing can be read.
struct Sized(Manifest, Vec<(usize, usize)>);

impl Sized {
    fn new(sizes: &[(usize, usize)]) -> Self {
        let entry = |i: usize| Entry { name: i.to_string(), label: None, bytes: 1 };
        Self(Manifest { entries: (0..sizes.len()).map(entry).collect(), classes: vec![] }, sizes.to_vec())
    }
}

impl Source for Sized {
    fn manifest(&self) -> &Manifest {
        &self.0
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let (height, width) = self.1[index];
        Ok(Raw::Rgb(Rgb8 { width, height, data: vec![7; 3 * height * width] }))
    }
}

fn spec(views: Views) -> ViewSpec {
    ViewSpec {
        views,
        filter: Filter::Bilinear,
        mean: [0.0; 3],
        std: [1.0; 3],
        patch_px: 14,
        truth: datasets::TruthOf::None,
    }
}

fn sizes(images: &[(usize, usize)], views: Views) -> (f64, (usize, usize)) {
    let of = sizes_of(&Sized::new(images), &spec(views));
    (of.count, of.input_px)
}

/// Breaks when an estimate forgets the padding to whole patches, the mirror image or that windows depend on the aspect.
#[test]
fn views_are_counted_and_sized_as_they_will_be_cut() {
    let whole = |resize, mirror| Views::Whole { resize, mirror };
    assert_eq!(sizes(&[(30, 40)], whole(Resize::Exact { height: 350, width: 476 }, true)), (2.0, (350, 476)));
    assert_eq!(sizes(&[(30, 40)], whole(Resize::ShortSide(60), false)), (1.0, (70, 84)));
    assert_eq!(sizes(&[(30, 40), (50, 80)], whole(Resize::None, false)), (1.0, (49, 63)));
    assert_eq!(sizes(&[], Views::Crops(Crops::dinov2(3, 0, vec![]))), (3.0, (518, 518)));
    // One window of a square, two of 4:3: (683 − 512)/341 is less than one step.
    let windows = || Views::Windows { short_side_px: 512, window_px: 512, stride_px: 341 };
    assert_eq!(sizes(&[(50, 50), (60, 80)], windows()), (1.5, (518, 518)));
    assert_eq!(expected(&spec(windows())), 2);
}

/// Breaks when images that cannot be read keep a plan from being made.
#[test]
fn images_that_cannot_be_read_are_taken_for_typical_ones() {
    let of = sizes_of(&Sized::new(&[(0, 0), (0, 5)]), &spec(Views::Whole { resize: Resize::None, mirror: false }));
    assert_eq!((of.source_px, of.input_px, of.count), ((480, 640), (490, 644), 1.0));
}

/// Breaks when a huge view is encoded instead of being named among the skipped.
#[test]
fn a_view_of_too_many_patches_is_skipped() {
    let source = Sized::new(&[(28, 28), (14, 14)]);
    let of = |side: usize| spec(Views::Whole { resize: Resize::Exact { height: side, width: side }, mirror: false });
    assert_eq!(prepare_views(&source, 0, &of(14 * 90), &[], false).ok().unwrap().len(), 1);
    let skip = prepare_views(&source, 1, &of(14 * 91), &[], false).err().unwrap();
    assert!(skip.reason == "too many patches" && skip.detail.contains("8281"), "{skip:?}");
}
