//! Images of several views of two sizes, through an encoder of a few lines.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use vit::Request;

use super::*;
use crate::pipeline::tests::{Fault, grey, tunings, within_a_minute};

const IMAGES: usize = 40;

/// The grey of every pixel is the image, the blue the view.
struct Square(Pixels);

impl Input for Square {
    fn pixels(&self) -> &Pixels {
        &self.0
    }
}

/// Image i has i mod 5 views, of 1 or 2 px; image 3, 13, … none can read.
fn views_of(index: usize) -> Result<Vec<Square>, Skip> {
    if index % 10 == 3 {
        return Err(Skip { reason: "unreadable".into(), detail: String::new() });
    }
    let view = |view: usize| {
        let side = 1 + (index + view) % 2;
        let data = [index, 0, view].map(|value| vec![value as f32 / 255.0; side * side]).concat();
        Square(Pixels { height: side, width: side, data })
    };
    Ok((0..index % 5).map(view).collect())
}

/// Image, view and side of what one call encoded.
type Batch = Vec<(usize, usize, usize)>;

fn batch_of(indices: &[usize], pixels: &[&Pixels]) -> Batch {
    let view = |p: &Pixels| (p.data[2 * p.height * p.width] * 255.0).round() as usize;
    indices.iter().zip(pixels).map(|(&index, p)| (index, view(p), p.height)).collect()
}

#[derive(Default)]
struct Outcome {
    /// Image, and the views of its rows or the reason of the skip, in the order of the sink.
    images: Vec<(usize, Result<Vec<usize>, String>)>,
    batches: BTreeSet<Batch>,
    /// Most inputs that were prepared and not written at one time.
    most: usize,
}

fn flow(tuning: Tuning, batch: usize, expected: usize, odd_views_fail: bool) -> Outcome {
    let encoder = grey(Fault::Nowhere);
    let (batches, now, most) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0), AtomicUsize::new(0));
    let indices: Vec<usize> = (0..IMAGES).rev().collect();
    let flow = Flow {
        indices: &indices,
        prepare: &|index| {
            let views = views_of(index);
            let held = views.as_ref().map_or(0, Vec::len);
            most.fetch_max(held + now.fetch_add(held, Ordering::Relaxed), Ordering::Relaxed);
            views
        },
        expected,
        encoder: &encoder,
        pass: &|indices, pixels| {
            assert!(pixels.iter().all(|p| p.height == pixels[0].height), "one call, two sizes");
            batches.lock().unwrap().insert(batch_of(indices, pixels));
            encoder.encode(pixels, &Request::default())
        },
        batch,
        tuning,
        cancel: &AtomicBool::new(false),
    };
    let mut images = Vec::new();
    let map = |seen: Seen<Square, vit::Trace>| {
        assert_eq!(seen.pass.norms[&vit::Site::Final][0], seen.index as f32, "a pass of another image");
        let (_, view, _) = batch_of(&[seen.index], &[&seen.input.0])[0];
        assert_eq!(view, seen.view);
        if odd_views_fail && view % 2 == 1 {
            return Err(Skip { reason: format!("view {view}"), detail: String::new() });
        }
        Ok(view)
    };
    flow.run(map, |index, rows| {
        now.fetch_sub(views_of(index).map_or(0, |views| views.len()), Ordering::Relaxed);
        images.push((index, rows.map_err(|skip| skip.reason)));
        Ok(())
    })
    .unwrap();
    Outcome { images, batches: batches.into_inner().unwrap(), most: most.into_inner() }
}

/// Breaks when rows of an image are torn apart, lost or shuffled, or when an image that cannot be read takes another with it.
#[test]
fn every_image_comes_once_with_all_its_views_in_order() {
    for (tuning, batch) in tunings() {
        for expected in [1, 2, 9] {
            let Outcome { images, .. } = within_a_minute(move || flow(tuning, batch, expected, false));
            assert_eq!(images.iter().map(|i| i.0).collect::<Vec<_>>(), (0..IMAGES).rev().collect::<Vec<_>>());
            for (index, views) in images {
                let wanted = match index {
                    i if i % 10 == 3 => Err("unreadable".to_owned()),
                    i if i % 5 == 0 => Err("no view".to_owned()),
                    i => Ok((0..i % 5).collect()),
                };
                assert_eq!(views, wanted, "{index}");
            }
        }
    }
}

