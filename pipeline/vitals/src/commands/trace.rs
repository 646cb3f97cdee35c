//! `vitals trace`: any sites of one image, as safetensors, after exactly the pixels that a run would use.

use std::collections::BTreeMap;
use std::path::Path;

use datasets::{Preprocess, Resize};
use vit::executor::{DeviceChoice, open};
use vit::{ModelSpec, Pixels, Request, Site, SiteData};

use super::say;
use crate::cli::{TraceArgs, TracePreprocess};
use crate::failure::{Code, Failure};
use crate::study::build::{NO_DEVICE, device_failure};
use crate::study::file::PreprocessTable;
use crate::study::model::of_file;
use crate::study::params::{precision_called, site};
use crate::study::preprocess::{in_words, preprocess};
use crate::study::weights::{unfit, weight_source};

/// Encodes one image and writes the sites.
pub fn trace(args: &TraceArgs) -> Result<(), Failure> {
    let spec = of_file(&args.model)?;
    let full = sites(&args.sites, spec.config.depth)?;
    let precision = precision_called(&args.precision, Code::Usage, "--precision")?;
    let device: DeviceChoice = args.device.parse().map_err(|e| device_failure(&e, "write auto, cpu or cuda:N"))?;
    device.resolve().map_err(|e| device_failure(&e, NO_DEVICE))?;
    let preprocess = pixels_of(args, &spec)?;
    let pixels = pixels(&args.image, &preprocess)?;
    let source = weight_source(&args.weights)?;
    let weights = vit::weights::load(&spec, &source, &crate::progress::download())
        .map_err(|e| unfit(&e, &args.weights, |other| format!("--model {other}")))?;
    let usage = |e: vit::VitError| Failure::new(Code::Usage, e, "command line", "see `vitals trace --help`");
    let encoder = open(&weights.config, &weights.params, &device, precision).map_err(usage)?;
    let want = Request { full: full.iter().copied().collect(), ..Request::default() };
    let trace = encoder.encode(&[&pixels], &want).map_err(usage)?.pop();
    let mut tensors: BTreeMap<String, SiteData> = BTreeMap::new();
    for (site, data) in trace.into_iter().flat_map(|t| t.full) {
        tensors.insert(site.to_string(), data);
    }
    let shape = vec![3, pixels.height, pixels.width];
    tensors.insert("pixels".to_owned(), SiteData { shape, data: pixels.data });
    write(&args.out, &tensors)?;
    say(&format!("{} tensors of {} ({}) in {}\n", tensors.len(), spec.name, in_words(&preprocess), args.out.display()))
}

fn sites(text: &str, depth: usize) -> Result<Vec<Site>, Failure> {
    if text == "all" {
        return Ok(Site::all(depth));
    }
    let fix = format!("write `all`, or names separated by commas, such as block_{},final", depth - 1);
    text.split(',').map(|name| site(name.trim(), depth).map_err(|e| e.of_usage("--sites", &fix))).collect()
}

/// The pixels of a study, with --size in place of its keys.
fn pixels_of(args: &TraceArgs, spec: &ModelSpec) -> Result<Preprocess, Failure> {
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
    let mut table = PreprocessTable { normalise: args.unit.then(|| "unit".to_owned()), ..PreprocessTable::default() };
    let side = size.map(|(h, _)| h);
    match args.preprocess {
        TracePreprocess::Eval if size.is_some_and(|(h, w)| h != w) => {
            return Err(bad("an evaluation crop is square".to_owned()));
        }
        TracePreprocess::Eval => table.crop_px = side,
        TracePreprocess::Square => (table.mode, table.resize_px) = (Some("square".to_owned()), side),
        TracePreprocess::None => table.mode = Some("none".to_owned()),
    }
    let pixels = preprocess(&table, spec).map_err(|e| {
        let patch_px = spec.config.patch_px;
        e.of_usage("--size", format_args!("write a multiple of {patch_px}, such as {}", 16 * patch_px))
    })?;
    match (pixels.resize, size) {
        (Resize::Exact { .. }, Some((height, width))) => {
            Preprocess { resize: Resize::Exact { height, width }, ..pixels }.check().map_err(|e| bad(e.to_string()))
        }
        _ => Ok(pixels),
    }
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
