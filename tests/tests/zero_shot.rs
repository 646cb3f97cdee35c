//! Zero-shot classification from a checkpoint and photos to scores, against `open_clip` (`tests/golden/zero_shot`).
//!
//! The checkpoint is a tiny CLIP model under `OpenCLIP`'s names, with the whole vocabulary; the classes are folders of
//! `ImageNet`, among them two pairs of one name. What stands in the store is compared, so that the tap, the tables and
//! the two stages are all between the bytes and the numbers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../golden/zero_shot/formula.rs"]
mod formula;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use datasets::{Crop, Entry, Filter, Manifest, Preprocess, Raw, ReadError, Resize, Rgb8, Source};
use engine::run::{RunOptions, run};
use engine::{Plan, Silent, Stage, Store, TableRef, outputs_of};
use extract::embed_classes::{class_names, templates};
use extract::{EmbedClasses, EmbedClassesParams, Extract, ExtractParams, Model, PoolSite, Tuning};
use probe::{ZeroShot, ZeroShotParams};
use schemas::outlier::OutlierPolicy;
use schemas::tables::{ClassVectors, Heads, Pooled, Scores};
use schemas::{Table, read_part};
use serde_json::Value;
use vit::executor::{DeviceChoice, Precision, open};
use vit::zoo::{InputSpec, ModelSpec};
use vit::{Activation, Interpolation, Mlp, PosEmbed, Site, TextHeader, VitConfig, WeightSource};

/// Mean and deviation of CLIP's pixels.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// Folders 0, 1, 2, 657, 744, 836, 837 and 999 of `ImageNet`, as `generate.py` names them.
const FOLDERS: [&str; 8] =
    ["n01440764", "n01443537", "n01484850", "n03773504", "n04008634", "n04355933", "n04356056", "n15075141"];

/// The photos of `generate.py`.
struct Photos(Manifest);

impl Photos {
    fn new(labels: &[u32]) -> Self {
        let entry = |(i, label): (usize, &u32)| Entry { name: format!("photo {i}"), label: Some(*label), bytes: 768 };
        let entries = labels.iter().enumerate().map(entry).collect();
        Self(Manifest { entries, classes: FOLDERS.map(str::to_owned).into() })
    }
}

impl Source for Photos {
    fn manifest(&self) -> &Manifest {
        &self.0
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let values = formula::uniform(&format!("photo {index}"), 16 * 16 * 3);
        let data = values.iter().map(|v| ((v + 1.0) * 128.0) as u8).collect();
        Ok(Raw::Rgb(Rgb8 { width: 16, height: 16, data }))
    }
}

fn image_tower() -> ModelSpec {
    let config = VitConfig {
        depth: 2,
        width: 64,
        heads: 2,
        patch_px: 4,
        mlp: Mlp { hidden: 128, activation: Activation::Gelu },
        ln_eps: 1e-5,
        layer_scale: false,
        ln_pre: true,
        patch_bias: false,
        registers: 0,
        pos: PosEmbed { grid: 4, cls_slot: true, interpolation: Interpolation::Antialias },
    };
    let input = InputSpec { resize_px: 16, crop_px: 16, bicubic: true, mean: MEAN, std: STD };
    ModelSpec::custom("tiny", config, input)
}

fn extraction(source: &WeightSource, photos: Photos) -> Extract {
    let weights = vit::weights::load(&image_tower(), source, &|_, _| {}).unwrap();
    let params = ExtractParams {
        model: weights.config.clone(),
        weights: weights.digest.clone(),
        precision: Precision::F32,
        dataset: photos.0.digest(),
        preprocess: Preprocess::new(Resize::None, Crop::None, Filter::Bicubic).normalised(MEAN, STD),
        outliers: OutlierPolicy::Fixed { cutoff: 1e9 },
        outlier_site: Site::Block(1),
        stats_sites: vec![],
        vector_sites: vec![],
        pooled: vec![PoolSite { site: Site::Final, normed: false }],
        draws: 0,
        every_patch: false,
        seed: 0,
        pictures: 0,
        shard_images: 3,
        wrapped_neighbours: false,
        edit: None,
        test_time_registers: None,
    };
    let digest = weights.digest.clone();
    let model = Model::new("tiny".into(), weights.config.clone(), digest, Precision::F32, move || {
        open(&weights.config, &weights.params, &DeviceChoice::Cpu(None), Precision::F32)
    });
    Extract {
        model: Arc::new(model),
        source: Arc::new(photos),
        params,
        cutoff: None,
        neurons: None,
        partition: vec![("model", "tiny".into())],
        tuning: Tuning::cpu(1),
    }
}

