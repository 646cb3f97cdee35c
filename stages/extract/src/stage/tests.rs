//! Whole extractions of generated scenes through the planted model.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use datasets::{Crop, DatasetSpec, Filter, Manifest, Preprocess, Raw, ReadError, Resize};
use engine::run::{RunOptions, run};
use engine::stage::fingerprint;
use engine::{ErrorKind, Plan, Silent, Store};
use schemas::Table;
use schemas::outlier::OutlierPolicy;
use vit::executor::{DeviceChoice, Precision, open};
use vit::planted::{Dials, INPUT, planted};

use super::*;
use crate::edit::{After, Edit, Replace, Select};
use crate::{Calibrate, PoolSite};

/// Scenes of which those from `broken_from` on are no images.
pub(crate) struct Scenes {
    scenes: Box<dyn Source>,
    broken_from: usize,
}

impl Source for Scenes {
    fn manifest(&self) -> &Manifest {
        self.scenes.manifest()
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        if index < self.broken_from { self.scenes.read(index) } else { Ok(Raw::Encoded(b"no image".to_vec())) }
    }
}

pub(crate) fn scenes(images: usize, broken_from: usize) -> Scenes {
    let mut spec = DatasetSpec::new("synthetic", "");
    spec.limit = Some(images);
    Scenes { scenes: datasets::open(&spec).unwrap(), broken_from }
}

pub(crate) fn params() -> ExtractParams {
    let (model, _) = planted(&Dials::default(), 1, None).unwrap();
    ExtractParams {
        weights: "w".into(),
        precision: Precision::F32,
        dataset: "d".into(),
        preprocess: Preprocess::new(Resize::None, Crop::None, Filter::Bicubic).normalised(INPUT.mean, INPUT.std),
        outliers: OutlierPolicy::TopFraction { frac: 0.05, over: schemas::outlier::Scope::Image },
        outlier_site: Site::Block(model.depth as u16 - 1),
        stats_sites: vec![Site::PatchEmbed, Site::Block(0)],
        vector_sites: vec![Site::Final],
        pooled: vec![PoolSite { site: Site::Final, normed: false }],
        draws: 2,
        seed: 0,
        pictures: 1,
        shard_images: 3,
        wrapped_neighbours: false,
        every_patch: false,
        edit: None,
        test_time_registers: None,
        model,
    }
}

fn extract(images: usize, broken_from: usize, tuning: Tuning) -> Extract {
    extract_with(1, Precision::F32, images, broken_from, tuning)
}

fn extract_with(registers: usize, precision: Precision, images: usize, broken_from: usize, tuning: Tuning) -> Extract {
    let (config, weights) = planted(&Dials::default(), registers, None).unwrap();
    let for_open = config.clone();
    let params = ExtractParams { model: config.clone(), ..params() };
    let model = Model::new("planted".into(), config, "w".into(), precision, move || {
        open(&for_open, &weights, &DeviceChoice::Cpu(None), precision)
    });
    Extract {
        model: Arc::new(model),
        source: Arc::new(scenes(images, broken_from)),
        params,
        cutoff: None,
        neurons: None,
        partition: vec![("model", "planted".into())],
        tuning,
    }
}

fn run_all(extract: Extract, store: &Path) -> (Store, Vec<TableRef>, Result<u64, StageError>) {
    let store = Store::open(store).unwrap();
    let plan = Plan::new(vec![Box::new(extract)]).unwrap();
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 1.0 };
    let skipped = run(&plan, &store, &options).map(|summary| {
        assert!(summary.failed.is_empty(), "{:?}", summary.failed);
        summary.skipped
    });
    let outputs = plan.steps.into_iter().next().unwrap().outputs;
    (store, outputs, skipped)
}

/// Every way of tuning: one thread, many, and rows made by threads of their own.
fn tunings() -> Vec<Tuning> {
    let mut all: Vec<Tuning> = [1, 2, 7].into_iter().map(Tuning::cpu).collect();
    all.extend([(1, 1, 1), (1, 4, 32), (3, 2, 5)].map(|(d, c, b)| Tuning::device(d, c, b)));
    all
}

