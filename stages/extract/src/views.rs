//! Views of an image on their way through an encoder, and how many of which size a dataset's images have.
//!
//! What a view is, is said by [`datasets::views`]; here each becomes an input of the stream, with the rows of its truth made
//! where it was decoded, so that masks travel as bytes.

pub(crate) mod walk;

use datasets::{Crop, Filter, LoadError, Place, Preprocess, Raw, Resize, Source, ViewSpec, Views, ViewsOf};
use schemas::tables::TruthMaps;
use vit::{Pixels, VitConfig};

use crate::densify::truth::{TruthKind, maps};
use crate::params::ParamsError;
use crate::pipeline::flow::Input;
use crate::prepare::Skip;

/// More patches than this in one view are skipped: their features and masks would not be small.
pub const MAX_PATCHES: usize = 8192;

/// One view on its way.
pub(crate) struct ViewInput {
    pub pixels: Pixels,
    pub place: Place,
    /// Rows and columns of the image before scaling.
    pub source_px: (usize, usize),
    /// Its truth, and with the first view that of the whole image.
    pub truth: TruthMaps,
    /// With the first view of an image that is to be shown: the scaled image, or this view of a random crop.
    pub picture: Option<Pixels>,
}

impl Input for ViewInput {
    fn pixels(&self) -> &Pixels {
        &self.pixels
    }
}

/// Reads item `index` and its truth, and makes its views; `pictured`: also what a report shows of it.
pub(crate) fn prepare_views(
    source: &dyn Source,
    index: usize,
    spec: &ViewSpec,
    kinds: &[TruthKind],
    pictured: bool,
) -> Result<Vec<ViewInput>, Skip> {
    let raw = source.read(index).map_err(|e| Skip::new(e.reason(), &e))?;
    let truth =
        if kinds.is_empty() { None } else { source.dense_truth(index).map_err(|e| Skip::new(e.reason(), &e))? };
    let unusable = |e: LoadError| Skip::new(e.reason(), &e);
    let ViewsOf { height, width, views, truth } = spec.views(&raw, truth.as_ref(), index).map_err(unusable)?;
    let picture = if pictured { scaled(&raw, spec).map_err(unusable)? } else { None };
    let mut inputs = Vec::with_capacity(views.len());
    for (view, of) in views.into_iter().enumerate() {
        let planar = of.pixels;
        let patches = (planar.height / spec.patch_px) * (planar.width / spec.patch_px);
        if patches > MAX_PATCHES {
            let detail = format!("view {view} has {patches} patches, above {MAX_PATCHES}; scale images down");
            return Err(Skip { reason: "too many patches".to_owned(), detail });
        }
        let pixels = Pixels { height: planar.height, width: planar.width, data: planar.data };
        let mut rows = TruthMaps::default();
        if let Some(truth) = of.truth {
            maps(&mut rows, index, Some(view), truth, kinds)?;
        }
        inputs.push(ViewInput { pixels, place: of.place, source_px: (height, width), truth: rows, picture: None });
    }
    if let Some(first) = inputs.first_mut() {
        if let Some(truth) = truth {
            maps(&mut first.truth, index, None, truth, kinds)?;
        }
        first.picture = picture.or_else(|| pictured.then(|| first.pixels.clone()));
    }
    Ok(inputs)
}

/// The whole image as it was scaled before its views were cut; none of random crops, which scale it at random.
fn scaled(raw: &Raw, spec: &ViewSpec) -> Result<Option<Pixels>, LoadError> {
    let Some(resize) = resize_of(&spec.views) else { return Ok(None) };
    let preprocess = Preprocess::new(resize, Crop::None, spec.filter).normalised(spec.mean, spec.std);
    let planar = preprocess.load(raw)?.planar;
    Ok(Some(Pixels { height: planar.height, width: planar.width, data: planar.data }))
}

fn resize_of(views: &Views) -> Option<Resize> {
    match views {
        Views::Whole { resize, .. } => Some(*resize),
        Views::Windows { short_side_px, .. } => Some(Resize::ShortSide(*short_side_px)),
        Views::Crops(_) | Views::DepthCrops(_) | Views::ResizedCrops { .. } => None,
    }
}

