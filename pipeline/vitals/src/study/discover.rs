//! Object discovery of a study: from `[discover]` to the stage that finds boxes and the one that scores them.

use std::sync::Arc;

use datasets::{Crop, Preprocess, Resize};
use engine::{Partition, Stage, TableRef, outputs_of};
use extract::{Discover, DiscoverParams, ExtractParams, Tuning};
use measure::{CorLoc, CorLocParams};
use reports::Subject;

use super::build::take;
use super::dataset::OpenDataset;
use super::file::DiscoverTable;
use super::model::OpenModel;
use super::params::site;
use crate::failure::{Code, Failure};

/// Whether objects are discovered in a dataset.
pub fn wanted(table: &DiscoverTable, dataset: &str) -> bool {
    table.datasets.iter().any(|d| d == dataset)
}

/// What a discovery in an extraction's images means.
pub fn params(table: &DiscoverTable, extraction: &ExtractParams) -> Result<DiscoverParams, Failure> {
    let bad = |what: String, fix: &str| Failure::new(Code::Config, what, "[discover]", fix);
    let depth = extraction.model.depth;
    if table.layers == 0 || table.layers > depth {
        return Err(bad(
            format!("`layers` is {} of {depth} blocks", table.layers),
            "write how many of the last blocks",
        ));
    }
    let mut sites = Vec::new();
    for block in depth - table.layers..depth {
        for feature in &table.features {
            if !["key", "query", "value", "block"].contains(&feature.as_str()) {
                return Err(bad(format!("unknown feature `{feature}`"), "write key, query, value or block"));
            }
            sites.push(site(&format!("{feature}_{block}"), depth)?);
        }
    }
    let crop = Crop::PadTo { patch_px: extraction.model.patch_px };
    let params = DiscoverParams {
        model: extraction.model.clone(),
        weights: extraction.weights.clone(),
        precision: extraction.precision,
        dataset: extraction.dataset.clone(),
        annotations: String::new(),
        preprocess: Preprocess { resize: Resize::None, crop, ..extraction.preprocess },
        shard_images: extraction.shard_images,
        sites,
        k_patches: table.k_patches,
        raw_biases: table.raw_biases.clone(),
        l2_biases: table.l2_biases.clone(),
        tokencut_tau: table.tokencut_tau,
        pictures: table.pictures,
        edit: extraction.edit.clone(),
        test_time_registers: extraction.test_time_registers,
    };
    params.check().map_err(|e| Failure::new(Code::Config, e, "[discover]", "correct the key in the study"))?;
    Ok(params)
}

/// Plans both stages.
pub fn add(
    table: &DiscoverTable,
    params: DiscoverParams,
    (open, dataset): (&OpenModel, &OpenDataset),
    neurons: Option<TableRef>,
    (partition, tuning): (Partition, Tuning),
    stages: &mut Vec<Box<dyn Stage>>,
    subject: &mut Subject,
) {
    let scored = CorLocParams {
        sites: params.sites.iter().map(ToString::to_string).collect(),
        raw_biases: params.raw_biases.clone(),
        l2_biases: params.l2_biases.clone(),
        no_hard: table.no_hard,
    };
    let params = DiscoverParams { annotations: dataset.source.annotations(), ..params };
    let (model, source) = (Arc::clone(&open.model), Arc::clone(&dataset.source));
    let stage = Discover { model, source, params, neurons, partition: partition.clone(), tuning };
    let tables = outputs_of(&stage);
    stages.push(Box::new(stage));
    let (inputs, pictured): (Vec<_>, Vec<_>) =
        tables.into_iter().filter(|t| t.table != "skipped").partition(|t| ["boxes", "objects"].contains(&t.table));
    take(subject, &inputs);
    // Beside the maps and pictures of the extraction, which are of other sizes.
    for table in pictured {
        let folder = engine::store::relative_dir(&table);
        subject.tables.entry(format!("lost_{}", table.table)).or_default().push(folder);
    }
    let of_tokencut = table.tokencut_tau.map(|_| CorLocParams {
        sites: scored.sites.iter().map(|site| format!("{site}+tokencut")).collect(),
        raw_biases: Vec::new(),
        l2_biases: vec![0.0],
        no_hard: table.no_hard,
    });
    for params in [Some(scored), of_tokencut].into_iter().flatten() {
        let stage = CorLoc { params, inputs: inputs.clone(), partition: partition.clone() };
        take(subject, &outputs_of(&stage));
        stages.push(Box::new(stage));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::study::check::check;
    use crate::study::file::StudyFile;

    fn refusal(keys: &str) -> String {
        let text = format!(
            "title = \"t\"\n[discover]\n{keys}\n[[model]]\nmodel = \"planted\"\n[[dataset]]\ndataset = \"synthetic\""
        );
        let file = StudyFile::parse(&text, "t").unwrap();
        check(&file).err().map(|e| format!("{e:?}")).unwrap_or_default()
    }

    /// Breaks when a mistake is found only after weights were read, or one is not found at all.
    #[test]
    fn mistakes_are_found_before_any_data() {
        assert_eq!(refusal("datasets = [\"synthetic\"]"), "");
        for (keys, words) in [
            ("datasets = [\"synthetik\"]", "synthetic"),
            ("datasets = [\"synthetic\"]\nfeatures = [\"keys\"]", "unknown feature `keys`"),
            ("datasets = [\"synthetic\"]\nlayers = 9", "9 of 8 blocks"),
            ("datasets = [\"synthetic\"]\nlayers = 0", "0 of 8 blocks"),
            ("datasets = [\"synthetic\"]\nk_patches = 0", "k_patches"),
            ("datasets = [\"synthetic\"]\nl2_biases = []\nraw_biases = []", "l2_biases"),
            ("datasets = [\"synthetic\"]\nl2_biases = [nan]", "finite"),
        ] {
            let refused = refusal(keys);
            assert!(refused.contains(words), "{keys}: {refused}");
        }
    }

    /// Breaks when layers are counted from the front, or a study's own preprocessing reaches LOST.
    #[test]
    fn the_last_blocks_are_read_at_the_images_own_size() {
        let text = "title = \"t\"\n[discover]\nlayers = 2\nfeatures = [\"key\", \"value\"]\n[[model]]\n\
            model = \"planted\"\n[[dataset]]\ndataset = \"synthetic\"\n\
            preprocess = { mode = \"square\", resize_px = 48, normalise = \"unit\" }";
        let file = StudyFile::parse(text, "t").unwrap();
        let declared = check(&file).unwrap();
        let extraction =
            crate::study::params::params(&file.extract, &declared[0].spec, "w", (&file.datasets[0], "d")).unwrap();
        let found = params(&file.discover, &extraction).unwrap();
        let sites: Vec<String> = found.sites.iter().map(ToString::to_string).collect();
        assert_eq!(sites, ["key_6", "value_6", "key_7", "value_7"]);
        let pixels = (found.preprocess.resize, found.preprocess.crop, found.preprocess.std);
        assert_eq!(pixels, (Resize::None, Crop::PadTo { patch_px: 8 }, [1.0; 3]));
        assert_eq!((found.l2_biases.len(), found.l2_biases[1], found.l2_biases[19]), (20, -0.9, 0.0));
    }
}
