//! Portraits of generated scenes by the planted model, whose outliers are known.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use engine::run::{RunOptions, run};
use engine::{Plan, Silent, Store};
use schemas::Table;
use vit::Encoder;
use vit::executor::{DeviceChoice, open};
use vit::planted::{Dials, planted};

use super::*;
use crate::edit::{After, Replace, Select};
use crate::params::ExtractParams;
use crate::stage::tests::{params as extraction, scenes};

mod real;

const IMAGES: u32 = 4;

fn params() -> PortrayParams {
    let ExtractParams { model, weights, precision, dataset, preprocess, outlier_site, .. } = extraction();
    let last = model.depth as u16 - 1;
    PortrayParams {
        model,
        weights,
        precision,
        dataset,
        preprocess,
        images: IMAGES,
        outlier_site,
        norm_sites: vec![outlier_site, Site::Final],
        blocks: vec![last],
        component_sites: vec![Site::Final],
        edit: None,
        test_time_registers: None,
    }
}

fn encoder() -> Box<dyn Encoder> {
    let (config, weights) = planted(&Dials::default(), 1, None).unwrap();
    open(&config, &weights, &DeviceChoice::Cpu(None), Precision::F32).unwrap()
}

fn portray(params: PortrayParams, broken_from: usize, tuning: Tuning) -> Portray {
    let model = Model::new("planted".into(), params.model.clone(), "w".into(), Precision::F32, || Ok(encoder()));
    Portray {
        model: Arc::new(model),
        source: Arc::new(scenes(6, broken_from)),
        params,
        neurons: None,
        partition: vec![("model", "planted".into())],
        tuning,
    }
}

fn maps(stage: Portray) -> Maps {
    fn read<T: Table>(store: &Store, outputs: &[TableRef]) -> T {
        let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
        let parts = store.parts(table).unwrap();
        assert_eq!(parts.len(), 1, "one shard");
        schemas::read_part(&parts[0]).unwrap()
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = Plan::new(vec![Box::new(stage)]).unwrap();
    let options =
        RunOptions { cancel: &std::sync::atomic::AtomicBool::new(false), progress: &Silent, max_skip_frac: 1.0 };
    let summary = run(&plan, &store, &options).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let outputs = &plan.steps[0].outputs;
    read(&store, outputs)
}

/// Rows of one kind.
fn rows(t: &Maps, quantity: &str, of: &str, part: &str) -> Vec<usize> {
    (0..t.rows()).filter(|&i| (&*t.quantity[i], &*t.of[i], &*t.part[i]) == (quantity, of, part)).collect()
}

/// Breaks when a map is of another image, site or token than it says: every kind is compared with a whole pass.
#[test]
fn maps_are_what_a_whole_pass_says() {
    let params = params();
    let last = params.model.depth as u16 - 1;
    let t = &maps(portray(params.clone(), 6, Tuning::cpu(2)));
    let (heads, prefix) = (params.model.heads, params.model.prefix_tokens());
    assert_eq!(t.rows(), IMAGES as usize * (2 + 2 * 3 + (prefix + 2) * (heads + 2)));
    let (encoder, source) = (encoder(), scenes(6, 6));
    let block = params.outlier_site;
    for image in 0..IMAGES as usize {
        let prepared = crate::prepare::prepare(&source, image, &params.preprocess).ok().unwrap();
        let want =
            Request { full: [Site::Attention(last), Site::Final].into(), norms: [block].into(), ..Request::default() };
        let trace = encoder.encode(&[&prepared.pixels], &want).unwrap().remove(0);
        let n = trace.layout.tokens();
        let norms = &trace.norms[&block][prefix..];
        let row = |quantity: &str, of: &str, part: &str| {
            let image = |&i: &usize| t.image[i] as usize == image;
            rows(t, quantity, of, part).into_iter().find(image).unwrap()
        };
        assert_eq!(t.cells[row("norm", "patch", "")], norms);
        let outlier = (0..norms.len()).max_by(|&a, &b| norms[a].total_cmp(&norms[b]).then(b.cmp(&a))).unwrap();
        let middle = trace.layout.grid_h / 2 * trace.layout.grid_w + trace.layout.grid_w / 2;
        let attention = &trace.full[&Site::Attention(last)];
        for (of, token) in [("cls", 0), ("register_0", 1), ("patch", prefix + middle), ("outlier", prefix + outlier)] {
            let mut mean = vec![0.0; n - prefix];
            for head in 0..heads {
                let whole = &attention.row(head * n + token)[prefix..];
                let i = row("attention", of, &format!("head_{head}"));
                for (a, b) in t.cells[i].iter().zip(whole) {
                    assert!((a - b).abs() < 1e-6, "{of} head {head}: {a} {b}");
                }
                mean.iter_mut().zip(whole).for_each(|(m, a)| *m += a / heads as f32);
            }
            let i = row("attention", of, "mean");
            assert!(t.cells[i].iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-6));
            assert_eq!(t.patch[i], token.checked_sub(prefix).map(|p| p as u32));
            assert!((t.share_frac[i].unwrap() - mean.iter().sum::<f32>()).abs() < 1e-5);
        }
        for k in 0..3 {
            let values = &t.cells[row("component", "image", &k.to_string())];
            let n = values.len() as f32;
            let (sum, squares) = values.iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
            assert!((sum / n).abs() < 1e-4 && (squares / n - 1.0).abs() < 1e-4, "{sum} {squares}");
            assert!(cubes(values) >= 0.0);
        }
    }
    // Over all patches together the joint scores have mean 0, deviation 1 and no negative skewness.
    for k in 0..3 {
        let joint: Vec<f32> =
            rows(t, "component", "joint", &k.to_string()).into_iter().flat_map(|i| t.cells[i].clone()).collect();
        let n = joint.len() as f32;
        let (sum, squares) = joint.iter().fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        assert!((sum / n).abs() < 1e-4 && (squares / n - 1.0).abs() < 1e-3, "{sum} {squares} of {n}");
        assert!(cubes(&joint) >= 0.0);
    }
}

