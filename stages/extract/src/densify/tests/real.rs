//! Dense features of real photos by real weights, where a machine has them: components are scikit-learn's, of the features
//! that timm makes.
//!
//! `VITALS_REAL` names the folder; the file `reference.json` in it has, of three photos at 518×518 px, the share of the
//! variance that the first principal component of the final-norm patch tokens takes.

use std::path::{Path, PathBuf};

use vit::weights::{WeightSource, load};

use super::*;
use crate::portray::components::Moments;

struct Files {
    manifest: Manifest,
    folder: PathBuf,
}

impl Source for Files {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        Ok(Raw::Encoded(std::fs::read(self.folder.join(&self.manifest.entries[index].name)).unwrap()))
    }
}

fn real() -> Option<PathBuf> {
    let folder = std::env::var_os("VITALS_REAL").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
    }
    folder
}

fn stage(folder: &Path, files: Vec<String>, (height, width): (usize, usize), filter: Filter) -> Densify {
    let spec = vit::zoo::find("dinov2_vits14").unwrap();
    let file = folder.join("weights/dinov2_vits14_imgfocus.safetensors");
    let config = spec.config.clone();
    let model = Model::new("dinov2_vits14".into(), config.clone(), "w".into(), Precision::F32, move || {
        let weights = load(&spec, &WeightSource::Path(file.clone()), &|_, _| {})?;
        open(&weights.config, &weights.params, &DeviceChoice::Cpu(None), Precision::F32)
    });
    let entries = files.into_iter().map(|name| Entry { name, label: None, bytes: 0 }).collect();
    let views = ViewSpec {
        views: Views::Whole { resize: Resize::Exact { height, width }, mirror: false },
        filter,
        mean: datasets::preprocess::IMAGENET_MEAN,
        std: datasets::preprocess::IMAGENET_STD,
        patch_px: 14,
        truth: TruthOf::None,
    };
    Densify {
        model: Arc::new(model),
        source: Arc::new(Files { manifest: Manifest { entries, classes: Vec::new() }, folder: folder.to_owned() }),
        params: DensifyParams {
            model: config,
            views,
            sites: vec![PoolSite { site: Site::Final, normed: false }],
            truths: vec![],
            keep_cls: false,
            ..params()
        },
        neurons: None,
        partition: vec![("model", "dinov2_vits14".into())],
        tuning: Tuning::cpu(2),
    }
}

fn values(t: &Dense, row: usize) -> Vec<f32> {
    t.patches[row].0.as_chunks().0.iter().map(|&h| f16::from_le_bytes(h).to_f32()).collect()
}

/// Breaks when a street scene that is squashed to whole patches has another grid, or a feature that is no number.
#[test]
fn street_scenes_have_finite_features_of_their_grid() {
    let Some(folder) = real() else { return };
    let mut files: Vec<String> = std::fs::read_dir(folder.join("camvid/val"))
        .unwrap()
        .map(|entry| format!("camvid/val/{}", entry.unwrap().file_name().display()))
        .collect();
    files.sort();
    files.truncate(4);
    for (size, grid) in [((350, 476), (25, 34)), ((364, 476), (26, 34))] {
        let found = tables(stage(&folder, files.clone(), size, Filter::Bilinear));
        let t = &found.dense;
        assert_eq!((t.rows(), found.skipped.rows()), (files.len(), 0));
        for row in 0..t.rows() {
            assert_eq!((t.grid_h[row], t.grid_w[row], t.pad_top[row], t.pad_left[row]), (grid.0, grid.1, 0, 0));
            let features = values(t, row);
            assert_eq!(features.len(), usize::from(grid.0) * usize::from(grid.1) * 384);
            assert!(features.iter().all(|x| x.is_finite()) && features.iter().any(|x| x.abs() > 1.0));
        }
    }
}

/// Truth in the layouts that datasets come in, beside features of the planted model. Breaks when a mask or a depth is not found,
/// of another size than its photo, or changed on its way: counts of classes and depths are those of the files.
#[test]
fn annotations_of_real_photos_go_along() {
    let Some(folder) = real() else { return };
    let segments = || vec![TruthKind::Segments];
    let sets = [
        ("ade20k", "ADEChallengeData2016", 3, segments()),
        ("voc_seg", "VOCdevkit-seg", 3, segments()),
        ("masks", "camvid", 24, segments()),
        ("nyu", "nyu", 3, vec![TruthKind::MILLIMETRES]),
    ];
    for (name, root, images, truths) in sets {
        let open = || {
            let mut spec = datasets::DatasetSpec::new(name, folder.join(root));
            spec.split = if name == "masks" { datasets::Split::Val } else { datasets::Split::All };
            datasets::open(&spec).unwrap()
        };
        let source = open();
        assert_eq!(source.manifest().entries.len(), images, "{name}");
        for (truth, side) in [(TruthOf::Image, 40), (TruthOf::View, 40)] {
            let resize = Resize::Exact { height: side, width: 2 * side };
            let views = ViewSpec { views: Views::Whole { resize, mirror: false }, ..spec(truth) };
            let params = DensifyParams { views, truths: truths.clone(), shard_images: 0, ..params() };
            let stage = Densify { source: open().into(), ..densify(Photos::new(0), params, Tuning::cpu(2)) };
            let found = tables(stage);
            assert_eq!((found.skipped.reason, found.truth.rows()), (vec![], images), "{name}");
            for image in 0..images {
                let whole = source.dense_truth(image).unwrap().unwrap();
                let size = (found.truth.height[image] as usize, found.truth.width[image] as usize);
                assert_eq!(size, if truth == TruthOf::Image { (whole.height, whole.width) } else { (side, 2 * side) });
                let cells = &found.truth.cells[image];
                match whole.depth_m.filter(|_| name == "nyu") {
                    _ if truth == TruthOf::View => {
                        assert!(cells.iter().any(|&c| c != cells[0]), "{name} {image}: one value");
                    }
                    Some(depth_m) => {
                        let counts = cells.as_chunks().0.iter().map(|&c| f32::from(u16::from_le_bytes(c)) / 1000.0);
                        assert!(counts.eq(depth_m));
                    }
                    None => assert_eq!(Some(cells), whole.segments.as_ref(), "{name} {image}"),
                }
            }
        }
    }
}

/// Breaks when tokens are taken before the final norm, CLS is among them, or f16 loses what matters.
#[test]
fn components_of_dense_features_are_those_of_the_reference() {
    let Some(folder) = real() else { return };
    let text = std::fs::read(folder.join("reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let of = |photo: usize| &reference["maps"]["real"][format!("{photo}_square518")];
    let files = (0..3).map(|photo| of(photo)["file"].as_str().unwrap().to_owned()).collect();
    let found = tables(stage(&folder, files, (518, 518), Filter::Bicubic));
    for photo in 0..3 {
        let features = values(&found.dense, photo);
        let first = Moments::of(&features, 384).basis().scores(&features).swap_remove(0);
        let (share, wanted) = (first.share_frac, of(photo)["pca_variance_share"].as_f64().unwrap());
        assert!((share - wanted).abs() < 1e-4, "photo {photo}: {share}, not {wanted}");
    }
}
