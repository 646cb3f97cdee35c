//! `vitals datasets`: the catalogue, and whether a folder can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use datasets::{DatasetSpec, DenseTruth, Raw, ReadError, Source, catalog};

use super::{columns, counted, say};
use crate::cli::{DatasetsArgs, DatasetsCommand};
use crate::failure::{Code, Failure};
use crate::study::dataset::{ON_COMMAND_LINE, failure};

/// `ls` and `check`.
pub fn datasets(args: &DatasetsArgs) -> Result<(), Failure> {
    match &args.command {
        DatasetsCommand::Ls => {
            let mut rows: Vec<Vec<String>> =
                vec![["dataset", "what", "expected at `root`"].map(str::to_owned).to_vec()];
            rows.extend(
                catalog::CATALOG.iter().map(|d| vec![d.name.to_owned(), d.about.to_owned(), d.layout.to_owned()]),
            );
            say(&columns(&rows))
        }
        DatasetsCommand::Check { name, root, split, decode } => {
            check(name, root.as_deref().unwrap_or(Path::new("")), split, *decode)
        }
    }
}

/// Names of images with something wrong that are shown.
const SHOWN: usize = 5;

fn check(name: &str, root: &Path, split: &str, decode: usize) -> Result<(), Failure> {
    let at = format!("dataset `{name}`");
    let mut spec = DatasetSpec::new(name, root);
    let fix = "write all, train, val, trainval, test, partition:1:train, class:2/3:train or every:3@2:test";
    spec.split = split.parse().map_err(|e| Failure::new(Code::Usage, e, "--split", fix))?;
    let source = datasets::open(&spec).map_err(|e| failure(&e, &at, &ON_COMMAND_LINE, root, spec.split))?;
    say(&found(source.as_ref(), decode))
}

/// What there is, and what of some images can be read.
fn found(source: &dyn Source, decode: usize) -> String {
    let manifest = source.manifest();
    let n = manifest.entries.len();
    let labelled = manifest.entries.iter().filter(|e| e.label.is_some()).count();
    let tried = decode.min(n);
    let mut unreadable: Problems = BTreeMap::new();
    let mut truths = Truths::default();
    for i in (0..tried).map(|i| i * n / tried) {
        let name = manifest.entries[i].name.as_str();
        let image = match source.read(i) {
            Err(e) => Err(e.reason()),
            Ok(Raw::Rgb(image)) => Ok(image),
            Ok(Raw::Encoded(bytes)) => datasets::decode(&bytes).map_err(|e| e.reason()),
        };
        let size = image.as_ref().map(|image| (image.height, image.width)).ok();
        if let Err(reason) = image {
            unreadable.entry(reason.to_owned()).or_default().push(name.to_owned());
        }
        truths.look(source.dense_truth(i), name, size);
    }
    let bad: usize = unreadable.values().map(Vec::len).sum();
    let mut text = format!(
        "{}, {labelled} with labels, {}; {} of {tried} tried can be read\n",
        counted(n, "image", "images"),
        counted(manifest.classes.len(), "class", "classes"),
        tried - bad
    );
    text += &listed(&unreadable);
    text + &truths.in_words(tried, source.segment_classes().len())
}

/// Names by what is wrong with them.
type Problems = BTreeMap<String, Vec<String>>;

fn listed(problems: &Problems) -> String {
    let line = |(reason, names): (&String, &Vec<String>)| {
        let more = names.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("  {} × {reason}: {}{more}\n", names.len(), names[..names.len().min(SHOWN)].join(", "))
    };
    problems.iter().map(line).collect()
}

/// What the images that were looked at have of masks and depth.
#[derive(Default)]
struct Truths {
    masks: usize,
    labels: BTreeSet<u8>,
    depths: usize,
    /// Smallest and largest known depth.
    range: Option<(f32, f32)>,
    /// Of unknown depth, and in all.
    unknown: (u64, u64),
    problems: Problems,
}

impl Truths {
    fn look(&mut self, truth: Result<Option<DenseTruth>, ReadError>, name: &str, photo: Option<(usize, usize)>) {
        let mut problem = |what: String| self.problems.entry(what).or_default().push(name.to_owned());
        let truth = match truth {
            Ok(Some(truth)) => truth,
            Ok(None) => return,
            // The path is another for each photo, and its name is told.
            Err(ReadError::Annotation { what, .. }) => return problem(format!("bad annotation, {what}")),
            Err(ReadError::Io { source, .. }) => return problem(format!("cannot read its truth, {source}")),
            Err(e) => return problem(e.to_string()),
        };
        if let Some((height, width)) = photo.filter(|size| *size != (truth.height, truth.width)) {
            problem(format!("{}×{} px, the photo {width}×{height}", truth.width, truth.height));
        }
        if let Some(labels) = truth.segments {
            self.masks += 1;
            self.labels.extend(labels);
        }
        if let Some(depths) = truth.depth_m {
            self.depths += 1;
            self.unknown.1 += depths.len() as u64;
            for depth in depths {
                if depth > 0.0 {
                    let (low, high) = self.range.unwrap_or((depth, depth));
                    self.range = Some((low.min(depth), high.max(depth)));
                } else {
                    self.unknown.0 += 1;
                }
            }
        }
    }

