//! From an item of a dataset to the pixels that an encoder takes, or the reason why not.

use datasets::{Preprocess, Raw, Source};
use vit::Pixels;

/// An image on its way.
pub struct Prepared {
    /// What the model sees.
    pub pixels: Pixels,
    /// Size before resizing, px.
    pub source_px: (usize, usize),
}

/// Why an image is left out: a row of `skipped`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// Short and stable.
    pub reason: String,
    /// The whole story.
    pub detail: String,
}

impl Skip {
    fn new(reason: &str, detail: &dyn std::fmt::Display) -> Self {
        Self { reason: reason.to_owned(), detail: detail.to_string() }
    }
}

/// Reads, decodes and preprocesses item `index`.
pub fn prepare(source: &dyn Source, index: usize, preprocess: &Preprocess) -> Result<Prepared, Skip> {
    let raw = source.read(index).map_err(|e| Skip::new(e.reason(), &e))?;
    let rgb = match raw {
        Raw::Rgb(rgb) => rgb,
        Raw::Encoded(bytes) => datasets::decode(&bytes).map_err(|e| Skip::new(e.reason(), &e))?,
    };
    let planar = preprocess.apply(&rgb).map_err(|e| Skip::new(e.reason(), &e))?;
    Ok(Prepared {
        pixels: Pixels { height: planar.height, width: planar.width, data: planar.data },
        source_px: (rgb.height, rgb.width),
    })
}

/// Encoder errors that belong to one image.
pub fn unencodable(e: &vit::VitError) -> Skip {
    Skip::new("unsuitable size", e)
}

/// An encoder gave a number that is none.
pub fn non_finite(site: vit::Site) -> Skip {
    Skip::new("non-finite output", &format_args!("a token norm at {site} is not a finite number"))
}
