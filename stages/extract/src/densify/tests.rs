//! Dense features of generated scenes by the planted model, encoded once more by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use datasets::{DenseTruth, Entry, Filter, Manifest, Raw, ReadError, Resize, Rgb8, Views};
use engine::run::{RunOptions, run};
use engine::{ErrorKind, Plan, Silent, Store};
use half::f16;
use schemas::Table;
use schemas::tables::Skipped;
use vit::executor::{DeviceChoice, open};
use vit::planted::{Dials, INPUT, planted};
use vit::{Pixels, Request, Site};

use super::*;
use crate::edit::{After, Replace, Select};

const HEIGHT: usize = 20;
const WIDTH: usize = 28;

/// Pieces of scenes, 20×28 px: by patches of 8 px that is 3×4, with two rows and columns of zeros around. Every pixel's class
/// and depth tell where it is. What is annotated of images 3, 4 and 5 is of no use.
pub(crate) struct Photos {
    manifest: Manifest,
    images: Vec<Rgb8>,
    /// Set when so many images have been read.
    cancel: Option<(usize, Arc<AtomicBool>)>,
    reads: AtomicUsize,
}

impl Photos {
    pub(crate) fn new(images: usize) -> Self {
        let scenes = datasets::synthetic::Scenes::new(0, images);
        let crop = |index: usize| {
            let Raw::Rgb(whole) = scenes.read(index).unwrap() else { unreachable!() };
            let row = |y: usize| whole.data[(y + 30) * whole.width * 3..][30 * 3..(30 + WIDTH) * 3].to_vec();
            Rgb8 { width: WIDTH, height: HEIGHT, data: (0..HEIGHT).flat_map(row).collect() }
        };
        let entry = |i: usize| Entry { name: format!("{i}"), label: Some(i as u32 % 2), bytes: 1 };
        let classes = vec!["even".into(), "odd".into()];
        let manifest = Manifest { entries: (0..images).map(entry).collect(), classes };
        let images = (0..images).map(crop).collect();
        Self { manifest, images, cancel: None, reads: AtomicUsize::new(0) }
    }
}

fn class(y: usize, x: usize) -> u8 {
    (y * WIDTH + x) as u8
}

impl Source for Photos {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        if let Some((after, flag)) = &self.cancel {
            flag.fetch_or(reads >= *after, Ordering::Relaxed);
        }
        Ok(Raw::Rgb(self.images[index].clone()))
    }
    fn dense_truth(&self, index: usize) -> Result<Option<DenseTruth>, ReadError> {
        let (height, width) = (HEIGHT, WIDTH);
        let each = |of: &dyn Fn(usize, usize) -> f32| {
            (0..height * width).map(|i| of(i / width, i % width)).collect::<Vec<f32>>()
        };
        let segments = Some((0..height * width).map(|i| class(i / width, i % width)).collect());
        let depth_m = Some(each(&|y, x| if y == 0 { 0.0 } else { (y * 100 + x) as f32 / 1000.0 }));
        match index {
            3 => Err(ReadError::Annotation { path: "3.png".into(), what: "no such file".into() }),
            4 => Ok(Some(DenseTruth { height, width, segments: None, depth_m })),
            5 => Ok(Some(DenseTruth { height: 5, width, segments, depth_m })),
            6 => Ok(None),
            _ => Ok(Some(DenseTruth { height, width, segments, depth_m })),
        }
    }
}

pub(crate) fn spec(truth: TruthOf) -> ViewSpec {
    ViewSpec {
        views: Views::Whole { resize: Resize::None, mirror: true },
        filter: Filter::Bilinear,
        mean: INPUT.mean,
        std: INPUT.std,
        patch_px: 8,
        truth,
    }
}

fn params() -> DensifyParams {
    let (model, _) = planted(&Dials::default(), 1, None).unwrap();
    let last = model.depth as u16 - 1;
    let pool = |site, normed| PoolSite { site, normed };
    DensifyParams {
        weights: "w".into(),
        precision: Precision::F32,
        dataset: "d".into(),
        dense_annotations: String::new(),
        views: spec(TruthOf::View),
        sites: vec![pool(Site::Final, false), pool(Site::Block(2), true), pool(Site::Block(last), false)],
        keep_cls: true,
        truths: vec![TruthKind::Segments, TruthKind::MILLIMETRES],
        shard_images: 3,
        pictures: 2,
        edit: None,
        test_time_registers: None,
        model,
    }
}