/// Refuses views that cannot be cut, or whose truth is asked for and not there, or the reverse.
pub(crate) fn check_views(
    key: &'static str,
    spec: &ViewSpec,
    kinds: &[TruthKind],
    model: &VitConfig,
) -> Result<(), ParamsError> {
    let refused = |problem: String| Err(ParamsError::Views { key, problem });
    if let Err(e) = spec.clone().check() {
        return refused(e.to_string());
    }
    if spec.patch_px != model.patch_px {
        return refused(format!("patches of {} px for a model of {}", spec.patch_px, model.patch_px));
    }
    if (spec.truth == datasets::TruthOf::None) != kinds.is_empty() {
        return refused("say which truth is kept (segments, depth), and of what (view, image), or neither".to_owned());
    }
    kinds.iter().try_for_each(|kind| kind.check(key))
}

/// How many views most images have.
pub(crate) fn expected(spec: &ViewSpec) -> usize {
    spec.count(TYPICAL_PX.0, TYPICAL_PX.1)
}

/// What the views of one image are, by number and size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ViewSizes {
    /// Views of an image, on average.
    pub count: f64,
    /// Rows and columns of the model's input.
    pub input_px: (usize, usize),
    /// Rows and columns of an image before scaling.
    pub source_px: (usize, usize),
}

/// The sizes of the views of `source`, from a few of its images where they depend on that: right on average, if these are
/// like the others.
pub(crate) fn sizes_of(source: &dyn Source, spec: &ViewSpec) -> ViewSizes {
    let images = source.manifest().entries.len();
    let whole = Preprocess::new(Resize::None, Crop::None, Filter::Bilinear);
    let looked_at = (0..SAMPLE.min(images)).map(|i| i * images / SAMPLE.min(images));
    let sizes: Vec<(usize, usize)> = looked_at
        .filter_map(|index| {
            let raw = source.read(index).ok()?;
            schemas::fenced(|| whole.load(&raw)).ok()?.ok().map(|loaded| (loaded.height, loaded.width))
        })
        .collect();
    let sizes = if sizes.is_empty() { vec![TYPICAL_PX] } else { sizes };
    let mean =
        |of: &dyn Fn((usize, usize)) -> usize| sizes.iter().map(|&s| of(s)).sum::<usize>() as f64 / sizes.len() as f64;
    let round = |length: f64| (length.round() as usize).max(1);
    let input = |size| input_px(spec, size);
    ViewSizes {
        count: mean(&|(h, w)| spec.count(h, w)),
        input_px: (round(mean(&|s| input(s).0)), round(mean(&|s| input(s).1))),
        source_px: (round(mean(&|s| s.0)), round(mean(&|s| s.1))),
    }
}

/// Rows and columns of the inputs of an image.
fn input_px(spec: &ViewSpec, (height, width): (usize, usize)) -> (usize, usize) {
    let scaled = |resize| Preprocess::new(resize, Crop::None, spec.filter).output_size(height, width);
    let (rows, columns) = match &spec.views {
        Views::Whole { resize, .. } => scaled(*resize),
        Views::Windows { short_side_px, window_px, .. } => {
            let (rows, columns) = scaled(Resize::ShortSide(*short_side_px));
            (rows.min(*window_px), columns.min(*window_px))
        }
        Views::Crops(crops) => (crops.crop_px, crops.crop_px),
        Views::DepthCrops(crops) => (crops.height_px, crops.width_px),
        Views::ResizedCrops { size_px, .. } => (*size_px, *size_px),
    };
    let patch_px = spec.patch_px.max(1);
    (rows.next_multiple_of(patch_px), columns.next_multiple_of(patch_px))
}

/// Images whose size is looked at for an estimate.
const SAMPLE: usize = 5;
/// Rows and columns of an image where none can be read.
const TYPICAL_PX: (usize, usize) = (480, 640);

#[cfg(test)]
mod tests;
