//! From a study's words to the exact pixels: `eval`, `short_side`, `square`, `none`.

use datasets::{Crop, Filter, Preprocess, Resize};
use vit::ModelSpec;

use super::file::PreprocessTable;
use crate::failure::{Code, Failure};

/// Pixels of one dataset for one model.
pub fn preprocess(table: &PreprocessTable, spec: &ModelSpec) -> Result<Preprocess, Failure> {
    let bad = |what: String, fix: &str| Failure::new(Code::Config, what, "preprocess", fix);
    let patch_px = spec.config.patch_px;
    let input = &spec.input;
    let own = if input.bicubic { "bicubic" } else { "bilinear" };
    let filter = match table.filter.as_deref().unwrap_or(own) {
        "bicubic" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => return Err(bad(format!("unknown filter `{other}`"), "write bicubic or bilinear")),
    };
    let (resize, crop) = match table.mode.as_deref().unwrap_or("eval") {
        "eval" => {
            let crop = table.crop_px.unwrap_or(input.crop_px);
            // The family's ratio of resize to crop holds at other sizes.
            let resize = table.resize_px.unwrap_or(crop * input.resize_px / input.crop_px);
            (Resize::ShortSide(resize), Crop::Centre(crop))
        }
        "short_side" => {
            let resize = table.resize_px.unwrap_or(input.resize_px);
            let crop = table.crop_px.map_or(Crop::Grid { patch_px }, Crop::Centre);
            (Resize::ShortSide(resize), crop)
        }
        "square" => {
            let side = table.resize_px.unwrap_or(input.crop_px);
            (Resize::Exact { height: side, width: side }, Crop::Grid { patch_px })
        }
        "none" => (Resize::None, Crop::Grid { patch_px }),
        other => return Err(bad(format!("unknown mode `{other}`"), "write eval, short_side, square or none")),
    };
    let (mean, std) = match table.normalise.as_deref().unwrap_or("model") {
        "model" => (input.mean, input.std),
        "unit" => ([0.0; 3], [1.0; 3]),
        other => return Err(bad(format!("unknown normalise `{other}`"), "write model or unit")),
    };
    if let Crop::Centre(px) = crop
        && px % patch_px != 0
    {
        let what = format!("a crop of {px} px is not made of whole {patch_px} px patches of `{}`", spec.name);
        return Err(bad(what, "choose a multiple of the patch side as crop_px"));
    }
    Preprocess { resize, crop, filter, mean, std }.check().map_err(|e| bad(e.to_string(), "correct the number"))
}

/// Pixels in words that tell two preprocessings apart.
pub fn in_words(p: &Preprocess) -> String {
    let filter = match p.filter {
        Filter::Bicubic => "bicubic",
        Filter::Bilinear => "bilinear",
        Filter::Cv2Bilinear => "bilinear (OpenCV)",
    };
    let resize = match p.resize {
        Resize::ShortSide(px) => format!("short side {px} px {filter}"),
        Resize::Exact { height, width } => format!("{height}×{width} px {filter}"),
        Resize::None => "own size".to_owned(),
    };
    let crop = match p.crop {
        Crop::Centre(px) => format!(", centre {px} px"),
        Crop::Grid { .. } => ", cropped to whole patches".to_owned(),
        Crop::PadTo { .. } => ", padded to whole patches".to_owned(),
        Crop::None => String::new(),
    };
    let exact = matches!(p.resize, Resize::Exact { height, width } if height == width);
    let crop = if exact { "" } else { &crop };
    let unit = p.mean == [0.0; 3] && p.std == [1.0; 3];
    format!("{resize}{crop}, {}", if unit { "pixels in [0, 1]" } else { "mean and std of the family" })
}