pub(crate) fn model() -> Arc<Model> {
    let (config, weights) = planted(&Dials::default(), 1, None).unwrap();
    let for_open = config.clone();
    Arc::new(Model::new("planted".into(), config, "w".into(), Precision::F32, move || {
        open(&for_open, &weights, &DeviceChoice::Cpu(None), Precision::F32)
    }))
}

fn densify(source: Photos, params: DensifyParams, tuning: Tuning) -> Densify {
    let partition = vec![("model", "planted".into())];
    Densify { model: model(), source: Arc::new(source), params, neurons: None, partition, tuning }
}

/// All rows of a table.
pub(crate) fn read<T: Table>(store: &Store, outputs: &[TableRef]) -> T {
    let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
    let mut all = T::default();
    for part in store.parts(table).unwrap() {
        all.append(&mut schemas::read_part(&part).unwrap());
    }
    all
}

#[derive(Debug, Default, PartialEq)]
struct Tables {
    dense: Dense,
    truth: TruthMaps,
    pictures: Pictures,
    skipped: Skipped,
}

fn tables_in(folder: &std::path::Path, stage: Densify, cancel: &AtomicBool) -> Result<Tables, StageError> {
    let store = Store::open(folder).unwrap();
    let plan = Plan::new(vec![Box::new(stage)]).unwrap();
    let options = RunOptions { cancel, progress: &Silent, max_skip_frac: 1.0 };
    let summary = run(&plan, &store, &options)?;
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let outputs = &plan.steps[0].outputs;
    Ok(Tables {
        dense: read(&store, outputs),
        truth: read(&store, outputs),
        pictures: read(&store, outputs),
        skipped: read(&store, outputs),
    })
}

fn tables(stage: Densify) -> Tables {
    let folder = tempfile::tempdir().unwrap();
    tables_in(folder.path(), stage, &AtomicBool::new(false)).unwrap()
}

/// The input of an image and its mirror image, from bytes by the formula.
pub(crate) fn input(image: &Rgb8, mirrored: bool) -> Pixels {
    let (height, width) = (24, 32);
    let mut data = vec![0.0; 3 * height * width];
    for (y, x, c) in (0..HEIGHT * WIDTH * 3).map(|i| (i / 3 / WIDTH, i / 3 % WIDTH, i % 3)) {
        let from = if mirrored { WIDTH - 1 - x } else { x };
        let byte = image.data[(y * WIDTH + from) * 3 + c];
        data[(c * height + y + 2) * width + x + 2] = (f32::from(byte) / 255.0 - INPUT.mean[c]) / INPUT.std[c];
    }
    Pixels { height, width, data }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
}

/// Breaks when a row is of another view, site or image; when CLS or a register is among the patches, or a register in the
/// place of CLS; when padding is not zeros around the middle; when the norm is left out or taken twice; when truth is not
/// mirrored with its pixels or loses a bit.
#[test]
fn features_are_those_of_a_pass_by_hand() {
    let (params, photos) = (params(), Photos::new(3));
    let found = tables(densify(Photos::new(3), params.clone(), Tuning::cpu(2)));
    let model = model();
    let encoder = model.encoder().unwrap();
    let want = Request { full: params.sites.iter().map(|s| s.site).collect(), ..Request::default() };
    let (t, maps) = (&found.dense, &found.truth);
    assert_eq!((t.rows(), maps.rows()), (3 * 2 * 3, 3 * 2 * 2));
    let (mut row, mut map) = (0, 0);
    for image in 0..3 {
        for view in 0..2 {
            let mirrored = view == 1;
            let trace = encoder.encode(&[&input(&photos.images[image], mirrored)], &want).unwrap().remove(0);
            for (site, label) in params.sites.iter().zip(["final", "block_2+norm", "block_7"]) {
                let data = &trace.full[&site.site];
                let d = data.shape[1];
                let normed = |token: &[f32]| {
                    bytes(&if site.normed { encoder.final_norm().apply(token) } else { token.to_vec() })
                };
                // CLS, one register, 3×4 patches.
                let patches: Vec<u8> = data.data[2 * d..].chunks(d).flat_map(normed).collect();
                assert_eq!((t.image[row], t.view[row], &*t.site[row]), (image as u32, view, label));
                assert!(t.patches[row].0.len() == 12 * d * 2 && t.patches[row].0 == patches, "{image} {view} {label}");
                assert_eq!(t.cls[row].0, normed(data.row(0)));
                let place = [t.scaled_h[row], t.scaled_w[row], t.y0[row], t.x0[row], t.view_h[row], t.view_w[row]];
                assert_eq!(place, [20, 28, 0, 0, 20, 28]);
                let grid = [t.pad_top[row], t.pad_left[row], t.grid_h[row], t.grid_w[row], t.patch_px[row]];
                assert_eq!((grid, t.mirrored[row]), ([2, 2, 3, 4, 8], mirrored));
                row += 1;
            }
            for kind in ["segments", "depth"] {
                assert_eq!((maps.image[map], maps.view[map], &*maps.kind[map]), (image as u32, Some(view), kind));
                assert_eq!((maps.height[map], maps.width[map]), (20, 28));
                assert_eq!(maps.scale[map], (kind == "depth").then_some(0.001));
                for (y, x) in [(0, 0), (0, 27), (7, 3), (19, 26)] {
                    let from = if mirrored { WIDTH - 1 - x } else { x };
                    let cells = &maps.cells[map];
                    if kind == "segments" {
                        assert_eq!((cells.len(), cells[y * WIDTH + x]), (HEIGHT * WIDTH, class(y, from)));
                    } else {
                        let at = 2 * (y * WIDTH + x);
                        let millimetres = u16::from_le_bytes([cells[at], cells[at + 1]]);
                        assert_eq!(millimetres as usize, if y == 0 { 0 } else { y * 100 + from });
                    }
                }
                map += 1;
            }
        }
    }
    // As they were scaled, without the zeros around; the mirror image is not shown again.
    assert_eq!((found.pictures.image, found.pictures.width_px), (vec![0, 1], vec![28, 28]));
    assert_eq!(found.pictures.rgb[1], photos.images[1].data);
    assert_eq!(found.skipped.rows(), 0);
}

