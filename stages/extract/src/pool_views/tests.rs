//! Vectors of views of generated scenes by the planted model, encoded once more by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;

use datasets::{Raw, TruthOf, Views};
use engine::run::{RunOptions, run};
use engine::{Plan, Silent, Store};
use schemas::Table;
use schemas::tables::Skipped;
use vit::{Request, Site};

use super::*;
use crate::densify::tests::{Photos, input, model, read, spec};

fn params() -> PoolViewsParams {
    let model = model().config.clone();
    PoolViewsParams {
        weights: "w".into(),
        precision: Precision::F32,
        dataset: "d".into(),
        views: spec(TruthOf::None),
        pooled: vec![
            PoolSite { site: Site::Final, normed: false },
            PoolSite { site: Site::Block(model.depth as u16 - 2), normed: true },
        ],
        shard_images: 3,
        edit: None,
        test_time_registers: None,
        model,
    }
}

fn tables(params: PoolViewsParams, tuning: Tuning) -> (PooledViews, Images, Skipped) {
    let partition = vec![("model", "planted".into())];
    let source = Arc::new(Photos::new(5));
    let stage = PoolViews { model: model(), source, params, neurons: None, partition, tuning };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = Plan::new(vec![Box::new(stage)]).unwrap();
    let options = RunOptions { cancel: &AtomicBool::new(false), progress: &Silent, max_skip_frac: 1.0 };
    let summary = run(&plan, &store, &options).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let outputs = &plan.steps[0].outputs;
    (read(&store, outputs), read(&store, outputs), read(&store, outputs))
}

/// Breaks when a vector is of another view, site or token, when registers are in the mean, or the norm is taken of the mean
/// instead of each token.
#[test]
fn vectors_are_those_of_a_pass_by_hand() {
    let params = params();
    let (t, images, skipped) = tables(params.clone(), Tuning::cpu(2));
    assert_eq!((t.rows(), images.rows(), skipped.rows()), (5 * 2 * 2 * 2, 5, 0));
    assert_eq!((images.label[3], images.width_px[3], images.grid_h[3], images.grid_w[3]), (Some(1), 28, 3, 4));
    let (model, photos) = (model(), Photos::new(5));
    let encoder = model.encoder().unwrap();
    let want = Request { full: params.pooled.iter().map(|p| p.site).collect(), ..Request::default() };
    let mut row = 0;
    for image in 0..5 {
        let Raw::Rgb(photo) = photos.read(image).unwrap() else { unreachable!() };
        for view in 0..2 {
            let trace = encoder.encode(&[&input(&photo, view == 1)], &want).unwrap().remove(0);
            for (pool, label) in params.pooled.iter().zip(["final", "block_6+norm"]) {
                let data = &trace.full[&pool.site];
                let d = data.shape[1];
                let tokens: Vec<Vec<f32>> = data
                    .data
                    .chunks(d)
                    .map(|token| if pool.normed { encoder.final_norm().apply(token) } else { token.to_vec() })
                    .collect();
                let mean = |i: usize| tokens[2..].iter().map(|t| f64::from(t[i])).sum::<f64>() / 12.0;
                let mean: Vec<f32> = (0..d).map(|i| mean(i) as f32).collect();
                for (what, wanted) in [("cls", &tokens[0]), ("mean_patch", &mean)] {
                    let key = (t.image[row] as usize, t.view[row], &*t.site[row], &*t.pool[row]);
                    assert_eq!(key, (image, view, label, what));
                    assert_eq!(t.vector.row(row), &wanted[..], "{image} {view} {label} {what}");
                    row += 1;
                }
            }
        }
    }
}

/// Random crops: breaks when draws depend on threads or shards, when all views of an image are one, or when a seed is
/// ignored.
#[test]
fn random_crops_are_the_same_on_any_machine() {
    let of = |seed, shard_images, tuning| {
        let views = ViewSpec { views: Views::ResizedCrops { count: 3, seed, size_px: 16 }, ..spec(TruthOf::None) };
        tables(PoolViewsParams { views, shard_images, ..params() }, tuning).0
    };
    let one = of(1, 5, Tuning::cpu(1));
    assert_eq!(one.rows(), 5 * 3 * 2 * 2);
    assert_eq!(one, of(1, 2, Tuning::device(2, 3, 4)));
    assert_ne!(one, of(2, 5, Tuning::cpu(1)));
    let first_of_view = |view: usize| one.vector.row(4 * view);
    assert!(first_of_view(0) != first_of_view(1) && first_of_view(1) != first_of_view(2));
}

#[test]
fn parameters_that_make_no_vectors_are_refused() {
    assert_eq!(params().check(), Ok(()));
    let refused = |p: PoolViewsParams| p.check().unwrap_err().to_string();
    assert!(refused(PoolViewsParams { pooled: vec![], ..params() }).contains("pooled"));
    assert!(refused(PoolViewsParams { views: spec(TruthOf::View), ..params() }).contains("truth"));
}