fn text_side(source: &WeightSource) -> EmbedClasses {
    let text = TextHeader::read(source, Activation::Gelu, &|_, _| {}).unwrap().config;
    let source = source.clone();
    EmbedClasses {
        model: "tiny".into(),
        open: Arc::new(move || TextHeader::read(&source, Activation::Gelu, &|_, _| {})?.weights()),
        params: EmbedClassesParams {
            text,
            weights: "digest".into(),
            classes: class_names(&FOLDERS.map(str::to_owned)),
            templates: templates("openai").unwrap(),
        },
        partition: vec![("model", "tiny".into())],
        device: DeviceChoice::Cpu(None),
        threads: 1,
    }
}

fn read<T: Table>(store: &Store, outputs: &[TableRef]) -> T {
    let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
    let mut all = T::default();
    for part in store.parts(table).unwrap() {
        all.append(&mut read_part(&part).unwrap());
    }
    all
}

/// 100 · cosine of each projected image with each class, from the tables alone.
fn logits(pooled: &Pooled, classes: &ClassVectors, heads: &Heads) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let mut all = Vec::new();
    for row in (0..pooled.rows()).filter(|&i| &*pooled.pool[i] == "cls") {
        let cls = pooled.vector.row(row);
        let image: Vec<f64> = heads.values[0].chunks(cls.len()).map(|out| dot(out, cls)).collect();
        let length = image.iter().map(|x| x * x).sum::<f64>().sqrt();
        for class in 0..classes.rows() {
            let cosine: f64 =
                image.iter().zip(classes.vector.row(class)).map(|(x, t)| x / length * f64::from(*t)).sum();
            all.push(100.0 * cosine);
        }
    }
    all
}

/// Breaks when pixels, the tap of CLS, the projection, the tokenizer, names of folders, templates or the order of
/// classes differ from `open_clip`'s.
#[test]
fn photos_have_the_logits_and_ranks_of_open_clip() {
    let golden: Value = serde_json::from_str(include_str!("../golden/zero_shot/expected.json")).unwrap();
    let photos = &golden["photos"];
    let labels: Vec<u32> = photos["labels"].as_array().unwrap().iter().map(|l| l.as_u64().unwrap() as u32).collect();
    let want: Vec<f64> = photos["logits"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|v| v.as_f64().unwrap())
        .collect();

    let folder = tempfile::tempdir().unwrap();
    let weights = formula::write(folder.path(), &formula::names(include_str!("../golden/zero_shot/tiny.txt")));
    let source = WeightSource::Path(weights);
    let (images, text) = (extraction(&source, Photos::new(&labels)), text_side(&source));
    let (image_tables, text_tables) = (outputs_of(&images), outputs_of(&text));
    let params = ZeroShotParams { templates: "openai".into(), permute_classes: None };
    let classified = ZeroShot::new(params, &image_tables, &text_tables, vec![("model", "tiny".into())]).unwrap();
    let scored = outputs_of(&classified);

    let store = Store::open(&folder.path().join("store")).unwrap();
    let stages: Vec<Box<dyn Stage>> = vec![Box::new(images), Box::new(text), Box::new(classified)];
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
    let summary = run(&Plan::new(stages).unwrap(), &store, &options).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);

    let found = logits(&read(&store, &image_tables), &read(&store, &text_tables), &read(&store, &text_tables));
    assert_eq!(found.len(), want.len());
    let worst = found.iter().zip(&want).map(|(f, w)| (f - w).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst}");

    // The k-th photo (modulo 7) is labelled with its k-th class: two of eight are right, six among five.
    let scores: Scores = read(&store, &scored);
    let metrics: Vec<(&str, f64)> =
        scores.metric.iter().map(|m| &**m).zip(scores.value.iter().map(|v| v.unwrap())).collect();
    assert_eq!(metrics, [("accuracy_frac", 0.25), ("top5_accuracy_frac", 0.75)]);
}
