//! Object discovery on generated scenes by the planted model, whose boxes are known.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use datasets::{BoxPx, Entry, Filter, Manifest, Object, Raw, ReadError, Rgb8, Truth};
use engine::run::{RunOptions, run};
use engine::{Plan, Silent, Store};
use schemas::Table;
use vit::executor::{DeviceChoice, open};
use vit::planted::{Dials, INPUT, planted};

use super::*;
use crate::edit::{After, Replace, Select};
use crate::prepare::prepare;

/// 20×28 px: by patches of 8 px that is 3×4, padded by 4 px each way. The last image has a broken annotation.
struct Photos {
    manifest: Manifest,
    images: Vec<Rgb8>,
}

impl Photos {
    fn new(images: usize) -> Self {
        let scenes = datasets::synthetic::Scenes::new(0, images);
        let crop = |index: usize| {
            let Raw::Rgb(whole) = scenes.read(index).unwrap() else { unreachable!() };
            let row = |y: usize| whole.data[(y + 30) * whole.width * 3..][30 * 3..(30 + 28) * 3].to_vec();
            Rgb8 { width: 28, height: 20, data: (0..20).flat_map(row).collect() }
        };
        let entry = |i: usize| Entry { name: format!("{i}"), label: None, bytes: 1 };
        let manifest = Manifest { entries: (0..images).map(entry).collect(), classes: vec![] };
        Self { manifest, images: (0..images).map(crop).collect() }
    }
}

impl Source for Photos {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        Ok(Raw::Rgb(self.images[index].clone()))
    }
    fn truth(&self, index: usize) -> Result<Option<Truth>, ReadError> {
        if index + 1 == self.images.len() {
            return Err(ReadError::Annotation { path: "a.xml".into(), what: "no whole <bndbox>".into() });
        }
        let area = BoxPx { x0: index as u32, y0: 2, x1: 9, y1: 10 };
        let marked = Object { truncated: true, ..Object::plain(Some("cat".into()), area) };
        Ok((index > 0).then(|| Truth { boxes: vec![marked], ..Truth::default() }))
    }
}

fn params() -> DiscoverParams {
    let (model, _) = planted(&Dials::default(), 1, None).unwrap();
    let patch_px = model.patch_px;
    DiscoverParams {
        weights: "w".into(),
        precision: Precision::F32,
        dataset: "d".into(),
        annotations: String::new(),
        preprocess: Preprocess::new(Resize::None, Crop::PadTo { patch_px }, Filter::Bicubic)
            .normalised(INPUT.mean, INPUT.std),
        shard_images: 3,
        sites: vec![Site::Key(model.depth as u16 - 1), Site::Value(2)],
        k_patches: 40,
        raw_biases: vec![0.0],
        l2_biases: vec![-0.5, 0.0],
        tokencut_tau: None,
        pictures: 2,
        edit: None,
        test_time_registers: None,
        model,
    }
}

fn discover(source: impl Source + 'static, params: DiscoverParams, tuning: Tuning) -> Discover {
    let (config, weights) = planted(&Dials::default(), 1, None).unwrap();
    let for_open = config.clone();
    let model = Model::new("planted".into(), config, "w".into(), Precision::F32, move || {
        open(&for_open, &weights, &DeviceChoice::Cpu(None), Precision::F32)
    });
    let partition = vec![("model", "planted".into())];
    Discover { model: Arc::new(model), source: Arc::new(source), params, neurons: None, partition, tuning }
}

#[derive(Debug, Default, PartialEq)]
struct Tables {
    boxes: Boxes,
    objects: Objects,
    maps: Maps,
    pictures: Pictures,
    skipped: Skipped,
}