#[test]
fn tuning_reaches_neither_the_meaning_nor_a_byte() {
    let with = |tuning| fingerprint(&extract(5, 5, tuning));
    let calibrate = |tuning| {
        let Extract { model, source, params, partition, .. } = extract(5, 5, tuning);
        fingerprint(&Calibrate { model, source, params, images: 2, partition, tuning })
    };
    let mut expected: Option<BTreeMap<String, Vec<u8>>> = None;
    for tuning in tunings() {
        assert_eq!(with(tuning), with(Tuning::cpu(1)), "{tuning:?}");
        assert_eq!(calibrate(tuning), calibrate(Tuning::cpu(1)), "{tuning:?}");
        let folder = tempfile::tempdir().unwrap();
        let (store, outputs, skipped) = run_all(extract(5, 4, tuning), folder.path());
        assert_eq!(skipped.unwrap(), 1);
        let mut parts = BTreeMap::new();
        for output in outputs {
            for part in store.parts(&output).unwrap() {
                let name = part.strip_prefix(folder.path()).unwrap().display().to_string();
                parts.insert(name, std::fs::read(part).unwrap());
            }
        }
        // Nine tables of two shards.
        assert_eq!(parts.len(), 18);
        assert!(*expected.get_or_insert_with(|| parts.clone()) == parts, "{tuning:?} changed a part");
    }
    // A change of meaning does reach it.
    let mut other = extract(5, 5, Tuning::cpu(1));
    other.params.seed = 1;
    assert_ne!(fingerprint(&other), with(Tuning::cpu(1)));
}

#[test]
fn a_part_without_images_has_the_columns_of_the_others() {
    fn same<T: Table>(store: &Store, outputs: &[TableRef]) -> [usize; 2] {
        let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
        let parts: Vec<T> = store.parts(table).unwrap().iter().map(|p| schemas::read_part(p).unwrap()).collect();
        assert_eq!(parts[0].schema(), parts[1].schema(), "{}", T::NAME);
        [parts[0].rows(), parts[1].rows()]
    }
    let folder = tempfile::tempdir().unwrap();
    // The second of two shards holds no image that can be decoded.
    let (store, outputs, skipped) = run_all(extract(6, 3, Tuning::cpu(1)), folder.path());
    assert_eq!(skipped.unwrap(), 3);
    // CLS, register, two draws of either kind, of three images.
    assert_eq!(same::<TokenVectors>(&store, &outputs), [18, 0]);
    assert_eq!(same::<TokenPixels>(&store, &outputs), [12, 0]);
    assert_eq!(same::<Pooled>(&store, &outputs), [6, 0]);
    assert_eq!(same::<TokenStats>(&store, &outputs)[1], 0);
    assert_eq!(same::<NormHistograms>(&store, &outputs)[1], 0);
    assert_eq!(same::<Skipped>(&store, &outputs), [0, 3]);
}

/// Breaks when a calibration hides what it skipped, or when one image skipped by both passes counts twice.
#[test]
fn a_calibration_counts_what_it_skipped_and_leaves_the_sum_to_the_extraction() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let Extract { model, source, params, partition, tuning, .. } = extract(6, 4, Tuning::cpu(1));
    let calibrate = Calibrate { model, source, params, images: 6, partition, tuning };
    let plan = Plan::new(vec![Box::new(calibrate)]).unwrap();
    // Not even a limit of none: the extraction meets the same images, and has a table that names them.
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
    assert_eq!(run(&plan, &store, &options).unwrap().skipped, 0);
    assert_eq!(engine::run::skipped(&plan.steps[0], &store), (6, 2));
}

#[test]
fn a_site_that_cannot_be_used_is_an_error_of_the_study() {
    for (site, normed) in [(Site::PatchEmbed, true), (Site::Attention(0), false)] {
        let mut wrong = extract(1, 1, Tuning::cpu(1));
        wrong.params.pooled = vec![PoolSite { site, normed }];
        let folder = tempfile::tempdir().unwrap();
        let (_, _, result) = run_all(wrong, folder.path());
        assert_eq!(result.unwrap_err().kind, ErrorKind::Config);
    }
}

/// Rows of one table of a finished run.
fn read<T: Table>(store: &Store, outputs: &[TableRef]) -> T {
    let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
    let mut all = T::default();
    for part in store.parts(table).unwrap() {
        all.append(&mut schemas::read_part(&part).unwrap());
    }
    all
}