/// Breaks when threads or their order reach a number, or when an image that cannot be read is lost or counted twice.
#[test]
fn tuning_changes_no_map_and_broken_images_are_left_out() {
    let mut expected: Option<Maps> = None;
    for tuning in [Tuning::cpu(1), Tuning::cpu(3), Tuning::device(1, 2, 8)] {
        let found = maps(portray(params(), 2, tuning));
        let images: BTreeSet<u32> = found.image.iter().copied().collect();
        assert_eq!(images, [0, 1].into());
        assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{tuning:?}");
    }
}

/// Breaks when a portrait is of the unchanged model: with every block left out, the last block's tokens are the first's.
#[test]
fn an_edited_model_is_portrayed_as_edited() {
    let mut params = params();
    params.norm_sites = vec![Site::WithPosition, params.outlier_site];
    params.edit = Some(Edit {
        blocks: (0..params.model.depth as u16).collect(),
        select: Select::Norm,
        n: 1,
        replace: Replace::Half,
        neighbours: 8,
        then: After::Skip,
        cls_competes: false,
    });
    let t = maps(portray(params, 6, Tuning::cpu(2)));
    assert!(rows(&t, "attention", "cls", "mean").is_empty(), "a block that is left out has no attention");
    let norms = rows(&t, "norm", "patch", "");
    assert_eq!(norms.len(), 2 * IMAGES as usize);
    for pair in norms.chunks(2) {
        let same = t.cells[pair[0]].iter().zip(&t.cells[pair[1]]).filter(|(a, b)| a == b).count();
        // Each block changes one patch.
        assert!(same >= t.cells[pair[0]].len() - 8 && same < t.cells[pair[0]].len(), "{same}");
    }
}

#[test]
fn what_cannot_be_portrayed_is_refused() {
    let depth = params().model.depth as u16;
    params().check().unwrap();
    let edit = Edit {
        blocks: vec![0],
        select: Select::Norm,
        n: 0,
        replace: Replace::Half,
        neighbours: 8,
        then: After::Skip,
        cls_competes: false,
    };
    for (bad, words) in [
        (PortrayParams { images: 0, ..params() }, "portray.images"),
        (PortrayParams { blocks: vec![depth], ..params() }, "portray.blocks"),
        (PortrayParams { component_sites: vec![Site::Attention(0)], ..params() }, "portray.component_sites"),
        (PortrayParams { outlier_site: Site::PatchEmbed, ..params() }, "portray.outlier_site"),
        (PortrayParams { edit: Some(edit), ..params() }, "edit.n"),
    ] {
        let e = bad.check().unwrap_err().to_string();
        assert!(e.contains(words), "{e}");
    }
}
