//! The stream with a source and an encoder of a few lines, so that each can be made to fail.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;

use datasets::{Crop, Entry, Filter, Manifest, Raw, ReadError, Resize, Rgb8};
use vit::{Activation, FinalNorm, Interpolation, Layout, Mlp, Params, PosEmbed, Request, Site, VitConfig};

use super::*;

const IMAGES: usize = 40;

/// Where something goes wrong.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fault {
    Nowhere,
    Read(usize),
    Encode(usize),
    Lost,
    Map(usize),
    Sink(usize),
}

/// Image i is grey with the value i.
struct Greys {
    manifest: Manifest,
    fault: Fault,
}

impl Source for Greys {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        assert!(self.fault != Fault::Read(index), "reading {index} went wrong");
        if index % 10 == 3 {
            return Err(ReadError::OutOfRange { index, len: IMAGES });
        }
        let (width, height) = (2, 2);
        Ok(Raw::Rgb(Rgb8 { width, height, data: vec![index as u8; 12] }))
    }
}

/// The norm of every token is the grey of the image.
pub(super) struct Grey {
    config: VitConfig,
    norm: FinalNorm,
    fault: Fault,
}

impl Encoder for Grey {
    fn config(&self) -> &VitConfig {
        &self.config
    }
    fn layout(&self, _: usize, _: usize) -> Result<Layout, VitError> {
        Ok(Layout { registers: 0, grid_h: 1, grid_w: 1 })
    }
    fn encode(&self, images: &[&Pixels], _: &Request) -> Result<Vec<Trace>, VitError> {
        let layout = self.layout(2, 2)?;
        let mut traces = Vec::new();
        for image in images {
            let grey = (image.data[0] * 255.0).round();
            assert!(self.fault != Fault::Encode(grey as usize), "encoding {grey} went wrong");
            let norms = BTreeMap::from([(Site::Final, vec![grey; 2])]);
            traces.push(Trace { layout, norms, full: BTreeMap::new() });
        }
        if self.fault == Fault::Lost {
            traces.pop();
        }
        Ok(traces)
    }
    fn final_norm(&self) -> &FinalNorm {
        &self.norm
    }
}

pub(super) fn grey(fault: Fault) -> Grey {
    let config = VitConfig {
        depth: 1,
        width: 2,
        heads: 1,
        patch_px: 2,
        mlp: Mlp { hidden: 2, activation: Activation::Gelu },
        ln_eps: 0.0,
        layer_scale: false,
        ln_pre: false,
        patch_bias: true,
        registers: 0,
        pos: PosEmbed { grid: 1, cls_slot: true, interpolation: Interpolation::Antialias },
    };
    let mut weights = Params::default();
    weights.insert("norm.weight", [2], vec![1.0; 2]);
    weights.insert("norm.bias", [2], vec![0.0; 2]);
    Grey { norm: FinalNorm::new(&config, &weights).unwrap(), config, fault }
}

/// What reached the sink in order: index, and the norm or the reason of a skip.
type Seen = Vec<(usize, Result<f32, Skip>)>;

fn stream(tuning: Tuning, batch: usize, fault: Fault) -> (Seen, Result<(), StageError>) {
    let entries = (0..IMAGES).map(|i| Entry { name: i.to_string(), label: None, bytes: 12 }).collect();
    let source = Greys { manifest: Manifest { entries, classes: Vec::new() }, fault };
    let encoder = grey(fault);
    let preprocess = Preprocess::new(Resize::None, Crop::None, Filter::Bicubic).normalised([0.0; 3], [1.0; 3]);
    // Backwards, so that position and index differ.
    let indices: Vec<usize> = (0..IMAGES).rev().collect();
    let stream = Stream {
        source: &source,
        indices: &indices,
        preprocess: &preprocess,
        encoder: &encoder,
        pass: &|_, pixels| encoder.encode(pixels, &Request::default()),
        batch,
        tuning,
        cancel: &AtomicBool::new(false),
    };
    let mut seen = Vec::new();
    let map = |encoded: Encoded<'_>| {
        assert!(fault != Fault::Map(encoded.index), "mapping {} went wrong", encoded.index);
        Ok(encoded.pass.norms[&Site::Final][0])
    };
    let result = stream.run(map, |index, result| {
        assert!(fault != Fault::Sink(index), "writing {index} went wrong");
        seen.push((index, result));
        Ok(())
    });
    (seen, result)
}

/// The result of a call, or a failure if it waits for ever.
pub(super) fn within_a_minute<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = channel();
    std::thread::spawn(move || done.send(call()));
    is_done.recv_timeout(Duration::from_mins(1)).expect("nothing came: a thread waits for one that is gone")
}

/// Few and many threads, rows made by the encoders and by threads of their own; with batches of these sizes.
pub(super) fn tunings() -> Vec<(Tuning, usize)> {
    vec![
        (Tuning::cpu(1), 1),
        (Tuning::cpu(4), 1),
        (Tuning::device(1, 1, 1), 1),
        (Tuning::device(1, 4, 4), 4),
        (Tuning::device(2, 3, 7), 7),
    ]
}

#[test]
fn every_image_comes_once_in_order_whatever_the_tuning() {
    for (tuning, batch) in tunings() {
        let (seen, result) = within_a_minute(move || stream(tuning, batch, Fault::Nowhere));
        result.unwrap();
        assert_eq!(seen.iter().map(|s| s.0).collect::<Vec<_>>(), (0..IMAGES).rev().collect::<Vec<_>>());
        for (index, result) in seen {
            match result {
                Ok(norm) => assert_eq!(norm, index as f32),
                Err(skip) => assert!(index % 10 == 3 && skip.reason == "no such item", "{index} {skip:?}"),
            }
        }
    }
}

#[test]
fn a_panic_of_the_decoder_costs_one_image_and_says_so() {
    for (tuning, batch) in tunings() {
        let (seen, result) = within_a_minute(move || stream(tuning, batch, Fault::Read(21)));
        result.unwrap();
        assert_eq!(seen.len(), IMAGES);
        let skip = seen[IMAGES - 1 - 21].1.as_ref().unwrap_err();
        assert_eq!(skip.reason, "a bug in decoding");
        assert!(skip.detail.starts_with("reading 21 went wrong"), "{}", skip.detail);
        assert_eq!(seen.iter().filter(|s| s.1.is_err()).count(), 1 + IMAGES / 10);
    }
}

#[test]
fn a_panic_of_an_encoder_or_a_mapper_ends_the_run_with_its_words() {
    for (tuning, batch) in tunings() {
        for (fault, words) in [
            (Fault::Encode(21), "encoding 21 went wrong"),
            (Fault::Map(21), "mapping 21 went wrong"),
            (Fault::Lost, "another number of passes"),
        ] {
            let (seen, result) = within_a_minute(move || stream(tuning, batch, fault));
            let e = result.unwrap_err();
            assert!(e.kind == ErrorKind::Bug && e.what.contains(words), "{e}");
            assert!(seen.iter().all(|(index, _)| *index > 21 || fault == Fault::Lost));
        }
    }
}

#[test]
fn a_panic_of_the_writer_ends_the_workers() {
    for (tuning, batch) in tunings() {
        let panicked =
            within_a_minute(move || catch_unwind(AssertUnwindSafe(|| stream(tuning, batch, Fault::Sink(21)))).is_err());
        assert!(panicked);
    }
}
