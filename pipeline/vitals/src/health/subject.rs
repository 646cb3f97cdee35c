//! Who is examined, and how: from `vitals health MODEL --images DIR` to an ordinary study file.
//!
//! The file is written beside the report, so that whoever wants more than a card has a study to go on with.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use datasets::DatasetSpec;
use toml::Value;
use vit::VitError;
use vit::weights::Header;

use crate::cli::HealthArgs;
use crate::failure::{Code, Failure};
use crate::progress::download;
use crate::study::dataset::{ON_COMMAND_LINE, failure};
use crate::study::model::{PLANTED, not_found};
use crate::study::weights::{unfit, weight_source, weights_failure};

/// Fewer images say nothing of a model.
pub const FEWEST_IMAGES: usize = 8;
/// Images of the pass that finds the cut-off.
const CALIBRATION_IMAGES: usize = 200;
/// Name that stands for generated scenes where no folder has it.
const SCENES: &str = "synthetic";

/// A model and its weights.
#[derive(Debug, PartialEq, Eq)]
pub struct Patient {
    /// Name in tables.
    pub name: String,
    /// Name in the zoo, or `planted`.
    model: String,
    registers: Option<usize>,
    /// Path or hub address; planted models need none.
    weights: Option<String>,
}

/// Images to look at.
#[derive(Debug, PartialEq, Eq)]
pub struct Gallery {
    /// Name in tables.
    pub name: String,
    /// PNG files beside a JPEG of the same name.
    pub masks: usize,
    dataset: &'static str,
    root: PathBuf,
}

/// The model that is meant: a name of the zoo, `planted`, or a weight file.
pub fn patient(model: &str, weights: Option<&str>) -> Result<Patient, Failure> {
    let named =
        |weights: Option<String>| Patient { name: model.to_owned(), model: model.to_owned(), registers: None, weights };
    if let Some(rest) = model.strip_prefix(PLANTED) {
        let registers = if rest.is_empty() { Some(0) } else { rest.strip_prefix("_reg").and_then(|r| r.parse().ok()) };
        if let (Some(registers), None) = (registers, weights) {
            return Ok(Patient { model: PLANTED.to_owned(), registers: Some(registers), ..named(None) });
        }
    }
    match vit::zoo::find(model) {
        Ok(spec) => match (weights, spec.hub) {
            (Some(weights), _) => {
                let source = weight_source(weights)?;
                Header::read(&spec, &source, &download())
                    .map_err(|e| unfit(&e, weights, |other| format!("vitals health {other} --weights {weights}")))?;
                Ok(named(Some(absolute(weights))))
            }
            (None, Some(repo)) => Ok(named(Some(format!("hf:{repo}")))),
            (None, None) => {
                let file = spec.official_file.map_or_else(String::new, |file| format!(", such as {file}"));
                let fix = format!("give its weight file{file}: --weights FILE");
                Err(Failure::new(Code::Missing, format!("no public weights of `{model}` are known"), "MODEL", fix))
            }
        },
        Err(_) if weights.is_none() && Path::new(model).is_file() => of_file(model),
        Err(_) if weights.is_none() && (model.contains('/') || Path::new(model).extension().is_some()) => {
            let what = format!("there is no weight file {model}");
            Err(Failure::new(Code::Missing, what, "MODEL", "correct the path, or give a name of `vitals models ls`"))
        }
        Err(e) => Err(not_found(&e).of_usage("MODEL", "give a name of `vitals models ls`, or a weight file")),
    }
}

/// The model whose names and shapes a file has.
fn of_file(file: &str) -> Result<Patient, Failure> {
    let source = weight_source(file)?;
    let mut fits = Vec::new();
    let mut mismatch = None;
    for spec in vit::zoo::all() {
        match Header::read(&spec, &source, &download()) {
            Ok(_) => fits.push(spec.name),
            Err(e @ VitError::Mismatch(_)) => mismatch = Some(e),
            Err(e) => return Err(weights_failure(&e, file)),
        }
    }
    // Register variants have no entry of their own.
    if let (true, Some(VitError::Mismatch(m))) = (fits.is_empty(), &mismatch) {
        fits.clone_from(&m.fits);
    }
    let stem = Path::new(file).file_stem().and_then(|s| s.to_str()).unwrap_or("model").to_owned();
    // Families share sizes; then only a name tells them apart.
    let called = fits.iter().filter(|name| stem.contains(name.as_str())).max_by_key(|name| name.len()).cloned();
    let model = match (called, fits.as_slice()) {
        (Some(model), _) => model,
        (None, [model]) => model.clone(),
        (None, []) => {
            let what = "no model of the zoo has these tensors".to_owned();
            let fix = "name the model that it should be, to be told what does not fit: vitals models check MODEL FILE";
            return Err(Failure::new(Code::Missing, what, format!("weights {file}"), fix));
        }
        (None, several) => {
            let what = format!("several models have these tensors: {}", several.join(", "));
            let fix = format!("name the one that it is: vitals health {} --weights {file} …", several[0]);
            return Err(Failure::new(Code::Usage, what, format!("weights {file}"), fix));
        }
    };
    Ok(Patient { name: stem, model, registers: None, weights: Some(absolute(file)) })
}