/// Breaks when one bad view costs another image its rows, or the reason depends on which view was done first.
#[test]
fn a_view_that_is_skipped_takes_its_image_along() {
    for (tuning, batch) in tunings() {
        let Outcome { images, .. } = within_a_minute(move || flow(tuning, batch, 3, true));
        for (index, views) in images.into_iter().filter(|(i, _)| i % 10 != 3 && i % 5 != 0) {
            assert_eq!(views, if index % 5 > 1 { Err("view 1".to_owned()) } else { Ok(vec![0]) }, "{index}");
        }
    }
}

/// Breaks when a batch holds what happened to be ready, or when an image's last views are encoded alone.
#[test]
fn batches_are_consecutive_inputs_of_one_size() {
    for batch in [2, 7, 16] {
        // Every input by its number; an image without any has a number too.
        let mut numbered = Vec::new();
        for index in (0..IMAGES).rev() {
            match views_of(index) {
                Ok(views) if !views.is_empty() => numbered.extend(views.iter().map(|v| batch_of(&[index], &[&v.0])[0])),
                _ => numbered.push((index, 0, 0)),
            }
        }
        let mut wanted = BTreeSet::new();
        for together in numbered.chunks(batch) {
            for side in [1, 2] {
                let of_size: Batch = together.iter().copied().filter(|input| input.2 == side).collect();
                wanted.extend((!of_size.is_empty()).then_some(of_size));
            }
        }
        for tuning in [Tuning::device(1, 1, 1), Tuning::device(2, 3, batch), Tuning::device(3, 4, 1)] {
            let Outcome { batches, .. } = within_a_minute(move || flow(tuning, batch, 3, false));
            assert_eq!(batches, wanted, "{batch} {tuning:?}");
        }
    }
}

/// Breaks when memory grows with the number of images: here with 78 inputs, of which a window of 8 lets a few in.
#[test]
fn no_more_is_in_flight_than_the_window_says() {
    for (decoders, batch, expected) in [(1, 1, 4), (3, 1, 4), (3, 1, 1), (2, 4, 4)] {
        let tuning = Tuning { decode_threads: decoders, window: 8, ..Tuning::cpu(2) };
        let Outcome { most, .. } = within_a_minute(move || flow(tuning, batch, expected, false));
        // The oldest image and the one let in last, of four views each, and what was guessed too low.
        let bound = 7 + 2 * 4 + (4 - expected) * decoders;
        assert!((2..=bound).contains(&most), "{most} inputs, {decoders} decoders, batches of {batch}");
    }
}

/// Breaks when a thread that saw the flag first makes a stop look like a bug, or when a stop is not heeded. Which thread sees
/// it first is chance, hence many runs.
#[test]
fn a_stop_is_told_as_a_stop() {
    for round in 0..20 {
        for (tuning, batch) in tunings() {
            let kind = within_a_minute(move || {
                let (encoder, cancel) = (grey(Fault::Nowhere), AtomicBool::new(false));
                let indices: Vec<usize> = (0..IMAGES).collect();
                let flow = Flow {
                    indices: &indices,
                    prepare: &views_of,
                    expected: 2,
                    encoder: &encoder,
                    pass: &|indices, pixels| {
                        cancel.fetch_or(indices[0] >= round, Ordering::Relaxed);
                        encoder.encode(pixels, &Request::default())
                    },
                    batch,
                    tuning,
                    cancel: &cancel,
                };
                flow.run(|_| Ok(()), |_, _| Ok(())).unwrap_err().kind
            });
            assert_eq!(kind, engine::ErrorKind::Interrupted);
        }
    }
}
