//! Portraits of a study's first images: from `[portray]` to the stage that draws their maps.

use std::sync::Arc;

use datasets::{Crop, Preprocess, Resize};
use engine::{Partition, TableRef};
use extract::{ExtractParams, Portray, PortrayParams, Tuning};
use vit::Site;

use super::dataset::OpenDataset;
use super::file::PortrayTable;
use super::model::OpenModel;
use super::params::site;
use crate::failure::{Code, Failure};

/// Whether a dataset is portrayed.
pub fn wanted(table: &PortrayTable, dataset: &str) -> bool {
    table.images > 0 && (table.datasets.is_empty() || table.datasets.iter().any(|d| d == dataset))
}

/// What a portrait of an extraction's images means.
pub fn params(table: &PortrayTable, extraction: &ExtractParams) -> Result<PortrayParams, Failure> {
    let depth = extraction.model.depth;
    let blocks = if table.blocks.is_empty() { vec![depth as u16 - 1] } else { table.blocks.clone() };
    let mut norm_sites = vec![extraction.outlier_site, Site::Final];
    norm_sites.dedup();
    let params = PortrayParams {
        model: extraction.model.clone(),
        weights: extraction.weights.clone(),
        precision: extraction.precision,
        dataset: extraction.dataset.clone(),
        preprocess: table
            .size_px
            .map_or(Ok(extraction.preprocess), |px| enlarged(&extraction.preprocess, px, extraction.model.patch_px))?,
        images: table.images,
        outlier_site: extraction.outlier_site,
        norm_sites,
        blocks,
        component_sites: table.sites.iter().map(|name| site(name, depth)).collect::<Result<_, _>>()?,
        edit: extraction.edit.clone(),
        test_time_registers: extraction.test_time_registers,
    };
    params.check().map_err(|e| Failure::new(Code::Config, e, "[portray]", "correct the key in the study"))?;
    Ok(params)
}

/// The same part of each image with another side, px.
fn enlarged(preprocess: &Preprocess, px: usize, patch_px: usize) -> Result<Preprocess, Failure> {
    let bad = |what: String, fix: &str| Failure::new(Code::Config, what, "[portray] size_px", fix);
    if px == 0 || !px.is_multiple_of(patch_px) {
        let below = (px / patch_px).max(1) * patch_px;
        let fix = format!("write {below} or {}", below + patch_px);
        return Err(bad(format!("{px} px are not whole patches of {patch_px} px"), &fix));
    }
    let (resize, crop) = match (preprocess.resize, preprocess.crop) {
        (Resize::ShortSide(side), Crop::Centre(crop)) => (Resize::ShortSide(side * px / crop), Crop::Centre(px)),
        (Resize::ShortSide(_), crop) => (Resize::ShortSide(px), crop),
        (Resize::Exact { .. }, crop) => (Resize::Exact { height: px, width: px }, crop),
        (Resize::None, _) => {
            return Err(bad(
                "images keep their own size here".to_owned(),
                "leave size_px out, or resize in the dataset's `preprocess`",
            ));
        }
    };
    Preprocess { resize, crop, ..*preprocess }.check().map_err(|e| bad(e.to_string(), "correct the number"))
}

/// The stage that draws them.
pub fn stage(
    params: PortrayParams,
    open: &OpenModel,
    dataset: &OpenDataset,
    neurons: Option<TableRef>,
    partition: Partition,
    tuning: Tuning,
) -> Portray {
    Portray { model: Arc::clone(&open.model), source: Arc::clone(&dataset.source), params, neurons, partition, tuning }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use datasets::Filter;

    use super::*;

    /// Breaks when a larger portrait shows another part of the image than the extraction saw.
    #[test]
    fn a_larger_portrait_shows_the_same_part() {
        let eval = Preprocess::new(Resize::ShortSide(256), Crop::Centre(224), Filter::Bicubic);
        let large = enlarged(&eval, 952, 14).unwrap();
        assert_eq!((large.resize, large.crop), (Resize::ShortSide(1088), Crop::Centre(952)));
        let square = Resize::Exact { height: 196, width: 196 };
        let square = Preprocess::new(square, Crop::Grid { patch_px: 14 }, Filter::Bicubic);
        assert_eq!(enlarged(&square, 952, 14).unwrap().resize, Resize::Exact { height: 952, width: 952 });
        let fix = format!("{:?}", enlarged(&eval, 950, 14).unwrap_err());
        assert!(fix.contains("938 or 952"), "{fix}");
        let own = Preprocess::new(Resize::None, Crop::Grid { patch_px: 14 }, Filter::Bicubic);
        assert!(enlarged(&own, 952, 14).is_err());
    }
}