/// A study file lies elsewhere than the command was typed.
fn absolute(weights: &str) -> String {
    if weights.starts_with("hf:") {
        return weights.to_owned();
    }
    std::path::absolute(weights).map_or_else(|_| weights.to_owned(), |path| path.display().to_string())
}

/// The images that are meant; refuses a folder that holds too few.
pub fn gallery(folder: &Path, limit: usize) -> Result<Gallery, Failure> {
    let at = "--images";
    if limit < FEWEST_IMAGES {
        let fix = format!("write {FEWEST_IMAGES} or more");
        return Err(Failure::new(Code::Usage, format!("{limit} images say nothing of a model"), "--limit", fix));
    }
    if folder.as_os_str() == SCENES && !folder.exists() {
        return Ok(Gallery { name: "scenes".to_owned(), masks: 0, dataset: SCENES, root: PathBuf::new() });
    }
    let fix = "give a folder with .jpg or .png files, at any depth";
    if !folder.is_dir() {
        let what = if folder.exists() { "is no folder" } else { "does not exist" };
        return Err(Failure::new(Code::Missing, format!("{} {what}", folder.display()), at, fix));
    }
    let spec = DatasetSpec::new("photos", folder);
    let (found, masks) = match datasets::open(&spec) {
        Ok(source) => {
            let entries = &source.manifest().entries;
            (entries.len(), masks(entries.iter().map(|entry| entry.name.as_str())))
        }
        Err(datasets::DatasetError::Empty { .. }) => (0, 0),
        Err(e) => return Err(failure(&e, at, &ON_COMMAND_LINE, folder, spec.split)),
    };
    if found < FEWEST_IMAGES {
        let holds = if found == 0 { "no image".to_owned() } else { format!("only {found} of the images needed") };
        let what = format!("{} holds {holds}; {FEWEST_IMAGES} are the least, 200 are plenty", folder.display());
        return Err(Failure::new(Code::Missing, what, at, fix));
    }
    let root = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let name = root.file_name().and_then(|n| n.to_str()).filter(|n| !n.is_empty()).unwrap_or("images").to_owned();
    Ok(Gallery { name, masks, dataset: "photos", root })
}

/// PNG files named as a JPEG is, in the same folder or in one that holds no JPEG: so lie masks and depth maps beside photos.
/// Folders of classes that hold both kinds of file under running numbers do not count.
fn masks<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    let (mut photos, mut others) = (vec![], vec![]);
    for name in names.map(Path::new) {
        let is = |known: &str| name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(known));
        if is("jpg") || is("jpeg") {
            photos.push(name);
        } else if is("png") {
            others.push(name);
        }
    }
    let stems: HashSet<_> = photos.iter().map(|photo| photo.file_stem()).collect();
    let folders: HashSet<_> = photos.iter().map(|photo| photo.parent()).collect();
    let here: HashSet<_> = photos.iter().map(|photo| photo.with_extension("")).collect();
    let is_mask = |name: &&Path| {
        let apart = !folders.contains(&name.parent()) && stems.contains(&name.file_stem());
        apart || here.contains(&name.with_extension(""))
    };
    others.into_iter().filter(is_mask).count()
}