/// Removal of the leading patches by norm before a block.
fn removal(block: u16, replace: Replace) -> Edit {
    Edit {
        blocks: vec![block],
        select: Select::Norm,
        n: 12,
        replace,
        neighbours: 8,
        then: After::Execute,
        cls_competes: false,
    }
}

fn extracted(images: usize, edit: Option<Edit>) -> (TokenStats, Grids) {
    // The twin with registers has no outliers among its patches.
    let mut stage = extract_with(0, Precision::F32, images, images, Tuning::cpu(2));
    stage.params.stats_sites = vec![stage.params.outlier_site];
    stage.params.outliers = OutlierPolicy::Fixed { cutoff: 40.0 };
    stage.params.edit = edit;
    let folder = tempfile::tempdir().unwrap();
    let (store, outputs, skipped) = run_all(stage, folder.path());
    assert_eq!(skipped.unwrap(), 0);
    (read(&store, &outputs), read(&store, &outputs))
}

/// Breaks when an edit does not reach the pass, or reaches the wrong block: the planted model makes its outliers in block
/// 3 and grows them later, so that tokens replaced after it are outliers no more, and tokens replaced by their
/// neighbours before the detector (block 1) become what their neighbours are. A policy that is by rank would hide it.
#[test]
fn removed_outliers_are_gone_from_every_table() {
    let outliers = |(t, g): &(TokenStats, Grids)| {
        let counted: f64 = (0..g.rows()).filter(|&i| &*g.quantity[i] == "outlier").map(|i| g.sum[i]).sum();
        let marked = t.outlier.iter().filter(|&&o| o).count();
        assert_eq!(counted, marked as f64, "`grids` and `token_stats` tell the same outliers");
        marked
    };
    let before = outliers(&extracted(6, None));
    assert!(before > 6, "{before} outliers in six scenes");
    // Not the smallest value of each channel: it takes over the −n of an outlier nearby, and makes new ones.
    for replace in [Replace::Zero, Replace::MinNorm, Replace::Mean, Replace::Average] {
        let after = outliers(&extracted(6, Some(removal(4, replace))));
        // A neighbour may be an outlier itself: flat patches lie side by side.
        assert!(after < before, "{replace:?} leaves {after} of {before}");
    }
    assert_eq!(outliers(&extracted(6, Some(removal(4, Replace::Zero)))), 0);
}

/// Breaks when the donor is another image than the first, or its tokens are of another block: the first image itself
/// must then be as it was, to the bit.
#[test]
fn the_donor_is_the_first_image() {
    let ((plain, _), (donated, _)) = (extracted(3, None), extracted(3, Some(removal(4, Replace::Donor))));
    let norms = |t: &TokenStats, image: u32| -> Vec<f32> {
        (0..t.rows()).filter(|&i| t.image[i] == image).map(|i| t.norm[i]).collect()
    };
    assert_eq!(norms(&plain, 0), norms(&donated, 0));
    assert_ne!(norms(&plain, 1), norms(&donated, 1));
}

/// Breaks when a key of an edit is in the meaning of a run without one, which would make every stored run stale, or when
/// two edits mean the same.
#[test]
fn an_edit_is_in_the_meaning_only_where_there_is_one() {
    let plain = extract(3, 3, Tuning::cpu(1));
    let words = format!("{:?}", plain.meaning());
    assert!(!words.contains("edit") && !words.contains("test_time"), "{words}");
    let with = |edit| {
        let mut stage = extract(3, 3, Tuning::cpu(1));
        stage.params.edit = edit;
        fingerprint(&stage)
    };
    let mut all: Vec<_> = [Replace::Zero, Replace::Mean].map(|r| with(Some(removal(4, r)))).into();
    all.push(with(Some(removal(3, Replace::Zero))));
    all.push(with(None));
    assert_eq!(all.iter().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn an_executor_that_cannot_edit_is_an_error_of_the_study() {
    let mut stage = extract_with(1, Precision::Bf16, 1, 1, Tuning::cpu(1));
    stage.params.edit = Some(removal(4, Replace::Zero));
    let folder = tempfile::tempdir().unwrap();
    let e = run_all(stage, folder.path()).2.unwrap_err();
    assert!(e.kind == ErrorKind::Config && e.what.contains("f32"), "{e}");
}