/// Breaks when the order of rows, a byte of them or their number depends on threads, queues or the cut into shards.
#[test]
fn any_threads_and_shards_give_the_same_rows() {
    let of = |shard_images, tuning| tables(densify(Photos::new(7), DensifyParams { shard_images, ..params() }, tuning));
    let one = of(7, Tuning::cpu(1));
    assert!(one.dense.rows() > 0);
    for (shard_images, tuning) in [
        (7, Tuning::cpu(3)),
        (2, Tuning::cpu(2)),
        (3, Tuning { map_threads: 2, ..Tuning::cpu(1) }),
        (1, Tuning::device(2, 2, 4)),
    ] {
        assert_eq!(one, of(shard_images, tuning), "{shard_images} {tuning:?}");
    }
}

/// Breaks when an annotation that is missing, of another size or another kind ends the run, is trained on, or takes
/// features of its image with it that have no truth.
#[test]
fn an_image_without_its_truth_is_skipped_and_named() {
    let found = tables(densify(Photos::new(9), params(), Tuning::cpu(2)));
    let reasons: Vec<&str> = found.skipped.reason.iter().map(|r| &**r).collect();
    assert_eq!(found.skipped.image, [3, 4, 5, 6]);
    assert_eq!(reasons, ["bad annotation", "no annotation", "annotation of another size", "no annotation"]);
    let mut images: Vec<u32> = found.dense.image.clone();
    images.dedup();
    assert_eq!(images, [0, 1, 2, 7, 8]);
    assert!(found.truth.image.iter().all(|i| images.contains(i)));
    // Without truth every image can be used.
    let none = DensifyParams { truths: vec![], views: spec(TruthOf::None), keep_cls: false, ..params() };
    let found = tables(densify(Photos::new(9), none, Tuning::cpu(2)));
    assert_eq!((found.dense.rows(), found.truth.rows(), found.skipped.rows()), (9 * 2 * 3, 0, 0));
    assert!(found.dense.cls.iter().all(|cls| cls.0.is_empty()));
}

/// Breaks when the truth of the whole image is written for every view, or resized.
#[test]
fn truth_of_the_image_is_kept_once_at_its_own_size() {
    let views = ViewSpec {
        views: Views::Whole { resize: Resize::Exact { height: 16, width: 40 }, mirror: true },
        ..spec(TruthOf::Image)
    };
    let found = tables(densify(Photos::new(2), DensifyParams { views, ..params() }, Tuning::cpu(2)));
    assert_eq!((found.dense.view_w[0], found.dense.grid_w[0], found.dense.pad_top[0]), (40, 5, 0));
    assert_eq!(found.truth.image, [0, 0, 1, 1]);
    assert_eq!((&found.truth.view, &found.truth.width), (&vec![None; 4], &vec![28; 4]));
    assert_eq!(found.truth.cells[0][5 * WIDTH + 3], class(5, 3));
    assert_eq!(found.pictures.width_px, [40, 40]);
}