/// The study, as text.
pub fn study(patient: &Patient, gallery: &Gallery, args: &HealthArgs) -> String {
    let text = |text: &str| Value::String(text.to_owned()).to_string();
    let mut model = format!("model = {}\nname = {}\n", text(&patient.model), text(&patient.name));
    if let Some(registers) = patient.registers {
        model += &format!("registers = {registers}\n");
    }
    if let Some(weights) = &patient.weights {
        model += &format!("weights = {}\n", text(weights));
    }
    let mut dataset = format!("dataset = {}\nname = {}\n", text(gallery.dataset), text(&gallery.name));
    if !gallery.root.as_os_str().is_empty() {
        dataset += &format!("root = {}\n", text(&gallery.root.display().to_string()));
    }
    dataset += &format!("limit = {}\n", args.limit);
    if let Some(size) = args.size {
        dataset += &format!("preprocess = {{ crop_px = {size} }}\n");
    }
    let (train, calibration) = (text(&gallery.name), CALIBRATION_IMAGES.min(args.limit));
    format!(
        "# Written anew by every `vitals health`. Copy it, add what you like, and go on with `vitals run`.\n\
         title = {title}\n\
         max_skip_frac = 0.2\n\n\
         [extract]\n\
         outliers = {{ rule = \"valley\", images = {calibration} }}\n\
         stats_sites = [\"last\"]\n\
         vector_sites = [\"final\"]\n\
         pooled = []\n\
         draws = 16\n\
         shard_images = 100\n\n\
         [[model]]\n{model}\n\
         [[dataset]]\n{dataset}\n\
         # Place and pixels of a patch from its token; three images in ten are tested.\n\
         [[probe]]\n\
         experiment = \"position\"\n\
         train = {train}\n\
         split = {{ random = {{ test_frac = 0.3, seed = 0 }} }}\n\
         standardise = \"floor\"\n\n\
         [[probe]]\n\
         experiment = \"pixels\"\n\
         train = {train}\n\
         split = {{ random = {{ test_frac = 0.3, seed = 0 }} }}\n",
        title = text(&format!("Health of {} on {}", patient.name, gallery.name)),
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::study::file::StudyFile;

    fn args(size: Option<usize>) -> HealthArgs {
        HealthArgs {
            model: String::new(),
            images: PathBuf::new(),
            weights: None,
            size,
            limit: 50,
            device: None,
            threads: None,
            report: None,
            json: false,
        }
    }

    /// Breaks when a path with quotes or a backslash is no study, or when a name is taken for another model.
    #[test]
    fn any_name_and_folder_make_a_study() {
        let patient = patient("planted_reg4", None).unwrap();
        for root in ["/a b/c", "C:\\x", "/it's \"quoted\"", "/é"] {
            let gallery = Gallery { name: "x \"y\"".into(), masks: 0, dataset: "photos", root: root.into() };
            let text = study(&patient, &gallery, &args(Some(112)));
            let file = StudyFile::parse(&text, "x").unwrap();
            assert_eq!((file.datasets[0].root.as_str(), file.datasets[0].name.as_deref()), (root, Some("x \"y\"")));
            assert_eq!(file.datasets[0].preprocess.crop_px, Some(112));
            assert_eq!((file.models[0].registers, file.models[0].name.as_deref()), (Some(4), Some("planted_reg4")));
            assert_eq!(file.probes.len(), 2);
        }
    }

    #[test]
    fn a_model_is_a_name_or_a_file() {
        let hub = patient("dinov2_vits14", None).unwrap();
        assert!(hub.weights.unwrap().starts_with("hf:"));
        let code = |model: &str, weights: Option<&str>| patient(model, weights).unwrap_err().code();
        assert_eq!(code("dinov2_vits15", None), 2, "a name of no model");
        assert_eq!(code("nowhere/weights.pth", None), 4, "a path of no file");
        assert_eq!(code("planted", Some("weights.pth")), 2, "a formula has no file");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights.safetensors");
        std::fs::write(&file, b"no weights").unwrap();
        assert_eq!(code(file.to_str().unwrap(), None), 4, "a damaged file");
        assert_eq!(code("dinov2_vits14", file.to_str()), 4, "a damaged file of a model that is named");
    }

    #[test]
    fn masks_lie_beside_photos_of_their_name() {
        let ade = ["images/a.jpg", "images/b.JPG", "annotations/a.png", "annotations/b.png", "c.png"];
        assert_eq!(masks(ade.into_iter()), 2);
        assert_eq!(masks(["a.jpg", "a.png", "b.png"].into_iter()), 1, "in one folder");
        assert_eq!(masks(["1/0.png", "1/1.jpg", "2/0.jpg", "2/1.png"].into_iter()), 0, "numbers in class folders");
    }

    #[test]
    fn too_few_images_are_refused_with_their_number() {
        let folder = tempfile::tempdir().unwrap();
        let of = |limit| gallery(folder.path(), limit).map_err(|e| (e.code(), format!("{e:?}")));
        assert!(of(50).is_err_and(|(code, text)| code == 4 && text.contains("no image")));
        std::fs::create_dir(folder.path().join("class")).unwrap();
        for i in 0..7 {
            std::fs::write(folder.path().join(format!("class/{i}.png")), b"x").unwrap();
        }
        assert!(of(50).is_err_and(|(code, text)| code == 4 && text.contains("only 7")));
        std::fs::write(folder.path().join("class/7.png"), b"x").unwrap();
        assert!(of(50).is_ok(), "class folders are a folder of images");
        assert!(of(7).is_err_and(|(code, _)| code == 2));
        assert_eq!(gallery(Path::new("no such folder"), 50).unwrap_err().code(), 4);
        assert_eq!(gallery(&folder.path().join("class/0.png"), 50).unwrap_err().code(), 4);
        assert_eq!(gallery(Path::new(SCENES), 50).unwrap().dataset, SCENES);
    }
}