fn tables(stage: Discover) -> Tables {
    fn read<T: Table>(store: &Store, outputs: &[TableRef]) -> T {
        let table = outputs.iter().find(|t| t.table == T::NAME).unwrap();
        let mut all = T::default();
        for part in store.parts(table).unwrap() {
            all.append(&mut schemas::read_part(&part).unwrap());
        }
        all
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plan = Plan::new(vec![Box::new(stage)]).unwrap();
    let options =
        RunOptions { cancel: &std::sync::atomic::AtomicBool::new(false), progress: &Silent, max_skip_frac: 1.0 };
    let summary = run(&plan, &store, &options).unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let outputs = &plan.steps[0].outputs;
    Tables {
        boxes: read(&store, outputs),
        objects: read(&store, outputs),
        maps: read(&store, outputs),
        pictures: read(&store, outputs),
        skipped: read(&store, outputs),
    }
}

/// Breaks when a box is of another image, site or bias, when prefix tokens are not dropped, when the padding is not
/// zeros or a box reaches into it, or when annotations get lost or stand for images that were skipped.
#[test]
fn boxes_are_what_a_whole_pass_says() {
    let (params, source) = (params(), Photos::new(7));
    let found = tables(discover(Photos::new(7), params.clone(), Tuning::cpu(2)));
    let stage = discover(Photos::new(1), params.clone(), Tuning::cpu(1));
    let encoder = stage.model.encoder().unwrap();
    let want = Request { full: params.sites.iter().copied().collect(), ..Request::default() };
    let (mut row, mut cut) = (0, 0);
    for image in 0..6 {
        let prepared = prepare(&source, image, &params.preprocess).ok().unwrap();
        assert_eq!((prepared.pixels.height, prepared.pixels.width), (24, 32));
        assert_eq!(prepared.pixels.data[28..32], [0.0; 4], "padded after normalising");
        let trace = encoder.encode(&[&prepared.pixels], &want).unwrap().remove(0);
        for site in &params.sites {
            let data = &trace.full[site];
            // CLS and a register are dropped; 3×4 patches are left.
            let features = &data.data[2 * data.shape[1]..];
            assert_eq!(features.len(), 12 * data.shape[1]);
            for (l2, bias) in [(false, 0.0), (true, -0.5), (true, 0.0)] {
                let gram = lost::Gram::of(features, data.shape[1], l2).unwrap();
                let one = gram.discover(4, bias, 40).unwrap();
                let Some(area) = one.area else { continue };
                let t = &found.boxes;
                let key = (t.image[row] as usize, t.site[row].to_string(), t.l2[row], t.bias[row]);
                assert_eq!(key, (image, site.to_string(), l2, f64::from(bias)));
                assert_eq!((t.seed[row] as usize, t.similar[row] as usize), (one.seed, one.similar));
                assert_eq!(t.degree[row], one.degrees[one.seed]);
                let wanted = [area.x0 * 8, area.y0 * 8, (area.x1 * 8).min(28), (area.y1 * 8).min(20)];
                assert_eq!([t.x0[row], t.y0[row], t.x1[row], t.y1[row]], wanted.map(|px| px as f32));
                cut += usize::from(area.x1 == 4);
                row += 1;
            }
        }
    }
    assert_eq!(row, found.boxes.rows());
    assert!(cut > 0, "no box reaches into the padding: this test shows less than it says");
    assert_eq!((found.objects.image, found.objects.x0), (vec![1, 2, 3, 4, 5], vec![1.0, 2.0, 3.0, 4.0, 5.0]));
    assert!(found.objects.truncated.iter().all(|t| *t) && &*found.objects.class[0] == "cat");
    assert_eq!((found.skipped.image, &*found.skipped.reason[0]), (vec![6], "bad annotation"));
    // Degree and expansion, of two images, two sites and three biases.
    assert_eq!((found.pictures.rows(), found.maps.rows()), (2, 2 * 2 * 2 * 3));
    assert_eq!(&*found.maps.part[2], "-0.5");
    assert_eq!((found.maps.grid_h[0], found.maps.grid_w[0], found.maps.cells[0].len()), (3, 4, 12));
}

/// Breaks when cuts are of features that were not divided by their length, of tokens that are no patches, or change what LOST
/// finds; and when they need a sweep beside them.
#[test]
fn cuts_have_rows_of_their_own() {
    let plain = tables(discover(Photos::new(4), params(), Tuning::cpu(1)));
    let (tau, source) = (0.9, Photos::new(4));
    for alone in [false, true] {
        let mut params = DiscoverParams { tokencut_tau: Some(tau), ..params() };
        if alone {
            (params.raw_biases, params.l2_biases) = (vec![], vec![]);
        }
        let found = tables(discover(Photos::new(4), params.clone(), Tuning::cpu(2)));
        let cuts: Vec<usize> =
            (0..found.boxes.rows()).filter(|&i| found.boxes.site[i].ends_with("+tokencut")).collect();
        assert!(!cuts.is_empty(), "nothing was cut: this test shows less than it says");
        assert_eq!(found.boxes.rows() - cuts.len(), if alone { 0 } else { plain.boxes.rows() });
        let stage = discover(Photos::new(1), params.clone(), Tuning::cpu(1));
        let encoder = stage.model.encoder().unwrap();
        let want = Request { full: params.sites.iter().copied().collect(), ..Request::default() };
        let mut cuts = cuts.into_iter();
        for image in 0..3 {
            let prepared = prepare(&source, image, &params.preprocess).ok().unwrap();
            let trace = encoder.encode(&[&prepared.pixels], &want).unwrap().remove(0);
            for site in &params.sites {
                let data = &trace.full[site];
                let gram = lost::Gram::of(&data.data[2 * data.shape[1]..], data.shape[1], true).unwrap();
                let one = gram.cut(4, tau as f32).unwrap();
                let Some(area) = one.area else { continue };
                let (row, t) = (cuts.next().unwrap(), &found.boxes);
                let key = (t.image[row] as usize, t.site[row].to_string(), t.l2[row], t.bias[row]);
                assert_eq!(key, (image, format!("{site}+tokencut"), true, 0.0));
                assert_eq!((t.seed[row] as usize, t.similar[row] as usize), (one.seed, one.similar));
                assert_eq!(t.y1[row], (area.y1 * 8).min(20) as f32);
            }
        }
        assert!(cuts.next().is_none() && found.maps.site.iter().any(|s| s.ends_with("+tokencut")));
    }
}

/// Breaks when the order of rows depends on which thread is done first.
#[test]
fn any_number_of_threads_writes_the_same() {
    let of = |tuning| tables(discover(Photos::new(7), params(), tuning));
    let one = of(Tuning::cpu(1));
    assert_eq!(one, of(Tuning::cpu(3)));
    let mappers = Tuning { map_threads: 2, ..Tuning::cpu(1) };
    assert_eq!(one, of(mappers));
}

/// Breaks when an edit does not reach the features, or everything breaks with it.
#[test]
fn tokens_that_are_changed_give_other_boxes() {
    let edit = Edit {
        blocks: vec![4],
        select: Select::Norm,
        n: 4,
        replace: Replace::Average,
        neighbours: 8,
        then: After::Execute,
        cls_competes: false,
    };
    let changed = tables(discover(Photos::new(4), DiscoverParams { edit: Some(edit), ..params() }, Tuning::cpu(1)));
    let plain = tables(discover(Photos::new(4), params(), Tuning::cpu(1)));
    assert_ne!(changed.maps, plain.maps);
    assert_eq!(changed.objects, plain.objects);
}

#[test]
fn parameters_that_make_no_box_are_refused() {
    assert_eq!(params().check(), Ok(()));
    let refused = |change: fn(&mut DiscoverParams)| {
        let mut params = params();
        change(&mut params);
        params.check().unwrap_err().to_string()
    };
    assert!(refused(|p| p.sites.clear()).contains("discover.features"));
    assert!(refused(|p| p.sites = vec![Site::Key(99)]).contains("key_99"));
    assert!(refused(|p| p.k_patches = 0).contains("k_patches"));
    assert!(refused(|p| p.l2_biases = vec![f64::NAN]).contains("finite"));
    assert!(refused(|p| p.tokencut_tau = Some(f64::INFINITY)).contains("tokencut_tau"));
    assert!(refused(|p| (p.l2_biases, p.raw_biases) = (vec![], vec![])).contains("biases"));
    assert!(refused(|p| p.preprocess.resize = Resize::ShortSide(224)).contains("own size"));
    assert!(refused(|p| p.preprocess.crop = Crop::None).contains("own size"));
}
