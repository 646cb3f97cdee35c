//! `vitals trace`: any sites of one image, as safetensors, after exactly the pixels that a run would use.

use std::collections::BTreeMap;
use std::path::Path;

use datasets::{Crop, Filter, Preprocess, Resize};
use vit::executor::{DeviceChoice, Precision, open};
use vit::{ModelSpec, Pixels, Request, Site, SiteData};

use super::say;
use crate::cli::{TraceArgs, TracePreprocess};
use crate::failure::{Code, Failure};
use crate::study::model::{not_found, weight_source, weights_failure};
use crate::study::preprocess::in_words;

/// Encodes one image and writes the sites.
pub fn trace(args: &TraceArgs) -> Result<(), Failure> {
    let spec = vit::zoo::find(&args.model).map_err(|e| not_found(&e))?;
    let preprocess = preprocess(args, &spec)?;
    let pixels = pixels(&args.image, &preprocess)?;
    let source = weight_source(&args.weights)?;
    let weights = vit::weights::load(&spec, &source, &crate::progress::download())
        .map_err(|e| weights_failure(&e, &args.weights))?;
    let usage = |e: vit::VitError| Failure::new(Code::Usage, e, "command line", "see `vitals trace --help`");
    let device: DeviceChoice = args.device.parse().map_err(usage)?;
    let precision: Precision = args.precision.parse().map_err(usage)?;
    let encoder = open(&weights.config, &weights.params, &device, precision).map_err(usage)?;
    let full = sites(&args.sites, weights.config.depth)?;
    let want = Request { full: full.iter().copied().collect(), ..Request::default() };
    let trace = encoder.encode(&[&pixels], &want).map_err(usage)?.pop();
    let mut tensors: BTreeMap<String, SiteData> = BTreeMap::new();
    for (site, data) in trace.into_iter().flat_map(|t| t.full) {
        tensors.insert(site.to_string(), data);
    }
    let shape = vec![3, pixels.height, pixels.width];
    tensors.insert("pixels".to_owned(), SiteData { shape, data: pixels.data });
    write(&args.out, &tensors)?;
    say(&format!("{} tensors of {} ({}) in {}\n", tensors.len(), spec.name, in_words(&preprocess), args.out.display()));
    Ok(())
}

fn sites(text: &str, depth: usize) -> Result<Vec<Site>, Failure> {
    if text == "all" {
        return Ok(Site::all(depth));
    }
    text.split(',')
        .map(|name| match name.trim() {
            "last" => Ok(Site::Block(depth as u16 - 1)),
            name => name
                .parse()
                .map_err(|e| Failure::new(Code::Usage, e, "--sites", "write all, or names separated by commas")),
        })
        .collect()
}

fn preprocess(args: &TraceArgs, spec: &ModelSpec) -> Result<Preprocess, Failure> {
    let bad =
        |what: String| Failure::new(Code::Usage, what, "--size", "write a side such as 518, or HxW such as 224x336");
    let size = match &args.size {
        None => None,
        Some(text) => {
            let (h, w) = text.split_once('x').unwrap_or((text, text));
            let side = |s: &str| s.parse::<usize>().map_err(|_| bad(format!("`{text}` is no size")));
            Some((side(h)?, side(w)?))
        }
    };
    let patch_px = spec.config.patch_px;
    let input = &spec.input;
    let filter = if input.bicubic { Filter::Bicubic } else { Filter::Bilinear };
    let (resize, crop) = match args.preprocess {
        TracePreprocess::Eval => {
            let crop = match size {
                None => input.crop_px,
                Some((h, w)) if h == w => h,
                Some(_) => return Err(bad("an evaluation crop is square".to_owned())),
            };
            (Resize::ShortSide(crop * input.resize_px / input.crop_px), Crop::Centre(crop))
        }
        TracePreprocess::Square => {
            let (height, width) = size.unwrap_or((input.crop_px, input.crop_px));
            (Resize::Exact { height, width }, Crop::Grid { patch_px })
        }
        TracePreprocess::None => (Resize::None, Crop::Grid { patch_px }),
    };
    let (mean, std) = if args.unit { ([0.0; 3], [1.0; 3]) } else { (input.mean, input.std) };
    Preprocess { resize, crop, filter, mean, std }.check().map_err(|e| bad(e.to_string()))
}

fn pixels(image: &Path, preprocess: &Preprocess) -> Result<Pixels, Failure> {
    let bytes = std::fs::read(image).map_err(|e| {
        Failure::new(Code::Missing, format!("cannot read the image: {e}"), image.display(), "correct --image")
    })?;
    let planar = preprocess
        .decode_and_apply(&bytes)
        .map_err(|e| Failure::new(Code::Missing, e, image.display(), "give an image that decodes"))?;
    Ok(Pixels { height: planar.height, width: planar.width, data: planar.data })
}

fn write(path: &Path, tensors: &BTreeMap<String, SiteData>) -> Result<(), Failure> {
    use safetensors::tensor::{Dtype, TensorView};
    let failed = |e: &dyn std::fmt::Display| Failure::new(Code::Shards, e, path.display(), "correct --out");
    let bytes: BTreeMap<&str, Vec<u8>> =
        tensors.iter().map(|(k, t)| (k.as_str(), t.data.iter().flat_map(|x| x.to_le_bytes()).collect())).collect();
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(k, t)| TensorView::new(Dtype::F32, t.shape.clone(), &bytes[k.as_str()]).map(|v| (k.as_str(), v)))
        .collect();
    let whole = safetensors::serialize(views.map_err(|e| failed(&e))?, None).map_err(|e| failed(&e))?;
    engine::store::write_atomic(path, &whole).map_err(|e| failed(&e))
}
