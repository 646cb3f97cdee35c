//! From an item of a dataset to the pixels that an encoder takes, or the reason why not.

use datasets::{Preprocess, Source};
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
    pub(crate) fn new(reason: &str, detail: &dyn std::fmt::Display) -> Self {
        Self { reason: reason.to_owned(), detail: detail.to_string() }
    }
}

/// Reads, decodes and preprocesses item `index`.
pub fn prepare(source: &dyn Source, index: usize, preprocess: &Preprocess) -> Result<Prepared, Skip> {
    let raw = source.read(index).map_err(|e| Skip::new(e.reason(), &e))?;
    let loaded = preprocess.load(&raw).map_err(|e| Skip::new(e.reason(), &e))?;
    let planar = loaded.planar;
    Ok(Prepared {
        pixels: Pixels { height: planar.height, width: planar.width, data: planar.data },
        source_px: (loaded.height, loaded.width),
    })
}

/// A decoder panicked on this image: our fault, and no reason to lose the others.
pub fn decoder_bug(words: &str) -> Skip {
    Skip::new("a bug in decoding", &format_args!("{words}; please report this"))
}

/// Encoder errors that belong to one image.
pub fn unencodable(e: &vit::VitError) -> Skip {
    Skip::new("unsuitable size", e)
}

/// An encoder gave a number that is none.
pub fn non_finite(site: vit::Site) -> Skip {
    Skip::new("non-finite output", &format_args!("a token norm at {site} is not a finite number"))
}