/// Breaks when a stop in the middle is not heeded, leaves half a part behind, or changes what the next run writes.
#[test]
fn a_run_that_was_stopped_goes_on_with_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    let params = DensifyParams { truths: vec![], views: spec(TruthOf::None), ..params() };
    // An estimate reads a few images first.
    let mut photos = Photos::new(8);
    photos.cancel = Some((5 + 4, Arc::clone(&flag)));
    let e = tables_in(folder.path(), densify(photos, params.clone(), Tuning::cpu(1)), &flag).unwrap_err();
    assert_eq!(e.kind, ErrorKind::Interrupted);
    let again =
        tables_in(folder.path(), densify(Photos::new(8), params.clone(), Tuning::cpu(1)), &AtomicBool::new(false));
    assert_eq!(again.unwrap(), tables(densify(Photos::new(8), params, Tuning::cpu(2))));
}

/// Breaks when an edit or the tokens that it lends do not reach the features of every view.
#[test]
fn tokens_that_are_changed_give_other_features() {
    let edit = |replace| Edit {
        blocks: vec![4],
        select: Select::Norm,
        n: 4,
        replace,
        neighbours: 8,
        then: After::Execute,
        cls_competes: false,
    };
    let of = |edit| tables(densify(Photos::new(3), DensifyParams { edit, ..params() }, Tuning::cpu(1)));
    let [plain, average, donor] = [None, Some(edit(Replace::Average)), Some(edit(Replace::Donor))].map(of);
    for (a, b, own) in [(&plain, &average, false), (&plain, &donor, true), (&average, &donor, false)] {
        // Rows of three sites: block 2 comes before the edit. The first view lends its tokens to itself.
        let differ = |row: usize| a.dense.patches[row] != b.dense.patches[row];
        assert!((1..18).step_by(3).all(|row| !differ(row)) && (5..18).step_by(3).all(differ));
        assert_eq!(differ(2), !own);
        assert_eq!(a.truth, b.truth);
    }
}

/// Breaks when the disk that a plan promises is off by more than two.
#[test]
fn the_estimate_is_the_size_on_disk() {
    for pools in [1, 3] {
        let mut params = DensifyParams { shard_images: 40, ..params() };
        params.sites.truncate(pools);
        params.views.views = Views::Whole { resize: Resize::ShortSide(160), mirror: true };
        params.views.truth = TruthOf::None;
        params.truths.clear();
        let stage = densify(Photos::new(40), params, Tuning::cpu(2));
        let folder = tempfile::tempdir().unwrap();
        let promised = stage.estimate(&Sizes::new()).tables["dense"];
        let found = tables_in(folder.path(), stage, &AtomicBool::new(false)).unwrap();
        assert_eq!(found.dense.rows() as u64, promised.rows);
        let written: u64 = parts(folder.path()).iter().filter(|p| p.0.contains("/dense/")).map(|p| p.1).sum();
        let ratio = written as f64 / promised.bytes as f64;
        assert!((0.5..2.0).contains(&ratio), "{written} bytes, {} promised", promised.bytes);
    }
}

/// Every part below a folder, with its bytes.
fn parts(folder: &std::path::Path) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all.append(&mut parts(&path));
        } else if path.extension().is_some_and(|e| e == "parquet") {
            all.push((path.display().to_string(), entry.metadata().unwrap().len()));
        }
    }
    all
}

#[test]
fn parameters_that_make_no_features_are_refused() {
    assert_eq!(params().check(), Ok(()));
    let refused = |change: fn(&mut DensifyParams)| {
        let mut params = params();
        change(&mut params);
        params.check().unwrap_err().to_string()
    };
    assert!(refused(|p| p.sites.clear()).contains("dense.sites"));
    assert!(refused(|p| p.sites[0].site = Site::PatchEmbed).contains("patch_embed"));
    assert!(refused(|p| p.sites[1] = p.sites[0]).contains("final twice"));
    assert!(refused(|p| p.truths.clear()).contains("which truth"));
    assert!(refused(|p| p.views.truth = TruthOf::None).contains("which truth"));
    assert!(refused(|p| p.views.patch_px = 14).contains("14 px for a model of 8"));
    assert!(refused(|p| p.views.std[0] = 0.0).contains("dense.views"));
    assert!(refused(|p| p.truths[1] = TruthKind::Depth { scale: -1.0 }).contains("counts of -1"));
    assert!(refused(|p| p.edit.clone_from(&Some(edit_of_block(99)))).contains("99"));
}

fn edit_of_block(block: u16) -> Edit {
    Edit {
        blocks: vec![block],
        select: Select::Norm,
        n: 1,
        replace: Replace::Zero,
        neighbours: 8,
        then: After::Execute,
        cls_competes: false,
    }
}

mod real;