    /// Nothing where the dataset is none of masks or depth.
    fn in_words(&self, tried: usize, named: usize) -> String {
        let mut text = String::new();
        if self.masks > 0 {
            let labels: Vec<u8> = self.labels.iter().copied().collect();
            let named = if named > 0 { format!(" of {named} named ones") } else { String::new() };
            text += &format!("{} of {tried} tried have a mask; labels that occur{named}: ", self.masks);
            text += &format!("{}\n", train::dense::labels_in_words(&labels));
        }
        if self.depths > 0 {
            let unknown = 100.0 * self.unknown.0 as f64 / self.unknown.1.max(1) as f64;
            let known = self.range.map_or("all unknown".to_owned(), |(low, high)| {
                format!("known from {low:.3} to {high:.3}, unknown at {unknown:.0} % of the pixels")
            });
            text += &format!("{} of {tried} tried have a depth; {known}\n", self.depths);
        }
        if text.is_empty() && !self.problems.is_empty() {
            text += &format!("0 of {tried} tried have a mask or a depth that can be read\n");
        }
        text + &listed(&self.problems)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::fs;

    use datasets::{Entry, Manifest, Rgb8};

    use super::*;

    /// Photos of 2×2 px, and what is annotated of each.
    struct Photos(Manifest, Vec<Option<DenseTruth>>);

    impl Source for Photos {
        fn manifest(&self) -> &Manifest {
            &self.0
        }
        fn read(&self, _: usize) -> Result<Raw, ReadError> {
            Ok(Raw::Rgb(Rgb8 { width: 2, height: 2, data: vec![0; 12] }))
        }
        fn dense_truth(&self, index: usize) -> Result<Option<DenseTruth>, ReadError> {
            let (path, what) = (format!("{index}.png").into(), "has 16 bits a pixel".to_owned());
            self.1[index].clone().ok_or(ReadError::Annotation { path, what }).map(Some)
        }
        fn segment_classes(&self) -> Vec<String> {
            vec!["sky".into(), "road".into()]
        }
    }

    fn photos(truths: Vec<Option<DenseTruth>>) -> Photos {
        let entry = |i: usize| Entry { name: format!("{i}.jpg"), label: None, bytes: 1 };
        let entries = (0..truths.len()).map(entry).collect();
        Photos(Manifest { entries, ..Manifest::default() }, truths)
    }

    /// Breaks when masks are looked at and nothing is said of them: which labels, which sizes, which cannot be read.
    #[test]
    fn masks_and_depths_are_told() {
        let mask = |width, labels: &[u8]| {
            Some(DenseTruth { height: 2, width, segments: Some(labels.to_vec()), depth_m: None })
        };
        let text = found(&photos(vec![mask(2, &[0, 1, 2, 255]), mask(1, &[4, 4]), None, None]), 4);
        let expected = "\
4 images, 0 with labels, 0 classes; 4 of 4 tried can be read
2 of 4 tried have a mask; labels that occur of 2 named ones: 0 to 2, 4, 255
  1 × 1×2 px, the photo 2×2: 1.jpg
  2 × bad annotation, has 16 bits a pixel: 2.jpg, 3.jpg
";
        assert_eq!(text, expected);
        let depth = DenseTruth { height: 2, width: 2, segments: None, depth_m: Some(vec![0.0, 1.5, 7.25, 2.0]) };
        let text = found(&photos(vec![Some(depth)]), 1);
        assert!(
            text.ends_with("1 of 1 tried have a depth; known from 1.500 to 7.250, unknown at 25 % of the pixels\n"),
            "{text}"
        );
    }

    /// Photos of one pixel whose `trainannot` is gone. Breaks when that is not seen here but after the backbone has run.
    #[test]
    fn a_folder_of_masks_that_is_gone_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("train")).unwrap();
        let bmp = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\x20\x30\0";
        for name in ["a.bmp", "b.bmp"] {
            fs::write(folder.path().join("train").join(name), bmp).unwrap();
        }
        let source = datasets::open(&DatasetSpec::new("masks", folder.path())).unwrap();
        let expected = "\
2 images, 0 with labels, 0 classes; 2 of 2 tried can be read
0 of 2 tried have a mask or a depth that can be read
  2 × bad annotation, is missing; every photo here needs one: train/a.bmp, train/b.bmp
";
        assert_eq!(found(source.as_ref(), 20), expected);
    }

    /// Breaks when a dataset of neither masks nor depths is blamed for it.
    #[test]
    fn labels_alone_are_no_fault() {
        struct Labels(Photos);
        impl Source for Labels {
            fn manifest(&self) -> &Manifest {
                self.0.manifest()
            }
            fn read(&self, index: usize) -> Result<Raw, ReadError> {
                self.0.read(index)
            }
        }
        let text = found(&Labels(photos(vec![None; 3])), 2);
        assert_eq!(text, "3 images, 0 with labels, 0 classes; 2 of 2 tried can be read\n");
    }
}
