//! Donors of generated scenes, of which some make no numbers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use vit::executor::{DeviceChoice, Precision, open};
use vit::planted::{Dials, planted};
use vit::{FinalNorm, Layout, VitConfig};

use super::*;
use crate::edit::{After, Select};
use crate::stage::tests::{params, scenes};

const BLOCK: u16 = 4;

/// The planted model, whose tokens of the first `broken` images hold a value that is no number.
struct Overflowing {
    encoder: Box<dyn Encoder>,
    broken: usize,
    encoded: AtomicUsize,
}

impl Encoder for Overflowing {
    fn config(&self) -> &VitConfig {
        self.encoder.config()
    }
    fn layout(&self, height: usize, width: usize) -> Result<Layout, VitError> {
        self.encoder.layout(height, width)
    }
    fn encode(&self, images: &[&Pixels], want: &Request) -> Result<Vec<Trace>, VitError> {
        let mut traces = self.encoder.encode(images, want)?;
        if self.encoded.fetch_add(1, Ordering::Relaxed) < self.broken {
            for site in traces.iter_mut().flat_map(|t| t.full.values_mut()) {
                if let Some(last) = site.data.last_mut() {
                    *last = f32::INFINITY;
                }
            }
        }
        Ok(traces)
    }
    fn final_norm(&self) -> &FinalNorm {
        self.encoder.final_norm()
    }
}

fn donated(broken: usize) -> Result<Donor, StageError> {
    let (config, weights) = planted(&Dials::default(), 0, None).unwrap();
    let encoder = open(&config, &weights, &DeviceChoice::Cpu(None), Precision::F32).unwrap();
    let edit = Edit {
        blocks: vec![BLOCK],
        select: Select::Norm,
        n: 1,
        replace: Replace::Donor,
        neighbours: 8,
        then: After::Execute,
        cls_competes: false,
    };
    let encoder = Overflowing { encoder, broken, encoded: AtomicUsize::new(0) };
    let (scenes, preprocess) = (scenes(3, 3), params().preprocess);
    donor(&edit, 3, &|index| prepare(&scenes, index, &preprocess).map(|image| image.pixels), &encoder)
}

/// Breaks when an image whose tokens are no numbers lends them to all others: the second image lends its own then.
#[test]
fn an_image_that_overflows_lends_nothing() {
    let (first, second) = (donated(0).unwrap(), donated(1).unwrap());
    assert!(second.patches[&BLOCK].iter().all(|x| x.is_finite()));
    assert_eq!((second.grid, second.patches[&BLOCK].len()), (first.grid, first.patches[&BLOCK].len()));
    assert_ne!(first.patches, second.patches);
    let e = donated(3).unwrap_err();
    assert!(e.kind == ErrorKind::Missing && e.what.contains("lend"), "{e}");
}
