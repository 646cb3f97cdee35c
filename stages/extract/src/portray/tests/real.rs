//! Portraits of real photos by real weights, where a machine has them: attention is timm's, components are
//! scikit-learn's.
//!
//! `VITALS_REAL` names the folder; the file `reference.json` in it has, of three photos at two sizes, the largest CLS
//! attention (mean over heads) and its patch, and the share of the first principal component of the final tokens.

use std::path::{Path, PathBuf};

use datasets::{Crop, Entry, Manifest, Raw, ReadError, Resize};
use vit::weights::{WeightSource, load};

use super::*;

struct Photos {
    manifest: Manifest,
    folder: PathBuf,
}

impl Source for Photos {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn read(&self, index: usize) -> Result<Raw, ReadError> {
        Ok(Raw::Encoded(std::fs::read(self.folder.join(&self.manifest.entries[index].name)).unwrap()))
    }
}

fn stage(folder: &Path, photos: Vec<String>, preprocess: Preprocess) -> Portray {
    let spec = vit::zoo::find("dinov2_vits14").unwrap();
    let file = folder.join("weights/dinov2_vits14_imgfocus.safetensors");
    let config = spec.config.clone();
    let model = Model::new("dinov2_vits14".into(), config.clone(), "w".into(), Precision::F32, move || {
        let weights = load(&spec, &WeightSource::Path(file.clone()), &|_, _| {})?;
        open(&weights.config, &weights.params, &DeviceChoice::Cpu(None), Precision::F32)
    });
    let entries = photos.into_iter().map(|name| Entry { name, label: None, bytes: 0 }).collect();
    Portray {
        model: Arc::new(model),
        source: Arc::new(Photos { manifest: Manifest { entries, classes: Vec::new() }, folder: folder.to_owned() }),
        params: PortrayParams {
            images: 3,
            preprocess,
            outlier_site: Site::Block(11),
            norm_sites: vec![Site::Block(11), Site::Final],
            blocks: vec![11],
            component_sites: vec![Site::Final],
            model: config,
            ..params()
        },
        neurons: None,
        partition: vec![("model", "dinov2_vits14".into())],
        tuning: Tuning::cpu(2),
    }
}

/// Breaks when a row is of another token, when heads are not averaged, when features are taken before the final norm, or
/// when variance is shared out wrongly.
#[test]
fn attention_and_components_are_those_of_the_reference() {
    let Some(folder) = std::env::var_os("VITALS_REAL").map(PathBuf::from) else {
        eprintln!("skipped: set VITALS_REAL to the folder of real inputs");
        return;
    };
    let text = std::fs::read(folder.join("reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let of = |photo: usize, size: &str| &reference["maps"]["real"][format!("{photo}_{size}")];
    let photos: Vec<String> = (0..3).map(|photo| of(photo, "eval224")["file"].as_str().unwrap().to_owned()).collect();
    let eval = Preprocess::imagenet(256, 224);
    let square = Preprocess { resize: Resize::Exact { height: 518, width: 518 }, crop: Crop::None, ..eval };
    for (size, preprocess) in [("eval224", eval), ("square518", square)] {
        let t = maps(stage(&folder, photos.clone(), preprocess));
        let (attention, first) = (rows(&t, "attention", "cls", "mean"), rows(&t, "component", "image", "0"));
        for photo in 0..3 {
            let number = |key: &str| of(photo, size)[key].as_f64().unwrap();
            let map = &t.cells[attention[photo]];
            let most = (0..map.len()).max_by(|&a, &b| map[a].total_cmp(&map[b])).unwrap();
            assert_eq!(most as f64, number("attention_max_patch"), "{photo} {size}");
            assert!((f64::from(map[most]) - number("attention_max")).abs() < 1e-5, "{photo} {size}");
            let patches = f64::from(t.share_frac[attention[photo]].unwrap());
            assert!((1.0 - patches - number("attention_on_cls")).abs() < 1e-4, "{photo} {size}");
            let share = f64::from(t.share_frac[first[photo]].unwrap());
            assert!((share - number("pca_variance_share")).abs() < 1e-4, "{photo} {size}: {share}");
        }
    }
}
