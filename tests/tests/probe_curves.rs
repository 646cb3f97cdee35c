//! Probes against the cut-off on the planted model, from scenes to curves: below the gap between the modes, "outliers" are
//! normal patches, and the lower the cut-off the more of them know their place and their pixels, and do not know the class.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use datasets::{Crop, DatasetSpec, Filter, Preprocess, Resize};
use engine::run::{RunOptions, run};
use engine::{Plan, Silent, Stage, Store, outputs_of};
use extract::{Extract, ExtractParams, Model, Tuning};
use probe::{
    Curve, Experiment, Knobs, LogisticParams, Pixels, Position, PositionModel, ProbeCurve, Protocol, Split,
    Standardise, VectorClass,
};
use schemas::outlier::OutlierPolicy;
use schemas::read_part;
use schemas::tables::Curves;
use vit::Site;
use vit::executor::{DeviceChoice, Precision, open};
use vit::planted::{Dials, INPUT, planted};

const SCENES: usize = 60;

fn every_patch_of_scenes() -> Extract {
    let (config, weights) = planted(&Dials::default(), 0, None).unwrap();
    let mut spec = DatasetSpec::new("synthetic", "");
    spec.limit = Some(SCENES);
    let params = ExtractParams {
        model: config.clone(),
        weights: "planted".into(),
        precision: Precision::F32,
        dataset: "scenes".into(),
        preprocess: Preprocess::new(Resize::None, Crop::None, Filter::Bicubic).normalised(INPUT.mean, INPUT.std),
        // Norms are below 15 and above 100.
        outliers: OutlierPolicy::Fixed { cutoff: 50.0 },
        outlier_site: Site::Block(config.depth as u16 - 1),
        stats_sites: vec![],
        vector_sites: vec![Site::Final],
        pooled: vec![],
        draws: 0,
        every_patch: true,
        seed: 0,
        pictures: 0,
        shard_images: 1024,
        wrapped_neighbours: false,
        edit: None,
        test_time_registers: None,
    };
    let for_open = config.clone();
    let model = Model::new("planted".into(), config, "planted".into(), Precision::F32, move || {
        open(&for_open, &weights, &DeviceChoice::Cpu(None), Precision::F32)
    });
    Extract {
        model: Arc::new(model),
        source: Arc::from(datasets::open(&spec).unwrap()),
        params,
        cutoff: None,
        neurons: None,
        partition: vec![("model", "planted".into())],
        tuning: Tuning::cpu(2),
    }
}

fn experiments() -> [Experiment; 3] {
    let (site, split) = ("final".to_owned(), Split::EveryNth { nth: 3 });
    let logistic = LogisticParams { standardise: Standardise::Floor { frac: 1e-3 }, ..LogisticParams::default() };
    let model = PositionModel::Softmax { c: 1.0, logistic };
    let protocol = Protocol::fixed_c(1.0, split).standardised();
    [
        Experiment::Position(Position { site: site.clone(), subjects: vec![], separate: false, model, split }),
        Experiment::Pixels(Pixels { site: site.clone(), subjects: vec![], ridge: 1.0, split }),
        Experiment::TokenClass(VectorClass { site, subjects: vec![], draws: None, protocol }),
    ]
}

/// (cut-off, mark, value, standard error) of a number of the outliers, from the smallest cut-off up.
fn outliers<'c>(curves: &'c Curves, metric: &str) -> Vec<(f64, &'c str, Option<f64>, f64)> {
    let of =
        |&i: &usize| &*curves.knob[i] == "cutoff" && &*curves.subject[i] == "outlier" && *curves.metric[i] == *metric;
    let mut points: Vec<_> = (0..curves.at.len())
        .filter(of)
        .map(|i| (curves.at[i], &*curves.mark[i], curves.value[i], curves.stderr[i].unwrap_or(0.0)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Breaks when patches are not divided by their norm, when a fit is taken at another cut-off's division, or when a kept
/// patch loses its norm, its cell or its pixels between the extraction and the probe.
#[test]
fn below_the_gap_outliers_are_what_normal_patches_are() {
    let extract = every_patch_of_scenes();
    let tables = outputs_of(&extract);
    let curves = experiments().map(|experiment| {
        let knobs = Knobs { steps: 14, ..Knobs::default() };
        ProbeCurve::new(Curve { experiment, knobs }, &tables, None, vec![]).unwrap()
    });
    let outputs = curves.each_ref().map(|curve| outputs_of(curve).remove(0));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let stages = std::iter::once(Box::new(extract) as Box<dyn Stage>);
    let stages = stages.chain(curves.into_iter().map(|curve| Box::new(curve) as Box<dyn Stage>));
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 0.0 };
    let summary = run(&Plan::new(stages.collect()).unwrap(), &store, &options).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let [position, pixels, class] = outputs.map(|table| read_part::<Curves>(&store.part(&table, 0)).unwrap());

    let at_run =
        |points: &[(f64, &str, Option<f64>, f64)]| points.iter().find(|p| p.1.contains("run")).unwrap().2.unwrap();
    let place = outliers(&position, "top1_frac");
    let (run, bottom) = (at_run(&place), place[0].2.unwrap());
    assert!(run < 0.1 && bottom > run + 0.5, "{place:?}");
    // From the gap down every step takes normal patches in: it may not fall by more than two standard errors.
    let falling: Vec<_> = place.iter().filter(|p| p.0 < 50.0 && p.2.is_some()).collect();
    assert!(falling.windows(2).all(|w| w[0].2.unwrap() >= w[1].2.unwrap() - 2.0 * w[1].3), "{place:?}");

    let (error, blind) = (outliers(&pixels, "l2_mean"), outliers(&pixels, "blind_l2_mean"));
    assert!(error[0].2.unwrap() < 0.8 * blind[0].2.unwrap(), "{error:?} {blind:?}");
    assert!(at_run(&error) > 0.9 * at_run(&blind), "{error:?} {blind:?}");

    let class = outliers(&class, "accuracy_frac");
    assert!(at_run(&class) > class[0].2.unwrap() + 0.2, "{class:?}");
}
